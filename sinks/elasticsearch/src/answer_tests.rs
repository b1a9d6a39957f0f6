//! Each answer's meaning; the items are as OpenSearch 2.19 and Elasticsearch 8 write them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const IDS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: body.as_bytes().to_vec(),
    }
}

/// A bulk answer in which the second item is as given.
fn bulk(op: Op, second: &Value) -> Verdict {
    let mut entry = json!({"_id": IDS[1].to_string()});
    entry
        .as_object_mut()
        .unwrap()
        .extend(second.as_object().unwrap().clone());
    let first = json!({"_id": IDS[0].to_string(), "status": 201});
    let body = json!({"errors": true, "items": [{op.name(): first}, {op.name(): entry}]});
    judge(&answer(200, &body.to_string()), op, &IDS)
}

fn item_of(op: Op, second: &Value) -> Item {
    let Verdict::Items(mut items) = bulk(op, second) else {
        panic!("no items")
    };
    assert_eq!((items.len(), &items[0]), (2, &Item::Delivered));
    items.remove(1)
}

fn error(status: u16, word: &str, reason: &str) -> Value {
    json!({"status": status, "error": {"type": word, "reason": reason}})
}

fn kind(item: &Item) -> Option<FaultKind> {
    match item {
        Item::Retry(fault) => Some(fault.kind),
        _ => None,
    }
}

#[test]
fn what_is_there_is_delivered_also_when_it_was_there_before() {
    for status in [200, 201] {
        assert_eq!(item_of(Op::Create, &json!({"status": status})), Item::Delivered);
    }
    let conflict = error(
        409,
        "version_conflict_engine_exception",
        "[1]: version conflict, document already exists",
    );
    assert_eq!(item_of(Op::Create, &conflict), Item::Delivered);
    assert_eq!(kind(&item_of(Op::Index, &conflict)), Some(FaultKind::Server));
    assert_eq!(
        kind(&item_of(Op::Create, &error(409, "other", ""))),
        Some(FaultKind::Server)
    );
    let stored = json!({"status": 201, "failure_store": "used"});
    assert_eq!(item_of(Op::Create, &stored), Item::InFailureStore);
    let left_out = json!({"status": 200, "result": "noop"});
    assert_eq!(item_of(Op::Create, &left_out), Item::LeftOut);
    let both = error(201, "mapper_parsing_exception", "");
    assert_eq!(kind(&item_of(Op::Create, &both)), Some(FaultKind::Server));
}

#[test]
fn a_document_that_does_not_fit_is_refused_alone_with_a_reason_that_shows_nothing_live() {
    for word in [
        "mapper_parsing_exception",
        "document_parsing_exception",
        "illegal_argument_exception",
        "new_exception",
    ] {
        let mut second = error(
            400,
            word,
            "failed to parse field [source.port]: '\u{1b}[31m\u{202e}evil\n'",
        );
        second["error"]["caused_by"] = json!({"type": "number_format_exception", "reason": "x"});
        let Item::Rejected(reason) = item_of(Op::Create, &second) else {
            panic!("{word}")
        };
        assert!(
            reason.contains(&format!("{word} (number_format_exception): failed")),
            "{reason}"
        );
        assert!(trapline_schemas::text::is_clean(&reason), "{reason:?}");
    }
    let long = error(400, "mapper_parsing_exception", &"x".repeat(100_000));
    assert!(matches!(item_of(Op::Create, &long), Item::Rejected(reason) if reason.len() < 400));
    assert!(matches!(
        item_of(Op::Create, &json!({"status": 400})),
        Item::Rejected(_)
    ));
}

