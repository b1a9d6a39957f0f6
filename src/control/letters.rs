//! Dead letters: which are meant, how they are shown, and what is to be committed to retry or drop them.
//!
//! The same for a live instance and for the file of one that does not run: whoever asks says how it is committed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use trapline_schemas::{Action, Event, Field, Format, Timestamp, Value, codec, ids, render};
use uuid::Uuid;

use crate::control::protocol::Refusal;
use crate::delivery::errands::{retry_key, retry_of};
use crate::journal::{Commit, Journal, JournalError, KeptLetter, Offset};

/// What is asked about dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterQuery {
    /// Of this sink alone.
    pub sink: Option<String>,
    /// These alone: offsets, `SINK/OFFSET`, or ids of events.
    pub ids: Vec<String>,
    /// At most so many are shown, 0 is all.
    pub limit: u32,
    /// With the whole event.
    pub whole: bool,
}

/// One dead letter as it is shown; the stable form of `dead-letters list --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetterRow {
    /// By which commands name it: `SINK/OFFSET`.
    pub id: String,
    /// The sink that refused it.
    pub sink: String,
    /// The entry that was refused.
    pub offset: u64,
    /// When it was refused last, RFC 3339 in UTC.
    pub at: String,
    /// Why, in the sink's words.
    pub reason: String,
    /// The event's id for ever, if the event can be read.
    pub event_id: Option<String>,
    /// What happened, in one line.
    pub summary: String,
    /// It is to be sent again, and the sink has not answered yet.
    pub retrying: bool,
    /// The event by catalogue names, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event: Option<serde_json::Value>,
}

/// How many were meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterSum {
    /// All of them.
    pub count: u64,
    /// By sink.
    pub sinks: BTreeMap<String, u64>,
    /// Those of sinks that are not enabled, which cannot be retried.
    #[serde(default)]
    pub skipped: BTreeMap<String, u64>,
}

/// What is done with those that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterAct {
    /// Nothing: they are counted.
    Count,
    /// They are sent to their sink again.
    Retry,
    /// They are removed for good.
    Drop,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The journal's.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl LetterError {
    /// What a caller makes of it.
    pub const fn cause(&self) -> Refusal {
        match self {
            Self::Usage(_) => Refusal::Usage,
            Self::Journal(_) => Refusal::Failed,
        }
    }
}

/// One name of a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Offset(Offset),
    Full(String, Offset),
    Event(Uuid),
}

impl Name {
    fn parse(text: &str) -> Result<Self, LetterError> {
        let full = |(sink, offset): (&str, &str)| Some(Self::Full(sink.to_owned(), offset.parse().ok()?));
        let offset = text.parse().map(Self::Offset).ok();
        offset
            .or_else(|| text.rsplit_once('/').and_then(full))
            .or_else(|| text.parse().map(Self::Event).ok())
            .ok_or_else(|| {
                LetterError::Usage(format!(
                    "`{text}` names no dead letter: an offset such as 42, SINK/OFFSET or the id of an event does"
                ))
            })
    }

    fn means(&self, kept: &KeptLetter, event: Option<Uuid>) -> bool {
        match self {
            Self::Offset(offset) => *offset == kept.letter.offset,
            Self::Full(sink, offset) => *sink == kept.letter.sink && *offset == kept.letter.offset,
            Self::Event(id) => Some(*id) == event,
        }
    }
}

/// A walk over the letters that are meant, by sink and offset, a page at a time.
#[derive(Debug)]
pub struct Walk<'a> {
    journal: &'a Journal,
    query: &'a LetterQuery,
    names: Vec<(String, Name)>,
    met: BTreeSet<usize>,
    after: Option<(String, Offset)>,
    retrying: BTreeSet<(String, Offset)>,
    shown: u64,
}

impl<'a> Walk<'a> {
    /// Begins. Errors: a name that is none, a sink that neither is configured nor has letters.
    pub async fn begin(journal: &'a Journal, query: &'a LetterQuery, sinks: &[String]) -> Result<Self, LetterError> {
        let names = query.ids.iter().map(|id| Ok((id.clone(), Name::parse(id)?)));
        let names = names.collect::<Result<_, LetterError>>()?;
        if let Some(sink) = &query.sink {
            let counts = journal.dead_letter_counts().await?;
            let known: BTreeSet<_> = sinks.iter().chain(counts.iter().map(|count| &count.sink)).collect();
            if !known.contains(sink) {
                let known: Vec<_> = known.into_iter().map(String::as_str).collect();
                let known = known.join(", ");
                return Err(LetterError::Usage(format!(
                    "no sink is named `{sink}`, there are: {known}"
                )));
            }
        }
        let marks = journal.states("retry/").await?;
        let marked = marks.iter().filter_map(|(key, _)| retry_of(key));
        Ok(Self {
            journal,
            query,
            names,
            met: BTreeSet::new(),
            after: None,
            retrying: marked.map(|(sink, offset)| (sink.to_owned(), offset)).collect(),
            shown: 0,
        })
    }

