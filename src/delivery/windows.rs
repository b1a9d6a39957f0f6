//! The task of one windowed node: a consumer of the journal that appends what it lets through and what it counted.
//!
//! Invariant: cursor, passes, derived events and state are one commit, so that every event is counted once, whenever
//! the process is killed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use trapline_schemas::{Action, Timestamp, codec};

use super::breakdown::{Breakdowns, Broken, caught};
use super::canary::Sight;
use super::feed::Item;
use super::figures::Sieve;
use super::pipeline::{Parts, window_consumer};
use super::reader::{Chunk, Reader};
use super::store::commit_unless_failing;
use crate::graph::incident::{Way, sink_of};
use crate::graph::window::{Disbanded, Verdict, Windows, by_node, sink_behind};
use crate::graph::{Machine, MachineSpec, Node, Pass, scan};
use crate::journal::{Cause, Commit, JournalError, Loss, Offset};

/// Entries taken into one commit.
const CHUNK: usize = 256;
/// Derived events in one commit; a window with more keys takes several.
const CLOSE_MAX: usize = 512;
/// Entries passed over before a cursor that has nothing to carry is saved for its own sake.
const IDLE_ENTRIES: u64 = 4096;
/// How long a patient machine lets entries gather: not each of them shall wake a task that seldom has anything to say.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a cursor that has nothing to carry may stay behind: it holds back the age trim. On a quiet day it is the
/// chain's head, told each hour, that it is saved with.
const PATIENCE: Duration = Duration::from_secs(600);
/// Wait after the journal failed.
const AGAIN: Duration = Duration::from_secs(1);

/// How a run of the node ended.
type Ended = Result<Result<(), JournalError>, Broken>;

/// A windowed node at work.
pub(super) struct Window {
    node: String,
    spec: MachineSpec,
    parts: Parts,
    machine: Machine,
    /// Of a watch over incidents: whose entries count, and the sink that is told.
    followed: Option<(Node, Node)>,
    /// Where it counts; the watch for scans holds nothing back.
    sieve: Option<Arc<Sieve>>,
    saved: Offset,
    /// When that was.
    kept_at: Instant,
}

