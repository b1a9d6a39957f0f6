//! What mariadbd 10.11 was asked and answered, and what becomes of it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trapline_schemas::{Action, Field, Value};

use super::wire::{capability, header, packet};
use crate::decoy::Secrets;
use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, fact, spec};
use crate::decoy::tls::testing::upgrade;

const FLAGS: u32 = 1 | capability::PROTOCOL_41 | capability::SECURE | capability::PLUGIN;

/// A client's answer to the greeting, since 4.1.
fn answer(flags: u32, user: &[u8], proof: &[u8], plugin: &str) -> Vec<u8> {
    let length = [u8::try_from(proof.len()).unwrap()];
    let mut out = [
        &flags.to_le_bytes()[..],
        &[0, 0, 0, 1, 33],
        &[0; 23],
        user,
        &[0],
        &length,
        proof,
    ]
    .concat();
    if flags & capability::PLUGIN != 0 {
        out.extend_from_slice(plugin.as_bytes());
        out.push(0);
    }
    out
}

async fn read(client: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; header(&head).unwrap().0];
    client.read_exact(&mut payload).await.unwrap();
    [&head[..], &payload].concat()
}

/// What the server says after the greeting to bytes sent at once, and whether it resets.
async fn said(sent: &[u8]) -> (String, bool) {
    let stage = Stage::open(spec(embedded("mariadb-debian-12").unwrap())).await;
    let mut client = stage.connect().await;
    read(&mut client).await;
    client.write_all(sent).await.unwrap();
    let mut said = Vec::new();
    let end = client.read_to_end(&mut said).await;
    (said.escape_ascii().to_string(), end.is_err())
}

#[tokio::test]
async fn the_greeting_is_that_of_10_11_with_a_salt_and_a_number_of_its_own() {
    let stage = Stage::open(spec(embedded("mariadb-debian-12").unwrap())).await;
    let (first, second) = (
        read(&mut stage.connect().await).await,
        read(&mut stage.connect().await).await,
    );
    assert_eq!(first.len(), 104);
    assert!(first.starts_with(b"d\0\0\0\n5.5.5-10.11.19-MariaDB-0+deb12u1\0"));
    let number = |greeting: &[u8]| u32::from_le_bytes(greeting[38..42].try_into().unwrap());
    assert_eq!(number(&second), number(&first) + 1);
    let salt = |greeting: &[u8]| [&greeting[42..50], &greeting[69..81]].concat();
    assert_ne!(salt(&first), salt(&second));
    assert!(salt(&first).iter().all(u8::is_ascii_graphic));
    assert_eq!(first[50..69], *b"\0\xfe\xf7-\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0");
    assert_eq!(first[81..], *b"\0mysql_native_password\0");
}

