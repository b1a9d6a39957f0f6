//! The suite that every sink must pass, against strict receivers: HTTP with protobuf and with JSON, and gRPC.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::path::PathBuf;
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
use trapline_sink::conformance::certs::{Authority, Identity, self_signed};
use trapline_sink::conformance::names::{NAME, Zone};
use trapline_sink::conformance::web::{Destination, Impostor, Place, run};
use trapline_sink::conformance::{BUSY_FOR, Case, Rig, Suite, TAKES_AT_ONCE};
use trapline_sink::dial::Resolver;
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

struct GrpcRig {
    receiver: grpc::Receiver,
    sink: Arc<dyn StreamSink>,
    zone: Zone,
    /// Whether nobody listens, or an impostor does.
    away: bool,
    impostor: Option<Impostor>,
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
    let authority = Authority::new().unwrap();
    let by_name = matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost);
    let of_tls = matches!(
        case,
        Case::TlsExpired | Case::TlsWrongHost | Case::TlsSelfSigned | Case::TlsPlainPort
    );
    let host = if by_name { NAME } else { "localhost" };
    let tls = (by_name || of_tls).then(|| authority.issue(host).unwrap().server(None).unwrap());
    let encrypted = tls.is_some();
    let receiver = grpc::Receiver::start(store(case), tls).await;
    let zone = Zone::new(receiver.address);
    let folder = tempfile::tempdir().unwrap();
    let place = Place {
        base: match encrypted {
            true => format!("https://{host}:{}", receiver.address.port()),
            false => receiver.url(),
        },
        ca: encrypted.then(|| written(&folder, &authority)),
        resolver: if by_name { zone.resolver() } else { Resolver::default() },
    };
    let sink = sink("grpc", &place, Format::Text, "timeout = \"1s\"");
    let mut rig = GrpcRig {
        receiver,
        sink,
        zone,
        away: false,
        impostor: None,
    };
    rig.break_it(case, &authority).await;
    Some(Box::new(rig))
}

fn written(folder: &tempfile::TempDir, authority: &Authority) -> PathBuf {
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

impl GrpcRig {
    async fn break_it(&mut self, case: Case, authority: &Authority) {
        if let Some(fault) = lasting(case) {
            self.receiver.order_lasting(fault);
        }
        match case {
            Case::ServerError => {
                for status in [14, 13, 2, 10] {
                    self.receiver.order(grpc::Fault::Status(status, ""));
                }
            }
            Case::ResetAfterStored => self.receiver.order(grpc::Fault::ResetAfterStored),
            Case::Refused => self.leave().await,
            Case::NameGone | Case::ResolverDead => self.zone.fail(case),
            Case::NameLost => {
                // The next call needs the address again.
                self.receiver.close_after_each();
                self.sink.check().await.unwrap();
                assert!(self.zone.asked() >= 1, "the name was never asked for");
                self.zone.fail(case);
            }
            Case::TlsPlainPort => self.replace(None).await,
            Case::TlsExpired => self.replace(Some(authority.issue_expired("localhost").unwrap())).await,
            Case::TlsWrongHost => self.replace(Some(authority.issue("elsewhere.example").unwrap())).await,
            Case::TlsSelfSigned => self.replace(Some(self_signed("localhost").unwrap())).await,
            _ => {}
        }
    }

    async fn leave(&mut self) {
        self.receiver.stop().await;
        self.away = true;
    }

    async fn replace(&mut self, tls: Option<Identity>) {
        self.leave().await;
        self.impostor = Some(Impostor::listen(self.receiver.address, tls).await);
    }
}

#[async_trait]
impl Rig for GrpcRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }

    async fn heal(&mut self) {
        if let Some(impostor) = self.impostor.take() {
            impostor.leave().await;
        }
        self.zone.heal();
        self.receiver.heal();
        if std::mem::take(&mut self.away) {
            self.receiver.resume().await;
        }
    }

    fn stored(&self) -> Vec<Uuid> {
        self.receiver.with(|store| store.ids())
    }

    fn leaked(&self) -> bool {
        self.impostor.as_ref().is_some_and(|impostor| impostor.saw(SECRETS))
    }
}
