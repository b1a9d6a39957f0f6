//! One notice after the other: which steps it takes, and what is remembered after each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use trapline_notice::Voice;
use trapline_schemas::Event;
use trapline_sink::pace::Pace;
use trapline_sink::{Fault, FaultKind};
use trapline_vendor::{Failed, Remote, Vendor};

use crate::known::{Case, Known};
use crate::markup::Markup;
use crate::told::{Form, Told};

/// How often a notice begins anew because its case was gone, or there and not found.
const TURNS_MAX: u32 = 5;

/// What a person set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Whether cases are closed.
    pub(crate) close: bool,
    /// Whether a case that somebody closed is opened again.
    pub(crate) reopen: bool,
    /// Shortest time between two notices.
    pub(crate) interval: Duration,
    /// How much later a search may find what was made.
    pub(crate) settle: Duration,
    pub(crate) markup: Markup,
}

/// A desk: where cases are, and what is known of them.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) vendor: Vendor,
    voice: Voice,
    habits: Habits,
    known: Mutex<Known>,
    pace: Pace,
    shortened: AtomicU64,
    unclosed: AtomicU64,
}

/// Why no more of a batch is told now.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) fault: Fault,
    pub(crate) retry_after: Option<Duration>,
}

/// How a step ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acted {
    Done,
    Exists,
    Gone,
}

impl Desk {
    pub(crate) fn new(vendor: Vendor, voice: Voice, habits: Habits, place: String) -> Self {
        Self {
            vendor,
            voice,
            habits,
            known: Mutex::new(Known::new(place)),
            pace: Pace::new(habits.interval),
            shortened: AtomicU64::new(0),
            unclosed: AtomicU64::new(0),
        }
    }

    /// Tells an event to its case. Time: the vendor's deadline for each of some 20 calls at most, `settle` twice.
    pub(crate) async fn tell(&self, event: &Event) -> Result<(), Stop> {
        let told = Told::new(&self.voice, event, self.habits.markup);
        self.pace.turn().await.map_err(paused)?;
        let mut case = self.known().get(&told.key);
        for _ in 0..TURNS_MAX {
            if !case.exists() {
                self.find(&told, &mut case).await?;
            }
            let acted = match (case.exists(), told.is_end()) {
                (true, true) => self.close(&told, &mut case).await?,
                (true, false) => self.update(&told, &mut case).await?,
                // Nobody was told of it, or nobody has kept it.
                (false, true) => Acted::Done,
                (false, false) => self.open(&told, &mut case).await?,
            };
            match acted {
                Acted::Done => {
                    self.known().settled();
                    return Ok(());
                }
                Acted::Gone => case = case.next(),
                Acted::Exists => {}
            }
        }
        Err(odd("says that a case is there, and does not find it"))
    }

    /// Says who answers.
    pub(crate) async fn check(&self) -> Result<String, Fault> {
        let mut remote = Remote::default();
        let name = &self.vendor.profile().name;
        match self.vendor.run("check", &serde_json::json!({}), &mut remote).await {
            Ok(()) => Ok(match remote.text("who") {
                Some(who) => format!("{name} takes the login: {who}"),
                None => format!("{name} takes the login"),
            }),
            Err(Failed::Fault { fault, .. }) => Err(fault),
            Err(Failed::Refused(reason)) => Err(config(reason).fault),
            Err(Failed::Exists | Failed::Gone) => Err(odd("has nothing at this address").fault),
        }
    }

    /// Looks for the case; twice, if one may have been opened just before.
    async fn find(&self, told: &Told<'_>, case: &mut Case) -> Result<(), Stop> {
        self.act("find", told, case).await?;
        if case.exists() || !self.known().is_unsure(&told.key) || self.habits.settle.is_zero() {
            return Ok(());
        }
        sleep(self.habits.settle).await;
        self.act("find", told, case).await.map(|_| ())
    }

    async fn open(&self, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        case.level = case.level.max(Some(told.level));
        let opened = self.act("open", told, case).await;
        match opened {
            Ok(Acted::Done) if !case.exists() => {
                self.known().doubt(told.key, told.id());
                Err(odd("opened a case and did not say which"))
            }
            Ok(Acted::Done) => {
                case.last = Some(told.id());
                tracing::info!(event.id = %told.id(), case = %name_of(case), "a case was opened");
                self.known().note(told.key, case.clone());
                self.close_test(told, case).await
            }
            // It was there all the time: by whoever else, who knows nothing of this event, or by an answer that was lost.
            Ok(Acted::Exists) => {
                self.known().doubt_whose(told.key);
                Ok(Acted::Exists)
            }
            Ok(Acted::Gone) => Ok(Acted::Gone),
            Err(stop) => {
                self.known().doubt(told.key, told.id());
                Err(stop)
            }
        }
    }

