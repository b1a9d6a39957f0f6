//! A request and its answer: read within bounds, and what went wrong on the way.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};

use super::{ANSWER_MAX, RETRY_AFTER_MAX};
use crate::stream::{Fault, FaultKind};
use crate::tls::explain;

/// What a destination answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Pause that it asked for, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// Whether it may be refused for what stands in the request: a firewall that reads along blocks what an attacker wrote,
    /// and does not say so. What tells of the address, the login, the size or the pace is about those.
    pub const fn may_be_content(&self) -> bool {
        matches!(self.status, 400 | 402 | 403 | 406 | 409 | 411 | 412 | 414..=424 | 426..=428 | 430..=499)
    }

    /// The fault that a status other than 2xx stands for; `what` is the destination in an operator's words.
    ///
    /// No status is about one event: a sink that knows better (400, 413, 422) asks before.
    pub fn fault(&self, what: &str) -> Fault {
        let (kind, means) = match self.status {
            401 | 403 => (FaultKind::Auth, "refused the credentials"),
            407 | 511 => (FaultKind::Auth, "is behind a proxy that asks for a login"),
            408 | 425 | 429 => (FaultKind::Busy, "asked for a pause"),
            503 if self.retry_after.is_some() => (FaultKind::Busy, "asked for a pause"),
            300..=399 => (FaultKind::Config, "redirects, which is never followed"),
            404 | 405 | 410 => (FaultKind::Config, "has nothing at this address"),
            400..=499 => (FaultKind::Config, "does not take such requests"),
            500..=599 => (FaultKind::Server, "failed"),
            _ => (FaultKind::Server, "gave an answer that means nothing"),
        };
        Fault {
            kind,
            message: format!("{what} {means}: http status {}", self.status),
        }
    }
}

/// Sends a request and reads the bounded answer.
///
/// Errors: the transport's fault; the destination may or may not have the request.
/// Cancel: safe; counts as not sent.
pub async fn exchange(request: RequestBuilder) -> Result<Answer, Fault> {
    exchange_within(request, ANSWER_MAX).await
}

/// Like [`exchange`], for answers that are rightly longer: reads the first `bytes_max` bytes.
pub async fn exchange_within(request: RequestBuilder, bytes_max: usize) -> Result<Answer, Fault> {
    let response = request.send().await.map_err(transport_fault)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let body = bounded_body(response, bytes_max).await?;
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

/// An answer with all that HTTP has around its body.
#[derive(Debug)]
pub struct Whole {
    /// Status, pause and body.
    pub answer: Answer,
    /// What stood before the body.
    pub headers: HeaderMap,
    /// What stood behind it, as far as it was read to its end.
    pub trailers: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Broken {
    /// The transport's fault.
    pub fault: Fault,
    /// Whether the peer answered, but in no HTTP of the version that was spoken to it.
    pub is_foreign: bool,
    /// Whether the peer's answer has more before or behind its body than is read.
    pub is_too_long: bool,
    /// Whether the peer took the connection and cut it.
    pub is_cut: bool,
}

/// Like [`exchange`], with headers and trailers.
pub async fn exchange_whole(request: RequestBuilder) -> Result<Whole, Broken> {
    let response = request.send().await.map_err(broken)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let headers = response.headers().clone();
    let (body, trailers) = bounded_frames(response.into()).await?;
    let answer = Answer {
        status,
        retry_after,
        body,
    };
    Ok(Whole {
        answer,
        headers,
        trailers,
    })
}

/// The first [`ANSWER_MAX`] bytes of a body, and the trailers if it ends there.
async fn bounded_frames(mut body: reqwest::Body) -> Result<(Vec<u8>, HeaderMap), Broken> {
    let (mut read, mut trailers) = (Vec::new(), HeaderMap::new());
    while read.len() < ANSWER_MAX {
        let Some(frame) = body.frame().await else { break };
        match frame.map_err(broken)?.into_data() {
            Ok(data) => read.extend_from_slice(data.get(..ANSWER_MAX - read.len()).unwrap_or(&data)),
            Err(other) => trailers = other.into_trailers().unwrap_or_default(),
        }
    }
    Ok((read, trailers))
}

fn broken(error: reqwest::Error) -> Broken {
    let is_foreign = causes(&error).any(is_foreign);
    let is_too_long = causes(&error).any(is_too_long);
    let was_open = !is_too_long && !error.is_connect() && !error.is_timeout();
    let fault = transport_fault(error);
    Broken {
        is_foreign,
        is_too_long,
        is_cut: was_open && fault.kind == FaultKind::Unreachable,
        fault,
    }
}

/// Whether a cause is that the peer's bytes are no HTTP of the version that was spoken: what an HTTP/1 server says first
/// is no frame, and what an HTTP/2 server says first is no status line, or comes before anybody asked.
fn is_foreign(cause: &(dyn std::error::Error + 'static)) -> bool {
    let no_answer = |error: &hyper::Error| error.is_parse() || error.to_string() == UNASKED;
    let no_frame = |error: &h2::Error| {
        let reason = error.reason();
        !error.is_remote() && matches!(reason, Some(h2::Reason::FRAME_SIZE_ERROR | h2::Reason::PROTOCOL_ERROR))
    };
    cause.downcast_ref().is_some_and(no_answer) || cause.downcast_ref().is_some_and(no_frame)
}

/// Whether a cause is that we broke the connection off because of endless headers.
fn is_too_long(cause: &(dyn std::error::Error + 'static)) -> bool {
    let is_excess = |error: &h2::Error| !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    cause.downcast_ref().is_some_and(is_excess)
}

/// What hyper says, by text alone, of bytes that come before a request went out.
const UNASKED: &str = "received unexpected message from connection";

async fn bounded_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while body.len() < bytes_max {
        let Some(chunk) = response.chunk().await.map_err(transport_fault)? else {
            break;
        };
        let room = bytes_max - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
    Ok(body)
}

/// `Retry-After` as seconds or as a date (RFC 9110 section 10.2.3), capped. No time at all, or a date that has passed (which
/// our clock decides, or theirs), asks for nothing: it would be a try at once, and one more, without end.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX)).filter(|wait| !wait.is_zero())
}

/// The fault of a transport error: what failed and why, without the URL.
fn transport_fault(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    if let Some(fault) = explain(&error) {
        return fault;
    }
    let message = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        chain(&error)
    };
    Fault {
        kind: FaultKind::Unreachable,
        message,
    }
}

/// The causes of an error, outermost first, as one line; doubles left out.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let outermost: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(outermost), |cause| std::error::Error::source(*cause))
}
