use std::io::Error;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::conformance::certs::{Authority, Identity, self_signed};
use crate::tls::TlsSettings;

const HERE: [u8; 4] = [127, 0, 0, 1];

fn named(lookup: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Names {
    Names::new(
        Address::parse("logs.example:6514", None).unwrap(),
        Resolver::new(move |_, _| lookup()),
    )
}

#[test]
fn addresses_are_read_with_and_without_port_and_brackets() {
    let read = |text| Address::parse(text, Some(514)).map(|address| address.to_string());
    assert_eq!(read("logs.example:6514").as_deref(), Some("logs.example:6514"));
    assert_eq!(read("logs.example").as_deref(), Some("logs.example:514"));
    assert_eq!(read("192.0.2.1").as_deref(), Some("192.0.2.1:514"));
    assert_eq!(read("[2001:db8::1]:601").as_deref(), Some("[2001:db8::1]:601"));
    assert_eq!(read("2001:db8::1").as_deref(), Some("[2001:db8::1]:514"));
    for bad in [
        "",
        "logs.example:0",
        "logs.example:70000",
        "logs example:1",
        ":514",
        "http://logs.example",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_name_that_never_resolved_is_a_fault_that_names_it() {
    let fault = named(|| Err(Error::other("no such name"))).resolve().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert_eq!(fault.message, "name `logs.example` does not resolve: no such name");
}

#[tokio::test]
async fn the_last_good_addresses_are_used_while_the_resolver_is_down() {
    let good = vec![SocketAddr::from((HERE, 6514))];
    let answers = StdMutex::new(vec![Err(Error::other("down")), Ok(good.clone())]);
    let names = named(move || {
        answers
            .lock()
            .unwrap()
            .pop()
            .unwrap_or_else(|| Err(Error::other("down")))
    });
    assert_eq!(names.resolve().await.unwrap(), good);
    assert_eq!(names.resolve().await.unwrap(), good);
    let an_hour_ago = Instant::now().checked_sub(NAMES_KEPT + Duration::from_secs(1));
    if let (Some(long_ago), Some(kept)) = (an_hour_ago, names.state.lock().await.good.as_mut()) {
        kept.0 = long_ago;
    }
    assert!(an_hour_ago.is_none() || names.resolve().await.is_err());
}

#[tokio::test]
async fn a_resolver_that_hangs_holds_one_thread_however_often_it_is_asked() {
    let (go, wait) = mpsc::channel::<()>();
    let (wait, asked) = (StdMutex::new(wait), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let names = named(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = wait.lock().unwrap().recv();
        Ok(vec![SocketAddr::from((HERE, 6514))])
    });
    // Polling it a few times and giving up is what a deadline does.
    for _ in 0..3 {
        assert!(timeout(Duration::from_millis(20), names.resolve()).await.is_err());
    }
    go.send(()).unwrap();
    assert_eq!(names.resolve().await.unwrap().len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_second_address_is_tried_when_the_first_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = {
        let taken = TcpListener::bind("127.0.0.2:0").await.unwrap();
        taken.local_addr().unwrap()
    };
    let both = vec![refused, listener.local_addr().unwrap()];
    let dialer = Dialer::new(named(move || Ok(both.clone())), None);
    assert_eq!(dialer.connect().await.unwrap().protection(), "tcp");
}

/// What a client with `settings` says of a server that shows `shown`; the name that it asks for is `localhost`.
async fn handshake(shown: &Identity, clients: Option<&Authority>, settings: TlsSettings) -> Result<Stream, Fault> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(shown.server(clients).unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                let _ = stream.shutdown().await;
            }
        }
    });
    let address = Address {
        host: "localhost".to_owned(),
        port: at.port(),
    };
    let names = Names::new(address, Resolver::new(move |_, _| Ok(vec![at])));
    Dialer::new(names, Some(Tls::new(&settings).unwrap())).connect().await
}

fn trusting(authority: &Authority) -> (tempfile::TempDir, TlsSettings) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    (
        folder,
        TlsSettings {
            ca: Some(ca),
            ..TlsSettings::default()
        },
    )
}

#[tokio::test]
async fn each_mistake_of_a_certificate_is_told_apart_with_its_subject_and_dates() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (_folder, settings) = trusting(&authority);
    let cases = [
        (
            authority.issue_expired("localhost").unwrap(),
            "expired",
            "2020-01-01 to 2021-01-01",
        ),
        (
            authority.issue("elsewhere.example").unwrap(),
            "is not for `localhost`",
            "`CN=elsewhere.example`",
        ),
        (self_signed("localhost").unwrap(), "is self-signed", "`CN=localhost`"),
        (
            stranger.issue("localhost").unwrap(),
            "unknown authority",
            "`CN=localhost`",
        ),
    ];
    for (shown, cause, certificate) in cases {
        let fault = handshake(&shown, None, settings.clone()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Tls);
        assert!(
            fault.message.contains(cause) && fault.message.contains(certificate),
            "{}",
            fault.message
        );
    }
}

#[tokio::test]
async fn a_good_certificate_is_taken() {
    let authority = Authority::new().unwrap();
    let (_folder, settings) = trusting(&authority);
    let stream = handshake(&authority.issue("localhost").unwrap(), None, settings)
        .await
        .unwrap();
    assert_eq!(stream.protection(), "TLS 1.3");
}

