//! `vnc`: a TigerVNC server that asks for a password.
//!
//! In: the client's version, its choice of security, its answer to the challenge. Out: the version and the choice as a
//! handshake, and one credential: the answer, which can be cracked and so is a secret. Kept in clear it is a line for
//! john: `$vnc$*CHALLENGE*ANSWER`.
//!
//! A source that comes again and again is locked out as the product does it: five connections, then ten seconds, then
//! twice as long each time. Its state is bounded by [`SOURCES_MAX`].
//!
//! Source: RFC 6143 section 7; Xtigervnc 1.12 of Debian 12 was asked all that the tests ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use trapline_schemas::ids;
use trapline_schemas::{Field, text};

use crate::decoy::personality;
use crate::decoy::services::{Service, Speak, lines};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "vnc",
    personality: "tigervnc-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Bytes of a version line: `RFB 003.008` and a line feed.
const VERSION: usize = 12;

/// Bytes of a challenge, and of the answer to it.
const CHALLENGE: usize = 16;

/// The security type of a password.
const VNC_AUTH: u8 = 2;

/// Most sources whose connections are counted; beyond, counting begins anew.
const SOURCES_MAX: usize = 4096;

/// `[look]` of a `vnc` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// What it says of a wrong answer.
    failed: String,
    /// How long it takes over one.
    failed_delay_ms: u64,
    /// What it says to a source that is locked out.
    locked_out: String,
    /// Connections of one source until it is locked out.
    tries: u32,
    /// How long it is locked out at first, seconds.
    locked_out_secs: u64,
    /// Who came how often.
    #[serde(skip)]
    sources: Mutex<HashMap<IpAddr, Marks>>,
}

/// What is held against a source.
#[derive(Debug)]
struct Marks {
    count: u32,
    until: Instant,
    next: Duration,
}

impl Look {
    /// Counts a connection; `true`: its source is locked out.
    fn is_locked_out(&self, source: IpAddr) -> bool {
        let now = Instant::now();
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.clear();
        }
        let next = Duration::from_secs(self.locked_out_secs);
        let marks = sources.entry(source).or_insert(Marks {
            count: 1,
            until: now,
            next,
        });
        match () {
            () if marks.count < self.tries => marks.count += 1,
            // One may try again, and the next time is twice as long.
            () if now >= marks.until => {
                marks.until = now + marks.next;
                marks.next = marks.next.saturating_mul(2).min(Duration::from_secs(86_400));
            }
            () => return true,
        }
        false
    }
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    if look.is_locked_out(session.peer().ip()) {
        let words = [b"RFB 003.003\n\0\0\0\0", &counted(&look.locked_out)[..]].concat();
        return session.send(&words).await;
    }
    session.send(b"RFB 003.008\n").await?;
    let line = match wait_for(session, VERSION).await {
        Ok(line) => line,
        Err(error) => {
            session.hide_input();
            return Err(error);
        }
    };
    // On the heap, so that a silent session does not hold the room of what comes after.
    Box::pin(answer(session, look, &line)).await
}

async fn answer(session: &mut Session, look: &Look, line: &[u8]) -> Result<(), SessionError> {
    let version = version(line);
    let mut facts = Vec::new();
    if version.is_some() {
        facts.push((Field::VncVersion, text::clean(line.trim_ascii_end()).into()));
    }
    match version {
        None => hide_astray(session, line),
        Some((3, minor)) => {
            let minor = minor.clamp(0, 8);
            let chosen = choose(session, minor).await;
            if let Ok(chosen) = &chosen {
                facts.push((Field::VncSecurityType, chosen.to_string().into()));
            }
            session.handshake(facts).await;
            if chosen? == VNC_AUTH {
                return challenge(session, look, minor).await;
            }
        }
        Some((major, minor)) => {
            session.handshake(facts).await;
            let words = format!("Client needs protocol version {major}.{minor}, server has 3.8");
            session.send(&[&[0][..], &counted(&words)].concat()).await?;
        }
    }
    read_out(session);
    Ok(())
}

