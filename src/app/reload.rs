//! A reload: all or nothing.
//!
//! Everything that can fail is made first: the configuration, personalities, wiring, every new or changed sink. Then
//! listeners and delivery are told; what is the same as before is not touched.

use std::sync::Arc;

use trapline_schemas::{Action, Field, Timestamp, Value, text};

use crate::app::build::{self, Made};
use crate::app::core::{Core, Refused, Reloaded};
use crate::app::start::{App, DELIVERY_GRACE, delivery_parts};
use crate::app::{manager, surroundings, tables, trial};
use crate::config::{Changes, Config, changes, changes::Difference};
use crate::control::protocol::Refusal;
use crate::delivery::{Pipeline, Plan};
use crate::journal::{Health, HealthLevel, JournalError};
use crate::record::{Benign, HostEvent};
use crate::respond::rule::Rule;
use crate::telemetry;
use crate::web::server::Look;

/// A new configuration of which everything was made.
struct Next {
    config: Config,
    changes: Changes,
    decoys: Vec<Made>,
    benign: Arc<Benign>,
    plan: Plan,
    tables: Vec<tables::Watched>,
    web: Option<Look>,
    rules: Vec<Rule>,
}

impl App {
    /// Puts the configuration on disk in force, or changes nothing; says so in the log and the journal either way.
    pub(super) async fn reload(&mut self) -> Reloaded {
        tracing::info!("reading the configuration again");
        manager::reloading();
        let outcome = match self.prepare().await {
            Ok(next) => self.put_in_force(next).await,
            Err(refused) => Err(refused),
        };
        match &outcome {
            Ok(lines) if lines.is_empty() => tracing::info!("reloaded: nothing changed"),
            Ok(lines) => tracing::info!("reloaded: {}", lines.join(", ")),
            Err(refused) => tell(refused),
        }
        self.core.recorder.host(event(&outcome)).await;
        manager::ready(&self.core.status().await);
        outcome
    }

    async fn prepare(&self) -> Result<Next, Refused> {
        let source = self.core.source.clone();
        let loaded = tokio::task::spawn_blocking(move || source.load()).await;
        let (loaded, folders) = loaded.map_err(|broken| Refused::new(Refusal::Failed, broken))??;
        let config = loaded.config;
        let changes = changes(&self.core.config(), &config);
        refuse_restart_only(&changes)?;
        if self.swaps_delivery(&changes) {
            refuse_while_failing(&self.core.journal.health().borrow())?;
        }
        let wrong =
            |error: build::BuildError| Refused::new(Refusal::Config, format!("{:#}", anyhow::Error::from(error)));
        let decoys = build::decoys(&config, &folders.personalities, &self.install, &self.decoys).map_err(wrong)?;
        let benign = Arc::new(build::benign(&config, &folders.benign, surroundings::resolvers()));
        let web = build::web(&config).map_err(wrong)?;
        let (config, tables) = tokio::task::spawn_blocking(move || {
            let tables = tables::load(&config);
            (config, tables)
        })
        .await
        .map_err(|broken| Refused::new(Refusal::Failed, broken))?;
        let tables = tables.map_err(|error| wrong(error.into()))?;
        let plan = build::plan(&config, &self.core.identity, &tables).map_err(wrong)?;
        try_sinks(&self.core, &config, &changes.sinks)?;
        let response = config.response.clone().unwrap_or_default();
        let rules = build::rules_of(&response).map_err(wrong)?;
        Ok(Next {
            config,
            changes,
            decoys,
            benign,
            plan,
            tables,
            web,
            rules,
        })
    }

