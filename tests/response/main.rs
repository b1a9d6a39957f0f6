//! The real program acts on sources, and undoes it: real packets between network namespaces.
//!
//! Without root, `ip` or `nft` each test says so on a line that begins with `SKIPPED`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod net;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use harness::{Trap, eventually, json, lines};
use net::{BYSTANDER, HOST, Net, SOURCE, carries};
use serde_json::Value;

/// A decoy of Telnet, one that answers datagrams, and a rule that acts on each contact over TCP.
fn config(mode: &str, ttl: &str) -> String {
    format!(
        "state_dir = 'state'\n\
         [decoys.telnet]\nservice = 'telnet'\nlisten = ['203.0.113.1:23']\n\
         [decoys.snmp]\nservice = 'snmp'\nlisten = ['203.0.113.1:161']\n\
         [response]\nmode = '{mode}'\n\
         [response.rules.all]\ndecoys = ['telnet', 'snmp']\ndo = ['block']\nttl = '{ttl}'\n\
         [sinks.firewall]\ntype = 'firewall'\nbackend = 'nftables'\nowned = false\ninterval = '1s'\n"
    )
}

/// An instance at the host of the net.
fn start(net: &Net, config: &str) -> Trap {
    let mut trap = Trap::idle(config);
    launch(net, &mut trap);
    trap
}

fn launch(net: &Net, trap: &mut Trap) {
    let command = net.at_host(&trap.command(&["run"]));
    trap.launch_by(command);
    eventually("the firewall was compared", || {
        trap.status()["acting"][0]["compared"].as_str().map(str::to_owned)
    });
}

fn decisions(trap: &Trap) -> Vec<Value> {
    lines(&trap.trapline(&["decisions", "list", "--json"]).stdout)
}

/// Waits until one decision stands so.
fn stands(trap: &Trap, state: &str, at_sink: Option<&str>) -> Value {
    eventually(state, || {
        let all = decisions(trap);
        let is_it = |row: &&Value| {
            let sink = row["sinks"][0]["state"].as_str();
            row["state"] == state && at_sink.is_none_or(|wanted| sink == Some(wanted))
        };
        all.iter().find(is_it).cloned()
    })
}

fn touch(net: &Net) {
    let decoy = net.connect(SOURCE, 23).expect("the decoy answers");
    drop(decoy);
}

/// Events about decisions and acts, as `action state`.
fn told(trap: &Trap) -> Vec<String> {
    let events = trap.events(&[]);
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or("").to_owned();
    let about = events
        .iter()
        .filter(|event| event["honeyport.response.state"].is_string());
    let said = |event| format!("{} {}", word(event, "action"), word(event, "honeyport.response.state"));
    about.map(said).collect()
}

#[test]
fn one_touch_shuts_the_source_out_and_nobody_else_until_it_is_lifted() {
    let Some(net) = Net::make() else { return };
    let trap = start(&net, &config("enforce", "1h"));
    let port = net.echo();
    let (mut older, mut other) = (
        net.connect(SOURCE, port).unwrap(),
        net.connect(BYSTANDER, port).unwrap(),
    );
    assert!(carries(&mut older) && carries(&mut other));
    touch(&net);
    let decision = stands(&trap, "active", Some("applied"));
    assert_eq!(decision["target"], SOURCE.to_string());
    assert!(!carries(&mut older), "the older flow goes on");
    assert!(net.connect(SOURCE, port).is_none() && net.connect(SOURCE, 23).is_none());
    assert!(carries(&mut other) && net.connect(BYSTANDER, port).is_some());
    let lifted = trap.trapline(&["decisions", "remove", &SOURCE.to_string(), "--reason", "a test"]);
    assert!(lifted.status.success());
    eventually("the source is let in", || net.connect(SOURCE, port));
    eventually("the undoing is told", || {
        told(&trap).contains(&"unblock-ip lifted".to_owned()).then_some(())
    });
    assert_eq!(
        told(&trap),
        [
            "response-decided decided",
            "block-ip enforced",
            "response-decided ended",
            "unblock-ip lifted"
        ]
    );
    let events = trap.events(&[]);
    let of = |action: &str| events.iter().find(|event| event["action"] == action).unwrap();
    assert_eq!(
        of("block-ip")["honeyport.response.cause_event_id"],
        of("decoy-connect")["id"]
    );
    assert_eq!(of("block-ip")["honeyport.response.id"], decision["id"]);
}

#[test]
fn when_the_time_is_up_the_source_is_let_in_and_that_is_told() {
    let Some(net) = Net::make() else { return };
    let trap = start(&net, &config("enforce", "2s"));
    let port = net.echo();
    touch(&net);
    eventually("the source is shut out", || {
        net.connect(SOURCE, port).is_none().then_some(())
    });
    eventually("the source is let in", || net.connect(SOURCE, port));
    eventually("the undoing is told", || {
        told(&trap).contains(&"unblock-ip lifted".to_owned()).then_some(())
    });
    eventually("nothing is left", || decisions(&trap).is_empty().then_some(()));
}

