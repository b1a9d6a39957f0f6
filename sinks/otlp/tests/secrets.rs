//! No header's value is in a log, a fault, a note or a `Debug` text, also at level trace and where the receiver repeats it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::io::Write;
use std::sync::{Arc, Mutex};

use fake::store::Store;
use fake::{KEY, grpc, http, place, sink};
use tracing_subscriber::fmt::MakeWriter;
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::conformance::events;
use trapline_sink::conformance::web::{Fault, Reply, Server};

/// Keeps every line of the log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What the sink says of a delivery and of itself.
async fn told(sink: &dyn StreamSink) -> String {
    let delivery = sink.deliver(&events(2, false)).await;
    format!("{delivery:?}{:?}{:?}", sink.check().await, sink.notes())
}

#[tokio::test]
async fn at_level_trace_no_header_of_ours_is_shown() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(kept.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let mut said = over_http().await;
    said.push_str(&over_grpc().await);
    let log = String::from_utf8_lossy(&kept.0.lock().unwrap()).into_owned();
    assert!(log.contains("TRACE"), "nothing was logged at all: {log}");
    for text in [log, said] {
        let line = text.lines().find(|line| line.contains(KEY));
        assert_eq!(line, None);
    }
}

async fn over_http() -> String {
    let server = Server::start(http::Receiver::default(), None).await;
    let sink = sink(
        "http/protobuf",
        &place(server.url()),
        Format::Text,
        "timeout = \"300ms\"",
    );
    let mut said = told(&*sink).await;
    let repeats = serde_json::json!({"code": 16, "message": format!("unknown key {KEY}")});
    for fault in [
        Fault::Answer(Reply::json(401, &repeats)),
        Fault::Answer(Reply::json(400, &repeats)),
        Fault::Answer(Reply::status(302).with("Location", "https://elsewhere.example/")),
        Fault::Silence,
        Fault::ShortBody,
    ] {
        server.order_lasting(fault);
        said.push_str(&told(&*sink).await);
    }
    said
}

async fn over_grpc() -> String {
    let receiver = grpc::Receiver::start(Store::default(), None).await;
    let sink = sink("grpc", &place(receiver.url()), Format::Text, "timeout = \"300ms\"");
    let mut said = told(&*sink).await;
    for fault in [
        grpc::Fault::Status(16, ""),
        grpc::Fault::Silence,
        grpc::Fault::ShortBody,
    ] {
        receiver.orders().order_lasting(fault);
        said.push_str(&told(&*sink).await);
    }
    said
}
