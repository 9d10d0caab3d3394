//! From text to an expression: recursive descent over the characters, with one look ahead.

use super::Expr;
use super::condition::{Comparison, Condition, Field, Test};
use crate::limits::{EXPRESSION_CHARS_MAX, EXPRESSION_DEPTH_MAX, PATTERN_BYTES_MAX};
use regex_lite::{Regex, RegexBuilder};

/// Why an expression cannot be read. Positions are bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("it is longer than {EXPRESSION_CHARS_MAX} characters")]
    TooLong,
    #[error("more than {EXPRESSION_DEPTH_MAX} parentheses and negations lie inside each other")]
    TooDeep,
    #[error("at {at}: expected {expected}")]
    Expected { at: usize, expected: &'static str },
    #[error("at {at}: {why}")]
    Operator { at: usize, why: &'static str },
    #[error("at {at}: the pattern is not valid: {why}")]
    Pattern { at: usize, why: String },
}

pub(super) fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.chars().count() > EXPRESSION_CHARS_MAX {
        return Err(QueryError::TooLong);
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let expr = parser.or()?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.expected("and, or, or the end"));
    }
    Ok(expr)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// Operators of more characters come first, so that `>=` is not read as `>`.
const OPERATORS: &[(&str, Operator)] = &[
    ("==", Operator::Compare(Comparison::Equal)),
    ("!=", Operator::Compare(Comparison::NotEqual)),
    (">=", Operator::Compare(Comparison::GreaterEqual)),
    ("<=", Operator::Compare(Comparison::LessEqual)),
    ("=~", Operator::Matches),
    ("!~", Operator::NotMatches),
    (">", Operator::Compare(Comparison::Greater)),
    ("<", Operator::Compare(Comparison::Less)),
    ("!exists", Operator::NotExists),
    ("!in", Operator::NotIn),
];

const WORDS: &[(&str, Operator)] = &[
    ("equals", Operator::Compare(Comparison::Equal)),
    ("not_equals", Operator::Compare(Comparison::NotEqual)),
    (
        "greater_than_equal",
        Operator::Compare(Comparison::GreaterEqual),
    ),
    ("greater_than", Operator::Compare(Comparison::Greater)),
    ("less_than_equal", Operator::Compare(Comparison::LessEqual)),
    ("less_than", Operator::Compare(Comparison::Less)),
    ("in", Operator::In),
    ("not_in", Operator::NotIn),
    ("matches", Operator::Matches),
    ("not_matches", Operator::NotMatches),
    ("exists", Operator::Exists),
    ("not_exists", Operator::NotExists),
];

#[derive(Clone, Copy)]
enum Operator {
    Exists,
    NotExists,
    Compare(Comparison),
    In,
    NotIn,
    Matches,
    NotMatches,
}

