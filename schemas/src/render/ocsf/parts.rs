//! What several OCSF classes share.

use std::net::IpAddr;

use crate::derive::actions::Subject;
use crate::derive::{hosts, is_text, spoken};
use crate::event::Action;
use crate::fields::Field;
use crate::render::ocsf::class::{METHODS, is_guarded};
use crate::render::ocsf::writer::{Writer, is_hex, is_host, is_mac, is_url};
use crate::text::printable;

/// `metadata`: who made the event, and which it is.
pub(super) fn metadata(w: &mut Writer<'_, '_>) {
    w.key("metadata").open();
    w.key("version").word(super::VERSION);
    w.field("uid", Field::EventId);
    w.field("event_code", Field::EventCode);
    w.field("logged_time", Field::EventCreated);
    w.field("log_name", Field::EventDataset);
    w.key("product");
    product(w);
    w.close();
    tags(w);
    if is_guarded(w.view, w.class) {
        w.key("profiles").open_list().item().word("security_control");
        w.close_list();
    }
    correlation(w);
    if let Some(number) = w.view.int(Field::EventSequence) {
        w.key("sequence").small(number);
        w.place(Field::EventSequence);
    }
    w.field("tenant_uid", Field::OrganizationId);
    if w.is_truncated() {
        w.key("is_truncated").bool(true);
    }
    w.close();
}

/// Opens our product and writes what it is; the caller closes it.
pub(super) fn product(w: &mut Writer<'_, '_>) {
    w.open();
    w.field("name", Field::ObserverProduct);
    w.field("vendor_name", Field::ObserverVendor);
    w.field("version", Field::ObserverVersion);
}

/// The decoy's D3FEND and Engage ids: OCSF has no attribute for deception.
fn tags(w: &mut Writer<'_, '_>) {
    if w.view.row().subject != Subject::Contact || w.view.service().is_empty() {
        return;
    }
    w.key("tags").open_list();
    for (name, value) in [("d3fend", "D3-CHN"), ("engage", "EAC0005")] {
        w.item().open().key("name").word(name);
        w.key("value").word(value);
        w.close();
    }
    w.close_list();
}

/// The id that ties events together: session, finding or cause.
fn correlation(w: &mut Writer<'_, '_>) {
    let field = match w.view.row().subject {
        Subject::Contact => Field::SessionId,
        Subject::Finding => Field::FindingId,
        Subject::Response => Field::ResponseCause,
        Subject::Health => return,
    };
    w.field("correlation_uid", field);
}

/// The profile `security_control`: alert, what was done, confidence, risk, ATT&CK.
pub(super) fn security(w: &mut Writer<'_, '_>) {
    if !is_guarded(w.view, w.class) {
        return;
    }
    let alert = w.view.is_alert();
    w.key("is_alert").bool(alert);
    let ((action, action_name), (disposition, disposition_name)) = act(w, alert);
    w.pair("action_id", action, "action", action_name);
    w.pair("disposition_id", disposition, "disposition", disposition_name);
    if w.view.row().subject != Subject::Response {
        let (id, caption) = if w.view.is_proved() { (3, "High") } else { (2, "Medium") };
        w.pair("confidence_id", id, "confidence", caption);
    }
    let risk = w.view.risk().round() as i64;
    w.key("risk_score").int(risk);
    w.place(Field::EventRiskScore);
    let severity = w.view.severity();
    w.pair(
        "risk_level_id",
        severity.level.into(),
        "risk_level",
        severity.level_caption,
    );
    attacks(w);
}

