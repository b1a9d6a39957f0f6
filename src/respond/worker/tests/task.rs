//! The task, with tokio's clock paused: what wakes it, what it tells, how it ends.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Applied, Change, SetLimits, SetSink, Spared, Standing, Wanted, Why};
use trapline_sink::{Fault, FaultKind};

use super::super::core::shifted;
use super::super::{Board, Level, Report, Settings, Worker};
use super::world::{Ill, World};
use super::{INTERVAL, START, host, member, settings};
use crate::delivery::Clock;

/// How a call misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Fine,
    BreaksDown,
    NeverEnds,
}

struct Fake {
    world: Mutex<World>,
    clock: Clock,
    told: watch::Sender<u64>,
    call: Mutex<Call>,
    spared: Mutex<Vec<Arc<Spared>>>,
    closed: Mutex<bool>,
}

impl Fake {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn call(&self) {
        let call = *self.call.lock().unwrap();
        match call {
            Call::Fine => {}
            Call::BreaksDown => panic!("on purpose"),
            Call::NeverEnds => std::future::pending().await,
        }
    }
}

#[async_trait]
impl SetSink for Fake {
    fn limits(&self) -> SetLimits {
        self.world().limits()
    }
    fn spare(&self, spared: Arc<Spared>) {
        self.world().spared = spared.clone();
        self.spared.lock().unwrap().push(spared);
    }
    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        self.call().await;
        self.world().stands(self.clock.now(), Instant::now())
    }
    async fn apply(&self, changes: &[Change]) -> Applied {
        self.call().await;
        self.world().apply(changes, self.clock.now(), Instant::now())
    }
    async fn check(&self) -> Result<String, Fault> {
        Ok(String::new())
    }
    fn told(&self) -> Option<watch::Receiver<u64>> {
        Some(self.told.subscribe())
    }
    fn notes(&self) -> Vec<String> {
        vec!["a note".to_owned()]
    }
    async fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }
}

/// A worker that runs, and all that reaches it.
struct Running {
    fake: Arc<Fake>,
    wanted: watch::Sender<Arc<Wanted>>,
    spared: watch::Sender<Arc<Spared>>,
    reports: mpsc::Receiver<Report>,
    board: watch::Receiver<Board>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn start_with(settings: Settings, call: Call) -> Running {
    let clock = Clock::with_tokio(START);
    let fake = Arc::new(Fake {
        world: Mutex::new(World::new(true)),
        clock: clock.clone(),
        told: watch::channel(0).0,
        call: Mutex::new(call),
        spared: Mutex::default(),
        closed: Mutex::default(),
    });
    let (wanted, wanted_rx) = watch::channel(Arc::default());
    let (spared, spared_rx) = watch::channel(Arc::new(Spared::new([])));
    let (reports_tx, reports) = mpsc::channel(1);
    let (board_tx, board) = watch::channel(Board::default());
    let stop = CancellationToken::new();
    let worker = Worker {
        name: "fake".to_owned(),
        sink: fake.clone(),
        settings,
        clock,
        wanted: wanted_rx,
        spared: spared_rx,
        reports: reports_tx,
        board: board_tx,
        stop: stop.clone(),
    };
    Running {
        fake,
        wanted,
        spared,
        reports,
        board,
        stop,
        task: tokio::spawn(worker.run()),
    }
}

fn start() -> Running {
    start_with(settings(), Call::Fine)
}

impl Running {
    fn want(&self, hosts: impl IntoIterator<Item = u8>, ttl: Duration) {
        let now = self.fake.clock.now();
        let members = hosts.into_iter().map(|n| (host(n), member(n, now, ttl)));
        self.wanted.send_replace(Arc::new(members.collect()));
    }

    async fn report(&mut self) -> Report {
        let next = timeout(Duration::from_secs(1000), self.reports.recv());
        next.await.expect("a report").expect("the worker runs")
    }

    async fn is(&mut self, level: Level) -> Board {
        let found = timeout(
            Duration::from_secs(1000),
            self.board.wait_for(|board| board.level == level),
        );
        found.await.expect("in time").expect("the worker runs").clone()
    }

