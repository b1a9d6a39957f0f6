//! A vendor is one profile and one recorded exchange, `tests/recorded/VENDOR.json`: no Rust.
//!
//! An exchange is the life of a case, call by call: what is asked for, as it must be, and what the vendor answers. Every
//! file of the folder is played; those of the vendors with a fake in `tests/fake` are re-made from it with
//! `TRAPLINE_REMAKE=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use fake::{Desk, Vendor, end, sink_of, touch};
use serde_json::{Value, json};
use trapline_schemas::Event;
use trapline_sink::Delivery;
use trapline_sink::conformance::web::{Reply, Request, Server, Service};
use trapline_sink::dial::Resolver;

/// The life that is recorded: opened, told more, raised, closed.
fn life() -> [Event; 4] {
    [
        touch(1, 1, "contact"),
        touch(2, 1, "intent"),
        touch(3, 1, "proof"),
        end(4, 1),
    ]
}

/// A request, as it stands in an exchange; credentials do not.
fn asked(request: &Request) -> Value {
    let form = || json!(request.form().keys().collect::<Vec<_>>());
    let body = match request.header("content-type") {
        "application/x-www-form-urlencoded" => form(),
        _ => request.json(),
    };
    json!({ "method": request.method, "target": request.target, "body": body })
}

/// A desk that writes down what is said.
struct Recorder {
    desk: Desk,
    said: Vec<Value>,
}

impl Service for Recorder {
    fn answer(&mut self, request: &Request) -> Reply {
        let reply = self.desk.answer(request);
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        let answer = json!({ "status": reply.status, "body": body });
        self.said.push(json!({ "asked": asked(request), "answered": answer }));
        reply
    }
}

/// A desk that says what was written down, if it is asked as written.
struct Player {
    rest: VecDeque<Value>,
    wrong: Vec<String>,
}

impl Service for Player {
    fn answer(&mut self, request: &Request) -> Reply {
        let (call, found) = (self.rest.pop_front().unwrap_or_default(), asked(request));
        if call["asked"] != found {
            self.wrong
                .push(format!("asked\n{found}\ninstead of\n{}", call["asked"]));
        }
        let status = call["answered"]["status"].as_u64().unwrap_or(500).try_into().unwrap();
        match &call["answered"]["body"] {
            Value::Null => Reply::status(status),
            body => Reply::json(status, body),
        }
    }
}

/// Lives the life against a service.
async fn live<S: Service>(server: &Server<S>, exchange: &Value) {
    let text = |key: &str| exchange[key].as_str().unwrap().to_owned();
    let more = format!("fields = {}\n{}", text("fields"), text("login"));
    let sink = sink_of(&text("vendor"), &server.url(), &more, Resolver::default());
    for event in life() {
        let parcel = std::sync::Arc::new(trapline_sink::Parcel::new(0, std::sync::Arc::new(event)));
        assert_eq!(sink.deliver(&[parcel]).await, Delivery::all(1), "{}", text("vendor"));
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

async fn remake(vendor: Vendor) {
    let (desk, said) = (Desk::new(vendor), Vec::new());
    let server = Server::start(Recorder { desk, said }, None).await;
    let mut exchange = json!({ "vendor": vendor.word(), "login": vendor.login(), "fields": vendor.fields() });
    live(&server, &exchange).await;
    exchange["calls"] = server.with(|recorder| recorder.said.clone()).into();
    let text = serde_json::to_string_pretty(&exchange).unwrap() + "\n";
    std::fs::create_dir_all(folder()).unwrap();
    std::fs::write(folder().join(format!("{}.json", vendor.word())), text).unwrap();
}

#[tokio::test]
async fn each_vendor_asks_as_it_was_recorded() {
    if std::env::var_os("TRAPLINE_REMAKE").is_some() {
        for vendor in Vendor::ALL {
            remake(vendor).await;
        }
    }
    let mut played = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let exchange: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let calls: VecDeque<_> = exchange["calls"].as_array().unwrap().clone().into();
        let player = Player {
            rest: calls,
            wrong: Vec::new(),
        };
        let server = Server::start(player, None).await;
        live(&server, &exchange).await;
        let (rest, wrong) = server.with(|player| (player.rest.len(), player.wrong.clone()));
        assert!(
            rest == 0 && wrong.is_empty(),
            "{}: {rest} calls are left, {}",
            path.display(),
            wrong.join("\n")
        );
        played.push(exchange["vendor"].as_str().unwrap().to_owned());
    }
    let profiles = trapline_vendor::vendors(None);
    played.sort();
    assert_eq!(played, profiles, "each profile has its exchange");
}
