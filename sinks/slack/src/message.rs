//! A notice as a Slack message.
//!
//! In: a [`Notice`] and when its event happened. Out: the JSON of a message, in full or as a short plain text. Invariants,
//! for any notice: 1. what a peer chose is escaped in the text for notifications, and stands in the blocks as
//! [`crate::blocks`] says; 2. no text is empty or above its bound.

use serde_json::{Value, json};
use trapline_notice::{Notice, Weight};
use trapline_schemas::Timestamp;
use trapline_sink::courier::Form;
use uuid::Uuid;

use crate::blocks::{blocks, told};
use crate::text::escaped;
use crate::threads::Thread;

/// Slack's bound of a header.
pub(crate) const HEADER_MAX: usize = 150;
/// Bound of the text for notifications. Slack asks for less than 4,000.
const TEXT_MAX: usize = 3000;
/// What Slack calls the metadata of our messages.
pub(crate) const EVENT_TYPE: &str = "trapline_notice";

/// A message, ready to be sent in either form.
#[derive(Debug)]
pub(crate) struct Message {
    event: Uuid,
    pub(crate) incident: Option<Uuid>,
    pub(crate) weight: Weight,
    /// The whole notice for notifications and screen readers.
    text: String,
    /// The notice in a line, for when the rest was refused.
    short: String,
    blocks: Vec<Value>,
}

impl Message {
    pub(crate) fn new(notice: &Notice, at: Timestamp) -> Self {
        Self {
            event: notice.event,
            incident: notice.incident,
            weight: notice.weight,
            text: text(notice),
            short: short(notice),
            blocks: blocks(notice, at),
        }
    }

    /// The body for a webhook.
    pub(crate) fn body(&self, form: Form) -> Value {
        let mut body = json!({
            "text": match form { Form::Full => &self.text, Form::Short => &self.short },
            "mrkdwn": false,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if form == Form::Full {
            body["blocks"] = Value::Array(self.blocks.clone());
        }
        body
    }

    /// The body for `chat.postMessage`: into a thread if there is one, and shown in the channel as well if it is graver
    /// than all in there.
    pub(crate) fn body_for(&self, channel: &str, thread: Option<&Thread>, form: Form) -> Value {
        let mut body = self.body(form);
        body["channel"] = channel.into();
        if form == Form::Full {
            body["metadata"] = json!({ "event_type": EVENT_TYPE, "event_payload": self.payload() });
        }
        if let Some(thread) = thread {
            body["thread_ts"] = thread.root.as_str().into();
            body["reply_broadcast"] = (self.weight > thread.weight).into();
        }
        body
    }

    fn payload(&self) -> Value {
        let mut payload = json!({ "event": self.event.to_string(), "weight": word(self.weight) });
        if let Some(incident) = self.incident {
            payload["incident"] = incident.to_string().into();
        }
        payload
    }
}

/// A weight in metadata.
pub(crate) const fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::News => "news",
        Weight::Contact => "contact",
        Weight::Intent => "intent",
        Weight::Proof => "proof",
    }
}

/// One mark of colour for a message.
const fn mark(weight: Weight) -> &'static str {
    match weight {
        Weight::News => "🔵",
        Weight::Contact => "🟡",
        Weight::Intent => "🟠",
        Weight::Proof => "🔴",
    }
}

/// The first line of a notice.
pub(crate) fn title(notice: &Notice) -> String {
    format!("{} {}", mark(notice.weight), notice.subject)
}

fn text(notice: &Notice) -> String {
    let mut lines = vec![title(notice), notice.opening.clone()];
    lines.extend(told(notice).map(|fact| format!("{}: {}", fact.label, fact.value)));
    lines.push(notice.closing.clone());
    let mut text = String::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let left = TEXT_MAX.saturating_sub(text.encode_utf16().count() + 1);
        if left == 0 {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&escaped(line, left));
    }
    text
}

fn short(notice: &Notice) -> String {
    format!("{} (event {})", escaped(&title(notice), HEADER_MAX), notice.event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{any_notice, notice};

    fn message(notice: &Notice) -> Value {
        Message::new(notice, Timestamp::from_micros(1_772_619_370_007_999)).body(Form::Full)
    }

    #[test]
    fn the_text_for_notifications_has_all_of_it_and_nothing_live() {
        assert_eq!(
            message(&notice())["text"],
            "🟠 203.0.113.77 tries logins at ssh\nSomebody &amp; &lt;friends&gt; try the door.\nsource: 203.0.113.77\n\
             user tried: &lt;!channel&gt; hxxp[:]//evil[.]example\ntimes: 3\nAsk it-security about it."
        );
    }

    #[test]
    fn in_a_thread_only_what_is_graver_is_shown_in_the_channel() {
        let thread = |weight| Thread {
            root: crate::threads::MessageId::parse("1.2").unwrap(),
            weight,
        };
        let message = Message::new(&notice(), Timestamp::from_micros(0));
        let body = |weight| message.body_for("C1", Some(&thread(weight)), Form::Full);
        assert_eq!(body(Weight::Contact)["reply_broadcast"], true);
        assert_eq!(body(Weight::Intent)["reply_broadcast"], false);
        assert_eq!(body(Weight::Intent)["thread_ts"], "1.2");
        let (event, incident) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
        let payload = json!({ "event": event, "incident": incident, "weight": "intent" });
        assert_eq!(body(Weight::Proof)["metadata"]["event_payload"], payload);
        let short = message.body_for("C1", None, Form::Short);
        assert!(short.get("blocks").is_none() && short.get("metadata").is_none() && short.get("thread_ts").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_notice_keep_the_bound_and_are_not_live(notice in any_notice()) {
            let body = message(&notice);
            let text = body["text"].as_str().unwrap();
            prop_assert!(text.encode_utf16().count() <= TEXT_MAX && !text.contains(['<', '>']));
        }
    }
}
