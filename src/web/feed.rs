//! A stream of events: from an offset on, as they are committed, at the pace of whoever reads.
//!
//! In: a place in the journal and a filter. Out: Server-Sent Events or NDJSON, each with its offset.
//!
//! Invariants:
//! 1. Offsets only rise; each matching event is sent once, after it is durable. The offset that the client had last says
//!    all: what is at or before it was sent, did not match, or was told as a gap.
//! 2. What retention took before it was sent is a gap with its range and count. An offset that this journal never gave is
//!    another journal's: that is said too, and the stream begins at the oldest entry.
//! 3. The journal is read only when the client took what was there before: one page of [`PAGE`] entries is held.
//! 4. A client hears something every [`BEAT`], and where it stands if that changed.
//!
//! Source: HTML Living Standard, 9.2 (Server-Sent Events); an `id` without data moves the id and raises no event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bearers::{Bearer, Tokens};
use super::params::Framing;
use super::server::now;
use super::shown::Shown;
use crate::control::paging::numbered;
use crate::control::query::Filter;
use crate::control::search::event_of;
use crate::journal::{Entry, Journal, JournalError, Offset};

/// Longest silence.
pub(super) const BEAT: Duration = Duration::from_secs(15);
/// Entries read at once.
const PAGE: usize = 256;
/// Bodies read at once, bytes.
const PAGE_BYTES: usize = 256 << 10;
/// How often a token is looked at again.
const TOKEN_EVERY: Duration = Duration::from_secs(5);
/// How long is waited where entries are on their way from a damaged file.
const READ_AGAIN: Duration = Duration::from_millis(200);
/// When a client is to come back, milliseconds.
const RETRY_MS: u32 = 2_000;

/// What a stream works with.
pub(super) struct Feed {
    pub(super) journal: Journal,
    pub(super) head: watch::Receiver<Offset>,
    pub(super) filter: Filter,
    pub(super) shown: Shown,
    pub(super) framing: Framing,
    /// The next offset to be read.
    pub(super) next: Offset,
    /// What was given for the last one, and this journal never had.
    pub(super) foreign: Option<Offset>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) bearer: Bearer,
    pub(super) stop: CancellationToken,
    /// Its seat, given back when it ends.
    pub(super) _seat: OwnedSemaphorePermit,
}

impl Feed {
    /// The bytes as they come, until the instance stops, the token ends, or the journal cannot be read.
    pub(super) fn stream(self) -> BoxStream<'static, Bytes> {
        let walk = Walk {
            said: self.next.saturating_sub(1),
            said_at: Instant::now(),
            looked_at: Instant::now(),
            is_begun: false,
            feed: self,
        };
        stream::unfold(walk, Walk::step).boxed()
    }
}

struct Walk {
    feed: Feed,
    /// The offset that the client knows it is at.
    said: Offset,
    said_at: Instant,
    /// When the token was looked at.
    looked_at: Instant,
    is_begun: bool,
}

impl Walk {
    /// The next bytes, never empty.
    async fn step(mut self) -> Option<(Bytes, Self)> {
        let mut out = Vec::new();
        if !self.is_begun {
            self.begin(&mut out);
        }
        while out.is_empty() {
            if self.feed.stop.is_cancelled() || self.has_lost_its_token() {
                return None;
            }
            if let Err(error) = self.advance(&mut out).await {
                tracing::warn!(error = %error, "a stream of the live feed ends: the journal cannot be read");
                return None;
            }
            if out.is_empty() && self.said_at.elapsed() >= BEAT {
                self.beat(&mut out);
            }
        }
        self.said_at = Instant::now();
        Some((out.into(), self))
    }

