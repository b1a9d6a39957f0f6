//! The live feed over kills and trims: who comes back with the last id has each event once, or is told what is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::feed::{Sent, Stream, WEB, feed_address, token};
use super::harness::touch;
use super::salvage::{end, fill};
use super::*;

const CONNECTS: &str = "?action=decoy-connect";

/// A trap with the feed that does not run yet, with these keys of `[journal]`.
fn fed(journal: &str) -> Trap {
    let trap = idle();
    let config = std::fs::read_to_string(trap.config()).unwrap();
    trap.configure(&format!(
        "{}{WEB}",
        config.replace("[journal]", &format!("[journal]\n{journal}"))
    ));
    trap
}

/// The offsets of contacts in the journal that are behind this one.
fn contacts(trap: &Trap, behind: u64) -> Vec<u64> {
    let events = trap.events(&["--limit", "0", "--action", "decoy-connect"]);
    let offsets = events
        .iter()
        .map(|event| event["honeyport.journal.sequence"].as_u64().unwrap());
    offsets.filter(|offset| *offset > behind).collect()
}

#[test]
fn a_kill_in_mid_stream_costs_and_doubles_no_event_for_who_comes_back_with_the_last_id() {
    let mut trap = fed("");
    trap.launch();
    let soc = token(&trap, "soc");
    let mut stream = Stream::sse(feed_address(&trap), CONNECTS, &soc, None);
    let begun = stream.id.unwrap();
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let (door, stopped) = (trap.address("door"), stop.clone());
        let toucher = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(mut contact) = std::net::TcpStream::connect(door) else {
                    return;
                };
                let _ = std::io::Read::read(&mut contact, &mut [0; 64]);
            }
        });
        seen.extend(stream.by_ref().take(40).map(|sent| sent.id));
        trap.signal("KILL");
        trap.ended();
        stop.store(true, Ordering::Relaxed);
        toucher.join().unwrap();
        // What was on its way still comes.
        seen.extend(stream.by_ref().map(|sent| sent.id));
        assert!(!stream.is_whole, "a kill cuts it off");
        trap.launch();
        stream = Stream::sse(feed_address(&trap), CONNECTS, &soc, stream.id);
    }
    let before = contacts(&trap, begun).len();
    touch(trap.address("door"));
    let recorded = eventually("the last touch is recorded", || {
        Some(contacts(&trap, begun)).filter(|recorded| recorded.len() > before)
    });
    while seen.len() < recorded.len() {
        seen.push(stream.next().unwrap().id);
    }
    assert!(recorded.len() > 120, "{}", recorded.len());
    assert!(seen == recorded, "seen {seen:?}\nrecorded {recorded:?}");

    trap.signal("TERM");
    assert_eq!(stream.next().map(|sent| sent.id), None);
    assert!(stream.is_whole, "an orderly end is one for the stream too");
    assert_eq!(trap.ended().code(), DONE);
}

#[test]
fn what_retention_took_meanwhile_is_a_gap_with_its_range_before_all_that_is_left() {
    const CONTACTS: u64 = 20_000;
    let mut trap = fed("retain_bytes = \"4MiB\"");
    trap.launch();
    let soc = token(&trap, "soc");
    let mut stream = Stream::sse(feed_address(&trap), CONNECTS, &soc, None);
    touch(trap.address("door"));
    let had = stream.next().unwrap().id;
    let like = trap.events(&["--action", "decoy-connect"]).pop().unwrap();
    end(&mut trap);
    fill(&trap, &like, CONTACTS, 0);
    trap.launch();
    let (mut before, mut same) = (0, 0);
    let oldest = eventually("the trim is at its bound", || {
        let oldest = trap.status()["journal"]["oldest"].as_u64().unwrap();
        same = if oldest == before { same + 1 } else { 0 };
        before = oldest;
        (oldest > CONTACTS / 2 && same > 50).then_some(oldest)
    });
    let address = feed_address(&trap);
    // One that takes nothing costs the others nothing.
    let slow: Vec<_> = (0..10)
        .map(|_| Stream::open(address, "/api/v1/events/stream?after=0", &soc, &[]))
        .collect();
    let told: Vec<Sent> = Stream::sse(address, CONNECTS, &soc, Some(had)).take(501).collect();
    let gap = &told[0];
    let lost = oldest - 1 - had;
    let expected = serde_json::json!({ "first": had + 1, "last": oldest - 1, "lost": lost });
    assert_eq!((gap.event.as_str(), gap.id, &gap.data), ("gap", oldest - 1, &expected));
    let ids: Vec<_> = told[1..].iter().map(|sent| sent.id).collect();
    assert_eq!(ids, contacts(&trap, had)[..500]);

    let path = format!("/api/v1/events/stream{CONNECTS}&after={had}&framing=ndjson");
    let mut lines = Stream::open(address, &path, &soc, &[]);
    let line = |stream: &mut Stream| serde_json::from_str::<Value>(&stream.line().unwrap()).unwrap();
    assert_eq!(line(&mut lines), serde_json::json!({ "offset": had }));
    assert_eq!(
        line(&mut lines),
        serde_json::json!({ "offset": oldest - 1, "gap": expected })
    );
    assert_eq!(line(&mut lines)["offset"], ids[0]);

    let all = contacts(&trap, had).len();
    let read = Stream::sse(address, CONNECTS, &soc, Some(oldest - 1)).take(all).count();
    assert_eq!(read, all);
    let status = trap.status();
    assert!(status["web"]["streams"].as_u64().unwrap() >= 10, "{status:#}");
    let memory = status["process"]["memory_bytes"].as_u64().unwrap();
    assert!(memory < 160 << 20, "{memory}");
    drop(slow);

    // An id of another journal: said, and all there is follows.
    let foreign: Vec<_> = Stream::sse(address, CONNECTS, &soc, Some(9_999_999)).take(2).collect();
    assert_eq!(
        (foreign[0].event.as_str(), &foreign[0].data["after"]),
        ("gap", &serde_json::json!(9_999_999))
    );
    assert_eq!(foreign[1].id, ids[0]);
}
