//! Events in, decisions out: no I/O, no clock but that of the events, so that a replay of the journal decides the same.
//!
//! In: hits as they are recorded ([`Engine::see`]), the end of time ([`Engine::pass`]), and persons
//! ([`Engine::add`], [`Engine::approve`], …). Out, by [`Engine::take`]: what is to be told, state to save in the same
//! commit, and members for the fast lane.
//!
//! Invariants:
//! 1. What is decided by rules is decided because of a finished TCP handshake, and is about that peer ([`guard`]).
//! 2. A source has one decision that rules made at a time: a rule that applies again moves its end, and what another rule
//!    wants is added to it. `extended` is told only when that changes something that matters.
//! 3. Every decision ends.
//! 4. Rules make at most so many decisions a minute and in all; a person may go beyond the minute.
//! 5. In mode observe nothing that is decided is ever wanted of a set sink.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Timestamp, ids};
use trapline_sink::set::{Member, Spared, Target, Verb};
use uuid::Uuid;

use super::book::{Book, StateRow};
use super::caps::{Caps, Full};
use super::decision::{By, Decision, Part, Phase};
use super::guard::{self, Asked, No};
use super::history::History;
use super::rule::Rule;
use super::settings::{Mode, ResponseSettings, RuleSpec};
use super::told::{Told, What};

/// How long a refusal of one kind, to one target, is not told again.
const REFUSAL_REST: Duration = Duration::from_secs(3600);
/// Most refusals that are remembered.
const REFUSALS_MAX: usize = 10_000;
/// What is over for longer stands nowhere that equals what is wanted: longer than the slack of any destination.
const UNDONE_AFTER: Duration = Duration::from_secs(10);
/// Rows of history that are removed in one commit.
const FORGOTTEN_AT_ONCE: usize = 64;

/// Decides.
#[derive(Debug)]
pub struct Engine {
    settings: ResponseSettings,
    rules: Vec<Rule>,
    book: Book,
    history: History,
    caps: Caps,
    spared: Arc<Spared>,
    refused: HashMap<(Target, u8), Timestamp>,
    out: Out,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Out {
    /// What is to be told, in order.
    pub told: Vec<Told>,
    /// What is to be told of acts, in order, after that.
    pub acts: Vec<Event>,
    /// State to save in the commit of what is told.
    pub state: Vec<StateRow>,
    /// Who is to be shut out before anything else is done.
    pub fast: Vec<Member>,
    /// Whether what is wanted of set sinks changed.
    pub changed: bool,
    /// A bound that was reached, once a minute.
    pub full: Option<Full>,
}

impl Out {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.acts.is_empty() && self.state.is_empty() && !self.changed && self.full.is_none()
    }
}

/// A rule that applies to a hit, at its step with the source.
struct Applying {
    rule: SmolStr,
    step: u32,
    ttl: Duration,
    verbs: Vec<Verb>,
}

impl Engine {
    /// An engine with these rules, which goes on from what an earlier run left.
    pub fn new(settings: ResponseSettings, rules: Vec<Rule>, book: Book, history: History) -> Self {
        Self {
            caps: Caps::new(settings.decisions_per_minute, settings.decisions_max),
            settings,
            rules,
            book,
            history,
            spared: Arc::new(Spared::new([])),
            refused: HashMap::new(),
            out: Out::default(),
        }
    }

    /// All decisions that are not over.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// What becomes of decisions.
    pub const fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Within how long rules count, if any does.
    pub fn counts_within(&self) -> Option<Duration> {
        let spans = self.rules.iter().filter_map(|rule| rule.spec.threshold);
        spans.map(|threshold| threshold.within).max()
    }

    /// Whether there are rules, or decisions that must end.
    pub fn decides(&self) -> bool {
        !self.rules.is_empty() || !self.book.is_empty()
    }

    /// Whether anything came of what was asked.
    pub fn has_news(&self) -> bool {
        !self.out.is_empty()
    }

    /// Who is to be shut out before anything else is done.
    pub fn take_fast(&mut self) -> Vec<Member> {
        mem::take(&mut self.out.fast)
    }

