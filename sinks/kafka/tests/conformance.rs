//! The suite that every sink passes, against the mock cluster of librdkafka.
#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod cluster;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster::{Cluster, Door, Manner, sink};
use futures_util::future::BoxFuture;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use trapline_sink::StreamSink;
use trapline_sink::conformance::{Case, Rig, Suite};
use uuid::Uuid;

const NO_NAMES: &str = "librdkafka resolves names by the system's resolver; tests/brokers.rs shows a name that is gone";
const NO_TLS: &str = "the mock cluster speaks no TLS; tests/tls.rs shows each refusal";

const DECLARED: &[(Case, &str)] = &[
    (
        Case::Busy,
        "a broker that throttles says so inside an answer, and librdkafka waits by itself",
    ),
    (
        Case::OneBad,
        "the mock cluster does not look into records; tests/brokers.rs shows a refused one",
    ),
    (
        Case::TooLarge,
        "a refused size is settled within the delivery; tests/brokers.rs shows it",
    ),
    (Case::GzipBomb, "answers of brokers are not compressed"),
    (
        Case::ResetAfterStored,
        "the producer sends again by itself and the broker drops the double, so the first delivery is good",
    ),
    (Case::TlsExpired, NO_TLS),
    (Case::TlsWrongHost, NO_TLS),
    (Case::TlsSelfSigned, NO_TLS),
    (Case::TlsPlainPort, NO_TLS),
    (Case::NameGone, NO_NAMES),
    (Case::ResolverDead, NO_NAMES),
    (Case::NameLost, NO_NAMES),
];

struct KafkaRig {
    cluster: Cluster,
    sink: Arc<dyn StreamSink>,
    door: Option<Door>,
    at: std::net::SocketAddr,
}

fn manner(case: Case) -> Manner {
    match case {
        Case::HalfOpen => Manner::Silent,
        Case::Garbage => Manner::Says(b"\x00\x00\x00\x09\xff\xfe{]\x1b[31m"),
        Case::Html => Manner::Says(b"HTTP/1.1 200 OK\r\n\r\n<html><body>Success</body></html>"),
        Case::Endless => Manner::Babbles,
        Case::ShortBody => Manner::Says(b"\x00\x00\x01\x00\x00\x00\x00\x01\x00"),
        _ => Manner::Open,
    }
}

fn disturb(case: Case, cluster: &Cluster) {
    match case {
        Case::Slow => cluster.act(|mock| mock.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap()),
        Case::ServerError => cluster.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_UNKNOWN; 8]),
        Case::Unauthorized => cluster.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 8]),
        Case::Forbidden => {
            cluster.fail(
                Api::InitProducerId,
                &[Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 8],
            );
        }
        _ => {}
    }
}

async fn rig(case: Case) -> Option<Box<dyn Rig>> {
    if DECLARED.iter().any(|(declared, _)| *declared == case) {
        return None;
    }
    let cluster = Cluster::new(1);
    let door = Door::open(None, cluster.servers().to_owned(), manner(case)).await;
    let at = door.address;
    disturb(case, &cluster);
    let mut rig = KafkaRig {
        cluster,
        sink: sink(&at.to_string(), ""),
        door: Some(door),
        at,
    };
    if case == Case::Refused {
        rig.door = None;
        while tokio::net::TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
    Some(Box::new(rig))
}

#[async_trait]
impl Rig for KafkaRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }

    async fn heal(&mut self) {
        self.cluster.act(|mock| {
            mock.clear_request_errors(Api::Produce);
            mock.clear_request_errors(Api::InitProducerId);
        });
        match &self.door {
            Some(door) => door.set(Manner::Open),
            None => self.door = Some(Door::open(Some(self.at), self.cluster.servers().to_owned(), Manner::Open).await),
        }
    }

    fn stored(&self) -> Vec<Uuid> {
        self.cluster.stored().iter().map(cluster::Stored::id).collect()
    }
}

fn start(case: Case) -> BoxFuture<'static, Option<Box<dyn Rig>>> {
    Box::pin(rig(case))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived() {
    let suite = Suite {
        name: "kafka",
        confirms: true,
        declared: DECLARED,
        start: &start,
    };
    suite.run().await.unwrap();
}
