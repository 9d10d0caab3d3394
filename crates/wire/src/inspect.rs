//! Walks a JSON body along a [`Shape`] and finds everything that is wrong with it.
//!
//! A *fault* ends the request as SerializationException: no JSON, a wrong type, a key twice, too
//! deep. *Violations* are of the model's constraints; *unknown* members are ignored by ECS, and
//! worth a warning to who typed them. The walk keeps nothing of the body, so that a request is
//! judged at the cost of reading it.
//!
//! Faults are found here, and not by serde on the typed structures, because ECS words them by the
//! JSON it met, and because a key that stands twice must be refused even where it is ignored: two
//! readers of one body must never see two requests.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::check::{Constraint, Violation, quoted};
use crate::shape::{Key, Kind, Limits, Request, Shape};
use crate::timestamp::Timestamp;

/// Objects and lists may nest this deep. The deepest request of the model needs 9.
pub const DEPTH_MAX: usize = 64;

/// Violations and unknown members beyond this many are not collected: one is enough to refuse.
pub const FINDINGS_MAX: usize = 100;

/// What a walk found.
#[derive(Debug, Default)]
pub struct Report {
    /// Missing members first, as ECS complains of them first; otherwise in the body's order.
    pub violations: Vec<Violation>,
    /// Paths of members that the model does not know.
    pub unknown: Vec<String>,
}

/// Judges `text` as a structure of `shape`. The error is the sentence of the fault.
pub fn text(text: &str, shape: &'static Shape) -> Result<Report, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut walk = Walk::default();
    let outcome = walk
        .node(Some(Kind::Structure(shape)), Limits::NONE)
        .deserialize(&mut reader);
    let outcome = outcome.and_then(|_| reader.end());
    match (walk.fault.take(), outcome) {
        (Some(fault), _) => Err(fault),
        (None, Err(error)) => Err(format!("The request body is not valid JSON: {error}")),
        (None, Ok(())) => Ok(walk.report()),
    }
}

/// The violations of a request that was built rather than parsed.
pub(crate) fn typed<T: Request>(request: &T) -> Vec<Violation> {
    let mut walk = Walk::default();
    // A request always has a JSON form, and its own types admit no fault.
    if let Ok(value) = serde_json::to_value(request) {
        let _ = walk.node(Some(T::KIND), Limits::NONE).deserialize(&value);
    }
    walk.report().violations
}

#[derive(Default)]
struct Walk {
    missing: Vec<Violation>,
    violations: Vec<Violation>,
    unknown: Vec<String>,
    fault: Option<String>,
    path: String,
    depth: usize,
}

/// A place in the document, with what is expected there; nothing below an unknown member.
struct Node<'w> {
    walk: &'w mut Walk,
    kind: Option<Kind>,
    limits: Limits,
    each: Limits,
}

/// Whether a value counts as given: `null` is the same as none.
#[derive(PartialEq)]
enum Given {
    Null,
    Value,
}

impl Walk {
    fn node(&mut self, kind: Option<Kind>, limits: Limits) -> Node<'_> {
        Node {
            walk: self,
            kind,
            limits,
            each: Limits::NONE,
        }
    }

    fn report(mut self) -> Report {
        self.missing.append(&mut self.violations);
        self.missing.truncate(FINDINGS_MAX);
        Report {
            violations: self.missing,
            unknown: self.unknown,
        }
    }

    fn violate(&mut self, constraint: Constraint, value: Option<String>) {
        let path = self.path.clone();
        let list = match constraint {
            Constraint::Required => &mut self.missing,
            _ => &mut self.violations,
        };
        if list.len() < FINDINGS_MAX {
            list.push(Violation {
                path,
                constraint,
                value,
            });
        }
    }

    /// Ends the walk with a sentence; the error only carries it out of serde.
    fn fault<E: Error>(&mut self, sentence: String) -> E {
        self.fault.get_or_insert(sentence);
        E::custom("fault")
    }

    /// Goes one object or list deeper.
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fault(format!(
                "The request body nests deeper than {DEPTH_MAX} levels"
            )));
        }
        Ok(())
    }

    /// Runs `step` with a member's name at the end of the path. The path is one string that grows
    /// and shrinks, and no text is formatted for it: this runs for every member of every request.
    fn at_member<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(&quoted(name));
        let out = step(self);
        self.path.truncate(length);
        out
    }

    /// Runs `step` with the position of a list's element at the end of the path.
    fn at_element<T>(&mut self, index: usize, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        // Writing to a string cannot fail.
        let _ = write!(self.path, "[{index}]");
        let out = step(self);
        self.path.truncate(length);
        out
    }
}

