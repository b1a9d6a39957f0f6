//! What is known of a session, and which of it tells a person most.

use std::net::IpAddr;

use smol_str::SmolStr;
use trapline_schemas::text::printable;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};

use crate::layout::{Level, Line};

/// Names, commands and the like that are told before "and more".
const TOLD_MAX: usize = 3;
/// Names and commands remembered per session.
const KEPT_MAX: usize = 8;
/// Bytes of a payload that are shown if there is nothing better.
const PAYLOAD_BYTES_SHOWN: usize = 48;

/// Facts of one session.
#[derive(Debug)]
pub(crate) struct Facts {
    at: Timestamp,
    level: Level,
    source: Option<IpAddr>,
    zone: Option<SmolStr>,
    decoy: SmolStr,
    port: Option<i64>,
    service: SmolStr,
    users: Vec<SmolStr>,
    secrets: Vec<SmolStr>,
    tries: u32,
    requests: Vec<SmolStr>,
    request_count: u32,
    identity: Vec<SmolStr>,
    /// The first line of an ssh client, as a payload shows it.
    greeting: Option<String>,
    payload: Option<SmolStr>,
    bytes: Option<i64>,
    duration_ns: Option<i64>,
    benign: Option<SmolStr>,
    /// How many datagrams it stands for, if it is not a connection.
    packets: Option<i64>,
    ended: bool,
}

impl Facts {
    /// The contact itself.
    pub(crate) fn new(event: &Event) -> Self {
        let text = |field| event.text(field).cloned();
        Self {
            at: event.at,
            level: Level::of(event),
            source: event.ip(Field::SourceIp),
            zone: text(Field::SourceZone).filter(|zone| zone != "external"),
            decoy: text(Field::DecoyId).unwrap_or_default(),
            port: event.int(Field::DestinationPort),
            service: text(Field::DecoyService).unwrap_or_default(),
            users: Vec::new(),
            secrets: Vec::new(),
            tries: 0,
            requests: Vec::new(),
            request_count: 0,
            identity: Vec::new(),
            greeting: None,
            payload: None,
            bytes: None,
            duration_ns: None,
            benign: None,
            packets: None,
            ended: false,
        }
    }

    /// Whether there is nothing but the contact.
    pub(crate) fn is_bare(&self) -> bool {
        self.tries == 0
            && self.request_count == 0
            && self.identity.is_empty()
            && self.payload.is_none()
            && self.bytes.unwrap_or(0) == 0
    }

    /// Adds what an event says; `true` if a person would call it news.
    pub(crate) fn learn(&mut self, event: &Event) -> bool {
        self.at = self.at.min(event.at);
        self.level = self.level.max(Level::of(event));
        self.benign = event.text(Field::BenignName).cloned().or(self.benign.take());
        match event.action {
            Action::Credential | Action::Ntlm => self.learn_credential(event),
            Action::Query | Action::File => self.learn_request(event),
            Action::Handshake => self.learn_first_request(event),
            Action::Payload => self.learn_payload(event),
            Action::UdpProbe => self.learn_datagram(event),
            Action::SessionEnd => {
                self.ended = true;
                self.duration_ns = event.int(Field::EventDuration);
                self.bytes = event.int(Field::SourceBytes).or(self.bytes);
                return false;
            }
            _ => return false,
        }
        true
    }

    fn learn_credential(&mut self, event: &Event) {
        self.tries += 1;
        let domain = event
            .text(Field::UserDomain)
            .map(|domain| format!("{domain}\\"))
            .unwrap_or_default();
        if let Some(user) = event.text(Field::UserName) {
            keep(&mut self.users, SmolStr::from(format!("{domain}{user}")));
        }
        let kind = match event.action {
            Action::Ntlm => SmolStr::new_static("NTLM response"),
            _ => event
                .text(Field::CredentialKind)
                .cloned()
                .unwrap_or_else(|| SmolStr::new_static("secret")),
        };
        keep(&mut self.secrets, kind);
        self.learn_identity(event);
    }

