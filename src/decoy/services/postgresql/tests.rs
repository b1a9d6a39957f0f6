//! What PostgreSQL 15.18 was asked and answered, and what becomes of it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trapline_schemas::{Action, Field, Value, ids};

use super::wire::message;
use crate::decoy::personality::embedded;
use crate::decoy::testing::{CERTIFICATE, Stage, actions, fact, spec};
use crate::decoy::tls::testing::{client_of, shake, upgrade};

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const MECHANISMS: &[u8] = b"R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0";

fn startup(version: u32, parameters: &str) -> Vec<u8> {
    let length = u32::try_from(parameters.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &version.to_be_bytes(), parameters.as_bytes()].concat()
}

fn initial(data: &str) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    message(b'p', &[b"SCRAM-SHA-256\0", &length[..], data.as_bytes()].concat())
}

/// All that is said to bytes sent at once by somebody who waits for the end, and whether it ended with FIN.
async fn said(personality: &str, sent: &[u8]) -> (String, bool) {
    let stage = Stage::open(spec(embedded(personality).unwrap())).await;
    let mut client = stage.connect().await;
    client.write_all(sent).await.unwrap();
    let mut said = Vec::new();
    let end = client.read_to_end(&mut said).await;
    (said.escape_ascii().to_string(), end.is_ok())
}

fn fatal(code: &str, rest: &str, place: &str) -> String {
    let body = format!("SFATAL\0VFATAL\0C{code}\0M{rest}\0{place}\0\0");
    message(b'E', body.as_bytes()).escape_ascii().to_string()
}

#[tokio::test]
async fn requests_are_refused_as_15_18_refuses_them() {
    let startup_at = |line: u32| format!("Fpostmaster.c\0L{line}\0RProcessStartupPacket");
    let unsupported = |version: &str| {
        let text = format!("unsupported frontend protocol {version}: server supports 3.0 to 3.0");
        fatal("0A000", &text, &startup_at(2222))
    };
    let no_user = fatal(
        "28000",
        "no PostgreSQL user name specified in startup packet",
        &startup_at(2351),
    );
    let layout = fatal(
        "08P01",
        "invalid startup packet layout: expected terminator as last byte",
        &startup_at(2334),
    );
    let replication = "invalid value for parameter \"replication\": \"x\"\0HValid values are: \"false\", 0, \"true\", 1, \"database\".";
    for (sent, expected) in [
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), String::new()),
        (b"\0\0\0\0".to_vec(), String::new()),
        (b"\xff\xff\xff\xff".to_vec(), String::new()),
        (startup(80_877_102, "\0\0\0\x01\0\0\0\x02"), String::new()),
        (b"\0\0\0\x08\0\0\0\0".to_vec(), unsupported("0.0")),
        (
            [&b"\0\0\0\xa4\xff\x53\x4d\x42"[..], &[b'a'; 200]].concat(),
            unsupported("65363.19778"),
        ),
        (startup(4 << 16, "user\0x\0\0"), unsupported("4.0")),
        (
            startup(2 << 16, "user\0"),
            "EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.0\\n\\x00".to_owned(),
        ),
        (startup(3 << 16, "\0"), no_user.clone()),
        (startup(3 << 16, "user\0\0\0"), no_user),
        (startup(3 << 16, "user\0x\0"), layout),
        (
            startup(3 << 16, "user\0x\0replication\0x\0\0"),
            fatal("22023", replication, &startup_at(2286)),
        ),
        (b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x05hello".to_vec(), "G".to_owned()),
    ] {
        assert_eq!(
            said("postgresql-debian-12", &sent).await,
            (expected, true),
            "{}",
            sent.escape_ascii()
        );
    }
}

