//! How a thread gets ahead of the others.

use std::io;
use std::sync::OnceLock;

/// Makes the calling thread a real-time one.
static ASK: OnceLock<fn() -> io::Result<()>> = OnceLock::new();

/// Says how a thread becomes a real-time one (SCHED_FIFO, a low priority): it takes a call into the C library, which this
/// crate does not make. Only the first call counts, and only for tables that are opened later.
pub fn real_time_by(ask: fn() -> io::Result<()>) {
    // Whoever was first stands.
    let _ = ASK.set(ask);
}

/// Most that a thread that is no real-time one can be favoured.
const NICEST: i32 = -20;

/// Gets the calling thread ahead as far as this process may. Gives why it is no real-time thread, if it is none.
pub(crate) fn get_ahead() -> Option<String> {
    let asked = ASK.get().map(|ask| ask());
    if is_real_time() {
        return None;
    }
    let own = rustix::thread::gettid();
    let is_nice = rustix::process::setpriority_process(Some(own), NICEST).is_ok();
    let why = match asked {
        Some(Err(error)) => format!("{error}: give the process CAP_SYS_NICE, or `LimitRTPRIO=` in its unit"),
        _ => "nobody asked for it".to_owned(),
    };
    let instead = if is_nice {
        "it has the highest priority of ordinary ones"
    } else {
        "it waits like any other"
    };
    Some(format!("blocks are not made by a real-time thread ({why}); {instead}"))
}

/// The place of the policy behind the name of a thread, in /proc/thread-self/stat.
const POLICY_AT: usize = 38;

fn is_real_time() -> bool {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let policy = text
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(POLICY_AT));
    // SCHED_FIFO and SCHED_RR.
    matches!(policy, Some("1" | "2"))
}
