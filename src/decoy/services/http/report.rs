//! What one request tells: facts, logins, and which of its bytes are secret.
//!
//! In: the head as received, and the body. Out: a handshake or a request, a credential for each login; places to hide.
//!
//! Invariant: facts are read from a copy of the head in which every secret is masked, so that none can be in them.

use std::ops::Range;

use trapline_schemas::{Field, Value, text};

use super::body::{Body, KEPT_MAX, Progress};
use super::form::{self, Found, Login};
use super::request::{self, Request};
use super::{host, multipart};
use crate::decoy::mask;
use crate::decoy::session::{Session, SessionError};

/// Longest host name in an event, bytes (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Most header names in an event.
const HEADERS_SHOWN_MAX: usize = 64;

/// One request under way.
pub(super) struct Report<'r> {
    request: &'r Request<'r>,
    facts: Vec<(Field, Value)>,
    /// What a request says for the list of commands.
    line: Vec<u8>,
    logins: Vec<Login>,
    body: Option<Login>,
    /// Whether the body holds a secret.
    pub(super) has_secret_body: bool,
}

impl<'r> Report<'r> {
    /// Reads the head, which is at `place` in the stream. What is no request and comes `after_secret` may be the rest
    /// of a body whose length was a lie: nothing of it is shown.
    pub(super) fn new(
        session: &mut Session,
        head: &[u8],
        place: Range<u64>,
        request: &'r Request<'r>,
        after_secret: bool,
    ) -> Self {
        let logins = form::offered(request);
        for login in &logins {
            mark(session, &login.places, place.start);
        }
        let mut masked = session.masked(head).into_owned();
        let is_secret = after_secret || mask::has_ntlm_answer(head);
        if is_secret && request.is_junk() && session.masks() {
            session.hide(place);
            masked.fill(b'*');
        }
        let shown = request::read(&masked);
        Self {
            request,
            facts: facts(&shown),
            line: [shown.method, b" ", shown.target].concat(),
            logins,
            body: None,
            has_secret_body: false,
        }
    }

    /// Reports the request: the first as the handshake, each further one as a request.
    pub(super) async fn tell(&self, session: &mut Session) {
        let facts = self.facts.clone();
        match session.is_introduced() {
            true => session.request(&self.line, facts).await,
            false => session.handshake(facts).await,
        }
    }

