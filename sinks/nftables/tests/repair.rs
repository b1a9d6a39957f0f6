//! What others do to the table is heard and repaired, and what is others' stays as it is.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod net;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use net::{Net, all, nft, nft_may, open, plain, put, settle, shown, wanted};
use tokio::sync::watch;
use trapline_nftables::Settings;
use trapline_sink::set::{Put, SetSink, Standing};

/// The promise: what was wiped stands again within this.
const REPAIRED_MAX: Duration = Duration::from_secs(5);

async fn is_told(told: &mut watch::Receiver<u64>) {
    tokio::time::timeout(REPAIRED_MAX, told.changed())
        .await
        .expect("told in time")
        .unwrap();
}

const MEMBERS: [(&str, i64); 4] = [
    ("10.9.0.1", 60),
    ("fd00::1", 61),
    ("10.8.0.0/24", 62),
    ("fd00:8::/56", 63),
];

#[tokio::test]
async fn whatever_is_wiped_is_told_and_stands_again() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&plain());
    let mut told = sink.told().unwrap();
    let wanted = wanted(&MEMBERS);
    assert_eq!(settle(&sink, &wanted).await, 4);
    assert_eq!(settle(&sink, &wanted).await, 0);
    let laid = net::listed();
    for (wipe, changes) in [
        ("flush ruleset", 4),
        ("delete table inet trapline", 4),
        ("flush set inet trapline hosts4", 1),
        ("delete element inet trapline hosts4 { 10.9.0.1 }", 1),
        ("delete element inet trapline nets4 { 10.8.0.0/24 }", 1),
        ("flush chain inet trapline shut_out", 0),
        ("delete chain inet trapline shut_out", 0),
        ("add rule inet trapline shut_out accept", 0),
        ("insert rule inet trapline shut_out accept", 0),
        ("add element inet trapline hosts4 { 10.9.0.2 timeout 1h }", 1),
        ("add element inet trapline hosts4 { 10.9.0.2 }", 1),
        ("add element inet trapline nets4 { 10.7.0.0/16 }", 0),
        ("add element inet trapline nets6 { fd00:7::1-fd00:7::9 }", 0),
        ("add set inet trapline more { type ipv4_addr; }", 0),
        ("add table inet trapline { flags dormant; }", 0),
    ] {
        told.mark_unchanged();
        nft(wipe);
        is_told(&mut told).await;
        assert_eq!(settle(&sink, &wanted).await, changes, "{wipe}");
        assert_eq!(settle(&sink, &wanted).await, 0, "{wipe}");
        assert_eq!(shown(&sink.stands().await.unwrap()), all(&MEMBERS), "{wipe}");
        assert_eq!(without_ends(&net::listed()), without_ends(&laid), "{wipe}");
    }
    sink.close().await;
}

/// A listing without the ends of elements.
fn without_ends(listing: &str) -> Vec<String> {
    let words = |line: &str| {
        let words = line
            .split_whitespace()
            .filter(|word| !word.chars().any(|c| c.is_ascii_digit()) || !word.ends_with('s') && !word.ends_with("s,"));
        words.collect::<Vec<_>>().join(" ")
    };
    listing.lines().map(words).collect()
}

#[tokio::test]
async fn own_changes_are_not_told_and_the_ends_of_elements_are_not_either() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&plain());
    let mut told = sink.told().unwrap();
    settle(&sink, &wanted(&MEMBERS)).await;
    settle(&sink, &wanted(&[])).await;
    sink.fast_lane().unwrap().put(&net::member("10.9.0.3", 1));
    sink.stands().await.unwrap();
    // What another does behind them is the first that is told.
    nft("add table inet foreign");
    nft("flush set inet trapline hosts4");
    is_told(&mut told).await;
    assert_eq!(*told.borrow(), 1);
    sink.close().await;
}

#[tokio::test]
async fn an_element_without_an_end_gets_one() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&plain());
    let wanted = wanted(&[("10.9.0.1", 60)]);
    sink.stands().await.unwrap();
    nft("add element inet trapline hosts4 { 10.9.0.1 }");
    assert_eq!(settle(&sink, &wanted).await, 1);
    assert_eq!(shown(&sink.stands().await.unwrap()), all(&[("10.9.0.1", 60)]));
    sink.close().await;
}

#[tokio::test]
async fn an_end_is_moved_both_ways() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings {
        v6_prefix: 64,
        ..plain()
    });
    let targets = ["10.9.0.1", "fd00::1", "10.8.0.0/24", "fd00:8::/56", "fd00:9::/64"];
    for minutes in [60, 120, 30] {
        let wanted = wanted(&targets.map(|target| (target, minutes)));
        assert_eq!(settle(&sink, &wanted).await, targets.len());
        assert_eq!(
            shown(&sink.stands().await.unwrap()),
            all(&targets.map(|target| (target, minutes)))
        );
    }
    sink.close().await;
}

const FOREIGN: &str = "
table ip filter {
    set bad {
        type ipv4_addr
        flags interval
        elements = { 192.0.2.0/24, 198.51.100.7 }
    }
    chain input {
        type filter hook input priority 0; policy accept;
        ip saddr @bad counter drop
        tcp dport 22 accept
    }
}
table inet trapline_of_another {
    set hosts4 {
        type ipv4_addr
        flags timeout
        elements = { 10.9.0.1 }
    }
}
table ip trapline {
    set hosts4 {
        type ipv4_addr
        elements = { 10.9.0.1 }
    }
}
";

