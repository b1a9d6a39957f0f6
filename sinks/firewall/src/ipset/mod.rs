//! ipset and iptables: a set of addresses for each family, and one rule for each that drops whom it holds.
//!
//! In: edits. Out: `ipset restore` of lines that are made of parsed addresses alone, `ipset save`, and one rule by
//! `iptables` and one by `ip6tables` at the head of `PREROUTING` of table `raw`, before connections are tracked, so that
//! what flows already is cut as well.
//!
//! Invariants: 1. the sets `NAME-v4` and `NAME-v6` are ours, `hash:net` with timeouts, and so are the rules that name them
//! with the mark as their comment; no other set or rule is read or changed. 2. Each entry has a time of its own in the
//! kernel. 3. A set of ours whose size is not the configured one is replaced by one with the same entries in one step.
//!
//! It does not load modules by itself, and does not make sets or rules survive a reboot: what is wanted is put in again.
//!
//! Source: ipset(8), iptables-extensions(8) "set", "comment".

mod saved;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use trapline_schemas::Timestamp;
use trapline_sink::set::{SetLimits, Standing, Target};
use trapline_sink::{Fault, FaultKind};

use crate::entry::{after, never, seconds_left, standing};
use crate::run::{Answer, Programs};
use crate::sink::{Backend, Edits};
use saved::Saved;

/// The comment of our rules.
const MARK: &str = "trapline";
/// Time of an entry that is added without one, seconds; ours all have one.
const TIMEOUT_SECS: u64 = 3600;
/// Longest time that the kernel takes, seconds: 24 days and 20 hours.
const TIMEOUT_SECS_MAX: u64 = 2_147_483;
/// An entry with more time left than this is left alone: perhaps it was cut to [`TIMEOUT_SECS_MAX`], and it is looked at
/// again when it comes nearer to its end.
const FAR_SECS: u64 = 20 * 86_400;
/// Seconds that `iptables` waits for another one.
const LOCK_WAIT_SECS: &str = "5";

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Family {
    /// As `ipset` calls it.
    word: &'static str,
    suffix: &'static str,
    iptables: &'static str,
}

const V4: Family = Family {
    word: "inet",
    suffix: "-v4",
    iptables: "iptables",
};
const V6: Family = Family {
    word: "inet6",
    suffix: "-v6",
    iptables: "ip6tables",
};

const fn family(target: Target) -> Family {
    match target.net() {
        IpNet::V4(_) => V4,
        IpNet::V6(_) => V6,
    }
}

/// Whether this host speaks IPv6 now.
fn has_v6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

fn families() -> &'static [Family] {
    if has_v6() { &[V4, V6] } else { &[V4] }
}

/// The sets and their rules.
#[derive(Debug)]
pub(crate) struct Ipset {
    programs: Programs,
    /// Name of the sets, without the family.
    name: String,
    members: usize,
}

impl Ipset {
    /// Errors: `ipset` or `iptables` is missing.
    pub fn new(programs: Programs, name: &str, members: usize) -> Result<Self, Fault> {
        let ipset = Self {
            programs,
            name: name.to_owned(),
            members,
        };
        ipset.programs.find("ipset")?;
        for family in families() {
            ipset.programs.find(family.iptables)?;
        }
        Ok(ipset)
    }

    fn set(&self, family: Family) -> String {
        format!("{}{}", self.name, family.suffix)
    }

    /// What `create` says of a set of ours.
    fn form(&self, family: Family) -> String {
        let (word, members) = (family.word, self.members);
        format!("hash:net family {word} maxelem {members} timeout {TIMEOUT_SECS}")
    }

    async fn ipset(&self, arguments: &[&str]) -> Result<Answer, Fault> {
        Ok(self.programs.run("ipset", arguments).await?)
    }

    async fn restore(&self, lines: String) -> Result<(), Fault> {
        let answer = self
            .programs
            .run_with("ipset", &["restore", "-exist"], Some(lines))
            .await?;
        match answer.is_good() {
            true => Ok(()),
            false => Err(answer.fault("ipset restore")),
        }
    }

    /// A set as it stands; `None`: there is none.
    async fn saved(&self, family: Family) -> Result<Option<Saved>, Fault> {
        let set = self.set(family);
        let answer = self.ipset(&["save", &set]).await?;
        match answer.is_good() {
            true => Saved::read(&answer.out, &set).map(Some),
            false if answer.complains_of("does not exist") => Ok(None),
            false => Err(answer.fault("ipset save")),
        }
    }

    /// Sees to it that the set is there, as it should be, with nothing in it that cannot be ours.
    async fn set_up(&self, family: Family) -> Result<(), Fault> {
        let set = self.set(family);
        let Some(saved) = self.saved(family).await? else {
            return self.restore(format!("create {set} {}\n", self.form(family))).await;
        };
        if !saved.is_form("hash:net", family.word) {
            return Err(Fault {
                kind: FaultKind::Config,
                message: format!(
                    "set `{set}` is not `hash:net family {} timeout …`, so it is somebody else's: choose another `set`, or remove it with `ipset destroy {set}`",
                    family.word
                ),
            });
        }
        if saved.maxelem != Some(self.members) {
            return self.remake(family, &saved).await;
        }
        let foreign: Vec<_> = saved.foreign.iter().map(|net| format!("del {set} {net}\n")).collect();
        match foreign.is_empty() {
            true => Ok(()),
            false => self.restore(foreign.concat()).await,
        }
    }

