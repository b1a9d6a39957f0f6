//! The suite that every sink must pass: one case per fault.
//!
//! In: a [`Suite`], which knows how to start a fake destination in the state that a [`Case`] names and to build the sink
//! against it (a [`Rig`]). Out: nothing if every case holds, else [`Failures`] that name the cases.
//!
//! What each case shows, beside its own outcome ([`CASES`] is the table):
//! 1. There is one outcome per event, and `deliver` comes back.
//! 2. Every event arrives once the fault is over; only the event that is at fault becomes a dead letter.
//! 3. Nothing is called delivered that the destination does not have: at once where it answers, after the fault and a
//!    clean close where its protocol has no answers ([`Suite::confirms`]).
//! 4. Doubles appear only where the table allows them, and always under the same id.
//!
//! A case that cannot apply is declared with its reason; a sink answers every case by running or by declaring it. The
//! suite is compiled for tests only (feature `conformance`); the delivery worker that it needs is a small one, [`Driver`].

pub mod certs;
mod driver;
pub mod log;
pub mod names;
pub mod samples;
pub mod sets;
pub mod web;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use trapline_schemas::{Action, Event, Field, Timestamp};
use uuid::Uuid;

use crate::parcel::Parcel;
use crate::stream::{Delivery, FaultKind, Outcome, StreamSink};
pub use driver::Driver;

/// The user name that marks the one bad event of a batch; every form carries it.
pub const BAD_USER: &str = "refuse-this-event";
/// What a busy destination asks for in `Retry-After`.
pub const BUSY_FOR: Duration = Duration::from_secs(7);
/// How many events a destination takes at once in [`Case::TooLarge`].
pub const TAKES_AT_ONCE: usize = 3;
/// Events in a case's batch, unless the sink takes fewer.
const EVENTS: usize = 16;
/// How long the suite waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// One state of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Case {
    /// No fault.
    Well,
    /// No fault, and a single event without a second one.
    Lone,
    /// Nobody listens (F9).
    Refused,
    /// Each answer takes a while, within the sink's deadline (F10).
    Slow,
    /// Accepts, then neither reads nor answers (F11).
    HalfOpen,
    /// 429 with `Retry-After: 7` (F12).
    Busy,
    /// 500, 502, 503 and 504 in turn (F13).
    ServerError,
    /// 400 for a batch that holds the event of [`BAD_USER`] (F14).
    OneBad,
    /// 413 for more than [`TAKES_AT_ONCE`] events (F14).
    TooLarge,
    /// 401 (F15).
    Unauthorized,
    /// 403 (F15).
    Forbidden,
    /// An answer of random bytes (F16).
    Garbage,
    /// 200 with a page of HTML (F16).
    Html,
    /// An answer that never ends (F16).
    Endless,
    /// 200 with a small compressed body that would inflate to gigabytes (F16).
    GzipBomb,
    /// An answer that ends before its announced length (F16).
    ShortBody,
    /// The connection is reset after the events were stored (F17).
    ResetAfterStored,
    /// An expired certificate (F18).
    TlsExpired,
    /// A certificate for another host (F18).
    TlsWrongHost,
    /// A certificate that signed itself (F18).
    TlsSelfSigned,
    /// A server that speaks no TLS (F18).
    TlsPlainPort,
    /// The name does not resolve (F19).
    NameGone,
    /// The resolver does not answer (F19).
    ResolverDead,
    /// The name has resolved before, and does no longer (F19): its last good address is used.
    NameLost,
}

/// What the first delivery in a case must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// All delivered.
    Delivered,
    /// All to be sent again, for one of these reasons.
    Retry(&'static [FaultKind]),
    /// All to be sent again after [`BUSY_FOR`].
    RetryAfter,
    /// All but the bad event arrive; it becomes a dead letter.
    DeadLetter,
    /// All arrive in smaller batches.
    Split,
}

/// One row of the suite.
#[derive(Debug)]
pub struct Row {
    /// The case.
    pub case: Case,
    /// Its name in reports.
    pub name: &'static str,
    /// The fault of the promise it stands for, empty for none.
    pub fault: &'static str,
    expect: Expect,
    /// Whether a transport without answers may take the first delivery for good.
    blind: bool,
    /// Whether doubles may appear.
    doubles: bool,
}