impl Window {
    /// Goes on from the state in the journal; `next` is the node's cursor.
    pub(super) async fn restore(
        node: &str,
        spec: &MachineSpec,
        followed: Option<(Node, Node)>,
        parts: Parts,
        next: Offset,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            machine: restore(node, spec, &parts).await?,
            sieve: matches!(spec, MachineSpec::Window(_)).then(|| parts.board.sieve(node)),
            node: node.to_owned(),
            spec: spec.clone(),
            followed,
            parts,
            saved: next,
            kept_at: Instant::now(),
        })
    }

    /// Works until told to stop. What was read and not committed is read again at the next start.
    ///
    /// `reader_at` makes a reader at an offset: at the start, and again after the journal refused a commit or the node
    /// broke down, which is a bug.
    pub(super) async fn run(mut self, reader_at: impl Fn(Offset) -> Reader, stop: CancellationToken) {
        let mut breakdowns = Breakdowns::default();
        let mut ended = caught(self.work(reader_at(self.begins_at()), &stop)).await;
        while let Some(wait) = self.begins_anew_after(ended, &mut breakdowns) {
            tokio::select! {
                // Cancel: both are safe.
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            ended = caught(self.begin_anew(&reader_at, &stop)).await;
        }
    }

    /// How long it rests, given how it ended; `None` if that is for good.
    fn begins_anew_after(&self, ended: Ended, breakdowns: &mut Breakdowns) -> Option<Duration> {
        match ended {
            Ok(Ok(()) | Err(JournalError::Closed)) => None,
            Ok(Err(error)) => {
                error!(transform.name = %self.node, %error, "{} cannot commit, it begins anew", title(&self.node));
                Some(AGAIN)
            }
            Err(Broken) => {
                error!(transform.name = %self.node, "{} broke down, which is a bug, and begins anew", title(&self.node));
                Some(breakdowns.wait(Instant::now(), rand::random()))
            }
        }
    }

    /// Memory is ahead of the journal: forgets it, and goes on from what is kept.
    async fn begin_anew(
        &mut self,
        reader_at: impl Fn(Offset) -> Reader,
        stop: &CancellationToken,
    ) -> Result<(), JournalError> {
        self.machine = restore(&self.node, &self.spec, &self.parts).await?;
        self.work(reader_at(self.begins_at()), stop).await
    }

    /// The entry to read first.
    fn begins_at(&self) -> Offset {
        let again = self.machine.reads_from();
        again.map_or(self.saved, |from| from.min(self.saved))
    }

    async fn work(&mut self, mut reader: Reader, stop: &CancellationToken) -> Result<(), JournalError> {
        loop {
            let due = self.wait_for_due(reader.is_up_to_date());
            let chunk = tokio::select! {
                // Cancel: all three are safe to drop.
                () = stop.cancelled() => return Ok(()),
                chunk = reader.read(CHUNK) => chunk?,
                () = sleep(due) => Chunk { next: reader.next_offset(), ..Chunk::default() },
            };
            let node = reader.node();
            let passes: Vec<_> = chunk.items.iter().filter_map(|item| self.see(item, node)).collect();
            self.count(&chunk, node, passes.len());
            if reader.is_up_to_date() {
                self.machine.tick(self.parts.clock.now());
            }
            self.commit(passes, &chunk).await?;
            self.tell_canaries(&chunk, node);
            self.tell_unwatched();
            if self.machine.is_patient() && reader.is_up_to_date() {
                // Cancel: nothing is under way. A stop is seen at the next turn.
                let _ = tokio::time::timeout(PAUSE, stop.cancelled()).await;
            }
        }
    }

    fn count(&self, chunk: &Chunk, node: Node, passed: usize) {
        if let (Some(sieve), false) = (&self.sieve, chunk.items.is_empty()) {
            let seen = chunk.items.iter().filter(|item| item.for_node(node).is_some()).count();
            sieve.count(passed, seen - passed);
        }
    }

    /// Says of canaries that they are through, once their passes are durable.
    fn tell_canaries(&self, chunk: &Chunk, node: Node) {
        let events = chunk.items.iter().filter_map(|item| Some(&item.for_node(node)?.event));
        for event in events.filter(|event| event.action == Action::Canary) {
            self.parts.board.canaries().note(event.id, &self.node, Sight::Passed);
        }
    }

    fn tell_unwatched(&mut self) {
        let contacts = self.machine.take_unwatched();
        if contacts > 0 {
            warn!(
                count = contacts,
                "{contacts} contacts of sources beyond those that are watched for scans"
            );
        }
    }

    fn wait_for_due(&self, up_to_date: bool) -> Option<Instant> {
        let due = due(&self.machine, up_to_date)?;
        Some(Instant::now() + due.since(self.parts.clock.now()))
    }

    /// The pass of an entry that goes on.
    fn see(&mut self, item: &Arc<Item>, node: Node) -> Option<Vec<u8>> {
        let way = self.way(item);
        let event = &item.for_node(node)?.event;
        // It counts for nothing, and takes no place of what does.
        let verdict = match event.action {
            Action::Canary => Verdict::Pass,
            _ => self.machine.see(item.offset, event, way),
        };
        match verdict {
            Verdict::Pass => Some(Pass::new(&self.node, item.original).encode()),
            Verdict::Hold => None,
        }
    }

    fn way(&self, item: &Item) -> Way {
        self.followed.map_or_else(Way::default, |(counts, sink)| Way {
            counts: item.reach.contains(counts),
            tells: item.reach.contains(sink),
        })
    }

    async fn commit(&mut self, mut append: Vec<Vec<u8>>, chunk: &Chunk) -> Result<(), JournalError> {
        let next = chunk.next.max(self.saved);
        let closed = self.machine.close(CLOSE_MAX);
        append.extend(closed.iter().map(codec::encode));
        let losses = self.losses(chunk);
        let is_patient = self.machine.is_patient();
        let is_early = next.saturating_sub(self.saved) < IDLE_ENTRIES && self.kept_at.elapsed() < PATIENCE;
        let has_nothing_to_tell = append.is_empty() && losses.is_empty();
        // State is asked for last: what is given is taken for kept.
        if has_nothing_to_tell && is_early && is_patient {
            return Ok(());
        }
        let state = self.machine.changes(chunk.next);
        if has_nothing_to_tell && is_early && state.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            append: append.into_iter().map(Into::into).collect(),
            cursors: vec![(window_consumer(&self.node), next)],
            state,
            losses,
            ..Commit::default()
        };
        self.parts.store.commit(commit).await?;
        self.saved = next;
        self.kept_at = Instant::now();
        Ok(())
    }

    /// What is missing of the chunk, by offset; not again what was missed before.
    fn losses(&self, chunk: &Chunk) -> Vec<Loss> {
        let loss = |((first, last), cause): ((Offset, Offset), Cause)| Loss {
            consumer: window_consumer(&self.node),
            first: first.max(self.saved),
            last,
            cause,
        };
        let losses = chunk.losses().into_iter().filter(|_| self.machine.has_losses());
        losses.filter(|((_, last), _)| *last >= self.saved).map(loss).collect()
    }
}

