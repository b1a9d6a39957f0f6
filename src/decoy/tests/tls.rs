//! TLS below a session, by a real client of it.

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use trapline_schemas::{Action, Field, Value};

use crate::decoy::DecoySpec;
use crate::decoy::keys::KeyFolder;
use crate::decoy::personality::embedded;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::Session;
use crate::decoy::testing::{CERTIFICATE, Stage, actions, fact, personality, spec, spec_of};
use crate::decoy::tls::certificate;
use crate::decoy::tls::hello::Hello;
use crate::decoy::tls::testing::{client_of, hello_of, in_records, shake};
use crate::roles::Hit;

const GREETER: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\ngreeting = \"220 {{fqdn}}\\r\\n\"";

/// A decoy with a certificate, and a client that trusts it.
fn secure(mut spec: DecoySpec, implicit: bool) -> (DecoySpec, TlsConnector) {
    let state = tempfile::tempdir().unwrap();
    let folder = KeyFolder::within(state.path());
    folder.keep("lure.tls.pem", || Ok(CERTIFICATE.into())).unwrap();
    spec.tls = Some(certificate::kept(&folder, "lure", &spec.personality, implicit).unwrap());
    (spec, client_of(CERTIFICATE.as_bytes(), &[b"h2", b"http/1.1"]))
}

fn text(hit: &Hit, field: Field) -> String {
    match fact(hit, field) {
        Some(Value::Text(text)) => text.to_string(),
        other => format!("{other:?}"),
    }
}

fn only(hits: &[Hit], action: Action) -> &Hit {
    let found: Vec<_> = hits.iter().filter(|hit| hit.action == action).collect();
    assert_eq!(found.len(), 1, "{:?}", actions(hits));
    found[0]
}

#[tokio::test]
async fn a_service_speaks_plaintext_and_the_hello_is_told_once() {
    let (spec, client) = secure(spec(GREETER), true);
    let mut stage = Stage::open(spec).await;
    let mut peer = shake(&client, stage.connect().await).await;
    let mut greeting = [0; 24];
    peer.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 files03.corp.local\r\n");
    peer.write_all(b"HELO x\r\n").await.unwrap();
    peer.shutdown().await.unwrap();
    let hits = stage.session().await;
    let expected = [Action::Connect, Action::Handshake, Action::Payload, Action::SessionEnd];
    assert_eq!(actions(&hits), expected);
    assert_eq!(text(&hits[1], Field::TlsServerName), "files03.corp.local");
    assert_eq!(text(&hits[1], Field::TlsVersion), "1.3");
    assert!(text(&hits[1], Field::TlsJa4).starts_with("t13d"));
    let capture = hits[2].capture.as_deref().unwrap();
    assert_eq!((&capture.kept[..], capture.seen), (&b"HELO x\r\n"[..], 8));
    assert_eq!(fact(&hits[3], Field::TlsEstablished), Some(&Value::Bool(true)));
    assert!(text(&hits[3], Field::TlsCipher).starts_with("TLS_AES"));
    assert!(matches!(fact(&hits[3], Field::SourceBytes), Some(Value::Int(bytes)) if *bytes > 200));
    assert_eq!(text(&hits[3], Field::EventReason), "the peer closed");
}

static UPGRADER: Service = Service {
    name: "test",
    personality: "test",
    look: |_| unreachable!("the personality is another's"),
    provide: None,
    speak: Speak::Stream(|session: &mut Session| {
        async move {
            while session.input().len() < 10 {
                session.fill().await?;
            }
            session.consume(10);
            session.introduce(vec![(Field::RdpCookie, "mstshash=bob".into())]);
            session.send(b"go ahead\r\n").await?;
            session.start_tls().await?;
            while session.input().len() < 12 {
                session.fill().await?;
            }
            let place = session.position() + 4..session.position() + 12;
            session.mark_secret(place);
            session.credential("password", b"bob", b"Sup3rPas", Vec::new()).await;
            let big = vec![b'y'; 200_000];
            session.send(&big).await
        }
        .boxed()
    }),
};

