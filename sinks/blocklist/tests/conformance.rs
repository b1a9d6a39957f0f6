//! The conformance suite of set sinks, on the shelf that the list lies on.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::{List, common, text};
use trapline_schemas::Timestamp;
use trapline_sink::conformance::sets::{Added, Case, Held, SetRig, SetSuite, Trouble, run};
use trapline_sink::set::{Scope, SetCommon, SetSink, Target};

const ALONE: &str = "the list is in the program alone: nobody else changes it, and no way to it can fail";

struct Suite;

#[async_trait]
impl SetSuite for Suite {
    fn name(&self) -> &'static str {
        "blocklist"
    }

    fn declared(&self) -> &[(Case, &'static str)] {
        &[
            (Case::TakeGone, ALONE),
            (Case::AnswerLost, ALONE),
            (Case::Wiped, ALONE),
            (Case::Deleted, ALONE),
            (Case::Added, ALONE),
            (Case::Foreign, ALONE),
            (Case::DownForADay, ALONE),
            (Case::ExpiredWhileDown, ALONE),
            (Case::Unauthorized, ALONE),
            (Case::HalfOpen, ALONE),
            (Case::Told, ALONE),
            (
                Case::Room,
                "members beyond `entries_max` are held, counted and told; a test of its own",
            ),
            (
                Case::Restart,
                "a list is made anew of what is wanted, and not handed out before",
            ),
            (
                Case::Nowhere,
                "an address of the other family has no place on a list; a test of its own",
            ),
            (Case::FastLane, "firewalls come for it by the minute"),
        ]
    }

    fn added(&self) -> Added {
        Added::Removed
    }

    async fn start(&self, case: Case) -> Option<Box<dyn SetRig>> {
        if self.declared().iter().any(|(declared, _)| *declared == case) {
            return None;
        }
        // The many of the suite are in the range for benchmarks, which no list for outside holds; the bad one is inside.
        let (scope, inside): (_, &[&str]) = match case {
            Case::Many => (Scope::Inside, &["198.18.0.0/15"]),
            _ => (Scope::Outside, &["203.0.113.251/32"]),
        };
        let inside = inside.iter().map(|net| net.parse().unwrap()).collect();
        Some(Box::new(Rig(SetCommon {
            inside,
            ..common(scope)
        })))
    }
}

struct Rig(SetCommon);

impl Rig {
    fn read(&self, form: &str) -> Option<String> {
        let found = self.0.shelf.find(&format!("edge.{form}"))?.document?;
        Some(text(&found))
    }
}

#[async_trait]
impl SetRig for Rig {
    async fn open(&mut self, observes: bool) -> Arc<dyn SetSink> {
        let common = SetCommon {
            observes,
            ..self.0.clone()
        };
        List::of("entries_max = 150000", &common).sink
    }

    async fn held(&mut self) -> Vec<Held> {
        let text = self.read("txt").unwrap_or_default();
        let lines = text.lines().filter(|line| *line != "192.0.2.1");
        let targets = lines.map(|line| line.parse::<Target>().unwrap());
        targets.map(|target| Held { target, until: None }).collect()
    }

    async fn foreign(&mut self) -> Vec<u8> {
        Vec::new()
    }

    async fn dump(&mut self) -> Vec<u8> {
        let forms = ["txt", "v4.txt", "v6.txt", "stix.json"];
        format!("{:?}", forms.map(|form| self.read(form))).into_bytes()
    }

    async fn plant(&mut self) {}

    async fn wipe(&mut self) {}

    async fn delete(&mut self, _: Target) {}

    async fn add(&mut self, _: Target) {}

    async fn begin(&mut self, _: Trouble) {}

    async fn heal(&mut self) {}

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_set_sinks_holds() {
    run(&Suite).await.unwrap();
}
