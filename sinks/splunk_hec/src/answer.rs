//! What the collector's answer means: judged by status and code number, never by text.

use serde::Deserialize;
use trapline_sink::http::Answer;
use trapline_sink::stream::{Fault, FaultKind};

/// The JSON of an answer; servers leave out what they like.
#[derive(Debug, Default, Deserialize)]
struct Reply {
    code: Option<i64>,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
    #[serde(rename = "invalid-event-number")]
    invalid_event: Option<usize>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The collector has the events; an indexer will have them once `ack_id` is acknowledged.
    Accepted {
        /// Number to ask for, if the collector gave one.
        ack_id: Option<u64>,
    },
    /// This event of the request is refused for good; those after it were not read.
    Invalid {
        /// Its place in the request, from 0.
        event: usize,
        /// Why, for the dead letter.
        reason: String,
    },
    /// The request is refused without a word on which event is at fault.
    Suspect(String),
    /// The channel is unknown: take a new one and send again.
    NewChannel,
    /// The token has acknowledgement off: go on without.
    NoAcknowledgement,
    /// There is no page to ask for acknowledgement at: a collector that never gave a number has none.
    NoAckPage,
    /// Not delivered; send again later.
    Fault(Fault),
}

/// Judges the answer to an event request that held `count` events.
pub(crate) fn judge(answer: &Answer, count: usize) -> Verdict {
    let reply = reply(&answer.body);
    if answer.is_success() {
        return success(answer, reply);
    }
    let Some(reply) = reply else {
        return by_status(answer, None);
    };
    // The code first: collectors number an event also where the index or the token is at fault, and no event is then.
    by_code(answer, reply.code)
        .or_else(|| invalid(answer, &reply, count))
        .unwrap_or_else(|| by_status(answer, reply.code))
}

/// The event that the collector names, if the request has it.
fn invalid(answer: &Answer, reply: &Reply, count: usize) -> Option<Verdict> {
    let event = reply.invalid_event.filter(|event| *event < count)?;
    (answer.status == 400).then(|| Verdict::Invalid {
        event,
        reason: refused(answer, reply.code),
    })
}

/// What a code means beside its own status. With another it is not the collector's: gateways number faults as well,
/// and 14 is their word for "unavailable".
fn by_code(answer: &Answer, code: Option<i64>) -> Option<Verdict> {
    let (kind, what) = match (answer.status, code?) {
        (400, 10 | 11) => return Some(Verdict::NewChannel),
        (400, 14) => return Some(Verdict::NoAcknowledgement),
        (400, 1..=4 | 16) => (FaultKind::Auth, "refused the token"),
        (400, 7) => (FaultKind::Config, "does not have the index"),
        (503, 9) => (FaultKind::Busy, "is busy"),
        _ => return None,
    };
    Some(Verdict::Fault(fault(kind, what, answer, code)))
}

/// 2xx counts only with a body that is the collector's: anything can answer 200.
fn success(answer: &Answer, reply: Option<Reply>) -> Verdict {
    match reply {
        Some(Reply {
            code: Some(0), ack_id, ..
        }) => Verdict::Accepted { ack_id },
        None if is_bare_ok(&answer.body) => Verdict::Accepted { ack_id: None },
        reply => {
            let code = reply.and_then(|reply| reply.code);
            Verdict::Fault(fault(
                FaultKind::Server,
                "gave an answer that is not a collector's",
                answer,
                code,
            ))
        }
    }
}

/// Older collectors of OpenTelemetry answer 200 or 202 with a bare `OK`.
fn is_bare_ok(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"OK" | b"\"OK\"")
}

/// Only 400, 413 and 422 can be about an event, and what a collector newer than the table says with a code of its own;
/// every other refusal is about the way there, and losing events would not mend it.
fn by_status(answer: &Answer, code: Option<i64>) -> Verdict {
    match (answer.status, code) {
        (400 | 413 | 422, _) => Verdict::Suspect(refused(answer, code)),
        (401 | 403, _) => Verdict::Fault(fault(FaultKind::Auth, "refused the token", answer, code)),
        (415, _) => Verdict::Fault(fault(FaultKind::Config, "does not take the compression", answer, code)),
        (404 | 405 | 407 | 408 | 410 | 425 | 429, _) => Verdict::Fault(answer.fault("the collector")),
        (402..=499, Some(21..=99)) => Verdict::Suspect(refused(answer, code)),
        _ => Verdict::Fault(answer.fault("the collector")),
    }
}

fn refused(answer: &Answer, code: Option<i64>) -> String {
    fault(FaultKind::Server, "refused the event", answer, code).message
}

