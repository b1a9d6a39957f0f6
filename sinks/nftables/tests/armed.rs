//! The kernel acts by itself: a finished handshake with a decoy shuts out, and nothing less does.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod net;

use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use net::forged::{ACK, RST, SYN, first_number, listen, send};
use net::{Net, all, flows, nft, open, plain, settle, shown, spared, take, wanted};
use trapline_nftables::{Nftables, Settings};
use trapline_sink::FaultKind;
use trapline_sink::set::{Applied, Arming, Door, SetSink};

fn door(address: &str, listener: &TcpListener) -> Door {
    Door {
        address: address.parse().unwrap(),
        port: listener.local_addr().unwrap().port(),
    }
}

fn arming(doors: Vec<Door>) -> Arming {
    Arming {
        doors,
        ttl: Duration::from_secs(600),
        passes: vec!["10.2.0.2/32".parse().unwrap(), "fd00:2::2/128".parse().unwrap()],
        members: 100,
        per_minute: 600,
    }
}

/// A conversation in which the decoy has said a word.
fn greeted(net: &Net, of: &str, from: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let (client, server) = net.flow(of, from, listener);
    assert!(flows(&server, &client));
    (client, server)
}

async fn armed(sink: &Nftables) -> Vec<(String, i64)> {
    shown(&sink.armed().await.unwrap())
}

#[tokio::test]
async fn a_handshake_with_a_decoy_shuts_out_but_for_that_conversation() {
    let Some(net) = Net::enter() else { return };
    for (host, source, passing, any) in [
        ("10.1.0.1", "10.1.0.2", "10.2.0.2", "0.0.0.0"),
        ("fd00:1::1", "fd00:1::2", "fd00:2::2", "::"),
    ] {
        for address in [any, host] {
            let sink = open(&Settings::default());
            let (decoy, real) = (net.listen("host", host), net.listen("host", host));
            sink.arm(Some(&arming(vec![door(address, &decoy)]))).await.unwrap();
            let old = net.flow("source", source, &real);
            let allowed = greeted(&net, "bystander", passing, &decoy);
            assert_eq!(armed(&sink).await, []);

            let client = net.connect("source", source, decoy.local_addr().unwrap()).unwrap();
            // From the very first moment, and before the decoy has noticed.
            assert!(
                net.connect("source", source, real.local_addr().unwrap()).is_none(),
                "{address}"
            );
            assert_eq!(armed(&sink).await, []);
            let (server, _) = decoy.accept().unwrap();
            assert!(flows(&client, &server) && flows(&server, &client));

            assert_eq!(armed(&sink).await, all(&[(source, 10)]), "{address}");
            assert!(flows(&client, &server) && flows(&server, &client));
            assert!(!flows(&old.0, &old.1), "{address}");
            for listener in [&real, &decoy] {
                assert!(
                    net.connect("source", source, listener.local_addr().unwrap()).is_none(),
                    "{address}"
                );
            }
            assert!(flows(&allowed.0, &allowed.1));
            net.flow("bystander", passing, &real);
            assert_eq!(shown(&sink.stands().await.unwrap()), []);

            assert_eq!(sink.apply(&[take(source)]).await, Applied::all(1));
            assert_eq!(armed(&sink).await, []);
            net.flow("source", source, &real);
            sink.close().await;
        }
    }
    assert_eq!(nft("list ruleset"), "");
}

