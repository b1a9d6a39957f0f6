//! What the recorder makes of hits.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Event, Field, Timestamp, Value, codec, ids};
use uuid::Uuid;

use super::leases::Leases;
use super::maker::Maker;
use super::neighbours::Change;
use super::{Append, HostEvent, Networks, STATE, Settings, start};
use crate::decoy::testing::{settings, spec};
use crate::decoy::{DecoySpec, Secrets};
use crate::journal::{Commit, Journal, JournalError, JournalSettings};
use crate::roles::{Capture, Contact, Hit, Missed, OfferedSecret, Touch};

const SILENT: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";
const NOON: i64 = 1_772_600_400_000_000;

fn decoy(name: &str) -> DecoySpec {
    let mut decoy = spec(SILENT);
    decoy.name = name.into();
    decoy
}

fn hit(action: Action, source: &str, spec: DecoySpec) -> Hit {
    let at = Timestamp::from_micros(NOON);
    let contact = Contact {
        session: Uuid::from_u128(5),
        at,
        peer: format!("{source}:40000").parse().unwrap(),
        local: "10.1.1.1:22".parse().unwrap(),
        transport: spec.service.transports()[0],
        spec: Arc::new(spec),
    };
    Hit {
        action,
        at,
        contact: Arc::new(contact),
        touch: Touch::Contact,
        facts: Vec::new(),
        secret: None,
        capture: None,
    }
}

fn text(event: &Event, field: Field) -> &str {
    event.text(field).map(|text| text.as_str()).unwrap_or_default()
}

#[test]
fn identity_and_place_are_bound_once_for_all() {
    let mut maker = Maker::new(settings());
    let event = maker.event(hit(Action::Connect, "203.0.113.7", decoy("ssh"))).unwrap();
    let identity = settings().identity;
    assert_eq!(text(&event, Field::ObserverName), "lure-01");
    assert_eq!(text(&event, Field::Site), "lyon");
    assert_eq!(event.uuid(Field::BootId), Some(identity.boot));
    assert_eq!(text(&event, Field::DecoyId), "ssh");
    assert_eq!(text(&event, Field::SourceZone), "external");
    assert_eq!(event.get(Field::SourceZoneInside), Some(&Value::Bool(false)));
    assert_eq!(event.get(Field::SourceSpoofable), Some(&Value::Bool(false)));
    assert_eq!(event.get(Field::EventRiskScore), Some(&Value::Float(25.0)));
    let incident = ids::incident(&identity.key, "203.0.113.7".parse().unwrap(), event.at);
    assert_eq!(event.uuid(Field::IncidentId), Some(incident));
    let flow = ids::community(6, "203.0.113.7:40000".parse().unwrap(), "10.1.1.1:22".parse().unwrap());
    assert_eq!(text(&event, Field::NetworkCommunityId), flow);
    assert_eq!(codec::decode(&codec::encode(&event)).unwrap(), event);
}

