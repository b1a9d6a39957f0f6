//! The event in one sentence, for a person.

mod response;

use std::net::IpAddr;

use crate::derive::view::View;
use crate::event::Action;
use crate::fields::Field;
use crate::json::{int, raw_ip};
use crate::value::Value;

/// Longest part of a sentence that came from outside, in characters.
const PART_CHARS_MAX: usize = 128;

/// The event in one sentence: clean, without secret and raw bytes.
pub(crate) fn sentence(view: &View<'_>) -> String {
    let mut line = Vec::with_capacity(160);
    write_sentence(view, &mut line);
    // All parts were UTF-8, so is the whole.
    String::from_utf8(line).unwrap_or_default()
}

/// Appends the event in one sentence, not escaped.
pub(crate) fn write_sentence(view: &View<'_>, out: &mut Vec<u8>) {
    let mut line = Line(out);
    match view.action() {
        Action::Connect => line.add("TCP connection").place(view),
        Action::UdpProbe => line.datagrams(view).place(view),
        Action::Handshake => line.protocol(view, "handshake").place(view),
        Action::Credential => line.credential(view).place(view),
        Action::Ntlm => line.ntlm(view),
        Action::Payload => line.payload(view).place(view),
        Action::Query => line.protocol(view, query_word(view)).place(view),
        Action::File => line.file(view).place(view),
        Action::SessionEnd => line.add("Session").place(view).lasted(view),
        Action::Scan => line.scan(view),
        Action::SourceFolded => line
            .count(view, "further hit")
            .add(" of ")
            .source(view)
            .add(" counted, not kept"),
        Action::HeldBack => line.held_back(view),
        Action::Digest => line.digest(view),
        Action::IncidentClosed => line.closed(view),
        Action::NoticeReleased => line.released(view),
        Action::Block => line.act(view, "Blocked", "block"),
        Action::Unblock => line.act(view, "Unblocked", "unblock"),
        Action::Tag => line.act(view, "Tagged", "tag"),
        Action::Sinkhole => line.act(view, "Sinkholed", "sinkhole"),
        Action::Untag => line.act(view, "Untagged", "untag"),
        Action::Unsinkhole => line.act(view, "Unsinkholed", "unsinkhole"),
        Action::List => line.act(view, "Listed", "list"),
        Action::Unlist => line.act(view, "Unlisted", "unlist"),
        Action::Decided => line.decided(view),
        Action::Repaired => line.repaired(view),
        Action::SinkFailed => line.add("Sink").name(view, Field::SinkName).add(" failed").why(view),
        Action::SinkRecovered => line.add("Sink").name(view, Field::SinkName).add(" works again"),
        Action::ListenerStarted => line.listener(view).add(" started"),
        Action::ListenerStopped => line.listener(view).add(" stopped"),
        Action::ListenerFailed => line.listener(view).add(" could not listen").why(view),
        Action::SensorStarted => line.add("Sensor").name(view, Field::ObserverName).add(" started"),
        Action::SensorStopped => line.add("Sensor").name(view, Field::ObserverName).add(" stopped"),
        Action::ConfigReloaded => line.add("Configuration reloaded").why(view),
        Action::ConfigRefused => line.add("Configuration refused").mistakes(view).why(view),
        Action::JournalGap => line.gap(view),
        Action::ChainHead => line
            .add("Journal chain")
            .number(view, " stands at ", Field::JournalSequence),
        Action::ChainBreak => line.add("Journal chain was broken and goes on").why(view),
        Action::Recovered => line.add("State found at start was adopted").why(view),
        Action::HostAlarm => line.add("Host is not as it was").why(view),
        Action::Canary => line.add("Canary: trapline tries its own way to the sinks").why(view),
        Action::Other => line.add("Event ").add(view.event.action_name()).place(view),
    };
}

