//! Requests and answers, as they stand on the wire.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use trapline_schemas::ids::hex;
use trapline_sink::config::Problem;

use crate::control::canary::CanaryReport;
use crate::control::decisions::{DecisionOrder, DecisionReport, DecisionRow, SparedRow};
use crate::control::letters::{LetterAct, LetterQuery, LetterRow, LetterSum};
use crate::control::owners::{OwnerRow, ReleaseOrder, ReleaseReport};
use crate::control::status::Status;
use crate::delivery::errands::{Outcome, Progress};
use crate::journal::{ChainFault, Verified};

/// Longest request line in bytes.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Longest answer line in bytes. A body with the largest capture that can be configured, twice escaped, stays below.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest pause between two answers: [`Answer::Working`] fills it. Several without any mean that the instance hangs.
pub const BEAT: Duration = Duration::from_secs(1);

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// One [`Answer::Status`].
    Status,
    /// The instance's figures as Prometheus reads them: [`Answer::Metrics`].
    Metrics,
    /// Events that match: [`Answer::Event`] each, oldest first, then [`Answer::End`]; with `follow` without end.
    Events(Query),
    /// One marked test event through this sink alone: [`Answer::Sinks`].
    SendTest {
        /// The sink's name.
        sink: String,
    },
    /// Reaches every sink without sending an event: [`Answer::Sinks`].
    CheckConnect,
    /// Sends a canary through everything and follows it: [`Answer::Canary`].
    Canary {
        /// How long to wait for it at most.
        timeout_secs: u64,
    },
    /// Walks over the journal's chain: [`Answer::Verified`].
    Verify,
    /// The same for who watches it: [`Answer::Verifying`] now and then before.
    VerifyWatched,
    /// Dead letters: [`Answer::Letter`] each, by sink and offset, then [`Answer::Letters`].
    LetterList(LetterQuery),
    /// Counts, retries or drops dead letters: [`Answer::Letters`].
    Letters(LetterAct, LetterQuery),
    /// Incidents whose source has an owner: [`Answer::Owners`].
    Owners {
        /// At most this many, the latest; 0 is as many as there may be.
        limit: u32,
    },
    /// Lets the owner of an incident's source be written to: [`Answer::Released`].
    Release(ReleaseOrder),
    /// Decisions that are not over: [`Answer::Decisions`].
    Decisions,
    /// Has something done about decisions: [`Answer::Decided`].
    Decide(DecisionOrder),
    /// Whom nothing is ever done to: [`Answer::Spared`].
    Spared,
    /// Begins, counts, shows or cancels a replay: [`Answer::Replay`].
    Replay(ReplayQuery),
    /// Copies the journal into a file: [`Answer::Copied`].
    Backup {
        /// The file, an absolute path.
        target: std::path::PathBuf,
        /// Whether a file that is there is replaced.
        force: bool,
    },
    /// Reads the configuration again: [`Answer::Reloaded`] or [`Answer::Refused`].
    Reload,
}

/// Which events are wanted; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Appended at this instant or later, microseconds since the epoch.
    pub since: Option<i64>,
    /// Appended before this instant, microseconds since the epoch.
    pub until: Option<i64>,
    /// Source address, or network such as `10.0.0.0/8`.
    pub source: Option<String>,
    /// Destination port.
    pub port: Option<u16>,
    /// The decoy's name.
    pub decoy: Option<String>,
    /// `event.action`.
    pub action: Option<String>,
    /// Level of touch: `contact`, `intent` or `proof`.
    pub level: Option<String>,
    /// The user that was tried.
    pub user: Option<String>,
    /// The incident's id.
    pub incident: Option<String>,
    /// At most this many, the newest of those that match; 0 is all.
    pub limit: u32,
    /// Then go on with new ones as they come.
    pub follow: bool,
}

