//! Messages of the specification and of real clients.

use proptest::prelude::*;

use super::*;
use crate::decoy::testing::install;

/// NTLM as a member of a domain says it.
fn names() -> Names {
    let look: Look = toml::from_str("version = [10, 0, 17763]\nmember_of = 'domain'").unwrap();
    Names::new(&look, &install())
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len() / 2).map(|at| &hex[at * 2..at * 2 + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// MS-NLMP 4.2.4.3: user `User` of `Domain` at `COMPUTER`, password `Password`.
const SPECIFIED: &str = "4e544c4d53535000030000001800180\
    06c00000054005400840000000c000c00480000000800080054000000100010005c000000100010\
    00d8000000358288e20501280a0000000f44006f006d00610069006e00550073006500720043004f004d005000550054004500520\
    086c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa68cd0ab851e51c96aabc927bebef6a1c01010000000000000000000000\
    000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000\
    000c5dad2544fc9799094ce1ce90bc9d03e";

#[test]
fn the_response_of_the_specification_is_read_and_is_a_line_for_crackers() {
    let message = bytes(SPECIFIED);
    let response = Response::read(&message).unwrap();
    assert_eq!(
        (&*response.user, &*response.domain, &*response.workstation),
        ("User", "Domain", "COMPUTER")
    );
    assert_eq!(response.version, "5.1.2600");
    let challenge = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let line = response.crackable(&challenge);
    assert!(
        line.starts_with("User::Domain:0123456789abcdef:68cd0ab851e51c96aabc927bebef6a1c:0101000000"),
        "{line}"
    );
    let hidden: Vec<_> = response.secrets.iter().map(|range| range.len()).collect();
    assert_eq!(hidden, [24, 84]);
    let sealed: Vec<_> = response
        .sealed
        .iter()
        .map(|range| message[range.clone()].to_vec())
        .collect();
    assert_eq!(sealed, [bytes("c5dad2544fc9799094ce1ce90bc9d03e")]);
    assert!(!response.is_of_empty_password(&challenge));
}

#[test]
fn an_empty_password_is_known_by_its_response() {
    // Computed apart, by MS-NLMP 3.3.2: user guest, no domain, no password, challenge of 11s.
    let response = Response::bare("guest".into(), String::new(), &[], &bytes(EMPTY_PASSWORD));
    assert!(response.is_of_empty_password(&[0x11; 8]));
    assert!(!response.is_of_empty_password(&[0x12; 8]));
}

const EMPTY_PASSWORD: &str =
    "8799564abec3ac04e8204190b4873b4d0101000000000000010101010101010122222222222222220000000000000000";

#[test]
fn a_challenge_names_the_install_and_is_new_each_time() {
    let hello = bytes("4e544c4d5353500001000000978208e2000000000000000000000000000000000a0063450000000f");
    let challenge = |hello: &[u8]| match Acceptor::new(names()).step(hello) {
        Step::Continue(reply) => reply,
        other => panic!("{other:?}"),
    };
    let (one, other) = (challenge(&hello), challenge(&hello));
    assert_ne!(one[24..32], other[24..32]);
    // Flags as a Windows of a domain gives them, and its build.
    assert_eq!(one[20..24], [0x15, 0x82, 0x89, 0xe2]);
    assert_eq!(one[48..56], [10, 0, 0x63, 0x45, 0, 0, 0, 15]);
    let told = decode(&one[56..], true);
    for name in ["CORP", "FILES03", "corp.local", "files03.corp.local"] {
        assert!(told.contains(name), "{name}: {told:?}");
    }
}

#[test]
fn a_client_that_prefers_kerberos_is_told_that_there_is_ntlm() {
    let kerberos_first = bytes(
        "602906062b0601050502a01f301da01b301906092a864886f71201020206\
        0a2b06010401823702020aa200",
    );
    let mut acceptor = Acceptor::new(names());
    let Step::Continue(reply) = acceptor.step(&kerberos_first) else {
        panic!("it goes on");
    };
    assert_eq!(reply, bytes("a1153013a0030a0103a10c060a2b06010401823702020a"));
    assert!(matches!(acceptor.step(b"junk"), Step::Invalid));
}

/// A first message that asks for the names of the server.
const HELLO: &str = "4e544c4d53535000010000000582080000000000000000000000000000000000";

proptest! {
    #[test]
    fn any_bytes_are_a_token_or_none(noise in proptest::collection::vec(any::<u8>(), 0..300), kind in 1u8..=3) {
        let mut message = SIGNATURE.to_vec();
        message.extend([kind, 0, 0, 0]);
        message.extend(&noise);
        for token in [&noise, &message] {
            let mut acceptor = Acceptor::new(names());
            prop_assert!(matches!(acceptor.step(&bytes(HELLO)), Step::Continue(_)));
            if let Step::Attempt(attempt) = acceptor.step(token) {
                let hidden = attempt.secrets.iter().chain(&attempt.sealed);
                prop_assert!(hidden.map(|range| range.end).all(|end| end <= token.len()));
                let _ = (attempt.facts(), attempt.has_empty_password());
            }
            let _ = spnego::unwrap(token);
        }
    }

    #[test]
    fn any_bytes_in_a_good_token_are_read_within_it(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in 0usize..300,
    ) {
        let mut token = spnego::carry(&bytes(SPECIFIED));
        for (place, byte) in changes {
            let place = place.index(token.len());
            token[place] = byte;
        }
        token.truncate(cut.max(20));
        let mut acceptor = Acceptor::new(names());
        prop_assert!(matches!(acceptor.step(&bytes(HELLO)), Step::Continue(_)));
        if let Step::Attempt(attempt) = acceptor.step(&token) {
            let hidden = attempt.secrets.iter().chain(&attempt.sealed);
            prop_assert!(hidden.map(|range| range.end).all(|end| end <= token.len()));
            let _ = (attempt.facts(), attempt.has_empty_password(), attempt.is_coherent());
        }
    }

    #[test]
    fn any_bytes_wrapped_come_out_again(message in proptest::collection::vec(any::<u8>(), 1..70_000)) {
        let wrapped = spnego::carry(&message);
        let unwrapped = spnego::unwrap(&wrapped).unwrap();
        prop_assert_eq!(&wrapped[unwrapped.token.unwrap()], &message[..]);
    }
}
