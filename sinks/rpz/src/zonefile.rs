//! The policy zone as a file (RFC 1035 section 5).
//!
//! In: entries and a serial. Out: the text, one record a line and each name whole, and back. The file is ours as a whole:
//! what is not in it as we write it is lost when it is written again.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use trapline_schemas::Timestamp;
use uuid::Uuid;

use crate::mark::Mark;
use crate::policy::Policy;
use crate::trigger::Trigger;
use crate::zone::Zone;

/// What stands in the file, in the order of the file.
pub type Entries = BTreeMap<Trigger, Entry>;

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is written.
    pub policy: Policy,
    /// The decision behind it.
    pub decision: Uuid,
    /// The comment behind the record: a mark's text.
    comment: String,
}

impl Entry {
    /// An entry of a decision that ends then.
    pub fn new(policy: Policy, decision: Uuid, until: Timestamp) -> Self {
        let mark = Mark {
            decision,
            until,
            policy: policy.clone(),
        };
        let comment = mark.to_string();
        Self {
            policy,
            decision,
            comment,
        }
    }
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its serial, if it has one.
    pub serial: Option<u32>,
    /// Its policies.
    pub entries: Entries,
}

/// The text of a zone.
pub fn written(zone: &Zone, ttl: u32, serial: u32, entries: &Entries) -> String {
    let mut text = format!(
        "; Written by trapline as a whole: what is changed by hand is lost.\n\
         {zone}. {ttl} IN SOA localhost. root.localhost. {serial} 3600 600 86400 {ttl}\n\
         {zone}. {ttl} IN NS localhost.\n"
    );
    for (trigger, entry) in entries {
        let Entry { policy, comment, .. } = entry;
        let _ = writeln!(text, "{trigger}.{zone}. {ttl} IN CNAME {policy} ; {comment}");
    }
    text
}

/// Reads what [`written`] wrote. Lines that it did not write are left out: the caller sees the difference in the text.
pub fn read(text: &str, zone: &Zone) -> Content {
    let mut content = Content::default();
    let ending = format!(".{zone}.");
    for line in text.lines() {
        let mut words = line.split(' ');
        let owner = words.next().unwrap_or_default();
        match words.nth(2) {
            Some("SOA") => content.serial = words.nth(2).and_then(|serial| serial.parse().ok()),
            Some("CNAME") => content.entries.extend(entry(owner.strip_suffix(&ending), line)),
            _ => {}
        }
    }
    content
}

fn entry(below: Option<&str>, line: &str) -> Option<(Trigger, Entry)> {
    let trigger = Trigger::parse(below?)?;
    let (record, comment) = line.split_once(" ; ")?;
    let policy = Policy::of_name(record.rsplit(' ').next()?.strip_suffix('.')?);
    let (decision, said) = Mark::parse(comment)?;
    let comment = comment.to_owned();
    (said == policy).then_some((
        trigger,
        Entry {
            policy,
            decision,
            comment,
        },
    ))
}

/// The serial behind `last`: the time in seconds, and always a later one (RFC 1982).
pub fn next_serial(last: Option<u32>, now: Timestamp) -> u32 {
    let seconds = u32::try_from(now.micros() / 1_000_000).unwrap_or(1);
    match last {
        // Later by the arithmetic of serials: less than half of all numbers ahead.
        Some(last) if seconds.wrapping_sub(last).wrapping_sub(1) >= HALF => last.wrapping_add(1).max(1),
        _ => seconds,
    }
}

const HALF: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::Kind;

    fn zone() -> Zone {
        Zone::parse("rpz.example").unwrap()
    }

    fn entries() -> Entries {
        let entry = |policy| Entry::new(policy, Uuid::from_u128(7), Timestamp::from_micros(60_000_000));
        let trigger = |kind, net: &str| Trigger::new(kind, net.parse().unwrap());
        Entries::from([
            (trigger(Kind::ClientIp, "10.0.0.7/32"), entry(Policy::Drop)),
            (trigger(Kind::Ip, "2001:db8::9/128"), entry(Policy::Nxdomain)),
            (
                trigger(Kind::Ip, "203.0.113.0/24"),
                entry(Policy::Garden("q.example".into())),
            ),
        ])
    }

    #[test]
    fn a_file_reads_back() {
        let text = written(&zone(), 30, 17, &entries());
        let content = Content {
            serial: Some(17),
            entries: entries(),
        };
        assert_eq!(read(&text, &zone()), content, "{text}");
        assert!(
            text.contains("\n32.7.0.0.10.rpz-client-ip.rpz.example. 30 IN CNAME rpz-drop. ; decision="),
            "{text}"
        );
    }

    #[test]
    fn a_serial_never_goes_back() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(next_serial(None, at(1000)), 1000);
        assert_eq!(next_serial(Some(900), at(1000)), 1000);
        assert_eq!(next_serial(Some(1000), at(1000)), 1001);
        assert_eq!(next_serial(Some(5000), at(1000)), 5001);
        assert_eq!(next_serial(Some(u32::MAX), at(3_000_000_000)), 1);
        assert_eq!(next_serial(Some(u32::MAX), at(1000)), 1000);
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_file_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400usize) {
            read(&String::from_utf8_lossy(&bytes), &zone());
            let mut text = written(&zone(), 30, 17, &entries()).into_bytes();
            text.splice(at.min(text.len())..at.min(text.len()), bytes);
            let content = read(&String::from_utf8_lossy(&text), &zone());
            let again = written(&zone(), 30, 17, &content.entries);
            prop_assert_eq!(read(&again, &zone()).entries, content.entries);
        }

        #[test]
        fn a_serial_is_later_than_the_last_one(last in any::<u32>(), now in 0..u32::MAX) {
            let next = next_serial(Some(last), Timestamp::from_micros(i64::from(now) * 1_000_000));
            prop_assert!(next != last && next.wrapping_sub(last) <= 1 << 31);
        }
    }
}
