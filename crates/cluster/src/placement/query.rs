//! The cluster query language: `memberOf` constraints and the filter of ListContainerInstances.
//!
//! ```text
//! expr := and (("or" | "||") and)*          and  := not (("and" | "&&") not)*
//! not  := ("not" | "!") not | "(" expr ")" | condition
//! condition := subject ("exists" | "!exists" | "not_exists") | subject operator argument
//! ```
//! Source: Amazon ECS, cluster query language. Scope: parsing and evaluating; where it applies is
//! `placement`'s. Pure and bounded: an expression has a limit in length and in depth, and patterns
//! match in linear time.

mod condition;
mod date;
mod parse;

pub use parse::QueryError;

use condition::Condition;
use std::fmt;
use windlass_model::id::Millis;

/// A parsed expression. It shows itself fully parenthesised and reads back as the same.
#[derive(Clone, Debug)]
pub struct Query {
    root: Expr,
}

#[derive(Clone, Debug)]
enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Is(Condition),
}

/// What an expression asks about: an instance as placement sees it.
pub trait Subject {
    fn agent_connected(&self) -> bool;
    fn agent_version(&self) -> &str;
    fn ec2_instance_id(&self) -> String;
    fn registered_at(&self) -> Millis;
    fn running_tasks(&self) -> u64;
    /// Whether any live task's group passes the test.
    fn any_group(&self, test: &dyn Fn(&str) -> bool) -> bool;
    /// `None` when absent, `Some(None)` when it has a name alone.
    fn attribute(&self, name: &str) -> Option<Option<&str>>;
}

impl Query {
    /// # Errors
    /// [`QueryError`] says what was expected and where.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        parse::parse(text).map(|root| Query { root })
    }

    pub fn matches(&self, subject: &dyn Subject) -> bool {
        self.root.matches(subject)
    }
}

impl Expr {
    fn matches(&self, subject: &dyn Subject) -> bool {
        match self {
            Expr::Or(parts) => parts.iter().any(|part| part.matches(subject)),
            Expr::And(parts) => parts.iter().all(|part| part.matches(subject)),
            Expr::Not(part) => !part.matches(subject),
            Expr::Is(condition) => condition.matches(subject),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str| {
            f.write_str("(")?;
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                part.fmt(f)?;
            }
            f.write_str(")")
        };
        match self {
            Expr::Or(parts) => joined(f, parts, "or"),
            Expr::And(parts) => joined(f, parts, "and"),
            Expr::Not(part) => write!(f, "not({part})"),
            Expr::Is(condition) => condition.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
