//! `windlass restore`: a new store from a backup, in a data folder that has none.

use crate::data_folder::make_private;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

pub(crate) fn run(file: &Path, data: &Path) -> Result<()> {
    let mut source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file).with_context(|| format!("reading {}", file.display()))?;
        Box::new(BufReader::new(opened))
    };
    make_private(data)?;
    let store = data.join("store");
    let restored = windlass_store::backup::restore(&mut source, &store, Default::default())?;
    eprintln!(
        "restored {} rows and {} history records into {}",
        restored.rows,
        restored.records,
        store.display()
    );
    eprintln!("next: windlass up --data {}", data.display());
    Ok(())
}
