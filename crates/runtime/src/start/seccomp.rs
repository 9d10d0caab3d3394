//! The default seccomp profile as a filter: names and rules to numbers, neighbours with the same
//! rule to ranges, ranges to a binary search.
//!
//! A linear filter of this profile has ten times the instructions and takes as much longer to
//! install, at every start.

mod calls;
mod profile;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::StartError;
use super::capability;
use super::failed;
use calls::CALLS;
use profile::Test;

/// Most instructions the kernel takes.
const INSTRUCTIONS_MAX: usize = 4096;
/// Filters kept; one per set of capabilities.
const FILTERS_MAX: usize = 32;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;

/// Compiled filters by capability set.
#[derive(Default)]
pub(super) struct Filters(BTreeMap<u64, Rc<Vec<libc::sock_filter>>>);

impl Filters {
    /// The filter of the default profile for a process with these capabilities.
    pub(super) fn get(
        &mut self,
        capabilities: u64,
    ) -> Result<Rc<Vec<libc::sock_filter>>, StartError> {
        if let Some(filter) = self.0.get(&capabilities) {
            return Ok(Rc::clone(filter));
        }
        let filter = Rc::new(compile(&rules(capabilities)));
        if filter.len() > INSTRUCTIONS_MAX {
            let length = filter.len();
            return Err(failed(
                "seccomp",
                libc::E2BIG,
                format!("filter of {length} instructions"),
            ));
        }
        if self.0.len() >= FILTERS_MAX {
            self.0.clear();
        }
        self.0.insert(capabilities, Rc::clone(&filter));
        Ok(filter)
    }
}

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Allow,
    Errno(i32),
    /// Allowed when a test on the argument holds, else EPERM.
    Argument(u32, &'static [Test]),
}

