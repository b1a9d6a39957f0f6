//! What answers, and whether the index is there: two questions that write nothing and that both products answer.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use trapline_schemas::text::clean_within;
use trapline_sink::http::{Answer, exchange, exchange_within};
use trapline_sink::stream::{Fault, FaultKind};

use crate::config::{Op, Require, Settings};
use crate::sink::Elasticsearch;

/// Longest answer to what a pattern stands for.
const RESOLVED_BYTES_MAX: usize = 1 << 20;
/// Longest version that is shown.
const VERSION_CHARS_MAX: usize = 24;

/// Asks both.
pub(crate) async fn check(sink: &Elasticsearch) -> Result<String, Fault> {
    let product = product(&exchange(sink.request(Method::GET, "", &[])).await?)?;
    let path = format!("_resolve/index/{}", sink.settings.index.with("*"));
    let answer = exchange_within(sink.request(Method::GET, &path, &[]), RESOLVED_BYTES_MAX).await?;
    let found = found(&answer)?;
    Ok(format!("{product}, {}", told(&sink.settings, found)?))
}

/// Name and version. A key that may write need not be allowed to ask.
fn product(answer: &Answer) -> Result<String, Fault> {
    if answer.status == 403 {
        return Ok("the cluster does not tell us its version".to_owned());
    }
    if !answer.is_success() {
        return Err(answer.fault("the cluster"));
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |key: &str| body.get("version")?.get(key)?.as_str();
    let Some(number) = text("number") else {
        let message = format!(
            "what answers is neither Elasticsearch nor OpenSearch: http status {}",
            answer.status
        );
        return Err(fault(FaultKind::Config, message));
    };
    let name = match text("distribution") {
        Some("opensearch") => "OpenSearch",
        _ => "Elasticsearch",
    };
    Ok(format!("{name} {}", clean_within(number.as_bytes(), VERSION_CHARS_MAX)))
}

/// How many of each a name stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found {
    streams: usize,
    aliases: usize,
    indices: usize,
}

#[derive(Debug, Deserialize)]
struct Resolved {
    indices: Vec<Value>,
    aliases: Vec<Value>,
    data_streams: Vec<Value>,
}

/// `None` where we may not ask. A name that stands for nothing is an empty list, or 404.
fn found(answer: &Answer) -> Result<Option<Found>, Fault> {
    match answer.status {
        403 => return Ok(None),
        404 => return Ok(Some(Found::default())),
        _ if !answer.is_success() => return Err(answer.fault("the cluster")),
        _ => {}
    }
    let resolved: Option<Resolved> = serde_json::from_slice(&answer.body).ok();
    Ok(resolved.map(|resolved| Found {
        streams: resolved.data_streams.len(),
        aliases: resolved.aliases.len(),
        indices: resolved.indices.len(),
    }))
}

fn told(settings: &Settings, found: Option<Found>) -> Result<String, Fault> {
    let index = &settings.index;
    let Some(found) = found else {
        return Ok(format!("which does not tell us whether `{index}` is there"));
    };
    if let Some(lacks) = lacks(settings, found) {
        return Err(fault(FaultKind::Config, format!("`{index}` {lacks}")));
    }
    let counts = [
        (found.streams, "data stream", "data streams"),
        (found.aliases, "alias", "aliases"),
        (found.indices, "index", "indices"),
    ];
    let there: Vec<_> = counts.iter().filter(|(count, ..)| *count > 0).map(counted).collect();
    Ok(match there.is_empty() {
        true => {
            format!("`{index}` does not exist yet: the cluster makes it of its templates when the first event comes")
        }
        false => format!("`{index}` is {}", there.join(", ")),
    })
}

fn counted((count, one, many): &(usize, &str, &str)) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

/// What would keep every event from being written.
fn lacks(settings: &Settings, found: Found) -> Option<&'static str> {
    match settings.require {
        Require::Alias if found.aliases == 0 => Some("is no alias, which `require` asks for"),
        Require::DataStream if found.indices > 0 && found.streams == 0 => {
            Some("is no data stream, which `require` asks for")
        }
        _ if settings.op == Op::Index && found.streams > 0 => {
            Some("is a data stream, which takes `op = \"create\"` alone")
        }
        _ => None,
    }
}

fn fault(kind: FaultKind, message: String) -> Fault {
    Fault { kind, message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::settings;

    fn answer(status: u16, body: &Value) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: body.to_string().into_bytes(),
        }
    }

    #[test]
    fn the_product_is_named_with_its_version() {
        let of = |body: Value| product(&answer(200, &body));
        let open = json!({"version": {"distribution": "opensearch", "number": "2.19.1"}});
        assert_eq!(of(open).unwrap(), "OpenSearch 2.19.1");
        let elastic = json!({"version": {"number": "8.15.0\u{1b}[31m"}, "tagline": "You Know, for Search"});
        assert_eq!(of(elastic).unwrap(), "Elasticsearch 8.15.0\\x1b[31m");
        assert_eq!(of(json!({"hello": 1})).unwrap_err().kind, FaultKind::Config);
        assert_eq!(product(&answer(401, &json!({}))).unwrap_err().kind, FaultKind::Auth);
        assert!(product(&answer(403, &json!({}))).unwrap().contains("does not tell"));
    }

    #[test]
    fn what_the_index_is_is_told_and_what_would_keep_events_out_is_a_fault() {
        let of = |lines: &str, streams: usize, aliases: usize, indices: usize| {
            let many = |count: usize| vec![json!({"name": "x"}); count];
            let body = json!({"indices": many(indices), "aliases": many(aliases), "data_streams": many(streams)});
            told(&settings(lines), found(&answer(200, &body)).unwrap()).map_err(|fault| fault.message)
        };
        assert!(of("", 1, 0, 0).unwrap().ends_with("is 1 data stream"));
        assert!(
            of("index = \"hp-{level}\"", 0, 0, 3)
                .unwrap()
                .contains("`hp-{level}` is 3 indices")
        );
        assert!(of("", 0, 0, 0).unwrap().contains("does not exist yet"));
        assert!(of("require = \"alias\"", 0, 0, 1).unwrap_err().contains("is no alias"));
        assert!(
            of("require = \"data_stream\"", 0, 0, 1)
                .unwrap_err()
                .contains("is no data stream")
        );
        assert!(of("op = \"index\"", 1, 0, 0).unwrap_err().contains("op = \"create\""));
        let missing = found(&answer(404, &json!({}))).unwrap();
        assert_eq!(missing, Some(Found::default()));
        assert_eq!(found(&answer(403, &json!({}))).unwrap(), None);
        assert_eq!(found(&answer(200, &json!({"indices": 1}))).unwrap(), None);
    }
}
