//! The `syslog` table: its keys, and what they mean once checked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use syslog::Facility;
use trapline_schemas::text::clean;
use trapline_schemas::{Action, Event, Field, Format, Timestamp, ids};
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::dial::{Address, Dialer, Names};
use trapline_sink::tls::{self, Tls, TlsSettings};
use trapline_sink::{Fault, FaultKind, Parcel, StreamSink};

use crate::datagram::{Datagrams, To};
use crate::frame::{Framing, Writer, printable};
use crate::link::Link;
use crate::sink::{Path, SyslogSink};
use crate::wire::Wire;

/// Default of `message_bytes_max` over TCP, TLS and unix sockets: under rsyslog's 8 KiB.
const MESSAGE_BYTES: usize = 8000;
/// Default for LEEF: QRadar's TCP payload is 4096.
const MESSAGE_BYTES_LEEF: usize = 4000;
/// Default for one-line forms over UDP: one packet without fragments.
const MESSAGE_BYTES_PACKET: usize = 1400;
/// What a UDP datagram over IPv4 can carry.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Names up to this length are reckoned with where the least bound is told.
const NAME_CHARS: usize = 48;

const FACILITIES: &[&str] = &[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "audit",
    "alert",
    "clock_daemon",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "syslog",
    keys: &[
        Key::required(
            "transport",
            KeyKind::Choice(&["udp", "tcp", "tls", "unix"]),
            "how to reach the receiver",
        ),
        Key::required(
            "address",
            KeyKind::Address,
            "host:port (514, over TLS 6514), or the path of a unix socket",
        ),
        Key::optional(
            "framing",
            KeyKind::Choice(&["octet-counting", "newline", "nul"]),
            "how messages are told apart in a stream (RFC 6587); octet-counting, on unix streams newline",
        ),
        Key::default(
            "rfc",
            KeyKind::Choice(&["5424", "3164"]),
            "\"5424\"",
            "the message's form",
        ),
        Key::default("facility", KeyKind::Choice(FACILITIES), "\"local0\"", "syslog facility"),
        Key::default(
            "app_name",
            KeyKind::Text,
            "\"trapline\"",
            "APP-NAME or TAG, printable ASCII, at most 48",
        ),
        Key::optional(
            "hostname",
            KeyKind::Text,
            "HOSTNAME, printable ASCII, at most 255; the observer's name if absent",
        ),
        Key::default(
            "enterprise_number",
            KeyKind::Integer {
                min: 1,
                max: u32::MAX as i64,
            },
            "32473",
            "your private enterprise number in the structured data's id; 32473 is the one for documentation (RFC 5612)",
        ),
        Key::default(
            "bom",
            KeyKind::Bool,
            "false",
            "begin MSG with the UTF-8 mark of RFC 5424; many receivers show it as junk",
        ),
        Key::optional(
            "message_bytes_max",
            KeyKind::Size { min: 480, max: 64_000 },
            "largest message; 8000, LEEF 4000, one-line forms over UDP 1400",
        ),
        Key::default(
            "resend_frames",
            KeyKind::Integer { min: 0, max: 10_000 },
            "256",
            "how many frames of the last two minutes are sent again after a reconnect",
        ),
        Key::default(
            "timeout",
            KeyKind::Duration {
                min: Duration::from_millis(100),
                max: Duration::from_secs(60),
            },
            "\"10s\"",
            "longest time for the writing of one batch",
        ),
        tls::KEY,
    ],
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef, Format::Text],
    parse: |table: &Table| Box::new(Settings::read(table)),
    doc: "RFC 5424 and 3164 over UDP, TCP, TLS and unix sockets",
};

/// The message's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rfc {
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164.
    Rfc3164,
}

/// Where to, and how.
#[derive(Debug, Clone)]
pub enum Transport {
    /// RFC 5426.
    Udp(Address),
    /// RFC 6587.
    Tcp(Address),
    /// RFC 5425.
    Tls(Address, TlsSettings),
    /// A local socket, datagrams if it takes them.
    Unix(PathBuf),
}

