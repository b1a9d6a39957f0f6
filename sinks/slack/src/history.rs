//! What the channel still says of threads, after a restart.
//!
//! In: pages of `conversations.history`, newest message first. Out: the threads that our own messages tell of. Whatever
//! else is in there, from whomever, is passed over; a page that cannot be read ends the reading and nothing else.

use serde::Deserialize;
use serde_json::Value;
use trapline_notice::Weight;
use trapline_sink::stream::{Fault, FaultKind};
use uuid::Uuid;

use crate::message::{EVENT_TYPE, word};
use crate::threads::{MessageId, Thread};

/// How often reading is tried while notices go out without it.
const TRIES: u32 = 3;
/// Longest cursor that is sent back.
const CURSOR_MAX: usize = 200;

/// One page, as far as it is about us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Incidents and their threads, newest first.
    pub(crate) found: Vec<(Uuid, Thread)>,
    /// Where the next page is.
    pub(crate) next: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    messages: Vec<Said>,
    #[serde(default)]
    response_metadata: Option<More>,
}

#[derive(Deserialize)]
struct More {
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    ts: Option<String>,
    thread_ts: Option<String>,
    #[serde(default)]
    metadata: Value,
}

impl Page {
    /// Reads an answer that was a success; `None` if it is no page.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let reply: Reply = serde_json::from_slice(body).ok()?;
        let next = reply.response_metadata.and_then(|more| more.next_cursor);
        Some(Self {
            found: reply.messages.iter().filter_map(Said::thread).collect(),
            next: next.filter(|cursor| (1..=CURSOR_MAX).contains(&cursor.len())),
        })
    }
}

impl Said {
    /// The thread that a message of ours belongs to.
    fn thread(&self) -> Option<(Uuid, Thread)> {
        if self.metadata.get("event_type")?.as_str()? != EVENT_TYPE {
            return None;
        }
        let payload = self.metadata.get("event_payload")?;
        let incident = Uuid::try_parse(payload.get("incident")?.as_str()?).ok()?;
        let said = payload.get("weight").and_then(Value::as_str).unwrap_or_default();
        let weights = [Weight::News, Weight::Contact, Weight::Intent, Weight::Proof];
        let weight = weights.into_iter().find(|weight| word(*weight) == said);
        // An answer that is shown in the channel as well is not what began the thread.
        let root = MessageId::parse(self.thread_ts.as_deref().or(self.ts.as_deref())?)?;
        let weight = weight.unwrap_or(Weight::News);
        Some((incident, Thread { root, weight }))
    }
}

/// Whether the channel is still to be read.
#[derive(Debug)]
pub(crate) struct Recall {
    left: u32,
    without: Option<String>,
    /// It failed, and nothing went out since.
    failed: bool,
}

impl Recall {
    /// Reading is due, if the way there allows it.
    pub(crate) fn new(possible: Result<(), &str>) -> Self {
        Self {
            left: possible.map_or(0, |()| TRIES),
            without: possible.err().map(str::to_owned),
            failed: false,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.left > 0
    }

    /// The channel was read.
    pub(crate) fn done(&mut self) {
        self.left = 0;
        self.without = None;
    }

    /// It could not be read; where a person must act it is not tried again.
    pub(crate) fn failed(&mut self, fault: &Fault) {
        self.without = Some(fault.message.clone());
        self.failed = true;
        if matches!(fault.kind, FaultKind::Auth | FaultKind::Config) {
            self.left = 0;
        }
    }

    /// A notice went out. If reading has just failed, that was one of the tries: Slack can be reached.
    pub(crate) fn went_out(&mut self) {
        let tried = std::mem::take(&mut self.failed);
        self.left = self.left.saturating_sub(u32::from(tried));
    }

    /// Why threads begin anew after a restart.
    pub(crate) fn note(&self) -> Option<String> {
        let why = self.without.as_ref()?;
        Some(format!("threads of before the start are not gone on with: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn said(ts: &str, thread: Option<&str>, incident: u128, weight: &str) -> Value {
        json!({ "type": "message", "ts": ts, "thread_ts": thread, "metadata": { "event_type": EVENT_TYPE,
            "event_payload": { "incident": Uuid::from_u128(incident).to_string(), "weight": weight } } })
    }

    #[test]
    fn only_our_own_messages_tell_of_threads() {
        let page = json!({ "ok": true, "response_metadata": { "next_cursor": "bmV4dA==" }, "messages": [
            said("5.1", Some("2.1"), 2, "proof"),
            { "ts": "4.1", "text": "hello" },
            { "ts": "3.5", "metadata": { "event_type": "other", "event_payload": { "incident": 5 } } },
            { "ts": "3.4", "metadata": { "event_type": EVENT_TYPE, "event_payload": { "incident": ["x"] } } },
            said("x", None, 3, "intent"),
            said("1.1", None, 1, "new in 2030"),
        ] });
        let thread = |root, weight| Thread {
            root: MessageId::parse(root).unwrap(),
            weight,
        };
        let found = vec![
            (Uuid::from_u128(2), thread("2.1", Weight::Proof)),
            (Uuid::from_u128(1), thread("1.1", Weight::News)),
        ];
        let next = Some("bmV4dA==".to_owned());
        assert_eq!(Page::read(page.to_string().as_bytes()), Some(Page { found, next }));
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        for more in [
            json!({}),
            json!({ "response_metadata": null }),
            json!({ "response_metadata": { "next_cursor": "" } }),
        ] {
            let mut page = json!({ "messages": [] });
            page.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(Page::read(page.to_string().as_bytes()).unwrap().next, None);
        }
    }

    #[test]
    fn reading_is_given_up_where_a_person_must_act_or_after_some_tries() {
        let fault = |kind| Fault {
            kind,
            message: "slack says no".to_owned(),
        };
        let mut recall = Recall::new(Ok(()));
        for _ in 0..2 * TRIES {
            recall.failed(&fault(FaultKind::Unreachable));
        }
        assert!(recall.is_due(), "nothing went out, so nothing was lost");
        for left in (0..TRIES).rev() {
            recall.failed(&fault(FaultKind::Unreachable));
            (0..3).for_each(|_| recall.went_out());
            assert_eq!(recall.is_due(), left > 0);
        }
        assert!(!recall.is_due() && recall.note().unwrap().contains("slack says no"));
        let mut recall = Recall::new(Ok(()));
        recall.failed(&fault(FaultKind::Config));
        assert!(!recall.is_due());
        assert!(!Recall::new(Err("no id")).is_due());
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_page_or_one_with_sound_threads(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let page = json!({ "messages": [said("5.1", Some("2.1"), 2, "proof"), said("1.1", None, 1, "news")] });
            let mut body = page.to_string().into_bytes();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if let Some(page) = Page::read(&body) {
                prop_assert!(page.found.len() <= 2);
                for (_, thread) in page.found {
                    prop_assert!(thread.root.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
                }
            }
        }
    }
}
