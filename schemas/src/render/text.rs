//! One line for a person: when, what, who → what was touched, and the telling facts.
//!
//! `2026-03-04T10:16:10.123Z decoy-credential 203.0.113.77:40022 → 10.20.30.40:22 ssh-22 user=root kind=password`.
//! A value with a space, quote or equals sign stands in double quotes, a `"` in it behind a `\`. Events about no
//! contact show their sentence instead of the two ends. It is to be read, not parsed: for that there is JSON.

use std::net::IpAddr;

use crate::derive::actions::Subject;
use crate::derive::{Detail, Shown, View, shown};
use crate::fields::Field;
use crate::json::{int, raw_ip, raw_time};
use crate::render::nested::cut;
use crate::render::pairs::{push, put_visible, sent};

/// Longest value on the line, in characters.
const VALUE_CHARS_MAX: usize = 120;

/// The facts that tell something, with the key they have on the line.
const FACTS: [(&str, Field); 20] = [
    ("user", Field::UserName),
    ("domain", Field::UserDomain),
    ("kind", Field::CredentialKind),
    ("secret", Field::CredentialSecret),
    ("secret_length", Field::CredentialSecretLength),
    ("client", Field::SshClientVersion),
    ("hassh", Field::SshHassh),
    ("method", Field::HttpMethod),
    ("url", Field::UrlOriginal),
    ("agent", Field::UserAgent),
    ("cookie", Field::RdpCookie),
    ("workstation", Field::NtlmWorkstation),
    ("sni", Field::TlsServerName),
    ("terminal", Field::TelnetTerminal),
    ("command", Field::FtpCommand),
    ("file", Field::FileName),
    ("packets", Field::SourcePackets),
    ("bytes", Field::PayloadSize),
    ("reason", Field::EventReason),
    ("benign", Field::BenignName),
];

/// Appends the event as one line.
pub(super) fn render(view: &View<'_>, out: &mut Vec<u8>) {
    raw_time(out, view.event.at);
    out.push(b' ');
    plain(out, view.event.action_name());
    if view.row().subject != Subject::Contact || view.ip(Field::SourceIp).is_none() {
        if let Some(Shown::Text(message)) = shown(view, Field::Message) {
            out.push(b' ');
            plain(out, &message);
        }
        return mark(view, out);
    }
    ends(view, out);
    for (key, field) in FACTS {
        if let Some(text) = view.text(field) {
            pair(view, out, key, text);
        } else if let Some(number) = view.int(field) {
            begin(out, key);
            int(out, number);
        }
    }
    if let Some(sent) = sent(view) {
        pair(view, out, "sent", &sent);
    }
    if let Some(nanos) = view.int(Field::EventDuration) {
        begin(out, "ms");
        int(out, nanos / 1_000_000);
    }
    mark(view, out);
}

/// Who → what was touched.
fn ends(view: &View<'_>, out: &mut Vec<u8>) {
    let sides = [
        (" ", Field::SourceIp, Field::SourcePort),
        (" → ", Field::DestinationIp, Field::DestinationPort),
    ];
    for (before, ip, port) in sides {
        if let Some(ip) = view.ip(ip) {
            out.extend_from_slice(before.as_bytes());
            socket(out, ip, view.int(port));
        }
    }
    if let Some(decoy) = view.text(Field::DecoyId) {
        out.push(b' ');
        plain(out, decoy);
    }
}

/// An address with its port, an IPv6 one in brackets.
fn socket(out: &mut Vec<u8>, ip: IpAddr, port: Option<i64>) {
    let Some(port) = port else {
        return raw_ip(out, ip);
    };
    match ip {
        IpAddr::V4(_) => raw_ip(out, ip),
        IpAddr::V6(_) => {
            out.push(b'[');
            raw_ip(out, ip);
            out.push(b']');
        }
    }
    out.push(b':');
    int(out, port);
}

fn begin(out: &mut Vec<u8>, key: &str) {
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
}

fn pair(view: &View<'_>, out: &mut Vec<u8>, key: &str, text: &str) {
    begin(out, key);
    let kept = cut(text, VALUE_CHARS_MAX.min(view.detail.chars_max()));
    let quoted = kept.is_empty() || kept.contains([' ', '"', '=']);
    if quoted {
        out.push(b'"');
        for ch in kept.chars() {
            put_visible(out, ch, put_quoted);
        }
    } else {
        plain(out, kept);
    }
    if kept.len() < text.len() {
        push(out, '…');
    }
    if quoted {
        out.push(b'"');
    }
}

fn put_quoted(out: &mut Vec<u8>, ch: char) {
    if ch == '"' {
        out.push(b'\\');
    }
    push(out, ch);
}

fn plain(out: &mut Vec<u8>, text: &str) {
    for ch in text.chars() {
        put_visible(out, ch, push);
    }
}

/// Says so where something was left out to keep a bound.
fn mark(view: &View<'_>, out: &mut Vec<u8>) {
    if view.detail > Detail::Whole {
        out.extend_from_slice(b" truncated");
    }
}
