//! `tftp`: a server that has no file.
//!
//! In: one datagram. Out: what it asks for, and that it is not there. An answer comes from a new port, which is how a
//! server names a transfer, and is not longer than the request: to the shortest there is none.
//!
//! Source: RFC 1350 sections 4 and 5, RFC 2347; texts and codes of tftpd-hpa 5.2.

use trapline_schemas::{Field, text};

use crate::decoy::personality;
use crate::decoy::services::{Asked, FromPort, Service, Speak, UdpAnswer};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "tftp",
    personality: "tftpd-hpa-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Datagram(answer),
};

/// `[look]` of a `tftp` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Whether its answers arrive.
    #[serde(default)]
    answers: bool,
}

/// Longest name of a file or folder, bytes (`NAME_MAX` of Linux).
const NAME_BYTES_MAX: usize = 255;

/// Longest path, bytes (`PATH_MAX` of Linux, less its end).
const PATH_BYTES_MAX: usize = 4095;

/// Codes of errors (RFC 1350 section 5).
const NOT_DEFINED: u8 = 0;
const NOT_FOUND: u8 = 1;
const ILLEGAL: u8 = 4;

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    let Some(request) = Request::read(asked.bytes) else {
        return UdpAnswer::default();
    };
    let look: &Look = asked.personality.look();
    UdpAnswer {
        reply: look.answers.then(|| request.refuse()),
        from: FromPort::New,
        ..request.told()
    }
}

/// A request to read or write a file.
struct Request<'m> {
    operation: &'static str,
    name: &'m [u8],
    /// Empty if it is missing.
    mode: &'m [u8],
}

impl<'m> Request<'m> {
    fn read(message: &'m [u8]) -> Option<Self> {
        let [0, code @ (1 | 2), rest @ ..] = message else {
            return None;
        };
        let mut parts = rest.split(|byte| *byte == 0);
        Some(Self {
            operation: if *code == 1 { "read" } else { "write" },
            name: parts.next().unwrap_or_default(),
            mode: parts.next().unwrap_or_default(),
        })
    }

    fn told(&self) -> UdpAnswer {
        let mut answer = UdpAnswer::default();
        let mode = self.mode.to_ascii_lowercase();
        answer.facts.push((Field::FileName, text::clean(self.name).into()));
        answer.facts.push((Field::TftpOperation, self.operation.into()));
        if !mode.is_empty() {
            answer.facts.push((Field::TftpMode, text::clean(&mode).into()));
        }
        let asked = [self.operation.as_bytes(), b" ", self.name].concat();
        answer.facts.push((Field::Commands, vec![text::clean(&asked)].into()));
        answer
    }

    /// The error that it gets.
    fn refuse(&self) -> Vec<u8> {
        let (code, text) = self.error();
        [&[0, 5, 0, code], text.as_bytes(), &[0]].concat()
    }

    fn error(&self) -> (u8, &'static str) {
        let mut names = self.name.split(|byte| *byte == b'/');
        let is_long = self.name.len() > PATH_BYTES_MAX || names.clone().any(|name| name.len() > NAME_BYTES_MAX);
        let is_folder = names.all(|name| matches!(name, b"" | b"." | b".."));
        match self.mode.to_ascii_lowercase().as_slice() {
            b"" => (ILLEGAL, "Missing mode"),
            _ if self.name.is_empty() => (ILLEGAL, "Missing mode"),
            b"netascii" | b"octet" if is_long => (NOT_DEFINED, "File name too long"),
            b"netascii" | b"octet" if is_folder => (NOT_DEFINED, "Is a directory"),
            b"netascii" | b"octet" => (NOT_FOUND, "File not found"),
            _ => (ILLEGAL, "Unknown mode"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::Value;

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::personality;

    fn asked(bytes: &[u8], look: &str) -> UdpAnswer {
        let [peer, local] = ["192.0.2.1:4000", "192.0.2.2:69"].map(|address| address.parse().unwrap());
        answer(&Asked {
            bytes,
            peer,
            local,
            personality: &personality(embedded(look).unwrap()),
        })
    }

    #[test]
    fn the_file_and_the_mode_of_a_request_are_facts() {
        let answer = asked(b"\0\x02boot.cfg\0OCTET\0blksize\x001428\0", "tftp-silent");
        assert!(answer.reply.is_none());
        let expected = [
            (Field::FileName, Value::from("boot.cfg")),
            (Field::TftpOperation, "write".into()),
            (Field::TftpMode, "octet".into()),
            (Field::Commands, Value::Texts(vec!["write boot.cfg".into()])),
        ];
        assert_eq!(answer.facts, expected);
    }

    /// What a live tftpd-hpa 5.2 of Debian 12 answered, each from a new port.
    #[test]
    fn errors_are_those_of_tftpd_hpa() {
        let long = [&b"\0\x01"[..], &[b'a'; 600], b"\0octet\0"].concat();
        for (sent, said) in [
            (&b"\0\x01nope\0octet\0"[..], &b"\0\x05\0\x01File not found\0"[..]),
            (b"\0\x01nope\0NetASCII\0tsize\x000\0", b"\0\x05\0\x01File not found\0"),
            (b"\0\x01../../etc/passwd\0octet\0", b"\0\x05\0\x01File not found\0"),
            (b"\0\x02new\0octet\0", b"\0\x05\0\x01File not found\0"),
            (b"\0\x01nope\0mail\0", b"\0\x05\0\x04Unknown mode\0"),
            (b"\0\x01nope\0", b"\0\x05\0\x04Missing mode\0"),
            (b"\0\x01nope", b"\0\x05\0\x04Missing mode\0"),
            (b"\0\x01\0octet\0", b"\0\x05\0\x04Missing mode\0"),
            (b"\0\x01.\0octet\0", b"\0\x05\0\0Is a directory\0"),
            (&long, b"\0\x05\0\0File name too long\0"),
        ] {
            let answer = asked(sent, "tftpd-hpa-debian-12");
            assert_eq!(answer.reply.as_deref(), Some(said), "{}", sent.escape_ascii());
            assert_eq!(answer.from, FromPort::New);
        }
    }

    #[test]
    fn what_is_no_request_tells_nothing_and_gets_silence() {
        for other in [
            &b"\0\x03\0\x01data"[..],
            b"\0\x05\0\x01x\0",
            b"",
            b"\0",
            b"\0\x06blksize\x00512\0",
        ] {
            let answer = asked(other, "tftpd-hpa-debian-12");
            assert!(
                answer.facts.is_empty() && answer.reply.is_none(),
                "{}",
                other.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_error_or_silence(bytes in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..60)) {
            let reply = asked(&bytes, "tftpd-hpa-debian-12").reply;
            prop_assert!(reply.is_none_or(|reply| reply.starts_with(b"\0\x05\0") && reply.ends_with(b"\0")));
        }
    }
}