    /// The next of them; `None` after the last. Cancel: safe.
    pub async fn next(&mut self) -> Result<Option<Vec<KeptLetter>>, LetterError> {
        let page = self
            .journal
            .dead_letters(self.query.sink.as_deref(), self.after.clone())
            .await?;
        let Some(last) = page.last() else {
            return self.end().map(|()| None);
        };
        self.after = Some((last.letter.sink.clone(), last.letter.offset));
        Ok(Some(page.into_iter().filter(|kept| self.is_meant(kept)).collect()))
    }

    fn is_meant(&mut self, kept: &KeptLetter) -> bool {
        if self.names.is_empty() {
            return true;
        }
        let event = codec::decode(&kept.letter.body).ok().map(|event| event.id);
        let means = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, (_, name))| name.means(kept, event));
        let means: Vec<_> = means.map(|(at, _)| at).collect();
        self.met.extend(&means);
        !means.is_empty()
    }

    fn end(&self) -> Result<(), LetterError> {
        let missed = self.names.iter().enumerate().filter(|(at, _)| !self.met.contains(at));
        let missed: Vec<_> = missed.map(|(_, (text, _))| format!("`{text}`")).collect();
        if missed.is_empty() {
            return Ok(());
        }
        let missed = missed.join(", ");
        Err(LetterError::Usage(format!("there is no dead letter {missed}")))
    }

    /// A letter as it is shown; `None` once as many were as were asked for.
    pub fn row(&mut self, kept: &KeptLetter) -> Option<LetterRow> {
        if self.query.limit > 0 && self.shown >= self.query.limit.into() {
            return None;
        }
        self.shown += 1;
        let letter = &kept.letter;
        let event = codec::decode(&letter.body);
        let retrying = self.retrying.contains(&(letter.sink.clone(), letter.offset));
        Some(LetterRow {
            id: format!("{}/{}", letter.sink, letter.offset),
            sink: letter.sink.clone(),
            offset: letter.offset,
            at: moment(kept.at),
            reason: letter.reason.clone(),
            event_id: event.as_ref().ok().map(|event| event.id.to_string()),
            summary: event.as_ref().map_or_else(ToString::to_string, summary),
            retrying,
            event: serde_json::from_slice(&letter.body).ok().filter(|_| self.query.whole),
        })
    }
}

fn moment(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    format!("{at:.3}")
}

fn summary(event: &Event) -> String {
    match event.resolve(Field::Message) {
        Some(Value::Text(text)) => text.to_string(),
        _ => {
            let mut line = Vec::new();
            render::render(event, Format::Text, &mut line);
            String::from_utf8_lossy(&line).into_owned()
        }
    }
}

/// What is to be committed for `act`, and how many it is about. In: the sinks that are enabled; `stamp` writes into an
/// event of trapline's own who this host is.
pub async fn plan(
    journal: &Journal,
    act: LetterAct,
    query: &LetterQuery,
    sinks: &[String],
    stamp: impl Fn(&mut Event),
) -> Result<(Commit, LetterSum), LetterError> {
    let (mut commit, mut sum) = (Commit::default(), LetterSum::default());
    let mut walk = Walk::begin(journal, query, sinks).await?;
    while let Some(page) = walk.next().await? {
        for KeptLetter { letter, .. } in page {
            if act == LetterAct::Retry && !sinks.contains(&letter.sink) {
                *sum.skipped.entry(letter.sink).or_default() += 1;
                continue;
            }
            sum.count += 1;
            *sum.sinks.entry(letter.sink.clone()).or_default() += 1;
            let key = retry_key(&letter.sink, letter.offset);
            match act {
                LetterAct::Count => {}
                LetterAct::Retry => commit.state.push((key, Some(Vec::new()))),
                LetterAct::Drop => {
                    commit.state.push((key, None));
                    commit.dead_letters_gone.push((letter.sink, letter.offset));
                }
            }
        }
    }
    if act == LetterAct::Drop {
        let told = sum.sinks.iter().map(|(sink, count)| dropped(sink, *count));
        commit.append = told
            .map(|mut event| {
                stamp(&mut event);
                codec::encode(&event).into()
            })
            .collect();
    }
    Ok((commit, sum))
}

/// What stands in the journal of letters that a person dropped.
fn dropped(sink: &str, count: u64) -> Event {
    let now = Timestamp::now();
    let mut event = Event::new(ids::fresh(now), now, Action::JournalGap);
    event.set(Field::SinkName, sink);
    event.set(
        Field::EventReason,
        "dead letters that an operator dropped: this sink never had them",
    );
    event.set(Field::FindingHits, i64::try_from(count).unwrap_or(i64::MAX));
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_offset_with_its_sink_or_by_its_event() {
        assert_eq!(Name::parse("42").unwrap(), Name::Offset(42));
        assert_eq!(Name::parse("a/b/42").unwrap(), Name::Full("a/b".into(), 42));
        let id = Uuid::from_u128(7);
        assert_eq!(Name::parse(&id.to_string()).unwrap(), Name::Event(id));
        for wrong in ["", "a/", "-1", "siem"] {
            assert!(
                Name::parse(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains(&format!("`{wrong}`"))
            );
        }
    }
}
