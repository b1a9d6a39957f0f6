//! What a live Samba answered, asked again; and what is reported of it.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trapline_schemas::{Action, Field, Value};

use super::*;
use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, fact, spec};
use crate::roles::Hit;

/// Dialogues with a live server: see the head of the file.
struct Recording(Vec<(&'static str, Vec<&'static str>)>);

impl Recording {
    fn read(text: &'static str) -> Self {
        let mut dialogues: Vec<(_, Vec<_>)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with(';')) {
            match line.strip_prefix("# ") {
                Some(name) => dialogues.push((name, Vec::new())),
                None => dialogues.last_mut().unwrap().1.push(line),
            }
        }
        let same = dialogues[0].1.clone();
        for (_, lines) in &mut dialogues {
            for line in lines {
                if let Some(number) = ["> =", "< ="].iter().position(|short| line == short) {
                    *line = same[number];
                }
            }
        }
        Self(dialogues)
    }

    async fn replay(&self, personality: &str) {
        let stage = Stage::open(spec(embedded(personality).unwrap())).await;
        let mut wrong = Vec::new();
        for (name, lines) in &self.0 {
            if let Err(difference) = replay(stage.connect().await, lines).await {
                wrong.push(format!("{name}: {difference}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        stage.end().await;
    }
}

/// Says what the recording says, and compares the answers.
async fn replay(mut client: TcpStream, lines: &[&str]) -> Result<(), String> {
    let (mut number, mut first) = (String::new(), String::new());
    for line in lines {
        let (sign, rest) = line.split_once(' ').unwrap();
        match (sign, rest) {
            (">", hex) => {
                // A number that is not known yet was one that the server did not give.
                let hex = hex.replace(&"TT".repeat(first.len() / 2), &first);
                let places = hex.match_indices("SS").count();
                let hex = if number.len() == 2 * places {
                    hex.replacen(&"SS".repeat(places), &number, 1)
                } else {
                    hex.replace("SS", "01")
                };
                client
                    .write_all(&bytes(&hex))
                    .await
                    .map_err(|error| error.to_string())?;
            }
            ("<", expected) => {
                let answer = frame(&mut client).await.ok_or("closed")?;
                number = compare(expected, &hex(&answer))?;
                if first.is_empty() {
                    first.clone_from(&number);
                }
            }
            (".", end) => {
                let mut rest = Vec::new();
                let found = match client.read_to_end(&mut rest).await {
                    Ok(_) => "fin",
                    Err(_) => "rst",
                };
                if found != end || !rest.is_empty() {
                    return Err(format!("{found} after {rest:02x?} where {end} was"));
                }
            }
            _ => panic!("{line}"),
        }
    }
    Ok(())
}

/// Compares digit by digit; gives what stands where the session's number was.
fn compare(expected: &str, found: &str) -> Result<String, String> {
    let same = expected.len() == found.len()
        && expected
            .chars()
            .zip(found.chars())
            .all(|(one, other)| matches!(one, '.' | 'S' | 'T') || one == other);
    if !same {
        return Err(format!("\n  was {expected}\n  is  {found}"));
    }
    Ok(expected
        .chars()
        .zip(found.chars())
        .filter(|(one, _)| *one == 'S')
        .map(|(_, digit)| digit)
        .collect())
}

async fn frame(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await.ok()?;
    let mut whole = head.to_vec();
    whole.resize(4 + (u32::from_be_bytes(head) & 0xff_ffff) as usize, 0);
    client.read_exact(whole.get_mut(4..)?).await.ok()?;
    Some(whole)
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len() / 2).map(|at| &hex[at * 2..at * 2 + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn every_recorded_dialogue_in_smb2_goes_as_with_samba() {
    Recording::read(include_str!("tests/second.txt"))
        .replay("samba-debian-12")
        .await;
}

#[tokio::test]
async fn every_recorded_dialogue_in_smb1_goes_as_with_samba() {
    Recording::read(include_str!("tests/first.txt"))
        .replay("samba-smb1")
        .await;
}

/// What the personality's decoy reports of one recorded dialogue.
async fn hits_of(personality: &str, recording: &'static str, name: &str) -> Vec<Hit> {
    let mut stage = Stage::open(spec(embedded(personality).unwrap())).await;
    let recording = Recording::read(recording);
    let (_, lines) = recording.0.iter().find(|(known, _)| *known == name).unwrap();
    replay(stage.connect().await, lines).await.unwrap();
    stage.session().await
}

fn texts(hit: &Hit, field: Field) -> Vec<String> {
    match fact(hit, field) {
        Some(Value::Texts(texts)) => texts.iter().map(ToString::to_string).collect(),
        Some(Value::Text(text)) => vec![text.to_string()],
        other => panic!("{field:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_login_is_reported_with_names_and_its_response_is_hidden() {
    let hits = hits_of("samba-debian-12", include_str!("tests/second.txt"), "login v1").await;
    let expected = [
        Action::Connect,
        Action::Handshake,
        Action::Ntlm,
        Action::Payload,
        Action::SessionEnd,
    ];
    assert_eq!(actions(&hits), expected);
    assert_eq!(
        texts(&hits[1], Field::SmbDialects),
        ["2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"]
    );
    assert_eq!(
        texts(&hits[1], Field::SmbClientGuid),
        ["11111111-1111-1111-1111-111111111111"]
    );
    let login = &hits[2];
    for (field, value) in [
        (Field::UserName, "alice"),
        (Field::UserDomain, "CORP"),
        (Field::NtlmDomain, "CORP"),
        (Field::NtlmWorkstation, "WS1"),
        (Field::SourceDomain, "ws1"),
        (Field::NtlmTarget, "FILES03"),
        (Field::NtlmVersion, "NTLMv1"),
        (Field::NtlmClientVersion, "6.1.0"),
        (Field::CredentialKind, "hash"),
    ] {
        assert_eq!(texts(login, field), [value], "{field:?}");
    }
    let line = String::from_utf8(login.secret.as_ref().unwrap().bytes.to_vec()).unwrap();
    let (lm, nt) = ("44".repeat(24), "33".repeat(24));
    assert!(line.starts_with(&format!("alice::CORP:{lm}:{nt}:")), "{line}");
    assert!(line.ends_with(&texts(login, Field::NtlmServerChallenge)[0]), "{line}");
    let capture = hits.iter().find_map(|hit| hit.capture.as_ref()).unwrap();
    let hidden: Vec<_> = capture
        .secrets
        .iter()
        .map(|range| capture.kept[range.clone()].to_vec())
        .collect();
    // The session key too, for a password can be tried on it.
    assert_eq!(hidden.concat(), [&[0x44; 24][..], &[0x33; 24], &[b'K'; 16]].concat());
    // A digest of a bare response would do for guessing.
    assert!(fact(login, Field::NtlmResponseSha256).is_none());
}

#[tokio::test]
async fn a_password_that_smb1_sends_in_clear_is_a_password() {
    let hits = hits_of("samba-smb1", include_str!("tests/first.txt"), "1 login cleartext").await;
    let login = hits.iter().find(|hit| hit.action == Action::Credential).unwrap();
    assert_eq!(&*login.secret.as_ref().unwrap().bytes, b"hunter2");
    assert_eq!(texts(login, Field::CredentialKind), ["password"]);
    assert_eq!(texts(login, Field::SmbClientSystem), ["Unix Samba"]);
    let capture = hits.iter().find_map(|hit| hit.capture.as_ref()).unwrap();
    assert_eq!(
        capture.secrets.iter().map(|range| &capture.kept[range.clone()]).next(),
        Some(&b"hunter2"[..])
    );
}

#[tokio::test]
async fn a_null_session_is_let_in_by_samba_and_what_it_asks_for_is_told() {
    let hits = hits_of("samba-debian-12", include_str!("tests/second.txt"), "tree credits").await;
    let asked = hits.iter().find(|hit| hit.action == Action::Query).unwrap();
    assert_eq!(texts(asked, Field::SmbShare), ["aaaaa"]);
    assert!(!hits.iter().any(|hit| hit.action == Action::Ntlm));
}

/// Asks a Windows: one dialogue's first frames; gives the answers.
async fn ask(personality: &str, recording: &'static str, name: &str) -> Vec<Vec<u8>> {
    let stage = Stage::open(spec(embedded(personality).unwrap())).await;
    let recording = Recording::read(recording);
    let (_, lines) = recording.0.iter().find(|(known, _)| *known == name).unwrap();
    let mut client = stage.connect().await;
    let mut answers = Vec::new();
    for line in lines.iter().filter_map(|line| line.strip_prefix("> ")) {
        let session = answers.last().map(|answer: &Vec<u8>| hex(&answer[44..52]));
        let line = line.replace(&"SS".repeat(8), &session.unwrap_or_default());
        client.write_all(&bytes(&line)).await.unwrap();
        let Some(answer) = frame(&mut client).await else { break };
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn a_windows_without_smb1_hangs_up_on_it_and_denies_null_sessions() {
    assert!(
        ask("windows-server-2019", include_str!("tests/first.txt"), "smb1 nt12")
            .await
            .is_empty()
    );
    let answers = ask("windows-server-2019", include_str!("tests/second.txt"), "anon spnego").await;
    // The mechanisms of Windows: 120 bytes, so that contexts begin at 248.
    assert_eq!(&answers[0][4 + 64 + 56..4 + 64 + 64], b"\x80\0\x78\0\xf8\0\0\0");
    assert_eq!(&answers[2][12..16], &status::ACCESS_DENIED.to_le_bytes());
    let challenge = memchr::memmem::find(&answers[1], b"NTLMSSP\0").unwrap();
    assert_eq!(&answers[1][challenge + 48..challenge + 56], b"\x0a\0\x63\x45\0\0\0\x0f");
}

/// The names of a NetBIOS session: `*SMBSERVER` and `MABTafff`.
const NAMES: &[u8; 68] = b"\x20CKFDENECFDEFFCFGEFFCCACACACACACA\0\x20ENEBECFEGBGGGGGGCACACACACACACAAA\0";

#[tokio::test]
async fn a_second_netbios_session_on_a_connection_ends_it_as_with_samba() {
    for personality in ["samba-debian-12", "windows-server-2019"] {
        let mut stage = Stage::open(spec(embedded(personality).unwrap())).await;
        let request = [b"\x81\0\0\x44", &NAMES[..]].concat();
        let said = stage.talk(&request.repeat(50)).await;
        assert_eq!(said, b"\x82\0\0\0", "{personality}");
        let hits = stage.session().await;
        let told: Vec<_> = hits.iter().filter(|hit| hit.action == Action::Handshake).collect();
        let domains = told[0].facts.iter().filter(|(field, _)| *field == Field::SourceDomain);
        assert_eq!(domains.count(), 1, "{personality}");
    }
}

#[tokio::test]
async fn of_endless_dialects_some_are_told() {
    let mut stage = Stage::open(spec(embedded("samba-smb1").unwrap())).await;
    let dialects = b"\x02X\0".repeat(5000);
    let mut message = b"\xffSMBr\0\0\0\0\x18\x01\x40".to_vec();
    message.resize(32, 0);
    message.push(0);
    message.extend((dialects.len() as u16).to_le_bytes());
    message.extend(&dialects);
    let _ = stage.talk(&super::frame::wrap(&message)).await;
    let hits = stage.session().await;
    let told = hits.iter().find(|hit| hit.action == Action::Handshake).unwrap();
    assert_eq!(texts(told, Field::SmbDialects), vec!["X"; 64]);
}

#[test]
fn names_of_netbios_sessions_are_read() {
    let request = NAMES;
    assert_eq!(frame::calling_name(request).as_deref(), Some("MABTafff"));
    assert_eq!(frame::calling_name(&request[..40]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_as_messages_or_not(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        first in any::<bool>(),
    ) {
        let mut message = if first { v1::SIGNATURE } else { v2::SIGNATURE }.to_vec();
        message.extend(&bytes);
        if !first {
            message.splice(4..4, [64, 0]);
        }
        let _ = (frame::next(&bytes), frame::calling_name(&bytes));
        let _ = (v1::Header::read(&message), v1::dialects(&message), v1::echo(&message), v1::is_whole(&message));
        for unicode in [false, true] {
            let _ = (v1::SessionSetup::read(&message, unicode), v1::path(&message, 32, unicode));
        }
        let _ = (v2::Negotiate::read(&message), v2::token(&message), v2::path(&message));
        let hidden = v1::secret_in(&message).into_iter().chain(v1::unread_chain(&message)).chain(v1::share_password(&message, v1::HEADER));
        for range in hidden.chain(v1::share_password(&message, bytes.len())) {
            prop_assert!(range.start <= range.end && range.end <= message.len());
        }
        for (_, range) in v2::parts(&message).unwrap_or_default() {
            prop_assert!(range.end <= message.len());
        }
    }
}