/// Tells what nodes held back that are none of `nodes`: a reload removed or renamed them. A disk that fails is not waited
/// for; then the next start tells it.
pub(super) async fn disband(parts: &Parts, nodes: &[&str]) -> Result<(), JournalError> {
    let rows = parts.store.states(&Windows::prefix("")).await?;
    for (node, rows) in by_node(rows) {
        let is_watch = scan::prefix() == Windows::prefix(node.split('/').next().unwrap_or_default());
        if !is_watch && !nodes.contains(&node.as_str()) {
            tell_disbanded(parts, &node, rows).await?;
        }
    }
    Ok(())
}

async fn tell_disbanded(parts: &Parts, node: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), JournalError> {
    let Some(mut windows) = Disbanded::restore(node, rows) else {
        return Ok(());
    };
    info!(transform.name = %node, "transform {node} is no more, what it held back is told");
    loop {
        let (events, state) = windows.close(CLOSE_MAX);
        if state.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            append: events.iter().map(|event| codec::encode(event).into()).collect(),
            state,
            ..Commit::default()
        };
        if !commit_unless_failing(parts.store.as_ref(), commit).await? {
            return Ok(());
        }
    }
}

/// When to look at the clock. Not while entries wait to be read, unless something waits to be told: they come first,
/// wake us by themselves, and a clock that is looked at in vain is looked at again at once.
fn due(machine: &Machine, up_to_date: bool) -> Option<Timestamp> {
    machine.due().filter(|_| up_to_date || machine.is_closing())
}

async fn restore(node: &str, spec: &MachineSpec, parts: &Parts) -> Result<Machine, JournalError> {
    let prefix = Machine::prefix(node, spec);
    let below = format!("{prefix}/");
    let mut rows = parts.store.states(&prefix).await?;
    // The prefix of one name can be that of another.
    rows.retain(|(key, _)| *key == prefix || key.starts_with(&below));
    let (machine, dropped) = Machine::restore(node, spec, rows);
    if dropped > 0 {
        let title = title(node);
        warn!(transform.name = %node, count = dropped, "{title} cannot read {dropped} rows of its state, they are dropped");
    }
    Ok(machine)
}

/// What an operator knows a node as.
fn title(node: &str) -> String {
    match (sink_behind(node), sink_of(node)) {
        (Some(sink), _) => format!("the window before sink {sink}"),
        (_, Some(sink)) => format!("the watch over incidents for sink {sink}"),
        _ => format!("transform {node}"),
    }
}

async fn sleep(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use trapline_schemas::{Action, Event};

    use super::*;
    use crate::graph::window::{Policy, WindowSpec};

    #[test]
    fn a_window_that_is_due_waits_for_entries_not_yet_read_and_what_is_closed_does_not() {
        let spec = MachineSpec::Window(WindowSpec {
            by: Vec::new(),
            window: Duration::from_secs(60),
            policy: Policy::Dedupe,
        });
        let (mut windows, _) = Machine::restore("digest", &spec, Vec::new());
        let at = Timestamp::from_micros(1);
        windows.see(1, &Event::new(uuid::Uuid::nil(), at, Action::Connect), Way::default());
        assert!(due(&windows, true).is_some());
        assert_eq!(
            due(&windows, false),
            None,
            "the clock alone must not wake it again and again"
        );
        windows.tick(Timestamp::from_micros(600_000_000));
        windows.close(0);
        assert!(due(&windows, false).is_some());
    }
}
