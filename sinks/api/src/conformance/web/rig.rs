//! The suite for a sink whose destination speaks HTTP.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::impostor::Impostor;
use super::message::Reply;
use super::server::{Fault, Server, Service};
use crate::conformance::certs::{Authority, Identity, self_signed};
use crate::conformance::names::{NAME, Zone};
use crate::conformance::{BUSY_FOR, Case, Failures, Rig, Suite};
use crate::dial::Resolver;
use crate::stream::StreamSink;

/// Where the sink under test finds its destination.
pub struct Place {
    /// `https://host:port` or `http://host:port`.
    pub base: String,
    /// Whom it trusts, where the destination has a certificate.
    pub ca: Option<PathBuf>,
    /// Who knows the destination's name.
    pub resolver: Resolver,
}

impl Place {
    /// The line `tls = …` of the sink's table; empty where there is no TLS.
    pub fn tls(&self) -> String {
        let line = |ca: &PathBuf| format!("tls = {{ ca = \"{}\" }}", ca.display());
        self.ca.as_ref().map(line).unwrap_or_default()
    }
}

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

struct WebRig<D: Destination> {
    destination: D,
    server: Server<D::Service>,
    sink: Arc<dyn StreamSink>,
    zone: Zone,
    /// Whether nobody listens, or an impostor does.
    away: bool,
    impostor: Option<Impostor>,
}

/// The destination in one state, with a sink that is set to it.
pub async fn rig<D: Destination>(destination: D, case: Case) -> Option<Box<dyn Rig>> {
    let service = destination.service(case)?;
    let authority = Authority::new().unwrap();
    let by_name = matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost);
    let host = if by_name { NAME } else { "localhost" };
    let tls = (by_name || of_tls(case)).then(|| authority.issue(host).unwrap().server(None).unwrap());
    let encrypted = tls.is_some();
    let server = Server::start(service, tls).await;
    let zone = Zone::new(server.address);
    let folder = std::env::temp_dir().join(format!("trapline-rig-{}", Uuid::new_v4()));
    let place = Place {
        base: match encrypted {
            true => format!("https://{host}:{}", server.address.port()),
            false => server.url(),
        },
        ca: encrypted.then(|| write(&folder, &authority)),
        resolver: if by_name { zone.resolver() } else { Resolver::default() },
    };
    let sink = destination.sink(&place);
    let _ = std::fs::remove_dir_all(&folder);
    let mut rig = WebRig {
        destination,
        server,
        sink,
        zone,
        away: false,
        impostor: None,
    };
    rig.break_it(case, &authority).await;
    Some(Box::new(rig))
}

const fn of_tls(case: Case) -> bool {
    matches!(
        case,
        Case::TlsExpired | Case::TlsWrongHost | Case::TlsSelfSigned | Case::TlsPlainPort
    )
}

fn write(folder: &Path, authority: &Authority) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("ca.crt");
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

impl<D: Destination> WebRig<D> {
    async fn break_it(&mut self, case: Case, authority: &Authority) {
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
            Case::Refused => self.leave().await,
            Case::NameGone | Case::ResolverDead => self.zone.fail(case),
            Case::NameLost => self.lose_the_name().await,
            Case::TlsPlainPort => self.replace(None).await,
            Case::TlsExpired => self.replace(Some(authority.issue_expired("localhost").unwrap())).await,
            Case::TlsWrongHost => self.replace(Some(authority.issue("elsewhere.example").unwrap())).await,
            Case::TlsSelfSigned => self.replace(Some(self_signed("localhost").unwrap())).await,
            _ => {}
        }
    }

    async fn leave(&mut self) {
        self.server.stop().await;
        self.away = true;
    }

    async fn replace(&mut self, tls: Option<Identity>) {
        self.leave().await;
        self.impostor = Some(Impostor::listen(self.server.address, tls).await);
    }

    /// The server closes after each answer, so the next request needs the address again.
    async fn lose_the_name(&mut self) {
        self.server.close_after_each();
        self.sink.check().await.unwrap();
        assert!(self.zone.asked() >= 1, "the name was never asked for");
        self.zone.fail(Case::NameLost);
    }
}

#[async_trait]
impl<D: Destination> Rig for WebRig<D> {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }

    async fn heal(&mut self) {
        if let Some(impostor) = self.impostor.take() {
            impostor.leave().await;
        }
        self.zone.heal();
        self.server.heal();
        if std::mem::take(&mut self.away) {
            self.server.resume().await;
        }
    }

    fn stored(&self) -> Vec<Uuid> {
        self.server.with(|service| self.destination.stored(service))
    }

    fn leaked(&self) -> bool {
        let secrets = self.destination.secrets();
        self.impostor.as_ref().is_some_and(|impostor| impostor.saw(secrets))
    }
}
