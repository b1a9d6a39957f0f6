//! What Slack's answer means: judged by its code word, else by the status.
//!
//! The Web API answers 200 with `{"ok":false,"error":"…"}`, a webhook a status and the bare word. Only a word of
//! Slack's own can be about a message: a proxy that refuses or a page of HTML alarms, and the message is tried again.

use serde_json::Value;
use trapline_sink::courier::Verdict;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};

use crate::words::{CODES, THREADS};

/// Judges a webhook's answer: `ok` is a success and nothing else.
pub(crate) fn of_webhook(answer: &Answer) -> Verdict {
    let body = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
    match answer.status {
        200 if body == "ok" => Verdict::Accepted(body.to_owned()),
        400..=428 | 430..=499 => by_word(body).unwrap_or_else(|| Verdict::Fault(other(answer))),
        _ => Verdict::Fault(other(answer)),
    }
}

/// Judges an answer of the Web API, and gives its JSON.
pub(crate) fn of_api(answer: &Answer) -> Result<Value, Verdict> {
    let reply: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let word = reply.get("error").and_then(Value::as_str);
    match (answer.status, reply.get("ok").and_then(Value::as_bool)) {
        (200, Some(true)) => Ok(reply),
        (200..=428 | 430..=499, Some(false)) => {
            let verdict = word.and_then(by_word).unwrap_or_else(|| Verdict::Fault(other(answer)));
            Err(with_scope(verdict, &reply))
        }
        _ => Err(Verdict::Fault(other(answer))),
    }
}

/// The meaning of a code word; `None` for what is no word at all. One about the thread means that the message may go
/// without: [`Verdict::Changed`].
fn by_word(word: &str) -> Option<Verdict> {
    let of_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_word = (1..=60).contains(&word.len()) && word.bytes().all(of_word);
    if !is_word {
        return None;
    }
    if THREADS.contains(&word) {
        return Some(Verdict::Changed(format!(
            "slack lets nobody answer in the thread: {word}"
        )));
    }
    Some(CODES.verdict(word).unwrap_or_else(|| CODES.refusal(word, false)))
}

/// Names the scope that is missing, which Slack says beside the word.
fn with_scope(verdict: Verdict, reply: &Value) -> Verdict {
    let needed = reply.get("needed").and_then(Value::as_str).unwrap_or_default();
    let is_scope = (1..=60).contains(&needed.len())
        && needed
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b':' | b'.' | b',' | b'_'));
    match verdict {
        Verdict::Fault(fault) if is_scope => Verdict::Fault(Fault {
            message: format!("{} (needed: {needed})", fault.message),
            ..fault
        }),
        verdict => verdict,
    }
}

