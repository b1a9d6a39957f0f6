//! `events`: what was touched is read, live and afterwards.

use super::*;

#[test]
fn a_touch_is_an_event_that_status_events_and_the_sink_agree_on() {
    let trap = Trap::start(PLAIN);
    assert!(touch(trap.address("door")).starts_with(b"SSH-2.0-"));
    let hit = eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect", "--decoy", "door", "--source", "127.0.0.1"])
            .pop()
    });
    assert_eq!(hit["honeyport.decoy.id"], "door");
    let line = eventually("the file sink has it", || {
        let written = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap_or_default();
        written
            .lines()
            .find(|line| line.contains(hit["id"].as_str().unwrap()))
            .map(str::to_owned)
    });
    assert!(line.contains("\"decoy-connect\""), "{line}");
    let sink = eventually("the sink has no lag", || {
        let status = trap.status();
        let sink = status["sinks"][0].clone();
        (sink["lag"] == 0).then_some(sink)
    });
    assert_eq!(
        (sink["name"].as_str(), sink["health"].as_str()),
        (Some("archive"), Some("ok"))
    );
    assert!(sink["delivered"].as_u64().unwrap() >= 1);
}

#[test]
fn events_are_filtered_by_every_option() {
    let trap = Trap::start(PLAIN);
    let address = trap.address("door");
    touch(address);
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    let port = address.port().to_string();
    let hit = trap.events(&["--action", "decoy-connect"]).pop().unwrap();
    let incident = hit["honeyport.incident.id"].as_str().unwrap();
    for matching in [
        &["--since", "1h"][..],
        &["--source", "127.0.0.0/8"],
        &["--port", &port],
        &["--level", hit["honeyport.touch.level"].as_str().unwrap()],
        &["--incident", incident],
        &["--limit", "0"],
    ] {
        assert!(trap.events(matching).contains(&hit), "{matching:?}");
    }
    for other in [
        &["--until", "1h"][..],
        &["--source", "10.0.0.0/8"],
        &["--port", "1"],
        &["--decoy", "nobody"],
        &["--user", "nobody"],
        &["--level", "proof"],
    ] {
        assert!(!trap.events(other).contains(&hit), "{other:?}");
    }
    assert_eq!(trap.events(&["--limit", "1"]).len(), 1);
    let wrong = trap.trapline(&["events", "--action", "decoy-conect"]);
    assert_eq!(wrong.status.code(), USAGE);
    assert!(
        text(&wrong.stderr).contains("did you mean `decoy-connect`"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn every_format_of_events_is_one_line_an_event() {
    let trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    for (format, mark) in [
        ("ecs", "\"@timestamp\""),
        ("ocsf", "\"class_uid\":4001"),
        ("cef", "CEF:0|"),
        ("leef", "LEEF:2.0|"),
        ("text", "127.0.0.1"),
        ("table", "door:"),
    ] {
        let output = trap.trapline(&["events", "--action", "decoy-connect", "--format", format]);
        let said = text(&output.stdout);
        assert!(said.contains(mark), "{format}: {said}");
        let heads = usize::from(format == "table");
        assert_eq!(said.lines().count(), 1 + heads, "{format}: {said}");
    }
}

#[test]
fn events_are_read_from_the_file_when_nothing_runs() {
    let mut trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let actions: Vec<_> = trap
        .events(&["--limit", "0"])
        .iter()
        .map(|event| event["action"].clone())
        .collect();
    for action in ["sensor-started", "listener-started", "decoy-connect", "sensor-stopped"] {
        assert!(actions.iter().any(|found| found == action), "{action} in {actions:?}");
    }
}

#[test]
fn a_pager_that_reads_the_file_keeps_no_start_out() {
    let mut trap = Trap::start(PLAIN);
    (0..100).for_each(|_| drop(touch(trap.address("door"))));
    eventually("the hits are events", || {
        Some(trap.events(&["--action", "decoy-connect", "--limit", "0"])).filter(|hits| hits.len() == 100)
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    // More than a pipe holds, and nobody takes more than the first byte of it.
    let mut pager = trap
        .command(&["events", "--limit", "0", "--format", "ecs"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = pager.stdout.take().unwrap();
    let mut text = vec![0];
    printed.read_exact(&mut text).unwrap();
    trap.launch();
    touch(trap.address("door"));
    printed.read_to_end(&mut text).unwrap();
    assert!(pager.wait().unwrap().success());
    assert!(text.len() > 65536, "{} bytes fit into a pipe", text.len());
    assert!(lines(&text).len() >= 100);
}

/// The sum of a whole number over events.
fn sum(events: &[serde_json::Value], field: &str) -> u64 {
    events.iter().filter_map(|event| event[field].as_u64()).sum()
}

#[test]
fn each_datagram_of_a_flood_is_in_the_journal_or_in_the_count_of_what_the_kernel_dropped() {
    const FLOOD: u64 = 20_000;
    let decoy = "[decoys.well]\nservice = \"snmp\"\nlisten = [\"127.0.0.1:0\"]\n";
    let mut trap = Trap::start(&format!("{PLAIN}\n{decoy}"));
    let well = trap.address("well");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // Stopped, it reads nothing: the socket fills up and the rest is dropped.
    trap.signal("STOP");
    for _ in 0..FLOOD {
        socket.send_to(b"x", well).unwrap();
    }
    trap.signal("CONT");
    trap.signal("TERM");
    trap.ended();
    let gaps = trap.events(&["--action", "journal-gap", "--limit", "0"]);
    let probes = trap.events(&["--action", "decoy-udp-probe", "--limit", "0"]);
    let dropped = sum(&gaps, "honeyport.finding.hits");
    assert!(dropped > 1000, "{gaps:#?}");
    assert_eq!(sum(&probes, "source.packets") + dropped, FLOOD);
    assert!(gaps.len() <= 2, "at most one a minute: {gaps:#?}");
    assert!(gaps.iter().all(|gap| gap["honeyport.decoy.id"] == "well"), "{gaps:#?}");
}

#[test]
fn events_follow_shows_a_hit_as_it_comes() {
    let trap = Trap::start(PLAIN);
    let mut follower = trap
        .command(&["events", "--follow", "--json", "--action", "decoy-connect"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    touch(trap.address("door"));
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("\"honeyport.decoy.id\":\"door\""), "{line}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn events_follow_says_when_the_instance_ends() {
    let mut trap = Trap::start(PLAIN);
    let mut follower = trap
        .command(&["events", "--follow", "--action", "decoy-connect"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    touch(trap.address("door"));
    lines.next().unwrap().unwrap();
    trap.signal("TERM");
    trap.ended();
    assert_eq!(follower.wait().unwrap().code(), FAILED);
    let mut said = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the running instance ended"), "{said}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let trap = Trap::start(PLAIN);
    let mut command = trap
        .command(&["events", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command.stdout.take());
    assert_eq!(command.wait().unwrap().code(), DONE);
    let mut said = String::new();
    command.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn following_events_of_a_time_that_is_over_ends() {
    let trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    let output = trap.trapline(&["events", "--follow", "--until", "1h"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
}