#[tokio::test]
async fn nothing_less_than_a_handshake_shuts_out() {
    let Some(net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    let (decoy, real) = (net.listen("host", "10.1.0.1"), net.listen("host", "10.2.0.1"));
    let without_passes = Arming {
        passes: Vec::new(),
        ..arming(vec![door("0.0.0.0", &decoy)])
    };
    sink.arm(Some(&without_passes)).await.unwrap();
    let SocketAddr::V4(to) = decoy.local_addr().unwrap() else {
        panic!()
    };
    net.within("source", || {
        // In the name of nobody, of a neighbour who answers with RST, and of addresses far away.
        for (host, port) in (3..=250).zip(20_000..) {
            let from = SocketAddrV4::new([10, 1, 0, host].into(), port);
            send(from, to, SYN, 1, 0);
            send(from, to, ACK, 2, 7);
            send(from, to, ACK, 2, 8);
            let far = SocketAddrV4::new([198, 51, 100, host].into(), port);
            send(far, to, SYN, 1, 0);
            send(far, to, SYN | ACK, 1, 1);
            send(far, to, RST | ACK, 2, 7);
        }
        for port in 20_000..20_100 {
            let neighbour = SocketAddrV4::new([10, 2, 0, 2].into(), port);
            send(neighbour, to, SYN, 1, 0);
            send(neighbour, to, ACK, 2, 0xdead_beef);
        }
        let socket = std::net::UdpSocket::bind("10.1.0.2:0").unwrap();
        for _ in 0..100 {
            socket.send_to(b"?", to).unwrap();
        }
    });
    // What was sent before it on either wire has come when these are through.
    net.flow("bystander", "10.2.0.2", &real);
    net.flow("source", "10.1.0.2", &real);
    assert_eq!(armed(&sink).await, []);
    greeted(&net, "source", "10.1.0.2", &decoy);
    assert_eq!(armed(&sink).await, all(&[("10.1.0.2", 10)]));
    sink.close().await;
}

/// Connection tracking takes this ACK for the end of the handshake, and TCP does not: it is short of the number by this.
const SHORT: u32 = 1000;

#[tokio::test]
async fn an_ack_that_only_connection_tracking_takes_is_no_handshake() {
    let Some(net) = Net::enter() else { return };
    net.lend("10.1.0.12/24");
    let sink = open(&Settings::default());
    let (decoy, real) = (net.listen("host", "10.1.0.1"), net.listen("host", "10.1.0.1"));
    let without_passes = Arming {
        passes: Vec::new(),
        ..arming(vec![door("0.0.0.0", &decoy)])
    };
    sink.arm(Some(&without_passes)).await.unwrap();
    let SocketAddr::V4(to) = decoy.local_addr().unwrap() else {
        panic!()
    };
    let from = SocketAddrV4::new([10, 1, 0, 12].into(), 20_000);
    net.within("source", || {
        // The address is somebody's who does not answer what he did not ask for.
        nft("add table ip mute { chain out { type filter hook output priority 0; tcp flags & rst == rst drop; }; }");
        let heard = listen();
        send(from, to, SYN, 1, 0);
        let first = first_number(&heard, from);
        send(from, to, ACK, 2, first.wrapping_add(1).wrapping_sub(SHORT));
    });
    net.flow("source", "10.1.0.2", &real);
    assert!(nft("list set inet trapline pending4").contains("10.1.0.12 timeout 3s"));
    assert_eq!(armed(&sink).await, []);
    sink.close().await;
}

#[tokio::test]
async fn the_same_port_of_another_host_is_no_door() {
    let Some(net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    let server = net.listen("server", "10.3.0.2");
    for address in ["0.0.0.0", "10.1.0.1"] {
        sink.arm(Some(&arming(vec![door(address, &server)]))).await.unwrap();
        let flow = net.flow("source", "10.1.0.2", &server);
        assert!(flows(&flow.0, &flow.1));
        assert_eq!(armed(&sink).await, []);
    }
    sink.close().await;
}

#[tokio::test]
async fn no_more_than_the_rate_and_the_room_are_shut_out() {
    let Some(net) = Net::enter() else { return };
    let hosts = ["10.1.0.2", "10.1.0.12", "10.1.0.22"];
    hosts[1..].iter().for_each(|host| net.lend(&format!("{host}/24")));
    let sink = open(&Settings::default());
    let decoy = net.listen("host", "10.1.0.1");
    let of = |per_minute, members| Arming {
        per_minute,
        members,
        ..arming(vec![door("0.0.0.0", &decoy)])
    };
    for (arming, most) in [(of(0, 100), 0), (of(2, 100), 1), (of(600, 2), 2)] {
        sink.arm(Some(&arming)).await.unwrap();
        hosts.iter().for_each(|host| {
            let flow = greeted(&net, "source", host, &decoy);
            assert!(flows(&flow.0, &flow.1));
        });
        assert_eq!(armed(&sink).await.len(), most);
        let takes: Vec<_> = hosts.iter().map(|host| take(host)).collect();
        let is_full = sink.notes().iter().any(|note| note.contains("no room for more"));
        assert_eq!(is_full, most == 2);
        assert_eq!(sink.apply(&takes).await, Applied::all(3));
    }
    sink.close().await;
}

#[tokio::test]
async fn whoever_is_shut_out_stays_so_when_the_doors_change_or_are_disarmed() {
    let Some(net) = Net::enter() else { return };
    net.lend("10.1.0.12/24");
    let sink = open(&plain());
    let (decoy, other) = (net.listen("host", "10.1.0.1"), net.listen("host", "10.1.0.1"));
    let first = arming(vec![door("0.0.0.0", &decoy)]);
    sink.arm(Some(&first)).await.unwrap();
    greeted(&net, "source", "10.1.0.2", &decoy);
    let once = armed(&sink).await;
    assert_eq!(once, all(&[("10.1.0.2", 10)]));
    let doors = vec![door("10.1.0.1", &other)];
    for arming in [
        Some(first.clone()),
        Some(Arming {
            doors,
            members: 7,
            ..first
        }),
        None,
    ] {
        sink.arm(arming.as_ref()).await.unwrap();
        assert_eq!(armed(&sink).await, once);
        assert!(net.connect("source", "10.1.0.2", other.local_addr().unwrap()).is_none());
        // The first door is none any more once others are.
        if arming.is_none_or(|arming| arming.members == 7) {
            greeted(&net, "source", "10.1.0.12", &decoy);
        }
    }
    assert_eq!(armed(&sink).await, once);
    sink.close().await;
    let listed = net::listed();
    assert!(
        listed.contains("trapline: armed4") && !listed.contains("handshake"),
        "{listed}"
    );
}

#[tokio::test]
async fn whoever_becomes_spared_is_let_in_everywhere() {
    let Some(net) = Net::enter() else { return };
    net.lend("10.1.0.12/24");
    let sink = open(&Settings::default());
    let decoy = net.listen("host", "10.1.0.1");
    sink.arm(Some(&arming(vec![door("0.0.0.0", &decoy)]))).await.unwrap();
    greeted(&net, "source", "10.1.0.2", &decoy);
    settle(
        &sink,
        &wanted(&[("10.1.0.12", 60), ("10.9.0.0/24", 60), ("10.9.9.9", 60)]),
    )
    .await;
    sink.spare(spared(&["10.1.0.0/24", "10.9.0.7/32"]));
    // The sweep is on its way: whoever asks meanwhile sees some of them, but not for ever.
    let mut left = sink.stands().await.unwrap().len() + sink.armed().await.unwrap().len();
    for _ in 0..1000 {
        if left == 1 {
            break;
        }
        left = sink.stands().await.unwrap().len() + sink.armed().await.unwrap().len();
    }
    assert_eq!(shown(&sink.stands().await.unwrap()), all(&[("10.9.9.9", 60)]));
    greeted(&net, "source", "10.1.0.2", &decoy);
    greeted(&net, "source", "10.1.0.12", &decoy);
    assert_eq!(armed(&sink).await, []);
    let refused = sink.apply(&[net::put("10.1.0.12", 60)]).await.outcomes;
    let reason = "never acted on: 10.1.0.12 is or meets in `allow`";
    assert!(
        matches!(&refused[..], [trapline_sink::set::Put::Refused(why)] if why == reason),
        "{refused:?}"
    );
    sink.close().await;
}

#[tokio::test]
async fn a_wiped_table_is_armed_again_when_it_is_compared() {
    let Some(net) = Net::enter() else { return };
    let sink = open(&plain());
    let decoy = net.listen("host", "10.1.0.1");
    sink.arm(Some(&arming(vec![door("0.0.0.0", &decoy)]))).await.unwrap();
    let listed = net::listed();
    assert!(
        listed.contains("timeout 30s"),
        "doors that nobody tends are none: {listed}"
    );
    let sorted = |listing: &str| {
        let mut lines: Vec<_> = listing.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut told = sink.told().unwrap();
    for wipe in [
        "flush ruleset",
        "delete chain inet trapline armed",
        "flush chain inet trapline proof",
        "flush set inet trapline allow4",
        "flush set inet trapline ports4",
    ] {
        told.mark_unchanged();
        nft(wipe);
        told.changed().await.unwrap();
        sink.stands().await.unwrap();
        assert_eq!(sorted(&net::listed()), sorted(&listed), "{wipe}");
    }
    greeted(&net, "source", "10.1.0.2", &decoy);
    assert_eq!(armed(&sink).await, all(&[("10.1.0.2", 10)]));
    sink.close().await;
}

#[tokio::test]
async fn all_ports_are_no_door() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    assert!(sink.can_arm());
    let door = |port| Door {
        address: "0.0.0.0".parse().unwrap(),
        port,
    };
    for doors in [vec![], vec![door(0)], (1..=65_535).map(door).collect()] {
        let fault = sink.arm(Some(&arming(doors))).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Config);
    }
    std::fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "1").unwrap();
    let fault = sink.arm(Some(&arming(vec![door(22)]))).await.unwrap_err();
    assert!(fault.message.contains("be_liberal"), "{}", fault.message);
    sink.close().await;
    assert_eq!(nft("list ruleset"), "");
}
