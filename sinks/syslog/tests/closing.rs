//! Receivers that close or reset connections as a habit, although they read what they get.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use trapline_schemas::Format;
use trapline_sink::config::{Common, Factory, NoticeSettings};
use trapline_sink::conformance::{Driver, events};
use trapline_sink::dial::{Address, Resolver};
use trapline_sink::{Arrears, StreamSink};
use trapline_sink_syslog::{Settings, Transport};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any silence of these receivers.
const NEVER: Duration = Duration::from_secs(3600);

/// When a receiver ends a connection.
#[derive(Debug, Clone, Copy)]
struct Habit {
    /// After so many lines; what it has read beyond them is thrown away.
    lines: usize,
    /// After so long a silence.
    idle: Duration,
    /// By a reset.
    resets: bool,
}

/// Reads lines and counts each; ends connections by its habit.
struct Receiver {
    address: Address,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    async fn start(habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let address = Address {
            host: at.ip().to_string(),
            port: at.port(),
        };
        let (seen, connections) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<Mutex<usize>>::default());
        let (seen_there, connections_there) = (seen.clone(), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections_there.lock().unwrap() += 1;
                read(stream, habit, &seen_there).await;
            }
        });
        Self {
            address,
            seen,
            connections,
            task,
        }
    }

    fn sink(&self) -> Arc<dyn StreamSink> {
        let common = Common {
            name: "siem".to_owned(),
            format: Format::Text,
            observer: "lure".to_owned(),
            resolver: Resolver::default(),
            notices: NoticeSettings::default(),
        };
        let settings = Settings {
            framing: Some("newline"),
            ..Settings::new(Transport::Tcp(self.address.clone()))
        };
        settings.build(&common).unwrap()
    }

    /// How many came, and how often the one that came most often did.
    fn counts(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        (seen.len(), seen.values().copied().max().unwrap_or(0))
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    async fn has(&self, count: usize) {
        let all = async {
            while self.counts().0 < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = timeout(PATIENCE, all).await;
        assert!(came.is_ok(), "{:?} of {count}", self.counts());
    }
}

async fn read(stream: TcpStream, habit: Habit, seen: &Mutex<BTreeMap<String, usize>>) {
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..habit.lines {
        let Ok(Ok(Some(line))) = timeout(habit.idle, lines.next_line()).await else {
            break;
        };
        let (_, rest) = line.split_once(" id=\"").unwrap();
        let id = rest.split_once('"').unwrap().0.to_owned();
        *seen.lock().unwrap().entry(id).or_default() += 1;
    }
    if habit.resets {
        lines.into_inner().into_inner().set_zero_linger().unwrap();
    }
}

/// Sends `count` events; gives the receiver once all have come.
async fn gets_all(count: usize, habit: Habit) -> Receiver {
    let receiver = Receiver::start(habit).await;
    let sink = receiver.sink();
    let mut driver = Driver::new(sink.clone(), Vec::new());
    events(count, false)
        .chunks(256)
        .for_each(|batch| driver.push(batch.to_vec()));
    while !driver.is_done() {
        driver.step(PATIENCE).await.unwrap();
    }
    receiver.has(count).await;
    receiver
}

#[tokio::test]
async fn a_receiver_that_closes_after_a_few_messages_gets_every_event_and_few_twice() {
    for (lines, count) in [(1, 8), (3, 24), (7, 70)] {
        let idle = NEVER;
        let resets = false;
        let receiver = gets_all(count, Habit { lines, idle, resets }).await;
        let (_, most) = receiver.counts();
        assert!(most <= 3, "closing after {lines}: one came {most} times");
        let needed = count.div_ceil(lines);
        assert!(receiver.connections() <= 2 * needed + 4, "{}", receiver.connections());
    }
}

#[tokio::test]
async fn a_receiver_that_resets_after_some_messages_gets_every_event_a_bounded_number_of_times() {
    let habit = Habit {
        lines: 20,
        idle: NEVER,
        resets: true,
    };
    let (_, most) = gets_all(100, habit).await.counts();
    // Five connections read all of it, and each may be written twice: how often it is hangs on who is scheduled first.
    assert!(most <= 10, "one came {most} times");
}

#[tokio::test]
async fn a_receiver_that_soon_tires_of_silence_gets_every_event_and_few_twice() {
    for idle in [200, 300, 400].map(Duration::from_millis) {
        let lines = usize::MAX;
        let resets = false;
        let (_, most) = gets_all(30, Habit { lines, idle, resets }).await.counts();
        assert!(most <= 3, "{idle:?}: one came {most} times");
    }
}

#[tokio::test]
async fn a_close_in_silence_is_no_loss_and_nobody_connects_before_the_next_event() {
    let habit = Habit {
        lines: usize::MAX,
        idle: Duration::from_secs(1),
        resets: false,
    };
    let receiver = gets_all(120, habit).await;
    let sink = receiver.sink();
    let arrears = sink.arrears().unwrap();
    for round in 0..2 {
        assert!(sink.deliver(&events(1, false)).await.fault.is_none());
        // The close comes after a second, and a connection for the tail would a second later.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(receiver.counts(), (121 + round, 1), "each came once");
        assert_eq!(receiver.connections(), 2 + round);
        assert_eq!(*arrears.borrow(), Arrears::default());
    }
}
