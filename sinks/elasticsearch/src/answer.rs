//! What the cluster's answer means: judged by status and by the error's type, item by item.
//!
//! A text of the cluster decides in few cases ([`SETTINGS_SAID`]), where one type stands for faults of documents and of
//! settings; it is matched from its first sign on, where nothing of an event stands.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use trapline_schemas::text::clean_within;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};
use uuid::Uuid;

use crate::config::Op;
use crate::request::id;

/// Longest of a reason that is shown.
const REASON_CHARS_MAX: usize = 200;
/// Longest type of an error.
const TYPE_BYTES_MAX: usize = 80;

/// The parts of an answer that are asked for.
pub(crate) const FILTER: &str = "errors,error.type,items.*._id,items.*.status,items.*.result,\
                                 items.*.failure_store,items.*.error.type,items.*.error.reason,items.*.error.caused_by.type";

/// How many bytes an answer for so many events may have. The reason of one can hold the value that did not fit.
pub(crate) const fn bytes_max(events: usize) -> usize {
    1024 * 1024 + events * 2048
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One for each event, in order.
    Items(Vec<Item>),
    /// The request is refused without a word on which event is at fault.
    Suspect(String),
    /// The cluster, or something on the way to it, failed over the request: it may always, or over these events.
    Doubtful(Fault),
    /// Not delivered; send again later.
    Fault(Fault),
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// It is there.
    Delivered,
    /// It did not fit, and is in the data stream's failure store.
    InFailureStore,
    /// An ingest pipeline left it out, as whoever wrote that wants it.
    LeftOut,
    /// Not delivered; send again later.
    Retry(Fault),
    /// The cluster broke down over it, and may do so always.
    Failed(Fault),
    /// It may be at fault, which it shows alone.
    Suspect(String),
    /// Refused for good.
    Rejected(String),
}

#[derive(Debug, Deserialize)]
struct Reply {
    items: Vec<Named>,
}

/// An item stands under its action's name.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(alias = "index")]
    create: Entry,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    status: u16,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    failure_store: Value,
    #[serde(default)]
    result: Value,
}

/// Judges the answer to a request with these events.
pub(crate) fn judge(answer: &Answer, op: Op, sent: &[Uuid]) -> Verdict {
    if answer.is_success() {
        return match items(answer, sent) {
            Ok(entries) => Verdict::Items(entries.iter().map(|entry| item(op, entry)).collect()),
            Err(_) if sent.len() > 1 && is_cut(&answer.body, sent.len()) => Verdict::Suspect(format!(
                "the cluster's answer is longer than {} bytes",
                bytes_max(sent.len())
            )),
            // Some filters on the way show a page as if nothing were wrong.
            Err(Unread::Garbage) => Verdict::Doubtful(Unread::Garbage.fault(answer.status)),
            Err(why) => Verdict::Fault(why.fault(answer.status)),
        };
    }
    refusal(answer, sent.len())
}

/// Whether it is the beginning of a bulk request's answer: for fewer events there is one that can be read to its end.
fn is_cut(body: &[u8], events: usize) -> bool {
    body.len() >= bytes_max(events)
        && [&b"{\"errors\":"[..], b"{\"items\":"]
            .iter()
            .any(|first| body.starts_with(first))
}

/// The items of an answer that is one: one for each event, under its id, brought into the order of the events.
fn items(answer: &Answer, sent: &[Uuid]) -> Result<Vec<Entry>, Unread> {
    let reply: Reply = serde_json::from_slice(&answer.body).map_err(|_| Unread::Garbage)?;
    let entries = reply.items.into_iter().map(|named| named.create);
    let mut by_id: HashMap<String, Entry> = HashMap::with_capacity(sent.len());
    let mut count = 0;
    for entry in entries {
        count += 1;
        by_id.insert(entry.id.clone(), entry);
    }
    if count != sent.len() {
        return Err(Unread::Count);
    }
    let of = |sent: &Uuid| by_id.remove(id(*sent, &mut [0; 36])).ok_or(Unread::Ids);
    sent.iter().map(of).collect()
}

/// Why an answer is not one to the events that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Garbage,
    Count,
    Ids,
}