fn fault(kind: FaultKind, what: &str, answer: &Answer, code: Option<i64>) -> Fault {
    let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
    Fault {
        kind,
        message: format!("the collector {what}: http status {}{code}", answer.status),
    }
}

fn reply(body: &[u8]) -> Option<Reply> {
    serde_json::from_slice(body).ok()
}

/// Reads the answer to a question for acknowledgement: whether `ack_id` is indexed.
///
/// Errors: the fault that the answer stands for; an answer without the number is a server's fault.
pub(crate) fn acknowledged(answer: &Answer, ack_id: u64) -> Result<bool, Verdict> {
    #[derive(Deserialize)]
    struct Acks {
        acks: std::collections::BTreeMap<String, bool>,
    }
    match answer.status {
        404 | 405 => return Err(Verdict::NoAckPage),
        _ if !answer.is_success() => return Err(judge(answer, 0)),
        _ => {}
    }
    let acks: Option<Acks> = serde_json::from_slice(&answer.body).ok();
    match acks.and_then(|acks| acks.acks.get(&ack_id.to_string()).copied()) {
        Some(done) => Ok(done),
        None => Err(Verdict::Fault(fault(
            FaultKind::Server,
            "did not answer for the acknowledgement",
            answer,
            None,
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        judge(
            &Answer {
                status,
                retry_after: None,
                body: body.as_bytes().to_vec(),
            },
            3,
        )
    }

    fn kind(status: u16, body: &str) -> Option<FaultKind> {
        match verdict(status, body) {
            Verdict::Fault(fault) => Some(fault.kind),
            _ => None,
        }
    }

    #[test]
    fn only_a_collectors_own_success_counts() {
        assert_eq!(
            verdict(200, r#"{"text":"Success","code":0}"#),
            Verdict::Accepted { ack_id: None }
        );
        assert_eq!(
            verdict(200, r#"{"text":"x","code":0,"ackId":7}"#),
            Verdict::Accepted { ack_id: Some(7) }
        );
        assert_eq!(verdict(202, "\"OK\""), Verdict::Accepted { ack_id: None });
        for garbage in ["", "<html>welcome</html>", "{}", "{\"code\":0", "[]", r#"{"code":9}"#] {
            assert_eq!(kind(200, garbage), Some(FaultKind::Server), "{garbage}");
        }
    }

    #[test]
    fn a_numbered_event_is_refused_alone() {
        let body = r#"{"text":"Invalid data format","code":6,"invalid-event-number":1}"#;
        assert!(matches!(verdict(400, body), Verdict::Invalid { event: 1, .. }));
    }

    #[test]
    fn no_event_is_at_fault_where_the_index_the_token_or_the_channel_is() {
        let numbered = |code: i64, event: usize| format!(r#"{{"code":{code},"invalid-event-number":{event}}}"#);
        for event in [0, 1, 2] {
            assert_eq!(kind(400, &numbered(7, event)), Some(FaultKind::Config));
            for code in [1, 2, 3, 4, 16] {
                assert_eq!(kind(400, &numbered(code, event)), Some(FaultKind::Auth), "code {code}");
            }
            for code in [10, 11] {
                assert_eq!(verdict(400, &numbered(code, event)), Verdict::NewChannel, "code {code}");
            }
            assert_eq!(verdict(400, &numbered(14, event)), Verdict::NoAcknowledgement);
        }
    }

    #[test]
    fn a_number_beyond_the_request_is_not_believed() {
        let body = r#"{"text":"Invalid data format","code":6,"invalid-event-number":3}"#;
        assert!(matches!(verdict(400, body), Verdict::Suspect(_)));
    }

    #[test]
    fn every_code_of_the_documentation_has_its_class() {
        for (status, code) in [(403, 1), (401, 2), (401, 3), (403, 4), (400, 16)] {
            assert_eq!(
                kind(status, &format!(r#"{{"text":"","code":{code}}}"#)),
                Some(FaultKind::Auth),
                "code {code}"
            );
        }
        for code in [5, 6, 12, 13, 15] {
            assert!(
                matches!(verdict(400, &format!(r#"{{"code":{code}}}"#)), Verdict::Suspect(_)),
                "code {code}"
            );
        }
        assert_eq!(kind(400, r#"{"code":7}"#), Some(FaultKind::Config));
        assert_eq!(kind(500, r#"{"code":8}"#), Some(FaultKind::Server));
        assert_eq!(kind(503, r#"{"code":9}"#), Some(FaultKind::Busy));
        assert_eq!(verdict(400, r#"{"code":10}"#), Verdict::NewChannel);
        assert_eq!(verdict(400, r#"{"code":11}"#), Verdict::NewChannel);
        assert_eq!(verdict(400, r#"{"code":14}"#), Verdict::NoAcknowledgement);
    }

    #[test]
    fn a_code_counts_only_beside_its_own_status() {
        assert_eq!(
            kind(503, r#"{"code":14,"message":"unavailable"}"#),
            Some(FaultKind::Server)
        );
        assert_eq!(kind(404, r#"{"code":7}"#), Some(FaultKind::Config));
        assert_eq!(kind(500, r#"{"code":16}"#), Some(FaultKind::Server));
        assert_eq!(kind(429, r#"{"code":9}"#), Some(FaultKind::Busy));
        assert_eq!(kind(407, r#"{"code":10}"#), Some(FaultKind::Auth));
    }

    #[test]
    fn every_status_has_its_class() {
        for status in 300..=599 {
            let expected = match status {
                400 | 413 | 422 => None,
                401 | 403 | 407 | 511 => Some(FaultKind::Auth),
                408 | 425 | 429 => Some(FaultKind::Busy),
                300..=499 => Some(FaultKind::Config),
                _ => Some(FaultKind::Server),
            };
            for body in ["", "<html>no</html>", "\"no\"", r#"{"text":"no","code":404}"#] {
                assert_eq!(kind(status, body), expected, "{status} {body}");
                assert_eq!(
                    matches!(verdict(status, body), Verdict::Suspect(_)),
                    expected.is_none(),
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn a_newer_code_is_judged_by_its_status() {
        for (status, expected) in [
            (401, Some(FaultKind::Auth)),
            (410, Some(FaultKind::Config)),
            (429, Some(FaultKind::Busy)),
            (503, Some(FaultKind::Server)),
            (400, None),
            (409, None),
        ] {
            assert_eq!(kind(status, r#"{"text":"new","code":26}"#), expected, "{status}");
        }
    }

    #[test]
    fn an_acknowledgement_is_true_false_or_a_fault() {
        let ask = |body: &str| {
            acknowledged(
                &Answer {
                    status: 200,
                    retry_after: None,
                    body: body.into(),
                },
                4,
            )
        };
        assert_eq!(ask(r#"{"acks":{"4":true}}"#), Ok(true));
        assert_eq!(ask(r#"{"acks":{"4":false}}"#), Ok(false));
        assert!(ask(r#"{"acks":{"5":true}}"#).is_err());
        assert!(ask("<html>").is_err());
        let refused = |status| {
            let answer = Answer {
                status,
                retry_after: None,
                body: vec![],
            };
            acknowledged(&answer, 4).unwrap_err()
        };
        assert_eq!(refused(404), Verdict::NoAckPage);
        assert!(matches!(refused(302), Verdict::Fault(fault) if fault.kind == FaultKind::Config));
        assert!(matches!(refused(407), Verdict::Fault(fault) if fault.kind == FaultKind::Auth));
    }

    const KEYS: &[&str] = &["text", "code", "ackId", "invalid-event-number"];
    const VALUES: &[&str] = &[
        "0",
        "2",
        "3",
        "9",
        "-1",
        "18446744073709551616",
        "1e999",
        "null",
        "\"0\"",
        "[]",
    ];
    const OTHERS: &[&str] = &["OK", "\"OK\" ", "{\"acks\":{\"4\":true}}"];

    /// A collector's answer with values of any kind, some of its bytes changed.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let member = (prop::sample::select(KEYS), prop::sample::select(VALUES));
        let member = member.prop_map(|(key, value)| format!("\"{key}\":{value}"));
        let json = prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(",")));
        let whole = prop_oneof![4 => json, 1 => prop::sample::select(OTHERS).prop_map(str::to_owned)];
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
        fn any_bytes_of_a_collector_are_a_verdict_that_believes_no_more_than_they_say(
            status in prop::sample::select(vec![200, 202, 302, 400, 401, 404, 413, 429, 500, 503]),
            body in body(),
        ) {
            let answer = Answer { status, retry_after: None, body };
            match judge(&answer, 3) {
                Verdict::Accepted { .. } => {
                    let success = answer.body.windows(8).any(|part| part == b"\"code\":0");
                    prop_assert!(answer.is_success() && (success || is_bare_ok(&answer.body)));
                }
                Verdict::Invalid { event, .. } => prop_assert!(event < 3 && status == 400),
                Verdict::Suspect(text) | Verdict::Fault(Fault { message: text, .. }) => {
                    prop_assert!(text.is_ascii() && text.len() < 120, "{}", text);
                }
                Verdict::NewChannel | Verdict::NoAcknowledgement | Verdict::NoAckPage => {
                    prop_assert!(!answer.is_success());
                }
            }
            if acknowledged(&answer, 4) == Ok(true) {
                prop_assert!(answer.is_success() && answer.body.windows(8).any(|part| part == b"\"4\":true"));
            }
        }
    }
}
