//! A destination in memory, a right sink on it, and for each case a sink that is wrong.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;
use trapline_schemas::Timestamp;
use uuid::Uuid;

use super::super::run::after;
use super::super::{Added, BAD, Case, Held, NOWHERE, ROOM, SetRig, Trouble};
use crate::set::{Applied, Change, FastLane, Member, Put, SetLimits, SetSink, Spared, Standing, Target};
use crate::stream::{Fault, FaultKind};

/// What a wrong sink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    /// Calls everything done, does nothing.
    Lies,
    /// Forgets an outcome.
    Miscounts,
    /// Lists every entry twice.
    ListsTwice,
    /// Says that it must be tried again and not why.
    Silent,
    /// Cannot say that it reaches a destination that is well.
    CannotCheck,
    /// Does not begin before there are two.
    WaitsForSecond,
    NoV6Hosts,
    /// A network of IPv6 becomes its first address.
    NoV6Networks,
    NoOverlap,
    /// An end is moved back only.
    NeverShortens,
    /// What it has put and finds gone is a fault.
    FailsOnGone,
    /// What stands as it is to stand is refused.
    Exists,
    /// Makes a second entry if it never heard that the first was made.
    Doubles,
    /// Does not make its container again.
    NoContainer,
    /// Lists what it has put, whether it is there or not.
    ListsPut,
    /// Lists what it knows alone.
    ListsKnown,
    /// Writes all anew with the first change, its own alone.
    DropsForeign,
    /// Makes old changes when the destination is back.
    Replays,
    /// Takes what is away for what is gone.
    LiesDown,
    /// The destination is never told the end.
    NeverEnds,
    /// Lists one page.
    FirstPage,
    /// Makes room after it is needed.
    PutsFirst,
    /// What stands is not spared.
    SparesNewOnly,
    /// Makes its container to list it.
    WritesObserving,
    /// Calls refused credentials a failing server.
    MistakesAuth,
    /// Has no deadline.
    Hangs,
    /// Marks entries with what is new at each start.
    MarksInstance,
    /// Writes an entry and then its mark.
    HalfEntries,
    /// Asks for what is nowhere again and again.
    Insists,
    /// Gives a batch up for one member.
    AllOrNothing,
    /// The fast lane spares nobody.
    LaneUnguarded,
    /// Does not hear what others change.
    Deaf,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    until: Timestamp,
    decision: Option<Uuid>,
    instance: u32,
    is_marked: bool,
    handle: Arc<str>,
}

/// The destination. Entries of one target are a list, so that doubles can be.
struct Place {
    entries: HashMap<Target, Vec<Entry>>,
    added: HashSet<Target>,
    foreign: Vec<String>,
    container: Option<u32>,
    wipes: u32,
    trouble: Option<Trouble>,
    room: usize,
    told: watch::Sender<u64>,
    /// When it last looked what is over.
    looked: Timestamp,
}

impl Place {
    fn hand(&mut self) {
        self.told.send_modify(|count| *count += 1);
    }
}

/// The rig of the fake.
pub struct FakeRig {
    place: Arc<Mutex<Place>>,
    wrong: Wrong,
    case: Case,
    added: Added,
    begun: Instant,
    opened: u32,
}

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

