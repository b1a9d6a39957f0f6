//! The canonical event: an id, a time, an action, and facts by catalogue field.
//!
//! Every form (ECS, OCSF, CEF, LEEF, text, journal body) is made from this one, never one form from another.

use std::net::IpAddr;

use smol_str::SmolStr;
use uuid::Uuid;

use crate::fields::Field;
use crate::value::{Timestamp, Value};

macro_rules! actions {
    ($($action:ident = $name:literal, $doc:literal;)*) => {
        /// What happened. The name is stable: it is in journals, rules and receivers' searches.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $(#[doc = $doc] $action,)* }

        impl Action {
            /// Every action, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// The stable name, `event.action`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$action => $name,)* }
            }
        }
    };
}

actions! {
    Connect = "decoy-connect", "A TCP connection was accepted.";
    UdpProbe = "decoy-udp-probe", "A datagram came, or several within the bound that is counted as one.";
    Handshake = "decoy-handshake", "The peer's protocol identity is known.";
    Credential = "decoy-credential", "A credential was offered.";
    Ntlm = "decoy-ntlm", "An NTLM response was captured.";
    Payload = "decoy-payload", "The bytes a session sent.";
    Query = "decoy-query", "A query, statement or command.";
    File = "decoy-file", "A file was offered or asked for.";
    Scan = "decoy-scan", "A finding over several ports or decoys.";
    SessionEnd = "session-end", "A session ended.";
    SourceFolded = "source-folded", "Hits of one source beyond its rate, as a count.";
    HeldBack = "held-back", "How many events a throttle or dedupe window held back.";
    Digest = "digest", "What came together in an aggregate window.";
    IncidentClosed = "incident-closed", "An incident is over: its source has been quiet, and nothing is done about it any more.";
    NoticeReleased = "notice-released", "A person, or enforcement, let the owner of a source be written to about an incident.";
    Block = "block-ip", "A source was shut out.";
    Unblock = "unblock-ip", "A source was let in again.";
    Tag = "tag-host", "A host was tagged.";
    Sinkhole = "sinkhole-add", "A source was sinkholed in DNS.";
    Untag = "untag-host", "A host's tag was taken off.";
    Unsinkhole = "sinkhole-remove", "A source was sinkholed in DNS no longer.";
    List = "list-add", "A source was written on a list that others read.";
    Unlist = "list-remove", "A source was taken off such a list.";
    Decided = "response-decided", "Something was decided about a source, or about such a decision; its state says what.";
    Repaired = "response-repaired", "Others had changed what was done about sources; it is as decided again.";
    SinkFailed = "sink-failed", "A sink failed.";
    SinkRecovered = "sink-recovered", "A sink works again.";
    ListenerStarted = "listener-started", "A decoy listens.";
    ListenerStopped = "listener-stopped", "A decoy stopped listening.";
    ListenerFailed = "listener-failed", "A decoy could not listen.";
    SensorStarted = "sensor-started", "trapline started.";
    SensorStopped = "sensor-stopped", "trapline stopped.";
    ConfigReloaded = "config-reloaded", "A configuration was read again and put in force.";
    ConfigRefused = "config-refused", "A configuration was read again and refused; the one before stays in force.";
    JournalGap = "journal-gap", "Events are missing: lost or trimmed before a sink had them, or datagrams that the kernel dropped.";
    ChainHead = "chain-head", "Head hash of the journal's chain.";
    ChainBreak = "chain-break", "The journal's chain was broken and goes on from here.";
    Recovered = "recovered", "State found at start was adopted.";
    HostAlarm = "host-alarm", "Something of this host is not as it was: its clock, its site key, its state folder.";
    Canary = "canary", "Trapline tries the way through its journal to its sinks: nobody touched anything.";
    Other = "other", "Something that only a newer version knows; its name is kept, see [`Event::action_name`].";
}

impl Action {
    /// Whether it is what somebody did at a decoy.
    pub const fn is_touch(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::UdpProbe
                | Self::Handshake
                | Self::Credential
                | Self::Ntlm
                | Self::Payload
                | Self::Query
                | Self::File
                | Self::SessionEnd
        )
    }

    /// Whether it is something that was done about a source, or undone, at one place.
    pub const fn is_act(self) -> bool {
        self.is_act_on() || self.is_act_off()
    }

    /// Whether it is something that is done about a source for a time.
    pub const fn is_act_on(self) -> bool {
        matches!(self, Self::Block | Self::Tag | Self::Sinkhole | Self::List)
    }

    /// Whether it is the end of such a thing.
    pub const fn is_act_off(self) -> bool {
        matches!(self, Self::Unblock | Self::Untag | Self::Unsinkhole | Self::Unlist)
    }

    /// Finds an action by its stable name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}

