//! What `images load` sends: a file, standard input, or an OCI layout in a folder.
//!
//! The signature covers the digest of what is sent, so that it is read twice. What can be read only
//! once, and a folder, goes through a temporary file without a name, on the disk and not in memory.

use crate::client::Client;
use crate::commands::Context;
use crate::failure::Failure;
use crate::limits;
use crate::progress::Progress;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Where temporary files may be large. Source: the file system hierarchy standard.
const LARGE_TEMPORARY_FILES: &str = "/var/tmp";
/// Folders in a folder that are looked into: layouts have two.
const DEPTH_MAX: usize = 3;

/// An archive that was read once.
pub(super) struct Archive {
    shown: String,
    file: File,
    length: u64,
    digest: String,
}

impl Archive {
    /// Reads an archive: a regular file, a pipe, `-` for standard input, or a folder with a layout.
    ///
    /// # Errors
    /// It cannot be read, or is none of these.
    pub(super) async fn read(path: &Path, context: &Context<'_>) -> Result<Archive, Failure> {
        if path == Path::new("-") {
            let owned = io::stdin().as_fd().try_clone_to_owned();
            let input = owned.map_err(Failure::file("read standard input"))?;
            let input = File::from_std(input.into());
            return Archive::kept(input, "standard input", context).await;
        }
        let shown = path.display().to_string();
        let failed = || Failure::file(format!("read the archive {shown}"));
        let meta = tokio::fs::metadata(path).await.map_err(failed())?;
        if meta.is_dir() {
            return Archive::of_folder(path, shown, context).await;
        }
        if meta.file_type().is_fifo() {
            let pipe = File::open(path).await.map_err(failed())?;
            return Archive::kept(pipe, &shown, context).await;
        }
        if !meta.is_file() {
            let why = "is no archive: give a file, a pipe, a folder with an OCI layout, or - for \
                       standard input";
            return Err(Failure::Usage(format!("{shown} {why}")));
        }
        let file = File::open(path).await.map_err(failed())?;
        Archive::of_file(file, shown, context).await
    }

    async fn of_file(
        mut file: File,
        shown: String,
        context: &Context<'_>,
    ) -> Result<Archive, Failure> {
        let failed = || Failure::file(format!("read the archive {shown}"));
        let length = file.metadata().await.map_err(failed())?.len();
        let label = format!("reading {shown}");
        let reading = Progress::of_bytes(&context.out, &label, Some(length));
        let mut nowhere = tokio::io::sink();
        let copied = copy(&mut file, &mut nowhere, &reading);
        let (length, digest) = reading.during(copied).await.map_err(failed())?;
        Ok(Archive {
            shown,
            file,
            length,
            digest,
        })
    }

    /// Of what can be read only once.
    async fn kept(
        mut source: impl AsyncRead + Unpin,
        shown: &str,
        context: &Context<'_>,
    ) -> Result<Archive, Failure> {
        let failed = || Failure::file(format!("keep {shown} in {LARGE_TEMPORARY_FILES}"));
        let mut file = File::from_std(temporary().map_err(failed())?);
        let label = format!("reading {shown}");
        let reading = Progress::of_bytes(&context.out, &label, None);
        let copied = copy(&mut source, &mut file, &reading);
        let (length, digest) = reading.during(copied).await.map_err(failed())?;
        if length == 0 {
            let why = "nothing came through it; what was to write the archive has said why";
            return Err(Failure::Failed(format!("{shown} is empty: {why}")));
        }
        Ok(Archive {
            shown: shown.to_owned(),
            file,
            length,
            digest,
        })
    }

    async fn of_folder(
        path: &Path,
        shown: String,
        context: &Context<'_>,
    ) -> Result<Archive, Failure> {
        let is_layout = ["index.json", "manifest.json"];
        if !is_layout.iter().any(|name| path.join(name).is_file()) {
            let why = "is no image: it has neither index.json nor manifest.json; to make an image \
                       of a root file system: windlass images import-rootfs NAME";
            return Err(Failure::Usage(format!("the folder {shown} {why} {shown}")));
        }
        let folder = path.to_owned();
        let packed = tokio::task::spawn_blocking(move || pack(&folder));
        let packed = packed.await.map_err(io::Error::other).and_then(|done| done);
        let failed = || Failure::file(format!("pack the folder {shown}"));
        let mut file = File::from_std(packed.map_err(failed())?);
        file.rewind().await.map_err(failed())?;
        Archive::of_file(file, shown, context).await
    }

