//! DNS over TCP: several questions a connection, each behind its length.
//!
//! In: a session. Out: a query for each question, an answer for each message, in order.
//!
//! Source: RFC 7766, RFC 7828, RFC 7873 and RFC 9018 (cookies), RFC 8914; what ends a connection how, and after what
//! time, was compared with a live BIND 9.18.49.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::records::{COOKIE_BYTES, Edns};
use super::{Query, itself};
use crate::decoy::services::lines;
use crate::decoy::session::{Session, SessionError};

/// How long BIND waits for the next whole message (`tcp-initial-timeout`, `tcp-idle-timeout`).
const IDLE: Duration = Duration::from_secs(30);

/// The same in the unit of RFC 7828.
const IDLE_TENTHS: [u8; 2] = 300_u16.to_be_bytes();

/// Bytes before a message that say how long it is.
const LENGTH_BYTES: usize = 2;

/// Bytes of a message that are looked at; no question is as long.
const LOOKED_AT_MAX: usize = 32 << 10;

/// The extended error of what is prohibited (RFC 8914 section 4.19), as an option.
const PROHIBITED: [u8; 6] = [0, 15, 0, 2, 0, 18];

pub(super) fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    async move {
        let ended = talk(session).await;
        // BIND has read what it does not answer, so the end is a plain one.
        session.drop_input();
        ended
    }
    .boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    while let Some((framed_query, from)) = next(session).await? {
        let message = framed_query.get(LENGTH_BYTES..).unwrap_or_default();
        let Some(query) = Query::read(message) else {
            // A login of another protocol, whose first letters were taken for a length.
            if lines::names_a_secret(&framed_query) {
                session.hide(from..session.position());
            }
            session.abort();
            return Ok(());
        };
        let told = itself::told(&query, &session.personality());
        let reply = query.answer(told.as_ref(), &options(session, &query, told.is_none()));
        let unnamed = || super::operation(query.opcode).map(str::to_owned);
        if let Some(asked) = query.asked().or_else(unnamed) {
            session.request(asked.as_bytes(), query.facts()).await;
        }
        session.send(&framed(&reply)).await?;
    }
    Ok(())
}

/// The next message behind its length, cut at [`LOOKED_AT_MAX`], and where it begins in the stream; `None` if it does not
/// come whole in time.
async fn next(session: &mut Session) -> Result<Option<(Vec<u8>, u64)>, SessionError> {
    let until = Instant::now() + IDLE;
    if !await_bytes(session, LENGTH_BYTES, until).await? {
        return Ok(None);
    }
    let length = session
        .input()
        .first_chunk()
        .map_or(0, |length| u16::from_be_bytes(*length));
    let looked_at = LOOKED_AT_MAX.min(length.into());
    // The length stays until its message is there: together they may be a login of another protocol.
    if !await_bytes(session, LENGTH_BYTES + looked_at, until).await? {
        return Ok(None);
    }
    let framed = session.input().get(..LENGTH_BYTES + looked_at);
    let framed = framed.unwrap_or_default().to_vec();
    let from = session.consume(framed.len()).start;
    let mut left = usize::from(length) - looked_at;
    while left > 0 {
        if !await_bytes(session, 1, until).await? {
            return Ok(None);
        }
        let passed = left.min(session.input().len());
        session.consume(passed);
        left -= passed;
    }
    Ok(Some((framed, from)))
}