impl FakeRig {
    pub fn new(wrong: Wrong, case: Case, added: Added) -> Self {
        let place = Place {
            entries: HashMap::new(),
            added: HashSet::new(),
            foreign: Vec::new(),
            container: None,
            wipes: 0,
            trouble: None,
            room: if case == Case::Room { ROOM } else { 1_000_000 },
            told: watch::channel(0).0,
            looked: START,
        };
        Self {
            place: Arc::new(Mutex::new(place)),
            wrong,
            case,
            added,
            begun: Instant::now(),
            opened: 0,
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        let mut place = self.place.lock().unwrap();
        end(&mut place, self.wrong, after(START, self.begun.elapsed()));
        place
    }
}

/// The destination ends what is over.
fn end(place: &mut Place, wrong: Wrong, now: Timestamp) {
    if wrong != Wrong::NeverEnds && place.looked < now {
        place.looked = now;
        place.entries.retain(|_, entries| {
            entries.retain(|entry| entry.until > now);
            !entries.is_empty()
        });
    }
}

#[async_trait]
impl SetRig for FakeRig {
    async fn open(&mut self, observes: bool) -> Arc<dyn SetSink> {
        self.opened += 1;
        Arc::new(Fake {
            place: self.place.clone(),
            wrong: self.wrong,
            added: self.added,
            begun: self.begun,
            observes,
            instance: self.opened,
            bad: (self.case == Case::OneBad).then(|| Target::host(BAD.into())),
            pauses: self.case == Case::Cancelled,
            nowhere: (self.case == Case::Nowhere).then(|| Target::host(NOWHERE.into())),
            spared: Arc::default(),
            memory: Mutex::default(),
        })
    }

    async fn held(&mut self) -> Vec<Held> {
        let place = self.place();
        let is_own = |target: &&Target| self.added == Added::Removed || !place.added.contains(target);
        let targets = place.entries.keys().filter(is_own);
        let held = |target: &Target| {
            let entries = place.entries[target].iter();
            entries.map(|entry| entry.until).collect::<Vec<_>>()
        };
        let rows = targets.flat_map(|target| held(target).into_iter().map(|until| (*target, until)));
        rows.map(|(target, until)| Held {
            target,
            until: Some(until),
        })
        .collect()
    }

    async fn foreign(&mut self) -> Vec<u8> {
        let place = self.place();
        let mut added: Vec<_> = place.added.iter().map(|target| target.to_string()).collect();
        if self.added == Added::Removed {
            added.clear();
        }
        format!("{}{}", place.foreign.concat(), added.concat()).into_bytes()
    }

    async fn dump(&mut self) -> Vec<u8> {
        let place = self.place();
        let mut entries: Vec<_> = place.entries.iter().collect();
        entries.sort_by_key(|(target, _)| **target);
        format!("{:?} {:?} {entries:?}", place.container, place.foreign).into_bytes()
    }

    async fn plant(&mut self) {
        self.place().foreign.push("somebody else's".to_owned());
    }

    async fn wipe(&mut self) {
        let mut place = self.place();
        place.entries.clear();
        place.container = None;
        place.wipes += 1;
        place.hand();
    }

    async fn delete(&mut self, target: Target) {
        let mut place = self.place();
        place.entries.remove(&target);
        place.hand();
    }

    async fn add(&mut self, target: Target) {
        let mut place = self.place();
        let entry = Entry {
            until: after(START, Duration::from_secs(86_400)),
            decision: None,
            instance: 0,
            is_marked: true,
            handle: "by hand".into(),
        };
        place.entries.insert(target, vec![entry]);
        place.added.insert(target);
        place.hand();
    }

    async fn begin(&mut self, trouble: Trouble) {
        self.place().trouble = Some(trouble);
    }

    async fn heal(&mut self) {
        self.place().trouble = None;
    }

    fn now(&self) -> Timestamp {
        after(START, self.begun.elapsed())
    }
}

/// What a sink remembers, which a right one has no use for.
#[derive(Default)]
struct Memory {
    asked: Option<HashSet<Target>>,
    confirmed: HashMap<Target, Standing>,
    container: Option<u32>,
    queued: Vec<Change>,
    wrote: bool,
}

/// The sink.
struct Fake {
    place: Arc<Mutex<Place>>,
    wrong: Wrong,
    added: Added,
    begun: Instant,
    observes: bool,
    instance: u32,
    bad: Option<Target>,
    nowhere: Option<Target>,
    pauses: bool,
    spared: Arc<Mutex<Arc<Spared>>>,
    memory: Mutex<Memory>,
}

fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        message: "the fake says so".to_owned(),
    }
}