#[tokio::test]
async fn a_pinned_fingerprint_stands_for_the_chain_and_nothing_else_passes() {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use sha2::{Digest, Sha256};
    let (pinned, other) = (self_signed("anything").unwrap(), self_signed("localhost").unwrap());
    let der = CertificateDer::from_pem_slice(pinned.cert.as_bytes()).unwrap();
    let settings = TlsSettings {
        fingerprint: Some(Sha256::digest(&der).into()),
        ..TlsSettings::default()
    };
    assert!(handshake(&pinned, None, settings.clone()).await.is_ok());
    let fault = handshake(&other, None, settings).await.unwrap_err();
    assert!(fault.message.contains("another fingerprint"), "{}", fault.message);
}

#[tokio::test]
async fn server_name_is_verified_instead_of_the_host() {
    let authority = Authority::new().unwrap();
    let (_folder, settings) = trusting(&authority);
    let settings = TlsSettings {
        server_name: Some("elsewhere.example".to_owned()),
        ..settings
    };
    assert!(
        handshake(&authority.issue("elsewhere.example").unwrap(), None, settings)
            .await
            .is_ok()
    );
}

#[test]
fn a_reset_within_the_handshake_is_told_as_an_end_is() {
    let address = Address {
        host: "logs.example".into(),
        port: 6514,
    };
    let dialer = Dialer::new(Names::new(address, Resolver::default()), None);
    for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe] {
        let fault = dialer.handshake_fault(&kind.into());
        assert_eq!(fault.kind, FaultKind::Tls);
        assert!(fault.message.contains("client certificate"), "{}", fault.message);
    }
    let other = dialer.handshake_fault(&io::ErrorKind::TimedOut.into());
    assert_eq!(other.kind, FaultKind::Unreachable);
}

#[tokio::test]
async fn a_plain_text_port_is_named_as_such_whether_it_speaks_or_closes() {
    for greeting in [b"220 mail.example ESMTP ready\r\n".as_slice(), b""] {
        let fault = at_plain_text_port(greeting).await;
        assert_eq!(fault.kind, FaultKind::Tls);
        assert!(fault.message.contains("plain-text port"), "{}", fault.message);
    }
}

/// What is said of a port that reads the hello, says `greeting`, or closes if it is empty.
async fn at_plain_text_port(greeting: &'static [u8]) -> Fault {
    let authority = Authority::new().unwrap();
    let (_folder, settings) = trusting(&authority);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 4096]).await;
        if !greeting.is_empty() {
            tcp.write_all(greeting).await.unwrap();
            std::future::pending::<()>().await;
        }
    });
    let names = Names::new(
        Address {
            host: "localhost".to_owned(),
            port: at.port(),
        },
        Resolver::new(move |_, _| Ok(vec![at])),
    );
    Dialer::new(names, Some(Tls::new(&settings).unwrap()))
        .connect()
        .await
        .unwrap_err()
}

#[test]
fn files_that_are_missing_or_hold_nothing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for path in [folder.path().join("missing.pem"), empty] {
        let settings = TlsSettings {
            ca: Some(path.clone()),
            ..TlsSettings::default()
        };
        let error = Tls::new(&settings).unwrap_err().to_string();
        assert!(
            error.starts_with("no usable authority in") && error.contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn fingerprints_are_read_as_people_write_them() {
    use crate::tls::parse_fingerprint;
    let plain = "ab".repeat(32);
    let colons = format!("SHA-256:{}", vec!["AB"; 32].join(":"));
    assert_eq!(parse_fingerprint(&plain), Some([0xab; 32]));
    assert_eq!(parse_fingerprint(&colons), Some([0xab; 32]));
    for bad in ["", "ab", &"zz".repeat(32), &"é".repeat(32), &"+1".repeat(32)] {
        assert_eq!(parse_fingerprint(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn what_a_peer_read_before_it_closed_is_acknowledged_and_what_it_left_is_not() {
    for (reads, expected) in [(true, true), (false, false)] {
        let listener = TcpListener::bind((std::net::Ipv4Addr::from(HERE), 0)).await.unwrap();
        let names = Names::new(
            Address::parse(&listener.local_addr().unwrap().to_string(), None).unwrap(),
            Resolver::default(),
        );
        let mut stream = Dialer::new(names, None).connect().await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        assert!(stream.is_acknowledged(), "nothing was written");
        stream.write_all(b"frame").await.unwrap();
        peer.readable().await.unwrap();
        if reads {
            assert_eq!(peer.read(&mut [0; 9]).await.unwrap(), 5);
        }
        drop(peer);
        let ended = stream.read(&mut [0; 9]).await;
        let is_read = matches!(ended, Ok(0)) && stream.is_acknowledged();
        assert_eq!(is_read, expected, "{ended:?}");
    }
}

#[tokio::test]
async fn what_a_peer_that_ended_its_side_refuses_afterwards_is_not_acknowledged() {
    let listener = TcpListener::bind((std::net::Ipv4Addr::from(HERE), 0)).await.unwrap();
    let names = Names::new(
        Address::parse(&listener.local_addr().unwrap().to_string(), None).unwrap(),
        Resolver::default(),
    );
    let mut stream = Dialer::new(names, None).connect().await.unwrap();
    drop(listener.accept().await.unwrap());
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    assert!(stream.is_acknowledged());
    stream.write_all(b"frame").await.unwrap();
    // The kernel still calls this an end, although a reset came between.
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    assert!(!stream.is_acknowledged());
}
