//! Cases in which somebody else changes the destination, or has a part of it.

use std::sync::Arc;

use tokio::time::timeout;

use super::run::{HOUR, Run, Verdict, after, host};
use super::{Added, PATIENCE};
use crate::set::{SetSink, Spared};

impl Run {
    pub(super) async fn wiped(&mut self) -> Verdict {
        let members = self.members(1..=5);
        self.stand(members.clone()).await?;
        self.rig.wipe().await;
        self.holds(&[].into()).await?;
        self.mends().await?;
        // Once more, while other members are wanted than stood.
        self.rig.wipe().await;
        let next = self.members([6]);
        self.rounds.want(members.into_iter().skip(2).chain(next));
        self.mends().await
    }

    pub(super) async fn deleted(&mut self) -> Verdict {
        let members = self.members(1..=5);
        self.stand(members).await?;
        self.rig.delete(host(3)).await;
        let round = self.clean_round().await?;
        if round.changes != 1 {
            return Err(format!("one entry is missing: {round:?}"));
        }
        self.holds_wanted().await?;
        self.is_quiet().await
    }

    pub(super) async fn added(&mut self) -> Verdict {
        let members = self.members(1..=3);
        self.stand(members).await?;
        self.rig.add(host(9)).await;
        let foreign = self.rig.foreign().await;
        let round = self.clean_round().await?;
        let due = usize::from(self.traits.added == Added::Removed);
        if round.changes != due {
            return Err(format!("one entry was added, {due} changes are due: {round:?}"));
        }
        self.holds_wanted().await?;
        self.leaves(&foreign).await
    }

    /// What others have at the destination is as it was.
    async fn leaves(&mut self, foreign: &[u8]) -> Verdict {
        match self.rig.foreign().await == foreign {
            true => Ok(()),
            false => Err("what is not the sink's own has changed".to_owned()),
        }
    }

    pub(super) async fn foreign(&mut self) -> Verdict {
        self.rig.plant().await;
        let foreign = self.rig.foreign().await;
        if foreign.is_empty() {
            return Err("the rig has put nothing of others in".to_owned());
        }
        let mut members = self.members(1..=5);
        self.stand(members.clone()).await?;
        self.leaves(&foreign).await?;
        members[1].until = after(members[1].since, 3 * HOUR);
        self.stand(members.split_off(1)).await?;
        self.leaves(&foreign).await?;
        self.stand(Vec::new()).await?;
        self.rounds.sink().close().await;
        self.leaves(&foreign).await
    }

    pub(super) async fn observe(&mut self) -> Verdict {
        self.rig.plant().await;
        self.observes_only(0).await?;
        let members = self.members(1..=3);
        self.stand(members).await?;
        self.observes_only(3).await
    }

    /// A sink that observes lists what stands, and changes nothing from its start to its end.
    async fn observes_only(&mut self, listed: usize) -> Verdict {
        let before = self.rig.dump().await;
        let sink = self.rig.open(true).await;
        sink.spare(Arc::new(Spared::new([])));
        let found = Self::looks(&*sink).await;
        sink.close().await;
        drop(sink);
        if self.rig.dump().await != before {
            return Err("a sink that observes has changed the destination".to_owned());
        }
        match found? {
            found if found == listed => Ok(()),
            found => Err(format!("a sink that observes lists {found} entries of {listed}")),
        }
    }

    async fn looks(sink: &dyn SetSink) -> Result<usize, String> {
        let listed = sink.stands().await;
        let checked = sink.check().await;
        let _ = (sink.notes(), sink.measures(), sink.destination());
        checked.map_err(|fault| format!("a sink that observes cannot check: {fault:?}"))?;
        let listed = listed.map_err(|fault| format!("a sink that observes cannot list: {fault:?}"))?;
        Ok(listed.len())
    }

    pub(super) async fn told(&mut self) -> Verdict {
        let Some(mut told) = self.rounds.sink().told() else {
            return Err("this sink is told nothing: declare it".to_owned());
        };
        let members = self.members(1..=3);
        self.stand(members.clone()).await?;
        for wipes in [false, true] {
            let before = *told.borrow_and_update();
            match wipes {
                true => self.rig.wipe().await,
                false => self.rig.delete(members[0].target).await,
            }
            let rises = told.wait_for(|count| *count > before);
            let is_told = matches!(timeout(PATIENCE, rises).await, Ok(Ok(_)));
            if !is_told {
                return Err(format!("told of nothing within {} s", PATIENCE.as_secs()));
            }
        }
        Ok(())
    }
}
