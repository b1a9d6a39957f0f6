//! The suite that every sink must pass, against a strict fake receiver: one by one, and in batches.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::{Receiver, SECRET, sink_with};
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Fault, Place, fault_of};
use trapline_sink::conformance::{BAD_USER, Case, TAKES_AT_ONCE};
use uuid::Uuid;

/// A way to use the sink: its further keys.
#[derive(Debug, Clone, Copy)]
struct Way {
    keys: &'static str,
    /// Whether an answer of 2xx alone is believed.
    believes: bool,
    /// Whether a request holds several events.
    together: bool,
}

const SUCCESS: &str = "success = \"body.ok == true\"";

impl Destination for Way {
    type Service = Receiver;

    fn service(&self, case: Case) -> Option<Receiver> {
        let means_nothing = matches!(case, Case::Garbage | Case::Html | Case::Endless | Case::GzipBomb);
        if (self.believes && means_nothing) || (!self.together && case == Case::TooLarge) {
            return None;
        }
        Some(Receiver {
            poison: (case == Case::OneBad).then_some(BAD_USER),
            events_max: if case == Case::TooLarge {
                TAKES_AT_ONCE
            } else {
                usize::MAX
            },
            ..Receiver::default()
        })
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let (base, tls) = (&place.base, place.tls());
        let success = if self.believes { "" } else { SUCCESS };
        let toml = format!(
            "secret_url = \"{base}/hooks/SECRET?key=SECRET\"\nsecret = \"{SECRET}\"\ntoken = \"SECRET\"\n\
             timeout = \"1s\"\n{success}\n{}\n{tls}",
            self.keys
        );
        sink_with(&toml, place.resolver.clone())
    }

    fn stored(&self, receiver: &Receiver) -> Vec<Uuid> {
        assert_eq!(receiver.wrong, Vec::<String>::new());
        receiver.stored()
    }

    /// Where several requests are under way, all of them meet the reset.
    fn fault(&self, case: Case) -> Option<Fault> {
        match case {
            Case::ResetAfterStored => Some(Fault::ResetAfterStored),
            _ => fault_of(case),
        }
    }

    fn secrets(&self) -> &[&str] {
        &["SECRET", "webhook-id", "decoy-"]
    }
}

const ALONE: (Case, &str) = (
    Case::TooLarge,
    "a request holds one event, so there is nothing to split",
);
const BELIEVED: &str = "without `success` the status is the receiver's whole word";

async fn run(name: &'static str, way: Way, declared: &'static [(Case, &'static str)]) {
    web::run(name, way, declared).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_one_by_one() {
    let way = Way {
        keys: "",
        believes: false,
        together: false,
    };
    run("webhook event", way, &[ALONE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_several_requests_at_once() {
    let way = Way {
        keys: "in_flight = 4\ncompression = \"gzip\"",
        believes: false,
        together: false,
    };
    run("webhook 4 at once", way, &[ALONE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_arrays() {
    let way = Way {
        keys: "payload = \"array\"\nmethod = \"PUT\"",
        believes: false,
        together: true,
    };
    run("webhook array", way, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_lines_where_a_status_is_believed() {
    let way = Way {
        keys: "payload = \"ndjson\"\ncompression = \"gzip\"",
        believes: true,
        together: true,
    };
    let declared = &[
        (Case::Garbage, BELIEVED),
        (Case::Html, BELIEVED),
        (Case::Endless, BELIEVED),
        (Case::GzipBomb, BELIEVED),
    ];
    run("webhook lines", way, declared).await;
}
