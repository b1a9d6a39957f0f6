//! The suite of set sinks, in a network namespace, over a table that anybody may change.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod net;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use net::{Net, common, nft, nft_may, plain, run};
use serde_json::Value;
use trapline_nftables::{Nftables, Settings};
use trapline_schemas::Timestamp;
use trapline_sink::conformance::sets::{self, Added, Case, Held, ROOM, SetRig, SetSuite, Trouble};
use trapline_sink::set::{SetCommon, SetSink, Target};

const SETS: [&str; 4] = ["hosts4", "hosts6", "nets4", "nets6"];

struct Suite;

struct Rig(Settings);

#[async_trait]
impl SetSuite for Suite {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn declared(&self) -> &[(Case, &'static str)] {
        const NEVER: &str = "the kernel of this host is never away, and answers within the call";
        &[
            (
                Case::Overlap,
                "no two intervals overlap: `a_network_within_a_wider_one_waits_until_that_has_gone`",
            ),
            (Case::AnswerLost, NEVER),
            (Case::DownForADay, NEVER),
            (Case::ExpiredWhileDown, NEVER),
            (Case::HalfOpen, NEVER),
            (
                Case::Unauthorized,
                "the right is this very process's: `without_the_right_it_says_what_to_give`",
            ),
            (Case::Nowhere, "a packet filter takes every address"),
            (Case::OneBad, "a packet filter takes every address"),
        ]
    }

    fn added(&self) -> Added {
        Added::Removed
    }

    async fn start(&self, case: Case) -> Option<Box<dyn SetRig>> {
        if self.declared().iter().any(|(declared, _)| *declared == case) {
            return None;
        }
        nft("flush ruleset");
        let usual = Settings {
            members: 200_000,
            ..plain()
        };
        Some(Box::new(Rig(match case {
            Case::Room => Settings { members: ROOM, ..usual },
            _ => usual,
        })))
    }
}

/// Elements of a set, as `nft` lists them. It reads all before it writes a word, which for many takes a while: they are as
/// they were half-way.
fn elements(set: &str) -> Vec<Held> {
    let begun = Timestamp::now().micros();
    let arguments = ["-j", "list", "set", "inet", "trapline", set];
    let mut nft = Command::new("nft")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut first, mut rest) = ([0], String::new());
    let mut out = nft.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    let now = begun.midpoint(Timestamp::now().micros());
    out.read_to_string(&mut rest).unwrap();
    assert!(nft.wait().unwrap().success());
    let listed: Value = serde_json::from_str(&format!("{}{rest}", char::from(first[0]))).unwrap();
    let parts = listed["nftables"].as_array().unwrap();
    let set = parts.iter().find_map(|part| part.get("set")).unwrap();
    let elements = set["elem"].as_array().into_iter().flatten();
    elements.map(|element| held(&element["elem"], now)).collect()
}

fn held(element: &Value, now: i64) -> Held {
    let text = match &element["val"] {
        Value::String(address) => address.clone(),
        other => format!(
            "{}/{}",
            other["prefix"]["addr"].as_str().unwrap(),
            other["prefix"]["len"]
        ),
    };
    let left = element["expires"].as_i64();
    Held {
        target: text.parse().unwrap(),
        until: left.map(|left| Timestamp::from_micros(now + left * 1_000_000)),
    }
}

fn set(target: Target) -> &'static str {
    match (target.is_host(), target.address().is_ipv4()) {
        (true, true) => SETS[0],
        (true, false) => SETS[1],
        (false, true) => SETS[2],
        (false, false) => SETS[3],
    }
}

#[async_trait]
impl SetRig for Rig {
    async fn open(&mut self, observes: bool) -> Arc<dyn SetSink> {
        let common = SetCommon { observes, ..common() };
        Nftables::open(&self.0, &common).unwrap()
    }

    async fn held(&mut self) -> Vec<Held> {
        if !nft_may("list table inet trapline") {
            return Vec::new();
        }
        // Without its rule a set acts on nobody.
        let rules = nft("list chain inet trapline shut_out");
        let acting = SETS
            .into_iter()
            .filter(|set| rules.contains(&format!("@{set} counter")));
        acting.flat_map(elements).collect()
    }

    async fn foreign(&mut self) -> Vec<u8> {
        let tables = nft("list tables");
        let others = tables.lines().filter(|line| *line != "table inet trapline");
        others
            .map(|table| nft(&format!("list {table}")))
            .collect::<String>()
            .into_bytes()
    }

    async fn dump(&mut self) -> Vec<u8> {
        run("nft", &["-s", "list", "ruleset"]).into_bytes()
    }

    async fn plant(&mut self) {
        nft("add table inet others");
        nft("add set inet others hosts4 { type ipv4_addr; flags timeout; }");
        nft("add element inet others hosts4 { 192.0.2.9, 203.0.113.1 }");
        nft("add table ip trapline");
    }

    async fn wipe(&mut self) {
        nft_may("delete table inet trapline");
    }

    async fn delete(&mut self, target: Target) {
        nft(&format!("delete element inet trapline {} {{ {target} }}", set(target)));
    }

    async fn add(&mut self, target: Target) {
        nft(&format!("add element inet trapline {} {{ {target} }}", set(target)));
    }

    async fn begin(&mut self, trouble: Trouble) {
        unreachable!("{trouble:?} is declared");
    }

    async fn heal(&mut self) {}
}

#[tokio::test]
async fn every_case_of_set_sinks_holds() {
    let Some(_net) = Net::enter() else { return };
    sets::run(&Suite).await.unwrap();
}
