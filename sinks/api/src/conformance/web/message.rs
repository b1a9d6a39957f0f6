//! Requests as a service sees them, and its replies.

use std::collections::BTreeMap;
use std::io::Read;

use reqwest::Url;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a head or a body; a client under test sends less.
const BYTES_MAX: usize = 64 << 20;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// As it was sent, with the query.
    pub target: String,
    /// By name in lower case; a header that came twice has its values joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The bytes as they were sent.
    pub body: Vec<u8>,
}

impl Request {
    /// The target without its query, as it was sent.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's pairs, decoded.
    pub fn query(&self) -> BTreeMap<String, String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        pairs(query)
    }

    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body, inflated if it says that it is deflated; `None` if that is wrong.
    pub fn content(&self) -> Option<Vec<u8>> {
        match self.header("content-encoding") {
            "" => Some(self.body.clone()),
            "gzip" => {
                let mut content = Vec::new();
                let mut reader = flate2::read::GzDecoder::new(self.body.as_slice());
                reader.read_to_end(&mut content).ok()?;
                Some(content)
            }
            _ => None,
        }
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        let content = self.content().unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    /// The body as the pairs of a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        pairs(&String::from_utf8_lossy(&self.content().unwrap_or_default()))
    }

    /// Reads one request; `None` at the end of the connection, or where it makes no sense.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), pending: &mut Vec<u8>) -> Option<Self> {
        let head_end = loop {
            if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            more(stream, pending).await?;
        };
        let head = String::from_utf8(pending.get(..head_end)?.to_vec()).ok()?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = headers(lines);
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let end = head_end + 4 + length.unwrap_or(0_usize).min(BYTES_MAX);
        while pending.len() < end {
            more(stream, pending).await?;
        }
        let body = pending.drain(..end).skip(head_end + 4).collect();
        Some(Self {
            method,
            target,
            headers,
            body,
        })
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), pending: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(pending).await.ok()?;
    (read > 0 && pending.len() <= 2 * BYTES_MAX).then_some(())
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|before| *before = format!("{before}, {value}"))
            .or_insert_with(|| value.to_owned());
    }
    headers
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let mut url = Url::parse("http://localhost").unwrap();
    url.set_query(Some(query));
    url.query_pairs().into_owned().collect()
}

/// What a service answers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Further header lines, each with its CRLF.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A body of JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        let reply = Self {
            body: body.to_string().into_bytes(),
            ..Self::status(status)
        };
        reply.with("Content-Type", "application/json")
    }

    /// A body of plain text.
    pub fn text(status: u16, body: &str) -> Self {
        let reply = Self {
            body: body.as_bytes().to_vec(),
            ..Self::status(status)
        };
        reply.with("Content-Type", "text/plain")
    }

    /// With a further header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }
}
