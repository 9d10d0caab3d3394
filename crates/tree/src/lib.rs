//! Trees of files whose content a container or an image decides: as deep, as wide and as oddly named
//! as the kernel allows.
//!
//! Everything goes by descriptors, follows no link, stays on the file system it began on, and takes
//! the same few descriptors and the same stack however deep a tree is. No path is put together, so
//! that the kernel's limit for one does not count.

mod folder;
mod remove;

pub use remove::{remove, remove_at};
