//! Whether a template would do: known variables, good syntax, and, for events with little, usual and much to tell, a
//! text of a bounded length.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use minijinja::{ErrorKind, Template, Value};
use smol_str::SmolStr;
use trapline_schemas::{Action, ENFORCEMENT, Event, Field, Timestamp};
use uuid::Uuid;

use super::{Book, FILTERS, TEMPLATE_BYTES_MAX, said};
use crate::kind::Kind;
use crate::safe;
use crate::scope::{scope, variables};

/// What is wrong with a template.
pub(super) struct Found {
    pub(super) found: String,
    pub(super) allowed: String,
    /// Where in the template: a byte, or the first place of a word.
    at: At,
}

enum At {
    Byte(usize),
    Word(String),
}

impl Found {
    fn new(found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            allowed: allowed.into(),
            at: At::Byte(0),
        }
    }

    /// Where it is in the template as it is written, quotes and all; the first byte if that cannot be told.
    pub(super) fn offset(&self, written: &str) -> usize {
        let quotes = match written.get(..3) {
            Some("\"\"\"" | "'''") => 3,
            _ => 1,
        };
        let line_end = written.get(quotes..).map_or(0, |rest| match rest.as_bytes() {
            [b'\r', b'\n', ..] if quotes == 3 => 2,
            [b'\n', ..] if quotes == 3 => 1,
            _ => 0,
        });
        match &self.at {
            At::Word(word) => written.find(word.as_str()).unwrap_or(0),
            // With an escape before it a byte of the text is not that byte of the file.
            At::Byte(at) if *at > 0 && !written.contains('\\') => quotes + line_end + at,
            At::Byte(_) => 0,
        }
    }
}

/// Tries a template out.
pub(super) fn template(book: &Book, kind: Kind, text: &str, chars_max: usize) -> Result<(), Found> {
    if text.len() > TEMPLATE_BYTES_MAX {
        let found = format!("a template of {} bytes", text.len());
        return Err(Found::new(found, format!("at most {TEMPLATE_BYTES_MAX}")));
    }
    if let Some(hidden) = text
        .chars()
        .find(|ch| trapline_schemas::text::hidden(*ch) && !"\r\n\t".contains(*ch))
    {
        let found = format!("a character that is not seen, U+{:04X}", u32::from(hidden));
        return Err(Found::new(found, "what a reader can see"));
    }
    let parsed = book.env.template_from_str(text).map_err(|error| wrong(&error))?;
    known(kind, &parsed)?;
    for (scope, is_usual) in samples(kind) {
        let said = said(&parsed, scope).map_err(|error| wrong(&error))?;
        fits(&said, *is_usual, chars_max)?;
    }
    Ok(())
}

/// Whether a template names only variables of its kind.
fn known(kind: Kind, parsed: &Template<'_, '_>) -> Result<(), Found> {
    let mut names: Vec<_> = parsed.undeclared_variables(false).into_iter().collect();
    names.sort();
    let unknown = names
        .into_iter()
        .find(|name| variables(kind).all(|known| known.name != name));
    match unknown {
        None => Ok(()),
        Some(name) => {
            let found = format!("`{}` has no variable `{}`", kind.name(), safe::line(&name, 60));
            let allowed = variables(kind).map(|known| known.name).collect::<Vec<_>>().join(", ");
            Err(Found {
                at: At::Word(name),
                ..Found::new(found, allowed)
            })
        }
    }
}

fn fits(said: &str, is_usual: bool, chars_max: usize) -> Result<(), Found> {
    let chars = said.chars().count();
    match chars {
        0 => Err(Found::new("nothing is said", "a sentence")),
        _ if is_usual && chars > chars_max => {
            let found = format!("{chars} characters for a usual event");
            Err(Found::new(found, format!("at most {chars_max}")))
        }
        _ => Ok(()),
    }
}

/// What the template engine says, in our form.
fn wrong(error: &minijinja::Error) -> Found {
    let detail = error.detail().unwrap_or_default();
    let allowed = match error.kind() {
        ErrorKind::UnknownFilter => format!("the filters {FILTERS}"),
        ErrorKind::OutOfFuel => format!("at most {} steps", super::FUEL),
        _ => format!("{{{{ variable }}}}, {{% if variable %}}…{{% else %}}…{{% endif %}}, filters: {FILTERS}"),
    };
    Found {
        at: At::Byte(error.range().map_or(0, |range| range.start)),
        ..Found::new(
            format!("{}: {detail}", error.kind()).trim_end_matches([':', ' ']),
            allowed,
        )
    }
}