#[test]
fn the_state_of_the_cluster_and_the_settings_are_no_fault_of_an_event() {
    let flood = "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, …];";
    for (second, expected, hint) in [
        (
            error(429, "es_rejected_execution_exception", ""),
            FaultKind::Busy,
            "no room",
        ),
        (error(429, "circuit_breaking_exception", ""), FaultKind::Busy, "no room"),
        (
            error(429, "cluster_block_exception", flood),
            FaultKind::Config,
            "watermark",
        ),
        (
            error(403, "cluster_block_exception", "FORBIDDEN/12"),
            FaultKind::Config,
            "watermark",
        ),
        (error(403, "security_exception", ""), FaultKind::Auth, "create_doc"),
        (error(403, "other_exception", ""), FaultKind::Config, "status 403"),
        (
            error(404, "index_not_found_exception", ""),
            FaultKind::Config,
            "make it",
        ),
        (error(404, "\u{1b}[31m", ""), FaultKind::Config, "no word why"),
        (
            error(400, "invalid_index_name_exception", ""),
            FaultKind::Config,
            "name of the index",
        ),
        (error(400, "index_closed_exception", ""), FaultKind::Config, "closed"),
        (
            error(
                400,
                "illegal_argument_exception",
                "pipeline with id [nope] does not exist",
            ),
            FaultKind::Config,
            "pipeline",
        ),
        (
            error(
                400,
                "illegal_argument_exception",
                "only write ops with an op_type of create are allowed in data streams",
            ),
            FaultKind::Config,
            "op = \"create\"",
        ),
        (
            error(
                400,
                "validation_exception",
                "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000]",
            ),
            FaultKind::Config,
            "limit of shards",
        ),
        (
            error(
                400,
                "illegal_argument_exception",
                "Validation Failed: 1: this action would add [3] shards, but this cluster currently has [56]/[1]",
            ),
            FaultKind::Config,
            "limit of shards",
        ),
        (
            error(
                400,
                "illegal_argument_exception",
                "no write index is defined for alias [hp]. The write index may be explicitly disabled",
            ),
            FaultKind::Config,
            "is_write_index",
        ),
        (error(401, "security_exception", ""), FaultKind::Auth, "credentials"),
        (
            error(503, "unavailable_shards_exception", ""),
            FaultKind::Server,
            "unavailable_shards_exception",
        ),
        (error(500, "x", ""), FaultKind::Server, "500"),
        (json!({"status": 302}), FaultKind::Server, "302"),
    ] {
        let (Item::Retry(fault) | Item::Failed(fault)) = item_of(Op::Index, &second) else {
            panic!("{second}")
        };
        assert_eq!(fault.kind, expected, "{second}");
        assert!(
            fault.message.contains(hint) && !fault.message.contains('\u{1b}'),
            "{fault:?}"
        );
    }
}

#[test]
fn an_answer_without_exactly_one_item_an_event_under_its_id_is_none() {
    let item = |id: Uuid| json!({"create": {"_id": id.to_string(), "status": 201}});
    let [first, second] = IDS.map(item);
    for items in [
        json!([]),
        json!([first]),
        json!([first, first]),
        json!([first, second, second]),
        json!([first, {"delete": {"_id": IDS[1].to_string(), "status": 201}}]),
        json!([first, {"create": {"_id": IDS[1].to_string()}}]),
        json!([first, {"create": {"_id": IDS[1].to_string(), "status": 70_000}}]),
        json!("none"),
    ] {
        let body = json!({"errors": false, "items": items}).to_string();
        let verdict = judge(&answer(200, &body), Op::Create, &IDS);
        assert!(
            matches!(&verdict, Verdict::Fault(fault) | Verdict::Doubtful(fault) if [FaultKind::Server, FaultKind::Config].contains(&fault.kind)),
            "{body}: {verdict:?}"
        );
    }
    let reordered = json!({"items": [second, {"create": {"_id": IDS[0].to_string(), "status": 503}}]}).to_string();
    let Verdict::Items(items) = judge(&answer(200, &reordered), Op::Create, &IDS) else {
        panic!("each has its item")
    };
    assert!(matches!(&items[..], [Item::Retry(_), Item::Delivered]));
    for body in ["", "{}", "<html>welcome</html>", "{\"items\":[", "null"] {
        let verdict = judge(&answer(200, body), Op::Create, &IDS);
        assert!(
            matches!(verdict, Verdict::Doubtful(fault) if fault.kind == FaultKind::Server),
            "{body}"
        );
    }
}

#[test]
fn a_whole_request_is_refused_for_its_size_or_its_form_alone() {
    let with = |word: &str| json!({"error": {"type": word, "reason": "x"}, "status": 400}).to_string();
    let refused = |status, body: &str| judge(&answer(status, body), Op::Create, &IDS);
    assert!(matches!(refused(413, "<html>"), Verdict::Suspect(_)));
    assert!(matches!(
        refused(400, &with("json_e_o_f_exception")),
        Verdict::Suspect(_)
    ));
    // The body of one event alone is whole and JSON: something on the way changes it.
    let lone = judge(&answer(400, &with("not_x_content_exception")), Op::Create, &IDS[..1]);
    assert!(
        matches!(&lone, Verdict::Fault(fault) if fault.kind == FaultKind::Config && fault.message.contains("compression")),
        "{lone:?}"
    );
    for (status, body, expected) in [
        (400, with("illegal_argument_exception"), FaultKind::Config),
        (400, "<html>bad request</html>".to_owned(), FaultKind::Config),
        (401, with("security_exception"), FaultKind::Auth),
        (403, with("security_exception"), FaultKind::Auth),
        (403, "<html>firewall</html>".to_owned(), FaultKind::Auth),
        (403, with("cluster_block_exception"), FaultKind::Config),
        (404, with("index_not_found_exception"), FaultKind::Config),
        (429, with("circuit_breaking_exception"), FaultKind::Busy),
        (301, String::new(), FaultKind::Config),
        (502, "<html>".to_owned(), FaultKind::Server),
        (503, with("cluster_block_exception"), FaultKind::Server),
        (501, String::new(), FaultKind::Server),
        (504, String::new(), FaultKind::Server),
    ] {
        let verdict = refused(status, &body);
        assert!(
            matches!(&verdict, Verdict::Fault(fault) | Verdict::Doubtful(fault) if fault.kind == expected),
            "{status} {body}: {verdict:?}"
        );
    }
}

