//! How a registry wants to be signed in to. Pure.

/// One way to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best way that the headers offer, a token before a password. There may be several headers,
    /// and several ways in each: `Bearer realm="https://auth.example/token",service="x", Basic
    /// realm="y"`.
    pub(crate) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut found: Vec<Self> = headers.into_iter().flat_map(parse).collect();
        let bearer = found.iter().position(|way| *way != Self::Basic);
        (!found.is_empty()).then(|| found.swap_remove(bearer.unwrap_or(0)))
    }

    fn of(scheme: &str, parameters: &[(String, String)]) -> Option<Self> {
        let get = |wanted: &str| {
            let found = parameters.iter().find(|(key, _)| key == wanted);
            found
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some(Self::Basic),
            "bearer" => Some(Self::Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope"),
            }),
            _ => None,
        }
    }
}

/// All ways of one header that are understood.
fn parse(header: &str) -> Vec<Challenge> {
    let mut ways = Vec::new();
    let mut scheme = String::new();
    let mut parameters = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let length = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let after = after.trim_start_matches([' ', '\t']);
        // A word without a value begins the next way.
        match after.strip_prefix('=') {
            Some(after) if !word.is_empty() => {
                let (value, after) = value(after.trim_start_matches([' ', '\t']));
                parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            _ => {
                ways.extend(Challenge::of(&scheme, &parameters));
                if word.is_empty() {
                    return ways;
                }
                scheme = word.to_string();
                parameters.clear();
                rest = after;
            }
        }
    }
}

/// A value in quotes or without, and what follows it. One whose quote does not end is none.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let length = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, after) = text.split_at(length);
        return (value.to_string(), after);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (String::new(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(headers: &[&str]) -> String {
        match Challenge::choose(headers.iter().copied()) {
            Some(Challenge::Basic) => "basic".to_string(),
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let shown = |text: Option<String>| text.unwrap_or_else(|| "-".into());
                format!("{realm} {} {}", shown(service), shown(scope))
            }
            None => "none".to_string(),
        }
    }

    #[test]
    fn challenges() {
        for (headers, expected) in [
            (&[r#"Basic realm="x""#][..], "basic"),
            (&["Basic"], "basic"),
            (
                &[r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull""#],
                "https://a/t s repository:x:pull",
            ),
            (
                &[r#"bearer service="s", Realm="https://a/t""#],
                "https://a/t s -",
            ),
            (
                &["Bearer realm=https://a/t , service = s"],
                "https://a/t s -",
            ),
            (&[r#"Bearer service="s""#], "none"),
            (&[r#"Bearer realm="x"#], "none"),
            (&["Digest x"], "none"),
            (&[""], "none"),
            (&["="], "none"),
            // Several ways in one header, and several headers.
            (
                &[r#"Basic realm="a, b", Bearer realm="https://a/t",service="s""#],
                "https://a/t s -",
            ),
            (
                &[
                    "Negotiate",
                    r#"Basic realm="x""#,
                    r#"Bearer realm="https://a/t""#,
                ],
                "https://a/t - -",
            ),
            (&["Negotiate", r#"Basic realm="x""#], "basic"),
            (&[r#"Bearer realm="https://a/\"t""#], "https://a/\"t - -"),
        ] {
            assert_eq!(chosen(headers), expected, "{headers:?}");
        }
    }
}
