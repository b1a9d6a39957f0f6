//! Which trigger a member gets, and which it must never get: the same for a server and for a file.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use trapline_sink::set::{Member, Put, Spared};

use crate::ledger::{host, meet};
use crate::mark::Observer;
use crate::policy::Policy;
use crate::trigger::{Kind, Trigger};
use crate::zone::{WireName, Zone};

/// What the configuration says of triggers.
#[derive(Debug)]
pub struct Rules {
    /// The policy zone.
    pub zone: Zone,
    /// Whose marks are ours.
    pub observer: Observer,
    /// The triggers that may be made.
    pub triggers: Vec<Kind>,
    /// What a resolver is to do.
    pub policy: Policy,
    /// Seconds that a policed answer may be kept.
    pub ttl: u32,
    /// Who asks for many: resolvers that forward, and sites behind one address.
    pub forwarders: Vec<IpNet>,
    guard: Guard,
}

/// What is learnt while it runs.
#[derive(Debug, Default)]
struct Guard {
    spared: Mutex<Arc<Spared>>,
    /// Where the server and the resolver were reached.
    servers: Mutex<Vec<IpAddr>>,
    too_long: AtomicU64,
}

/// Most addresses of servers that are remembered.
const SERVERS_MAX: usize = 64;

/// The names of a trigger.
#[derive(Debug)]
pub struct Names {
    /// Where the CNAME stands.
    pub trigger: WireName,
    /// Where the mark stands.
    pub mark: WireName,
}

impl Rules {
    /// Rules of a zone, with nothing spared but what is no host.
    pub fn new(
        zone: Zone,
        observer: &str,
        triggers: Vec<Kind>,
        policy: Policy,
        ttl: u32,
        forwarders: Vec<IpNet>,
    ) -> Self {
        let rules = Self {
            zone,
            observer: Observer::new(observer),
            triggers,
            policy,
            ttl,
            forwarders,
            guard: Guard::default(),
        };
        rules.spare(Arc::new(Spared::new([])));
        rules
    }

    /// What is never acted on, from now on.
    pub fn spare(&self, spared: Arc<Spared>) {
        *self.guard.spared.lock().unwrap_or_else(PoisonError::into_inner) = spared;
    }

    /// Remembers an address at which a server was reached: whoever it is, it asks for many.
    pub fn reached(&self, address: Option<IpAddr>) {
        let mut servers = self.guard.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.filter(|address| !servers.contains(address) && servers.len() < SERVERS_MAX);
        servers.extend(address);
    }

    /// Members that were refused because their names would be too long.
    pub fn too_long(&self) -> u64 {
        self.guard.too_long.load(Ordering::Relaxed)
    }

    /// The trigger of a member. Errors: what becomes of a member that gets none.
    pub fn trigger(&self, member: &Member) -> Result<Trigger, Put> {
        let spared = Arc::clone(&self.guard.spared.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(why) = spared.why(member.target) {
            return Err(Put::Refused(format!("{} is never acted on: {why}", member.target)));
        }
        let kind = if member.inside { Kind::ClientIp } else { Kind::Ip };
        if !self.triggers.contains(&kind) {
            return Err(Put::Nowhere(self.no_trigger(member.inside)));
        }
        let trigger = Trigger::new(kind, member.target.net());
        match (kind, self.asks_for_many(trigger.net)) {
            (Kind::ClientIp, Some(who)) => Err(Put::Refused(format!(
                "{} is {who}: a client-ip trigger would cut off all who ask through it",
                member.target
            ))),
            _ => Ok(trigger),
        }
    }

    fn no_trigger(&self, inside: bool) -> String {
        match inside {
            true => "an inside host takes a client-ip trigger, and `triggers` has none".to_owned(),
            false => "an outside host takes an ip trigger, and `triggers` has none".to_owned(),
        }
    }

    fn asks_for_many(&self, net: IpNet) -> Option<&'static str> {
        if self.forwarders.iter().any(|forwarder| meet(*forwarder, net)) {
            return Some("in `forwarders`");
        }
        let servers = self.guard.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_server = servers.iter().any(|server| meet(host(*server), net));
        is_server.then_some("the dns server itself")
    }

    /// The names of a trigger. Errors: they are too long, which is counted.
    pub fn names(&self, trigger: &Trigger) -> Result<Names, Put> {
        let names = || {
            Some(Names {
                trigger: self.zone.name(&trigger.to_string())?,
                mark: self.zone.name(&self.observer.mark_of(trigger))?,
            })
        };
        names().ok_or_else(|| {
            self.guard.too_long.fetch_add(1, Ordering::Relaxed);
            let zone = &self.zone;
            Put::Refused(format!(
                "the names of {} below `{zone}` would be longer than 255 octets",
                trigger.net
            ))
        })
    }
}
