//! Neither the token nor the webhook's path is in a log, a fault, a note or a `Debug` text, also at level trace.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use fake::notices::one;
use fake::{Settings, TOKEN, WEBHOOK, Workspace, bot, webhook};
use trapline_sink::conformance::log::{Log, telltales};
use trapline_sink::conformance::web::{Fault, Reply};

#[tokio::test]
async fn at_level_trace_no_credential_is_shown() {
    let log = Log::of_all();
    let mut told = String::new();
    for (sink_of, secret) in [(bot as fn(&_, &_) -> _, TOKEN), (webhook, WEBHOOK)] {
        let workspace = Workspace::start(Settings {
            without: vec!["channels:history"],
            ..Settings::default()
        })
        .await;
        // A new one each time: a pause that was asked for would hold up what comes next.
        let fresh = || sink_of(&workspace, "timeout = \"300ms\"");
        let gone = Fault::Answer(Reply::text(404, "no_service"));
        for fault in telltales(secret).into_iter().chain([gone]) {
            workspace.order(fault);
            told.push_str(&format!("{:?}", fresh().deliver(&one(1, "proof")).await));
        }
        let sink = fresh();
        for word in ["invalid_blocks", "invalid_auth"] {
            workspace.refuse(word);
            told.push_str(&format!("{:?}", sink.deliver(&one(1, "proof")).await));
        }
        told.push_str(&format!(
            "{:?}{:?}{:?}",
            sink.check().await,
            sink.notes(),
            sink.destination()
        ));
        drop(workspace);
        told.push_str(&format!(
            "{:?}{:?}",
            sink.deliver(&one(1, "proof")).await,
            sink.check().await
        ));
    }
    log.shows_not("SECRET", &told);
}
