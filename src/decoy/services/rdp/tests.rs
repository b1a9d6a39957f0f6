//! What a live xrdp 0.9.21.1 of Debian 12 answered, byte for byte; what a Windows does by its specifications.

mod client;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use trapline_schemas::{Action, Field, Value, ids};

use self::client::{
    NEGOTIATE, ask, attach, authenticate, connect, connect_initial, data, info, join, read, rest, shake, wish,
};
use super::gcc::Client;
use super::info::Info;
use super::security::{Cipher, RANDOM};
use super::*;
use crate::decoy::number::power;
use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, fact, spec, work};
use crate::decoy::tls::hello::Hello;
use crate::decoy::tls::testing::{hello_of, in_records};
use crate::roles::Hit;

const XRDP: &str = "xrdp-debian-12";
const WINDOWS: &str = "rdp-windows-server-2019";
const OPEN_WINDOWS: &str = "rdp-windows-server-2016";

/// What xrdp says to whoever it does not understand.
const DISCONNECTED: &str = "0300000902f0802180";

async fn stage(name: &str) -> Stage {
    Stage::open(spec(embedded(name).unwrap())).await
}

fn text(hit: &Hit, field: Field) -> String {
    match fact(hit, field) {
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Texts(texts)) => texts.join(" "),
        other => format!("{other:?}"),
    }
}

fn only(hits: &[Hit], action: Action) -> &Hit {
    let found: Vec<_> = hits.iter().filter(|hit| hit.action == action).collect();
    assert_eq!(found.len(), 1, "{:?}", actions(hits));
    found[0]
}

/// The first answer to a first message, and whether more was said before the peer ended.
async fn answer(name: &str, sent: &[u8]) -> String {
    let stage = stage(name).await;
    ids::hex(&stage.talk(sent).await)
}

