//! A real server (Debian's nginx) that asks clients for a certificate, and behind it a receiver of Python's standard
//! library that checks every signature on its own account. Where one of them is missing, the tests say so on standard
//! error and pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use fake::{SECRET, sink_with};
use serde_json::Value;
use trapline_sink::conformance::certs::{Authority, self_signed};
use trapline_sink::conformance::events;
use trapline_sink::dial::Resolver;
use trapline_sink::{FaultKind, Outcome, StreamSink};

const NGINX: &str = "/usr/sbin/nginx";
const PYTHON: &str = "/usr/bin/python3";
/// The one that a receiver had before.
const OLD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

struct Servers {
    folder: tempfile::TempDir,
    at: SocketAddr,
    children: [Child; 2],
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Servers {
    /// `None`, said loudly, if they cannot run here. The receiver believes one secret.
    fn start(secret: &str) -> Option<Self> {
        for program in [NGINX, PYTHON] {
            if !Path::new(program).exists() {
                // Not by `eprintln!`, which a passing test swallows.
                let said = format!("SKIPPED: {program} is not installed (apt install nginx-light python3)\n");
                std::io::stderr().write_all(said.as_bytes()).unwrap();
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        authority
            .issue("localhost")
            .unwrap()
            .write(folder.path(), "server")
            .unwrap();
        authority
            .issue("trapline")
            .unwrap()
            .write(folder.path(), "client")
            .unwrap();
        self_signed("trapline")
            .unwrap()
            .write(folder.path(), "stranger")
            .unwrap();
        let (receiver, backend) = receiver(folder.path(), secret);
        let (nginx, at) = nginx(folder.path(), backend);
        let children = [receiver, nginx];
        Some(Self { folder, at, children })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A sink that shows this certificate; none if empty.
    fn sink(&self, client: &str, more: &str) -> Arc<dyn StreamSink> {
        let own = match client {
            "" => String::new(),
            name => format!(
                ", cert = '{}', key = '{}'",
                self.path(&format!("{name}.crt")).display(),
                self.path(&format!("{name}.key")).display()
            ),
        };
        let (port, ca) = (self.at.port(), self.path("ca.pem"));
        let toml = format!(
            "url = 'https://localhost:{port}/hooks/honeyport'\nusername = 'us'\npassword = 'Aladdin: open'\n\
             tls = {{ ca = '{}'{own} }}\n{more}",
            ca.display()
        );
        sink_with(&toml, Resolver::default())
    }

    /// What the receiver was sent.
    fn told(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("told")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The receiver, and its port.
fn receiver(folder: &Path, secret: &str) -> (Child, u16) {
    let mut child = Command::new(PYTHON)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/receiver.py"))
        .args([folder.join("told").as_os_str(), secret.as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line.trim().parse().unwrap())
}

/// nginx, and where it listens: it cannot let the kernel choose a port, so it is given one that was free a moment ago.
fn nginx(folder: &Path, backend: u16) -> (Child, SocketAddr) {
    for _ in 0..10 {
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configuration = include_str!("nginx.conf")
            .replace("FOLDER", folder.to_str().unwrap())
            .replace("ADDRESS", &at.to_string())
            .replace("BACKEND", &backend.to_string());
        let path = folder.join("nginx.conf");
        std::fs::write(&path, configuration).unwrap();
        let mut child = Command::new(NGINX)
            .arg("-c")
            .arg(path)
            .args(["-g", "daemon off; master_process off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            if TcpStream::connect(at).is_ok() {
                return (child, at);
            }
            std::thread::yield_now();
        }
    }
    panic!(
        "nginx does not start: {}",
        std::fs::read_to_string(folder.join("error.log")).unwrap_or_default()
    );
}

#[tokio::test]
async fn a_client_with_its_certificate_delivers_and_its_signature_holds() {
    let Some(servers) = Servers::start(SECRET) else { return };
    for more in ["", "compression = 'gzip'", "payload = 'array'"] {
        let sink = servers.sink("client", &format!("secret = '{SECRET}'\n{more}"));
        let batch = events(3, false);
        let delivery = sink.deliver(&batch).await;
        assert_eq!(
            delivery.outcomes,
            [Outcome::Delivered, Outcome::Delivered, Outcome::Delivered],
            "{delivery:?}"
        );
    }
    let told = servers.told();
    assert_eq!(told.len(), 7, "three, three, and one for all three");
    for one in &told {
        assert_eq!((&one["good"], &one["client"]), (&true.into(), &"SUCCESS".into()));
        assert_eq!(one["path"], "/hooks/honeyport");
        assert_eq!(one["authorization"], "Basic dXM6QWxhZGRpbjogb3Blbg==");
    }
    assert_eq!(told[0]["id"], told[0]["json"]["event"]["id"]);
    assert_eq!(told[6]["json"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn while_secrets_change_a_receiver_of_the_old_one_and_of_the_new_one_believe_it() {
    for believed in [SECRET, OLD] {
        let Some(servers) = Servers::start(believed) else {
            return;
        };
        let sink = servers.sink("client", &format!("secret = '{SECRET} {OLD}'"));
        assert_eq!(sink.deliver(&events(1, false)).await.outcomes, [Outcome::Delivered]);
        let stranger = servers.sink("client", "secret = 'whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB'");
        let delivery = stranger.deliver(&events(1, false)).await;
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Auth);
    }
}

#[tokio::test]
async fn a_client_without_its_certificate_or_with_a_strange_one_loses_no_event() {
    let Some(servers) = Servers::start(SECRET) else { return };
    for client in ["", "stranger"] {
        let sink = servers.sink(client, &format!("secret = '{SECRET}'"));
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry], "{delivery:?}");
        let fault = delivery.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
        assert!(fault.message.contains("`tls.cert`"), "{fault:?}");
    }
    assert!(servers.told().is_empty());
}