fn query_word(view: &View<'_>) -> &'static str {
    if super::field::is_datastore(view.service()) {
        "query"
    } else {
        "command"
    }
}

/// A service as people write it.
pub fn service_caption(service: &str) -> &str {
    const CAPTIONS: [(&str, &str); 24] = [
        ("ssh", "SSH"),
        ("telnet", "Telnet"),
        ("ftp", "FTP"),
        ("http", "HTTP"),
        ("https", "HTTPS"),
        ("smb", "SMB"),
        ("rdp", "RDP"),
        ("vnc", "VNC"),
        ("winrm", "WinRM"),
        ("smtp", "SMTP"),
        ("imap", "IMAP"),
        ("pop3", "POP3"),
        ("redis", "Redis"),
        ("mysql", "MySQL"),
        ("mssql", "MSSQL"),
        ("postgresql", "PostgreSQL"),
        ("postgres", "PostgreSQL"),
        ("mongodb", "MongoDB"),
        ("ldap", "LDAP"),
        ("snmp", "SNMP"),
        ("dns", "DNS"),
        ("ntp", "NTP"),
        ("tcp", "TCP"),
        ("udp", "UDP"),
    ];
    CAPTIONS
        .iter()
        .find(|(name, _)| *name == service)
        .map_or(service, |(_, caption)| caption)
}

/// A sentence under way.
struct Line<'o>(&'o mut Vec<u8>);

