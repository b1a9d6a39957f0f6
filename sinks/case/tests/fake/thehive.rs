//! TheHive 5, API v1. Source: TheHive API documentation: Alert, Case, Comment, Observable, Query API.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request};

use super::{Checked, Desk, TOKEN, Ticket};

const TYPES: &[&str] = &[
    "ip",
    "other",
    "hash",
    "user-agent",
    "hostname",
    "domain",
    "url",
    "filename",
];

pub(super) fn answer(desk: &mut Desk, request: &Request) -> Reply {
    if request.header("authorization") != format!("Bearer {TOKEN}") {
        return error(401, "AuthenticationError", "Authentication failure");
    }
    let mut checked = Checked::default();
    let body = request.json();
    checked.that(request.header("x-organisation") == "lyon", "no X-Organisation");
    if request.method != "GET" {
        checked.that(request.header("content-type") == "application/json", "no JSON");
    }
    let path: Vec<_> = request.path().trim_start_matches("/api/v1/").split('/').collect();
    let reply = match (request.method.as_str(), path.as_slice()) {
        ("GET", ["user", "current"]) => Reply::json(200, &json!({ "_id": "~1", "login": "trapline@lyon" })),
        ("POST", ["query"]) => query(desk, request, &body, &mut checked),
        ("POST", ["alert"]) => alert(desk, &body, &mut checked),
        ("POST", ["alert", id, "case"]) => promote(desk, &plain(id), &body, &mut checked),
        (method, ["case", id, rest @ ..]) => case(desk, method, (&plain(id), rest), &body, &mut checked),
        _ => error(404, "NotFoundError", "no such path"),
    };
    desk.note(&checked, request);
    match checked.wrong.is_empty() {
        true => reply,
        false => error(400, "BadRequest", "invalid"),
    }
}

/// Ids begin with a tilde, which is no letter of a path that must be escaped, and may be.
fn plain(id: &str) -> String {
    id.replace("%7E", "~")
}

fn error(status: u16, kind: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "type": kind, "message": message }))
}

fn query(desk: &mut Desk, request: &Request, body: &Value, checked: &mut Checked) -> Reply {
    checked.that(request.query().contains_key("name"), "a query has a name");
    let eq = |field: &str, value: &Value| json!({ "_eq": { "_field": field, "_value": value } });
    let reference = &body["query"][1]["_and"][2]["_eq"]["_value"];
    let expected = json!({ "query": [
        { "_name": "listAlert" },
        { "_name": "filter", "_and": [
            eq("type", &json!("honeyport")), eq("source", &json!("trapline")), eq("sourceRef", reference),
        ] },
        { "_name": "page", "from": 0, "to": 1 },
    ] });
    checked.that(*body == expected, format!("query {body}"));
    if desk.is_late() {
        return Reply::json(200, &json!([]));
    }
    let found = desk
        .alerts
        .iter()
        .filter(|(known, ..)| desk.strays || Some(known.as_str()) == reference.as_str());
    let found: Vec<_> = found
        .map(|(reference, id, case)| {
            let mut alert = json!({ "_id": id, "_type": "Alert", "sourceRef": reference });
            if let Some(case) = case {
                alert["caseId"] = json!(case);
            }
            alert
        })
        .collect();
    Reply::json(200, &json!(found))
}

