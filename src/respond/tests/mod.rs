//! What is decided, when, by what, and what never is.

mod engine;
mod kept;
mod safety;

use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::{Action, Event, Field, Timestamp, Value, ids};
use trapline_sink::set::{Scope, Spared, Target, Verb, Why};

use super::book::Book;
use super::decision::{By, Decision, Phase};
use super::engine::{Denied, Engine, Wish};
use super::history::History;
use super::rule::Rule;
use super::settings::{Mode, ResponseSettings, RuleSpec, ThresholdSpec};
use super::told::What;
use crate::roles::Touch;

const NOON: i64 = 1_772_619_330_000_000;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// So many seconds after noon.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOON + seconds * 1_000_000)
}

/// A hit over TCP from outside.
fn hit(source: &str, level: Touch, seconds: i64) -> Event {
    let mut event = Event::new(ids::fresh(at(seconds)), at(seconds), Action::Credential);
    event.set(Field::SourceIp, source.parse::<std::net::IpAddr>().unwrap());
    event.set(Field::TouchLevel, level.name());
    event.set(Field::NetworkTransport, "tcp");
    event.set(Field::SourceZone, "external");
    event.set(Field::SourceZoneInside, false);
    event.set(Field::SourceSpoofable, false);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::EventRiskScore, 65.0);
    event
}

fn with(mut event: Event, field: Field, value: impl Into<Value>) -> Event {
    event.set(field, value);
    event
}

/// The same from inside.
fn inside(event: Event) -> Event {
    with(with(event, Field::SourceZone, "inside"), Field::SourceZoneInside, true)
}

/// A rule that blocks for an hour what reaches this level.
fn rule(name: &str, level: Touch) -> RuleSpec {
    RuleSpec {
        name: name.into(),
        when: None,
        level: Some(level),
        decoys: Vec::new(),
        threshold: None,
        arm: false,
        verbs: vec![Verb::Block],
        steps: vec![HOUR],
        even_contact: false,
    }
}

fn settings(mode: Mode, rules: Vec<RuleSpec>) -> ResponseSettings {
    ResponseSettings {
        mode,
        rules,
        ..ResponseSettings::default()
    }
}

fn compiled(settings: &ResponseSettings) -> Vec<Rule> {
    settings
        .rules
        .iter()
        .map(|rule| Rule::new(rule.clone()).unwrap())
        .collect()
}

fn engine(settings: ResponseSettings) -> Engine {
    let rules = compiled(&settings);
    let (history, _) = History::restore(settings.remember, Vec::new());
    Engine::new(settings, rules, Book::default(), history)
}

fn enforcing(rules: Vec<RuleSpec>) -> Engine {
    engine(settings(Mode::Enforce, rules))
}

/// What is told because of a hit.
fn seen(engine: &mut Engine, event: &Event) -> Vec<(What, String)> {
    engine.see(event);
    told(engine)
}

fn told(engine: &mut Engine) -> Vec<(What, String)> {
    let out = engine.take();
    let each = out.told.into_iter();
    each.map(|told| {
        (
            told.what,
            told.reason.unwrap_or_else(|| told.decision.target.to_string()),
        )
    })
    .collect()
}

/// The one decision that there is.
fn only(engine: &Engine) -> &Decision {
    let mut all = engine.book().all();
    let one = all.next().unwrap();
    assert!(all.next().is_none());
    one
}

fn blocked(engine: &Engine) -> Vec<String> {
    let wanted = engine.book().wanted("firewall", Verb::Block, Scope::Both);
    let mut targets: Vec<_> = wanted.keys().map(ToString::to_string).collect();
    targets.sort();
    targets
}

fn person() -> By {
    By::Person {
        name: "alice".into(),
        uid: Some(1000),
    }
}

fn wish(target: &str) -> Wish {
    Wish {
        target: target.parse().unwrap(),
        inside: false,
        zone: "external".into(),
        verbs: vec![Verb::Block],
        ttl: HOUR,
        reason: Some("seen elsewhere".into()),
        by: person(),
    }
}

fn spare(engine: &mut Engine, networks: &[&str], now: Timestamp) {
    let rows = networks.iter().map(|network| (network.parse().unwrap(), Why::Gateway));
    engine.spare(Arc::new(Spared::new(rows)), now);
}
