//! Whose fault it is that the cluster takes none of the events of a request: theirs, or that of the settings.
//!
//! In: a verdict that leaves it open, and what became of a control: a document of our own, sent after it to the same index,
//! that no event has a part in. Out: what the verdict means beside it. Where the control is not taken either, no event is
//! at fault, and nothing is lost; where it is, an event that the cluster refuses or breaks down over holds nobody up for
//! ever. Where an index took one event of a request, its others are judged as they are: it takes documents.

use trapline_sink::stream::{Fault, FaultKind};
use trapline_sink::stubborn::{TRIES, over_these};

use crate::answer::{Item, Verdict};

/// Tries of an event that the cluster breaks down over: for some minutes it may be a shard that is on its way elsewhere.
pub(crate) const TRIES_OF_EVENT: u32 = 2 * TRIES;
const NO_DOCUMENT: &str = "and also a document without an event, so no event is at fault: look at the index, its template and \
                           its pipeline";

/// What became of the control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// The index has it.
    Taken,
    /// It is refused as the events are.
    Refused,
    /// It was not judged.
    Unknown(Fault),
}

impl Control {
    /// What a verdict on the control alone says.
    pub(crate) fn of(verdict: Verdict) -> Self {
        let item = match verdict {
            Verdict::Items(mut items) => items.pop(),
            Verdict::Suspect(_) => return Self::Refused,
            Verdict::Doubtful(fault) | Verdict::Fault(fault) => return Self::Unknown(fault),
        };
        match item {
            Some(Item::Delivered | Item::InFailureStore | Item::LeftOut) => Self::Taken,
            Some(Item::Retry(fault) | Item::Failed(fault)) => Self::Unknown(fault),
            Some(Item::Rejected(_) | Item::Suspect(_)) | None => Self::Refused,
        }
    }
}

/// Whether a verdict leaves open whose fault it is.
pub(crate) fn is_open(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Items(items) => {
            let is_taken = |item: &Item| matches!(item, Item::Delivered | Item::InFailureStore | Item::LeftOut);
            items.iter().any(is_at_stake) && !items.iter().any(is_taken)
        }
        Verdict::Doubtful(_) => true,
        Verdict::Suspect(_) | Verdict::Fault(_) => false,
    }
}

/// Whether an event may be lost for it.
pub(crate) const fn is_at_stake(item: &Item) -> bool {
    matches!(item, Item::Rejected(_) | Item::Failed(_))
}

/// Whether the cluster broke down over an event, so that this is to be counted.
pub(crate) fn is_breakdown(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Items(items) => items.iter().any(|item| matches!(item, Item::Failed(_))),
        verdict => matches!(verdict, Verdict::Doubtful(_)),
    }
}

/// What an open verdict means beside the control. `is_row`: the cluster broke down over these events often enough.
pub(crate) fn weigh(verdict: Verdict, control: &Control, is_row: bool) -> Verdict {
    match verdict {
        Verdict::Items(items) => Verdict::Items(items.into_iter().map(|item| weighed(item, control, is_row)).collect()),
        Verdict::Doubtful(fault) if is_row && *control == Control::Taken => Verdict::Suspect(over_these(fault).message),
        Verdict::Doubtful(fault) if *control == Control::Taken => Verdict::Fault(over_these(fault)),
        Verdict::Doubtful(fault) => Verdict::Fault(fault),
        settled => settled,
    }
}

fn weighed(item: Item, control: &Control, is_row: bool) -> Item {
    match (item, control) {
        (Item::Rejected(reason), Control::Refused) => Item::Retry(Fault {
            kind: FaultKind::Config,
            message: format!("{reason}, {NO_DOCUMENT}"),
        }),
        (Item::Rejected(_), Control::Unknown(fault)) => Item::Retry(fault.clone()),
        (Item::Failed(fault), Control::Taken) if is_row => Item::Suspect(fault.message),
        (Item::Failed(fault), _) => Item::Retry(fault),
        (item, _) => item,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        let message = "failed".to_owned();
        Fault { kind, message }
    }

    fn rejected() -> Item {
        Item::Rejected("400".into())
    }

    fn failed() -> Item {
        Item::Failed(fault(FaultKind::Server))
    }

    fn retried(item: Item) -> Option<FaultKind> {
        match item {
            Item::Retry(fault) => Some(fault.kind),
            _ => None,
        }
    }

    #[test]
    fn a_verdict_is_open_where_nothing_was_taken_and_something_may_be_lost() {
        let items = |items: Vec<Item>| is_open(&Verdict::Items(items));
        assert!(items(vec![rejected()]) && items(vec![failed(), rejected()]));
        assert!(items(vec![Item::Retry(fault(FaultKind::Busy)), rejected()]));
        assert!(!items(vec![rejected(), Item::Delivered]) && !items(vec![Item::InFailureStore, failed()]));
        assert!(!items(vec![Item::Retry(fault(FaultKind::Busy))]) && !items(vec![]));
        assert!(is_open(&Verdict::Doubtful(fault(FaultKind::Server))));
        assert!(!is_open(&Verdict::Suspect(String::new())));
    }

    #[test]
    fn a_document_is_at_fault_only_beside_a_control_that_was_taken() {
        assert_eq!(weighed(rejected(), &Control::Taken, false), rejected());
        assert_eq!(
            retried(weighed(rejected(), &Control::Refused, true)),
            Some(FaultKind::Config)
        );
        let busy = Control::Unknown(fault(FaultKind::Busy));
        assert_eq!(retried(weighed(rejected(), &busy, true)), Some(FaultKind::Busy));
    }

    #[test]
    fn a_breakdown_is_the_events_fault_only_in_a_row_beside_controls_that_were_taken() {
        assert_eq!(weighed(failed(), &Control::Taken, true), Item::Suspect("failed".into()));
        let unknown = Control::Unknown(fault(FaultKind::Busy));
        for (control, is_row) in [(&Control::Taken, false), (&Control::Refused, true), (&unknown, true)] {
            assert_eq!(retried(weighed(failed(), control, is_row)), Some(FaultKind::Server));
            let whole = weigh(Verdict::Doubtful(fault(FaultKind::Auth)), control, is_row);
            let expected = match control {
                Control::Taken => FaultKind::Server,
                _ => FaultKind::Auth,
            };
            assert!(matches!(whole, Verdict::Fault(fault) if fault.kind == expected));
        }
        let whole = weigh(Verdict::Doubtful(fault(FaultKind::Server)), &Control::Taken, true);
        assert_eq!(whole, Verdict::Suspect(over_these(fault(FaultKind::Server)).message));
    }

    #[test]
    fn the_verdict_on_the_control_says_whether_the_index_takes_documents() {
        let of = |item: Item| Control::of(Verdict::Items(vec![item]));
        assert_eq!(of(Item::Delivered), Control::Taken);
        assert_eq!(of(rejected()), Control::Refused);
        assert_eq!(of(failed()), Control::Unknown(fault(FaultKind::Server)));
        assert_eq!(Control::of(Verdict::Suspect(String::new())), Control::Refused);
    }
}
