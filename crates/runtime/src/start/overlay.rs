//! The root file system: an overlay over the layers, as a detached mount, so that nothing of it
//! ever stands in the host's mount table.
//!
//! `volatile` leaves out the syncs that a folder which dies with its container does not need.
//! Redirects and metadata-only copies are off: layers come from strangers, and both follow
//! attributes found in them.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::kernel::{self, Sys};
use super::{OrFailed, StartError, cstring, failed, owned};
use crate::spec::Root;

/// Most layers the kernel stacks.
const LAYERS_MAX: usize = 500;
/// The first kernel that takes layers one by one, as `lowerdir+`.
const LAYER_BY_LAYER: (u32, u32) = (6, 5);
/// Options of classic mount(2) must fit a page.
const CLASSIC_OPTIONS_MAX_BYTES: usize = 4095;

/// A detached mount of the container's root. `staging` is an empty folder that kernels before 6.5
/// need for a moment.
pub(super) fn open(root: &Root, staging: &std::path::Path) -> Result<OwnedFd, StartError> {
    let Root::Layers { lower, upper, work } = root else {
        return empty();
    };
    if lower.is_empty() || lower.len() > LAYERS_MAX {
        let count = lower.len();
        return Err(failed(
            "rootfs",
            libc::EINVAL,
            format!("{count} layers, 1 to {LAYERS_MAX} are possible"),
        ));
    }
    let layers = lower
        .iter()
        .map(|layer| cstring("rootfs", layer))
        .collect::<Result<Vec<_>, _>>()?;
    let upper = cstring("rootfs", upper)?;
    let work = cstring("rootfs", work)?;
    if !layer_by_layer(rustix::system::uname().release()) {
        return classic(&layers, &upper, &work, staging);
    }
    let fs = kernel::fsopen(c"overlay").or_failed("rootfs", || "overlay".into())?;
    let fs = owned(fs);
    match configure(fs.as_raw_fd(), &layers, &upper, &work) {
        Ok(mount) => Ok(owned(mount)),
        // A kernel that only calls itself new.
        Err((libc::EINVAL, _)) => classic(&layers, &upper, &work, staging),
        Err((errno, at)) => Err(failed("rootfs", errno, at)),
    }
}

/// Room for the folders that mounts go to.
fn empty() -> Result<OwnedFd, StartError> {
    let options = [(c"mode", c"755"), (c"size", c"64k"), (c"nr_inodes", c"16")];
    kernel::new_mount(c"tmpfs", &options, 0)
        .map(owned)
        .or_failed("rootfs", || "an empty root".into())
}

/// Trying would do, but older kernels log each refusal: one line for every container.
fn layer_by_layer(release: &std::ffi::CStr) -> bool {
    let release = release.to_string_lossy();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= LAYER_BY_LAYER
}

fn configure(
    fs: RawFd,
    layers: &[CString],
    upper: &CString,
    work: &CString,
) -> Result<RawFd, (i32, String)> {
    let set = |key: &std::ffi::CStr, value: &std::ffi::CStr| {
        kernel::fsconfig(fs, key, value).map_err(|errno| (errno, detail(key, value)))
    };
    set(c"source", c"overlay")?;
    for layer in layers {
        set(c"lowerdir+", layer)?;
    }
    set(c"upperdir", upper)?;
    set(c"workdir", work)?;
    set(c"volatile", c"")?;
    set(c"redirect_dir", c"nofollow")?;
    set(c"metacopy", c"off")?;
    set(c"index", c"off")?;
    kernel::fsmount(fs, 0).map_err(|errno| (errno, detail(c"upperdir", upper)))
}

fn detail(key: &std::ffi::CStr, value: &std::ffi::CStr) -> String {
    format!("{} {}", key.to_string_lossy(), value.to_string_lossy())
}

/// mount(2) on the staging folder, a detached copy, unmount.
///
/// Where the host's mounts are shared, as systemd makes them, so is the new one, and a copy joins
/// its peers: pivot_root would refuse it, and what a container mounts on it would reach them. It is
/// made private before it is copied.
fn classic(
    layers: &[CString],
    upper: &CString,
    work: &CString,
    staging: &std::path::Path,
) -> Result<OwnedFd, StartError> {
    let options = classic_options(layers, upper, work)?;
    let staging = cstring("rootfs", &staging.to_string_lossy())?;
    let mounted: Sys<RawFd> = kernel::mount(c"overlay", &staging, c"overlay", 0, &options)
        .and_then(|()| {
            let tree = kernel::mount(c"", &staging, c"", libc::MS_PRIVATE, c"")
                .and_then(|()| kernel::open_tree(libc::AT_FDCWD, &staging, false));
            let _ = kernel::detach(&staging);
            tree
        });
    mounted
        .map(owned)
        .or_failed("rootfs", || format!("overlay with {} layers", layers.len()))
}

fn classic_options(
    layers: &[CString],
    upper: &CString,
    work: &CString,
) -> Result<CString, StartError> {
    let escape = |path: &CString| {
        let mut out = Vec::new();
        for byte in path.as_bytes() {
            if matches!(byte, b'\\' | b':' | b',') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out
    };
    let lower: Vec<_> = layers.iter().map(escape).collect();
    let mut options = b"lowerdir=".to_vec();
    options.extend(lower.join(&b':'));
    options.extend(b",upperdir=");
    options.extend(escape(upper));
    options.extend(b",workdir=");
    options.extend(escape(work));
    options.extend(b",volatile,redirect_dir=nofollow,metacopy=off,index=off");
    if options.len() > CLASSIC_OPTIONS_MAX_BYTES {
        return Err(failed(
            "rootfs",
            libc::E2BIG,
            format!(
                "{} layers on a kernel before 6.5, which takes {CLASSIC_OPTIONS_MAX_BYTES} bytes \
                 of overlay options; use shorter layer paths",
                layers.len()
            ),
        ));
    }
    CString::new(options).map_err(|_| failed("rootfs", libc::EINVAL, "NUL in a path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_tell_how_layers_are_given() {
        for (release, want) in [
            (c"6.1.0-56-cloud-amd64", false),
            (c"5.15.0", false),
            (c"6.5.0-rc1", true),
            (c"6.18.44", true),
            (c"7.0", true),
            (c"unknown", false),
        ] {
            assert_eq!(layer_by_layer(release), want, "{release:?}");
        }
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        let layers = [c"/l/a:b".to_owned(), c"/l/c,d".to_owned()];
        let options = classic_options(&layers, &c"/u".to_owned(), &c"/w".to_owned()).unwrap();
        assert_eq!(
            options.to_str().unwrap(),
            "lowerdir=/l/a\\:b:/l/c\\,d,upperdir=/u,workdir=/w,volatile,redirect_dir=nofollow,\
             metacopy=off,index=off"
        );
        let many = vec![c"/some/rather/long/path/to/a/layer".to_owned(); 200];
        let error = classic_options(&many, &c"/u".to_owned(), &c"/w".to_owned()).unwrap_err();
        assert_eq!(error.errno, libc::E2BIG);
    }
}