    /// A case that only tries whether cases are opened does not stay.
    async fn close_test(&self, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        if told.is_test() && self.habits.close {
            self.act("close", told, case).await?;
        }
        Ok(Acted::Done)
    }

    async fn update(&self, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        if self.act("look", told, case).await? == Acted::Gone {
            return Ok(Acted::Gone);
        }
        let was_opened_by_it = self.known().opener(&told.key) == Some(told.id());
        let steps = [
            ("reopen", self.habits.reopen && case.remote.is("closed")),
            ("update", case.last != Some(told.id()) && !was_opened_by_it),
            ("raise", case.level < Some(told.level)),
        ];
        for (step, _) in steps.into_iter().filter(|(_, due)| *due) {
            if step == "raise" {
                case.level = Some(told.level);
            }
            if self.act(step, told, case).await? == Acted::Gone {
                return Ok(Acted::Gone);
            }
            if step == "update" {
                case.last = Some(told.id());
                self.known().note(told.key, case.clone());
            }
        }
        case.last = Some(told.id());
        case.level = case.level.max(Some(told.level));
        self.known().note(told.key, case.clone());
        Ok(Acted::Done)
    }

    /// Closes the case. One that is gone, or that a person closed, is closed.
    async fn close(&self, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        if !self.habits.close || self.act("look", told, case).await? == Acted::Gone {
            return Ok(Acted::Done);
        }
        if !case.remote.is("closed") {
            self.act("close", told, case).await?;
            if !case.remote.is("closed") {
                self.unclosed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(case = %name_of(case), "a case could not be closed: its workflow has no way to it");
            }
        }
        self.known().note(told.key, case.clone());
        Ok(Acted::Done)
    }

    /// A step with all that there is to tell; if that is refused, with a line of ours. What is refused even then is not
    /// about the event: somebody must act.
    async fn act(&self, step: &str, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        let mut refused: Option<String> = None;
        for form in [Form::Full, Form::Short] {
            let level = case.level.unwrap_or(told.level);
            let values = told.values(form, level, case.generation);
            match self.vendor.run(step, &values, &mut case.remote).await {
                Ok(()) => {
                    refused.iter().for_each(|reason| self.note_shortened(told, reason));
                    return Ok(Acted::Done);
                }
                Err(Failed::Exists) => return Ok(Acted::Exists),
                Err(Failed::Gone) => return Ok(Acted::Gone),
                Err(Failed::Fault { fault, retry_after }) => {
                    // Kept by whoever comes with the next event.
                    retry_after.iter().for_each(|pause| self.pace.close_for(*pause));
                    return Err(Stop { fault, retry_after });
                }
                Err(Failed::Refused(reason)) => refused = Some(reason),
            }
        }
        Err(config(refused.unwrap_or_default()))
    }

    fn note_shortened(&self, told: &Told<'_>, reason: &str) {
        self.shortened.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(event.id = %told.id(), %reason, "a notice was refused as it was, so it went as a line of text");
    }

    /// What `status` says of it.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.vendor.notes();
        let mut count = |counter: &AtomicU64, what: &str| match counter.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!("{count} {what}")),
        };
        count(
            &self.shortened,
            "notices went as a line of text: the vendor refused them as they were",
        );
        count(
            &self.unclosed,
            "cases could not be closed: their workflow has no way to it",
        );
        notes
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(case: &Case) -> String {
    let name = ["number", "id"].into_iter().find_map(|slot| case.remote.text(slot));
    name.unwrap_or_default()
}

fn stop(kind: FaultKind, message: String) -> Stop {
    Stop {
        fault: Fault { kind, message },
        retry_after: None,
    }
}

fn config(message: String) -> Stop {
    stop(FaultKind::Config, message)
}

fn odd(what: &str) -> Stop {
    stop(FaultKind::Server, format!("the vendor {what}"))
}

/// The vendor asked for a pause, and what is left of it is too long to wait here.
fn paused(left: Duration) -> Stop {
    Stop {
        retry_after: Some(left),
        ..stop(
            FaultKind::Busy,
            "the vendor asked for a pause, which is not over".to_owned(),
        )
    }
}
