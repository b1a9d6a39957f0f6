//! A real rsyslogd on loopback: TCP, TLS with a client certificate, UDP, and a restart in mid-flow.
//!
//! Each test starts its own `/usr/sbin/rsyslogd` with its own folder; where Debian's package is missing, the tests say so
//! on standard error and pass.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trapline_schemas::Format;
use trapline_sink::config::{Common, Factory, NoticeSettings};
use trapline_sink::conformance::certs::{Authority, Identity};
use trapline_sink::conformance::{Driver, events};
use trapline_sink::dial::{Address, Resolver};
use trapline_sink::tls::TlsSettings;
use trapline_sink::{FaultKind, Outcome, Parcel, StreamSink};
use trapline_sink_syslog::{Rfc, Settings, Transport};
use uuid::Uuid;

const RSYSLOGD: &str = "/usr/sbin/rsyslogd";
const PATIENCE: Duration = Duration::from_secs(30);
/// The name in the client's certificate that rsyslog lets in.
const CLIENT: &str = "lure.test";

struct Rsyslog {
    folder: tempfile::TempDir,
    /// TCP (with TLS, if there are certificates) and UDP, the same number.
    port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// `None`, said loudly, if rsyslog is not installed.
    fn start(certificates: Option<(&Authority, &Identity)>) -> Option<Self> {
        if !Path::new(RSYSLOGD).exists() {
            // Not by `eprintln!`, which a passing test swallows.
            let said = format!("SKIPPED: {RSYSLOGD} is not installed (apt install rsyslog rsyslog-openssl)\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let imtcp = match certificates {
            Some((authority, server)) => tls_lines(folder.path(), authority, server),
            None => "module(load=\"imtcp\")".to_owned(),
        };
        let work = folder.path().display();
        let lines = format!(
            "{imtcp}
             global(workDirectory=\"{work}\" maxMessageSize=\"64k\" net.enableDNS=\"off\")
             module(load=\"imudp\")
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")
             ruleset(name=\"in\") {{ action(type=\"omfile\" file=\"{work}/received\" template=\"raw\") }}
             input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\" ruleset=\"in\")
             input(type=\"imudp\" port=\"{port}\" address=\"127.0.0.1\" ruleset=\"in\")\n"
        );
        std::fs::write(folder.path().join("rsyslog.conf"), lines).unwrap();
        let mut rsyslog = Self {
            folder,
            port,
            child: None,
        };
        rsyslog.run();
        Some(rsyslog)
    }

    fn run(&mut self) {
        let file = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::create(file("log")).unwrap();
        let child = Command::new(RSYSLOGD)
            .args(["-n", "-C", "-f"])
            .arg(file("rsyslog.conf"))
            .arg("-i")
            .arg(file("pid"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = std::fs::read_to_string(file("log")).unwrap();
            assert!(Instant::now() < deadline, "rsyslogd does not listen: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and waits for the end.
    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        child.wait().unwrap();
    }

    fn address(&self) -> Address {
        Address {
            host: "127.0.0.1".to_owned(),
            port: self.port,
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until every id is there; gives the lines.
    fn holds(&self, expected: &BTreeSet<Uuid>) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            let found: BTreeSet<Uuid> = lines
                .iter()
                .filter(|line| line.contains(" id=\""))
                .map(|line| id_of(line))
                .collect();
            let missing = expected.difference(&found).count();
            if missing == 0 {
                return lines;
            }
            assert!(
                Instant::now() < deadline,
                "{missing} of {} ids never came",
                expected.len()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tls_lines(folder: &Path, authority: &Authority, server: &Identity) -> String {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (cert, key) = server.write(folder, "server").unwrap();
    format!(
        "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{}\"
                defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\")
         module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\"
                streamDriver.authMode=\"x509/name\" permittedPeer=[\"{CLIENT}\"])",
        ca.display(),
        cert.display(),
        key.display()
    )
}

/// A port that is free for TCP and UDP at this moment: rsyslog cannot say which one it took of UDP.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn build(settings: Settings, format: Format) -> Arc<dyn StreamSink> {
    let common = Common {
        name: "rsyslog".to_owned(),
        format,
        observer: "lure-test".to_owned(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    settings.build(&common).unwrap()
}

fn ids(parcels: &[Arc<Parcel>]) -> BTreeSet<Uuid> {
    parcels.iter().map(|parcel| parcel.event.id).collect()
}

/// Sends 400 events in batches of 20; rsyslogd is down from the 7th batch to the 12th.
async fn flow_over_a_restart(rsyslog: &mut Rsyslog, sink: Arc<dyn StreamSink>) {
    let mut driver = Driver::new(sink.clone(), events(20, false));
    let mut sent = BTreeSet::new();
    for at in 0..20 {
        let batch = events(20, false);
        sent.extend(ids(&batch));
        driver.push(batch);
        match at {
            7 => rsyslog.stop(),
            12 => rsyslog.run(),
            _ => {}
        }
        driver.step(PATIENCE).await.unwrap();
    }
    while !driver.is_done() {
        driver.step(PATIENCE).await.unwrap();
    }
    sent.extend(driver.delivered());
    assert!(driver.dead().is_empty());
    assert_eq!(sent.len(), 420);
    sink.close().await;
    rsyslog.holds(&sent);
}

/// The id in the structured data.
fn id_of(message: &str) -> Uuid {
    let (_, rest) = message.split_once(" id=\"").unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}

struct Certificates {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { authority, folder }
    }

    fn ca(&self) -> TlsSettings {
        TlsSettings {
            ca: Some(self.folder.path().join("ca.pem")),
            ..TlsSettings::default()
        }
    }

    fn client(&self, name: &str) -> TlsSettings {
        let (cert, key): (PathBuf, PathBuf) = self
            .authority
            .issue(name)
            .unwrap()
            .write(self.folder.path(), "client")
            .unwrap();
        TlsSettings {
            cert: Some(cert),
            key: Some(key),
            ..self.ca()
        }
    }
}

#[tokio::test]
async fn rsyslog_over_tcp_gets_every_event_over_a_restart() {
    let Some(mut rsyslog) = Rsyslog::start(None) else {
        return;
    };
    let sink = build(Settings::new(Transport::Tcp(rsyslog.address())), Format::Ecs);
    assert!(sink.check().await.unwrap().contains("accepts, tcp"));
    flow_over_a_restart(&mut rsyslog, sink).await;
}

#[tokio::test]
async fn rsyslog_over_tls_with_a_client_certificate_gets_every_event_over_a_restart() {
    let certificates = Certificates::new();
    let server = certificates.authority.issue("127.0.0.1").unwrap();
    let Some(mut rsyslog) = Rsyslog::start(Some((&certificates.authority, &server))) else {
        return;
    };
    let sink = build(
        Settings::new(Transport::Tls(rsyslog.address(), certificates.client(CLIENT))),
        Format::Ecs,
    );
    assert!(sink.check().await.unwrap().contains("accepts, TLS 1.3"));
    flow_over_a_restart(&mut rsyslog, sink.clone()).await;
    assert!(
        sink.notes()
            .iter()
            .any(|note| note.contains("server certificate `CN=127.0.0.1`")),
        "{:?}",
        sink.notes()
    );
    assert!(
        sink.notes()
            .iter()
            .any(|note| note.contains("client certificate `CN=lure.test`")),
        "{:?}",
        sink.notes()
    );
}

#[tokio::test]
async fn rsyslog_lets_in_nobody_without_a_certificate_and_check_and_delivery_say_so() {
    let certificates = Certificates::new();
    let server = certificates.authority.issue("127.0.0.1").unwrap();
    let Some(rsyslog) = Rsyslog::start(Some((&certificates.authority, &server))) else {
        return;
    };
    let sink = build(
        Settings::new(Transport::Tls(rsyslog.address(), certificates.ca())),
        Format::Ecs,
    );
    let fault = sink.check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
    assert!(fault.message.contains("client certificate"), "{fault:?}");
    for count in [1, 20] {
        let delivery = sink.deliver(&events(count, false)).await;
        assert_eq!(delivery.outcomes, vec![Outcome::Retry; count]);
        let fault = delivery.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
        assert!(fault.message.contains("client certificate"), "{fault:?}");
    }
    assert!(rsyslog.lines().is_empty());
}

#[tokio::test]
async fn rsyslog_takes_every_form_and_framing_as_one_line_an_event() {
    let Some(rsyslog) = Rsyslog::start(None) else { return };
    let mut sent = BTreeSet::new();
    let mut count = 0;
    for format in Format::ALL {
        for framing in ["octet-counting", "newline"] {
            let settings = Settings {
                framing: Some(framing),
                ..Settings::new(Transport::Tcp(rsyslog.address()))
            };
            let sink = build(settings, *format);
            let batch = events(5, false);
            sent.extend(ids(&batch));
            count += batch.len();
            assert!(sink.deliver(&batch).await.fault.is_none());
            sink.close().await;
        }
    }
    assert_eq!(rsyslog.holds(&sent).len(), count);
}

#[tokio::test]
async fn rsyslog_over_udp_gets_a_datagram_an_event() {
    let Some(rsyslog) = Rsyslog::start(None) else { return };
    let sink = build(Settings::new(Transport::Udp(rsyslog.address())), Format::Cef);
    assert!(sink.check().await.unwrap().ends_with("sent, never confirmed"));
    let batch = events(20, false);
    assert!(sink.deliver(&batch).await.fault.is_none());
    let lines = rsyslog.holds(&ids(&batch));
    assert!(
        lines
            .iter()
            .all(|line| line.len() <= 1400 && line.contains("CEF:0|Trapline|")),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 20);
}

#[tokio::test]
async fn rsyslog_reads_rfc_3164_too() {
    let Some(rsyslog) = Rsyslog::start(None) else { return };
    let settings = Settings {
        rfc: Rfc::Rfc3164,
        ..Settings::new(Transport::Tcp(rsyslog.address()))
    };
    let (sink, batch) = (build(settings, Format::Ecs), events(3, false));
    assert!(sink.deliver(&batch).await.fault.is_none());
    sink.close().await;
    let deadline = Instant::now() + PATIENCE;
    while rsyslog.lines().len() < 3 {
        assert!(Instant::now() < deadline, "{:?}", rsyslog.lines());
        std::thread::sleep(Duration::from_millis(20));
    }
    let lines = rsyslog.lines();
    for parcel in &batch {
        assert!(lines.iter().any(|line| line.contains(&parcel.event.id.to_string())));
    }
}
