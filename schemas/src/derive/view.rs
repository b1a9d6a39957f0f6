//! An event as a form sees it: facts by field at once, and without what the bound on its size forbids.

use std::cell::OnceCell;
use std::net::IpAddr;

use smol_str::SmolStr;
use uuid::Uuid;

use crate::derive::actions::{ActionRow, Subject};
use crate::derive::attack::{self, Attack, Techniques};
use crate::derive::risk::{self, Severity};
use crate::derive::state::State;
use crate::event::{Action, Event};
use crate::fields::Field;
use crate::value::Value;

/// How much of an event is shown. Each step drops more than the one before; the order is the drop order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Everything.
    Whole,
    /// Without the bytes of the payload.
    NoBytes,
    /// Also without its printable and original text.
    NoText,
    /// Also without commands.
    NoCommands,
    /// Also with long texts cut and long lists shortened.
    Short,
    /// Of all facts only those by which an event is found and judged: see [`is_core`].
    Core,
}

impl Detail {
    /// Every step, the fullest first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Whole,
        Self::NoBytes,
        Self::NoText,
        Self::NoCommands,
        Self::Short,
        Self::Core,
    ];

    /// Longest text, in characters.
    pub(crate) const fn chars_max(self) -> usize {
        match self {
            Self::Short | Self::Core => 64,
            _ => usize::MAX,
        }
    }

    /// Longest list, in items.
    pub(crate) const fn items_max(self) -> usize {
        match self {
            Self::Short | Self::Core => 8,
            _ => usize::MAX,
        }
    }
}

/// Whether a stored fact stays to the last: who touched what, what was offered, what was done, and what ids tell doubles
/// and belonging by. Each is short, so that the whole has a bound.
const fn is_core(field: Field) -> bool {
    matches!(
        field,
        Field::BootId
            | Field::CredentialAccepted
            | Field::CredentialKind
            | Field::CredentialSecret
            | Field::CredentialSecretHmac
            | Field::CredentialSecretLength
            | Field::DecoyId
            | Field::DecoyService
            | Field::DestinationAddress
            | Field::DestinationIp
            | Field::DestinationPort
            | Field::ErrorMessage
            | Field::ErrorType
            | Field::EventRiskScore
            | Field::FindingHits
            | Field::FindingId
            | Field::FindingStatus
            | Field::FtpCommand
            | Field::GapFirst
            | Field::GapLast
            | Field::HttpMethod
            | Field::IncidentId
            | Field::JournalSequence
            | Field::NetworkTransport
            | Field::ObserverName
            | Field::ResponseKind
            | Field::ResponseScope
            | Field::ResponseState
            | Field::ScanKind
            | Field::SessionId
            | Field::SampleOneIn
            | Field::SinkName
            | Field::SourceAddress
            | Field::SourceIp
            | Field::SourcePort
            | Field::SourceSpoofable
            | Field::SourceZoneInside
            | Field::TouchLevel
            | Field::TransformName
            | Field::UserName
    )
}

/// An event with its facts indexed by field.
pub(crate) struct View<'e> {
    pub(crate) event: &'e Event,
    pub(crate) detail: Detail,
    /// By field: 1 + the place of its fact, 0 if there is none.
    places: [u8; Field::COUNT],
    techniques: OnceCell<Techniques>,
}

impl<'e> View<'e> {
    pub(crate) fn new(event: &'e Event, detail: Detail) -> Self {
        let mut places = [0; Field::COUNT];
        for (place, (field, _)) in event.facts().iter().enumerate() {
            // A field is there at most once, and there are fewer than 256 of them.
            places[*field as usize] = place as u8 + 1;
        }
        Self {
            event,
            detail,
            places,
            techniques: OnceCell::new(),
        }
    }

    pub(crate) fn action(&self) -> Action {
        self.event.action
    }