#[tokio::test]
async fn logins_are_refused_as_15_18_refuses_them() {
    let user = startup(3 << 16, "user\0bob\0database\0shop\0\0");
    let denied = fatal(
        "28P01",
        "password authentication failed for user \"bob\"",
        "Fauth.c\0L334\0Rauth_failed",
    );
    let mechanism = fatal(
        "08P01",
        "client selected an invalid SASL authentication mechanism",
        "Fauth-scram.c\0L256\0Rscram_init",
    );
    let empty = fatal(
        "08P01",
        "malformed SCRAM message\0DThe message is empty.",
        "Fauth-scram.c\0L366\0Rscram_exchange",
    );
    let kind = |number: u8| {
        let text = format!("expected SASL response, got message type {number}");
        fatal("08P01", &text, "Fauth-sasl.c\0L95\0RCheckSASLAuth")
    };
    for (sent, expected) in [
        (b"p\0\0\0\x03".to_vec(), denied.clone()),
        (b"p\0\0\x04\x05".to_vec(), denied.clone()),
        (message(b'X', b""), kind(88)),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), kind(71)),
        (message(b'p', b"s3cret\0"), mechanism),
        (initial(""), empty),
    ] {
        let (answer, fin) = said("postgresql-debian-12", &[&user[..], &sent].concat()).await;
        assert_eq!(
            (answer, fin),
            (format!("{}{expected}", MECHANISMS.escape_ascii()), true)
        );
    }
    let packet = |text: &str, line: u32| fatal("08P01", text, &format!("Fauth.c\0L{line}\0Rrecv_password_packet"));
    let nothing = fatal(
        "28P01",
        "empty password returned by client",
        "Fauth.c\0L757\0Rrecv_password_packet",
    );
    for (sent, expected) in [
        (message(b'p', b"x\0"), denied.clone()),
        (message(b'p', &[&[b'x'; 65_000][..], b"\0"].concat()), denied),
        (message(b'p', b""), packet("invalid password packet size", 739)),
        (message(b'p', b"abc"), packet("invalid password packet size", 739)),
        (message(b'p', b"a\0b\0"), packet("invalid password packet size", 739)),
        (message(b'p', b"\0"), nothing),
        (
            message(b'X', b""),
            packet("expected password response, got message type 88", 718),
        ),
        (b"p\0\x01\0\0".to_vec(), String::new()),
    ] {
        let (answer, _) = said("postgresql-password", &[&user[..], &sent].concat()).await;
        assert_eq!(answer, format!("R\\x00\\x00\\x00\\x08\\x00\\x00\\x00\\x03{expected}"));
    }
}

async fn read(client: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = [0; 5];
    client.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes(head[1..].try_into().unwrap());
    let mut body = vec![0; length as usize - 4];
    client.read_exact(&mut body).await.unwrap();
    body
}

/// Goes as far as the server's first message: `r=…,s=…,i=4096`.
async fn challenged(client: &mut TcpStream, user: &str) -> String {
    client
        .write_all(&startup(3 << 16, &format!("user\0{user}\0application_name\0psql\0\0")))
        .await
        .unwrap();
    read(client).await;
    client.write_all(&initial("n,,n=,r=abcdefgh")).await.unwrap();
    String::from_utf8(read(client).await[4..].to_vec()).unwrap()
}

#[tokio::test]
async fn a_salt_is_its_users_own_and_a_nonce_its_sessions() {
    let stage = Stage::open(spec(embedded("postgresql-debian-12").unwrap())).await;
    let mut all = Vec::new();
    for user in ["bob", "bob", "eve"] {
        let said = challenged(&mut stage.connect().await, user).await;
        let parts: Vec<_> = said.split(',').map(str::to_owned).collect();
        assert!(
            parts[0].starts_with("r=abcdefgh") && parts[0].len() == 34 && parts[2] == "i=4096",
            "{said}"
        );
        all.push(parts);
    }
    assert!(all[0][1] == all[1][1] && all[0][1] != all[2][1] && all[0][0] != all[1][0]);
    assert_eq!(all[0][1].len(), 26);
}

#[tokio::test]
async fn a_proof_is_a_secret_that_can_be_cracked() {
    let mut stage = Stage::open(spec(embedded("postgresql-debian-12").unwrap())).await;
    let mut client = stage.connect().await;
    let challenge = challenged(&mut client, "bob").await;
    let nonce = challenge.split(',').next().unwrap();
    let proof = BASE64_STANDARD.encode([7; 32]);
    let last = format!("c=biws,{nonce},p={proof}");
    client.write_all(&message(b'p', last.as_bytes())).await.unwrap();
    assert!(read(&mut client).await.starts_with(b"SFATAL\0VFATAL\0C28P01\0"));
    let hits = stage.session().await;
    let ours = [
        Action::Connect,
        Action::Handshake,
        Action::Credential,
        Action::Payload,
        Action::SessionEnd,
    ];
    assert_eq!(actions(&hits), ours);
    let name = Value::from(vec![smol_str::SmolStr::from("application_name=psql")]);
    assert_eq!(fact(&hits[1], Field::ClientAttributes), Some(&name));
    let line = format!("n=,r=abcdefgh,{challenge},{last}");
    assert_eq!(*hits[2].secret.as_ref().unwrap().bytes, *line.as_bytes());
    let events = crate::record::make(crate::decoy::testing::settings(), hits);
    let kept = events.iter().find_map(|event| event.get(Field::PayloadBase64));
    let Some(Value::Bytes(kept)) = kept else {
        panic!("a payload")
    };
    assert!(
        !kept.windows(8).any(|part| part == &proof.as_bytes()[..8]),
        "{}",
        ids::hex(kept)
    );
}

#[tokio::test]
async fn a_nonce_of_somebody_elses_is_refused() {
    let stage = Stage::open(spec(embedded("postgresql-debian-12").unwrap())).await;
    let mut client = stage.connect().await;
    challenged(&mut client, "bob").await;
    let last = format!("c=biws,r=abc,p={}", BASE64_STANDARD.encode([1; 32]));
    client.write_all(&message(b'p', last.as_bytes())).await.unwrap();
    let said = read(&mut client).await;
    assert!(
        said.ends_with(b"Minvalid SCRAM response\0DNonce does not match.\0Fauth-scram.c\0L404\0Rscram_exchange\0\0")
    );
}

