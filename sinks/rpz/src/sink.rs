//! The sink that updates a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;
use trapline_sink::set::{Applied, Change, Put, SetLimits, SetSink, Spared, Standing};
use trapline_sink::{Fault, FaultKind, Measure};

use crate::answer::{Refusal, fault};
use crate::ledger::{Ledger, Orphan};
use crate::link::{Link, Primary};
use crate::plan::{Plan, clearing, standings};
use crate::probe::Probe;
use crate::rules::Rules;
use crate::trigger::Trigger;
use crate::update::{self, Group};

/// Changes in a batch.
pub const CHANGES: usize = 400;
/// Nothing ends by itself, so no end is ever off.
pub const SLACK: Duration = Duration::from_secs(1);

/// Policies on a server, by updates.
#[derive(Debug)]
pub struct Server {
    pub(crate) primary: Primary,
    pub(crate) rules: Rules,
    pub(crate) members: usize,
    pub(crate) observes: bool,
    pub(crate) probe: Option<Probe>,
    state: Mutex<State>,
    figures: Figures,
    /// What the resolver was last seen to lack.
    lack: StdMutex<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whose the triggers are; `None` if an update may have been made or not.
    ledger: Option<Ledger>,
    /// The last one that was put, what its mark says, and when it was first looked for.
    sought: Option<Sought>,
}

#[derive(Debug, Clone)]
struct Sought {
    trigger: Trigger,
    text: String,
    since: Instant,
}

#[derive(Debug, Default)]
struct Figures {
    standing: AtomicU64,
    serial: AtomicU64,
    cleared: AtomicU64,
    updates: AtomicU64,
}

impl Server {
    /// A sink of this server.
    pub fn new(primary: Primary, rules: Rules, members: usize, observes: bool, probe: Option<Probe>) -> Self {
        Self {
            primary,
            rules,
            members,
            observes,
            probe,
            state: Mutex::default(),
            figures: Figures::default(),
            lack: StdMutex::default(),
        }
    }

    async fn connect(&self) -> Result<Link<'_>, Fault> {
        let link = self.primary.connect().await?;
        self.rules.reached(link.peer());
        Ok(link)
    }

    /// Walks the zone and clears away what of our own has no place in it.
    async fn walk(&self, link: &mut Link<'_>, state: &mut State) -> Result<Vec<Standing>, Refusal> {
        let (ledger, serial) = link.walk(&self.rules.observer, state.ledger.as_ref()).await?;
        self.figures.serial.store(serial.into(), Ordering::Relaxed);
        let ledger = state.ledger.insert(ledger);
        let (standings, strangers) = standings(ledger, &self.rules);
        let mut orphans = std::mem::take(&mut ledger.orphans);
        orphans.extend(strangers);
        if !self.observes
            && let Err(refusal) = self.clear(link, &orphans).await
        {
            state.ledger = None;
            return Err(refusal);
        }
        self.figures.standing.store(standings.len() as u64, Ordering::Relaxed);
        Ok(standings)
    }

    async fn clear(&self, link: &mut Link<'_>, orphans: &[Orphan]) -> Result<(), Refusal> {
        let groups: Vec<_> = orphans.iter().map(|orphan| clearing(orphan, &self.rules)).collect();
        let mut rest = groups.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(update::fitting(rest));
            link.update(now).await?;
            self.figures.cleared.fetch_add(now.len() as u64, Ordering::Relaxed);
            rest = later;
        }
        Ok(())
    }

    /// Sends what `plans` need, message by message; `made` is how far it came. Until all answers are there, nobody knows
    /// what stands: broken off or failed, it leaves no ledger.
    async fn send(&self, plans: &[Plan], state: &mut State, made: &mut usize) -> Result<(), Refusal> {
        let Some(mut ledger) = state.ledger.take() else {
            return Ok(());
        };
        let mut link = self.connect().await?;
        while let Some(rest) = plans.get(*made..).filter(|rest| !rest.is_empty()) {
            let groups: Vec<Group> = rest.iter().map(|plan| plan.group.clone()).collect();
            let count = update::fitting(&groups);
            let groups: Vec<_> = groups
                .into_iter()
                .take(count)
                .filter(|group| !group.is_empty())
                .collect();
            if !groups.is_empty() {
                link.update(&groups).await?;
                self.figures.updates.fetch_add(1, Ordering::Relaxed);
            }
            for plan in rest.iter().take(count) {
                ledger.note(&plan.after);
                state.seek(plan);
            }
            *made += count;
        }
        state.ledger = Some(ledger);
        Ok(())
    }

    async fn plans(&self, changes: &[Change], state: &mut State) -> Result<Vec<Plan>, Refusal> {
        if state.ledger.is_none() {
            let mut link = self.connect().await?;
            self.walk(&mut link, state).await?;
        }
        let none = Ledger::default();
        let ledger = state.ledger.as_ref().unwrap_or(&none);
        Ok(changes
            .iter()
            .map(|change| Plan::of(change, ledger, &self.rules))
            .collect())
    }

    fn fault(&self, refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Fault(fault) => fault,
            Refusal::Changed => fault(
                FaultKind::Busy,
                &self.primary.place,
                "has a zone that somebody else changed meanwhile: it is read again",
            ),
        }
    }

    /// Asks the resolver for what was put last.
    async fn look(&self, probe: &Probe, sought: &Sought) -> Result<bool, Fault> {
        // As a resolver has it: the name without the zone's.
        let Ok(name) = format!("{}.", self.rules.observer.mark_of(&sought.trigger)).parse() else {
            return Ok(true);
        };
        let (is_seen, peer) = probe.sees(&name, &sought.text).await?;
        self.rules.reached(peer);
        Ok(is_seen)
    }

    fn lacks(&self, what: Option<String>) {
        *self.lack.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn not_in_force(&self, probe: &Probe, since: Instant) -> String {
        format!(
            "what was put {} s ago is not in force at resolver {} yet: look at `min-update-interval` (BIND: 60 s unless set), \
             `qname-wait-recurse no`, notify and transfer of `{}`, and its log for `rpz`",
            since.elapsed().as_secs(),
            probe.dialer.address(),
            self.rules.zone
        )
    }
}