    /// Puts a set of the right size, with the same entries, in the place of the one that is there.
    async fn remake(&self, family: Family, saved: &Saved) -> Result<(), Fault> {
        let (set, new) = (self.set(family), format!("{}-n", self.set(family)));
        // One that was left when this was broken off.
        let _ = self.ipset(&["destroy", &new]).await?;
        let mut lines = format!("create {new} {}\n", self.form(family));
        for (target, secs) in saved.entries.iter().take(self.members) {
            let _ = writeln!(lines, "add {new} {target} timeout {secs}");
        }
        let _ = write!(lines, "swap {new} {set}\ndestroy {new}\n");
        self.restore(lines).await
    }

    async fn iptables(&self, family: Family, act: &str) -> Result<Answer, Fault> {
        let set = self.set(family);
        let rule = [
            "-m",
            "set",
            "--match-set",
            &set,
            "src",
            "-m",
            "comment",
            "--comment",
            MARK,
        ];
        let mut arguments = vec!["-w", LOCK_WAIT_SECS, "-t", "raw", act, "PREROUTING"];
        arguments.extend(rule.iter().chain(&["-j", "DROP"]));
        Ok(self.programs.run(family.iptables, &arguments).await?)
    }

    /// Whether the rule stands. Errors: that cannot be told.
    async fn has_rule(&self, family: Family) -> Result<bool, Fault> {
        let answer = self.iptables(family, "-C").await?;
        let is_absent = ["matching rule", "No chain/target/match", "doesn't exist"];
        match answer.code {
            Some(0) => Ok(true),
            Some(1 | 2) if is_absent.iter().any(|words| answer.complains_of(words)) => Ok(false),
            _ => Err(answer.fault(&format!("{} -C", family.iptables))),
        }
    }

    async fn rule_up(&self, family: Family) -> Result<(), Fault> {
        if self.has_rule(family).await? {
            return Ok(());
        }
        let answer = self.iptables(family, "-I").await?;
        match answer.is_good() {
            true => Ok(()),
            false => Err(answer.fault(&format!("{} -I", family.iptables))),
        }
    }
}

#[async_trait]
impl Backend for Ipset {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: 1000,
            members: self.members,
            slack: Duration::from_secs(3),
        }
    }

    async fn ready(&self) -> Result<(), Fault> {
        for family in families() {
            self.set_up(*family).await?;
            self.rule_up(*family).await?;
        }
        Ok(())
    }

    async fn list(&self, _mends: bool) -> Result<Vec<Standing>, Fault> {
        let mut all = Vec::new();
        for family in families() {
            let Some(saved) = self.saved(*family).await? else {
                continue;
            };
            let now = Timestamp::now();
            all.extend(
                saved
                    .entries
                    .iter()
                    .map(|(target, secs)| standing(*target, end(now, *secs))),
            );
        }
        Ok(all)
    }

    async fn edit(&self, edits: &Edits) -> Result<(), Fault> {
        let now = Timestamp::now();
        let mut lines = String::new();
        for target in &edits.take {
            let _ = writeln!(lines, "del {} {target}", self.set(family(*target)));
        }
        for (target, until) in &edits.put {
            let secs = seconds_left(*until, now).min(TIMEOUT_SECS_MAX);
            let _ = writeln!(lines, "add {} {target} timeout {secs}", self.set(family(*target)));
        }
        self.restore(lines).await
    }

    async fn look(&self) -> Result<String, Fault> {
        let (mut count, mut lacks) = (0, Vec::new());
        for family in families() {
            match self.saved(*family).await? {
                Some(saved) => count += saved.entries.len(),
                None => lacks.push(format!("set `{}`", self.set(*family))),
            }
            if !self.has_rule(*family).await? {
                lacks.push(format!("the rule of {}", family.iptables));
            }
        }
        let stands = format!("ipset answers, {count} of at most {} addresses stand", self.members);
        Ok(match lacks.is_empty() {
            true => stands,
            false => format!("{stands}; not yet there: {}", lacks.join(", ")),
        })
    }

    fn nowhere(&self, target: Target) -> Option<String> {
        let is_off = family(target) == V6 && !has_v6();
        is_off.then(|| "IPv6 is off on this host".to_owned())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes =
            vec!["starts `ipset` and `iptables`, so it needs root and stands outside the sandbox".to_owned()];
        if !has_v6() {
            notes.push("IPv6 is off on this host: IPv4 alone is shut out".to_owned());
        }
        notes
    }

    fn destination(&self) -> String {
        let sets: Vec<_> = families().iter().map(|family| self.set(*family)).collect();
        format!("ipset {}", sets.join(", "))
    }
}

/// When an entry with so many seconds left ends, as far as it matters yet; without a count it never ends.
fn end(now: Timestamp, secs: u64) -> Option<Timestamp> {
    match secs {
        0 => Some(never(now)),
        _ if secs > FAR_SECS => None,
        _ => Some(after(now, Duration::from_secs(secs))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_unless_it_is_far_and_what_has_none_is_off_whatever_is_wanted() {
        let now = Timestamp::from_micros(0);
        assert_eq!(end(now, 60), Some(Timestamp::from_micros(60_000_000)));
        assert_eq!(end(now, TIMEOUT_SECS_MAX), None);
        assert!(end(now, 0).unwrap() > after(now, Duration::from_secs(TIMEOUT_SECS_MAX)));
    }
}
