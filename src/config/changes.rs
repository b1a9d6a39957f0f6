//! What a reload would change.
//!
//! In: the configuration in force and the new one. Out: [`Changes`], by name, so that what stays the same is not
//! touched. A change of a restart-only key refuses the reload as a whole: the caller says which.

use super::load::Config;

/// The difference of two configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that only a restart can change; if there are any, the reload is refused.
    pub restart_only: Vec<&'static str>,
    /// Decoys.
    pub decoys: Difference,
    /// Transforms.
    pub transforms: Difference,
    /// What makes a scan.
    pub scans: bool,
    /// Sinks.
    pub sinks: Difference,
    /// Sinks that act.
    pub sets: Difference,
    /// Whether `[response]` changed.
    pub response: bool,
    /// Whether `journal.retain_days` or `journal.retain_bytes` changed.
    pub retention: bool,
    /// Whether `[zones]` changed.
    pub zones: bool,
    /// Whether `[owners]` or `observer.shared_addresses` changed.
    pub owners: bool,
    /// Whether `[benign]` or `[ignore]` changed.
    pub benign: bool,
    /// Whether `[capture]` changed.
    pub capture: bool,
    /// Whether `[limits]` changed.
    pub limits: bool,
    /// Whether `[web]` changed: its names or files, which are looked at anew by each reload.
    pub web: bool,
    /// Whether `[canary]` changed.
    pub canary: bool,
    /// Whether `[log]` changed.
    pub log: bool,
}

/// Names that came, went or stayed with other values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the new one alone.
    pub added: Vec<String>,
    /// In the old one alone.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

impl Difference {
    fn of<T: PartialEq>(old: &[T], new: &[T], name: impl Fn(&T) -> &String) -> Self {
        let find = |list: &[T], item: &T| list.iter().position(|there| name(there) == name(item));
        let mut difference = Self::default();
        for item in new {
            match find(old, item).and_then(|at| old.get(at)) {
                None => difference.added.push(name(item).clone()),
                Some(there) if there != item => difference.changed.push(name(item).clone()),
                Some(_) => {}
            }
        }
        let gone = old.iter().filter(|item| find(new, item).is_none());
        difference.removed = gone.map(|item| name(item).clone()).collect();
        difference
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares the configuration in force with a new one.
pub fn changes(old: &Config, new: &Config) -> Changes {
    Changes {
        restart_only: restart_only(old, new),
        decoys: Difference::of(&old.decoys, &new.decoys, |decoy| &decoy.name),
        transforms: Difference::of(&old.transforms, &new.transforms, |transform| &transform.name),
        sinks: Difference::of(&old.sinks, &new.sinks, |sink| &sink.name),
        sets: Difference::of(&old.sets, &new.sets, |set| &set.name),
        response: old.response != new.response,
        scans: old.scans != new.scans,
        retention: (old.journal.retain, old.journal.retain_bytes) != (new.journal.retain, new.journal.retain_bytes),
        zones: old.zones != new.zones,
        owners: old.owners != new.owners || old.observer.shared_addresses != new.observer.shared_addresses,
        benign: old.benign != new.benign || old.ignores != new.ignores,
        capture: old.capture != new.capture,
        limits: old.limits != new.limits,
        web: old.web != new.web,
        canary: old.canary != new.canary,
        log: old.log != new.log,
    }
}

fn restart_only(old: &Config, new: &Config) -> Vec<&'static str> {
    let keys = [
        ("state_dir", old.state_dir == new.state_dir),
        ("observer.name", old.observer.name == new.observer.name),
        ("observer.site", old.observer.site == new.observer.site),
        ("observer.site_key", old.observer.site_key == new.observer.site_key),
        (
            "observer.neighbours",
            old.observer.neighbours == new.observer.neighbours,
        ),
        ("observer.leases", old.observer.leases == new.observer.leases),
        ("journal.path", old.journal.path == new.journal.path),
        ("journal.durability", old.journal.durability == new.journal.durability),
        ("web", old.web.is_some() == new.web.is_some()),
        (
            "web.listen",
            listens(old) == listens(new) || old.web.is_none() || new.web.is_none(),
        ),
    ];
    keys.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect()
}

/// Where the live feed listens.
fn listens(config: &Config) -> Option<std::net::SocketAddr> {
    config.web.as_ref().map(|web| web.listen)
}
