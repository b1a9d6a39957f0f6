//! What only the C library can do: the one place with `unsafe`.
#![expect(
    unsafe_code,
    reason = "calls into the C library, each with a note of why it is sound"
)]

/// Has all threads take memory from two arenas. With one for each thread, what a burst of sessions frees on another
/// thread than it was taken on stays where nobody uses it: a tenth of what ten thousand sessions hold. With a single
/// one the threads wait for each other.
///
/// Call it before the first thread is started; later it only concerns threads still to come.
pub fn use_few_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers and touches nothing but the allocator's own settings, under its own lock.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2);
    }
}
