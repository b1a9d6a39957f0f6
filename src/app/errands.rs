//! What a person has an instance send again: dead letters, and replays of what was recorded.
//!
//! It is left in the journal's state and the sinks' workers are called to look: what was asked for outlives the process.

use trapline_schemas::Timestamp;

use crate::app::core::{Core, Refused};
use crate::app::{build, tables};
use crate::control::letters::{self, LetterAct, LetterError, LetterQuery, LetterSum};
use crate::control::protocol::{Refusal, ReplayAct, ReplayQuery, ReplayReport, ReplayState};
use crate::delivery::errands::{Order, Progress, encode, find, order_key, progress_key, replay_consumer};
use crate::delivery::{Plan, SinkState, count_for, sink_consumer};
use crate::journal::{Commit, Journal, JournalError, Offset};

impl Core {
    /// The names of the sinks that run.
    pub fn sink_names(&self) -> Vec<String> {
        build::enabled(&self.config()).map(|sink| sink.name.clone()).collect()
    }

    /// Retries or drops the dead letters that are meant; durable on return.
    pub async fn letters(&self, act: LetterAct, query: &LetterQuery) -> Result<LetterSum, LetterError> {
        let identity = self.identity.clone();
        let (commit, sum) = letters::plan(&self.journal, act, query, &self.sink_names(), |event| {
            identity.stamp(event)
        })
        .await?;
        if sum.count > 0 && act != LetterAct::Count {
            self.journal.commit(commit).await?;
            self.board.call();
            tracing::info!(
                events = sum.count,
                "an operator had {} dead letters {}",
                sum.count,
                done(act)
            );
        }
        Ok(sum)
    }

    /// Begins, counts, shows or cancels a replay.
    pub async fn replay(&self, query: &ReplayQuery) -> Result<ReplayReport, Refused> {
        let names = self.sink_names();
        if !names.contains(&query.sink) && query.act != ReplayAct::Cancel {
            let known = names.join(", ");
            let why = format!("no enabled sink is named `{}`, there are: {known}", query.sink);
            return Err(Refused::new(Refusal::Usage, why));
        }
        let failed = |error: JournalError| Refused::new(Refusal::Failed, error);
        let seen = self.replay_report(&query.sink).await.map_err(failed)?;
        match query.act {
            ReplayAct::Look => Ok(seen),
            ReplayAct::Cancel => self.cancel(seen).await.map_err(failed),
            ReplayAct::Begin if seen.state == ReplayState::Running => goes_on(seen, query),
            ReplayAct::Begin => self.begin(query).await.map_err(failed),
            ReplayAct::DryRun => {
                let (first, end) = self.span(query).await.map_err(failed)?;
                let plan = self.wiring().await?;
                let store = std::sync::Arc::new(self.journal.clone());
                let counted = count_for(store, plan.graph, &query.sink, (first, end)).await;
                Ok(ReplayReport {
                    sent: counted.map_err(failed)?,
                    ..nothing(query, first, end)
                })
            }
        }
    }

    /// What delivery runs by now; reads the files that transforms look into.
    pub(super) async fn wiring(&self) -> Result<Plan, Refused> {
        let (config, identity) = (self.config(), self.identity.clone());
        let made = tokio::task::spawn_blocking(move || {
            let tables = tables::load(&config).map_err(build::BuildError::from)?;
            build::plan(&config, &identity, &tables)
        });
        let made = made.await.map_err(|broken| Refused::new(Refusal::Failed, broken))?;
        made.map_err(|error| Refused::new(Refusal::Config, error))
    }