const fn row(case: Case, fault: &'static str, name: &'static str, expect: Expect) -> Row {
    Row {
        case,
        name,
        fault,
        expect,
        blind: false,
        doubles: false,
    }
}

const fn blind(row: Row) -> Row {
    Row {
        blind: true,
        doubles: true,
        ..row
    }
}

const fn doubles(row: Row) -> Row {
    Row { doubles: true, ..row }
}

const NO_ANSWER: Expect = Expect::Retry(&[FaultKind::Unreachable, FaultKind::Server]);
const BAD_ANSWER: Expect = Expect::Retry(&[FaultKind::Server, FaultKind::Unreachable]);
const REFUSED_AUTH: Expect = Expect::Retry(&[FaultKind::Auth]);
const REFUSED_TLS: Expect = Expect::Retry(&[FaultKind::Tls]);

/// Every case, in the order of the promises.
pub static CASES: &[Row] = &[
    row(Case::Well, "", "well", Expect::Delivered),
    row(Case::Lone, "", "lone_event", Expect::Delivered),
    row(Case::Refused, "F9", "refused", Expect::Retry(&[FaultKind::Unreachable])),
    row(Case::Slow, "F10", "slow", Expect::Delivered),
    blind(row(Case::HalfOpen, "F11", "half_open", NO_ANSWER)),
    row(Case::Busy, "F12", "busy_429", Expect::RetryAfter),
    row(
        Case::ServerError,
        "F13",
        "server_error_5xx",
        Expect::Retry(&[FaultKind::Server]),
    ),
    doubles(row(Case::OneBad, "F14", "one_bad_event_400", Expect::DeadLetter)),
    row(Case::TooLarge, "F14", "too_large_413", Expect::Split),
    row(Case::Unauthorized, "F15", "unauthorized_401", REFUSED_AUTH),
    row(Case::Forbidden, "F15", "forbidden_403", REFUSED_AUTH),
    blind(row(Case::Garbage, "F16", "garbage_answer", BAD_ANSWER)),
    blind(row(Case::Html, "F16", "html_answer", BAD_ANSWER)),
    blind(row(Case::Endless, "F16", "endless_answer", BAD_ANSWER)),
    blind(row(Case::GzipBomb, "F16", "gzip_bomb_answer", BAD_ANSWER)),
    blind(row(Case::ShortBody, "F16", "short_answer", BAD_ANSWER)),
    blind(row(Case::ResetAfterStored, "F17", "reset_after_stored", NO_ANSWER)),
    row(Case::TlsExpired, "F18", "tls_expired", REFUSED_TLS),
    row(Case::TlsWrongHost, "F18", "tls_wrong_host", REFUSED_TLS),
    row(Case::TlsSelfSigned, "F18", "tls_self_signed", REFUSED_TLS),
    row(Case::TlsPlainPort, "F18", "tls_plain_text_port", REFUSED_TLS),
    row(
        Case::NameGone,
        "F19",
        "name_gone",
        Expect::Retry(&[FaultKind::Unreachable]),
    ),
    row(
        Case::ResolverDead,
        "F19",
        "resolver_dead",
        Expect::Retry(&[FaultKind::Unreachable]),
    ),
    row(Case::NameLost, "F19", "name_lost", Expect::Delivered),
];

/// A fake destination in one state, and a sink that is set to it.
#[async_trait]
pub trait Rig: Send {
    /// The sink under test. Its deadlines should be short; the suite's patience is 30 s.
    fn sink(&self) -> Arc<dyn StreamSink>;

    /// Ends the fault: from the return on the destination behaves, at the same address, keeping what it stored.
    async fn heal(&mut self);

    /// Ids of the events that the destination holds, in order of arrival, doubles included.
    fn stored(&self) -> Vec<Uuid>;

    /// Whether the destination saw a byte of an event or token although the fault forbids it (TLS cases).
    fn leaked(&self) -> bool {
        false
    }
}

/// Starts a rig for a case; `None` if the destination has no such state.
pub type Start<'a> = dyn Fn(Case) -> BoxFuture<'a, Option<Box<dyn Rig>>> + Sync + 'a;

