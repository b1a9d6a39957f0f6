//! Canaries: marked events that try the way through recorder, journal, transforms and windows to the sinks that want them.
//!
//! In: a wish, of a person (`check --canary`) or of the clock (`[canary] every`). Out: a [`CanaryReport`], and an alarm if
//! the clock's did not arrive.
//!
//! A canary is an event of its own action, `canary`: it has no source, no incident and no level of touch, windows let it
//! through uncounted, and no finding counts it. It goes only to sinks with `canary = true`.

mod hops;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Event, Field, Timestamp, Value, codec, ids};
use uuid::Uuid;

use self::hops::{Judged, hop, sinks, transforms};
use super::core::{Core, Refused};
use crate::control::canary::{CanaryReport, Hop, HopState, Place};
use crate::control::protocol::Refusal;
use crate::control::status::CanaryStatus;
use crate::delivery::canary::{Followed, Sight};
use crate::journal::{Commit, JournalError, Offset};
use crate::record::HostEvent;

/// After a start sinks have their time to be made; then the clock is looked at so often.
const FIRST_LOOK: Duration = Duration::from_secs(5);
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);
/// How often the index is looked at while it is waited for.
const LOOK_AT_INDEX: Duration = Duration::from_millis(20);
/// Entries and bytes looked through at a time.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 1 << 20;
/// State key under which stands when the last one of the clock went out.
const LAST: &str = "canary/last";
/// Longest time that somebody may ask to wait for one.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);

const HINT: &str = "`trapline check --canary` tries it again and names each hop";

/// How the last canary fared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fared {
    at: Timestamp,
    ok: bool,
}

impl Core {
    /// Sends a canary and follows it for at most `timeout`. Cancel: safe; it flies on unseen.
    pub async fn canary(&self, timeout: Duration, why: &str) -> Result<CanaryReport, Refused> {
        let timeout = timeout.min(TIMEOUT_MAX);
        let passages = self.wiring().await?.graph;
        let mut bird = Bird::new(self, timeout)?;
        let mut hops = Vec::new();
        let found = bird.release(why, &mut hops).await;
        if let Some((offset, event)) = &found {
            let passages = passages.passages(&Arc::new(event.clone()));
            let config = self.config();
            let expected: Vec<_> = config
                .sinks
                .iter()
                .filter(|sink| sink.enabled && sink.canary)
                .filter(|sink| {
                    passages
                        .iter()
                        .any(|passage| passage.is_of_sink(&sink.name) && passage.comes)
                })
                .map(|sink| sink.name.as_str())
                .collect();
            let indexed = bird.wait(*offset, &expected).await;
            hops.push(self.indexed(*offset, indexed));
            let head = *self.journal.head().borrow();
            let statuses = self.board.snapshot(head, &self.journal.skipped());
            let flight = bird.followed.flight();
            let judged = Judged {
                passages: &passages,
                flight: &flight,
                begun: bird.begun,
                sinks: &config.sinks,
                statuses: &statuses,
            };
            hops.extend(transforms(&judged));
            hops.extend(sinks(&judged));
        }
        let report = CanaryReport {
            ok: found.is_some() && !hops.iter().any(|hop| hop.failed),
            id: bird.id.to_string(),
            offset: found.map(|(offset, _)| offset),
            timeout_secs: timeout.as_secs(),
            hops,
        };
        self.note(&report);
        Ok(report)
    }

    fn note(&self, report: &CanaryReport) {
        let fared = Fared {
            at: Timestamp::now(),
            ok: report.ok,
        };
        *self.fared.lock().unwrap_or_else(PoisonError::into_inner) = Some(fared);
    }

    /// How the last canary fared, if there was one since the start.
    pub(super) fn canary_status(&self) -> Option<CanaryStatus> {
        let fared = (*self.fared.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(CanaryStatus {
            ok: fared.ok,
            age_secs: Timestamp::now().since(fared.at).as_secs(),
        })
    }

    /// The index lags by design while many hits come; only one that cannot go on is at fault.
    fn indexed(&self, offset: Offset, after: Option<Duration>) -> Hop {
        match (after, self.index.trouble()) {
            (Some(after), _) => hop(Place::Journal, "indexed", HopState::Passed, "", Some(after)),
            (None, Some(trouble)) => {
                let said = format!("the index does not go on: {}", trouble.reason);
                hop(Place::Journal, "indexed", HopState::Failed, &said, None)
            }
            (None, None) => {
                let behind = (offset + 1).saturating_sub(self.index.indexed_to());
                let said = format!("the index is {behind} entries behind it");
                hop(Place::Journal, "indexed", HopState::Waiting, &said, None)
            }
        }
    }
}

/// A canary under way.
struct Bird<'c> {
    core: &'c Core,
    id: Uuid,
    at: Timestamp,
    begun: Instant,
    deadline: Instant,
    followed: Followed<'c>,
}

impl<'c> Bird<'c> {
    fn new(core: &'c Core, timeout: Duration) -> Result<Self, Refused> {
        let (at, begun) = (Timestamp::now(), Instant::now());
        let id = ids::fresh(at);
        let busy = || Refused::new(Refusal::Busy, "too many canaries are under way, try again");
        Ok(Self {
            core,
            id,
            at,
            begun,
            deadline: begun + timeout,
            followed: core.board.canaries().follow(id).ok_or_else(busy)?,
        })
    }