/// Waits until so many bytes are there; `false` if they do not come in time.
async fn await_bytes(session: &mut Session, count: usize, until: Instant) -> Result<bool, SessionError> {
    while session.input().len() < count {
        let left = until.saturating_duration_since(Instant::now());
        if session.fill_within(left).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// What BIND adds to EDNS for this client.
fn options(session: &Session, query: &Query<'_>, is_refused: bool) -> Vec<u8> {
    let known = |edns: &&Edns| !edns.is_outdated() && query.mistake.is_none();
    let Some(edns) = query.edns.as_ref().filter(known) else {
        return Vec::new();
    };
    let mut options = Vec::new();
    if let Some(cookie) = &edns.cookie {
        options.extend_from_slice(&[0, 10, 0, 24]);
        options.extend_from_slice(cookie);
        options.extend_from_slice(&server_cookie(session, cookie));
    }
    if edns.keepalive {
        options.extend_from_slice(&[0, 11, 0, 2]);
        options.extend_from_slice(&IDLE_TENTHS);
    }
    if is_refused && query.is_prohibited() {
        options.extend_from_slice(&PROHIBITED);
    }
    options
}

/// The server's part of a cookie: version, time, and a hash that nobody else can make (RFC 9018 section 4).
fn server_cookie(session: &Session, client: &[u8; COOKIE_BYTES]) -> [u8; 16] {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let [.., t0, t1, t2, t3] = now.to_be_bytes();
    let head = [1, 0, 0, 0, t0, t1, t2, t3];
    let hash = Sha256::new()
        .chain_update(session.personality().install.draw("dns cookie"))
        .chain_update(client)
        .chain_update(head)
        .chain_update(session.peer().ip().to_string())
        .finalize();
    let mut cookie = [0; 16];
    let bytes = head.iter().chain(hash.iter());
    cookie.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    cookie
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::{Action, Field};

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::{Stage, actions, fact, spec};

    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03";

    const REFUSED: &[u8] = b"\x12\x34\x81\x05\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03";

    fn with_opt(options: &[u8]) -> Vec<u8> {
        let mut message = QUESTION.to_vec();
        message[11] = 1;
        let opt = [b"\0\0\x29\x10\0\0\0\0\0\0", &[options.len() as u8][..], options];
        [message, opt.concat()].concat()
    }

    async fn stage() -> Stage {
        Stage::open(spec(embedded("dns-refused").unwrap())).await
    }

    #[tokio::test]
    async fn each_question_of_a_connection_is_refused_in_order_and_told() {
        let mut stage = stage().await;
        let mut second = QUESTION.to_vec();
        second[0] = 0x56;
        let said = stage.talk(&[framed(QUESTION), framed(&second)].concat()).await;
        let mut refused = REFUSED.to_vec();
        refused[0] = 0x56;
        assert_eq!(said, [framed(REFUSED), framed(&refused)].concat());
        let hits = stage.session().await;
        let queries: Vec<_> = hits.iter().filter(|hit| hit.action == Action::Query).collect();
        assert_eq!(queries.len(), 2, "{:?}", actions(&hits));
        assert_eq!(fact(queries[1], Field::DnsQuestionName), Some(&"version.bind".into()));
    }

    #[tokio::test]
    async fn over_tcp_the_version_is_told_whole() {
        let stage = Stage::open(spec(embedded("bind-debian-12").unwrap())).await;
        let said = stage.talk(&framed(QUESTION)).await;
        assert!(said.ends_with(b"9.18.49-1~deb12u3-Debian"), "{}", said.escape_ascii());
        assert_eq!(said[2..8], [0x12, 0x34, 0x85, 0, 0, 1]);
    }

    /// What BIND 9.18.49 answered, but for the eight bytes that are its secret and the time.
    #[tokio::test]
    async fn edns_is_answered_as_bind_answers_it_over_tcp() {
        let stage = stage().await;
        let asked = with_opt(b"\0\x0a\0\x08ABCDEFGH\0\x0b\0\0");
        let said = stage.talk(&framed(&asked)).await;
        let (known, rest) = said.split_at(2 + QUESTION.len() + 11 + 12);
        assert!(
            known.ends_with(b"\0\0\x29\x04\xd0\0\0\0\0\0\x28\0\x0a\0\x18ABCDEFGH"),
            "{}",
            said.escape_ascii()
        );
        assert_eq!(rest[..4], [1, 0, 0, 0]);
        assert_eq!(rest[16..], [&[0, 11, 0, 2][..], &IDLE_TENTHS, &PROHIBITED].concat());
    }

    #[tokio::test]
    async fn what_is_no_query_resets_the_connection_as_bind_does() {
        for wrong in [&b"\x12\x34\x81\0\0\0\0\0\0\0\0\0"[..], b"\x12\x34\x01", b""] {
            let stage = stage().await;
            let mut client = stage.connect().await;
            tokio::io::AsyncWriteExt::write_all(&mut client, &framed(wrong))
                .await
                .unwrap();
            let end = tokio::io::AsyncReadExt::read(&mut client, &mut [0; 9]).await;
            let end = end.map_err(|error| error.kind());
            assert_eq!(
                end,
                Err(std::io::ErrorKind::ConnectionReset),
                "{}",
                wrong.escape_ascii()
            );
        }
    }

    #[tokio::test]
    async fn a_message_longer_than_is_kept_is_answered_and_the_next_one_too() {
        let stage = stage().await;
        let long = [QUESTION, &[0; 60_000]].concat();
        let said = stage.talk(&[framed(&long), framed(QUESTION)].concat()).await;
        assert_eq!(said, framed(REFUSED).repeat(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_no_whole_message_is_closed_on_with_fin() {
        let stage = stage().await;
        let mut client = stage.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut client, b"\0\x20\x12")
            .await
            .unwrap();
        let end = tokio::io::AsyncReadExt::read(&mut client, &mut [0; 9]).await;
        assert_eq!(end.unwrap(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_are_messages_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            let hits = runtime.block_on(async {
                let stage = stage().await;
                stage.talk(&bytes).await;
                stage.end().await
            });
            prop_assert_eq!(hits[0].action, Action::Connect);
            let failed = |hit: &crate::roles::Hit| format!("{:?}", hit.facts).contains("the service failed");
            prop_assert!(!hits.iter().any(failed), "{:?}", hits);
        }
    }
}