impl State {
    /// After a plan was made: what the resolver is asked for next.
    fn seek(&mut self, plan: &Plan) {
        let is_changed = |sought: &Sought| plan.after.iter().any(|(trigger, _)| *trigger == sought.trigger);
        self.sought = self.sought.take().filter(|sought| !is_changed(sought));
        if let Some((trigger, text)) = plan.put.clone() {
            let since = Instant::now();
            self.sought = Some(Sought { trigger, text, since });
        }
    }
}

#[async_trait]
impl SetSink for Server {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: CHANGES,
            members: self.members,
            slack: SLACK,
        }
    }

    fn spare(&self, spared: Arc<Spared>) {
        self.rules.spare(spared);
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        let mut state = self.state.lock().await;
        let mut link = self.connect().await?;
        self.walk(&mut link, &mut state)
            .await
            .map_err(|refusal| self.fault(refusal))
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        let mut state = self.state.lock().await;
        let plans = match self.plans(changes, &mut state).await {
            Ok(plans) => plans,
            Err(refusal) => return Applied::retry(changes.len(), self.fault(refusal)),
        };
        let mut made = 0;
        let sent = match plans.iter().all(|plan| plan.group.is_empty()) {
            true => Ok(()),
            false => self.send(&plans, &mut state, &mut made).await,
        };
        let standing = state.ledger.as_ref().map_or(0, |ledger| ledger.own.len());
        self.figures.standing.store(standing as u64, Ordering::Relaxed);
        let outcome = |(at, plan): (usize, &Plan)| match at < made || plan.group.is_empty() {
            true => plan.outcome.clone(),
            false => Put::Retry,
        };
        Applied {
            outcomes: plans.iter().enumerate().map(outcome).collect(),
            retry_after: None,
            fault: sent.err().map(|refusal| self.fault(refusal)),
        }
    }

    async fn settled(&self) -> Result<(), Fault> {
        let sought = self.state.lock().await.sought.clone();
        let (Some(probe), Some(sought)) = (&self.probe, sought) else {
            self.lacks(None);
            return Ok(());
        };
        if self.look(probe, &sought).await? {
            let mut state = self.state.lock().await;
            state.sought = state.sought.take().filter(|now| now.text != sought.text);
            self.lacks(None);
            return Ok(());
        }
        let message = self.not_in_force(probe, sought.since);
        self.lacks(Some(message.clone()));
        match sought.since.elapsed() < probe.late {
            true => Ok(()),
            false => Err(Fault {
                kind: FaultKind::Config,
                message,
            }),
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        let told = async {
            let mut link = self.connect().await?;
            let serial = link.serial().await?;
            let (ledger, _) = link.walk(&self.rules.observer, None).await?;
            // Takes what is not there: changes nothing, and needs the leave that updates need.
            let nobody = self.rules.zone.name(&self.rules.observer.nobody());
            let groups: Vec<_> = nobody
                .map(|name| Group::default().take_text(&name))
                .into_iter()
                .collect();
            if !self.observes && !groups.is_empty() {
                link.update(&groups).await?;
            }
            Ok((serial, ledger.own.len()))
        };
        let (serial, own) = told.await.map_err(|refusal: Refusal| self.fault(refusal))?;
        Ok(format!(
            "zone `{}` of serial {serial}, {own} entries of ours",
            self.rules.zone
        ))
    }

    fn notes(&self) -> Vec<String> {
        let lack = self.lack.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lack.into_iter().chain(notes(&self.rules)).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed) as f64;
        let Figures {
            standing,
            serial,
            cleared,
            updates,
        } = &self.figures;
        vec![
            Measure::gauge("entries", "Entries of this observer in the zone.", read(standing)),
            Measure::gauge("zone_serial", "Serial of the zone when it was last read.", read(serial)),
            Measure::counter(
                "cleared_total",
                "Marks and triggers without the other that were cleared away.",
                read(cleared),
            ),
            Measure::counter(
                "updates_total",
                "Update messages that the server has made.",
                read(updates),
            ),
            too_long(&self.rules),
        ]
    }

    fn destination(&self) -> Option<String> {
        Some(format!("`{}` on {}", self.rules.zone, self.primary.place.server))
    }
}

/// What an operator should know of these rules.
pub fn notes(rules: &Rules) -> Vec<String> {
    let passes = rules.policy == crate::policy::Policy::Passthru;
    let passes = passes.then(|| "policy `passthru`: resolvers only log, nobody is cut off".to_owned());
    let long = rules.too_long();
    let long = (long > 0).then(|| format!("{long} times a name did not fit into 255 octets with the zone's"));
    passes.into_iter().chain(long).collect()
}

/// Members without a name.
pub fn too_long(rules: &Rules) -> Measure {
    let help = "Members that were refused because their names would be too long.";
    Measure::counter("name_too_long_total", help, rules.too_long() as f64)
}