fn alert(desk: &mut Desk, body: &Value, checked: &mut Checked) -> Reply {
    let must = ["type", "source", "sourceRef", "title", "description"];
    checked.keys(body, &must, &["severity", "date", "tags", "tlp", "pap", "observables"]);
    must.iter().for_each(|key| checked.text(body, key, 1 << 20));
    checked.text(body, "title", 512);
    checked.integer(body, "severity", 1..=4);
    checked.integer(body, "tlp", 0..=4);
    checked.integer(body, "pap", 0..=3);
    checked.integer(body, "date", 1_000_000_000_000..=9_999_999_999_999);
    checked.texts(body, "tags");
    let mut seen = BTreeSet::new();
    for observable in body["observables"].as_array().into_iter().flatten() {
        checked.keys(observable, &["dataType", "data"], &["message", "tags"]);
        checked.choice(observable, "dataType", TYPES);
        checked.text(observable, "data", 4096);
        checked.texts(observable, "tags");
        checked.that(seen.insert(observable.to_string()), "an observable twice");
    }
    let reference = body["sourceRef"].as_str().unwrap_or_default().to_owned();
    if desk.alerts.iter().any(|(known, ..)| *known == reference) {
        return error(400, "CreateError", "Alert already exists");
    }
    if !checked.wrong.is_empty() {
        return error(400, "BadRequest", "invalid");
    }
    let id = format!("~{}", 4096 + desk.alerts.len());
    desk.alerts.push((reference.clone(), id.clone(), None));
    // The case is made of it later; till then it counts as what the desk was told.
    desk.tickets.push(Ticket {
        id: format!("alert {id}"),
        reference,
        title: body["title"].as_str().unwrap_or_default().to_owned(),
        description: body["description"].as_str().unwrap_or_default().to_owned(),
        severity: body["severity"].to_string(),
        body: body.clone(),
        ..Ticket::default()
    });
    Reply::json(201, &json!({ "_id": id, "_type": "Alert", "stage": "New" }))
}

fn promote(desk: &mut Desk, id: &str, body: &Value, checked: &mut Checked) -> Reply {
    checked.keys(body, &[], &["assignee", "caseTemplate", "customFields", "tags"]);
    checked.that(body["assignee"] == "soc@example.org", "the user's field is missing");
    let case_id = format!("~{}", 81_920 + desk.tickets.len());
    let Some((_, _, case)) = desk.alerts.iter_mut().find(|(_, known, _)| known == id) else {
        return error(404, "NotFoundError", "Alert not found");
    };
    if case.is_some() {
        return error(400, "BadRequest", "Alert is already imported");
    }
    *case = Some(case_id.clone());
    if let Some(ticket) = desk
        .tickets
        .iter_mut()
        .find(|ticket| ticket.id == format!("alert {id}"))
    {
        ticket.id = case_id.clone();
    }
    Reply::json(
        201,
        &json!({ "_id": case_id, "_type": "Case", "number": 12, "stage": "New", "status": "New" }),
    )
}

fn case(desk: &mut Desk, method: &str, (id, rest): (&str, &[&str]), body: &Value, checked: &mut Checked) -> Reply {
    let Some(ticket) = desk.find(id) else {
        return error(404, "NotFoundError", "Case not found");
    };
    match (method, rest) {
        ("GET", []) => {
            let stage = if ticket.closed { "Closed" } else { "InProgress" };
            let severity: i64 = ticket.severity.parse().unwrap_or(0);
            Reply::json(
                200,
                &json!({ "_id": id, "number": 12, "stage": stage, "severity": severity }),
            )
        }
        ("POST", ["comment"]) => {
            checked.keys(body, &["message"], &[]);
            checked.text(body, "message", 1 << 20);
            ticket.comments.extend(body["message"].as_str().map(str::to_owned));
            Reply::json(201, &json!({ "_id": "~7", "message": body["message"] }))
        }
        ("POST", ["observable"]) => {
            checked.keys(body, &["dataType", "data"], &["message", "tags"]);
            checked.choice(body, "dataType", TYPES);
            checked.texts(body, "data");
            Reply::json(201, &json!([]))
        }
        ("PATCH", []) => {
            checked.keys(body, &[], &["severity", "status", "summary"]);
            if body.get("severity").is_some() {
                checked.integer(body, "severity", 1..=4);
                ticket.severity = body["severity"].to_string();
            }
            if body.get("status").is_some() {
                checked.choice(body, "status", &["InProgress", "TruePositive", "Indeterminate"]);
                ticket.closed = body["status"] != "InProgress";
                ticket.resolution = body["summary"].as_str().unwrap_or_default().to_owned();
            }
            Reply::status(204)
        }
        _ => error(404, "NotFoundError", "no such path"),
    }
}
