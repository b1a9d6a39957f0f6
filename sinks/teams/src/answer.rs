//! What a workflow's answer means: judged by its error code, else by the status.
//!
//! A workflow answers `202` when it has begun, and `{"error":{"code":"…","message":"…"}}` when it has not. Only a code of
//! its own can be about a message: a proxy that refuses alarms, and the message is tried again.

use serde_json::Value;
use trapline_sink::codes::About::{Credentials, Message, Pace, Server, Settings};
use trapline_sink::codes::{Codes, Row};
use trapline_sink::courier::Verdict;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};

const WHOLE_URL: &str = "copy the workflow's URL again, whole, with its `sig=…`";
const ANYONE: &str = "let anyone trigger the workflow (\"Who can trigger the flow?\")";
const AGAIN: &str = "the workflow was deleted or made anew: copy its new URL";
const TURN_ON: &str = "turn the workflow on, and look at who owns it";
const TEMPLATE: &str = "make the workflow from the template \"Post to a channel when a webhook request is received\"";

/// Codes that workflows answer a request with.
const ROWS: &[Row] = &[
    ("DirectApiAuthorizationRequired", Credentials, WHOLE_URL),
    ("DirectApiInvalidAuthorizationScheme", Credentials, ANYONE),
    ("DirectApiRequestHasMoreThanOneAuthorization", Credentials, ANYONE),
    ("AuthorizationFailed", Credentials, WHOLE_URL),
    ("AuthenticationFailed", Credentials, WHOLE_URL),
    ("InvalidAuthenticationToken", Credentials, ANYONE),
    ("MisMatchingOAuthClaims", Credentials, ANYONE),
    ("OAuthAuthorizationFailed", Credentials, ANYONE),
    ("Unauthorized", Credentials, WHOLE_URL),
    (
        "Forbidden",
        Credentials,
        "an administrator or a policy forbids the workflow",
    ),
    ("WorkflowTriggerIsNotEnabled", Settings, TURN_ON),
    ("WorkflowIsNotEnabled", Settings, TURN_ON),
    ("WorkflowDisabled", Settings, TURN_ON),
    ("FlowSuspended", Settings, TURN_ON),
    ("WorkflowNotFound", Settings, AGAIN),
    ("WorkflowTriggerNotFound", Settings, AGAIN),
    ("FlowNotFound", Settings, AGAIN),
    ("EnvironmentNotFound", Settings, AGAIN),
    ("ResourceNotFound", Settings, AGAIN),
    ("TriggerRequestMethodNotValid", Settings, TEMPLATE),
    ("TriggerInputSchemaMismatch", Settings, TEMPLATE),
    ("TooManyRequests", Pace, ""),
    ("WorkflowRequestsThrottled", Pace, ""),
    ("WorkflowTriggerRequestsThrottled", Pace, ""),
    ("OperationThrottled", Pace, ""),
    ("ServerBusy", Pace, ""),
    ("InternalServerError", Server, ""),
    ("ServiceUnavailable", Server, ""),
    ("GatewayTimeout", Server, ""),
    ("BadGateway", Server, ""),
    (
        "NoResponse",
        Server,
        "the workflow failed before it answered: look at its run history",
    ),
    ("InvalidRequest", Message, ""),
    ("InvalidRequestContent", Message, ""),
    ("InvalidJson", Message, ""),
    ("RequestEntityTooLarge", Message, ""),
    ("RequestContentTooLarge", Message, ""),
];

const CODES: Codes = Codes {
    who: WHAT,
    where_unset: "does not run",
    rows: ROWS,
};

const WHAT: &str = "the workflow";

/// Judges an answer.
pub(crate) fn judge(answer: &Answer) -> Verdict {
    if matches!(answer.status, 200..=202 | 204) {
        return success(answer);
    }
    match code(&answer.body) {
        Some(code) => by_code(answer, &code),
        None if answer.status == 413 => CODES.refusal("http status 413", true),
        None => Verdict::Fault(answer.fault(WHAT)),
    }
}

/// A workflow that has begun answers nothing, or what its maker wrote; never an error or a page.
fn success(answer: &Answer) -> Verdict {
    let status = answer.status;
    if is_of_workflow(answer.body.trim_ascii()) {
        return Verdict::Accepted(format!(
            "http status {status}: the workflow has begun, and its run history tells whether it posted"
        ));
    }
    Verdict::Fault(Fault {
        kind: FaultKind::Server,
        message: format!("{WHAT} gave an answer that is not a workflow's: http status {status}"),
    })
}

fn is_of_workflow(body: &[u8]) -> bool {
    let says_error = serde_json::from_slice(body).is_ok_and(|reply: Value| reply.get("error").is_some());
    let is_page = |text: &str| text.trim_start_matches('\u{feff}').starts_with(['<']) || text.starts_with(FAILED);
    let is_text = std::str::from_utf8(body).is_ok_and(|text| !is_page(text));
    is_text && !says_error && body.len() < ANSWER_USUAL
}

/// What stands before Teams' own refusal under a status of success.
const FAILED: &str = "Webhook message delivery failed";
/// Longer is no answer of a workflow to a webhook.
const ANSWER_USUAL: usize = 16 << 10;