#[tokio::test]
async fn a_password_in_clear_is_in_no_capture() {
    for cut in [0, 3] {
        let mut stage = Stage::open(spec(embedded("postgresql-password").unwrap())).await;
        let mut sent = [startup(3 << 16, "user\0bob\0\0"), message(b'p', b"hunter22\0")].concat();
        sent.truncate(sent.len() - cut);
        stage.talk(&sent).await;
        let hits = stage.session().await;
        let offered = hits
            .iter()
            .find_map(|hit| hit.secret.as_ref().map(|secret| secret.bytes.to_vec()));
        assert_eq!(offered, (cut == 0).then(|| b"hunter22".to_vec()));
        let events = crate::record::make(crate::decoy::testing::settings(), hits);
        let kept = events.iter().find_map(|event| event.get(Field::PayloadBase64));
        let Some(Value::Bytes(kept)) = kept else {
            panic!("a payload")
        };
        assert!(!kept.windows(5).any(|part| part == b"hunte"), "{}", kept.escape_ascii());
    }
}

/// What is said within TLS, as a 15.18 said it.
#[tokio::test]
async fn within_tls_requests_are_refused_as_15_18_refuses_them() {
    let at = |line: u32| format!("Fpostmaster.c\0L{line}\0RProcessStartupPacket");
    let unsupported = |version: &str| {
        let text = format!("unsupported frontend protocol {version}: server supports 3.0 to 3.0");
        fatal("0A000", &text, &at(2222))
    };
    let after = "received unencrypted data after SSL request\0DThis could be either a client-software bug or evidence of an \
                 attempted man-in-the-middle attack.";
    let bob = startup(3 << 16, "user\0bob\0\0");
    let plus = "R\\x00\\x00\\x00*\\x00\\x00\\x00\\nSCRAM-SHA-256-PLUS\\x00SCRAM-SHA-256\\x00\\x00";
    for (before, sent, expected) in [
        (SSL.to_vec(), SSL.to_vec(), unsupported("1234.5679")),
        (
            SSL.to_vec(),
            b"\0\0\0\x08\x04\xd2\x16\x30".to_vec(),
            unsupported("1234.5680"),
        ),
        (SSL.to_vec(), b"GET / HTTP/1.0\r\n\r\n".to_vec(), String::new()),
        (SSL.to_vec(), bob.clone(), plus.to_owned()),
        ([SSL, &bob].concat(), bob, fatal("08P01", after, &at(2136))),
    ] {
        let stage = Stage::open(spec(embedded("postgresql-debian-12").unwrap())).await;
        let (_, said) = upgrade(&stage, &before, b"S", &sent).await;
        assert_eq!(said.escape_ascii().to_string(), expected, "{}", sent.escape_ascii());
    }
}

#[tokio::test]
async fn a_proof_that_is_bound_to_the_certificate_is_taken_and_can_be_cracked() {
    let mut stage = Stage::open(spec(embedded("postgresql-debian-12").unwrap())).await;
    let mut socket = stage.connect().await;
    socket.write_all(SSL).await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'S');
    let mut client = shake(&client_of(CERTIFICATE.as_bytes(), &[]), socket).await;
    client.write_all(&startup(3 << 16, "user\0bob\0\0")).await.unwrap();
    read(&mut client).await;
    let bare = "n=,r=abcdefgh";
    let first = format!("p=tls-server-end-point,,{bare}");
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    let body = [b"SCRAM-SHA-256-PLUS\0", &length[..], first.as_bytes()].concat();
    client.write_all(&message(b'p', &body)).await.unwrap();
    let challenge = String::from_utf8(read(&mut client).await[4..].to_vec()).unwrap();
    let certificate = client.get_ref().1.peer_certificates().unwrap()[0].clone();
    let hash = ring::digest::digest(&ring::digest::SHA256, &certificate);
    let bound = BASE64_STANDARD.encode([b"p=tls-server-end-point,,", hash.as_ref()].concat());
    let proof = BASE64_STANDARD.encode([7; 32]);
    let last = format!("c={bound},{},p={proof}", challenge.split(',').next().unwrap());
    client.write_all(&message(b'p', last.as_bytes())).await.unwrap();
    assert!(read(&mut client).await.starts_with(b"SFATAL\0VFATAL\0C28P01\0"));
    drop(client);
    let hits = stage.session().await;
    assert_eq!(fact(&hits[1], Field::TlsServerName), Some(&"files03.corp.local".into()));
    let offered = hits.iter().find_map(|hit| hit.secret.as_ref()).unwrap();
    assert_eq!(*offered.bytes, *format!("{bare},{challenge},{last}").as_bytes());
    let credential = hits.iter().find(|hit| hit.action == Action::Credential).unwrap();
    assert_eq!(fact(credential, Field::UserName), Some(&"bob".into()));
}