/// What an answer without a word of Slack's means. One that should be a success and is not is no answer of Slack's.
fn other(answer: &Answer) -> Fault {
    if answer.is_success() {
        return Fault {
            kind: FaultKind::Server,
            message: format!("gave an answer that is not slack's: http status {}", answer.status),
        };
    }
    answer.fault("slack")
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

    fn api(status: u16, body: &str) -> Verdict {
        of_api(&answer(status, body)).map_or_else(|verdict| verdict, |_| Verdict::Accepted("ok".to_owned()))
    }

    fn said(word: &str) -> Verdict {
        api(200, &format!(r#"{{"ok":false,"error":"{word}"}}"#))
    }

    fn kind(verdict: &Verdict) -> Option<FaultKind> {
        match verdict {
            Verdict::Fault(fault) => Some(fault.kind),
            _ => None,
        }
    }

    #[test]
    fn only_slacks_own_success_counts() {
        let accepted = || Verdict::Accepted("ok".to_owned());
        assert_eq!(of_webhook(&answer(200, "ok")), accepted());
        assert_eq!(api(200, r#"{"ok":true,"ts":"1.2"}"#), accepted());
        for garbage in [
            "",
            "OK!",
            "<html>ok</html>",
            "{}",
            r#"{"ok":1}"#,
            r#"{"ok":"true"}"#,
            "[true]",
            r#"{"ok":true"#,
        ] {
            assert_eq!(
                kind(&of_webhook(&answer(200, garbage))),
                Some(FaultKind::Server),
                "{garbage}"
            );
            assert_eq!(kind(&api(200, garbage)), Some(FaultKind::Server), "{garbage}");
        }
        assert_eq!(
            kind(&of_webhook(&answer(200, "no_service"))),
            Some(FaultKind::Server),
            "200 is `ok` or not Slack's"
        );
        assert_eq!(kind(&api(201, r#"{"ok":true}"#)), Some(FaultKind::Server));
    }

    #[test]
    fn each_word_of_the_api_has_its_class() {
        for (words, expected) in [
            (
                &[
                    "not_authed",
                    "invalid_auth",
                    "token_revoked",
                    "token_expired",
                    "account_inactive",
                ][..],
                FaultKind::Auth,
            ),
            (
                &[
                    "channel_not_found",
                    "not_in_channel",
                    "is_archived",
                    "missing_scope",
                    "restricted_action",
                ],
                FaultKind::Config,
            ),
            (
                &["ratelimited", "rate_limited", "message_limit_exceeded"],
                FaultKind::Busy,
            ),
            (
                &["fatal_error", "internal_error", "service_unavailable"],
                FaultKind::Server,
            ),
        ] {
            for word in words {
                assert_eq!(kind(&said(word)), Some(expected), "{word}");
            }
        }
        for word in [
            "msg_too_long",
            "invalid_blocks",
            "msg_blocks_too_long",
            "metadata_too_large",
        ] {
            assert!(matches!(said(word), Verdict::Refused { known: true, .. }), "{word}");
        }
        assert!(matches!(said("thread_not_found"), Verdict::Changed(_)));
        assert!(matches!(
            said("word_of_next_year"),
            Verdict::Refused { known: false, .. }
        ));
        assert_eq!(kind(&said("<!channel>")), Some(FaultKind::Server), "no word at all");
    }

    #[test]
    fn each_word_of_a_webhook_has_its_class() {
        for (status, word, expected) in [
            (403, "action_prohibited", FaultKind::Config),
            (403, "invalid_token", FaultKind::Auth),
            (404, "no_service", FaultKind::Config),
            (404, "channel_not_found", FaultKind::Config),
            (410, "channel_is_archived", FaultKind::Config),
            (429, "rate_limited", FaultKind::Busy),
            (500, "rollup_error", FaultKind::Server),
            (400, "<html>bad request</html>", FaultKind::Config),
            (403, "<html>forbidden</html>", FaultKind::Auth),
            (302, "", FaultKind::Config),
            (502, "", FaultKind::Server),
        ] {
            assert_eq!(
                kind(&of_webhook(&answer(status, word))),
                Some(expected),
                "{status} {word}"
            );
        }
        for word in ["invalid_payload", "invalid_blocks", "no_text", "too_many_attachments"] {
            let verdict = of_webhook(&answer(400, word));
            assert!(matches!(verdict, Verdict::Refused { known: true, .. }), "{word}");
        }
    }

    #[test]
    fn an_operator_is_told_what_to_do() {
        let told = |verdict| match verdict {
            Verdict::Fault(fault) => fault.message,
            other => panic!("{other:?}"),
        };
        assert!(told(said("not_in_channel")).contains("/invite"));
        let missing = r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"x"}"#;
        assert!(told(api(200, missing)).ends_with("(needed: chat:write)"));
        assert!(told(of_webhook(&answer(404, "no_service"))).contains("make a new one"));
    }

    #[test]
    fn a_known_word_is_a_word() {
        for word in words() {
            assert!(by_word(word).is_some(), "{word}");
        }
    }

    fn words() -> Vec<&'static str> {
        CODES
            .rows
            .iter()
            .map(|(word, ..)| *word)
            .chain(THREADS.iter().copied())
            .collect()
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(words()).prop_map(str::to_owned);
        let api = word
            .clone()
            .prop_map(|word| format!(r#"{{"ok":false,"error":"{word}","needed":"a:b"}}"#));
        let fixed = prop::sample::select(&["ok", r#"{"ok":true,"ts":"1.2"}"#, "<html>", "{", "null"][..]);
        let whole = prop_oneof![word, api, fixed.prop_map(str::to_owned)];
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (whole, damage).prop_map(|(whole, damage)| {
            let mut body = whole.into_bytes();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            body
        })
    }

    proptest! {
        #[test]
        fn any_bytes_of_slack_are_a_verdict_that_believes_no_more_than_they_say(
            status in prop::sample::select(vec![200, 201, 302, 400, 403, 404, 410, 413, 429, 500, 503]),
            body in body(),
        ) {
            let answer = Answer { status, retry_after: None, body };
            let api = of_api(&answer).map_or_else(|verdict| verdict, |_| Verdict::Accepted("ok".to_owned()));
            for verdict in [of_webhook(&answer), api] {
                match verdict {
                    Verdict::Accepted(_) => {
                        let of_api = answer.body.windows(9).any(|part| part == b"\"ok\":true");
                        prop_assert!(status == 200 && (of_api || answer.body.trim_ascii() == b"ok"));
                    }
                    Verdict::Refused { reason: text, .. }
                    | Verdict::Changed(text)
                    | Verdict::Fault(Fault { message: text, .. }) => {
                        prop_assert!(text.len() < 260 && trapline_schemas::text::is_clean(&text), "{}", text);
                        prop_assert!(!text.contains(['<', '>', '{']), "{}", text);
                    }
                }
            }
        }
    }
}