/// Judges by the code; only under a status that may be about the message can a code be.
fn by_code(answer: &Answer, code: &str) -> Verdict {
    let may_be_of_message = matches!(answer.status, 400 | 413 | 422);
    match CODES.verdict(code) {
        Some(verdict @ Verdict::Fault(_)) if answer.status != 429 => verdict,
        Some(verdict) if may_be_of_message => verdict,
        None if may_be_of_message => CODES.refusal(code, false),
        _ => Verdict::Fault(with_code(answer.fault(WHAT), code)),
    }
}

fn with_code(fault: Fault, code: &str) -> Fault {
    let message = format!("{}, {code}", fault.message);
    Fault { message, ..fault }
}

/// Longest code that is believed to be one.
const CODE_MAX: usize = 64;

/// The error's code, if there is one that is a word.
fn code(body: &[u8]) -> Option<String> {
    let reply: Value = serde_json::from_slice(body).ok()?;
    let code = reply.pointer("/error/code")?.as_str()?;
    let is_word = (1..=CODE_MAX).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        judge(&Answer {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        })
    }

    fn said(status: u16, code: &str) -> Verdict {
        verdict(status, &format!(r#"{{"error":{{"code":"{code}","message":"hush"}}}}"#))
    }

    fn kind(verdict: &Verdict) -> Option<FaultKind> {
        match verdict {
            Verdict::Fault(fault) => Some(fault.kind),
            _ => None,
        }
    }

    #[test]
    fn a_workflow_that_has_begun_says_nothing_or_a_word() {
        for body in ["", "1", "\"ok\"", r#"{"id":7}"#] {
            assert!(matches!(verdict(202, body), Verdict::Accepted(_)), "{body}");
        }
        for body in [
            "<html>welcome</html>",
            r#"{"error":{"code":"BadGateway"}}"#,
            &"x".repeat(20_000),
        ] {
            assert_eq!(kind(&verdict(202, body)), Some(FaultKind::Server));
        }
        assert_eq!(kind(&verdict(302, "")), Some(FaultKind::Config));
    }

    #[test]
    fn each_code_has_its_class_and_an_operator_is_told_what_to_do() {
        for (status, code, expected, advice) in [
            (401, "DirectApiAuthorizationRequired", FaultKind::Auth, "sig="),
            (
                400,
                "WorkflowTriggerIsNotEnabled",
                FaultKind::Config,
                "turn the workflow on",
            ),
            (404, "WorkflowNotFound", FaultKind::Config, "new URL"),
            (400, "TriggerInputSchemaMismatch", FaultKind::Config, "template"),
            (429, "TooManyRequests", FaultKind::Busy, "pause"),
            (502, "NoResponse", FaultKind::Server, "run history"),
            (403, "SomethingNew", FaultKind::Auth, "SomethingNew"),
            (500, "SomethingNew", FaultKind::Server, "SomethingNew"),
        ] {
            let Verdict::Fault(fault) = said(status, code) else {
                panic!("{code}")
            };
            assert_eq!(fault.kind, expected, "{code}");
            assert!(
                fault.message.contains(advice) && !fault.message.contains("hush"),
                "{fault:?}"
            );
        }
        for code in ["InvalidRequestContent", "RequestEntityTooLarge"] {
            assert!(
                matches!(said(400, code), Verdict::Refused { known: true, .. }),
                "{code}"
            );
        }
        assert!(matches!(
            said(400, "SomethingNew"),
            Verdict::Refused { known: false, .. }
        ));
        assert!(matches!(verdict(413, "<html>"), Verdict::Refused { known: true, .. }));
        assert_eq!(
            kind(&verdict(400, "<html>no</html>")),
            Some(FaultKind::Config),
            "a proxy's"
        );
        assert_eq!(
            kind(&said(400, "<at>all</at>")),
            Some(FaultKind::Config),
            "no word at all"
        );
    }

    #[test]
    fn codes_are_in_the_table_once_and_are_words() {
        assert_eq!(CODES.double(), None);
        for (code, ..) in ROWS {
            assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");
        }
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let coded = prop::sample::select(ROWS)
            .prop_map(|(code, ..)| format!(r#"{{"error":{{"code":"{code}","message":"x"}}}}"#).into_bytes());
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        let damaged = (coded, damage).prop_map(|(mut body, damage)| {
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            body
        });
        prop_oneof![damaged, any::<Vec<u8>>()]
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_workflow_are_a_verdict_in_plain_words(status in 200_u16..600, body in body()) {
            let answer = Answer { status, retry_after: None, body };
            match judge(&answer) {
                Verdict::Accepted(_) => prop_assert!(matches!(status, 200..=202 | 204)),
                Verdict::Changed(_) => prop_assert!(false, "a card has nothing to change"),
                Verdict::Refused { reason: text, .. } | Verdict::Fault(Fault { message: text, .. }) => {
                    let is_refusal = matches!(judge(&answer), Verdict::Refused { .. });
                    prop_assert!(!is_refusal || matches!(status, 400 | 413 | 422));
                    prop_assert!(text.len() < 260 && trapline_schemas::text::is_clean(&text), "{}", text);
                    prop_assert!(!text.contains(['<', '>', '{']), "{}", text);
                }
            }
        }
    }
}
