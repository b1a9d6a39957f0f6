//! Rules of Windows' firewall that share out addresses.
//!
//! A rule has a list of addresses that is written as a whole, and a long list makes every change slow; so there are many
//! rules, `PREFIX-0`, `PREFIX-1` and so on, each with some. A rule without a list is a rule about everybody, so there is
//! none: the last address takes its rule away.

use std::collections::{BTreeMap, BTreeSet};

use trapline_schemas::text::clean_within;
use trapline_sink::set::Target;
use trapline_sink::{Fault, FaultKind};

use crate::entry::{Entry, entry};
use crate::sink::Edits;

/// Most rules that are read.
const SHARDS_MAX: u32 = 10_000;

/// The rules of ours, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shards(BTreeMap<u32, Shard>);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shard {
    targets: BTreeSet<Target>,
    /// Whether it does not block anybody as it stands.
    is_idle: bool,
    /// Whether it must be written: it was changed, by us or somebody else.
    is_off: bool,
}

impl Shards {
    /// Reads lines of `rule NAME ENABLED DIRECTION ACTION ADDRESSES`; rules whose names are not `PREFIX-NUMBER` are others'.
    /// Errors: a line that is none.
    pub fn read(lines: &[String], prefix: &str) -> Result<Self, Fault> {
        let mut shards = BTreeMap::new();
        for line in lines {
            let rest = line.strip_prefix("rule ").ok_or_else(|| unreadable(line))?;
            let mut words = rest.rsplitn(5, ' ');
            let (from, action, direction, enabled) = (words.next(), words.next(), words.next(), words.next());
            let name = words.next().ok_or_else(|| unreadable(line))?;
            let Some(number) = number(name, prefix) else { continue };
            let is_right = (enabled, direction, action) == (Some("True"), Some("Inbound"), Some("Block"));
            shards.insert(number, Shard::read(from.unwrap_or(""), is_right));
        }
        Ok(Self(shards))
    }

    /// All addresses; those of rules that do not block are not among them.
    pub fn targets(&self) -> BTreeSet<Target> {
        let blocking = self.0.values().filter(|shard| !shard.is_idle);
        blocking.flat_map(|shard| shard.targets.iter().copied()).collect()
    }

    /// Makes the edits, `room` addresses a rule; rules that must be written are noted.
    pub fn edit(&mut self, edits: &Edits, room: usize) {
        for target in &edits.take {
            self.take(*target);
        }
        for (target, _) in &edits.put {
            if !self.0.values().any(|shard| shard.targets.contains(target)) {
                let shard = self.with_room(room);
                shard.is_off |= shard.targets.insert(*target);
            }
        }
    }

    fn take(&mut self, target: Target) {
        for shard in self.0.values_mut() {
            shard.is_off |= shard.targets.remove(&target);
        }
    }

    /// The first rule with room, or a new one.
    fn with_room(&mut self, room: usize) -> &mut Shard {
        let has_room = |number: &u32| self.0.get(number).is_none_or(|shard| shard.targets.len() < room);
        let number = (0..SHARDS_MAX).find(has_room).unwrap_or(SHARDS_MAX);
        self.0.entry(number).or_default()
    }

    /// The requests that write what must be written; a rule without addresses is taken away.
    pub fn requests(&self, group: &str, prefix: &str) -> Vec<String> {
        let off = self.0.iter().filter(|(_, shard)| shard.is_off);
        off.map(|(number, shard)| shard.request(group, &format!("{prefix}-{number}")))
            .collect()
    }
}

/// The number of a rule of ours, as we write it.
fn number(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    let number = digits.parse().ok().filter(|number| *number <= SHARDS_MAX)?;
    (digits == u32::to_string(&number)).then_some(number)
}

impl Shard {
    /// A list with anything but targets in it (`Any`, a range) is to be written anew, without that.
    fn read(from: &str, is_right: bool) -> Self {
        let entries = || from.split(',').map(entry);
        let targets = entries().filter_map(|entry| match entry {
            Entry::Target(target) => Some(target),
            _ => None,
        });
        Self {
            targets: targets.collect(),
            is_idle: !is_right,
            is_off: !is_right || entries().any(|entry| !matches!(entry, Entry::Target(_))),
        }
    }

