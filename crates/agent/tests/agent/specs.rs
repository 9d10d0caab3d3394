//! Definition, overrides and image against what the runtime is given, as tables.

use crate::definitions::{assignment, name};
use windlass_agent::container_spec::{self, Prepared, Source};
use windlass_image::ImageConfig;
use windlass_model::container::{
    ContainerDefinition, Device, KeyValue, LinuxParameters, LogConfiguration, Tmpfs, Ulimit,
};
use windlass_model::definition::{NetworkMode, SharingMode, Template};
use windlass_model::stop::ReasonName;
use windlass_model::task::{ContainerOverride, Launch, TaskSpec};
use windlass_runtime::spec::*;

struct Case {
    task: TaskSpec,
    template: Template,
    image: ImageConfig,
    links: Vec<(String, String)>,
}

impl Case {
    fn new() -> Case {
        let assignment = assignment(1, NetworkMode::Host, "web!");
        Case {
            task: (*assignment.spec).clone(),
            template: assignment.definition.template.clone(),
            image: ImageConfig {
                entrypoint: words("/entry"),
                cmd: words("serve fast"),
                env: vec![("A".into(), "image".into()), ("B".into(), "image".into())],
                working_dir: "/srv".into(),
                user: Some("www".into()),
                stop_signal: Some(3),
                ..ImageConfig::default()
            },
            links: Vec::new(),
        }
    }

    fn web(&mut self) -> &mut ContainerDefinition {
        &mut self.template.containers[0]
    }

    fn change(&mut self) -> &mut ContainerOverride {
        self.task.overrides.containers.push(ContainerOverride {
            name: name("web"),
            command: None,
            environment: None,
            environment_files: None,
            cpu: None,
            memory: None,
            memory_reservation: None,
            resource_requirements: None,
        });
        self.task.overrides.containers.last_mut().unwrap()
    }

    fn build(&self) -> Result<ContainerSpec, windlass_model::stop::ContainerReason> {
        let definition = &self.template.containers[0];
        let source = Source {
            task: &self.task,
            template: &self.template,
            definition,
            image: &self.image,
            region: "eu-central-1",
            open_files_max: 600_000,
            links: &self.links,
        };
        container_spec::container(
            source,
            Prepared {
                root: Root::Layers {
                    lower: Vec::new(),
                    upper: "/u".into(),
                    work: "/w".into(),
                },
                mounts: Vec::new(),
                network: Network::Host,
                hostname: "node-1".into(),
                log: container_spec::log(definition, "/log".into())?,
            },
        )
    }

