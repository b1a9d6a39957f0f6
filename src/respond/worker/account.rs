//! What has been told of each member, so that only changes are. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trapline_sink::set::{Member, Standing, Target, Wanted};
use trapline_sink::{Fault, FaultKind};
use uuid::Uuid;

use super::Report;

/// A member that comes to stand within this time has not failed.
pub(super) const FAILED_AFTER: Duration = Duration::from_secs(30);

/// What was last told of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Stands(Option<Arc<str>>),
    Failed,
    Nowhere,
    Refused,
}

/// The account.
#[derive(Debug, Default)]
pub(super) struct Account {
    told: HashMap<Target, (Option<Uuid>, State)>,
    /// Members that are wanted and do not stand, with the decision and since when.
    open: HashMap<Target, (Uuid, Instant)>,
    /// Entries that are to go and do not, since when.
    stuck: HashMap<Target, Instant>,
    reports: Vec<Report>,
}

impl Account {
    /// What is to be told, in order.
    pub(super) fn take(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    pub(super) fn say(&mut self, report: Report) {
        self.reports.push(report);
    }

    /// A member is wanted and does not stand.
    pub(super) fn is_open(&mut self, member: &Member, now: Instant) {
        let open = self.open.entry(member.target).or_insert((member.decision, now));
        if open.0 != member.decision {
            *open = (member.decision, now);
        }
    }

    /// It stands; whether it `stood` when the destination was first listed.
    pub(super) fn stands(
        &mut self,
        target: Target,
        decision: Uuid,
        handle: Option<Arc<str>>,
        stood: bool,
        now: Instant,
    ) {
        let open = self.open.remove(&target);
        let state = State::Stands(handle.clone());
        if !self.is_news(target, Some(decision), &state) {
            return;
        }
        let took = open.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since));
        self.reports.push(match stood {
            true => Report::Found {
                target,
                decision,
                handle,
            },
            false => Report::Applied {
                target,
                decision,
                handle,
                took,
            },
        });
    }

    fn is_news(&mut self, target: Target, decision: Option<Uuid>, state: &State) -> bool {
        let now = (decision, state.clone());
        self.told.insert(target, now.clone()) != Some(now)
    }

    /// It stands no more.
    pub(super) fn lifted(&mut self, entry: &Standing) {
        self.stuck.remove(&entry.target);
        self.open.remove(&entry.target);
        let told = self.told.remove(&entry.target).and_then(|(decision, _)| decision);
        let decision = told.or(entry.decision);
        self.reports.push(Report::Lifted {
            target: entry.target,
            decision,
        });
    }

    /// There is nothing there.
    pub(super) fn nowhere(&mut self, member: &Member, why: String) {
        let (target, decision) = (member.target, member.decision);
        self.open.remove(&target);
        if self.is_news(target, Some(decision), &State::Nowhere) {
            self.reports.push(Report::Nowhere { target, decision, why });
        }
    }

    /// Refused for good.
    pub(super) fn refused(&mut self, member: &Member, why: String) {
        let (target, decision) = (member.target, member.decision);
        self.open.remove(&target);
        if self.is_news(target, Some(decision), &State::Refused) {
            self.reports.push(Report::Refused { target, decision, why });
        }
    }

    /// An entry that is to go does not.
    pub(super) fn is_stuck(&mut self, target: Target, now: Instant) {
        self.stuck.entry(target).or_insert(now);
    }

    /// While there is a fault: tells of what has waited for too long; of all, where a person must act.
    pub(super) fn fails(&mut self, fault: &Fault, now: Instant) {
        use FaultKind::{Auth, Broken, Config, Tls};
        let at_once = matches!(fault.kind, Auth | Config | Tls | Broken);
        let is_late = |since: &Instant| at_once || now >= *since + FAILED_AFTER;
        let open = self.open.iter().filter(|(_, (_, since))| is_late(since));
        let stuck = self.stuck.iter().filter(|(_, since)| is_late(since));
        let late: Vec<_> = open
            .map(|(target, (decision, _))| (*target, Some(*decision)))
            .chain(stuck.map(|(target, _)| (*target, self.told.get(target).and_then(|(decision, _)| *decision))))
            .collect();
        for (target, decision) in late {
            if self.is_news(target, decision, &State::Failed) {
                let why = fault.message.clone();
                self.reports.push(Report::Failed { target, decision, why });
            }
        }
    }

    /// When somebody is to be told next, if the fault lasts.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_told = |target: &Target| matches!(self.told.get(target), Some((_, State::Failed)));
        let open = self
            .open
            .iter()
            .filter(|(target, _)| !is_told(target))
            .map(|(_, (_, since))| *since);
        let stuck = self
            .stuck
            .iter()
            .filter(|(target, _)| !is_told(target))
            .map(|(_, since)| *since);
        open.chain(stuck).min().map(|since| since + FAILED_AFTER)
    }

    /// Forgets what is neither wanted nor stands.
    pub(super) fn keep(&mut self, wanted: &Wanted, stands: impl Fn(&Target) -> bool) {
        self.told
            .retain(|target, _| wanted.contains_key(target) || stands(target));
        self.open.retain(|target, _| wanted.contains_key(target));
        self.stuck.retain(|target, _| stands(target));
    }
}
