//! What may not stand in which crate, names that no module may have, and what each must begin with.

use super::Failure;
use super::edges::PURE;
use super::source::{Source, line_of, words};

/// A word that must not stand in some places.
struct Ban {
    word: &'static str,
    /// Whether the ban holds in this crate.
    holds: fn(&str) -> bool,
    /// Whether tests must keep to it as well.
    in_tests: bool,
    rule: &'static str,
    mend: &'static str,
}

const fn pure(word: &'static str, mend: &'static str) -> Ban {
    let rule = "a pure crate has no clock, randomness, file, socket, thread or unordered map";
    Ban {
        word,
        holds: |name| PURE.contains(&name),
        in_tests: false,
        rule,
        mend,
    }
}

const TAKE_TIME: &str = "take the time as an argument";
const TAKE_SEED: &str = "take the seed as an argument";
const TO_SHELL: &str = "move it to a shell, e.g. server or agent";
const ORDERED: &str = "use a BTreeMap or BTreeSet, whose order is the same on every run";

const fn environment(word: &'static str) -> Ban {
    Ban {
        word,
        holds: |name| !["windlass", "xtask"].contains(&name),
        in_tests: false,
        rule: "only the executable reads the environment",
        mend: "read it in crates/windlass and pass the value",
    }
}

const fn allow(word: &'static str) -> Ban {
    Ban {
        word,
        holds: |_| true,
        in_tests: true,
        rule: "an exception from a lint says when it is no longer needed",
        mend: "write #[expect(…, reason = \"…\")]",
    }
}

const BANS: &[Ban] = &[
    pure("Instant::now", TAKE_TIME),
    pure("SystemTime::now", TAKE_TIME),
    pure("HashMap", ORDERED),
    pure("HashSet", ORDERED),
    pure("tokio", TO_SHELL),
    pure("std::fs", TO_SHELL),
    pure("std::net::TcpStream", TO_SHELL),
    pure("std::net::TcpListener", TO_SHELL),
    pure("std::net::UdpSocket", TO_SHELL),
    pure("std::thread", TO_SHELL),
    pure("std::process", TO_SHELL),
    pure("thread_rng", TAKE_SEED),
    pure("ThreadRng", TAKE_SEED),
    pure("rand::rng", TAKE_SEED),
    pure("rand::random", TAKE_SEED),
    pure("OsRng", TAKE_SEED),
    pure("SysRng", TAKE_SEED),
    Ban {
        word: "unsafe",
        holds: |name| !["runtime", "network"].contains(&name),
        in_tests: true,
        rule: "unsafe code lies in crates/runtime and crates/network alone",
        mend: "use rustix, or give runtime or network a safe function for it",
    },
    environment("env::var"),
    environment("env::var_os"),
    environment("env::vars"),
    environment("env::vars_os"),
    Ban {
        word: "Command::new",
        holds: |name| {
            let bare = [
                "agent", "runtime", "network", "image", "server", "api", "store",
            ];
            bare.contains(&name)
        },
        in_tests: false,
        rule: "no part of the product runs other programs",
        mend: "make the system call or speak the protocol; the shim is started by fork and exec",
    },
    allow("#[allow("),
    allow("#![allow("),
];

/// Names that say nothing of what a module holds.
const VAGUE: [&str; 5] = ["mod", "utils", "common", "helpers", "types"];

/// Marks of unfinished work, in two halves so that this file does not hold them.
const MARKERS: [(&str, &str); 3] = [("FIX", "ME"), ("TO", "DO"), ("XX", "X")];

/// Endings of the files in which a marker is one.
const MARKED: [&str; 10] = [
    ".rs", ".md", ".sh", ".py", ".toml", ".ts", ".tsx", ".yml", ".css", "Makefile",
];

pub(super) fn check(source: &Source) -> Vec<Failure> {
    let mut failures = Vec::new();
    for ban in BANS.iter().filter(|ban| (ban.holds)(source.crate_name())) {
        let text = if ban.in_tests {
            &source.code
        } else {
            &source.product
        };
        for at in words(text, ban.word) {
            let rule = format!("`{}`: {}", ban.word, ban.rule);
            failures.push(Failure::new(
                &source.path,
                line_of(text, at),
                rule,
                ban.mend,
            ));
        }
    }
    failures.extend(expectations(source));
    failures.extend(vague(source));
    if !source.documented && source.path.contains("src/") {
        let rule = "the module does not say what it is about";
        let mend = "begin with //! lines: what it does, what it does not, and why";
        failures.push(Failure::new(&source.path, 1, rule, mend));
    }
    failures
}

/// Every `#[expect(` gives a reason.
fn expectations(source: &Source) -> Vec<Failure> {
    let starts = source.code.match_indices("[expect(");
    let bare = starts.filter(|(at, _)| {
        let rest = source.code.get(*at..).unwrap_or_default();
        let end = rest.find(']').unwrap_or(rest.len());
        !rest
            .get(..end)
            .is_some_and(|attribute| attribute.contains("reason"))
    });
    bare.map(|(at, _)| {
        let mend = "add reason = \"…\", a sentence on why the lint is wrong here";
        let line = line_of(&source.code, at);
        Failure::new(
            &source.path,
            line,
            "an exception from a lint gives its reason",
            mend,
        )
    })
    .collect()
}

