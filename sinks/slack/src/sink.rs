//! The way to a channel: a message per event, and for a bot a thread per incident.

use async_trait::async_trait;
use trapline_notice::{Notice, Voice};
use trapline_sink::Parcel;
use trapline_sink::courier::{Courier, Form, Told, Verdict};
use trapline_sink::stream::{Fault, FaultKind};

use crate::memory::Memory;
use crate::message::Message;
use crate::route::{Line, Route};
use crate::threads::Thread;

/// A channel of a workspace.
#[derive(Debug)]
pub(crate) struct Slack {
    line: Line,
    voice: Voice,
    /// `None` where there are no threads.
    memory: Option<Memory>,
}

/// A notice on its way.
#[derive(Debug)]
pub(crate) struct Letter {
    notice: Notice,
    message: Message,
    thread: Option<Thread>,
}

impl Slack {
    /// A channel behind a line; `threads` asks for a thread per incident, which a webhook cannot give.
    pub(crate) fn new(line: Line, voice: Voice, threads: bool) -> Self {
        let memory = match &line.route {
            Route::Bot { channel, .. } if threads => Some(Memory::new(channel)),
            _ => None,
        };
        Self { line, voice, memory }
    }

    /// A thread that is gone or locked is given up: the message goes without, and begins another.
    fn unthread(&self, letter: &mut Letter, reason: String) -> Verdict {
        if letter.thread.take().is_none() {
            return Verdict::Fault(Fault {
                kind: FaultKind::Config,
                message: reason,
            });
        }
        self.memory.iter().for_each(|memory| memory.forget(&letter.notice));
        Verdict::Changed(reason)
    }
}

#[async_trait]
impl Courier for Slack {
    type Letter = Letter;
    const NAME: &'static str = "slack";
    const SHORT: &'static str = "as a line of text";

    async fn letter(&self, parcel: &Parcel) -> Letter {
        let notice = self.voice.compose(&parcel.event);
        let thread = match &self.memory {
            Some(memory) => memory.thread(&self.line, &notice).await,
            None => None,
        };
        Letter {
            message: Message::new(&notice, parcel.event.at),
            notice,
            thread,
        }
    }

    async fn send(&self, letter: &mut Letter, form: Form) -> Told {
        let (mut told, id) = self.line.post(&letter.message, letter.thread.as_ref(), form).await;
        match told.verdict {
            Verdict::Accepted(_) => self
                .memory
                .iter()
                .for_each(|memory| memory.posted(&letter.notice, letter.thread.as_ref(), id.clone())),
            Verdict::Changed(reason) => told.verdict = self.unthread(letter, reason),
            Verdict::Refused { .. } | Verdict::Fault(_) => {}
        }
        told
    }

    async fn check(&self) -> Result<String, Fault> {
        self.line.check().await
    }

    fn destination(&self) -> String {
        let origin = self.line.client.origin();
        match &self.line.route {
            Route::Webhook(_) => format!("a webhook of {origin}"),
            Route::Bot { channel, .. } => format!("channel {channel} at {origin}"),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.line.client.notes();
        if matches!(self.line.route, Route::Webhook(_)) {
            notes.push("a webhook tells no message's name, so incidents have no threads".to_owned());
        }
        notes.extend(self.memory.as_ref().and_then(Memory::note));
        notes
    }

    fn secrets(&self) -> Vec<&str> {
        self.line.secrets()
    }
}
