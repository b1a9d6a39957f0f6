//! Decisions, for persons: what is in force, and what they want done about it.
//!
//! The engine answers at once; what came of it is durable before the person is told.

use trapline_schemas::{Timestamp, text};

use super::acting::{decides, spared_by};
use super::core::Refused;
use crate::app::Core;
use crate::config::Config;
use crate::control::decisions::{
    DecisionAct, DecisionOrder, DecisionReport, DecisionRow, Meant, REASON_CHARS_MAX, SparedRow, TTL_MAX, target, verbs,
};
use crate::control::protocol::Refusal;
use crate::journal::Commit;
use crate::respond::decision::{By, Decision};
use crate::respond::desk::observes;
use crate::respond::engine::{Denied, Engine, Wish};
use crate::respond::rule::Rule;
use crate::respond::sparing::Row;

impl Core {
    /// All decisions that are not over, those first that end first.
    pub fn decisions(&self) -> Vec<DecisionRow> {
        let mut all: Vec<_> = self.desk.look(|engine| engine.book().all().cloned().collect());
        all.sort_unstable_by_key(|decision: &Decision| (decision.until, decision.id));
        self.rows(&all)
    }

    /// Decides by other rules from now on, and puts other sinks to work.
    pub(super) async fn settle_response(&self, config: &Config, rules: Vec<Rule>) {
        let settings = config.response.clone().unwrap_or_default();
        let observed = self.desk.look(observes);
        self.spares.sparing.settle(&spared_by(config));
        if decides(config, &self.desk) {
            self.spares.begin(&self.desk, &self.tasks, &self.serving).await;
        }
        self.desk.ask(|engine| engine.settle(settings, rules));
        // What was proposed or observed under another mode is forgotten in the journal as well.
        self.recorder.decided().await;
        self.acting.settle(config, observed != self.desk.look(observes));
    }

    /// Whom nothing is ever done to.
    pub fn spared(&self) -> Vec<SparedRow> {
        let row = |row: Row| SparedRow {
            network: row.network.to_string(),
            why: row.why.to_string(),
            from: row.from.to_string(),
        };
        self.spares.sparing.rows().into_iter().map(row).collect()
    }

    /// Does what a person wants; durable on return.
    ///
    /// Errors: nothing was done, with the reason. Cancel: it is done or not, as a whole.
    pub async fn decide(&self, order: &DecisionOrder, by: &By) -> Result<DecisionReport, Refused> {
        let usage = |wrong: String| Refused::new(Refusal::Usage, wrong);
        let reason = reason(order.reason.as_deref()).map_err(usage)?;
        let now = Timestamp::now();
        let touched = match &order.act {
            DecisionAct::Add { verbs: words, ttl_secs } => {
                let wish = self.wish(order, words, *ttl_secs, reason, by).map_err(usage)?;
                vec![self.desk.ask(|engine| engine.add(wish, now).map(|id| one(engine, id)))]
            }
            act => self.each(order, |engine, decision| match act {
                DecisionAct::Approve => engine.approve(decision.id, by, now),
                DecisionAct::Reject => engine.reject(decision.id, by, reason.clone(), now),
                _ => engine.remove(decision.id, by.clone(), reason.clone(), now),
            })?,
        };
        let (done, denied): (Vec<_>, Vec<_>) = touched.into_iter().partition(Result::is_ok);
        let done: Vec<_> = done.into_iter().flatten().flatten().collect();
        if let (true, Some(Err(denied))) = (done.is_empty(), denied.into_iter().next()) {
            return Err(refused(&denied));
        }
        self.is_kept().await?;
        Ok(DecisionReport {
            decisions: self.rows(&done),
        })
    }

    fn wish(
        &self,
        order: &DecisionOrder,
        words: &[String],
        ttl_secs: u64,
        reason: Option<String>,
        by: &By,
    ) -> Result<Wish, String> {
        let target = target(&order.about)?;
        let ttl = std::time::Duration::from_secs(ttl_secs);
        if ttl.is_zero() || ttl > TTL_MAX {
            return Err(format!("{ttl_secs} seconds; 1 to {} are allowed", TTL_MAX.as_secs()));
        }
        let zones = super::build::zones(&self.config());
        let zone = zones.of(target.address());
        Ok(Wish {
            target,
            inside: zone.inside,
            zone: zone.name.clone(),
            verbs: verbs(words)?,
            ttl,
            reason,
            by: by.clone(),
        })
    }

    /// Does something to each decision that is meant; out: as it is then, or as it was if it is over.
    fn each(
        &self,
        order: &DecisionOrder,
        act: impl Fn(&mut Engine, &Decision) -> Result<(), Denied>,
    ) -> Result<Vec<Result<Option<Decision>, Denied>>, Refused> {
        let meant = Meant::parse(&order.about).map_err(|wrong| Refused::new(Refusal::Usage, wrong))?;
        self.desk.ask(|engine| {
            let found: Vec<_> = engine
                .book()
                .all()
                .filter(|decision| meant.is(decision))
                .cloned()
                .collect();
            if matches!(meant, Meant::Ids(..)) && found.len() > 1 {
                let why = format!("`{}` begins several decisions: write more of the id", order.about);
                return Err(Refused::new(Refusal::Usage, why));
            }
            if found.is_empty() {
                let why = format!(
                    "there is no decision `{}`; `trapline decisions list` has them",
                    order.about
                );
                return Err(Refused::new(Refusal::Failed, why));
            }
            let done = found.into_iter().map(|decision| {
                act(engine, &decision)?;
                Ok(engine.book().get(decision.id).cloned().or(Some(decision)))
            });
            Ok(done.collect())
        })
    }

    /// Waits until the recorder has handed over what was decided, and the journal has it.
    async fn is_kept(&self) -> Result<(), Refused> {
        self.recorder.decided().await;
        let kept = self.journal.commit(Commit::default()).await;
        kept.map(|_| ()).map_err(|error| Refused::new(Refusal::Failed, error))
    }

    fn rows(&self, decisions: &[Decision]) -> Vec<DecisionRow> {
        let now = Timestamp::now();
        let row = |decision| DecisionRow::new(decision, now, self.desk.acts_of(decision));
        decisions.iter().map(row).collect()
    }
}

fn one(engine: &Engine, id: uuid::Uuid) -> Option<Decision> {
    engine.book().get(id).cloned()
}

fn refused(denied: &Denied) -> Refused {
    let hint = match denied {
        Denied::Observes => "; `mode = \"propose\"` or `\"enforce\"` in `[response]` lets it be done",
        Denied::Never(..) => "; `trapline decisions spared` has the whole list",
        _ => "",
    };
    Refused::new(Refusal::Failed, format!("{denied}{hint}"))
}

fn reason(reason: Option<&str>) -> Result<Option<String>, String> {
    let Some(reason) = reason.map(str::trim).filter(|reason| !reason.is_empty()) else {
        return Ok(None);
    };
    let chars = reason.chars().count();
    match chars > REASON_CHARS_MAX {
        true => Err(format!("a reason of {chars} characters; at most {REASON_CHARS_MAX}")),
        false => Ok(Some(text::clean(reason.as_bytes()).to_string())),
    }
}