impl Node<'_> {
    /// The fault for a scalar `found` where something else is expected, in ECS's words.
    fn mismatch<E: Error>(self, found: &str) -> E {
        let wanted = match self.kind {
            Some(Kind::String | Kind::Enum(_)) => "a String",
            Some(Kind::Integer) => "an Integer",
            Some(Kind::Long) => "a Long",
            Some(Kind::Double) => "a Double",
            Some(Kind::Boolean) => "a Boolean",
            Some(Kind::Timestamp) => "a Timestamp",
            Some(Kind::List(_)) => return self.misplaced("Expected list or null"),
            _ => return self.misplaced("Expected structure or null"),
        };
        self.misplaced(&format!("{found} can not be converted to {wanted}"))
    }

    fn misplaced<E: Error>(self, what: &str) -> E {
        // The path is ours: ECS leaves the reader to search.
        let place = match self.walk.path.as_str() {
            "" => String::new(),
            path => format!(" (at '{path}')"),
        };
        self.walk.fault(format!("{what}{place}"))
    }

    fn number<E: Error>(self, value: f64, whole: Option<i64>) -> Result<Given, E> {
        let fits = match self.kind {
            None | Some(Kind::Document | Kind::Double) => true,
            Some(Kind::Integer) => whole.is_some_and(|whole| i32::try_from(whole).is_ok()),
            Some(Kind::Long) => whole.is_some(),
            Some(Kind::Timestamp) => Timestamp::from_seconds(value).is_some(),
            _ => false,
        };
        if !fits {
            return Err(self.mismatch("NUMBER_VALUE"));
        }
        if let Some(broken) = self.limits.of_number(value) {
            self.walk.violate(broken, Some(value.to_string()));
        }
        Ok(Given::Value)
    }

    fn structure<'de, A: MapAccess<'de>>(
        self,
        shape: &'static Shape,
        mut map: A,
    ) -> Result<(), A::Error> {
        let mut named: u128 = 0;
        let mut given: u128 = 0;
        let mut unknown: BTreeSet<String> = BTreeSet::new();
        while let Some(Key(name)) = map.next_key()? {
            let known = shape.members.iter().position(|member| member.name == name);
            let again = match known {
                Some(index) => named & (1 << index) != 0,
                None => !unknown.insert(name.clone().into_owned()),
            };
            if again {
                return Err(self.duplicate(&name));
            }
            let member = known.and_then(|index| shape.members.get(index));
            let value = self.walk.at_member(&name, |walk| {
                if member.is_none() && walk.unknown.len() < FINDINGS_MAX {
                    walk.unknown.push(walk.path.clone());
                }
                let limits = member.map_or(Limits::NONE, |member| member.limits);
                let mut node = walk.node(member.map(|member| member.kind), limits);
                node.each = member.map_or(Limits::NONE, |member| member.each);
                map.next_value_seed(node)
            })?;
            if let Some(index) = known {
                named |= 1 << index;
                given |= u128::from(value == Given::Value) << index;
            }
        }
        for (index, member) in shape.members.iter().enumerate() {
            if member.required && given & (1 << index) == 0 {
                self.walk
                    .at_member(member.name, |walk| walk.violate(Constraint::Required, None));
            }
        }
        if shape.union && given.count_ones() != 1 {
            self.walk.violate(Constraint::OneMember, None);
        }
        Ok(())
    }

    /// An object whose keys are free: a map of strings, a document, or below an unknown member.
    fn entries<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = match self.kind {
            Some(Kind::Map) => Some(Kind::String),
            _ => None,
        };
        let mut keys: BTreeSet<String> = BTreeSet::new();
        while let Some(Key(name)) = map.next_key()? {
            if !keys.insert(name.clone().into_owned()) {
                return Err(self.duplicate(&name));
            }
            self.walk.at_member(&name, |walk| {
                let value = map.next_value_seed(walk.node(inner, Limits::NONE))?;
                // A map of strings has no room for nothing.
                match (inner, value) {
                    (Some(_), Given::Null) => Err(walk
                        .node(inner, Limits::NONE)
                        .misplaced("NULL_VALUE found where not expected")),
                    _ => Ok(()),
                }
            })?;
        }
        if let Some(broken) = self.limits.of_size(keys.len()) {
            self.walk.violate(broken, None);
        }
        Ok(())
    }

    fn duplicate<E: Error>(self, name: &str) -> E {
        self.misplaced(&format!("The member '{}' is given twice", quoted(name)))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Given;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Given, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Given, E> {
        // The body itself is no member that may be left out.
        if self.walk.depth == 0 {
            return Err(self.misplaced("Expected a structure"));
        }
        Ok(Given::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Given, E> {
        match self.kind {
            None | Some(Kind::Boolean | Kind::Document) => Ok(Given::Value),
            _ => Err(self.mismatch(if value { "TRUE_VALUE" } else { "FALSE_VALUE" })),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Given, E> {
        self.number(value as f64, Some(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Given, E> {
        self.number(value as f64, i64::try_from(value).ok())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Given, E> {
        self.number(value, None)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Given, E> {
        let broken = match self.kind {
            None | Some(Kind::Document) => None,
            Some(Kind::String) => self.limits.of_text(value),
            Some(Kind::Enum(values)) if values.contains(&value) => None,
            Some(Kind::Enum(values)) => Some(Constraint::OneOf(values)),
            _ => return Err(self.mismatch("STRING_VALUE")),
        };
        if let Some(broken) = broken {
            self.walk.violate(broken, Some(quoted(value).into_owned()));
        }
        Ok(Given::Value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given, A::Error> {
        let inner = match self.kind {
            Some(Kind::List(inner)) => Some(*inner),
            None | Some(Kind::Document) => None,
            _ => return Err(self.misplaced("Start of list found where not expected")),
        };
        self.walk.enter()?;
        let mut count: usize = 0;
        loop {
            let each = self.each;
            let more = self.walk.at_element(count, |walk| {
                let more = list.next_element_seed(walk.node(inner, each))?;
                // A list of the model has no room for nothing.
                match (inner, &more) {
                    (Some(_), Some(Given::Null)) => Err(walk
                        .node(inner, each)
                        .misplaced("NULL_VALUE found where not expected")),
                    _ => Ok(more),
                }
            })?;
            if more.is_none() {
                break;
            }
            count += 1;
        }
        if let Some(broken) = self.limits.of_size(count) {
            self.walk.violate(broken, None);
        }
        self.walk.depth -= 1;
        Ok(Given::Value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Given, A::Error> {
        self.walk.enter()?;
        let Node {
            walk,
            kind,
            limits,
            each,
        } = self;
        let node = Node {
            walk: &mut *walk,
            kind,
            limits,
            each,
        };
        match kind {
            Some(Kind::Structure(shape)) => node.structure(shape, map)?,
            None | Some(Kind::Map | Kind::Document) => node.entries(map)?,
            _ => {
                return Err(node.misplaced("Start of structure or map found where not expected"));
            }
        }
        walk.depth -= 1;
        Ok(Given::Value)
    }
}
