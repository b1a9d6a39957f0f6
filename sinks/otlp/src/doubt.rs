//! Whose fault a refusal is that names nobody: the events', or that of the settings and what stands behind the receiver.
//!
//! In: a verdict, and what became of a control: a record of our own, sent after it, that no event has a part in. Out: what
//! the verdict means beside it. Where the control is not taken either, no event is at fault, and nothing is lost; where it
//! is, what was refused holds nobody up for ever, also where the receiver breaks down over it (the specification has a
//! client drop such records at once; here they become dead letters, after some tries).

use trapline_sink::stream::{Fault, FaultKind};
use trapline_sink::stubborn::over_these;

use crate::answer::Verdict;

const NO_RECORD: &str = "and also a record without an event, so no event is at fault: look at `headers`, `resource`, and what \
                         stands behind the receiver";

/// Whether a verdict on a batch of so many events leaves open whose fault it is. Several that are refused are halved. Those
/// that the receiver says it refused for good are its own word, but where it took nothing else (`is_taken`) it may be a quota.
pub(crate) fn is_open(verdict: &Verdict, events: usize, is_taken: bool) -> bool {
    match verdict {
        Verdict::Refused(_) => !is_taken,
        Verdict::Suspect(_) => events == 1,
        Verdict::Doubtful(_) | Verdict::Cut(_) => true,
        _ => false,
    }
}

/// Whether a verdict that counts in a row is at the end of one. To split costs nothing, and an event alone has some tries,
/// as have several where the receiver may only have been stopped.
pub(crate) fn is_row(verdict: &Verdict, events: usize, is_at_fault: impl FnOnce() -> bool) -> bool {
    match verdict {
        Verdict::Doubtful(_) => events > 1 || is_at_fault(),
        Verdict::Cut(_) => is_at_fault(),
        _ => false,
    }
}

/// What `refused` means beside what became of the control. `is_row`: the receiver failed over this often enough.
pub(crate) fn weigh(refused: Verdict, control: Verdict, is_row: bool) -> Verdict {
    match (refused, control) {
        (
            Verdict::Suspect(reason) | Verdict::Refused(reason),
            Verdict::Refused(_) | Verdict::Suspect(_) | Verdict::Partial(_),
        ) => Verdict::Fault(Fault {
            kind: FaultKind::Config,
            message: format!("{reason}, {NO_RECORD}"),
        }),
        (
            Verdict::Suspect(_) | Verdict::Refused(_),
            Verdict::Doubtful(fault) | Verdict::Cut(fault) | Verdict::Fault(fault),
        ) => Verdict::Fault(fault),
        (Verdict::Doubtful(fault) | Verdict::Cut(fault), Verdict::Accepted(_)) => match is_row {
            true => Verdict::Suspect(over_these(fault).message),
            false => Verdict::Fault(over_these(fault)),
        },
        (Verdict::Doubtful(fault) | Verdict::Cut(fault), _) => Verdict::Fault(fault),
        (refused, _) => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        let message = "failed".to_owned();
        Fault { kind, message }
    }

    fn accepted() -> Verdict {
        Verdict::Accepted(String::new())
    }

    fn kind(verdict: &Verdict) -> Option<FaultKind> {
        match verdict {
            Verdict::Fault(fault) => Some(fault.kind),
            _ => None,
        }
    }

    #[test]
    fn a_refused_event_is_at_fault_only_beside_a_control_that_was_taken() {
        let refused = || Verdict::Suspect("400".into());
        let by_name = || Verdict::Refused("too old".into());
        assert_eq!(weigh(refused(), accepted(), false), refused());
        assert_eq!(weigh(by_name(), accepted(), false), by_name());
        for (control, expected) in [
            (refused(), FaultKind::Config),
            (Verdict::Refused(String::new()), FaultKind::Config),
            (Verdict::Partial(String::new()), FaultKind::Config),
            (Verdict::Doubtful(fault(FaultKind::Server)), FaultKind::Server),
            (Verdict::Fault(fault(FaultKind::Auth)), FaultKind::Auth),
        ] {
            assert_eq!(kind(&weigh(refused(), control.clone(), true)), Some(expected));
            let by_name = Verdict::Refused("too old".into());
            assert_eq!(kind(&weigh(by_name, control, true)), Some(expected));
        }
    }

    #[test]
    fn a_breakdown_is_the_events_fault_only_in_a_row_beside_controls_that_were_taken() {
        let broken = || Verdict::Doubtful(fault(FaultKind::Server));
        let said = over_these(fault(FaultKind::Server)).message;
        assert_eq!(weigh(broken(), accepted(), true), Verdict::Suspect(said));
        let of_login = Verdict::Doubtful(fault(FaultKind::Auth));
        assert_eq!(kind(&weigh(of_login, accepted(), false)), Some(FaultKind::Server));
        for (control, is_row) in [
            (accepted(), false),
            (broken(), true),
            (Verdict::Suspect("400".into()), true),
        ] {
            assert_eq!(kind(&weigh(broken(), control, is_row)), Some(FaultKind::Server));
        }
    }

    #[test]
    fn several_are_split_at_once_unless_the_receiver_may_have_been_stopped() {
        let doubtful = Verdict::Doubtful(fault(FaultKind::Server));
        let cut = Verdict::Cut(fault(FaultKind::Unreachable));
        assert!(is_row(&doubtful, 2, || false) && !is_row(&doubtful, 1, || false) && is_row(&doubtful, 1, || true));
        assert!(!is_row(&cut, 2, || false) && is_row(&cut, 2, || true));
        assert!(!is_row(&Verdict::Suspect(String::new()), 1, || true));
        assert!(is_open(&cut, 2, true));
        assert_eq!(kind(&weigh(cut, accepted(), false)), Some(FaultKind::Unreachable));
    }

    #[test]
    fn only_what_names_nobody_is_open() {
        let [suspect, refused] = [Verdict::Suspect(String::new()), Verdict::Refused(String::new())];
        assert!(is_open(&suspect, 1, true) && !is_open(&suspect, 2, false));
        assert!(is_open(&refused, 2, false) && !is_open(&refused, 2, true));
        assert!(is_open(&Verdict::Doubtful(fault(FaultKind::Server)), 2, true));
        for settled in [accepted(), Verdict::Fault(fault(FaultKind::Busy))] {
            assert!(!is_open(&settled, 1, false));
        }
    }
}
