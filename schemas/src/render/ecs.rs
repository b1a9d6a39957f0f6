//! Elastic Common Schema 9.4 as one JSON object.
//!
//! Every row of the catalogue is an ECS field or stands in the one custom namespace `honeyport`, so this is the
//! catalogue written out. `host.*` is never set: it would mark the sensor as the risky host.

use std::sync::LazyLock;

use crate::derive::attack::{Attack, Techniques};
use crate::derive::{Detail, Shown, View, derived, sentence, write_sentence};
use crate::event::Action;
use crate::fields::{Field, Kind};
use crate::json;
use crate::render::nested::{Nested, put};
use crate::text::has_quote;
use crate::value::Value;

/// The version of ECS that is written.
pub(crate) const VERSION: &str = "9.4.0";

/// Room for a usual event.
const BYTES_USUAL: usize = 2560;

/// Appends the event as ECS: stored facts and derived fields, merged in catalogue order.
pub(super) fn render(view: &View<'_>, out: &mut Vec<u8>) {
    out.reserve(BYTES_USUAL);
    let mut object = Nested::new(out, view.detail);
    let mut facts = view.event.facts();
    for &field in ALONE.iter() {
        while let Some(((fact, value), rest)) = facts.split_first().filter(|((fact, _), _)| *fact <= field) {
            add_fact(view, *fact, value, &mut object);
            facts = rest;
        }
        add_derived(view, field, &mut object);
    }
    for (fact, value) in facts {
        add_fact(view, *fact, value, &mut object);
    }
    object.end();
}

fn add_fact(view: &View<'_>, field: Field, value: &Value, object: &mut Nested<'_>) {
    if view.shows(field) {
        object.fact(field, value);
    }
}

/// Adds a derived field and those that are written with it.
fn add_derived(view: &View<'_>, field: Field, object: &mut Nested<'_>) {
    match field {
        Field::Timestamp => json::time(object.open(field), view.event.at),
        Field::EcsVersion | Field::EventDataset | Field::EventProvider | Field::ObserverProduct => {
            object.open(field).extend_from_slice(constant(field));
        }
        Field::DecoyD3fend | Field::DecoyInteraction if view.is_decoy() => {
            object.open(field).extend_from_slice(constant(field));
        }
        Field::DecoyD3fend | Field::DecoyInteraction => {}
        Field::Truncated if view.detail == Detail::Whole => {}
        Field::EventOriginal | Field::PayloadCaptured | Field::PayloadPrintable | Field::PayloadTruncated
            if !view.has(Field::PayloadBase64) => {}
        Field::EventAction if is_fixed(view) => action(view.action(), object.open(field)),
        Field::EventCategory | Field::EventCode if is_fixed(view) => {}
        Field::EventKind => kind(view, object.open(field)),
        Field::Message => message(view, object.open(field)),
        Field::RuleCategory => rule(view.action(), object.open(field)),
        Field::ThreatFramework if view.attacks().is_empty() => {}
        Field::ThreatFramework => threat(view.techniques(), object.open(field)),
        Field::EventReason | Field::EventRiskScore | Field::SourceAddress | Field::DestinationAddress
            if view.has(field) => {}
        _ => {
            if let Some(value) = derived(view, field) {
                object.add(field, &value);
            }
        }
    }
}

/// What is the same in every event, with what stands after it.
const fn constant(field: Field) -> &'static [u8] {
    match field {
        Field::EcsVersion => br#""9.4.0""#,
        Field::EventDataset => br#""trapline.event""#,
        Field::EventProvider => br#""trapline""#,
        Field::DecoyD3fend => br#"["D3-CHN"],"engage":["EAC0005"]"#,
        Field::DecoyInteraction => br#""low""#,
        _ => br#""trapline","type":"sensor","vendor":"Trapline""#,
    }
}

/// The derived fields that are not written with another.
static ALONE: LazyLock<Vec<Field>> =
    LazyLock::new(|| Field::DERIVED.into_iter().filter(|field| !is_grouped(*field)).collect());

