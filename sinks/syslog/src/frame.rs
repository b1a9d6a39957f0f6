//! An event as one syslog message, and a message as one frame. Pure.
//!
//! In: a parcel. Out: bytes without CR, LF, NUL or any other control character, at most the bound.
//! Formats: RFC 5424 section 6, RFC 3164 section 4.1; framing RFC 6587 sections 3.4.1 and 3.4.2. The `syslog` crate gives
//! the facility and severity codes; its formatters date messages with "now" and cannot write a MSGID, so they are not used.

use std::io::Write;

use bytes::Bytes;
use syslog::{Facility, Severity};
use trapline_schemas::{Event, Field, Format, Value, json};
use trapline_sink::Parcel;

use crate::settings::Rfc;

/// Longest text parameter, in characters: the whole is in MSG.
const PARAM_CHARS_MAX: usize = 128;

/// How messages are told apart in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `MSGLEN SP MSG`.
    OctetCounting,
    /// `MSG LF`.
    Newline,
    /// `MSG NUL`.
    Nul,
}

impl Framing {
    /// One message, which is a header and a body, as a frame.
    pub(crate) fn frame(self, header: &[u8], body: &[u8], out: &mut Vec<u8>) {
        if self == Self::OctetCounting {
            push_number(out, (header.len() + body.len()) as u64);
            out.push(b' ');
        }
        out.extend_from_slice(header);
        out.extend_from_slice(body);
        match self {
            Self::OctetCounting => {}
            Self::Newline => out.push(b'\n'),
            Self::Nul => out.push(0),
        }
    }
}

/// Writes messages with one sink's settings.
#[derive(Debug)]
pub(crate) struct Writer {
    rfc: Rfc,
    facility: Facility,
    host: Option<String>,
    app: String,
    pid: u32,
    data_id: String,
    format: Format,
    bom: bool,
    bytes_max: usize,
}

impl Writer {
    /// Settings of the header; without `host` the message is for a local socket (RFC 3164 then has no HOSTNAME).
    pub(crate) fn new(rfc: Rfc, facility: Facility, host: Option<&str>, app: &str, enterprise: u32) -> Self {
        let host = host.map(|host| match rfc {
            Rfc::Rfc5424 => printable(host, 255),
            // RFC 3164 section 4.1.2: without the domain.
            Rfc::Rfc3164 => printable(short_host(host), 255),
        });
        Self {
            rfc,
            facility,
            host,
            app: printable(app, if rfc == Rfc::Rfc5424 { 48 } else { 32 }),
            pid: std::process::id(),
            data_id: format!("trapline@{enterprise}"),
            format: Format::Ecs,
            bom: false,
            bytes_max: 8000,
        }
    }

    /// Settings of the body.
    pub(crate) fn with_message(self, format: Format, bom: bool, bytes_max: usize) -> Self {
        Self {
            format,
            bom,
            bytes_max,
            ..self
        }
    }

