//! Cases in which the destination, or the way to it, is at fault.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::Trouble;
use super::run::{HOUR, Run, Verdict, after, host, puts, targets};
use crate::set::{Change, Put, compare};
use crate::stream::{Fault, FaultKind};

/// What a sink may call a destination that is not there.
const AWAY: &[FaultKind] = &[FaultKind::Unreachable, FaultKind::Server, FaultKind::Local];
/// What it may call refused credentials: DNS servers say so of an unknown key as well.
const REFUSED: &[FaultKind] = &[FaultKind::Auth, FaultKind::Config];
/// Most places at which a batch is broken off.
const CUTS_MAX: usize = 40;

impl Run {
    pub(super) async fn answer_lost(&mut self) -> Verdict {
        let mut members = self.members(1..=4);
        self.stand(members[..2].to_vec()).await?;
        self.rig.begin(Trouble::LosesAnswers).await;
        self.is_not_refused(&puts(&members[2..])).await?;
        self.rig.heal().await;
        if self.rig.held().await.len() < members.len() {
            return Err("the rig has lost the change, not its answer; or the sink made none".to_owned());
        }
        for member in &mut members[2..] {
            member.until = after(member.since, 2 * HOUR);
        }
        self.rounds.want(members.clone());
        self.does(&puts(&members[2..])).await?;
        self.holds_wanted().await?;
        self.is_quiet().await?;
        self.take_loses_its_answer().await
    }

    async fn take_loses_its_answer(&mut self) -> Verdict {
        let takes = self.listed(&[host(1), host(2)].into()).await?;
        self.rig.begin(Trouble::LosesAnswers).await;
        self.is_not_refused(&takes).await?;
        self.rig.heal().await;
        self.does(&takes).await?;
        self.holds(&[host(3), host(4)].into()).await
    }

    /// The answer was lost: the sink may find out that it was done, or says that it is to be tried again.
    async fn is_not_refused(&mut self, changes: &[Change]) -> Verdict {
        for batch in changes.chunks(self.rounds.sink().limits().changes.max(1)) {
            let applied = self.rounds.apply(batch).await?;
            let is_open = |put: &Put| matches!(put, Put::Done { .. } | Put::Retry);
            if !applied.outcomes.iter().all(is_open) {
                return Err(format!("an answer was lost: {applied:?}"));
            }
        }
        Ok(())
    }

    pub(super) async fn down_for_a_day(&mut self) -> Verdict {
        let mut members = self.members(1..=6);
        for member in &mut members[3..] {
            member.until = after(member.since, 48 * HOUR);
        }
        self.stand(members.clone()).await?;
        self.rig.begin(Trouble::Down).await;
        self.round_fails(AWAY).await?;
        let late = self.members([7]);
        self.fails(&puts(&late), AWAY).await?;
        self.pass(24 * HOUR);
        self.rig.heal().await;
        self.holds(&targets(&members)).await?;
        // One round: what is over goes, what came meanwhile comes, what was tried in vain stays away.
        let new = self.members([8, 9]);
        self.stand(members.into_iter().chain(late).chain(new).collect()).await
    }

    pub(super) async fn expired_while_down(&mut self) -> Verdict {
        let members = self.members(1..=4);
        self.stand(members.clone()).await?;
        let takes = self.listed(&targets(&members)).await?;
        self.rig.begin(Trouble::Down).await;
        self.pass(2 * HOUR);
        self.round_fails(AWAY).await?;
        self.fails(&takes, AWAY).await?;
        self.rig.heal().await;
        self.holds(&targets(&members)).await?;
        self.clean_round().await?;
        self.holds(&[].into()).await?;
        self.is_quiet().await
    }

    /// A round meets a fault of one of these kinds, and brings nothing about.
    async fn round_fails(&mut self, kinds: &[FaultKind]) -> Verdict {
        let round = self.rounds.round(self.now()).await?;
        match &round.fault {
            Some(fault) => is_one_of(fault, kinds),
            None => Err(format!("expected a fault of {kinds:?}: {round:?}")),
        }
    }

    /// No change is made or refused; all are to be tried again, for a reason of one of these kinds.
    async fn fails(&mut self, changes: &[Change], kinds: &[FaultKind]) -> Verdict {
        for batch in changes.chunks(self.rounds.sink().limits().changes.max(1)) {
            let applied = self.rounds.apply(batch).await?;
            match &applied.fault {
                Some(fault) if applied.outcomes.iter().all(|put| *put == Put::Retry) => is_one_of(fault, kinds)?,
                _ => return Err(format!("expected a fault of {kinds:?} and all again: {applied:?}")),
            }
        }
        Ok(())
    }

    pub(super) async fn unauthorized(&mut self) -> Verdict {
        let members = self.members(1..=3);
        self.stand(members[..2].to_vec()).await?;
        let mut changes = self.listed(&[host(1)].into()).await?;
        changes.extend(puts(&members[2..]));
        self.rig.begin(Trouble::Unauthorized).await;
        self.rounds.want(members[1..].to_vec());
        self.round_fails(REFUSED).await?;
        self.fails(&changes, REFUSED).await?;
        match self.rounds.sink().check().await {
            Err(fault) => is_one_of(&fault, REFUSED)?,
            Ok(word) => return Err(format!("the credentials are refused, and `check` says `{word}`")),
        }
        self.rig.heal().await;
        self.holds(&targets(&members[..2])).await?;
        self.mends().await
    }

    pub(super) async fn half_open(&mut self) -> Verdict {
        let members = self.members(1..=3);
        self.stand(members[..2].to_vec()).await?;
        self.rig.begin(Trouble::HalfOpen).await;
        self.rounds.want(members[1..].to_vec());
        self.round_fails(AWAY).await?;
        self.fails(&puts(&members[2..]), AWAY).await?;
        self.rig.heal().await;
        self.mends().await
    }

    pub(super) async fn cancelled(&mut self) -> Verdict {
        let (one, other) = (self.members(1..=5), self.members(4..=8));
        self.stand(one.clone()).await?;
        for cut in 1..=CUTS_MAX {
            let next = if cut % 2 == 1 { &other } else { &one };
            self.rounds.want(next.clone());
            let is_done = self.is_cut_at(cut).await?;
            self.mends().await?;
            if is_done {
                break;
            }
        }
        self.stand(Vec::new()).await
    }

    /// Begins to apply what is due, and breaks off where it is asked to go on for so many times; whether it came to its
    /// end before.
    async fn is_cut_at(&mut self, polls: usize) -> Result<bool, String> {
        let sink = self.rounds.sink();
        let stands = self.rounds.stands().await?.map_err(|fault| format!("{fault:?}"))?;
        let mut changes = compare(self.rounds.wanted(), &stands, self.now(), sink.limits());
        changes.truncate(sink.limits().changes);
        Ok(cut_off(sink.apply(&changes), polls).await)
    }
}

/// Whether `call` is done before it was asked so many times; then it is dropped.
async fn cut_off(call: impl Future, polls: usize) -> bool {
    let mut call = pin!(call);
    let mut left = polls;
    let asked = poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    });
    // A call that never asks to be gone on with is found by the rounds after it.
    tokio::time::timeout(Duration::from_secs(10), asked)
        .await
        .unwrap_or(false)
}

fn is_one_of(fault: &Fault, kinds: &[FaultKind]) -> Verdict {
    match kinds.contains(&fault.kind) && !fault.message.is_empty() {
        true => Ok(()),
        false => Err(format!("expected a fault of {kinds:?}, found {fault:?}")),
    }
}