/// What the instance answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The answer is being made.
    Working,
    /// How it stands.
    Status(Box<Status>),
    /// Its figures: text of the exposition format 0.0.4.
    Metrics(String),
    /// One event.
    Event {
        /// Its place in the journal.
        offset: u64,
        /// Its body as kept: JSON text.
        body: String,
    },
    /// No more events.
    End {
        /// Events not yet in the index, when the query needed it; they were searched one by one.
        index_lag: u64,
    },
    /// What became of reaching sinks.
    Sinks(Vec<SinkReport>),
    /// What became of a canary.
    Canary(CanaryReport),
    /// One dead letter.
    Letter(LetterRow),
    /// How many dead letters it was about.
    Letters(LetterSum),
    /// Incidents whose source has an owner.
    Owners(Vec<OwnerRow>),
    /// The owner is written to.
    Released(ReleaseReport),
    /// Decisions that are not over, those first that end first.
    Decisions(Vec<DecisionRow>),
    /// What was done about decisions.
    Decided(DecisionReport),
    /// Whom nothing is ever done to.
    Spared(Vec<SparedRow>),
    /// How a replay stands.
    Replay(ReplayReport),
    /// How far the walk over the journal's chain has come.
    Verifying {
        /// Offsets behind it.
        done: u64,
        /// Offsets there are.
        of: u64,
    },
    /// What the walk over the journal's chain found.
    Verified(VerifyReport),
    /// The journal was copied, and the walk over the copy's chain found this.
    Copied {
        /// What it found.
        report: VerifyReport,
        /// Device and inode of the copy, if it could be looked at: the same path may lead elsewhere for whoever asked.
        file: Option<(u64, u64)>,
    },
    /// The configuration in force is now the one on disk.
    Reloaded {
        /// What changed, one line each.
        changes: Vec<String>,
    },
    /// The request was not carried out.
    Refused {
        /// Why.
        cause: Refusal,
        /// What is wrong.
        reasons: Vec<Reason>,
        /// What is right, but perhaps not as meant.
        #[serde(default)]
        warnings: Vec<Reason>,
    },
}

/// What is wrong: a mistake of the configuration with its place, or whatever else failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The file it stands in.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The environment variable it stands in.
    pub variable: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl From<String> for Reason {
    fn from(message: String) -> Self {
        Self {
            message,
            ..Self::default()
        }
    }
}

impl From<&Problem> for Reason {
    fn from(problem: &Problem) -> Self {
        let facts = problem.facts();
        let allowed = match facts.allowed {
            "" => String::new(),
            allowed => format!("; allowed: {allowed}"),
        };
        Self {
            file: facts.file.map(str::to_owned),
            line: facts.line,
            column: facts.column,
            variable: facts.variable.map(str::to_owned),
            message: format!("{}{allowed}", facts.found),
            hint: facts.hint.map(str::to_owned),
        }
    }
}

/// `FILE:LINE:COLUMN: message`, without the hint.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line, self.column, &self.variable) {
            (Some(file), Some(line), Some(column), _) => write!(f, "{file}:{line}:{column}: ")?,
            (.., Some(variable)) => write!(f, "environment variable {variable}: ")?,
            _ => {}
        }
        f.write_str(&self.message)
    }
}

impl Answer {
    /// A refusal for one reason.
    pub fn refused(cause: Refusal, reason: impl Into<String>) -> Self {
        Self::Refused {
            cause,
            reasons: vec![Reason::from(reason.into())],
            warnings: Vec::new(),
        }
    }
}

/// Causes of a refusal that a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The request makes no sense: no such sink, a line that is no request.
    Usage,
    /// The configuration on disk is not good.
    Config,
    /// It was tried and failed.
    Failed,
    /// Too many connections, or shutting down.
    Busy,
}

/// A walk over the journal's chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Sound entries.
    pub entries: u64,
    /// The first offset walked over.
    pub first: u64,
    /// The offset after the last sound entry.
    pub next: u64,
    /// Chain hash of the last sound entry, hex.
    pub hash: String,
    /// Offsets at which the chain starts anew, after damage.
    pub breaks: Vec<u64>,
    /// The first fault; the walk ended there.
    pub fault: Option<String>,
}