#[tokio::test]
async fn an_upgrade_goes_on_in_the_same_session_with_what_was_known_before() {
    let (spec, client) = secure(spec_of(&UPGRADER, personality(GREETER)), false);
    let mut stage = Stage::open(spec).await;
    let mut socket = stage.connect().await;
    socket.write_all(b"STARTTLS\r\n").await.unwrap();
    socket.read_exact(&mut [0; 10]).await.unwrap();
    let mut peer = shake(&client, socket).await;
    peer.write_all(b"key Sup3rPas").await.unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said)
        .await
        .expect("close_notify comes before the end");
    assert_eq!(said.len(), 200_000);
    drop(peer);
    let hits = stage.session().await;
    let handshake = only(&hits, Action::Handshake);
    assert_eq!(text(handshake, Field::RdpCookie), "mstshash=bob");
    assert_eq!(text(handshake, Field::TlsJa3).len(), 32);
    only(&hits, Action::Credential);
    let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
    assert_eq!(&capture.kept[..], b"STARTTLS\r\nkey Sup3rPas");
    assert_eq!(capture.secrets, std::slice::from_ref(&(14..22)));
}

#[tokio::test]
async fn a_hello_that_was_sent_ahead_belongs_to_the_handshake() {
    let (spec, _) = secure(spec_of(&UPGRADER, personality(GREETER)), false);
    let mut stage = Stage::open(spec).await;
    let hello = Hello {
        version: 0x0303,
        ciphers: vec![0xc02f],
        extensions: vec![10, 13],
        groups: vec![23],
        signatures: vec![0x0804],
        ..Hello::default()
    };
    let sent = [&b"STARTTLS\r\n"[..], &in_records(&hello_of(&hello), 9)].concat();
    let said = stage.talk(&sent).await;
    assert!(said.starts_with(b"go ahead\r\n\x16\x03\x03"), "{}", said.escape_ascii());
    let hits = stage.session().await;
    assert_eq!(text(only(&hits, Action::Handshake), Field::TlsVersion), "1.2");
    let end = only(&hits, Action::SessionEnd);
    assert_eq!(fact(end, Field::TlsEstablished), Some(&Value::Bool(false)));
}

fn old(version: u16) -> Vec<u8> {
    let hello = Hello {
        version,
        ciphers: vec![0xc02f, 0x2f],
        extensions: vec![10],
        groups: vec![23],
        ..Hello::default()
    };
    in_records(&hello_of(&hello), 1 << 14)
}

/// What nginx 1.22.1 and Apache 2.4 on OpenSSL 3.0 sent, byte for byte.
#[tokio::test]
async fn what_openssl_refuses_is_refused_with_its_alert_and_told_all_the_same() {
    let none = Hello {
        version: 0x0303,
        ciphers: vec![0x0005],
        extensions: vec![13, 10],
        groups: vec![29, 23],
        signatures: vec![0x0403],
        ..Hello::default()
    };
    let (ssl2, tls) = (
        b"\x80\x1f\x01\0\x02\0\x06\0\0\0\x10\x01\0\x80\0\0\x2f\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"",
        true,
    );
    for (sent, said, is_hello) in [
        (old(0x0301), &b"\x15\x03\x01\0\x02\x02\x50"[..], tls),
        (old(0x0302), b"\x15\x03\x02\0\x02\x02\x50", tls),
        (old(0x0300), b"\x15\x03\x00\0\x02\x02\x28", tls),
        (ssl2.to_vec(), b"\x15\x03\x03\0\x02\x02\x46", tls),
        (
            in_records(&hello_of(&none), 1 << 14),
            b"\x15\x03\x03\0\x02\x02\x28",
            tls,
        ),
        (
            b"\x16\x03\x01\0\x10\x01\0\0\x0c\x03\x03xxxxxxxxxx".to_vec(),
            b"\x15\x03\x03\0\x02\x02\x32",
            false,
        ),
        (
            b"\x16\x03\x01\xff\xffaaaa".to_vec(),
            b"\x15\x03\x03\0\x02\x02\x16",
            false,
        ),
        (
            b"\x17\x03\x03\0\x05hello".to_vec(),
            b"\x15\x03\x03\0\x02\x02\x0a",
            false,
        ),
        (b"\x99\x98abcdefgh".to_vec(), b"", false),
    ] {
        let (spec, _) = secure(spec(GREETER), true);
        let mut stage = Stage::open(spec).await;
        let heard = stage.talk(&sent).await;
        let shown = sent.escape_ascii().to_string();
        assert_eq!(
            heard.escape_ascii().to_string(),
            said.escape_ascii().to_string(),
            "{shown}"
        );
        let hits = stage.session().await;
        assert_eq!(
            hits.iter().any(|hit| hit.action == Action::Handshake),
            is_hello,
            "{shown}"
        );
        assert!(text(only(&hits, Action::SessionEnd), Field::EventReason).starts_with("TLS failed: "));
        // What came instead of a conversation is what is kept.
        assert_eq!(only(&hits, Action::Payload).capture.as_deref().unwrap().kept, sent);
    }
}

