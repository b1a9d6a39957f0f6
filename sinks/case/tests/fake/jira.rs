//! Jira: REST API v3 of the Cloud and v2 of the Data Center. Source: Atlassian, "The Jira Cloud platform REST API";
//! "Jira Data Center platform REST API"; "Atlassian Document Format".

use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request};

use super::{Checked, Desk, TOKEN, Ticket};

pub(super) fn answer(desk: &mut Desk, version: u8, request: &Request) -> Reply {
    let authorization = request.header("authorization");
    let is_known = match version {
        3 => authorization.starts_with("Basic c29jQGV4YW1wbGUub3Jn"),
        _ => authorization == format!("Bearer {TOKEN}"),
    };
    if !is_known {
        return error(401, "Client must be authenticated to access this resource.");
    }
    let (mut checked, body) = (Checked::default(), request.json());
    if request.method != "GET" {
        checked.that(request.header("content-type") == "application/json", "no JSON");
    }
    let prefix = format!("/rest/api/{version}/");
    let Some(path) = request.path().strip_prefix(&prefix) else {
        return error(404, "dead link");
    };
    let search = if version == 3 { "search/jql" } else { "search" };
    let path: Vec<_> = path.split('/').collect();
    let reply = match (request.method.as_str(), path.as_slice()) {
        ("GET", ["myself"]) => Reply::json(200, &json!({ "displayName": "Trapline" })),
        ("GET", ["project", "SEC"]) => Reply::json(200, &json!({ "id": "1", "key": "SEC" })),
        ("POST", path) if path.join("/") == search => find(desk, &body, &mut checked),
        ("POST", ["issue"]) => create(desk, version, &body, &mut checked),
        (method, ["issue", id, rest @ ..]) => issue(desk, method, (id, rest), (version, &body), &mut checked),
        _ => error(404, "no such path"),
    };
    desk.note(&checked, request);
    match checked.wrong.is_empty() {
        true => reply,
        false => error(400, "invalid"),
    }
}

fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({ "errorMessages": [message], "errors": {} }))
}

fn find(desk: &mut Desk, body: &Value, checked: &mut Checked) -> Reply {
    checked.keys(body, &["jql", "maxResults", "fields"], &[]);
    let jql = body["jql"].as_str().unwrap_or_default();
    let reference = jql.strip_prefix("project = \"SEC\" AND labels = \"trapline-");
    let reference = reference.and_then(|rest| rest.strip_suffix("\" ORDER BY created ASC"));
    checked.that(reference.is_some(), format!("jql {jql}"));
    if desk.is_late() {
        return Reply::json(200, &json!({ "issues": [], "isLast": true }));
    }
    let asked = body["fields"].clone();
    let found = desk.found(reference).map(|ticket| {
        let mut issue = json!({ "id": ticket.id, "key": "SEC-1", "fields": {} });
        if asked == json!(["labels"]) {
            issue["fields"]["labels"] = ticket.body["labels"].clone();
        }
        issue
    });
    let found: Vec<_> = found.into_iter().collect();
    Reply::json(200, &json!({ "issues": found, "isLast": true }))
}

