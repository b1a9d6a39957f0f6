//! The suite that every set sink must pass: one case for each thing that can happen to a destination.
//!
//! In: a [`SetSuite`], which knows how to start a destination in the state that a [`Case`] needs, with a way to read and
//! change it past the sink (a [`SetRig`]). Out: nothing if every case holds, else [`Failures`] that name the cases.
//!
//! What the cases show, each its own part ([`CASES`] is the table):
//! 1. After each round of reading, comparing and applying ([`Rounds`]) the destination holds what is wanted, each target
//!    once, as somebody else reads it.
//! 2. Nothing is called done that is not so, and nothing is refused for good because the destination is away.
//! 3. Whatever happened (a wipe, a hand, a day's outage, an answer that was lost, a round that was broken off), the next
//!    rounds mend it; old changes are never made again.
//! 4. What is not the sink's own stays as it was, byte for byte.
//! 5. What must be spared is refused by the sink itself; a sink that observes changes nothing.
//!
//! A case that cannot apply is declared with its reason; a sink answers every case by running or by declaring it. The
//! suite is compiled for tests only (feature `conformance`).

mod changed;
mod guards;
mod plain;
mod rounds;
mod run;
mod troubles;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trapline_schemas::Timestamp;

use super::Failures;
use crate::set::{SetSink, Target};
pub use rounds::{Round, Rounds};
use run::Run;

/// Most entries in [`Case::Room`].
pub const ROOM: usize = 4;
/// Entries in [`Case::Many`].
pub const MANY: usize = 100_000;
/// Where the destination has nothing to act on ([`Case::Nowhere`]).
pub const NOWHERE: [u8; 4] = [203, 0, 113, 250];
/// Which member the destination refuses for good ([`Case::OneBad`]).
pub const BAD: [u8; 4] = [203, 0, 113, 251];
/// How long the suite waits for what should come soon, and for a call to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Case {
    /// Nothing: members come, others go.
    Well,
    /// A single member without a second one.
    Lone,
    /// IPv6 addresses.
    V6,
    /// Networks of both families, or of IPv4 alone if [`Case::V6`] is declared.
    Network,
    /// Targets that overlap.
    Overlap,
    /// What stands is put with a later end, and with an earlier one.
    Extend,
    /// What somebody else has deleted is taken.
    TakeGone,
    /// What stands is put as it is.
    PutStanding,
    /// A change is made and its answer is lost (F23).
    AnswerLost,
    /// All that is the sink's own is wiped, its container as well (F24, F26).
    Wiped,
    /// One entry is deleted by hand (F24).
    Deleted,
    /// An entry is added by hand where the sink's own are (F24): see [`Added`].
    Added,
    /// Others have entries at the destination.
    Foreign,
    /// The destination is away for a day (F9); members end meanwhile, others come.
    DownForADay,
    /// All members end while the destination is away.
    ExpiredWhileDown,
    /// The destination ends an entry by itself (S8).
    EndsItself,
    /// [`MANY`] members.
    Many,
    /// Room for [`ROOM`] entries, more are wanted: `limits().members` must say so.
    Room,
    /// Members that must be spared (S5), new ones and such as stand.
    Spared,
    /// Nothing may be changed (S9).
    Observe,
    /// The destination refuses the credentials (F15, F21, F22).
    Unauthorized,
    /// The destination accepts, then neither reads nor answers (F11).
    HalfOpen,
    /// The program starts anew.
    Restart,
    /// A batch is broken off, and the next comes at once.
    Cancelled,
    /// There is nothing to act on at [`NOWHERE`].
    Nowhere,
    /// The destination refuses [`BAD`] for good (F14).
    OneBad,
    /// Members go in through the fast lane.
    FastLane,
    /// The destination says that somebody else changed it (F26).
    Told,
}

/// One row of the suite.
#[derive(Debug)]
pub struct Row {
    /// The case.
    pub case: Case,
    /// The fault or sentence of the promises that it stands for, empty for none.
    pub promise: &'static str,
    /// Its name in reports.
    pub name: &'static str,
}

const fn row(case: Case, promise: &'static str, name: &'static str) -> Row {
    Row { case, promise, name }
}

/// Every case.
pub static CASES: &[Row] = &[
    row(Case::Well, "", "well"),
    row(Case::Lone, "", "lone_member"),
    row(Case::V6, "", "ipv6"),
    row(Case::Network, "S6", "network"),
    row(Case::Overlap, "S6", "overlap"),
    row(Case::Extend, "S8", "put_again_moves_the_end"),
    row(Case::TakeGone, "F24", "take_what_is_gone"),
    row(Case::PutStanding, "F23", "put_what_stands"),
    row(Case::AnswerLost, "F23", "answer_lost"),
    row(Case::Wiped, "F26", "wiped"),
    row(Case::Deleted, "F24", "deleted_by_hand"),
    row(Case::Added, "F24", "added_by_hand"),
    row(Case::Foreign, "F26", "foreign_entries"),
    row(Case::DownForADay, "F9", "down_for_a_day"),
    row(Case::ExpiredWhileDown, "S8", "expired_while_down"),
    row(Case::EndsItself, "S8", "ends_itself"),
    row(Case::Many, "", "a_hundred_thousand"),
    row(Case::Room, "", "room_for_fewer"),
    row(Case::Spared, "S5", "spared"),
    row(Case::Observe, "S9", "observe"),
    row(Case::Unauthorized, "F15", "unauthorized"),
    row(Case::HalfOpen, "F11", "half_open"),
    row(Case::Restart, "", "restart"),
    row(Case::Cancelled, "", "cancelled"),
    row(Case::Nowhere, "", "nowhere"),
    row(Case::OneBad, "F14", "one_bad_member"),
    row(Case::FastLane, "S5", "fast_lane"),
    row(Case::Told, "F26", "told"),
];

