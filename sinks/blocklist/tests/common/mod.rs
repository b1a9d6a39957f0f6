//! A list as the program has it: built from its table, driven as a reconciler does.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, dead_code)]

use std::sync::Arc;

use trapline_schemas::Timestamp;
use trapline_sink::config::Table;
use trapline_sink::dial::Resolver;
use trapline_sink::published::{Body, Document, Shelf};
use trapline_sink::set::{Applied, Change, Grounds, Member, Scope, SetCommon, SetSink, Wanted, compare};
use trapline_sink_blocklist::SINK;
use uuid::Uuid;

pub struct List {
    pub sink: Arc<dyn SetSink>,
    pub shelf: Shelf,
}

pub fn common(scope: Scope) -> SetCommon {
    SetCommon {
        scope,
        inside: ["10.0.0.0/8", "198.51.100.0/25"].map(|net| net.parse().unwrap()).into(),
        ..SetCommon::new("edge", "lure", Resolver::default())
    }
}

impl List {
    pub fn new(toml: &str) -> Self {
        Self::of(toml, &common(Scope::Outside))
    }

    pub fn of(toml: &str, common: &SetCommon) -> Self {
        let (table, problems) = Table::for_test(toml, SINK.keys);
        let sink = (SINK.parse)(&table).build(common).unwrap();
        assert_eq!(problems.take(), []);
        Self {
            sink,
            shelf: common.shelf.clone(),
        }
    }

    /// One round of a reconciler: everything that is wanted stands afterwards, or what was refused is told.
    pub async fn reconcile(&self, wanted: &[Member]) -> Vec<Applied> {
        let wanted: Wanted = wanted.iter().map(|member| (member.target, member.clone())).collect();
        let limits = self.sink.limits();
        let stands = self.sink.stands().await.unwrap();
        let changes = compare(&wanted, &stands, Timestamp::now(), limits);
        let mut answers = Vec::new();
        for batch in changes.chunks(limits.changes) {
            answers.push(self.sink.apply(batch).await);
        }
        self.sink.settled().await.unwrap();
        answers
    }

    pub fn document(&self, form: &str) -> Option<Document> {
        self.shelf.find(&format!("edge.{form}")).unwrap().document
    }

    pub fn text(&self, form: &str) -> String {
        text(&self.document(form).unwrap())
    }
}

pub fn text(document: &Document) -> String {
    match &document.body {
        Body::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Body::Parts(parts) => {
            let parts = (0..).map_while(|index| parts.part(index));
            parts.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
        }
    }
}

pub fn seconds(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(now.micros() + seconds * 1_000_000)
}

/// When the test began.
fn start() -> Timestamp {
    static START: std::sync::OnceLock<Timestamp> = std::sync::OnceLock::new();
    *START.get_or_init(Timestamp::now)
}

/// One of many that were decided on at the same time.
pub fn member(target: &str, gravity: u8) -> Member {
    let now = start();
    Member {
        target: target.parse().unwrap(),
        inside: false,
        since: seconds(now, -60),
        until: seconds(now, 3_600),
        decision: Uuid::from_u128(gravity.into()),
        gravity,
        reason: "credentials".into(),
        grounds: Grounds::Handshake,
        handle: None,
    }
}

pub fn put(target: &str) -> Change {
    Change::Put(member(target, 50))
}