    /// The clock was set by so many microseconds: all ends move with it.
    pub fn shift(&mut self, step: i64) {
        let all: Vec<_> = self.book.all().cloned().collect();
        tracing::warn!(
            decisions = all.len(),
            "the clock was set by {step} µs: the ends of decisions move with it"
        );
        for mut decision in all {
            decision.until = Timestamp::from_micros(decision.until.micros().saturating_add(step));
            if decision.phase == Phase::Over {
                decision.since = Timestamp::from_micros(decision.since.micros().saturating_add(step));
            }
            let id = decision.id;
            self.book.put(decision);
            self.save(id);
        }
        self.out.changed = true;
    }

    /// What came of all that was asked since it was asked last.
    pub fn take(&mut self) -> Out {
        mem::take(&mut self.out)
    }

    /// Decides by other rules from now on; counts of rules that stay the same go on. What is in force stays so until its
    /// end. What was only observed or proposed under another mode is forgotten.
    pub fn settle(&mut self, settings: ResponseSettings, mut rules: Vec<Rule>) {
        for rule in &mut rules {
            let same = self.rules.iter_mut().find(|before| before.spec.name == rule.spec.name);
            if let Some(before) = same {
                rule.inherit(before);
            }
        }
        if settings.mode != self.settings.mode {
            let open = |decision: &&Decision| !matches!(decision.phase, Phase::Active | Phase::Over);
            let open: Vec<_> = self.book.all().filter(open).map(|decision| decision.id).collect();
            open.into_iter().for_each(|id| drop(self.drop_quietly(id)));
        }
        self.caps.set(settings.decisions_per_minute, settings.decisions_max);
        self.history.set_remember(settings.remember);
        self.settings = settings;
        self.rules = rules;
    }

    /// Who is never acted on, from now on; what is in force against them ends.
    pub fn spare(&mut self, spared: Arc<Spared>, now: Timestamp) {
        self.spared = spared;
        let hit = |decision: &&Decision| self.spared.why(decision.target).is_some();
        let hit: Vec<_> = self.book.all().filter(hit).map(|decision| decision.id).collect();
        for id in hit {
            let target = self.book.get(id).map(|decision| decision.target);
            let why = target.and_then(|target| self.spared.why(target).cloned());
            let why = why.map_or_else(String::new, |why| why.to_string());
            self.end(id, now, None, &format!("it is spared now: {why}"));
        }
    }

    /// Counts what happened before a restart, and decides nothing of it.
    pub fn warm(&mut self, event: &Event) {
        if let Some(source) = source_of(event) {
            for rule in &mut self.rules {
                rule.applies(source, event);
            }
        }
    }

    /// Decides about a hit.
    pub fn see(&mut self, event: &Event) {
        let Some(source) = source_of(event) else { return };
        let target = self.target(source, event);
        let inside_contact = guard::is_contact_inside(event);
        let (mut applying, mut held_back) = (Vec::new(), None);
        for rule in &mut self.rules {
            if !rule.applies(source, event) {
                continue;
            }
            if inside_contact && !rule.spec.even_contact {
                held_back = Some(SmolStr::from(rule.spec.name.as_str()));
                continue;
            }
            let known = self.book.automatic(target);
            let known = known.and_then(|decision| decision.parts.iter().find(|part| part.rule == rule.spec.name));
            let step = match known {
                Some(part) => part.step,
                None => self.history.step(target, &rule.spec.name, event.at).min(rule.steps()),
            };
            applying.push(Applying {
                rule: rule.spec.name.as_str().into(),
                step,
                ttl: rule.ttl(step),
                verbs: rule.verbs().to_vec(),
            });
        }
        match (strongest(&applying), held_back) {
            (Some(strongest), _) => self.apply(target, event, strongest, &applying),
            (None, Some(rule)) => self.refuse(target, event, rule, No::ContactInside),
            (None, None) => {}
        }
    }

    /// What of a source is acted on.
    fn target(&self, source: std::net::IpAddr, event: &Event) -> Target {
        let is_network = source.is_ipv6() && !guard::holds(event, Field::SourceZoneInside);
        match is_network {
            true => Target::around(source, self.settings.ipv6_prefix),
            false => Target::host(source),
        }
    }