type Pair = (i64, &'static str);

/// What we did: `action_id` and `disposition_id`, each with its caption.
fn act(w: &Writer<'_, '_>, alert: bool) -> (Pair, Pair) {
    const OBSERVED: Pair = (3, "Observed");
    const DENIED: (Pair, Pair) = ((2, "Denied"), (2, "Blocked"));
    match (w.view.row().subject, w.view.action()) {
        (Subject::Response, _) if w.view.failed() => ((0, "Unknown"), (27, "Error")),
        (_, Action::Decided) => (
            OBSERVED,
            w.view.state().map_or((17, "Logged"), |state| state.row().disposition),
        ),
        (Subject::Response, _) if w.view.is(Field::ResponseDryRun) => (OBSERVED, (16, "No Action")),
        (_, Action::Unblock | Action::Unsinkhole) => ((1, "Allowed"), (1, "Allowed")),
        (_, Action::Tag) => (OBSERVED, (18, "Tagged")),
        // Others act by the list, or do not.
        (_, Action::Untag | Action::List | Action::Unlist) => (OBSERVED, (17, "Logged")),
        (_, Action::Repaired) => ((4, "Modified"), (11, "Corrected")),
        (Subject::Response, _) => DENIED,
        (Subject::Finding, _) => (OBSERVED, (15, "Detected")),
        (_, Action::Credential | Action::Ntlm) if !w.view.is(Field::CredentialAccepted) => DENIED,
        _ if alert => (OBSERVED, (19, "Alert")),
        _ => (OBSERVED, (17, "Logged")),
    }
}

/// `attacks`, if the event shows any.
pub(super) fn attacks(w: &mut Writer<'_, '_>) {
    let attacks = w.view.attacks();
    if attacks.is_empty() {
        return;
    }
    w.key("attacks").open_list();
    for attack in attacks {
        w.item().open();
        named(w, "tactic", attack.tactic.id, attack.tactic.name);
        named(w, "technique", attack.id, attack.name);
        if let Some((id, name)) = attack.sub {
            named(w, "sub_technique", id, name);
        }
        w.close();
    }
    w.close_list();
}

/// A member that is an object of uid and name.
pub(super) fn named(w: &mut Writer<'_, '_>, key: &'static str, uid: &str, name: &str) {
    w.key(key).open();
    w.key("uid").word(uid);
    w.key("name").word(name);
    w.close();
}

/// `src_endpoint` and `dst_endpoint`.
pub(super) fn endpoints(w: &mut Writer<'_, '_>) {
    if w.view.ip(Field::SourceIp).is_some() || w.view.has(Field::SourceAddress) {
        w.key("src_endpoint").open();
        w.field("ip", Field::SourceIp);
        pseudonym(w, Field::SourceAddress);
        w.port("port", Field::SourcePort);
        w.field_if("hostname", Field::SourceDomain, is_host);
        w.field_if("mac", Field::SourceMac, is_mac);
        about_source(w);
        w.close();
    }
    if w.view.ip(Field::DestinationIp).is_some() || w.view.has(Field::DestinationAddress) {
        w.key("dst_endpoint").open();
        w.field("ip", Field::DestinationIp);
        pseudonym(w, Field::DestinationAddress);
        w.port("port", Field::DestinationPort);
        if let Some(name) = touched_host(w) {
            w.key("hostname").text(name);
        }
        if !w.view.service().is_empty() {
            w.field("svc_name", Field::DecoyService);
        }
        w.close();
    }
}

/// What is known of the source from elsewhere: who answers for it, where it is, whose network it is in.
fn about_source(w: &mut Writer<'_, '_>) {
    let objects: [(&'static str, &[(&'static str, Field)]); 3] = [
        ("owner", &[("name", Field::SourceOwner)]),
        (
            "location",
            &[
                ("city", Field::SourceGeoCity),
                ("country", Field::SourceGeoCountry),
                ("lat", Field::SourceGeoLat),
                ("long", Field::SourceGeoLon),
                ("region", Field::SourceGeoRegion),
            ],
        ),
        (
            "autonomous_system",
            &[("name", Field::SourceAsName), ("number", Field::SourceAsNumber)],
        ),
    ];
    for (name, members) in objects {
        if members.iter().any(|(_, field)| w.view.get(*field).is_some()) {
            w.key(name).open();
            for (key, field) in members {
                w.field(key, *field);
            }
            w.close();
        }
    }
}

/// `uid`, of an address that is hidden; the text of one that is not says nothing more.
fn pseudonym(w: &mut Writer<'_, '_>, field: Field) {
    if w.view.has(field) {
        w.field("uid", field);
    }
}

/// The name of the host that was touched, if it may stand as one.
fn touched_host<'e>(w: &Writer<'_, 'e>) -> Option<&'e str> {
    let [name, ..] = hosts(w.view);
    name.filter(|name| is_host(name))
}

/// What the classes of network activity have: connection, protocol, traffic, TLS.
pub(super) fn network(w: &mut Writer<'_, '_>) {
    connection(w);
    if let Some(protocol) = spoken(w.view) {
        w.key("app_protocol_name").text(protocol);
    }
    traffic(w);
    tls(w);
}

