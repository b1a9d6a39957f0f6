//! The suite that every sink must pass, against a strict fake, by a webhook and as a bot.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fake::{CHANNEL, Fault, Settings, TOKEN, WEBHOOK, Workspace, sink_with};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trapline_sink::StreamSink;
use trapline_sink::conformance::certs::{Authority, Identity, self_signed};
use trapline_sink::conformance::names::{NAME, Zone};
use trapline_sink::conformance::{BAD_USER, BUSY_FOR, Case, Rig, Suite};
use trapline_sink::dial::Resolver;
use uuid::Uuid;

/// The two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Webhook,
    Bot,
}

/// A small body that would inflate to 64 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'0'), 64 << 20), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

struct SlackRig {
    workspace: Option<Workspace>,
    settings: Settings,
    sink: Arc<dyn StreamSink>,
    address: std::net::SocketAddr,
    zone: Zone,
    /// Who listens while the fault lasts, where that is not Slack.
    impostor: Option<Impostor>,
}

/// A server that is not Slack; it notes what it is sent.
struct Impostor {
    seen: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Impostor {
    /// Listens and reads; speaks TLS with `tls`, else says nothing that TLS would.
    async fn listen(address: std::net::SocketAddr, tls: Option<Identity>) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let acceptor = tls.map(|identity| tokio_rustls::TlsAcceptor::from(identity.server(None).unwrap()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                match &acceptor {
                    None => {
                        let mut first = [0; 512];
                        let count = stream.read(&mut first).await.unwrap_or(0);
                        bytes.extend_from_slice(&first[..count]);
                        let _ = stream.write_all(b"220 not tls\r\n").await;
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

    /// Whether it saw anything of a credential or an event in clear.
    fn leaked(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        let text = String::from_utf8_lossy(&seen);
        ["SECRET", "Bearer", "blocks"]
            .iter()
            .any(|secret| text.contains(secret))
    }
}

fn lasting(case: Case, way: Way) -> Option<Fault> {
    let answer = |status, headers, body: &[u8]| Some(Fault::Answer(status, headers, body.to_vec()));
    match case {
        Case::Slow => Some(Fault::Slow(Duration::from_millis(200))),
        Case::HalfOpen => Some(Fault::Silence),
        Case::Busy => {
            assert_eq!(BUSY_FOR, Duration::from_secs(7));
            answer(429, "Retry-After: 7\r\n", br#"{"ok":false,"error":"ratelimited"}"#)
        }
        Case::Unauthorized => answer(401, "", br#"{"ok":false,"error":"invalid_auth"}"#),
        Case::Forbidden if way == Way::Webhook => answer(403, "", b"invalid_token"),
        Case::Forbidden => answer(200, "", br#"{"ok":false,"error":"account_inactive"}"#),
        Case::Garbage => answer(200, "", b"\x00\xff\xfe{]\x1b[31m"),
        Case::Html => answer(200, "", b"<html><body>ok</body></html>"),
        Case::Endless => Some(Fault::Endless),
        Case::GzipBomb => answer(200, "Content-Encoding: gzip\r\n", &bomb()),
        Case::ShortBody => Some(Fault::ShortBody),
        _ => None,
    }
}

fn sink(way: Way, base: &str, ca: Option<&std::path::Path>, resolver: Resolver) -> Arc<dyn StreamSink> {
    let way = match way {
        Way::Webhook => format!("webhook_url = \"{base}{WEBHOOK}\""),
        Way::Bot => format!("endpoint = \"{base}/api\"\ntoken = \"{TOKEN}\"\nchannel = \"{CHANNEL}\""),
    };
    let tls = ca
        .map(|ca| format!("tls = {{ ca = \"{}\" }}", ca.display()))
        .unwrap_or_default();
    sink_with(&format!("{way}\ntimeout = \"1s\"\ninterval = \"1ms\"\n{tls}"), resolver)
}

async fn rig(case: Case, way: Way) -> Option<Box<dyn Rig>> {
    if case == Case::TooLarge {
        return None;
    }
    let authority = Authority::new().unwrap();
    let by_name = matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost);
    let host = if by_name { NAME } else { "localhost" };
    let good = authority.issue(host).unwrap();
    let of_tls = [
        Case::TlsExpired,
        Case::TlsWrongHost,
        Case::TlsSelfSigned,
        Case::TlsPlainPort,
    ];
    let tls = of_tls.contains(&case) || by_name;
    let settings = Settings {
        poison: (case == Case::OneBad).then_some(BAD_USER),
        closes: case == Case::NameLost,
        tls: tls.then(|| good.server(None).unwrap()),
        ..Settings::default()
    };
    let workspace = Workspace::start(settings.clone()).await;
    let address = workspace.address;
    let folder = std::env::temp_dir().join(format!("trapline-slack-{}", Uuid::new_v4()));
    let ca = tls.then(|| {
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ca.crt");
        std::fs::write(&path, authority.pem()).unwrap();
        path
    });
    let base = match tls {
        true => format!("https://{host}:{}", address.port()),
        false => format!("http://{address}"),
    };
    let zone = Zone::new(address);
    let resolver = if by_name { zone.resolver() } else { Resolver::default() };
    let sink = sink(way, &base, ca.as_deref(), resolver);
    let _ = std::fs::remove_dir_all(&folder);
    let mut rig = SlackRig {
        workspace: Some(workspace),
        settings,
        sink,
        address,
        zone,
        impostor: None,
    };
    rig.break_it(case, way, &authority).await;
    Some(Box::new(rig))
}

impl SlackRig {
    async fn break_it(&mut self, case: Case, way: Way, authority: &Authority) {
        if let (Some(fault), Some(workspace)) = (lasting(case, way), &self.workspace) {
            workspace.order_lasting(fault);
        }
        match case {
            Case::ServerError => {
                for status in [500, 502, 503, 504] {
                    self.order(Fault::Answer(status, "", b"internal_error".to_vec()));
                }
            }
            Case::ResetAfterStored => self.order(Fault::ResetAfterStored),
            Case::Refused => self.stop().await,
            Case::NameGone | Case::ResolverDead => self.zone.fail(case),
            Case::NameLost => {
                // Slack closes after each answer, so the next request needs the address again.
                self.sink.check().await.unwrap();
                assert!(self.zone.asked() >= 1);
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
        self.workspace.as_ref().unwrap().order(fault);
    }

    /// Nobody listens from the return on.
    async fn stop(&mut self) {
        self.workspace = None;
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
impl Rig for SlackRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }

    async fn heal(&mut self) {
        if let Some(impostor) = self.impostor.take() {
            impostor.task.abort();
            let _ = impostor.task.await;
        }
        self.zone.heal();
        match &self.workspace {
            Some(workspace) => workspace.heal(),
            None => self.workspace = Some(Workspace::start_on(self.address, self.settings.clone()).await),
        }
    }

    fn stored(&self) -> Vec<Uuid> {
        self.workspace.as_ref().map(Workspace::ids).unwrap_or_default()
    }

    fn leaked(&self) -> bool {
        self.impostor.as_ref().is_some_and(Impostor::leaked)
    }
}

fn by_webhook(case: Case) -> BoxFuture<'static, Option<Box<dyn Rig>>> {
    Box::pin(rig(case, Way::Webhook))
}

fn as_bot(case: Case) -> BoxFuture<'static, Option<Box<dyn Rig>>> {
    Box::pin(rig(case, Way::Bot))
}

const DECLARED: &[(Case, &str)] = &[(
    Case::TooLarge,
    "a request holds one message, so there is nothing to split",
)];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_by_a_webhook() {
    let suite = Suite {
        name: "slack webhook",
        confirms: true,
        declared: DECLARED,
        start: &by_webhook,
    };
    suite.run().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_as_a_bot() {
    let suite = Suite {
        name: "slack bot",
        confirms: true,
        declared: DECLARED,
        start: &as_bot,
    };
    suite.run().await.unwrap();
}
