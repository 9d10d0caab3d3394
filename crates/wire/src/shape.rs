//! How a line of a generated file becomes a field: the macros `shape!`, `string_enum!`, `request!`
//! and `operations!`, and the description of types that they leave behind.
//!
//! A generated line such as
//! ```text
//! pub tags: Option<Vec<Tag>> = "tags" [size(0, 50)];
//! ```
//! gives the field, its name on the wire and its limits. One source feeds three things that must
//! agree: the struct, its JSON, and its [`Shape`], by which [`crate::inspect`] judges a body. The
//! JSON code is written by these macros and not by serde's derive: nearly 450 structures need a
//! third of the code this way, and compile in a third of the time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::Violation;
use crate::operation::Operation;
use crate::timestamp::Timestamp;

/// A structure: its name in the model and its members in the model's order.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub members: &'static [Member],
    /// Of a union, exactly one member is set.
    pub union: bool,
}

/// A member of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Name on the wire, exact to the letter's case.
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub limits: Limits,
    /// Limits of each element, when the member is a list.
    pub each: Limits,
}

/// What JSON a type is on the wire.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    String,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    Long,
    Double,
    Boolean,
    /// Seconds since the epoch, with a fraction.
    Timestamp,
    /// Any JSON.
    Document,
    /// A string, with the values that the model knows.
    Enum(&'static [&'static str]),
    List(&'static Kind),
    /// An object of strings.
    Map,
    Structure(&'static Shape),
}

/// Bounds of a value; both ends are allowed values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Characters of a string, elements of a list, entries of a map.
    pub size: Option<(u32, u32)>,
    /// Value of a number.
    pub range: Option<(f64, f64)>,
    pub text: Option<Text>,
}

/// The alphabets that the model asks for by patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Keys and values of tags.
    Tag,
    /// Instance types with `*` for any.
    InstanceType,
}

/// A type that has a form on the wire.
pub trait Typed {
    const KIND: Kind;
}

/// The request of an operation; links it with the operation and the response.
pub trait Request: Typed + Serialize + DeserializeOwned + Send + 'static {
    const OPERATION: Operation;
    type Response: Typed + Serialize + DeserializeOwned + Send + 'static;

    /// What the model forbids in this request, in the order in which ECS would complain. A net
    /// under the operation's own checks, which come first because ECS words most of them itself.
    fn check(&self) -> Vec<Violation> {
        crate::inspect::typed(self)
    }
}

impl Limits {
    pub const NONE: Self = Self {
        size: None,
        range: None,
        text: None,
    };
}

// The builders are called by the expansion of `shape!`, under the names that its lists use.
impl Member {
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
            limits: Limits::NONE,
            each: Limits::NONE,
        }
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub const fn size(mut self, low: u32, high: u32) -> Self {
        self.limits.size = Some((low, high));
        self
    }

    pub const fn range(mut self, low: f64, high: f64) -> Self {
        self.limits.range = Some((low, high));
        self
    }

    pub const fn tag_text(mut self) -> Self {
        self.limits.text = Some(Text::Tag);
        self
    }

    pub const fn instance_type_text(mut self) -> Self {
        self.limits.text = Some(Text::InstanceType);
        self
    }

    pub const fn each_size(mut self, low: u32, high: u32) -> Self {
        self.each.size = Some((low, high));
        self
    }

    pub const fn each_tag_text(mut self) -> Self {
        self.each.text = Some(Text::Tag);
        self
    }

    pub const fn each_instance_type_text(mut self) -> Self {
        self.each.text = Some(Text::InstanceType);
        self
    }
}

impl Typed for String {
    const KIND: Kind = Kind::String;
}

impl Typed for i32 {
    const KIND: Kind = Kind::Integer;
}

impl Typed for i64 {
    const KIND: Kind = Kind::Long;
}

impl Typed for f64 {
    const KIND: Kind = Kind::Double;
}

impl Typed for bool {
    const KIND: Kind = Kind::Boolean;
}

impl Typed for Timestamp {
    const KIND: Kind = Kind::Timestamp;
}

impl Typed for Value {
    const KIND: Kind = Kind::Document;
}

impl<T: Typed> Typed for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);
}

impl Typed for BTreeMap<String, String> {
    const KIND: Kind = Kind::Map;
}

