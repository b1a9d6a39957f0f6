//! Sinks that send a message per event and judge each answer: what such sinks have in common.
//!
//! In: a [`Courier`], which words an event, sends the message, and says what the answer means. Out: with [`Dispatch`] a
//! [`StreamSink`] of it. Invariants, for every courier:
//!
//! 1. A message is a request of its own, one after the other: a crash or a failure doubles none that was taken before
//!    it, and nothing overtakes.
//! 2. At most one message goes in an interval, and none before a pause is over that the destination asked for.
//! 3. What is refused as it is goes once more in short, if need be by a later try. It is put aside only if that is
//!    refused too, by a word that can mean nothing else; under any other it stays, and somebody is alarmed.
//! 4. No secret of the courier's is in a fault, a reason or the destination's last words, whatever it repeats.
//!
//! It does not word anything, know a protocol, or remember across a restart.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::pace::Pace;
use crate::parcel::Parcel;
use crate::said::{Said, hidden};
use crate::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};

/// The pause after an answer that asks for one and names none; the shortest that is believed.
const PAUSE: Duration = Duration::from_secs(2);

/// How much of a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    Full,
    /// What can hardly be refused for its looks.
    Short,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has it, and says so in these words.
    Accepted(String),
    /// This very message is refused as it is; `known` if by a word that can mean nothing else.
    Refused {
        /// Why, for the dead letter.
        reason: String,
        /// Whether the word is known to be about the message.
        known: bool,
    },
    /// Refused for something that the courier has changed since, such as a thread: the same form goes again, once.
    Changed(String),
    /// Not delivered; send again later.
    Fault(Fault),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it means.
    pub verdict: Verdict,
    /// The pause that it asked for.
    pub retry_after: Option<Duration>,
}

impl From<Fault> for Told {
    fn from(fault: Fault) -> Self {
        Self {
            verdict: Verdict::Fault(fault),
            retry_after: None,
        }
    }
}

/// A way to a destination that takes one message per event.
#[async_trait]
pub trait Courier: fmt::Debug + Send + Sync + 'static {
    /// A message, ready to be sent in either form.
    type Letter: Send;

    /// The destination in an operator's words, such as `slack`.
    const NAME: &'static str;
    /// How a short message goes, behind "it went": `as a line of text`.
    const SHORT: &'static str;

    /// Makes the message of an event.
    async fn letter(&self, parcel: &Parcel) -> Self::Letter;

    /// Sends it. Time: the client's deadline. Cancel: safe; counts as not sent.
    async fn send(&self, letter: &mut Self::Letter, form: Form) -> Told;

    /// Whether the short form of a message is another than the full one.
    fn has_short(&self, _letter: &Self::Letter) -> bool {
        true
    }

    /// Reaches the destination without sending a message.
    async fn check(&self) -> Result<String, Fault>;

    /// Where it sends, without secrets.
    fn destination(&self) -> String;

    /// What `status` says of it.
    fn notes(&self) -> Vec<String>;

    /// What must not be shown, however it comes back.
    fn secrets(&self) -> Vec<&str>;
}

/// A sink of a courier.
#[derive(Debug)]
pub struct Dispatch<C> {
    courier: C,
    pace: Pace,
    /// Messages that went short, because the whole was refused.
    shortened: AtomicU64,
    /// The event whose whole was refused last: after an `interval` that is waited out elsewhere it goes on in short.
    refused: Mutex<Option<Uuid>>,
    said: Said,
}

/// Why no more of a batch is sent now.
struct Stop {
    fault: Fault,
    retry_after: Option<Duration>,
}

impl<C: Courier> Dispatch<C> {
    /// A sink that sends at most one message in an `interval`.
    pub fn new(courier: C, interval: Duration) -> Self {
        Self {
            courier,
            pace: Pace::new(interval),
            shortened: AtomicU64::new(0),
            refused: Mutex::default(),
            said: Said::default(),
        }
    }

