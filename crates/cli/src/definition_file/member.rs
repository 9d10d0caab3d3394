//! The members of a request by their paths, like `containerDefinitions[0].image`.

use windlass_wire::shape::{Kind, Shape};

/// How alike two names are to be taken for the same: a swapped or a missing letter is.
const ALIKE: f64 = 0.75;

/// The path of a member that is not known, with the name that may be meant.
pub(super) fn with_suggestion(shape: &'static Shape, path: &str) -> String {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let near = at(shape, parent).and_then(|shape| nearest(shape, name));
    match near {
        Some(near) => format!("{path}, did you mean {near}?"),
        None => path.to_owned(),
    }
}

/// The structure at a path.
fn at(shape: &'static Shape, path: &str) -> Option<&'static Shape> {
    let names = path.split('.').filter(|name| !name.is_empty());
    names
        .map(|name| name.split('[').next().unwrap_or(name))
        .try_fold(shape, |shape, name| {
            let member = shape.members.iter().find(|it| it.name == name)?;
            structure(&member.kind)
        })
}

fn structure(kind: &'static Kind) -> Option<&'static Shape> {
    match kind {
        Kind::Structure(shape) => Some(shape),
        Kind::List(kind) => structure(kind),
        _ => None,
    }
}

fn nearest(shape: &'static Shape, name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '-'], "");
    let wanted = plain(name);
    let likeness = |known: &str| {
        let known = plain(known);
        // `ports` for portMappings, `env` for environment.
        let begins = wanted.len() >= 3 && known.starts_with(wanted.trim_end_matches('s'));
        let alike = strsim::jaro_winkler(&wanted, &known);
        if begins { alike.max(ALIKE) } else { alike }
    };
    let scored = shape.members.iter().map(|it| (it.name, likeness(it.name)));
    let best = scored.max_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, likeness)| *likeness >= ALIKE)
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_wire::ops::RegisterTaskDefinitionRequest;
    use windlass_wire::shape::shape_of;

    #[test]
    fn a_near_name_is_suggested() {
        let shape = shape_of::<RegisterTaskDefinitionRequest>();
        for (path, near) in [
            ("famliy", "family"),
            ("ContainerDefinitions", "containerDefinitions"),
            ("network_mode", "networkMode"),
            ("containerDefinitions[0].imgae", "image"),
            ("containerDefinitions[12].env", "environment"),
            ("containerDefinitions[0].ports", "portMappings"),
            (
                "containerDefinitions[0].portMappings[0].contanerPort",
                "containerPort",
            ),
            ("containerDefinitions[0].healthcheck", "healthCheck"),
            ("volumes[0].hots", "host"),
        ] {
            let expected = format!("{path}, did you mean {near}?");
            assert_eq!(with_suggestion(shape, path), expected);
        }
        for path in ["zzz", "containerDefinitions[0].x", "nothing.family"] {
            assert_eq!(with_suggestion(shape, path), path);
        }
    }
}
