//! What digests and deduplication say.

use std::net::IpAddr;
use std::time::Duration;

use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Timestamp, Value, ids};
use uuid::Uuid;

use super::digest::LIST_MAX;
use super::*;

const SECOND: i64 = 1_000_000;
const T0: i64 = 1_700_000_040 * SECOND;

fn spec(policy: Policy) -> WindowSpec {
    WindowSpec {
        by: vec![Field::SourceIp],
        window: Duration::from_secs(60),
        policy,
    }
}

const AT_ONCE: Policy = Policy::Aggregate { first: First::AtOnce };
const NEVER: Policy = Policy::Aggregate { first: First::Never };

fn fresh(policy: Policy) -> Windows {
    Windows::restore("digest", &spec(policy), Vec::new()).0
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(T0 + secs * SECOND)
}

fn hit(secs: i64, action: Action, decoy: &str) -> Event {
    let mut event = Event::new(Uuid::from_u128(secs as u128), at(secs), action);
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 7]));
    event.set(Field::DecoyId, decoy);
    event.set(Field::TouchLevel, "contact");
    event.set(Field::EventRiskScore, 25.0);
    event
}

fn login(secs: i64, decoy: &str, user: &str) -> Event {
    let mut event = hit(secs, Action::Credential, decoy);
    event.set(Field::UserName, user);
    event.set(Field::TouchLevel, "proof");
    event.set(Field::EventRiskScore, 50.0);
    event.set(Field::DestinationPort, 22_i64);
    event
}

fn closed(windows: &mut Windows) -> Vec<Event> {
    windows.tick(at(61));
    windows.close(10)
}

fn words(words: &[&str]) -> Option<Value> {
    Some(Value::Texts(words.iter().map(SmolStr::new).collect()))
}

#[test]
fn a_digest_counts_by_action_and_names_who_and_what_took_part() {
    let mut windows = fresh(NEVER);
    for event in [
        hit(0, Action::Connect, "ssh"),
        login(1, "ssh", "root"),
        login(2, "ssh", "admin"),
        login(3, "ssh", "root"),
        hit(4, Action::Connect, "ftp"),
    ] {
        assert_eq!(windows.see(&event), Verdict::Hold);
    }
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!((digest.action, digest.at), (Action::Digest, at(60)));
    assert_eq!(digest.id, ids::derived("digest", "203.0.113.7", at(0)));
    assert_eq!(digest.int(Field::FindingHits), Some(5));
    assert_eq!(digest.int(Field::DigestPassed), Some(0));
    assert_eq!(
        digest.get(Field::DigestActions).cloned(),
        words(&["decoy-credential=3", "decoy-connect=2"])
    );
    assert_eq!(digest.get(Field::ScanDecoys).cloned(), words(&["ftp", "ssh"]));
    assert_eq!(digest.get(Field::DigestUsers).cloned(), words(&["admin", "root"]));
    assert_eq!(digest.get(Field::ScanPorts), Some(&Value::Ints(vec![22])));
    assert_eq!(digest.text(Field::TouchLevel).unwrap(), "proof");
    assert_eq!(digest.get(Field::EventRiskScore), Some(&Value::Float(50.0)));
    assert_eq!(digest.get(Field::EventStart), Some(&Value::Time(at(0))));
    assert_eq!(digest.get(Field::EventEnd), Some(&Value::Time(at(4))));
    assert_eq!(digest.uuid(Field::DigestSample), Some(Uuid::from_u128(0)));
    assert_eq!(digest.text(Field::DecoyId), None, "they do not agree on the decoy");
    assert_eq!(digest.ip(Field::SourceIp), Some(IpAddr::from([203, 0, 113, 7])));
    assert_eq!(digest.get(Field::DigestSources), None, "one source is `source.ip`");
}

#[test]
fn with_the_first_at_once_the_digest_counts_the_others_and_spans_them_all() {
    let mut windows = fresh(AT_ONCE);
    assert_eq!(windows.see(&login(1, "ssh", "root")), Verdict::Pass);
    assert!(closed(&mut windows).is_empty(), "a lone event needs no digest");
    let mut windows = fresh(AT_ONCE);
    windows.see(&login(1, "ssh", "root"));
    windows.see(&hit(9, Action::Connect, "ssh"));
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!(digest.int(Field::FindingHits), Some(1));
    assert_eq!(digest.int(Field::DigestPassed), Some(1));
    assert_eq!(digest.get(Field::DigestActions).cloned(), words(&["decoy-connect=1"]));
    assert_eq!(digest.get(Field::EventStart), Some(&Value::Time(at(1))));
    assert_eq!(digest.text(Field::TouchLevel).unwrap(), "proof", "of all of them");
    assert_eq!(digest.text(Field::DecoyId).unwrap(), "ssh");
}

