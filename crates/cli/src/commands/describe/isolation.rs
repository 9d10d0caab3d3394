//! What keeps a container of a task apart from the machine and from others, as its definition and
//! its overrides have it. What the node gives to every container stands with the node.

use crate::task::text;
use windlass_wire::shapes::container_definition::ContainerDefinition;
use windlass_wire::shapes::task::Task;
use windlass_wire::shapes::task_definition::{IpcMode, NetworkMode, PidMode, TaskDefinition};
use windlass_wire::shapes::task_override::ContainerOverride;

/// Lines of a container's record, by their labels.
pub(super) fn of(
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    task: &Task,
) -> Vec<(&'static str, String)> {
    let privileged = container.privileged == Some(true);
    let seccomp = if privileged {
        "none (privileged)"
    } else {
        "default profile"
    };
    let mut lines = vec![
        ("namespaces", namespaces(definition)),
        ("seccomp", seccomp.to_owned()),
        ("capabilities", capabilities(container, privileged)),
        ("devices", devices(container, privileged)),
        ("limits", limits(container, task)),
    ];
    if container.readonly_root_filesystem == Some(true) {
        lines.push(("root", String::from("read-only")));
    }
    let options = container.docker_security_options.iter().flatten();
    let options: Vec<&str> = options.map(String::as_str).collect();
    lines.push(("options", options.join(", ")));
    lines
}

fn namespaces(definition: &TaskDefinition) -> String {
    let network = match &definition.network_mode {
        Some(NetworkMode::Host) => "the machine's",
        Some(NetworkMode::Awsvpc) => "the task's",
        Some(NetworkMode::None) => "own, without a network",
        Some(NetworkMode::Bridge | NetworkMode::Other(_)) | None => "own",
    };
    let processes = match &definition.pid_mode {
        Some(PidMode::Host) => "the machine's",
        Some(PidMode::Task) => "the task's",
        Some(PidMode::Other(_)) | None => "own",
    };
    let ipc = match &definition.ipc_mode {
        Some(IpcMode::Host) => "the machine's",
        Some(IpcMode::Task) => "the task's",
        Some(IpcMode::None | IpcMode::Other(_)) | None => "own",
    };
    format!(
        "mounts own, host name own, processes {processes}, IPC {ipc}, network {network}, \
         user ids the machine's"
    )
}

/// Adding wins over dropping, and `ALL` stands for every one, as the node has it.
fn capabilities(container: &ContainerDefinition, privileged: bool) -> String {
    if privileged {
        return String::from("all (privileged)");
    }
    let linux = container.linux_parameters.as_ref();
    let given = linux.and_then(|linux| linux.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        let names = list.into_iter().flatten();
        names.map(|name| name.to_ascii_uppercase()).collect()
    };
    let added = names(given.and_then(|given| given.add.as_ref()));
    let dropped = names(given.and_then(|given| given.drop.as_ref()));
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let base = match (all(&added), all(&dropped)) {
        (true, _) => "all",
        (false, true) => "none",
        (false, false) => "the default ones",
    };
    let mut parts = vec![base.to_owned()];
    let some = |list: Vec<String>, word: &str| {
        let named: Vec<String> = list.into_iter().filter(|name| name != "ALL").collect();
        (!named.is_empty()).then(|| format!("{word} {}", named.join(", ")))
    };
    if base != "all" {
        parts.extend(some(added, "with"));
    }
    if base != "none" {
        parts.extend(some(dropped, "without"));
    }
    parts.join(" ")
}

fn devices(container: &ContainerDefinition, privileged: bool) -> String {
    if privileged {
        return String::from("all of the machine (privileged)");
    }
    let linux = container.linux_parameters.as_ref();
    let devices = linux.and_then(|linux| linux.devices.as_ref());
    let paths = devices.into_iter().flatten();
    let paths: Vec<&str> = paths.map(|device| text(&device.host_path)).collect();
    paths.join(", ")
}