    fn apply(&mut self, target: Target, event: &Event, strongest: &Applying, applying: &[Applying]) {
        let known = self.book.automatic(target).cloned();
        if let Some(known) = known {
            return self.strengthen(known, event, strongest, applying);
        }
        let asked = Asked {
            target,
            spared: &self.spared,
            block_private: self.settings.block_private,
        };
        if let Some(no) = asked.of_rule(event) {
            return self.refuse(target, event, strongest.rule.clone(), no);
        }
        if let Err(full) = self.caps.take(self.book.open(), event.at) {
            self.out.full = self.caps.tells(event.at).then_some(full);
            return self.refuse(target, event, strongest.rule.clone(), full.into());
        }
        let decision = self.made(target, event, strongest, applying);
        self.put(decision, What::of_mode(self.settings.mode), event.at);
    }

    fn made(&self, target: Target, event: &Event, strongest: &Applying, applying: &[Applying]) -> Decision {
        let ttl = applying.iter().map(|applying| applying.ttl).max().unwrap_or_default();
        let phase = phase_of(self.settings.mode);
        let lasts = match phase {
            Phase::Proposed => self.settings.propose_for,
            _ => ttl,
        };
        Decision {
            id: ids::fresh(event.at),
            target,
            inside: guard::holds(event, Field::SourceZoneInside),
            zone: event.text(Field::SourceZone).cloned().unwrap_or_default(),
            owner: event.text(Field::SourceOwner).cloned(),
            incident: event.uuid(Field::IncidentId),
            verbs: all_verbs(applying),
            phase,
            by: By::Rule(strongest.rule.clone()),
            parts: applying.iter().map(Applying::part).collect(),
            cause: Some(event.id),
            touched: event.at,
            since: event.at,
            until: after(event.at, lasts),
            ttl,
            gravity: gravity(event),
            reason: None,
            handles: BTreeMap::new(),
            applied: BTreeSet::new(),
            restored: false,
        }
    }

    /// A rule applies again, or another one does: the decision lasts longer, or more is done.
    fn strengthen(&mut self, mut known: Decision, event: &Event, strongest: &Applying, applying: &[Applying]) {
        let ttl = applying
            .iter()
            .map(|applying| applying.ttl)
            .max()
            .unwrap_or_default()
            .max(known.ttl);
        let mut verbs = all_verbs(applying);
        verbs.extend(&known.verbs);
        verbs.sort_unstable();
        verbs.dedup();
        let is_open = matches!(known.phase, Phase::Proposed | Phase::Rejected);
        let until = match is_open {
            true => known.until,
            false => known.until.max(after(event.at, ttl)),
        };
        // Each hit moves the end a little: it is moved, and told, when a tenth of the time is at stake.
        let moved = until.since(known.until) > ttl / 10;
        if !moved && verbs == known.verbs && ttl <= known.ttl {
            return;
        }
        for new in applying {
            if known.parts.iter().all(|part| part.rule != new.rule) {
                known.parts.push(new.part());
            }
        }
        if ttl > known.ttl || verbs != known.verbs {
            known.by = By::Rule(strongest.rule.clone());
        }
        known.gravity = known.gravity.max(gravity(event));
        (known.verbs, known.ttl, known.until) = (verbs, ttl, until);
        known.cause = Some(event.id);
        match known.phase {
            // It was said what would be done, and a person said no: neither is said again with each hit.
            Phase::Rejected | Phase::Observed => {
                let id = known.id;
                self.book.put(known);
                self.save(id);
            }
            _ => self.put(known, What::Extended, event.at),
        }
    }

    /// Takes a decision into the book, tells of it, and hands it to the fast lane if it is in force.
    fn put(&mut self, decision: Decision, what: What, now: Timestamp) {
        if decision.phase == Phase::Active {
            self.count(&decision, now);
            if decision.verbs.contains(&Verb::Block) {
                self.out.fast.push(decision.member(""));
            }
            self.out.changed = true;
        }
        let id = decision.id;
        self.book.put(decision.clone());
        self.save(id);
        self.out.told.push(Told::new(decision, what, now));
    }

