//! Cases in which nobody is at fault: members come, stay and go.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::run::{HOUR, Run, Verdict, after, host, host_v6, puts, targets};
use super::{MANY, ROOM};
use crate::set::{Change, Member, Spared, Target};

impl Run {
    pub(super) async fn well(&mut self) -> Verdict {
        let sink = self.rounds.sink();
        if sink.limits().changes == 0 {
            return Err("limits say that a batch holds no change at all".to_owned());
        }
        let found = sink.check().await;
        found.map_err(|fault| format!("a well destination, and `check` says {fault:?}"))?;
        let members = self.members(1..=8);
        self.stand(members.clone()).await?;
        self.lists_decisions().await?;
        let next = self.members(9..=12);
        self.stand(members.into_iter().skip(4).chain(next).collect()).await?;
        self.stand(Vec::new()).await
    }

    /// Where a mark has room for the decision it is the member's.
    async fn lists_decisions(&mut self) -> Verdict {
        let stands = self.rounds.stands().await?.map_err(|fault| format!("{fault:?}"))?;
        let wanted = self.rounds.wanted();
        let is_wrong = |entry: &&crate::set::Standing| {
            let member = wanted.get(&entry.target);
            entry.decision.is_some() && entry.decision != member.map(|member| member.decision)
        };
        match stands.iter().find(is_wrong) {
            Some(entry) => Err(format!("{} is listed with another decision", entry.target)),
            None => Ok(()),
        }
    }

    pub(super) async fn lone(&mut self) -> Verdict {
        let lone = self.members([1]);
        self.stand(lone).await?;
        self.stand(Vec::new()).await
    }

    pub(super) async fn v6(&mut self) -> Verdict {
        let mut members: Vec<_> = (1..=3).map(|n| self.member(host_v6(n), HOUR)).collect();
        members.extend(self.members([1, 2]));
        self.stand(members.clone()).await?;
        self.stand(members.split_off(1)).await
    }

    pub(super) async fn network(&mut self) -> Verdict {
        let mut texts = vec!["198.51.100.0/24", "192.0.2.64/28"];
        if self.traits.has_v6 {
            texts.extend(["2001:db8:7::/48", "2001:db8:8:1::/64"]);
        }
        let mut members = self.of(&texts)?;
        members.extend(self.members([1]));
        self.stand(members.clone()).await?;
        self.stand(members.split_off(1)).await
    }

    /// An address in a network and a network in a network: each is an entry of its own, and goes alone.
    pub(super) async fn overlap(&mut self) -> Verdict {
        let members = self.of(&["198.51.100.7", "198.51.100.0/28", "198.51.100.0/24"])?;
        self.stand(members.clone()).await?;
        for gone in 0..members.len() {
            let left = members.iter().enumerate().filter(|(at, _)| *at != gone);
            self.stand(left.map(|(_, member)| member.clone()).collect()).await?;
            self.stand(members.clone()).await?;
        }
        Ok(())
    }

    fn of(&self, texts: &[&str]) -> Result<Vec<Member>, String> {
        let target = |text: &&str| text.parse::<Target>();
        let members = texts.iter().map(|text| Ok(self.member(target(text)?, HOUR)));
        members.collect()
    }

    pub(super) async fn extend(&mut self) -> Verdict {
        let mut members = self.members(1..=3);
        self.stand(members.clone()).await?;
        for (member, ends_in) in members.iter_mut().zip([2 * HOUR, HOUR / 2]) {
            member.until = after(member.since, ends_in);
        }
        self.rounds.want(members.clone());
        self.does(&puts(&members[..2])).await?;
        self.holds_wanted().await?;
        self.is_quiet().await?;
        // The same by comparing.
        members[2].until = after(members[2].since, 3 * HOUR);
        self.stand(members).await
    }

    pub(super) async fn take_gone(&mut self) -> Verdict {
        let members = self.members(1..=4);
        self.stand(members.clone()).await?;
        let listed = self.listed(&targets(&members[..2])).await?;
        self.rig.delete(members[0].target).await;
        self.does(&listed).await?;
        self.does(&listed[..1]).await?;
        self.rounds.want(members[2..].to_vec());
        self.holds_wanted().await?;
        self.is_quiet().await
    }

