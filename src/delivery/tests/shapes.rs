//! Sinks behind nodes that change events get their own form; the others, and the journal, the recorded one.

use std::sync::Arc;

use trapline_schemas::{Action, Event, Field, Format};
use trapline_sink::Parcel;

use super::aside::{ask_for, ended, order};
use super::double::MemoryStore;
use super::sinks::{Rig, ScriptedSink, hit, sunk};
use super::windows::{behind, throttle};
use crate::delivery::feed::{Decoder, Feed, Item, Taken};
use crate::fresh::Fresh;
use crate::graph::Body;
use crate::graph::shape::{RedactSpec, SampleSpec, With};
use crate::graph::transforms::{TransformKind, TransformSpec};

pub(super) fn redact(name: &str, input: &str) -> TransformSpec {
    let redact = RedactSpec {
        fields: vec![Field::SourceIp],
        with: With::Hmac,
    };
    TransformSpec {
        name: name.to_owned(),
        inputs: vec![input.to_owned()],
        kind: TransformKind::Redact(redact),
    }
}

fn is_hidden(events: &[Arc<Event>]) -> bool {
    events.iter().all(|event| event.ip(Field::SourceIp).is_none())
}

#[tokio::test(start_paused = true)]
async fn passes_and_counts_behind_a_redact_say_no_more_than_the_redacted_events_did() {
    let store = MemoryStore::new();
    let (few, private, raw) = (ScriptedSink::good(), ScriptedSink::good(), ScriptedSink::good());
    let mut window = throttle("few", "hide", 2);
    if let TransformKind::Window(spec) = &mut window.kind {
        spec.by = vec![Field::SourceAddress];
    }
    let sinks = vec![
        behind("few_sink", &["few"], &few),
        behind("private", &["hide"], &private),
        sunk("raw", &raw),
    ];
    let _rig = Rig::start_with(&store, vec![redact("hide", "decoys"), window], sinks).await;
    let sent: Vec<_> = (0..5).map(|secs| hit(secs, 1)).collect();
    for event in &sent {
        store.append(event);
    }
    few.wait_for(3).await;
    private.wait_for(5).await;
    raw.wait_for(5).await;
    assert!(is_hidden(&few.got()) && is_hidden(&private.got()));
    assert!(raw.got().iter().all(|event| event.ip(Field::SourceIp).is_some()));
    let ids = |events: Vec<Arc<Event>>| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(private.got()), ids(raw.got()), "under the same ids");
    let got = few.got();
    let pseudonym = got[0].text(Field::SourceAddress).unwrap().clone();
    assert_eq!(
        (got[2].action, got[2].int(Field::FindingHits)),
        (Action::HeldBack, Some(3))
    );
    assert_eq!(
        got[2].text(Field::TransformKey),
        Some(&pseudonym),
        "one key, and it is the pseudonym"
    );
    let kept = store.bodies().into_iter().filter(|(_, body)| match body {
        Body::Event(event) => event.action == Action::Connect && event.ip(Field::SourceIp).is_some(),
        Body::Pass(_) => false,
    });
    assert_eq!(kept.count(), 5, "the journal keeps what was recorded");
}

#[tokio::test(start_paused = true)]
async fn a_replay_sends_no_more_than_the_sink_got_live_and_in_the_same_form() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let few = TransformSpec {
        name: "few".to_owned(),
        inputs: vec!["hide".to_owned()],
        kind: TransformKind::Sample(SampleSpec {
            one_in: 3,
            by: Vec::new(),
            keep: None,
        }),
    };
    let sinks = vec![behind("siem", &["few"], &sink)];
    let rig = Rig::start_with(&store, vec![redact("hide", "decoys"), few], sinks).await;
    for source in 0..60 {
        store.append(&hit(0, source));
    }
    rig.wait_for_status("siem", |status| status.cursor == 61).await;
    let live = sink.got();
    assert!(!live.is_empty() && live.len() < 60 && is_hidden(&live));
    ask_for(&store, &order(1, 61)).await;
    rig.board.call();
    ended(&store).await;
    assert_eq!(sink.got()[live.len()..], live);
}

#[tokio::test]
async fn sinks_behind_the_same_nodes_share_one_form_and_it_is_rendered_ahead() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let sinks = vec![
        behind("a", &["hide"], &sink),
        behind("b", &["hide"], &sink),
        sunk("raw", &sink),
    ];
    let plan = super::sinks::plan(vec![redact("hide", "decoys")], sinks);
    let feed = Feed::new(1);
    let places: Vec<_> = ["a", "b", "raw"]
        .into_iter()
        .map(|name| {
            let place = Arc::new(std::sync::atomic::AtomicU64::new(1));
            feed.register(&place, plan.graph.sink(name).unwrap(), Some(Format::Ecs));
            place
        })
        .collect();
    store.append(&hit(1, 1));
    let decoder = Decoder {
        store: Arc::new(store.clone()),
        graph: Arc::clone(&plan.graph),
    };
    let fresh = Arc::new(Fresh::default()).taker();
    let mut tip = feed.tip();
    tokio::select! {
        () = feed.run(&decoder, &fresh) => unreachable!("the store is open"),
        told = tip.changed() => told.unwrap(),
    }
    let Taken::Items(items, _) = feed.take(1, 1) else {
        panic!("the hit is in the ring")
    };
    let own =
        |item: &Item, name: &str| -> Arc<Parcel> { Arc::clone(item.for_node(plan.graph.sink(name).unwrap()).unwrap()) };
    let [a, b, raw] = ["a", "b", "raw"].map(|name| own(&items[0], name));
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &raw));
    assert!(a.is_rendered(Format::Ecs), "two need it");
    assert!(!raw.is_rendered(Format::Ecs), "one needs it");
    drop(places);
}