    pub(crate) fn row(&self) -> &'static ActionRow {
        self.event.action.row()
    }

    /// A stored fact, also one that is not shown.
    pub(crate) fn stored(&self, field: Field) -> Option<&'e Value> {
        let place = usize::from(self.places[field as usize].checked_sub(1)?);
        self.event.facts().get(place).map(|(_, value)| value)
    }

    /// A stored fact, if it is shown.
    pub(crate) fn get(&self, field: Field) -> Option<&'e Value> {
        self.stored(field).filter(|_| self.shows(field))
    }

    /// Whether there is a fact of a field.
    pub(crate) fn has(&self, field: Field) -> bool {
        self.places[field as usize] > 0
    }

    /// Whether a fact of a field is shown at this detail.
    pub(crate) fn shows(&self, field: Field) -> bool {
        match field {
            Field::PayloadBase64 => self.detail < Detail::NoBytes,
            Field::Commands => self.detail < Detail::NoCommands,
            _ => self.detail < Detail::Core || !field.is_stored() || is_core(field),
        }
    }

    pub(crate) fn text(&self, field: Field) -> Option<&'e str> {
        match self.get(field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn int(&self, field: Field) -> Option<i64> {
        match self.get(field)? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn ip(&self, field: Field) -> Option<IpAddr> {
        match self.get(field)? {
            Value::Ip(ip) => Some(*ip),
            _ => None,
        }
    }

    pub(crate) fn id(&self, field: Field) -> Option<Uuid> {
        match self.get(field)? {
            Value::Id(id) => Some(*id),
            _ => None,
        }
    }

    pub(crate) fn is(&self, field: Field) -> bool {
        matches!(self.get(field), Some(Value::Bool(true)))
    }

    pub(crate) fn texts(&self, field: Field) -> &'e [SmolStr] {
        match self.get(field) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// The payload, also where its bytes are not shown.
    pub(crate) fn payload(&self) -> Option<&'e [u8]> {
        match self.stored(Field::PayloadBase64)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The protocol the decoy speaks; empty if no decoy was touched.
    pub(crate) fn service(&self) -> &'e str {
        self.text(Field::DecoyService).unwrap_or_default()
    }

    pub(crate) fn risk(&self) -> f64 {
        match self.get(Field::EventRiskScore) {
            Some(Value::Float(risk)) => risk.clamp(0.0, 100.0),
            _ => risk::risk(
                self.action(),
                &risk::Circumstances {
                    state: self.state(),
                    inside: self.is(Field::SourceZoneInside),
                    failed: self.failed(),
                    ..Default::default()
                },
            ),
        }
    }

    pub(crate) fn severity(&self) -> &'static Severity {
        risk::severity(self.risk())
    }

    /// Whether an act or a thing of the host failed.
    pub(crate) fn failed(&self) -> bool {
        let has_error = self.stored(Field::ErrorType).is_some() || self.stored(Field::ErrorMessage).is_some();
        has_error || self.state() == Some(State::Failed)
    }

    /// How it stands with what is done about a source; `None` of all else.
    pub(crate) fn state(&self) -> Option<State> {
        if self.row().subject != Subject::Response {
            return None;
        }
        State::find(self.text(Field::ResponseState)?)
    }

    /// Whether the event is an alert: contact that a handshake proved, of a source that is not declared harmless.
    pub(crate) fn is_alert(&self) -> bool {
        let first = self.text(Field::FindingStatus).is_none_or(|status| status == "new");
        self.row().alert && self.is_proved() && first && self.risk() > 0.0
    }

    /// Whether the source's address was proved by a handshake.
    pub(crate) fn is_proved(&self) -> bool {
        self.text(Field::NetworkTransport) != Some("udp") && !self.is(Field::SourceSpoofable)
    }

    /// Whether a peer touched a decoy that speaks something.
    pub(crate) fn is_decoy(&self) -> bool {
        self.row().subject == Subject::Contact && !self.service().is_empty()
    }

    pub(crate) fn is_upload(&self) -> bool {
        matches!(self.text(Field::FtpCommand), Some("STOR" | "APPE" | "STOU"))
            || matches!(self.text(Field::HttpMethod), Some("PUT" | "POST"))
    }

    /// The ATT&CK techniques that the event shows.
    pub(crate) fn attacks(&self) -> &'static [Attack] {
        self.techniques().list()
    }

    /// The list that [`View::attacks`] is.
    pub(crate) fn techniques(&self) -> Techniques {
        *self.techniques.get_or_init(|| self.find_techniques())
    }

    fn find_techniques(&self) -> Techniques {
        let fetches = |command: &SmolStr| {
            ["wget", "tftp", "curl", "ftpget"]
                .iter()
                .any(|tool| command.contains(tool))
        };
        let of = attack::Circumstances {
            service: self.service(),
            inside: self.is(Field::SourceZoneInside),
            key: self.text(Field::CredentialKind) == Some("key"),
            fetches: match self.stored(Field::Commands) {
                Some(Value::Texts(commands)) => commands.iter().any(fetches),
                _ => false,
            },
            upload: self.is_upload(),
        };
        attack::attacks(self.action(), of)
    }
}
