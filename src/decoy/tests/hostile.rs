//! Hostile bytes: exactly the promised events, whatever comes.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trapline_schemas::{Action, Event, Field, Value, codec};

use crate::decoy::Limits;
use crate::decoy::personality::{embedded, embedded_names};
use crate::decoy::services::Transport;
use crate::decoy::testing::{Stage, settings, spec};
use crate::decoy::tls::hello::Hello;
use crate::decoy::tls::testing::{hello_of, in_records};
use crate::record::make;

const SILENT: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";

#[tokio::test]
async fn any_bytes_are_exactly_a_connect_a_payload_and_an_end_and_valid_json() {
    let hostile: &[&[u8]] = &[
        b"\0\0\0\0",
        b"a\r\nb\r\n\r\n",
        b"\x1b[2J\x1b]0;owned\x07",
        "\u{202e}evil\u{2028}line\u{85}next\u{feff}".as_bytes(),
        b"\xff\xfe\xc3\x28\xf0\x28\x8c\xbc",
        b"${jndi:ldap://203.0.113.9/a}",
        b"<script>alert(1)</script>\"}],\"x\":{\"",
        &[b'['; 100_000],
    ];
    for bytes in hostile {
        let mut stage = Stage::open(spec(SILENT)).await;
        stage.talk(bytes).await;
        let mut hits = stage.session().await;
        hits.extend(stage.end().await);
        let events = make(settings(), hits);
        let actions: Vec<Action> = events.iter().map(|event| event.action).collect();
        assert_eq!(actions, [Action::Connect, Action::Payload, Action::SessionEnd]);
        events.iter().for_each(is_plain_json);
        let kept = bytes[..bytes.len().min(64 << 10)].into();
        assert_eq!(events[1].get(Field::PayloadBase64), Some(&Value::Bytes(kept)));
    }
}

fn is_plain_json(event: &Event) {
    let body = String::from_utf8(codec::encode(event)).unwrap();
    serde_json::from_str::<serde_json::Value>(&body).unwrap();
    assert!(!body.chars().any(char::is_control), "{body}");
}