#[tokio::test]
async fn logins_are_refused_as_10_11_refuses_them() {
    let (native, proof) = ("mysql_native_password", [0xaa; 20]);
    let old = |flags: u16, rest: &[u8]| [&flags.to_le_bytes()[..], &[0; 3], rest].concat();
    let denied =
        |user: &str, using: &str| format!("Access denied for user '{user}'@'127.0.0.1' (using password: {using})");
    let consider =
        "Client does not support authentication protocol requested by server; consider upgrading MariaDB client";
    for (payload, code, state, text) in [
        (
            answer(FLAGS, b"root", &proof, native),
            "\\x15\\x04",
            "#28000",
            denied("root", "YES"),
        ),
        (
            answer(FLAGS, b"root", b"", native),
            "\\x15\\x04",
            "#28000",
            denied("root", "NO"),
        ),
        (
            answer(FLAGS, b"", b"", native),
            "\\x15\\x04",
            "#28000",
            denied("", "NO"),
        ),
        (
            answer(FLAGS, b"a\xff\xfe", &proof, native),
            "\\x15\\x04",
            "#28000",
            denied("a??", "YES"),
        ),
        (
            answer(FLAGS & !capability::PLUGIN, b"root", &proof, ""),
            "\\x15\\x04",
            "#28000",
            denied("root", "YES"),
        ),
        (
            answer(FLAGS, b"root", b"1234567", native),
            "\\x13\\x04",
            "#08S01",
            "Bad handshake".to_owned(),
        ),
        (
            answer(FLAGS & !capability::PLUGIN, b"root", &[7; 32], ""),
            "\\x13\\x04",
            "#08S01",
            "Bad handshake".to_owned(),
        ),
        (
            answer(1 | capability::PROTOCOL_41, b"root", b"12345678", ""),
            "\\xe3\\x04",
            "#08004",
            consider.to_owned(),
        ),
        (old(0x2405, b"root\0ABCDEFGH\0"), "\\xe3\\x04", "", consider.to_owned()),
        (old(5, b"root\0"), "\\x15\\x04", "", denied("root", "NO")),
        (
            old(0x8005, &[b"root\0\x14", &proof[..]].concat()),
            "\\x15\\x04",
            "",
            denied("root", "YES"),
        ),
        (vec![0; 32], "\\x15\\x04", "", denied("", "NO")),
        (vec![], "\\x13\\x04", "#08S01", "Bad handshake".to_owned()),
        (vec![1], "\\x13\\x04", "#08S01", "Bad handshake".to_owned()),
        (vec![b'a'; 100_000], "\\x13\\x04", "", "Bad handshake".to_owned()),
        (
            answer(FLAGS | capability::SSL, b"", b"", native)[..32].to_vec(),
            "\\x13\\x04",
            "#08S01",
            "Bad handshake".to_owned(),
        ),
        (
            [answer(FLAGS, b"root", &proof, native), vec![0; 150_000]].concat(),
            "\\x15\\x04",
            "#28000",
            denied("root", "YES"),
        ),
    ] {
        let (said, reset) = said(&packet(1, &payload)).await;
        let (_, error) = said.split_once("\\x02\\xff").expect("an error of number 2");
        assert_eq!(error, format!("{code}{state}{}", text.replace('\'', "\\'")));
        assert!(!reset);
    }
}

#[tokio::test]
async fn what_is_no_packet_is_refused_as_10_11_refuses_it() {
    let order = "!\\x00\\x00\\x01\\xff\\x84\\x04#08S01Got packets out of order";
    let proxy = "4\\x00\\x00\\x01\\xffj\\x04#HY000Proxy header is not accepted from 127.0.0.1";
    let login = answer(FLAGS, b"root", &[1; 20], "mysql_native_password");
    for (sent, expected, resets) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], order, true),
        (b"\0\0\0\0", order, false),
        (&packet(2, &login), order, true),
        (b"\r\n\r\n", proxy, false),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1 2\r\n", proxy, true),
    ] {
        assert_eq!(
            said(sent).await,
            (expected.to_owned(), resets),
            "{}",
            sent.escape_ascii()
        );
    }
    let ahead = [packet(1, &login), packet(0, b"\x0e")].concat();
    assert!(said(&ahead).await.1);
}

