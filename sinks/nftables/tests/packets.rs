//! Real packets: what a member sends dies at once, whatever it belongs to; nobody else notices.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod net;

use net::{Net, flows, open, plain, put, take};
use trapline_nftables::Settings;
use trapline_sink::set::{Applied, SetSink};

#[tokio::test]
async fn a_member_is_cut_off_with_all_its_flows_and_a_bystander_is_not() {
    let Some(net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    assert_eq!(sink.stands().await.unwrap(), []);
    let listener = net.listen("host", "10.1.0.1");
    let address = listener.local_addr().unwrap();
    let source = net.flow("source", "10.1.0.2", &listener);
    let bystander = net.flow("bystander", "10.2.0.2", &listener);

    assert_eq!(sink.apply(&[put("10.1.0.2", 60)]).await, Applied::all(1));

    assert!(!flows(&source.0, &source.1));
    assert!(net.connect("source", "10.1.0.2", address).is_none());
    assert!(flows(&bystander.0, &bystander.1));
    net.flow("bystander", "10.2.0.2", &listener);
    assert!(dropped(&*sink).await >= 2.0);

    assert_eq!(sink.apply(&[take("10.1.0.2")]).await, Applied::all(1));
    net.flow("source", "10.1.0.2", &listener);
    sink.close().await;
}

/// Packets dropped of hosts.
async fn dropped(sink: &dyn SetSink) -> f64 {
    sink.stands().await.unwrap();
    let measures = sink.measures();
    let of_hosts = measures
        .iter()
        .filter(|measure| measure.name == "dropped_packets_total");
    of_hosts.map(|measure| measure.value).sum()
}

#[tokio::test]
async fn what_is_only_forwarded_is_cut_off_too() {
    let Some(net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    let listener = net.listen("server", "10.3.0.2");
    let source = net.flow("source", "10.1.0.2", &listener);
    let bystander = net.flow("bystander", "10.2.0.2", &listener);
    assert_eq!(sink.apply(&[put("10.1.0.2", 60)]).await, Applied::all(1));
    assert!(!flows(&source.0, &source.1));
    assert!(
        net.connect("source", "10.1.0.2", listener.local_addr().unwrap())
            .is_none()
    );
    assert!(flows(&bystander.0, &bystander.1));
    sink.close().await;
}

#[tokio::test]
async fn hosts_and_networks_of_both_families_are_cut_off_and_their_neighbours_are_not() {
    let Some(net) = Net::enter() else { return };
    for address in [
        "10.1.0.7/24",
        "10.1.7.9/24",
        "10.1.8.9/24",
        "fd00:1::7/64",
        "fd00:1:0:7::9/64",
        "fd00:1:0:8::9/64",
    ] {
        net.lend(address);
    }
    for route in ["10.1.7.0/24", "10.1.8.0/24", "fd00:1:0:7::/64", "fd00:1:0:8::/64"] {
        net::run("ip", &["route", "add", route, "dev", "source"]);
    }
    for (v6_prefix, table) in [(128, "wide"), (64, "masked")] {
        let settings = Settings {
            v6_prefix,
            table: table.to_owned(),
            ..Settings::default()
        };
        for (target, within, beside, host) in [
            ("10.1.0.7", "10.1.0.7", "10.1.0.2", "10.1.0.1"),
            ("10.1.7.0/24", "10.1.7.9", "10.1.8.9", "10.1.0.1"),
            ("fd00:1::7", "fd00:1::7", "fd00:1::2", "fd00:1::1"),
            ("fd00:1:0:7::/64", "fd00:1:0:7::9", "fd00:1:0:8::9", "fd00:1::1"),
        ] {
            let sink = open(&settings);
            let listener = net.listen("host", host);
            let old = net.flow("source", within, &listener);
            assert_eq!(sink.apply(&[put(target, 60)]).await, Applied::all(1), "{target}");
            assert_eq!(net::shown(&sink.stands().await.unwrap()), net::all(&[(target, 60)]));
            assert!(!flows(&old.0, &old.1), "{target}");
            let address = listener.local_addr().unwrap();
            assert!(net.connect("source", within, address).is_none(), "{target}");
            net.flow("source", beside, &listener);
            assert_eq!(sink.apply(&[take(target)]).await, Applied::all(1), "{target}");
            net.flow("source", within, &listener);
            sink.close().await;
        }
    }
    assert_eq!(net::nft("list ruleset"), "");
}

#[tokio::test]
async fn the_way_that_does_not_wait_cuts_off_as_well() {
    let Some(net) = Net::enter() else { return };
    let sink = open(&plain());
    sink.stands().await.unwrap();
    let listener = net.listen("host", "10.1.0.1");
    let source = net.flow("source", "10.1.0.2", &listener);
    let lane = sink.fast_lane().unwrap();
    lane.put(&net::member("10.1.0.2", 60));
    lane.put(&net::member("10.9.9.0/24", 60));
    lane.put(&net::member("127.0.0.1", 60));
    // An answer to a later question comes after what could not wait.
    let wanted = [("10.1.0.2".to_owned(), 60), ("10.9.9.0/24".to_owned(), 60)];
    assert_eq!(net::shown(&sink.stands().await.unwrap()), wanted);
    assert!(!flows(&source.0, &source.1));
    sink.close().await;
}
