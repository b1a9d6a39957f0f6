//! Whatever a peer says, nothing of it is live, and every message keeps Slack's bounds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::notices::{event, parcel};
use fake::{Settings, Workspace, blocks, bot, webhook};
use proptest::prelude::*;
use serde_json::{Value, json};
use trapline_schemas::{Action, Event, Field};
use trapline_sink::conformance::samples::filled;
use trapline_sink::{Outcome, StreamSink};

/// What people have tried on readers of chat.
const LURES: &[&str] = &[
    "<!channel>",
    "<!here|here>",
    "<!everyone>",
    "<!subteam^S0123|security>",
    "<@U0123456789>",
    "<#C0123456789>",
    "<http://evil.example|your bank>",
    "<mailto:a@evil.example|us>",
    "<!date^1392734382^{date}^https://evil.example/|now>",
    "&lt;!channel&gt;",
    "@channel @here @everyone #general",
    "http://evil.example/?a=b&c=d",
    "www.evil.example",
    "evil.example",
    "*bold* _italic_ ~strike~ `code` ```block``` > quote :rotating_light:",
    "\u{202e}lennahc!\u{200b}<\u{2028}!channel>\r\n<!channel>\0\u{1b}[31m",
    "[link](http://evil.example)",
    "\"},{\"type\":\"section\",\"text\":{\"type\":\"mrkdwn\",\"text\":\"<!channel>\"}",
    "",
    " ",
];

/// A workspace, and both ways to it.
struct Both {
    workspace: Workspace,
    sinks: [Arc<dyn StreamSink>; 2],
}

impl Both {
    async fn start() -> Self {
        let workspace = Workspace::start(Settings::default()).await;
        let sinks = [bot(&workspace, "threads = false"), webhook(&workspace, "")];
        Self { workspace, sinks }
    }

    /// Tells of an event both ways, and gives the messages.
    async fn told(&self, event: Event) -> Vec<Value> {
        let parcel = [parcel(event)];
        for sink in &self.sinks {
            let delivery = sink.deliver(&parcel).await;
            assert_eq!(self.workspace.wrong(), Vec::<String>::new(), "{:?}", parcel[0].event);
            assert_eq!(delivery.outcomes, [Outcome::Delivered], "{delivery:?}");
        }
        let kept = self.workspace.take();
        assert!(
            kept.iter().all(|message| message.get("blocks").is_some()),
            "none was refused for its looks"
        );
        kept
    }
}

/// A message, as the sink makes it, with one thing wrong.
fn spoilt(spoil: impl Fn(&mut Value)) -> Value {
    let plain = |text: &str| json!({ "type": "plain_text", "text": text, "emoji": false });
    let element = json!({ "type": "text", "text": "<!channel>" });
    let section = json!({ "type": "rich_text_section", "elements": [element] });
    let mut message = json!({
        "text": "knock", "mrkdwn": false, "unfurl_links": false, "unfurl_media": false,
        "blocks": [
            { "type": "header", "text": plain("knock") },
            { "type": "rich_text", "elements": [section] },
        ],
    });
    spoil(&mut message);
    message
}

#[test]
fn the_reader_finds_what_would_be_live_or_above_a_bound() {
    assert_eq!(blocks::wrong(&spoilt(|_| {}), false), Vec::<String>::new());
    let spoils: [fn(&mut Value); 14] = [
        |message| message["text"] = "<!channel>".into(),
        |message| message["text"] = "a & b".into(),
        |message| message["text"] = " ".into(),
        |message| message["text"] = "x".repeat(4001).into(),
        |message| message["text"] = "a\u{202e}b".into(),
        |message| message["link_names"] = true.into(),
        |message| message["unfurl_links"] = true.into(),
        |message| message["blocks"][0]["text"]["type"] = "mrkdwn".into(),
        |message| message["blocks"][0]["text"]["text"] = "<@U1>".into(),
        |message| message["blocks"][0]["text"]["text"] = "x".repeat(151).into(),
        |message| message["blocks"][1]["elements"][0]["elements"][0]["type"] = "link".into(),
        |message| message["blocks"][1]["elements"][0]["elements"][0]["text"] = "".into(),
        |message| message["blocks"][1]["elements"][0]["elements"] = json!([]),
        |message| message["blocks"] = json!([{ "type": "image", "image_url": "http://evil.example" }]),
    ];
    for (at, spoil) in spoils.into_iter().enumerate() {
        assert!(!blocks::wrong(&spoilt(spoil), false).is_empty(), "number {at}");
    }
}

#[tokio::test]
async fn no_lure_is_live_in_any_field_of_any_event() {
    let both = Both::start().await;
    for action in Action::ALL {
        for lure in LURES {
            both.told(filled(*action, lure)).await;
        }
    }
}

#[tokio::test]
async fn no_address_of_a_peers_can_be_clicked() {
    let both = Both::start().await;
    let mut event = event(9, "proof");
    for field in [Field::UserName, Field::UrlOriginal, Field::UrlDomain, Field::UserAgent] {
        event.set(field, "http://evil.example/x and evil.example");
    }
    for message in both.told(event).await {
        let message = message.to_string();
        assert!(
            !message.contains("evil.example") && !message.contains("http://"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn the_longest_texts_of_any_script_keep_the_bounds() {
    let both = Both::start().await;
    for text in [
        "x", "&", "<", "\"", "\\", "/", "é", "界", "😀", "\u{301}", "\u{ffff}", "\0",
    ] {
        for action in Action::ALL {
            both.told(filled(*action, &text.repeat(400))).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_of_a_peer_make_a_message_that_keeps_every_bound(
        action in prop::sample::select(Action::ALL),
        parts in prop::collection::vec(prop_oneof![
            prop::sample::select(LURES).prop_map(|lure| lure.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..60),
        ], 0..8),
    ) {
        let text = trapline_schemas::text::clean(&parts.concat());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            Both::start().await.told(filled(action, &text)).await;
        });
    }
}