/// A checked `syslog` table.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to, and how.
    pub transport: Transport,
    /// How messages are told apart in a stream; `None`: the transport's default.
    pub framing: Option<&'static str>,
    /// The message's form.
    pub rfc: Rfc,
    /// A word of [`Facility`].
    pub facility: &'static str,
    /// APP-NAME.
    pub app_name: String,
    /// HOSTNAME; `None`: the observer.
    pub hostname: Option<String>,
    /// Private enterprise number of the structured data.
    pub enterprise_number: u32,
    /// Whether MSG begins with a BOM.
    pub bom: bool,
    /// Largest message in bytes; `None`: by transport and form.
    pub message_bytes_max: Option<usize>,
    /// Frames kept for a reconnect.
    pub resend_frames: usize,
    /// Longest time for the writing of one batch.
    pub timeout: Duration,
}

impl Settings {
    /// The defaults for a transport.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            framing: None,
            rfc: Rfc::Rfc5424,
            facility: "local0",
            app_name: "trapline".to_owned(),
            hostname: None,
            enterprise_number: 32_473,
            bom: false,
            message_bytes_max: None,
            resend_frames: 256,
            timeout: Duration::from_secs(10),
        }
    }

    fn read(table: &Table) -> Self {
        let number = |key: &str| table.integer(key);
        warn_of_what_is_not_used(table);
        Self {
            framing: table.is_set("framing").then(|| table.choice("framing")),
            rfc: if table.choice("rfc") == "3164" {
                Rfc::Rfc3164
            } else {
                Rfc::Rfc5424
            },
            facility: table.choice("facility"),
            app_name: table.text("app_name"),
            hostname: table.text_opt("hostname"),
            enterprise_number: u32::try_from(number("enterprise_number")).unwrap_or(32_473),
            bom: table.bool("bom"),
            message_bytes_max: table
                .size_opt("message_bytes_max")
                .and_then(|size| usize::try_from(size).ok()),
            resend_frames: usize::try_from(number("resend_frames")).unwrap_or(0),
            timeout: table.duration("timeout"),
            ..Self::new(transport(table))
        }
    }

    fn message_bytes_max(&self, format: Format) -> usize {
        let usual = match (&self.transport, format) {
            (Transport::Udp(_), Format::Cef | Format::Leef | Format::Text) => MESSAGE_BYTES_PACKET,
            (_, Format::Leef) => MESSAGE_BYTES_LEEF,
            _ => MESSAGE_BYTES,
        };
        self.message_bytes_max.unwrap_or(usual).min(DATAGRAM_BYTES_MAX)
    }

    fn writer(&self, common: &Common, local: bool) -> Writer {
        let facility = Facility::from_str(self.facility).unwrap_or(Facility::LOG_LOCAL0);
        let host = self.hostname.as_deref().unwrap_or(&common.observer);
        Writer::new(
            self.rfc,
            facility,
            (!local).then_some(host),
            &self.app_name,
            self.enterprise_number,
        )
        .with_message(common.format, self.bom, self.message_bytes_max(common.format))
    }

    /// The least `message_bytes_max` that holds any event of a peer, if the one in force does not.
    fn too_small_for(&self, common: &Common) -> Option<usize> {
        let local = matches!(self.transport, Transport::Unix(_));
        let parcel = Parcel::new(0, Arc::new(largest_event()));
        let holds = |bytes: usize| {
            let writer = self.writer(common, local).with_message(common.format, self.bom, bytes);
            writer.message(&parcel, &mut Vec::new()).is_ok()
        };
        let (mut below, mut least) = (self.message_bytes_max(common.format), DATAGRAM_BYTES_MAX);
        if holds(below) {
            return None;
        }
        while below + 1 < least {
            let middle = below.midpoint(least);
            match holds(middle) {
                true => least = middle,
                false => below = middle,
            }
        }
        Some(least)
    }

    fn framing(&self, usual: &'static str) -> Framing {
        match self.framing.unwrap_or(usual) {
            "newline" => Framing::Newline,
            "nul" => Framing::Nul,
            _ => Framing::OctetCounting,
        }
    }
}