#[tokio::test]
async fn a_hello_to_a_plain_port_is_told_whole_or_in_pieces_and_is_no_request() {
    let sent = old(0x0303);
    for name in [
        "openssh-ubuntu-22.04",
        "vsftpd-3.0.5",
        "nginx-debian-12",
        "apache-debian-12",
    ] {
        // sshd has closed by the time that the rest of a line comes which is none.
        let cuts = if name.starts_with("openssh") {
            &[sent.len()][..]
        } else {
            &[sent.len(), 5, 40]
        };
        for cut in cuts.iter().copied() {
            let mut stage = Stage::open(spec(embedded(name).unwrap())).await;
            let mut client = stage.connect().await;
            client.write_all(&sent[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            let _ = client.write_all(&sent[cut..]).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
            let hits = stage.session().await;
            let handshake = only(&hits, Action::Handshake);
            assert_eq!(text(handshake, Field::TlsJa3).len(), 32, "{name} {cut}");
            assert_eq!(fact(handshake, Field::HttpMethod), None);
            assert_eq!(fact(only(&hits, Action::SessionEnd), Field::TlsEstablished), None);
        }
    }
}

#[tokio::test]
async fn a_web_server_is_asked_over_tls_and_agrees_on_its_protocol() {
    let (spec, client) = secure(spec(embedded("nginx-debian-12").unwrap()), true);
    let mut stage = Stage::open(spec).await;
    let mut peer = shake(&client, stage.connect().await).await;
    assert_eq!(peer.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    peer.write_all(
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic YWRtaW46aHVudGVyMjI=\r\n\r\n",
    )
    .await
    .unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 404 Not Found\r\nServer: nginx/1.22.1\r\n"));
    drop(peer);
    let hits = stage.session().await;
    assert!(fact(only(&hits, Action::Handshake), Field::TlsJa4).is_some());
    assert_eq!(text(only(&hits, Action::Query), Field::UrlPath), "/x");
    assert_eq!(text(only(&hits, Action::Credential), Field::UserName), "admin");
    let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
    assert!(capture.has_secret && capture.kept.starts_with(b"GET /x"));
}

/// Lengths are those of what nginx 1.22.1 and Apache 2.4.71 sent; Debian's Apache adds its name below.
#[tokio::test]
async fn plain_http_to_a_port_for_tls_is_answered_as_the_product_does() {
    for (name, sent, status, words) in [
        (
            "nginx-debian-12",
            &b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            "400",
            "<center>The plain HTTP request was sent to HTTPS port</center>",
        ),
        (
            "nginx-debian-12",
            b"hello there\r\n\r\n",
            "400",
            "Content-Length: 157\r\n",
        ),
        (
            "nginx-debian-12",
            b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
            "400",
            "Content-Length: 255\r\n",
        ),
        (
            "apache-debian-12",
            b"GET /x HTTP/1.0\r\n\r\n",
            "400",
            "<br />\nReason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n Instead use the HTTPS scheme to access this URL, please.<br />\n</p>",
        ),
        ("apache-debian-12", b"hello there\r\n\r\n", "", ""),
        ("iis-10", b"GET /x HTTP/1.0\r\n\r\n", "", ""),
    ] {
        let (spec, _) = secure(spec(embedded(name).unwrap()), true);
        let mut stage = Stage::open(spec).await;
        let said = String::from_utf8(stage.talk(sent).await).unwrap();
        assert_eq!(said.get(9..12).unwrap_or_default(), status, "{name}: {said}");
        assert!(
            said.contains(words) && said.is_empty() == words.is_empty(),
            "{name}: {said}"
        );
        let hits = stage.session().await;
        assert_eq!(only(&hits, Action::Payload).capture.as_deref().unwrap().kept, sent);
    }
}
