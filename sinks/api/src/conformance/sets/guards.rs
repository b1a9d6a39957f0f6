//! Cases in which a member is not to be put in, or cannot be.

use std::sync::Arc;

use ipnet::IpNet;

use super::run::{HOUR, Run, Verdict, after, host, puts, targets};
use super::{BAD, Held, NOWHERE};
use crate::set::{Put, Spared, Target, Why};

impl Run {
    pub(super) async fn spared(&mut self) -> Verdict {
        self.spares(&["10.9.9.0/24", "203.0.113.9/32"]);
        for text in ["10.9.9.7", "203.0.113.9", "203.0.113.0/24", "127.0.0.1"] {
            self.is_refused(text.parse()?).await?;
        }
        let members = self.members(1..=3);
        self.stand(members.clone()).await?;
        // Now one that stands is to be spared: it is not put again, and it goes.
        self.spares(&["203.0.113.1/32"]);
        self.is_refused(host(1)).await?;
        self.stand(members[1..].to_vec()).await?;
        self.is_refused(host(1)).await?;
        self.holds(&targets(&members[1..])).await?;
        self.spares(&[]);
        self.stand(members).await
    }

    fn spares(&self, networks: &[&str]) {
        let rows = networks.iter().filter_map(|text| text.parse::<IpNet>().ok());
        let spared = Spared::new(rows.map(|net| (net, Why::Allowed)));
        self.rounds.sink().spare(Arc::new(spared));
    }

    async fn is_refused(&mut self, target: Target) -> Verdict {
        let mut member = self.member(target, HOUR);
        member.until = after(member.since, 2 * HOUR);
        let applied = self.rounds.apply(&puts(&[member])).await?;
        match applied.outcomes.as_slice() {
            [Put::Refused(_)] => Ok(()),
            _ => Err(format!("{target} is to be spared, and putting it in says {applied:?}")),
        }
    }

    pub(super) async fn fast_lane(&mut self) -> Verdict {
        let Some(lane) = self.rounds.sink().fast_lane() else {
            return Err("this sink has no fast lane: declare it".to_owned());
        };
        let members = self.members(1..=3);
        let stands = |target| move |held: &[Held]| held.iter().any(|entry| entry.target == target);
        lane.put(&members[0]);
        self.comes("the first member", stands(host(1))).await?;
        self.spares(&["203.0.113.2/32"]);
        lane.put(&members[1]);
        lane.put(&members[2]);
        self.comes("the member behind a spared one", stands(host(3))).await?;
        let kept = [members[0].clone(), members[2].clone()];
        self.holds(&targets(&kept)).await?;
        // The same again by comparing, and out again.
        self.stand(kept.to_vec()).await?;
        self.stand(Vec::new()).await
    }

    pub(super) async fn nowhere(&mut self) -> Verdict {
        let nowhere = Target::host(NOWHERE.into());
        for _ in 0..2 {
            let mut members = self.members([1, 2]);
            members.insert(1, self.member(nowhere, HOUR));
            self.rounds.want(members);
            let round = self.rounds.round(self.now()).await?;
            if !round.is_clean() || round.nowhere != [nowhere] || !round.refused.is_empty() {
                return Err(format!(
                    "there is nothing at {nowhere}, and nothing else is wrong: {round:?}"
                ));
            }
            self.holds(&[host(1), host(2)].into()).await?;
        }
        Ok(())
    }

    pub(super) async fn one_bad(&mut self) -> Verdict {
        let bad = Target::host(BAD.into());
        let mut members = self.members([1, 2, 3]);
        members.insert(1, self.member(bad, HOUR));
        self.rounds.want(members);
        let round = self.rounds.round(self.now()).await?;
        let refused: Vec<_> = round.refused.iter().map(|(target, _)| *target).collect();
        if refused != [bad] || round.again != 0 {
            return Err(format!("{bad} alone is refused: {round:?}"));
        }
        self.holds(&(1..=3).map(host).collect()).await
    }
}
