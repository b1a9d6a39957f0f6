//! What a live Kamailio 5.6.3 of Debian 12 answered, with its example configuration and `WITH_AUTH`.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trapline_schemas::{Action, Field, Value};

use super::*;
use crate::decoy::personality::{Personality, embedded};
use crate::decoy::testing::{Stage, actions, fact, personality, spec};

fn look() -> Arc<Personality> {
    personality(embedded("kamailio-debian-12").unwrap())
}

fn asked(bytes: &[u8]) -> UdpAnswer {
    let look = look();
    answer(&Asked {
        bytes,
        peer: "127.0.0.1:51262".parse().unwrap(),
        local: "127.0.0.1:5060".parse().unwrap(),
        personality: &look,
    })
}

fn said(bytes: &[u8]) -> Option<String> {
    asked(bytes).reply.map(|reply| String::from_utf8(reply).unwrap())
}

/// A request of bob's; `change` is done to its text.
fn request(method: &str, uri: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    change(format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1234;branch=z9hG4bKabc;rport\r\nFrom: <sip:bob@127.0.0.1>;tag=ft\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: cid1\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:bob@127.0.0.1:1234>\r\nContent-Length: 0\r\n\r\n"
    ))
    .into_bytes()
}

fn by_eve(text: String) -> String {
    text.replace("From: <sip:bob@127.0.0.1>;tag=ft", "From: <sip:eve@evil.example>;tag=q")
}

#[tokio::test]
async fn behind_what_ends_a_connection_no_more_is_read_than_kamailio_reads_at_once() {
    let mut stage = Stage::open(spec(embedded("kamailio-debian-12").unwrap())).await;
    let mut client = stage.connect().await;
    let broken = b"REGISTER sip:a SIP/2.0\r\nContent-Length: x\r\n\r\n";
    let _ = client.write_all(&[&broken[..], &vec![b'x'; 400_000]].concat()).await;
    let _ = client.read_to_end(&mut Vec::new()).await;
    let hits = stage.session().await;
    let Some(Value::Int(read)) = fact(hits.last().unwrap(), Field::SourceBytes) else {
        panic!("{hits:?}");
    };
    assert!(*read < 64 << 10, "{read}");
}

#[test]
fn an_answer_is_kamailios_byte_for_byte() {
    let keepalive = "SIP/2.0 200 Keepalive\r\nVia: SIP/2.0/UDP 127.0.0.1:1234;branch=z9hG4bKabc;rport=51262;received=127.0.0.1\r\nFrom: <sip:bob@127.0.0.1>;tag=ft\r\nTo: <sip:bob@127.0.0.1>;tag=9dd61ff61e802d8e2bef5f14621ef3c2.1dcdb7c7\r\nCall-ID: cid1\r\nCSeq: 1 OPTIONS\r\nServer: kamailio (5.6.3 (x86_64/linux))\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        said(&request("OPTIONS", "sip:127.0.0.1", |text| text)).as_deref(),
        Some(keepalive)
    );
    let foreign = said(&request("INVITE", "sip:100@127.0.0.1", by_eve)).unwrap();
    assert!(foreign.starts_with("SIP/2.0 404 Not Found\r\n"), "{foreign}");
    assert!(
        foreign.contains(";tag=a6a1c5f60faecf035a1ae5b6e96e979a-1dcdb7c7\r\n"),
        "{foreign}"
    );
}

/// By this nmap names the product and its version.
#[test]
fn nmaps_probe_is_answered_as_kamailio_answers_it() {
    let probe = b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\nFrom: <sip:nm@nm>;tag=root\r\nTo: <sip:nm2@nm2>\r\nCall-ID: 50000\r\nCSeq: 42 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\nContact: <sip:nm@nm>\r\nAccept: application/sdp\r\n\r\n";
    let expected = "SIP/2.0 403 Not relaying\r\nVia: SIP/2.0/TCP nm;branch=foo;rport=51262;received=127.0.0.1\r\nFrom: <sip:nm@nm>;tag=root\r\nTo: <sip:nm2@nm2>;tag=9dd61ff61e802d8e2bef5f14621ef3c2.1e840000\r\nCall-ID: 50000\r\nCSeq: 42 OPTIONS\r\nServer: kamailio (5.6.3 (x86_64/linux))\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(said(probe).as_deref(), Some(expected));
}

