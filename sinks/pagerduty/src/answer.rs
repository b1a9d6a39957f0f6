//! What PagerDuty's answer means.
//!
//! 202 with `{"status":"success",…}` is a success and nothing else. 400 with `{"status":"invalid event",…}` is about the
//! event, or about the routing key in it; anything else is of a proxy or of another server, and the event is tried again.

use serde_json::Value;
use trapline_schemas::text::clean_within;
use trapline_sink::courier::Verdict;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 300;
/// Most of what it says that is told: a message and errors.
const TOLD_MAX: usize = 5;

/// Judges the answer to an event.
pub(crate) fn of_event(answer: &Answer) -> Verdict {
    let reply: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = reply.get("status").and_then(Value::as_str);
    match (answer.status, status) {
        (202, Some("success")) => Verdict::Accepted(format!("http status 202, success: {}", message(&reply))),
        (400, Some(status)) => of_refusal(status, &reply),
        (413, _) => refused("http status 413, it is too large", true),
        _ => Verdict::Fault(other(answer)),
    }
}

/// Judges the answer to an event that is none: PagerDuty says what is wrong with it. Out: what is wrong otherwise.
pub(crate) fn of_question(answer: &Answer) -> Result<(), Fault> {
    match of_event(answer) {
        Verdict::Refused { known: true, .. } => Ok(()),
        Verdict::Fault(fault) => Err(fault),
        Verdict::Refused { reason, .. } => Err(Fault {
            kind: FaultKind::Config,
            message: reason,
        }),
        Verdict::Accepted(_) | Verdict::Changed(_) => Err(Fault {
            kind: FaultKind::Server,
            message: "pagerduty took an event that is none".to_owned(),
        }),
    }
}

fn of_refusal(status: &str, reply: &Value) -> Verdict {
    let errors = reply.get("errors").and_then(Value::as_array);
    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
    let said: Vec<&str> = [message(reply)].into_iter().chain(errors).collect();
    let is_of_key = said.iter().any(|text| is_of_key(text));
    let told: Vec<&str> = said
        .into_iter()
        .filter(|text| !text.is_empty())
        .take(TOLD_MAX)
        .collect();
    let told = clean_within(told.join("; ").as_bytes(), REASON_CHARS_MAX);
    match is_of_key {
        true => Verdict::Fault(Fault {
            kind: FaultKind::Auth,
            message: format!(
                "pagerduty refused the routing key: {told}; take that of the service's integration \"Events API V2\""
            ),
        }),
        false if status == INVALID => refused(&told, true),
        false => refused(&format!("{told}; is `endpoint` right?"), false),
    }
}

fn message(reply: &Value) -> &str {
    reply.get("message").and_then(Value::as_str).unwrap_or_default()
}

fn refused(why: &str, known: bool) -> Verdict {
    let reason = format!("pagerduty refused the event: {why}");
    Verdict::Refused { reason, known }
}

/// The status by which PagerDuty says that an event is wrong. A gateway's JSON may have another.
const INVALID: &str = "invalid event";

/// Whether an error is about the routing key: by what it begins with, for an error may go on with what was sent.
fn is_of_key(error: &str) -> bool {
    const WORDS: [&str; 4] = [
        "length of 'routing_key'",
        "'routing_key'",
        "invalid routing key",
        "invalid key",
    ];
    let begins_with = |words: &str| {
        let start = error.get(..words.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(words))
    };
    WORDS.iter().any(|words| begins_with(words))
}

