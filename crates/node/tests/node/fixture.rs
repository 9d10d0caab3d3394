//! Definitions for tests, written as text: one container a line,
//! `name[!] [after=other:CONDITION,…] [key=value …]`; `!` is essential.

use windlass_model::container::*;
use windlass_model::definition::{NetworkMode, Template};
use windlass_model::id::Name;

pub(crate) fn template(mode: NetworkMode, text: &str) -> Template {
    let containers = text
        .trim()
        .lines()
        .map(|line| container(line.trim()))
        .collect();
    Template {
        family: Name::new("test").unwrap(),
        task_role: None,
        execution_role: None,
        network_mode: Some(mode),
        containers,
        volumes: Vec::new(),
        placement_constraints: Vec::new(),
        requires_compatibilities: Vec::new(),
        cpu: None,
        memory: None,
        pid_mode: None,
        ipc_mode: None,
        proxy: None,
        ephemeral_storage_gib: None,
        runtime_platform: None,
        enable_fault_injection: None,
        trusted_execution: None,
        compatibilities: Vec::new(),
        requires_attributes: Vec::new(),
    }
}

fn container(line: &str) -> ContainerDefinition {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let mut container = plain(name.trim_end_matches('!'), name.ends_with('!'));
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "after" => container.depends_on = value.split(',').map(dependency).collect(),
            "links" => container.links = Some(value.split(',').map(str::to_owned).collect()),
            "start_timeout" => container.start_timeout_s = Some(value.parse().unwrap()),
            "stop_timeout" => container.stop_timeout_s = Some(value.parse().unwrap()),
            "restart" => {
                container.restart_policy = Some(RestartPolicy {
                    enabled: true,
                    ignored_exit_codes: None,
                    restart_attempt_period_s: Some(value.parse().unwrap()),
                });
            }
            "retries" => {
                container.health_check = Some(HealthCheck {
                    command: vec!["CMD".into(), "true".into()],
                    interval_s: 5,
                    timeout_s: 2,
                    retries: value.parse().unwrap(),
                    start_period_s: None,
                });
            }
            other => panic!("unknown key {other}"),
        }
    }
    container
}

fn dependency(text: &str) -> Dependency {
    let (name, condition) = text.split_once(':').unwrap();
    Dependency {
        container: Name::new(name).unwrap(),
        condition: match condition {
            "START" => Condition::Start,
            "COMPLETE" => Condition::Complete,
            "SUCCESS" => Condition::Success,
            "HEALTHY" => Condition::Healthy,
            other => panic!("unknown condition {other}"),
        },
    }
}

fn plain(name: &str, essential: bool) -> ContainerDefinition {
    ContainerDefinition {
        name: Name::new(name).unwrap(),
        image: "busybox".into(),
        repository_credentials: None,
        cpu: 0,
        memory: Some(64),
        memory_reservation: None,
        links: None,
        port_mappings: Vec::new(),
        essential,
        restart_policy: None,
        entry_point: None,
        command: None,
        environment: Vec::new(),
        environment_files: Vec::new(),
        mount_points: Vec::new(),
        volumes_from: Vec::new(),
        linux_parameters: None,
        secrets: Vec::new(),
        depends_on: Vec::new(),
        start_timeout_s: None,
        stop_timeout_s: None,
        version_consistency: None,
        hostname: None,
        user: None,
        working_directory: None,
        disable_networking: None,
        privileged: None,
        readonly_root_filesystem: None,
        dns_servers: None,
        dns_search_domains: None,
        extra_hosts: None,
        docker_security_options: None,
        interactive: None,
        pseudo_terminal: None,
        docker_labels: None,
        ulimits: None,
        log: None,
        health_check: None,
        system_controls: Vec::new(),
        resource_requirements: None,
        firelens: None,
        credential_specs: None,
    }
}
