//! Every answer that a receiver, a proxy or somebody else can give.

use proptest::prelude::*;
use reqwest::header::{HeaderName, HeaderValue};

use super::*;

/// The records of the request.
const COUNT: usize = 3;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    pairs.iter().map(pair).collect()
}

fn http(status: u16, kind: Option<&str>, body: &[u8]) -> Verdict {
    let whole = Whole {
        answer: Answer {
            status,
            retry_after: None,
            body: body.to_vec(),
        },
        headers: kind.map(|kind| headers(&[("content-type", kind)])).unwrap_or_default(),
        trailers: HeaderMap::new(),
    };
    of_http(&whole, COUNT, &HeaderMap::new()).verdict
}

fn partial(rejected: i64, words: &str) -> Vec<u8> {
    let partial_success = Some(PartialSuccess {
        rejected_log_records: rejected,
        error_message: words.into(),
    });
    ExportResponse { partial_success }.encode_to_vec()
}

const PROTOBUF: Option<&str> = Some("application/x-protobuf");
const JSON: Option<&str> = Some("application/json; charset=utf-8");

fn accepted() -> Verdict {
    Verdict::Accepted(String::new())
}

fn kind(verdict: &Verdict) -> Option<FaultKind> {
    match verdict {
        Verdict::Fault(fault) | Verdict::Doubtful(fault) | Verdict::Cut(fault) => Some(fault.kind),
        _ => None,
    }
}