#[tokio::test]
async fn what_is_others_stays_byte_for_byte() {
    let Some(_net) = Net::enter() else { return };
    nft(FOREIGN);
    let before = nft("list ruleset");
    let sink = open(&plain());
    settle(&sink, &wanted(&MEMBERS)).await;
    sink.spare(net::spared(&["10.9.0.0/16"]));
    settle(&sink, &wanted(&[])).await;
    nft("delete table inet trapline");
    settle(&sink, &wanted(&MEMBERS)).await;
    nft("delete table inet trapline");
    assert_eq!(nft("list ruleset"), before);
    settle(&sink, &wanted(&MEMBERS)).await;
    settle(&sink, &wanted(&[])).await;
    sink.close().await;
    assert_eq!(nft("list ruleset"), before);
}

#[tokio::test]
async fn an_owned_table_is_nobody_elses_to_flush() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    settle(&sink, &wanted(&MEMBERS)).await;
    if sink.notes().iter().any(|note| note.contains("is not owned")) {
        println!("SKIPPED: this kernel has no tables that stay without their owner (Linux 6.9)");
        return;
    }
    nft("flush ruleset");
    for forbidden in ["delete table inet trapline", "flush set inet trapline hosts4"] {
        assert!(!nft_may(forbidden), "{forbidden}");
    }
    assert_eq!(settle(&sink, &wanted(&MEMBERS)).await, 0);

    let other = open(&Settings::default());
    let fault = other.stands().await.unwrap_err();
    assert!(
        fault.message.contains("belongs to another process"),
        "{}",
        fault.message
    );
    let applied = other.apply(&[put("10.9.0.9", 60)]).await;
    assert_eq!(applied.outcomes, [Put::Retry]);
    sink.close().await;
    drop(sink);
    // The table of one that ended is taken over, with what stands.
    assert_eq!(shown(&other.stands().await.unwrap()), all(&MEMBERS));
    other.close().await;
}

#[tokio::test]
async fn a_clean_end_leaves_members_with_their_ends_and_otherwise_nothing() {
    let Some(_net) = Net::enter() else { return };
    for settings in [plain(), Settings::default()] {
        let sink = open(&settings);
        settle(&sink, &wanted(&MEMBERS)).await;
        sink.close().await;
        drop(sink);
        let listed = nft("list table inet trapline");
        assert!(
            listed.contains("10.9.0.1 timeout 1h expires") || listed.contains("10.9.0.1 timeout 59m"),
            "{listed}"
        );
        let sink = open(&settings);
        assert_eq!(shown(&sink.stands().await.unwrap()), all(&MEMBERS));
        settle(&sink, &wanted(&[])).await;
        sink.close().await;
        assert_eq!(nft("list ruleset"), "");
    }
}

#[tokio::test]
async fn a_start_that_goes_no_further_leaves_no_rules() {
    let Some(_net) = Net::enter() else { return };
    let sink = open(&Settings::default());
    sink.spare(net::spared(&[]));
    assert_eq!(
        sink.check().await.unwrap(),
        "nf_tables answers, table `trapline` is not there yet"
    );
    drop(sink);
    let observes = trapline_sink::set::SetCommon {
        observes: true,
        ..net::common()
    };
    let sink = trapline_nftables::Nftables::open(&Settings::default(), &observes).unwrap();
    assert_eq!(sink.stands().await, Ok(Vec::<Standing>::new()));
    assert_eq!(sink.apply(&[put("10.9.0.1", 60)]).await.outcomes, [Put::Retry]);
    assert!(sink.fast_lane().is_none());
    sink.close().await;
    assert_eq!(nft("list ruleset"), "");
}

#[tokio::test]
async fn a_table_by_other_settings_is_made_anew_with_those_who_stood() {
    let Some(_net) = Net::enter() else { return };
    let members = [("10.9.0.1", 60), ("10.8.0.0/24", 62), ("fd00:9::/64", 63)];
    let mut before = None;
    for settings in [
        plain(),
        Settings {
            members: 500,
            ..plain()
        },
        Settings::default(),
        Settings {
            v6_prefix: 64,
            ..Settings::default()
        },
        Settings {
            v6_prefix: 128,
            ..plain()
        },
    ] {
        let sink = open(&settings);
        let stands = shown(&sink.stands().await.unwrap());
        assert_eq!(stands, before.unwrap_or_default(), "{settings:?}");
        settle(&sink, &wanted(&members)).await;
        sink.close().await;
        before = Some(all(&members));
    }
}

/// Tells a process that was started for it what to be.
const PART: &str = "TRAPLINE_TEST_PART";

#[tokio::test]
#[ignore = "a process that another test starts and kills"]
async fn the_part_of_a_process_that_is_killed() {
    let Ok(part) = std::env::var(PART) else { return };
    let sink = open(&Settings {
        owned: part == "owned",
        ..Settings::default()
    });
    settle(&sink, &wanted(&MEMBERS)).await;
    println!("\nstands");
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn after_sigkill_members_go_on_and_the_next_start_finds_them() {
    let Some(_net) = Net::enter() else { return };
    for part in ["plain", "owned"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--ignored",
                "--nocapture",
                "the_part_of_a_process_that_is_killed",
            ])
            .env(PART, part)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "stands"));
        child.kill().unwrap();
        child.wait().unwrap();
        let sink = open(&Settings {
            owned: part == "owned",
            ..Settings::default()
        });
        assert_eq!(shown(&sink.stands().await.unwrap()), all(&MEMBERS), "{part}");
        assert_eq!(settle(&sink, &wanted(&MEMBERS)).await, 0);
        settle(&sink, &wanted(&[])).await;
        sink.close().await;
    }
}
