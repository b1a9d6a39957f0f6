//! Knot DNS as the primary, which polices nothing itself, and Unbound that gets the zone from it.

#![expect(clippy::panic, reason = "tests fail so")]

mod lab;

use lab::{
    DIG, EMPTY_ZONE, KNOTD, NAMED, SECRET, Server, TEST_ZONE, UNBOUND, bind, reconcile, sink, until, wanted, within,
};
use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, Wanted};

/// Knot with the policy zone, given as a whole (of an IXFR, Unbound 1.17.1 keeps the client-ip triggers that it removes), told to Unbound, and the zone that is asked for.
fn knot() -> Server {
    let config = format!(
        "server:
  rundir: DIR
  listen: 10.0.0.53@53
database:
  storage: DIR
log:
  - target: stderr
    any: info
key:
  - id: trapline
    algorithm: hmac-sha256
    secret: {SECRET}
  - id: reader
    algorithm: hmac-sha256
    secret: {SECRET}
remote:
  - id: unbound
    address: 10.0.0.54@53
acl:
  - id: trapline
    key: trapline
    action: [update, transfer]
  - id: reader
    key: reader
    action: transfer
  - id: unbound
    address: 10.0.0.0/8
    action: transfer
zone:
  - domain: rpz.test
    storage: DIR
    file: rpz.db
    acl: [trapline, reader, unbound]
    notify: unbound
    provide-ixfr: off
  - domain: test
    storage: DIR
    file: test.db
"
    );
    let files = [("rpz.db", EMPTY_ZONE), ("test.db", TEST_ZONE)];
    let server = Server::start("10.0.0.53", "/usr/sbin/knotd -c", "knot.conf", &config, &files);
    until("knot has its zones", || {
        lab::dig("10.0.0.53", "10.0.0.8", "www.test", "A", &[]).starts_with("NOERROR 203")
    });
    server
}

/// A resolver that gets the policy zone from the primary, and asks it for the rest.
fn unbound() -> Server {
    let config = "server:
  interface: 10.0.0.54
  outgoing-interface: 10.0.0.54
  access-control: 10.0.0.0/8 allow
  do-daemonize: no
  use-syslog: no
  logfile: \"\"
  verbosity: 1
  username: \"\"
  chroot: \"\"
  pidfile: \"\"
  directory: \"DIR\"
  do-not-query-localhost: no
  module-config: \"respip iterator\"
  local-zone: test. nodefault
  cache-max-ttl: 0
remote-control:
  control-enable: no
rpz:
  name: rpz.test
  primary: 10.0.0.53
  allow-notify: 10.0.0.0/8
  zonefile: DIR/rpz.zone
stub-zone:
  name: test
  stub-addr: 10.0.0.53
";
    Server::start("10.0.0.54", "/usr/sbin/unbound -d -c", "unbound.conf", config, &[])
}

fn asked(client: &str, name: &str, rtype: &str, expected: &str) {
    until(&format!("{name} {rtype} from {client} is {expected}"), || {
        lab::dig("10.0.0.54", client, name, rtype, &["+ignore"]) == expected
    });
}

#[test]
fn what_is_decided_reaches_unbound_through_knot_and_is_undone() {
    within(
        "what_is_decided_reaches_unbound_through_knot_and_is_undone",
        &[KNOTD, UNBOUND, DIG],
        async || {
            let _knot = knot();
            let unbound = unbound();
            through_unbound().await;
            let log = unbound.log();
            assert!(!log.contains("error"), "{log}");
        },
    );
}

#[test]
fn what_is_decided_reaches_unbound_through_bind_and_is_undone() {
    within(
        "what_is_decided_reaches_unbound_through_bind_and_is_undone",
        &[NAMED, UNBOUND, DIG],
        async || {
            // The primary polices nothing itself here: Unbound would get its answers policed already.
            let _bind = bind(lab::NAMED_RUN, "provide-ixfr no;");
            let _unbound = unbound();
            through_unbound().await;
        },
    );
}

async fn through_unbound() {
    let sink = sink("policy = \"nxdomain\"\nprobe = { resolver = \"10.0.0.54\", wait = \"30s\" }");
    asked("10.0.0.7", "other.test", "A", "NOERROR 198.51.100.1");
    asked("10.0.0.8", "www.test", "A", "NOERROR 203.0.113.77");
    asked("10.0.0.8", "tie.test", "AAAA", "NOERROR 2001:db8::1:0:0:5");
    let targets = ["10.0.0.7", "203.0.113.77", "2001:db8:0:0:1:0:0:5", "2001:db8:9:9::/64"];
    // Settled: the probe has seen it in force at Unbound.
    assert_eq!(reconcile(&sink, &wanted(&targets)).await, 4);
    assert_eq!(sink.notes(), [""; 0]);
    asked("10.0.0.7", "other.test", "A", "NXDOMAIN");
    asked("10.0.0.8", "other.test", "A", "NOERROR 198.51.100.1");
    for (name, rtype) in [("www.test", "A"), ("tie.test", "AAAA"), ("net.test", "AAAA")] {
        asked("10.0.0.8", name, rtype, "NXDOMAIN");
    }
    assert_eq!(reconcile(&sink, &Wanted::new()).await, 4);
    asked("10.0.0.8", "www.test", "A", "NOERROR 203.0.113.77");
    asked("10.0.0.8", "tie.test", "AAAA", "NOERROR 2001:db8::1:0:0:5");
    asked("10.0.0.7", "other.test", "A", "NOERROR 198.51.100.1");
}

#[test]
fn what_knot_refuses_is_told_with_what_to_look_at() {
    within(
        "what_knot_refuses_is_told_with_what_to_look_at",
        &[KNOTD, DIG],
        async || {
            let _knot = knot();
            let other = "YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMtLS0tLS0=";
            for (name, secret, kind, word) in [
                ("trapline", other, FaultKind::Auth, "BADSIG"),
                ("nobody", SECRET, FaultKind::Auth, "BADKEY"),
                ("reader", SECRET, FaultKind::Auth, "does not let it do this"),
            ] {
                let sink = sink(&format!("tsig = {{ name = \"{name}\", secret = \"{secret}\" }}"));
                let applied = sink.apply(&[Change::Put(lab::member("10.0.0.7"))]).await;
                assert_eq!(applied.outcomes, [Put::Retry]);
                let fault = applied.fault.unwrap();
                assert!(fault.kind == kind && fault.message.contains(word), "{name}: {fault:?}");
            }
        },
    );
}