    /// Sends the message of an event. Each turn of the loop ends it, or gives up the full form or what was changed.
    async fn tell(&self, parcel: &Parcel) -> Result<Outcome, Stop> {
        let mut letter = self.courier.letter(parcel).await;
        let (mut form, mut changed) = (self.form_of(parcel), false);
        loop {
            let told = self.send(&mut letter, form).await?;
            match told.verdict {
                Verdict::Accepted(word) => {
                    self.took(parcel, form, &word);
                    return Ok(Outcome::Delivered);
                }
                Verdict::Changed(_) if !changed => changed = true,
                Verdict::Refused { .. } if form == Form::Full && self.courier.has_short(&letter) => {
                    form = Form::Short;
                    *self.refused() = Some(parcel.event.id);
                }
                Verdict::Refused { reason, known: true } => return Ok(Outcome::Rejected(self.hide(&reason))),
                // What even the short form meets, under a word that is not known, is hardly about the message.
                Verdict::Refused { reason, .. } | Verdict::Changed(reason) => {
                    *self.refused() = None;
                    return Err(self.stop(FaultKind::Config, &reason, None));
                }
                Verdict::Fault(fault) => return Err(self.failed(&fault, told.retry_after)),
            }
        }
    }

    /// The form in which a message begins: short, if its whole was refused at an earlier try.
    fn form_of(&self, parcel: &Parcel) -> Form {
        match *self.refused() == Some(parcel.event.id) {
            true => Form::Short,
            false => Form::Full,
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<Uuid>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message when its turn has come. Errors: a pause that is not over.
    async fn send(&self, letter: &mut C::Letter, form: Form) -> Result<Told, Stop> {
        if let Err(left) = self.pace.turn().await {
            let message = format!("a pause that {} asked for, or `interval`, is not over", C::NAME);
            return Err(self.stop(FaultKind::Busy, &message, Some(left)));
        }
        Ok(self.courier.send(letter, form).await)
    }

    /// A pause that was asked for is kept, whoever comes with the next event. One that is hardly a pause is none, or a
    /// destination that asks for no time at all would be asked all the time.
    fn failed(&self, fault: &Fault, retry_after: Option<Duration>) -> Stop {
        let asked = retry_after.filter(|pause| *pause >= PAUSE);
        let usual = (fault.kind == FaultKind::Busy).then_some(PAUSE);
        if let Some(pause) = asked.or(usual) {
            self.pace.close_for(pause);
        }
        self.stop(fault.kind, &fault.message, asked)
    }

    fn took(&self, parcel: &Parcel, form: Form, word: &str) {
        self.said.keep(word, &self.courier.secrets());
        if form == Form::Short {
            self.shortened.fetch_add(1, Ordering::Relaxed);
            let (name, short) = (C::NAME, C::SHORT);
            tracing::warn!(event.id = %parcel.event.id, "{name} refused a notice as it was, so it went {short}");
        }
    }

    fn stop(&self, kind: FaultKind, message: &str, retry_after: Option<Duration>) -> Stop {
        let message = self.hide(message);
        Stop {
            fault: Fault { kind, message },
            retry_after,
        }
    }

    fn hide(&self, words: &str) -> String {
        hidden(words, &self.courier.secrets())
    }
}

#[async_trait]
impl<C: Courier> StreamSink for Dispatch<C> {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 1,
            bytes: 1 << 20,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let mut delivery = Delivery::all(0);
        for parcel in batch {
            match self.tell(parcel).await {
                Ok(outcome) => delivery.outcomes.push(outcome),
                Err(stop) => {
                    delivery.fault = Some(stop.fault);
                    delivery.retry_after = stop.retry_after;
                    break;
                }
            }
        }
        delivery.outcomes.resize(batch.len(), Outcome::Retry);
        delivery
    }

    async fn check(&self) -> Result<String, Fault> {
        match self.courier.check().await {
            Ok(said) => Ok(self.hide(&said)),
            Err(fault) => Err(self.stop(fault.kind, &fault.message, None).fault),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.courier.notes();
        match self.shortened.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!(
                "{count} notices went {}: {} refused them as they were",
                C::SHORT,
                C::NAME
            )),
        }
        notes
    }

    fn destination(&self) -> Option<String> {
        Some(self.courier.destination())
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
