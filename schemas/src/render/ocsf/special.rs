//! What one OCSF class alone has.

use crate::derive::{is_datastore, service_caption};
use crate::event::Action;
use crate::fields::Field;
use crate::render::ocsf::class::Class;
use crate::render::ocsf::parts;
use crate::render::ocsf::remediation;
use crate::render::ocsf::writer::{Writer, is_hex};

/// Writes the attributes of the event's class.
pub(super) fn write(w: &mut Writer<'_, '_>, activity: u8) {
    match w.class {
        Class { uid: 2004, .. } => finding(w, activity),
        Class { uid: 2005, .. } => incident(w),
        Class { uid: 3002, .. } => authentication(w),
        Class { uid: 4002, .. } => http(w),
        Class { uid: 4005, .. } => rdp(w),
        Class { uid: 4006, .. } => smb(w),
        Class { uid: 4007, .. } => ssh(w),
        Class { uid: 4008, .. } => ftp(w),
        Class { uid: 6002, .. } => lifecycle(w),
        Class { uid: 6005, .. } => datastore(w),
        Class { uid: 6008, .. } => error(w),
        Class { uid: 7001 | 7004, .. } => remediation::write(w),
        _ => {}
    }
}

/// A success.
pub(super) fn success(w: &mut Writer<'_, '_>) {
    w.pair("status_id", 1, "status", "Success");
}

/// A failure with its code and text.
pub(super) fn failure(w: &mut Writer<'_, '_>) {
    w.pair("status_id", 2, "status", "Failure");
    w.field("status_code", Field::ErrorCode);
    if !w.field("status_detail", Field::ErrorMessage) {
        w.field("status_detail", Field::EventReason);
    }
}

/// `count`, of the hits that a finding or summary stands for.
fn count(w: &mut Writer<'_, '_>) {
    if let Some(hits) = w.view.int(Field::FindingHits) {
        w.key("count").small(hits);
        w.place(Field::FindingHits);
    }
}

fn finding(w: &mut Writer<'_, '_>, activity: u8) {
    let (id, caption) = match activity {
        2 => (2, "In Progress"),
        3 => (4, "Resolved"),
        _ => (1, "New"),
    };
    w.pair("status_id", id, "status", caption);
    w.place(Field::FindingStatus);
    count(w);
    finding_info(w);
    let ends = [
        Field::SourceIp,
        Field::SourceAddress,
        Field::DestinationIp,
        Field::DestinationAddress,
    ];
    if ends.iter().any(|end| w.view.has(*end)) {
        evidences(w);
    }
}

/// An incident that closed, or about which its owner is written to: its id is that of the one finding in it.
fn incident(w: &mut Writer<'_, '_>) {
    match w.view.action() {
        Action::NoticeReleased => w.pair("status_id", 2, "status", "In Progress"),
        _ => w.pair("status_id", 5, "status", "Closed"),
    }
    w.place(Field::FindingStatus);
    w.field("status_detail", Field::EventReason);
    count(w);
    // The class wants somebody in charge: whoever answers for the source, else the program that opened and closed it.
    w.key("assignee_group").open();
    if !w.field("name", Field::SourceOwner) {
        w.field("name", Field::ObserverProduct);
    }
    w.close();
    w.key("finding_info_list").open_list().item();
    info(w, Field::IncidentId, "Incident");
    w.close_list();
}

fn finding_info(w: &mut Writer<'_, '_>) {
    let kind = match w.view.action() {
        Action::Scan => "Port Scan",
        _ => "Summary",
    };
    w.key("finding_info");
    info(w, Field::FindingId, kind);
}

/// A `finding_info` with the id in a field, else that of the event.
fn info(w: &mut Writer<'_, '_>, id: Field, kind: &'static str) {
    w.open();
    if !w.field("uid", id) {
        let id = w.view.event.id;
        w.key("uid").id(id);
    }
    w.field("title", Field::RuleName);
    w.key("types").open_list().item().word(kind);
    w.close_list();
    let created = w.view.event.at.millis();
    w.key("created_time").int(created);
    w.field("first_seen_time", Field::EventStart);
    w.field("last_seen_time", Field::EventEnd);
    parts::attacks(w);
    w.key("analytic").open();
    w.field("uid", Field::RuleId);
    w.field("name", Field::RuleName);
    w.pair("type_id", 1, "type", "Rule");
    w.field("version", Field::RuleVersion);
    w.close();
    w.key("data_sources").open_list().item().word("trapline.event");
    w.close_list();
    if let Some(hits) = w.view.int(Field::FindingHits) {
        w.key("related_events_count").small(hits);
    }
    if w.view.id(Field::DigestSample).is_some() {
        w.key("related_events").open_list().item().open();
        w.field("uid", Field::DigestSample);
        w.close();
        w.close_list();
    }
    w.close();
}

fn evidences(w: &mut Writer<'_, '_>) {
    w.key("evidences").open_list().item().open();
    parts::endpoints(w);
    if w.view.get(Field::ScanPorts).is_some() {
        w.key("data").open();
        w.field("ports", Field::ScanPorts);
        w.close();
    }
    w.close();
    w.close_list();
}

fn authentication(w: &mut Writer<'_, '_>) {
    w.key("user").open();
    // The class needs a user; who offered none tried the empty name.
    if !w.field("name", Field::UserName) {
        w.key("name").word("");
    }
    w.field("domain", Field::UserDomain);
    w.close();
    let service = match w.view.service() {
        "" => "unknown",
        service => service,
    };
    w.key("service").open().key("name").text(service);
    w.close();
    failure(w);
    w.key("is_remote").bool(true);
    if matches!(
        w.view.service(),
        "telnet" | "ftp" | "http" | "snmp" | "pop3" | "imap" | "smtp"
    ) {
        w.key("is_cleartext").bool(true);
    }
    let (id, caption) = match w.view.service() {
        "ssh" | "telnet" | "rdp" | "vnc" => (10, "Remote Interactive"),
        _ => (3, "Network"),
    };
    w.pair("logon_type_id", id, "logon_type", caption);
    protocol(w);
    if w.view.text(Field::HttpMethod).is_some() {
        parts::http_request(w);
    }
}

