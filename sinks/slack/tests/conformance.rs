//! The suite that every sink must pass, against a strict fake, by a webhook and as a bot.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::{CHANNEL, Settings, Slack, TOKEN, WEBHOOK, sink_with};
use serde_json::json;
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Fault, Place, Reply, fault_of};
use trapline_sink::conformance::{BAD_USER, BUSY_FOR, Case};
use uuid::Uuid;

/// The two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Webhook,
    Bot,
}

impl Way {
    /// How it refuses with a word.
    fn refusal(self, status: u16, word: &str) -> Reply {
        match self {
            Self::Webhook => Reply::text(status, word),
            Self::Bot => Reply::json(200, &json!({ "ok": false, "error": word })),
        }
    }
}

impl Destination for Way {
    type Service = Slack;

    fn service(&self, case: Case) -> Option<Slack> {
        let settings = Settings {
            poison: (case == Case::OneBad).then_some(BAD_USER),
            ..Settings::default()
        };
        (case != Case::TooLarge).then(|| Slack::new(settings))
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let (base, tls) = (&place.base, place.tls());
        let way = match self {
            Self::Webhook => format!("webhook_url = \"{base}{WEBHOOK}\""),
            Self::Bot => format!("endpoint = \"{base}/api\"\ntoken = \"{TOKEN}\"\nchannel = \"{CHANNEL}\""),
        };
        let toml = format!("{way}\ntimeout = \"1s\"\ninterval = \"1ms\"\n{tls}");
        sink_with(&toml, place.resolver.clone())
    }

    fn stored(&self, slack: &Slack) -> Vec<Uuid> {
        slack.ids()
    }

    fn secrets(&self) -> &[&str] {
        &["SECRET", "Bearer", "blocks"]
    }

    fn fault(&self, case: Case) -> Option<Fault> {
        let refusal = match case {
            Case::Busy => {
                let pause = BUSY_FOR.as_secs().to_string();
                let reply = Reply::json(429, &json!({ "ok": false, "error": "ratelimited" }));
                reply.with("Retry-After", &pause)
            }
            Case::Unauthorized => Reply::json(401, &json!({ "ok": false, "error": "invalid_auth" })),
            Case::Forbidden if *self == Self::Webhook => self.refusal(403, "invalid_token"),
            Case::Forbidden => self.refusal(200, "account_inactive"),
            _ => return fault_of(case),
        };
        Some(Fault::Answer(refusal))
    }

    fn failed(&self, status: u16) -> Reply {
        Reply::text(status, "internal_error")
    }
}

const DECLARED: &[(Case, &str)] = &[(
    Case::TooLarge,
    "a request holds one message, so there is nothing to split",
)];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_by_a_webhook() {
    web::run("slack webhook", Way::Webhook, DECLARED).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_as_a_bot() {
    web::run("slack bot", Way::Bot, DECLARED).await.unwrap();
}
