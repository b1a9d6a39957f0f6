//! Windows' own firewall, by rules that block inbound, through one PowerShell that goes on running.
//!
//! In: edits. Out: requests to `serve.ps1`, which calls `Get-`, `New-`, `Set-` and `Remove-NetFirewallRule`. PowerShell and
//! not `netsh`, for `netsh` speaks the host's language, knows no group, and takes no list of a thousand IPv6 addresses on
//! its command line.
//!
//! Invariants: 1. rules of group `trapline` whose names are `PREFIX-NUMBER` are ours; no other is read further or changed.
//! 2. Each has from 1 to `shard` addresses: none would be everybody. 3. A rule is written as a whole, from what was read just
//! before.
//!
//! It does not end entries by itself: Windows has no such thing. It cannot override a group policy that forbids local
//! rules (`AllowLocalPolicyMerge` false), and says so.
//!
//! Source: Microsoft Learn, module NetSecurity; `INetFwRule::RemoteAddresses`.

mod session;
mod shards;

use std::time::Duration;

use async_trait::async_trait;
use trapline_schemas::text::clean_within;
use trapline_sink::set::{SetLimits, Standing};
use trapline_sink::{Fault, FaultKind};

use crate::entry::standing;
use crate::run::Programs;
use crate::sink::{Backend, Edits};
use session::Session;
use shards::Shards;

/// The group of our rules.
const GROUP: &str = "trapline";

/// Rules of Windows' firewall.
#[derive(Debug)]
pub(crate) struct Windows {
    session: Session,
    /// How our rules' names begin.
    prefix: String,
    /// Most addresses in a rule.
    shard: usize,
    members: usize,
}

impl Windows {
    /// Errors: there is no PowerShell.
    pub fn new(programs: Programs, prefix: &str, shard: usize, members: usize) -> Result<Self, Fault> {
        Ok(Self {
            session: Session::new(programs)?,
            prefix: prefix.to_owned(),
            shard,
            members,
        })
    }

    async fn shards(&self) -> Result<Shards, Fault> {
        let lines = self.session.ask(&format!("rules {GROUP}")).await?;
        Shards::read(&lines, &self.prefix)
    }

    async fn write(&self, shards: &Shards) -> Result<(), Fault> {
        for request in shards.requests(GROUP, &self.prefix) {
            self.session.ask(&request).await?;
        }
        Ok(())
    }

    async fn profiles(&self) -> Result<Profiles, Fault> {
        Profiles::read(&self.session.ask("profiles").await?)
    }
}

#[async_trait]
impl Backend for Windows {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: self.shard,
            members: self.members,
            slack: Duration::from_secs(1),
        }
    }

    /// Errors: no rule of ours has an effect.
    async fn ready(&self) -> Result<(), Fault> {
        self.profiles().await?.effect()
    }

    async fn list(&self, mends: bool) -> Result<Vec<Standing>, Fault> {
        let mut shards = self.shards().await?;
        if mends && !shards.requests(GROUP, &self.prefix).is_empty() {
            self.write(&shards).await?;
            shards = self.shards().await?;
        }
        let targets = shards.targets();
        Ok(targets.into_iter().map(|target| standing(target, None)).collect())
    }

    async fn edit(&self, edits: &Edits) -> Result<(), Fault> {
        let mut shards = self.shards().await?;
        shards.edit(edits, self.shard);
        self.write(&shards).await
    }

    async fn look(&self) -> Result<String, Fault> {
        let profiles = self.profiles().await?;
        profiles.effect()?;
        let count = self.shards().await?.targets().len();
        let stands = format!("Windows' firewall answers, {count} addresses stand");
        Ok(match profiles.without_effect() {
            none if none.is_empty() => stands,
            some => format!("{stands}; without effect in profile {}", some.join(", ")),
        })
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "keeps a PowerShell running, so it needs an administrator".to_owned(),
            "Windows ends no entry by itself: each ends while trapline runs".to_owned(),
        ]
    }

    fn destination(&self) -> String {
        format!("Windows firewall rules {}-*", self.prefix)
    }
}

/// The firewall's profiles: name, whether it is on, whether it regards local rules.
#[derive(Debug, PartialEq, Eq)]
struct Profiles(Vec<(String, bool, bool)>);

impl Profiles {
    /// Reads lines of `profile NAME ENABLED ALLOW`. Errors: a line that is none, or no line at all.
    fn read(lines: &[String]) -> Result<Self, Fault> {
        let profiles: Option<Vec<_>> = lines.iter().map(|line| profile(line)).collect();
        match profiles {
            Some(profiles) if !profiles.is_empty() => Ok(Self(profiles)),
            _ => Err(Fault {
                kind: FaultKind::Server,
                message: format!(
                    "PowerShell said what are no profiles: `{}`",
                    clean_within(lines.concat().as_bytes(), 80)
                ),
            }),
        }
    }

    fn without_effect(&self) -> Vec<String> {
        let off = self.0.iter().filter(|(_, is_on, merges)| !is_on || !merges);
        off.map(|(name, ..)| clean_within(name.as_bytes(), 40).into()).collect()
    }

    /// Errors: no profile that is on regards local rules.
    fn effect(&self) -> Result<(), Fault> {
        if self.0.iter().any(|(_, is_on, merges)| *is_on && *merges) {
            return Ok(());
        }
        let message = match self.0.iter().any(|(_, is_on, _)| *is_on) {
            true => {
                "rules have no effect: group policy forbids local ones (AllowLocalPolicyMerge is false); allow them, or block elsewhere"
            }
            false => {
                "Windows' firewall is off in every profile: turn it on (`Set-NetFirewallProfile -All -Enabled True`)"
            }
        };
        Err(Fault {
            kind: FaultKind::Config,
            message: message.to_owned(),
        })
    }
}

fn profile(line: &str) -> Option<(String, bool, bool)> {
    let mut words = line.split(' ');
    let (Some("profile"), Some(name), Some(enabled), Some(allow), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    // `NotConfigured` stands for the default, which regards them.
    Some((name.to_owned(), enabled == "True", allow != "False"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profiles(text: &str) -> Result<Profiles, Fault> {
        Profiles::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn local_rules_that_no_profile_regards_are_a_fault_that_names_the_policy() {
        let some =
            profiles("profile Domain True False\nprofile Private True NotConfigured\nprofile Public False True\n");
        let some = some.unwrap();
        assert_eq!(some.effect(), Ok(()));
        assert_eq!(some.without_effect(), ["Domain", "Public"]);
        let none = profiles("profile Domain True False\nprofile Public False True\n").unwrap();
        assert!(none.effect().unwrap_err().message.contains("AllowLocalPolicyMerge"));
        let off = profiles("profile Domain False True\n").unwrap();
        assert!(off.effect().unwrap_err().message.contains("off in every profile"));
        assert!(profiles("").is_err() && profiles("profile x").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_profiles_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = profiles(&String::from_utf8_lossy(&bytes));
            let _ = profiles(&format!("profile {}", String::from_utf8_lossy(&bytes)));
        }
    }
}
