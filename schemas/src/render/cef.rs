//! ArcSight CEF:0 as one line.
//!
//! Header fields escape `\` and `|`; extension values escape `\` and `=`; keys are ours. Each value is cut to the
//! limit of its key in the ArcSight dictionary, before it is escaped. `src` and `dst` are IPv4 only: IPv6 goes to
//! `c6a2` and `c6a3`. The custom keys are fixed and always labelled: of contacts cs1 sessionId, cs2 authMethod, cs3
//! decoyId, cs4 communityId, cs5 mitre, cs6 payload or ports, cn1 riskScore, cn2 attempt; of responses cs1 causeId,
//! cs2 responseId, cs3 responseState, cs4 responseRule, cs5 responseTarget, cs6 network, cn1 riskScore, cn2 ttlSeconds,
//! cn3 latencyMicros; of health cs1 sinkName, cs3 decoyId, cn1 riskScore, cn2
//! mistakes. Flex keys: flexString1 incidentId, flexString2 touchLevel, flexNumber1 truncated. What matters stands
//! first, what a peer sent last.

use std::net::IpAddr;

use crate::derive::actions::Subject;
use crate::derive::{Detail, Shown, View, hosts, shown, spoken};
use crate::fields::Field;
use crate::json::int;
use crate::render::pairs::{Pairs, Style, push, put_visible, reason, sent, techniques, version};
use crate::value::Value;

const MSG_MAX: usize = 1023;
const CUSTOM_MAX: usize = 4000;
const WORD_MAX: usize = 63;

static STYLE: Style = Style {
    between: b' ',
    special: [b'\\', b'='],
    put: put_value,
};

/// Appends the event as CEF.
pub(super) fn render(view: &View<'_>, out: &mut Vec<u8>) {
    header(view, out);
    let mut p = Pairs::new(view, &STYLE, out);
    p.id("externalId", Some(view.event.id));
    p.int("rt", Some(view.event.at.millis()));
    p.text("act", Some(view.event.action_name()), WORD_MAX);
    outcome(view, &mut p);
    endpoints(view, &mut p);
    p.text("proto", view.text(Field::NetworkTransport), 31);
    p.text("app", spoken(view), 31);
    p.text("cat", Some(view.row().category), 1023);
    p.int("cnt", view.int(Field::FindingHits));
    span(view, &mut p);
    custom(view, &mut p);
    flex(view, &mut p);
    p.text(
        "dvchost",
        view.text(Field::ObserverHostname).or(view.text(Field::ObserverName)),
        100,
    );
    p.int("in", view.int(Field::SourceBytes));
    p.int("out", view.int(Field::DestinationBytes));
    tried(view, &mut p);
    p.text("reason", reason(view), MSG_MAX);
    if let Some(Shown::Text(message)) = shown(view, Field::Message) {
        p.text("msg", Some(&message), MSG_MAX);
    }
    payload(view, &mut p);
}

fn header(view: &View<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CEF:0|Trapline|trapline|");
    for part in [version(view), view.row().rule, view.row().name] {
        for ch in part.chars() {
            put_visible(out, ch, put_header);
        }
        out.push(b'|');
    }
    int(out, view.severity().cef.into());
    out.push(b'|');
}

fn put_header(out: &mut Vec<u8>, ch: char) {
    if matches!(ch, '\\' | '|') {
        out.push(b'\\');
    }
    push(out, ch);
}

fn put_value(out: &mut Vec<u8>, ch: char) {
    if matches!(ch, '\\' | '=') {
        out.push(b'\\');
    }
    push(out, ch);
}

fn outcome(view: &View<'_>, p: &mut Pairs<'_>) {
    if let Some(Shown::Word(outcome)) = shown(view, Field::EventOutcome) {
        p.text("outcome", Some(outcome), WORD_MAX);
    }
}

fn endpoints(view: &View<'_>, p: &mut Pairs<'_>) {
    let sides = [
        (Field::SourceIp, "src", "c6a2", "Source IPv6 Address"),
        (Field::DestinationIp, "dst", "c6a3", "Destination IPv6 Address"),
    ];
    for (field, v4, v6, label) in sides {
        match view.ip(field) {
            Some(IpAddr::V6(_)) => {
                p.text(&[v6, "Label"].concat(), Some(label), 1023);
                p.ip(v6, view.ip(field));
            }
            ip => p.ip(v4, ip),
        }
    }
    p.int("spt", view.int(Field::SourcePort));
    p.int("dpt", view.int(Field::DestinationPort));
    p.text("smac", view.text(Field::SourceMac), 40);
    if view.ip(Field::SourceIp).is_some() {
        p.int("deviceDirection", Some(0));
    }
    let [touched, ..] = hosts(view);
    p.text("dhost", touched, 1023);
}

/// The pseudonym of a source whose address is hidden.
fn hidden_source<'e>(view: &View<'e>) -> Option<&'e str> {
    let pseudonym = view.text(Field::SourceAddress)?;
    view.ip(Field::SourceIp).is_none().then_some(pseudonym)
}

