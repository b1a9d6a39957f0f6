//! The suite that every sink must pass, against a strict fake collector, with and without acknowledgement.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fake::{Collector, Fault, Settings};
use futures_util::future::BoxFuture;
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::certs::{Authority, Identity, self_signed};
use trapline_sink::conformance::names::{NAME, Zone};
use trapline_sink::conformance::{BAD_USER, BUSY_FOR, Case, Rig, Suite, TAKES_AT_ONCE};
use trapline_sink::dial::Resolver;
use trapline_sink_splunk_hec::SINK;
use uuid::Uuid;

/// A small body that would inflate to 64 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'0'), 64 << 20), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

struct HecRig {
    collector: Option<Collector>,
    settings: Settings,
    sink: Arc<dyn StreamSink>,
    address: std::net::SocketAddr,
    zone: Zone,
    /// Who listens while the fault lasts, where that is not the collector.
    impostor: Option<Impostor>,
}

/// A server that is not the collector; it notes what it is sent.
struct Impostor {
    seen: Arc<std::sync::Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Impostor {
    /// Listens and reads; speaks TLS with `tls`, else says nothing that TLS would.
    async fn listen(address: std::net::SocketAddr, tls: Option<Identity>) -> Self {
        use tokio::io::AsyncReadExt;
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let acceptor = tls.map(|identity| tokio_rustls::TlsAcceptor::from(identity.server(None).unwrap()));
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                match &acceptor {
                    None => {
                        let mut first = [0; 512];
                        let count = stream.read(&mut first).await.unwrap_or(0);
                        bytes.extend_from_slice(&first[..count]);
                        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 not tls\r\n").await;
                    }
                    Some(acceptor) => {
                        if let Ok(mut stream) = acceptor.accept(stream).await {
                            let _ = stream.read_to_end(&mut bytes).await;
                        }
                    }
                }
                noted.lock().unwrap().extend_from_slice(&bytes);
            }
        });
        Self { seen, task }
    }

    /// Whether it saw anything of the token or an event in clear.
    fn leaked(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        let text = String::from_utf8_lossy(&seen);
        ["Splunk ", "collector", "decoy-credential"]
            .iter()
            .any(|secret| text.contains(secret))
    }
}

