//! The connection below a conversation: bytes in, replies out; mails as DATA has them.

use tokio::io::AsyncReadExt;
use trapline_sink::dial::Stream;

use crate::reply::{Replies, Reply};

/// Why there is no answer.
pub(super) enum Unread {
    Garbled(String),
    Broken(std::io::Error),
}

/// Bytes in, replies out.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) replies: Replies,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            replies: Replies::default(),
        }
    }

    /// Cancel: safe; bytes that came are kept.
    pub(super) async fn reply(&mut self) -> Result<Reply, Unread> {
        let mut chunk = [0; 2048];
        loop {
            match self.replies.next() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(garbled) => return Err(Unread::Garbled(garbled.to_string())),
            }
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Err(Unread::Broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.replies.push(chunk.get(..count).unwrap_or_default()),
                Err(error) => return Err(Unread::Broken(error)),
            }
        }
    }

    /// Our end of the connection as EHLO has it (RFC 5321 section 4.1.3): always valid, and true.
    pub(super) fn literal(&self) -> String {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        match tcp.local_addr().map(|address| address.ip().to_canonical()) {
            Ok(std::net::IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
            Ok(ip) => format!("[{ip}]"),
            Err(_) => "[127.0.0.1]".to_owned(),
        }
    }
}

/// A mail as DATA has it (RFC 5321 section 4.5.2): CRLF alone as line end, dots at the start of a line doubled, and the
/// dot that ends it. A lone CR or LF, which two servers may read in two ways, becomes a line end here.
pub(super) fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 32 + 8);
    let mut at_start = true;
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' {
                    bytes.next_if_eq(&b'\n');
                }
                out.extend_from_slice(b"\r\n");
                at_start = true;
                continue;
            }
            b'.' if at_start => out.extend_from_slice(b".."),
            _ => out.push(byte),
        }
        at_start = false;
    }
    if !at_start {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mail_ends_with_a_lone_dot_and_holds_none() {
        assert_eq!(stuffed(b"a\r\n.\r\nb"), b"a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(stuffed(b".hidden\r\n"), b"..hidden\r\n.\r\n");
        assert_eq!(stuffed(b""), b".\r\n");
    }

    #[test]
    fn no_lone_line_end_smuggles_a_second_mail_in() {
        for smuggled in [
            &b"a\n.\nMAIL FROM:<x@y>\r\n"[..],
            b"a\r.\rMAIL",
            b"a\r\n.\rMAIL",
            b"a\n.\r\nMAIL",
            b"a\r\r\n.\r\n",
        ] {
            let sent = stuffed(smuggled);
            let (_, body) = sent.split_last_chunk::<3>().map(|(body, _)| ((), body)).unwrap();
            let lines = body.split(|byte| *byte == b'\n');
            for line in lines {
                assert_ne!(line.strip_suffix(b"\r").unwrap_or(line), b".");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_mail_come_out_as_they_went_in_and_cannot_end_it(mail in prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200)
        ) {
            let sent = stuffed(&mail);
            let text = sent.strip_suffix(b".\r\n").unwrap();
            prop_assert!(text.is_empty() || text.ends_with(b"\r\n"));
            for (at, byte) in text.iter().enumerate() {
                if *byte == b'\n' { prop_assert!(at > 0 && text[at - 1] == b'\r'); }
                if *byte == b'\r' { prop_assert_eq!(text.get(at + 1), Some(&b'\n')); }
            }
            let whole = sent.windows(5).filter(|window| *window == b"\r\n.\r\n").count();
            prop_assert_eq!(whole, usize::from(!text.is_empty()));
        }
    }
}