#[test]
fn what_is_known_of_the_source_is_bound_to_the_event() {
    let source: IpAddr = "10.2.3.4".parse().unwrap();
    let mut settings = settings();
    settings.rules.owners = Networks::new(vec![
        ("10.0.0.0/8".parse().unwrap(), "office".into()),
        ("10.2.0.0/16".parse().unwrap(), "net_team".into()),
    ]);
    settings.rules.shared = Networks::new(vec![("10.2.3.0/24".parse().unwrap(), ())]);
    let hosts = Arc::clone(&settings.hosts);
    hosts.put_leases(Leases::read(b"1700000000 00:00:5e:00:53:23 10.2.3.4 ws-0417 *\n").by_address);
    let mut maker = Maker::new(settings);
    let event = maker.event(hit(Action::Connect, "10.2.3.4", decoy("ssh"))).unwrap();
    assert_eq!(text(&event, Field::SourceOwner), "net_team");
    assert_eq!(event.get(Field::SourceSharedAddress), Some(&Value::Bool(true)));
    assert_eq!(text(&event, Field::SourceDomain), "ws-0417");
    assert_eq!(text(&event, Field::SourceMac), "00-00-5E-00-53-23", "of the lease");
    hosts.note(Change {
        address: source,
        mac: Some("00-00-5E-00-53-99".into()),
    });
    let mut named = hit(Action::Ntlm, "10.2.3.4", decoy("smb"));
    named.facts.push((Field::SourceDomain, "WS-EVIL".into()));
    let event = maker.event(named).unwrap();
    assert_eq!(
        text(&event, Field::SourceMac),
        "00-00-5E-00-53-99",
        "what the kernel sees counts more"
    );
    assert_eq!(
        text(&event, Field::SourceDomain),
        "WS-EVIL",
        "what the peer says of itself is what it said"
    );
    hosts.note(Change {
        address: source,
        mac: None,
    });
    let event = maker.event(hit(Action::Connect, "192.0.2.9", decoy("ssh"))).unwrap();
    for field in [
        Field::SourceOwner,
        Field::SourceSharedAddress,
        Field::SourceDomain,
        Field::SourceMac,
    ] {
        assert_eq!(event.get(field), None, "{}", field.name());
    }
}

#[test]
fn the_third_decoy_of_a_source_is_intent_and_graver() {
    let mut maker = Maker::new(settings());
    let mut levels = Vec::new();
    for name in ["ssh", "ftp", "ssh", "http"] {
        let event = maker.event(hit(Action::Connect, "10.2.3.4", decoy(name))).unwrap();
        let risk = event.get(Field::EventRiskScore).cloned();
        levels.push((text(&event, Field::TouchLevel).to_owned(), risk));
    }
    let contact = ("contact".to_owned(), Some(Value::Float(60.0)));
    let intent = ("intent".to_owned(), Some(Value::Float(70.0)));
    assert_eq!(levels, [contact.clone(), contact.clone(), contact, intent]);
}

fn credential(policy: Secrets) -> Event {
    let mut spec = decoy("ssh");
    spec.secrets = policy;
    let mut hit = hit(Action::Credential, "203.0.113.7", spec);
    hit.secret = Some(OfferedSecret {
        bytes: b"hunter2".as_slice().into(),
    });
    Maker::new(settings()).event(hit).unwrap()
}

#[test]
fn a_secret_is_kept_as_the_policy_says() {
    let hmac = settings().identity.key.hmac_hex(b"hunter2");
    for (policy, clear, keyed) in [
        (Secrets::Hmac, "", &*hmac),
        (Secrets::Clear, "hunter2", ""),
        (Secrets::None, "", ""),
    ] {
        let event = credential(policy);
        assert_eq!(text(&event, Field::CredentialSecret), clear);
        assert_eq!(text(&event, Field::CredentialSecretHmac), keyed);
        assert_eq!(event.int(Field::CredentialSecretLength), Some(7));
        assert_eq!(event.get(Field::CredentialAccepted), Some(&Value::Bool(false)));
    }
}

fn payload(kept: &[u8], secrets: Vec<std::ops::Range<usize>>, has_secret: bool) -> Event {
    let mut hit = hit(Action::Payload, "203.0.113.7", decoy("ssh"));
    hit.capture = Some(Box::new(Capture {
        kept: kept.to_vec(),
        seen: 99,
        sha256: [0xab; 32],
        secrets,
        has_secret,
        hold: None,
    }));
    Maker::new(settings()).event(hit).unwrap()
}

