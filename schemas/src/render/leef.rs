//! IBM LEEF 2.0 as one line.
//!
//! The header names `^` as the delimiter. There is no escape: the delimiter in a value, and in the header also `|`,
//! become `_`; values hold no line ends because texts are clean. `isLoginEvent` and `ident*` are never set: they feed
//! QRadar's identity data, and a honeyport's source proves no identity.

use crate::derive::actions::Subject;
use crate::derive::{Detail, Shown, View, shown, spoken};
use crate::fields::Field;
use crate::render::pairs::{Pairs, Style, push, put_visible, reason, sent, techniques, version};
use crate::value::Value;

const TEXT_MAX: usize = 1023;
const PAYLOAD_MAX: usize = 4000;

static STYLE: Style = Style {
    between: b'^',
    special: [b'^'; 2],
    put: put_value,
};

/// Appends the event as LEEF.
pub(super) fn render(view: &View<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"LEEF:2.0|Trapline|trapline|");
    for part in [version(view), view.event.action_name()] {
        for ch in part.chars() {
            put_visible(out, ch, put_header);
        }
        out.push(b'|');
    }
    out.extend_from_slice(b"^|");
    let mut p = Pairs::new(view, &STYLE, out);
    p.time("devTime", view.event.at);
    p.text("devTimeFormat", Some("yyyy-MM-dd'T'HH:mm:ss.SSSX"), TEXT_MAX);
    p.int("sev", Some(view.severity().cef.into()));
    p.text("cat", Some(view.row().category), TEXT_MAX);
    p.id("eventId", Some(view.event.id));
    contact(view, &mut p);
    p.int("riskScore", Some(view.risk().round() as i64));
    p.text("mitre", techniques(view).as_deref(), TEXT_MAX);
    if let Some(Shown::Word(outcome)) = shown(view, Field::EventOutcome) {
        p.text("action", Some(outcome), TEXT_MAX);
    }
    p.text("rule", Some(view.row().name), TEXT_MAX);
    p.int("count", view.int(Field::FindingHits));
    p.text("sink", view.text(Field::SinkName), TEXT_MAX);
    p.int("mistakes", view.int(Field::ConfigMistakes));
    p.id("responseId", view.id(Field::ResponseId));
    p.id("causeId", view.id(Field::ResponseCause));
    response(view, &mut p);
    if view.detail > Detail::Whole {
        p.text("truncated", Some("true"), TEXT_MAX);
    }
    tried(view, &mut p);
    p.text("reason", reason(view), TEXT_MAX);
    if let Some(Shown::Text(message)) = shown(view, Field::Message) {
        p.text("msg", Some(&message), TEXT_MAX);
    }
    payload(view, &mut p);
}

fn put_header(out: &mut Vec<u8>, ch: char) {
    push(out, if matches!(ch, '|' | '^') { '_' } else { ch });
}

fn put_value(out: &mut Vec<u8>, ch: char) {
    push(out, if ch == '^' { '_' } else { ch });
}

/// Where it came from and what it touched.
fn contact(view: &View<'_>, p: &mut Pairs<'_>) {
    p.ip("src", view.ip(Field::SourceIp));
    p.int("srcPort", view.int(Field::SourcePort));
    if view.ip(Field::SourceIp).is_none() {
        p.text("srcAddress", view.text(Field::SourceAddress), TEXT_MAX);
    }
    p.ip("dst", view.ip(Field::DestinationIp));
    p.int("dstPort", view.int(Field::DestinationPort));
    p.text("srcMAC", view.text(Field::SourceMac), TEXT_MAX);
    p.text("proto", view.text(Field::NetworkTransport), TEXT_MAX);
    p.text("service", spoken(view), TEXT_MAX);
    p.text("decoyId", view.text(Field::DecoyId), TEXT_MAX);
    p.id("sessionId", view.id(Field::SessionId));
    p.id("incidentId", view.id(Field::IncidentId));
    p.text("communityId", view.text(Field::NetworkCommunityId), TEXT_MAX);
    p.text("touchLevel", view.text(Field::TouchLevel), TEXT_MAX);
    p.int("srcBytes", view.int(Field::SourceBytes));
    p.int("dstBytes", view.int(Field::DestinationBytes));
    p.text("sensor", view.text(Field::ObserverName), TEXT_MAX);
}

/// How it stands with what is done about a source.
fn response(view: &View<'_>, p: &mut Pairs<'_>) {
    if view.row().subject != Subject::Response {
        return;
    }
    p.text("responseState", view.text(Field::ResponseState), TEXT_MAX);
    p.text("responseRule", view.text(Field::ResponseRule), TEXT_MAX);
    p.text("responseTarget", view.text(Field::ResponseTarget), TEXT_MAX);
    p.text("network", view.text(Field::ResponseNetwork), TEXT_MAX);
    p.int("ttlSeconds", view.int(Field::ResponseTtl));
    p.int("latencyMicros", view.int(Field::ResponseLatency));
}

/// What the peer tried, as it said.
fn tried(view: &View<'_>, p: &mut Pairs<'_>) {
    p.text("usrName", view.text(Field::UserName), TEXT_MAX);
    p.text("domain", view.text(Field::UserDomain), TEXT_MAX);
    p.text(
        "authMethod",
        view.text(Field::SshAuthMethod).or(view.text(Field::CredentialKind)),
        TEXT_MAX,
    );
    p.int("attempt", view.int(Field::EventSequence));
    p.text("method", view.text(Field::HttpMethod), TEXT_MAX);
    p.text("url", view.text(Field::UrlOriginal), TEXT_MAX);
    p.text("userAgent", view.text(Field::UserAgent), TEXT_MAX);
    p.text("fileName", view.text(Field::FileName), TEXT_MAX);
    p.text(
        "fileHash",
        view.text(Field::FileHashSha256).or(view.text(Field::PayloadSha256)),
        TEXT_MAX,
    );
}

/// Ports of a scan, else what was sent.
fn payload(view: &View<'_>, p: &mut Pairs<'_>) {
    match view.get(Field::ScanPorts) {
        Some(Value::Ints(ports)) => {
            let ports: Vec<String> = ports.iter().map(i64::to_string).collect();
            p.text("ports", Some(&ports.join(",")), PAYLOAD_MAX);
        }
        _ => p.text("payload", sent(view).as_deref(), PAYLOAD_MAX),
    }
}
