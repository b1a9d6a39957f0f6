//! What the kernel does by itself: rules with `arm`, told to every firewall that can, and whom it has shut out, taken up as
//! decisions.
//!
//! In: the configuration in force, the listeners that are open. Repeated every few seconds: a table that somebody wiped is
//! armed again, a decoy that closed is a door no more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Arming, Door, Scope, SetSink, Target};

use super::core::Core;
use crate::config::{Config, SetSettings};
use crate::decoy::bind::ListenerStatus;
use crate::decoy::services::Transport;
use crate::respond::settings::{Mode, ResponseSettings, RuleSpec};

/// How often it is repeated.
const EVERY: Duration = Duration::from_secs(5);

/// Private networks (RFC 1918, RFC 4193), which pass where they are not to be acted on.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Arms and disarms, until the stop. What is armed then disarms itself, or goes with the table.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut rounds = Rounds::default();
    loop {
        rounds.round(&core).await;
        // Cancel: both are safe.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// What is remembered from one round to the next.
#[derive(Default)]
struct Rounds {
    /// Sinks that are armed.
    armed: BTreeSet<String>,
    /// Sinks of which it was said that they cannot be.
    told: BTreeSet<String>,
    /// Whom the kernel had shut out the last time, and no decision was about: the hit may have been on its way.
    strangers: BTreeSet<Target>,
}

impl Rounds {
    async fn round(&mut self, core: &Core) {
        let config = core.config();
        let mut strangers = BTreeSet::new();
        for (settings, sink) in core.acting.made() {
            let arming = self.arming(&config, &core.listeners.borrow(), &settings, &*sink);
            if arming.is_none() && !self.armed.contains(&settings.name) {
                continue;
            }
            match sink.arm(arming.as_ref()).await {
                Ok(()) => self.arms(&settings.name, arming.is_some()),
                Err(fault) if self.told.insert(settings.name.clone()) => {
                    tracing::error!(sink.name = %settings.name, "the kernel does not act by itself: {}", fault.message);
                }
                Err(_) => {}
            }
            if let Some(arming) = &arming {
                strangers.extend(self.take_up(core, &*sink, arming, &config).await);
            }
        }
        self.strangers = strangers;
    }

    fn arms(&mut self, sink: &str, is_armed: bool) {
        self.told.remove(sink);
        match is_armed {
            true => drop(self.armed.insert(sink.to_owned())),
            false => drop(self.armed.remove(sink)),
        }
    }

    /// What a sink is to be armed with; `None`: nothing.
    fn arming(
        &mut self,
        config: &Config,
        listeners: &[ListenerStatus],
        settings: &SetSettings,
        sink: &dyn SetSink,
    ) -> Option<Arming> {
        let response = config
            .response
            .as_ref()
            .filter(|response| response.mode == Mode::Enforce)?;
        let rules: Vec<_> = response.rules.iter().filter(|rule| rule.arm).collect();
        let ttl = rules.iter().filter_map(|rule| rule.steps.first()).max().copied()?;
        let can = sink.can_arm() && settings.scope != Scope::Inside;
        if !can && self.told.insert(settings.name.clone()) {
            let name = &settings.name;
            tracing::warn!(sink.name = %name, "sink {name} cannot let the kernel act by itself: rules with `arm` go the longer way there");
        }
        let doors = doors(&rules, listeners);
        (can && !doors.is_empty()).then(|| Arming {
            doors,
            ttl,
            passes: passes(config, response, settings.scope),
            members: response.decisions_max,
            per_minute: response.decisions_per_minute,
        })
    }

    /// Whom the kernel has shut out and no decision is about, for the second time now, becomes one. Out: those of the first
    /// time.
    async fn take_up(&self, core: &Core, sink: &dyn SetSink, arming: &Arming, config: &Config) -> Vec<Target> {
        let Ok(found) = sink.armed().await else {
            return Vec::new();
        };
        let rule = config
            .response
            .iter()
            .flat_map(|response| &response.rules)
            .find(|rule| rule.arm);
        let unknown = found.into_iter().filter(|entry| {
            let is_known = |engine: &crate::respond::engine::Engine| engine.book().of(entry.target).next().is_some();
            !core.desk.look(is_known)
        });
        let mut first = Vec::new();
        for entry in unknown {
            match (self.strangers.contains(&entry.target), rule) {
                (true, Some(rule)) => self.adopt(core, entry.target, rule, arming.ttl),
                _ => first.push(entry.target),
            }
        }
        first
    }

    fn adopt(&self, core: &Core, target: Target, rule: &RuleSpec, ttl: Duration) {
        let zones = super::build::zones(&core.config());
        let zone = zones.of(target.address()).clone();
        tracing::warn!("the kernel has shut out {target}, and no hit tells why: taken up as a decision");
        core.desk
            .ask(|engine| engine.adopt(target, (zone.name, zone.inside), rule, ttl, Timestamp::now()));
    }
}

/// The sockets of the decoys that the rules are about, as far as they are open.
fn doors(rules: &[&RuleSpec], listeners: &[ListenerStatus]) -> Vec<Door> {
    let is_meant = |decoy: &str| rules.iter().any(|rule| rule.decoys.iter().any(|name| name == decoy));
    let open = listeners.iter().filter(|listener| {
        listener.transport == Transport::Tcp && listener.degraded.is_none() && is_meant(&listener.decoy)
    });
    let doors: BTreeSet<_> = open
        .map(|listener| Door {
            address: listener.address.ip(),
            port: listener.address.port(),
        })
        .collect();
    doors.into_iter().collect()
}

/// Who passes although nobody spares them: those out of the sink's scope, and private ones that are not acted on.
fn passes(config: &Config, response: &ResponseSettings, scope: Scope) -> Vec<ipnet::IpNet> {
    let inside = config
        .zones
        .iter()
        .filter(|zone| zone.inside && scope == Scope::Outside);
    let inside = inside.flat_map(|zone| zone.networks.iter().copied());
    let private = PRIVATE.iter().filter(|_| !response.block_private);
    let shared = config.observer.shared_addresses.iter().copied();
    let all: BTreeSet<_> = inside
        .chain(private.filter_map(|network| network.parse().ok()))
        .chain(shared)
        .chain(["100.64.0.0/10".parse().ok()].into_iter().flatten())
        .collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(decoy: &str, transport: Transport, address: &str) -> ListenerStatus {
        ListenerStatus {
            decoy: decoy.into(),
            transport,
            address: address.parse().unwrap(),
            since: Timestamp::default(),
            degraded: None,
        }
    }

    #[test]
    fn doors_are_the_open_tcp_sockets_of_the_decoys_that_are_meant() {
        let rule = RuleSpec {
            name: "tripwire".into(),
            when: None,
            level: None,
            decoys: vec!["ssh".into()],
            threshold: None,
            arm: true,
            verbs: vec![trapline_sink::set::Verb::Block],
            steps: vec![Duration::from_secs(600)],
            even_contact: true,
        };
        let listeners = [
            listener("ssh", Transport::Tcp, "0.0.0.0:22"),
            listener("ssh", Transport::Tcp, "[::]:22"),
            listener("ssh", Transport::Udp, "0.0.0.0:22"),
            listener("telnet", Transport::Tcp, "0.0.0.0:23"),
        ];
        let doors = doors(&[&rule], &listeners);
        let shown: Vec<_> = doors.iter().map(|door| (door.address.to_string(), door.port)).collect();
        assert_eq!(shown, [("0.0.0.0".to_owned(), 22), ("::".to_owned(), 22)]);
    }
}