impl Unread {
    /// A pipeline that changes ids is a setting, and makes doubles with each try: somebody must know at once.
    fn fault(self, status: u16) -> Fault {
        let (kind, why) = match self {
            Self::Garbage => (FaultKind::Server, "gave an answer that is not a bulk request's"),
            Self::Count => (FaultKind::Server, "answered for more or fewer events than it was sent"),
            Self::Ids => (
                FaultKind::Config,
                "answered for other ids than it was sent, so events may be there twice; does a pipeline change `_id`?",
            ),
        };
        fault(kind, format!("the cluster {why}: http status {status}"))
    }
}

fn item(op: Op, entry: &Entry) -> Item {
    let error = Error::of(&entry.error);
    match (entry.status, error.word()) {
        (200 | 201, _) if !entry.error.is_null() => Item::Retry(meaningless(entry.status)),
        (200 | 201, _) if entry.failure_store == "used" => Item::InFailureStore,
        (200, _) if entry.result == "noop" => Item::LeftOut,
        (200 | 201, _) => Item::Delivered,
        (409, Some("version_conflict_engine_exception")) if op == Op::Create => Item::Delivered,
        (400 | 403 | 404 | 429, word) => refused(entry.status, word, &error),
        (413, _) => Item::Rejected(error.reason("the cluster refused the document as too large")),
        (401, _) => Item::Retry(fault(FaultKind::Auth, "the cluster refused the credentials".to_owned())),
        (500, word) => Item::Failed(failed(entry.status, word)),
        (501..=599, word) => Item::Retry(failed(entry.status, word)),
        (status, _) => Item::Retry(meaningless(status)),
    }
}

/// What 4xx of an item is about: the sink's settings, the cluster's state, or the document.
fn refused(status: u16, word: Option<&str>, error: &Error<'_>) -> Item {
    let about = about(status, word.unwrap_or_default(), error.said);
    let told = word.unwrap_or("no word why");
    match about {
        Some((kind, means)) => Item::Retry(fault(kind, format!("the cluster {means}: {told}"))),
        None if status == 400 => Item::Rejected(error.reason("the cluster refused the document")),
        None => Item::Retry(fault(
            FaultKind::Config,
            format!("the cluster does not take events: status {status}, {told}"),
        )),
    }
}

const DISK: &str = "blocks writing to the index, usually for want of disk (the flood-stage watermark): make room, and the \
                    block goes";
const BLOCKED: &str = "blocks writing to the index: look for `index.blocks` in its settings, and for want of disk (the disk \
                       watermark)";
const NO_INDEX: &str = "does not have the index and does not make it: make it, or a template for its data stream";
const NO_RIGHT: &str = "does not let us write to the index: give the privileges `create_doc` and `auto_configure` on it (in \
                        OpenSearch `index` and `create_index`)";

/// The settings or the state that a word is about; `None` for a document.
fn about(status: u16, word: &str, said: &str) -> Option<(FaultKind, &'static str)> {
    Some(match (status, word) {
        (429, "cluster_block_exception") => (FaultKind::Config, DISK),
        (403, "cluster_block_exception") => (FaultKind::Config, BLOCKED),
        (429, _) => (FaultKind::Busy, "has no room for more requests"),
        (403, "security_exception") => (FaultKind::Auth, NO_RIGHT),
        (404, "index_not_found_exception") => (FaultKind::Config, NO_INDEX),
        (400, "index_closed_exception") => (FaultKind::Config, "has closed the index"),
        (400, "invalid_index_name_exception") => (FaultKind::Config, "does not take the name of the index"),
        (400, "validation_exception") if said.starts_with(SHARDS_SAID) => (FaultKind::Config, SHARDS),
        (400, "illegal_argument_exception") => {
            let row = SETTINGS_SAID.iter().find(|(first, _)| said.starts_with(first));
            (FaultKind::Config, row?.1)
        }
        _ => return None,
    })
}

/// A new day's index is one more, so this comes at midnight.
const SHARDS: &str = "does not make the index, for it is at its limit of shards: delete or close old indices, or raise \
                      `cluster.max_shards_per_node`";
/// What the cluster says then, under either of two types.
const SHARDS_SAID: &str = "Validation Failed: 1: this action would add [";

