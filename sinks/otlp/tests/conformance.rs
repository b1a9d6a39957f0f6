//! The suite that every sink must pass, against strict receivers: HTTP with protobuf and with JSON, and gRPC.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fake::grpc;
use fake::http::Receiver;
use fake::store::{Poison, Store};
use fake::{KEY, sink};
use futures_util::future::BoxFuture;
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{Destination, Peer, Place, rig_around, run};
use trapline_sink::conformance::{BUSY_FOR, Case, Rig, Suite, TAKES_AT_ONCE};
use uuid::Uuid;

/// What nobody but the receiver may see: the key, and words of every record.
const SECRETS: &[&str] = &[KEY, "decoy-credential", "203.0.113.77"];

fn store(case: Case) -> Store {
    Store {
        poison: if case == Case::OneBad {
            Poison::Request
        } else {
            Poison::None
        },
        records_max: if case == Case::TooLarge { TAKES_AT_ONCE } else { 0 },
        ..Store::default()
    }
}

#[derive(Clone)]
struct Http(&'static str);

impl Destination for Http {
    type Service = Receiver;

    fn service(&self, case: Case) -> Option<Receiver> {
        Some(Receiver { store: store(case) })
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        sink(self.0, place, Format::Text, "timeout = \"1s\"")
    }

    fn stored(&self, receiver: &Receiver) -> Vec<Uuid> {
        receiver.store.ids()
    }

    fn secrets(&self) -> &[&str] {
        SECRETS
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_over_http_with_protobuf() {
    run("otlp+protobuf", Http("http/protobuf"), &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_over_http_with_json() {
    run("otlp+json", Http("http/json"), &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_over_grpc() {
    let start = |case| -> BoxFuture<'_, _> { Box::pin(rig(case)) };
    let suite = Suite {
        name: "otlp+grpc",
        confirms: true,
        declared: &[],
        start: &start,
    };
    suite.run().await.unwrap();
}

/// `google.rpc.Status` of code 8 with a `RetryInfo` of 7 s, by hand from the public .proto files.
const PAUSE: &str = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw==";

fn lasting(case: Case) -> Option<grpc::Fault> {
    use grpc::Fault;
    assert_eq!(BUSY_FOR, Duration::from_secs(7));
    match case {
        Case::Slow => Some(Fault::Slow(Duration::from_millis(200))),
        Case::HalfOpen => Some(Fault::Silence),
        Case::Busy => Some(Fault::Status(8, PAUSE)),
        Case::Unauthorized => Some(Fault::Status(16, "")),
        Case::Forbidden => Some(Fault::Status(7, "")),
        Case::Garbage => Some(Fault::Bytes(b"\x00\xff\xfe{]\x1b[31m".to_vec())),
        Case::Html => Some(Fault::Page(200, "text/html", b"<html><body>ok</body></html>".to_vec())),
        Case::Endless => Some(Fault::Endless),
        Case::GzipBomb => Some(Fault::Bytes(bomb())),
        Case::ShortBody => Some(Fault::ShortBody),
        _ => None,
    }
}

/// A compressed message, small, that would inflate to 64 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 64 << 20), &mut encoder).unwrap();
    let body = encoder.finish().unwrap();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[..], &body].concat()
}

async fn rig(case: Case) -> Option<Box<dyn Rig>> {
    let start = |tls| async move { Grpc(grpc::Receiver::start(store(case), tls).await) };
    let sink = |place: &Place| sink("grpc", place, Format::Text, "timeout = \"1s\"");
    Some(rig_around(case, start, sink).await)
}

struct Grpc(grpc::Receiver);

#[async_trait]
impl Peer for Grpc {
    fn address(&self) -> SocketAddr {
        self.0.address
    }

    fn spoil(&self, case: Case) {
        let orders = self.0.orders();
        if let Some(fault) = lasting(case) {
            orders.order_lasting(fault);
        }
        match case {
            Case::ServerError => {
                for status in [14, 13, 2, 10] {
                    orders.order(grpc::Fault::Status(status, ""));
                }
            }
            Case::ResetAfterStored => orders.order(grpc::Fault::ResetAfterStored),
            _ => {}
        }
    }

    fn heal(&self) {
        self.0.orders().heal();
    }

    fn close_after_each(&self) {
        self.0.orders().close_after_each();
    }

    async fn stop(&mut self) {
        self.0.stop().await;
    }

    async fn resume(&mut self) {
        self.0.resume().await;
    }

    fn stored(&self) -> Vec<Uuid> {
        self.0.with(|store| store.ids())
    }

    fn secrets(&self) -> &[&str] {
        SECRETS
    }
}