/// A structure: type, JSON and [`Shape`] from one list of members.
macro_rules! shape {
    (pub struct $($rest:tt)*) => { $crate::shape::shape! { @union false, $($rest)* } };
    (union pub struct $($rest:tt)*) => { $crate::shape::shape! { @union true, $($rest)* } };
    (@union $union:literal, $name:ident { $(
        pub $field:ident: Option<$kind:ty> = $wire:literal
            $([ $( $limit:ident $( ( $( $bound:expr ),* ) )? ),* ])? ;
    )* }) => {
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name { $( pub $field: Option<$kind>, )* }

        impl $crate::shape::Typed for $name {
            const KIND: $crate::shape::Kind = $crate::shape::Kind::Structure(&$crate::shape::Shape {
                name: stringify!($name),
                members: &[ $(
                    $crate::shape::Member::new($wire, <$kind as $crate::shape::Typed>::KIND)
                        $( $( .$limit( $( $( $bound ),* )? ) )* )?,
                )* ],
                union: $union,
            });
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let members: &[bool] = &[ $( self.$field.is_some(), )* ];
                let set = members.iter().filter(|set| **set).count();
                let mut to = serde::Serializer::serialize_struct(to, stringify!($name), set)?;
                // A structure may have no members; nothing else would need the `mut` then.
                let _ = &mut to;
                $( if let Some(value) = &self.$field {
                    serde::ser::SerializeStruct::serialize_field(&mut to, $wire, value)?;
                } )*
                serde::ser::SerializeStruct::end(to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Members;
                impl<'de> serde::de::Visitor<'de> for Members {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(stringify!($name))
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        let mut out = $name::default();
                        let _ = &mut out;
                        while let Some(key) = map.next_key::<$crate::shape::Key<'de>>()? {
                            match &*key.0 {
                                $( $wire => out.$field = map.next_value()?, )*
                                // ECS ignores what it does not know, and newer clients rely on it.
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(out)
                    }
                }
                from.deserialize_map(Members)
            }
        }
    };
}

/// An enum of strings. A value that the model does not know is kept as `Other`, word for word, so
/// that it can be named in a refusal or passed on.
macro_rules! string_enum {
    (pub enum $name:ident { $( $variant:ident = $value:literal, )* }) => {
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $( $variant, )* Other(Box<str>) }

        impl $name {
            /// The values that the model knows.
            pub const VALUES: &'static [&'static str] = &[ $( $value, )* ];

            pub fn as_str(&self) -> &str {
                match self { $( Self::$variant => $value, )* Self::Other(value) => value }
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                match value { $( $value => Self::$variant, )* _ => Self::Other(value.into()) }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::shape::Typed for $name {
            const KIND: $crate::shape::Kind = $crate::shape::Kind::Enum(Self::VALUES);
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::shape::from_string(from)
            }
        }
    };
}

/// Links a request with its operation and its response.
macro_rules! request {
    ($operation:ident: $request:ident => $response:ident) => {
        impl $crate::shape::Request for $request {
            const OPERATION: Operation = Operation::$operation;
            type Response = $response;
        }
    };
}

/// The table of operations: the enum, and what is known of each.
macro_rules! operations {
    ($( $access:ident $name:ident ($file:ident: $request:ident => $response:ident):
        $( $error:ident )*; )*) => {
        /// An operation of the ECS API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation { $( $name, )* }

        impl Operation {
            /// Every operation, in order of name.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The name, as in `X-Amz-Target` after the dot and in the `ecs:` actions of policies.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// The stem of the files that deal with the operation, e.g. `run_task`.
            pub const fn stem(self) -> &'static str {
                match self { $( Self::$name => stringify!($file), )* }
            }

            /// The operation that `X-Amz-Target` names. Letter case counts, as with ECS.
            pub fn from_target(target: &str) -> Option<Self> {
                Self::from_name(target.strip_prefix(TARGET_PREFIX)?.strip_prefix('.')?)
            }

            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( stringify!($name) => Some(Self::$name), )* _ => None }
            }

            /// Whether the operation changes nothing.
            pub const fn is_read_only(self) -> bool {
                match self { $( Self::$name => $crate::shape::is_read!($access), )* }
            }

            /// The errors that the model lists for the operation.
            pub const fn errors(self) -> &'static [ErrorCode] {
                match self { $( Self::$name => &[ $( ErrorCode::$error, )* ], )* }
            }

            pub const fn request(self) -> &'static $crate::shape::Shape {
                match self { $( Self::$name => {
                    $crate::shape::shape_of::<$crate::ops::$file::$request>()
                } )* }
            }

            pub const fn response(self) -> &'static $crate::shape::Shape {
                match self { $( Self::$name => {
                    $crate::shape::shape_of::<$crate::ops::$file::$response>()
                } )* }
            }
        }

        /// Calls `$then! { Name request_type response_type; … }` with every operation, for tables
        /// that need the types.
        #[macro_export]
        macro_rules! for_each_operation {
            ($then:ident) => {
                $then! { $( $name $crate::ops::$file::$request, $crate::ops::$file::$response; )* }
            };
        }
    };
}

macro_rules! is_read {
    (reads) => {
        true
    };
    (writes) => {
        false
    };
}

pub(crate) use {is_read, operations, request, shape, string_enum};

/// The shape of a structure's type.
pub const fn shape_of<T: Typed>() -> &'static Shape {
    const NO_STRUCTURE: &Shape = &Shape {
        name: "",
        members: &[],
        union: false,
    };
    match T::KIND {
        Kind::Structure(shape) => shape,
        // Requests and responses are structures; the conformance test would see the empty name.
        _ => NO_STRUCTURE,
    }
}

/// A member's name, borrowed from the body unless it holds escapes.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Name)
    }
}

/// Reads an enum's value; shared by all of them, so that each adds little code.
pub(crate) fn from_string<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> From<&'a str>,
{
    struct Word<T>(PhantomData<T>);
    impl<T: for<'a> From<&'a str>> Visitor<'_> for Word<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E>(self, value: &str) -> Result<T, E> {
            Ok(T::from(value))
        }
    }
    from.deserialize_str(Word(PhantomData))
}
