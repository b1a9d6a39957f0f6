//! What the receiver's answer means: judged by status, content type and counts, never by its words.
//!
//! In: an answer of HTTP, or of gRPC. Out: a [`Judgement`]. Only a refusal that can be about a record makes its events
//! suspects (400, 413, 422; INVALID_ARGUMENT, ALREADY_EXISTS); what the specification does not let a client repeat, and
//! names nobody (500, INTERNAL, UNKNOWN, RESOURCE_EXHAUSTED without a pause), is doubtful, and so is what a filter on the way
//! may say of a record's content (403, PERMISSION_DENIED). Either is weighed before an event
//! is lost for it (`doubt.rs`). Every other refusal is about the receiver or the way there, and is sent again.

use std::time::Duration;

use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use trapline_sink::http::{Answer, Whole};
use trapline_sink::stream::{Fault, FaultKind};

use crate::grpc;
use crate::proto::{ExportResponse, PartialSuccess, Status};
use crate::said::said;

/// What to look at where the peer does not speak what it was spoken to in.
pub(crate) const IS_IT_GRPC: &str = "is this a gRPC port, usually 4317? then set `protocol = \"grpc\"`";
/// The same, the other way round.
pub(crate) const IS_IT_HTTP: &str =
    "is this an OTLP/HTTP port, usually 4318? then set `protocol = \"http/protobuf\"`; or does it take no logs?";

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver has every record; it may have something to say.
    Accepted(String),
    /// The receiver refuses every record for good.
    Refused(String),
    /// The receiver refuses, and does not say which records.
    Suspect(String),
    /// The receiver took a part, and does not say which records.
    Partial(String),
    /// The receiver, or something on the way, failed over the request, and may do so always: too much at once or for now, it
    /// broke down, or this was blocked.
    Doubtful(Fault),
    /// The connection was over before the answer: so it is where a receiver is stopped, and where it breaks down over this.
    Cut(Fault),
    /// Not delivered; send again later.
    Fault(Fault),
}

/// A verdict, and the pause that the receiver asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) pause: Option<Duration>,
}

/// Judges the answer to `POST /v1/logs` with `count` records.
pub(crate) fn of_http(whole: &Whole, count: usize, secrets: &HeaderMap) -> Judgement {
    let answer = &whole.answer;
    let verdict = match answer.is_success() {
        true => match response(&whole.headers, &answer.body) {
            Some(partial) => taken(partial, count, secrets),
            None => Verdict::Doubtful(not_a_receivers(answer, "OTLP")),
        },
        false => refused(answer, &said(&words(&whole.headers, &answer.body), secrets)),
    };
    Judgement {
        verdict,
        pause: answer.retry_after,
    }
}