#[test]
fn each_request_gets_the_code_that_kamailio_gives_it() {
    let plain = |text: String| text;
    let with = |from: &'static str, to: &'static str| move |text: String| text.replace(from, to);
    let eve_with = |from: &'static str, to: &'static str| move |text: String| by_eve(text).replace(from, to);
    let tagged = with("To: <sip:bob@127.0.0.1>", "To: <sip:x@127.0.0.1>;tag=zz");
    let event = |event: &'static str| eve_with("Max-Forwards", event);
    for (sent, status) in [
        (
            request("OPTIONS", "sip:100@127.0.0.1", plain),
            "407 Proxy Authentication Required",
        ),
        (
            request("OPTIONS", "sip:127.0.0.1:5060;transport=tcp", plain),
            "200 Keepalive",
        ),
        (
            request("OPTIONS", "sip:127.0.0.1:5099", plain),
            "407 Proxy Authentication Required",
        ),
        (request("OPTIONS", "sips:127.0.0.1", plain), "200 Keepalive"),
        (request("options", "SIP:127.0.0.1", plain), "200 Keepalive"),
        (request("REGISTER", "sip:127.0.0.1", plain), "401 Unauthorized"),
        (request("REGISTER", "sip:127.0.0.1", by_eve), "401 Unauthorized"),
        (
            request("BYE", "sip:100@127.0.0.1", plain),
            "407 Proxy Authentication Required",
        ),
        (
            request("INVITE", "sip:100@10.9.9.9", plain),
            "407 Proxy Authentication Required",
        ),
        (request("INVITE", "sip:100@10.9.9.9", by_eve), "403 Not relaying"),
        (request("INVITE", "tel:+123", by_eve), "403 Not relaying"),
        (request("INVITE", "sip:127.0.0.1", by_eve), "484 Address Incomplete"),
        (request("PUBLISH", "sip:100@127.0.0.1", by_eve), "404 Not here"),
        (
            request(
                "SUBSCRIBE",
                "sip:100@127.0.0.1",
                event("Event: message-summary\r\nMax-Forwards"),
            ),
            "404 No voicemail service",
        ),
        (
            request(
                "SUBSCRIBE",
                "sip:100@127.0.0.1",
                event("Event: presence\r\nMax-Forwards"),
            ),
            "404 Not Found",
        ),
        (request("FOO", "sip:100@127.0.0.1", by_eve), "404 Not Found"),
        (request("INVITE", "sip:100@127.0.0.1", tagged), "404 Not here"),
        (
            request("OPTIONS", "sip:127.0.0.1", with("Max-Forwards: 70", "Max-Forwards: 0")),
            "483 Too Many Hops",
        ),
        (
            request("OPTIONS", "sip:127.0.0.1", with("Max-Forwards: 70", "Max-Forwards: x")),
            "483 Too Many Hops",
        ),
        (
            request("INVITE", "sip:1@127.0.0.1", with("1 INVITE", "1 BYE")),
            "400 CSeq method does not match request method",
        ),
        (
            request("OPTIONS", "sip:1@127.0.0.1", with("CSeq: 1", "CSeq: 99999999999")),
            "400 CSeq number is illegal",
        ),
        (
            request(
                "OPTIONS",
                "sip:1@127.0.0.1",
                with("Content-Length: 0", "Content-Length: 2"),
            ),
            "400 Content-Length mis-match",
        ),
        (
            request("OPTIONS", "sip:1@127.0.0.1", with("Contact:", "Expires: x\r\nContact:")),
            "400 Expires value is illegal",
        ),
        (
            request(
                "INVITE",
                "sip:1@127.0.0.1",
                with("From: <sip:bob@127.0.0.1>;tag=ft", "From: xyz"),
            ),
            "400 Invalid From Header",
        ),
        (
            request("INVITE", "sip:1@127.0.0.1", with("To: <sip:bob@127.0.0.1>", "To: xyz")),
            "400 Ivalid To Header",
        ),
        (request("INVITE", "xyz", plain), "400 Bad Request URI"),
        (request("INVITE", "", plain), "400 Bad Request URI"),
    ] {
        let said = said(&sent).unwrap_or_else(|| panic!("no answer to {}", sent.escape_ascii()));
        assert!(
            said.starts_with(&format!("SIP/2.0 {status}\r\n")),
            "{said} to {}",
            sent.escape_ascii()
        );
        let challenged = said.contains("nonce=\"");
        assert_eq!(
            challenged,
            status.starts_with("401") || status.starts_with("407"),
            "{said}"
        );
    }
    for silent in [
        request("ACK", "sip:100@127.0.0.1", plain),
        request("CANCEL", "sip:100@127.0.0.1", plain),
        request("SUBSCRIBE", "sip:100@127.0.0.1", tagged),
        request("OPTIONS", "sip:127.0.0.1", with("SIP/2.0\r", "SIP/3.0\r")),
        request(
            "OPTIONS",
            "sip:127.0.0.1",
            with("From:", "From: <sip:z@z>;tag=9\r\nFrom:"),
        ),
        request("OPTIONS", "sip:127.0.0.1", with("Via:", "Xia:")),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"\r\n\r\n".to_vec(),
    ] {
        assert_eq!(said(&silent), None, "{}", silent.escape_ascii());
    }
}