fn vague(source: &Source) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mend = "name the module after the noun it holds";
    let parts = source
        .path
        .split('/')
        .map(|part| part.strip_suffix(".rs").unwrap_or(part));
    // Shared code of integration tests has to lie in a folder of its own.
    let in_tests = source.path.contains("/tests/");
    for part in parts.filter(|part| VAGUE.contains(part) && !in_tests) {
        let rule = format!("the name `{part}` does not say what the module holds");
        failures.push(Failure::new(&source.path, 0, rule, mend));
    }
    for name in VAGUE.iter().filter(|name| **name != "mod") {
        let declaration = format!("mod {name}");
        for at in words(&source.product, &declaration) {
            let rule = format!("the name `{name}` does not say what the module holds");
            let line = line_of(&source.product, at);
            failures.push(Failure::new(&source.path, line, rule, mend));
        }
    }
    failures
}

/// Marks of unfinished work in any text that people write.
pub(super) fn markers(path: &str, text: &str) -> Vec<Failure> {
    if !MARKED.iter().any(|ending| path.ends_with(ending)) {
        return Vec::new();
    }
    let mut failures = Vec::new();
    for (head, tail) in MARKERS {
        let marker = format!("{head}{tail}");
        for at in words(text, &marker) {
            let rule = format!("`{marker}` stands for work that nobody tracks");
            let mend = "do it, or refuse the case with an error that says so";
            failures.push(Failure::new(path, line_of(text, at), rule, mend));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let failures = check(&Source::new(path, &format!("//! Doc.\n{text}")));
        // The documentation takes a line of its own.
        let mut lines: Vec<usize> = failures
            .iter()
            .map(|failure| failure.line.saturating_sub(1))
            .collect();
        lines.dedup();
        lines
    }

    #[test]
    fn bans_hold_in_their_crates() {
        let clock = "fn a() {\n    let now = std::time::Instant::now();\n}\n";
        assert_eq!(lines("crates/cluster/src/a.rs", clock), [2]);
        assert_eq!(lines("crates/server/src/a.rs", clock), Vec::<usize>::new());
        let word = ["unsa", "fe { x() }"].concat();
        assert_eq!(lines("crates/model/src/a.rs", &word), [1]);
        assert_eq!(lines("crates/runtime/src/a.rs", &word), Vec::<usize>::new());
        let environment = "std::env::var(\"HOME\")";
        assert_eq!(lines("crates/agent/src/a.rs", environment), [1]);
        assert_eq!(
            lines("crates/windlass/src/a.rs", environment),
            Vec::<usize>::new()
        );
        assert_eq!(
            lines("crates/agent/tests/a.rs", environment),
            Vec::<usize>::new()
        );
        let command = "tokio::process::Command::new(\"ip\")";
        assert_eq!(lines("crates/network/src/a.rs", command), [1]);
        assert_eq!(lines("crates/cli/src/a.rs", command), Vec::<usize>::new());
    }

    #[test]
    fn comments_strings_and_tests_are_free() {
        let text =
            "// HashMap\nconst A: &str = \"HashMap\";\n#[cfg(test)]\nmod tests { use HashMap; }";
        assert_eq!(lines("crates/model/src/a.rs", text), Vec::<usize>::new());
    }

    #[test]
    fn lint_exceptions_are_expected_with_a_reason() {
        let attribute = |word: &str, rest: &str| format!("#[{word}(dead_code{rest})]\nfn a() {{}}");
        let path = "crates/cli/src/a.rs";
        assert_eq!(lines(path, &attribute("allow", ", reason = \"x\"")), [1]);
        assert_eq!(lines(path, &attribute("expect", "")), [1]);
        assert_eq!(
            lines(path, &attribute("expect", ", reason = \"x\"")),
            Vec::<usize>::new()
        );
    }

    #[test]
    fn modules_say_what_they_are_about() {
        let rules = |path: &str, text: &str| check(&Source::new(path, text)).len();
        assert_eq!(rules("crates/cli/src/a.rs", "fn a() {}"), 1);
        assert_eq!(
            rules(
                "crates/cli/src/a.rs",
                "// Generated.\n//! Tasks.\nfn a() {}"
            ),
            0
        );
        assert_eq!(rules("crates/cli/tests/a.rs", "fn a() {}"), 0);
    }

    #[test]
    fn vague_names_fail() {
        assert_eq!(lines("crates/cli/src/utils.rs", ""), [0]);
        assert_eq!(lines("crates/cli/src/task/mod.rs", ""), [0]);
        assert_eq!(lines("crates/cli/src/lib.rs", "\nmod helpers;"), [2]);
        assert_eq!(
            lines("crates/cli/src/lib.rs", "mod helpers_of_tasks;"),
            Vec::<usize>::new()
        );
    }

    #[test]
    fn markers_fail_in_all_that_people_write() {
        let text = ["a\n// TO", "DO: b"].concat();
        for path in ["a.rs", "docs/a.md", "Makefile"] {
            assert_eq!(markers(path, &text).len(), 1, "{path}");
        }
        assert!(markers("Cargo.lock", &text).is_empty());
        assert!(markers("a.rs", "TODOS").is_empty());
    }
}
