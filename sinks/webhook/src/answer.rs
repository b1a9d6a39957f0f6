//! What a receiver's answer means: judged by its status, and by `success` if there is one.

use serde_json::Value;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};
use trapline_template::{Condition, Names, Scope};

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver has it.
    Accepted,
    /// It refuses what the request holds.
    Refused(String),
    /// Not delivered; send again later.
    Fault(Fault),
}

/// What a `success` condition may name.
pub(crate) fn names() -> Names {
    Names::new(["status", "body"])
}

/// What the receiver is called in messages.
const WHAT: &str = "the webhook's receiver";

/// Judges an answer.
pub(crate) fn judge(answer: &Answer, success: Option<&Condition>) -> Verdict {
    match answer.status {
        200..=299 => match success {
            None => Verdict::Accepted,
            Some(success) => by_condition(answer, success),
        },
        400 if is_about_certificates(&answer.body) => fault(
            FaultKind::Tls,
            "asks for another client certificate: look at `tls.cert` and `tls.key`",
        ),
        // Bad, a conflict, too large, not to be processed: about the content.
        400 | 409 | 413 | 422 => Verdict::Refused(format!("{WHAT} refused it: http status {}", answer.status)),
        410 => fault(
            FaultKind::Config,
            "says that the endpoint is gone for good: ask for a new URL, or disable the sink: http status 410",
        ),
        404 | 405 => fault(
            FaultKind::Config,
            &format!(
                "has nothing at this address that takes the method; look at `url` and `method`: http status {}",
                answer.status
            ),
        ),
        406 | 415 => fault(
            FaultKind::Config,
            &format!(
                "does not take this type of content; look at `payload`, `compression` and `headers`: http status {}",
                answer.status
            ),
        ),
        _ => Verdict::Fault(answer.fault(WHAT)),
    }
}

/// Whether it is nginx's page for a client certificate that is missing or strange, which has the status of a bad request
/// (its 495 and 496). No event is at fault then.
fn is_about_certificates(body: &[u8]) -> bool {
    let page = body.get(..NGINX_PAGE).unwrap_or(body);
    let page = String::from_utf8_lossy(page);
    page.contains("<title>400 ") && page.contains("SSL certificate")
}

/// As much of an answer as nginx's own pages have.
const NGINX_PAGE: usize = 400;

fn by_condition(answer: &Answer, success: &Condition) -> Verdict {
    match success.holds(&scope(answer)) {
        Ok(true) => Verdict::Accepted,
        Ok(false) => fault(
            FaultKind::Server,
            &format!(
                "gave an answer that `success` does not take: http status {}",
                answer.status
            ),
        ),
        Err(error) => fault(
            FaultKind::Config,
            &format!("gave an answer that `success` fails on: {error}"),
        ),
    }
}

fn fault(kind: FaultKind, said: &str) -> Verdict {
    Verdict::Fault(Fault {
        kind,
        message: format!("{WHAT} {said}"),
    })
}

/// The status, and the body: as JSON if it is that, else as text.
fn scope(answer: &Answer) -> Scope {
    let text = || Value::from(String::from_utf8_lossy(&answer.body));
    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| text());
    Scope::from(&serde_json::json!({ "status": answer.status, "body": body }))
}

/// What the answer to `HEAD` says of the way there: only faults of the way count, for few receivers know the method.
pub(crate) fn reachable(answer: &Answer) -> Result<String, Fault> {
    let status = answer.status;
    match status {
        200..=299 => Ok(format!("the receiver answers: http status {status}")),
        400 | 404..=406 | 411 | 413 | 415 | 422 | 501 => Ok(format!(
            "the receiver is there; to HEAD, which sends nothing, it answers http status {status}"
        )),
        _ => match judge(answer, None) {
            Verdict::Fault(fault) => Err(fault),
            _ => Err(answer.fault(WHAT)),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: body.to_vec(),
        }
    }

    fn success(text: &str) -> Condition {
        Condition::parse(text, &names()).unwrap()
    }

    #[test]
    fn every_status_has_its_class() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => "accepted",
                400 | 409 | 413 | 422 => "refused",
                401 | 403 | 407 | 511 => "Auth",
                408 | 425 | 429 => "Busy",
                300..=499 => "Config",
                _ => "Server",
            };
            let found = match judge(&answer(status, b""), None) {
                Verdict::Accepted => "accepted".to_owned(),
                Verdict::Refused(reason) => {
                    assert!(reason.contains(&status.to_string()));
                    "refused".to_owned()
                }
                Verdict::Fault(fault) => {
                    assert!(fault.message.contains(&status.to_string()), "{fault:?}");
                    format!("{:?}", fault.kind)
                }
            };
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn an_operator_is_told_what_to_do() {
        for (status, said) in [
            (410, "gone"),
            (404, "`url`"),
            (405, "`method`"),
            (415, "`compression`"),
            (302, "redirect"),
        ] {
            let Verdict::Fault(fault) = judge(&answer(status, b""), None) else {
                panic!("{status}")
            };
            assert!(fault.message.contains(said), "{fault:?}");
        }
    }

    #[test]
    fn a_condition_decides_on_a_success() {
        let ok = success("body.ok == true");
        assert_eq!(judge(&answer(200, br#"{"ok":true}"#), Some(&ok)), Verdict::Accepted);
        for body in [&br#"{"ok":false}"#[..], b"", b"<html>ok</html>", b"\xff", b"[]"] {
            assert!(
                matches!(judge(&answer(200, body), Some(&ok)), Verdict::Fault(fault) if fault.kind == FaultKind::Server)
            );
        }
        assert!(matches!(
            judge(&answer(400, br#"{"ok":true}"#), Some(&ok)),
            Verdict::Refused(_)
        ));
        assert_eq!(
            judge(&answer(202, b"queued"), Some(&success("body == 'queued'"))),
            Verdict::Accepted
        );
    }

    #[test]
    fn a_look_at_the_way_there_minds_only_the_way() {
        for status in [200, 204, 400, 404, 405, 501] {
            assert!(reachable(&answer(status, b"")).is_ok(), "{status}");
        }
        for status in [301, 401, 403, 410, 429, 500, 503] {
            assert!(reachable(&answer(status, b"")).is_err(), "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_an_answer_are_a_success_only_if_they_say_so(status in 100_u16..600, body in any::<Vec<u8>>()) {
            let answer = answer(status, &body);
            prop_assert_ne!(judge(&answer, Some(&success("body.ok == true"))), Verdict::Accepted);
            if let Verdict::Fault(fault) = judge(&answer, Some(&success("body + 1 == 2"))) {
                prop_assert!(fault.message.len() < 300 && trapline_schemas::text::is_clean(&fault.message));
            }
        }
    }
}
