//! The receiver over HTTP: `POST /v1/logs`, protobuf or JSON.

use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request, Service};

use super::store::{Store, Taken};
use super::{KEY, wire};

/// The receiver.
#[derive(Debug, Default)]
pub struct Receiver {
    pub store: Store,
}

impl Service for Receiver {
    fn answer(&mut self, request: &Request) -> Reply {
        let kind = request.header("content-type").to_owned();
        let Some((logs, bytes)) = self.read(request, &kind) else {
            self.store.wrong.push(format!("{request:?}"));
            return Reply::status(400);
        };
        if request.header("api-key") != KEY {
            return Reply::status(401);
        }
        match self.store.take(&logs, bytes) {
            Taken::Invalid => Reply::json(400, &json!({"code": 3, "message": "bad record"})),
            Taken::TooMany => Reply::status(413),
            Taken::Broken => Reply::status(500),
            Taken::Blocked => Reply::status(403),
            Taken::Page => Reply::text(200, "<html>blocked</html>"),
            // Only the receiver over gRPC cuts.
            Taken::Cut => Reply::status(500),
            Taken::AllBut(0) if kind == "application/json" => Reply::json(200, &json!({})),
            Taken::AllBut(refused) if kind == "application/json" => {
                let partial = json!({"rejectedLogRecords": refused.to_string(), "errorMessage": "bad record"});
                Reply::json(200, &json!({"partialSuccess": partial}))
            }
            Taken::AllBut(refused) => Reply {
                body: response(refused),
                ..Reply::status(200)
            }
            .with("Content-Type", "application/x-protobuf"),
        }
    }
}

impl Receiver {
    /// The request's content, if the request is as the specification has it.
    fn read(&self, request: &Request, kind: &str) -> Option<(Value, usize)> {
        if request.method != "POST" || request.target != "/v1/logs" || request.header("accept") != kind {
            return None;
        }
        let content = request.content()?;
        let logs = match kind {
            "application/x-protobuf" => wire::export_request(&content).ok()?,
            "application/json" => serde_json::from_slice(&content).ok()?,
            _ => return None,
        };
        Some((logs, content.len()))
    }
}

/// An `ExportLogsServiceResponse`, by hand from logs_service.proto.
pub fn response(refused: usize) -> Vec<u8> {
    const WORDS: &[u8] = b"bad record";
    let Ok(refused) = u8::try_from(refused) else {
        panic!("so many are not refused here")
    };
    if refused == 0 {
        return Vec::new();
    }
    assert!(refused < 0x80);
    let mut partial = vec![0x08, refused, 0x12, WORDS.len() as u8];
    partial.extend_from_slice(WORDS);
    [&[0x0a, partial.len() as u8], &partial[..]].concat()
}
