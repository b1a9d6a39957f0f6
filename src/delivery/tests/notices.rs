//! Sinks that people read, behind the window of their own that the graph gives them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::{Action, Event, Field};
use uuid::Uuid;

use super::double::MemoryStore;
use super::sinks::{Rig, ScriptedSink, Sunk, at, hit, sunk};
use super::windows::{account, by_action, hits_of, killed_at_every_commit};
use crate::delivery::Start;
use crate::graph::window::{First, NoticeRules, Policy, WindowSpec};

fn notices(first: First, keys: u64) -> WindowSpec {
    let rules = NoticeRules {
        first,
        keys,
        benign: false,
    };
    WindowSpec {
        by: Vec::new(),
        window: Duration::from_secs(60),
        policy: Policy::Notices(rules),
    }
}

pub(super) fn read_by_people(name: &'static str, inputs: &'static [&'static str], sink: &Arc<ScriptedSink>) -> Sunk {
    Sunk {
        inputs,
        notices: Some(notices(First::AtOnce, 2)),
        ..sunk(name, sink)
    }
}

fn touch(secs: i64, source: u8, level: &str) -> Event {
    let mut event = hit(secs, source);
    event.set(Field::TouchLevel, level);
    event
}

fn failed(sink: &str) -> Event {
    let mut event = Event::new(Uuid::new_v4(), at(0), Action::SinkFailed);
    event.set(Field::SinkName, sink);
    event
}

#[tokio::test(start_paused = true)]
async fn people_hear_of_the_gravest_at_once_and_of_the_rest_in_one_digest_and_machines_of_all() {
    let store = MemoryStore::new();
    let (mail, siem) = (ScriptedSink::good(), ScriptedSink::good());
    let sinks = vec![read_by_people("mail", &["decoys"], &mail), sunk("siem", &siem)];
    let rig = Rig::start_with(&store, vec![], sinks).await;
    let levels = ["contact", "intent", "contact", "proof", "proof", "intent"];
    let sent: Vec<_> = (0..).zip(levels).map(|(secs, level)| touch(secs, 1, level)).collect();
    for event in &sent {
        store.append(event);
    }
    mail.wait_for(3).await;
    let got = mail.got();
    assert_eq!([got[0].id, got[1].id], [sent[1].id, sent[3].id], "under their own ids");
    assert_eq!((got[2].action, got[2].at), (Action::Digest, at(60)));
    assert_eq!(got[2].int(Field::FindingHits), Some(4));
    siem.wait_for(6).await;
    assert_eq!(siem.got().len(), 6, "what is made for people is theirs alone");
    rig.pipeline.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_hits_in_a_minute_make_a_handful_of_notices_none_lost_to_count() {
    let store = MemoryStore::new();
    let mail = ScriptedSink::good();
    let rig = Rig::start_with(&store, vec![], vec![read_by_people("mail", &["decoys"], &mail)]).await;
    for n in 0..10_000_i64 {
        store.append(&touch(n / 200, (n % 50) as u8, "intent"));
    }
    // Two sources one by one, the others together.
    mail.wait_for(5).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let got = mail.got();
    let digests: Vec<Event> = got
        .iter()
        .filter(|event| event.action == Action::Digest)
        .map(|event| (**event).clone())
        .collect();
    assert_eq!((got.len(), digests.len()), (5, 3));
    assert_eq!(hits_of(&digests) + 2, 10_000);
    assert_eq!(digests[0].int(Field::DigestSourceCount), Some(48));
    rig.pipeline.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_sink_of_people_has_its_own_window() {
    let store = MemoryStore::new();
    let (mail, chat) = (ScriptedSink::good(), ScriptedSink::good());
    let never = Sunk {
        notices: Some(notices(First::Never, 9)),
        ..read_by_people("chat", &["ssh"], &chat)
    };
    let _rig = Rig::start_with(&store, vec![], vec![read_by_people("mail", &["*"], &mail), never]).await;
    store.append(&touch(0, 1, "proof"));
    mail.wait_for(1).await;
    chat.wait_for(1).await;
    assert_eq!(mail.got()[0].action, Action::Connect);
    assert_eq!(chat.got()[0].action, Action::Digest);
}

#[tokio::test(start_paused = true)]
async fn people_are_not_told_of_the_sink_that_tells_them_nor_is_it_counted() {
    let store = MemoryStore::new();
    let mail = ScriptedSink::good();
    let _rig = Rig::start_with(&store, vec![], vec![read_by_people("mail", &["health"], &mail)]).await;
    for sink in ["mail", "siem", "mail", "siem", "mail"] {
        store.append(&failed(sink));
    }
    mail.wait_for(2).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let got = mail.got();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|event| event.text(Field::SinkName).unwrap() == "siem"));
    assert_eq!(got[1].int(Field::FindingHits), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_people_begins_where_it_is_told_to() {
    for (start, expected) in [(Start::Oldest, 2), (Start::Now, 1)] {
        let store = MemoryStore::new();
        let mail = ScriptedSink::good();
        store.append(&touch(0, 1, "proof"));
        let sink = Sunk {
            start,
            ..read_by_people("mail", &["decoys"], &mail)
        };
        let _rig = Rig::start_with(&store, vec![], vec![sink]).await;
        store.append(&touch(1, 2, "proof"));
        mail.wait_for(expected).await;
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(mail.got().len(), expected, "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_people_are_told_is_exact_whichever_commit_the_process_is_killed_at() {
    for (first, keys) in [(First::AtOnce, 2), (First::AtOnce, 1), (First::Never, 2)] {
        let level = |n: u8| ["contact", "intent", "proof"][usize::from(n / 2)];
        let start = async |store: &MemoryStore| {
            let sink = Sunk {
                notices: Some(notices(first, keys)),
                ..sunk("mail", &ScriptedSink::good())
            };
            Rig::start_with(store, vec![], vec![sink]).await
        };
        let accounts = killed_at_every_commit(start, |secs, n| touch(secs, n % 3, level(n))).await;
        for (at, (passes, told)) in accounts.into_iter().enumerate() {
            assert_eq!(
                passes.len() as i64 + hits_of(&told),
                60,
                "killed at commit {at}: each counts once"
            );
            let different: HashSet<_> = passes.iter().collect();
            assert_eq!(different.len(), passes.len(), "no pass comes twice");
            let ids: HashSet<_> = told.iter().map(|event| event.id).collect();
            assert_eq!(ids.len(), told.len(), "no window is told twice");
            for digest in &told {
                assert_eq!(by_action(digest), digest.int(Field::FindingHits).unwrap());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_people_nothing_is_appended() {
    let store = MemoryStore::new();
    let siem = ScriptedSink::good();
    let rig = Rig::start_with(&store, vec![], vec![sunk("siem", &siem)]).await;
    store.append(&touch(0, 1, "proof"));
    siem.wait_for(1).await;
    rig.pipeline.stop().await;
    assert_eq!(store.bodies().len(), 1);
    assert_eq!(account(&store).0, Vec::<u64>::new());
}