/// What the services look for: bytes by chance would seldom come past the first line.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b" ",
    b"\"",
    b"SSH-2.0-x\r\n",
    b"SSH-1.5-x\n",
    b"\0\0\x01\x04\x08\x14",
    b"ssh-rsa,aes128-ctr",
    b"curve25519-sha256",
    b"\0\0\0\x2c\x06\x1e\0\0\0\x20",
    b"\0\0\0\x0c\x0a\x15\0\0\0\0\0\0\0\0\0\0",
    b"\0\0\0\x1c\x0a\x05\0\0\0\x0cssh-userauth",
    b"\xff\xfb\x18",
    b"\xff\xfa\x27\0\0USER\x01",
    b"\xff\xf0",
    b"\x7f",
    b"root",
    b"USER ",
    b"PASS ",
    b"AUTH PLAIN ",
    b"AUTH LOGIN\r\n",
    b"AHJvb3QAcm9vdA==",
    b"EHLO x\r\n",
    b"MAIL FROM:<",
    b"DATA\r\n.\r\n",
    b"RCPT TO:<a@b>\r\n",
    b"BDAT 5 LAST\r\n",
    b"STARTTLS\r\n",
    b"AUTH CRAM-MD5\r\n",
    b"XCLIENT ADDR=",
    b"a1 LOGIN ",
    b"{9999999999}\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: Basic YTpi\r\n\r\n",
    b"POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n\r\n",
    b"GET /",
    b" HTTP/1.1\r\n",
    b"POST /login HTTP/1.1\r\n",
    b"Authorization: Basic ",
    b"Content-Length: ",
    b"99999999999999999999",
    b"12\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Type: application/json\r\n",
    b"{\"user\":\"a\",\"password\":\"",
    b"user=a&password=",
    b"%zz%2",
    b"*2\r\n$4\r\nAUTH\r\n$4\r\nroot\r\n",
    b"*3\r\n$5\r\nHELLO\r\n",
    b"$1\r\n3\r\n",
    b"CONFIG SET requirepass ",
    b"\x20\0\0\x01\x01\xa2\x08\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\xff\xff\xff\x01",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"\0\0\0\x11\0\x03\0\0user\0bo\0\0",
    b"p\0\0\0\x1eSCRAM-SHA-256\0\0\0\0\x08n,,n=,r=",
    b"p\0\0\0\x0a",
    b"REGISTER sip:a SIP/2.0\r\n",
    b"INVITE sip:1@b SIP/2.0\r\n",
    b"Via: SIP/2.0/TCP a;branch=z9hG4bKx\r\nFrom: <sip:b@a>;tag=c\r\nTo: sip:b@a\r\nCall-ID: d\r\nCSeq: 1 INVITE\r\n",
    b"Authorization: Digest username=\"bob\", response=\"",
    b"Content-Length: 0\r\n\r\n",
    b"\0\x1e\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03",
    b"\0\x0c\x12\x34\x01\0\0\x01\0\0\0\0\0\x01",
    b"\0\0\x29\x10\0\0\0\0\0\0\x0c\0\x0a\0\x08",
    b"\0\0\0/\xffSMBr\0\0\0\0\x18\x01@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x0c\0\x02NT LM 0.12\0",
    b"\0\0\0:\xffSMBr\0\0\0\0\x18S\xc8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x17\0\x02NT LM 0.12\0\x02SMB 2.???\0",
    b"\0\0\0f\xfeSMB@\0\0\0\0\0\0\0\0\0\x1f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0$\0\x01\0\x01\0\0\0\x7f\0\0\0\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\0\0\0\0\0\0\0\0\x10\x02",
    b"\0\0\0h\xfeSMB@\0\0\0\0\0\0\0\x01\0\x1f\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x19\0\0\x01\x01\0\0\0\0\0\0\0X\0\x10\0\0\0\0\0\0\0\0\0NTLMSSP\0\x01\0\0\0\x07\x82\0\0",
    b"\0\0\0\xda\xfeSMB@\0\0\0\0\0\0\0\x01\0\x1f\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x19\0\0\x01\x01\0\0\0\0\0\0\0X\0\x82\0\0\0\0\0\0\0\0\0NTLMSSP\0\x03\0\0\0\x18\0\x18\0H\0\0\0\x18\0\x18\0`\0\0\0\x02\0\x02\0x\0\0\0\x02\0\x02\0z\0\0\0\x02\0\x02\0|\0\0\0\x10\0\x10\0~\0\0\0\x15\x82\x08b\x06\x01\0\0\0\0\0\x0f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x00444444444444444444444444b\0a\0c\0KKKK",
    b"\0\0\0b\xffSMBs\0\0\0\0\x18S\xc8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\x0c\xff\0\0\0\x04A2\0\0\0\0\0\0\0\x10\0\0\0\0\0\xd4\0\0\x80'\0NTLMSSP\0\x01\0\0\0\x07\x82\0\0\0U\0n\0i\0x\0\0\0S\0a\0m\0b\0a\0\0\0",
    b"\0\0\0t\xffSMBs\0\0\0\0\x18\x01@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\x0d\xff\0\0\0\x04A2\0\0\0\0\0\0\0\x18\0\0\0\0\0\0\0\xd4\0\0\x007\x00333333333333333333333333\0a\0\0\0b\0\0\0U\0n\0i\0x\0\0\0S\0a\0m\0b\0a\0\0\0",
    b"\0\0\0X\xfeSMB@\0\0\0\0\0\0\0\x03\0\x1f\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xff\xfe\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0H\0\x10\0\x5c\0\x5c\0x\0\x5c\0I\0P\0C\0$\0",
    b"\0\x7f\xff\xff\xffSMB",
    b"\x81\0\0D",
    b"\0\0\0@\xfeSMB@\0",
    b"NTLMSSP\0\x03\0\0\0",
    b"`H\x06\x06+\x06\x01\x05\x05\x02\xa0>",
    b"STARTTLS\r\n",
    b"a1 STARTTLS\r\n",
    b"STLS\r\n",
    b"AUTH TLS\r\n",
    b"\x16\x03\x01\0\x05\x01\0\0\x01\x03",
    b"\x16\x03\x03\xff\xff",
    b"\x20\0\0\x01\x05\xae\x08\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
    b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0",
    b"\x03\0\0\x0c\x02\xf0\x80\x04\x01\0\x01\0",
    b"\x03\0\0\x08\x02\xf0\x80\x28",
    b"\x03\0\0\x0c\x02\xf0\x80\x38\0\x03\x03\xeb",
    b"\x7f\x65\x82\x01\x94\x04\x01\x01\x04\x01\x01\x01\x01\xff\x30\x19",
];

