//! The routing key is in no log, fault, note or `Debug` text, also at level trace and where an answer repeats it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use fake::{KEY, PagerDuty, batch, event, sink};
use serde_json::json;
use trapline_sink::conformance::log::{Log, telltales};
use trapline_sink::conformance::web::{Fault, Reply, Server};

#[tokio::test]
async fn at_level_trace_the_routing_key_is_not_shown() {
    let log = Log::of_all();
    let server = Server::start(PagerDuty::default(), None).await;
    // A new one each time: a pause that was asked for would hold up what comes next.
    let fresh = || sink(&server.url(), "timeout = \"300ms\"");
    let mut told = String::new();
    let errors = [json!({ "status": "Bad Request", "message": format!("Invalid routing key: {KEY}") })];
    let refusals = errors.iter().map(|errors| Fault::Answer(Reply::json(400, errors)));
    for fault in telltales(KEY).into_iter().chain(refusals) {
        server.order(fault);
        told.push_str(&format!("{:?}", fresh().deliver(&batch(event(1, "proof"))).await));
    }
    let sink = fresh();
    told.push_str(&format!(
        "{:?}{:?}{:?}",
        sink.check().await,
        sink.notes(),
        sink.destination()
    ));
    drop(server);
    told.push_str(&format!("{:?}", sink.deliver(&batch(event(1, "proof"))).await));
    log.shows_not("SECRET", &told);
}