#[test]
fn what_they_do_not_agree_on_is_gone_for_good_and_sources_are_listed() {
    let mut windows = Windows::restore(
        "all",
        &WindowSpec {
            by: vec![],
            ..spec(NEVER)
        },
        Vec::new(),
    )
    .0;
    for last in [7, 8, 7] {
        let mut event = hit(1, Action::Connect, "ssh");
        event.set(Field::SourceIp, IpAddr::from([203, 0, 113, last]));
        event.set(Field::IncidentId, Uuid::from_u128(last.into()));
        windows.see(&event);
    }
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!(digest.ip(Field::SourceIp), None);
    assert_eq!(digest.uuid(Field::IncidentId), None);
    assert_eq!(digest.int(Field::DigestSourceCount), Some(2));
    assert_eq!(digest.text(Field::TransformKey).unwrap(), "(all)");
    assert_eq!(digest.text(Field::DecoyId).unwrap(), "ssh");
}

#[test]
fn lists_are_bounded_and_counts_are_not() {
    let mut windows = fresh(NEVER);
    for n in 0..100 {
        windows.see(&login(1, "ssh", &format!("user{n:03}")));
    }
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    let Some(Value::Texts(users)) = digest.get(Field::DigestUsers) else {
        panic!("users")
    };
    assert_eq!((users.len(), digest.int(Field::FindingHits)), (LIST_MAX, Some(100)));
}

#[test]
fn dedupe_passes_the_first_and_tells_how_often_it_came_again() {
    let mut windows = fresh(Policy::Dedupe);
    let verdicts: Vec<_> = (1..4).map(|n| windows.see(&login(n, "ssh", "root"))).collect();
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Hold, Verdict::Hold]);
    let [told] = &closed(&mut windows)[..] else {
        panic!("one event")
    };
    assert_eq!(told.action, Action::HeldBack);
    assert_eq!(told.int(Field::FindingHits), Some(2));
    assert_eq!(told.text(Field::EventReason).unwrap(), "2 repeats of the first");
    assert_eq!(told.uuid(Field::DigestSample), Some(Uuid::from_u128(1)));
}

#[test]
fn a_node_that_becomes_an_aggregate_tells_what_its_throttle_held_back_and_gives_other_ids() {
    let mut windows = fresh(Policy::Throttle { limit: 1 });
    for n in 0..3 {
        windows.see(&login(n, "ssh", "root"));
    }
    let rows: Vec<_> = windows
        .changes()
        .into_iter()
        .filter_map(|(key, row)| Some((key, row?)))
        .collect();
    let (mut windows, dropped) = Windows::restore("digest", &spec(NEVER), rows);
    assert_eq!(dropped, 0);
    windows.see(&login(5, "ssh", "root"));
    let told = closed(&mut windows);
    let kinds: Vec<_> = told
        .iter()
        .map(|event| (event.action, event.int(Field::FindingHits)))
        .collect();
    assert_eq!(kinds, [(Action::HeldBack, Some(2)), (Action::Digest, Some(1))]);
    assert_ne!(told[0].id, told[1].id);
}

#[test]
fn a_row_of_the_first_version_is_read_for_ever() {
    let meta = br#"{"v":1,"epoch":0,"mark":1700000043000000,"window":60000000,"by":["source.ip"]}"#;
    let bucket = br#"1 2 3 1700000041000000 1700000043000000
{"v":1,"id":"00000000-0000-0000-0000-000000000000","at":1700000041000000,"action":"held-back","honeyport.transform.key":"192.0.2.1","honeyport.transform.name":"digest","source.ip":"192.0.2.1"}"#;
    let rows = vec![
        ("window/digest".to_owned(), meta.to_vec()),
        (format!("window/digest/0/{T0}/192.0.2.1"), bucket.to_vec()),
    ];
    let (mut windows, dropped) = Windows::restore("digest", &spec(Policy::Throttle { limit: 2 }), rows);
    assert_eq!(dropped, 0);
    let told = closed(&mut windows);
    assert_eq!(told[0].int(Field::FindingHits), Some(3));
    assert_eq!(
        told[0].id,
        ids::derived("digest", "192.0.2.1", at(0)),
        "not partial: the same node"
    );
}
