//! Makes an image of a folder: a root file system that some tool put together.

use std::fs::File;
use std::io;
use std::path::Path;

use super::members::Members;
use super::{Found, LoadOptions, Loaded, assemble};
use crate::error::{At, Error, Result};
use crate::folder;
use crate::install::ProgressFn;
use crate::manifest::{Descriptor, OCI_LAYER};
use crate::platform::Machine;
use crate::reference::Reference;
use crate::roomy::Roomy;
use crate::store::Store;

impl Store {
    /// Makes an image with one layer of a folder's content: a root file system that some tool put
    /// together. Blocks.
    ///
    /// # Errors
    /// [`Error::Read`] when the folder cannot be read, else as [`Store::load_archive`].
    pub fn import_rootfs(
        &self,
        name: &Reference,
        folder: &Path,
        options: &LoadOptions,
        progress: ProgressFn<'_>,
    ) -> Result<Loaded> {
        folder::check(folder, self.inner.files.root())?;
        let cannot_read = |e| Error::read(folder.display().to_string(), e);
        let temporary = self.inner.files.temporary()?;
        let look = || self.inner.look();
        let file = Roomy::new(&temporary.file, &look);
        let mut tar = tar::Builder::new(io::BufWriter::new(file));
        tar.follow_symlinks(false);
        folder::append(&mut tar, folder).map_err(cannot_read)?;
        let written = tar
            .into_inner()
            .and_then(|b| b.into_inner().map_err(|e| e.into_error()));
        written.map_err(cannot_read)?;
        let mut layer = File::open(temporary.path()).at("open", temporary.path())?;
        let inner = &self.inner;
        let bytes_max = inner.limits.blob_bytes;
        let received = inner
            .files
            .receive(&mut layer, "the folder", bytes_max, &look)?;
        let config = serde_json::json!({
            "architecture": Machine::own().architecture,
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": { "type": "layers", "diff_ids": [received.digest.to_string()] },
        });
        let layer = Descriptor::new(OCI_LAYER, received.digest, received.bytes);
        let image = assemble(
            &name.to_string(),
            config.to_string().into_bytes(),
            vec![layer],
        )?;
        let found = Found {
            names: vec![name.clone()],
            index: None,
            image,
        };
        if !options.replace {
            self.check_names(&found)?;
        }
        let mut members = Members::default();
        members.add(Vec::new(), received);
        let loaded = self.install_swept(found, &mut members, progress)?;
        loaded
            .into_iter()
            .next()
            .ok_or_else(|| Error::archive("it has no image"))
    }
}