/// What the services look for in datagrams.
const DATAGRAMS: &[&[u8]] = &[
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03",
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x01\0\x01\0\0\x29\x10\0\0\0\0\0\0",
    b"\xc0\x0c",
    b"\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04\x28\x5a\x29\x7e\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0",
    b"\x30\x26\x02\x01\0\x04\x06public\xa5\x19\x02\x01\x07\x02\x01\0\x02\x01\x7f\x30\x0e",
    b"\x30\x3e\x02\x01\x03\x30\x11\x02\x04\x7b\x83\x7f\xe9\x02\x03\0\xff\xe3\x04\x01\x04\x02\x01\x03\x04\x10\x30\x0e\x04\0\x02\x01\0\x02\x01\0\x04\0\x04\0\x04\0\x30\x14",
    b"\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0",
    b"\x23\0\x06\xec\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x17\0\x03\x2a",
    b"\x16\x02\0\x01",
    b"\0\x01router-confg\0octet\0",
    b"\0\x02x\0mail\0blksize\x001428\0",
    b"REGISTER sip:a SIP/2.0\r\n",
    b"OPTIONS sip:1@a SIP/2.0\r\n",
    b"Via: SIP/2.0/UDP a;branch=z9hG4bKx;rport\r\nFrom: <sip:b@a>;tag=c\r\nTo: sip:b@a\r\nCall-ID: d\r\nCSeq: 1 OPTIONS\r\n",
    b"Authorization: Digest username=\"bob\", response=\"x\"\r\n",
    b"Content-Length: 0\r\n\r\n",
    b"\xff\xff\xff\xff",
];

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(DATAGRAMS).prop_map(<[u8]>::to_vec);
    let noise = prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec(prop_oneof![3 => word, 1 => noise], 0..8).prop_map(|parts| parts.concat())
}

fn datagrams() -> Vec<&'static str> {
    let answers = |name: &&str| spec(embedded(name).unwrap()).service.speak.datagram().is_some();
    embedded_names().filter(answers).collect()
}

/// What came back from a decoy that got one datagram, and what it reported.
fn probe(personality: &str, bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<Event>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let spec = spec(embedded(personality).unwrap());
        let stage = Stage::open_over(Transport::Udp, "127.0.0.1:0", spec, 64).await;
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(bytes, stage.address).await.unwrap();
        // The end takes what the socket has, and answers it.
        let events = make(settings(), stage.end().await);
        let mut said = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(count) = client.try_recv(&mut buffer) {
            said.push(buffer[..count].to_vec());
        }
        (said, events)
    })
}

fn sent() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(WORDS).prop_map(<[u8]>::to_vec);
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec(prop_oneof![3 => word, 1 => noise], 0..24).prop_map(|parts| parts.concat())
}

fn streams() -> Vec<&'static str> {
    let is_stream = |name: &&str| spec(embedded(name).unwrap()).service.is_stream();
    embedded_names().filter(is_stream).collect()
}

/// What the decoy said and what it reported; its waits take no time.
fn talk(personality: &str, bytes: &[u8]) -> (Vec<u8>, Vec<Event>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = Stage::open(spec(embedded(personality).unwrap())).await;
        let said = stage.talk(bytes).await;
        (said, make(settings(), stage.end().await))
    })
}

/// Services that go on with TLS, and what makes them.
const UPGRADES: &[(&str, &[u8])] = &[
    ("smtp-postfix", b"EHLO x\r\nSTARTTLS\r\n"),
    ("smtp-exim", b"EHLO x\r\nSTARTTLS\r\n"),
    ("imap-dovecot", b"a STARTTLS\r\n"),
    ("pop3-dovecot", b"STLS\r\n"),
    ("vsftpd-3.0.5-tls", b"AUTH TLS\r\n"),
    ("postgresql-debian-12", b"\0\0\0\x08\x04\xd2\x16\x2f"),
    (
        "mysql-ubuntu-22.04",
        b"\x20\0\0\x01\x05\xae\x08\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ),
];

/// Asks for TLS, waits until the decoy is ready for it, and sends `hello` and no more.
fn stopped(personality: &str, asked: &[u8], hello: &[u8]) -> Vec<Event> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = Stage::open(spec(embedded(personality).unwrap())).await;
        let mut client = stage.connect().await;
        client.write_all(asked).await.unwrap();
        // One that drops what is sent ahead has read the request once it says something more.
        let ready: &[u8] = match personality {
            "postgresql-debian-12" => b"S",
            "mysql-ubuntu-22.04" => b"password\0",
            "smtp-exim" => b"go ahead\r\n",
            "smtp-postfix" => b"start TLS\r\n",
            "vsftpd-3.0.5-tls" => b"negotiation.\r\n",
            _ => b"now.\r\n",
        };
        let mut said = Vec::new();
        while !said.ends_with(ready) {
            said.push(client.read_u8().await.unwrap());
        }
        client.write_all(hello).await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
        make(settings(), stage.end().await)
    })
}

