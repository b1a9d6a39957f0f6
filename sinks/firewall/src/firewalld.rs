//! firewalld: addresses in ipsets of our own, which are sources of a zone that drops all, through `firewall-cmd`.
//!
//! In: edits. Out: `--ipset=… --add-entry=…` and `--remove-entry=…`, `--zone=… --add-source=ipset:…`; all at run time, so
//! the permanent configuration stays as it is.
//!
//! Invariants: 1. the sets `NAME-v4` and `NAME-v6` (hosts), `NAME-net4` and `NAME-net6` (networks; firewalld refuses a host
//! inside a network of the same set) are ours, nothing else is read or changed. 2. What `firewall-cmd --reload` throws away
//! (entries and sources of the run time) comes back when the set is compared next.
//!
//! It does not make the sets: firewalld makes them in its permanent configuration alone, and takes them over by a reload,
//! which throws away what others hold at run time. So that is left to the operator (`config/firewalld/`). An entry has no
//! end there (a set with timeouts cannot be changed through firewalld): it ends while trapline runs, or with the next
//! reload. Connections that are up go on: firewalld lets them through before it looks at sources.
//!
//! Source: firewall-cmd(1), firewalld.ipset(5); tried with firewalld 1.3.3.

use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use trapline_schemas::text::clean_within;
use trapline_sink::set::{SetLimits, Standing, Target};
use trapline_sink::{Fault, FaultKind};

use crate::entry::{Entry, entry, standing};
use crate::run::{Answer, Programs};
use crate::sink::{Backend, Edits};

const COMMAND: &str = "firewall-cmd";

/// Sets and the zone that they are sources of.
#[derive(Debug)]
pub(crate) struct Firewalld {
    programs: Programs,
    /// Name of the sets, without what they hold.
    name: String,
    zone: String,
    members: usize,
}

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    V4,
    V6,
    Net4,
    Net6,
}

impl Holds {
    const ALL: [Self; 4] = [Self::V4, Self::V6, Self::Net4, Self::Net6];

    fn of(target: Target) -> Self {
        match (target.net(), target.is_host()) {
            (IpNet::V4(_), true) => Self::V4,
            (IpNet::V6(_), true) => Self::V6,
            (IpNet::V4(_), false) => Self::Net4,
            (IpNet::V6(_), false) => Self::Net6,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::Net4 => "net4",
            Self::Net6 => "net6",
        }
    }
}

impl Firewalld {
    /// Errors: `firewall-cmd` is missing.
    pub fn new(programs: Programs, name: &str, zone: &str, members: usize) -> Result<Self, Fault> {
        programs.find(COMMAND)?;
        Ok(Self {
            programs,
            name: name.to_owned(),
            zone: zone.to_owned(),
            members,
        })
    }

    fn set(&self, holds: Holds) -> String {
        format!("{}-{}", self.name, holds.suffix())
    }

    /// Asks firewalld. Errors: it is not there, or refuses.
    async fn ask(&self, arguments: &[String]) -> Result<String, Fault> {
        let answer = self.programs.run(COMMAND, arguments).await?;
        match answer.is_good() {
            true => Ok(answer.out),
            false => Err(self.fault(&answer, arguments)),
        }
    }

    fn fault(&self, answer: &Answer, arguments: &[String]) -> Fault {
        let is_away = answer.complains_of("not running") || answer.complains_of("Failed to connect to socket");
        if is_away {
            return Fault {
                kind: FaultKind::Unreachable,
                message: "firewalld is not running: start it (`systemctl start firewalld`)".to_owned(),
            };
        }
        let lacks = |message: String| Fault {
            kind: FaultKind::Config,
            message,
        };
        if answer.complains_of("INVALID_IPSET") {
            let sets = Holds::ALL.map(|holds| format!("`{}`", self.set(holds))).join(", ");
            return lacks(format!(
                "firewalld lacks one of the ipsets {sets}: copy the files of config/firewalld to /etc/firewalld/ipsets and run `firewall-cmd --reload`"
            ));
        }
        if answer.complains_of("INVALID_ZONE") {
            return lacks(format!(
                "firewalld has no zone `{}`: set `zone` to one that drops all",
                self.zone
            ));
        }
        let act = arguments.last().and_then(|last| last.split('=').next()).unwrap_or("");
        answer.fault(&format!("{COMMAND} {act}"))
    }

    fn zone(&self) -> String {
        format!("--zone={}", self.zone)
    }

    /// The sources of the zone that are missing, as arguments that add them.
    async fn sources_missing(&self) -> Result<Vec<String>, Fault> {
        let said = self.ask(&[self.zone(), "--list-sources".to_owned()]).await?;
        let stands: Vec<_> = said.split_ascii_whitespace().collect();
        let sources = Holds::ALL.map(|holds| format!("ipset:{}", self.set(holds)));
        let missing = sources.iter().filter(|source| !stands.contains(&source.as_str()));
        Ok(missing.map(|source| format!("--add-source={source}")).collect())
    }

