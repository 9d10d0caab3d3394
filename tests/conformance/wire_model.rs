//! Holds the generated ECS shapes against the model that the AWS clients carry: operations, members,
//! types, requiredness, limits, enum values, errors; and sends a whole sample of every structure
//! through its type and back.
//!
//! The model is botocore's, installed by `scripts/botocore.sh`. Without it the test passes with a
//! note, unless `CI` or `WINDLASS_BOTOCORE_MODEL` (a path) is set.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use windlass_wire::operation::{MODEL_VERSION, Operation, TARGET_PREFIX};
use windlass_wire::shape::{Kind, Limits, Member, Request, Shape, Text};
use windlass_wire::{ErrorCode, decode, for_each_operation};

/// The differences found, all told at the end.
type Faults = Vec<String>;

#[test]
fn operations_and_errors_are_the_models() {
    let Some(model) = model() else { return };
    let mut faults = Faults::new();
    let theirs = model["operations"].as_object().unwrap();
    let names: Vec<&str> = Operation::ALL
        .iter()
        .map(|operation| operation.name())
        .collect();
    same(
        "operations",
        &sorted(&names),
        &sorted(&keys(theirs)),
        &mut faults,
    );
    same(
        "target",
        &TARGET_PREFIX,
        &text(&model["metadata"]["targetPrefix"]),
        &mut faults,
    );
    for operation in Operation::ALL {
        let name = operation.name();
        let described = &theirs[name];
        let ours: Vec<&str> = operation
            .errors()
            .iter()
            .map(|code| code.as_str())
            .collect();
        let errors: Vec<&str> = described["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| text(&e["shape"]))
            .collect();
        same(name, &sorted(&ours), &sorted(&errors), &mut faults);
        let reads = described["readonly"] == json!(true);
        same(name, &operation.is_read_only(), &reads, &mut faults);
        let target = format!("{TARGET_PREFIX}.{name}");
        same(
            name,
            &Operation::from_target(&target),
            &Some(*operation),
            &mut faults,
        );
    }
    assert_eq!(faults, Faults::new());
}

#[test]
fn error_codes_are_the_models() {
    let Some(model) = model() else { return };
    let mut faults = Faults::new();
    let shapes = model["shapes"].as_object().unwrap();
    let theirs = shapes
        .iter()
        .filter(|(_, shape)| shape["exception"] == json!(true));
    let theirs: BTreeMap<&str, &Value> = theirs.map(|(name, s)| (name.as_str(), s)).collect();
    let ours: BTreeSet<&str> = ErrorCode::ALL
        .iter()
        .filter(|c| c.is_modelled())
        .map(|c| c.as_str())
        .collect();
    same(
        "codes",
        &ours,
        &theirs.keys().copied().collect(),
        &mut faults,
    );
    for code in ErrorCode::ALL.iter().filter(|code| code.is_modelled()) {
        let Some(shape) = theirs.get(code.as_str()) else {
            continue;
        };
        let status = if shape["fault"] == json!(true) {
            500
        } else {
            400
        };
        same(code.as_str(), &code.status(), &status, &mut faults);
        // ApiError has room for these two members and no other.
        let mut members = keys(shape["members"].as_object().unwrap());
        members.retain(|member| *member != "message");
        let expected: &[&str] = if *code == ErrorCode::Conflict {
            &["resourceIds"]
        } else {
            &[]
        };
        same(code.as_str(), &members.as_slice(), &expected, &mut faults);
    }
    assert_eq!(faults, Faults::new());
}

#[test]
fn every_member_is_the_models() {
    let Some(model) = model() else { return };
    let mut walk = Walk {
        shapes: &model["shapes"],
        seen: BTreeSet::new(),
        faults: Faults::new(),
    };
    for operation in Operation::ALL {
        let described = &model["operations"][operation.name()];
        walk.structure(operation.request(), text(&described["input"]["shape"]));
        walk.structure(operation.response(), text(&described["output"]["shape"]));
    }
    assert_eq!(walk.faults, Faults::new());
    // 446 structures of the model are 31 errors, a document, and these.
    assert!(
        walk.seen.len() > 400,
        "only {} structures were compared",
        walk.seen.len()
    );
}

#[test]
fn every_structure_survives_its_type() {
    let Some(model) = model() else { return };
    let samples = Samples {
        shapes: &model["shapes"],
    };
    let mut count = 0;
    macro_rules! survive {
        ($( $name:ident $request:ty, $response:ty; )*) => { $(
            let described = &model["operations"][stringify!($name)];
            let request = samples.of(text(&described["input"]["shape"]));
            let decoded = decode::<$request>(request.to_string().as_bytes()).unwrap();
            assert_eq!(serde_json::to_value(&decoded.input).unwrap(), request, stringify!($name));
            assert_eq!(decoded.unknown, Vec::<String>::new());
            let unions = |v: &&windlass_wire::check::Violation| {
                v.constraint != windlass_wire::check::Constraint::OneMember
            };
            assert_eq!(decoded.violations.iter().filter(unions).count(), 0, "{decoded:?}");
            assert_eq!(decoded.input.check(), decoded.violations);

            let response = samples.of(text(&described["output"]["shape"]));
            let parsed: $response = serde_json::from_value(response.clone()).unwrap();
            assert_eq!(serde_json::to_value(&parsed).unwrap(), response, stringify!($name));

            let empty = serde_json::to_value(<$request>::default()).unwrap();
            assert_eq!(empty, json!({}), "absent members are not written");
            assert_eq!(<$request as Request>::OPERATION.name(), stringify!($name));
            count += 1;
        )* };
    }
    for_each_operation!(survive);
    assert_eq!(count, Operation::ALL.len());
}

/// Compares structures as they are reached, each once.
struct Walk<'m> {
    shapes: &'m Value,
    seen: BTreeSet<&'m str>,
    faults: Faults,
}