    /// To take these away as they are listed.
    pub(super) async fn listed(&mut self, targets: &BTreeSet<Target>) -> Result<Vec<Change>, String> {
        let stands = self.rounds.stands().await?.map_err(|fault| format!("{fault:?}"))?;
        let mut found: Vec<_> = stands.into_iter().filter(|e| targets.contains(&e.target)).collect();
        if found.len() != targets.len() {
            return Err(format!("of {targets:?} only {} are listed", found.len()));
        }
        found.sort_by_key(|entry| entry.target);
        Ok(found.into_iter().map(Change::Take).collect())
    }

    pub(super) async fn put_standing(&mut self) -> Verdict {
        let members = self.members(1..=4);
        self.stand(members).await?;
        let standing: Vec<_> = self.rounds.wanted().values().cloned().collect();
        self.does(&puts(&standing)).await?;
        self.holds_wanted().await?;
        self.is_quiet().await
    }

    pub(super) async fn ends_itself(&mut self) -> Verdict {
        let slack = self.rounds.sink().limits().slack;
        let brief = self.member(host(1), slack + Duration::from_secs(3));
        let long = self.member(host(2), HOUR);
        self.rounds.want([brief.clone(), long.clone()]);
        self.clean_round().await?;
        let stands = |held: &[super::Held], target| held.iter().any(|entry| entry.target == target);
        self.comes("a member's end", |held| !stands(held, brief.target)).await?;
        if after(self.rig.now(), slack) < brief.until {
            return Err(format!("{} ended before its time", brief.target));
        }
        self.holds(&targets(&[long])).await?;
        self.pass(slack + Duration::from_secs(3));
        self.is_quiet().await
    }

    pub(super) async fn many(&mut self) -> Verdict {
        let limits = self.rounds.sink().limits();
        if limits.members < MANY {
            return Err(format!("there is room for {} entries: declare it", limits.members));
        }
        // The range for benchmarks (RFC 2544).
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        let hosts = (first..).take(MANY).map(|address| Ipv4Addr::from(address).into());
        let members: Vec<_> = hosts.map(|target| self.member(target, HOUR)).collect();
        let batches = MANY.div_ceil(limits.changes.max(1));
        self.rounds.want(members);
        for listed in [0, MANY] {
            let round = self.clean_round().await?;
            if round.listed != listed || round.batches != batches {
                return Err(format!("{listed} stand, {batches} batches are due: {round:?}"));
            }
            self.holds_wanted().await?;
            self.is_quiet().await?;
            self.rounds.want([]);
        }
        Ok(())
    }

    pub(super) async fn room(&mut self) -> Verdict {
        let members = self.rounds.sink().limits().members;
        if members != ROOM {
            return Err(format!(
                "limits say that there is room for {members}, there is for {ROOM}"
            ));
        }
        let mut wanted = self.members(1..=7);
        for (member, gravity) in wanted.iter_mut().zip(10..) {
            member.gravity = gravity;
        }
        self.has_room_for(&wanted, 4..=7).await?;
        let mut gravest = self.members([8]);
        gravest[0].gravity = 90;
        wanted.append(&mut gravest);
        self.has_room_for(&wanted, 5..=8).await
    }

    async fn has_room_for(&mut self, wanted: &[Member], hosts: std::ops::RangeInclusive<u8>) -> Verdict {
        self.rounds.want(wanted.to_vec());
        self.clean_round().await?;
        self.holds(&hosts.map(host).collect()).await?;
        self.is_quiet().await
    }

    pub(super) async fn restart(&mut self) -> Verdict {
        let members = self.members(1..=4);
        self.stand(members.clone()).await?;
        self.reopen().await;
        let round = self.clean_round().await?;
        if (round.listed, round.changes) != (4, 0) {
            return Err(format!("what stood before a restart: {round:?}"));
        }
        let next = self.members([5]);
        self.stand(members.into_iter().skip(2).chain(next).collect()).await?;
        self.reopen().await;
        self.stand(Vec::new()).await
    }

    /// The program ends and starts.
    async fn reopen(&mut self) {
        self.rounds.sink().close().await;
        let sink = self.rig.open(false).await;
        sink.spare(Arc::new(Spared::new([])));
        self.rounds.replace(sink);
    }
}
