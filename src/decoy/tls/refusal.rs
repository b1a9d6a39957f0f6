//! What a real server says to a first message that it does not go on with.
//!
//! In: what the message is, and the oldest version that the decoy speaks. Out: an alert, or nothing. The rows of OpenSSL
//! are what nginx 1.22.1, Apache 2.4, Postfix 3.7.11 and `openssl s_server` on OpenSSL 3.0 of Debian 12 sent, those of
//! GnuTLS what Exim 4.96 did; what is not here is answered by the TLS library, whose alerts are the same.

use super::hello::{Fault, Read};

/// Whose TLS a decoy claims to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stack {
    /// OpenSSL 3.0 at security level 2, as Debian and Ubuntu ship it.
    #[default]
    OpenSsl,
    /// The same, told by its server that TLS 1.2 is the oldest version, as PostgreSQL tells it.
    #[serde(rename = "openssl-min")]
    OpenSslMin,
    /// GnuTLS 3.7 with TLS 1.2 as the oldest version.
    GnuTls,
    /// One whose server closes before it sends the alert, as Dovecot's does.
    Mute,
    /// Windows. It says nothing and closes.
    Schannel,
}

/// Alerts (RFC 8446 section 6).
const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;

/// The oldest version that is spoken.
const TLS_1_2: u16 = 0x0303;

/// Reasons to refuse, for the event.
const TOO_OLD: &str = "the client speaks only versions that are too old";
const NO_HELLO: &str = "the first message is no hello";
const TOO_LONG: &str = "the first record is too long";
const MALFORMED: &str = "the hello is malformed";
const NO_TLS: &str = "the peer spoke no TLS";

/// What OpenSSL 3.0 calls a reason to refuse, for servers that say it on. Of what is refused later it is the commonest.
pub(crate) fn openssl_words(why: &str) -> &'static str {
    match why {
        TOO_OLD => "error:0A000102:SSL routines::unsupported protocol",
        NO_HELLO => "error:0A0000F4:SSL routines::unexpected message",
        TOO_LONG => "error:0A0000C6:SSL routines::packet length too long",
        MALFORMED => "error:0A00009F:SSL routines::length mismatch",
        NO_TLS => "error:0A00010B:SSL routines::wrong version number",
        _ => "error:0A0000C1:SSL routines::no shared cipher",
    }
}

/// What is said to a first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The handshake goes on.
    Fine,
    /// It ends with these bytes, which may be none.
    Refused {
        /// Why, for the event.
        why: &'static str,
        /// What the peer is told.
        said: Vec<u8>,
        /// Whether no more was read than the head of a record, so that the kernel resets a peer that sent more.
        unread: bool,
    },
}

/// Judges a first message that is whole.
pub(crate) fn judge(message: &Read, stack: Stack) -> Verdict {
    let (why, alert) = match message {
        Read::Hello(hello) if hello.highest() >= TLS_1_2 => return Verdict::Fine,
        Read::Hello(hello) => (TOO_OLD, too_old(hello.highest(), stack)),
        Read::Old(hello) => (
            "the client's hello is of SSL 2.0",
            match hello.version {
                TLS_1_2.. => (HANDSHAKE_FAILURE, TLS_1_2),
                version => too_old(version, stack),
            },
        ),
        Read::Malformed(Fault::Unexpected) => (NO_HELLO, (UNEXPECTED_MESSAGE, TLS_1_2)),
        Read::Malformed(Fault::Overflow) => (TOO_LONG, (RECORD_OVERFLOW, TLS_1_2)),
        Read::Malformed(Fault::Decode) => (MALFORMED, (DECODE_ERROR, TLS_1_2)),
        Read::More | Read::Other => (
            NO_TLS,
            match stack {
                Stack::GnuTls => (UNEXPECTED_MESSAGE, TLS_1_2),
                _ => (0, 0),
            },
        ),
    };
    let said = match (stack, alert) {
        (_, (0, _)) | (Stack::Schannel | Stack::Mute, _) => Vec::new(),
        (_, (description, version)) => record(description, version),
    };
    let unread = matches!(stack, Stack::OpenSsl | Stack::OpenSslMin)
        && matches!(message, Read::More | Read::Other | Read::Malformed(Fault::Overflow));
    Verdict::Refused { why, said, unread }
}

/// OpenSSL 3.0 has no signature for TLS 1.0 and 1.1 at its level of security, which it calls an internal error.
fn too_old(version: u16, stack: Stack) -> (u8, u16) {
    match version {
        _ if stack == Stack::GnuTls => (PROTOCOL_VERSION, TLS_1_2),
        0x0301 | 0x0302 if stack == Stack::OpenSslMin => (PROTOCOL_VERSION, version),
        0x0301 | 0x0302 => (INTERNAL_ERROR, version),
        0x0300 => (HANDSHAKE_FAILURE, version),
        _ => (PROTOCOL_VERSION, TLS_1_2),
    }
}

/// A fatal alert (RFC 8446 section 6).
fn record(description: u8, version: u16) -> Vec<u8> {
    let [major, minor] = version.to_be_bytes();
    vec![21, major, minor, 0, 2, 2, description]
}