/// The response of a success by its content type; `None` if it is no receiver's. Without content it is one with nothing to
/// say, as its protobuf has no byte then, and some receivers name no type with it.
fn response(headers: &HeaderMap, body: &[u8]) -> Option<PartialSuccess> {
    match content_type(headers).as_deref() {
        Some("application/x-protobuf" | "application/protobuf") => of_protobuf(body),
        Some("application/json") if !body.is_empty() => of_json(body),
        None | Some("application/json") => body.is_empty().then(PartialSuccess::default),
        Some(_) => None,
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn of_protobuf(body: &[u8]) -> Option<PartialSuccess> {
    Some(ExportResponse::decode(body).ok()?.partial_success.unwrap_or_default())
}

/// OTLP JSON has 64-bit numbers as texts; readers take either.
fn of_json(body: &[u8]) -> Option<PartialSuccess> {
    let Ok(Value::Object(response)) = serde_json::from_slice(body) else {
        return None;
    };
    let partial = match response.get("partialSuccess") {
        None | Some(Value::Null) => return Some(PartialSuccess::default()),
        Some(partial) => partial.as_object()?,
    };
    let rejected = match partial.get("rejectedLogRecords") {
        None | Some(Value::Null) => 0,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(number) => number.as_i64()?,
    };
    let words = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some(PartialSuccess {
        rejected_log_records: rejected,
        error_message: words.to_owned(),
    })
}

/// What a success means. All refused: each is, and a lone one also where more are said to be. Some: nobody
/// knows which. Less than none is no answer.
fn taken(partial: PartialSuccess, count: usize, secrets: &HeaderMap) -> Verdict {
    let words = said(&partial.error_message, secrets);
    let rejected = partial.rejected_log_records;
    match usize::try_from(rejected) {
        Ok(0) => Verdict::Accepted(words),
        Ok(all) if all == count || count == 1 => Verdict::Refused(format!("the receiver refused the record{words}")),
        Ok(_) => Verdict::Partial(format!("the receiver refused {rejected} of {count} records{words}")),
        Err(_) => Verdict::Fault(Fault {
            kind: FaultKind::Server,
            message: format!("the receiver refused {rejected} of {count} records, which means nothing{words}"),
        }),
    }
}

/// The words of a failure: a `google.rpc.Status` in the answer's encoding.
fn words(headers: &HeaderMap, body: &[u8]) -> String {
    match content_type(headers).as_deref() {
        Some("application/x-protobuf" | "application/protobuf") => {
            Status::decode(body).map(|status| status.message).unwrap_or_default()
        }
        Some("application/json") => {
            let status: Option<Value> = serde_json::from_slice(body).ok();
            let words = status.as_ref().and_then(|status| status.get("message")?.as_str());
            words.unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

/// A status other than 2xx.
fn refused(answer: &Answer, words: &str) -> Verdict {
    let status = answer.status;
    let config = |what: &str| {
        Verdict::Fault(Fault {
            kind: FaultKind::Config,
            message: format!("the receiver {what}: http status {status}{words}"),
        })
    };
    match status {
        400 | 413 | 422 => Verdict::Suspect(format!("the receiver refused the record: http status {status}{words}")),
        404 | 405 => config(&format!("has no `/v1/logs` below `endpoint`; {IS_IT_GRPC}")),
        415 => config("takes neither the encoding nor the compression: set `protocol` or `compression`"),
        500 | 501 | 505..=510 if answer.retry_after.is_none() => {
            Verdict::Doubtful(with(answer.fault("the receiver"), words))
        }
        _ if answer.may_be_content() => Verdict::Doubtful(with(answer.fault("the receiver"), words)),
        _ => Verdict::Fault(with(answer.fault("the receiver"), words)),
    }
}

/// The fault with further words.
pub(crate) fn with(fault: Fault, words: &str) -> Fault {
    Fault {
        message: format!("{}{words}", fault.message),
        ..fault
    }
}

fn not_a_receivers(answer: &Answer, protocol: &str) -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: format!("the answer is no {protocol} receiver's: http status {}", answer.status),
    }
}

/// Judges the answer to `Export` with `count` records.
pub(crate) fn of_grpc(whole: &Whole, count: usize, secrets: &HeaderMap) -> Judgement {
    let is_grpc = content_type(&whole.headers).is_some_and(|kind| kind.starts_with(grpc::CONTENT_TYPE));
    let Some(told) = grpc::told(&whole.headers, &whole.trailers).filter(|_| is_grpc) else {
        return not_grpc(&whole.answer);
    };
    let words = said(&told.words, secrets);
    let encoding = whole
        .headers
        .get("grpc-encoding")
        .and_then(|encoding| encoding.to_str().ok());
    let encoding = encoding.unwrap_or_default();
    let verdict = match told.code {
        0 => match grpc_response(whole, encoding) {
            Some(partial) => taken(partial, count, secrets),
            None => Verdict::Doubtful(not_a_receivers(&whole.answer, "gRPC")),
        },
        code => failed(code, told.pause.is_some(), &words),
    };
    Judgement {
        verdict,
        pause: told.pause,
    }
}

/// The response of a success: one whole message, and behind it the status. A status before a message is a promise alone.
fn grpc_response(whole: &Whole, encoding: &str) -> Option<PartialSuccess> {
    let is_whole = whole.answer.status == 200 && whole.trailers.contains_key("grpc-status");
    let message = grpc::message(&whole.answer.body, encoding).filter(|_| is_whole)?;
    of_protobuf(&message)
}

/// A proxy, or a server of something else. 200 without a status is a call that was broken off.
fn not_grpc(answer: &Answer) -> Judgement {
    let fault = match answer.status {
        200..=299 => not_a_receivers(answer, "gRPC"),
        404 | 405 | 415 | 426 | 505 => Fault {
            kind: FaultKind::Config,
            message: format!("the peer speaks no gRPC: http status {}; {IS_IT_HTTP}", answer.status),
        },
        _ => answer.fault("the receiver, or a proxy before it,"),
    };
    // Some filters show a page as if nothing were wrong.
    let is_page = answer.is_success() || answer.may_be_content() && answer.status != 415;
    let verdict = match is_page {
        true => Verdict::Doubtful(fault),
        false => Verdict::Fault(fault),
    };
    Judgement {
        verdict,
        pause: answer.retry_after,
    }
}

/// A status of gRPC other than 0.
fn failed(code: u32, asks_for_a_pause: bool, words: &str) -> Verdict {
    let fault = |kind, what: &str| Fault {
        kind,
        message: format!("the receiver {what}: grpc status {}{words}", name(code)),
    };
    match code {
        3 | 6 => Verdict::Suspect(fault(FaultKind::Server, "refused the record").message),
        7 => Verdict::Doubtful(fault(FaultKind::Auth, "refused the credentials")),
        16 => Verdict::Fault(fault(FaultKind::Auth, "refused the credentials")),
        // Receivers say either of a request that is too large, and the first of a quota too.
        8 | 11 if !asks_for_a_pause => Verdict::Doubtful(fault(FaultKind::Busy, "takes no more")),
        5 | 9 => Verdict::Fault(fault(FaultKind::Config, "lacks what the request names")),
        12 => {
            let what = format!("has no such method; {IS_IT_HTTP}");
            Verdict::Fault(fault(FaultKind::Config, &what))
        }
        _ if asks_for_a_pause => Verdict::Fault(fault(FaultKind::Busy, "asks for a pause")),
        1 | 4 | 10 | 14 | 15 => Verdict::Fault(fault(FaultKind::Server, "failed")),
        _ => Verdict::Doubtful(fault(FaultKind::Server, "failed")),
    }
}

/// The number with the name that people know.
fn name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| code.to_string(), |name| format!("{code} {name}"))
}

#[cfg(test)]
mod tests;