    /// Reads the body, hides what is secret in it, keeps the login it holds; `goes_on`: the client waits to be asked for
    /// it; `strict`: lines of chunks end with CR LF. `Err`: its chunks are none.
    pub(super) async fn read_body(
        &mut self,
        session: &mut Session,
        goes_on: bool,
        strict: bool,
    ) -> Result<Result<(), ()>, SessionError> {
        let request = self.request;
        let mut body = body(request, strict);
        if goes_on {
            session.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let from = session.position();
        let ended = take(session, &mut body).await;
        let whole = body.whole && body.seen <= KEPT_MAX as u64 && matches!(ended, Ok(Progress::Done));
        let found = search(request, &body);
        self.has_secret_body = found.is_some();
        self.body = found.as_ref().and_then(|found| found.login.clone());
        match found {
            None => {}
            Some(found) if whole && !found.places.is_empty() => mark(session, &found.places, from),
            // Where it is, is not known for sure: it may be cut, in chunks or escaped.
            Some(_) => session.hide(from..session.position()),
        }
        match ended {
            Ok(Progress::Broken) => Ok(Err(())),
            Ok(_) => Ok(Ok(())),
            Err(error) => {
                // A login whose body was cut short was still offered.
                self.offer(session).await;
                Err(error)
            }
        }
    }

    /// Reports what was offered; whether a form was among it.
    pub(super) async fn offer(&mut self, session: &mut Session) -> bool {
        let mut form = false;
        for login in self.logins.drain(..).chain(self.body.take()) {
            form |= login.kind == "form";
            let facts = self.facts.clone();
            session.credential(login.kind, &login.user, &login.secret, facts).await;
        }
        form
    }
}

fn body(request: &Request<'_>, strict: bool) -> Body {
    let suspects = if is_multipart(request) {
        mask::may_hold_one
    } else {
        form::may_hold_secret
    };
    let length = request.content_length().ok().flatten().unwrap_or(0);
    match request.says("transfer-encoding", "chunked") {
        true => Body::chunked(suspects, strict),
        false => Body::sized(length, suspects),
    }
}

fn is_multipart(request: &Request<'_>) -> bool {
    let kind = request.get("content-type").unwrap_or_default();
    kind.to_ascii_lowercase().starts_with(b"multipart/")
}

fn mark(session: &mut Session, places: &[Range<usize>], from: u64) {
    for place in places {
        session.mark_secret(from + place.start as u64..from + place.end as u64);
    }
}

/// Takes the body off the stream, to its end or to what is no body.
async fn take(session: &mut Session, body: &mut Body) -> Result<Progress, SessionError> {
    loop {
        let taken = body.take(session.input());
        session.consume(taken);
        match body.progress() {
            Progress::More => session.fill().await?,
            ended => return Ok(ended),
        };
    }
}

/// Looks for secrets in a body. `None`: there are none. No places: they are somewhere in it.
fn search(request: &Request<'_>, body: &Body) -> Option<Found> {
    if is_encoded(request, body) {
        return Some(Found::default());
    }
    let text = &body.kept[..];
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let (found, doubt) = if is_multipart(request) {
        let parts = multipart::read(text);
        // A word of those that name secrets is enough where the parts cannot be told apart.
        let doubt = parts.is_none() && mask::may_hold_one(text);
        (parts.unwrap_or_default(), doubt)
    } else if matches!(first, Some(b'{' | b'[' | b'<')) {
        (form::json(text), form::may_hold_secret(text))
    } else {
        (form::pairs(text), form::may_hold_secret(text))
    };
    let is_secret = doubt || body.names_a_secret() || found != Found::default();
    is_secret.then_some(found)
}

/// Whether the body cannot be read here, because nothing is inflated.
fn is_encoded(request: &Request<'_>, body: &Body) -> bool {
    let codings = ["content-encoding", "transfer-encoding"].map(|name| request.all(name));
    let mut codings = codings
        .into_iter()
        .flatten()
        .flat_map(|header| header.value.split(|byte| *byte == b','));
    let plain = |coding: &[u8]| {
        let coding = coding.trim_ascii().to_ascii_lowercase();
        matches!(&coding[..], b"" | b"chunked" | b"identity")
    };
    body.seen > 0 && codings.any(|coding| !plain(coding))
}

fn facts(shown: &Request<'_>) -> Vec<(Field, Value)> {
    let mut facts = Vec::with_capacity(10);
    let mut clean = |field, bytes: &[u8]| facts.push((field, Value::from(text::clean(bytes))));
    clean(Field::HttpMethod, shown.method);
    clean(Field::UrlOriginal, shown.target);
    clean(Field::UrlPath, shown.path());
    for (field, name) in [
        (Field::UserAgent, "user-agent"),
        (Field::HttpReferrer, "referer"),
        (Field::HttpForwardedFor, "x-forwarded-for"),
    ] {
        if let Some(value) = shown.get(name) {
            clean(field, value);
        }
    }
    if let Some(host) = host::named(shown).filter(|host| host.name.len() <= HOST_BYTES_MAX) {
        clean(Field::UrlDomain, host.name.as_bytes());
    }
    let version = shown.version;
    clean(
        Field::HttpVersion,
        format!("{}.{}", version.major, version.minor).as_bytes(),
    );
    if let Ok(Some(length)) = shown.content_length() {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        facts.push((Field::HttpRequestBytes, length.into()));
    }
    let names = shown.headers.iter().take(HEADERS_SHOWN_MAX);
    let names: Vec<_> = names.map(|header| text::clean(header.name)).collect();
    if !names.is_empty() {
        facts.push((Field::HttpHeaders, names.into()));
    }
    facts
}
