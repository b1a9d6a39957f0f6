//! What an sshd says to packets out of the ordinary. Every expected answer is that of a live OpenSSH 9.2p1.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trapline_schemas::Action;

use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, spec};

const IDENT: &[u8] = b"SSH-2.0-x\r\n";
/// `SSH_MSG_DISCONNECT` for a protocol error.
const DISCONNECT: &[u8] = &[1, 0, 0, 0, 2];
const IGNORE: &[u8] = &[2, 0, 0, 0, 0];

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap().to_be_bytes()
}

fn text(text: &str) -> Vec<u8> {
    [&length(text.len())[..], text.as_bytes()].concat()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 16 - (5 + payload.len()) % 8;
    padded(payload, padding, padding)
}

fn padded(payload: &[u8], padding: usize, told: usize) -> Vec<u8> {
    let told = [u8::try_from(told).unwrap()];
    let head = length(1 + payload.len() + padding);
    [&head[..], &told, payload, &vec![0; padding]].concat()
}

fn kexinit(kex: &str, after: &[u8]) -> Vec<u8> {
    let mut payload = [&[20][..], &[7; 16], &text(kex)].concat();
    let rest = [
        "ssh-ed25519",
        "aes128-ctr",
        "aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ];
    payload.extend(rest.into_iter().flat_map(text));
    payload.extend_from_slice(&[0; 5]);
    payload.extend_from_slice(after);
    payload
}

fn plain() -> Vec<u8> {
    packet(&kexinit("curve25519-sha256", &[]))
}

fn strict() -> Vec<u8> {
    packet(&kexinit("curve25519-sha256,kex-strict-c-v00@openssh.com", &[]))
}

fn disconnect(words: &str) -> Vec<u8> {
    [DISCONNECT, &text(words), &[0; 4]].concat()
}

fn unimplemented(sequence: u8) -> Vec<u8> {
    vec![3, 0, 0, 0, sequence]
}

/// The payloads of packets.
fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        found.push(rest[1..length - usize::from(rest[0])].to_vec());
        bytes = &rest[length..];
    }
    found
}

/// What the server says to `packets` after its KEXINIT.
async fn answers(packets: &[u8]) -> Vec<Vec<u8>> {
    let stage = Stage::open(spec(embedded("openssh-debian-12").unwrap())).await;
    let said = stage.talk(&[IDENT, packets].concat()).await;
    let after_ident = said.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut payloads = payloads(&said[after_ident..]);
    assert_eq!(payloads.remove(0)[0], 20, "a KEXINIT comes first");
    payloads
}

#[tokio::test]
async fn what_cannot_be_is_told_before_it_hangs_up() {
    for (packets, words) in [
        (packet(&[0, 1]), "Invalid ssh2 packet type: 0"),
        (packet(&[192, 1]), "Invalid ssh2 packet type: 192"),
        ([plain(), packet(&[200])].concat(), "Invalid ssh2 packet type: 200"),
        (padded(&[20; 10], 9, 1), "Corrupted padlen 1 on input."),
    ] {
        assert_eq!(answers(&packets).await, [disconnect(words)], "{words}");
    }
}

#[tokio::test]
async fn where_both_sides_are_strict_order_is_kept() {
    for (packets, words) in [
        (
            [packet(IGNORE), strict()].concat(),
            "strict KEX violation: KEXINIT was not the first packet",
        ),
        (
            [strict(), strict()].concat(),
            "strict KEX violation: unexpected packet type 20 (seqnr 1)",
        ),
        (
            [strict(), packet(IGNORE)].concat(),
            "strict KEX violation: unexpected packet type 2 (seqnr 1)",
        ),
    ] {
        assert_eq!(answers(&packets).await, [disconnect(words)], "{words}");
    }
    assert!(
        answers(&[packet(IGNORE), plain(), packet(IGNORE)].concat())
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_not_for_now_is_unimplemented_by_its_number() {
    let packets = [packet(&[5, 0]), packet(IGNORE), plain(), packet(&[21]), plain()].concat();
    let expected = [unimplemented(0), unimplemented(3), unimplemented(4)];
    assert_eq!(answers(&packets).await, expected);
}

#[tokio::test]
async fn a_kexinit_with_more_behind_it_ends_the_session_and_is_still_known() {
    let mut stage = Stage::open(spec(embedded("openssh-debian-12").unwrap())).await;
    stage
        .talk(&[IDENT, &packet(&kexinit("curve25519-sha256", &[0; 4]))].concat())
        .await;
    let hits = stage.session().await;
    let expected = [Action::Connect, Action::Handshake, Action::Payload, Action::SessionEnd];
    assert_eq!(actions(&hits), expected);
    assert!(hits[1].facts.iter().any(|(field, _)| field.name().contains("hassh")));
}

#[tokio::test]
async fn after_a_bad_identification_the_line_end_is_lost_in_the_reset() {
    let stage = Stage::open(spec(embedded("openssh-debian-12").unwrap())).await;
    let mut client = stage.connect().await;
    let mut ident = [0; 1];
    while ident != *b"\n" {
        client.read_exact(&mut ident).await.unwrap();
    }
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let end = client.read_to_end(&mut said).await;
    assert!(end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert_eq!(said, b"Invalid SSH identification string.");
}
