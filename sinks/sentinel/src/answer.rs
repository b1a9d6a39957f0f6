//! What the ingestion endpoint's answer means: judged by status, and by the service's code word for 400.

use serde_json::Value;
use trapline_sink::http::Answer;
use trapline_sink::oauth::Hint;
use trapline_sink::stream::{Fault, FaultKind};
use trapline_sink::stubborn::over_these;

/// Longest code word that is shown.
const CODE_BYTES_MAX: usize = 60;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The service has the records.
    Accepted,
    /// The token is not taken.
    Unauthorized(Fault),
    /// The request is refused without a word on which record is at fault.
    Suspect(String),
    /// The service, or something on the way to it, failed over the request: it may always, or over these records.
    Doubtful(Fault),
    /// Not delivered; send again later.
    Fault(Fault),
}

/// What Microsoft Entra's codes mean for whoever set this up.
pub(crate) const HINTS: &[Hint] = &[
    (
        "AADSTS7000215",
        "the secret is wrong; `client_secret` is its value, not its id",
    ),
    ("AADSTS7000222", "the secret has expired, make a new one"),
    (
        "AADSTS700016",
        "the tenant has no such application; look at `client_id` and `tenant`",
    ),
    ("AADSTS900023", "`tenant` is no tenant's id or domain"),
    (
        "AADSTS90002",
        "there is no such tenant; look at `tenant`, and at `authority` in a sovereign cloud",
    ),
    ("AADSTS7000112", "the application is disabled"),
    ("AADSTS500011", "the tenant does not know the resource of `scope`"),
    ("AADSTS70011", "`scope` is none; it ends in `/.default`"),
    ("AADSTS53003", "a conditional access policy forbids it"),
    ("AADSTS7000218", "the secret is missing"),
];

const NO_ROLE: &str = "does not let us write: give the application the role `Monitoring Metrics Publisher` on the data \
                       collection rule; that takes up to 30 minutes to be known";
const NO_RULE: &str = "does not know the data collection rule: look at `rule`, which is its immutable id, and at `endpoint`, \
                       which must be its own or that of its region";
const NO_STREAM: &str = "does not know the stream: look at `stream`, which the rule must declare";

/// Codes of 400 that are about the settings.
const SETTINGS: &[(&str, &str)] = &[
    ("InvalidStream", NO_STREAM),
    ("StreamNotFound", NO_STREAM),
    ("InvalidDcrImmutableId", NO_RULE),
    ("InvalidDataCollectionRule", NO_RULE),
    ("DataCollectionRuleNotFound", NO_RULE),
    ("InvalidApiVersion", "does not take the version of the API"),
    ("UnsupportedApiVersion", "does not take the version of the API"),
];

/// Judges an answer. Anything can answer 200; the service says 204.
pub(crate) fn judge(answer: &Answer) -> Verdict {
    let code = code(answer);
    let told = |what: &str| {
        format!(
            "the ingestion endpoint {what}: http status {}{}",
            answer.status,
            suffix(&code)
        )
    };
    let fault = |kind, what: &str| Fault {
        kind,
        message: told(what),
    };
    match (answer.status, &code) {
        (204, _) => Verdict::Accepted,
        // Some filters show a page as if nothing were wrong.
        (200..=299, _) => Verdict::Doubtful(fault(FaultKind::Server, "gave an answer that is not the service's")),
        (401, _) => Verdict::Unauthorized(fault(FaultKind::Auth, "refused the token")),
        (403, _) => Verdict::Doubtful(fault(FaultKind::Auth, NO_ROLE)),
        (404, code) => Verdict::Fault(fault(FaultKind::Config, setting(code).unwrap_or(NO_RULE))),
        (413, _) => Verdict::Suspect(told("refused the records as too large")),
        (400, Some(_)) => match setting(&code) {
            Some(means) => Verdict::Fault(fault(FaultKind::Config, means)),
            None => Verdict::Suspect(told("refused the records")),
        },
        (500, _) => Verdict::Doubtful(answer.fault("the ingestion endpoint")),
        _ if answer.may_be_content() => Verdict::Doubtful(answer.fault("the ingestion endpoint")),
        _ => Verdict::Fault(answer.fault("the ingestion endpoint")),
    }
}

const NO_RECORD: &str = "and also a record without an event, so no event is at fault: look at the rule, its stream and what its \
                         `transformKql` does";

/// What `refused` means beside what became of `control`, a record that no event has a part in: where that is not taken
/// either, no event is at fault. `is_row`: the service failed over these records often enough.
pub(crate) fn weigh(refused: Verdict, control: Verdict, is_row: bool) -> Verdict {
    match (refused, control) {
        (Verdict::Suspect(reason), Verdict::Suspect(_)) => Verdict::Fault(Fault {
            kind: FaultKind::Config,
            message: format!("{reason}, {NO_RECORD}"),
        }),
        (Verdict::Suspect(_), Verdict::Unauthorized(fault) | Verdict::Doubtful(fault) | Verdict::Fault(fault)) => {
            Verdict::Fault(fault)
        }
        (Verdict::Doubtful(fault), Verdict::Accepted) if is_row => Verdict::Suspect(over_these(fault).message),
        (Verdict::Doubtful(fault), Verdict::Accepted) => Verdict::Fault(over_these(fault)),
        (Verdict::Doubtful(fault), _) => Verdict::Fault(fault),
        (refused, _) => refused,
    }
}

