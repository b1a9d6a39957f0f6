//! The frames written last, kept until the peer has surely read them. Pure.
//!
//! Syslog has no answers: that a frame was read is known only from a connection that lives on after it. So the clock by
//! which frames grow old runs only while a connection is trusted; an outage, however long, takes none of them. A frame
//! that grew old over connections that all were lost soon after it is given up, and counted.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::block::Pieces;

/// Frames older than this have been read: twice the time after which an unacknowledged connection is given up, and more.
const AGE_MAX: Duration = Duration::from_secs(120);
/// A frame on a connection that lived so long after it was read: what closes later is a peer that tires of silence.
const SURE_AFTER: Duration = Duration::from_secs(30);
/// Most bytes kept.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Tail {
    frames: VecDeque<Frame>,
    bytes: usize,
    frames_max: usize,
    /// How long connections before this one were trusted.
    before: Duration,
    /// Since when this one is.
    since: Option<Instant>,
    given_up: u64,
}

#[derive(Debug)]
struct Frame {
    /// The clock when it was first written.
    at: Duration,
    /// A connection lived long enough after it.
    sure: bool,
    bytes: Bytes,
}

impl Tail {
    pub(crate) fn new(frames_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            frames_max,
            before: Duration::ZERO,
            since: None,
            given_up: 0,
        }
    }

    /// The connection is trusted from now on.
    pub(crate) fn start(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The connection is lost; what has been read by now is forgotten.
    pub(crate) fn stop(&mut self, now: Instant) {
        let (start, clock) = (self.before, self.clock(now));
        self.before = clock;
        self.since = None;
        for frame in &mut self.frames {
            // What is older than this connection was written again at its start.
            frame.sure |= clock - frame.at.max(start) >= SURE_AFTER;
        }
        while self.frames.front().is_some_and(|frame| clock - frame.at > AGE_MAX) {
            let read = self.pop().is_none_or(|frame| frame.sure);
            self.given_up += u64::from(!read);
        }
    }

    /// Frames that were forgotten and perhaps never read.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Adds frames that were written, and forgets the oldest beyond the bounds.
    pub(crate) fn keep(&mut self, frames: &Pieces, now: Instant) {
        let at = self.clock(now);
        self.bytes += frames.bytes().len();
        let sure = false;
        self.frames
            .extend(frames.pieces().map(|bytes| Frame { at, sure, bytes }));
        while self.frames.len() > self.frames_max || self.bytes > BYTES_MAX {
            self.pop();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// All frames as they follow on each other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.bytes.clone()).collect()
    }

    fn clock(&self, now: Instant) -> Duration {
        let running = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.before + running
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::frame::Framing;

    fn pieces(messages: &[&str]) -> Pieces {
        let mut block = Block::with_room(messages.len());
        let newline = Some(Framing::Newline);
        messages
            .iter()
            .for_each(|message| block.push(message.as_bytes(), newline));
        block.finish()
    }

    fn written(tail: &Tail) -> String {
        String::from_utf8(tail.bytes()).unwrap()
    }

    #[test]
    fn an_outage_of_a_day_takes_no_frame() {
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        let mut tail = Tail::new(9);
        tail.start(start);
        tail.keep(&pieces(&["a"]), start);
        tail.stop(start);
        tail.stop(start + day);
        assert_eq!(written(&tail), "a\n");
    }

    #[test]
    fn what_a_connection_outlived_by_two_minutes_is_forgotten_over_several_of_them() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut tail = Tail::new(9);
        tail.start(start);
        tail.keep(&pieces(&["a"]), start);
        tail.stop(after(100));
        tail.start(after(500));
        tail.keep(&pieces(&["b"]), after(500));
        tail.stop(after(520));
        assert_eq!(written(&tail), "a\nb\n", "120 s are not more than two minutes");
        tail.start(after(900));
        tail.stop(after(901));
        assert_eq!((written(&tail).as_str(), tail.given_up()), ("b\n", 0));
    }

    #[test]
    fn what_no_connection_outlived_is_given_up_at_last_and_counted() {
        let mut now = Instant::now();
        let mut tail = Tail::new(9);
        tail.start(now);
        tail.keep(&pieces(&["a", "b"]), now);
        for _ in 0..6 {
            now += Duration::from_secs(20);
            tail.stop(now);
            tail.start(now);
        }
        assert_eq!((tail.len(), tail.given_up()), (2, 0));
        tail.stop(now + Duration::from_secs(1));
        assert_eq!((tail.len(), tail.given_up()), (0, 2));
    }

    #[test]
    fn the_oldest_goes_first_beyond_the_bound() {
        let mut tail = Tail::new(2);
        tail.keep(&pieces(&["a", "b"]), Instant::now());
        tail.keep(&pieces(&["c"]), Instant::now());
        assert_eq!((written(&tail).as_str(), tail.len()), ("b\nc\n", 2));
    }
}
