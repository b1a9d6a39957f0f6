//! The frames written last, kept until the peer has surely read them. Pure.
//!
//! Syslog has no answers: that a frame was read is known only from a connection that lives on after it, or that the peer
//! ended in order. What a lost connection leaves open is written once more on the next one; a frame that goes down with
//! that one as well counts as sent, so that no receiver is fed the same frames for ever. The clock by which frames grow
//! old runs only while a connection is trusted; an outage, however long, takes none of them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// Frames older than this have been read: twice the time after which an unacknowledged connection is given up, and more.
const AGE_MAX: Duration = Duration::from_secs(120);
/// Most bytes kept.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Tail {
    frames: VecDeque<Frame>,
    /// So many of them, from the front, were written on this connection.
    written: usize,
    bytes: usize,
    frames_max: usize,
    /// How long connections before this one were trusted.
    before: Duration,
    /// Since when this one is.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Frame {
    /// The clock when it was first written.
    at: Duration,
    /// When it was written last.
    last: Instant,
    /// Was written on an earlier connection, too.
    again: bool,
    bytes: Bytes,
}

impl Tail {
    pub(crate) fn new(frames_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            written: 0,
            bytes: 0,
            frames_max,
            before: Duration::ZERO,
            since: None,
        }
    }

    /// The connection is trusted from now on.
    pub(crate) fn start(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The peer ended the connection in order: what was written on it up to `until` is read and forgotten.
    pub(crate) fn settle(&mut self, until: Instant) {
        let is_read = |frame: &Frame| frame.last <= until;
        while self.written > 0 && self.frames.front().is_some_and(is_read) {
            self.pop();
        }
    }

    /// The connection is lost. What has been read by now is forgotten, and what was lost with two connections.
    pub(crate) fn stop(&mut self, now: Instant) {
        let clock = self.clock(now);
        self.before = clock;
        self.since = None;
        while self.written > 0 && self.frames.front().is_some_and(|frame| frame.again) {
            self.pop();
        }
        while self.frames.front().is_some_and(|frame| clock - frame.at > AGE_MAX) {
            self.pop();
        }
        self.written = 0;
    }

    /// Adds frames that were written at `last`, and forgets the oldest beyond the bounds. All kept before were written
    /// on this connection.
    pub(crate) fn keep(&mut self, frames: impl Iterator<Item = Bytes>, last: Instant, now: Instant) {
        let at = self.clock(now);
        for bytes in frames {
            self.bytes += bytes.len();
            let again = false;
            self.frames.push_back(Frame { at, last, again, bytes });
        }
        self.written = self.frames.len();
        while self.frames.len() > self.frames_max || self.bytes > BYTES_MAX {
            self.pop();
        }
    }

    /// The next `count` of those that are owed were written once more.
    pub(crate) fn rewrite(&mut self, count: usize, now: Instant) {
        for frame in self.frames.iter_mut().skip(self.written).take(count) {
            (frame.last, frame.again) = (now, true);
        }
        self.written = (self.written + count).min(self.frames.len());
    }

    /// Nothing of what was written on this connection counts.
    pub(crate) fn unwrite(&mut self) {
        self.written = 0;
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames that were not yet written on this connection.
    pub(crate) fn unwritten(&self) -> Vec<Bytes> {
        let owed = self.frames.iter().skip(self.written);
        owed.map(|frame| frame.bytes.clone()).collect()
    }

    fn clock(&self, now: Instant) -> Duration {
        let running = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.before + running
    }

    fn pop(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes.len();
            self.written = self.written.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(tail: &mut Tail, messages: &[&'static str], now: Instant) {
        let frames = messages.iter().map(|message| Bytes::from_static(message.as_bytes()));
        tail.keep(frames, now, now);
    }

    fn kept(tail: &Tail) -> String {
        let frames = tail.frames.iter().flat_map(|frame| frame.bytes.clone());
        String::from_utf8(frames.collect()).unwrap()
    }

    #[test]
    fn an_outage_of_a_day_takes_no_frame() {
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        let mut tail = Tail::new(9);
        tail.start(start);
        keep(&mut tail, &["a"], start);
        tail.stop(start);
        tail.stop(start + day);
        assert_eq!(kept(&tail), "a");
    }

    #[test]
    fn what_a_connection_outlived_by_two_minutes_is_forgotten() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut tail = Tail::new(9);
        tail.start(start);
        keep(&mut tail, &["a"], start);
        keep(&mut tail, &["b"], after(1));
        tail.stop(after(121));
        assert_eq!(kept(&tail), "b", "120 s are not more than two minutes");
    }

    #[test]
    fn a_frame_that_goes_down_with_a_second_connection_counts_as_sent_and_the_others_stay() {
        let now = Instant::now();
        let mut tail = Tail::new(9);
        tail.start(now);
        keep(&mut tail, &["a", "b", "c"], now);
        tail.stop(now);
        assert_eq!(tail.unwritten().len(), 3);
        tail.rewrite(2, now);
        assert_eq!(tail.unwritten(), ["c"]);
        tail.stop(now);
        assert_eq!(kept(&tail), "c");
        tail.rewrite(1, now);
        keep(&mut tail, &["d"], now);
        tail.stop(now);
        assert_eq!(kept(&tail), "d");
    }

    #[test]
    fn an_orderly_end_settles_what_was_written_on_that_connection_up_to_a_moment() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut tail = Tail::new(9);
        keep(&mut tail, &["a", "b"], now);
        tail.stop(now);
        tail.rewrite(1, now);
        tail.settle(now + second);
        assert_eq!(kept(&tail), "b", "this was not written again");
        tail.rewrite(1, now);
        keep(&mut tail, &["c"], now + second);
        tail.settle(now);
        assert_eq!(kept(&tail), "c");
    }

    #[test]
    fn the_oldest_goes_first_beyond_the_bound() {
        let mut tail = Tail::new(2);
        keep(&mut tail, &["a", "b"], Instant::now());
        keep(&mut tail, &["c"], Instant::now());
        assert_eq!((kept(&tail).as_str(), tail.len()), ("bc", 2));
    }
}
