//! The suite against sinks that are wrong on purpose.

use std::sync::Mutex;

use super::*;
use crate::stream::{BatchLimits, Fault};

/// What a wrong sink does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    /// Calls everything delivered, stores nothing.
    Lies,
    /// Stores everything twice.
    Doubles,
    /// Forgets an outcome.
    Miscounts,
    /// Gives a batch up for one bad event.
    DoesNotSplit,
    /// Does not wait as long as it was asked to.
    Impatient,
}

struct Fake {
    wrong: Wrong,
    case: Mutex<Case>,
    stored: Mutex<Vec<Uuid>>,
}

#[async_trait]
impl StreamSink for Fake {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 100,
            bytes: 1 << 20,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let busy = Fault {
            kind: FaultKind::Busy,
            message: "busy".to_owned(),
        };
        match (self.wrong, *self.case.lock().unwrap()) {
            (Wrong::Lies, _) => return Delivery::all(batch.len()),
            (Wrong::Miscounts, _) => return Delivery::all(batch.len() - 1),
            (wrong, Case::Busy) => {
                let retry_after = (wrong != Wrong::Impatient).then_some(BUSY_FOR);
                return Delivery {
                    retry_after,
                    ..Delivery::retry(batch.len(), busy)
                };
            }
            (Wrong::DoesNotSplit, Case::OneBad) if batch.iter().any(|parcel| is_bad(&parcel.event)) => {
                let outcomes = vec![Outcome::Rejected("bad".to_owned()); batch.len()];
                return Delivery {
                    outcomes,
                    retry_after: None,
                    fault: None,
                };
            }
            (_, Case::OneBad) if batch.iter().any(|parcel| is_bad(&parcel.event)) => {
                return Delivery::suspect(batch.len(), "bad");
            }
            _ => {}
        }
        let times = if self.wrong == Wrong::Doubles { 2 } else { 1 };
        for _ in 0..times {
            self.stored
                .lock()
                .unwrap()
                .extend(batch.iter().map(|parcel| parcel.event.id));
        }
        Delivery::all(batch.len())
    }

    async fn check(&self) -> Result<String, Fault> {
        Ok(String::new())
    }
}

#[async_trait]
impl Rig for Arc<Fake> {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.clone()
    }
    async fn heal(&mut self) {
        *self.case.lock().unwrap() = Case::Well;
    }
    fn stored(&self) -> Vec<Uuid> {
        self.stored.lock().unwrap().clone()
    }
}

/// What the suite says of one case.
async fn answer(wrong: Wrong, case: Case) -> Result<Option<&'static str>, String> {
    let start = |case| {
        let fake = Fake {
            wrong,
            case: Mutex::new(case),
            stored: Mutex::default(),
        };
        Some(Box::new(Arc::new(fake)) as Box<dyn Rig>)
    };
    let suite = Suite {
        name: "fake",
        confirms: true,
        declared: &[],
        start: &|case| {
            let rig = start(case);
            Box::pin(async move { rig })
        },
    };
    suite.answer(CASES.iter().find(|row| row.case == case).unwrap()).await
}

#[tokio::test]
async fn a_right_sink_passes() {
    for case in [Case::Well, Case::Lone, Case::Busy, Case::OneBad] {
        assert_eq!(answer(Wrong::Nothing, case).await, Ok(None));
    }
}

#[tokio::test]
async fn each_wrong_sink_is_found_with_the_reason() {
    for (wrong, case, reason) in [
        (Wrong::Lies, Case::Well, "the destination does not have it"),
        (Wrong::Doubles, Case::Well, "doubles where nothing was lost"),
        (Wrong::Miscounts, Case::Well, "15 outcomes for 16 events"),
        (Wrong::DoesNotSplit, Case::OneBad, "dead letters are"),
        (Wrong::Impatient, Case::Busy, "expected RetryAfter"),
    ] {
        let found = answer(wrong, case).await.unwrap_err();
        assert!(found.contains(reason), "{wrong:?}: {found}");
    }
}

#[tokio::test]
async fn a_case_is_run_or_declared_and_never_both_nor_neither() {
    let silent = |declared| Suite {
        name: "fake",
        confirms: true,
        declared,
        start: &|_| Box::pin(async { None }),
    };
    let refused = CASES.iter().find(|row| row.case == Case::Refused).unwrap();
    assert_eq!(
        silent(&[]).answer(refused).await.unwrap_err(),
        "neither run nor declared"
    );
    assert_eq!(
        silent(&[(Case::Refused, "")]).answer(refused).await.unwrap_err(),
        "declared without a reason"
    );
    assert_eq!(
        silent(&[(Case::Refused, "no peer")]).answer(refused).await,
        Ok(Some("no peer"))
    );
    let well = &CASES[0];
    assert!(
        silent(&[(Case::Well, "why not")])
            .answer(well)
            .await
            .unwrap_err()
            .starts_with("cannot be declared")
    );
}

#[test]
fn every_fault_from_nine_to_nineteen_has_a_case() {
    for fault in 9..=19 {
        let name = format!("F{fault}");
        assert!(CASES.iter().any(|row| row.fault == name), "{name}");
    }
}