#[test]
fn an_ipv6_address_in_a_via_is_the_peers_own_with_brackets() {
    let sent = request("REGISTER", "sip:[::1]", |text| {
        text.replace("127.0.0.1:1234;branch=z9hG4bKabc;rport", "[::1]:99;branch=z9hG4bKfoo")
            .replace("@127.0.0.1", "@[::1]")
            .replace("cid1", "50000")
    });
    let look = look();
    let answer = answer(&Asked {
        bytes: &sent,
        peer: "[::1]:39232".parse().unwrap(),
        local: "[::1]:5060".parse().unwrap(),
        personality: &look,
    });
    let said = String::from_utf8(answer.reply.expect("an answer")).unwrap();
    assert!(
        said.contains("\r\nVia: SIP/2.0/UDP [::1]:99;branch=z9hG4bKfoo;rport=39232\r\n"),
        "{said}"
    );
    assert!(
        said.contains(";tag=7b6d9793b349b0898d4b62f004759544.ff0dd819\r\n"),
        "{said}"
    );
    assert!(said.contains("Digest realm=\"[::1]\""), "{said}");
}

#[test]
fn a_via_is_said_back_with_where_it_came_from() {
    let via = |sent: &str| {
        let sent = request("OPTIONS", "sip:127.0.0.1", |text| {
            text.replace("Via: SIP/2.0/UDP 127.0.0.1:1234;branch=z9hG4bKabc;rport", sent)
        });
        said(&sent).unwrap().lines().nth(1).unwrap().to_owned()
    };
    for (sent, said) in [
        (
            "Via: SIP/2.0/UDP 127.0.0.1:1234",
            "Via: SIP/2.0/UDP 127.0.0.1:1234;rport=51262",
        ),
        (
            "v: SIP/2.0/UDP 10.1.1.1:99;branch=x",
            "v: SIP/2.0/UDP 10.1.1.1:99;branch=x;rport=51262;received=127.0.0.1",
        ),
        (
            "Via: SIP/2.0/UDP nm;rport=99;branch=x;received=9.9.9.9",
            "Via: SIP/2.0/UDP nm;rport=51262;branch=x;received=9.9.9.9;received=127.0.0.1",
        ),
        (
            "Via: SIP/2.0/UDP 127.0.0.1:5;branch=x;rport;alias",
            "Via: SIP/2.0/UDP 127.0.0.1:5;branch=x;rport=51262;alias;received=127.0.0.1",
        ),
        (
            "Via: SIP / 2.0 / UDP 127.0.0.1:1234 ; branch=x , SIP/2.0/UDP 1.2.3.4;branch=y",
            "Via: SIP / 2.0 / UDP 127.0.0.1:1234 ; branch=x , SIP/2.0/UDP 1.2.3.4;branch=y;rport=51262",
        ),
    ] {
        assert_eq!(via(sent), said);
    }
}

const DIGEST: &str = "Authorization: Digest username=\"bob\", realm=\"127.0.0.1\", nonce=\"n,1\", uri=\"sip:127.0.0.1:5060\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5\r\nContact:";

#[test]
fn a_digest_is_a_credential_that_can_be_cracked_with_what_belongs_to_it() {
    let sent = request("REGISTER", "sip:127.0.0.1:5060", |text| {
        text.replace("Contact:", DIGEST)
    });
    let offered = asked(&sent).credential.expect("a digest");
    assert_eq!((offered.kind, &offered.user[..]), ("hash", &b"bob"[..]));
    assert_eq!(&sent[offered.secret.clone()], b"0123456789abcdef0123456789abcdef");
    let line = "$sip$***bob*127.0.0.1*REGISTER*sip*127.0.0.1*5060*n,1****MD5*0123456789abcdef0123456789abcdef";
    assert_eq!(offered.proof.as_deref(), Some(line.as_bytes()));
    assert!(offered.facts.contains(&(Field::SipRealm, "127.0.0.1".into())));
    for (odd, kind, secret) in [
        (
            "Authorization: Basic Ym9iOmh1bnRlcjI=\r\nContact:",
            "password",
            &b"hunter2"[..],
        ),
        ("Proxy-Authorization: Bearer abc\r\nContact:", "token", b"abc"),
        ("Authorization: Digest xxx\r\nContact:", "token", b"xxx"),
    ] {
        let sent = request("REGISTER", "sip:127.0.0.1", |text| text.replace("Contact:", odd));
        let offered = asked(&sent).credential.expect("something");
        assert_eq!((offered.kind, offered.proof.as_deref()), (kind, Some(secret)));
    }
    let none = request("REGISTER", "sip:127.0.0.1", |text| {
        text.replace("Contact:", "Authorization:\r\nContact:")
    });
    assert!(asked(&none).credential.is_none());
}