#[test]
fn a_flush_is_mended_and_what_others_have_is_left_alone() {
    let Some(net) = Net::make() else { return };
    net.nft(&["add table inet theirs"]);
    net.nft(&["add set inet theirs kept { type ipv4_addr; elements = { 192.0.2.1 } }"]);
    let theirs = net.nft(&["list", "table", "inet", "theirs"]);
    let trap = start(&net, &config("enforce", "1h"));
    touch(&net);
    stands(&trap, "active", Some("applied"));
    assert_eq!(net.nft(&["list", "table", "inet", "theirs"]), theirs);
    for wipe in [
        "delete table inet trapline",
        "flush set inet trapline hosts4",
        "flush chain inet trapline shut_out",
    ] {
        net.nft(&[wipe]);
        eventually(wipe, || {
            let table = net.nft(&["list", "table", "inet", "trapline"]);
            (table.contains(&SOURCE.to_string()) && table.contains("@hosts4")).then_some(())
        });
    }
    assert_eq!(net.nft(&["list", "table", "inet", "theirs"]), theirs);
    let mended = eventually("the mending is counted", || {
        trap.status()["acting"][0]["repaired"].as_u64().filter(|n| *n > 0)
    });
    assert!(mended >= 1);
}

#[test]
fn a_kill_keeps_the_rest_of_the_time() {
    let Some(net) = Net::make() else { return };
    let mut trap = start(&net, &config("enforce", "1h"));
    touch(&net);
    let before = stands(&trap, "active", Some("applied"));
    trap.signal("KILL");
    trap.ended();
    net.nft(&["flush ruleset"]);
    launch(&net, &mut trap);
    let after = stands(&trap, "active", Some("applied"));
    for key in ["id", "target", "until", "since", "rule"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    let port = net.echo();
    eventually("it is shut out again", || {
        net.connect(SOURCE, port).is_none().then_some(())
    });
}

#[test]
fn who_observes_says_what_would_be_done_and_changes_nothing() {
    let Some(net) = Net::make() else { return };
    let before = net.nft(&["list", "ruleset"]);
    let trap = start(&net, &config("observe", "1h"));
    touch(&net);
    let decision = stands(&trap, "observed", None);
    assert_eq!(decision["target"], SOURCE.to_string());
    assert_eq!(net.nft(&["list", "ruleset"]), before);
    let refused = trap.trapline(&["decisions", "add", &BYSTANDER.to_string()]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(told(&trap), ["response-decided observed"]);
}

#[test]
fn a_proposal_is_done_when_a_person_says_so() {
    let Some(net) = Net::make() else { return };
    let trap = start(&net, &config("propose", "1h"));
    let port = net.echo();
    touch(&net);
    let proposed = stands(&trap, "proposed", None);
    assert!(net.connect(SOURCE, port).is_some());
    let id = proposed["id"].as_str().unwrap();
    let approved = json(&trap.trapline(&["decisions", "approve", id, "--json"]));
    assert_eq!(approved["decisions"][0]["state"], "active");
    eventually("the source is shut out", || {
        net.connect(SOURCE, port).is_none().then_some(())
    });
}

#[test]
fn datagrams_that_anybody_may_have_sent_act_on_nobody() {
    let Some(net) = Net::make() else { return };
    let trap = start(&net, &config("enforce", "1h"));
    // A GetRequest of sysDescr, community `public`.
    let ask = b"0&\x02\x01\x01\x04\x06public\xa0\x19\x02\x04\x05\x06\x07\x08\x02\x01\x00\x02\x01\x000\x0b0\x09\x06\x05+\x06\x01\x02\x01\x05\x00";
    net.others(|| {
        for number in 0..10_000_u32 {
            let forged = IpAddr::V4(Ipv4Addr::from(0xc612_0000 + number));
            let socket = UdpSocket::bind(SocketAddr::new(forged, 0)).unwrap();
            socket.send_to(ask, SocketAddr::new(HOST, 161)).unwrap();
        }
    });
    eventually("many of them were recorded", || {
        (trap.events(&["--port", "161", "--limit", "0"]).len() > 1_000).then_some(())
    });
    touch(&net);
    stands(&trap, "active", Some("applied"));
    assert_eq!(decisions(&trap).len(), 1);
    let set = net.nft(&["list", "set", "inet", "trapline", "hosts4"]);
    assert!(set.contains(&SOURCE.to_string()) && !set.contains("198.18."), "{set}");
}

#[test]
fn who_is_spared_is_refused_to_rules_and_by_hand() {
    let Some(net) = Net::make() else { return };
    let config = config("enforce", "1h").replace("[response]\n", "[response]\nallow = ['203.0.113.7']\n");
    let trap = start(&net, &config);
    touch(&net);
    eventually("the refusal is told", || {
        told(&trap)
            .contains(&"response-decided refused".to_owned())
            .then_some(())
    });
    assert!(decisions(&trap).is_empty());
    for address in [SOURCE, HOST] {
        let refused = trap.trapline(&["decisions", "add", &address.to_string()]);
        assert_eq!(refused.status.code(), Some(1), "{address}");
    }
    let spared = lines(&trap.trapline(&["decisions", "spared", "--json"]).stdout);
    let whys: Vec<_> = spared.iter().filter_map(|row| row["why"].as_str()).collect();
    assert!(
        whys.contains(&"in `allow`") && whys.contains(&"a gateway of this host"),
        "{whys:?}"
    );
}
