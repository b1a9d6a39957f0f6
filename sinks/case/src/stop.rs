//! Why a notice did not come through.

use std::time::Duration;

use trapline_sink::{Fault, FaultKind};
use trapline_vendor::Failed;

/// What stopped it.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Not now: nothing more of a batch is told.
    Later {
        fault: Fault,
        retry_after: Option<Duration>,
    },
    /// The case is there, and we may not change it.
    Locked(Fault),
    /// The vendor takes this very notice in no form.
    Refused(String),
}

/// Whether it may be because of what the notice holds.
pub(crate) fn is_of_the_notice(failed: &Failed) -> bool {
    match failed {
        Failed::Exists | Failed::Refused(_) | Failed::Locked(_) => true,
        Failed::Fault { fault, .. } => fault.kind == FaultKind::Config,
        Failed::Gone => false,
    }
}

pub(crate) fn fault_of(kind: FaultKind, message: String) -> Fault {
    Fault { kind, message }
}

pub(crate) fn later(kind: FaultKind, message: String) -> Stop {
    Stop::Later {
        fault: fault_of(kind, message),
        retry_after: None,
    }
}

pub(crate) fn odd(what: &str) -> Stop {
    later(FaultKind::Server, format!("the vendor {what}"))
}

/// The vendor asked for a pause, or `interval` does, and what is left of it is too long to wait here.
pub(crate) fn paused(left: Duration) -> Stop {
    let message = "a pause is not over, which the vendor asked for, or `interval`".to_owned();
    Stop::Later {
        fault: fault_of(FaultKind::Busy, message),
        retry_after: Some(left),
    }
}
