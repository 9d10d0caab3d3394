//! Memory of this process that nothing uses.

/// Gives what the allocator keeps after a peak back to the kernel: it never does so by itself where
/// something small that is still used lies behind.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
