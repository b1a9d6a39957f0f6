//! What people are told, said in full.

use std::net::IpAddr;
use std::time::Duration;

use trapline_schemas::derive::state::State;
use trapline_schemas::{Timestamp, ids};
use uuid::Uuid;

use super::*;
use crate::graph::window::{KEYS_MAX, Policy, Verdict, WindowSpec, Windows};

const SECOND: i64 = 1_000_000;
const T0: i64 = 1_700_000_040 * SECOND;
const NODE: &str = "notices/mail";

const RULES: NoticeRules = NoticeRules {
    first: First::AtOnce,
    keys: 20,
    benign: false,
};

fn spec(rules: NoticeRules) -> WindowSpec {
    WindowSpec {
        by: Vec::new(),
        window: Duration::from_secs(60),
        policy: Policy::Notices(rules),
    }
}

fn windows(rules: NoticeRules) -> Windows {
    Windows::restore(NODE, &spec(rules), Vec::new()).0
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(T0 + secs * SECOND)
}

fn news(secs: i64, action: Action) -> Event {
    Event::new(ids::fresh(at(secs)), at(secs), action)
}

fn hit(secs: i64, source: u32, level: &str) -> Event {
    let action = match level {
        "contact" => Action::Connect,
        "intent" => Action::Handshake,
        _ => Action::Credential,
    };
    let mut event = news(secs, action);
    event.set(Field::SourceIp, IpAddr::from((0x0a00_0000 + source).to_be_bytes()));
    event.set(Field::IncidentId, Uuid::from_u128(u128::from(source)));
    event.set(Field::TouchLevel, level);
    event.set(Field::DecoyId, "ssh");
    event
}

fn sum(secs: i64, source: u32, hits: i64) -> Event {
    let mut event = hit(secs, source, "proof");
    event.action = Action::Digest;
    event.set(Field::FindingHits, hits);
    event.set(
        Field::DigestActions,
        vec![
            SmolStr::new(format!("decoy-credential={}", hits - 1)),
            "decoy-connect=1".into(),
        ],
    );
    event.set(Field::DigestUsers, vec![SmolStr::new("root")]);
    event.set(Field::EventStart, at(secs - 50));
    event
}

/// Which of the events go on.
fn see(windows: &mut Windows, events: impl IntoIterator<Item = Event>) -> Vec<bool> {
    let pass = |event| windows.see(&event) == Verdict::Pass;
    events.into_iter().map(pass).collect()
}

fn closed(windows: &mut Windows) -> Vec<Event> {
    windows.tick(at(61));
    windows.close(usize::MAX)
}

/// What was done or decided about a source.
fn response(secs: i64, source: u32, action: Action, state: State) -> Event {
    let mut event = hit(secs, source, "");
    event.action = action;
    event.remove(Field::TouchLevel);
    event.remove(Field::DecoyId);
    event.set(Field::ResponseState, state.name());
    event
}

/// The same at one place.
fn at_place(secs: i64, source: u32, place: &str, state: State) -> Event {
    let mut event = response(secs, source, Action::Block, state);
    event.set(Field::ResponseTarget, place);
    event
}

#[test]
fn a_decision_is_told_once_and_the_five_places_where_it_is_in_force_are_counted() {
    let mut windows = windows(RULES);
    let places = ["firewall", "cloud", "rpz", "edr", "list"];
    let enforced = places.map(|place| at_place(3, 7, place, State::Enforced));
    let events = [hit(1, 7, "proof"), response(2, 7, Action::Decided, State::Decided)];
    assert_eq!(
        see(&mut windows, events.into_iter().chain(enforced)),
        [true, true, false, false, false, false, false]
    );
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!(
        digest.get(Field::DigestActions),
        Some(&vec![SmolStr::new("block-ip=5")].into())
    );
}

#[test]
fn what_waits_for_a_person_is_told_at_once_whatever_was_told_before() {
    let mut windows = windows(RULES);
    let events = [
        response(1, 7, Action::Decided, State::Decided),
        response(2, 7, Action::Decided, State::Proposed),
        response(3, 7, Action::Decided, State::Proposed),
        response(4, 7, Action::Decided, State::Approved),
    ];
    assert_eq!(see(&mut windows, events), [true, true, false, false]);
}