/// Tells what is written and has no effect, or another one.
fn warn_of_what_is_not_used(table: &Table) {
    let transport = table.choice("transport");
    let here = |value: &str| format!("{value} with `transport = \"{transport}\"`");
    if transport == "udp" && table.is_set("framing") {
        let found = here(&format!("`framing = \"{}\"`", table.choice("framing")));
        table.warning("framing", &found, "no `framing`: a datagram is one message");
    }
    if matches!(transport, "udp" | "unix") && table.is_off("tls") {
        table.warning("tls", &here("`tls = \"off\"`"), "no `tls`, or `transport = \"tls\"`");
    }
    let tag_max = if table.choice("rfc") == "3164" { 32 } else { 48 };
    for (key, bytes_max) in [("app_name", tag_max), ("hostname", 255)] {
        let Some(text) = table.text_opt(key) else { continue };
        let written = printable(&text, bytes_max);
        if written != text {
            let allowed = format!("at most {bytes_max} printable ASCII characters without spaces");
            table.warning(
                key,
                &format!("`{}`, sent as `{written}`", clean(text.as_bytes())),
                &allowed,
            );
        }
    }
}

/// Reads `transport`, `address` and `tls` together; adds the problems that show only there.
fn transport(table: &Table) -> Transport {
    let text = table.text("address");
    let word = table.choice("transport");
    if word != "tls" && table.is_set("tls") && !table.is_off("tls") {
        table.problem(
            "tls",
            &format!("a table with `transport = \"{word}\"`"),
            "`transport = \"tls\"`",
        );
    }
    if word == "unix" {
        if !text.starts_with('/') {
            table.problem_with_address("address", "an absolute path such as `/dev/log`");
        }
        return Transport::Unix(text.into());
    }
    let port = if word == "tls" { 6514 } else { 514 };
    let address = Address::parse(&text, Some(port)).unwrap_or_else(|| {
        table.problem_with_address("address", "`host:port`, an address, or `[address]:port`");
        Address {
            host: "localhost".to_owned(),
            port,
        }
    });
    match word {
        "udp" => Transport::Udp(address),
        "tcp" => Transport::Tcp(address),
        _ => {
            let settings = TlsSettings::read(table).unwrap_or_else(|| {
                table.problem(
                    "tls",
                    "`\"off\"` with `transport = \"tls\"`",
                    "a table, or `transport = \"tcp\"`",
                );
                TlsSettings::default()
            });
            Transport::Tls(address, settings)
        }
    }
}

impl Factory for Settings {
    fn places(&self, _: &Table) -> Vec<Address> {
        match &self.transport {
            Transport::Udp(address) | Transport::Tcp(address) | Transport::Tls(address, _) => vec![address.clone()],
            Transport::Unix(_) => Vec::new(),
        }
    }

    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let names = |address: &Address| Names::new(address.clone(), common.resolver.clone());
        let link = |wire: Wire| Link::new(wire, self.resend_frames, self.timeout);
        let path = match &self.transport {
            Transport::Udp(address) => Path::Datagram(Datagrams::new(To::Udp(names(address)), self.timeout)),
            Transport::Tcp(address) => Path::Stream(link(Wire::Net(Box::new(Dialer::new(names(address), None))))),
            Transport::Tls(address, settings) => {
                let tls = Tls::new(settings)?;
                tls.name(&address.host)?;
                Path::Stream(link(Wire::Net(Box::new(Dialer::new(names(address), Some(tls))))))
            }
            Transport::Unix(at) => Path::Unix(
                Datagrams::new(To::Unix(at.clone()), self.timeout),
                link(Wire::Unix(at.clone())),
            ),
        };
        let local = matches!(self.transport, Transport::Unix(_));
        let framing = self.framing(if local { "newline" } else { "octet-counting" });
        if let Some(least) = self.too_small_for(common) {
            return Err(Fault {
                kind: FaultKind::Config,
                message: format!("not every event fits into `message_bytes_max`, at least {least} are needed"),
            });
        }
        let writer = self.writer(common, local);
        Ok(Arc::new(SyslogSink::new(path, writer, framing)))
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let size = self.too_small_for(common).map(|least| {
            let place = table.place("message_bytes_max");
            Problem::error(place, "not every event fits into this", format!("{least} or more"))
        });
        let files = match self.transport {
            Transport::Tls(..) => tls::look(table),
            _ => Vec::new(),
        };
        size.into_iter().chain(files).collect()
    }
}

