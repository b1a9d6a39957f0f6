//! Headers that every request has.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use trapline_sink::config::{ExposeSecret, Secret, Table};

/// Headers that the request itself is made of, or its signature.
const OURS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];
/// Most headers of the operator's.
const HEADERS_MAX: usize = 32;
/// What a value may hold.
const PLAIN: &str = "one line of printable characters of ASCII";

/// Reads `headers`, `token`, `username` and `password`; what is wrong becomes a problem.
pub(crate) fn read(table: &Table, content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let own = table.pairs("headers");
    if own.len() > HEADERS_MAX {
        let found = format!("{} headers", own.len());
        table.problem("headers", &found, &format!("at most {HEADERS_MAX}"));
    }
    for (name, value) in own.iter().take(HEADERS_MAX) {
        match header(name, value) {
            Ok((name, value)) => {
                headers.insert(name, value);
            }
            Err((found, allowed)) => table.problem("headers", found, allowed),
        }
    }
    if let Some(value) = authorization(table)
        && headers.insert(AUTHORIZATION, value).is_some()
    {
        let found = "`authorization` beside `token` or `username`";
        table.problem("headers", found, "one of them");
    }
    headers
}

type Wrong = (&'static str, &'static str);

fn header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), Wrong> {
    let wrong_name = |_| ("a name that no header has", "letters, digits and `-`");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(wrong_name)?;
    if OURS.contains(&name.as_str()) {
        return Err(("a header that the request is made of", "another name"));
    }
    Ok((
        name,
        sensitive(value.expose_secret()).ok_or(("a value that no header can carry", PLAIN))?,
    ))
}

fn authorization(table: &Table) -> Option<HeaderValue> {
    let (token, password) = (table.secret("token"), table.secret("password"));
    if let Some(token) = token {
        if table.is_set("username") || table.is_set("password") {
            table.problem("token", "both `token` and `username`", "one of them");
        }
        let value = sensitive(&format!("Bearer {}", token.expose_secret()));
        return told(table, "token", value);
    }
    match (table.text_opt("username"), password) {
        (Some(username), Some(password)) => {
            if username.contains(':') {
                table.problem("username", "`:` in a user's name", "a name without it (RFC 7617)");
            }
            let pair = format!("{username}:{}", password.expose_secret());
            told(
                table,
                "password",
                sensitive(&format!("Basic {}", STANDARD.encode(pair))),
            )
        }
        (Some(_), None) if !table.is_set("password") => told_alone(table, "username"),
        (None, Some(_)) if !table.is_set("username") => told_alone(table, "password"),
        _ => None,
    }
}

fn told(table: &Table, key: &str, value: Option<HeaderValue>) -> Option<HeaderValue> {
    if value.is_none() {
        table.problem(key, "a value that no header can carry", PLAIN);
    }
    value
}

fn told_alone(table: &Table, key: &str) -> Option<HeaderValue> {
    table.problem(key, &format!("`{key}` alone"), "`username` and `password` together");
    None
}

/// A value that is not shown. Bytes beyond ASCII are refused: receivers do not agree on what they mean.
fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