#[test]
fn what_ended_was_lifted_or_was_only_observed_comes_in_a_digest() {
    let mut windows = windows(RULES);
    let states = [State::Observed, State::Rejected, State::Extended, State::Ended];
    let decisions = states.map(|state| response(1, 7, Action::Decided, state));
    let lifted = response(2, 7, Action::Unblock, State::Lifted);
    // What would be refused if it were done at all.
    let mut refused = response(3, 7, Action::Decided, State::Refused);
    refused.set(Field::ResponseDryRun, true);
    let all = decisions.into_iter().chain([lifted, refused]);
    assert_eq!(see(&mut windows, all), [false; 6]);
    assert_eq!(closed(&mut windows).iter().map(hits).sum::<i64>(), 6);
}

#[test]
fn a_place_that_fails_is_told_of_at_once_and_once_however_many_sources_it_fails_for() {
    let mut windows = windows(RULES);
    let mut repaired = news(5, Action::Repaired);
    repaired.set(Field::ResponseTarget, "cloud");
    let events = [
        response(1, 7, Action::Decided, State::Decided),
        at_place(2, 7, "firewall", State::Failed),
        at_place(3, 8, "firewall", State::Failed),
        at_place(4, 8, "cloud", State::Failed),
        repaired,
    ];
    assert_eq!(see(&mut windows, events), [true, true, false, true, true]);
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!(digest.text(Field::TransformKey).unwrap(), "block-ip firewall");
    assert_eq!(digest.ip(Field::SourceIp), None, "it is of several");
}

fn hits(event: &Event) -> i64 {
    event.int(Field::FindingHits).unwrap()
}

#[test]
fn a_lone_contact_waits_for_the_digest_and_is_told_there() {
    let mut windows = windows(RULES);
    assert_eq!(see(&mut windows, [hit(1, 7, "contact")]), [false]);
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!((digest.action, digest.at), (Action::Digest, at(60)));
    assert_eq!((hits(digest), digest.int(Field::DigestPassed)), (1, Some(0)));
    assert_eq!(digest.text(Field::TransformName).unwrap(), NODE);
    assert_eq!(digest.text(Field::TransformKey).unwrap(), "10.0.0.7");
    assert_eq!(digest.uuid(Field::IncidentId), Some(Uuid::from_u128(7)));
    assert_eq!(digest.ip(Field::SourceIp), Some(IpAddr::from([10, 0, 0, 7])));
}

#[test]
fn an_intent_and_then_a_proof_are_told_at_once_and_all_else_is_counted() {
    let mut windows = windows(RULES);
    let levels = ["contact", "intent", "intent", "proof", "proof", "intent", "contact"];
    let mut end = hit(8, 7, "proof");
    end.action = Action::SessionEnd;
    let events = (1..).zip(levels).map(|(secs, level)| hit(secs, 7, level)).chain([end]);
    assert_eq!(
        see(&mut windows, events),
        [false, true, false, true, false, false, false, false]
    );
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!((hits(digest), digest.int(Field::DigestPassed)), (6, Some(2)));
    assert_eq!(digest.text(Field::TouchLevel).unwrap(), "proof");
}

#[test]
fn a_new_window_tells_anew_and_the_end_of_an_old_session_is_no_news_in_it() {
    let mut windows = windows(RULES);
    assert_eq!(see(&mut windows, [hit(1, 7, "proof")]), [true]);
    let mut end = hit(60, 7, "proof");
    end.action = Action::SessionEnd;
    assert_eq!(see(&mut windows, [end, hit(61, 7, "proof")]), [false, true]);
}

#[test]
fn digests_only_holds_everything_but_what_is_a_digest_already() {
    let mut windows = windows(NoticeRules {
        first: First::Never,
        ..RULES
    });
    let mut failed = news(3, Action::SinkFailed);
    failed.set(Field::SinkName, "siem");
    let events = [hit(1, 7, "proof"), sum(2, 8, 40), failed, news(4, Action::ChainHead)];
    assert_eq!(see(&mut windows, events), [false, true, false, false]);
    assert_eq!(closed(&mut windows).iter().map(hits).sum::<i64>(), 2);
}

#[test]
fn benign_noise_is_neither_told_nor_counted_unless_it_is_asked_for() {
    let printer = || {
        let mut event = hit(1, 7, "proof");
        event.set(Field::BenignName, "printer");
        event
    };
    let mut quiet = windows(RULES);
    assert_eq!(see(&mut quiet, [printer(), printer()]), [false, false]);
    assert!(quiet.due().is_none() && closed(&mut quiet).is_empty());
    let mut chatty = windows(NoticeRules { benign: true, ..RULES });
    assert_eq!(see(&mut chatty, [printer(), printer()]), [true, false]);
    assert_eq!(closed(&mut chatty).iter().map(hits).sum::<i64>(), 1);
}

