//! Requests and answers, as they stand on the wire.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use trapline_schemas::ids::hex;
use trapline_sink::config::Problem;

use crate::control::status::Status;
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
    /// Events that match: [`Answer::Event`] each, oldest first, then [`Answer::End`]; with `follow` without end.
    Events(Query),
    /// One marked test event through this sink alone: [`Answer::Sinks`].
    SendTest {
        /// The sink's name.
        sink: String,
    },
    /// Reaches every sink without sending an event: [`Answer::Sinks`].
    CheckConnect,
    /// Walks over the journal's chain: [`Answer::Verified`].
    Verify,
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
    /// What the walk over the journal's chain found.
    Verified(VerifyReport),
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

/// One sink, reached or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Whether it went well.
    pub ok: bool,
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
