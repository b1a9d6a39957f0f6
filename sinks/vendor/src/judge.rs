//! What an answer means: the vendor's rules first, then what its status says everywhere.

use std::time::Duration;

use serde_json::Value;
use trapline_sink::http::Answer;
use trapline_sink::{Fault, FaultKind};
use trapline_template::{Body, Scope};

/// Longest text of a vendor's that is told, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// Why a step did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// What was to be made is there already.
    Exists,
    /// The object that it is about is not there any more.
    Gone,
    /// The vendor refuses these very values.
    Refused(String),
    /// The object that it is about is there, and may not be changed by us.
    Locked(Fault),
    /// It did not work, and may later. The vendor may have done what was asked.
    Fault {
        /// Why.
        fault: Fault,
        /// The pause that the vendor asked for.
        retry_after: Option<Duration>,
    },
}

impl Failed {
    pub(crate) fn server(message: String) -> Self {
        Self::of(FaultKind::Server, message)
    }

    pub(crate) fn of(kind: FaultKind, message: String) -> Self {
        let fault = Fault { kind, message };
        Self::Fault {
            fault,
            retry_after: None,
        }
    }
}

/// A transport's fault.
impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault {
            fault,
            retry_after: None,
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Meaning {
    /// It worked.
    Ok,
    /// It was so already: the call is done, and nothing is taken from the answer.
    Done,
    /// What was to be made is there already.
    Exists,
    /// What it is about is not there.
    Gone,
    /// These values are refused.
    Refused,
    /// What it is about may not be changed by us: as it is, or at all.
    Locked,
    /// Later.
    Busy,
    /// The vendor failed.
    Server,
    /// The credentials are refused.
    Auth,
    /// The configuration asks for what is not there.
    Config,
}

/// A vendor's rule.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    status: Vec<u16>,
    /// A part of the vendor's words, in any case.
    #[serde(default)]
    says: String,
    means: Meaning,
    /// What an operator should do.
    #[serde(default)]
    hint: String,
}

impl Rule {
    fn fits(&self, status: u16, words: &str) -> bool {
        self.status.contains(&status) && words.to_lowercase().contains(&self.says.to_lowercase())
    }
}

/// What a call's answer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// It worked; take from the answer.
    Ok,
    /// Nothing was to be done.
    Done,
}

/// Judges an answer. In: `words`, what the vendor says in it, cleaned; `ok`, the statuses that are good, none: any 2xx.
pub(crate) fn judge<'r>(
    who: &str,
    answer: &Answer,
    words: &str,
    ok: &[u16],
    rules: impl Iterator<Item = &'r Rule>,
) -> Result<Came, Failed> {
    let rule = rules.into_iter().find(|rule| rule.fits(answer.status, words));
    let is_ok = match ok {
        [] => answer.is_success(),
        some => some.contains(&answer.status),
    };
    let meaning = match rule {
        Some(rule) => rule.means,
        None if is_ok => Meaning::Ok,
        None => by_status(answer.status),
    };
    let told = || told(who, answer.status, words, rule.map_or("", |rule| rule.hint.as_str()));
    let fault = |kind| Failed::Fault {
        fault: Fault { kind, message: told() },
        // No time at all would have it asked without end.
        retry_after: answer.retry_after.filter(|pause| !pause.is_zero()),
    };
    match meaning {
        Meaning::Ok => Ok(Came::Ok),
        Meaning::Done => Ok(Came::Done),
        Meaning::Exists => Err(Failed::Exists),
        Meaning::Gone => Err(Failed::Gone),
        Meaning::Refused => Err(Failed::Refused(told())),
        Meaning::Locked => Err(Failed::Locked(Fault {
            kind: FaultKind::Auth,
            message: told(),
        })),
        Meaning::Busy => Err(fault(FaultKind::Busy)),
        Meaning::Server => Err(fault(FaultKind::Server)),
        Meaning::Auth => Err(fault(FaultKind::Auth)),
        Meaning::Config => Err(fault(FaultKind::Config)),
    }
}

/// What a status means where the vendor has no rule for it.
fn by_status(status: u16) -> Meaning {
    match status {
        400 | 413 | 422 => Meaning::Refused,
        401 | 403 | 407 | 511 => Meaning::Auth,
        408 | 425 | 429 => Meaning::Busy,
        // A conflict of two who write at once passes.
        409 | 423 => Meaning::Server,
        300..=499 => Meaning::Config,
        _ => Meaning::Server,
    }
}