/// What a destination suffers from, up to [`SetRig::heal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Nobody is there.
    Down,
    /// It accepts, then neither reads nor answers.
    HalfOpen,
    /// It makes changes and answers none of them; what only reads is answered.
    LosesAnswers,
    /// It refuses the credentials.
    Unauthorized,
}

/// What becomes of an entry that somebody adds by hand where the sink's own are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It counts as the sink's own and goes: the container is the mark.
    Removed,
    /// It has no mark, so it is another's and stays.
    Foreign,
}

/// One entry that a destination acts on, as somebody else than the sink reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whom it is about.
    pub target: Target,
    /// When the destination ends it by itself, if it keeps ends.
    pub until: Option<Timestamp>,
}

/// A destination, and a way to it past the sink. It starts well, empty of what is the sink's own.
#[async_trait]
pub trait SetRig: Send {
    /// Builds a sink on the destination, as each start of the program does. Its deadlines should be short: the suite's
    /// patience is 30 s.
    async fn open(&mut self, observes: bool) -> Arc<dyn SetSink>;

    /// What the destination acts on and is not another's, doubles included, in no order; entries that the sink would not
    /// list as well. Not asked while there is trouble.
    async fn held(&mut self) -> Vec<Held>;

    /// All of the destination that is not the sink's own, as bytes; the same as long as nobody changes it.
    async fn foreign(&mut self) -> Vec<u8>;

    /// All of the destination as bytes, containers included; without clocks that run by themselves.
    async fn dump(&mut self) -> Vec<u8>;

    /// Puts entries of others in: in the sink's container where that is not its own alone, else as near as can be.
    async fn plant(&mut self);

    /// All that is the sink's own goes, as after `nft flush ruleset` or a restored backup.
    async fn wipe(&mut self);

    /// Deletes one entry of the sink's by hand.
    async fn delete(&mut self, target: Target);

    /// Adds an entry by hand where the sink's own are, without the sink's mark where it has one.
    async fn add(&mut self, target: Target);

    /// Begins trouble; only that of the case that the rig was started for.
    async fn begin(&mut self, trouble: Trouble);

    /// Ends the trouble: from the return on the destination behaves, at the same place, with what it holds.
    async fn heal(&mut self);

    /// The wall clock of destination and sink.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// One set sink's answer to every case.
#[async_trait]
pub trait SetSuite: Sync {
    /// The sink's name in reports.
    fn name(&self) -> &'static str;

    /// Cases that cannot apply, each with its reason. If [`Case::EndsItself`] is among them, no entry may be listed with
    /// an end; if not, each must be.
    fn declared(&self) -> &[(Case, &'static str)];

    /// What becomes of an entry that is added by hand.
    fn added(&self) -> Added;

    /// Starts a rig; `None` if the destination has no such case.
    async fn start(&self, case: Case) -> Option<Box<dyn SetRig>>;
}

/// Runs every case and prints the table.
#[expect(clippy::print_stdout, reason = "the table is for whoever reads the test's output")]
pub async fn run(suite: &dyn SetSuite) -> Result<(), Failures> {
    let mut failures = Vec::new();
    for row in CASES {
        let (word, detail) = match answer(suite, row).await {
            Ok(None) => ("ok", String::new()),
            Ok(Some(reason)) => ("declared", reason.to_owned()),
            Err(why) => ("FAILED", why),
        };
        let name = suite.name();
        println!("{name:<14} {:<4} {:<24} {word:<9} {detail}", row.promise, row.name);
        if word == "FAILED" {
            failures.push(format!("{name}: case {} ({}): {detail}", row.name, row.promise));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failures(failures)),
    }
}

/// Runs or declares one case; both or neither is a failure.
async fn answer(suite: &dyn SetSuite, row: &Row) -> Result<Option<&'static str>, String> {
    let reason_of = |case| suite.declared().iter().find(|(found, _)| *found == case);
    let declared = reason_of(row.case).map(|(_, reason)| *reason);
    let rig = suite.start(row.case).await;
    match (declared, rig) {
        (Some(_), _) if matches!(row.case, Case::Well | Case::Lone | Case::Spared | Case::Observe) => {
            Err("cannot be declared: every set sink does this".to_owned())
        }
        (Some(""), None) => Err("declared without a reason".to_owned()),
        (Some(reason), None) => Ok(Some(reason)),
        (Some(_), Some(_)) => Err("declared, although the rig can run it".to_owned()),
        (None, None) => Err("neither run nor declared".to_owned()),
        (None, Some(rig)) => {
            let traits = Traits {
                ends_itself: reason_of(Case::EndsItself).is_none(),
                has_v6: reason_of(Case::V6).is_none(),
                added: suite.added(),
            };
            Run::new(rig, traits).await.case(row.case).await.map(|()| None)
        }
    }
}

/// What a suite says of its destination.
#[derive(Debug, Clone, Copy)]
struct Traits {
    ends_itself: bool,
    has_v6: bool,
    added: Added,
}

#[cfg(test)]
mod tests;