    async fn entries(&self, holds: Holds) -> Result<Entries, Fault> {
        let set = format!("--ipset={}", self.set(holds));
        Entries::read(&self.ask(&[set, "--get-entries".to_owned()]).await?)
    }

    /// Changes the entries of one set; none: nothing is asked.
    async fn change(&self, holds: Holds, act: &str, entries: Vec<String>) -> Result<(), Fault> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut arguments = vec![format!("--ipset={}", self.set(holds))];
        arguments.extend(entries.iter().map(|entry| format!("--{act}-entry={entry}")));
        self.ask(&arguments).await.map(drop)
    }
}

#[async_trait]
impl Backend for Firewalld {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: 200,
            members: self.members,
            slack: Duration::from_secs(1),
        }
    }

    async fn ready(&self) -> Result<(), Fault> {
        let missing = self.sources_missing().await?;
        if missing.is_empty() {
            return Ok(());
        }
        let arguments: Vec<_> = std::iter::once(self.zone()).chain(missing).collect();
        self.ask(&arguments).await.map(drop)
    }

    async fn list(&self, mends: bool) -> Result<Vec<Standing>, Fault> {
        let [v4, v6, net4, net6] = Holds::ALL.map(|holds| self.entries(holds));
        let sets = tokio::try_join!(v4, v6, net4, net6)?;
        let mut all = Vec::new();
        for (holds, entries) in Holds::ALL.into_iter().zip([sets.0, sets.1, sets.2, sets.3]) {
            all.extend(entries.targets.into_iter().map(|target| standing(target, None)));
            if mends {
                self.change(holds, "remove", entries.foreign).await?;
            }
        }
        Ok(all)
    }

    async fn edit(&self, edits: &Edits) -> Result<(), Fault> {
        let shown = |targets: &mut dyn Iterator<Item = &Target>, holds| {
            let of_it = targets.filter(|target| Holds::of(**target) == holds);
            of_it.map(ToString::to_string).collect::<Vec<_>>()
        };
        for holds in Holds::ALL {
            let take = shown(&mut edits.take.iter(), holds);
            self.change(holds, "remove", take).await?;
            let put = shown(&mut edits.put.iter().map(|(target, _)| target), holds);
            self.change(holds, "add", put).await?;
        }
        Ok(())
    }

    async fn look(&self) -> Result<String, Fault> {
        let missing = self.sources_missing().await?.len();
        let count = self.list(false).await?.len();
        let stands = format!("firewalld answers, {count} addresses stand");
        Ok(match missing {
            0 => stands,
            _ => format!("{stands}; zone `{}` has not yet our sets as sources", self.zone),
        })
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "starts `firewall-cmd`, five times for each comparison: it needs root, stands outside the sandbox, and a longer `interval` spares the host".to_owned(),
            "firewalld ends no entry by itself: each ends while trapline runs, or with a reload of firewalld".to_owned(),
            "connections that are up go on: firewalld looks at sources of new ones alone".to_owned(),
        ]
    }

    fn destination(&self) -> String {
        format!("firewalld zone {}, ipsets {}-*", self.zone, self.name)
    }
}

/// What stands in a set.
#[derive(Debug, PartialEq, Eq, Default)]
struct Entries {
    targets: Vec<Target>,
    /// Networks that are too wide to be ours, as firewalld writes them.
    foreign: Vec<String>,
}

impl Entries {
    /// Reads one entry a line. Errors: a line that has no address.
    fn read(text: &str) -> Result<Self, Fault> {
        let mut all = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match entry(line) {
                Entry::Target(target) => all.targets.push(target),
                Entry::Wide(net) => all.foreign.push(net.to_string()),
                Entry::Unreadable => return Err(unreadable(line)),
            }
        }
        all.targets.sort_unstable();
        all.targets.dedup();
        Ok(all)
    }
}

fn unreadable(line: &str) -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: format!(
            "an ipset of ours holds what is no address: `{}`",
            clean_within(line.as_bytes(), 80)
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_read_and_what_is_too_wide_is_told_apart() {
        let all = Entries::read("203.0.113.7\n2001:db8::/64\n10.0.0.0/8\n203.0.113.7\n\n").unwrap();
        let shown: Vec<_> = all.targets.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["203.0.113.7", "2001:db8::/64"]);
        assert_eq!(all.foreign, ["10.0.0.0/8"]);
        assert!(Entries::read("somebody\n").is_err());
    }

    #[test]
    fn hosts_and_networks_have_sets_of_their_own() {
        let set = |text: &str| Holds::of(text.parse().unwrap()).suffix();
        assert_eq!(
            ["203.0.113.7", "203.0.113.0/24", "2001:db8::1", "2001:db8::/64"].map(set),
            ["v4", "net4", "v6", "net6"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_of_firewalld_are_entries_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entries::read(&String::from_utf8_lossy(&bytes));
        }
    }
}