/// What every sink has to hold: an offer of credentials, the largest that peers make when all is left out that can be,
/// with names as long as they are shown.
fn largest_event() -> Event {
    let at = Timestamp::now();
    let name = "n".repeat(NAME_CHARS);
    let mut event = Event::new(ids::fresh(at), at, Action::Credential);
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 177]));
    event.set(Field::DestinationIp, IpAddr::from([203, 0, 113, 178]));
    for number in [
        Field::SourcePort,
        Field::DestinationPort,
        Field::CredentialSecretLength,
        Field::JournalSequence,
    ] {
        event.set(number, 40_022_i64);
    }
    for id in [Field::BootId, Field::IncidentId, Field::SessionId] {
        event.set(id, ids::fresh(at));
    }
    for (word, text) in [
        (Field::CredentialKind, "community"),
        (Field::DecoyService, "telnet"),
        (Field::NetworkTransport, "tcp"),
        (Field::TouchLevel, "contact"),
    ] {
        event.set(word, text);
    }
    event.set(Field::CredentialSecretHmac, "f".repeat(64));
    event.set(Field::CredentialAccepted, false);
    event.set(Field::SourceZoneInside, false);
    event.set(Field::DecoyId, name.as_str());
    event.set(Field::ObserverName, name.as_str());
    event.set(Field::UserName, name);
    event.set(Field::EventRiskScore, 50.5);
    event
}

#[cfg(test)]
mod tests {
    use trapline_sink::dial::Resolver;

    use super::*;

    #[test]
    fn a_socket_of_this_host_is_no_place_and_an_address_is_one() {
        for (toml, found) in [
            ("transport = 'unix'\naddress = 'log'", None),
            ("transport = 'udp'\naddress = 'siem.example'", Some("siem.example:514")),
        ] {
            let (table, _) = Table::for_test(toml, SINK.keys);
            let places = Settings::read(&table).places(&table);
            assert_eq!(places.first().map(ToString::to_string).as_deref(), found);
        }
    }

    #[test]
    fn a_bound_that_not_every_event_fits_is_named_with_one_that_is_enough() {
        for format in Format::ALL {
            let common = Common {
                name: "s".into(),
                format: *format,
                observer: "h".repeat(255),
                resolver: Resolver::default(),
                notices: trapline_sink::config::NoticeSettings::default(),
            };
            let address = Address::parse("localhost", Some(514)).unwrap();
            let mut settings = Settings::new(Transport::Tcp(address));
            assert_eq!(settings.too_small_for(&common), None, "{format:?} by default");
            settings.message_bytes_max = Some(480);
            let least = settings.too_small_for(&common).unwrap();
            assert!(settings.build(&common).is_err(), "{format:?}");
            settings.message_bytes_max = Some(least);
            assert_eq!(settings.too_small_for(&common), None, "{format:?}");
            settings.message_bytes_max = Some(least - 1);
            assert_eq!(settings.too_small_for(&common), Some(least), "{format:?}");
        }
    }
}
