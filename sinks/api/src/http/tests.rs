use std::time::SystemTime;

use super::exchange::retry_after;
use super::*;
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::conformance::certs::Authority;
use crate::tls::TlsSettings;

fn asked(value: &str) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
    retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
}

#[test]
fn retry_after_is_read_as_seconds_or_date_and_capped() {
    assert_eq!(asked("7"), Some(Duration::from_secs(7)));
    assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
    for none in ["0", "Sun, 06 Nov 1994 08:00:00 GMT"] {
        assert_eq!(asked(none), None, "{none}: the pace is then our own");
    }
    assert_eq!(asked("86400"), Some(RETRY_AFTER_MAX));
    assert_eq!(asked("soon"), None);
}

#[test]
fn a_status_becomes_the_fault_an_operator_can_act_on() {
    let answer = |status| Answer {
        status,
        retry_after: None,
        body: vec![],
    };
    for status in 100..=599 {
        let expected = match status {
            401 | 403 | 407 | 511 => FaultKind::Auth,
            408 | 425 | 429 => FaultKind::Busy,
            300..=499 => FaultKind::Config,
            _ => FaultKind::Server,
        };
        assert_eq!(answer(status).fault("the collector").kind, expected, "{status}");
    }
    for status in 100..=599 {
        let kind = answer(status).fault("the collector").kind;
        let by_name = [401, 404, 405, 407, 408, 410, 413, 425, 429].contains(&status);
        let expected = matches!(kind, FaultKind::Auth | FaultKind::Config) && status / 100 == 4 && !by_name;
        assert_eq!(answer(status).may_be_content(), expected, "{status}");
    }
    let asked = Answer {
        retry_after: Some(Duration::from_secs(1)),
        ..answer(503)
    };
    assert_eq!(asked.fault("the collector").kind, FaultKind::Busy);
    assert!(answer(407).fault("the collector").message.contains("proxy"));
}

#[tokio::test]
async fn a_refused_connection_is_unreachable_and_does_not_show_the_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let base = Url::parse(&format!("http://127.0.0.1:{port}/hush")).unwrap();
    let client = HttpClient::new(base, None, Duration::from_secs(2), Resolver::default()).unwrap();
    let fault = exchange(client.request(Method::GET, "health")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(!fault.message.contains("hush"), "{}", fault.message);
}

#[tokio::test]
async fn a_longer_answer_is_read_as_far_as_the_caller_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let client = HttpClient::new(base, None, Duration::from_secs(30), Resolver::default()).unwrap();
    let serve = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
            let _ = stream.write_all(&[&head[..], &[b'x'; 100_000]].concat()).await;
        }
    });
    let request = || client.request(Method::GET, "history");
    assert_eq!(exchange(request()).await.unwrap().body.len(), ANSWER_MAX);
    assert_eq!(exchange_within(request(), 99_999).await.unwrap().body.len(), 99_999);
    assert_eq!(exchange_within(request(), 1 << 20).await.unwrap().body.len(), 100_000);
    serve.abort();
}

/// What a TLS server wants of its clients.
#[derive(PartialEq, Eq)]
enum Asks {
    ForNothing,
    ForACertificate,
}

/// What is said of a `https` peer that does as `serve` with the first connection.
async fn told<F: Future<Output = ()>>(asks: Asks, serve: impl FnOnce(TcpStream, TlsAcceptor) -> F) -> Fault {
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let settings = TlsSettings {
        ca: Some(ca),
        ..TlsSettings::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let tls = Some(Tls::new(&settings).unwrap());
    let client = HttpClient::new(base, tls, Duration::from_secs(30), Resolver::default()).unwrap();
    let clients = (asks == Asks::ForACertificate).then_some(&authority);
    let shown = authority.issue("127.0.0.1").unwrap().server(clients).unwrap();
    let asked = tokio::spawn(exchange(client.request(Method::GET, "health")));
    serve(listener.accept().await.unwrap().0, TlsAcceptor::from(shown)).await;
    asked.await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_peer_that_closes_in_the_handshake_is_asked_for_as_a_plain_text_port() {
    let fault = told(Asks::ForNothing, |mut tcp, _| async move {
        let _ = tcp.read(&mut [0; 4096]).await;
    })
    .await;
    assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
    for said in ["plain-text port", "without TLS", "`tls.cert`"] {
        assert!(fault.message.contains(said), "{fault:?}");
    }
}

/// With TLS 1.3 the handshake is done for the client before the server has looked at its certificate.
#[tokio::test]
async fn a_missing_client_certificate_is_named() {
    let fault = told(Asks::ForACertificate, |tcp, acceptor| async move {
        let (_, mut tcp) = acceptor.accept(tcp).into_fallible().await.unwrap_err();
        tcp.shutdown().await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
    assert!(fault.message.contains("set `tls.cert`"), "{fault:?}");
}

#[tokio::test]
async fn a_peer_that_breaks_tls_off_is_told_in_plain_words_and_without_a_link() {
    let fault = told(Asks::ForNothing, |tcp, acceptor| async move {
        let mut stream = acceptor.accept(tcp).await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        // Ends TCP alone.
        stream.get_mut().0.shutdown().await.unwrap();
    })
    .await;
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault:?}");
    assert!(fault.message.contains("`tls.cert`"), "{fault:?}");
    assert!(!fault.message.contains("http"), "{fault:?}");
}

const WORDS: &[&str] = &[
    "Sun, ",
    "06 Nov ",
    "99 Feb ",
    "1994",
    "99999",
    " 08:50:37",
    " 24:61:61",
    " GMT",
    "-1",
    "+7",
    "60",
    " ",
];

fn header() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..6);
    prop::collection::vec(prop_oneof![6 => word, 1 => noise], 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_of_a_retry_after_are_no_pause_or_a_bounded_one(value in header()) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(RETRY_AFTER, value);
        }
        prop_assert!(retry_after(&headers, SystemTime::now()).is_none_or(|pause| pause <= RETRY_AFTER_MAX));
    }
}