impl Line<'_> {
    fn add(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A part that came from outside, cut to its bound.
    fn part(&mut self, text: &str) -> &mut Self {
        if text.len() <= PART_CHARS_MAX {
            return self.add(text);
        }
        match text.char_indices().nth(PART_CHARS_MAX) {
            None => self.add(text),
            Some((end, _)) => self.add(text.get(..end).unwrap_or_default()).add("…"),
        }
    }

    fn ip(&mut self, ip: IpAddr) -> &mut Self {
        raw_ip(self.0, ip);
        self
    }

    fn int(&mut self, number: i64) -> &mut Self {
        int(self.0, number);
        self
    }

    /// ` to decoy port 22 from 203.0.113.77`, as far as known.
    fn place(&mut self, view: &View<'_>) -> &mut Self {
        if let Some(port) = view.int(Field::DestinationPort) {
            let word = match view.action() {
                Action::Connect | Action::UdpProbe => " to decoy port ",
                _ => " on decoy port ",
            };
            self.add(word).int(port);
        }
        match view.ip(Field::SourceIp) {
            Some(ip) => self.add(" from ").ip(ip),
            None => match view.text(Field::SourceAddress) {
                Some(pseudonym) => self.add(" from ").part(pseudonym),
                None => self,
            },
        }
    }

    fn source(&mut self, view: &View<'_>) -> &mut Self {
        match view.ip(Field::SourceIp) {
            Some(ip) => self.ip(ip),
            None => self.part(view.text(Field::SourceAddress).unwrap_or("a source")),
        }
    }

    fn protocol(&mut self, view: &View<'_>, what: &str) -> &mut Self {
        self.part(service_caption(view.service()));
        let gap = if view.service().is_empty() { "" } else { " " };
        self.add(gap).add(what)
    }

    fn datagrams(&mut self, view: &View<'_>) -> &mut Self {
        match view.int(Field::SourcePackets) {
            Some(packets) if packets > 1 => self.int(packets).add(" UDP datagrams"),
            _ => self.add("UDP datagram"),
        }
    }

    fn credential(&mut self, view: &View<'_>) -> &mut Self {
        self.protocol(view, view.text(Field::CredentialKind).unwrap_or("credential"))
            .add(" attempt");
        match view.text(Field::UserName) {
            Some(user) => self.add(" for '").part(user).add("'"),
            None => self,
        }
    }

    fn ntlm(&mut self, view: &View<'_>) -> &mut Self {
        self.part(view.text(Field::NtlmVersion).unwrap_or("NTLM"))
            .add(" authentication");
        if let Some(user) = view.text(Field::UserName) {
            self.add(" by ");
            if let Some(domain) = view.text(Field::UserDomain) {
                self.part(domain).add("\\");
            }
            self.part(user);
        }
        if let Some(workstation) = view.text(Field::NtlmWorkstation) {
            self.add(" at ").part(workstation);
        }
        self.place(view)
    }

    fn payload(&mut self, view: &View<'_>) -> &mut Self {
        match view.int(Field::PayloadSize) {
            Some(1) => self.add("1 byte received"),
            Some(size) => self.int(size).add(" bytes received"),
            None => self.add("Bytes received"),
        }
    }

    fn file(&mut self, view: &View<'_>) -> &mut Self {
        self.protocol(view, "file");
        if let Some(name) = view.text(Field::FileName) {
            self.add(" '").part(name).add("'");
        }
        self.add(if view.is_upload() { " offered" } else { " asked for" })
    }

    fn lasted(&mut self, view: &View<'_>) -> &mut Self {
        self.add(" ended");
        match view.int(Field::EventDuration) {
            Some(nanos) => self.add(" after ").seconds(nanos),
            None => self,
        }
    }

    /// Nanoseconds as seconds with one digit.
    fn seconds(&mut self, nanos: i64) -> &mut Self {
        let tenths = nanos.max(0) / 100_000_000;
        self.int(tenths / 10).add(".").int(tenths % 10).add(" s")
    }

    fn scan(&mut self, view: &View<'_>) -> &mut Self {
        self.source(view).add(" touched");
        self.number(view, " ", Field::ScanPortCount).add(" decoy ports");
        if view.int(Field::ScanDecoyCount).is_some() {
            self.number(view, " on ", Field::ScanDecoyCount).add(" decoys");
        }
        match view.int(Field::EventDuration) {
            Some(nanos) => self.add(" in ").int(nanos.max(0) / 1_000_000_000).add(" s"),
            None => self,
        }
    }

    /// The number in a field after some words; nothing if there is none.
    fn number(&mut self, view: &View<'_>, words: &str, field: Field) -> &mut Self {
        match view.int(field) {
            Some(number) => self.add(words).int(number),
            None => self,
        }
    }

    /// How many hits, in words: `3 events`.
    fn count(&mut self, view: &View<'_>, what: &str) -> &mut Self {
        match view.int(Field::FindingHits) {
            Some(1) => self.add("1 ").add(what),
            Some(hits) => self.int(hits).add(" ").add(what).add("s"),
            None => self.add("Several ").add(what).add("s"),
        }
    }

    fn held_back(&mut self, view: &View<'_>) -> &mut Self {
        self.count(view, "event").add(" held back");
        if let Some(node) = view.text(Field::TransformName) {
            self.add(" by '").part(node).add("'");
        }
        match view.text(Field::TransformKey) {
            Some(key) => self.add(" for ").part(key),
            None => self,
        }
    }

    /// `203.0.113.7 touched 3 decoys 412 more times in 15 minutes: 380 decoy-credential, 32 decoy-connect`.
    fn digest(&mut self, view: &View<'_>) -> &mut Self {
        let touched = view.int(Field::ScanDecoyCount).is_some_and(|decoys| decoys > 0);
        let more = view.int(Field::DigestPassed).is_some_and(|passed| passed > 0);
        if touched {
            self.sources(view).add(" touched ").decoys(view).add(" ");
            self.several(view.int(Field::FindingHits), if more { " more time" } else { " time" });
        } else {
            self.several(
                view.int(Field::FindingHits),
                if more { " more event" } else { " event" },
            );
        }
        self.span(view.int(Field::EventDuration));
        if !touched && let Some(key) = view.text(Field::TransformKey) {
            self.add(" for ").part(key);
        }
        self.breakdown(view.texts(Field::DigestActions))
    }

    /// `Incident of 203.0.113.7 closed after 412 events in 15 minutes: quiet for 24 hours`.
    fn closed(&mut self, view: &View<'_>) -> &mut Self {
        self.add("Incident of ").source(view).add(" closed after ");
        self.several(view.int(Field::FindingHits), " event");
        self.span(view.int(Field::EventDuration)).why(view)
    }

    /// `Owner 'lab' of 10.3.4.5 may be written to, released by alice: 412 events in 15 minutes: seen with the team`.
    fn released(&mut self, view: &View<'_>) -> &mut Self {
        self.add("Owner")
            .name(view, Field::SourceOwner)
            .add(" of ")
            .source(view);
        self.add(" may be written to, released by");
        self.name(view, Field::ReleaseBy).add(": ");
        self.several(view.int(Field::FindingHits), " event");
        self.span(view.int(Field::EventDuration)).why(view)
    }

    fn sources(&mut self, view: &View<'_>) -> &mut Self {
        match view.int(Field::DigestSourceCount) {
            Some(count) if view.ip(Field::SourceIp).is_none() => self.several(Some(count), " source"),
            _ => self.source(view),
        }
    }

    fn decoys(&mut self, view: &View<'_>) -> &mut Self {
        match view.text(Field::DecoyId) {
            Some(decoy) => self.add("decoy '").part(decoy).add("'"),
            None => self.several(view.int(Field::ScanDecoyCount), " decoy"),
        }
    }

    /// `3 decoys`, for a word with the blank before it.
    fn several(&mut self, number: Option<i64>, word: &str) -> &mut Self {
        let number = number.unwrap_or(0);
        let plural = if number == 1 { "" } else { "s" };
        self.int(number).add(word).add(plural)
    }

    /// ` in 15 minutes`; nothing for less than a second.
    fn span(&mut self, nanos: Option<i64>) -> &mut Self {
        let seconds = nanos.unwrap_or(0) / 1_000_000_000;
        let (number, unit) = match seconds {
            ..1 => return self,
            1..120 => (seconds, " second"),
            120..7200 => ((seconds + 30) / 60, " minute"),
            _ => ((seconds + 1800) / 3600, " hour"),
        };
        self.add(" in ").several(Some(number), unit)
    }

    /// `: 380 decoy-credential, 32 decoy-connect`, of at most three.
    fn breakdown(&mut self, actions: &[smol_str::SmolStr]) -> &mut Self {
        const SHOWN: usize = 3;
        for (at, action) in actions.iter().take(SHOWN).enumerate() {
            let (name, count) = action.rsplit_once('=').unwrap_or((action, ""));
            self.add(if at == 0 { ": " } else { ", " })
                .part(count)
                .add(" ")
                .part(name);
        }
        if actions.len() > SHOWN {
            self.add(", …");
        }
        self
    }

    fn listener(&mut self, view: &View<'_>) -> &mut Self {
        self.add("Decoy listener").name(view, Field::DecoyId)
    }

    /// ` 'name'`, if there is one.
    fn name(&mut self, view: &View<'_>, field: Field) -> &mut Self {
        match view.text(field) {
            Some(name) => self.add(" '").part(name).add("'"),
            None => self,
        }
    }

    /// `: what failed, or the reason`, if known.
    fn why(&mut self, view: &View<'_>) -> &mut Self {
        let fields = [Field::ErrorMessage, Field::ResponseReason, Field::EventReason];
        match fields.into_iter().find_map(|field| view.text(field)) {
            Some(why) => self.add(": ").part(why),
            None => self,
        }
    }

    /// `, 3 mistakes`, if they were counted.
    fn mistakes(&mut self, view: &View<'_>) -> &mut Self {
        let word = match view.int(Field::ConfigMistakes) {
            None => return self,
            Some(1) => " mistake",
            Some(_) => " mistakes",
        };
        self.number(view, ", ", Field::ConfigMistakes).add(word)
    }

    fn gap(&mut self, view: &View<'_>) -> &mut Self {
        let decoy = view.text(Field::DecoyId);
        self.count(view, if decoy.is_some() { "datagram" } else { "event" })
            .add(" missing");
        if let (Some(Value::Int(first)), Some(Value::Int(last))) = (view.get(Field::GapFirst), view.get(Field::GapLast))
        {
            self.add(", offsets ").int(*first).add(" to ").int(*last);
        }
        if let Some(sink) = view.text(Field::SinkName) {
            self.add(", for sink '").part(sink).add("'");
        }
        if let Some(decoy) = decoy {
            self.add(", for decoy '").part(decoy).add("'");
        }
        self.why(view)
    }
}
