//! `backup`: the server's state into a file, while it serves.

use super::Context;
use crate::client::{Client, Pieces};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::words;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  windlass backup /backups/windlass-monday     into a file that nobody else may read
  windlass backup - | zstd > monday.zst        through a pipe
  windlass restore FILE --data DIR             the way back";

/// Write the whole state and its history to a file.
///
/// That is clusters, definitions, tasks, tags and what happened to them. Images, volumes, logs and
/// access keys stay in the data folder: copy what of them cannot be made again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BackupArgs {
    /// File to make, or - for stdout.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(args: BackupArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    if args.file == Path::new("-") {
        return to_stdout(context).await;
    }
    if args.file.exists() && !args.force {
        return Err(Failure::Failed(format!(
            "{} is there already: choose another name, or add --force",
            args.file.display()
        )));
    }
    let client = context.client()?;
    let length = to_file(&args.file, &client, context).await?;
    context.out.note(&format!(
        "{}: {}, the state and its history; images, volumes, logs and keys are not in it",
        args.file.display(),
        words::bytes(length)
    ));
    Ok(())
}

async fn open(client: &Client) -> Result<Pieces, Failure> {
    client.stream("Backup", &serde_json::json!({})).await
}

async fn to_stdout(context: &mut Context<'_>) -> Result<(), Failure> {
    if context.out.out_is_terminal {
        let why = "a backup is no text for a terminal: redirect it, or name a file";
        return Err(Failure::Usage(why.to_owned()));
    }
    let mut pieces = open(&context.client()?).await?;
    while let Some(piece) = pieces.next().await? {
        context.out.raw(&piece)?;
    }
    Ok(())
}

/// Whole or not at all: the name stands for a complete backup.
async fn to_file(path: &Path, client: &Client, context: &Context<'_>) -> Result<u64, Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let temporary = PathBuf::from(temporary);
    let mut pieces = open(client).await?;
    let mut interrupts = Interrupts::new()?;
    let what = format!("write {}", temporary.display());
    // The state holds environment variables, which may be secret.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary);
    let mut file = file.map_err(Failure::file(what))?;
    let progress = Progress::of_bytes(&context.out, "backup", None);
    let copied = copy(&mut pieces, &mut file, &temporary, &progress);
    let written = tokio::select! {
        written = progress.during(copied) => written,
        _ = interrupts.next() => Err(Failure::Interrupted),
    };
    let renamed = written.and_then(|length| {
        let what = format!("rename {} to {}", temporary.display(), path.display());
        fs::rename(&temporary, path).map_err(Failure::file(what))?;
        Ok(length)
    });
    if renamed.is_err() {
        // The failure is told already; what is left is a file that says .partial.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

async fn copy(
    pieces: &mut Pieces,
    file: &mut File,
    path: &Path,
    progress: &Progress,
) -> Result<u64, Failure> {
    let failed = || Failure::file(format!("write {}", path.display()));
    let mut length = 0_u64;
    while let Some(piece) = pieces.next().await? {
        file.write_all(&piece).map_err(failed())?;
        length = length.saturating_add(piece.len() as u64);
        progress.add(piece.len() as u64);
    }
    file.sync_all().map_err(failed())?;
    Ok(length)
}