#[test]
fn a_payload_with_a_secret_is_masked_and_its_hash_is_keyed() {
    let event = payload(b"PASS hunter2\r\n", std::iter::once(5..12).collect(), true);
    assert_eq!(
        event.get(Field::PayloadBase64),
        Some(&Value::Bytes(b"PASS *******\r\n".as_slice().into()))
    );
    assert_eq!(text(&event, Field::PayloadSha256), "");
    assert_eq!(
        text(&event, Field::PayloadHmac),
        settings().identity.key.hmac_hex(&[0xab; 32])
    );
    assert_eq!(event.get(Field::PayloadMasked), Some(&Value::Bool(true)));
    let plain = payload(b"GET", vec![], false);
    assert_eq!(text(&plain, Field::PayloadSha256), "ab".repeat(32));
    assert_eq!(plain.get(Field::PayloadHmac), None);
    let beyond = payload(b"GET", vec![], true);
    assert_eq!(
        text(&beyond, Field::PayloadSha256),
        "",
        "a secret beyond what is kept keys the hash as well"
    );
}

proptest! {
    #[test]
    fn any_bytes_and_names_make_a_body_that_reads_back(
        kept in proptest::collection::vec(any::<u8>(), 1..200),
        user in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut hit = hit(Action::Credential, "203.0.113.7", decoy("ssh"));
        hit.facts.push((Field::UserName, trapline_schemas::text::clean(&user).into()));
        hit.secret = Some(OfferedSecret { bytes: kept.clone().into() });
        let event = Maker::new(settings()).event(hit).unwrap();
        let body = codec::encode(&event);
        prop_assert!(!std::str::from_utf8(&body).unwrap().chars().any(char::is_control));
        prop_assert_eq!(codec::decode(&body).unwrap(), event);
    }
}

struct Bodies(mpsc::Sender<Bytes>);

