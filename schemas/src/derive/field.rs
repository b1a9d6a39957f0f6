//! Any catalogue field of an event: stored, or derived here.

use std::net::IpAddr;

use smol_str::SmolStr;
use uuid::Uuid;

use crate::derive::message;
use crate::derive::view::{Detail, View};
use crate::event::{Action, Event};
use crate::fields::Field;
use crate::text::printable;
use crate::value::{Timestamp, Value};

/// A value on its way into a form: borrowed or static wherever it can be.
pub(crate) enum Shown<'e> {
    Fact(&'e Value),
    Str(&'e str),
    /// Our own words, which need no escape.
    Word(&'static str),
    Words(&'static [&'static str]),
    Few(Few<&'e str>),
    Ips(Few<IpAddr>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// An address in a field of texts.
    IpText(IpAddr),
    Time(Timestamp),
    Id(Uuid),
    Text(String),
}

/// Up to five different values, in order of appearance.
pub(crate) struct Few<T> {
    items: [Option<T>; 5],
}

impl<T: Copy + PartialEq> Few<T> {
    pub(crate) fn of<const N: usize>(candidates: [Option<T>; N]) -> Self {
        let mut items = [None; 5];
        let mut free = items.iter_mut();
        let mut taken: [Option<T>; N] = [None; N];
        for (at, item) in candidates.into_iter().enumerate() {
            if item.is_some() && !taken.contains(&item) {
                taken[at] = item;
                if let Some(slot) = free.next() {
                    *slot = item;
                }
            }
        }
        Self { items }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.items.iter().copied().flatten()
    }

    fn some(self) -> Option<Self> {
        self.items[0].is_some().then_some(self)
    }
}

impl Event {
    /// Any catalogue field, stored or derived; `None` if the event has none.
    pub fn resolve(&self, field: Field) -> Option<Value> {
        if let Some(value) = self.get(field) {
            return Some(value.clone());
        }
        shown(&View::new(self, Detail::Whole), field).map(Shown::into_value)
    }

    /// The event's severity, from its risk.
    pub fn severity(&self) -> &'static crate::derive::risk::Severity {
        View::new(self, Detail::Whole).severity()
    }
}

impl Shown<'_> {
    fn into_value(self) -> Value {
        match self {
            Self::Fact(value) => value.clone(),
            Self::Str(text) => Value::Text(SmolStr::new(text)),
            Self::Word(word) => Value::Text(SmolStr::new_static(word)),
            Self::Words(words) => Value::Texts(words.iter().map(|word| SmolStr::new_static(word)).collect()),
            Self::Few(few) => Value::Texts(few.iter().map(SmolStr::new).collect()),
            Self::Ips(few) => Value::Ips(few.iter().collect()),
            Self::Int(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
            Self::Bool(yes) => Value::Bool(yes),
            Self::IpText(ip) => Value::Text(SmolStr::from(ip.to_string())),
            Self::Time(at) => Value::Time(at),
            Self::Id(id) => Value::Id(id),
            Self::Text(text) => Value::Text(SmolStr::from(text)),
        }
    }
}

/// A field as the view shows it: the fact, else what is derived.
pub(crate) fn shown<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    match view.get(field) {
        Some(value) => Some(Shown::Fact(value)),
        None => derived(view, field),
    }
}

/// A field that is not stored, from those that are.
pub(crate) fn derived<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    match field {
        Field::Timestamp => Some(Shown::Time(view.event.at)),
        Field::EcsVersion => Some(Shown::Word(crate::render::ECS_VERSION)),
        Field::Message => Some(Shown::Text(message::sentence(view))),
        Field::Truncated => (view.detail > Detail::Whole).then_some(Shown::Bool(true)),
        Field::EventAction
        | Field::EventCategory
        | Field::EventCode
        | Field::EventDataset
        | Field::EventId
        | Field::EventKind
        | Field::EventModule
        | Field::EventOriginal
        | Field::EventOutcome
        | Field::EventProvider
        | Field::EventReason
        | Field::EventRiskScore
        | Field::EventSeverity
        | Field::EventType => event(view, field),
        Field::DestinationAddress | Field::DestinationDomain | Field::SourceAddress => endpoint(view, field),
        Field::DecoyD3fend | Field::DecoyEngage | Field::DecoyInteraction => decoy(view, field),
        Field::PayloadCaptured | Field::PayloadPrintable | Field::PayloadTruncated => payload(view, field),
        Field::NetworkDirection | Field::NetworkIana | Field::NetworkProtocol | Field::NetworkType => {
            network(view, field)
        }
        Field::ObserverIp => Some(Shown::Ips(Few::of([view.ip(Field::DestinationIp)]).some()?)),
        Field::ObserverProduct => Some(Shown::Word("trapline")),
        Field::ObserverType => Some(Shown::Word("sensor")),
        Field::ObserverVendor => Some(Shown::Word("Trapline")),
        Field::RelatedHash | Field::RelatedHosts | Field::RelatedIp | Field::RelatedUser => related(view, field),
        Field::RuleCategory => Some(Shown::Word(view.row().category)),
        Field::RuleId => Some(Shown::Word(view.row().rule)),
        Field::RuleName => Some(Shown::Word(view.row().name)),
        Field::RuleRuleset => Some(Shown::Word("trapline-builtin")),
        Field::RuleVersion => Some(Shown::Word("1")),
        Field::ThreatFramework
        | Field::ThreatTacticId
        | Field::ThreatTacticName
        | Field::ThreatTechniqueId
        | Field::ThreatTechniqueName
        | Field::ThreatSubtechniqueId
        | Field::ThreatSubtechniqueName => threat(view, field),
        _ => None,
    }
}

