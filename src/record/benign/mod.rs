//! Benign noise: who is known to touch decoys without meaning harm.
//!
//! In: an event that is otherwise finished. Out: a [`Mark`], or none. A mark is written into the event
//! (`honeyport.benign.*`) and changes nothing else, except that a source which the configuration declares is no alert:
//! its risk is 0. Notices and acts go by the mark; the record never does.
//!
//! Three ways to a mark, asked in this order:
//! - `[benign.NAME] sources`: whoever answers for the network declares a source for a recogniser, which explains all
//!   that it does up to a level of touch, and what the recogniser itself knows beyond it;
//! - `[ignore.NAME]`: a narrow, expiring list of sources, which `trapline learn` proposes;
//! - a recogniser (`config/benign/NAME.toml`) that knows the behaviour by itself.
//!
//! Invariants:
//! 1. What a peer says of itself can be imitated. So a recogniser explains a touch up to its own level and no further:
//!    whoever goes on to more than that, or walks over several decoys although the recogniser does not say that such a
//!    host does (`walk`), loses the mark with that event. One whose source is declared has not only said who it is.
//! 2. A recogniser marks what it matches, what follows in the same session, and for a while mere contacts of the same
//!    source with the same decoy: a check says who it is only once it speaks.
//! 3. Nothing is ever dropped here.

mod list;
mod recogniser;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use smol_str::{SmolStr, format_smolstr};
use trapline_schemas::{Event, Field, Timestamp};
use uuid::Uuid;

use crate::roles::Touch;

pub use list::{Names, Unreadable, all, embedded_names, names};
pub use recogniser::{Recogniser, RecogniserError, Who};

/// A source that the configuration has silenced for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignore {
    /// Its name in the configuration.
    pub name: SmolStr,
    /// Who.
    pub sources: Vec<IpNet>,
    /// At which decoys; empty: at all.
    pub decoys: Vec<SmolStr>,
    /// Up to which level of touch.
    pub touch: Touch,
    /// Why, for whoever reads the event.
    pub reason: SmolStr,
    /// When it ends.
    pub until: Timestamp,
}

/// A recogniser at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Active {
    /// What it knows.
    pub recogniser: Arc<Recogniser>,
    /// Sources that the configuration declares for it; then it knows nobody else.
    pub sources: Vec<IpNet>,
    /// Up to which level of touch these are explained, whatever it is that they do.
    pub touch: Touch,
}

/// Everybody who is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Benign {
    /// Recognisers, by name.
    pub recognisers: Vec<Active>,
    /// Ignore lists, by name.
    pub ignores: Vec<Ignore>,
    /// Resolvers of this host, which in an office are its domain controllers.
    pub resolvers: Vec<IpAddr>,
}

/// Why an event is taken for benign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// `honeyport.benign.name`.
    pub(super) name: SmolStr,
    /// `honeyport.benign.reason`.
    pub(super) reason: SmolStr,
    /// `honeyport.benign.walk`: whether a walk over several places is explained as well.
    pub(super) walk: bool,
    /// Whether the configuration says so of the source.
    pub(super) declared: bool,
}

/// An event as it is judged.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// Finished but for its mark.
    pub(super) event: &'a Event,
    /// The secret it offers, if any, as typed.
    pub(super) secret: Option<&'a [u8]>,
    /// Level of touch, by all that its source did.
    pub(super) touch: Touch,
    /// Level of touch that its session has reached by itself.
    pub(super) said: Touch,
    /// Whether its source walks over several decoys.
    pub(super) several: bool,
    /// Whether the source is inside.
    pub(super) inside: bool,
    /// Who came.
    pub(super) source: IpAddr,
    /// The decoy's name.
    pub(super) decoy: &'a str,
    /// The session.
    pub(super) session: Uuid,
}

/// What is remembered of a source that recognisers knew by its behaviour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Sessions that were known, newest first, and by which recogniser each: checks are made side by side.
    sessions: [Option<(Uuid, u16)>; SESSIONS_MAX],
    /// Decoys at which it was known, newest first.
    decoys: [Option<(u32, u16)>; DECOYS_MAX],
}

/// Most sessions of a source that are remembered as known.
const SESSIONS_MAX: usize = 8;
/// Most decoys at which a source is remembered as known.
const DECOYS_MAX: usize = 4;