impl Fake {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        let mut place = self.place.lock().unwrap();
        end(&mut place, self.wrong, after(START, self.begun.elapsed()));
        place
    }

    /// Where a batch may be broken off.
    async fn pause(&self) {
        if self.pauses {
            yield_now().await;
        }
    }

    async fn reach(&self, changes: bool) -> Result<(), Fault> {
        let trouble = self.place().trouble;
        let unauthorized = if self.is(Wrong::MistakesAuth) {
            FaultKind::Server
        } else {
            FaultKind::Auth
        };
        match trouble {
            Some(Trouble::HalfOpen) if self.is(Wrong::Hangs) => std::future::pending().await,
            Some(Trouble::HalfOpen) => {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Err(fault(FaultKind::Unreachable))
            }
            Some(Trouble::Down) => Err(fault(FaultKind::Unreachable)),
            Some(Trouble::Unauthorized) => Err(fault(unauthorized)),
            Some(Trouble::LosesAnswers) if !changes => Ok(()),
            _ => Ok(()),
        }
    }

    fn standing(&self, place: &Place, target: Target) -> Option<Standing> {
        let entry = place.entries.get(&target)?.iter().find(|entry| entry.is_marked)?;
        let is_own = self.added == Added::Removed || !place.added.contains(&target);
        let is_others = ![0, self.instance].contains(&entry.instance);
        let is_known = self.observes || !self.is(Wrong::MarksInstance) || !is_others;
        (is_own && is_known).then(|| Standing {
            target,
            until: Some(entry.until),
            decision: entry.decision,
            handle: Some(entry.handle.clone()),
        })
    }

    /// Makes one change.
    async fn change(&self, change: &Change) -> Put {
        self.pause().await;
        let put = match change {
            Change::Put(member) => self.put(member).await,
            Change::Take(standing) => self.take(standing),
        };
        self.pause().await;
        put
    }

    async fn put(&self, member: &Member) -> Put {
        let mut target = member.target;
        let stood = self
            .place()
            .entries
            .get(&target)
            .and_then(|found| found.first().cloned());
        let exempt = self.is(Wrong::SparesNewOnly) && stood.is_some();
        if !exempt && let Some(why) = self.spared.lock().unwrap().why(target) {
            return Put::Refused(why.to_string());
        }
        if self.nowhere == Some(target) {
            return match self.is(Wrong::Insists) {
                true => Put::Retry,
                false => Put::Nowhere("no such host".to_owned()),
            };
        }
        if self.bad == Some(target) {
            return Put::Refused("bad".to_owned());
        }
        if self.is_against(member, stood.as_ref()) {
            return Put::Refused("no".to_owned());
        }
        if self.is(Wrong::NoV6Networks) && !target.is_host() && target.address().is_ipv6() {
            target = Target::host(target.address());
        }
        self.memory.lock().unwrap().asked.get_or_insert_default().insert(target);
        let put = self.write(target, member).await;
        // An answer that is lost, or not waited for, confirms nothing.
        self.pause().await;
        if self.place().trouble.is_none() {
            let standing = self.standing(&self.place(), target);
            self.memory
                .lock()
                .unwrap()
                .confirmed
                .extend(standing.map(|entry| (target, entry)));
        }
        put
    }

    fn is_against(&self, member: &Member, stood: Option<&Entry>) -> bool {
        let (target, place) = (member.target, self.place());
        let overlaps = |other: &Target| {
            *other != target && (other.net().contains(&target.net()) || target.net().contains(&other.net()))
        };
        match self.wrong {
            Wrong::NoV6Hosts => target.is_host() && target.address().is_ipv6(),
            Wrong::NoOverlap => place.entries.keys().any(overlaps),
            Wrong::Exists => stood.is_some_and(|entry| entry.until == member.until),
            _ => false,
        }
    }

    async fn write(&self, target: Target, member: &Member) -> Put {
        let entry = Entry {
            until: member.until,
            decision: Some(member.decision),
            instance: self.instance,
            is_marked: !self.is(Wrong::HalfEntries),
            handle: format!("entry {target}").into(),
        };
        let handle = Some(entry.handle.clone());
        {
            let mut place = self.place();
            if !place.entries.contains_key(&target) && place.entries.len() >= place.room {
                return Put::Retry;
            }
            place.container.get_or_insert(1);
            self.enter(&mut place, target, entry);
        }
        if self.is(Wrong::HalfEntries) {
            self.pause().await;
            let mut place = self.place();
            let entries = place.entries.get_mut(&target).into_iter().flatten();
            entries.last().into_iter().for_each(|entry| entry.is_marked = true);
        }
        Put::Done { handle }
    }

    fn enter(&self, place: &mut Place, target: Target, mut entry: Entry) {
        let is_confirmed = self.memory.lock().unwrap().confirmed.contains_key(&target);
        let entries = place.entries.entry(target).or_default();
        match self.wrong {
            Wrong::Doubles if !is_confirmed => {}
            Wrong::HalfEntries => entries.retain(|found| !found.is_marked),
            Wrong::NeverShortens => {
                let longest = entries.iter().map(|found| found.until).max();
                entry.until = longest.unwrap_or(entry.until).max(entry.until);
                entries.clear();
            }
            _ => entries.clear(),
        }
        entries.push(entry);
    }

    fn take(&self, standing: &Standing) -> Put {
        let (mut place, mut memory) = (self.place(), self.memory.lock().unwrap());
        let is_gone = !place.entries.contains_key(&standing.target);
        if self.is(Wrong::FailsOnGone) && is_gone && memory.confirmed.contains_key(&standing.target) {
            return Put::Retry;
        }
        memory.confirmed.remove(&standing.target);
        memory.asked.get_or_insert_default().remove(&standing.target);
        let left = place.entries.remove(&standing.target).unwrap_or_default();
        let unmarked: Vec<_> = left.into_iter().filter(|entry| !entry.is_marked).collect();
        if !unmarked.is_empty() {
            place.entries.insert(standing.target, unmarked);
        }
        place.added.remove(&standing.target);
        Put::DONE
    }

    /// What a batch becomes before it is made.
    fn prepared(&self, changes: &[Change]) -> Vec<(usize, Change)> {
        let mut numbered: Vec<_> = changes.iter().cloned().enumerate().collect();
        if self.is(Wrong::PutsFirst) {
            numbered.sort_by_key(|(_, change)| matches!(change, Change::Take(_)));
        }
        numbered
    }

    /// What the wrong ones do as soon as they write.
    async fn first_of_all(&self) {
        let queued: Vec<_> = {
            let (mut place, mut memory) = (self.place(), self.memory.lock().unwrap());
            if self.is(Wrong::DropsForeign) && !memory.wrote {
                place.foreign.clear();
            }
            memory.wrote = true;
            memory.queued.drain(..).collect()
        };
        for change in queued {
            self.change(&change).await;
        }
    }

    fn wrong_answer(&self, changes: &[Change]) -> Option<Applied> {
        let count = changes.len();
        let is_bad = |change: &Change| self.bad == Some(change.target());
        let is_spared = |change: &Change| self.spared.lock().unwrap().why(change.target()).is_some();
        match self.wrong {
            Wrong::Lies => Some(Applied::all(count)),
            Wrong::Miscounts => Some(Applied::all(count - 1)),
            Wrong::Silent => Some(Applied {
                fault: None,
                ..Applied::retry(count, fault(FaultKind::Server))
            }),
            Wrong::WaitsForSecond if count == 1 && !is_spared(&changes[0]) && self.place().container.is_none() => {
                Some(Applied::all(1))
            }
            Wrong::AllOrNothing if changes.iter().any(is_bad) => Some(Applied {
                outcomes: vec![Put::Refused("one is bad".to_owned()); count],
                ..Applied::all(0)
            }),
            _ => None,
        }
    }

    /// The answer to a batch that did not get through.
    fn not_through(&self, changes: &[Change], fault: Fault) -> Applied {
        if self.is(Wrong::Replays) {
            let puts = changes.iter().filter(|change| matches!(change, Change::Put(_)));
            self.memory.lock().unwrap().queued.extend(puts.cloned());
        }
        let is_down = fault.kind == FaultKind::Unreachable;
        let mut applied = Applied::retry(changes.len(), fault);
        for (put, change) in applied.outcomes.iter_mut().zip(changes) {
            if self.is(Wrong::LiesDown) && is_down && matches!(change, Change::Take(_)) {
                *put = Put::DONE;
            }
        }
        applied
    }

    /// What is listed, wrong where it is to be.
    fn listed(&self) -> Vec<Standing> {
        let (place, mut memory) = (self.place(), self.memory.lock().unwrap());
        let mut stands: Vec<_> = place.entries.keys().filter_map(|t| self.standing(&place, *t)).collect();
        let wipes = Some(place.wipes);
        if memory.container != wipes {
            memory.confirmed.clear();
            memory.container = wipes;
        }
        match self.wrong {
            Wrong::ListsTwice => stands.extend(stands.clone()),
            Wrong::ListsPut => {
                let put = memory.confirmed.values().cloned();
                let lasts = |entry: &Standing| entry.until > Some(place.looked);
                stands.extend(put.filter(|entry| lasts(entry) && !place.entries.contains_key(&entry.target)));
            }
            Wrong::ListsKnown => {
                let known = memory
                    .asked
                    .get_or_insert_with(|| stands.iter().map(|entry| entry.target).collect());
                stands.retain(|entry| known.contains(&entry.target));
            }
            Wrong::FirstPage => stands.truncate(65_536),
            _ => {}
        }
        stands
    }
}