#[tokio::test]
async fn who_proves_itself_in_another_way_is_asked_for_the_native_one() {
    let mut stage = Stage::open(spec(embedded("mariadb-debian-12").unwrap())).await;
    let mut client = stage.connect().await;
    let greeting = read(&mut client).await;
    let salt = [&greeting[42..50], &greeting[69..81]].concat();
    let first = answer(FLAGS, b"root", &[7; 32], "caching_sha2_password");
    client.write_all(&packet(1, &first)).await.unwrap();
    let asked = [b",\0\0\x02\xfemysql_native_password\0", &salt[..], b"\0"].concat();
    assert_eq!(read(&mut client).await, asked);
    client.write_all(&packet(3, &[9; 20])).await.unwrap();
    let denied = read(&mut client).await;
    assert_eq!(denied[..13], *b"H\0\0\x04\xff\x15\x04#28000");
    let hits = stage.session().await;
    let ours = [
        Action::Connect,
        Action::Handshake,
        Action::Credential,
        Action::Payload,
        Action::SessionEnd,
    ];
    assert_eq!(actions(&hits), ours);
    let line = format!("$mysqlna${}*{}", trapline_schemas::ids::hex(&salt), "09".repeat(20));
    assert_eq!(*hits[2].secret.as_ref().unwrap().bytes, *line.as_bytes());
    assert_eq!(fact(&hits[2], Field::CredentialKind), Some(&Value::from("hash")));
    let capture = hits[3].capture.as_ref().unwrap();
    let shown = |byte: u8| {
        (0..)
            .zip(&capture.kept)
            .any(|(at, kept)| *kept == byte && !capture.secrets.iter().any(|range| range.contains(&at)))
    };
    // Each stands in a proof alone.
    assert!(!shown(7) && !shown(9));
}

#[tokio::test]
async fn a_password_in_clear_is_a_password_and_masked_unless_secrets_are_kept() {
    for (secrets, shows) in [(Secrets::Hmac, false), (Secrets::Clear, true)] {
        let mut spec = spec(embedded("mysql-ubuntu-22.04").unwrap());
        spec.secrets = secrets;
        let mut stage = Stage::open(spec).await;
        stage
            .talk(&packet(
                1,
                &answer(FLAGS, b"root", b"hunter22\0", "mysql_clear_password"),
            ))
            .await;
        let hits = stage.session().await;
        let login = hits.iter().find(|hit| hit.action == Action::Credential).unwrap();
        assert_eq!(*login.secret.as_ref().unwrap().bytes, *b"hunter22");
        let events = crate::record::make(crate::decoy::testing::settings(), hits);
        let all: String = events.iter().map(|event| format!("{event:?}")).collect();
        let kept = events.iter().find_map(|event| match event.get(Field::PayloadBase64) {
            Some(Value::Bytes(kept)) => Some(kept.windows(8).any(|part| part == b"hunter22")),
            _ => None,
        });
        assert_eq!((all.contains("hunter22"), kept), (shows, Some(shows)));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_for_ten_seconds_is_reset() {
    let stage = Stage::open(spec(embedded("mariadb-debian-12").unwrap())).await;
    for sent in [&b""[..], b"\x05\0", b"\x05\0\0\x01ab"] {
        let mut client = stage.connect().await;
        read(&mut client).await;
        client.write_all(sent).await.unwrap();
        assert!(client.read_to_end(&mut Vec::new()).await.is_err());
    }
}

/// Packets are numbered on over the handshake, as those of a mariadbd with a certificate were.
#[tokio::test]
async fn a_login_within_tls_is_refused_with_the_number_that_follows() {
    let mut stage = Stage::open(spec(embedded("mysql-ubuntu-22.04").unwrap())).await;
    let flags = FLAGS | capability::SSL;
    let asked = packet(1, &answer(flags, b"", b"", "")[..32]);
    let login = packet(2, &answer(flags, b"root", &[9; 20], "mysql_native_password"));
    let (greeting, said) = upgrade(&stage, &asked, b"mysql_native_password\0", &login).await;
    let low = u16::from_le_bytes(greeting[greeting.len() - 22 - 31..][..2].try_into().unwrap());
    assert_ne!(u32::from(low) & capability::SSL, 0, "{}", greeting.escape_ascii());
    assert_eq!(said[3..13], *b"\x03\xff\x15\x04#28000");
    let hits = stage.session().await;
    assert!(fact(&hits[1], Field::TlsJa4).is_some());
    let ours = [
        Action::Connect,
        Action::Handshake,
        Action::Credential,
        Action::Payload,
        Action::SessionEnd,
    ];
    assert_eq!(actions(&hits), ours);
    assert_eq!(fact(&hits[2], Field::UserName), Some(&"root".into()));
}