#[test]
fn every_status_of_a_request_that_is_no_success_retries_or_splits() {
    for status in (100..200).chain(300..=599) {
        let verdict = judge(&answer(status, "no"), Op::Create, &IDS);
        assert_eq!(matches!(verdict, Verdict::Suspect(_)), status == 413, "{status}");
        assert!(!matches!(verdict, Verdict::Items(_)), "{status}");
    }
}

#[test]
fn an_answer_that_was_cut_is_got_in_parts_and_garbage_without_end_is_none() {
    let item = json!({"create": error(400, "mapper_parsing_exception", &"x".repeat(bytes_max(2)))});
    let mut body = json!({"errors": true, "items": [item]}).to_string();
    body.truncate(bytes_max(2));
    let verdict = judge(&answer(200, &body), Op::Create, &IDS);
    assert!(
        matches!(&verdict, Verdict::Suspect(why) if why.contains("longer than")),
        "{verdict:?}"
    );
    let lone = judge(&answer(200, &body), Op::Create, &IDS[..1]);
    assert!(matches!(lone, Verdict::Doubtful(fault) if fault.kind == FaultKind::Server));
    let garbage = judge(&answer(200, &"x".repeat(bytes_max(2))), Op::Create, &IDS);
    assert!(matches!(garbage, Verdict::Doubtful(fault) if fault.kind == FaultKind::Server));
}

#[test]
fn what_the_cluster_breaks_down_over_is_told_from_what_it_cannot_take_now() {
    let of = |status| item_of(Op::Create, &error(status, "x", ""));
    assert!(matches!(of(500), Item::Failed(fault) if fault.kind == FaultKind::Server));
    assert!(
        [502, 503, 504]
            .into_iter()
            .all(|status| matches!(of(status), Item::Retry(_)))
    );
    let whole = judge(&answer(500, "no"), Op::Create, &IDS);
    assert!(matches!(whole, Verdict::Doubtful(fault) if fault.kind == FaultKind::Server));
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        (0_u16..700).prop_map(|number| number.to_string()),
        ".{0,20}".prop_map(|text| Value::from(text).to_string()),
        Just(format!("\"{}\"", IDS[0])),
    ];
    let names = prop::sample::select(vec![
        "items", "create", "index", "_id", "status", "error", "type", "reason",
    ]);
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((names.clone(), inner), 0..4).prop_map(|all| {
                let all: Vec<_> = all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}

fn texts(verdict: &Verdict) -> Vec<String> {
    let of_item = |item: &Item| match item {
        Item::Retry(fault) | Item::Failed(fault) => fault.message.clone(),
        Item::Rejected(reason) | Item::Suspect(reason) => reason.clone(),
        Item::Delivered | Item::InFailureStore | Item::LeftOut => String::new(),
    };
    match verdict {
        Verdict::Items(items) => items.iter().map(of_item).collect(),
        Verdict::Suspect(reason) => vec![reason.clone()],
        Verdict::Doubtful(fault) | Verdict::Fault(fault) => vec![fault.message.clone()],
    }
}

proptest! {
    #[test]
    fn any_bytes_of_an_answer_deliver_nothing_that_is_not_named(
        status in 100_u16..600, noise in prop::collection::vec(any::<u8>(), 0..200), json in any_json(),
    ) {
        for body in [noise.as_slice(), json.as_bytes()] {
            let verdict = judge(&Answer { status, retry_after: None, body: body.to_vec() }, Op::Create, &IDS);
            if let Verdict::Items(items) = &verdict {
                prop_assert_eq!(items.len(), 2);
            }
            for text in texts(&verdict) {
                prop_assert!(text.len() < 1200 && trapline_schemas::text::is_clean(&text), "{:?}", text);
            }
        }
    }

    #[test]
    fn any_bytes_of_an_items_error_are_bounded_and_clean(status in 0_u16..700, word in ".{0,100}", said in ".{0,300}") {
        for text in texts(&bulk(Op::Create, &error(status, &word, &said))) {
            prop_assert!(text.len() < 1200 && trapline_schemas::text::is_clean(&text), "{:?}", text);
        }
    }
}
