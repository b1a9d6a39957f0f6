//! Answers: a status, a body that is there or comes bit by bit, and the headers that every one has.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

/// What goes to every client: nothing here is a page, is kept, or is guessed at.
const ALWAYS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What a client is sent.
pub type Answer = Response<Content>;

/// An answer that says why there is no other.
pub type Refused = Box<Answer>;

/// A body.
pub enum Content {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes; asked for only when the client took what was there before.
    Coming(BoxStream<'static, Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Coming(stream) => Pin::new(stream).poll_next(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Coming(_) => SizeHint::default(),
        }
    }
}

/// A body of a type.
pub fn typed(status: StatusCode, kind: &'static str, content: Content) -> Answer {
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in ALWAYS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

/// Text that is there.
pub fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    typed(status, kind, Content::Whole(Some(body.into())))
}

/// JSON that is there.
pub fn json(body: impl Into<Bytes>) -> Answer {
    whole(StatusCode::OK, "application/json", body)
}

/// For a proxy before us, as nginx reads it: what comes bit by bit is not gathered on its way.
pub fn unbuffered(mut answer: Answer) -> Answer {
    let name = HeaderName::from_static("x-accel-buffering");
    answer.headers_mut().insert(name, HeaderValue::from_static("no"));
    answer
}

/// What is wrong: `{"errors": […]}`.
pub fn wrong(status: StatusCode, errors: &[String]) -> Refused {
    let body = format!("{}\n", json!({ "errors": errors }));
    Box::new(whole(status, "application/json", body))
}

/// The same, for one reason.
pub fn refused(status: StatusCode, error: &str) -> Refused {
    wrong(status, &[error.to_owned()])
}

/// One that is to be asked again after a time, in whole seconds.
pub fn later(status: StatusCode, error: &str, wait: Duration) -> Refused {
    let mut answer = refused(status, error);
    let secs = wait.as_secs_f64().ceil().max(1.0) as u64;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    answer
}

/// No token, or a wrong one.
pub fn unauthorized(error: &str, is_wrong: bool) -> Refused {
    let mut answer = refused(StatusCode::UNAUTHORIZED, error);
    let challenge = match is_wrong {
        true => "Bearer realm=\"api\", error=\"invalid_token\"",
        false => "Bearer realm=\"api\"",
    };
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

/// The same at the door of a list: firewalls show a token as the password of HTTP basic.
pub fn unauthorized_for_lists(error: &str) -> Refused {
    let mut answer = refused(StatusCode::UNAUTHORIZED, error);
    let challenge = HeaderValue::from_static("Basic realm=\"lists\", charset=\"UTF-8\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

/// A method other than those that read.
pub fn not_allowed() -> Refused {
    let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}
