//! What `status` and `send-test` say of decoys and sinks.

use super::*;

#[test]
fn a_port_in_use_degrades_that_decoy_alone() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = with_second_decoy().replacen("127.0.0.1:0", &address.to_string(), 1);
    let trap = Trap::start(&config);
    assert!(touch(trap.address("window")).starts_with(b"220"));
    let status = trap.status();
    assert_eq!(status["health"], "degraded");
    let fault = &status["faults"][0];
    assert_eq!(fault["part"], "decoy door");
    assert!(
        fault["since"].is_string() && !fault["hint"].as_str().unwrap().is_empty(),
        "{fault}"
    );
    let output = trap.trapline(&["status"]);
    assert_eq!(output.status.code(), DONE, "degraded is not failing");
    assert!(
        text(&output.stdout).contains("is taken by another process"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn send_test_goes_through_one_sink_and_is_not_recorded() {
    let trap = Trap::start(PLAIN);
    let before = trap.events(&["--limit", "0"]).len();
    let output = trap.trapline(&["send-test", "archive"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("archive (file): delivered: ") && said.contains(" bytes written and synced"),
        "{said}"
    );
    assert!(
        said.contains("to: ") && said.contains("events.jsonl\nsent: {"),
        "{said}"
    );
    eventually("the file has the test event", || {
        exists(&trap.path("state/events.jsonl"))
    });
    let written = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap();
    assert!(written.contains("test"), "{written}");
    assert_eq!(trap.events(&["--limit", "0"]).len(), before);
    let unknown = trap.trapline(&["send-test", "archiv"]);
    assert_eq!(unknown.status.code(), USAGE);
    assert!(text(&unknown.stderr).contains("`archiv`"), "{}", text(&unknown.stderr));
}

#[test]
fn send_test_says_where_it_sent_what_nobody_confirms_and_why_what_failed_did() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = |name: &str, transport: &str, address: std::net::SocketAddr| {
        format!(
            "[sinks.{name}]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"{transport}\"\naddress = \"{address}\"\n"
        )
    };
    let address = receiver.local_addr().unwrap();
    let trap = Trap::start(&(PLAIN.to_owned() + &log("log", "udp", address) + &log("far", "tcp", nobody)));
    let sent = json(&trap.trapline(&["send-test", "log", "--json"]))[0].clone();
    assert_eq!(
        (&sent["ok"], &sent["unconfirmed"]),
        (&true.into(), &true.into()),
        "{sent}"
    );
    assert_eq!(sent["destination"], format!("udp {address}"));
    assert!(sent["said"].as_str().unwrap().contains("nobody confirms"), "{sent}");
    let output = trap.trapline(&["send-test", "far"]);
    assert_eq!(output.status.code(), FAILED);
    let said = text(&output.stdout);
    assert!(said.contains("not delivered") && said.contains("refused"), "{said}");
    assert!(said.contains(&format!("to: tcp {nobody}")), "{said}");
}

#[test]
fn status_counts_the_dead_letters_of_a_sink_and_tells_the_age_of_the_oldest() {
    let mut trap = Trap::start(PLAIN);
    assert_eq!(trap.status()["sinks"][0]["dead_letters"], 0);
    trap.signal("TERM");
    trap.ended();
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let insert = "INSERT INTO dead_letters (sink, offset, at, reason, body)
        VALUES (?1, ?2, (unixepoch() - ?3) * 1000000, '400: no', 'x')";
    for (sink, offset, age) in [("archive", 2, 7200), ("archive", 3, 60), ("removed", 1, 9999)] {
        file.execute(insert, (sink, offset, age)).unwrap();
    }
    drop(file);
    trap.launch();
    let sink = trap.status()["sinks"][0].clone();
    assert_eq!(sink["dead_letters"], 2, "{sink:#}");
    assert!(sink["oldest_dead_letter_secs"].as_u64().unwrap() >= 7199, "{sink:#}");
    let shown = text(&trap.trapline(&["status"]).stdout);
    assert!(shown.contains("2, oldest 2h"), "{shown}");
}

#[test]
fn a_message_of_syslog_names_the_observer_as_its_host() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sink = format!(
        "[sinks.log]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"udp\"\naddress = \"{}\"\n",
        receiver.local_addr().unwrap()
    );
    let trap = Trap::start(&format!("[observer]\nname = \"lure-dmz-01\"\n{PLAIN}\n{sink}"));
    touch(trap.address("door"));
    let mut bytes = [0; 9000];
    let len = receiver.recv(&mut bytes).unwrap();
    let message = String::from_utf8_lossy(&bytes[..len]);
    assert_eq!(message.split(' ').nth(2), Some("lure-dmz-01"), "{message}");
}

#[test]
fn status_shows_a_sink_that_cannot_deliver_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "{PLAIN}\n[sinks.far]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"tcp\"\naddress = \"{nobody}\"\n"
    );
    let trap = Trap::start(&config);
    touch(trap.address("door"));
    let fault = eventually("the sink is shown as not delivering", || {
        let status = trap.status();
        status["faults"]
            .as_array()
            .unwrap()
            .iter()
            .find(|fault| fault["part"] == "sink far")
            .cloned()
    });
    assert!(
        fault["since"].is_string() && !fault["hint"].as_str().unwrap().is_empty(),
        "{fault}"
    );
    let archive = eventually("the other sink is not held up", || {
        let status = trap.status();
        let sinks = status["sinks"].as_array().unwrap().clone();
        sinks
            .into_iter()
            .find(|sink| sink["name"] == "archive" && sink["lag"] == 0)
    });
    assert_eq!(archive["health"], "ok");
}

#[test]
fn a_new_sink_that_begins_now_is_told_of_the_start_it_came_with() {
    let trap = Trap::start(&PLAIN.replace("inputs = [\"*\"]", "inputs = [\"*\", \"health\"]"));
    let first = eventually("the sink has events", || {
        let written = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap_or_default();
        written.lines().next().map(str::to_owned)
    });
    assert!(first.contains("\"sensor-started\""), "{first}");
}