impl Append for Bodies {
    async fn append(&self, commit: Commit) -> Result<(), JournalError> {
        for body in commit.append {
            self.0.send(body).await.map_err(|_| JournalError::Closed)?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_flood_is_bounded_counted_and_told_at_the_stop_and_others_are_served() {
    let mut few = settings();
    few.rules.events_per_source_per_minute = 10;
    let (recorder, task) = start(few);
    let (bodies, mut bodies_in) = mpsc::channel(1000);
    for _ in 0..500 {
        recorder
            .hits()
            .send(hit(Action::Connect, "203.0.113.7", decoy("ssh")))
            .await
            .unwrap();
    }
    recorder
        .hits()
        .send(hit(Action::Connect, "203.0.113.8", decoy("ssh")))
        .await
        .unwrap();
    recorder.host(HostEvent::new(Action::SensorStopped, Vec::new())).await;
    let stop = CancellationToken::new();
    stop.cancel();
    task.run(Bodies(bodies), stop).await;
    let mut events = Vec::new();
    while let Some(body) = bodies_in.recv().await {
        events.push(codec::decode(&body).unwrap());
    }
    let of = |action| events.iter().filter(|event| event.action == action).collect::<Vec<_>>();
    assert_eq!(of(Action::Connect).len(), 11);
    assert_eq!(of(Action::SensorStopped).len(), 1);
    // The minute of these hits is long over, so a part may be told before the rest has come.
    let folded = of(Action::SourceFolded);
    let hits = folded.iter().filter_map(|event| event.int(Field::FindingHits));
    assert_eq!(hits.sum::<i64>(), 490, "{folded:?}");
    for event in folded {
        assert_eq!(event.ip(Field::SourceIp), Some("203.0.113.7".parse().unwrap()));
        let noon = Value::Time(Timestamp::from_micros(NOON));
        assert_eq!(event.get(Field::EventStart), Some(&noon));
    }
}

#[tokio::test(start_paused = true)]
async fn a_folded_count_of_a_minute_that_is_over_is_told_without_another_hit() {
    let mut few = settings();
    few.rules.events_per_source_per_minute = 1;
    let (recorder, task) = start(few);
    let (bodies, mut bodies_in) = mpsc::channel(1000);
    tokio::runtime::Handle::current().spawn(task.run(Bodies(bodies), CancellationToken::new()));
    for _ in 0..3 {
        recorder
            .hits()
            .send(hit(Action::Connect, "203.0.113.7", decoy("ssh")))
            .await
            .unwrap();
    }
    let connect = codec::decode(&bodies_in.recv().await.unwrap()).unwrap();
    let folded = codec::decode(&bodies_in.recv().await.unwrap()).unwrap();
    assert_eq!((connect.action, folded.action), (Action::Connect, Action::SourceFolded));
    assert_eq!(folded.int(Field::FindingHits), Some(2));
}

fn missed(decoy: &Arc<DecoySpec>, datagrams: u64, at: i64) -> Missed {
    let at = Timestamp::from_micros(NOON + at);
    Missed {
        spec: Arc::clone(decoy),
        datagrams,
        first: at,
        last: at,
    }
}

#[tokio::test]
async fn what_the_kernel_dropped_is_one_exact_gap_of_its_decoy_at_the_stop() {
    let (recorder, task) = start(settings());
    let (snmp, dns) = (Arc::new(decoy("snmp")), Arc::new(decoy("dns")));
    for part in [missed(&snmp, 3, 0), missed(&dns, 5, 1), missed(&snmp, 4, 2)] {
        recorder.missed().send(part).await.unwrap();
    }
    let (bodies, mut bodies_in) = mpsc::channel(1000);
    let stop = CancellationToken::new();
    stop.cancel();
    task.run(Bodies(bodies), stop).await;
    let mut gaps = Vec::new();
    while let Some(body) = bodies_in.recv().await {
        gaps.push(codec::decode(&body).unwrap());
    }
    let told: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.action, text(gap, Field::DecoyId), gap.int(Field::FindingHits)))
        .collect();
    let gap = |decoy, count| (Action::JournalGap, decoy, Some(count));
    assert_eq!(told, [gap("snmp", 7), gap("dns", 5)]);
    let at = |micros| Some(Value::Time(Timestamp::from_micros(NOON + micros)));
    let span = [Field::EventStart, Field::EventEnd].map(|field| gaps[0].get(field).cloned());
    assert_eq!(span, [at(0), at(2)]);
    assert_eq!(text(&gaps[0], Field::ObserverName), "lure-01");
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_a_minute_that_is_over_is_told_without_a_hit() {
    let (recorder, task) = start(settings());
    let (bodies, mut bodies_in) = mpsc::channel(1000);
    tokio::runtime::Handle::current().spawn(task.run(Bodies(bodies), CancellationToken::new()));
    let part = missed(&Arc::new(decoy("snmp")), 3, 0);
    recorder.missed().send(part).await.unwrap();
    let gap = codec::decode(&bodies_in.recv().await.unwrap()).unwrap();
    assert_eq!((gap.action, gap.int(Field::FindingHits)), (Action::JournalGap, Some(3)));
}

type Rows = std::collections::BTreeMap<String, Vec<u8>>;

/// Keeps what is handed over, as the journal would: events, and state.
#[derive(Clone, Default)]
struct Kept(Arc<std::sync::Mutex<(Vec<Event>, Rows)>>);

impl Append for Kept {
    async fn append(&self, commit: Commit) -> Result<(), JournalError> {
        let mut kept = self.0.lock().unwrap();
        kept.0
            .extend(commit.append.iter().map(|body| codec::decode(body).unwrap()));
        for (key, value) in commit.state {
            match value {
                Some(value) => kept.1.insert(key, value),
                None => kept.1.remove(&key),
            };
        }
        Ok(())
    }
}

impl Kept {
    fn state(&self) -> Vec<(String, Vec<u8>)> {
        self.0.lock().unwrap().1.clone().into_iter().collect()
    }

    /// How many hits and datagrams its events stand for.
    fn told(&self) -> (i64, i64) {
        let (mut hits, mut datagrams) = (0, 0);
        for event in &self.0.lock().unwrap().0 {
            match event.action {
                Action::JournalGap => datagrams += event.int(Field::FindingHits).unwrap(),
                Action::SourceFolded => hits += event.int(Field::FindingHits).unwrap(),
                _ => hits += 1,
            }
        }
        (hits, datagrams)
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_before_a_kill_is_told_once_by_the_next_run() {
    let few = || {
        let mut few = settings();
        few.rules.events_per_source_per_minute = 10;
        few
    };
    let (recorder, task) = start(few());
    let kept = Kept::default();
    let running = tokio::runtime::Handle::current().spawn(task.run(kept.clone(), CancellationToken::new()));
    let now = Timestamp::now();
    let send = async |count: usize| {
        for _ in 0..count {
            let mut hit = hit(Action::Connect, "203.0.113.7", decoy("ssh"));
            hit.at = now;
            recorder.hits().send(hit).await.unwrap();
        }
        // Counts are looked at each second.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    };
    send(30).await;
    let part = Missed {
        first: now,
        last: now,
        ..missed(&Arc::new(decoy("snmp")), 3, 0)
    };
    recorder.missed().send(part).await.unwrap();
    send(15).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled(), "killed");
    for _ in 0..2 {
        let state = kept.state();
        let (_recorder, task) = start(Settings { state, ..few() });
        let stop = CancellationToken::new();
        stop.cancel();
        task.run(kept.clone(), stop).await;
        assert_eq!(kept.told(), (45, 3), "once");
    }
    assert!(
        kept.state().iter().all(|(key, _)| key.starts_with(STATE)),
        "{:?}",
        kept.state()
    );
}

const DAY: i64 = 86_400_000_000;

/// One run: records a hit of `source` on a day, and gives its event once it is durable.
async fn run(journal: &Journal, source: &str, day: i64) -> Event {
    let state = journal.states(STATE).await.unwrap();
    let (recorder, task) = start(Settings { state, ..settings() });
    let mut hit = hit(Action::Connect, source, decoy("ssh"));
    hit.at = Timestamp::from_micros(NOON + day * DAY);
    recorder.hits().send(hit).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    task.run(journal.clone(), stop).await;
    let next = journal.commit(Commit::default()).await.unwrap();
    let entries = journal.read(next - 1, 1, 1 << 20).await.unwrap();
    codec::decode(&entries[0].body).unwrap()
}

/// What a kill leaves on the disk: the files as they are now, with the log not carried over.
fn killed(from: &Path, to: &Path) -> Journal {
    for file in ["journal.db", "journal.db-wal"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    Journal::open(JournalSettings::at(to.join("journal.db"))).unwrap().0
}

#[tokio::test]
async fn killed_between_the_days_the_new_incident_still_names_that_of_yesterday() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [first, second, third] = &folders;
    let (journal, _) = Journal::open(JournalSettings::at(first.path().join("journal.db"))).unwrap();
    let yesterday = run(&journal, "203.0.113.7", 0).await;
    let other = run(&journal, "203.0.113.8", 0).await;
    let journal = killed(first.path(), second.path());
    let today = run(&journal, "203.0.113.7", 1).await;
    assert_ne!(today.get(Field::IncidentId), yesterday.get(Field::IncidentId));
    assert_eq!(today.get(Field::IncidentPrevious), yesterday.get(Field::IncidentId));
    let stranger = run(&journal, "203.0.113.9", 1).await;
    assert_eq!(stranger.get(Field::IncidentPrevious), None);
    // Also on the same day, of a source that came only before the kill.
    let journal = killed(second.path(), third.path());
    let late = run(&journal, "203.0.113.8", 1).await;
    assert_eq!(late.get(Field::IncidentPrevious), other.get(Field::IncidentId));
    let tomorrow = run(&journal, "203.0.113.7", 2).await;
    assert_eq!(tomorrow.get(Field::IncidentPrevious), today.get(Field::IncidentId));
}

#[tokio::test]
async fn who_is_known_today_costs_the_journal_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
    run(&journal, "203.0.113.7", 0).await;
    let before = journal.states(STATE).await.unwrap();
    assert_eq!(before.len(), 1);
    run(&journal, "203.0.113.7", 0).await;
    assert_eq!(journal.states(STATE).await.unwrap(), before);
    journal.close().await;
}
