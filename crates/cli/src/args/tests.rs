//! Command lines as people type them, right and wrong.

use super::*;

fn line(text: &str) -> Result<Args, clap::Error> {
    read(
        std::iter::once("windlass")
            .chain(text.split_whitespace())
            .map(OsString::from),
    )
}

fn verb(text: &str) -> Verb {
    line(text)
        .unwrap_or_else(|err| panic!("{text}: {err}"))
        .verb
}

#[test]
fn the_definition_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn every_verb_has_examples() {
    for verb in Args::command().get_subcommands() {
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let name = verb.get_name();
        assert!(help.contains(&format!("windlass {name}")), "{name}: {help}");
    }
}

#[test]
fn up_has_defaults_and_takes_lists() {
    let Verb::Up(up) = verb("up") else { panic!() };
    assert_eq!(
        (up.listen, up.clusters.as_slice()),
        (None, &[] as &[String]),
        "kept from the start before, and beside `default`"
    );
    assert_eq!(
        (up.cpu_overcommit, up.detach, up.reserve_memory),
        (1.0, false, None)
    );
    let args = line(
        "up --data /d --cluster a,b --cpu-overcommit 2.5 --subnet 10.1.0.0/16 --detach \
         --registry-mirror docker.io=m:5000 --registry-mirror quay.io=n --reserve-memory 512",
    )
    .unwrap();
    assert_eq!(args.data_or_default(), Path::new("/d"));
    let Verb::Up(up) = args.verb else { panic!() };
    assert_eq!(
        (up.clusters, up.cpu_overcommit, up.reserve_memory),
        (vec!["a".into(), "b".into()], 2.5, Some(512))
    );
    assert_eq!(
        up.subnet.map(|it| it.to_string()).as_deref(),
        Some("10.1.0.0/16")
    );
    let second = Mirror {
        registry: "quay.io".into(),
        mirror: "n".into(),
    };
    assert_eq!(up.registry_mirrors.get(1), Some(&second));
    assert!(up.allowed_host_paths.is_empty());
    assert_eq!(
        line("down").unwrap().data_or_default(),
        Path::new(DATA_DEFAULT)
    );
}

#[test]
fn allowed_host_paths_are_absolute_and_perhaps_read_only() {
    let args = line("up --allow-host-path / --allow-host-path /var/run:ro").unwrap();
    let Verb::Up(up) = args.verb else { panic!() };
    let allowed = up.allowed_host_paths.iter();
    let allowed: Vec<_> = allowed.map(|it| (it.path.to_str(), it.readonly)).collect();
    assert_eq!(allowed, [(Some("/"), false), (Some("/var/run"), true)]);
    for bad in ["relative", ":ro", "/a/../b", "a:/b"] {
        assert!(
            line(&format!("up --allow-host-path {bad}")).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn run_takes_a_command_either_way() {
    for text in ["run web --command sh -c true", "run web -- sh -c true"] {
        let Verb::Run(run) = verb(text) else { panic!() };
        assert_eq!(run.words(), ["sh", "-c", "true"], "{text}");
    }
    let Verb::Run(run) = verb("run web:3 --count 2 --env A=b=c --env E= --cpu 256 --detach") else {
        panic!()
    };
    assert_eq!(
        (run.source.as_str(), run.count, run.detach),
        ("web:3", 2, true)
    );
    let vars = [
        ("A".to_owned(), "b=c".to_owned()),
        ("E".to_owned(), String::new()),
    ];
    assert_eq!(run.vars, vars);
}

#[test]
fn data_goes_before_or_after_the_verb() {
    for text in ["--data /d ps", "ps --data /d", "images ls --data /d"] {
        assert_eq!(
            line(text).unwrap().data.as_deref(),
            Some(Path::new("/d")),
            "{text}"
        );
    }
}

#[test]
fn wrong_lines_are_usage() {
    for text in [
        "",
        "nonsense",
        "up --listen 7737",
        "up --subnet 10.0.0.1/16",
        "up --subnet 10.0.0.0/31",
        "up --registry-mirror docker.io",
        "up --cpu-overcommit 0",
        "up --cpu-overcommit nan",
        "run",
        "run web --count 0",
        "run web --env NOVALUE",
        "run web --env =x",
        "run web --launch-type NONE",
        "stop",
        "ps --output yaml",
        "logs --tail -1 3f",
        "nodes add",
        "env --shell tcsh",
        "completion tcsh",
    ] {
        let words = std::iter::once("windlass")
            .chain(text.split_whitespace())
            .map(OsString::from);
        assert_eq!(parse(words).unwrap_err(), USAGE, "{text}");
    }
    assert_eq!(
        parse(["windlass", "--help"].map(OsString::from)).unwrap_err(),
        0
    );
}

#[test]
fn help_begins_with_examples() {
    let help = read(["windlass", "stop", "--help"].map(OsString::from))
        .unwrap_err()
        .to_string();
    let begin = "Stop tasks\n\nExamples:\n  windlass stop 3f2a ";
    assert!(help.starts_with(begin), "{help}");
    let usage = help.find("\n\nUsage: windlass stop").unwrap();
    let flags = help.find("--reason <TEXT>").unwrap();
    assert!(usage < flags, "{help}");
    assert!(!help.ends_with("\n\n\n"), "{help:?}");
}

#[test]
fn verbs_of_other_tools_are_known() {
    for (given, ours) in [
        ("rm x", "windlass images rm"),
        ("inspect x", "windlass describe"),
        ("kill", "windlass stop --force"),
    ] {
        let said = line(given).unwrap_err().to_string();
        assert!(said.contains(ours) && !said.contains("'run'"), "{said}");
    }
    let said = line("regster x").unwrap_err().to_string();
    assert!(said.contains("'register'"), "{said}");
}

#[test]
fn a_verb_has_its_help_by_name_too() {
    let by_name = line("help ps").unwrap_err().to_string();
    assert_eq!(by_name, line("ps --help").unwrap_err().to_string());
    assert!(by_name.contains("windlass ps -a"));
}

#[test]
fn what_ps_cannot_do_is_refused() {
    for text in [
        "ps -q -o json",
        "ps --filter a",
        "ps --filter status=UP",
        "wait",
        "env --profile a]",
    ] {
        assert!(line(text).is_err(), "{text}");
    }
    for text in [
        "ps -aq",
        "ps -w --filter family=web -f tag=a=b",
        "logs web --since 5m",
        "wait a b running",
    ] {
        assert!(line(text).is_ok(), "{text}");
    }
}