/// The rule of every number up to one past the last known; that one stands for all above.
fn rules(capabilities: u64) -> Vec<Rule> {
    let last = CALLS.iter().map(|(_, number)| *number).max().unwrap_or(0);
    let mut rules = vec![Rule::Errno(libc::ENOSYS); last as usize + 2];
    for (_, number) in CALLS {
        rules[number as usize] = Rule::Errno(libc::EPERM);
    }
    let mut set = |name: &str, rule: Rule| {
        if let Some(number) = calls::number(name) {
            rules[number as usize] = rule;
        }
    };
    for name in profile::ALLOWED.split_whitespace() {
        set(name, Rule::Allow);
    }
    for name in profile::ABSENT {
        set(name, Rule::Errno(libc::ENOSYS));
    }
    for (name, argument, tests) in profile::BY_ARGUMENT {
        set(name, Rule::Argument(argument, tests));
    }
    // Last, because a capability lifts what the argument rules say of the same call.
    for (capability, names) in profile::BY_CAPABILITY {
        let number = capability::CAPABILITIES
            .iter()
            .position(|known| *known == capability);
        if number.is_some_and(|number| capabilities >> number & 1 == 1) {
            for name in names.split_whitespace() {
                set(name, Rule::Allow);
            }
        }
    }
    rules
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_FROM: u16 = 0x35;
const JUMP_ABOVE: u16 = 0x25;
const RETURN: u16 = 0x06;

type Code = Vec<libc::sock_filter>;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn errno(errno: i32) -> libc::sock_filter {
    instruction(RETURN, 0, 0, RET_ERRNO | errno as u32)
}

fn compile(rules: &[Rule]) -> Code {
    let mut ranges: Vec<(u32, &Rule)> = Vec::new();
    for (number, rule) in (0..).zip(rules) {
        if ranges.last().is_none_or(|(_, last)| *last != rule) {
            ranges.push((number, rule));
        }
    }
    let leaves: Vec<(u32, Code)> = ranges
        .into_iter()
        .map(|(number, rule)| (number, leaf(rule)))
        .collect();
    // The other two architectures of the processor count sockets and numbers differently, and what
    // a filter forbids here would pass there. x32 numbers are above every known one.
    let mut code = vec![
        instruction(LOAD, 0, 0, 4),
        instruction(JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        errno(libc::ENOSYS),
        instruction(LOAD, 0, 0, 0),
    ];
    code.extend(search(&leaves));
    code
}

/// Binary search for the range of the number in the accumulator.
fn search(leaves: &[(u32, Code)]) -> Code {
    let [] = leaves else {
        if leaves.len() == 1 {
            return leaves[0].1.clone();
        }
        let middle = leaves.len() / 2;
        let (low, high) = leaves.split_at(middle);
        let (first, low, high) = (high[0].0, search(low), search(high));
        let mut code = match u8::try_from(low.len()) {
            Ok(length) => vec![instruction(JUMP_FROM, length, 0, first)],
            Err(_) => vec![
                instruction(JUMP_FROM, 0, 1, first),
                instruction(JUMP, 0, 0, low.len() as u32),
            ],
        };
        code.extend(low);
        code.extend(high);
        return code;
    };
    vec![errno(libc::ENOSYS)]
}

fn leaf(rule: &Rule) -> Code {
    match rule {
        Rule::Allow => vec![instruction(RETURN, 0, 0, RET_ALLOW)],
        Rule::Errno(number) => vec![errno(*number)],
        Rule::Argument(argument, tests) => {
            let mut code: Code = tests
                .iter()
                .flat_map(|test| argument_test(*argument, *test))
                .collect();
            code.push(errno(libc::EPERM));
            code
        }
    }
}

/// Allows when the test holds, else goes on behind itself. An argument is two words.
fn argument_test(argument: u32, test: Test) -> Code {
    let low_at = 16 + 8 * argument;
    let high_at = low_at + 4;
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let allow = instruction(RETURN, 0, 0, RET_ALLOW);
    match test {
        Test::Equal(value) => {
            let (low, high) = halves(value);
            vec![
                instruction(LOAD, 0, 0, high_at),
                instruction(JUMP_EQUAL, 0, 3, high),
                instruction(LOAD, 0, 0, low_at),
                instruction(JUMP_EQUAL, 0, 1, low),
                allow,
            ]
        }
        Test::Without(mask) => {
            let (low, high) = halves(mask);
            vec![
                instruction(LOAD, 0, 0, high_at),
                instruction(AND, 0, 0, high),
                instruction(JUMP_EQUAL, 0, 4, 0),
                instruction(LOAD, 0, 0, low_at),
                instruction(AND, 0, 0, low),
                instruction(JUMP_EQUAL, 0, 1, 0),
                allow,
            ]
        }
        // The kernel reads a family as 32 bits. Comparing all 64 would let a set upper half carry
        // a refused family past the bound.
        Test::Below(bound) => vec![
            instruction(LOAD, 0, 0, low_at),
            instruction(JUMP_FROM, 1, 0, bound),
            allow,
        ],
        Test::Above(bound) => vec![
            instruction(LOAD, 0, 0, low_at),
            instruction(JUMP_ABOVE, 0, 1, bound),
            allow,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would and answers the errno, 0 for allowed.
    fn verdict(code: &Code, arch: u32, number: u32, argument: u64) -> i32 {
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let i = code[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
            match i.code {
                LOAD => {
                    accumulator = match i.k {
                        0 => number,
                        4 => arch,
                        16 => argument as u32,
                        20 => (argument >> 32) as u32,
                        other => panic!("offset {other}"),
                    }
                }
                AND => accumulator &= i.k,
                JUMP => at += i.k as usize,
                JUMP_EQUAL => at += jump(accumulator == i.k),
                JUMP_FROM => at += jump(accumulator >= i.k),
                JUMP_ABOVE => at += jump(accumulator > i.k),
                RETURN if i.k == RET_ALLOW => return 0,
                RETURN => return (i.k & 0xffff) as i32,
                other => panic!("code {other:#x}"),
            }
        }
    }

    fn filter(names: &[&str]) -> Code {
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        compile(&rules(capability::set(&names).unwrap()))
    }

    fn check(code: &Code, name: &str, argument: u64) -> i32 {
        verdict(
            code,
            AUDIT_ARCH_X86_64,
            calls::number(name).unwrap(),
            argument,
        )
    }

    #[test]
    fn every_profile_name_is_a_call() {
        let names = profile::ALLOWED.split_whitespace();
        let names = names.chain(
            profile::BY_CAPABILITY
                .iter()
                .flat_map(|(_, n)| n.split_whitespace()),
        );
        let names = names.chain(profile::ABSENT);
        for name in names.chain(profile::BY_ARGUMENT.iter().map(|(name, ..)| *name)) {
            assert!(calls::number(name).is_some(), "{name}");
        }
        for (capability, _) in profile::BY_CAPABILITY {
            assert!(
                capability::CAPABILITIES.contains(&capability),
                "{capability}"
            );
        }
    }

    #[test]
    fn the_search_finds_every_rule() {
        let rules = rules(0);
        let code = compile(&rules);
        assert!(code.len() < 300, "{}", code.len());
        for (number, rule) in (0..).zip(&rules) {
            let want = match rule {
                Rule::Allow => 0,
                Rule::Errno(errno) => *errno,
                // Zero is allowed by all argument rules.
                Rule::Argument(..) => 0,
            };
            assert_eq!(
                verdict(&code, AUDIT_ARCH_X86_64, number, 0),
                want,
                "{number}"
            );
        }
    }

    #[test]
    fn refusals_and_absences() {
        let code = filter(&capability::DEFAULT_CAPABILITIES);
        for (name, argument, want) in [
            ("read", 0, 0),
            ("openat2", 0, 0),
            ("chroot", 0, 0),
            ("keyctl", 0, libc::EPERM),
            ("io_uring_setup", 0, libc::EPERM),
            ("mount", 0, libc::EPERM),
            ("unshare", 0, libc::EPERM),
            ("bpf", 0, libc::EPERM),
            ("clone3", 0, libc::ENOSYS),
            ("clone", 0x11, 0),
            ("clone", 0x1000_0000, libc::EPERM),
            ("clone", 0x0002_0000, libc::EPERM),
            ("socket", 1, 0),
            ("socket", 37, 0),
            ("socket", 38, libc::EPERM),
            ("socket", 39, 0),
            ("socket", 40, libc::EPERM),
            ("socket", 41, 0),
            ("socket", 1 << 32 | 38, libc::EPERM),
            ("socket", 1 << 32 | 40, libc::EPERM),
            ("personality", 0, 0),
            ("personality", 0xffff_ffff, 0),
            ("personality", 0x40000, libc::EPERM),
        ] {
            assert_eq!(check(&code, name, argument), want, "{name} {argument:#x}");
        }
        for number in [337, 423, 470, 1000, 0x4000_0000 | 41, u32::MAX] {
            assert_eq!(
                verdict(&code, AUDIT_ARCH_X86_64, number, 0),
                libc::ENOSYS,
                "{number}"
            );
        }
        // i386's socketcall.
        assert_eq!(verdict(&code, 0x4000_0003, 102, 0), libc::ENOSYS);
    }

    #[test]
    fn capabilities_open_their_calls() {
        let code = filter(&["SYS_ADMIN"]);
        for name in ["mount", "clone3", "unshare", "bpf"] {
            assert_eq!(check(&code, name, 0), 0, "{name}");
        }
        assert_eq!(check(&code, "clone", 0x1000_0000), 0);
        assert_eq!(check(&code, "chroot", 0), libc::EPERM);
        assert_eq!(check(&code, "keyctl", 0), libc::EPERM);
        assert_eq!(check(&filter(&["SYS_TIME"]), "clock_settime", 0), 0);
    }
}
