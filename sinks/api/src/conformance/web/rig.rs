//! The suite for a sink whose destination speaks HTTP.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::message::Reply;
use super::peer::{Peer, Place, rig_around};
use super::server::{Fault, Server, Service};
use crate::conformance::{BUSY_FOR, Case, Failures, Rig, Suite};
use crate::stream::StreamSink;

/// One kind of destination: its fake, and a sink for it.
pub trait Destination: Clone + Send + Sync + 'static {
    /// The fake.
    type Service: Service;

    /// The fake in the state of a case that is its own business ([`Case::OneBad`], [`Case::TooLarge`]), else a healthy
    /// one; `None` where the case is declared.
    fn service(&self, case: Case) -> Option<Self::Service>;

    /// A sink that is set to it. Deadlines should be short: an answer takes 200 ms in [`Case::Slow`].
    fn sink(&self, place: &Place) -> Arc<dyn StreamSink>;

    /// Ids of the events that it holds, in order of arrival, doubles included.
    fn stored(&self, service: &Self::Service) -> Vec<Uuid>;

    /// What nobody but the destination may see: parts of credentials and of a request's body.
    fn secrets(&self) -> &[&str];

    /// What is wrong with every request while a case lasts; [`fault_of`] unless the destination has words of its own.
    fn fault(&self, case: Case) -> Option<Fault> {
        fault_of(case)
    }

    /// How it says that it failed, for each of 500, 502, 503 and 504.
    fn failed(&self, status: u16) -> Reply {
        Reply::text(status, "failed")
    }
}

/// The fault of a case, as any server or a proxy before it would show it.
pub fn fault_of(case: Case) -> Option<Fault> {
    let answer = |reply| Some(Fault::Answer(reply));
    match case {
        Case::Slow => Some(Fault::Slow(Duration::from_millis(200))),
        Case::HalfOpen => Some(Fault::Silence),
        Case::Busy => answer(Reply::status(429).with("Retry-After", &BUSY_FOR.as_secs().to_string())),
        Case::Unauthorized => answer(Reply::status(401)),
        Case::Forbidden => answer(Reply::status(403)),
        Case::Garbage => answer(Reply {
            body: b"\x00\xff\xfe{]\x1b[31m".to_vec(),
            ..Reply::status(200)
        }),
        Case::Html => answer(Reply::text(200, "<html><body>ok</body></html>").with("Content-Type", "text/html")),
        Case::Endless => Some(Fault::Endless),
        Case::GzipBomb => answer(
            Reply {
                body: bomb(),
                ..Reply::status(200)
            }
            .with("Content-Encoding", "gzip"),
        ),
        Case::ShortBody => Some(Fault::ShortBody),
        _ => None,
    }
}

/// A small body that would inflate to 64 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(b'0').take(64 << 20), &mut encoder).unwrap();
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

/// Runs the whole suite against a destination whose answers confirm.
///
/// Errors: [`Failures`] names the cases that did not hold.
pub async fn run<D: Destination>(
    name: &'static str,
    destination: D,
    declared: &'static [(Case, &'static str)],
) -> Result<(), Failures> {
    let start = move |case| -> BoxFuture<'_, _> { Box::pin(rig(destination.clone(), case)) };
    let suite = Suite {
        name,
        confirms: true,
        declared,
        start: &start,
    };
    suite.run().await
}

/// The destination in one state, with a sink that is set to it.
pub async fn rig<D: Destination>(destination: D, case: Case) -> Option<Box<dyn Rig>> {
    let service = destination.service(case)?;
    let sink = {
        let destination = destination.clone();
        move |place: &Place| destination.sink(place)
    };
    let start = |tls| async move {
        let server = Server::start(service, tls).await;
        Web { destination, server }
    };
    Some(rig_around(case, start, sink).await)
}

/// A destination at work.
struct Web<D: Destination> {
    destination: D,
    server: Server<D::Service>,
}

#[async_trait]
impl<D: Destination> Peer for Web<D> {
    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn spoil(&self, case: Case) {
        if let Some(fault) = self.destination.fault(case) {
            self.server.order_lasting(fault);
        }
        match case {
            Case::ServerError => {
                for status in [500, 502, 503, 504] {
                    self.server.order(Fault::Answer(self.destination.failed(status)));
                }
            }
            Case::ResetAfterStored => self.server.order(Fault::ResetAfterStored),
            _ => {}
        }
    }

    fn heal(&self) {
        self.server.heal();
    }

    fn close_after_each(&self) {
        self.server.close_after_each();
    }

    async fn stop(&mut self) {
        self.server.stop().await;
    }

    async fn resume(&mut self) {
        self.server.resume().await;
    }

    fn stored(&self) -> Vec<Uuid> {
        self.server.with(|service| self.destination.stored(service))
    }

    fn secrets(&self) -> &[&str] {
        self.destination.secrets()
    }
}