    /// Waits until the worker has done so; time passes only while it rests.
    async fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        for _ in 0..100_000 {
            if is_so(&self.fake.world()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    async fn end(self) -> Arc<Fake> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.fake
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_put_in_and_told() {
    let mut running = start();
    running.is(Level::Ok).await;
    running.want([1], HOUR);
    let Report::Applied {
        target, handle, took, ..
    } = running.report().await
    else {
        panic!("not applied");
    };
    assert_eq!((target, took), (host(1), Duration::ZERO));
    assert_eq!(handle.as_deref(), Some("entry 203.0.113.1"));
    running.board.wait_for(|board| board.standing == 1).await.unwrap();
    let board = running.board.borrow().clone();
    assert_eq!((board.wanted, board.put, board.notes.len()), (1, 1, 1));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_mended_within_five_seconds_of_being_told() {
    let mut running = start();
    running.want([1, 2, 3], HOUR);
    for _ in 0..3 {
        running.report().await;
    }
    // Just listed, so that the next list is as late as it can be.
    running.fake.world().entries.clear();
    let flushed = Instant::now();
    running.fake.told.send_modify(|count| *count += 1);
    assert_eq!(running.report().await, Report::Repaired { count: 3 });
    assert!(flushed.elapsed() <= Duration::from_secs(5));
    assert_eq!(running.fake.world().entries.len(), 3);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_that_never_rests_makes_no_storm_of_lists() {
    let mut running = start();
    running.is(Level::Ok).await;
    let (lists, begun) = (running.fake.world().lists, Instant::now());
    while begun.elapsed() < Duration::from_secs(60) {
        running.fake.told.send_modify(|count| *count += 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lists = running.fake.world().lists - lists;
    assert!((20..=31).contains(&lists), "{lists} lists in a minute");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_by_hand_is_found_at_the_next_list_though_nobody_tells() {
    let mut running = start();
    running.want([1], HOUR);
    running.report().await;
    running.fake.world().entries.clear();
    let begun = Instant::now();
    assert_eq!(running.report().await, Report::Repaired { count: 1 });
    assert!(begun.elapsed() <= INTERVAL);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_to_be_spared_is_handed_on_first_and_goes_at_once() {
    let mut running = start();
    running.want([1], HOUR);
    running.report().await;
    assert_eq!(
        running.fake.spared.lock().unwrap().len(),
        1,
        "before anything was put in"
    );
    let rows = [("203.0.113.1/32".parse().unwrap(), Why::Admin)];
    running.spared.send_replace(Arc::new(Spared::new(rows)));
    assert!(matches!(
        running.report().await,
        Report::Lifted { decision: Some(_), .. }
    ));
    assert!(running.fake.world().entries.is_empty());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_to_be_spared_is_handed_on_while_a_call_lasts() {
    let running = start_with(settings(), Call::NeverEnds);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rows = [("203.0.113.1/32".parse().unwrap(), Why::Admin)];
    running.spared.send_replace(Arc::new(Spared::new(rows)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(running.fake.spared.lock().unwrap().len(), 2);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_comes_back_is_found_with_growing_waits() {
    let mut running = start();
    running.fake.world().ill = Some(Ill::Away(FaultKind::Unreachable));
    running.want([1], HOUR);
    let board = running.is(Level::Degraded).await;
    assert_eq!(board.kind, Some(FaultKind::Unreachable));
    assert_eq!(board.fault.as_deref(), Some("the world says so"));
    tokio::time::sleep(Duration::from_secs(14)).await;
    let lists = running.fake.world().lists;
    assert!((4..=5).contains(&lists), "{lists} tries in 14 s");
    running.fake.world().ill = None;
    assert!(matches!(running.report().await, Report::Applied { .. }));
    let board = running.is(Level::Ok).await;
    assert_eq!((board.fault, board.attempts), (None, 0));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_breaks_down_is_an_alarm_at_once_and_is_tried_again() {
    let mut running = start_with(settings(), Call::BreaksDown);
    let board = running.is(Level::Failing).await;
    assert_eq!(board.kind, Some(FaultKind::Broken));
    *running.fake.call.lock().unwrap() = Call::Fine;
    running.is(Level::Ok).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_end_is_broken_off() {
    let mut running = start_with(settings(), Call::NeverEnds);
    let board = running.is(Level::Degraded).await;
    assert_eq!(board.fault.as_deref(), Some("no answer within 600 s"));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_nothing_back_and_ends_within_the_grace() {
    let mut running = start();
    running.want([1, 2], HOUR);
    running.report().await;
    running.report().await;
    *running.fake.call.lock().unwrap() = Call::NeverEnds;
    running.fake.told.send_modify(|count| *count += 1);
    advance(Duration::from_secs(3)).await;
    let (begun, grace, board) = (Instant::now(), settings().grace, running.board.clone());
    let fake = running.end().await;
    assert!(begun.elapsed() <= grace);
    assert_eq!(fake.world().entries.len(), 2);
    assert!(*fake.closed.lock().unwrap());
    assert_eq!(board.borrow().level, Level::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_nobody_who_takes_no_reports() {
    let mut running = start();
    running.is(Level::Ok).await;
    running.want(1..=50, HOUR);
    // The channel holds one, and nobody reads.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (begun, grace) = (Instant::now(), settings().grace);
    running.stop.cancel();
    running.task.await.unwrap();
    assert!(begun.elapsed() <= grace);
}

#[tokio::test(start_paused = true)]
async fn who_observes_lists_and_changes_nothing() {
    let observes = Settings {
        observes: true,
        ..settings()
    };
    let mut running = start_with(observes, Call::Fine);
    running.want([1, 2], HOUR);
    running.until("two lists", |world| world.lists >= 2).await;
    assert_eq!(running.fake.world().batches, Vec::<Vec<Change>>::new());
    assert_eq!(running.fake.world().settles, 0);
    let board = running.board.borrow().clone();
    assert_eq!(board.would.map(|would| (would.puts, would.takes)), Some((2, 0)));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_nobody_talks_to_any_more_goes_on_with_what_it_knows() {
    let Running {
        fake,
        wanted,
        spared,
        mut reports,
        stop,
        task,
        board,
    } = start();
    let members = [(host(1), member(1, START, Duration::from_secs(100)))];
    wanted.send_replace(Arc::new(members.into_iter().collect()));
    drop((wanted, spared, board));
    assert!(matches!(reports.recv().await, Some(Report::Applied { .. })));
    assert!(matches!(reports.recv().await, Some(Report::Lifted { .. })));
    assert!(fake.clock.now() <= shifted(START, Duration::from_secs(110)));
    assert!(fake.clock.now() > Timestamp::from_micros(START.micros() + 100_000_000));
    stop.cancel();
    task.await.unwrap();
}