impl From<Verified> for VerifyReport {
    fn from(found: Verified) -> Self {
        let fault = |fault| match fault {
            ChainFault::Altered(at) => format!("entry {at} is not what was written"),
            ChainFault::Unlinked(at) => format!("entry {at} does not follow on the one before it"),
            ChainFault::Missing(at) => format!("entries from {at} on were written and are gone"),
        };
        Self {
            entries: found.entries,
            first: found.first,
            next: found.next,
            hash: hex(&found.hash),
            breaks: found.breaks,
            fault: found.fault.map(fault),
        }
    }
}

/// What is asked about a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayQuery {
    /// What to do.
    pub act: ReplayAct,
    /// To which sink.
    pub sink: String,
    /// Appended at this instant or later, microseconds since the epoch.
    pub since: Option<i64>,
    /// Appended before this instant, microseconds since the epoch.
    pub until: Option<i64>,
    /// Both as they were written.
    pub asked: (String, Option<String>),
}

/// What is done about a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayAct {
    /// It begins, or goes on if it is under way.
    Begin,
    /// Its events are counted.
    DryRun,
    /// It is shown.
    Look,
    /// It ends.
    Cancel,
}

/// How a replay stands; the stable form of `replay --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// To which sink.
    pub sink: String,
    /// Whether it is under way.
    pub state: ReplayState,
    /// The times it was asked for with.
    pub asked: (String, Option<String>),
    /// The first offset.
    pub first: u64,
    /// All before this offset is done with.
    pub next: u64,
    /// The offset after the last.
    pub end: u64,
    /// Events delivered; of a dry run: that would be sent.
    pub sent: u64,
    /// Events that the sink refused, which are dead letters now.
    pub refused: u64,
    /// Entries that were gone or unreadable.
    pub missing: u64,
    /// What keeps it waiting.
    pub waits: Option<String>,
}

/// What a replay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// There was none, or nothing to be sent.
    None,
    /// It is under way.
    Running,
    /// All was sent.
    Done,
    /// Somebody cancelled it.
    Cancelled,
}

impl ReplayState {
    /// The word shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ReplayReport {
    /// There was none.
    pub fn none(sink: &str) -> Self {
        Self {
            sink: sink.to_owned(),
            state: ReplayState::None,
            asked: Default::default(),
            first: 0,
            next: 0,
            end: 0,
            sent: 0,
            refused: 0,
            missing: 0,
            waits: None,
        }
    }

    /// Of what the journal has; `is_wanted` says whether nobody cancelled it.
    pub fn of(sink: &str, progress: &Progress, is_wanted: bool) -> Self {
        let state = match progress.ended {
            None if is_wanted => ReplayState::Running,
            Some((Outcome::Done, _)) => ReplayState::Done,
            None | Some((Outcome::Cancelled, _)) => ReplayState::Cancelled,
        };
        Self {
            state,
            asked: progress.order.asked.clone(),
            first: progress.order.first,
            next: progress.next,
            end: progress.order.end,
            sent: progress.sent,
            refused: progress.refused,
            missing: progress.missing,
            ..Self::none(sink)
        }
    }

    /// How far it is, in hundredths.
    pub fn percent(&self) -> u64 {
        let whole = self.end.saturating_sub(self.first);
        (100 * self.next.saturating_sub(self.first))
            .checked_div(whole)
            .unwrap_or(100)
    }
}

/// One sink, reached or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Whether it went well.
    pub ok: bool,
    /// Where it sends, without secrets, if it could be made.
    #[serde(default)]
    pub destination: Option<String>,
    /// What was sent, if anything.
    pub sent: Option<String>,
    /// What came back.
    pub said: String,
    /// The destination answers nothing: if it went well, then as far as the sender can tell.
    pub unconfirmed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_one_line_and_come_back_as_they_were() {
        let request = Request::Events(Query {
            source: Some("10.0.0.0/8".into()),
            limit: 5,
            ..Query::default()
        });
        let line = serde_json::to_string(&request).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        let answer = Answer::Event {
            offset: 7,
            body: "{\"v\":1,\n\"at\":0}".into(),
        };
        let line = serde_json::to_string(&answer).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
    }
}
