//! Ports that others have, and machines without IPv6.

use std::net::TcpListener;

use super::harness::{text, touch};
use super::*;

/// [`PLAIN`] and a second decoy that is to listen at `address`, with these further keys.
fn with_window(trap: &Trap, address: &str, keys: &str) {
    let config = std::fs::read_to_string(trap.config()).unwrap();
    let window = format!("[decoys.window]\nservice = \"ftp\"\nlisten = [\"{address}\"]\n{keys}\n");
    trap.configure(&format!("{config}\n{window}"));
}

fn listener(trap: &Trap, decoy: &str) -> Value {
    let status = trap.status();
    let listeners = status["listeners"].as_array().unwrap();
    listeners
        .iter()
        .find(|listener| listener["decoy"] == decoy)
        .unwrap()
        .clone()
}

#[test]
fn a_taken_port_costs_no_other_decoy_and_is_had_once_it_is_free() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let mut trap = idle();
    with_window(&trap, &address.to_string(), "");
    trap.launch();
    assert!(touch(trap.address("door")).starts_with(b"SSH-2.0-"));
    let window = listener(&trap, "window");
    assert_eq!(
        (&window["bound"], &window["health"]),
        (&Value::Bool(false), &"degraded".into()),
        "{window}"
    );
    assert!(
        window["error"].as_str().unwrap().contains("taken by another process"),
        "{window}"
    );
    assert_eq!(trap.status()["health"], "degraded");
    drop(other);
    // It is tried again every 30 s.
    eventually("the port is had", || {
        (listener(&trap, "window")["bound"] == true).then_some(())
    });
    assert!(touch(address).starts_with(b"220"));
    assert_eq!(trap.status()["health"], "ok");
}

#[test]
fn a_strict_decoy_without_its_port_ends_the_start_and_leaves_nothing_behind() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let mut trap = idle();
    with_window(&trap, &address.to_string(), "strict = true");
    let ended = trap.trapline(&["run"]);
    assert_eq!(ended.status.code(), FAILED);
    let said = text(&ended.stderr);
    assert!(
        said.contains("window") && said.contains("taken by another process"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
    drop(other);
    trap.launch();
    assert!(
        touch(address).starts_with(b"220"),
        "the journal was left free for the next start"
    );
}

#[test]
fn a_machine_without_ipv6_leaves_those_listeners_out_with_a_note() {
    let Some(shim) = Shim::build() else { return };
    shim.begin("no-ipv6");
    let mut trap = idle();
    shim.lay_under(&mut trap);
    with_window(&trap, "[::]:0", "strict = true");
    trap.launch();
    assert!(touch(trap.address("door")).starts_with(b"SSH-2.0-"));
    let window = listener(&trap, "window");
    assert_eq!(window["bound"], false);
    assert!(window["error"].as_str().unwrap().contains("no IPv6"), "{window}");
    assert_eq!(trap.status()["health"], "ok", "a note, not a fault");
    assert!(trap.log().contains("leaves out an address family"), "{}", trap.log());
}