/// Whether a field is written with the one that stands before it: always there together, and never stored.
const fn is_grouped(field: Field) -> bool {
    matches!(
        field,
        Field::DecoyEngage
            | Field::EventModule
            | Field::RuleId
            | Field::RuleName
            | Field::RuleRuleset
            | Field::RuleVersion
            | Field::ObserverType
            | Field::ObserverVendor
            | Field::ThreatTacticId
            | Field::ThreatTacticName
            | Field::ThreatTechniqueId
            | Field::ThreatTechniqueName
            | Field::ThreatSubtechniqueId
            | Field::ThreatSubtechniqueName
    )
}

/// Whether action, categories and code follow from the action alone.
fn is_fixed(view: &View<'_>) -> bool {
    !matches!(view.action(), Action::Query | Action::Other)
}

/// By action: its name, categories and code.
static ACTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = |action: &Action| {
        let (name, categories) = (action.name(), action.row().categories.join(r#"",""#));
        format!(r#""{name}","category":["{categories}"],"code":"TL-{name}""#)
    };
    Action::ALL.iter().map(text).collect()
});

fn action(action: Action, out: &mut Vec<u8>) {
    out.extend_from_slice(ACTIONS[action as usize].as_bytes());
}

/// By action: its rule, from the category on.
static RULES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = |action: &Action| {
        let row = action.row();
        format!(
            r#""{}","id":"{}","name":"{}","ruleset":"trapline-builtin","version":"1""#,
            row.category, row.rule, row.name
        )
    };
    Action::ALL.iter().map(text).collect()
});

fn rule(action: Action, out: &mut Vec<u8>) {
    out.extend_from_slice(RULES[action as usize].as_bytes());
}

/// The kind, and the module that stands after it.
fn kind(view: &View<'_>, out: &mut Vec<u8>) {
    let text: &[u8] = match view.is_alert() {
        true => br#""alert","module":"trapline""#,
        false => br#""event","module":"trapline""#,
    };
    out.extend_from_slice(text);
}

/// The sentence, written in place; once more, as a text, in the rare event that it must be cut or escaped.
fn message(view: &View<'_>, out: &mut Vec<u8>) {
    let from = out.len();
    out.push(b'"');
    write_sentence(view, out);
    if view.detail >= Detail::Short || has_quote(&out[from + 1..]) {
        out.truncate(from);
        put(out, &Shown::Text(sentence(view)), Kind::Text, view.detail);
    } else {
        out.push(b'"');
    }
}

/// By list of techniques: all that is said of them, from the framework on.
static THREATS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let text = |techniques: &Techniques| {
        let mut text = Vec::new();
        write_threat(techniques.list(), &mut text);
        text
    };
    Techniques::ALL.iter().map(text).collect()
});

fn threat(techniques: Techniques, out: &mut Vec<u8>) {
    out.extend_from_slice(&THREATS[techniques as usize]);
}

fn write_threat(attacks: &[Attack], out: &mut Vec<u8>) {
    out.extend_from_slice(br#""MITRE ATT&CK","tactic":{"id":"#);
    list(out, attacks, |attack| Some(attack.tactic.id));
    out.extend_from_slice(br#","name":"#);
    list(out, attacks, |attack| Some(attack.tactic.name));
    out.extend_from_slice(br#"},"technique":{"id":"#);
    list(out, attacks, |attack| Some(attack.id));
    out.extend_from_slice(br#","name":"#);
    list(out, attacks, |attack| Some(attack.name));
    if attacks.iter().any(|attack| attack.sub.is_some()) {
        out.extend_from_slice(br#","subtechnique":{"id":"#);
        list(out, attacks, |attack| attack.sub.map(|(id, _)| id));
        out.extend_from_slice(br#","name":"#);
        list(out, attacks, |attack| attack.sub.map(|(_, name)| name));
        out.push(b'}');
    }
    out.push(b'}');
}

/// One word of each technique, every word once.
fn list(out: &mut Vec<u8>, attacks: &[Attack], word: impl Fn(&Attack) -> Option<&'static str>) {
    out.push(b'[');
    let mut begun = false;
    for (at, attack) in attacks.iter().enumerate() {
        let Some(text) = word(attack) else { continue };
        if attacks[..at].iter().any(|before| word(before) == Some(text)) {
            continue;
        }
        if begun {
            out.push(b',');
        }
        json::plain(out, text);
        begun = true;
    }
    out.push(b']');
}
