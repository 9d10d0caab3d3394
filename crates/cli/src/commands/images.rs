//! `images`: what containers are started from.

mod archive;
mod ls;
mod room;

use super::Context;
use crate::failure::Failure;
use crate::output::{Format, Shown};
use crate::progress::Progress;
use crate::table::Table;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  windlass images                                    what is there
  docker save web:1 | windlass images load -
  windlass images load web.tar db.tar ./oci-layout   archives, and OCI layouts in folders
  windlass images load web.tar --name web:2
  windlass images pull public.ecr.aws/nginx/nginx:1.27
  windlass images import-rootfs tiny:1 ./rootfs      a folder of the server's machine
  windlass images tag web:2 web:stable
  windlass images rm web:1                           or the first digits of its digest
  windlass images df && windlass images prune        what takes room, and what of it goes";

/// List, load, pull, name and remove images.
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
    /// Load archives of `docker save` or `podman save`, OCI archives, or OCI layouts in folders.
    Load {
        /// `-` is standard input.
        #[arg(value_name = "ARCHIVE", required = true)]
        archives: Vec<PathBuf>,
        /// What the image is to be called, in place of its own name. Without a tag it keeps its tags.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Pull an image from its registry.
    Pull {
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Remove images that no task uses: by name, or by digits of their digest.
    Rm {
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
    },
    /// Give an image a further name.
    Tag {
        #[arg(value_name = "IMAGE")]
        image: String,
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove images without a tag that no task uses, and what cut downloads left.
    Prune {
        /// Those with a tag, too.
        #[arg(long)]
        all: bool,
    },
    /// Tell what takes how much room, and what of it a prune gives back.
    Df,
    /// Make an image of a folder on the server's machine.
    ImportRootfs {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// What operations on images answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    images: Vec<Name>,
    /// What an archive had that was not loaded, and why.
    #[serde(default)]
    left_out: Vec<String>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
    digest: String,
}

pub(crate) async fn run(args: ImagesArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let format = args.shown.output;
    match args.action.unwrap_or(Action::Ls) {
        Action::Ls => ls::run(format, context).await,
        Action::Load { archives, name } => load(&archives, name.as_deref(), format, context).await,
        Action::Pull { image } => {
            let request = json!({ "image": image });
            let label = format!("pulling {image}");
            let answer = during("PullImage", &request, &label, context).await?;
            show(answer, format, context)
        }
        Action::Rm { images } => remove(&images, format, context).await,
        Action::Tag { image, name } => {
            let request = json!({ "image": image, "name": name });
            let answer = context.client()?.windlass("TagImage", &request).await?;
            show(answer, format, context)
        }
        Action::Prune { all } => room::prune(all, format, context).await,
        Action::Df => room::df(format, context).await,
        Action::ImportRootfs { name, directory } => {
            let what = format!("find the folder {}", directory.display());
            let directory = directory.canonicalize().map_err(Failure::file(what))?;
            let request = json!({ "name": name, "directory": directory });
            let label = format!("importing {name}");
            let answer = during("ImportRootfs", &request, &label, context).await?;
            show(answer, format, context)
        }
    }
}

/// Calls an operation that may take long.
async fn during(
    operation: &str,
    request: &Value,
    label: &str,
    context: &Context<'_>,
) -> Result<Value, Failure> {
    let client = context.client()?;
    let progress = Progress::spinner(&context.out, label);
    progress.during(client.windlass(operation, request)).await
}

/// Loads one archive after the other; those before one that fails stay loaded, and are shown.
async fn load(
    archives: &[PathBuf],
    name: Option<&str>,
    format: Format,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    if let (Some(_), [_, _, ..]) = (name, archives) {
        let why = "--name goes with one archive: load the others by themselves";
        return Err(Failure::Usage(why.to_owned()));
    }
    let client = context.client()?;
    let (mut images, mut left_out) = (Vec::new(), Vec::new());
    let mut failed = None;
    for path in archives {
        let loaded = async {
            archive::Archive::read(path, context)
                .await?
                .send(&client, name, context)
                .await
        };
        match loaded.await {
            Ok(mut answer) => {
                images.extend(taken(&mut answer, "images"));
                left_out.extend(taken(&mut answer, "leftOut"));
            }
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    if failed.is_none() || !images.is_empty() {
        show(
            json!({ "images": images, "leftOut": left_out }),
            format,
            context,
        )?;
    }
    failed.map_or(Ok(()), Err)
}

fn taken(answer: &mut Value, member: &str) -> Vec<Value> {
    match answer.get_mut(member).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

async fn remove(
    images: &[String],
    format: Format,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let client = context.client()?;
    for image in images {
        let request = json!({ "image": image });
        client.windlass("RemoveImage", &request).await?;
    }
    match (format, images) {
        (Format::Json, [image]) => context.out.json(&json!({ "removed": image })),
        (Format::Json, images) => context.out.json(&json!({ "removed": images })),
        (Format::Table, _) => Ok(()),
    }
}

fn show(answer: Value, format: Format, context: &mut Context<'_>) -> Result<(), Failure> {
    if format == Format::Json {
        return context.out.json(&answer);
    }
    let named: Named = read(answer)?;
    for text in &named.left_out {
        context.out.note(&format!("not loaded: {text}"));
    }
    if named.images.iter().any(|image| image.name == image.digest) {
        context.out.hint(
            "an image without a name is called by its digest: `windlass images tag DIGEST NAME` \
             gives it one, as does `load --name NAME`",
        );
    }
    let mut table = Table::new(&["IMAGE", "DIGEST"]);
    for image in named.images {
        table.push([image.name, image.digest]);
    }
    context.out.lines(&table.render(context.out.colour))
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|err| Failure::Failed(format!("images: {err}")))
}