/// `connection_info`.
fn connection(w: &mut Writer<'_, '_>) {
    w.key("connection_info").open();
    direction(w);
    match w.view.text(Field::NetworkTransport) {
        Some("tcp") => w.key("protocol_num").int(6),
        Some("udp") => w.key("protocol_num").int(17),
        _ => {}
    }
    w.field("protocol_name", Field::NetworkTransport);
    match w.view.ip(Field::SourceIp) {
        Some(IpAddr::V4(_)) => w.key("protocol_ver_id").int(4),
        Some(IpAddr::V6(_)) => w.key("protocol_ver_id").int(6),
        None => {}
    }
    w.field("community_uid", Field::NetworkCommunityId);
    w.field("uid", Field::SessionId);
    w.close();
}

/// The direction, from where the source is.
pub(super) fn direction(w: &mut Writer<'_, '_>) {
    let (id, caption) = match w.view.ip(Field::SourceIp) {
        None => (0, "Unknown"),
        Some(_) if w.view.is(Field::SourceZoneInside) => (3, "Lateral"),
        Some(_) => (1, "Inbound"),
    };
    w.pair("direction_id", id, "direction", caption);
}

/// `traffic`, if any was counted.
fn traffic(w: &mut Writer<'_, '_>) {
    let (came, went) = (w.view.int(Field::SourceBytes), w.view.int(Field::DestinationBytes));
    let packets = w.view.int(Field::SourcePackets);
    if came.or(went).or(packets).is_none() {
        return;
    }
    w.key("traffic").open();
    if came.or(went).is_some() {
        w.key("bytes").int(came.unwrap_or(0).saturating_add(went.unwrap_or(0)));
    }
    w.field("bytes_in", Field::SourceBytes);
    w.field("bytes_out", Field::DestinationBytes);
    if let Some(packets) = packets {
        w.key("packets").int(packets);
    }
    w.field("packets_in", Field::SourcePackets);
    w.close();
}

/// `tls` and the JA4, where the client spoke TLS; `tls` needs a version.
fn tls(w: &mut Writer<'_, '_>) {
    if w.view.text(Field::TlsVersion).is_some() {
        w.key("tls").open();
        w.field("version", Field::TlsVersion);
        w.field("cipher", Field::TlsCipher);
        w.field("client_ciphers", Field::TlsCiphers);
        w.field("sni", Field::TlsServerName);
        if w.view.text(Field::TlsJa3).is_some_and(is_hex::<32>) {
            w.key("ja3_hash").open().pair("algorithm_id", 1, "algorithm", "MD5");
            w.field("value", Field::TlsJa3);
            w.close();
        }
        w.close();
    }
    if w.view.text(Field::TlsJa4).is_some() {
        w.key("ja4_fingerprint_list").open_list().item().open();
        w.pair("type_id", 1, "type", "JA4");
        w.field("value", Field::TlsJa4);
        w.close();
        w.close_list();
    }
}

/// The payload: as text, its hash and size, and in classes that have them as packets.
pub(super) fn raw_data(w: &mut Writer<'_, '_>) {
    let Some(bytes) = w.view.payload() else {
        return;
    };
    if w.view.detail < crate::derive::Detail::NoText && is_text(bytes) {
        w.key("raw_data").text(&printable(bytes));
    }
    w.field("raw_data_size", Field::PayloadSize);
    if w.view.text(Field::PayloadSha256).is_some_and(is_hex::<64>) {
        w.key("raw_data_hash")
            .open()
            .pair("algorithm_id", 3, "algorithm", "SHA-256");
        w.field("value", Field::PayloadSha256);
        w.close();
    }
    if w.class.is_network() && w.view.get(Field::PayloadBase64).is_some() {
        let (id, caption) = match w.view.text(Field::NetworkTransport) {
            Some("udp") => (1, "Wire"),
            _ => (2, "Stream"),
        };
        w.key("packet_list").open_list().item().open();
        w.key("sequence_number").int(1);
        w.pair("source_id", id, "source", caption);
        w.pair("encoding_id", 1, "encoding", "Base64");
        w.key("value").base64(bytes);
        w.close();
        w.close_list();
        w.place(Field::PayloadBase64);
    }
}