fn limits(container: &ContainerDefinition, task: &Task) -> String {
    let changed = override_of(task, text(&container.name));
    let memory = changed.and_then(|it| it.memory).or(container.memory);
    let soft = changed.and_then(|it| it.memory_reservation);
    let soft = soft.or(container.memory_reservation);
    let cpu = changed.and_then(|it| it.cpu).or(container.cpu);
    let mut limits = Vec::new();
    limits.extend(memory.map(|mib| format!("memory {mib} MiB")));
    limits.extend(soft.map(|mib| format!("memory reservation {mib} MiB")));
    limits.extend(
        cpu.filter(|cpu| *cpu > 0)
            .map(|cpu| format!("cpu share {cpu}")),
    );
    for limit in container.ulimits.iter().flatten() {
        let name = limit.name.as_ref().map_or("", |name| name.as_str());
        let (soft, hard) = (limit.soft_limit.unwrap_or(0), limit.hard_limit.unwrap_or(0));
        limits.push(format!("{name} {soft}:{hard}"));
    }
    limits.join(", ")
}

fn override_of<'a>(task: &'a Task, name: &str) -> Option<&'a ContainerOverride> {
    let overrides = task.overrides.as_ref()?.container_overrides.as_ref()?;
    overrides.iter().find(|it| text(&it.name) == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lines(definition: Value, task: Value) -> Vec<(&'static str, String)> {
        let definition: TaskDefinition = serde_json::from_value(definition).unwrap();
        let task: Task = serde_json::from_value(task).unwrap();
        let container = &definition.container_definitions.as_ref().unwrap()[0];
        of(&definition, container, &task)
    }

    fn line(label: &str, definition: Value) -> String {
        let lines = lines(definition, json!({}));
        let found = lines.into_iter().find(|(given, _)| *given == label);
        found.map(|(_, text)| text).unwrap_or_default()
    }

    #[test]
    fn it_is_what_the_definition_says() {
        let of = |container: Value| json!({ "containerDefinitions": [container] });
        let capabilities =
            |given: Value| of(json!({ "linuxParameters": { "capabilities": given } }));
        let ids = "user ids the machine's";
        for (label, definition, expected) in [
            (
                "namespaces",
                of(json!({})),
                format!("mounts own, host name own, processes own, IPC own, network own, {ids}"),
            ),
            (
                "namespaces",
                json!({ "networkMode": "host", "pidMode": "host", "ipcMode": "task",
                        "containerDefinitions": [{}] }),
                format!(
                    "mounts own, host name own, processes the machine's, IPC the task's, network \
                     the machine's, {ids}"
                ),
            ),
            ("seccomp", of(json!({})), "default profile".into()),
            (
                "seccomp",
                of(json!({ "privileged": true })),
                "none (privileged)".into(),
            ),
            ("capabilities", of(json!({})), "the default ones".into()),
            (
                "capabilities",
                of(json!({ "privileged": true })),
                "all (privileged)".into(),
            ),
            (
                "capabilities",
                capabilities(json!({ "add": ["NET_ADMIN"], "drop": ["MKNOD"] })),
                "the default ones with NET_ADMIN without MKNOD".into(),
            ),
            (
                "capabilities",
                capabilities(json!({ "add": ["KILL"], "drop": ["ALL", "CHOWN"] })),
                "none with KILL".into(),
            ),
            (
                "capabilities",
                capabilities(json!({ "add": ["ALL"], "drop": ["SYS_ADMIN"] })),
                "all without SYS_ADMIN".into(),
            ),
            (
                "devices",
                of(json!({ "linuxParameters": { "devices": [{ "hostPath": "/dev/kvm" }] } })),
                "/dev/kvm".into(),
            ),
            (
                "limits",
                of(json!({ "memory": 64, "cpu": 128, "ulimits": [
                    { "name": "nofile", "softLimit": 10, "hardLimit": 20 }] })),
                "memory 64 MiB, cpu share 128, nofile 10:20".into(),
            ),
            (
                "root",
                of(json!({ "readonlyRootFilesystem": true })),
                "read-only".into(),
            ),
        ] {
            assert_eq!(line(label, definition.clone()), expected, "{definition}");
        }
    }

    #[test]
    fn overrides_are_in_it() {
        let definition = json!({ "containerDefinitions": [{ "name": "web", "memory": 64 }] });
        let task = json!({ "overrides": { "containerOverrides": [
            { "name": "web", "memory": 128, "cpu": 256 }] } });
        let lines = lines(definition, task);
        let limits = lines.iter().find(|(label, _)| *label == "limits").unwrap();
        assert_eq!(limits.1, "memory 128 MiB, cpu share 256");
    }
}
