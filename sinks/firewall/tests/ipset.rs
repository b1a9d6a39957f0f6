//! The kernel's sets and rules, in network namespaces, with packets.

mod world;

use std::sync::Arc;

use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, SetSink, Spared, Why};
use trapline_sink_firewall::{Kind, Programs};
use world::{
    Peer, applied, build, left, member, reconcile, run, settings, standing, take, target, targets, until, wanted,
};

const NEEDS: &[(&str, &str)] = &[
    ("/usr/sbin/ipset", "ipset"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/nc", "netcat-openbsd"),
];

fn sink() -> Arc<dyn SetSink> {
    build(&settings(Kind::Ipset), false)
}

#[tokio::test]
async fn who_is_in_the_set_is_shut_out_until_the_end_and_nobody_else() {
    if !world::within("who_is_in_the_set_is_shut_out_until_the_end_and_nobody_else", NEEDS) {
        return;
    }
    let (peer, sink) = (Peer::new(), sink());
    let members = [member("198.51.100.2", 600), member("2001:db8::2", 600)];
    assert_eq!(reconcile(&sink, &wanted(&members)).await, 2);
    assert_eq!(standing(&sink).await, targets(&["198.51.100.2", "2001:db8::2"]));
    assert!(peer.is_shut_out("198.51.100.2") && peer.is_shut_out("2001:db8::2"));
    assert!(peer.is_let_in("198.51.100.3") && peer.is_let_in("2001:db8::3"));
    assert!((595..=601).contains(&left(&sink, "198.51.100.2").await.unwrap()));
    assert_eq!(reconcile(&sink, &wanted(&members)).await, 0);
    assert_eq!(reconcile(&sink, &wanted(&members[..1])).await, 1);
    assert!(peer.is_let_in("2001:db8::2") && peer.is_shut_out("198.51.100.2"));
    // The kernel ends it by itself.
    assert_eq!(applied(&sink, Change::Put(member("198.51.100.2", 1))).await, Put::DONE);
    until("the entry ends", || {
        !run("ipset save trapline-v4").contains("198.51.100.2")
    });
    assert!(peer.is_let_in("198.51.100.2"));
}

#[tokio::test]
async fn networks_and_hosts_within_them_stand_side_by_side_and_ends_move_both_ways() {
    if !world::within(
        "networks_and_hosts_within_them_stand_side_by_side_and_ends_move_both_ways",
        NEEDS,
    ) {
        return;
    }
    let (peer, sink) = (Peer::new(), sink());
    let names = ["198.51.100.0/24", "198.51.100.2", "2001:db8::/64", "2001:db8::9"];
    let members = names.map(|name| member(name, 600));
    reconcile(&sink, &wanted(&members)).await;
    assert_eq!(standing(&sink).await, targets(&names));
    assert!(peer.is_shut_out("198.51.100.3") && peer.is_shut_out("2001:db8::3"));
    for secs in [60, 5000] {
        let moved = names.map(|name| member(name, secs));
        assert_eq!(reconcile(&sink, &wanted(&moved)).await, 4);
        assert!((secs - 5..=secs + 1).contains(&left(&sink, "198.51.100.2").await.unwrap()));
    }
    // Longer than the kernel counts: it is cut, and left alone.
    let year = names.map(|name| member(name, 365 * 86_400));
    assert_eq!(reconcile(&sink, &wanted(&year)).await, 4);
    assert_eq!(reconcile(&sink, &wanted(&year)).await, 0);
    assert_eq!(left(&sink, "198.51.100.2").await, None);
}

#[tokio::test]
async fn what_somebody_removes_comes_back_and_what_is_others_stays() {
    if !world::within("what_somebody_removes_comes_back_and_what_is_others_stays", NEEDS) {
        return;
    }
    let (peer, sink) = (Peer::new(), sink());
    run("ipset create others hash:ip");
    run("ipset add others 192.0.2.9");
    run("iptables -t raw -A PREROUTING -s 192.0.2.9 -j DROP");
    run("ip6tables -t raw -A PREROUTING -s 2001:db8::99 -j DROP");
    let others = || {
        let rules = run("iptables -t raw -S") + &run("ip6tables -t raw -S");
        let lines = rules
            .lines()
            .filter(|line| line.contains("192.0.2.9") || line.contains("2001:db8::99"));
        (lines.map(str::to_owned).collect::<Vec<_>>(), run("ipset save others"))
    };
    let before = others();
    let both = wanted(&[member("198.51.100.2", 600), member("2001:db8::2", 600)]);
    reconcile(&sink, &both).await;
    let breaks: [&[&str]; 4] = [
        &["ipset flush trapline-v4", "ipset flush trapline-v6"],
        &["iptables -t raw -D PREROUTING 1", "ip6tables -t raw -D PREROUTING 1"],
        &[
            "iptables -t raw -D PREROUTING 1",
            "ip6tables -t raw -D PREROUTING 1",
            "ipset destroy trapline-v4",
            "ipset destroy trapline-v6",
        ],
        // Somebody lets one through, and shuts out half of the world.
        &[
            "ipset del trapline-v4 198.51.100.2",
            "ipset add trapline-v4 198.51.100.2 nomatch",
            "ipset add trapline-v4 128.0.0.0/1",
        ],
    ];
    for commands in breaks {
        for command in commands {
            run(command);
        }
        reconcile(&sink, &both).await;
        assert_eq!(
            standing(&sink).await,
            targets(&["198.51.100.2", "2001:db8::2"]),
            "{commands:?}"
        );
        assert!(
            peer.is_shut_out("198.51.100.2") && peer.is_shut_out("2001:db8::2"),
            "{commands:?}"
        );
        assert!(peer.is_let_in("198.51.100.3"), "{commands:?}");
        assert_eq!(others(), before, "{commands:?}");
    }
    let rules = run("iptables -t raw -S");
    assert_eq!(rules.matches("trapline-v4").count(), 1, "{rules}");
    // A change that meets nothing at all makes what it needs.
    for command in breaks[2] {
        run(command);
    }
    assert_eq!(
        applied(&sink, Change::Put(member("198.51.100.2", 600))).await,
        Put::DONE
    );
    assert!(peer.is_shut_out("198.51.100.2"));
    assert_eq!(applied(&sink, take("203.0.113.1")).await, Put::DONE);
}

#[tokio::test]
async fn a_set_of_another_size_is_replaced_with_its_entries_and_one_of_another_kind_refused() {
    if !world::within(
        "a_set_of_another_size_is_replaced_with_its_entries_and_one_of_another_kind_refused",
        NEEDS,
    ) {
        return;
    }
    let sink = sink();
    reconcile(&sink, &wanted(&[member("198.51.100.2", 600)])).await;
    let mut small = settings(Kind::Ipset);
    small.members = Some(5);
    let small = build(&small, false);
    assert_eq!(standing(&small).await, targets(&["198.51.100.2"]));
    assert!((590..=601).contains(&left(&small, "198.51.100.2").await.unwrap()));
    assert!(run("ipset save trapline-v4").contains("maxelem 5 "));
    assert_eq!(run("ipset list -n").lines().count(), 2);
    let mut other = settings(Kind::Ipset);
    other.set = "other".to_owned();
    run("ipset create other-v4 hash:ip timeout 5");
    let fault = build(&other, false).stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Config);
    assert!(
        fault.message.contains("`other-v4` is not `hash:net"),
        "{}",
        fault.message
    );
    assert!(run("ipset save other-v4").contains("hash:ip"));
}

