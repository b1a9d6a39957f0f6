//! The syslog sink against the suite of faults, over TCP, TLS, UDP and a unix socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use server::{Behaviour, Server};
use tokio::net::UdpSocket;
use trapline_schemas::Format;
use trapline_sink::config::{Common, Factory, NoticeSettings};
use trapline_sink::conformance::certs::{Authority, self_signed};
use trapline_sink::conformance::names::{NAME, Zone};
use trapline_sink::conformance::{Case, Rig, Suite, events};
use trapline_sink::dial::{Address, Resolver};
use trapline_sink::tls::TlsSettings;
use trapline_sink::{FaultKind, Outcome, StreamSink};
use trapline_sink_syslog::{Settings, Transport};
use uuid::Uuid;

const NO_ANSWERS: &str = "syslog has no answers: a receiver cannot say that it is busy, refuses or is at fault";
const NO_TLS: &str = "no TLS over this transport; the tls suite runs it";

struct SyslogRig {
    server: Server,
    sink: Arc<dyn StreamSink>,
    zone: Zone,
    /// With TLS, where the certificates are.
    folder: Option<tempfile::TempDir>,
}

#[async_trait]
impl Rig for SyslogRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }
    async fn heal(&mut self) {
        self.zone.heal();
        self.server.behave(Behaviour::Well).await;
    }
    fn stored(&self) -> Vec<Uuid> {
        self.server.stored()
    }
    fn leaked(&self) -> bool {
        self.folder.is_some() && self.server.saw_text()
    }
}

fn build(settings: Settings, resolver: Resolver) -> Arc<dyn StreamSink> {
    let common = Common {
        name: "rsyslog".to_owned(),
        format: Format::Ecs,
        observer: "lure-test".to_owned(),
        resolver,
        notices: NoticeSettings::default(),
    };
    Settings {
        timeout: Duration::from_millis(400),
        ..settings
    }
    .build(&common)
    .unwrap()
}

fn behaviour(case: Case) -> Option<Behaviour> {
    Some(match case {
        Case::Well | Case::Lone | Case::NameGone | Case::ResolverDead | Case::NameLost => Behaviour::Well,
        Case::Refused => Behaviour::Closed,
        Case::Slow => Behaviour::Slow,
        Case::HalfOpen => Behaviour::NeverReads,
        Case::Garbage => Behaviour::Answers(b"\x00\xff\x1b]0;x\x07"),
        Case::Html => Behaviour::Answers(b"HTTP/1.1 400 Bad Request\r\n\r\n<html></html>"),
        Case::Endless => Behaviour::AnswersForEver,
        Case::ShortBody => Behaviour::Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"),
        Case::ResetAfterStored => Behaviour::ResetsAfterStored,
        _ => return None,
    })
}

/// Where a case's receiver is said to be: at its address, or under a name that goes.
fn place(case: Case, at: Address) -> Address {
    match case {
        Case::NameGone | Case::ResolverDead | Case::NameLost => Address {
            host: NAME.to_owned(),
            ..at
        },
        _ => at,
    }
}

fn zone(at: &Address) -> Zone {
    Zone::new(at.to_string().parse().unwrap())
}

/// Takes the name away; one that has been lost was resolved before.
async fn lose(case: Case, zone: &Zone, sink: &Arc<dyn StreamSink>) {
    if case == Case::NameLost {
        sink.check().await.unwrap();
        assert_eq!(zone.asked(), 1);
    }
    if matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost) {
        zone.fail(case);
    }
}

async fn tcp(case: Case) -> Option<Box<dyn Rig>> {
    let server = Server::start(behaviour(case)?, None).await;
    let zone = zone(&server.address());
    let address = place(case, server.address());
    let sink = build(Settings::new(Transport::Tcp(address)), zone.resolver());
    lose(case, &zone, &sink).await;
    Some(Box::new(SyslogRig {
        server,
        sink,
        zone,
        folder: None,
    }))
}

/// TLS faults heal by a server that shows a good certificate.
async fn tls(case: Case) -> Option<Box<dyn Rig>> {
    let authority = Authority::new().unwrap();
    let name = match case {
        Case::NameGone | Case::ResolverDead | Case::NameLost => NAME,
        _ => "127.0.0.1",
    };
    let good = authority.issue(name).unwrap();
    let (behaviour, shown) = match case {
        Case::TlsExpired => (Behaviour::Well, Some(authority.issue_expired("127.0.0.1").unwrap())),
        Case::TlsWrongHost => (Behaviour::Well, Some(authority.issue("elsewhere.example").unwrap())),
        Case::TlsSelfSigned => (Behaviour::Well, Some(self_signed("127.0.0.1").unwrap())),
        Case::TlsPlainPort => (Behaviour::Answers(b"220 mail.example ESMTP\r\n"), None),
        Case::Garbage | Case::Html | Case::Endless | Case::ShortBody => return None,
        case => (behaviour(case)?, Some(good.clone())),
    };
    let server = Server::start(behaviour, shown.map(|identity| identity.server(None).unwrap())).await;
    server.heals_to(good.server(None).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let settings = TlsSettings {
        ca: Some(ca),
        ..TlsSettings::default()
    };
    let zone = zone(&server.address());
    let address = place(case, server.address());
    let sink = build(Settings::new(Transport::Tls(address, settings)), zone.resolver());
    lose(case, &zone, &sink).await;
    Some(Box::new(SyslogRig {
        server,
        sink,
        zone,
        folder: Some(folder),
    }))
}

/// With TLS 1.3 the handshake is done for the client before the server has looked at its certificate.
#[tokio::test]
async fn a_missing_or_foreign_client_certificate_delivers_nothing_and_is_named() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let shown = authority.issue("127.0.0.1").unwrap().server(Some(&authority)).unwrap();
    let server = Server::start(Behaviour::Well, Some(shown)).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let missing = TlsSettings {
        ca: Some(ca),
        ..TlsSettings::default()
    };
    let (cert, key) = stranger
        .issue("lure.test")
        .unwrap()
        .write(folder.path(), "foreign")
        .unwrap();
    let foreign = TlsSettings {
        cert: Some(cert),
        key: Some(key),
        ..missing.clone()
    };
    for (settings, said) in [(missing, "wants a client certificate"), (foreign, "the server ")] {
        let sink = build(
            Settings::new(Transport::Tls(server.address(), settings)),
            Resolver::default(),
        );
        for count in [5, 1] {
            let delivery = sink.deliver(&events(count, false)).await;
            assert_eq!(delivery.outcomes, vec![Outcome::Retry; count]);
            let fault = delivery.fault.unwrap();
            assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
            assert!(fault.message.contains(said), "{fault:?}");
        }
        assert!(server.stored().is_empty());
    }
}

