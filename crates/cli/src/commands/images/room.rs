//! `images df` and `images prune`: what takes room, and giving it back.

use super::read;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::table::Table;
use crate::words;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    images: Share,
    layers: Share,
    archives: Share,
    downloads: Share,
    free_bytes: u64,
}

/// A kind of thing, and what of it a prune gives back.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Share {
    count: u64,
    used: u64,
    bytes: u64,
    reclaimable_bytes: u64,
}

pub(super) async fn df(format: Format, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let answer = client.windlass("GetImageUsage", &json!({})).await?;
    if format == Format::Json {
        return context.out.json(&answer);
    }
    let usage: Usage = read(answer)?;
    context
        .out
        .lines(&table(&usage).render(context.out.colour))?;
    let free = words::bytes(usage.free_bytes);
    context.out.hint(&format!(
        "{free} are free on the disk; `windlass images prune --all` gives back what is reclaimable"
    ));
    Ok(())
}

fn table(usage: &Usage) -> Table {
    let mut table = Table::new(&["WHAT", "COUNT", "IN USE", "SIZE", "RECLAIMABLE"]);
    for (what, share) in [
        ("images", &usage.images),
        ("layers", &usage.layers),
        ("archives", &usage.archives),
        ("downloads", &usage.downloads),
    ] {
        table.push([
            what.to_owned(),
            share.count.to_string(),
            share.used.to_string(),
            words::bytes(share.bytes),
            words::bytes(share.reclaimable_bytes),
        ]);
    }
    table
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pruned {
    removed: Vec<String>,
    freed_bytes: u64,
}

pub(super) async fn prune(
    all: bool,
    format: Format,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let request = json!({ "all": all });
    let answer = super::during("PruneImages", &request, "removing images", context).await?;
    if format == Format::Json {
        return context.out.json(&answer);
    }
    let pruned: Pruned = read(answer)?;
    let freed = words::bytes(pruned.freed_bytes);
    context.out.lines(&pruned.removed)?;
    context.out.hint(&format!(
        "{} images removed, {freed} given back",
        pruned.removed.len()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_by_kind() {
        let share = |count: u64, bytes: u64| json!({ "count": count, "used": 1, "bytes": bytes, "reclaimableBytes": bytes / 2 });
        let answer = json!({
            "images": share(3, 4096), "layers": share(7, 4096), "archives": share(2, 2048),
            "downloads": share(1, 100), "freeBytes": 1,
        });
        assert_eq!(
            table(&read(answer).unwrap()).render(false),
            [
                "WHAT       COUNT  IN USE  SIZE     RECLAIMABLE",
                "images     3      1       4.0 KiB  2.0 KiB",
                "layers     7      1       4.0 KiB  2.0 KiB",
                "archives   2      1       2.0 KiB  1.0 KiB",
                "downloads  1      1       100 B    50 B",
            ]
        );
    }
}
