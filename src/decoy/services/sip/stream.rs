//! SIP over TCP: requests one after another, each as long as it says.
//!
//! In: a session. Out: a request and perhaps a credential for each message, an answer where there is one.
//!
//! Source: RFC 3261 section 18.3, RFC 5626 section 4.4.1; what ends a connection was compared with a live Kamailio
//! 5.6.3, which closes on what it cannot cut into messages and leaves an idle client alone.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::message::{Read, Request, number};
use super::reply::{self, Ends};
use super::{digest, verdict};
use crate::decoy::services::lines;
use crate::decoy::session::{Session, SessionError};

/// Longest message, bytes (`tcp_rd_buf_size`).
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Most bytes that are read behind what ends a connection, as much as Kamailio has room for.
const READ_OUT_MAX: usize = MESSAGE_BYTES_MAX;

/// What keeps a connection open, and the answer to it.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

pub(super) fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    async move {
        talk(session).await?;
        read_out(session).await
    }
    .boxed()
}

/// It has read what it does not answer, so the end is a plain one.
async fn read_out(session: &mut Session) -> Result<(), SessionError> {
    let mut read = 0;
    loop {
        session.drop_input();
        if read >= READ_OUT_MAX {
            return Ok(());
        }
        match session.fill_within(Duration::ZERO).await? {
            0 => return Ok(()),
            count => read += count,
        }
    }
}

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    More,
    Ping,
    /// An empty line before a message.
    Blank,
    /// A message of so many bytes.
    Message(usize),
    Broken,
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    loop {
        match next(session.input()) {
            Next::More => {
                session.fill().await?;
            }
            Next::Ping => {
                session.consume(PING.len());
                session.send(PONG).await?;
            }
            Next::Blank => {
                session.consume(PONG.len());
            }
            Next::Message(length) => {
                let message = session.input().get(..length).unwrap_or_default().to_vec();
                let from = session.consume(length).start;
                if !take(session, &message, from).await? {
                    return Ok(());
                }
            }
            Next::Broken => return Ok(()),
        }
    }
}

fn next(input: &[u8]) -> Next {
    if input.starts_with(PING) {
        return Next::Ping;
    }
    if PING.starts_with(input) {
        return Next::More;
    }
    if input.starts_with(PONG) {
        return Next::Blank;
    }
    let whole = head(input).map(|head| (head, length(input.get(..head).unwrap_or_default())));
    match whole {
        Some((_, None)) => Next::Broken,
        Some((head, Some(body))) if head.saturating_add(body) <= input.len().min(MESSAGE_BYTES_MAX) => {
            Next::Message(head + body)
        }
        _ if input.len() >= MESSAGE_BYTES_MAX => Next::Broken,
        _ => Next::More,
    }
}

/// Bytes up to and with the empty line behind the headers.
fn head(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = memchr::memchr(b'\n', input.get(at..)?)?;
        if at > 0 && matches!(input.get(at..at + line)?, b"" | b"\r") {
            return Some(at + line + 1);
        }
        at += line + 1;
    }
}

/// What the headers say of the body's length; `None`: nothing, or no number.
fn length(head: &[u8]) -> Option<usize> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let name = line.get(..colon)?.trim_ascii();
        let is_length = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l");
        is_length.then(|| line.get(colon + 1..))?
    })?;
    number(value.trim_ascii()).map(|length| length as usize)
}

/// Reports a message and answers it. `false`: it cannot be read, which ends the connection.
async fn take(session: &mut Session, message: &[u8], from: u64) -> Result<bool, SessionError> {
    let request = match Request::read(message) {
        Read::Request(request) => request,
        read => {
            // A login of another protocol.
            if lines::names_a_secret(message) {
                session.hide(from..from + message.len() as u64);
            }
            return Ok(matches!(read, Read::Other));
        }
    };
    if lines::names_a_secret(request.body) {
        let end = from + message.len() as u64;
        session.hide(end - request.body.len() as u64..end);
    }
    let login = digest::offered(&request);
    if let Some(login) = &login {
        session.mark_secret(from + login.place.start as u64..from + login.place.end as u64);
    }
    session.request(&super::line(&request), super::facts(&request)).await;
    if let Some(login) = login {
        let facts = login.facts();
        session.credential(login.kind, &login.user, &login.secret, facts).await;
    }
    answer(session, &request).await?;
    Ok(true)
}

async fn answer(session: &mut Session, request: &Request<'_>) -> Result<(), SessionError> {
    let ends = Ends {
        peer: session.peer(),
        local: session.local(),
    };
    let verdict = verdict::of_message(request, ends.local, &session.personality().install);
    if let Some(verdict) = verdict {
        let reply = reply::reply(request, &verdict, ends, &session.personality());
        session.send(&reply).await?;
    }
    Ok(())
}