    /// Sends it, to be called `name` if there is one.
    ///
    /// # Errors
    /// The server's refusal, or that the archive cannot be read any more.
    pub(super) async fn send(
        mut self,
        client: &Client,
        name: Option<&str>,
        context: &Context<'_>,
    ) -> Result<Value, Failure> {
        let failed = || Failure::file(format!("read the archive {}", self.shown));
        self.file.rewind().await.map_err(failed())?;
        let (sender, receiver) = mpsc::channel(4);
        let sending = Progress::of_bytes(&context.out, "sending", Some(self.length));
        let work = async {
            tokio::join!(
                feed(self.file, self.length, sender, &sending),
                client.upload("LoadImage", name, self.digest, self.length, receiver)
            )
        };
        let (fed, answer) = sending.during(work).await;
        // A server that refuses stops reading: its answer tells more than that.
        let answer = answer?;
        fed.map_err(Failure::file(format!("read the archive {}", self.shown)))?;
        Ok(answer)
    }
}

/// A file without a name, gone with the process.
fn temporary() -> io::Result<std::fs::File> {
    tempfile::tempfile_in(LARGE_TEMPORARY_FILES).or_else(|_| tempfile::tempfile())
}

/// Writes what a layout consists of into an archive. Links are followed: some builders make a layout
/// of links into their own store.
fn pack(folder: &Path) -> io::Result<std::fs::File> {
    let mut archive = tar::Builder::new(BufWriter::new(temporary()?));
    add_folder(&mut archive, folder, Path::new(""), 0)?;
    let written = archive.into_inner()?;
    written.into_inner().map_err(io::IntoInnerError::into_error)
}

fn add_folder(
    archive: &mut tar::Builder<impl Write>,
    root: &Path,
    below: &Path,
    depth: usize,
) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join(below))? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let inside = below.join(name);
        let meta = std::fs::metadata(root.join(&inside))?;
        if meta.is_dir() && depth < DEPTH_MAX {
            add_folder(archive, root, &inside, depth + 1)?;
        } else if meta.is_file() {
            let mut file = std::fs::File::open(root.join(&inside))?;
            archive.append_file(&inside, &mut file)?;
        }
    }
    Ok(())
}

/// Copies to the end, and gives back how many bytes and their digest.
async fn copy(
    source: &mut (impl AsyncRead + Unpin),
    into: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
) -> io::Result<(u64, String)> {
    let mut digest = Sha256::new();
    let mut length = 0;
    let mut buffer = vec![0; limits::PIECE_BYTES];
    loop {
        let read = source.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            into.flush().await?;
            return Ok((length, hex::encode(digest.finalize())));
        };
        digest.update(piece);
        into.write_all(piece).await?;
        length += read as u64;
        progress.add(read as u64);
    }
}

/// Sends exactly `length` bytes; one that grew meanwhile would be refused for its digest anyway.
async fn feed(
    file: File,
    length: u64,
    pieces: mpsc::Sender<Bytes>,
    progress: &Progress,
) -> io::Result<()> {
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
    fn a_folder_is_packed_with_what_its_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("layout/blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(folder.path().join("layout/index.json"), "{}").unwrap();
        std::fs::write(folder.path().join("stored"), "content").unwrap();
        std::os::unix::fs::symlink(folder.path().join("stored"), blobs.join("ab")).unwrap();
        let mut packed = pack(&folder.path().join("layout")).unwrap();
        io::Seek::rewind(&mut packed).unwrap();
        let mut archive = tar::Archive::new(packed);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        let want = [("blobs/sha256/ab", "content"), ("index.json", "{}")];
        let want = want.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(entries.collect::<Vec<_>>(), want);
    }
}
