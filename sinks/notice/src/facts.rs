//! The facts of a notice: who, what, when, how often, what was done, how it is looked up.
//!
//! Never a secret, never the bytes of a payload. What a peer chose, or a part of it, says so; of lists at most
//! [`SHOWN`] entries are told, and how many there are.

mod owner;
mod touch;

use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};

use crate::kind::{Group, Kind};
use crate::scope::{is_of_person, network};
use crate::{Fact, safe, words};

/// Longest value of a fact, in characters.
pub const FACT_CHARS_MAX: usize = 300;

/// Most entries of a list that are told.
const SHOWN: usize = 12;

/// The facts of an event, in the order in which a person asks for them; `contact` is who is to be asked, or empty.
pub(crate) fn facts(kind: Kind, event: &Event, contact: &str) -> Vec<Fact> {
    let mut facts = Facts {
        event,
        told: Vec::new(),
    };
    if kind == Kind::Owner {
        facts.for_owner(contact);
        return facts.told;
    }
    if kind.has(Group::Source) {
        facts.who();
    }
    if kind.has(Group::Door) || event.get(Field::DecoyId).is_some() {
        facts.what();
    }
    facts.happened();
    if kind.has(Group::Act) {
        facts.act();
    }
    facts.own();
    facts.place();
    facts.when(kind);
    facts.often();
    facts.done(kind);
    facts.ids(kind);
    facts.told
}

/// Facts under way.
struct Facts<'e> {
    event: &'e Event,
    told: Vec<Fact>,
}

