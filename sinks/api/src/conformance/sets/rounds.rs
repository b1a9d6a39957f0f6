//! A reconcile worker reduced to what the suite needs: read, compare, apply.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use trapline_schemas::Timestamp;

use crate::set::{Applied, Change, Member, Put, SetSink, Standing, Target, Wanted, compare};
use crate::stream::Fault;

/// Holds a sink to what is wanted, a round at a time.
pub struct Rounds {
    sink: Arc<dyn SetSink>,
    wanted: Wanted,
    patience: Duration,
    ends_itself: Option<bool>,
}

/// What one round did.
#[derive(Debug, Default)]
pub struct Round {
    /// Entries that stood before.
    pub listed: usize,
    /// Changes that were handed over.
    pub changes: usize,
    /// Batches that it took.
    pub batches: usize,
    /// Changes that were not made and are to be tried again.
    pub again: usize,
    /// Members that were refused for good.
    pub refused: Vec<(Target, String)>,
    /// Members that there is nothing for.
    pub nowhere: Vec<Target>,
    /// The last fault.
    pub fault: Option<Fault>,
}

impl Round {
    /// Whether all that was to be done is done.
    pub fn is_clean(&self) -> bool {
        self.fault.is_none() && self.again == 0
    }
}

impl Rounds {
    /// Of a sink that nothing is wanted of yet; no call may last longer than `patience`.
    pub fn new(sink: Arc<dyn SetSink>, patience: Duration) -> Self {
        Self {
            sink,
            wanted: Wanted::new(),
            patience,
            ends_itself: None,
        }
    }

    /// Holds what is listed to this: each entry has an end, or none has.
    #[must_use]
    pub fn ending_by_itself(self, ends_itself: bool) -> Self {
        Self {
            ends_itself: Some(ends_itself),
            ..self
        }
    }

    /// The sink.
    pub fn sink(&self) -> Arc<dyn SetSink> {
        self.sink.clone()
    }

    /// Goes on with another sink, as after a restart.
    pub fn replace(&mut self, sink: Arc<dyn SetSink>) {
        self.sink = sink;
    }

    /// What is wanted from now on.
    pub fn want(&mut self, members: impl IntoIterator<Item = Member>) {
        self.wanted = members.into_iter().map(|member| (member.target, member)).collect();
    }

    /// What is wanted.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Reads, compares and applies once. Errors: what no sink may do, at fault or not.
    pub async fn round(&mut self, now: Timestamp) -> Result<Round, String> {
        let mut round = Round::default();
        let stands = match self.stands().await? {
            Ok(stands) => stands,
            Err(fault) => {
                round.fault = Some(fault);
                return Ok(round);
            }
        };
        round.listed = stands.len();
        let changes = compare(&self.wanted, &stands, now, self.sink.limits());
        for batch in changes.chunks(self.sink.limits().changes.max(1)) {
            let applied = self.apply(batch).await?;
            self.note(batch, applied, &mut round);
        }
        if round.is_clean() {
            round.fault = self.within("settled", self.sink.settled()).await?.err();
        }
        Ok(round)
    }

    /// What stands, by the sink's word. Errors: a list that no sink may give.
    pub async fn stands(&self) -> Result<Result<Vec<Standing>, Fault>, String> {
        let found = self.within("stands", self.sink.stands()).await?;
        if let Ok(stands) = &found {
            self.check_list(stands)?;
        }
        Ok(found)
    }

    fn check_list(&self, stands: &[Standing]) -> Result<(), String> {
        let mut seen = HashSet::with_capacity(stands.len());
        for entry in stands {
            if !seen.insert(entry.target) {
                return Err(format!("{} is listed twice", entry.target));
            }
            match self.ends_itself {
                Some(true) if entry.until.is_none() => {
                    return Err(format!("{} is listed without the end that it has", entry.target));
                }
                Some(false) if entry.until.is_some() => {
                    return Err(format!(
                        "{} is listed with an end that its destination does not keep",
                        entry.target
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes changes, in one batch. Errors: an answer that no sink may give.
    pub async fn apply(&self, batch: &[Change]) -> Result<Applied, String> {
        let applied = self.within("apply", self.sink.apply(batch)).await?;
        if applied.outcomes.len() != batch.len() {
            return Err(format!(
                "{} outcomes for {} changes",
                applied.outcomes.len(),
                batch.len()
            ));
        }
        if applied.outcomes.contains(&Put::Retry) && applied.fault.is_none() {
            return Err("a change is to be tried again, and nothing says why".to_owned());
        }
        let unsaid = |put: &Put| matches!(put, Put::Refused(why) | Put::Nowhere(why) if why.is_empty());
        if applied.outcomes.iter().any(unsaid) {
            return Err("a change was not made, and nothing says why".to_owned());
        }
        Ok(applied)
    }

    fn note(&mut self, batch: &[Change], applied: Applied, round: &mut Round) {
        round.changes += batch.len();
        round.batches += 1;
        round.fault = applied.fault.or(round.fault.take());
        for (change, put) in batch.iter().zip(applied.outcomes) {
            match put {
                Put::Done { handle } => self.keep(change, handle),
                Put::Nowhere(_) => round.nowhere.push(change.target()),
                Put::Retry => round.again += 1,
                Put::Refused(why) => round.refused.push((change.target(), why)),
            }
        }
    }

    /// What the destination calls an entry is kept with the decision.
    fn keep(&mut self, change: &Change, handle: Option<Arc<str>>) {
        if let (Change::Put(member), Some(handle)) = (change, handle)
            && let Some(member) = self.wanted.get_mut(&member.target)
        {
            member.handle = Some(handle);
        }
    }

    async fn within<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T, String> {
        timeout(self.patience, call)
            .await
            .map_err(|_| format!("{what} did not come back within {} s", self.patience.as_secs()))
    }
}
