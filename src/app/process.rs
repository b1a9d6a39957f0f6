//! What the process uses, and whether that will do.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::control::status::ProcessStatus;
use crate::telemetry;

/// Descriptors kept back for journal, sinks and the control socket.
const RESERVE: u64 = 128;

/// Raises the soft limit of descriptors to the hard one; the system's default of 1024 is for programs that `select`.
/// Gives the limit then in force.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current < limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

/// Lets no core be written: it would hold secrets of sinks and peers.
pub fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(error = %error, "core dumps could not be forbidden");
    }
}

/// What is wrong if `sessions` at once and `listeners` do not fit into `limit` descriptors.
pub fn shortage(limit: u64, sessions: u64, listeners: u64) -> Option<String> {
    let needed = sessions.saturating_add(listeners).saturating_add(RESERVE);
    (needed > limit).then(|| {
        format!(
            "{needed} descriptors may be needed ({sessions} sessions, {listeners} listeners, {RESERVE} in reserve), \
             {limit} are allowed"
        )
    })
}

/// The processor time that all threads have used.
pub(super) fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

/// Reads what the process uses now; what cannot be read is 0.
pub(super) fn usage() -> ProcessStatus {
    ProcessStatus {
        descriptors: open_descriptors(),
        descriptors_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        memory_bytes: resident_bytes(),
        panics: telemetry::panics(),
    }
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_the_need_and_the_limit() {
        assert_eq!(shortage(5_000, 4_000, 10), None);
        let said = shortage(1_024, 4_000, 10).unwrap();
        assert!(said.contains("4138") && said.contains("1024"), "{said}");
    }

    #[test]
    fn usage_is_read_from_the_system() {
        let usage = usage();
        assert!(usage.descriptors > 2 && usage.descriptors <= usage.descriptors_max);
        assert!(usage.memory_bytes > 100_000);
    }
}