/// How the login was spoken, and with which kind of secret.
fn protocol(w: &mut Writer<'_, '_>) {
    let kind = w.view.text(Field::CredentialKind);
    match (w.view.action(), w.view.service(), kind) {
        (Action::Ntlm, ..) => w.pair("auth_protocol_id", 1, "auth_protocol", "NTLM"),
        (_, "http" | "https", Some("password")) => {
            w.pair("auth_protocol_id", 11, "auth_protocol", "Basic Authentication");
        }
        (_, service, kind) => {
            w.key("auth_protocol_id").int(99);
            let name = [service_caption(service), " ", kind.unwrap_or("credential")].concat();
            w.key("auth_protocol").text(&name);
        }
    }
    if matches!(kind, Some("password" | "form")) {
        w.key("auth_factors").open_list().item().open();
        w.pair("factor_type_id", 11, "factor_type", "Password");
        w.close();
        w.close_list();
    }
}

fn http(w: &mut Writer<'_, '_>) {
    parts::http_request(w);
    if let Some(status) = w.view.int(Field::HttpStatus) {
        w.key("http_response").open().key("code").small(status);
        w.close();
        w.place(Field::HttpStatus);
    }
    if w.view.text(Field::FileName).is_some() {
        file(w);
    }
}

fn rdp(w: &mut Writer<'_, '_>) {
    w.field("identifier_cookie", Field::RdpCookie);
    if w.view.text(Field::UserName).is_some() {
        w.key("user").open();
        w.field("name", Field::UserName);
        w.field("domain", Field::UserDomain);
        w.close();
    }
}

fn smb(w: &mut Writer<'_, '_>) {
    w.field("client_dialects", Field::SmbDialects);
    w.field("share", Field::SmbShare);
    file(w);
}

fn ftp(w: &mut Writer<'_, '_>) {
    w.field("command", Field::FtpCommand);
    if w.view.text(Field::FileName).is_some() {
        file(w);
    }
}

/// `file`; its name and type are required, a file without a name has the empty one.
fn file(w: &mut Writer<'_, '_>) {
    w.key("file").open();
    if !w.field("name", Field::FileName) {
        w.key("name").word("");
    }
    w.pair("type_id", 1, "type", "Regular File");
    w.field("size", Field::FileSize);
    if w.view.text(Field::FileHashSha256).is_some_and(is_hex::<64>) {
        w.key("hashes").open_list().item().open();
        w.pair("algorithm_id", 3, "algorithm", "SHA-256");
        w.field("value", Field::FileHashSha256);
        w.close();
        w.close_list();
    }
    w.close();
}

fn ssh(w: &mut Writer<'_, '_>) {
    let version = w
        .view
        .text(Field::SshClientVersion)
        .and_then(|ident| ident.strip_prefix("SSH-"));
    if let Some((version, _)) = version.and_then(|rest| rest.split_once('-')) {
        w.key("protocol_ver").text(version);
    }
    if w.view.text(Field::SshHassh).is_some_and(is_hex::<32>) {
        w.key("client_hassh").open();
        w.field("algorithm", Field::SshHasshAlgorithms);
        w.key("fingerprint").open();
        w.pair("algorithm_id", 20, "algorithm", "HASSH");
        w.field("value", Field::SshHassh);
        w.close();
        w.close();
    }
}

fn lifecycle(w: &mut Writer<'_, '_>) {
    w.key("app");
    parts::product(w);
    let (name, uid) = match w.view.action() {
        Action::ListenerStarted | Action::ListenerStopped => ("decoy listener", Some(Field::DecoyId)),
        Action::SinkRecovered => ("sink", Some(Field::SinkName)),
        Action::ConfigReloaded => ("configuration", None),
        Action::ChainHead => ("journal", None),
        Action::SourceFolded => ("limits", None),
        Action::Recovered => ("start", None),
        _ => ("sensor", None),
    };
    w.key("feature").open().key("name").word(name);
    if let Some(uid) = uid {
        w.field("uid", uid);
    }
    w.close();
    w.close();
    count(w);
    success(w);
    w.field("status_detail", Field::EventReason);
}

fn error(w: &mut Writer<'_, '_>) {
    count(w);
    failure(w);
}

fn datastore(w: &mut Writer<'_, '_>) {
    w.key("actor").open();
    if w.view.text(Field::UserName).is_some() {
        w.key("user").open();
        w.field("name", Field::UserName);
        w.close();
    }
    w.key("session").open();
    w.field("uid", Field::SessionId);
    w.key("is_remote").bool(true);
    w.close();
    w.close();
    let service = w.view.service();
    let (id, caption) = match service {
        "mysql" | "mssql" | "postgresql" | "postgres" => (1, "Relational"),
        _ => (6, "NoSQL"),
    };
    debug_assert!(is_datastore(service), "`{service}` is no database");
    w.key("database").open().key("name").text(service_caption(service));
    w.pair("type_id", id, "type", caption);
    w.close();
    w.pair("type_id", 1, "type", "Database");
    if let [query] = w.view.texts(Field::Commands) {
        w.key("query_info").open().key("name").word("query");
        w.key("query_string").text(query);
        w.close();
        w.place(Field::Commands);
    }
}
