//! Brokers whose certificate is not to be trusted: each is told, and learns nothing.
#![cfg(feature = "kafka-tls-system")]
#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod cluster;

use std::sync::{Arc, Mutex};

use cluster::sink;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use trapline_sink::conformance::certs::{Authority, Identity, self_signed};
use trapline_sink::conformance::events;
use trapline_sink::stream::{FaultKind, Outcome};

/// Listens, with or without TLS, and keeps what it is told in clear.
async fn listen(identity: Option<&Identity>) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = identity.map(|identity| TlsAcceptor::from(identity.server(None).unwrap()));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            match &acceptor {
                Some(acceptor) => {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let _ = stream.read_to_end(&mut bytes).await;
                    }
                }
                None => {
                    let mut first = [0; 512];
                    let count = stream.read(&mut first).await.unwrap_or(0);
                    bytes.extend_from_slice(&first[..count]);
                    let _ = stream.write_all(b"220 not tls\r\n").await;
                }
            }
            kept.lock().unwrap().extend_from_slice(&bytes);
        }
    });
    (port, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_to_be_trusted_is_told_and_its_server_learns_nothing() {
    let authority = Authority::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    for (name, identity) in [
        ("expired", Some(authority.issue_expired("localhost").unwrap())),
        ("for another host", Some(authority.issue("elsewhere.example").unwrap())),
        ("self-signed", Some(self_signed("localhost").unwrap())),
        ("no TLS", None),
    ] {
        let (port, heard) = listen(identity.as_ref()).await;
        let lines = format!(
            "tls = {{ ca = \"{}\" }}\nsasl = {{ mechanism = \"plain\", user = \"lure\", password = \"hush\" }}",
            ca.display()
        );
        let sink = sink(&format!("localhost:{port}"), &lines);
        let delivery = sink.deliver(&events(2, false)).await;
        let fault = delivery.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::Tls, "{name}: {}", fault.message);
        assert!(
            fault.message.starts_with("no TLS connection with a broker: "),
            "{name}: {}",
            fault.message
        );
        assert!(delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Retry));
        assert_eq!(sink.check().await.unwrap_err().kind, FaultKind::Tls, "{name}");
        let heard = heard.lock().unwrap();
        let text = String::from_utf8_lossy(&heard);
        assert!(
            !text.contains("hush") && !text.contains("decoy-credential"),
            "{name}: {text}"
        );
    }
}