#[test]
fn news_of_trapline_itself_is_told_at_once_by_action_and_sink_and_its_repeats_are_counted() {
    let mut windows = windows(RULES);
    let about = |action, sink: &str| {
        let mut event = news(1, action);
        event.set(Field::SinkName, sink);
        event
    };
    let events = [
        about(Action::SinkFailed, "siem"),
        about(Action::SinkFailed, "siem"),
        about(Action::SinkFailed, "bus"),
        about(Action::SinkRecovered, "siem"),
        about(Action::JournalGap, "siem"),
        news(2, Action::HostAlarm),
        news(3, Action::ChainHead),
        news(4, Action::ListenerFailed),
    ];
    assert_eq!(
        see(&mut windows, events),
        [true, false, true, true, true, true, false, true]
    );
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!(digest.text(Field::TransformKey).unwrap(), "sink-failed siem");
    assert_eq!(digest.text(Field::SinkName).unwrap(), "siem");
    assert_eq!(hits(digest), 1);
}

#[test]
fn a_scan_is_told_when_it_is_new_unless_its_source_was_told_of() {
    let scan = |source, status: &str| {
        let mut event = hit(2, source, "intent");
        event.action = Action::Scan;
        event.set(Field::FindingStatus, status);
        event.set(Field::FindingHits, 500_i64);
        event
    };
    let mut windows = windows(RULES);
    let events = [
        scan(1, "new"),
        scan(1, "updated"),
        scan(1, "closed"),
        hit(3, 2, "intent"),
        scan(2, "new"),
        hit(4, 1, "proof"),
    ];
    assert_eq!(see(&mut windows, events), [true, false, false, true, false, true]);
    let all: i64 = closed(&mut windows).iter().map(hits).sum();
    assert_eq!(all, 3, "what a scan counts was told by itself");
}

#[test]
fn what_was_folded_is_counted_as_often_as_it_happened() {
    let mut folded = hit(5, 7, "proof");
    folded.action = Action::SourceFolded;
    folded.set(Field::FindingHits, 9000_i64);
    let mut windows = windows(RULES);
    assert_eq!(see(&mut windows, [hit(1, 7, "proof"), folded]), [true, false]);
    assert_eq!(hits(&closed(&mut windows)[0]), 9000);
}

#[test]
fn what_a_transform_summed_up_goes_on_and_beyond_the_bound_counts_for_all_that_it_is() {
    let mut windows = windows(NoticeRules { keys: 2, ..RULES });
    let events = [sum(1, 1, 10), sum(2, 1, 20), sum(3, 2, 30), hit(4, 2, "contact")];
    assert_eq!(see(&mut windows, events), [true, true, false, false]);
    let [digest] = &closed(&mut windows)[..] else {
        panic!("one digest")
    };
    assert_eq!(digest.text(Field::TransformKey).unwrap(), OTHERS);
    assert_eq!(hits(digest), 31);
    let actions = vec![SmolStr::new("decoy-credential=29"), "decoy-connect=2".into()];
    assert_eq!(digest.get(Field::DigestActions), Some(&Value::Texts(actions)));
    assert_eq!(
        digest.get(Field::DigestUsers),
        Some(&Value::Texts(vec!["root".into()])),
        "who took part, too"
    );
    assert_eq!(
        digest.get(Field::EventStart),
        Some(&Value::Time(at(-47))),
        "from the first that was summed up"
    );
}

#[test]
fn ten_thousand_hits_make_a_handful_of_notices_and_none_is_lost_to_count() {
    let mut windows = windows(RULES);
    let flood = (0..10_000).map(|n| hit(n / 200, 7, if n == 0 { "intent" } else { "proof" }));
    let passed = see(&mut windows, flood).into_iter().filter(|pass| *pass).count();
    let digests = closed(&mut windows);
    assert_eq!((passed, digests.len()), (2, 1));
    assert_eq!(hits(&digests[0]) + 2, 10_000);
}

#[test]
fn of_a_thousand_sources_so_many_are_told_one_by_one_and_the_others_together_exactly() {
    let mut windows = windows(RULES);
    let flood = (0..10_000).map(|n| hit(n / 200, n as u32 % 1000, "intent"));
    let passed = see(&mut windows, flood).into_iter().filter(|pass| *pass).count();
    let digests = closed(&mut windows);
    assert_eq!((passed, digests.len()), (15, 21));
    assert_eq!(digests.iter().map(hits).sum::<i64>() + 15, 10_000);
    let others = &digests[0];
    assert_eq!(others.text(Field::TransformKey).unwrap(), OTHERS);
    assert_eq!((hits(others), others.int(Field::DigestSourceCount)), (9800, Some(980)));
    assert!(others.get(Field::IncidentId).is_none() && others.get(Field::SourceIp).is_none());
    let listed = others.get(Field::DigestSources);
    assert!(
        matches!(listed, Some(Value::Ips(listed)) if listed.len() == 32),
        "{listed:?}"
    );
    assert_eq!(others.id, ids::derived(NODE, OTHERS, at(0)));
}