/// What an answer means that is not PagerDuty's. One that should be a success and is not is nobody's we know.
fn other(answer: &Answer) -> Fault {
    if answer.is_success() {
        return Fault {
            kind: FaultKind::Server,
            message: format!(
                "gave an answer that is not pagerduty's: http status {}, is `endpoint` right?",
                answer.status
            ),
        };
    }
    answer.fault("pagerduty")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        }
    }

    fn said(status: u16, body: &str) -> Verdict {
        of_event(&answer(status, body))
    }

    fn kind(verdict: &Verdict) -> Option<FaultKind> {
        match verdict {
            Verdict::Fault(fault) => Some(fault.kind),
            _ => None,
        }
    }

    const SUCCESS: &str = r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#;
    const WRONG: &str =
        r#"{"status":"invalid event","message":"Event object is invalid","errors":["'payload.severity' is invalid"]}"#;
    const KEY_IS_WRONG: &str = r#"{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#;

    #[test]
    fn only_pagerdutys_own_success_counts() {
        let accepted = Verdict::Accepted("http status 202, success: Event processed".to_owned());
        assert_eq!(said(202, SUCCESS), accepted);
        for (status, body) in [
            (200, SUCCESS),
            (202, ""),
            (202, "<html>success</html>"),
            (202, r#"{"status":"failed"}"#),
            (202, r#"{"status":true}"#),
            (202, r#"["success"]"#),
            (204, ""),
        ] {
            assert_eq!(kind(&said(status, body)), Some(FaultKind::Server), "{status} {body}");
        }
    }

    #[test]
    fn each_status_has_its_class() {
        for (status, body, expected) in [
            (400, KEY_IS_WRONG, FaultKind::Auth),
            (
                400,
                r#"{"status":"Bad Request","message":"Invalid routing key"}"#,
                FaultKind::Auth,
            ),
            (400, "<html>bad request</html>", FaultKind::Config),
            (401, "", FaultKind::Auth),
            (403, "", FaultKind::Auth),
            (404, "", FaultKind::Config),
            (301, "", FaultKind::Config),
            (429, "", FaultKind::Busy),
            (500, WRONG, FaultKind::Server),
            (503, "", FaultKind::Server),
        ] {
            assert_eq!(kind(&said(status, body)), Some(expected), "{status} {body}");
        }
        let Verdict::Refused { reason, known: true } = said(400, WRONG) else {
            panic!("about the event")
        };
        assert!(reason.contains("'payload.severity' is invalid"), "{reason}");
        assert!(matches!(said(413, ""), Verdict::Refused { known: true, .. }));
    }

    #[test]
    fn what_an_event_says_does_not_pass_for_a_fault_of_the_key() {
        let body = r#"{"status":"invalid event","message":"x","errors":["'payload.source' is 'routing_key'"]}"#;
        assert!(matches!(said(400, body), Verdict::Refused { known: true, .. }));
    }

    #[test]
    fn a_question_is_well_answered_by_a_refusal() {
        assert_eq!(of_question(&answer(400, WRONG)), Ok(()));
        assert_eq!(
            of_question(&answer(400, KEY_IS_WRONG)).unwrap_err().kind,
            FaultKind::Auth
        );
        assert_eq!(of_question(&answer(202, SUCCESS)).unwrap_err().kind, FaultKind::Server);
        assert_eq!(of_question(&answer(404, "")).unwrap_err().kind, FaultKind::Config);
    }

    proptest! {
        #[test]
        fn any_bytes_of_pagerduty_are_a_verdict_that_believes_no_more_than_they_say(
            status in prop::sample::select(vec![200, 202, 302, 400, 403, 404, 413, 429, 500, 503]),
            whole in prop::sample::select(vec![SUCCESS, WRONG, KEY_IS_WRONG, "<html>", "{", "null"]),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut body = whole.as_bytes().to_vec();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let reply = serde_json::from_slice::<Value>(&body).unwrap_or_default();
            let verdict = of_event(&Answer { status, retry_after: None, body });
            let is_taken = matches!(verdict, Verdict::Accepted(_));
            prop_assert_eq!(is_taken, status == 202 && reply["status"] == "success");
            if let Verdict::Refused { reason, known } = &verdict {
                prop_assert!(reason.chars().count() <= REASON_CHARS_MAX + 60);
                prop_assert!(trapline_schemas::text::is_clean(reason));
                prop_assert!(!known || status == 413 || reply["status"] == "invalid event");
            }
        }
    }
}
