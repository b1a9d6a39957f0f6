//! One notice after the other: which steps it takes, and what is remembered after each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use trapline_notice::Voice;
use trapline_schemas::Event;
use trapline_sink::pace::Pace;
use trapline_sink::{Fault, FaultKind, Said};
use trapline_vendor::{Failed, Remote, Vendor};

use crate::known::{Case, Known};
use crate::markup::Markup;
use crate::stop::{Stop, fault_of, is_of_the_notice, later, odd, paused};
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
    /// Vendor and endpoint.
    pub(crate) place: String,
    /// Which case was told last.
    pub(crate) said: Said,
    shortened: AtomicU64,
    unclosed: AtomicU64,
}

/// Steps that hold nothing of a notice: what refuses them refuses how we are set.
const ASKS: &[&str] = &["find", "look"];

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
            known: Mutex::new(Known::new(place.clone())),
            place,
            said: Said::default(),
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
        let ended = self.turns(&told, &mut case).await;
        match ended {
            Ok(()) => {
                self.known().settled();
                self.said.keep(&word_of(&case), &[]);
            }
            // What its beginning did is not done again.
            Err(_) if case.exists() => {
                let mut known = self.known();
                let was_opened_by_it = known.opener(&told.key) == Some(told.id());
                case.last = Some(told.id()).filter(|_| was_opened_by_it).or(case.last);
                known.note(told.key, case);
            }
            Err(_) => {}
        }
        ended
    }

    async fn turns(&self, told: &Told<'_>, case: &mut Case) -> Result<(), Stop> {
        for _ in 0..TURNS_MAX {
            if !case.exists() {
                self.find(told, case).await?;
            }
            let acted = match (case.exists(), told.is_end()) {
                (true, true) => self.close(told, case).await?,
                (true, false) => self.update(told, case).await?,
                // Nobody was told of it, or nobody has kept it.
                (false, true) => Acted::Done,
                (false, false) => self.open(told, case).await?,
            };
            match acted {
                Acted::Done => return Ok(()),
                Acted::Gone => *case = case.next(),
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
            Err(Failed::Fault { fault, .. } | Failed::Locked(fault)) => Err(fault),
            Err(Failed::Refused(reason)) => Err(fault_of(FaultKind::Config, reason)),
            Err(Failed::Exists | Failed::Gone) => Err(fault_of(
                FaultKind::Server,
                format!("{name} has nothing at this address"),
            )),
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
        let opened = self.act("open", told, case).await;
        match opened {
            Ok(Acted::Done) if !case.exists() => {
                self.known().doubt(told.key, told.id());
                Err(odd("opened a case and did not say which"))
            }
            Ok(Acted::Done) => {
                (case.last, case.level) = (Some(told.id()), Some(told.level));
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
        if told.is_test() && self.habits.close && !case.remote.is("closed") {
            self.act("close", told, case).await?;
        }
        Ok(Acted::Done)
    }

    async fn update(&self, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        if self.act("look", told, case).await? == Acted::Gone {
            return Ok(Acted::Gone);
        }
        let was_opened_by_it = self.known().opener(&told.key) == Some(told.id());
        let is_new = case.last != Some(told.id()) && !was_opened_by_it;
        let steps = [
            ("reopen", is_new && self.habits.reopen && case.remote.is("closed")),
            ("update", is_new),
            ("raise", case.level < Some(told.level)),
        ];
        for (step, _) in steps.into_iter().filter(|(_, due)| *due) {
            match self.act(step, told, case).await {
                Ok(Acted::Gone) => return Ok(Acted::Gone),
                // What is closed may be so for good: the incident goes on in another case.
                Err(Stop::Refused(_) | Stop::Locked(_)) if case.remote.is("closed") => match step {
                    "raise" => {}
                    _ => {
                        tracing::info!(case = %name_of(case), "a closed case takes nothing more; a new one is opened");
                        return Ok(Acted::Gone);
                    }
                },
                acted => drop(acted?),
            }
            if step == "update" {
                case.last = Some(told.id());
            }
        }
        case.last = Some(told.id());
        case.level = case.level.max(Some(told.level));
        self.known().note(told.key, case.clone());
        self.close_test(told, case).await
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

    /// A step with all that there is to tell; if that is refused, with a line of ours. So is what the answer's words
    /// mean: a vendor may repeat what a peer sent.
    async fn act(&self, step: &str, told: &Told<'_>, case: &mut Case) -> Result<Acted, Stop> {
        if ASKS.contains(&step) {
            let ended = self.run(step, told, Form::Full, case).await;
            return self.ended(ended).map_err(|stop| match stop {
                Stop::Refused(reason) => later(FaultKind::Config, reason),
                other => other,
            });
        }
        let first = match self.run(step, told, Form::Full, case).await {
            Err(failed) if is_of_the_notice(&failed) => failed,
            ended => return self.ended(ended),
        };
        let ended = self.run(step, told, Form::Short, case).await;
        if ended.is_ok() {
            self.note_shortened(told, &first);
        }
        self.ended(ended).map_err(|stop| match stop {
            Stop::Refused(reason) => Stop::Refused(format!("{step}: {reason}; nor does it take a line of our own")),
            other => other,
        })
    }

    async fn run(&self, step: &str, told: &Told<'_>, form: Form, case: &mut Case) -> Result<(), Failed> {
        let level = case.level.max(Some(told.level)).unwrap_or(told.level);
        let values = told.values(form, level, case.generation);
        self.vendor.run(step, &values, &mut case.remote).await
    }

    fn ended(&self, ended: Result<(), Failed>) -> Result<Acted, Stop> {
        match ended {
            Ok(()) => Ok(Acted::Done),
            Err(Failed::Exists) => Ok(Acted::Exists),
            Err(Failed::Gone) => Ok(Acted::Gone),
            Err(Failed::Locked(fault)) => Err(Stop::Locked(fault)),
            Err(Failed::Refused(reason)) => Err(Stop::Refused(reason)),
            Err(Failed::Fault { fault, retry_after }) => {
                // Kept by whoever comes with the next event.
                retry_after.iter().for_each(|pause| self.pace.close_for(*pause));
                Err(Stop::Later { fault, retry_after })
            }
        }
    }

    fn note_shortened(&self, told: &Told<'_>, failed: &Failed) {
        let reason = match failed {
            Failed::Refused(reason) => reason,
            Failed::Locked(fault) | Failed::Fault { fault, .. } => &fault.message,
            Failed::Exists | Failed::Gone => "it was said to be there",
        };
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

fn word_of(case: &Case) -> String {
    match case.exists() {
        true => format!("case {}", name_of(case)),
        false => String::new(),
    }
}

fn name_of(case: &Case) -> String {
    let name = ["number", "id"].into_iter().find_map(|slot| case.remote.text(slot));
    name.unwrap_or_default()
}