    fn learn_request(&mut self, event: &Event) {
        self.learn_identity(event);
        let words = match event.get(Field::Commands) {
            Some(Value::Texts(commands)) => commands.clone(),
            _ => [Field::FtpCommand, Field::FileName]
                .iter()
                .filter_map(|field| event.text(*field).cloned())
                .collect(),
        };
        for word in words {
            self.request_count += 1;
            keep(&mut self.requests, word);
        }
    }

    /// A handshake is the first request too, where requests are what is spoken.
    fn learn_first_request(&mut self, event: &Event) {
        self.learn_identity(event);
        self.request_count += u32::from(!self.requests.is_empty());
    }

    /// What an event says of its peer and of the request that it belongs to; which request counts is for the caller.
    fn learn_identity(&mut self, event: &Event) {
        if let Some(target) = event.text(Field::UrlOriginal).or_else(|| event.text(Field::UrlPath)) {
            let method = event.text(Field::HttpMethod).map_or("", SmolStr::as_str);
            keep(&mut self.requests, SmolStr::from(format!("{method} {target}").trim()));
        }
        if let Some(version) = event.text(Field::SshClientVersion) {
            self.greeting = Some(printable(version.as_bytes()));
        }
        for (field, label) in IDENTITY {
            if let Some(text) = event.text(*field) {
                keep(
                    &mut self.identity,
                    SmolStr::from(format!("{label}{}", short(*field, text))),
                );
            }
        }
    }

    fn learn_payload(&mut self, event: &Event) {
        self.bytes = event.int(Field::PayloadSize).or(self.bytes);
        self.payload = printable_head(event).or(self.payload.take());
    }

    /// A datagram is over as it comes.
    fn learn_datagram(&mut self, event: &Event) {
        self.learn_payload(event);
        self.learn_identity(event);
        self.packets = event.int(Field::SourcePackets).or(Some(1));
        self.ended = true;
    }

    /// The session's line; `again` marks the second one of a session that was told while it was open.
    pub(crate) fn line(&self, again: bool) -> Line {
        let mut parts = self.parts();
        if again {
            parts.insert(0, "then".to_owned());
        }
        if parts.is_empty() {
            parts.push(self.nothing().to_owned());
        }
        match self.duration_ns {
            Some(nanos) => parts.push(duration(nanos)),
            None if !self.ended && !self.is_bare() => parts.push("still open".to_owned()),
            None => {}
        }
        let port = self.port.map(|port| format!(" :{port}")).unwrap_or_default();
        Line {
            at: self.at,
            level: self.level,
            source: source(self.source, self.zone.as_ref()),
            decoy: format!("{}{port}", self.decoy),
            service: self.service.to_string(),
            text: parts.join(" · "),
        }
    }

    /// What is said of a touch of which nothing is known.
    fn nothing(&self) -> &'static str {
        match (self.packets, self.ended) {
            (Some(_), _) => "an empty datagram",
            (None, true) => "connected, said nothing",
            (None, false) => "connected, nothing said yet",
        }
    }

    fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.tries > 0 {
            let times = if self.tries > 1 {
                format!(" ×{}", self.tries)
            } else {
                String::new()
            };
            let who = if self.users.is_empty() {
                String::new()
            } else {
                format!("login {} · ", listed(&self.users))
            };
            parts.push(format!("{who}{}{times}", listed(&self.secrets)));
        }
        if !self.requests.is_empty() {
            let more = usize::try_from(self.request_count)
                .unwrap_or(0)
                .saturating_sub(TOLD_MAX.min(self.requests.len()));
            let told: Vec<&str> = self.requests.iter().take(TOLD_MAX).map(SmolStr::as_str).collect();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            parts.push(format!("{}{more}", told.join(" | ")));
        }
        parts.extend(self.identity.iter().map(SmolStr::to_string));
        if let Some(payload) = self.payload.as_ref().filter(|payload| self.is_news(payload)) {
            parts.push(format!("sent \"{payload}\""));
        }
        parts.extend(self.bytes.filter(|bytes| *bytes > 0).map(bytes));
        parts.extend(self.benign.as_ref().map(|name| format!("looks benign: {name}")));
        parts.extend(self.packets.filter(|count| *count > 1).map(|count| format!("×{count}")));
        parts
    }
}

