//! The rules for all couriers, against one whose answers are written down beforehand.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::conformance::events;

const SECRET: &str = "hush-hush-hush";

/// Answers in turn, and then takes everything; what was sent is kept.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Told>>,
    sent: Mutex<Vec<Form>>,
    no_short: bool,
}

#[async_trait]
impl Courier for Scripted {
    type Letter = ();
    const NAME: &'static str = "the script";
    const SHORT: &'static str = "as a whisper";

    async fn letter(&self, _: &Parcel) {}

    async fn send(&self, _: &mut (), form: Form) -> Told {
        self.sent.lock().unwrap().push(form);
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| told(Verdict::Accepted(format!("taken, {SECRET}"))))
    }

    fn has_short(&self, (): &()) -> bool {
        !self.no_short
    }

    async fn check(&self) -> Result<String, Fault> {
        Err(fault(FaultKind::Auth))
    }

    fn destination(&self) -> String {
        "a script".to_owned()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn secrets(&self) -> Vec<&str> {
        vec![SECRET]
    }
}

fn told(verdict: Verdict) -> Told {
    Told {
        verdict,
        retry_after: None,
    }
}

fn fault(kind: FaultKind) -> Fault {
    let message = format!("the script says {SECRET}");
    Fault { kind, message }
}

fn refused(known: bool) -> Told {
    let reason = format!("refused: {SECRET}");
    told(Verdict::Refused { reason, known })
}

fn sink(answers: Vec<Told>) -> Dispatch<Scripted> {
    let courier = Scripted {
        answers: Mutex::new(answers.into()),
        ..Scripted::default()
    };
    Dispatch::new(courier, Duration::from_secs(1))
}

fn sent(sink: &Dispatch<Scripted>) -> Vec<Form> {
    sink.courier.sent.lock().unwrap().clone()
}

async fn deliver(sink: &Dispatch<Scripted>) -> Delivery {
    sink.deliver(&events(1, false)).await
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_goes_short_and_is_counted() {
    for known in [true, false] {
        let sink = sink(vec![refused(known)]);
        assert_eq!(deliver(&sink).await, Delivery::all(1));
        assert_eq!(sent(&sink), [Form::Full, Form::Short]);
        assert_eq!(
            sink.notes(),
            ["1 notices went as a whisper: the script refused them as they were"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_interval_is_kept_within_a_delivery_whatever_is_refused() {
    let changed = told(Verdict::Changed("no thread".to_owned()));
    let taken = told(Verdict::Accepted(String::new()));
    let mut sink = sink(vec![taken, changed, refused(true)]);
    sink.pace = Pace::new(crate::pace::INTERVAL_MAX);
    assert_eq!(deliver(&sink).await, Delivery::all(1));
    let delivery = tokio::time::timeout(Duration::from_secs(600), deliver(&sink)).await;
    assert_eq!(
        delivery.unwrap(),
        Delivery::all(1),
        "no fault, which would be told as one of the sink"
    );
    assert_eq!(sent(&sink), [Form::Full, Form::Full, Form::Full, Form::Short]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_goes_short_also_where_the_interval_is_waited_out_between_tries() {
    let mut sink = sink(vec![refused(true), refused(true)]);
    sink.pace = Pace::new(Duration::from_secs(1800));
    let batch = events(1, false);
    let first = sink.deliver(&batch).await;
    assert_eq!(first.outcomes, [Outcome::Retry]);
    tokio::time::advance(first.retry_after.unwrap()).await;
    let second = sink.deliver(&batch).await;
    assert!(matches!(second.outcomes[..], [Outcome::Rejected(_)]), "{second:?}");
    assert_eq!(sent(&sink), [Form::Full, Form::Short]);
}

#[tokio::test(start_paused = true)]
async fn only_a_known_word_puts_aside_what_even_the_short_form_meets() {
    let rejected = deliver(&sink(vec![refused(false), refused(true)])).await;
    assert_eq!(rejected.outcomes, [Outcome::Rejected("refused: ***".to_owned())]);
    let kept = deliver(&sink(vec![refused(true), refused(false)])).await;
    assert_eq!(kept.outcomes, [Outcome::Retry]);
    assert_eq!(kept.fault.unwrap().kind, FaultKind::Config);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_short_form_goes_once() {
    let mut sink = sink(vec![refused(true)]);
    sink.courier.no_short = true;
    assert!(matches!(deliver(&sink).await.outcomes[..], [Outcome::Rejected(_)]));
    assert_eq!((sent(&sink), sink.notes()), (vec![Form::Full], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_goes_again_once_and_as_a_whole() {
    let changed = || told(Verdict::Changed("no thread".to_owned()));
    let once = sink(vec![changed()]);
    assert_eq!(deliver(&once).await, Delivery::all(1));
    assert_eq!(sent(&once), [Form::Full, Form::Full]);
    let twice = sink(vec![changed(), refused(true), changed()]);
    assert_eq!(deliver(&twice).await.fault.unwrap().kind, FaultKind::Config);
    assert_eq!(sent(&twice), [Form::Full, Form::Full, Form::Short]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_stops_at_a_fault_and_what_was_taken_before_is_not_sent_again() {
    let taken = told(Verdict::Accepted(String::new()));
    let sink = sink(vec![taken, fault(FaultKind::Server).into()]);
    let delivery = sink.deliver(&events(3, false)).await;
    assert_eq!(delivery.outcomes, [Outcome::Delivered, Outcome::Retry, Outcome::Retry]);
    assert_eq!(sent(&sink).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_before_a_pause_is_over_that_was_asked_for_with_any_fault() {
    for kind in [FaultKind::Busy, FaultKind::Server] {
        let asked = Told {
            retry_after: Some(Duration::from_secs(60)),
            ..fault(kind).into()
        };
        let sink = sink(vec![asked]);
        let first = deliver(&sink).await;
        assert_eq!(
            (first.fault.unwrap().kind, first.retry_after.unwrap().as_secs()),
            (kind, 60)
        );
        tokio::time::advance(Duration::from_secs(20)).await;
        let second = deliver(&sink).await;
        assert_eq!(second.retry_after, Some(Duration::from_secs(40)));
        assert_eq!((second.fault.unwrap().kind, sent(&sink).len()), (FaultKind::Busy, 1));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(deliver(&sink).await, Delivery::all(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_a_length_or_of_none_is_one_nevertheless() {
    for retry_after in [None, Some(Duration::ZERO), Some(Duration::from_millis(1))] {
        let busy = fault(FaultKind::Busy).into();
        let sink = sink(vec![Told { retry_after, ..busy }]);
        assert_eq!(deliver(&sink).await.retry_after, None, "the worker's own pace");
        let start = tokio::time::Instant::now();
        assert_eq!(deliver(&sink).await, Delivery::all(1));
        assert_eq!(start.elapsed(), PAUSE);
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_comes_back() {
    let sink = sink(vec![fault(FaultKind::Server).into(), refused(true), refused(true)]);
    let mut shown = String::new();
    for _ in 0..3 {
        shown.push_str(&format!("{:?}{:?}", deliver(&sink).await, sink.word()));
    }
    shown.push_str(&format!("{:?}", sink.check().await));
    assert!(shown.contains("***") && !shown.contains(SECRET), "{shown}");
    assert_eq!(sink.word().as_deref(), Some("taken, ***"));
}