/// What an `illegal_argument_exception` says when it is about settings. These texts have stood since data streams came.
const SETTINGS_SAID: &[(&str, &str)] = &[
    (
        "pipeline with id [",
        "does not have the ingest pipeline that `pipeline` or the index names",
    ),
    (
        "only write ops with an op_type of create are allowed in data streams",
        "has a data stream there, which takes `op = \"create\"` alone",
    ),
    (SHARDS_SAID, SHARDS),
    (
        "no write index is defined for alias [",
        "has no index to write to behind the alias: give one of them `is_write_index`",
    ),
];

/// Types of errors that mean that a body could not be read.
const UNREADABLE: &[&str] = &[
    "json_e_o_f_exception",
    "json_parse_exception",
    "not_x_content_exception",
    "parse_exception",
    "parsing_exception",
    "x_content_parse_exception",
];

/// What changes a body so that it cannot be read is on the way to the cluster: a lone event's is whole, and JSON.
const UNREAD: &str =
    "could not read the request, which something on the way may have changed: try `compression = \"none\"`";

/// The whole request, of so many events, was refused.
fn refusal(answer: &Answer, events: usize) -> Verdict {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = Error::of(body.get("error").unwrap_or_default());
    let told = |what: &str| format!("the cluster {what}: http status {}{}", answer.status, error.suffix());
    match (answer.status, error.word()) {
        (413, _) => Verdict::Suspect(told("refused the request as too large")),
        (400, Some(word)) if UNREADABLE.contains(&word) => match events {
            2.. => Verdict::Suspect(told("could not read the request")),
            _ => Verdict::Fault(fault(FaultKind::Config, told(UNREAD))),
        },
        (500, _) => Verdict::Doubtful(answer.fault("the cluster")),
        (400, Some(_)) => Verdict::Fault(fault(FaultKind::Config, told("does not take the request as it is set"))),
        (403, Some("cluster_block_exception")) => Verdict::Fault(fault(FaultKind::Config, told(BLOCKED))),
        (403, Some("security_exception")) => Verdict::Fault(fault(FaultKind::Auth, told(NO_RIGHT))),
        (404, Some("index_not_found_exception")) => Verdict::Fault(fault(FaultKind::Config, told(NO_INDEX))),
        _ if answer.may_be_content() => Verdict::Doubtful(answer.fault("the cluster")),
        _ => Verdict::Fault(answer.fault("the cluster")),
    }
}

fn failed(status: u16, word: Option<&str>) -> Fault {
    let told = word.unwrap_or("no word why");
    fault(
        FaultKind::Server,
        format!("the cluster failed: status {status}, {told}"),
    )
}

fn meaningless(status: u16) -> Fault {
    let message = format!("the cluster answered for an event with what means nothing: status {status}");
    fault(FaultKind::Server, message)
}

fn fault(kind: FaultKind, message: String) -> Fault {
    Fault { kind, message }
}

/// An `error` object, or what stands there instead.
#[derive(Debug, Clone, Copy)]
struct Error<'a> {
    word: Option<&'a str>,
    said: &'a str,
    cause: Option<&'a str>,
}

impl<'a> Error<'a> {
    fn of(error: &'a Value) -> Self {
        let text = |value: &'a Value, key: &str| value.get(key).and_then(Value::as_str);
        let cause = error.get("caused_by").and_then(|cause| text(cause, "type"));
        Self {
            word: text(error, "type").filter(|word| is_word(word)),
            said: text(error, "reason").unwrap_or_default(),
            cause: cause.filter(|word| is_word(word)),
        }
    }

    fn word(&self) -> Option<&'a str> {
        self.word
    }

    fn suffix(&self) -> String {
        self.word.map(|word| format!(", {word}")).unwrap_or_default()
    }

    /// Why an event is refused, for its dead letter. What is echoed of the event is made harmless.
    fn reason(&self, what: &str) -> String {
        let cause = self.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        let said = clean_within(self.said.as_bytes(), REASON_CHARS_MAX);
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        format!("{what}: {}{cause}{said}", self.word.unwrap_or("no word why"))
    }
}

/// Types of errors are words of the server's own.
fn is_word(word: &str) -> bool {
    let of_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=TYPE_BYTES_MAX).contains(&word.len()) && word.bytes().all(of_word)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