    /// What is done is remembered, for the next step.
    fn count(&mut self, decision: &Decision, now: Timestamp) {
        for part in &decision.parts {
            let rows = self.history.act(decision.target, part, now);
            self.out.state.extend(rows);
        }
    }

    fn refuse(&mut self, target: Target, event: &Event, rule: SmolStr, no: No) {
        let key = (target, no.kind());
        let told = self.refused.get(&key);
        if told.is_some_and(|told| event.at.since(*told) < REFUSAL_REST) {
            return;
        }
        if self.refused.len() >= REFUSALS_MAX {
            self.refused.retain(|_, told| event.at.since(*told) < REFUSAL_REST);
        }
        if self.refused.len() >= REFUSALS_MAX {
            return;
        }
        self.refused.insert(key, event.at);
        let verbs = self.rules.iter().find(|known| known.spec.name == rule.as_str());
        let verbs = verbs.map_or_else(Vec::new, |rule| rule.verbs().to_vec());
        let never = Applying {
            rule,
            step: 1,
            ttl: Duration::ZERO,
            verbs,
        };
        let decision = self.made(target, event, &never, std::slice::from_ref(&never));
        let told = Told::new(decision, What::Refused, event.at);
        self.out.told.push(told.because(no.to_string()));
    }

    /// What is over by now ends.
    pub fn pass(&mut self, now: Timestamp) {
        for id in self.book.due(now) {
            match self.book.get(id).map(|decision| decision.phase) {
                Some(Phase::Active) => self.end(id, now, None, "its time is up"),
                Some(Phase::Proposed) => self.end(id, now, None, "nobody answered in time"),
                _ => drop(self.drop_quietly(id)),
            }
        }
        let rows = self.history.forget(now, FORGOTTEN_AT_ONCE);
        self.out.state.extend(rows);
    }

    fn end(&mut self, id: Uuid, now: Timestamp, by: Option<By>, why: &str) {
        let Some(mut decision) = self
            .book
            .get(id)
            .cloned()
            .filter(|decision| decision.phase != Phase::Over)
        else {
            return;
        };
        self.drop_quietly(id);
        if decision.phase == Phase::Active {
            self.out.changed = true;
            self.linger(decision.clone(), now);
        }
        if matches!(decision.phase, Phase::Active | Phase::Proposed) {
            decision.until = decision.until.min(now);
            let told = Told::new(decision, What::Ended, now);
            self.out.told.push(told.by(by).because(why.to_owned()));
        }
    }

    /// What is over stays known until it is undone wherever it is in force, so that the undoing can be told.
    fn linger(&mut self, mut decision: Decision, now: Timestamp) {
        let id = decision.id;
        (decision.phase, decision.since, decision.until) = (Phase::Over, now, decision.until.min(now));
        self.book.put(decision);
        self.save(id);
    }

    fn drop_quietly(&mut self, id: Uuid) -> Option<Decision> {
        let decision = self.book.remove(id)?;
        self.save(id);
        Some(decision)
    }

    fn save(&mut self, id: Uuid) {
        self.out.state.push(self.book.row(id));
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Whom it is about.
    pub target: Target,
    /// Whether it is inside.
    pub inside: bool,
    /// Its zone.
    pub zone: SmolStr,
    /// What is to be done; at least one.
    pub verbs: Vec<Verb>,
    /// For how long.
    pub ttl: Duration,
    /// Why; clean.
    pub reason: Option<String>,
    /// Who wishes it.
    pub by: By,
}

/// Why a person's wish is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing is done in this mode.
    #[error("mode is observe: nothing is done, by hand neither")]
    Observes,
    /// It is never done.
    #[error("nothing is ever done to {0}: {1}")]
    Never(Target, No),
    /// The bound of all decisions.
    #[error("{0}")]
    Full(Full),
    /// There is no such decision.
    #[error("there is no such decision")]
    Unknown,
    /// The decision waits for nobody.
    #[error("the decision is {}, and waits for nobody", .0.name())]
    NotOpen(Phase),
}