    fn request(&self, group: &str, name: &str) -> String {
        let from: Vec<_> = self.targets.iter().map(ToString::to_string).collect();
        match from.is_empty() {
            true => format!("take {name}"),
            false => format!("put {group} {name} {}", from.join(",")),
        }
    }
}

fn unreadable(line: &str) -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: format!(
            "PowerShell said what is no rule: `{}`",
            clean_within(line.as_bytes(), 80)
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::Timestamp;

    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn put(texts: &[&str]) -> Edits {
        let end = Timestamp::from_micros(i64::MAX);
        Edits {
            put: texts.iter().map(|text| (target(text), end)).collect(),
            ..Edits::default()
        }
    }

    #[test]
    fn rules_are_read_by_their_names_and_those_of_others_left_alone() {
        let shards = Shards::read(
            &lines(&[
                "rule t-0 True Inbound Block 203.0.113.7,203.0.113.0/255.255.255.0",
                "rule t-01 True Inbound Block 192.0.2.1",
                "rule Core Networking (DNS) True Outbound Allow Any",
                "rule t-x True Inbound Block 192.0.2.1",
            ]),
            "t",
        )
        .unwrap();
        assert_eq!(
            shards.targets(),
            BTreeSet::from([target("203.0.113.7"), target("203.0.113.0/24")])
        );
        assert_eq!(shards.requests("g", "t"), Vec::<String>::new());
        assert!(Shards::read(&lines(&["what"]), "t").is_err());
    }

    #[test]
    fn a_rule_of_ours_that_blocks_everybody_or_nobody_is_written_anew() {
        let shards = Shards::read(
            &lines(&[
                "rule t-0 True Inbound Block Any",
                "rule t-1 False Inbound Block 192.0.2.1",
                "rule t-2 True Inbound Block 192.0.2.2,10.0.0.1-10.0.0.9",
                "rule t-3 True Inbound Allow 192.0.2.3",
            ]),
            "t",
        )
        .unwrap();
        assert_eq!(
            shards.requests("g", "t"),
            [
                "take t-0",
                "put g t-1 192.0.2.1",
                "put g t-2 192.0.2.2",
                "put g t-3 192.0.2.3"
            ]
        );
    }

    #[test]
    fn addresses_fill_rules_and_the_last_takes_its_rule_away() {
        let mut shards = Shards::default();
        shards.edit(&put(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]), 2);
        assert_eq!(
            shards.requests("g", "t"),
            ["put g t-0 192.0.2.1,192.0.2.2", "put g t-1 2001:db8::1"]
        );
        let stood = lines(&[
            "rule t-0 True Inbound Block 192.0.2.1,192.0.2.2",
            "rule t-1 True Inbound Block 2001:db8::1",
        ]);
        let mut shards = Shards::read(&stood, "t").unwrap();
        let edits = Edits {
            take: vec![target("2001:db8::1"), target("198.51.100.9")],
            ..put(&["192.0.2.2"])
        };
        shards.edit(&edits, 2);
        assert_eq!(shards.requests("g", "t"), ["take t-1"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_rules_or_a_fault(name in "[ -~]{0,12}", from in "[ -~]{0,40}") {
            for line in [format!("rule {name} True Inbound Block {from}"), format!("rule t-1 {from}"), name] {
                if let Ok(shards) = Shards::read(&[line], "t") {
                    prop_assert!(shards.requests("g", "t").len() <= 1);
                }
            }
        }

        #[test]
        fn whatever_is_edited_no_rule_is_empty_or_too_long(hosts in prop::collection::vec((any::<u8>(), any::<bool>()), 0..60)) {
            let mut shards = Shards::default();
            for (host, is_put) in hosts {
                let text = format!("192.0.2.{host}");
                let edits = match is_put {
                    true => put(&[&text]),
                    false => Edits { take: vec![target(&text)], ..Edits::default() },
                };
                shards.edit(&edits, 3);
                for request in shards.requests("g", "t") {
                    let words: Vec<_> = request.split(' ').collect();
                    match words.as_slice() {
                        ["put", "g", _, from] => prop_assert!((1..=3).contains(&from.split(',').filter(|a| !a.is_empty()).count())),
                        ["take", _] => {}
                        _ => prop_assert!(false, "{request}"),
                    }
                }
            }
        }
    }
}