fn setting(code: &Option<String>) -> Option<&'static str> {
    let row = SETTINGS.iter().find(|(known, _)| Some(*known) == code.as_deref());
    row.map(|(_, means)| *means)
}

/// The service's code word: `{"error":{"code":"…","message":"…"}}`.
fn code(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let code = body.get("error")?.get("code")?.as_str()?;
    let is_code = (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

fn suffix(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(", {code}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        judge(&Answer {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        })
    }

    fn with_code(status: u16, code: &str) -> Verdict {
        verdict(
            status,
            &json!({"error": {"code": code, "message": "evil \u{1b}[31m"}}).to_string(),
        )
    }

    fn message(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Accepted => "",
            Verdict::Suspect(message) => message,
            Verdict::Unauthorized(fault) | Verdict::Doubtful(fault) | Verdict::Fault(fault) => &fault.message,
        }
    }

    #[test]
    fn only_204_is_a_success() {
        assert_eq!(verdict(204, ""), Verdict::Accepted);
        for status in [200, 201, 202] {
            for body in ["", "{}", "<html>welcome</html>"] {
                assert!(matches!(verdict(status, body), Verdict::Doubtful(fault) if fault.kind == FaultKind::Server));
            }
        }
    }

    #[test]
    fn what_the_operator_has_to_do_is_said() {
        for (verdict, kind, words) in [
            (
                with_code(403, "OperationFailed"),
                FaultKind::Auth,
                "Monitoring Metrics Publisher",
            ),
            (verdict(403, "<html>firewall</html>"), FaultKind::Auth, "403"),
            (with_code(404, "NotFound"), FaultKind::Config, "immutable id"),
            (with_code(404, "StreamNotFound"), FaultKind::Config, "`stream`"),
            (with_code(400, "InvalidStream"), FaultKind::Config, "`stream`"),
            (verdict(400, "<html>bad</html>"), FaultKind::Config, "400"),
            (verdict(429, ""), FaultKind::Busy, "pause"),
            (verdict(503, ""), FaultKind::Server, "503"),
            (verdict(302, ""), FaultKind::Config, "redirects"),
        ] {
            let (Verdict::Fault(fault) | Verdict::Doubtful(fault)) = verdict else {
                panic!("{verdict:?}")
            };
            assert_eq!(fault.kind, kind, "{fault:?}");
            assert!(
                fault.message.contains(words) && fault.message.starts_with("the ingestion endpoint"),
                "{fault:?}"
            );
        }
        assert!(matches!(with_code(401, "InvalidToken"), Verdict::Unauthorized(_)));
    }

    #[test]
    fn records_can_be_at_fault_for_their_size_and_by_a_code_of_the_service() {
        let large = with_code(413, "ContentLengthLimitExceeded");
        assert!(matches!(&large, Verdict::Suspect(reason) if reason.contains("ContentLengthLimitExceeded")));
        assert!(matches!(with_code(400, "InvalidPayload"), Verdict::Suspect(_)));
        assert!(matches!(verdict(413, ""), Verdict::Suspect(_)));
        for status in [402, 403, 406, 422, 500] {
            assert!(matches!(with_code(status, "Any"), Verdict::Doubtful(_)), "{status}");
        }
        assert!(matches!(verdict(400, "<html>"), Verdict::Doubtful(_)));
        for status in (100..200).chain(300..400).chain([404, 405, 407, 429]).chain(501..600) {
            assert!(
                matches!(with_code(status, "InvalidPayload"), Verdict::Fault(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn an_event_is_at_fault_only_where_a_record_without_one_is_taken() {
        let refused = || with_code(400, "NobodyKnows");
        let failed = || with_code(500, "InternalServerError");
        assert_eq!(weigh(refused(), Verdict::Accepted, false), refused());
        for (control, kind) in [
            (refused(), FaultKind::Config),
            (verdict(413, ""), FaultKind::Config),
            (with_code(401, "InvalidToken"), FaultKind::Auth),
            (verdict(429, ""), FaultKind::Busy),
            (failed(), FaultKind::Server),
        ] {
            let weighed = weigh(refused(), control, true);
            assert!(
                matches!(&weighed, Verdict::Fault(fault) if fault.kind == kind),
                "{weighed:?}"
            );
        }
        assert!(message(&weigh(refused(), refused(), true)).contains("NobodyKnows, and also"));
        assert!(matches!(weigh(failed(), Verdict::Accepted, true), Verdict::Suspect(_)));
        for (control, is_row) in [
            (Verdict::Accepted, false),
            (failed(), true),
            (refused(), true),
            (verdict(503, ""), true),
        ] {
            let weighed = weigh(failed(), control, is_row);
            assert!(matches!(&weighed, Verdict::Fault(fault) if fault.message.contains("500")));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_an_answer_are_told_clean_and_short(
            status in 100_u16..600, noise in prop::collection::vec(any::<u8>(), 0..200), code in ".{0,80}",
        ) {
            let json = json!({"error": {"code": code, "message": code}}).to_string().into_bytes();
            for body in [noise, json] {
                let verdict = judge(&Answer { status, retry_after: None, body });
                prop_assert_eq!(verdict == Verdict::Accepted, status == 204);
                let told = message(&verdict);
                prop_assert!(told.len() < 400 && trapline_schemas::text::is_clean(told), "{:?}", told);
            }
        }
    }
}