    async fn put_in_force(&mut self, next: Next) -> Reloaded {
        let looks = changed_looks(&self.decoys, &next.decoys, &next.changes.decoys);
        if self.swaps_delivery(&next.changes) {
            self.swap_delivery(next.plan).await?;
            self.tables.put(next.tables);
        } else if let Some(pipeline) = &self.pipeline {
            pipeline.retry_now();
        }
        let wanted = next.decoys.iter().map(|made| made.wanted.clone()).collect();
        if self.wishes.send(wanted).await.is_err() {
            return Err(Refused::new(
                Refusal::Failed,
                "listeners have stopped, restart trapline",
            ));
        }
        self.core.certificates.set(&next.decoys);
        self.decoys = next.decoys;
        let benign = std::mem::replace(&mut self.benign, next.benign);
        let web = self.core.web.as_ref().zip(next.web);
        let web_changed = web.is_some_and(|(web, look)| web.set_look(look));
        self.settle(&next.config).await;
        self.core.settle_response(&next.config, next.rules).await;
        telemetry::set_level(next.config.log.level);
        self.core.set_config(next.config);
        let mut lines = lines(&next.changes, &looks);
        // Not only by the configuration: also where a file of its folder is another.
        lines.extend((benign != self.benign).then(|| "benign noise changed".into()));
        lines.extend(web_changed.then(|| "names or certificate of the live feed changed".into()));
        Ok(lines)
    }

    /// Whether delivery is started anew: also where a reload before has left none.
    fn swaps_delivery(&self, changes: &Changes) -> bool {
        touches_delivery(changes) || self.pipeline.is_none()
    }

    /// What delivery ran by until now.
    fn plan_in_force(&self) -> Result<Plan, build::BuildError> {
        let config = self.core.config();
        let tables = tables::load(&config)?;
        let plan = build::plan(&config, &self.core.identity, &tables)?;
        self.tables.put(tables);
        Ok(plan)
    }

    /// What stations take over without a stop.
    async fn settle(&self, config: &Config) {
        let journal = &self.core.journal;
        journal.set_consumers(
            &build::consumers(config),
            &build::watchers(config),
            &build::guests(config),
        );
        journal.set_retention(config.journal.retain, config.journal.retain_bytes);
        let rules = build::rules(config, Arc::clone(&self.benign));
        self.core.recorder.settle(rules).await;
    }

    /// Stops delivery and starts it anew: cursors are in the journal, so nothing is lost and nothing is sent twice.
    async fn swap_delivery(&mut self, plan: Plan) -> Result<(), Refused> {
        if let Some(old) = self.pipeline.take() {
            old.stop().await;
        }
        let parts = || delivery_parts(&self.core.journal, &self.core.recorder, &self.core.board);
        match Pipeline::start(plan, parts(), DELIVERY_GRACE).await {
            Ok(pipeline) => {
                self.pipeline = Some(pipeline);
                Ok(())
            }
            Err(error) => {
                if let Ok(before) = self.plan_in_force() {
                    self.pipeline = Pipeline::start(before, parts(), DELIVERY_GRACE).await.ok();
                }
                let refused = not_swapped(&error, self.pipeline.is_some());
                if self.pipeline.is_none() {
                    self.core.board.unfed(&refused.first, Timestamp::now());
                }
                Err(refused)
            }
        }
    }
}

/// Why delivery is not as was wanted, and whether it is as before.
fn not_swapped(error: &JournalError, as_before: bool) -> Refused {
    let now = if as_before {
        "sinks as before"
    } else {
        "no sink is fed: reload again when the disk works"
    };
    Refused::new(Refusal::Failed, format!("the journal failed, {now}: {error}"))
}

fn refuse_restart_only(changes: &Changes) -> Result<(), Refused> {
    let keys: Vec<_> = changes.restart_only.iter().map(|key| format!("`{key}`")).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys = keys.join(", ");
    let why = format!("{keys} changed, which takes a restart; nothing was reloaded");
    Err(Refused::new(Refusal::Config, why))
}

/// A worker that ends would forget what it delivered since the disk failed, and its successor deliver it again.
fn refuse_while_failing(health: &Health) -> Result<(), Refused> {
    if health.level < HealthLevel::Failing {
        return Ok(());
    }
    let why = format!(
        "the journal's disk fails ({}): sinks and transforms can be changed when it works again",
        health.reason
    );
    Err(Refused::new(Refusal::Failed, why))
}

/// Makes every new or changed sink once, to see whether it can be made.
fn try_sinks(core: &Core, config: &Config, difference: &Difference) -> Result<(), Refused> {
    let touched = |name: &String| difference.added.contains(name) || difference.changed.contains(name);
    let sinks = build::enabled(config).filter(|sink| touched(&sink.name));
    let tried = sinks.filter_map(|sink| {
        let fault = trial::try_build(sink, &core.identity.name).err()?;
        Some(format!("sink `{}` cannot be made: {}", sink.name, fault.message))
    });
    let reasons: Vec<_> = tried.collect();
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refused::each(Refusal::Config, reasons))
}

