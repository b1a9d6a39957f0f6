//! Neither the token nor the webhook's path is in a log, a fault, a note or a `Debug` text, also at level trace.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::io::Write;
use std::sync::{Arc, Mutex};

use fake::notices::one;
use fake::{Settings, Workspace, bot, webhook};
use tracing_subscriber::fmt::MakeWriter;
use trapline_sink::conformance::web::{Fault, Reply};

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

#[tokio::test]
async fn at_level_trace_no_credential_is_shown() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(kept.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let mut told = String::new();
    for sink_of in [bot, webhook] {
        let workspace = Workspace::start(Settings {
            without: vec!["channels:history"],
            ..Settings::default()
        })
        .await;
        let sink = sink_of(&workspace, "timeout = \"300ms\"");
        for fault in [
            Fault::Slow(std::time::Duration::ZERO),
            Fault::Answer(Reply::status(302).with("Location", "https://elsewhere.example/")),
            Fault::Answer(Reply::text(404, "no_service")),
            Fault::Answer(Reply::text(500, fake::WEBHOOK)),
            Fault::Answer(Reply::text(200, fake::TOKEN)),
            Fault::Silence,
            Fault::ShortBody,
        ] {
            workspace.order(fault);
            told.push_str(&format!("{:?}", sink.deliver(&one(1, "proof")).await));
        }
        for word in ["invalid_blocks", "invalid_auth"] {
            workspace.refuse(word);
            told.push_str(&format!("{:?}", sink.deliver(&one(1, "proof")).await));
        }
        told.push_str(&format!("{:?}{:?}", sink.check().await, sink.notes()));
        drop(workspace);
        told.push_str(&format!(
            "{:?}{:?}",
            sink.deliver(&one(1, "proof")).await,
            sink.check().await
        ));
    }
    let log = String::from_utf8_lossy(&kept.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("TRACE") && log.contains("DEBUG"),
        "nothing was logged at all: {log}"
    );
    for text in [log, told] {
        assert!(!text.contains("SECRET"), "{text}");
    }
}