#[test]
fn who_asks_for_whom_with_what_is_told() {
    let sent = request("INVITE", "sip:00972@127.0.0.1", |text| {
        by_eve(text).replace("Max-Forwards", "User-Agent: friendly-scanner\r\nMax-Forwards")
    });
    let facts = asked(&sent).facts;
    for (field, value) in [
        (Field::SipMethod, "INVITE"),
        (Field::SipUri, "sip:00972@127.0.0.1"),
        (Field::SipFrom, "<sip:eve@evil.example>;tag=q"),
        (Field::SipTo, "<sip:bob@127.0.0.1>"),
        (Field::SipContact, "<sip:bob@127.0.0.1:1234>"),
        (Field::SipCallId, "cid1"),
        (Field::UserAgent, "friendly-scanner"),
    ] {
        assert!(facts.contains(&(field, value.into())), "{field:?}: {facts:?}");
    }
}

async fn stage() -> Stage {
    Stage::open(spec(embedded("kamailio-debian-12").unwrap())).await
}

#[tokio::test]
async fn over_tcp_requests_one_after_another_are_answered_whole_and_told() {
    let mut stage = stage().await;
    let first = request("OPTIONS", "sip:nm", by_eve);
    let second = request("REGISTER", "sip:127.0.0.1", |text| text.replace("Contact:", DIGEST));
    let said = stage.talk(&[b"\r\n\r\n\r\n", &first[..], &second].concat()).await;
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("\r\nSIP/2.0 403 Not relaying\r\n"), "{said}");
    assert_eq!(said.matches("SIP/2.0 401 Unauthorized\r\n").count(), 1, "{said}");
    let hits = stage.session().await;
    let told: Vec<_> = actions(&hits)
        .into_iter()
        .filter(|action| *action != Action::Payload)
        .collect();
    let expected = [
        Action::Connect,
        Action::Query,
        Action::Query,
        Action::Credential,
        Action::SessionEnd,
    ];
    assert_eq!(told, expected);
    assert_eq!(fact(&hits[3], Field::UserName), Some(&Value::from("bob")));
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_and_what_is_for_nobody_does_not() {
    let no_length = request("OPTIONS", "sip:127.0.0.1", |text| {
        text.replace("Content-Length: 0\r\n", "")
    });
    let long = [b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nX: ".to_vec(), vec![b'a'; 20_000]].concat();
    let broken: [&[u8]; 5] = [
        b"GET / HTTP/1.0\r\n\r\n",
        b"help\r\n\r\n",
        b"XYZ\r\nl: 0\r\n\r\n",
        &no_length,
        &long,
    ];
    for bytes in broken {
        let stage = stage().await;
        let mut client = stage.connect().await;
        client.write_all(bytes).await.unwrap();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "{}", bytes.escape_ascii());
    }
    let stage = stage().await;
    let other = b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    let said = stage
        .talk(&[&other[..], &request("OPTIONS", "sip:127.0.0.1", |text| text)].concat())
        .await;
    assert!(said.starts_with(b"SIP/2.0 200"), "{}", said.escape_ascii());
}

const WORDS: &[&str] = &[
    "\r\n",
    "REGISTER sip:a SIP/2.0\r\n",
    "OPTIONS sip:a@b SIP/2.0\r\n",
    "Via: SIP/2.0/UDP a:1;branch=b;rport\r\n",
    "Via:",
    "v: x\r\n",
    "From: \"a\\\"<\" <sip:a@b>;tag=c\r\n",
    "f:<",
    "To: sip:a@b\r\n",
    "t: <sip:[::1]:5>;tag\r\n",
    "Call-ID: c\r\n",
    "CSeq: 1 REGISTER\r\n",
    "CSeq:\r\n",
    "Content-Length: 3\r\n",
    "l: 99999999999\r\n",
    " folded\r\n",
    "Authorization: Digest ",
    "username=\"",
    "response=\"a\",",
    ",",
    ";",
    "=",
    "<",
    ">",
    "@",
    ":",
    "\"",
];

proptest! {
    #[test]
    fn any_bytes_are_requests_or_none_and_no_answer_says_more_than_theirs(
        parts in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..9),
        ], 0..30),
    ) {
        let bytes = parts.concat();
        let answer = asked(&bytes);
        if let Some(reply) = answer.reply {
            prop_assert!(reply.starts_with(b"SIP/2.0 ") && reply.ends_with(b"Content-Length: 0\r\n\r\n"));
        }
        if let Some(found) = answer.credential {
            prop_assert!(found.secret.end <= bytes.len());
        }
    }
}
