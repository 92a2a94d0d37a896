//! How the allocator is told to give memory back.

/// What is larger than so many bytes is a mapping of its own: that of hashing a password, bodies, pages of answers.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = 1 << 20;

/// Makes large pieces of memory go back to the system when they are freed. Called once, at start.
///
/// glibc does so by itself until the first one is freed; from then on it keeps pieces of that size on its heaps, and what
/// small things are put between them keeps it from using them again: 200 logins took 100 MiB, hashed one at a time in
/// 19 MiB.
pub fn give_back_large() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "there is no safe wrapper")]
        // SAFETY: it takes two numbers and changes how later allocations are made.
        let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) };
        if done != 1 {
            tracing::warn!("the allocator keeps large pieces of memory that were freed");
        }
    }
}
