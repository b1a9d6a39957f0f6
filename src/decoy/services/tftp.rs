//! `tftp`: records who asks for which file.
//!
//! In: one datagram. Out: what it asks for. It is silent: a real server answers from a new port, and an answer from 69
//! would tell that this is none.
//!
//! Source: RFC 1350 section 5.

use trapline_schemas::{Field, text};

use crate::decoy::personality;
use crate::decoy::services::{Asked, Service, Speak, UdpAnswer};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "tftp",
    personality: "tftp-silent",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Datagram(answer),
};

/// `[look]` of a `tftp` personality: nothing to choose.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {}

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    told(asked.bytes)
}

fn told(request: &[u8]) -> UdpAnswer {
    let mut answer = UdpAnswer::default();
    let [0, code @ (1 | 2), rest @ ..] = request else {
        return answer;
    };
    let operation = if *code == 1 { "read" } else { "write" };
    let mut parts = rest.split(|byte| *byte == 0);
    let (name, mode) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    answer.facts.push((Field::FileName, text::clean(name).into()));
    answer.facts.push((Field::TftpOperation, operation.into()));
    if !mode.is_empty() {
        answer
            .facts
            .push((Field::TftpMode, text::clean(&mode.to_ascii_lowercase()).into()));
    }
    let asked = [operation.as_bytes(), b" ", name].concat();
    answer.facts.push((Field::Commands, vec![text::clean(&asked)].into()));
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::Value;

    use super::*;

    #[test]
    fn the_file_and_the_mode_of_a_request_are_facts() {
        let answer = told(b"\0\x02boot.cfg\0OCTET\0blksize\x001428\0");
        assert!(answer.reply.is_none());
        let expected = [
            (Field::FileName, Value::from("boot.cfg")),
            (Field::TftpOperation, "write".into()),
            (Field::TftpMode, "octet".into()),
            (Field::Commands, Value::Texts(vec!["write boot.cfg".into()])),
        ];
        assert_eq!(answer.facts, expected);
    }

    #[test]
    fn what_is_no_request_tells_nothing() {
        for other in [&b"\0\x03\0\x01data"[..], b"\0\x05\0\x01x\0", b"", b"\0"] {
            assert!(told(other).facts.is_empty(), "{}", other.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_silence(bytes in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..60)) {
            prop_assert!(told(&bytes).reply.is_none());
        }
    }
}