/// `http_request`, where the peer sent one.
pub(super) fn http_request(w: &mut Writer<'_, '_>) {
    w.key("http_request").open();
    let known = |method: &str| METHODS.iter().any(|(name, _)| *name == method);
    w.field_if("http_method", Field::HttpMethod, known);
    w.field("version", Field::HttpVersion);
    w.field("user_agent", Field::UserAgent);
    w.field("referrer", Field::HttpReferrer);
    if let Some(bytes) = w.view.int(Field::HttpRequestBytes) {
        w.key("body_length").small(bytes);
        w.place(Field::HttpRequestBytes);
    }
    let url = w.view.text(Field::UrlOriginal);
    if url.or(w.view.text(Field::UrlPath)).is_some() {
        w.key("url").open();
        // A target that is no URL is still what was asked for; the path takes any text.
        if !w.field_if("url_string", Field::UrlOriginal, is_url) && url.is_some() {
            w.field("path", Field::UrlOriginal);
        } else {
            w.field("path", Field::UrlPath);
        }
        w.field("domain", Field::UrlDomain);
        w.close();
    }
    w.close();
}

/// When it began and ended, and how long it took in milliseconds.
pub(super) fn times(w: &mut Writer<'_, '_>) {
    w.field("start_time", Field::EventStart);
    w.field("end_time", Field::EventEnd);
    if let Some(nanos) = w.view.int(Field::EventDuration) {
        w.key("duration").int(nanos / 1_000_000);
        w.place(Field::EventDuration);
    }
}

/// What to pivot on, each with the path at which it stands in this event.
pub(super) fn observables(w: &mut Writer<'_, '_>) {
    let view = w.view;
    let mut list = Observables { w, begun: false };
    if list.w.class.is_network() || matches!(list.w.class.uid, 3002 | 6005) {
        list.ip("src_endpoint.ip", view.ip(Field::SourceIp));
        let name = view.text(Field::SourceDomain).filter(|name| is_host(name));
        let name = view.ip(Field::SourceIp).and(name);
        list.text("src_endpoint.hostname", 1, "Hostname", name);
        list.ip("dst_endpoint.ip", view.ip(Field::DestinationIp));
        let hash = view
            .payload()
            .and_then(|_| view.text(Field::PayloadSha256))
            .filter(|hash| is_hex::<64>(hash));
        list.text("raw_data_hash.value", 8, "Hash", hash);
    }
    match list.w.class.uid {
        2004 => {
            list.ip("evidences.src_endpoint.ip", view.ip(Field::SourceIp));
            list.ip("evidences.dst_endpoint.ip", view.ip(Field::DestinationIp));
        }
        3002 => {
            let user = view.text(Field::UserName).filter(|name| !name.is_empty());
            list.text("user.name", 4, "User Name", user);
        }
        4002 => list.text(
            "http_request.user_agent",
            16,
            "HTTP User-Agent",
            view.text(Field::UserAgent),
        ),
        4007 => {
            let hassh = view.text(Field::SshHassh).filter(|hash| is_hex::<32>(hash));
            list.text("client_hassh.fingerprint.value", 8, "Hash", hassh);
        }
        4006 | 4008 => list.text("file.name", 7, "File Name", view.text(Field::FileName)),
        7004 => {
            let network = view.text(Field::ResponseNetwork);
            list.text("firewall_rule.match_details", 12, "Subnet", network);
            list.ip("firewall_rule.match_details", view.ip(Field::SourceIp));
        }
        // The class has no place for an address of its own.
        7001 => {
            let network = view.text(Field::ResponseNetwork);
            list.text("unmapped.honeyport.response.network", 12, "Subnet", network);
            list.ip("unmapped.source.ip", view.ip(Field::SourceIp));
        }
        _ => {}
    }
    list.end();
}

struct Observables<'l, 'w, 'e> {
    w: &'l mut Writer<'w, 'e>,
    begun: bool,
}

impl Observables<'_, '_, '_> {
    fn ip(&mut self, name: &'static str, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            self.begin(name, 2, "IP Address");
            self.w.key("value").ip(ip);
            self.w.close();
        }
    }

    fn text(&mut self, name: &'static str, type_id: i64, caption: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.begin(name, type_id, caption);
            // As the attribute has it: cut the same way.
            self.w.key("value").keyword(text);
            self.w.close();
        }
    }

    fn begin(&mut self, name: &'static str, type_id: i64, caption: &'static str) {
        if !self.begun {
            self.w.key("observables").open_list();
            self.begun = true;
        }
        self.w.item().open().key("name").word(name);
        self.w.pair("type_id", type_id, "type", caption);
    }

    fn end(self) {
        if self.begun {
            self.w.close_list();
        }
    }
}