/// One sink's answer to every case.
pub struct Suite<'a> {
    /// The sink's name in reports.
    pub name: &'static str,
    /// Whether `Delivered` is the destination's own answer. Where the protocol has none it is checked after the close.
    pub confirms: bool,
    /// Cases that cannot apply, each with its reason.
    pub declared: &'static [(Case, &'static str)],
    /// Starts a rig.
    pub start: &'a Start<'a>,
}

/// The cases that did not hold.
pub struct Failures(Vec<String>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases failed\n{self}", self.0.len())
    }
}

impl Suite<'_> {
    /// Runs every case and prints the table.
    #[expect(clippy::print_stdout, reason = "the table is for whoever reads the test's output")]
    pub async fn run(&self) -> Result<(), Failures> {
        let mut failures = Vec::new();
        for row in CASES {
            let (word, detail) = match self.answer(row).await {
                Ok(None) => ("ok", String::new()),
                Ok(Some(reason)) => ("declared", reason.to_owned()),
                Err(why) => ("FAILED", why),
            };
            println!("{:<14} {:<4} {:<20} {word:<9} {detail}", self.name, row.fault, row.name);
            if word == "FAILED" {
                failures.push(format!("{}: case {} ({}): {detail}", self.name, row.name, row.fault));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Failures(failures))
        }
    }

    /// Runs or declares one case; both or neither is a failure.
    async fn answer(&self, row: &'static Row) -> Result<Option<&'static str>, String> {
        let declared = self
            .declared
            .iter()
            .find(|(case, _)| *case == row.case)
            .map(|(_, reason)| *reason);
        let rig = (self.start)(row.case).await;
        match (declared, rig) {
            (Some(_), _) if row.fault.is_empty() => Err("cannot be declared: every sink delivers".to_owned()),
            (Some(""), None) => Err("declared without a reason".to_owned()),
            (Some(reason), None) => Ok(Some(reason)),
            (Some(_), Some(_)) => Err("declared, although the rig can run it".to_owned()),
            (None, None) => Err("neither run nor declared".to_owned()),
            (None, Some(rig)) => Run {
                row,
                rig,
                confirms: self.confirms,
            }
            .run()
            .await
            .map(|()| None),
        }
    }
}

/// One case under way.
struct Run {
    row: &'static Row,
    rig: Box<dyn Rig>,
    confirms: bool,
}

impl Run {
    async fn run(mut self) -> Result<(), String> {
        let sink = self.rig.sink();
        if sink.confirms() != self.confirms {
            return Err("the sink and its suite do not agree on whether the destination confirms".to_owned());
        }
        let count = if self.row.case == Case::Lone {
            1
        } else {
            EVENTS.min(sink.limits().events)
        };
        let sent = events(count, self.row.case == Case::OneBad);
        let mut driver = Driver::new(sink.clone(), sent.clone());

        let first = driver.step(PATIENCE).await?;
        self.judge(&first, count)?;
        self.no_false_acknowledgement(&driver)?;
        if self.rig.leaked() {
            return Err("bytes of an event or token reached a peer that was not to be trusted".to_owned());
        }
        if matches!(self.row.expect, Expect::Retry(_) | Expect::RetryAfter) {
            self.rig.heal().await;
        }
        while !driver.is_done() {
            driver.step(PATIENCE).await?;
            self.no_false_acknowledgement(&driver)?;
        }
        // A blind fault shows in what is sent next, and at the close.
        let mut expected: BTreeSet<Uuid> = sent.iter().map(|parcel| parcel.event.id).collect();
        if self.row.blind && !self.confirms {
            let after = events(1, false);
            expected.extend(after.iter().map(|parcel| parcel.event.id));
            driver.push(after);
            while !driver.is_done() {
                driver.step(PATIENCE).await?;
            }
        }
        for (id, _) in driver.dead() {
            expected.remove(id);
        }
        self.dead_letters(&driver, &sent)?;
        sink.close().await;
        self.all_arrived(&expected).await
    }