impl Facts<'_> {
    fn tell(&mut self, label: &'static str, value: &str, foreign: bool) {
        let value = safe::line(value, FACT_CHARS_MAX);
        if !value.is_empty() {
            self.told.push(Fact { label, value, foreign });
        }
    }

    fn ours(&mut self, label: &'static str, value: &str) {
        self.tell(label, value, false);
    }

    /// A fact whose value a peer chose, or a part of it.
    fn theirs(&mut self, label: &'static str, field: Field) {
        if let Some(text) = text_of(self.event, field) {
            self.tell(label, &text, true);
        }
    }

    /// A fact whose value the configuration gave.
    fn given(&mut self, label: &'static str, field: Field) {
        if let Some(text) = text_of(self.event, field) {
            self.tell(label, &text, false);
        }
    }

    fn text(&self, field: Field) -> &str {
        self.event.text(field).map_or("", |text| text)
    }

    fn is(&self, field: Field) -> Option<bool> {
        match self.event.get(field) {
            Some(Value::Bool(is)) => Some(*is),
            _ => None,
        }
    }

    /// A list and, if it is longer than what is told of it, how many there are.
    fn several(&mut self, label: &'static str, list: Field, count: Field, foreign: bool) {
        let entries = match self.event.get(list) {
            Some(Value::Texts(texts)) => texts.iter().map(SmolStr::to_string).collect(),
            Some(Value::Ips(ips)) => ips.iter().map(ToString::to_string).collect(),
            Some(Value::Ints(numbers)) => numbers.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        // One decoy or port of a digest is told with its service already.
        if entries.is_empty() || (entries.len() == 1 && self.event.get(Field::DecoyId).is_some() && !foreign) {
            return;
        }
        let listed = entries.len();
        let all = usize::try_from(self.event.int(count).unwrap_or(0))
            .unwrap_or(0)
            .max(listed);
        let mut told = joined(entries, all);
        if all > SHOWN {
            // The number first: whatever is cut, it stays.
            told = format!("{}: {told}", words::figures(i64::try_from(all).unwrap_or(i64::MAX)));
        }
        self.tell(label, &told, foreign);
    }

    /// The action, or those of a digest with their counts: `380 decoy-credential, 32 decoy-connect`.
    fn happened(&mut self) {
        let Some(Value::Texts(tally)) = self.event.get(Field::DigestActions) else {
            let action = self.event.action_name().to_owned();
            return self.ours("action", &action);
        };
        let entry = |entry: &SmolStr| match entry.rsplit_once('=') {
            Some((action, count)) => format!("{count} {action}"),
            None => entry.to_string(),
        };
        let told = joined(tally.iter().map(entry).collect(), tally.len());
        self.ours("actions", &told);
    }

    /// What is wrong or was done, in the words of whoever noticed: a server's answer and a line of a file among them.
    fn own(&mut self) {
        if self.event.action == Action::HeldBack || self.event.ip(Field::SourceIp).is_none() {
            self.given("window", Field::TransformName);
            self.theirs("counted by", Field::TransformKey);
        }
        self.given("sink", Field::SinkName);
        self.given("fault", Field::ErrorType);
        self.theirs("in its words", Field::ErrorMessage);
        if self.event.get(Field::DecoyId).is_none() || self.event.action == Action::JournalGap {
            self.theirs("reason", Field::EventReason);
        }
        for (label, field) in NUMBERS {
            if let Some(number) = self.event.int(*field) {
                self.ours(label, &words::figures(number));
            }
        }
        if let (Some(first), Some(last)) = (self.event.int(Field::GapFirst), self.event.int(Field::GapLast)) {
            self.ours("offsets", &format!("{first} to {last}"));
        }
    }

    /// What was done or decided about a source, and by whom. A person's reason is that person's.
    fn act(&mut self) {
        self.given("act", Field::ResponseKind);
        self.given("acts", Field::ResponseVerbs);
        if let Some(network) = network(self.event) {
            self.ours("acted on", &network);
        }
        self.given("on", Field::ResponseTarget);
        self.given("rule", Field::ResponseRule);
        self.given("state", Field::ResponseState);
        if is_of_person(self.event) {
            self.given("decided by", Field::ResponseBy);
        }
        self.theirs("reason", Field::ResponseReason);
        for (label, field) in [("step", Field::ResponseStep), ("entries", Field::ResponseRepaired)] {
            if let Some(number) = self.event.int(field) {
                self.ours(label, &words::figures(number));
            }
        }
    }

    fn place(&mut self) {
        let (observer, site) = (self.text(Field::ObserverName), self.text(Field::Site));
        let told = match (observer, site) {
            (observer, "") => observer.to_owned(),
            (observer, site) => format!("{observer}, site {site}"),
        };
        self.ours("observer", &told);
    }

    fn when(&mut self, kind: Kind) {
        match (self.time(Field::EventStart), self.time(Field::EventEnd)) {
            (Some(first), Some(last)) if first != last => {
                self.ours("first", &words::instant(first));
                self.ours("last", &words::instant(last));
            }
            _ => self.ours("when", &words::instant(self.event.at)),
        }
        let is_done = matches!(
            kind,
            Kind::Blocked | Kind::Tagged | Kind::Sinkholed | Kind::Listed | Kind::Decided
        );
        if let Some(expires) = self.time(Field::ResponseExpires).filter(|_| is_done) {
            self.ours("until", &words::instant(expires));
        }
    }

    fn time(&self, field: Field) -> Option<Timestamp> {
        match self.event.get(field) {
            Some(Value::Time(at)) => Some(*at),
            _ => None,
        }
    }

    /// How often: what was counted, and what had been told by itself before.
    fn often(&mut self) {
        let told = self.event.int(Field::DigestPassed).unwrap_or(0).max(0);
        let Some(counted) = self.event.int(Field::FindingHits).map(|hits| hits.max(0)) else {
            return self.within_session();
        };
        let all = words::figures(counted.saturating_add(told));
        match told {
            0 => self.ours("events", &all),
            _ => {
                let (counted, told) = (words::figures(counted), words::figures(told));
                self.ours("events", &format!("{all}: {counted} counted here, {told} told before"));
            }
        }
    }

    fn within_session(&mut self) {
        let numbers = [
            ("attempt", Field::EventSequence),
            ("datagrams", Field::SourcePackets),
            ("credentials tried", Field::SessionCredentials),
            ("orders given", Field::SessionQueries),
        ];
        for (label, field) in numbers {
            if let Some(number) = self.event.int(field).filter(|number| *number > 0) {
                self.ours(label, &words::figures(number));
            }
        }
    }

    fn done(&mut self, kind: Kind) {
        let done = match kind {
            Kind::Blocked => "blocked",
            Kind::Lifted => "let in again",
            Kind::Tagged => "tagged",
            Kind::Sinkholed => "sinkholed",
            Kind::Listed => "written on a list",
            Kind::Undone => "taken back",
            Kind::Decided => "decided",
            Kind::Observed => "nothing: it was only observed",
            Kind::Proposed => "nothing yet: it waits for a yes or no",
            Kind::Rejected => "nothing: it was not approved",
            Kind::Ended => "the decision is over",
            Kind::ActRefused => "nothing: it is not allowed",
            Kind::Repaired => "put as decided again",
            Kind::ActFailed => "nothing: the act failed",
            kind if kind.has(Group::Source) => "recorded",
            _ => return,
        };
        self.ours("done", done);
    }

    fn ids(&mut self, kind: Kind) {
        self.ours("event", &self.event.id.to_string());
        if let Some(incident) = self.event.uuid(Field::IncidentId) {
            self.ours("incident", &incident.to_string());
        }
        if let Some(decision) = self.event.uuid(Field::ResponseId).filter(|_| kind.has(Group::Act)) {
            self.ours("decision", &decision.to_string());
            if kind == Kind::Proposed {
                self.ours("to approve", &format!("trapline decisions approve {decision}"));
            }
        }
        let command = match (self.event.ip(Field::SourceIp), self.event.uuid(Field::IncidentId)) {
            (Some(ip), _) => format!("trapline events --source {ip}"),
            (None, Some(incident)) => format!("trapline events --incident {incident}"),
            (None, None) if self.event.action == Action::Other => "trapline events".to_owned(),
            (None, None) => format!("trapline events --action {}", self.event.action.name()),
        };
        self.ours("look it up", &command);
    }
}

/// What is counted about trapline itself.
const NUMBERS: &[(&str, Field)] = &[
    ("waiting", Field::SinkQueued),
    ("tried again", Field::SinkRetries),
    ("dead letters", Field::SinkDeadLetters),
    ("mistakes", Field::ConfigMistakes),
];

/// The text of a field, or its texts with commas.
fn text_of(event: &Event, field: Field) -> Option<String> {
    match event.get(field)? {
        Value::Text(text) => Some(text.to_string()),
        Value::Texts(texts) => Some(joined(texts.iter().map(SmolStr::to_string).collect(), texts.len())),
        _ => None,
    }
}

/// The first of `all` entries with commas, and a sign that there are more.
fn joined(entries: Vec<String>, all: usize) -> String {
    let shown: Vec<_> = entries.into_iter().take(SHOWN).collect();
    let more = if all > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}
