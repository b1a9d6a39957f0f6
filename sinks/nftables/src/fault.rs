//! What an error of the kernel means, and what to do about it.

use std::io;

use rustix::io::Errno;
use trapline_sink::{Fault, FaultKind};

/// A fault that says what was tried, what came of it and what to do.
pub(crate) fn fault(table: &str, what: &str, error: &io::Error) -> Fault {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) else {
        return local(format!("nftables table `{table}`: {what}: {error}"));
    };
    let (kind, hint) = meaning(errno);
    Fault {
        kind,
        message: format!("nftables table `{table}`: {what}: {hint}"),
    }
}

fn meaning(errno: Errno) -> (FaultKind, String) {
    let local = FaultKind::Local;
    match errno {
        Errno::PERM | Errno::ACCESS => (
            local,
            "not permitted: run as root, or give the process CAP_NET_ADMIN (`AmbientCapabilities=CAP_NET_ADMIN` in its unit)"
                .to_owned(),
        ),
        Errno::NFILE | Errno::NOSPC => (local, FULL.to_owned()),
        Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP => (
            FaultKind::Config,
            format!("{errno}: this kernel has no nf_tables, or lacks a part of it: load the module `nf_tables`, or use another backend"),
        ),
        Errno::NOENT => (local, "it, or a set or chain of it, is gone; it is laid down again".to_owned()),
        Errno::NOBUFS | Errno::NOMEM | Errno::MSGSIZE => (
            FaultKind::Busy,
            format!("{errno}: no room for a transaction in the kernel's buffers"),
        ),
        Errno::TIMEDOUT | Errno::AGAIN => (FaultKind::Server, "no answer of the kernel in time".to_owned()),
        other => (local, other.to_string()),
    }
}

/// Why an element has no place.
const FULL: &str = "the set is full: raise `members`, or let decisions end earlier";

/// A fault of this host.
pub(crate) const fn local(message: String) -> Fault {
    let kind = FaultKind::Local;
    Fault { kind, message }
}

/// The table is somebody else's.
pub(crate) fn taken(table: &str, owner: u32) -> Fault {
    local(format!(
        "nftables table `{table}` belongs to another process (netlink port {owner}): stop it, or name another table"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_what_to_do() {
        for (errno, kind, word) in [
            (Errno::PERM, FaultKind::Local, "CAP_NET_ADMIN"),
            (Errno::NFILE, FaultKind::Local, "raise `members`"),
            (Errno::NOSPC, FaultKind::Local, "raise `members`"),
            (Errno::PROTONOSUPPORT, FaultKind::Config, "no nf_tables"),
            (Errno::OPNOTSUPP, FaultKind::Config, "no nf_tables"),
            (Errno::NOENT, FaultKind::Local, "is gone"),
            (Errno::NOBUFS, FaultKind::Busy, "no room"),
            (Errno::TIMEDOUT, FaultKind::Server, "in time"),
        ] {
            let fault = fault("trap", "put", &errno.into());
            assert_eq!(fault.kind, kind, "{errno}");
            assert!(fault.message.contains(word), "{}", fault.message);
            assert!(fault.message.starts_with("nftables table `trap`: put: "));
        }
        let odd = fault("trap", "put", &io::Error::other("odd"));
        assert_eq!(odd.message, "nftables table `trap`: put: odd");
    }
}