fn lasting(case: Case) -> Option<Fault> {
    let answer = |status, headers, body: &[u8]| Some(Fault::Answer(status, headers, body.to_vec()));
    match case {
        Case::Slow => Some(Fault::Slow(Duration::from_millis(200))),
        Case::HalfOpen => Some(Fault::Silence),
        Case::Busy => {
            assert_eq!(BUSY_FOR, Duration::from_secs(7));
            answer(429, "Retry-After: 7\r\n", br#"{"text":"Server is busy","code":9}"#)
        }
        Case::Unauthorized => answer(401, "", br#"{"text":"Invalid authorization","code":3}"#),
        Case::Forbidden => answer(403, "", br#"{"text":"Invalid token","code":4}"#),
        Case::Garbage => Some(Fault::Garbage(b"\x00\xff\xfe{]\x1b[31m")),
        Case::Html => Some(Fault::Garbage(b"<html><body>Success</body></html>")),
        Case::Endless => Some(Fault::Endless),
        Case::GzipBomb => answer(200, "Content-Encoding: gzip\r\n", &bomb()),
        Case::ShortBody => Some(Fault::ShortBody),
        _ => None,
    }
}

fn settings(case: Case, acknowledge: bool, tls: Option<&Identity>) -> Settings {
    Settings {
        acknowledge,
        poison: (case == Case::OneBad).then_some(BAD_USER),
        keeps_before_poison: !acknowledge,
        events_max: if case == Case::TooLarge {
            TAKES_AT_ONCE
        } else {
            usize::MAX
        },
        keeps_connections: case != Case::NameLost,
        tls: tls.map(|identity| identity.server(None).unwrap()),
        ..Settings::default()
    }
}

fn sink(endpoint: &str, acknowledge: bool, ca: Option<&std::path::Path>, resolver: Resolver) -> Arc<dyn StreamSink> {
    let tls = ca
        .map(|ca| format!("tls = {{ ca = \"{}\" }}", ca.display()))
        .unwrap_or_default();
    let toml = format!(
        "endpoint = \"{endpoint}\"\ntoken = \"{}\"\nacknowledge = {acknowledge}\nacknowledge_interval = \"50ms\"\n\
         acknowledge_timeout = \"2s\"\ntimeout = \"1s\"\n{tls}",
        Settings::default().token
    );
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "siem".into(),
        format: Format::Ecs,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    (SINK.parse)(&table).build(&common).unwrap()
}

async fn rig(case: Case, acknowledge: bool) -> Option<Box<dyn Rig>> {
    let authority = Authority::new().unwrap();
    let by_name = matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost);
    let host = if by_name { NAME } else { "localhost" };
    let good = authority.issue(host).unwrap();
    let tls = matches!(
        case,
        Case::TlsExpired | Case::TlsWrongHost | Case::TlsSelfSigned | Case::TlsPlainPort
    ) || by_name;
    let settings = settings(case, acknowledge, tls.then_some(&good));
    let collector = Collector::start(settings.clone()).await;
    let address = collector.address;
    let folder = std::env::temp_dir().join(format!("trapline-hec-{}", Uuid::new_v4()));
    let ca = tls.then(|| {
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ca.crt");
        std::fs::write(&path, authority.pem()).unwrap();
        path
    });
    let endpoint = if tls {
        format!("https://{host}:{}", address.port())
    } else {
        collector.url()
    };
    let zone = Zone::new(address);
    let resolver = if by_name { zone.resolver() } else { Resolver::default() };
    let sink = sink(&endpoint, acknowledge, ca.as_deref(), resolver);
    let _ = std::fs::remove_dir_all(&folder);
    let mut rig = HecRig {
        collector: Some(collector),
        settings,
        sink,
        address,
        zone,
        impostor: None,
    };
    rig.break_it(case, &authority).await;
    Some(Box::new(rig))
}

impl HecRig {
    async fn break_it(&mut self, case: Case, authority: &Authority) {
        if let (Some(fault), Some(collector)) = (lasting(case), &self.collector) {
            collector.order_lasting(fault);
        }
        match case {
            Case::ServerError => {
                for status in [500, 502, 503, 504] {
                    self.order(Fault::Answer(
                        status,
                        "",
                        br#"{"text":"Internal server error","code":8}"#.to_vec(),
                    ));
                }
            }
            Case::ResetAfterStored => self.order(Fault::ResetAfterStored),
            Case::Refused => self.stop().await,
            Case::NameGone | Case::ResolverDead => self.zone.fail(case),
            Case::NameLost => {
                // The collector closes after each answer, so the next request needs the address again.
                self.sink.check().await.unwrap();
                assert_eq!(self.zone.asked(), 1);
                self.zone.fail(case);
            }
            Case::TlsPlainPort => self.replace(None).await,
            Case::TlsExpired => self.replace(Some(authority.issue_expired("localhost").unwrap())).await,
            Case::TlsWrongHost => self.replace(Some(authority.issue("elsewhere.example").unwrap())).await,
            Case::TlsSelfSigned => self.replace(Some(self_signed("localhost").unwrap())).await,
            _ => {}
        }
    }

    fn order(&self, fault: Fault) {
        self.collector.as_ref().unwrap().order(fault);
    }

    /// Nobody listens from the return on.
    async fn stop(&mut self) {
        self.collector = None;
        while tokio::net::TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    async fn replace(&mut self, tls: Option<Identity>) {
        self.stop().await;
        self.impostor = Some(Impostor::listen(self.address, tls).await);
    }
}

#[async_trait]
impl Rig for HecRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }

    async fn heal(&mut self) {
        if let Some(impostor) = self.impostor.take() {
            impostor.task.abort();
            let _ = impostor.task.await;
        }
        self.zone.heal();
        match &self.collector {
            Some(collector) => collector.heal(),
            None => self.collector = Some(Collector::start_on(self.address, self.settings.clone()).await),
        }
    }

    fn stored(&self) -> Vec<Uuid> {
        let ids = self.collector.as_ref().map(Collector::ids).unwrap_or_default();
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn leaked(&self) -> bool {
        self.impostor.as_ref().is_some_and(Impostor::leaked)
    }
}

fn without_acknowledgement(case: Case) -> BoxFuture<'static, Option<Box<dyn Rig>>> {
    Box::pin(rig(case, false))
}

fn with_acknowledgement(case: Case) -> BoxFuture<'static, Option<Box<dyn Rig>>> {
    Box::pin(rig(case, true))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_without_acknowledgement() {
    let suite = Suite {
        name: "splunk_hec",
        confirms: true,
        declared: &[],
        start: &without_acknowledgement,
    };
    suite.run().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_acknowledgement() {
    let suite = Suite {
        name: "splunk_hec+ack",
        confirms: true,
        declared: &[],
        start: &with_acknowledgement,
    };
    suite.run().await.unwrap();
}
