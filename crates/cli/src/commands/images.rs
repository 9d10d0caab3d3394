//! `images`: what containers are started from.

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::limits;
use crate::output::{Format, Shown};
use crate::progress::Progress;
use crate::table::Table;
use crate::words;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

const EXAMPLES: &str = "\
Examples:
  windlass images                                    what is there
  docker save web:1 -o web.tar && windlass images load web.tar
  windlass images pull public.ecr.aws/nginx/nginx:1.27
  windlass images import-rootfs tiny:1 ./rootfs      a folder of the server's machine
  windlass images rm web:1";

/// List, load, pull and remove images.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ImagesArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the images, with what uses them.
    Ls,
    /// Load an archive of `docker save`, or an OCI archive.
    Load {
        #[arg(value_name = "ARCHIVE")]
        archive: PathBuf,
    },
    /// Pull an image from its registry.
    Pull {
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Remove an image that no task uses.
    Rm {
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Make an image of a folder on the server's machine.
    ImportRootfs {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Deserialize)]
struct Listed {
    images: Vec<Summary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    name: String,
    digest: String,
    #[serde(default)]
    size_bytes: u64,
    #[serde(default)]
    layers: u64,
    #[serde(default)]
    pinned_by: Vec<String>,
}

pub(crate) async fn run(args: ImagesArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    let format = args.shown.output;
    let answer = match args.action.unwrap_or(Action::Ls) {
        Action::Ls => {
            let answer = client.windlass("ListImages", &json!({})).await?;
            return match format {
                Format::Json => context.out.json(&answer),
                Format::Table => {
                    let listed = read(answer)?;
                    if listed.images.is_empty() {
                        context.out.hint(
                            "no image is here; `windlass images load ARCHIVE` or `windlass images \
                             pull IMAGE` brings one, and a task pulls what it needs",
                        );
                    }
                    let table = list(listed);
                    context.out.lines(&table.render(context.out.colour))
                }
            };
        }
        Action::Load { archive } => load(&client, &archive, context).await?,
        Action::Pull { image } => {
            let progress = Progress::spinner(&context.out, &format!("pulling {image}"));
            progress
                .during(client.windlass("PullImage", &json!({ "image": image })))
                .await?
        }
        Action::Rm { image } => {
            client
                .windlass("RemoveImage", &json!({ "image": image }))
                .await?;
            return match format {
                Format::Json => context.out.json(&json!({ "removed": image })),
                Format::Table => Ok(()),
            };
        }
        Action::ImportRootfs { name, directory } => {
            let what = format!("find the folder {}", directory.display());
            let directory = directory.canonicalize().map_err(Failure::file(what))?;
            let request = json!({ "name": name, "directory": directory });
            let progress = Progress::spinner(&context.out, &format!("importing {name}"));
            progress
                .during(client.windlass("ImportRootfs", &request))
                .await?
        }
    };
    match format {
        Format::Json => context.out.json(&answer),
        Format::Table => {
            let mut table = Table::new(&["IMAGE", "DIGEST"]);
            for image in read(answer)?.images {
                table.push([image.name, image.digest]);
            }
            context.out.lines(&table.render(context.out.colour))
        }
    }
}

fn read(answer: Value) -> Result<Listed, Failure> {
    serde_json::from_value(answer).map_err(|err| Failure::Failed(format!("images: {err}")))
}

/// Hexadecimal digits of a digest in a list.
const DIGEST_SHOWN: usize = 12;

fn list(listed: Listed) -> Table {
    let mut table = Table::new(&["IMAGE", "DIGEST", "SIZE", "LAYERS", "USED BY"]);
    for image in listed.images {
        let digest = image
            .digest
            .strip_prefix("sha256:")
            .unwrap_or(&image.digest);
        let digest: String = digest.chars().take(DIGEST_SHOWN).collect();
        let used: Vec<String> = image.pinned_by;
        let size = words::bytes(image.size_bytes);
        table.push([
            image.name,
            digest,
            size,
            image.layers.to_string(),
            used.join(","),
        ]);
    }
    table
}

/// The signature covers the digest, so the file is read twice: once for the digest, once to send.
async fn load(client: &Client, path: &Path, context: &Context<'_>) -> Result<Value, Failure> {
    if path == Path::new("-") {
        let why =
            "an archive is read twice, for its digest and to send it: save it to a file first";
        return Err(Failure::Usage(why.to_owned()));
    }
    let failed = || Failure::file(format!("read the archive {}", path.display()));
    let length = tokio::fs::metadata(path).await.map_err(failed())?.len();
    let label = format!("reading {}", path.display());
    let reading = Progress::of_bytes(&context.out, &label, Some(length));
    let digest = reading
        .during(digest(path, &reading))
        .await
        .map_err(failed())?;
    let file = File::open(path).await.map_err(failed())?;
    let (sender, receiver) = mpsc::channel(4);
    let sending = Progress::of_bytes(&context.out, "sending", Some(length));
    let work = async {
        tokio::join!(
            feed(file, length, sender, &sending),
            client.upload("LoadImage", digest, length, receiver)
        )
    };
    let (fed, answer) = sending.during(work).await;
    // A server that refuses stops reading: its answer tells more than that.
    let answer = answer?;
    fed.map_err(failed())?;
    Ok(answer)
}

async fn digest(path: &Path, progress: &Progress) -> std::io::Result<String> {
    let mut file = File::open(path).await?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; limits::PIECE_BYTES];
    loop {
        let length = file.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
            return Ok(hex::encode(digest.finalize()));
        };
        digest.update(piece);
        progress.add(length as u64);
    }
}

/// Sends exactly `length` bytes; one that grew meanwhile would be refused for its digest anyway.
async fn feed(
    file: File,
    length: u64,
    pieces: mpsc::Sender<Bytes>,
    progress: &Progress,
) -> std::io::Result<()> {
    let mut file = file.take(length);
    let mut buffer = vec![0; limits::PIECE_BYTES];
    loop {
        let length = file.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
            return Ok(());
        };
        if pieces.send(Bytes::copy_from_slice(piece)).await.is_err() {
            return Ok(());
        }
        progress.add(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_listed_with_their_users() {
        let answer = json!({ "images": [
            { "name": "web:1", "digest": format!("sha256:{}", "ab".repeat(32)), "sizeBytes": 1536,
              "layers": 2, "pinnedBy": ["3f2a", "77b0"] },
            { "name": "\u{1b}evil", "digest": "x" },
        ]});
        assert_eq!(
            list(read(answer).unwrap()).render(false),
            [
                "IMAGE     DIGEST        SIZE     LAYERS  USED BY",
                "web:1     abababababab  1.5 KiB  2       3f2a,77b0",
                "\\x1bevil  x             0 B      0       -",
            ]
        );
    }
}
