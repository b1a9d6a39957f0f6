//! Threads: one per incident, found again after a restart, and no notice waits for them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::notices::one;
use fake::{Settings, TOKEN, Workspace, bot, sink_with, webhook};
use serde_json::{Value, json};
use trapline_sink::dial::Resolver;
use trapline_sink::{Outcome, StreamSink};

/// Tells a notice of an incident, and gives the message.
async fn tell(workspace: &Workspace, sink: &Arc<dyn StreamSink>, incident: u128, level: &str) -> Value {
    let delivery = sink.deliver(&one(incident, level)).await;
    assert_eq!((delivery.outcomes, delivery.fault), (vec![Outcome::Delivered], None));
    assert_eq!(workspace.wrong(), Vec::<String>::new());
    workspace.kept().pop().unwrap()
}

fn asked_for_history(workspace: &Workspace) -> usize {
    workspace
        .asked()
        .iter()
        .filter(|method| *method == "conversations.history")
        .count()
}

#[tokio::test]
async fn an_incident_is_a_thread_and_what_is_graver_shows_in_the_channel() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = bot(&workspace, "");
    let first = tell(&workspace, &sink, 1, "contact").await;
    assert!(first["thread_ts"].is_null());
    let other = tell(&workspace, &sink, 2, "contact").await;
    assert!(other["thread_ts"].is_null(), "another incident");
    for (level, in_channel) in [("contact", false), ("proof", true), ("proof", false), ("intent", false)] {
        let message = tell(&workspace, &sink, 1, level).await;
        assert_eq!(message["thread_ts"], first["ts"], "{level}");
        assert_eq!(message["reply_broadcast"], in_channel, "{level}");
    }
    assert_eq!(asked_for_history(&workspace), 1, "the channel is read once");
}

#[tokio::test]
async fn after_a_restart_the_thread_goes_on() {
    let workspace = Workspace::start(Settings {
        page: 2,
        ..Settings::default()
    })
    .await;
    let sink = bot(&workspace, "");
    let first = tell(&workspace, &sink, 1, "contact").await;
    tell(&workspace, &sink, 1, "proof").await;
    for incident in 2..6 {
        tell(&workspace, &sink, incident, "contact").await;
        workspace.put(json!({ "ts": "4000000000.500000", "text": "what is this?" }));
    }
    let again = bot(&workspace, "");
    let message = tell(&workspace, &again, 1, "intent").await;
    assert_eq!(message["thread_ts"], first["ts"]);
    assert_eq!(
        message["reply_broadcast"], false,
        "its proof was shown, and is remembered"
    );
    assert!(asked_for_history(&workspace) > 2, "page by page");
    assert_eq!(again.notes().len(), 1, "{:?}", again.notes());
}

#[tokio::test]
async fn what_lies_longer_back_is_not_gone_on_with() {
    let workspace = Workspace::start(Settings::default()).await;
    tell(&workspace, &bot(&workspace, ""), 1, "contact").await;
    let mut old = workspace.kept().pop().unwrap();
    workspace.delete(old["ts"].as_str().unwrap());
    old["ts"] = "1000000000.000001".into();
    workspace.put(old);
    let message = tell(&workspace, &bot(&workspace, ""), 1, "contact").await;
    assert!(message["thread_ts"].is_null());
}

#[tokio::test]
async fn without_the_scope_a_new_thread_begins_and_status_says_so() {
    let workspace = Workspace::start(Settings {
        without: vec!["channels:history"],
        ..Settings::default()
    })
    .await;
    tell(&workspace, &bot(&workspace, ""), 1, "contact").await;
    let again = bot(&workspace, "");
    let first = tell(&workspace, &again, 1, "contact").await;
    assert!(first["thread_ts"].is_null());
    assert_eq!(tell(&workspace, &again, 1, "contact").await["thread_ts"], first["ts"]);
    tell(&workspace, &again, 2, "contact").await;
    assert_eq!(asked_for_history(&workspace), 2, "once a start: a person must act");
    assert!(
        again.notes().iter().any(|note| note.contains("missing_scope")),
        "{:?}",
        again.notes()
    );
}

#[tokio::test]
async fn a_history_that_is_busy_or_broken_holds_no_notice_up_and_is_tried_again() {
    let workspace = Workspace::start(Settings::default()).await;
    let before = tell(&workspace, &bot(&workspace, ""), 7, "contact").await;
    let sink = bot(&workspace, "");
    for (incident, word) in [(1, "ratelimited"), (2, "internal_error")] {
        workspace.refuse_history(word);
        let message = tell(&workspace, &sink, incident, "contact").await;
        assert!(message["thread_ts"].is_null(), "{word}");
    }
    assert_eq!(
        tell(&workspace, &sink, 7, "contact").await["thread_ts"],
        before["ts"],
        "the third try"
    );
    for word in ["ratelimited"; 4] {
        workspace.refuse_history(word);
    }
    let asked = asked_for_history(&workspace);
    let sink = bot(&workspace, "");
    for incident in 11..16 {
        tell(&workspace, &sink, incident, "contact").await;
    }
    assert_eq!(asked_for_history(&workspace) - asked, 3, "then it is given up");
}

#[tokio::test]
async fn a_thread_that_is_gone_or_locked_begins_anew() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = bot(&workspace, "");
    let first = tell(&workspace, &sink, 1, "contact").await;
    workspace.delete(first["ts"].as_str().unwrap());
    let second = tell(&workspace, &sink, 1, "contact").await;
    assert!(second["thread_ts"].is_null());
    assert_eq!(tell(&workspace, &sink, 1, "contact").await["thread_ts"], second["ts"]);
    workspace.refuse("restricted_action_thread_locked");
    assert!(tell(&workspace, &sink, 1, "contact").await["thread_ts"].is_null());
}

#[tokio::test]
async fn a_thread_begun_by_a_line_of_text_goes_on_too() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = bot(&workspace, "");
    workspace.refuse("invalid_blocks");
    let first = tell(&workspace, &sink, 1, "contact").await;
    assert_eq!(tell(&workspace, &sink, 1, "contact").await["thread_ts"], first["ts"]);
}

#[tokio::test]
async fn a_channel_by_name_a_webhook_and_no_threads_ask_for_no_history() {
    let workspace = Workspace::start(Settings::default()).await;
    let toml = format!(
        "endpoint = \"http://{}/api\"\ntoken = \"{TOKEN}\"\nchannel = \"#security\"\ninterval = \"1ms\"",
        workspace.address
    );
    let by_name = sink_with(&toml, Resolver::default());
    let first = tell(&workspace, &by_name, 1, "contact").await;
    assert_eq!(tell(&workspace, &by_name, 1, "contact").await["thread_ts"], first["ts"]);
    assert!(
        by_name.notes().iter().any(|note| note.contains("`channel` is a name")),
        "{:?}",
        by_name.notes()
    );
    for sink in [webhook(&workspace, ""), bot(&workspace, "threads = false")] {
        for _ in 0..2 {
            assert!(tell(&workspace, &sink, 2, "contact").await["thread_ts"].is_null());
        }
    }
    assert_eq!(asked_for_history(&workspace), 0);
}