fn create(desk: &mut Desk, version: u8, body: &Value, checked: &mut Checked) -> Reply {
    checked.keys(body, &["fields"], &[]);
    let fields = &body["fields"];
    let must = ["project", "issuetype", "summary", "description", "labels", "components"];
    checked.keys(fields, &must, &["priority"]);
    checked.that(fields["project"] == json!({ "key": "SEC" }), "project");
    checked.that(fields["issuetype"] == json!({ "name": "Task" }), "issuetype");
    checked.text(fields, "summary", 255);
    checked.that(
        !fields["summary"].as_str().unwrap_or_default().contains('\n'),
        "summary of lines",
    );
    checked.texts(fields, "labels");
    let labels: Vec<_> = fields["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    checked.that(labels.iter().all(|label| !label.contains(' ')), "a label with a space");
    let description = text(version, &fields["description"], checked);
    priority(fields, checked);
    let reference = labels
        .iter()
        .find_map(|label| label.strip_prefix("trapline-").filter(|rest| rest.len() >= 36));
    checked.that(reference.is_some(), "no label of the incident");
    if !checked.wrong.is_empty() {
        return error(400, "invalid");
    }
    let id = (10_000 + desk.tickets.len()).to_string();
    desk.tickets.push(Ticket {
        id: id.clone(),
        reference: reference.unwrap_or_default().to_owned(),
        title: fields["summary"].as_str().unwrap_or_default().to_owned(),
        description,
        severity: fields["priority"]["name"].as_str().unwrap_or_default().to_owned(),
        body: fields.clone(),
        ..Ticket::default()
    });
    Reply::json(
        201,
        &json!({ "id": id, "key": "SEC-1", "self": "https://jira.example/rest/api/3/issue/1" }),
    )
}

fn priority(fields: &Value, checked: &mut Checked) {
    if fields.get("priority").is_some() {
        checked.choice(
            &fields["priority"],
            "name",
            &["Lowest", "Low", "Medium", "High", "Highest"],
        );
    }
}

/// A text in the form of the version, as one string.
fn text(version: u8, value: &Value, checked: &mut Checked) -> String {
    if version == 3 {
        checked.that(value["type"] == "doc" && value["version"] == 1, "no document");
        node(value, checked);
        return value.to_string();
    }
    checked.that(value.is_string(), "v2 takes texts");
    // A backslash before a sign is not shown.
    value.as_str().unwrap_or_default().replace('\\', "")
}

/// A node of a document: known types, known marks, no empty text.
fn node(value: &Value, checked: &mut Checked) {
    let kind = value["type"].as_str().unwrap_or_default();
    let known = ["doc", "paragraph", "bulletList", "listItem", "text"];
    checked.that(known.contains(&kind), format!("a node `{kind}`"));
    match kind {
        "text" => {
            checked.keys(value, &["type", "text"], &["marks"]);
            checked.text(value, "text", 32_767);
            for mark in value["marks"].as_array().into_iter().flatten() {
                checked.choice(mark, "type", &["strong", "code"]);
            }
        }
        _ => {
            checked.keys(value, &["type", "content"], &["version"]);
            value["content"]
                .as_array()
                .into_iter()
                .flatten()
                .for_each(|child| node(child, checked));
        }
    }
}

fn issue(
    desk: &mut Desk,
    method: &str,
    (id, rest): (&str, &[&str]),
    (version, body): (u8, &Value),
    checked: &mut Checked,
) -> Reply {
    let Some(ticket) = desk.find(id) else {
        return error(404, "Issue does not exist or you do not have permission to see it.");
    };
    match (method, rest) {
        ("GET", []) => {
            let category = if ticket.closed { "done" } else { "indeterminate" };
            let status = json!({ "name": "x", "statusCategory": { "id": 3, "key": category } });
            let fields = json!({ "status": status, "priority": { "name": ticket.severity } });
            Reply::json(200, &json!({ "id": id, "key": "SEC-1", "fields": fields }))
        }
        ("POST", ["comment"]) => {
            checked.keys(body, &["body"], &[]);
            let comment = text(version, &body["body"], checked);
            ticket.comments.push(comment.clone());
            ticket.resolution = comment;
            Reply::json(201, &json!({ "id": "1" }))
        }
        ("PUT", []) => {
            checked.keys(body, &["fields"], &[]);
            checked.keys(&body["fields"], &["priority"], &[]);
            priority(&body["fields"], checked);
            ticket.severity = body["fields"]["priority"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Reply::status(204)
        }
        ("GET", ["transitions"]) => {
            let to = |id: &str, key: &str| json!({ "id": id, "name": id, "to": { "statusCategory": { "key": key } } });
            let ways = [to("11", "new"), to("21", "indeterminate"), to("31", "done")];
            Reply::json(200, &json!({ "expand": "transitions", "transitions": ways }))
        }
        ("POST", ["transitions"]) => {
            checked.keys(body, &["transition"], &["fields"]);
            checked.choice(&body["transition"], "id", &["11", "21", "31"]);
            ticket.closed = body["transition"]["id"] == "31";
            Reply::status(204)
        }
        _ => error(404, "no such path"),
    }
}
