use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use async_trait::async_trait;
use std::sync::Mutex;
use trapline_schemas::{Action, Event, Field, Timestamp};
use trapline_sink::conformance::{Case, Rig, Suite, events};
use uuid::Uuid;

use super::*;

const NO_PEER: &str = "a terminal has no protocol: it takes text, or takes none for a while (Ctrl-S, tested here)";

/// What was written, for a test to read.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal on which somebody pressed Ctrl-S: each write waits for a word.
struct Stopped(Receiver<()>, Page);

impl Write for Stopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn console(format: Option<Format>, out: impl Write + Send + 'static) -> ConsoleSink {
    ConsoleSink::new(
        format,
        Screen::of(false, true),
        Out::new(Box::new(out), Duration::from_millis(100)),
    )
}

fn stopped() -> (Sender<()>, Page, ConsoleSink) {
    let ((go, wait), page) = (channel(), Page::default());
    let sink = console(None, Stopped(wait, page.clone()));
    (go, page, sink)
}

/// An event that is a line at once.
fn health() -> Arc<Parcel> {
    let mut event = Event::new(Uuid::from_u128(1), Timestamp::now(), Action::SinkFailed);
    event.set(Field::SinkName, "siem");
    Arc::new(Parcel::new(1, Arc::new(event)))
}

struct ConsoleRig(Page, Arc<ConsoleSink>);

#[async_trait]
impl Rig for ConsoleRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.1.clone()
    }
    async fn heal(&mut self) {}
    fn stored(&self) -> Vec<Uuid> {
        let object = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        self.0
            .text()
            .lines()
            .map(|line| object(line)["event"]["id"].as_str().unwrap().parse().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn every_fault_is_run_or_declared() {
    let start = |case| {
        matches!(case, Case::Well | Case::Lone).then(|| {
            let page = Page::default();
            let sink = Arc::new(console(Some(Format::Ecs), page.clone()));
            Box::new(ConsoleRig(page, sink)) as Box<dyn Rig>
        })
    };
    let suite = Suite {
        name: "console",
        confirms: true,
        declared: &[
            (Case::Refused, NO_PEER),
            (Case::Slow, NO_PEER),
            (Case::HalfOpen, NO_PEER),
            (Case::Busy, NO_PEER),
            (Case::ServerError, NO_PEER),
            (Case::OneBad, NO_PEER),
            (Case::TooLarge, NO_PEER),
            (Case::Unauthorized, NO_PEER),
            (Case::Forbidden, NO_PEER),
            (Case::Garbage, NO_PEER),
            (Case::Html, NO_PEER),
            (Case::Endless, NO_PEER),
            (Case::GzipBomb, NO_PEER),
            (Case::ShortBody, NO_PEER),
            (Case::ResetAfterStored, NO_PEER),
            (Case::TlsExpired, NO_PEER),
            (Case::TlsWrongHost, NO_PEER),
            (Case::TlsSelfSigned, NO_PEER),
            (Case::TlsPlainPort, NO_PEER),
            (Case::NameGone, NO_PEER),
            (Case::ResolverDead, NO_PEER),
            (Case::NameLost, NO_PEER),
        ],
        start: &|case| {
            let rig = start(case);
            Box::pin(async move { rig })
        },
    };
    suite.run().await.unwrap();
}

#[tokio::test]
async fn what_is_not_told_yet_is_told_at_the_close() {
    let page = Page::default();
    let sink = console(None, page.clone());
    assert_eq!(sink.deliver(&events(3, false)).await, Delivery::all(3));
    sink.close().await;
    assert_eq!(
        page.text().lines().filter(|line| line.contains("login root")).count(),
        3,
        "{}",
        page.text()
    );
}

#[tokio::test]
async fn a_stopped_terminal_is_a_local_fault_and_loses_no_line() {
    let (go, page, sink) = stopped();
    let mut told = 0;
    let fault = loop {
        let delivery = sink.deliver(&[health()]).await;
        match delivery.fault {
            Some(fault) => break fault,
            None => told += 1,
        }
        assert!(told < 100, "a stopped terminal was never noticed");
    };
    assert_eq!(fault.kind, FaultKind::Local);
    // Ctrl-Q: from now on each write has its word.
    drop(go);
    sink.close().await;
    assert_eq!(page.text().lines().count(), told);
}

/// A pipe whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_is_a_fault_of_every_batch_after_it_was_noticed() {
    let sink = console(None, Closed);
    let mut taken = 0;
    while sink.deliver(&[health()]).await.fault.is_none() {
        taken += 1;
        assert!(taken < 100, "a reader that has gone was never noticed");
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        let delivery = sink.deliver(&[health()]).await;
        assert_eq!(delivery.outcomes, [trapline_sink::Outcome::Retry]);
        assert!(delivery.fault.unwrap().message.contains("broken pipe"));
    }
}

#[tokio::test]
async fn what_could_not_be_written_for_a_while_is_written_when_it_can_be() {
    struct Full(Arc<Mutex<bool>>, Page);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match *self.0.lock().unwrap() {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.1.write(bytes),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (full, page) = (Arc::new(Mutex::new(true)), Page::default());
    let sink = console(None, Full(full.clone(), page.clone()));
    let mut told = 0;
    while sink.deliver(&[health()]).await.fault.is_none() {
        told += 1;
        assert!(told < 100, "a full disk was never noticed");
        tokio::task::yield_now().await;
    }
    *full.lock().unwrap() = false;
    assert_eq!(sink.deliver(&[health()]).await, Delivery::all(1));
    sink.close().await;
    assert_eq!(page.text().lines().count(), told + 1);
}

#[tokio::test]
async fn a_closed_pipe_is_a_local_fault() {
    let delivery = console(Some(Format::Text), Closed).deliver(&events(2, false)).await;
    assert_eq!(delivery.outcomes, vec![trapline_sink::Outcome::Retry; 2]);
    assert_eq!(delivery.fault.unwrap().kind, FaultKind::Local);
}

/// Tasks of this runtime, once those that end have had turns enough to end.
async fn tasks() -> usize {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn no_task_outlives_the_sink() {
    let before = tasks().await;
    let sink = console(None, Page::default());
    assert_eq!(sink.deliver(&[health()]).await, Delivery::all(1));
    assert_eq!(tasks().await, before + 1);
    sink.close().await;
    assert_eq!(tasks().await, before, "closed");
    assert_eq!(sink.deliver(&[health()]).await.fault, Some(closed()));
    let dropped = console(None, Page::default());
    assert_eq!(dropped.deliver(&events(1, false)).await, Delivery::all(1));
    drop(dropped);
    assert_eq!(tasks().await, before, "dropped without a close");
}
