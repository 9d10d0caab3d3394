//! Which device nodes a container may use: a list of what is allowed, as text for v1 and as a
//! program for v2.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::start::kernel::{self, Sys};
use crate::start::owned;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::start) enum NodeKind {
    Char,
    Block,
}

/// One allowance. `None` as a number is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::start) struct Rule {
    pub(in crate::start) kind: NodeKind,
    pub(in crate::start) major: Option<u32>,
    pub(in crate::start) minor: Option<u32>,
    pub(in crate::start) read: bool,
    pub(in crate::start) write: bool,
    pub(in crate::start) mknod: bool,
}

/// What every container may use: null, zero, full, random, urandom, tty, console, and terminals of
/// its own; and making any node, which without an allowance cannot be opened.
pub(in crate::start) fn default_rules() -> Vec<Rule> {
    let usable = |major, minor| Rule {
        kind: NodeKind::Char,
        major: Some(major),
        minor,
        read: true,
        write: true,
        mknod: true,
    };
    let make = |kind| Rule {
        kind,
        major: None,
        minor: None,
        read: false,
        write: false,
        mknod: true,
    };
    vec![
        make(NodeKind::Char),
        make(NodeKind::Block),
        usable(1, Some(3)),
        usable(1, Some(5)),
        usable(1, Some(7)),
        usable(1, Some(8)),
        usable(1, Some(9)),
        usable(5, Some(0)),
        usable(5, Some(1)),
        usable(5, Some(2)),
        usable(136, None),
    ]
}

impl Rule {
    pub(super) fn v1_text(&self) -> String {
        let kind = match self.kind {
            NodeKind::Char => 'c',
            NodeKind::Block => 'b',
        };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let access: String = [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')]
            .iter()
            .filter_map(|(on, letter)| on.then_some(*letter))
            .collect();
        format!(
            "{kind} {}:{} {access}",
            number(self.major),
            number(self.minor)
        )
    }

    /// The kernel's access bits: 1 make, 2 read, 4 write.
    fn access(&self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// The last loaded program. Loading costs far more than a start may (the kernel verifies and
/// compiles it), attaching next to nothing; containers of a task mostly have equal rules.
#[derive(Default)]
pub(in crate::start) struct Programs {
    last: Option<(Vec<Rule>, OwnedFd)>,
}

impl Programs {
    /// Lets only `rules` pass in the group whose folder is open as `group`.
    pub(super) fn attach(&mut self, group: RawFd, rules: &[Rule]) -> Sys<()> {
        let known = self.last.take().filter(|(of, _)| of == rules);
        let (rules, program) = match known {
            Some(known) => known,
            None => (rules.to_vec(), load(&program(rules))?),
        };
        // BPF_PROG_ATTACH (8): target and program, then type BPF_CGROUP_DEVICE (6) and the flag
        // that lets an outer manager keep its own (BPF_F_ALLOW_MULTI, 2).
        let mut attributes = [
            group as u64 | (program.as_raw_fd() as u64) << 32,
            6 | 2 << 32,
        ];
        let answer = kernel::bpf(8, &mut attributes).map(drop);
        self.last = Some((rules, program));
        answer
    }
}

/// One instruction in the kernel's encoding.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    }
}

const LOAD: u8 = 0x61;
const COPY: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const UNLESS_EQUAL: u8 = 0x55;
const UNLESS_SAME: u8 = 0x5d;
const SET: u8 = 0xb7;
const EXIT: u8 = 0x95;

/// Registers: 2 node kind, 3 wanted access, 4 major, 5 minor, 1 scratch, 0 the answer.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut out = vec![
        instruction(LOAD, 2, 1, 0, 0),
        instruction(COPY, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD, 4, 1, 4, 0),
        instruction(LOAD, 5, 1, 8, 0),
    ];
    for rule in rules {
        let kind = match rule.kind {
            NodeKind::Block => 1,
            NodeKind::Char => 2,
        };
        let mut body = vec![instruction(UNLESS_EQUAL, 2, 0, 0, kind)];
        if rule.access() != 7 {
            body.push(instruction(COPY, 1, 3, 0, 0));
            body.push(instruction(AND, 1, 0, 0, rule.access()));
            body.push(instruction(UNLESS_SAME, 1, 3, 0, 0));
        }
        for (register, number) in [(4, rule.major), (5, rule.minor)] {
            if let Some(number) = number {
                body.push(instruction(UNLESS_EQUAL, register, 0, 0, number as i32));
            }
        }
        // A rule that does not match jumps behind its two closing instructions.
        let length = body.len();
        for (at, part) in body.iter_mut().enumerate() {
            if part.code == UNLESS_EQUAL || part.code == UNLESS_SAME {
                part.offset = (length - at + 1) as i16;
            }
        }
        out.extend(body);
        out.push(instruction(SET, 0, 0, 0, 1));
        out.push(instruction(EXIT, 0, 0, 0, 0));
    }
    out.push(instruction(SET, 0, 0, 0, 0));
    out.push(instruction(EXIT, 0, 0, 0, 0));
    out
}