    async fn begin(&self, query: &ReplayQuery) -> Result<ReplayReport, JournalError> {
        let (first, end) = self.span(query).await?;
        if first >= end {
            return Ok(nothing(query, first, first));
        }
        let order = Order {
            id: Timestamp::now().micros(),
            first,
            end,
            asked: query.asked.clone(),
        };
        let commit = Commit {
            cursors: vec![(replay_consumer(&query.sink), first)],
            state: vec![
                (order_key(&query.sink), Some(encode(&order))),
                (progress_key(&query.sink), Some(encode(&Progress::new(order)))),
            ],
            ..Commit::default()
        };
        self.journal.commit(commit).await?;
        self.board.call();
        tracing::info!(sink.name = %query.sink, "an operator began a replay of entries {first} to {end} to sink {}", query.sink);
        self.replay_report(&query.sink).await
    }

    async fn cancel(&self, seen: ReplayReport) -> Result<ReplayReport, JournalError> {
        if seen.state != ReplayState::Running {
            return Ok(seen);
        }
        let commit = Commit {
            state: vec![(order_key(&seen.sink), None)],
            cursors_gone: vec![replay_consumer(&seen.sink)],
            ..Commit::default()
        };
        self.journal.commit(commit).await?;
        self.board.call();
        self.replay_report(&seen.sink).await
    }

    /// The entries that are meant: what the sink has not had yet comes to it anyway, and is not among them.
    async fn span(&self, query: &ReplayQuery) -> Result<(Offset, Offset), JournalError> {
        let head = *self.journal.head().borrow();
        let first = match query.since {
            Some(since) => self.journal.offset_at(Timestamp::from_micros(since)).await?,
            None => self.journal.oldest().await?,
        };
        let until = match query.until {
            Some(until) => self.journal.offset_at(Timestamp::from_micros(until)).await?,
            None => head,
        };
        let cursor = self.journal.cursor(&sink_consumer(&query.sink)).await?.unwrap_or(head);
        Ok((first, until.min(cursor).max(first)))
    }

    /// How the replay to a sink stands, and what keeps it waiting.
    pub(super) async fn replay_report(&self, sink: &str) -> Result<ReplayReport, JournalError> {
        let mut report = replay_report(&self.journal, sink).await?;
        let status = self.board.watch(sink).map(|status| status.borrow().clone());
        let fails = status.filter(|status| matches!(status.state, SinkState::Retrying | SinkState::Failing));
        if report.state == ReplayState::Running {
            report.waits = fails.and_then(|status| status.last_fault).map(|fault| fault.message);
        }
        Ok(report)
    }
}

/// How the replay to a sink stands by the journal.
pub async fn replay_report(journal: &Journal, sink: &str) -> Result<ReplayReport, JournalError> {
    let rows = journal.states(&format!("{}/", replay_consumer(sink))).await?;
    let order: Option<Order> = find(&rows, &order_key(sink));
    let Some(progress) = find::<Progress>(&rows, &progress_key(sink)) else {
        return Ok(ReplayReport::none(sink));
    };
    Ok(ReplayReport::of(sink, &progress, order.is_some()))
}

const fn done(act: LetterAct) -> &'static str {
    match act {
        LetterAct::Count => "counted",
        LetterAct::Retry => "sent again",
        LetterAct::Drop => "dropped",
    }
}

/// A report of what did not begin.
fn nothing(query: &ReplayQuery, first: Offset, end: Offset) -> ReplayReport {
    ReplayReport {
        asked: query.asked.clone(),
        first,
        next: first,
        end,
        ..ReplayReport::none(&query.sink)
    }
}

/// One that is under way and was asked for in the same words goes on.
fn goes_on(seen: ReplayReport, query: &ReplayQuery) -> Result<ReplayReport, Refused> {
    if seen.asked == query.asked {
        return Ok(seen);
    }
    let until = seen
        .asked
        .1
        .as_ref()
        .map(|until| format!(" --until {until}"))
        .unwrap_or_default();
    let why = format!(
        "a replay to sink `{}` is under way, asked for with --since {}{until}: `trapline replay --sink {} --cancel` ends it",
        seen.sink, seen.asked.0, seen.sink
    );
    Err(Refused::new(Refusal::Failed, why))
}
