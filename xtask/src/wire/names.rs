//! Rust names for what the model names in camel case, in capitals, or with dashes.

use anyhow::{Result, ensure};

const KEYWORDS: [&str; 12] = [
    "as", "const", "enum", "for", "in", "match", "mod", "move", "ref", "struct", "type", "use",
];

/// `taskDefinitionArn` -> `task_definition_arn`, `enableECSManagedTags` -> `enable_ecs_managed_tags`.
pub(crate) fn snake(name: &str) -> String {
    // Units are one word each; the general rule would cut them in two.
    let name = name
        .replace("MiB", "Mib")
        .replace("GiB", "Gib")
        .replace("GB", "Gb");
    let name = name.replace("vCpu", "vcpu").replace("VCpu", "Vcpu");
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| letters.get(before));
        let after = letters.get(at + 1);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if starts_word {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// The name of a struct's field; keywords are escaped.
pub(crate) fn field(member: &str) -> String {
    let name = snake(member);
    if KEYWORDS.contains(&name.as_str()) {
        format!("r#{name}")
    } else {
        name
    }
}

/// `FARGATE_SPOT` -> `FargateSpot`, `awsvpc` -> `Awsvpc`, `memberOf` -> `MemberOf`.
pub(crate) fn variant(value: &str) -> Result<String> {
    let shouts = !value.chars().any(char::is_lowercase);
    let mut out = String::with_capacity(value.len());
    for word in value.split(|letter: char| !letter.is_alphanumeric()) {
        // Two numbers that meet would read as one.
        if out.ends_with(|last: char| last.is_numeric()) && word.starts_with(char::is_numeric) {
            out.push('_');
        }
        for (at, letter) in word.chars().enumerate() {
            match (at, shouts) {
                (0, _) => out.extend(letter.to_uppercase()),
                (_, true) => out.extend(letter.to_lowercase()),
                (_, false) => out.push(letter),
            }
        }
    }
    ensure!(
        out.starts_with(|letter: char| letter.is_ascii_alphabetic()) && out != "Other",
        "the enum value {value:?} has no Rust name"
    );
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_like_rust() {
        let fields = [
            ("taskDefinitionArn", "task_definition_arn"),
            ("enableECSManagedTags", "enable_ecs_managed_tags"),
            ("webACLArn", "web_acl_arn"),
            ("bindIP", "bind_ip"),
            ("totalLocalStorageGB", "total_local_storage_gb"),
            ("memoryGiBPerVCpu", "memory_gib_per_vcpu"),
            ("RunTask", "run_task"),
            ("type", "r#type"),
        ];
        for (member, expected) in fields {
            assert_eq!(field(member), expected);
        }
        let variants = [
            ("FARGATE_SPOT", "FargateSpot"),
            ("EC2", "Ec2"),
            ("memberOf", "MemberOf"),
            ("json-file", "JsonFile"),
            ("X86_64", "X86_64"),
        ];
        for (value, expected) in variants {
            assert_eq!(variant(value).unwrap(), expected);
        }
        assert!(variant("1st").is_err());
    }
}