fn load(program: &[Instruction]) -> Sys<OwnedFd> {
    // BPF_PROG_LOAD (5): type BPF_PROG_TYPE_CGROUP_DEVICE (15) and count, the instructions, the
    // licence; no log.
    let mut attributes = [
        15 | (program.len() as u64) << 32,
        program.as_ptr() as u64,
        c"Apache-2.0".as_ptr() as u64,
        0,
        0,
        0,
    ];
    let fd = kernel::bpf(5, &mut attributes)? as RawFd;
    kernel::set_cloexec(fd, true)?;
    Ok(owned(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_v1_lines() {
        let lines: Vec<_> = default_rules().iter().map(Rule::v1_text).collect();
        assert_eq!(lines[0], "c *:* m");
        assert_eq!(lines[2], "c 1:3 rwm");
        assert_eq!(lines[10], "c 136:* rwm");
    }

    /// Runs the program as the kernel would.
    fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> i64 {
        let context = [access << 16 | kind, major, minor];
        let mut register = [0i64; 8];
        let mut at = 0;
        loop {
            let i = program[at];
            let (to, from) = ((i.registers & 15) as usize, (i.registers >> 4) as usize);
            let jump = match i.code {
                LOAD => {
                    register[to] = i64::from(context[i.offset as usize / 4]);
                    false
                }
                COPY => {
                    register[to] = register[from];
                    false
                }
                AND => {
                    register[to] &= i64::from(i.immediate);
                    false
                }
                SHIFT_RIGHT => {
                    register[to] >>= i.immediate;
                    false
                }
                UNLESS_EQUAL => register[to] != i64::from(i.immediate),
                UNLESS_SAME => register[to] != register[from],
                SET => {
                    register[to] = i64::from(i.immediate);
                    false
                }
                EXIT => return register[0],
                code => panic!("code {code:#x}"),
            };
            at += 1 + if jump { i.offset as usize } else { 0 };
        }
    }

    #[test]
    fn the_program_allows_what_the_rules_say() {
        let program = program(&default_rules());
        let (block, char) = (1, 2);
        for (kind, access, major, minor, want) in [
            (char, 6, 1, 3, 1),
            (char, 2, 136, 77, 1),
            (char, 1, 10, 229, 1),
            (block, 1, 8, 0, 1),
            (char, 2, 10, 229, 0),
            (char, 3, 10, 229, 0),
            (char, 6, 1, 1, 0),
            (block, 2, 1, 3, 0),
            (char, 2, 10, 200, 0),
        ] {
            assert_eq!(run(&program, kind, access, major, minor), want);
        }
    }

    #[test]
    #[ignore = "needs root: the kernel verifies the program"]
    fn the_kernel_accepts_the_program() {
        load(&program(&default_rules())).unwrap();
        load(&program(&[])).unwrap();
    }
}