    /// The first delivery, made in the fault.
    fn judge(&self, first: &Delivery, count: usize) -> Result<(), String> {
        let all = |outcome: &Outcome| first.outcomes.iter().all(|found| found == outcome);
        let kind = first.fault.as_ref().map(|fault| fault.kind);
        if self.row.blind && !self.confirms && all(&Outcome::Delivered) {
            return Ok(());
        }
        let good = match self.row.expect {
            Expect::Delivered => all(&Outcome::Delivered) && kind.is_none(),
            Expect::Retry(kinds) => all(&Outcome::Retry) && kind.is_some_and(|kind| kinds.contains(&kind)),
            Expect::RetryAfter => {
                all(&Outcome::Retry) && first.retry_after == Some(BUSY_FOR) && kind == Some(FaultKind::Busy)
            }
            Expect::DeadLetter => first
                .outcomes
                .iter()
                .any(|o| matches!(o, Outcome::Rejected(_) | Outcome::Suspect(_))),
            Expect::Split => count > TAKES_AT_ONCE && first.outcomes.iter().all(|o| matches!(o, Outcome::Suspect(_))),
        };
        if good {
            Ok(())
        } else {
            Err(format!(
                "expected {:?}, the first delivery says {first:?}",
                self.row.expect
            ))
        }
    }

    /// What is called delivered is stored, at this very moment.
    fn no_false_acknowledgement(&self, driver: &Driver) -> Result<(), String> {
        if !self.confirms {
            return Ok(());
        }
        let stored: BTreeSet<Uuid> = self.rig.stored().into_iter().collect();
        match driver.delivered().iter().find(|id| !stored.contains(id)) {
            Some(id) => Err(format!("{id} was called delivered, the destination does not have it")),
            None => Ok(()),
        }
    }

    fn dead_letters(&self, driver: &Driver, sent: &[Arc<Parcel>]) -> Result<(), String> {
        let bad: Vec<Uuid> = sent.iter().filter(|p| is_bad(&p.event)).map(|p| p.event.id).collect();
        let dead: Vec<Uuid> = driver.dead().iter().map(|(id, _)| *id).collect();
        if driver.dead().iter().any(|(_, reason)| reason.is_empty()) {
            return Err("a dead letter without a reason".to_owned());
        }
        if dead == bad {
            Ok(())
        } else {
            Err(format!("dead letters are {dead:?}, at fault is {bad:?}"))
        }
    }

    /// Every event is stored, and once, unless doubles are allowed.
    async fn all_arrived(&self, expected: &BTreeSet<Uuid>) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let stored = loop {
            let stored = self.rig.stored();
            let missing = expected.iter().filter(|id| !stored.contains(id)).count();
            if missing == 0 {
                break stored;
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{missing} of {} events never arrived", expected.len()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let unique: BTreeSet<&Uuid> = stored.iter().collect();
        if unique.len() != stored.len() && !self.row.doubles {
            return Err(format!(
                "{} doubles where nothing was lost",
                stored.len() - unique.len()
            ));
        }
        match unique.iter().find(|id| !expected.contains(id)) {
            Some(id) => Err(format!("{id} is stored, nobody sent it")),
            None => Ok(()),
        }
    }
}

/// Events for a test, each with its own id; with `bad`, the one in the middle carries [`BAD_USER`].
pub fn events(count: usize, bad: bool) -> Vec<Arc<Parcel>> {
    (0..count)
        .map(|at| Arc::new(Parcel::new(at as u64 + 1, Arc::new(event(bad && at == count / 2)))))
        .collect()
}

fn event(bad: bool) -> Event {
    let at = Timestamp::now();
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
    let mut event = Event::new(id, at, Action::Credential);
    event.set(Field::SourceIp, std::net::IpAddr::from([203, 0, 113, 77]));
    event.set(Field::SourcePort, 40_022_i64);
    event.set(Field::DestinationIp, std::net::IpAddr::from([10, 20, 30, 40]));
    event.set(Field::DestinationPort, 22_i64);
    event.set(Field::NetworkTransport, "tcp");
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::ObserverName, "lure-test");
    event.set(Field::EventRiskScore, 50.0);
    event.set(
        Field::SessionId,
        uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid(),
    );
    event.set(Field::TouchLevel, "proof");
    event.set(Field::UserName, if bad { BAD_USER } else { "root" });
    event
}

fn is_bad(event: &Event) -> bool {
    event.text(Field::UserName).is_some_and(|name| name == BAD_USER)
}

#[cfg(test)]
mod tests;
