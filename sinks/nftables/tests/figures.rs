//! How long things take; nothing is asserted. `cargo test -p trapline-nftables --test figures -- --ignored --nocapture`
#![allow(clippy::unwrap_used, reason = "it stops where something is wrong")]

mod net;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use net::{Net, member_of, open, put, take};
use trapline_nftables::{Nftables, Settings};
use trapline_sink::set::{Change, SetSink, Target};

fn target(at: u32) -> Target {
    Ipv4Addr::from(0x0b00_0000 + at).into()
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e6;
    format!("p50 {:.0} us, p99 {:.0} us", at(50), at(99))
}

async fn fill(sink: &Nftables, from: u32, to: u32) {
    let puts: Vec<_> = (from..to).map(|at| Change::Put(member_of(target(at), 6000))).collect();
    for part in puts.chunks(sink.limits().changes) {
        assert_eq!(sink.apply(part).await.fault, None);
    }
}

/// Time from handing a member over until `GETSETELEM` through `nft` would find it: until the next answer of the thread.
async fn fast(sink: &Nftables, at: u32) -> Duration {
    let lane = sink.fast_lane().unwrap();
    let member = member_of(target(at), 6000);
    let begun = Instant::now();
    lane.put(&member);
    // The answer to an empty batch comes behind what could not wait.
    assert_eq!(sink.apply(&[]).await.fault, None);
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a test"]
async fn figures() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings {
        members: 1_200_000,
        ..Settings::default()
    });
    sink.stands().await.unwrap();
    println!("notes: {:?}", sink.notes());
    let mut full = 0;
    // Reading a million takes minutes.
    let most = std::env::var("TRAPLINE_MEMBERS")
        .ok()
        .and_then(|most| most.parse().ok())
        .unwrap_or(100_000);
    for members in [0, 100_000, 1_000_000].into_iter().filter(|members| *members <= most) {
        let begun = Instant::now();
        fill(&sink, full, members).await;
        if members > full {
            let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(members - full);
            println!("{members}: filled, {each:.1} us an element");
        }
        full = members;
        let mut times = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..2000 {
            let text = target(2_000_000 + at).to_string();
            let (puts, takes) = ([put(&text, 60)], [take(&text)]);
            let begun = Instant::now();
            sink.apply(&puts).await;
            times.0.push(begun.elapsed());
            let begun = Instant::now();
            sink.apply(&takes).await;
            times.1.push(begun.elapsed());
            times.2.push(fast(&sink, 2_000_000 + at).await);
            sink.apply(&takes).await;
        }
        println!(
            "{members}: put {}; take {}; fast {}",
            shown(times.0),
            shown(times.1),
            shown(times.2)
        );
        for _ in 0..2 {
            let begun = Instant::now();
            let stands = sink.stands().await.unwrap().len();
            println!("{members}: {stands} read in {:.2} s", begun.elapsed().as_secs_f64());
        }
    }
    sink.close().await;
}