/// A text with its length before it.
fn counted(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(0);
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Waits for so many bytes and consumes them.
async fn wait_for(session: &mut Session, count: usize) -> Result<Vec<u8>, SessionError> {
    while session.input().len() < count {
        session.fill().await?;
    }
    let bytes = session.input().get(..count).unwrap_or_default().to_vec();
    session.consume(count);
    Ok(bytes)
}

/// Major and minor of a version line, as `sscanf("RFB %03d.%03d")` reads it.
fn version(line: &[u8]) -> Option<(i32, i32)> {
    let line = std::str::from_utf8(line).ok()?;
    let (major, rest) = number(line.strip_prefix("RFB ")?)?;
    let (minor, _) = number(rest.strip_prefix('.')?)?;
    Some((major, minor))
}

/// A number of at most three signs, blanks before it, and what follows.
fn number(text: &str) -> Option<(i32, &str)> {
    let text = text.trim_ascii_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text
        .bytes()
        .skip(sign)
        .take_while(u8::is_ascii_digit)
        .count()
        .min(3 - sign);
    let (number, rest) = text.split_at_checked(sign + digits)?;
    Some((number.parse().ok()?, rest))
}

/// Lets the client choose, where its version lets it.
async fn choose(session: &mut Session, minor: i32) -> Result<u8, SessionError> {
    if minor < 7 {
        session.send(&u32::from(VNC_AUTH).to_be_bytes()).await?;
        return Ok(VNC_AUTH);
    }
    session.send(&[1, VNC_AUTH]).await?;
    Ok(wait_for(session, 1).await?.first().copied().unwrap_or_default())
}

async fn challenge(session: &mut Session, look: &Look, minor: i32) -> Result<(), SessionError> {
    let challenge: [u8; CHALLENGE] = rand::random();
    session.send(&challenge).await?;
    let from = session.position();
    let answer = wait_for(session, CHALLENGE).await;
    if answer.is_err() {
        session.hide_input();
    }
    let answer = answer?;
    session.mark_secret(from..from + CHALLENGE as u64);
    let line = format!("$vnc$*{}*{}", ids::hex(&challenge), ids::hex(&answer));
    session.credential("hash", b"", line.as_bytes(), Vec::new()).await;
    session.pause(Duration::from_millis(look.failed_delay_ms)).await?;
    let mut words = 1_u32.to_be_bytes().to_vec();
    if minor >= 8 {
        words.extend(counted(&look.failed));
    }
    session.send(&words).await?;
    read_out(session);
    Ok(())
}

/// A login of another protocol, whose first bytes were taken for a version, is hidden.
fn hide_astray(session: &mut Session, line: &[u8]) {
    if lines::names_a_secret(&[line, session.input()].concat()) {
        let from = session.position() - line.len() as u64;
        session.hide(from..from + line.len() as u64);
        session.hide_input();
    }
}

/// What came has been read; a login of another protocol in it is hidden.
fn read_out(session: &mut Session) {
    if lines::names_a_secret(session.input()) {
        session.hide_input();
    }
    session.drop_input();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use trapline_schemas::{Action, Value};

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::{Stage, actions, fact, spec};

    async fn stage() -> Stage {
        Stage::open(spec(embedded("tigervnc-debian-12").unwrap())).await
    }

    /// What is said after the version to bytes sent at once, up to the end.
    async fn said(sent: &[u8]) -> Vec<u8> {
        let stage = stage().await;
        let mut client = stage.connect().await;
        client.write_all(sent).await.unwrap();
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        said.split_off(VERSION)
    }

    #[tokio::test]
    async fn versions_and_choices_are_refused_as_1_12_refuses_them() {
        for (sent, expected) in [
            (
                &b"RFB 004.000\n"[..],
                &b"\0\0\0\x001Client needs protocol version 4.0, server has 3.8"[..],
            ),
            (
                b"RFB 000.000\n",
                b"\0\0\0\x001Client needs protocol version 0.0, server has 3.8",
            ),
            (b"RFB xxx.yyy\n", b""),
            (b"rfb 003.008\n", b""),
            (b"GET / HTTP/1.0\r\n\r\n", b""),
            (b"RFB 3.8\nabcdef", b"\x01\x02"),
            (b"RFB  03. 08\n\x01", b"\x01\x02"),
            (b"RFB 003.889\n\x10", b"\x01\x02"),
        ] {
            assert_eq!(
                said(sent).await.escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
    }

    #[tokio::test]
    async fn a_wrong_answer_is_refused_in_the_words_of_the_clients_version() {
        let answer = [9; CHALLENGE];
        for (sent, before, after) in [
            (
                &b"RFB 003.008\n\x02"[..],
                &b"\x01\x02"[..],
                &b"\0\0\0\x01\0\0\0\x16Authentication failure"[..],
            ),
            (b"RFB 003.007\n\x02", b"\x01\x02", b"\0\0\0\x01"),
            (b"RFB 003.003\n", b"\0\0\0\x02", b"\0\0\0\x01"),
            (b"RFB 003.005\n", b"\0\0\0\x02", b"\0\0\0\x01"),
        ] {
            let said = said(&[sent, &answer].concat()).await;
            assert!(
                said.starts_with(before) && said.ends_with(after),
                "{}",
                said.escape_ascii()
            );
            assert_eq!(said.len(), before.len() + CHALLENGE + after.len());
        }
    }

    #[tokio::test]
    async fn an_answer_is_a_secret_with_its_challenge() {
        let mut stage = stage().await;
        let said = stage.talk(&[b"RFB 003.008\n\x02", &[9; CHALLENGE][..]].concat()).await;
        let hits = stage.session().await;
        let ours = [
            Action::Connect,
            Action::Handshake,
            Action::Credential,
            Action::Payload,
            Action::SessionEnd,
        ];
        assert_eq!(actions(&hits), ours);
        assert_eq!(fact(&hits[1], Field::VncVersion), Some(&Value::from("RFB 003.008")));
        assert_eq!(fact(&hits[1], Field::VncSecurityType), Some(&Value::from("2")));
        let line = format!("$vnc$*{}*{}", ids::hex(&said[14..30]), "09".repeat(CHALLENGE));
        assert_eq!(*hits[2].secret.as_ref().unwrap().bytes, *line.as_bytes());
        let capture = hits[3].capture.as_ref().unwrap();
        assert_eq!(capture.secrets, std::slice::from_ref(&(13..29)));
    }

    #[tokio::test]
    async fn half_an_answer_is_hidden_too() {
        let mut stage = stage().await;
        stage.talk(b"RFB 003.003\n12345678").await;
        let hits = stage.session().await;
        let payload = hits.into_iter().find(|hit| hit.action == Action::Payload).unwrap();
        assert_eq!(payload.capture.unwrap().secrets, std::slice::from_ref(&(12..20)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_and_again_is_locked_out_for_a_time_that_doubles() {
        let look: &Look =
            &toml::from_str("failed = ''\nfailed_delay_ms = 0\nlocked_out = ''\ntries = 5\nlocked_out_secs = 10")
                .unwrap();
        let source = IpAddr::from([192, 0, 2, 1]);
        let tries = |count: usize| (0..count).map(|_| look.is_locked_out(source)).collect::<Vec<_>>();
        assert_eq!(tries(7), [false, false, false, false, false, true, true]);
        assert!(!look.is_locked_out(IpAddr::from([192, 0, 2, 2])));
        for wait in [10, 20, 40] {
            tokio::time::advance(Duration::from_secs(wait - 1)).await;
            assert!(look.is_locked_out(source), "{wait}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(tries(2), [false, true], "{wait}");
        }
    }

    #[tokio::test]
    async fn a_source_that_is_locked_out_is_told_so() {
        let stage = stage().await;
        let mut last = Vec::new();
        for _ in 0..6 {
            last = stage.talk(b"").await;
        }
        assert_eq!(last, b"RFB 003.003\n\0\0\0\0\0\0\0\x1aToo many security failures");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_version_of_three_signs_each_or_none(line in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"RFB 0123.-".to_vec())], 0..20)) {
            let line = [b"RFB ", &line[..]].concat();
            if let Some((major, minor)) = version(&line) {
                prop_assert!((-99..=999).contains(&major) && (-99..=999).contains(&minor));
            }
        }
    }
}
