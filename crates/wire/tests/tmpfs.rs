//! Mount options of a tmpfs: those that ECS lists are kept as given, others are refused.

use serde_json::{Value, json};
use windlass_model::arn::Scope;
use windlass_wire::convert::register_task_definition;
use windlass_wire::decode;
use windlass_wire::ops::register_task_definition::RegisterTaskDefinitionRequest;

/// What is kept of the options, or the refusal.
fn registered(options: &[&str]) -> Result<Vec<String>, String> {
    let request: Value = json!({
        "family": "app",
        "containerDefinitions": [{
            "name": "web", "image": "busybox", "memory": 64,
            "linuxParameters": {
                "tmpfs": [{"containerPath": "/x", "size": 1, "mountOptions": options}]
            }
        }]
    });
    let body = request.to_string();
    let given = decode::<RegisterTaskDefinitionRequest>(body.as_bytes()).map_err(|e| e.message)?;
    let scope = Scope {
        region: "us-east-1".into(),
        account: "000000000000".into(),
    };
    let registered =
        register_task_definition(&scope, given.input, body.len()).map_err(|e| e.message)?;
    let linux = &registered.template.containers[0].linux_parameters;
    let tmpfs = linux.as_ref().and_then(|linux| linux.tmpfs.clone());
    Ok(tmpfs.unwrap().remove(0).mount_options.unwrap_or_default())
}

#[test]
fn every_documented_option_is_kept() {
    let documented = "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount \
        mand nomand atime noatime diratime nodiratime bind rbind unbindable runbindable private \
        rprivate shared rshared slave rslave relatime norelatime strictatime nostrictatime mode \
        uid gid nr_inodes nr_blocks mpol";
    let options: Vec<&str> = documented.split_whitespace().collect();
    assert_eq!(registered(&options).unwrap(), options);
    let valued = ["mode=1770", "uid=5", "mpol=local", "rw,noexec,nr_inodes=9"];
    assert_eq!(registered(&valued).unwrap(), valued);
}

#[test]
fn other_options_are_refused_by_name() {
    for (option, named) in [
        ("size=5", "size=5"),
        ("noexce", "noexce"),
        ("rw,nope", "nope"),
        ("rw,", ""),
        ("RO", "RO"),
        ("lowerdir=/", "lowerdir=/"),
    ] {
        let told = format!("Container 'web': '{named}' is not a valid mount option of a tmpfs.");
        assert_eq!(registered(&["noexec", option]), Err(told));
    }
}
