//! Many members, too many, and those that cannot be.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod net;

use std::collections::HashSet;
use std::net::Ipv4Addr;

use net::{Net, all, member_of, nft, open, plain, put, settle, shown, take, wanted};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use trapline_nftables::Settings;
use trapline_sink::FaultKind;
use trapline_sink::set::{Applied, Change, Put, SetSink, Target};

fn hosts(count: u32) -> impl Iterator<Item = Target> {
    (0..count).map(|at| Target::from(Ipv4Addr::from(0x0b00_0000 + at)))
}

#[tokio::test]
async fn a_hundred_thousand_stand_and_go_and_whoever_cannot_wait_goes_between() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings {
        members: 100_001,
        ..plain()
    });
    let wanted: trapline_sink::set::Wanted = hosts(100_000).map(|target| (target, member_of(target, 600))).collect();
    let puts: Vec<_> = wanted.values().cloned().map(Change::Put).collect();
    let lane = sink.fast_lane().unwrap();
    for part in puts.chunks(sink.limits().changes) {
        let (applied, ()) = tokio::join!(sink.apply(part), async { lane.put(&net::member("10.9.0.1", 600)) });
        assert_eq!(applied, Applied::all(part.len()));
    }
    let stands = sink.stands().await.unwrap();
    let targets: HashSet<_> = stands.iter().map(|entry| entry.target).collect();
    assert_eq!((stands.len(), targets.len()), (100_001, 100_001));
    assert!(wanted.keys().all(|target| targets.contains(target)));
    // Nobody but the one that nobody wants is changed.
    assert_eq!(settle(&sink, &wanted).await, 1);
    assert_eq!(settle(&sink, &wanted).await, 0);
    nft("flush set inet trapline hosts4");
    assert_eq!(settle(&sink, &wanted).await, 100_000);
    assert_eq!(settle(&sink, &net::wanted(&[])).await, 100_000);
    assert_eq!(sink.stands().await.unwrap(), []);
    sink.close().await;
}

#[tokio::test]
async fn a_full_set_says_so_and_takes_whom_it_has_room_for() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings {
        members: 300,
        ..plain()
    });
    let puts: Vec<_> = hosts(400).map(|target| Change::Put(member_of(target, 60))).collect();
    let applied = sink.apply(&puts).await;
    let made = applied.outcomes.iter().filter(|put| **put == Put::DONE).count();
    let again = applied.outcomes.iter().filter(|put| **put == Put::Retry).count();
    assert_eq!((made, again), (300, 100));
    let fault = applied.fault.unwrap();
    assert!(
        fault.message.contains("the set is full: raise `members`"),
        "{}",
        fault.message
    );
    assert_eq!(sink.stands().await.unwrap().len(), 300);
    // Whoever stands is moved to another end, and whoever goes makes room, in the same batch.
    let standing = hosts(299).map(|target| Change::Put(member_of(target, 120)));
    let change: Vec<_> = standing.chain([put("10.9.0.1", 120), take("11.0.1.43")]).collect();
    let applied = sink.apply(&change).await;
    assert!(
        applied.outcomes.iter().all(|put| *put == Put::DONE),
        "{:?}",
        applied.fault
    );
    let stands = shown(&sink.stands().await.unwrap());
    assert_eq!(
        (
            stands.len(),
            stands.iter().filter(|(_, minutes)| *minutes == 120).count()
        ),
        (300, 300)
    );
    sink.close().await;
}

#[tokio::test]
async fn a_network_within_a_wider_one_waits_until_that_has_gone() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&plain());
    let inner = ["10.8.0.16/28", "10.8.0.32/28", "fd00:8:0:1::/64"];
    settle(&sink, &wanted(&inner.map(|net| (net, 60)))).await;
    let wider = [
        put("10.8.0.0/24", 60),
        put("fd00:8::/48", 60),
        put("10.8.1.0/25", 60),
        put("10.8.1.128/25", 60),
    ];
    let applied = sink.apply(&wider).await;
    assert!(applied.outcomes.iter().all(|put| *put == Put::DONE), "{applied:?}");
    let standing = [
        ("10.8.0.0/24", 60),
        ("10.8.1.0/25", 60),
        ("10.8.1.128/25", 60),
        ("fd00:8::/48", 60),
    ];
    assert_eq!(shown(&sink.stands().await.unwrap()), all(&standing));
    let again = sink.apply(&inner.map(|net| put(net, 60))).await;
    let why = Put::Nowhere("10.8.0.0/24 stands and covers it".to_owned());
    assert_eq!(again.outcomes[..2], [why.clone(), why]);
    assert_eq!(again.fault, None);
    // Taking a network that is not there takes nothing of the wider one.
    assert_eq!(
        sink.apply(&[take("10.8.0.0/25"), take("10.8.0.128/25")]).await.outcomes,
        [Put::DONE, Put::DONE]
    );
    assert_eq!(shown(&sink.stands().await.unwrap()), all(&standing));
    let change = [take("10.8.0.0/24"), put("10.8.0.16/28", 60), put("10.8.0.0/28", 30)];
    assert_eq!(sink.apply(&change).await.fault, None);
    let standing = [
        ("10.8.0.16/28", 60),
        ("10.8.0.0/28", 30),
        ("10.8.1.0/25", 60),
        ("10.8.1.128/25", 60),
        ("fd00:8::/48", 60),
    ];
    assert_eq!(shown(&sink.stands().await.unwrap()), all(&standing));
    sink.close().await;
}

#[tokio::test]
async fn what_is_spared_is_refused_and_what_is_over_is_not_put() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&plain());
    sink.spare(net::spared(&["192.0.2.7/32", "fd00::/64"]));
    let puts = ["192.0.2.7", "192.0.2.0/24", "fd00::9", "127.0.0.1", "192.0.2.8"].map(|target| put(target, 60));
    let outcomes = sink.apply(&puts).await.outcomes;
    assert!(
        outcomes[..4].iter().all(|put| matches!(put, Put::Refused(_))),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[4], Put::DONE);
    assert_eq!(sink.apply(&[put("192.0.2.9", -1)]).await.outcomes, [Put::DONE]);
    assert_eq!(shown(&sink.stands().await.unwrap()), all(&[("192.0.2.8", 60)]));
    sink.close().await;
}

#[test]
fn without_the_right_it_says_what_to_give() {
    let Some(_net) = Net::enter() else { return };
    let mut own = capabilities(None).unwrap();
    own.effective.remove(CapabilitySet::NET_ADMIN);
    own.permitted.remove(CapabilitySet::NET_ADMIN);
    set_capabilities(None, own).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sink = open(&Settings::default());
        for fault in [
            sink.stands().await.unwrap_err(),
            sink.check().await.unwrap_err(),
            sink.apply(&[put("10.9.0.1", 1)]).await.fault.unwrap(),
        ] {
            assert_eq!(fault.kind, FaultKind::Local);
            assert!(fault.message.contains("CAP_NET_ADMIN"), "{}", fault.message);
        }
        assert!(
            sink.notes()
                .iter()
                .any(|note| note.contains("found by comparing alone"))
        );
        sink.fast_lane().unwrap().put(&net::member("10.9.0.1", 1));
        sink.close().await;
    });
}