    /// One message: its header, written into `header`, which is cleared first, and its body. Errors: it does not fit
    /// even in its smallest form.
    pub(crate) fn message(&self, parcel: &Parcel, header: &mut Vec<u8>) -> Result<Bytes, String> {
        header.clear();
        match self.rfc {
            Rfc::Rfc5424 => self.header_5424(&parcel.event, header),
            Rfc::Rfc3164 => self.header_3164(&parcel.event, header),
        }
        let left = self.bytes_max.saturating_sub(header.len());
        let too_large = || {
            format!(
                "the event does not fit in `message_bytes_max` = {} bytes",
                self.bytes_max
            )
        };
        parcel.rendered_within(self.format, left).ok_or_else(too_large)
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [SD] ` and the BOM.
    fn header_5424(&self, event: &Event, out: &mut Vec<u8>) {
        self.priority(event, out);
        out.extend_from_slice(b"1 ");
        json::raw_time_micros(out, event.at);
        for word in [self.host.as_deref().unwrap_or("-"), &self.app] {
            out.push(b' ');
            out.extend_from_slice(word.as_bytes());
        }
        out.push(b' ');
        push_number(out, self.pid.into());
        out.push(b' ');
        push_printable(event.action_name(), 32, out);
        out.push(b' ');
        self.data(event, out);
        out.push(b' ');
        if self.bom {
            out.extend_from_slice("\u{feff}".as_bytes());
        }
    }

    /// `<PRI>Mmm dd hh:mm:ss HOST TAG[PID]: `, local time; then the id where neither header nor form has it, because a
    /// double is told by its id.
    fn header_3164(&self, event: &Event, out: &mut Vec<u8>) {
        self.priority(event, out);
        let local = instant(event).to_zoned(jiff::tz::TimeZone::system());
        put(out, format_args!("{} ", local.strftime("%b %e %H:%M:%S")));
        if let Some(host) = &self.host {
            put(out, format_args!("{host} "));
        }
        put(out, format_args!("{}[{}]: ", self.app, self.pid));
        if self.format == Format::Text {
            put(out, format_args!("id={} ", event.id));
        }
    }

    fn priority(&self, event: &Event, out: &mut Vec<u8>) {
        out.push(b'<');
        push_number(out, (self.facility as u8 | severity(event) as u8).into());
        out.push(b'>');
    }

    /// The most needed first: a receiver that cuts, cuts the tail.
    fn data(&self, event: &Event, out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(self.data_id.as_bytes());
        out.extend_from_slice(b" id=\"");
        json::raw_id(out, event.id);
        out.push(b'"');
        for (name, field) in PARAMS {
            if let Some(value) = event.get(*field) {
                param(out, name, value);
            }
        }
        out.push(b']');
    }
}

/// Parameters of the structured data after `id`.
const PARAMS: &[(&str, Field)] = &[
    ("src", Field::SourceIp),
    ("srcPort", Field::SourcePort),
    ("dst", Field::DestinationIp),
    ("dstPort", Field::DestinationPort),
    ("decoy", Field::DecoyId),
    ("level", Field::TouchLevel),
    ("risk", Field::EventRiskScore),
    ("session", Field::SessionId),
    ("sequence", Field::JournalSequence),
];

fn param(out: &mut Vec<u8>, name: &str, value: &Value) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    match value {
        Value::Text(text) => param_text(out, text),
        Value::Int(number) => json::int(out, *number),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => json::int(out, *number as i64),
        Value::Float(number) => put(out, format_args!("{number}")),
        Value::Ip(ip) => json::raw_ip(out, *ip),
        Value::Id(id) => json::raw_id(out, *id),
        // No parameter is of another kind.
        _ => {}
    }
    out.push(b'"');
}

/// Most are short names, with nothing to escape.
fn param_text(out: &mut Vec<u8>, text: &str) {
    let usual = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b']');
    if text.len() <= PARAM_CHARS_MAX && text.bytes().all(usual) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escape(out, text.chars().take(PARAM_CHARS_MAX));
    }
}

/// RFC 5424 section 6.3.3: exactly `"`, `\` and `]` are escaped. Text in events is clean; what were not becomes a space.
fn escape(out: &mut Vec<u8>, chars: impl Iterator<Item = char>) {
    let mut utf8 = [0; 4];
    for ch in chars {
        if matches!(ch, '"' | '\\' | ']') {
            out.push(b'\\');
        }
        let ch = if ch.is_control() { ' ' } else { ch };
        out.extend_from_slice(ch.encode_utf8(&mut utf8).as_bytes());
    }
}

/// PRINTUSASCII of at most `max` bytes, `-` if nothing is left (RFC 5424 section 6).
fn push_printable(text: &str, max: usize, out: &mut Vec<u8>) {
    let shown = |ch: char| if ch.is_ascii_graphic() { ch as u8 } else { b'_' };
    match text {
        "" => out.push(b'-'),
        _ if text.len() <= max && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            out.extend_from_slice(text.as_bytes());
        }
        _ => out.extend(text.chars().map(shown).take(max)),
    }
}

/// The same as a text.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut out = Vec::new();
    push_printable(text, max, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn short_host(host: &str) -> &str {
    match host.parse::<std::net::IpAddr>() {
        Ok(_) => host,
        Err(_) => host.split('.').next().unwrap_or(host),
    }
}

fn instant(event: &Event) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(event.at.micros()).unwrap_or_default()
}

/// Severity from risk alone, so that all forms agree: the bands of ECS 21, 47, 73 and 99.
fn severity(event: &Event) -> Severity {
    match event.get(Field::EventRiskScore) {
        Some(Value::Float(risk)) if *risk >= 99.0 => Severity::LOG_CRIT,
        Some(Value::Float(risk)) if *risk >= 73.0 => Severity::LOG_ERR,
        Some(Value::Float(risk)) if *risk >= 47.0 => Severity::LOG_WARNING,
        Some(Value::Float(risk)) if *risk >= 21.0 => Severity::LOG_NOTICE,
        _ => Severity::LOG_INFO,
    }
}

fn put(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // A Vec takes every byte.
    let _ = out.write_fmt(args);
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    json::int(out, number.cast_signed());
}

#[cfg(test)]
mod tests;