fn event<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    let row = view.row();
    Some(match field {
        Field::EventReason => Shown::Fact(view.get(Field::ResponseReason)?),
        Field::EventAction => Shown::Str(view.event.action_name()),
        Field::EventCategory if is_query_of_datastore(view) => Shown::Words(&["database", "network"]),
        Field::EventCategory => Shown::Words(row.categories),
        Field::EventCode => Shown::Text(["TL-", view.event.action_name()].concat()),
        Field::EventDataset => Shown::Word("trapline.event"),
        Field::EventId => Shown::Id(view.event.id),
        Field::EventKind => Shown::Word(if view.is_alert() { "alert" } else { "event" }),
        Field::EventModule | Field::EventProvider => Shown::Word("trapline"),
        Field::EventOriginal => Shown::Text(printable(text_payload(view)?)),
        Field::EventOutcome => Shown::Word(outcome(view)?),
        Field::EventRiskScore => Shown::Float(view.risk()),
        Field::EventSeverity => Shown::Int(view.severity().ecs),
        Field::EventType if is_query_of_datastore(view) => Shown::Words(&["access", "info"]),
        Field::EventType if row.rule == Action::File.row().rule && view.is_upload() => {
            Shown::Words(&["creation", "info"])
        }
        Field::EventType => Shown::Words(row.types),
        _ => return None,
    })
}

/// `failure` of refused logins and failed acts, `unknown` of what was only said, `success` of the others; contact alone
/// has none.
fn outcome(view: &View<'_>) -> Option<&'static str> {
    match view.row().outcome {
        "" => None,
        _ if view.failed() => Some("failure"),
        outcome => Some(view.state().map_or(outcome, |state| state.row().outcome)),
    }
}

fn is_query_of_datastore(view: &View<'_>) -> bool {
    view.action() == Action::Query && is_datastore(view.service())
}

/// Whether a service is a database.
pub(crate) fn is_datastore(service: &str) -> bool {
    matches!(
        service,
        "redis" | "mysql" | "mssql" | "postgresql" | "postgres" | "mongodb" | "mongo" | "memcached" | "elasticsearch"
    )
}

fn endpoint<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    Some(match field {
        Field::SourceAddress => Shown::IpText(view.ip(Field::SourceIp)?),
        Field::DestinationAddress => Shown::IpText(view.ip(Field::DestinationIp)?),
        _ => Shown::Str(destination_name(view)?),
    })
}

/// The sensor's name, as that of the host that was touched.
fn destination_name<'e>(view: &View<'e>) -> Option<&'e str> {
    view.ip(Field::DestinationIp)?;
    view.text(Field::ObserverHostname)
}

fn decoy<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    if !view.is_decoy() {
        return None;
    }
    Some(match field {
        Field::DecoyD3fend => Shown::Words(&["D3-CHN"]),
        Field::DecoyEngage => Shown::Words(&["EAC0005"]),
        _ => Shown::Word("low"),
    })
}