#[test]
fn a_success_is_a_receivers_response_in_its_own_type() {
    assert_eq!(http(200, PROTOBUF, b""), accepted());
    assert_eq!(http(200, PROTOBUF, &partial(0, "")), accepted());
    assert_eq!(http(200, JSON, b"{}"), accepted());
    assert_eq!(http(200, JSON, br#"{"partialSuccess":{}}"#), accepted());
    assert_eq!(http(204, None, b""), accepted());
    assert_eq!(
        http(200, PROTOBUF, &partial(0, "slow down")),
        Verdict::Accepted(" (slow down)".into())
    );
    // A field of a newer receiver.
    assert_eq!(http(200, PROTOBUF, b"\x12\x01x"), accepted());
    for (kind_of, body) in [
        (Some("text/html"), &b"<html>ok</html>"[..]),
        (Some("text/html"), b""),
        (Some("text/plain"), b"OK"),
        (None, b"OK"),
        (PROTOBUF, b"<html>ok</html>"),
        (PROTOBUF, b"\x0a\x05\x08"),
        (JSON, b"<html>"),
        (JSON, b"[]"),
        (JSON, br#"{"partialSuccess":{"rejectedLogRecords":"many"}}"#),
        (Some("\u{ff}"), b""),
    ] {
        assert_eq!(
            kind(&http(200, kind_of, body)),
            Some(FaultKind::Server),
            "{kind_of:?} {body:?}"
        );
    }
}

#[test]
fn a_partial_success_names_nobody_unless_all_are_refused() {
    assert_eq!(
        http(200, PROTOBUF, &partial(3, "too old")),
        Verdict::Refused("the receiver refused the record (too old)".into())
    );
    for rejected in [1, 2, 4, i64::MAX] {
        let verdict = http(200, PROTOBUF, &partial(rejected, ""));
        assert!(matches!(verdict, Verdict::Partial(_)), "{rejected} {verdict:?}");
        let alone = taken(
            PartialSuccess {
                rejected_log_records: rejected,
                error_message: String::new(),
            },
            1,
            &HeaderMap::new(),
        );
        assert!(matches!(alone, Verdict::Refused(_)), "{rejected} {alone:?}");
    }
    for nonsense in [-1, i64::MIN] {
        let verdict = http(200, PROTOBUF, &partial(nonsense, ""));
        assert_eq!(kind(&verdict), Some(FaultKind::Server), "{verdict:?}");
    }
    for number in ["1", "\"1\""] {
        let body = format!(r#"{{"partialSuccess":{{"rejectedLogRecords":{number},"errorMessage":"old"}}}}"#);
        let expected = Verdict::Partial("the receiver refused 1 of 3 records (old)".into());
        assert_eq!(http(200, JSON, body.as_bytes()), expected);
    }
}

#[test]
fn every_status_of_http_has_its_class() {
    for status in (100..=199).chain(300..=599) {
        let expected = match status {
            400 | 413 | 422 => None,
            401 | 403 | 407 | 511 => Some(FaultKind::Auth),
            408 | 425 | 429 => Some(FaultKind::Busy),
            300..=499 => Some(FaultKind::Config),
            _ => Some(FaultKind::Server),
        };
        let verdict = http(status, Some("text/html"), b"<html>no</html>");
        assert_eq!(kind(&verdict), expected, "{status}");
        assert_eq!(matches!(verdict, Verdict::Suspect(_)), expected.is_none(), "{status}");
        let doubtful = match status {
            400 | 413 | 415 | 422 | 401 | 404 | 405 | 407 | 408 | 410 | 425 | 429 => false,
            402..=499 => true,
            _ => matches!(status, 500 | 501 | 505..=510),
        };
        assert_eq!(matches!(verdict, Verdict::Doubtful(_)), doubtful, "{status}");
    }
    let Verdict::Fault(lost) = http(404, None, b"") else {
        panic!("a fault")
    };
    assert!(
        lost.message.contains("/v1/logs") && lost.message.contains("grpc"),
        "{lost:?}"
    );
}

#[test]
fn the_words_of_a_failure_are_shown_in_either_encoding() {
    let status = Status {
        code: 3,
        message: "no such field".into(),
        details: vec![],
    };
    let json = br#"{"code":3,"message":"no such field"}"#;
    for (kind, body) in [(PROTOBUF, status.encode_to_vec()), (JSON, json.to_vec())] {
        let expected = "the receiver refused the record: http status 400 (no such field)";
        assert_eq!(http(400, kind, &body), Verdict::Suspect(expected.into()));
    }
}

fn grpc_told(pairs: &[(&'static str, &str)], body: &[u8]) -> Judgement {
    let whole = Whole {
        answer: Answer {
            status: 200,
            retry_after: None,
            body: body.to_vec(),
        },
        headers: headers(&[("content-type", "application/grpc+proto")]),
        trailers: headers(pairs),
    };
    of_grpc(&whole, COUNT, &headers(&[("api-key", "s3cr3t")]))
}

/// Status 8 with a `RetryInfo` of 7 s, by hand from status.proto, any.proto, error_details.proto and duration.proto.
const PAUSE_OF_7_S: &str = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw";

#[test]
fn every_status_of_grpc_has_its_class() {
    for code in 0..=99_u32 {
        let number = code.to_string();
        let plain = grpc_told(&[("grpc-status", &number)], b"\0\0\0\0\0").verdict;
        let paused = grpc_told(
            &[("grpc-status", &number), ("grpc-status-details-bin", PAUSE_OF_7_S)],
            b"",
        );
        match code {
            0 => assert_eq!(plain, accepted()),
            3 | 6 => assert!(matches!(plain, Verdict::Suspect(_)), "{code}"),
            8 | 11 => assert!(matches!(plain, Verdict::Doubtful(_)), "{code}"),
            // The specification lets a client send these again.
            1 | 4 | 10 | 14 | 15 => assert!(
                matches!(&plain, Verdict::Fault(fault) if fault.kind == FaultKind::Server),
                "{code}"
            ),
            7 | 16 => assert_eq!(kind(&plain), Some(FaultKind::Auth), "{code}"),
            5 | 9 | 12 => assert_eq!(kind(&plain), Some(FaultKind::Config), "{code}"),
            _ => assert!(
                matches!(&plain, Verdict::Doubtful(fault) if fault.kind == FaultKind::Server),
                "{code}"
            ),
        }
        assert_eq!(paused.pause, Some(Duration::from_secs(7)));
        if matches!(code, 1 | 2 | 4 | 8 | 10 | 11 | 13..=15) {
            assert_eq!(kind(&paused.verdict), Some(FaultKind::Busy), "{code}");
        }
    }
}

#[test]
fn a_success_of_grpc_has_one_whole_message() {
    let framed = |message: &[u8]| grpc::framed(message, false);
    let ok = |body: &[u8]| grpc_told(&[("grpc-status", "0")], body).verdict;
    assert_eq!(
        ok(&framed(&partial(3, ""))),
        Verdict::Refused("the receiver refused the record".into())
    );
    for body in [
        &b""[..],
        b"\0\0\0\0\x01",
        b"\x01\0\0\0\0",
        b"\0\0\0\0\x01\xff",
        b"\0\0\0\0\0\0\0\0\0\0",
    ] {
        assert_eq!(kind(&ok(body)), Some(FaultKind::Server), "{body:?}");
    }
    // A status before the message is a promise, not the end of a call; and 200 is the status of every call.
    for (status, trailers) in [(200, &[][..]), (503, &[("grpc-status", "0")][..])] {
        let whole = Whole {
            answer: Answer {
                status,
                retry_after: None,
                body: framed(b"").to_vec(),
            },
            headers: headers(&[("content-type", "application/grpc"), ("grpc-status", "0")]),
            trailers: headers(trailers),
        };
        let verdict = of_grpc(&whole, COUNT, &HeaderMap::new()).verdict;
        assert_eq!(kind(&verdict), Some(FaultKind::Server), "{status}");
    }
    // Without a status the call was broken off, whatever came before.
    assert_eq!(kind(&grpc_told(&[], &framed(b"")).verdict), Some(FaultKind::Server));
}

#[test]
fn what_speaks_no_grpc_is_told_apart() {
    for (status, expected) in [
        (200, FaultKind::Server),
        (401, FaultKind::Auth),
        (403, FaultKind::Auth),
        (404, FaultKind::Config),
        (415, FaultKind::Config),
        (429, FaultKind::Busy),
        (503, FaultKind::Server),
    ] {
        let whole = Whole {
            answer: Answer {
                status,
                retry_after: None,
                body: b"<html>".to_vec(),
            },
            // A status of gRPC counts only in an answer of gRPC.
            headers: headers(&[("content-type", "text/html"), ("grpc-status", "0")]),
            trailers: HeaderMap::new(),
        };
        let verdict = of_grpc(&whole, COUNT, &HeaderMap::new()).verdict;
        assert_eq!(kind(&verdict), Some(expected), "{status}");
    }
}

#[test]
fn words_that_hold_a_secret_are_not_shown() {
    let told = |words| grpc_told(&[("grpc-status", "16"), ("grpc-message", words)], b"").verdict;
    let Verdict::Fault(fault) = told("unknown%20key s3cr3t") else {
        panic!("a fault")
    };
    assert_eq!(
        fault.message,
        "the receiver refused the credentials: grpc status 16 UNAUTHENTICATED"
    );
    let Verdict::Fault(fault) = told("unknown%20key") else {
        panic!("a fault")
    };
    assert!(fault.message.ends_with("16 UNAUTHENTICATED (unknown key)"), "{fault:?}");
}

/// An answer with some of its bytes changed.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = br#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"},"message":"y"}"#.to_vec();
    let whole = prop::sample::select(vec![partial(2, "x"), partial(0, ""), partial(-1, "\u{1b}[31m"), json]);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (whole, damage).prop_map(|(mut body, damage)| {
        for (at, byte) in damage {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        body
    })
}

proptest! {
    #[test]
    fn any_bytes_of_a_receiver_are_a_verdict_in_one_clean_bounded_line(
        status in prop::sample::select(vec![200_u16, 202, 302, 400, 404, 413, 429, 500]),
        kind in prop::sample::select(vec![PROTOBUF, JSON, None]),
        body in body(),
        code in "[0-9]{1,3}",
    ) {
        let framed = grpc::framed(&body, false);
        for verdict in [http(status, kind, &body), grpc_told(&[("grpc-status", &code)], &framed).verdict] {
            match verdict {
                Verdict::Accepted(text) => prop_assert!(!text.chars().any(char::is_control) && text.len() < 900),
                Verdict::Refused(text) | Verdict::Suspect(text) | Verdict::Partial(text) => {
                    prop_assert!(!text.chars().any(char::is_control) && text.len() < 900);
                }
                Verdict::Doubtful(fault) | Verdict::Cut(fault) | Verdict::Fault(fault) => {
                    prop_assert!(!fault.message.chars().any(char::is_control) && fault.message.len() < 900);
                }
            }
        }
    }
}
