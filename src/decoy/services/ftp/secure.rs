//! AUTH TLS (RFC 4217): from plaintext to TLS within a session, where a personality has it.
//!
//! vsftpd reads no further than the line of a command: what was sent ahead in plaintext is taken for the handshake, which
//! it makes fail.

use std::collections::HashMap;

use super::{Command, Look, say};
use crate::decoy::session::{Session, SessionError};
use crate::decoy::tls::refusal;

/// `[look.tls]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upgrade {
    /// What AUTH names that leads to TLS, upper case.
    names: Vec<String>,
    /// Said before the handshake.
    go_ahead: String,
    /// Said in plaintext when it fails, with `{{arg}}` as OpenSSL words the reason; empty: nothing.
    #[serde(default)]
    failed: String,
    /// Answers within TLS, which go before the others.
    #[serde(default)]
    pub(super) answers: HashMap<String, String>,
}

impl Look {
    /// Whether this AUTH names TLS, and no more.
    pub(super) fn leads_to_tls(&self, command: &Command<'_>) -> bool {
        let is_it = |name: &String| name.as_bytes().eq_ignore_ascii_case(command.argument.trim_ascii());
        self.tls.as_ref().is_some_and(|tls| tls.names.iter().any(is_it))
    }
}

/// Goes on with the handshake.
pub(super) async fn begin(session: &mut Session, look: &Look) -> Result<(), SessionError> {
    let Some(tls) = &look.tls else { return Ok(()) };
    say(session, &tls.go_ahead, &Command::default()).await?;
    let shaken = Box::pin(session.start_tls()).await;
    if let Err(SessionError::Tls(why)) = &shaken {
        let words = Command {
            argument: refusal::openssl_words(why).as_bytes(),
            ..Command::default()
        };
        say(session, &tls.failed, &words).await?;
    }
    shaken
}

#[cfg(test)]
mod tests {
    use trapline_schemas::{Action, Field, Value};

    use crate::decoy::personality::embedded;
    use crate::decoy::testing::{Stage, fact, spec};
    use crate::decoy::tls::testing::upgrade;

    fn text() -> String {
        let text = embedded("vsftpd-3.0.5-tls").unwrap();
        text.replace("failed_delay_ms = ", "failed_delay_ms = 0 #")
    }

    /// As captured from vsftpd 3.0.3 with `ssl_enable=YES`.
    #[tokio::test]
    async fn within_tls_vsftpd_answers_as_3_0() {
        let mut stage = Stage::open(spec(&text())).await;
        let within = b"PBSZ 0\r\nPROT P\r\nPROT S\r\nPROT\r\nAUTH TLS\r\nUSER bob\r\nPASS hunter2\r\nQUIT\r\n";
        let before = b"PROT P\r\nAUTH FOO\r\nauth tls\r\n";
        let (plain, said) = upgrade(&stage, before, b"234 Proceed with negotiation.\r\n", within).await;
        assert_eq!(
            String::from_utf8_lossy(&plain),
            "220 (vsFTPd 3.0.5)\r\n503 PROT needs a secure connection.\r\n504 Unknown AUTH type.\r\n\
             234 Proceed with negotiation.\r\n"
        );
        assert_eq!(
            String::from_utf8_lossy(&said),
            "200 PBSZ set to 0.\r\n200 PROT now Private.\r\n536 PROT not supported.\r\n504 PROT not recognized.\r\n\
             530 Please login with USER and PASS.\r\n331 Please specify the password.\r\n530 Login incorrect.\r\n\
             221 Goodbye.\r\n"
        );
        let hits = stage.session().await;
        assert!(
            hits.iter()
                .any(|hit| hit.action == Action::Handshake && fact(hit, Field::TlsJa4).is_some())
        );
        let login = hits.iter().find(|hit| hit.action == Action::Credential).unwrap();
        assert_eq!(fact(login, Field::UserName), Some(&"bob".into()));
        assert_eq!(
            fact(hits.last().unwrap(), Field::TlsEstablished),
            Some(&Value::Bool(true))
        );
    }

    #[tokio::test]
    async fn what_is_no_handshake_is_told_in_the_words_of_openssl() {
        for (sent, expected) in [
            (
                &b"NOOP\r\n"[..],
                &b"500 OOPS: error:0A00010B:SSL routines::wrong version number\r\n"[..],
            ),
            (
                b"\x17\x03\x03\0\x05hello",
                b"\x15\x03\x03\0\x02\x02\x0a500 OOPS: error:0A0000F4:SSL routines::unexpected message\r\n",
            ),
        ] {
            let stage = Stage::open(spec(&text())).await;
            let said = stage.talk(&[b"AUTH TLS\r\n", sent].concat()).await;
            let expected = [b"220 (vsFTPd 3.0.5)\r\n234 Proceed with negotiation.\r\n", expected].concat();
            assert_eq!(said.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }
}
