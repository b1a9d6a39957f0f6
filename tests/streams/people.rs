//! What people were told: each sink of theirs against the hits that its inputs let through.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::desk::{self, Ticket};
use crate::harness::agree;
use crate::harness::told::{self, Notice};
use crate::tables::WINDOW_SECONDS;
use crate::{Away, Row, TURNS, World, receivers};

/// The sinks that people read. A corner of the desk is told of a few sources alone: none of them is in a crowd.
const PEOPLE: &[Row] = &[
    ("slack", |_| true),
    ("mail", |_| true),
    ("teams", |_| true),
    ("pagerduty", |_| true),
    ("desk", |_| true),
    ("corner", is_of_a_few),
];

/// Those of [`PEOPLE`] that have cases.
const DESKS: [&str; 2] = ["desk", "corner"];

fn is_of_a_few(hit: &Value) -> bool {
    let last = source(hit).strip_prefix("127.0.7.").and_then(|last| last.parse().ok());
    last.is_some_and(|last: u8| last < 8)
}

fn source(hit: &Value) -> &str {
    hit["source"]["ip"].as_str().unwrap()
}

/// Equal for all that a source does on one day.
fn incident(hit: &Value) -> &str {
    hit["honeyport"]["incident"]["id"].as_str().unwrap()
}

impl World {
    /// The notices that each sink of people was sent, doubles included.
    pub fn people(&self) -> Vec<(&'static str, Vec<Notice>)> {
        let sinks = PEOPLE.iter().map(|(sink, _)| *sink);
        sinks.filter_map(|sink| Some((sink, self.notices(sink)?))).collect()
    }

    fn notices(&self, sink: &str) -> Option<Vec<Notice>> {
        let bodies = || receivers::bodies(&self.web, sink);
        Some(match sink {
            "slack" => bodies().iter().map(told::of_slack).collect(),
            "mail" => self.exim.as_ref()?.mailbox("soc").iter().map(told::of_mail).collect(),
            "teams" => bodies().iter().map(told::of_teams).collect(),
            "pagerduty" => bodies().iter().map(told::of_pager).collect(),
            desk => {
                let tickets = receivers::tickets(&self.web, desk);
                tickets.iter().flat_map(desk::texts).map(told::of_markdown).collect()
            }
        })
    }

    /// Waits until every sink of people has told of every hit in the journal that its inputs let through, and of no
    /// more; gives the journal's hits.
    pub fn people_are_told(&self) -> Vec<Value> {
        let mut hits = Vec::new();
        agree("people are told of every hit", || {
            // What was told before the hits were counted is in them.
            let told = self
                .people()
                .into_iter()
                .map(|(sink, notices)| (sink, told::in_all(notices)));
            let told: BTreeMap<_, _> = told.collect();
            hits = told::hits(&self.trap);
            let mut wanted = wanted(&hits);
            wanted.retain(|sink, _| told.contains_key(sink));
            assert!(
                told.iter().all(|(sink, told)| *told <= wanted[sink]),
                "{told:?} of {wanted:?}"
            );
            (told, wanted)
        });
        hits
    }

    /// Each incident has one case, which is open and as grave as it gets, and what is told there adds up to what its
    /// source did. What is told of a crowd is a case of its own.
    pub fn cases_are_one_per_incident(&self, hits: &[Value]) {
        let incidents: BTreeSet<_> = hits.iter().map(incident).collect();
        for desk in DESKS {
            let tickets = receivers::tickets(&self.web, desk);
            let references: BTreeSet<_> = tickets.iter().map(|ticket| ticket.reference.as_str()).collect();
            assert_eq!(references.len(), tickets.len(), "`{desk}` has two cases of one matter");
            for ticket in &tickets {
                assert!(
                    ticket.id.starts_with('~') && !ticket.closed,
                    "`{desk}` has no open case: {ticket:?}"
                );
                match incidents.contains(ticket.reference.as_str()) {
                    true => assert_eq!(ticket.severity, "3", "`{desk}`: {ticket:?}"),
                    false => assert_eq!(events(ticket), [ticket.reference.as_str()], "`{desk}`: {ticket:?}"),
                }
            }
        }
        let (told, there) = (self.told_in_the_corner(), sources(hits));
        assert!(
            !told.is_empty() && told.iter().all(|(source, told)| there[source] == *told),
            "{told:?} of {there:?}"
        );
    }