    /// Has it recorded and looks for it in the journal; `None` if it is not there in time.
    async fn release(&self, why: &str, hops: &mut Vec<Hop>) -> Option<(Offset, Event)> {
        let from = *self.core.journal.head().borrow();
        let event = HostEvent {
            id: Some(self.id),
            action: Action::Canary,
            at: self.at,
            facts: vec![(Field::EventReason, why.into())],
        };
        let released = async {
            self.core.recorder.host(event).await;
            self.find(from).await
        };
        match timeout_at(self.deadline, released).await {
            Ok(Ok((offset, event))) => {
                let recorded = match event.get(Field::EventCreated) {
                    Some(Value::Time(made)) => Some(made.since(self.at)),
                    _ => None,
                };
                let durable = Some(self.begun.elapsed());
                hops.push(hop(Place::Journal, "recorded", HopState::Passed, "", recorded));
                hops.push(hop(Place::Journal, "durable", HopState::Passed, "", durable));
                Some((offset, event))
            }
            Ok(Err(error)) => {
                hops.push(hop(
                    Place::Journal,
                    "durable",
                    HopState::Failed,
                    &error.to_string(),
                    None,
                ));
                None
            }
            Err(_) => {
                hops.push(hop(
                    Place::Journal,
                    "durable",
                    HopState::Failed,
                    &self.core.why_not_durable(),
                    None,
                ));
                None
            }
        }
    }

    async fn find(&self, mut from: Offset) -> Result<(Offset, Event), JournalError> {
        let journal = &self.core.journal;
        let mut head = journal.head();
        loop {
            while from < *head.borrow_and_update() {
                let entries = journal.read(from, READ_ENTRIES, READ_BYTES).await?;
                let Some(last) = entries.last() else { break };
                from = last.offset + 1;
                let decoded = entries
                    .iter()
                    .filter_map(|entry| Some((entry.offset, codec::decode(&entry.body).ok()?)));
                let mut ours = decoded.filter(|(_, event)| event.id == self.id);
                if let Some(found) = ours.next() {
                    return Ok(found);
                }
            }
            head.changed().await.map_err(|_| JournalError::Closed)?;
        }
    }

    /// Waits until it is indexed and each of these sinks has settled it, or the time is over; when it was indexed.
    async fn wait(&mut self, offset: Offset, expected: &[&str]) -> Option<Duration> {
        let mut indexed = None;
        loop {
            if indexed.is_none() && self.core.index.indexed_to() > offset {
                indexed = Some(self.begun.elapsed());
            }
            let flight = self.followed.flight();
            let is_settled = |sink: &&str| {
                let settled = flight
                    .iter()
                    .filter(|seen| matches!(seen.sight, Sight::Delivered(_) | Sight::Refused(_)));
                settled.into_iter().any(|seen| seen.node == **sink)
            };
            if indexed.is_some() && expected.iter().all(is_settled) {
                return indexed;
            }
            tokio::select! {
                // Cancel: all are safe.
                () = tokio::time::sleep_until(self.deadline) => return indexed,
                () = self.followed.changed() => {}
                () = tokio::time::sleep(LOOK_AT_INDEX), if indexed.is_none() => {}
            }
        }
    }
}

impl Core {
    fn why_not_durable(&self) -> String {
        let health = self.journal.health().borrow().clone();
        match health.reason.is_empty() {
            true => "it is not in the journal in time".to_owned(),
            false => format!("it is not in the journal in time: {}", health.reason),
        }
    }
}

/// Sends a canary as often as the configuration says, until `stop`; one that does not arrive is an alarm.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut looks = tokio::time::interval_at(Instant::now() + FIRST_LOOK, LOOK_AT_CLOCK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel: a canary that is dropped flies on unseen.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = send_if_due(&core) => {}
        }
    }
}

async fn send_if_due(core: &Core) {
    let config = core.config();
    let is_wanted = config.sinks.iter().any(|sink| sink.enabled && sink.canary);
    let Some(every) = config.canary.every.filter(|_| is_wanted) else {
        return;
    };
    let last = match last(core).await {
        Ok(last) if is_due(last, every, Timestamp::now()) => last,
        Ok(_) => return,
        Err(error) => return tracing::debug!(%error, "when the last canary went out cannot be read"),
    };
    keep_mark(core, Some(Timestamp::now())).await;
    let sent = core.canary(config.canary.timeout, "sent by the clock, see `[canary]`");
    let what = match sent.await {
        Ok(report) if report.ok => return,
        Ok(report) => report.failures().collect::<Vec<_>>().join("; "),
        // People have as many under way as there may be: nothing is wrong, and it is sent at the next look.
        Err(refused) if refused.cause == Refusal::Busy => return keep_mark(core, last).await,
        Err(refused) => refused.first,
    };
    core.alarm("canary", format!("a canary did not arrive: {what}"), HINT)
        .await;
}

/// Keeps when the last one went out.
async fn keep_mark(core: &Core, at: Option<Timestamp>) {
    let mark = at.map(|at| at.micros().to_string().into_bytes());
    let commit = Commit {
        state: vec![(LAST.to_owned(), mark)],
        ..Commit::default()
    };
    if let Err(error) = core.journal.enqueue(commit).await {
        tracing::debug!(%error, "when this canary went out cannot be kept");
    }
}

async fn last(core: &Core) -> Result<Option<Timestamp>, JournalError> {
    let row = core.journal.state(LAST).await?;
    let micros = row.and_then(|row| String::from_utf8(row).ok()?.parse().ok());
    Ok(micros.map(Timestamp::from_micros))
}

/// One that is said to have gone out in the future proves nothing: the clock went back.
fn is_due(last: Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| last > now || now.since(last) >= every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_due_once_a_period_and_after_a_clock_that_went_back() {
        let (day, at) = (Duration::from_secs(86_400), Timestamp::from_micros);
        let now = at(200_000_000_000);
        assert!(is_due(None, day, now));
        assert!(!is_due(Some(at(199_000_000_000)), day, now));
        assert!(is_due(Some(at(113_600_000_000)), day, now));
        assert!(is_due(Some(at(200_000_000_001)), day, now));
    }
}