impl Engine {
    /// Does what a person wishes. Out: the decision's id.
    pub fn add(&mut self, wish: Wish, now: Timestamp) -> Result<Uuid, Denied> {
        if self.settings.mode == Mode::Observe {
            return Err(Denied::Observes);
        }
        self.may(wish.target)?;
        if self.book.open() >= self.settings.decisions_max {
            return Err(Denied::Full(Full::AtOnce(self.settings.decisions_max)));
        }
        let id = ids::fresh(now);
        let decision = Decision {
            id,
            target: wish.target,
            inside: wish.inside,
            zone: wish.zone,
            owner: None,
            incident: None,
            verbs: wish.verbs,
            phase: Phase::Active,
            by: wish.by,
            parts: Vec::new(),
            cause: None,
            touched: now,
            since: now,
            until: after(now, wish.ttl),
            ttl: wish.ttl,
            gravity: 100,
            reason: wish.reason,
            handles: BTreeMap::new(),
            applied: BTreeSet::new(),
            restored: false,
        };
        self.put(decision, What::Decided, now);
        Ok(id)
    }

    /// The kernel has acted by itself, and no hit tells of it: from now on it is a decision like others.
    pub fn adopt(
        &mut self,
        target: Target,
        (zone, inside): (SmolStr, bool),
        rule: &RuleSpec,
        ttl: Duration,
        now: Timestamp,
    ) {
        if self.settings.mode != Mode::Enforce || self.may(target).is_err() || self.book.of(target).next().is_some() {
            return;
        }
        let rule_name = SmolStr::from(rule.name.as_str());
        let decision = Decision {
            id: ids::fresh(now),
            target,
            inside,
            zone,
            owner: None,
            incident: None,
            verbs: rule.verbs.clone(),
            phase: Phase::Active,
            by: By::Rule(rule_name.clone()),
            parts: vec![Part {
                rule: rule_name,
                step: 1,
            }],
            cause: None,
            touched: now,
            since: now,
            until: after(now, ttl),
            ttl,
            gravity: 25,
            reason: Some("the kernel had shut it out, and no hit tells why".to_owned()),
            handles: BTreeMap::new(),
            applied: BTreeSet::new(),
            restored: true,
        };
        self.put(decision, What::Decided, now);
    }

    /// A person says yes to a proposal.
    pub fn approve(&mut self, id: Uuid, by: &By, now: Timestamp) -> Result<(), Denied> {
        let mut decision = self.open(id)?;
        if self.settings.mode == Mode::Observe {
            return Err(Denied::Observes);
        }
        self.may(decision.target)?;
        decision.phase = Phase::Active;
        (decision.since, decision.until) = (now, after(now, decision.ttl));
        self.put(decision, What::Approved, now);
        self.sign(by);
        Ok(())
    }

    /// A person says no to a proposal: the same is not proposed again while the source would have been acted on.
    pub fn reject(&mut self, id: Uuid, by: &By, reason: Option<String>, now: Timestamp) -> Result<(), Denied> {
        let mut decision = self.open(id)?;
        decision.phase = Phase::Rejected;
        decision.until = decision.until.max(after(now, decision.ttl));
        self.put(decision, What::Rejected, now);
        self.sign(by);
        if let (Some(told), Some(reason)) = (self.out.told.last_mut(), reason) {
            told.reason = Some(reason);
        }
        Ok(())
    }

    /// A person ends a decision before its time.
    pub fn remove(&mut self, id: Uuid, by: By, reason: Option<String>, now: Timestamp) -> Result<(), Denied> {
        self.book.get(id).ok_or(Denied::Unknown)?;
        let why = reason.unwrap_or_else(|| format!("lifted by {}", by.shown()));
        self.end(id, now, Some(by), &why);
        Ok(())
    }

    /// A decision is in force at a set sink, which calls it so. Out: the decision, if it is known.
    pub fn applied(&mut self, id: Uuid, sink: &str, handle: Option<Arc<str>>) -> Option<Decision> {
        let mut decision = self.book.get(id)?.clone();
        let is_new = decision.applied.insert(sink.to_owned());
        let before = match handle {
            Some(handle) => decision.handles.insert(sink.to_owned(), handle.clone()) != Some(handle),
            None => false,
        };
        if is_new || before {
            self.book.put(decision.clone());
            self.save(id);
        }
        Some(decision)
    }