impl<'m> Walk<'m> {
    fn structure(&mut self, ours: &Shape, name: &'m str) {
        if !self.seen.insert(name) {
            return;
        }
        let theirs = &self.shapes[name];
        same("name", &ours.name, &name, &mut self.faults);
        let members = theirs["members"].as_object().unwrap();
        let names: Vec<&str> = ours.members.iter().map(|member| member.name).collect();
        same(
            name,
            &sorted(&names),
            &sorted(&keys(members)),
            &mut self.faults,
        );
        same(
            name,
            &ours.union,
            &(theirs["union"] == json!(true)),
            &mut self.faults,
        );
        let required: Vec<&str> = theirs["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        for member in ours.members {
            let place = format!("{name}.{}", member.name);
            let needed = required.contains(&member.name);
            same(&place, &member.required, &needed, &mut self.faults);
            let Some(target) = members.get(member.name) else {
                continue;
            };
            self.member(&place, member, text(&target["shape"]));
        }
    }

    fn member(&mut self, place: &str, ours: &Member, name: &'m str) {
        let theirs = &self.shapes[name];
        same(place, &ours.limits, &limits(theirs), &mut self.faults);
        if let Some(element) = theirs.get("member") {
            let theirs = &self.shapes[text(&element["shape"])];
            same(place, &ours.each, &limits(theirs), &mut self.faults);
        }
        self.kind(place, ours.kind, name);
    }