fn payload<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    let bytes = view.payload()?;
    let captured = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    Some(match field {
        Field::PayloadCaptured => Shown::Int(captured),
        Field::PayloadTruncated => Shown::Bool(view.int(Field::PayloadSize).is_some_and(|size| size > captured)),
        _ if view.detail >= Detail::NoText => return None,
        _ => Shown::Text(printable(bytes)),
    })
}

/// The payload, if it is text and shown as such.
fn text_payload<'e>(view: &View<'e>) -> Option<&'e [u8]> {
    view.payload()
        .filter(|bytes| view.detail < Detail::NoText && is_text(bytes))
}

/// Whether bytes are text to a person: not empty, and at most one in eight is neither printable nor an end of line.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let other = |byte: &&u8| !matches!(byte, 0x20..=0x7e | b'\r' | b'\n' | b'\t');
    !bytes.is_empty() && bytes.iter().filter(other).count() * 8 <= bytes.len()
}

fn network<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    let word = match field {
        Field::NetworkDirection => {
            view.ip(Field::SourceIp)?;
            if view.is(Field::SourceZoneInside) {
                "internal"
            } else {
                "inbound"
            }
        }
        Field::NetworkIana => match view.text(Field::NetworkTransport)? {
            "tcp" => "6",
            "udp" => "17",
            _ => return None,
        },
        Field::NetworkType => match view.ip(Field::SourceIp)? {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        },
        _ => return spoken(view).map(Shown::Str),
    };
    Some(Shown::Word(word))
}

/// The protocol, once the peer spoke it: an accepted connection alone says nothing.
pub(crate) fn spoken<'e>(view: &View<'e>) -> Option<&'e str> {
    let spoke = matches!(
        view.action(),
        Action::UdpProbe
            | Action::Handshake
            | Action::Credential
            | Action::Ntlm
            | Action::Payload
            | Action::Query
            | Action::File
    );
    let service = view.service();
    (spoke && !matches!(service, "" | "tcp" | "udp" | "auto")).then_some(service)
}

fn related<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    match field {
        Field::RelatedIp if view.has(Field::DigestSources) => {
            return view.get(Field::DigestSources).map(Shown::Fact);
        }
        Field::RelatedUser if view.has(Field::DigestUsers) => return view.get(Field::DigestUsers).map(Shown::Fact),
        Field::RelatedIp => {
            let few = Few::of([view.ip(Field::SourceIp), view.ip(Field::DestinationIp)]);
            return few.some().map(Shown::Ips);
        }
        Field::RelatedUser => Few::of([view.text(Field::UserName).filter(|name| !name.is_empty())]),
        Field::RelatedHosts => Few::of(hosts(view)),
        _ => Few::of(
            [
                Field::FileHashSha256,
                Field::PayloadSha256,
                Field::SshHassh,
                Field::TlsJa3,
                Field::NtlmResponseSha256,
            ]
            .map(|hash| view.text(hash)),
        ),
    }
    .some()
    .map(Shown::Few)
}

/// Host names in the event: touched, and as the peer calls itself.
pub(crate) fn hosts<'e>(view: &View<'e>) -> [Option<&'e str>; 4] {
    [
        destination_name(view),
        view.text(Field::SourceDomain),
        view.text(Field::NtlmWorkstation),
        view.text(Field::TlsServerName),
    ]
}

fn threat<'e>(view: &View<'e>, field: Field) -> Option<Shown<'e>> {
    let attacks = view.attacks();
    let first = attacks.first()?;
    if field == Field::ThreatFramework {
        return Some(Shown::Word("MITRE ATT&CK"));
    }
    let pick = |attack: &'static crate::derive::attack::Attack| match field {
        Field::ThreatTacticId => Some(attack.tactic.id),
        Field::ThreatTacticName => Some(attack.tactic.name),
        Field::ThreatTechniqueId => Some(attack.id),
        Field::ThreatTechniqueName => Some(attack.name),
        Field::ThreatSubtechniqueId => attack.sub.map(|(id, _)| id),
        _ => attack.sub.map(|(_, name)| name),
    };
    let few = Few::of([
        pick(first),
        attacks.get(1).and_then(pick),
        attacks.get(2).and_then(pick),
    ]);
    few.some().map(Shown::Few)
}