#[test]
fn a_crowd_that_means_it_hides_neither_a_proof_nor_a_sink_that_fails() {
    let mut windows = windows(NoticeRules { keys: 8, ..RULES });
    let crowd = (0..100).map(|source| hit(1, source, "intent"));
    assert_eq!(see(&mut windows, crowd).iter().filter(|pass| **pass).count(), 6);
    let graver = [
        hit(2, 70, "proof"),
        news(3, Action::SinkFailed),
        hit(4, 71, "proof"),
        hit(5, 0, "proof"),
    ];
    assert_eq!(
        see(&mut windows, graver),
        [true, true, false, true],
        "eight are told of, and one of them again"
    );
}

#[test]
fn of_those_that_wait_the_gravest_are_told_one_by_one() {
    let mut windows = windows(NoticeRules {
        first: First::Never,
        keys: 2,
        ..RULES
    });
    let contacts = (0..9).flat_map(|n| [hit(1, n, "contact"), hit(1, n, "contact")]);
    see(&mut windows, contacts);
    see(&mut windows, [hit(2, 50, "proof"), hit(3, 60, "intent")]);
    let digests = closed(&mut windows);
    let keys: Vec<_> = digests
        .iter()
        .map(|event| event.text(Field::TransformKey).unwrap().as_str())
        .collect();
    assert_eq!(keys, [OTHERS, "10.0.0.50", "10.0.0.60"]);
    assert_eq!(hits(&digests[0]), 18);
}

#[test]
fn more_sources_than_find_room_are_counted_all_the_same() {
    let mut windows = windows(RULES);
    let count = u32::try_from(KEYS_MAX).unwrap() + 100;
    see(&mut windows, (0..count).map(|source| hit(1, source, "contact")));
    assert_eq!(see(&mut windows, [hit(2, count, "proof")]), [false], "nobody's own key");
    let digests = closed(&mut windows);
    assert_eq!(digests.len(), 21);
    assert_eq!(digests.iter().map(hits).sum::<i64>(), i64::from(count) + 1);
}

#[test]
fn a_restart_goes_on_from_the_rows_and_a_row_is_read_for_ever() {
    let mut before = windows(NoticeRules { keys: 1, ..RULES });
    see(&mut before, [hit(1, 7, "intent"), hit(2, 7, "contact")]);
    let rows: Vec<_> = before
        .changes()
        .into_iter()
        .map(|(key, row)| (key, row.unwrap()))
        .collect();
    let (_, row) = rows.iter().find(|(key, _)| key.starts_with("notices/mail/0/")).unwrap();
    let line = format!("3 1 1 {} {} 1 1\n{{\"actions\"", at(1).micros(), at(2).micros());
    assert!(row.starts_with(line.as_bytes()), "{}", String::from_utf8_lossy(row));
    let (mut after, dropped) = Windows::restore(NODE, &spec(NoticeRules { keys: 1, ..RULES }), rows);
    assert_eq!(dropped, 0);
    assert_eq!(
        see(
            &mut after,
            [hit(3, 7, "intent"), hit(4, 8, "proof"), hit(5, 7, "proof")]
        ),
        [false, false, true],
        "the only key is taken, and may go further"
    );
    assert_eq!(closed(&mut after).iter().map(hits).sum::<i64>(), 3);
}

#[test]
fn a_source_is_one_key_over_all_its_incidents_and_nobody_stands_for_himself() {
    let mut event = news(1, Action::Connect);
    assert_eq!(
        (key_of(&event).as_str(), shown(&event, "decoy-connect\u{1f}").as_str()),
        ("decoy-connect\u{1f}", "decoy-connect")
    );
    event.set(Field::IncidentId, Uuid::from_u128(1));
    assert_eq!(key_of(&event), Uuid::from_u128(1).to_string());
    event.set(Field::SourceAddress, "pseudonym");
    assert_eq!(key_of(&event), "pseudonym");
    event.set(Field::IncidentId, Uuid::from_u128(2));
    assert_eq!(key_of(&event), "pseudonym");
    assert_eq!(shown(&event, "anything"), "pseudonym");
}