impl Facts {
    /// Whether a payload tells what nothing else does: no request, no login, and not the version that stands there
    /// already.
    fn is_news(&self, payload: &str) -> bool {
        let head = payload.trim_end_matches('…');
        let greets = |greeting: &String| head.starts_with(greeting) || greeting.starts_with(head);
        self.requests.is_empty() && self.tries == 0 && !self.greeting.as_ref().is_some_and(greets)
    }
}

/// What tells who a client is, each with its label.
const IDENTITY: &[(Field, &str)] = &[
    (Field::SshClientVersion, ""),
    (Field::SshHassh, "hassh "),
    (Field::UserAgent, ""),
    (Field::TelnetTerminal, "terminal "),
    (Field::TlsServerName, "asks for "),
    (Field::TlsJa4, "ja4 "),
    (Field::RdpCookie, "cookie "),
    (Field::NtlmWorkstation, "from "),
];

fn short(field: Field, text: &str) -> &str {
    match field {
        // 12 hex digits tell two clients apart; the whole is in the event.
        Field::SshHassh => text.get(..12).unwrap_or(text),
        Field::SshClientVersion => text.strip_prefix("SSH-2.0-").unwrap_or(text),
        _ => text,
    }
}

fn keep(list: &mut Vec<SmolStr>, word: SmolStr) {
    if list.len() < KEPT_MAX && !list.contains(&word) {
        list.push(word);
    }
}

fn listed(words: &[SmolStr]) -> String {
    let told: Vec<&str> = words.iter().take(TOLD_MAX).map(SmolStr::as_str).collect();
    match words.len().saturating_sub(TOLD_MAX) {
        0 => told.join(", "),
        more => format!("{} +{more}", told.join(", ")),
    }
}

fn source(ip: Option<IpAddr>, zone: Option<&SmolStr>) -> String {
    match (ip, zone) {
        (Some(ip), Some(zone)) => format!("{ip} ({zone})"),
        (Some(ip), None) => ip.to_string(),
        (None, _) => String::new(),
    }
}

fn duration(nanos: i64) -> String {
    let tenths = nanos / 100_000_000;
    match tenths / 10 {
        secs @ 60.. => format!("{} min {:02} s", secs / 60, secs % 60),
        secs => format!("{secs}.{} s", tenths % 10),
    }
}

fn bytes(count: i64) -> String {
    match count {
        0..=9_999 => format!("{count} B"),
        10_000..=9_999_999 => format!("{} kB", count / 1000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

fn printable_head(event: &Event) -> Option<SmolStr> {
    match event.get(Field::PayloadBase64) {
        Some(Value::Bytes(bytes)) if !bytes.is_empty() => {
            let head = bytes.get(..PAYLOAD_BYTES_SHOWN).unwrap_or(bytes);
            let more = if head.len() < bytes.len() { "…" } else { "" };
            Some(SmolStr::from(format!("{}{more}", printable(head))))
        }
        _ => None,
    }
}

/// A line for an event that belongs to no session: a finding, health.
pub(crate) fn single(event: &Event) -> Line {
    let mut facts = Facts::new(event);
    facts.learn(event);
    facts.ended = true;
    let mut line = facts.line(false);
    if event.action != Action::UdpProbe {
        line.text = said(event);
    }
    line
}

/// The event in its own words.
fn said(event: &Event) -> String {
    match event.resolve(Field::Message) {
        Some(Value::Text(message)) if !message.is_empty() => message.to_string(),
        _ => event.action_name().to_owned(),
    }
}