impl<'t> Parser<'t> {
    fn or(&mut self) -> Result<Expr, QueryError> {
        let mut parts = vec![self.and()?];
        while self.sign("||") || self.word("or") {
            parts.push(self.and()?);
        }
        Ok(only(parts, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, QueryError> {
        let mut parts = vec![self.not()?];
        while self.sign("&&") || self.word("and") {
            parts.push(self.not()?);
        }
        Ok(only(parts, Expr::And))
    }

    fn not(&mut self) -> Result<Expr, QueryError> {
        let negated = self.sign("!") || self.word("not");
        let opened = !negated && self.sign("(");
        if !negated && !opened {
            return self.condition().map(Expr::Is);
        }
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return Err(QueryError::TooDeep);
        }
        let inner = if negated {
            Expr::Not(Box::new(self.not()?))
        } else {
            self.or()?
        };
        if opened && !self.sign(")") {
            return Err(self.expected("a closing parenthesis"));
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        self.space();
        let at = self.at;
        let field = self.field()?;
        let test = self.test()?;
        let condition = Condition { field, test };
        condition
            .check()
            .map_err(|why| QueryError::Operator { at, why })?;
        Ok(condition)
    }

    fn field(&mut self) -> Result<Field, QueryError> {
        let at = self.at;
        let name = self.take_while(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '\\' | ':')
        });
        Ok(match name {
            "agentConnected" => Field::AgentConnected,
            "agentVersion" => Field::AgentVersion,
            "ec2InstanceId" => Field::Ec2InstanceId,
            "registeredAt" => Field::RegisteredAt,
            "runningTasksCount" => Field::RunningTasksCount,
            "task:group" => Field::TaskGroup,
            other => match other
                .strip_prefix("attribute:")
                .filter(|name| !name.is_empty())
            {
                Some(name) => Field::Attribute(name.to_owned()),
                None => {
                    self.at = at;
                    return Err(self.expected(
                        "a subject: agentConnected, agentVersion, ec2InstanceId, registeredAt, \
                         runningTasksCount, task:group or attribute:<name>",
                    ));
                }
            },
        })
    }

    fn test(&mut self) -> Result<Test, QueryError> {
        Ok(match self.operator()? {
            Operator::Exists => Test::Exists,
            Operator::NotExists => Test::NotExists,
            Operator::Compare(comparison) => Test::Compare(comparison, self.literal(false)?),
            Operator::In => Test::In(self.list()?),
            Operator::NotIn => Test::NotIn(self.list()?),
            Operator::Matches => {
                let (pattern, regex) = self.pattern()?;
                Test::Matches(pattern, regex)
            }
            Operator::NotMatches => {
                let (pattern, regex) = self.pattern()?;
                Test::NotMatches(pattern, regex)
            }
        })
    }

    fn operator(&mut self) -> Result<Operator, QueryError> {
        if let Some((_, operator)) = OPERATORS.iter().find(|(sign, _)| self.sign(sign)) {
            return Ok(*operator);
        }
        if let Some((_, operator)) = WORDS.iter().find(|(word, _)| self.word(word)) {
            return Ok(*operator);
        }
        Err(self.expected("an operator such as ==, in, =~ or exists"))
    }

    fn list(&mut self) -> Result<Vec<String>, QueryError> {
        if !self.sign("[") {
            return Err(self.expected("a list in brackets"));
        }
        let mut items = vec![self.literal(false)?];
        while self.sign(",") {
            items.push(self.literal(false)?);
        }
        if !self.sign("]") {
            return Err(self.expected("a comma or a closing bracket"));
        }
        Ok(items)
    }

    fn pattern(&mut self) -> Result<(String, Regex), QueryError> {
        self.space();
        let at = self.at;
        let pattern = self.literal(true)?;
        let regex = RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|err| QueryError::Pattern {
                at,
                why: err.to_string(),
            })?;
        Ok((pattern, regex))
    }

    /// Quoted, or up to what cannot be part of it. A pattern may hold brackets and commas.
    fn literal(&mut self, pattern: bool) -> Result<String, QueryError> {
        self.space();
        for quote in ['\'', '"'] {
            if let Some(inside) = self.rest().strip_prefix(quote) {
                let Some(end) = inside.find(quote) else {
                    return Err(self.expected("a closing quote"));
                };
                self.at += end + 2;
                return Ok(inside[..end].to_owned());
            }
        }
        let rest = self.rest();
        let end = rest
            .char_indices()
            .find(|(at, c)| {
                let joint = rest[*at..].starts_with("&&") || rest[*at..].starts_with("||");
                let closes = matches!(c, '(' | ')' | '\'' | '"');
                let lists = !pattern && matches!(c, '[' | ']' | ',');
                c.is_whitespace() || closes || lists || joint
            })
            .map_or(rest.len(), |(at, _)| at);
        if end == 0 {
            return Err(self.expected("a value"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// Takes a sign if it comes next.
    fn sign(&mut self, sign: &str) -> bool {
        self.space();
        // A word sign ends where a word ends: `!in` is not the start of `!inside`.
        let ends = |rest: &str| {
            !sign.ends_with(|c: char| c.is_ascii_alphanumeric()) || !starts_with_word(rest)
        };
        let next = self.rest().strip_prefix(sign).is_some_and(ends);
        if next {
            self.at += sign.len();
        }
        next
    }

    /// Takes a whole word if it comes next.
    fn word(&mut self, word: &str) -> bool {
        self.space();
        let rest = self.rest();
        let next = rest
            .get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
            && !starts_with_word(&rest[word.len()..]);
        if next {
            self.at += word.len();
        }
        next
    }

    fn space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> QueryError {
        QueryError::Expected {
            at: self.at,
            expected,
        }
    }
}

fn starts_with_word(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.'))
}

fn only(mut parts: Vec<Expr>, join: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}