/// In `honeyport.release.by`, who lets the owner of a source be written to because something was done about it.
pub const ENFORCEMENT: &str = "enforcement";

/// One finished record.
///
/// Invariants: facts are sorted by field, each at most once, only of fields that are stored; texts hide nothing
/// ([`crate::text`]); addresses are canonical; floats are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id for ever.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub action: Action,
    facts: Vec<(Field, Value)>,
    /// Fields of a newer version, kept as they were read: name and JSON text of the value.
    unknown: Vec<(String, Box<str>)>,
    /// The name of an action of a newer version; then `action` is [`Action::Other`].
    other_action: Option<SmolStr>,
}

/// Facts that fit the room made at first: a connect's and a few more, within the kibibyte up to which glibc hands out
/// memory from the thread's own cache.
const FACTS: usize = 1024 / size_of::<(Field, Value)>();

impl Event {
    /// Makes an event without facts.
    pub fn new(id: Uuid, at: Timestamp, action: Action) -> Self {
        Self {
            id,
            at,
            action,
            facts: Vec::with_capacity(FACTS),
            unknown: Vec::new(),
            other_action: None,
        }
    }

    /// The action's stable name, also that of an action which only a newer version knows.
    pub fn action_name(&self) -> &str {
        match (&self.other_action, self.action) {
            (Some(name), Action::Other) => name,
            (_, action) => action.name(),
        }
    }

    /// Takes an action by name; one that this version does not know becomes [`Action::Other`] under that name.
    pub fn set_action_name(&mut self, name: &str) {
        let known = Action::find(name);
        self.action = known.unwrap_or(Action::Other);
        self.other_action = match known {
            Some(_) => None,
            None => Some(crate::text::clean(name.as_bytes())),
        };
    }

    /// Sets a stored fact, replacing the one it had.
    ///
    /// Texts that hide something are escaped and addresses made canonical. What cannot be a fact is left out: a
    /// float that is not finite; a derived field and a value of another kind (in a test build these panic).
    pub fn set(&mut self, field: Field, value: impl Into<Value>) {
        let value = value.into();
        let fits = field.is_stored() && value.fits(field.row().kind);
        debug_assert!(fits, "`{}` is derived, or {value:?} is not of its kind", field.name());
        if let Some(value) = value.sound().filter(|_| fits) {
            self.set_sound(field, value);
        }
    }

    /// Sets a stored fact whose value is of its kind and sound.
    #[inline]
    pub(crate) fn set_sound(&mut self, field: Field, value: Value) {
        match self.facts.last() {
            Some((last, _)) if *last >= field => self.place(field, value),
            _ => self.facts.push((field, value)),
        }
    }

    #[cold]
    fn place(&mut self, field: Field, value: Value) {
        match self.facts.binary_search_by_key(&field, |(f, _)| *f) {
            Ok(at) => self.facts[at].1 = value,
            Err(at) => self.facts.insert(at, (field, value)),
        }
    }

    /// Sets a stored fact if there is one.
    pub fn set_some(&mut self, field: Field, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(field, value);
        }
    }

    /// Takes a stored fact away.
    pub fn remove(&mut self, field: Field) -> Option<Value> {
        let at = self.facts.binary_search_by_key(&field, |(f, _)| *f).ok()?;
        Some(self.facts.remove(at).1)
    }

    /// A stored fact.
    pub fn get(&self, field: Field) -> Option<&Value> {
        let at = self.facts.binary_search_by_key(&field, |(f, _)| *f).ok()?;
        Some(&self.facts[at].1)
    }

    /// A stored fact that is text.
    pub fn text(&self, field: Field) -> Option<&SmolStr> {
        match self.get(field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A stored fact that is a whole number.
    pub fn int(&self, field: Field) -> Option<i64> {
        match self.get(field)? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A stored fact that is an address.
    pub fn ip(&self, field: Field) -> Option<IpAddr> {
        match self.get(field)? {
            Value::Ip(ip) => Some(*ip),
            _ => None,
        }
    }

    /// A stored fact that is an id.
    pub fn uuid(&self, field: Field) -> Option<Uuid> {
        match self.get(field)? {
            Value::Id(id) => Some(*id),
            _ => None,
        }
    }

    /// All stored facts, in catalogue order.
    pub fn facts(&self) -> &[(Field, Value)] {
        &self.facts
    }

    /// Fields that this version does not know, as name and JSON text.
    pub fn unknown(&self) -> &[(String, Box<str>)] {
        &self.unknown
    }

    /// Keeps a field that this version does not know, replacing the one of that name.
    pub fn keep_unknown(&mut self, name: String, json: Box<str>) {
        match self.unknown.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = json,
            None => self.unknown.push((name, json)),
        }
    }
}
