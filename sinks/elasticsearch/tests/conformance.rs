//! The suite that every sink must pass, against a strict fake cluster: a data stream, and an index that is written over.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;

use fake::Cluster;
use serde_json::json;
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Fault, Place, Reply, fault_of};
use trapline_sink::conformance::{BAD_USER, BUSY_FOR, Case, TAKES_AT_ONCE};
use uuid::Uuid;

/// A cluster whose indices are data streams or not, and the lines of a sink for it.
#[derive(Debug, Clone, Copy)]
struct Target {
    streams: bool,
    lines: &'static str,
}

impl Destination for Target {
    type Service = Cluster;

    fn service(&self, case: Case) -> Option<Cluster> {
        Some(Cluster {
            poison: (case == Case::OneBad).then_some(BAD_USER),
            events_max: (case == Case::TooLarge).then_some(TAKES_AT_ONCE),
            streams: self.streams,
            ..Cluster::default()
        })
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let lines = format!("{}\n{}", self.lines, place.tls());
        fake::sink(&place.base, &lines, Format::Ecs, place.resolver.clone())
    }

    fn stored(&self, cluster: &Cluster) -> Vec<Uuid> {
        assert_eq!(cluster.wrong, Vec::<String>::new());
        cluster.ids()
    }

    fn secrets(&self) -> &[&str] {
        &["ApiKey", "_bulk", "decoy-credential"]
    }

    fn fault(&self, case: Case) -> Option<Fault> {
        let error = |status: u16, word: &str| {
            let error = json!({"type": word, "reason": "a reason"});
            Reply::json(status, &json!({"error": error, "status": status}))
        };
        Some(Fault::Answer(match case {
            Case::Busy => {
                error(429, "es_rejected_execution_exception").with("Retry-After", &BUSY_FOR.as_secs().to_string())
            }
            Case::Unauthorized => error(401, "security_exception"),
            Case::Forbidden => error(403, "security_exception"),
            _ => return fault_of(case),
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_a_data_stream() {
    let target = Target {
        streams: true,
        lines: "",
    };
    web::run("elasticsearch", target, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_indices_by_day_that_are_written_over() {
    let target = Target {
        streams: false,
        lines: "index = \"hp-{level}-{yyyy.mm.dd}\"\nop = \"index\"",
    };
    web::run("elasticsearch+index", target, &[]).await.unwrap();
}