#[test]
fn a_handshake_that_never_ends_is_ended_by_a_limit_wherever_it_stops() {
    let hello = Hello {
        version: 0x0303,
        ciphers: vec![0xc02f],
        extensions: vec![10, 13],
        groups: vec![23],
        signatures: vec![0x0804],
        ..Hello::default()
    };
    let hello = in_records(&hello_of(&hello), 1 << 14);
    for (personality, asked) in UPGRADES {
        for count in [0, 3, 20, hello.len()] {
            let events = stopped(personality, asked, &hello[..count]);
            let told = events
                .iter()
                .filter(|event| event.text(Field::TlsJa4).is_some())
                .count();
            assert_eq!(told, usize::from(count == hello.len()), "{personality} {count}");
            let end = events.iter().find(|event| event.action == Action::SessionEnd).unwrap();
            let reason = end.text(Field::EventReason).unwrap();
            assert!(reason.starts_with("limit `"), "{personality} {count}: {reason}");
            let established = (count > 0).then_some(&Value::Bool(false));
            assert_eq!(end.get(Field::TlsEstablished), established, "{personality} {count}");
        }
    }
}

#[test]
fn a_flood_of_requests_for_tls_is_one_session_with_the_promised_events() {
    for (personality, asked) in UPGRADES {
        let (said, events) = talk(personality, &asked.repeat(2000));
        let count = |action| events.iter().filter(|event| event.action == action).count();
        assert_eq!(count(Action::Connect), 1, "{personality}");
        assert_eq!(count(Action::SessionEnd), 1, "{personality}");
        assert!(count(Action::Query) <= Limits::default().queries_per_session as usize);
        assert!(said.len() < 2000, "{personality}: {} bytes", said.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_to_any_service_are_the_promised_events(name in prop::sample::select(streams()), bytes in sent()) {
        let (said, events) = talk(name, &bytes);
        let count = |action| events.iter().filter(|event| event.action == action).count();
        prop_assert_eq!(events[0].action, Action::Connect);
        prop_assert_eq!(count(Action::Connect), 1);
        prop_assert!(count(Action::Handshake) <= 1 && count(Action::Payload) <= 1 && count(Action::SessionEnd) <= 1);
        let attempts = count(Action::Credential) + count(Action::Ntlm);
        prop_assert!(attempts <= Limits::default().credentials_per_session as usize);
        prop_assert!(count(Action::Query) <= Limits::default().queries_per_session as usize);
        for event in &events {
            is_plain_json(event);
            let reason = event.text(Field::EventReason);
            prop_assert!(reason.is_none_or(|reason| !reason.contains("the service failed")), "{:?}", reason);
        }
        prop_assert!(!said.to_ascii_lowercase().windows(8).any(|word| word == b"trapline"));
    }
    #[test]
    fn any_bytes_in_a_datagram_are_the_promised_events_and_at_most_one_answer_that_is_not_longer(
        name in prop::sample::select(datagrams()),
        bytes in datagram(),
    ) {
        let (said, events) = probe(name, &bytes);
        let count = |action| events.iter().filter(|event| event.action == action).count();
        prop_assert_eq!(count(Action::UdpProbe), 1);
        prop_assert!(count(Action::Credential) <= 1 && events.len() <= 2, "{:?}", events);
        prop_assert!(said.len() <= 1);
        for answer in said {
            prop_assert!(answer.len() <= bytes.len());
            prop_assert!(!answer.to_ascii_lowercase().windows(8).any(|word| word == b"trapline"));
        }
        events.iter().for_each(is_plain_json);
    }
}
