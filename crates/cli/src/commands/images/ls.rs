//! `images ls`: what is there, how old it is and what uses it.

use super::read;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::table::{NOTHING, Table};
use crate::words;
use serde::Deserialize;
use serde_json::json;

/// Hexadecimal digits of a digest in a list.
pub(super) const DIGEST_SHOWN: usize = 12;

#[derive(Deserialize)]
struct Listed {
    images: Vec<Summary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    name: String,
    digest: String,
    created_at: Option<String>,
    #[serde(default)]
    size_bytes: u64,
    #[serde(default)]
    layers: u64,
    #[serde(default)]
    pinned_by: Vec<String>,
}

pub(super) async fn run(format: Format, context: &mut Context<'_>) -> Result<(), Failure> {
    let answer = context.client()?.windlass("ListImages", &json!({})).await?;
    if format == Format::Json {
        return context.out.json(&answer);
    }
    let listed: Listed = read(answer)?;
    if listed.images.is_empty() {
        context.out.hint(
            "no image is here; `windlass images load ARCHIVE` or `windlass images pull IMAGE` \
             brings one, and a task pulls what it needs",
        );
    }
    let table = table(listed, jiff::Timestamp::now());
    context.out.lines(&table.render(context.out.colour))
}

fn table(listed: Listed, now: jiff::Timestamp) -> Table {
    let headings = &["IMAGE", "DIGEST", "CREATED", "SIZE", "LAYERS", "USED BY"];
    let mut table = Table::new(headings);
    for image in listed.images {
        let digits = image.digest.strip_prefix("sha256:");
        let digits = digits.unwrap_or(&image.digest);
        table.push([
            shown(&image),
            digits.chars().take(DIGEST_SHOWN).collect(),
            age(image.created_at.as_deref(), now),
            words::bytes(image.size_bytes),
            image.layers.to_string(),
            image.pinned_by.join(","),
        ]);
    }
    table
}

/// The long digest of an image by digest stands beside its name already: what is shown removes it.
fn shown(image: &Summary) -> String {
    match image.name.split_once("sha256:") {
        Some(("", _)) => String::new(),
        Some((repository, digits)) if digits.len() > DIGEST_SHOWN => {
            let digits: String = digits.chars().take(DIGEST_SHOWN).collect();
            format!("{repository}sha256:{digits}")
        }
        _ => image.name.clone(),
    }
}

/// How long ago it was built. Builders that want equal images say 1970 or nothing.
fn age(created: Option<&str>, now: jiff::Timestamp) -> String {
    let created: Option<jiff::Timestamp> = created.and_then(|text| text.parse().ok());
    let created = created.filter(|at| at.as_second() > 0);
    created.map_or_else(
        || NOTHING.to_owned(),
        |at| words::age(now.as_millisecond().saturating_sub(at.as_millisecond())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_listed_with_their_users_and_ages() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let answer = json!({ "images": [
            { "name": "web:1", "digest": digest, "sizeBytes": 1536, "layers": 2,
              "createdAt": "2024-05-04T07:08:09.5Z", "pinnedBy": ["3f2a", "77b0"] },
            { "name": format!("a.example/x@{digest}"), "digest": digest, "createdAt": "nonsense" },
            { "name": digest, "digest": digest, "createdAt": "1970-01-01T00:00:00Z" },
            { "name": "\u{1b}evil", "digest": "x" },
        ]});
        let now = "2024-05-06T07:08:09Z".parse().unwrap();
        assert_eq!(
            table(read(answer).unwrap(), now).render(false),
            [
                "IMAGE                            DIGEST        CREATED  SIZE     LAYERS  USED BY",
                "web:1                            abababababab  47h      1.5 KiB  2       3f2a,77b0",
                "a.example/x@sha256:abababababab  abababababab  -        0 B      0       -",
                "-                                abababababab  -        0 B      0       -",
                "\\x1bevil                         x             -        0 B      0       -",
            ]
        );
    }
}
