//! ServiceNow's Table API. Source: ServiceNow, "Table API"; "OAuth client credentials"; KB0564465.

use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request};

use super::{CLIENT_SECRET, Checked, Desk, Lock, PASSWORD, Ticket};

/// Every value of the Table API is a text.
const FIELDS: &[&str] = &[
    "short_description",
    "description",
    "correlation_id",
    "correlation_display",
    "severity",
    "impact",
    "urgency",
    "source_ip",
    "assignment_group",
    "work_notes",
    "state",
    "close_code",
    "close_notes",
];

pub(super) fn answer(desk: &mut Desk, table: &str, request: &Request) -> Reply {
    if request.path() == "/oauth_token.do" {
        return token(desk, request);
    }
    let authorization = request.header("authorization");
    let is_known = authorization == format!("Bearer token-SECRET-{}", desk.tokens)
        || authorization == format!("Basic {}", base64(&format!("lure:{PASSWORD}")));
    if !is_known {
        return error(401, "User Not Authenticated", "Required to provide Auth information");
    }
    let (mut checked, body) = (Checked::default(), request.json());
    checked.that(request.header("accept") == "application/json", "no Accept");
    checked.that(
        request.query().contains_key("sysparm_fields"),
        "all fields are asked for",
    );
    let below = format!("/api/now/table/{table}");
    let Some(rest) = request.path().strip_prefix(&below) else {
        return error(400, "Invalid table", request.path());
    };
    let reply = match (request.method.as_str(), rest.trim_start_matches('/')) {
        ("GET", "") => search(desk, request, &mut checked),
        ("POST", "") => create(desk, &body, &mut checked),
        (method, id) => record(desk, method, id, &body, &mut checked),
    };
    desk.note(&checked, request);
    match checked.wrong.is_empty() {
        true => reply,
        false => error(400, "Invalid", "invalid"),
    }
}

fn error(status: u16, message: &str, detail: &str) -> Reply {
    let body = json!({ "error": { "message": message, "detail": detail }, "status": "failure" });
    Reply::json(status, &body)
}

fn token(desk: &mut Desk, request: &Request) -> Reply {
    let form = request.form();
    let has = |key: &str, value: &str| form.get(key).is_some_and(|found| found == value);
    let good =
        has("grant_type", "client_credentials") && has("client_id", "lure") && has("client_secret", CLIENT_SECRET);
    if !good || request.header("content-type") != "application/x-www-form-urlencoded" {
        return Reply::json(
            401,
            &json!({ "error": "invalid_client", "error_description": "access_denied" }),
        );
    }
    desk.tokens += 1;
    let token = format!("token-SECRET-{}", desk.tokens);
    Reply::json(
        200,
        &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 1799 }),
    )
}

fn search(desk: &mut Desk, request: &Request, checked: &mut Checked) -> Reply {
    let query = request.query();
    checked.that(
        query.get("sysparm_limit").is_some_and(|limit| limit == "1"),
        "sysparm_limit",
    );
    let Some(wanted) = query.get("sysparm_query") else {
        return Reply::json(200, &json!({ "result": [] }));
    };
    let reference = wanted
        .strip_prefix("correlation_id=")
        .and_then(|rest| rest.strip_suffix("^ORDERBYsys_created_on"));
    checked.that(reference.is_some(), format!("sysparm_query {wanted}"));
    let fields = query.get("sysparm_fields").map_or("", String::as_str);
    let found = desk.found(reference).map(|ticket| {
        let all = json!({ "sys_id": ticket.id, "number": "SIR0010001", "correlation_id": ticket.reference });
        let asked = all.as_object().into_iter().flatten();
        let asked = asked.filter(|(name, _)| fields.split(',').any(|field| field == *name));
        Value::Object(asked.map(|(name, value)| (name.clone(), value.clone())).collect())
    });
    let found: Vec<_> = found.into_iter().collect();
    Reply::json(200, &json!({ "result": found }))
}

fn create(desk: &mut Desk, body: &Value, checked: &mut Checked) -> Reply {
    checked.keys(
        body,
        &["short_description", "description", "correlation_id", "assignment_group"],
        FIELDS,
    );
    texts(body, checked);
    checked.text(body, "short_description", 160);
    checked.text(body, "description", 4000);
    checked.text(body, "correlation_id", 100);
    let graveness = severity(desk);
    checked.choice(body, graveness, &["1", "2", "3"]);
    if !checked.wrong.is_empty() {
        return error(400, "Invalid", "invalid");
    }
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let id = format!("{:032x}", 0xabc + desk.tickets.len());
    desk.tickets.push(Ticket {
        id: id.clone(),
        reference: text("correlation_id"),
        title: text("short_description"),
        description: text("description"),
        severity: text(graveness),
        body: body.clone(),
        ..Ticket::default()
    });
    Reply::json(201, &json!({ "result": { "sys_id": id, "number": "SIR0010001" } }))
}

/// Which field says how grave it is.
fn severity(desk: &Desk) -> &'static str {
    match desk.vendor {
        super::Vendor::ServiceNowSir => "severity",
        _ => "urgency",
    }
}

fn texts(body: &Value, checked: &mut Checked) {
    for (key, value) in body.as_object().into_iter().flatten() {
        checked.that(value.is_string(), format!("`{key}` is no text"));
    }
}

fn record(desk: &mut Desk, method: &str, id: &str, body: &Value, checked: &mut Checked) -> Reply {
    let (graveness, is_sir) = (severity(desk), desk.vendor == super::Vendor::ServiceNowSir);
    let closed_state = if is_sir { "3" } else { "6" };
    let locked = desk.locked;
    let Some(ticket) = desk.find(id) else {
        return error(
            404,
            "No Record found",
            "Record doesn't exist or ACL restricts the record retrieval",
        );
    };
    let is_locked = locked.is_some_and(|lock| lock == Lock::All || ticket.closed);
    if method == "PATCH" && is_locked {
        let detail = "ACL Exception Update Failed due to security constraints";
        return error(403, "Operation Failed", detail);
    }
    if method == "PATCH" {
        checked.keys(body, &[], FIELDS);
        texts(body, checked);
        ticket.comments.extend(body["work_notes"].as_str().map(str::to_owned));
        if let Some(grave) = body[graveness].as_str() {
            ticket.severity = grave.to_owned();
        }
        if let Some(state) = body["state"].as_str() {
            ticket.closed = state == closed_state;
            if ticket.closed && (body["close_code"].is_null() || body["close_notes"].is_null()) {
                return error(
                    403,
                    "Operation Failed",
                    "Data Policy Exception: close_code, close_notes are mandatory",
                );
            }
            ticket.resolution = body["close_notes"].as_str().unwrap_or_default().to_owned();
        }
    } else {
        checked.that(method == "GET", method);
    }
    let state = match ticket.closed {
        true => closed_state,
        false => "16",
    };
    let mut result = json!({ "sys_id": id, "number": "SIR0010001", "state": state });
    result[graveness] = json!(ticket.severity);
    Reply::json(200, &json!({ "result": result }))
}

/// RFC 4648 section 4.
fn base64(text: &str) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { sign as char } else { '=' });
        }
    }
    out
}