/// Values to try a template with, and whether they are such as most events have: of events with little, usual and much
/// to tell.
fn samples(kind: Kind) -> &'static [(Value, bool)] {
    static SAMPLES: LazyLock<BTreeMap<Kind, [(Value, bool); 3]>> = LazyLock::new(|| {
        let events = [
            (empty(Action::Connect), "", false),
            (usual(), "net-team@example.org", true),
            (much(), "", true),
        ];
        let of = |kind| {
            events
                .each_ref()
                .map(|(event, contact, is_usual)| (scope(kind, event, contact), *is_usual))
        };
        Kind::ALL.iter().map(|kind| (*kind, of(*kind))).collect()
    });
    SAMPLES.get(&kind).map_or(&[], |samples| samples)
}

fn empty(action: Action) -> Event {
    Event::new(Uuid::nil(), Timestamp::default(), action)
}

fn usual() -> Event {
    let mut event = empty(Action::Credential);
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 77]));
    event.set(Field::SourceZoneInside, true);
    for (field, word) in [
        (Field::ObserverName, "lure-dmz-01"),
        (Field::Site, "lyon"),
        (Field::DecoyId, "postgresql"),
        (Field::DecoyService, "postgresql"),
        (Field::CredentialKind, "password"),
        (Field::UserName, "root"),
        (Field::SinkName, "siem"),
        (Field::ResponseTarget, "firewall"),
        (Field::ResponseBy, "alice"),
        (Field::ResponseRule, "credentials"),
        (Field::ErrorType, "site key"),
        (Field::TouchLevel, "proof"),
    ] {
        event.set(field, word);
    }
    for (field, number) in [
        (Field::DestinationPort, 5432),
        (Field::EventSequence, 1),
        (Field::FindingHits, 1),
        (Field::SinkQueued, 1),
        (Field::ConfigMistakes, 1),
        (Field::ResponseTtl, 5400),
        (Field::ResponseUid, 1000),
        (Field::ResponseRepaired, 1),
        (Field::EventDuration, 900_000_000_000_i64),
    ] {
        event.set(field, number);
    }
    event.set(Field::ResponseExpires, Timestamp::from_micros(1_772_622_931_123_456));
    event.set(Field::ResponseId, Uuid::from_u128(7));
    event
}

fn much() -> Event {
    let mut event = empty(Action::Digest);
    event.set(Field::CredentialAccepted, true);
    event.set(Field::SourceSpoofable, true);
    event.set(Field::SourceSharedAddress, true);
    event.set(Field::ObserverName, "lure-dmz-01");
    event.set(Field::SinkName, "siem");
    event.set(Field::DigestActions, vec![SmolStr::new("decoy-credential=380")]);
    event.set(Field::TouchLevel, "proof");
    event.set(Field::ReleaseBy, ENFORCEMENT);
    event.set(Field::ResponseId, Uuid::from_u128(7));
    event.set(Field::ResponseNetwork, "2001:db8:7777:8888::/64");
    event.set(
        Field::ResponseVerbs,
        ["block", "sinkhole", "tag", "list"].map(SmolStr::new).to_vec(),
    );
    let services = ["postgresql", "mongodb", "telnet", "winrm", "https"];
    event.set(Field::ReleaseServices, services.map(SmolStr::new).to_vec());
    for (field, number) in [
        (Field::DigestSourceCount, 77),
        (Field::DigestPassed, 1),
        (Field::DigestUserCount, 12_345),
        (Field::FindingHits, 1_234_567),
        (Field::ScanDecoyCount, 77),
        (Field::ScanPortCount, 77),
        (Field::SinkQueued, 1_234_567),
        (Field::ConfigMistakes, 77),
        (Field::ResponseTtl, 604_800),
        (Field::ResponseRepaired, 1_234_567),
        (Field::EventDuration, 86_400_000_000_000_i64),
    ] {
        event.set(field, number);
    }
    event
}
