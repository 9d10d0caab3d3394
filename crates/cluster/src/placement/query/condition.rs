//! One condition: a subject, an operator and its argument.

use super::Subject;
use super::date;
use regex_lite::Regex;
use std::cmp::Ordering;
use std::fmt;
use windlass_model::id::Millis;

#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub field: Field,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    AgentConnected,
    AgentVersion,
    Ec2InstanceId,
    RegisteredAt,
    RunningTasksCount,
    TaskGroup,
    Attribute(String),
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Exists,
    NotExists,
    Compare(Comparison, String),
    In(Vec<String>),
    NotIn(Vec<String>),
    /// The regex matches whole values.
    Matches(String, Regex),
    NotMatches(String, Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
        }
    }

    fn orders(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::NotEqual)
    }
}

impl Condition {
    /// Whether the field knows the operator, and the argument can be read as the field's kind.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let by_equality = match &self.test {
            Test::Compare(comparison, _) => !comparison.orders(),
            Test::Exists | Test::NotExists => false,
            _ => true,
        };
        let by_order = matches!(self.test, Test::Compare(..));
        let argument = match &self.test {
            Test::Compare(_, argument) => argument.as_str(),
            _ => "",
        };
        match &self.field {
            Field::Attribute(_) => Ok(()),
            Field::AgentConnected | Field::Ec2InstanceId | Field::TaskGroup if by_equality => {
                Ok(())
            }
            Field::AgentConnected | Field::Ec2InstanceId | Field::TaskGroup => {
                Err("this subject takes ==, !=, in, not_in, matches and not_matches")
            }
            _ if !by_order => Err("this subject takes ==, !=, >, >=, < and <="),
            Field::AgentVersion => Ok(()),
            Field::RegisteredAt => date::parse(argument)
                .map(|_| ())
                .ok_or("expected a date such as 2018-06-18 or 2018-06-18T22:28:28Z"),
            Field::RunningTasksCount => argument
                .parse::<u64>()
                .map(|_| ())
                .map_err(|_| "expected a whole number"),
        }
    }

    pub(super) fn matches(&self, subject: &dyn Subject) -> bool {
        match &self.field {
            Field::AgentConnected => {
                let connected = if subject.agent_connected() {
                    "true"
                } else {
                    "false"
                };
                self.test.text(connected)
            }
            Field::Ec2InstanceId => self.test.text(&subject.ec2_instance_id()),
            Field::AgentVersion => self
                .test
                .ordered(|argument| Some(versions(subject.agent_version(), argument))),
            Field::RegisteredAt => self.test.ordered(|argument| {
                // ECS compares to the second.
                let seconds = |at: Millis| at.0.div_euclid(1000);
                Some(seconds(subject.registered_at()).cmp(&seconds(date::parse(argument)?)))
            }),
            Field::RunningTasksCount => self.test.ordered(|argument| {
                Some(subject.running_tasks().cmp(&argument.parse::<u64>().ok()?))
            }),
            // A negative operator holds when no task of the instance has such a group.
            Field::TaskGroup => match self.test.positive() {
                Some(test) => !subject.any_group(&|group| test.text(group)),
                None => subject.any_group(&|group| self.test.text(group)),
            },
            Field::Attribute(name) => match (&self.test, subject.attribute(name)) {
                (Test::Exists, found) => found.is_some(),
                (Test::NotExists, found) => found.is_none(),
                (_, None) => false,
                (test, Some(value)) => test.text(value.unwrap_or("")),
            },
        }
    }
}

impl Test {
    fn text(&self, value: &str) -> bool {
        match self {
            Test::Exists => true,
            Test::NotExists => false,
            Test::Compare(comparison, argument) => comparison.holds(value.cmp(argument)),
            Test::In(list) => list.iter().any(|item| item == value),
            Test::NotIn(list) => list.iter().all(|item| item != value),
            Test::Matches(_, regex) => regex.is_match(value),
            Test::NotMatches(_, regex) => !regex.is_match(value),
        }
    }

    fn ordered(&self, order: impl Fn(&str) -> Option<Ordering>) -> bool {
        match self {
            Test::Compare(comparison, argument) => {
                order(argument).is_some_and(|order| comparison.holds(order))
            }
            _ => false,
        }
    }

    /// Of a negative test, the one it negates.
    fn positive(&self) -> Option<Test> {
        match self {
            Test::Compare(Comparison::NotEqual, argument) => {
                Some(Test::Compare(Comparison::Equal, argument.clone()))
            }
            Test::NotIn(list) => Some(Test::In(list.clone())),
            Test::NotMatches(pattern, regex) => Some(Test::Matches(pattern.clone(), regex.clone())),
            _ => None,
        }
    }
}

/// `1.14.5` is before `1.15`: part by part, numbers as numbers.
fn versions(left: &str, right: &str) -> Ordering {
    let parts = |version: &str| -> Vec<u64> {
        let digits = |part: &str| {
            part.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        };
        let version = version.trim_start_matches('v');
        version
            .split('.')
            .map(|part| digits(part).parse().unwrap_or(0))
            .collect()
    };
    let (mut left, mut right) = (parts(left), parts(right));
    let length = left.len().max(right.len());
    left.resize(length, 0);
    right.resize(length, 0);
    left.cmp(&right)
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Field::AgentConnected => f.write_str("agentConnected")?,
            Field::AgentVersion => f.write_str("agentVersion")?,
            Field::Ec2InstanceId => f.write_str("ec2InstanceId")?,
            Field::RegisteredAt => f.write_str("registeredAt")?,
            Field::RunningTasksCount => f.write_str("runningTasksCount")?,
            Field::TaskGroup => f.write_str("task:group")?,
            Field::Attribute(name) => write!(f, "attribute:{name}")?,
        }
        let list = |f: &mut fmt::Formatter<'_>, items: &[String]| {
            let quoted: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            write!(f, "[{}]", quoted.join(", "))
        };
        match &self.test {
            Test::Exists => f.write_str(" exists"),
            Test::NotExists => f.write_str(" !exists"),
            Test::Compare(comparison, argument) => {
                let sign = match comparison {
                    Comparison::Equal => "==",
                    Comparison::NotEqual => "!=",
                    Comparison::Greater => ">",
                    Comparison::GreaterEqual => ">=",
                    Comparison::Less => "<",
                    Comparison::LessEqual => "<=",
                };
                write!(f, " {sign} {}", quoted(argument))
            }
            Test::In(items) => {
                f.write_str(" in ")?;
                list(f, items)
            }
            Test::NotIn(items) => {
                f.write_str(" !in ")?;
                list(f, items)
            }
            Test::Matches(pattern, _) => write!(f, " =~ {}", quoted(pattern)),
            Test::NotMatches(pattern, _) => write!(f, " !~ {}", quoted(pattern)),
        }
    }
}

/// In the quote it does not hold: the language has no escapes, and no text can hold both.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    format!("{quote}{text}{quote}")
}