    fn spec(&self) -> ContainerSpec {
        self.build().unwrap_or_else(|reason| panic!("{reason:?}"))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn pair(name: &str, value: &str) -> KeyValue {
    KeyValue {
        name: name.into(),
        value: value.into(),
    }
}

#[test]
fn entry_point_and_command_merge() {
    for (entry_point, command, changed, args) in [
        (None, None, None, "/entry serve fast"),
        (None, Some("go"), None, "/entry go"),
        (Some("/own"), None, None, "/own"),
        (Some("/own"), Some("go"), None, "/own go"),
        (Some("/own"), Some("go"), Some("stop now"), "/own stop now"),
        (None, None, Some("now"), "/entry now"),
        (Some(""), Some(""), None, "/entry serve fast"),
    ] {
        let mut case = Case::new();
        case.web().entry_point = entry_point.map(words);
        case.web().command = command.map(words);
        case.change().command = changed.map(words);
        assert_eq!(case.spec().process.args, words(args));
    }
    let one_empty_word = || Some(vec![String::new()]);
    let mut case = Case::new();
    case.web().entry_point = one_empty_word();
    case.web().command = Some(words("echo hi"));
    assert_eq!(case.spec().process.args, words("echo hi"));
    // The image's command belongs to the entry point that is gone.
    case.web().command = None;
    assert_eq!(case.build().err().unwrap().detail, "no command specified");
    case.web().entry_point = None;
    case.image.entrypoint = vec![String::new()];
    assert_eq!(case.spec().process.args, words("serve fast"));
    // More than the one word is a program with an empty name, which is never found.
    case.web().entry_point = Some(vec![String::new(), "x".into()]);
    assert_eq!(case.spec().process.args, ["", "x"]);
    let mut case = Case::new();
    (case.image.entrypoint, case.image.cmd) = (Vec::new(), Vec::new());
    let reason = case.build().err().unwrap();
    assert_eq!(
        (reason.name, reason.detail.as_str()),
        (
            ReasonName::CannotCreateContainerError,
            "no command specified"
        )
    );
}

#[test]
fn environment_merges_in_order_and_keeps_places() {
    let mut case = Case::new();
    case.web().environment = vec![pair("B", "definition"), pair("C", "definition")];
    case.change().environment = Some(vec![pair("C", "override"), pair("D", "")]);
    let expected = [
        "HOSTNAME=node-1",
        "A=image",
        "B=definition",
        "C=override",
        "D=",
        "AWS_REGION=eu-central-1",
        "AWS_DEFAULT_REGION=eu-central-1",
        "AWS_EXECUTION_ENV=AWS_ECS_EC2",
    ];
    assert_eq!(case.spec().process.env, expected);
}

#[test]
fn links_and_a_terminal_add_variables_that_others_replace() {
    let mut case = Case::new();
    case.image.env = vec![("DB_PORT".into(), "image".into())];
    case.links = [("DB_PORT", "tcp://10.0.0.2:1"), ("DB_NAME", "/web/db")]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
    case.web().pseudo_terminal = Some(true);
    let env = case.spec().process.env;
    assert_eq!(
        env[..4],
        [
            "HOSTNAME=node-1",
            "TERM=xterm",
            "DB_PORT=image",
            "DB_NAME=/web/db"
        ]
    );
    case.web().environment = vec![pair("TERM", "vt100")];
    assert_eq!(case.spec().process.env[1], "TERM=vt100");
    case.web().pseudo_terminal = Some(false);
    case.web().environment.clear();
    let named = |pair: &String| pair.starts_with("TERM=");
    assert!(!case.spec().process.env.iter().any(named));
}

#[test]
fn what_aws_programs_look_for_is_given_unless_it_is_there() {
    let given = |case: &Case| {
        let env = case.spec().process.env;
        env.into_iter()
            .filter(|pair| pair.starts_with("AWS_"))
            .collect::<Vec<_>>()
    };
    let mut case = Case::new();
    case.task.launch = Launch::Fargate;
    case.image.env = vec![("AWS_DEFAULT_REGION".into(), "us-east-1".into())];
    assert_eq!(
        given(&case),
        [
            "AWS_DEFAULT_REGION=us-east-1",
            "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"
        ]
    );
    case.task.launch = Launch::External;
    case.image.env = Vec::new();
    case.change().environment = Some(vec![pair("AWS_EXECUTION_ENV", "own")]);
    assert_eq!(
        given(&case),
        [
            "AWS_EXECUTION_ENV=own",
            "AWS_REGION=eu-central-1",
            "AWS_DEFAULT_REGION=eu-central-1"
        ]
    );
}

#[test]
fn what_the_definition_leaves_out_comes_from_the_image() {
    let mut case = Case::new();
    let spec = case.spec();
    assert_eq!(
        (spec.process.cwd.as_str(), spec.process.user.as_str()),
        ("/srv", "www")
    );
    assert_eq!((spec.stop_signal, spec.stop_timeout_ms), (3, 30_000));
    assert!(spec.shm_bytes.is_none() && !spec.init && !spec.readonly_root && !spec.privileged);
    case.web().working_directory = Some("/own".into());
    case.web().user = Some("1000:1000".into());
    case.web().stop_timeout_s = Some(2);
    case.image = ImageConfig {
        cmd: words("run"),
        ..ImageConfig::default()
    };
    let spec = case.spec();
    assert_eq!(
        (spec.process.cwd.as_str(), spec.process.user.as_str()),
        ("/own", "1000:1000")
    );
    assert_eq!((spec.stop_signal, spec.stop_timeout_ms), (15, 2_000));
    case.web().working_directory = Some("own".into());
    let reason = case.build().err().unwrap();
    assert_eq!(
        (reason.name, reason.detail.as_str()),
        (
            ReasonName::CannotCreateContainerError,
            "the working directory 'own' is invalid, it needs to be an absolute path"
        )
    );
    case.web().working_directory = None;
    assert_eq!(case.spec().process.cwd, "/");
}

#[test]
fn capabilities_are_relative_to_the_fourteen() {
    for (add, drop, has, has_not, count) in [
        ("", "", "CHOWN", "SYS_ADMIN", 14),
        ("SYS_PTRACE", "", "SYS_PTRACE", "SYS_ADMIN", 15),
        ("cap_net_admin", "CHOWN", "NET_ADMIN", "CHOWN", 14),
        ("", "ALL", "", "CHOWN", 0),
        ("KILL", "ALL", "KILL", "CHOWN", 1),
        ("ALL", "SYS_ADMIN", "BPF", "SYS_ADMIN", 40),
        ("CHOWN", "CHOWN", "CHOWN", "SYS_ADMIN", 14),
    ] {
        let mut case = Case::new();
        case.web().linux_parameters = Some(LinuxParameters {
            capabilities_add: Some(words(add)),
            capabilities_drop: Some(words(drop)),
            ..LinuxParameters::default()
        });
        let set = case.spec().process.capabilities;
        assert_eq!(set.len(), count, "+{add} -{drop}: {set:?}");
        assert!(has.is_empty() || set.iter().any(|name| name == has));
        assert!(!set.iter().any(|name| name == has_not));
    }
}

#[test]
fn limits_follow_definition_and_overrides() {
    let mut case = Case::new();
    let limits = case.spec().limits;
    assert_eq!(limits.cpu_shares, Some(2), "an unset cpu is two shares");
    assert_eq!(limits.memory_bytes, Some(64 << 20));
    assert_eq!((limits.cpu_quota_us, limits.swap_bytes), (None, None));
    assert!(limits.pids.is_some());
    case.web().cpu = 512;
    case.web().memory = Some(1);
    case.web().memory_reservation = Some(32);
    case.web().linux_parameters = Some(LinuxParameters {
        max_swap_mib: Some(0),
        swappiness: Some(10),
        shared_memory_size_mib: Some(128),
        init_process_enabled: Some(true),
        ..LinuxParameters::default()
    });
    let spec = case.spec();
    assert_eq!(spec.limits.cpu_shares, Some(512));
    assert_eq!(
        spec.limits.memory_bytes,
        Some(4 << 20),
        "not below the smallest"
    );
    assert_eq!(spec.limits.memory_reservation_bytes, Some(32 << 20));
    assert_eq!(
        (spec.limits.swap_bytes, spec.limits.swappiness),
        (Some(0), Some(10))
    );
    assert_eq!((spec.shm_bytes, spec.init), (Some(128 << 20), true));
    let change = case.change();
    (change.cpu, change.memory) = (Some(1_024), Some(256));
    let limits = case.spec().limits;
    assert_eq!(
        (limits.cpu_shares, limits.memory_bytes),
        (Some(1_024), Some(256 << 20))
    );
}

#[test]
fn a_task_has_a_quota_by_its_cpu_or_its_containers_shares() {
    let mut case = Case::new();
    let id = || SandboxId("s".into());
    case.web().cpu = 300;
    let limits = container_spec::sandbox(id(), &case.task, &case.template).limits;
    assert_eq!((limits.cpu_shares, limits.cpu_quota_us), (Some(300), None));
    assert_eq!(limits.memory_bytes, None);
    (case.template.cpu, case.template.memory) = (Some(256), Some(512));
    let limits = container_spec::sandbox(id(), &case.task, &case.template).limits;
    assert_eq!(
        (limits.cpu_quota_us, limits.cpu_period_us),
        (Some(25_000), Some(100_000))
    );
    assert_eq!(
        (limits.cpu_shares, limits.memory_bytes),
        (None, Some(512 << 20))
    );
    case.task.overrides.cpu = Some(2_048);
    let limits = container_spec::sandbox(id(), &case.task, &case.template).limits;
    assert_eq!(limits.cpu_quota_us, Some(200_000));
}

#[test]
fn open_files_differ_by_launch_type_and_stay_in_reach() {
    let nofile = |case: &Case| {
        let spec = case.spec();
        let limit = spec
            .process
            .rlimits
            .into_iter()
            .find(|limit| limit.name == "nofile")
            .unwrap();
        (limit.soft, limit.hard)
    };
    let mut case = Case::new();
    assert_eq!(nofile(&case), (1_024, 524_288));
    case.task.launch = Launch::Fargate;
    assert_eq!(nofile(&case), (65_535, 65_535));
    case.web().ulimits = Some(vec![Ulimit {
        name: "nofile".into(),
        soft: 5,
        hard: -1,
    }]);
    assert_eq!(nofile(&case), (5, u64::MAX));
}

#[test]
fn namespaces_devices_and_tmpfs_are_passed_on() {
    let mut case = Case::new();
    assert_eq!(case.spec().pid, Namespace::Private);
    case.template.pid_mode = Some(SharingMode::Task);
    case.template.ipc_mode = Some(SharingMode::Host);
    case.web().linux_parameters = Some(LinuxParameters {
        devices: Some(vec![Device {
            host_path: "/dev/fuse".into(),
            container_path: None,
            permissions: Some(vec!["read".into()]),
        }]),
        tmpfs: Some(vec![Tmpfs {
            container_path: "/cache".into(),
            size_mib: 3,
            mount_options: Some(vec!["noexec".into()]),
        }]),
        ..LinuxParameters::default()
    });
    let spec = case.spec();
    assert_eq!(spec.pid, Namespace::Sandbox);
    assert_eq!(spec.ipc, Namespace::Host);
    let device = &spec.devices[0];
    assert_eq!(device.container_path, "/dev/fuse");
    assert_eq!(
        (device.read, device.write, device.mknod),
        (true, false, false)
    );
    let kind = MountKind::Tmpfs {
        size_bytes: 3 << 20,
        options: vec!["noexec".into()],
    };
    assert_eq!(
        spec.mounts,
        [Mount {
            target: "/cache".into(),
            kind,
            readonly: false
        }]
    );
}

#[test]
fn security_options_are_known_or_refused() {
    for (option, wanted) in [
        ("no-new-privileges", Some(true)),
        ("no-new-privileges:true", Some(true)),
        ("no-new-privileges:false", Some(false)),
        ("apparmor:unconfined", None),
        ("label:user:x", None),
        ("seccomp=unconfined", None),
    ] {
        let mut case = Case::new();
        case.web().docker_security_options = Some(vec![option.into()]);
        let given = case.build().ok().map(|spec| spec.process.no_new_privileges);
        assert_eq!(given, wanted, "{option}");
    }
}

#[test]
fn what_is_not_provided_is_refused_by_name() {
    type Change = fn(&mut Case);
    let checks: [(&str, Change); 4] = [
        ("environmentFiles", |case| {
            case.web().environment_files = vec!["arn".into()]
        }),
        ("repositoryCredentials", |case| {
            case.web().repository_credentials = Some("arn".into())
        }),
        ("credentialSpecs", |case| {
            case.web().credential_specs = Some(vec!["x".into()])
        }),
        ("awsfirelens", |case| {
            let driver = "awsfirelens".into();
            case.web().log = Some(LogConfiguration {
                driver,
                options: None,
                secret_options: None,
            });
        }),
    ];
    for (what, change) in checks {
        let mut case = Case::new();
        change(&mut case);
        let reason = case.build().err().unwrap();
        assert_eq!(reason.name, ReasonName::ResourceInitializationError);
        assert!(reason.detail.contains(what), "{}", reason.detail);
    }
}

#[test]
fn log_options_set_the_rotation() {
    for (size, files, expected) in [
        (None, None, Some((10 << 20, 3))),
        (Some("1m"), Some("5"), Some((1 << 20, 5))),
        (Some("512KB"), None, Some((512 << 10, 3))),
        (Some("9000g"), Some("0"), Some((1 << 30, 1))),
        (Some("many"), None, None),
        (None, Some("-1"), None),
    ] {
        let mut case = Case::new();
        let given = [("max-size", size), ("max-file", files)];
        let options = given
            .iter()
            .filter_map(|(k, v)| Some(((*k).into(), (*v)?.into())));
        case.web().log = Some(LogConfiguration {
            driver: "json-file".into(),
            options: Some(options.collect()),
            secret_options: None,
        });
        let log = case
            .build()
            .ok()
            .map(|spec| (spec.log.max_bytes, spec.log.files));
        assert_eq!(log, expected, "{size:?} {files:?}");
    }
}
