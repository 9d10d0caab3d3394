//! What a shim says to its standard error: a file beside its socket, of which an agent reads the end
//! when the shim has ended.

use std::io::Write;

/// Said once that many bytes are there, nothing more is: the file lies in memory that all share.
const BYTES_MAX: u64 = 64 * 1024;

/// Says a line where there is room. `eprintln!` would end the shim, and with it its containers, on a
/// file system that is full.
pub(crate) fn say(text: &str) {
    let mut stderr = std::io::stderr();
    let room = rustix::fs::fstat(&stderr)
        .is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size < BYTES_MAX));
    if room {
        let _ = stderr.write_all(format!("{text}\n").as_bytes());
    }
}