impl Benign {
    /// Judges an event. In and out: what is `known` of its source.
    pub(super) fn judge(&self, seen: &Seen<'_>, known: &mut Option<Box<Known>>) -> Option<Mark> {
        let mark = self.declared(seen).or_else(|| self.ignored(seen));
        mark.or_else(|| self.recognised(seen, known))
    }

    fn declared(&self, seen: &Seen<'_>) -> Option<Mark> {
        let active = self.recognisers.iter().find(|active| active.declares(seen))?;
        let mark = active.recogniser.mark();
        Some(Mark {
            declared: true,
            walk: mark.walk || active.touch >= Touch::Intent,
            ..mark
        })
    }

    fn ignored(&self, seen: &Seen<'_>) -> Option<Mark> {
        let ignore = self.ignores.iter().find(|ignore| ignore.covers(seen))?;
        Some(Mark {
            name: format_smolstr!("ignore.{}", ignore.name),
            reason: ignore.reason.clone(),
            walk: ignore.touch >= Touch::Intent,
            declared: true,
        })
    }

    fn recognised(&self, seen: &Seen<'_>, known: &mut Option<Box<Known>>) -> Option<Mark> {
        let by_itself = |active: &Active| {
            let who = active.recogniser.who;
            active.sources.is_empty() && self.is_one_of(who, seen) && active.recogniser.explains(seen)
        };
        if let Some(number) = self.recognisers.iter().position(by_itself) {
            known.get_or_insert_default().note(number, seen);
            return self.recognisers.get(number).map(|active| active.recogniser.mark());
        }
        let number = known.as_ref()?.explains(seen)?;
        let recogniser = &self.recognisers.get(usize::from(number))?.recogniser;
        recogniser.goes_as_far_as(seen).then(|| recogniser.mark())
    }

    fn is_one_of(&self, who: Who, seen: &Seen<'_>) -> bool {
        match who {
            Who::Inside => seen.inside,
            Who::Resolver => self.resolvers.contains(&seen.source),
            Who::Declared => false,
        }
    }
}

impl Active {
    fn declares(&self, seen: &Seen<'_>) -> bool {
        is_in(&self.sources, seen.source) && (seen.touch <= self.touch || self.recogniser.explains(seen))
    }
}

impl Ignore {
    fn covers(&self, seen: &Seen<'_>) -> bool {
        seen.touch <= self.touch
            && seen.event.at < self.until
            && is_in(&self.sources, seen.source)
            && (self.decoys.is_empty() || self.decoys.iter().any(|decoy| decoy == seen.decoy))
    }
}

impl Known {
    fn note(&mut self, number: usize, seen: &Seen<'_>) {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        remember(&mut self.sessions, seen.session, number);
        remember(&mut self.decoys, print(seen.decoy), number);
    }

    /// Which recogniser explains what follows: in the same session, or a mere contact with a decoy where the source is
    /// known. What is offered must be known by itself, for a guess may follow on what everybody asks.
    fn explains(&self, seen: &Seen<'_>) -> Option<u16> {
        if seen.secret.is_some() {
            return None;
        }
        let decoy = || known_by(&self.decoys, print(seen.decoy)).filter(|_| seen.said == Touch::Contact);
        known_by(&self.sessions, seen.session).or_else(decoy)
    }
}

impl Mark {
    /// Writes the mark into its event.
    pub(super) fn write(self, event: &mut Event) {
        if self.declared {
            event.set(Field::EventRiskScore, 0.0);
        }
        event.set(Field::BenignName, self.name);
        event.set(Field::BenignReason, self.reason);
        event.set(Field::BenignWalk, self.walk);
    }
}

/// Puts what is known of a thing first, in place of what was known of it before, or of the oldest.
fn remember<T: PartialEq + Copy>(known: &mut [Option<(T, u16)>], what: T, number: u16) {
    let same = |known: &Option<(T, u16)>| known.as_ref().is_some_and(|(known, _)| *known == what);
    let place = known.iter().position(same).unwrap_or(known.len().saturating_sub(1));
    if let Some(upto) = known.get_mut(..=place) {
        upto.rotate_right(1);
        upto.iter_mut().take(1).for_each(|first| *first = Some((what, number)));
    }
}

fn known_by<T: PartialEq + Copy>(known: &[Option<(T, u16)>], what: T) -> Option<u16> {
    let mut known = known.iter().flatten();
    known.find(|(known, _)| *known == what).map(|(_, number)| *number)
}

/// 32 bits of a name's hash.
fn print(name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as u32
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