    fn kind(&mut self, place: &str, ours: Kind, name: &'m str) {
        let theirs = &self.shapes[name];
        let document = theirs["document"] == json!(true);
        match (ours, text(&theirs["type"])) {
            (Kind::Structure(shape), "structure") if !document => self.structure(shape, name),
            (Kind::Document, "structure") if document => {}
            (Kind::List(inner), "list") => {
                self.kind(place, *inner, text(&theirs["member"]["shape"]));
            }
            (Kind::Enum(values), "string") => {
                let known: Vec<&str> = theirs["enum"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(text)
                    .collect();
                same(place, &values.to_vec(), &known, &mut self.faults);
            }
            (Kind::String, "string") if theirs.get("enum").is_none() => {}
            (Kind::Integer, "integer")
            | (Kind::Long, "long")
            | (Kind::Double, "double")
            | (Kind::Boolean, "boolean")
            | (Kind::Timestamp, "timestamp")
            | (Kind::Map, "map") => {}
            (ours, theirs) => self.faults.push(format!("{place}: {ours:?} is a {theirs}")),
        }
    }
}

/// Bounds as the model gives them, in our form.
fn limits(shape: &Value) -> Limits {
    let (low, high) = (shape["min"].as_f64(), shape["max"].as_f64());
    let bounded = low.is_some() || high.is_some();
    let counted = ["string", "list", "map"].contains(&text(&shape["type"]));
    let whole = |bound: f64| bound as u32;
    let low = low.unwrap_or(0.0);
    Limits {
        size: (bounded && counted).then(|| (whole(low), high.map_or(u32::MAX, whole))),
        range: (bounded && !counted).then(|| (low, high.unwrap_or(f64::MAX))),
        text: shape["pattern"].as_str().map(|pattern| {
            let known = [Text::Tag, Text::InstanceType];
            *known
                .iter()
                .find(|text| text.pattern() == pattern)
                .expect("a known pattern")
        }),
    }
}

/// Makes a value of a shape with every member set, within its limits.
struct Samples<'m> {
    shapes: &'m Value,
}

impl Samples<'_> {
    fn of(&self, name: &str) -> Value {
        let shape = &self.shapes[name];
        let least = shape["min"].as_f64().unwrap_or(0.0);
        match text(&shape["type"]) {
            "structure" if shape["document"] == json!(true) => json!({"any": [1, {"deep": null}]}),
            "structure" => {
                let members = shape["members"].as_object().unwrap();
                let each = |(name, member): (&String, &Value)| {
                    (name.clone(), self.of(text(&member["shape"])))
                };
                Value::Object(members.iter().map(each).collect::<Map<_, _>>())
            }
            "list" => json!([self.of(text(&shape["member"]["shape"]))]),
            "map" => json!({"key": "value", "Key": ""}),
            "string" => shape["enum"].get(0).cloned().unwrap_or_else(|| json!("x")),
            "integer" => json!((least as i64).max(1)),
            "long" => json!(i64::MAX),
            "double" => json!(2.5),
            "boolean" => json!(true),
            "timestamp" => json!(1_557_119_253.821),
            other => panic!("{name} has the unknown type {other}"),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    place: &str,
    ours: &T,
    theirs: &T,
    faults: &mut Faults,
) {
    if ours != theirs {
        faults.push(format!("{place}: ours {ours:?}, the model's {theirs:?}"));
    }
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

fn keys(object: &Map<String, Value>) -> Vec<&str> {
    object.keys().map(String::as_str).collect()
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// The installed model, which must be of the version that the shapes were generated from.
fn model() -> Option<Value> {
    let named = std::env::var_os("WINDLASS_BOTOCORE_MODEL").map(PathBuf::from);
    let Some(path) = named.or_else(installed) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "no model: run scripts/botocore.sh first"
        );
        eprintln!("not compared: no botocore model, run scripts/botocore.sh to have one");
        return None;
    };
    let package = path.ancestors().nth(4).unwrap();
    let version = std::fs::read_to_string(package.join("__init__.py")).unwrap();
    assert!(
        version.contains(&format!("'{MODEL_VERSION}'")),
        "the shapes are of botocore {MODEL_VERSION}, which is not installed: run \
         scripts/botocore.sh, then cargo xtask wire"
    );
    let packed = std::fs::read(&path).unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut json)
        .unwrap();
    Some(serde_json::from_str(&json).unwrap())
}

fn installed() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let pythons = std::fs::read_dir(root.join(".venv/lib")).ok()?;
    let model = "site-packages/botocore/data/ecs/2014-11-13/service-2.json.gz";
    pythons
        .flatten()
        .map(|python| python.path().join(model))
        .find(|path| path.exists())
}