#[async_trait]
impl SetSink for Fake {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: 500,
            members: self.place().room,
            slack: Duration::from_secs(2),
        }
    }

    fn spare(&self, spared: Arc<Spared>) {
        *self.spared.lock().unwrap() = spared;
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        self.reach(false).await?;
        if self.is(Wrong::NoContainer) && self.place().wipes > 0 {
            return Err(fault(FaultKind::Config));
        }
        if self.is(Wrong::WritesObserving) && self.observes {
            self.place().container = Some(2);
        }
        Ok(self.listed())
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        if let Some(wrong) = self.wrong_answer(changes) {
            return wrong;
        }
        if let Err(fault) = self.reach(true).await {
            return self.not_through(changes, fault);
        }
        self.first_of_all().await;
        let mut outcomes = vec![Put::Retry; changes.len()];
        for (at, change) in self.prepared(changes) {
            outcomes[at] = self.change(&change).await;
        }
        if self.place().trouble == Some(Trouble::LosesAnswers) {
            return Applied::retry(changes.len(), fault(FaultKind::Unreachable));
        }
        let failed = outcomes.contains(&Put::Retry).then(|| fault(FaultKind::Server));
        Applied {
            outcomes,
            retry_after: None,
            fault: failed,
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        self.reach(false).await?;
        match self.is(Wrong::CannotCheck) && !self.observes {
            true => Err(fault(FaultKind::Config)),
            false => Ok("a fake".to_owned()),
        }
    }

    fn told(&self) -> Option<watch::Receiver<u64>> {
        match self.is(Wrong::Deaf) {
            true => Some(watch::channel(0).1),
            false => Some(self.place().told.subscribe()),
        }
    }

    fn fast_lane(&self) -> Option<Arc<dyn FastLane>> {
        Some(Arc::new(Lane {
            place: self.place.clone(),
            spared: self.spared.clone(),
            is_guarded: !self.is(Wrong::LaneUnguarded),
            instance: self.instance,
        }))
    }
}

struct Lane {
    place: Arc<Mutex<Place>>,
    spared: Arc<Mutex<Arc<Spared>>>,
    is_guarded: bool,
    instance: u32,
}

impl FastLane for Lane {
    fn put(&self, member: &Member) {
        if self.is_guarded && self.spared.lock().unwrap().why(member.target).is_some() {
            return;
        }
        let entry = Entry {
            until: member.until,
            decision: Some(member.decision),
            instance: self.instance,
            is_marked: true,
            handle: format!("entry {}", member.target).into(),
        };
        self.place.lock().unwrap().entries.insert(member.target, vec![entry]);
    }
}