    /// How many hits the cases in the corner tell of, by source.
    fn told_in_the_corner(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for ticket in receivers::tickets(&self.web, "corner") {
            let source = desk::source(&ticket).unwrap_or_else(|| panic!("a crowd: {ticket:?}"));
            *told.entry(source.to_owned()).or_default() += told::in_all(desk::texts(&ticket).map(told::of_markdown));
        }
        told
    }

    /// What is triggered belongs to the alert of its incident; of a crowd, to one of its own. Nothing is resolved.
    pub fn alerts_are_one_per_incident(&self, hits: &[Value]) {
        let incidents: BTreeSet<_> = hits.iter().map(incident).collect();
        for alert in receivers::bodies(&self.web, "pagerduty") {
            let (event, details) = (told::of_pager(&alert).0, &alert["payload"]["custom_details"]);
            let matter = details["incident"].as_str().unwrap_or(&event);
            assert!(matter == event || incidents.contains(matter), "{alert}");
            assert!(
                alert["event_action"] == "trigger" && alert["dedup_key"] == matter,
                "{alert}"
            );
        }
    }

    /// Where trapline was killed before it heard that a notice was taken, the notice came again: the kills were in time.
    pub fn who_was_told_last_is_told_again(&self) {
        for (sink, notices) in self.people() {
            let is_deadly = TURNS
                .iter()
                .any(|turn| matches!(turn, Away::Trapline(told) if *told == sink));
            let sent = notices.len();
            assert!(
                !is_deadly || sent > told::once(notices).len(),
                "`{sink}` was told nothing twice"
            );
        }
    }

    /// A line for each sink of people.
    pub fn summary(&self, hits: &[Value]) {
        let wanted = wanted(hits);
        for (sink, notices) in self.people() {
            let (sent, once) = (notices.len(), told::once(notices));
            let (told, wanted): (usize, _) = (once.values().sum(), wanted[sink]);
            let cases = if DESKS.contains(&sink) {
                self.cases(sink)
            } else {
                String::new()
            };
            println!(
                "{sink}: {told} of {wanted} hits in {} notices, {sent} sent{cases}",
                once.len()
            );
        }
    }

    fn cases(&self, desk: &str) -> String {
        let tickets = receivers::tickets(&self.web, desk);
        let own = tickets.iter().filter(|ticket| desk::source(ticket).is_some()).count();
        format!(", {own} cases of sources, {} of crowds", tickets.len() - own)
    }

    /// A source in a window is told of at most three times: that it meant it, that it left proof, and all else.
    pub fn notices_are_a_handful(&self, hits: &[Value]) {
        let windows: BTreeSet<_> = hits.iter().map(window).collect();
        for (sink, notices) in self.people() {
            // What is recorded late counts in a later window.
            let (told, most) = (told::once(notices).len(), 3 * (windows.len() + 2));
            assert!(
                told <= most && told < hits.len() / 100,
                "`{sink}`: {told} notices in {windows:?}"
            );
        }
    }
}

/// The window that a hit is in: so many seconds of its minute.
fn window(hit: &Value) -> (&str, u64) {
    let at = hit["@timestamp"].as_str().unwrap();
    let (minute, seconds) = at.split_at("2026-01-01T00:00:".len());
    let seconds: u64 = seconds.get(..2).and_then(|seconds| seconds.parse().ok()).unwrap();
    (minute, seconds / WINDOW_SECONDS)
}

/// How many hits each sink of people is to tell of.
fn wanted(hits: &[Value]) -> BTreeMap<&'static str, usize> {
    let count = |lets_through: fn(&Value) -> bool| hits.iter().filter(|hit| lets_through(hit)).count();
    PEOPLE
        .iter()
        .map(|(sink, lets_through)| (*sink, count(*lets_through)))
        .collect()
}

/// How many hits there are of each source.
fn sources(hits: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    hits.iter()
        .for_each(|hit| *counts.entry(source(hit).to_owned()).or_default() += 1);
    counts
}

/// The events that a case is told of.
fn events(ticket: &Ticket) -> Vec<String> {
    told::once(desk::texts(ticket).map(told::of_markdown))
        .into_keys()
        .collect()
}
