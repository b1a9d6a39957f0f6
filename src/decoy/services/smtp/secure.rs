//! STARTTLS (RFC 3207): from plaintext to TLS within a session.
//!
//! A handshake that fails ends the session, as it does with both servers. What was sent ahead of one is dropped, as both
//! do since CVE-2011-0411; it stays in the capture.

use super::look::Manner;
use super::{Kind, Line, Mail, Next, Talk, Words};
use crate::decoy::session::SessionError;

/// What Postfix hears before STARTTLS where it insists on it: what it calls commands and are not among those below.
const BEFORE_TLS: [&[u8]; 8] = [b"AUTH", b"MAIL", b"RCPT", b"DATA", b"BDAT", b"RSET", b"VRFY", b"ETRN"];

impl<'a> Talk<'a> {
    /// Answers STARTTLS. What it leads to is told with the client's hello, and not as a command.
    pub(super) async fn start_tls(&mut self, line: &Line, words: &Words<'_>) -> Result<Next, SessionError> {
        if let Some((kind, refusal)) = self.refuse_tls() {
            return self.plainly(line, false, kind, refusal, words).await;
        }
        self.say(&self.look.says.go_ahead, words).await?;
        self.hide_rest();
        self.session.drop_input();
        self.session.start_tls().await?;
        self.mail = Mail::default();
        self.forget_firsts();
        Ok(Next::Line)
    }

    /// Whether TLS may follow.
    pub(super) fn offers_tls(&self) -> bool {
        self.session.has_tls() && !self.session.is_secure()
    }

    fn refuse_tls(&mut self) -> Option<(Kind, &'a str)> {
        let says = &self.look.says;
        match self.look.manner {
            _ if !self.session.has_tls() => Some((Kind::Wrong, &says.starttls)),
            Manner::Postfix if self.session.is_secure() => Some((Kind::Wrong, &says.starttls_again)),
            Manner::Exim if !self.offered_tls => Some((Kind::Wrong, &says.starttls)),
            // An offer from before TLS still stands.
            Manner::Exim if self.session.is_secure() => {
                self.barred = true;
                Some((Kind::Good, &says.starttls_again))
            }
            _ => None,
        }
    }

