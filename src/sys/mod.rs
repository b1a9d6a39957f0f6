//! What only the C library can do: the one place with `unsafe`.
#![expect(
    unsafe_code,
    reason = "calls into the C library, each with a note of why it is sound"
)]

use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Takes over the sockets that a service manager passed to this process, each with the name it gave it.
///
/// Only the first call has any. None, if the variables are absent or meant for another process.
/// Errors: the variables make no sense, or name numbers that are not open.
/// Source: sd_listen_fds(3).
pub fn handed_over() -> std::io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: all numbers are open, for the call above has set a flag on each; whoever started this process opened them
    // for it to take, and this is the only place that does, once.
    let own = |(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name);
    Ok(passed.map(own).collect())
}

/// Makes the calling thread a real-time one (SCHED_FIFO) of the lowest priority there: ahead of all ordinary ones, behind
/// whatever else is real-time on the host. It must never spin.
///
/// Errors: this process may not (CAP_SYS_NICE, or `LimitRTPRIO=1` in the unit).
/// Source: sched(7).
pub fn real_time() -> std::io::Result<()> {
    // SAFETY: a structure of integers, for which zero is a value; not all C libraries have the same ones.
    let mut own: nix::libc::sched_param = unsafe { std::mem::zeroed() };
    own.sched_priority = 1;
    // SAFETY: the structure lives through the call, which reads it; 0 is the calling thread.
    match unsafe { nix::libc::sched_setscheduler(0, nix::libc::SCHED_FIFO, &raw const own) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_becomes_a_real_time_one_or_says_why_not() {
        let policy = std::thread::spawn(|| {
            let asked = super::real_time();
            let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let policy = text.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned();
            (asked.map_err(|error| error.kind()), policy)
        });
        let (asked, policy) = policy.join().unwrap();
        match asked {
            Ok(()) => assert_eq!(policy, "1"),
            Err(kind) => assert_eq!((kind, policy.as_str()), (std::io::ErrorKind::PermissionDenied, "0")),
        }
    }
}
