//! What PagerDuty's answer means.
//!
//! 202 with `{"status":"success",…}` is a success and nothing else. 400 with PagerDuty's own JSON is about the event, or
//! about the routing key in it; a status without it is of a proxy or of another server, and the event is tried again.

use serde_json::Value;
use trapline_schemas::text::clean_within;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 300;
/// Most of its errors that are told.
const ERRORS_MAX: usize = 4;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// PagerDuty has it.
    Accepted,
    /// This very event is refused as it is.
    Refused(String),
    /// Not delivered; send again later.
    Fault(Fault),
}

/// Judges the answer to an event.
pub(crate) fn of_event(answer: &Answer) -> Verdict {
    let reply: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = reply.get("status").and_then(Value::as_str);
    match (answer.status, status) {
        (202, Some("success")) => Verdict::Accepted,
        (400, Some(_)) => of_refusal(&reply),
        (413, _) => Verdict::Refused("pagerduty refused the event as too large: http status 413".to_owned()),
        _ => Verdict::Fault(other(answer)),
    }
}

/// Judges the answer to an event that is none: PagerDuty says what is wrong with it. Out: what is wrong otherwise.
pub(crate) fn of_question(answer: &Answer) -> Result<(), Fault> {
    match of_event(answer) {
        Verdict::Refused(_) => Ok(()),
        Verdict::Fault(fault) => Err(fault),
        Verdict::Accepted => Err(Fault {
            kind: FaultKind::Server,
            message: "pagerduty took an event that is none".to_owned(),
        }),
    }
}

fn of_refusal(reply: &Value) -> Verdict {
    let errors = reply.get("errors").and_then(Value::as_array);
    let errors = errors.into_iter().flatten().filter_map(Value::as_str);
    let message = reply.get("message").and_then(Value::as_str);
    let said: Vec<&str> = message.into_iter().chain(errors).take(ERRORS_MAX + 1).collect();
    let is_of_key = said.iter().any(|text| is_of_key(text));
    let said = clean_within(said.join("; ").as_bytes(), REASON_CHARS_MAX);
    match is_of_key {
        true => Verdict::Fault(Fault {
            kind: FaultKind::Auth,
            message: format!(
                "pagerduty refused the routing key: {said}; take that of the service's integration \"Events API V2\""
            ),
        }),
        false => Verdict::Refused(format!("pagerduty refused the event: {said}")),
    }
}

/// Whether an error is about the routing key: by what it begins with, for an error may go on with what was sent.
fn is_of_key(error: &str) -> bool {
    const WORDS: [&str; 4] = [
        "Length of 'routing_key'",
        "'routing_key'",
        "Invalid routing key",
        "Invalid key",
    ];
    WORDS.iter().any(|words| error.starts_with(words))
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
    const INVALID: &str =
        r#"{"status":"invalid event","message":"Event object is invalid","errors":["'payload.severity' is invalid"]}"#;
    const WRONG_KEY: &str = r#"{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#;

    #[test]
    fn only_pagerdutys_own_success_counts() {
        assert_eq!(said(202, SUCCESS), Verdict::Accepted);
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
            (400, WRONG_KEY, FaultKind::Auth),
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
            (500, INVALID, FaultKind::Server),
            (503, "", FaultKind::Server),
        ] {
            assert_eq!(kind(&said(status, body)), Some(expected), "{status} {body}");
        }
        let Verdict::Refused(reason) = said(400, INVALID) else {
            panic!("about the event")
        };
        assert!(reason.contains("'payload.severity' is invalid"), "{reason}");
        assert!(matches!(said(413, ""), Verdict::Refused(_)));
    }

    #[test]
    fn what_an_event_says_does_not_pass_for_a_fault_of_the_key() {
        let body = r#"{"status":"invalid event","message":"x","errors":["'payload.source' is 'routing_key'"]}"#;
        assert!(matches!(said(400, body), Verdict::Refused(_)));
    }

    #[test]
    fn a_question_is_well_answered_by_a_refusal() {
        assert_eq!(of_question(&answer(400, INVALID)), Ok(()));
        assert_eq!(of_question(&answer(400, WRONG_KEY)).unwrap_err().kind, FaultKind::Auth);
        assert_eq!(of_question(&answer(202, SUCCESS)).unwrap_err().kind, FaultKind::Server);
        assert_eq!(of_question(&answer(404, "")).unwrap_err().kind, FaultKind::Config);
    }

    proptest! {
        #[test]
        fn any_bytes_of_pagerduty_are_a_verdict_that_believes_no_more_than_they_say(
            status in prop::sample::select(vec![200, 202, 302, 400, 403, 404, 413, 429, 500, 503]),
            whole in prop::sample::select(vec![SUCCESS, INVALID, WRONG_KEY, "<html>", "{", "null"]),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut body = whole.as_bytes().to_vec();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let says_success = serde_json::from_slice::<Value>(&body).is_ok_and(|reply| reply["status"] == "success");
            let verdict = of_event(&Answer { status, retry_after: None, body });
            prop_assert_eq!(verdict == Verdict::Accepted, status == 202 && says_success);
            if let Verdict::Refused(reason) = &verdict {
                prop_assert!(reason.chars().count() <= REASON_CHARS_MAX + 40);
                prop_assert!(trapline_schemas::text::is_clean(reason));
            }
        }
    }
}