/// In an operator's words.
fn told(who: &str, status: u16, words: &str, hint: &str) -> String {
    let means = match status {
        200..=299 => "gave an answer that means nothing",
        300..=399 => "redirects, which is never followed",
        400 | 413 | 422 => "does not take this",
        401 | 403 => "refused the credentials, or they lack a right",
        407 | 511 => "is behind a proxy that asks for a login",
        404 | 405 | 410 => "has nothing at this address",
        408 | 425 | 429 => "asked for a pause",
        409 | 423 => "is at work on it elsewhere",
        400..=499 => "does not take such requests",
        503 => "is not available",
        _ => "failed",
    };
    let mut text = format!("{who} {means}: http status {status}");
    if !words.is_empty() {
        text = format!("{text}, `{words}`");
    }
    if !hint.is_empty() {
        text = format!("{text}; {hint}");
    }
    text
}

/// The vendor's own words in an answer: one line, cleaned and cut. Values of `secrets` in it are not shown.
pub(crate) fn words(says: &[Body], answer: &Value, secrets: &[String]) -> String {
    let scope = Scope::default().and("answer", answer);
    let parts = says
        .iter()
        .filter_map(|body| body.render(&scope).ok())
        .filter_map(|value| text_of(&value));
    let mut told = parts.collect::<Vec<_>>().join(": ");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        told = told.replace(secret.as_str(), "***");
        // As it stands in a part of an answer that is told as JSON.
        let written = Value::from(secret.as_str()).to_string();
        told = told.replace(written.trim_matches('"'), "***");
    }
    trapline_schemas::text::clean_within(told.as_bytes(), WORDS_CHARS_MAX).to_string()
}

fn text_of(value: &Value) -> Option<String> {
    let is_empty = match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    match value {
        _ if is_empty => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let texts: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            Some(texts.join("; "))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trapline_template::Names;

    use super::*;

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: Vec::new(),
        }
    }

    fn rule(text: &str) -> Rule {
        toml::from_str(text).unwrap()
    }

    fn kind(failed: Failed) -> FaultKind {
        match failed {
            Failed::Fault { fault, .. } => fault.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_status_without_a_rule_means_what_it_means_everywhere() {
        for status in 100..=599 {
            let came = judge("the desk", &answer(status), "", &[], [].iter());
            match status {
                200..=299 => assert_eq!(came, Ok(Came::Ok)),
                400 | 413 | 422 => assert!(matches!(came, Err(Failed::Refused(_))), "{status}"),
                401 | 403 | 407 | 511 => assert_eq!(kind(came.unwrap_err()), FaultKind::Auth, "{status}"),
                408 | 425 | 429 => assert_eq!(kind(came.unwrap_err()), FaultKind::Busy, "{status}"),
                409 | 423 => assert_eq!(kind(came.unwrap_err()), FaultKind::Server, "{status}"),
                300..=499 => assert_eq!(kind(came.unwrap_err()), FaultKind::Config, "{status}"),
                _ => assert_eq!(kind(came.unwrap_err()), FaultKind::Server, "{status}"),
            }
        }
    }

    #[test]
    fn a_rule_of_the_vendor_goes_first_and_is_told_with_what_to_do() {
        let rules = [
            rule("status = [400]\nsays = 'Already Exists'\nmeans = 'exists'"),
            rule("status = [400, 404]\nsays = 'project'\nmeans = 'config'\nhint = 'set `fields.project`'"),
            rule("status = [200]\nmeans = 'done'"),
        ];
        let judged = |status, words: &str| judge("the desk", &answer(status), words, &[], rules.iter());
        assert_eq!(judged(400, "alert already exists"), Err(Failed::Exists));
        assert_eq!(judged(200, ""), Ok(Came::Done));
        assert!(matches!(judged(400, "title too long"), Err(Failed::Refused(_))));
        let Err(Failed::Fault { fault, .. }) = judged(400, "no such project") else {
            panic!("a fault");
        };
        assert_eq!(fault.kind, FaultKind::Config);
        assert!(
            fault.message.contains("`no such project`; set `fields.project`"),
            "{fault:?}"
        );
        let only = judge("the desk", &answer(200), "", &[201], [].iter());
        assert!(matches!(only, Err(Failed::Fault { .. })));
    }

    #[test]
    fn the_vendors_words_are_one_clean_short_line_without_our_secrets() {
        let names = Names::new(["answer"]);
        let says = ["{{ answer.message }}", "{{ answer.errors }}"].map(|text| Body::new(&json!(text), &names).unwrap());
        let secrets = ["hush-hush", "", "hu\"sh"].map(str::to_owned);
        let told = |answer| words(&says, &answer, &secrets);
        assert_eq!(
            told(json!({"message": "no\nhush-hush", "errors": {"a": "b"}})),
            "no\\x0a***: {\"a\":\"b\"}"
        );
        assert_eq!(told(json!({"errors": {"a": "hu\"sh"}})), "{\"a\":\"***\"}");
        assert_eq!(told(json!({"message": "", "errors": ["x", "y"]})), "x; y");
        assert_eq!(told(json!("odd")), "");
        assert!(told(json!({"message": "x".repeat(9999)})).chars().count() <= WORDS_CHARS_MAX + 1);
    }
}