    /// Says where it begins, so that who is cut off before the first event comes back to the same place.
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.is_begun = true;
        match self.feed.framing {
            Framing::Sse => {
                out.extend_from_slice(format!(": trapline\nretry: {RETRY_MS}\nid: {}\n\n", self.said).as_bytes());
            }
            Framing::Ndjson => self.place(out),
        }
        if let Some(given) = self.feed.foreign.take() {
            let head = *self.feed.head.borrow();
            let why = format!("offset {given} is not of this journal, whose next is {head}: all it has follows");
            self.say(
                out,
                "gap",
                &json!({ "after": given, "lost": null, "why": why }).to_string(),
            );
        }
    }

    fn has_lost_its_token(&mut self) -> bool {
        if self.looked_at.elapsed() < TOKEN_EVERY {
            return false;
        }
        self.looked_at = Instant::now();
        !self.feed.tokens.is_good(&self.feed.bearer, now())
    }

    /// Reads on, or waits for something to happen.
    async fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), JournalError> {
        let head = *self.feed.head.borrow_and_update();
        let mut page = self.feed.journal.read(self.feed.next, PAGE, PAGE_BYTES).await?;
        // Who comes back with an offset that was not announced yet would be taken for another journal's client.
        page.retain(|entry| entry.offset < head);
        for entry in &page {
            self.pass(out, entry.offset);
            self.show(out, entry);
        }
        if !page.is_empty() {
            return Ok(());
        }
        let oldest = self.feed.journal.oldest().await?;
        if oldest > self.feed.next {
            self.pass(out, oldest);
            return Ok(());
        }
        self.wait().await;
        Ok(())
    }

    /// Waits for an entry, the next beat, a look at the token, or the end.
    async fn wait(&mut self) {
        let is_behind = self.feed.next < *self.feed.head.borrow();
        let quiet = BEAT.saturating_sub(self.said_at.elapsed()).min(TOKEN_EVERY);
        let longest = if is_behind { READ_AGAIN } else { quiet };
        // Cancel: all three are safe.
        tokio::select! {
            () = self.feed.stop.cancelled() => {}
            changed = self.feed.head.changed(), if !is_behind => if changed.is_err() {
                self.feed.stop.cancelled().await;
            },
            () = tokio::time::sleep(longest) => {}
        }
    }

    /// Goes on to `offset`; tells what is not there any more in between.
    fn pass(&mut self, out: &mut Vec<u8>, offset: Offset) {
        let first = self.feed.next;
        self.feed.next = offset;
        if offset <= first {
            return;
        }
        let lost = self.feed.journal.skipped().count_given(first, offset);
        if lost > 0 {
            let gap = json!({ "first": first, "last": offset - 1, "lost": lost });
            self.say(out, "gap", &gap.to_string());
        }
    }

    /// Sends the event of an entry if it matches.
    fn show(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        self.feed.next = entry.offset + 1;
        let Some(event) = event_of(entry, &self.feed.filter) else {
            return;
        };
        let event = numbered(event, entry.offset);
        self.said = entry.offset;
        match self.feed.framing {
            Framing::Sse => {
                out.extend_from_slice(format!("event: {}\ndata: ", word(event.action_name())).as_bytes());
                self.feed.shown.append(&event, out);
                out.extend_from_slice(format!("\nid: {}\n\n", self.said).as_bytes());
            }
            Framing::Ndjson => {
                out.extend_from_slice(format!("{{\"offset\":{},\"event\":", self.said).as_bytes());
                self.feed.shown.append_json(&event, out);
                out.extend_from_slice(b"}\n");
            }
        }
    }

    /// Says something that is no event of the journal. In: `json` is one line of JSON.
    fn say(&mut self, out: &mut Vec<u8>, name: &str, json: &str) {
        self.said = self.feed.next.saturating_sub(1);
        let at = self.said;
        let said = match self.feed.framing {
            Framing::Sse => format!("event: {name}\ndata: {json}\nid: {at}\n\n"),
            Framing::Ndjson => format!("{{\"offset\":{at},\"{name}\":{json}}}\n"),
        };
        out.extend_from_slice(said.as_bytes());
    }

    /// A sign of life; with the place, if that is another one by now.
    fn beat(&mut self, out: &mut Vec<u8>) {
        let at = self.feed.next.saturating_sub(1);
        let is_news = std::mem::replace(&mut self.said, at) != at;
        match self.feed.framing {
            Framing::Sse if is_news => out.extend_from_slice(format!(":\nid: {at}\n\n").as_bytes()),
            Framing::Sse => out.extend_from_slice(b":\n\n"),
            Framing::Ndjson => self.place(out),
        }
    }

    fn place(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"offset\":{}}}\n", self.said).as_bytes());
    }
}

/// What an event is named: an action that another version wrote may be anything.
fn word(action: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_good = (1..=64).contains(&action.len()) && action.bytes().all(is_plain) && action != "gap";
    if is_good { action } else { "event" }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
