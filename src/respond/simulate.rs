//! What rules would have done, had they been in force: a replay of recorded hits through an engine of its own.

use serde::Serialize;
use trapline_schemas::{Event, Field, Timestamp};
use trapline_sink::set::Spared;

use super::book::Book;
use super::decision::Decision;
use super::engine::Engine;
use super::history::History;
use super::rule::Rule;
use super::settings::{Mode, ResponseSettings};
use super::told::What;
use crate::control::decisions::moment;

/// One thing that would have been done; the stable form of `response simulate --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Would {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Whom.
    pub target: String,
    /// `decided`, `extended` or `refused`.
    pub what: &'static str,
    /// By which rule.
    pub rule: String,
    /// What.
    pub verbs: Vec<&'static str>,
    /// For how long, seconds.
    pub ttl_seconds: u64,
    /// Which step of an escalation, from 1.
    pub step: u32,
    /// Until when; nothing of what is refused.
    pub until: Option<String>,
    /// The event that would have caused it.
    pub cause: Option<uuid::Uuid>,
    /// What that was: its action and decoy.
    pub because: String,
    /// Why it would have been refused.
    pub refused: Option<String>,
}

/// Hits that were looked at, and what became of their sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sum {
    /// Events that were looked at.
    pub events: u64,
    /// Decisions that would have been made.
    pub decisions: u64,
    /// Different sources that would have been acted on.
    pub sources: u64,
    /// What safety would have refused.
    pub refused: u64,
    /// Hits of sources that would have been shut out by then: with a firewall they would not have come.
    pub spared_hits: u64,
}

/// Rules, tried on what was recorded.
#[derive(Debug)]
pub struct Simulation {
    engine: Engine,
    sources: std::collections::BTreeSet<String>,
    sum: Sum,
}

impl Simulation {
    /// Rules as configured, in force from the first event on.
    pub fn new(settings: ResponseSettings, rules: Vec<Rule>, spared: Spared) -> Self {
        let (history, _) = History::restore(settings.remember, Vec::new());
        let in_force = ResponseSettings {
            mode: Mode::Enforce,
            ..settings
        };
        let mut engine = Engine::new(in_force, rules, Book::default(), history);
        engine.spare(std::sync::Arc::new(spared), Timestamp::default());
        Self {
            engine,
            sources: std::collections::BTreeSet::new(),
            sum: Sum::default(),
        }
    }

    /// The next event. Out: what would have been done.
    pub fn see(&mut self, event: &Event) -> Vec<Would> {
        self.engine.pass(event.at);
        self.sum.events += 1;
        let before = self.blocked(event);
        self.engine.see(event);
        self.sum.spared_hits += u64::from(before);
        let out = self.engine.take();
        let because = because(event);
        let mut would = Vec::new();
        for told in out.told {
            let Some(what) = word(told.what) else { continue };
            self.count(&told.decision, told.what);
            would.push(Would {
                at: moment(told.at),
                target: told.decision.target.to_string(),
                what,
                rule: told.decision.by.shown().to_string(),
                verbs: told.decision.verbs.iter().map(|verb| verb.name()).collect(),
                ttl_seconds: told.decision.ttl.as_secs(),
                step: told.decision.step(),
                until: (told.what != What::Refused).then(|| moment(told.decision.until)),
                cause: told.decision.cause,
                because: because.clone(),
                refused: told.reason.filter(|_| told.what == What::Refused),
            });
        }
        would
    }

    /// What it came to.
    pub fn sum(&self) -> Sum {
        Sum {
            sources: u64::try_from(self.sources.len()).unwrap_or(u64::MAX),
            ..self.sum
        }
    }

    fn count(&mut self, decision: &Decision, what: What) {
        match what {
            What::Refused => self.sum.refused += 1,
            What::Decided => {
                self.sum.decisions += 1;
                self.sources.insert(decision.target.to_string());
            }
            _ => {}
        }
    }

    /// Whether the source would have been shut out already, and by something else than this very contact.
    fn blocked(&self, event: &Event) -> bool {
        use trapline_sink::set::Verb;
        let Some(source) = event.ip(Field::SourceIp) else {
            return false;
        };
        let mut all = self.engine.book().all();
        all.any(|decision| {
            decision.target.contains(source) && decision.verbs.contains(&Verb::Block) && decision.touched < event.at
        })
    }
}

/// A contact, in few words.
fn because(event: &Event) -> String {
    match event.text(Field::DecoyId) {
        Some(decoy) => format!("{} at {decoy}", event.action_name()),
        None => event.action_name().to_owned(),
    }
}

const fn word(what: What) -> Option<&'static str> {
    match what {
        What::Decided => Some("decided"),
        What::Extended => Some("extended"),
        What::Refused => Some("refused"),
        _ => None,
    }
}