#[tokio::test]
async fn more_than_there_is_room_for_is_told_and_what_stands_is_known() {
    if !world::within("more_than_there_is_room_for_is_told_and_what_stands_is_known", NEEDS) {
        return;
    }
    let mut small = settings(Kind::Ipset);
    small.members = Some(2);
    let sink = build(&small, false);
    sink.stands().await.unwrap();
    let changes: Vec<_> = (1..=3)
        .map(|host| Change::Put(member(&format!("203.0.113.{host}"), 600)))
        .collect();
    let applied = sink.apply(&changes).await;
    assert_eq!(applied.outcomes, [Put::DONE, Put::DONE, Put::Retry]);
    assert!(applied.fault.unwrap().message.contains("Hash is full"));
    assert_eq!(sink.limits().members, 2);
}

#[tokio::test]
async fn who_is_spared_is_refused_and_nothing_is_made_while_it_observes() {
    if !world::within("who_is_spared_is_refused_and_nothing_is_made_while_it_observes", NEEDS) {
        return;
    }
    let watching = build(&settings(Kind::Ipset), true);
    assert_eq!(watching.stands().await.unwrap(), []);
    let said = watching.check().await.unwrap();
    assert!(said.contains("not yet there: set `trapline-v4`"), "{said}");
    let applied_then = watching.apply(&[Change::Put(member("198.51.100.2", 600))]).await;
    assert_eq!(applied_then.outcomes, [Put::Retry]);
    assert_eq!(run("ipset list -n") + &run("nft list ruleset"), "");
    let sink = sink();
    sink.spare(Arc::new(Spared::new([(
        "198.51.100.2/32".parse().unwrap(),
        Why::Gateway,
    )])));
    for spared in ["198.51.100.2", "198.51.100.0/24", "127.0.0.1"] {
        let put = applied(&sink, Change::Put(member(spared, 600))).await;
        assert!(
            matches!(&put, Put::Refused(why) if why.contains("never shut out")),
            "{put:?}"
        );
    }
    assert_eq!(sink.stands().await.unwrap(), []);
    assert!(
        sink.check()
            .await
            .unwrap()
            .starts_with("ipset answers, 0 of at most 100000")
    );
    // A watching one sees what stands.
    assert_eq!(
        applied(&sink, Change::Put(member("198.51.100.3", 600))).await,
        Put::DONE
    );
    assert_eq!(watching.stands().await.unwrap()[0].target, target("198.51.100.3"));
}

#[tokio::test]
async fn without_the_right_it_says_which_is_needed() {
    if !world::within("without_the_right_it_says_which_is_needed", NEEDS) {
        return;
    }
    let folder = std::path::PathBuf::from("/run/weak");
    std::fs::create_dir(&folder).unwrap();
    for name in ["ipset", "iptables", "ip6tables"] {
        let text = format!(
            "#!/bin/sh\nexec /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups /usr/sbin/{name} \"$@\"\n"
        );
        std::fs::write(folder.join(name), text).unwrap();
        run(&format!("chmod 755 /run/weak/{name}"));
    }
    let mut weak = settings(Kind::Ipset);
    weak.programs = Programs::within(vec![folder], world::PATIENCE);
    let weak = build(&weak, false);
    let fault = weak.stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(fault.message.starts_with("needs CAP_NET_ADMIN"), "{}", fault.message);
    let applied = weak.apply(&[Change::Put(member("198.51.100.2", 600))]).await;
    assert_eq!(
        (applied.outcomes, applied.fault.unwrap().kind),
        (vec![Put::Retry], FaultKind::Auth)
    );
    assert!(weak.notes()[0].contains("needs root"));
}
