//! What is chosen where nobody says: nftables, in a network namespace, with packets.

mod world;

use trapline_sink_firewall::Kind;
use world::{Peer, build, member, reconcile, run, settings, standing, targets, wanted};

const NEEDS: &[(&str, &str)] = &[("/usr/sbin/nft", "nftables"), ("/usr/bin/nc", "netcat-openbsd")];

#[tokio::test(flavor = "multi_thread")]
async fn auto_shuts_out_by_nftables_and_comes_back_after_a_flush() {
    if !world::within("auto_shuts_out_by_nftables_and_comes_back_after_a_flush", NEEDS) {
        return;
    }
    let peer = Peer::new();
    let sink = build(&settings(Kind::Auto), false);
    let members = wanted(&[member("198.51.100.2", 600), member("2001:db8::2", 600)]);
    assert_eq!(reconcile(&sink, &members).await, 2);
    assert!(peer.is_shut_out("198.51.100.2") && peer.is_shut_out("2001:db8::2"));
    assert!(peer.is_let_in("198.51.100.3") && peer.is_let_in("2001:db8::3"));
    run("nft flush ruleset");
    reconcile(&sink, &members).await;
    assert_eq!(standing(&sink).await, targets(&["198.51.100.2", "2001:db8::2"]));
    assert!(peer.is_shut_out("198.51.100.2"));
    reconcile(&sink, &wanted(&[])).await;
    assert!(peer.is_let_in("198.51.100.2") && peer.is_let_in("2001:db8::2"));
    sink.close().await;
}