fn span(view: &View<'_>, p: &mut Pairs<'_>) {
    for (key, field) in [("start", Field::EventStart), ("end", Field::EventEnd)] {
        if let Some(Value::Time(at)) = view.get(field) {
            p.int(key, Some(at.millis()));
        }
    }
}

/// Writes a labelled custom text.
fn labelled(p: &mut Pairs<'_>, key: &str, label: &str, text: Option<&str>) {
    if text.is_some_and(|text| !text.is_empty()) {
        p.text(&[key, "Label"].concat(), Some(label), 1023);
        p.text(key, text, CUSTOM_MAX);
    }
}

/// Writes a labelled custom number.
fn labelled_int(p: &mut Pairs<'_>, key: &str, label: &str, number: Option<i64>) {
    if number.is_some() {
        p.text(&[key, "Label"].concat(), Some(label), 1023);
        p.int(key, number);
    }
}

/// Writes a labelled id.
fn labelled_id(p: &mut Pairs<'_>, key: &str, label: &str, view: &View<'_>, field: Field) {
    if let Some(id) = view.id(field) {
        p.text(&[key, "Label"].concat(), Some(label), 1023);
        p.id(key, Some(id));
    }
}

fn custom(view: &View<'_>, p: &mut Pairs<'_>) {
    labelled_int(p, "cn1", "riskScore", Some(view.risk().round() as i64));
    match view.row().subject {
        Subject::Response => {
            labelled_id(p, "cs1", "causeId", view, Field::ResponseCause);
            labelled_id(p, "cs2", "responseId", view, Field::ResponseId);
            labelled_int(p, "cn2", "ttlSeconds", view.int(Field::ResponseTtl));
            labelled(p, "cs3", "responseState", view.text(Field::ResponseState));
            labelled(p, "cs4", "responseRule", view.text(Field::ResponseRule));
            labelled(p, "cs5", "responseTarget", view.text(Field::ResponseTarget));
            labelled(p, "cs6", "network", view.text(Field::ResponseNetwork));
            labelled_int(p, "cn3", "latencyMicros", view.int(Field::ResponseLatency));
        }
        Subject::Health => {
            labelled(p, "cs1", "sinkName", view.text(Field::SinkName));
            labelled_int(p, "cn2", "mistakes", view.int(Field::ConfigMistakes));
            labelled(p, "cs3", "decoyId", view.text(Field::DecoyId));
        }
        Subject::Contact | Subject::Finding => {
            labelled_id(p, "cs1", "sessionId", view, Field::SessionId);
            let method = view.text(Field::SshAuthMethod).or(view.text(Field::CredentialKind));
            labelled(p, "cs2", "authMethod", method);
            labelled(p, "cs3", "decoyId", view.text(Field::DecoyId));
            labelled(p, "cs4", "communityId", view.text(Field::NetworkCommunityId));
            labelled(p, "cs5", "mitre", techniques(view).as_deref());
            labelled_int(p, "cn2", "attempt", view.int(Field::EventSequence));
        }
    }
}

fn flex(view: &View<'_>, p: &mut Pairs<'_>) {
    labelled_id(p, "flexString1", "incidentId", view, Field::IncidentId);
    labelled(p, "flexString2", "touchLevel", view.text(Field::TouchLevel));
    labelled_int(
        p,
        "flexNumber1",
        "truncated",
        (view.detail > Detail::Whole).then_some(1),
    );
}

/// What the peer tried, as it said.
fn tried(view: &View<'_>, p: &mut Pairs<'_>) {
    p.text("duser", view.text(Field::UserName), 1023);
    p.text("dntdom", view.text(Field::UserDomain), 255);
    p.text(
        "shost",
        view.text(Field::SourceDomain)
            .or(view.text(Field::NtlmWorkstation))
            .or(hidden_source(view)),
        1023,
    );
    p.text("requestMethod", view.text(Field::HttpMethod), 1023);
    p.text("request", view.text(Field::UrlOriginal), 1023);
    p.text("requestClientApplication", view.text(Field::UserAgent), 1023);
    p.text("fname", view.text(Field::FileName), 1023);
    p.int("fsize", view.int(Field::FileSize));
    p.text(
        "fileHash",
        view.text(Field::FileHashSha256).or(view.text(Field::PayloadSha256)),
        255,
    );
}

/// Ports of a scan, else what was sent.
fn payload(view: &View<'_>, p: &mut Pairs<'_>) {
    match view.get(Field::ScanPorts) {
        // Nobody sent any of it, and its cs6 is the network.
        _ if view.row().subject == Subject::Response => {}
        Some(Value::Ints(ports)) => {
            let ports: Vec<String> = ports.iter().map(i64::to_string).collect();
            labelled(p, "cs6", "ports", Some(&ports.join(",")));
        }
        _ => labelled(p, "cs6", "payload", sent(view).as_deref()),
    }
}