    /// A decision is undone at a set sink. Out: the decision it was, if it is known.
    pub fn lifted(&mut self, target: Target, id: Option<Uuid>, sink: &str) -> Option<Decision> {
        let known = id.and_then(|id| self.book.get(id));
        let over = || self.book.of(target).find(|decision| decision.applied.contains(sink));
        let mut decision = known.or_else(over)?.clone();
        let id = decision.id;
        decision.applied.remove(sink);
        decision.handles.remove(sink);
        match decision.phase == Phase::Over && decision.applied.is_empty() {
            true => drop(self.drop_quietly(id)),
            false => {
                self.book.put(decision.clone());
                self.save(id);
            }
        }
        Some(decision)
    }

    /// Those that are over for a while, and in force at a set sink as far as is known, by what stood there at `compared`:
    /// as it equals what is wanted, they are undone, though nobody saw it happen.
    pub fn undone(&self, sink: &str, compared: Timestamp) -> Vec<(Target, Uuid)> {
        let is_undone = |decision: &&Decision| {
            let is_over = decision.phase == Phase::Over && after(decision.since, UNDONE_AFTER) < compared;
            is_over && decision.applied.contains(sink)
        };
        let undone = self.book.all().filter(is_undone);
        undone.map(|decision| (decision.target, decision.id)).collect()
    }

    /// Says something of an act.
    pub fn say(&mut self, event: Event) {
        self.out.acts.push(event);
    }

    /// Who said so, of what was told last.
    fn sign(&mut self, by: &By) {
        if let Some(told) = self.out.told.last_mut() {
            told.by = Some(by.clone());
        }
    }

    fn open(&self, id: Uuid) -> Result<Decision, Denied> {
        let decision = self.book.get(id).ok_or(Denied::Unknown)?;
        match decision.phase {
            Phase::Proposed => Ok(decision.clone()),
            phase => Err(Denied::NotOpen(phase)),
        }
    }

    fn may(&self, target: Target) -> Result<(), Denied> {
        let asked = Asked {
            target,
            spared: &self.spared,
            block_private: true,
        };
        asked.ever().map_or(Ok(()), |no| Err(Denied::Never(target, no)))
    }
}

impl Applying {
    fn part(&self) -> Part {
        Part {
            rule: self.rule.clone(),
            step: self.step,
        }
    }
}

/// The one that lasts longest; of equal ones the one that does most, then the first by name.
fn strongest(applying: &[Applying]) -> Option<&Applying> {
    let rank = |applying: &&Applying| {
        (
            applying.ttl,
            applying.verbs.len(),
            std::cmp::Reverse(applying.rule.clone()),
        )
    };
    applying.iter().max_by_key(rank)
}

fn all_verbs(applying: &[Applying]) -> Vec<Verb> {
    let mut verbs: Vec<_> = applying
        .iter()
        .flat_map(|applying| applying.verbs.iter().copied())
        .collect();
    verbs.sort_unstable();
    verbs.dedup();
    verbs
}

const fn phase_of(mode: Mode) -> Phase {
    match mode {
        Mode::Observe => Phase::Observed,
        Mode::Propose => Phase::Proposed,
        Mode::Enforce => Phase::Active,
    }
}

/// The source of a hit that something may be decided about.
fn source_of(event: &Event) -> Option<std::net::IpAddr> {
    let is_hit = event.action.is_touch() && event.action != Action::SessionEnd;
    let is_benign = event.get(Field::BenignName).is_some();
    match is_hit && !is_benign && guard::is_proved(event) {
        true => event.ip(Field::SourceIp),
        false => None,
    }
}

fn gravity(event: &Event) -> u8 {
    let risk = match event.get(Field::EventRiskScore) {
        Some(trapline_schemas::Value::Float(risk)) => risk.clamp(0.0, 100.0),
        _ => 0.0,
    };
    // Within 0..=100 by the line above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let gravity = risk.round() as u8;
    gravity
}

/// So much later; as late as times go.
pub(super) fn after(at: Timestamp, span: Duration) -> Timestamp {
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_add(micros))
}