    /// What a command is refused with because of what came before it, or did not.
    pub(super) fn bar(&self, verb: &[u8]) -> Option<(Kind, &'a str)> {
        let says = &self.look.says;
        if self.barred && verb != b"QUIT" {
            return Some((Kind::Good, &says.barred));
        }
        let must = !says.must_encrypt.is_empty() && self.offers_tls() && BEFORE_TLS.contains(&verb);
        must.then_some((Kind::Wrong, &says.must_encrypt))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use trapline_schemas::{Action, Field, Value};

    use super::super::Look;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::{Stage, actions, fact, personality, spec};
    use crate::decoy::tls::testing::upgrade;
    use crate::roles::Hit;

    const ALREADY: &str = "554 5.5.1 Error: TLS already active\r\n";
    const MUST: &str = "530 5.7.0 Must issue a STARTTLS command first\r\n";

    /// What was said before and within TLS, the greeting left out, and the hits.
    async fn said(name: &str, before: &str, within: &str) -> (String, String, Vec<Hit>) {
        let text = embedded(name).unwrap().replace("delay_ms = 2", "delay_ms = 0 #");
        let personality = personality(&text);
        let go_ahead = personality.look::<Look>().says.go_ahead.as_bytes();
        let mut stage = Stage::open(spec(&text)).await;
        let (plain, secure) = upgrade(&stage, before.as_bytes(), go_ahead, within.as_bytes()).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let plain = text(plain).split_once("\r\n").unwrap().1.to_owned();
        (plain, text(secure), stage.session().await)
    }

    /// As captured from Postfix 3.7.11 and Exim 4.96: both forget the dialogue, and do not offer TLS again.
    #[tokio::test]
    async fn within_tls_the_dialogue_begins_anew_as_with_the_real_servers() {
        for (name, before, within, expected) in [
            (
                "smtp-postfix",
                "EHLO x\r\nMAIL FROM:<a@b.cc>\r\nSTARTTLS\r\n",
                "RCPT TO:<x@y.zz>\r\nMAIL FROM:<a@b.cc>\r\nSTARTTLS\r\nSTARTTLS x\r\nQUIT\r\n",
                &format!(
                    "503 5.5.1 Error: need MAIL command\r\n250 2.1.0 Ok\r\n{ALREADY}501 5.5.4 Syntax: STARTTLS\r\n\
                     221 2.0.0 Bye\r\n"
                )[..],
            ),
            (
                "smtp-exim",
                "EHLO x\r\nstarttls\r\n",
                "AUTH PLAIN AGEAYg==\r\nSTARTTLS\r\nNOOP\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n",
                "503 AUTH command used when not advertised\r\n554 Already in TLS\r\n\
                 554 Security failure\r\n554 Security failure\r\n221 files03.corp.local closing connection\r\n",
            ),
            (
                "smtp-postfix-submission",
                "MAIL FROM:<a@b.cc>\r\nRSET x\r\nNOOP\r\nSTARTTLS\r\n",
                "MAIL FROM:<a@b.cc>\r\nRCPT TO:<root>\r\nRCPT TO:<x@y.zz>\r\nQUIT\r\n",
                "250 2.1.0 Ok\r\n554 5.7.1 <root>: Recipient address rejected: Access denied\r\n\
                 554 5.7.1 <x@y.zz>: Recipient address rejected: Access denied\r\n221 2.0.0 Bye\r\n",
            ),
        ] {
            let (plain, secure, _) = said(name, before, within).await;
            assert_eq!(secure, expected, "{name}");
            assert_eq!(
                plain.matches(MUST).count(),
                if before.starts_with("MAIL") { 2 } else { 0 },
                "{plain}"
            );
        }
    }

    #[tokio::test]
    async fn starttls_is_offered_before_tls_alone_and_a_login_as_it_is_configured() {
        for (name, login_before) in [
            ("smtp-postfix", true),
            ("smtp-exim", true),
            ("smtp-postfix-submission", false),
        ] {
            let (plain, secure, _) = said(name, "EHLO x\r\nSTARTTLS\r\n", "EHLO x\r\nQUIT\r\n").await;
            assert!(plain.contains("250-STARTTLS\r\n"), "{plain}");
            assert_eq!(plain.contains("250-AUTH PLAIN LOGIN"), login_before, "{plain}");
            assert!(
                !secure.contains("STARTTLS") && secure.contains("250-AUTH PLAIN LOGIN"),
                "{secure}"
            );
        }
    }

    /// CVE-2011-0411: what is sent ahead in plaintext is never answered within TLS.
    #[tokio::test]
    async fn what_is_sent_ahead_of_the_handshake_is_dropped_and_hidden() {
        for name in ["smtp-postfix", "smtp-exim"] {
            let ahead = "EHLO x\r\nSTARTTLS\r\nRSET\r\nAUTH PLAIN AGJvYgBTdXAzclBhc3M=\r\nQUIT\r\n";
            let (_, secure, hits) = said(name, ahead, "NOOP\r\n").await;
            assert_eq!(secure.lines().count(), 1, "{name}: {secure}");
            assert!(secure.starts_with("250 "), "{name}: {secure}");
            assert!(hits.iter().all(|hit| hit.action != Action::Credential));
            let payload = hits.iter().find_map(|hit| hit.capture.as_ref()).unwrap();
            let shown: Vec<_> = payload
                .kept
                .iter()
                .enumerate()
                .map(|(at, byte)| {
                    let hidden = payload.secrets.iter().any(|range| range.contains(&at));
                    if hidden { b'*' } else { *byte }
                })
                .collect();
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.contains("STARTTLS\r\n") && shown.ends_with("NOOP\r\n"), "{shown}");
            assert!(!shown.contains("AGJv"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_clients_name_and_its_hello_are_one_event_and_its_login_another() {
        let login = "EHLO other\r\nAUTH PLAIN AGJvYgBodW50ZXIy\r\nQUIT\r\n";
        let (_, secure, hits) = said("smtp-postfix", "EHLO WIN-1\r\nSTARTTLS\r\n", login).await;
        assert!(secure.contains("535 5.7.8 "), "{secure}");
        let expected = [
            Action::Connect,
            Action::Handshake,
            Action::Query,
            Action::Credential,
            Action::Query,
            Action::Payload,
            Action::SessionEnd,
        ];
        assert_eq!(actions(&hits), expected);
        assert_eq!(fact(&hits[1], Field::SmtpHelo), Some(&"WIN-1".into()));
        assert_eq!(fact(&hits[1], Field::TlsServerName), Some(&"files03.corp.local".into()));
        assert!(fact(&hits[1], Field::TlsJa4).is_some());
        assert_eq!(fact(&hits[2], Field::SmtpHelo), Some(&"other".into()));
        assert_eq!(&hits[3].secret.as_ref().unwrap().bytes[..], b"hunter2");
        assert_eq!(fact(&hits[6], Field::TlsEstablished), Some(&Value::Bool(true)));
    }

    /// The alerts are those that the real servers sent.
    #[tokio::test]
    async fn a_handshake_that_fails_ends_the_session_with_the_alert_of_the_claimed_server() {
        for (name, sent, alert) in [
            (
                "smtp-postfix",
                &b"\x17\x03\x03\0\x05hello"[..],
                &b"\x15\x03\x03\0\x02\x02\x0a"[..],
            ),
            ("smtp-postfix", b"hello there\r\n", b""),
            ("smtp-exim", b"hello there\r\n", b"\x15\x03\x03\0\x02\x02\x0a"),
            ("smtp-exim", b"QUIT\r\n", b"\x15\x03\x03\0\x02\x02\x0a"),
        ] {
            let personality = personality(embedded(name).unwrap());
            let look: &Look = personality.look();
            let mut stage = Stage::open(spec(embedded(name).unwrap())).await;
            let mut client = stage.connect().await;
            client.write_all(b"EHLO x\r\nSTARTTLS\r\n").await.unwrap();
            let (mut said, go_ahead) = (Vec::new(), look.says.go_ahead.as_bytes());
            while !said.ends_with(go_ahead) {
                said.push(client.read_u8().await.unwrap());
            }
            said.clear();
            client.write_all(sent).await.unwrap();
            let ended = client.read_to_end(&mut said).await;
            assert_eq!(said, alert, "{name}");
            // OpenSSL has read the head of a record, and the kernel resets whoever sent more.
            assert_eq!(ended.is_err(), alert.is_empty(), "{name}");
            let hits = stage.session().await;
            assert_eq!(fact(&hits[1], Field::SmtpHelo), Some(&"x".into()));
            assert_eq!(
                fact(hits.last().unwrap(), Field::TlsEstablished),
                Some(&Value::Bool(false))
            );
        }
    }
}