/// A receiver of datagrams.
struct UdpRig {
    stored: Arc<Mutex<Vec<Uuid>>>,
    sink: Arc<dyn StreamSink>,
    zone: Zone,
}

#[async_trait]
impl Rig for UdpRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }
    async fn heal(&mut self) {
        self.zone.heal();
    }
    fn stored(&self) -> Vec<Uuid> {
        self.stored.lock().unwrap().clone()
    }
}

async fn udp(case: Case) -> Option<Box<dyn Rig>> {
    (behaviour(case)? == Behaviour::Well).then_some(())?;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let stored: Arc<Mutex<Vec<Uuid>>> = Arc::default();
    let store = stored.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 9000];
        while let Ok(len) = socket.recv(&mut buffer).await {
            store
                .lock()
                .unwrap()
                .push(server::id_of(std::str::from_utf8(&buffer[..len]).unwrap()));
        }
    });
    let at = Address {
        host: at.ip().to_string(),
        port: at.port(),
    };
    let zone = zone(&at);
    let sink = build(Settings::new(Transport::Udp(place(case, at))), zone.resolver());
    lose(case, &zone, &sink).await;
    Some(Box::new(UdpRig { stored, sink, zone }))
}

#[tokio::test]
async fn every_fault_is_run_or_declared_over_udp() {
    const SENT: &str = "a datagram is sent, never confirmed: a receiver that is away, slow or gone does not show";
    const NO_STREAM: &str = "a datagram has no connection, no answer and no TLS";
    let suite = Suite {
        name: "syslog udp",
        confirms: false,
        declared: &[
            (
                Case::Refused,
                "an ICMP answer may show it later, see transports.rs; nothing is promised",
            ),
            (Case::Slow, SENT),
            (Case::HalfOpen, SENT),
            (Case::Busy, NO_ANSWERS),
            (Case::ServerError, NO_ANSWERS),
            (Case::OneBad, NO_ANSWERS),
            (Case::TooLarge, NO_ANSWERS),
            (Case::Unauthorized, NO_ANSWERS),
            (Case::Forbidden, NO_ANSWERS),
            (Case::Garbage, NO_STREAM),
            (Case::Html, NO_STREAM),
            (Case::Endless, NO_STREAM),
            (Case::GzipBomb, NO_STREAM),
            (Case::ShortBody, NO_STREAM),
            (Case::ResetAfterStored, NO_STREAM),
            (Case::TlsExpired, NO_STREAM),
            (Case::TlsWrongHost, NO_STREAM),
            (Case::TlsSelfSigned, NO_STREAM),
            (Case::TlsPlainPort, NO_STREAM),
        ],
        start: &|case| Box::pin(udp(case)),
    };
    suite.run().await.unwrap();
}

#[tokio::test]
async fn every_fault_is_run_or_declared_over_tcp() {
    let suite = Suite {
        name: "syslog tcp",
        confirms: false,
        declared: &[
            (Case::Busy, NO_ANSWERS),
            (Case::ServerError, NO_ANSWERS),
            (Case::OneBad, NO_ANSWERS),
            (Case::TooLarge, NO_ANSWERS),
            (Case::Unauthorized, NO_ANSWERS),
            (Case::Forbidden, NO_ANSWERS),
            (
                Case::GzipBomb,
                "nothing is ever inflated; any answer at all is the garbage case",
            ),
            (Case::TlsExpired, NO_TLS),
            (Case::TlsWrongHost, NO_TLS),
            (Case::TlsSelfSigned, NO_TLS),
            (Case::TlsPlainPort, NO_TLS),
        ],
        start: &|case| Box::pin(tcp(case)),
    };
    suite.run().await.unwrap();
}

#[tokio::test]
async fn every_fault_is_run_or_declared_over_tls() {
    let suite = Suite {
        name: "syslog tls",
        confirms: false,
        declared: &[
            (Case::Busy, NO_ANSWERS),
            (Case::ServerError, NO_ANSWERS),
            (Case::OneBad, NO_ANSWERS),
            (Case::TooLarge, NO_ANSWERS),
            (Case::Unauthorized, NO_ANSWERS),
            (Case::Forbidden, NO_ANSWERS),
            (Case::Garbage, "answers inside TLS take the path of the tcp suite"),
            (Case::Html, "answers inside TLS take the path of the tcp suite"),
            (Case::Endless, "answers inside TLS take the path of the tcp suite"),
            (Case::GzipBomb, "nothing is ever inflated"),
            (Case::ShortBody, "answers inside TLS take the path of the tcp suite"),
        ],
        start: &|case| Box::pin(tls(case)),
    };
    suite.run().await.unwrap();
}