#[tokio::test]
async fn requests_are_answered_as_xrdp_answers_them() {
    let tls = "030000130ed000001234000201080001000000";
    let plain = "030000130ed000001234000201080000000000";
    let cookie = b"Cookie: mstshash=nmap\r\n";
    let correlated = [&wish(3)[..], b"\x06\0\x24\0", &[b'x'; 32]].concat();
    for (variable, expected) in [
        (&[&cookie[..], &wish(3)].concat()[..], tls),
        (&wish(1), tls),
        (&wish(11), tls),
        (
            &[&b"Cookie: msts=3640205228.15629.0000\r\n"[..], &wish(3)].concat(),
            tls,
        ),
        (&correlated, tls),
        (&wish(0), plain),
        (&wish(2), plain),
        (&wish(8), plain),
        (b"", "0300000b06d00000123400"),
        (b"zzzzzzzz", "0300000b06d00000123400"),
        (&cookie[..20], "0300000b06d00000123400"),
        (b"\x01\0\x09\0\x03\0\0\0", ""),
        (b"\x01\x02\x08\0\x03\0\0\0", ""),
        (&wish(256), ""),
    ] {
        let said = answer(XRDP, &connect(variable)).await;
        let shown = variable.escape_ascii();
        // Whoever has TLS ahead and ends is told so; who has not is told nothing.
        let end = match expected {
            "" => DISCONNECTED.to_owned(),
            _ if expected == tls => format!("15030300020232{DISCONNECTED}"),
            _ => String::new(),
        };
        assert_eq!(said, format!("{expected}{end}"), "{shown}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_told_so_by_xrdp() {
    let mut wrong_length = connect(&wish(1));
    wrong_length[4] = 6;
    let mut wrong_code = connect(&wish(1));
    wrong_code[5] = 0xf0;
    let mut wrong_version = connect(&wish(1));
    wrong_version[0] = 2;
    for (sent, said) in [
        (&wrong_length[..], DISCONNECTED),
        (&wrong_code, DISCONNECTED),
        (&wrong_version, DISCONNECTED),
        (b"\x03\0\0\x04", DISCONNECTED),
        (b"\x03\0\0\x07\x02\xf0\x80", DISCONNECTED),
        (b"\x03\0\0\0abcdef", DISCONNECTED),
        (b"\0\0\0\0", DISCONNECTED),
        (b"\x16\x03\0\0\x69\x01\0\0", DISCONNECTED),
        // It is still waiting for more of these.
        (b"GET / HTTP/1.0\r\n\r\n", ""),
        (b"\r\n\r\n", ""),
        (b"\x03", ""),
    ] {
        assert_eq!(answer(XRDP, sent).await, said, "{}", sent.escape_ascii());
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told_so_by_openssl_and_then_by_xrdp() {
    let old = |version| Hello {
        version,
        ciphers: vec![0xc02f, 0x2f],
        extensions: vec![10],
        groups: vec![29],
        ..Hello::default()
    };
    let none = Hello {
        ciphers: vec![5],
        extensions: vec![10, 13],
        signatures: vec![0x0403],
        ..old(0x0303)
    };
    let hello = |hello| in_records(&hello_of(&hello), 1 << 14);
    for (sent, alert) in [
        (hello(old(0x0301)), "15030100020246"),
        (hello(old(0x0302)), "15030200020246"),
        (hello(old(0x0300)), "15030000020228"),
        (hello(none), "15030300020228"),
        (b"\x17\x03\x03\0\x05hello".to_vec(), "1503030002020a"),
        (b"\x16\x03\x01\xff\xffaaaa".to_vec(), "15030300020216"),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), ""),
    ] {
        let stage = stage(XRDP).await;
        let mut socket = stage.connect().await;
        socket.write_all(&connect(&wish(1))).await.unwrap();
        read(&mut socket, 19).await;
        socket.write_all(&sent).await.unwrap();
        let expected = format!("{alert}{DISCONNECTED}");
        assert_eq!(
            read(&mut socket, expected.len() / 2).await,
            expected,
            "{}",
            sent.escape_ascii()
        );
    }
}

/// A conference over TLS, up to where a login is due. Out: all that was said since.
async fn conference(stage: &Stage, channels: &[&[u8]]) -> (TlsStream<TcpStream>, Vec<String>) {
    let mut socket = stage.connect().await;
    let request = [&b"Cookie: mstshash=admin\r\n"[..], &wish(1)].concat();
    socket.write_all(&connect(&request)).await.unwrap();
    read(&mut socket, 19).await;
    let mut peer = shake(socket).await;
    peer.write_all(&connect_initial(channels, 0x1b)).await.unwrap();
    let head = read(&mut peer, 4).await;
    let length = usize::from_str_radix(&head[4..], 16).unwrap();
    let mut said = vec![head + &read(&mut peer, length - 4).await];
    peer.write_all(&attach()).await.unwrap();
    said.push(read(&mut peer, 11).await);
    let count = channels.len() as u16;
    let mut joined = String::new();
    for channel in [1004 + count].into_iter().chain(1003..1004 + count) {
        peer.write_all(&join(count + 3, channel)).await.unwrap();
        joined += &read(&mut peer, 15).await;
    }
    said.push(joined);
    (peer, said)
}

const CHANNELS: [&[u8]; 3] = [b"rdpdr", b"cliprdr", b"rdpsnd"];

#[tokio::test]
async fn a_login_over_tls_goes_as_far_as_xrdps_licence_and_its_password_is_told() {
    let mut stage = stage(XRDP).await;
    let (mut peer, said) = conference(&stage, &CHANNELS).await;
    assert_eq!(
        said,
        [
            "0300006d02f0807f66630a0100020100301a020116020103020100020101020100020101020300fff8020102043f000500147c00012a\
             14760a01010001c0004d63446e8028010c0c000400080001000000030c1000eb030300ec03ed03ee030000020c0c000000000000000000",
            "0300000b02f0802e000006",
            "0300000f02f0803e00000603ef03ef0300000f02f0803e00000603eb03eb0300000f02f0803e00000603ec03ec0300000f02f0803e00\
             000603ed03ed0300000f02f0803e00000603ee03ee",
        ]
    );
    peer.write_all(&data(6, 0x40, &info(0x17b, "Sup3rPas"))).await.unwrap();
    let licence = read(&mut peer, 0x151).await;
    assert!(
        licence.starts_with("0300015102f08068000603eb70814280003e0101023e017b3c31a6"),
        "{licence}"
    );
    assert!(licence.ends_with("010000000e000e006d6963726f736f66742e636f6d00"));
    peer.write_all(&data(6, 0x80, b"\xff\x03\x10\0\x07\0\0\0\x02\0\0\0\x04\0\0\0"))
        .await
        .unwrap();
    let end = rest(&mut peer).await;
    assert_eq!(
        end,
        format!("0300002202f08068000603eb701480001000ff021000070000000200000028140000{DISCONNECTED}")
    );
    drop(peer);
    let hits = stage.session().await;
    let handshake = only(&hits, Action::Handshake);
    assert_eq!(text(handshake, Field::RdpCookie), "admin");
    assert_eq!(text(handshake, Field::UserName), "admin");
    assert_eq!(text(handshake, Field::RdpProtocols), "tls");
    let login = only(&hits, Action::Credential);
    for (field, told) in [
        (Field::UserName, "root"),
        (Field::UserDomain, "CORP"),
        (Field::RdpClientName, "ATTACKER"),
        (Field::SourceDomain, "attacker"),
        (Field::RdpClientBuild, "2600"),
        (Field::RdpClientProduct, "55274-640"),
        (Field::RdpKeyboardLayout, "0x00000407"),
        (Field::RdpDesktop, "1280x800"),
        (Field::RdpChannels, "rdpdr cliprdr rdpsnd"),
        (Field::RdpClientAddress, "10.9.8.7"),
        (Field::RdpClientFolder, "C:\\Windows\\System32\\mstscax.dll"),
        (Field::RdpWorkingFolder, "C:\\x"),
    ] {
        assert_eq!(text(login, field), told, "{field:?}");
    }
    assert_eq!(&*login.secret.as_ref().unwrap().bytes, b"Sup3rPas");
    let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
    for secret in [&ntlm::encode("Sup3rPas", true)[..], b"this is the cookie to resume"] {
        let at = memchr::memmem::find(&capture.kept, secret).unwrap();
        let hidden = |place: usize| capture.secrets.iter().any(|range| range.contains(&place));
        assert!((at..at + secret.len()).all(hidden), "{}", secret.escape_ascii());
    }
}

#[tokio::test]
async fn a_secret_in_the_cookie_of_who_leaves_at_once_is_hidden() {
    for personality in [XRDP, WINDOWS] {
        let mut stage = stage(personality).await;
        stage.talk(&connect(b"Cookie: password=hunter2\r\n")).await;
        let hits = stage.session().await;
        assert!(!format!("{hits:?}").contains("hunter2"), "{personality}: {hits:?}");
        let handshake = only(&hits, Action::Handshake);
        assert_eq!(text(handshake, Field::RdpRoutingToken), "password=*******");
    }
}

#[tokio::test]
async fn who_says_over_and_over_who_it_is_is_told_of_once() {
    let mut stage = stage(XRDP).await;
    let (mut peer, _) = conference(&stage, &CHANNELS).await;
    for _ in 0..20 {
        peer.write_all(&data(6, 0x40, &info(0x33, ""))).await.unwrap();
        read(&mut peer, 0x151).await;
    }
    drop(peer);
    let hits = stage.session().await;
    let end = only(&hits, Action::SessionEnd);
    assert_eq!(text(end, Field::RdpWorkingFolder), "C:\\x");
    let mut fields: Vec<_> = end.facts.iter().map(|(field, _)| format!("{field:?}")).collect();
    let told = fields.len();
    fields.sort();
    fields.dedup();
    assert_eq!(told, fields.len(), "{:?}", end.facts);
}

/// RDP's own encryption, up to where a login is due. Out: the method, the server's random, and its key's modulus.
async fn encrypted(stage: &Stage, methods: u32) -> (TcpStream, u32, [u8; RANDOM], Vec<u8>) {
    let mut peer = stage.connect().await;
    peer.write_all(&connect(&wish(0))).await.unwrap();
    read(&mut peer, 19).await;
    peer.write_all(&connect_initial(&CHANNELS, methods)).await.unwrap();
    let mut response = vec![0; 4];
    peer.read_exact(&mut response).await.unwrap();
    response.resize(u16::from_be_bytes([response[2], response[3]]).into(), 0);
    peer.read_exact(&mut response[4..]).await.unwrap();
    // Security is the last block: it ends with a certificate of 376 bytes.
    let block = &response[response.len() - 376 - 48..];
    let random = *block[16..].first_chunk().unwrap();
    let modulus: Vec<u8> = block[48 + 36..48 + 36 + 256].iter().rev().copied().collect();
    peer.write_all(&attach()).await.unwrap();
    peer.write_all(&join(6, 1007)).await.unwrap();
    read(&mut peer, 26).await;
    (peer, ntlm::u32_at(block, 0).unwrap(), random, modulus)
}

/// A login as a client of RDP's own encryption sends it, its signature left out.
fn login_by(method: u32, server: &[u8; RANDOM], modulus: &[u8], password: &str) -> Vec<u8> {
    let client = [5; RANDOM];
    let mut padded = vec![0; 256 - RANDOM];
    padded.extend(client);
    let mut exchange = 264_u32.to_le_bytes().to_vec();
    exchange.extend(power(&padded, &[1, 0, 1], modulus).unwrap().iter().rev());
    exchange.extend([0; 8]);
    let packet = [&[0; 8][..], &info(0x17b, password)].concat();
    let (sealed, _) = Cipher::new(method, &client, server).read(&packet).unwrap();
    [data(6, 1, &exchange), data(6, 0x48, &[&[0; 8][..], &sealed].concat())].concat()
}

#[tokio::test]
async fn a_login_in_rdps_own_encryption_is_read_and_who_signs_it_wrong_goes_no_further_with_xrdp() {
    for (name, methods, expected, end) in [
        (XRDP, 0x1b, 2, DISCONNECTED.to_owned()),
        // xrdp has but one method, and takes everybody for one who knows it.
        (XRDP, 0, 2, DISCONNECTED.to_owned()),
        (
            OPEN_WINDOWS,
            0x1b,
            2,
            format!("0300002202f08068000103eb701480000000ff031000070000000200000004000000{DISCONNECTED}"),
        ),
        (
            OPEN_WINDOWS,
            9,
            8,
            format!("0300002202f08068000103eb701480000000ff031000070000000200000004000000{DISCONNECTED}"),
        ),
    ] {
        let mut stage = stage(name).await;
        let (mut peer, method, random, modulus) = encrypted(&stage, methods).await;
        assert_eq!(method, expected, "{name}");
        peer.write_all(&login_by(method, &random, &modulus, "Sup3rPas"))
            .await
            .unwrap();
        assert_eq!(rest(&mut peer).await, end, "{name}");
        drop(peer);
        let hits = stage.session().await;
        let login = only(&hits, Action::Credential);
        assert_eq!(text(login, Field::UserName), "root");
        assert_eq!(&*login.secret.as_ref().unwrap().bytes, b"Sup3rPas");
        assert_eq!(text(only(&hits, Action::Handshake), Field::RdpClientName), "ATTACKER");
        assert!(
            !only(&hits, Action::Payload)
                .capture
                .as_deref()
                .unwrap()
                .secrets
                .is_empty()
        );
    }
}

/// A live xrdp took fifty, and a login behind them.
#[tokio::test]
async fn a_client_may_draw_new_keys_over_and_over_and_few_are_worked_out() {
    let stage = stage(XRDP).await;
    let (mut peer, method, random, modulus) = encrypted(&stage, 0x1b).await;
    let login = login_by(method, &random, &modulus, "Sup3rPas");
    let length: usize = u16::from_be_bytes([login[2], login[3]]).into();
    let before = work::done();
    peer.write_all(&login[..length].repeat(20)).await.unwrap();
    peer.write_all(&data(6, 0x40, &info(0x17b, "Sup3rPas"))).await.unwrap();
    let licence = read(&mut peer, 0x151).await;
    assert!(licence.starts_with("0300015102f08068000603eb7081428000"), "{licence}");
    assert_eq!((work::done() - before) / 256, 4);
}

#[tokio::test]
async fn a_login_without_its_encryption_is_taken_by_xrdp_as_well() {
    let mut stage = stage(XRDP).await;
    let (mut peer, ..) = encrypted(&stage, 0x1b).await;
    peer.write_all(&data(6, 0x40, &info(0x17b, "Sup3rPas"))).await.unwrap();
    let licence = read(&mut peer, 0x151).await;
    assert!(licence.starts_with("0300015102f08068000603eb7081428000"), "{licence}");
    drop(peer);
    assert_eq!(
        text(only(&stage.session().await, Action::Credential), Field::UserName),
        "root"
    );
}

#[tokio::test]
async fn a_conference_that_goes_wrong_is_over_for_xrdp() {
    let login = data(6, 0x40, &info(0x17b, "x"));
    let mut cut = data(6, 0x40, &info(0x17b, "x")[..40]);
    cut.truncate(60);
    for sent in [
        data(6, 0x40, &info(0x10, "x")),
        data(6, 0x40, &info(0x17b, &"x".repeat(300))),
        data(6, 0, b"\x10\0\x17\0\xea\x03"),
        frame::wrap(mcs::DISCONNECT),
        frame::wrap(b"\xff"),
        join(6, 1003),
    ] {
        let stage = stage(XRDP).await;
        let (mut peer, _) = conference(&stage, &CHANNELS).await;
        peer.write_all(&sent).await.unwrap();
        assert_eq!(rest(&mut peer).await, DISCONNECTED, "{}", sent.escape_ascii());
    }
    // Before its time, too, and it is hidden all the same.
    let mut stage = stage(XRDP).await;
    let mut socket = stage.connect().await;
    socket.write_all(&connect(&wish(1))).await.unwrap();
    read(&mut socket, 19).await;
    let mut peer = shake(socket).await;
    let early = [connect_initial(&CHANNELS, 0), attach(), login].concat();
    peer.write_all(&early).await.unwrap();
    let said = rest(&mut peer).await;
    assert!(said.ends_with(&format!("2e000006{DISCONNECTED}")), "{said}");
    drop(peer);
    let hits = stage.session().await;
    let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
    assert!(capture.has_secret || !capture.secrets.is_empty());
}

#[tokio::test]
async fn names_without_an_end_are_no_channels() {
    let stage = stage(XRDP).await;
    let mut socket = stage.connect().await;
    socket.write_all(&connect(&wish(1))).await.unwrap();
    read(&mut socket, 19).await;
    let mut peer = shake(socket).await;
    peer.write_all(&connect_initial(&[b"a", b"12345678", b""], 0))
        .await
        .unwrap();
    peer.write_all(&attach()).await.unwrap();
    assert_eq!(
        read(&mut peer, 0x69 + 11).await,
        "0300006902f0807f665f0a0100020100301a020116020103020100020101020100020101020300fff8020102043b000500147c00012a14\
         760a01010001c0004d63446e8024010c0c000400080001000000030c0c00eb030100ec030000020c0c0000000000000000000300000b02f0\
         802e000004"
    );
}

#[tokio::test]
async fn a_windows_wants_credssp_and_says_so() {
    let agreed = |layer: u32| {
        format!(
            "030000130ed0000012340002{}",
            ids::hex(&[&[0x1f, 8, 0][..], &layer.to_le_bytes()].concat())
        )
    };
    let failed = |code: u32| {
        format!(
            "030000130ed0000012340003{}",
            ids::hex(&[&[0, 8, 0][..], &code.to_le_bytes()].concat())
        )
    };
    for (name, asked, expected) in [
        (WINDOWS, 3, agreed(2)),
        (WINDOWS, 2, agreed(2)),
        (WINDOWS, 11, agreed(8)),
        (WINDOWS, 8, agreed(8)),
        (WINDOWS, 4, agreed(4)),
        (WINDOWS, 1, failed(5)),
        (WINDOWS, 0, failed(5)),
        (OPEN_WINDOWS, 1, agreed(1)),
        (OPEN_WINDOWS, 3, agreed(2)),
        (OPEN_WINDOWS, 0, agreed(0)),
    ] {
        assert_eq!(answer(name, &connect(&wish(asked))).await, expected, "{name} {asked}");
    }
    assert_eq!(answer(WINDOWS, &connect(b"")).await, "");
    assert_eq!(answer(WINDOWS, b"GET / HTTP/1.0\r\n\r\n").await, "");
    assert_eq!(answer(WINDOWS, b"\x03\0\0\x04abcd").await, "");
}

/// CredSSP with a client of this version; what it hears last.
async fn log_on(stage: &Stage, version: u8, is_direct: bool) -> String {
    let mut socket = stage.connect().await;
    if !is_direct {
        socket.write_all(&connect(&wish(11))).await.unwrap();
        read(&mut socket, 19).await;
    }
    let mut peer = shake(socket).await;
    peer.write_all(&ask(version, NEGOTIATE)).await.unwrap();
    let head = read(&mut peer, 4).await;
    assert!(head.starts_with("3081"), "{head}");
    let length = usize::from_str_radix(&head[4..6], 16).unwrap();
    let challenge = head + &read(&mut peer, length - 1).await;
    let named = ids::hex(&ntlm::encode("files03.corp.local", true));
    assert!(
        challenge[6..].starts_with("a003020106a181") && challenge.contains(&named),
        "{challenge}"
    );
    assert!(challenge.contains("0a00634500"), "{challenge}");
    peer.write_all(&ask(version, &authenticate(&[7; 90]))).await.unwrap();
    rest(&mut peer).await
}

#[tokio::test]
async fn a_login_by_credssp_is_refused_with_the_status_that_its_version_knows() {
    for (version, is_direct, expected) in [
        (6, false, "300da003020106a4060204c000006d"),
        (3, false, "300da003020106a4060204c000006d"),
        (6, true, "300da003020106a4060204c000006d"),
        (2, false, ""),
        (5, false, ""),
    ] {
        let mut stage = stage(WINDOWS).await;
        assert_eq!(log_on(&stage, version, is_direct).await, expected, "{version}");
        let hits = stage.session().await;
        let login = only(&hits, Action::Ntlm);
        // Schannel of that time knows nothing newer than 1.2.
        let suite = text(only(&hits, Action::SessionEnd), Field::TlsCipher);
        assert!(suite.starts_with("TLS_ECDHE_"), "{suite}");
        for (field, told) in [
            (Field::UserName, "alice"),
            (Field::UserDomain, "CORP"),
            (Field::NtlmWorkstation, "ATTACKER"),
            (Field::NtlmVersion, "NTLMv2"),
            (Field::NtlmTarget, "CORP"),
        ] {
            assert_eq!(text(login, field), told, "{field:?}");
        }
        assert_eq!(fact(login, Field::RdpCredsspVersion), Some(&Value::Int(version.into())));
        let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
        let at = memchr::memmem::find(&capture.kept, &[7; 90]).unwrap();
        assert!(
            capture
                .secrets
                .iter()
                .any(|range| range.start <= at && at + 90 <= range.end)
        );
    }
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_and_not_shown() {
    let mut stage = stage(WINDOWS).await;
    let mut peer = shake(stage.connect().await).await;
    peer.write_all(&ask(6, b"password=Sup3rPas")).await.unwrap();
    assert_eq!(rest(&mut peer).await, "300da003020106a406020480090308");
    drop(peer);
    let hits = stage.session().await;
    let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
    assert!(!capture.secrets.is_empty());
}

#[tokio::test]
async fn a_login_that_another_server_passed_on_is_refused_and_told() {
    let mut stage = stage(WINDOWS).await;
    let mut socket = stage.connect().await;
    socket.write_all(&connect(&wish(4))).await.unwrap();
    read(&mut socket, 19).await;
    let mut peer = shake(socket).await;
    assert_eq!(read(&mut peer, 8).await, "0100010001000100");
    let field = |bytes: &[u8]| [&(bytes.len() as u16).to_le_bytes()[..], bytes].concat();
    let [user, domain] = ["alice\0", "CORP\0"].map(|text| field(&ntlm::encode(text, true)));
    let login = [
        b"\x01\0\x02\0\x01\0",
        &field(&[3; 16])[..],
        &user,
        &domain,
        &field(b"sealed password"),
    ]
    .concat();
    peer.write_all(&login[..30]).await.unwrap();
    peer.write_all(&login[30..]).await.unwrap();
    assert_eq!(rest(&mut peer).await, "0100040001002e050000");
    drop(peer);
    let hits = stage.session().await;
    let told = only(&hits, Action::Credential);
    assert_eq!(text(told, Field::UserName), "alice");
    assert_eq!(text(told, Field::UserDomain), "CORP");
    assert_eq!(text(told, Field::CredentialKind), "token");
    assert_eq!(&*told.secret.as_ref().unwrap().bytes, b"sealed password");
    let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
    assert!(capture.kept.ends_with(b"sealed password") && capture.secrets.iter().any(|range| range.len() == 15));
}

#[tokio::test]
async fn a_windows_without_network_level_authentication_takes_the_password_and_nobody_in() {
    let mut stage = stage(OPEN_WINDOWS).await;
    let (mut peer, said) = conference(&stage, &CHANNELS).await;
    assert!(
        said[0].starts_with("0300007002f0807f66660a0100020100301a020122020103020100020101020100020101020300fff8020102"),
        "{said:?}"
    );
    peer.write_all(&data(6, 0x40, &info(0x17b, "Sup3rPas"))).await.unwrap();
    assert_eq!(
        rest(&mut peer).await,
        "0300002202f08068000103eb701480000000ff031000070000000200000004000000\
         0300002402f08068000103eb701616001700ea03000000000001080 02f00000009000000"
            .replace(' ', "")
            + DISCONNECTED
    );
    drop(peer);
    let hits = stage.session().await;
    assert_eq!(text(only(&hits, Action::Credential), Field::UserName), "root");
}

#[tokio::test]
async fn a_login_that_is_cut_short_shows_no_password() {
    let whole = data(6, 0x40, &info(0x17b, "Sup3rPas"));
    for cut in [20, 40, 55, 60, 66, whole.len() - 3] {
        let mut stage = stage(XRDP).await;
        let (mut peer, _) = conference(&stage, &CHANNELS).await;
        peer.write_all(&whole[..cut]).await.unwrap();
        peer.shutdown().await.unwrap();
        rest(&mut peer).await;
        drop(peer);
        let hits = stage.session().await;
        let capture = only(&hits, Action::Payload).capture.as_deref().unwrap();
        let from = capture.kept.len() - cut;
        let hidden = |place: usize| capture.secrets.iter().any(|range| range.contains(&place));
        assert!((from..capture.kept.len()).all(hidden), "{cut}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_bounds(noise in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0)], 0..400), cut in 0usize..600) {
        let client = connect_initial(&CHANNELS, 0);
        let mut spoiled = client.clone();
        for (at, byte) in noise.iter().enumerate() {
            if let Some(place) = spoiled.get_mut(at * 97 % client.len()) {
                *place ^= byte;
            }
        }
        let named = info(0x17b, "x");
        let begun = [&named[..cut.min(named.len())], &noise].concat();
        for bytes in [&noise[..], &client[..cut.min(client.len())], &spoiled, &begun, &connect(&noise[..noise.len().min(200)])] {
            for family in [Family::Windows, Family::Xrdp] {
                if let Frame::Whole(length) = frame::next(bytes, family) {
                    prop_assert!(length <= bytes.len());
                }
                if let Some(request) = frame::Request::read(bytes, family) {
                    let _ = request.facts();
                }
            }
            if let Some(client) = Client::connect(bytes) {
                prop_assert!(client.channel_count() <= 31);
                let _ = (client.facts(), client.user());
            }
            if let Some(mcs::Request::Data(range)) = mcs::request(bytes) {
                prop_assert!(range.end <= bytes.len());
            }
            if let Some(info) = Info::read(bytes) {
                prop_assert!(info.secrets.iter().all(|range| range.start <= range.end && range.end <= bytes.len()));
                let _ = info.facts();
            }
            let passed = [&b"\x01\0\x02\0\x01\0"[..], bytes].concat();
            if let rdstls::Front::Whole(login, length) = rdstls::next(&passed) {
                prop_assert!(login.secret.end <= length && length <= passed.len());
            }
            if let credssp::Front::Whole(length) = credssp::next(bytes) {
                prop_assert!(length <= bytes.len());
            }
            if let Some(request) = credssp::Request::read(bytes) {
                prop_assert!(request.token.end <= bytes.len());
            }
        }
    }
}