/// Decoys are inputs too, so a decoy that comes or goes may change the wiring.
fn touches_delivery(changes: &Changes) -> bool {
    let decoys = !changes.decoys.added.is_empty() || !changes.decoys.removed.is_empty();
    decoys || changes.scans || !changes.sinks.is_empty() || !changes.transforms.is_empty()
}

/// Decoys whose own table is the same but whose personality file or limits are not.
fn changed_looks(before: &[Made], now: &[Made], told: &Difference) -> Vec<String> {
    let differs = |made: &&Made| before.iter().any(|old| old.is_another(made));
    let names = now.iter().filter(differs).map(|made| made.name().to_owned());
    names.filter(|name| !told.changed.contains(name)).collect()
}

fn lines(changes: &Changes, looks: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for (noun, difference) in [
        ("decoy", &changes.decoys),
        ("transform", &changes.transforms),
        ("sink", &changes.sinks),
        ("sink", &changes.sets),
    ] {
        let told = [
            ("added", &difference.added),
            ("removed", &difference.removed),
            ("changed", &difference.changed),
        ];
        for (verb, names) in told {
            lines.extend(names.iter().map(|name| format!("{noun} {name} {verb}")));
        }
    }
    lines.extend(looks.iter().map(|name| format!("decoy {name} changed")));
    let others = [
        (changes.zones, "zones changed"),
        (changes.owners, "owners or shared addresses changed"),
        (changes.retention, "retention changed"),
        (changes.scans, "what makes a scan changed"),
        (changes.response, "what is done about sources changed"),
        (changes.canary, "canaries changed"),
        (changes.log, "log level changed"),
    ];
    let told = others.iter().filter(|(changed, _)| *changed);
    lines.extend(told.map(|(_, line)| (*line).to_owned()));
    lines
}

/// What the journal is told: what changed, or how much is wrong and what first.
fn event(outcome: &Reloaded) -> HostEvent {
    let clean = |text: &str| Value::from(text::clean(text.as_bytes()));
    match outcome {
        Ok(lines) if lines.is_empty() => reloaded("nothing changed".into()),
        Ok(lines) => reloaded(clean(&lines.join(", "))),
        Err(refused) => {
            let mistakes = i64::try_from(refused.mistakes).unwrap_or(i64::MAX);
            let facts = vec![
                (Field::ConfigMistakes, mistakes.into()),
                (Field::ErrorMessage, clean(&refused.first)),
                (Field::ErrorType, kind(refused.cause).into()),
            ];
            HostEvent::new(Action::ConfigRefused, facts)
        }
    }
}

fn reloaded(reason: Value) -> HostEvent {
    HostEvent::new(Action::ConfigReloaded, vec![(Field::EventReason, reason)])
}

/// One word for `error.type`.
const fn kind(cause: Refusal) -> &'static str {
    match cause {
        Refusal::Usage | Refusal::Config => "config",
        Refusal::Failed | Refusal::Busy => "failed",
    }
}

fn tell(refused: &Refused) {
    for reason in &refused.reasons {
        tracing::error!("reload refused, all stays as it was: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_left_no_delivery_says_so() {
        let said = |as_before| not_swapped(&JournalError::Closed, as_before).reasons.concat();
        assert!(said(true).contains("sinks as before"));
        assert!(said(false).contains("no sink is fed") && !said(false).contains("as before"));
    }

    #[test]
    fn sinks_are_changed_only_while_it_can_be_kept_where_they_stand() {
        let refused = |level| {
            let health = Health {
                level,
                reason: "database or disk is full".into(),
                since: Timestamp::default(),
                held: 0,
                shed: 0,
            };
            refuse_while_failing(&health)
        };
        assert_eq!(refused(HealthLevel::Degraded), Ok(()));
        let refused = refused(HealthLevel::Failing).unwrap_err();
        assert_eq!(refused.cause, Refusal::Failed);
        assert!(refused.reasons[0].contains("disk is full"), "{:?}", refused.reasons);
    }
}
