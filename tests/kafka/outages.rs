//! Brokers that are lost while events flow.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Sessions go on in the background from the first line of `during` to its last.
fn with_visitors<T>(trap: &Trap, during: impl FnOnce() -> T) -> T {
    let (ftp, over) = (trap.address("ftp"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sessions = (0..20_000_u32).take_while(|_| !over.load(Ordering::Relaxed));
            sessions.by_ref().for_each(|at| {
                call(ftp, 1 + u8::try_from(at % 7).unwrap(), b"USER root\r\nPASS hunter2\r\n");
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            });
        });
        let done = during();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// Waits until so many more events are in the journal: what happens next happens in the midst of them.
fn flows(trap: &Trap, more: usize) {
    let before = journal(trap).len();
    eventually("events flow", || (journal(trap).len() >= before + more).then_some(()));
}

#[test]
fn a_broker_killed_in_mid_flow_and_started_again_loses_nothing() {
    let Some(mut cluster) = Cluster::start("restart", 1) else {
        return;
    };
    cluster.make_topic(TOPIC, 3, &[]);
    let trap = Trap::start(&configuration(&cluster.brokers(), TOPIC, ""));
    with_visitors(&trap, || {
        eventually("events are delivered", || {
            (bus(&trap)["delivered"].as_u64() > Some(20)).then_some(())
        });
        cluster.kill(0);
        flows(&trap, 50);
        trouble(&trap, "broker");
        cluster.revive(0);
        let before = bus(&trap)["delivered"].as_u64();
        eventually("events are delivered again", || {
            (bus(&trap)["delivered"].as_u64() > before).then_some(())
        });
    });
    let records = all_arrive(&cluster, TOPIC, &trap);
    assert!(records.len() > 70);
}

#[test]
fn the_leader_of_a_partition_is_lost_and_nothing_counts_as_delivered_with_too_few_replicas() {
    let Some(mut cluster) = Cluster::start("leader", 3) else {
        return;
    };
    cluster.make_topic(TOPIC, 3, &[]);
    cluster.make_topic("strict", 1, &[("min.insync.replicas", "3")]);
    let trap = Trap::start(&configuration(&cluster.brokers(), TOPIC, ""));
    let lost = with_visitors(&trap, || {
        eventually("events are delivered", || {
            (bus(&trap)["delivered"].as_u64() > Some(20)).then_some(())
        });
        let lost = cluster.leaders(TOPIC)[0];
        cluster.kill(usize::try_from(lost - 1).unwrap());
        eventually("another broker leads", || {
            let leaders = cluster.leaders(TOPIC);
            (leaders.len() == 3 && leaders.iter().all(|leader| *leader > 0 && *leader != lost)).then_some(())
        });
        let before = bus(&trap)["delivered"].as_u64();
        eventually("events are delivered again", || {
            (bus(&trap)["delivered"].as_u64() > before).then_some(())
        });
        lost
    });
    all_arrive(&cluster, TOPIC, &trap);
    drop(trap);
    let trap = Trap::start(&configuration(
        &cluster.brokers(),
        "strict",
        "delivery_timeout = \"30s\"",
    ));
    visit(&trap, 3);
    trouble(&trap, "too few replicas in sync");
    assert_eq!(bus(&trap)["delivered"], 0);
    cluster.revive(usize::try_from(lost - 1).unwrap());
    all_arrive(&cluster, "strict", &trap);
}
