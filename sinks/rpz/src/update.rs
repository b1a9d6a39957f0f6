//! Changes as RFC 2136 has them: groups of records that are made together or not at all.
//!
//! In: what is to be put and taken. Out: [`Group`]s, and messages of as many groups as fit.
//!
//! Invariants: 1. each change is one group, and a group is never divided: trigger and mark come and go together. 2. A
//! message has at most [`RECORDS_MAX`] records and [`BYTES_MAX`] bytes. 3. A trigger that is not ours is put only under
//! the condition that nothing is there, and one that is ours replaced only if it is still what we wrote: what somebody
//! writes meanwhile fails the message and is never overwritten. 4. What is deleted is one name's mark, or the very
//! record that we wrote: never a whole name, never the zone's own.

use domain::base::iana::{Class, Opcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::rdata::UnknownRecordData;
use domain::base::{MessageBuilder, Record, Ttl};

use crate::policy::Policy;
use crate::zone::{WireName, Zone};

/// Most records of a message.
pub const RECORDS_MAX: usize = 500;
/// Most bytes of a message's records: with TSIG well below the 64 KiB that a message may have over TCP.
pub const BYTES_MAX: usize = 48 * 1024;

/// One record of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    owner: WireName,
    class: Class,
    rtype: Rtype,
    ttl: u32,
    data: Vec<u8>,
}

impl Line {
    fn new(owner: &WireName, class: Class, rtype: Rtype) -> Self {
        Self {
            owner: owner.clone(),
            class,
            rtype,
            ttl: 0,
            data: Vec::new(),
        }
    }

    fn with(self, ttl: u32, data: Vec<u8>) -> Self {
        Self { ttl, data, ..self }
    }

    /// Bytes on the wire; names are not compressed.
    fn len(&self) -> usize {
        self.owner.as_slice().len() + FIXED_BYTES + self.data.len()
    }

    fn record(&self) -> Result<Record<&WireName, UnknownRecordData<&[u8]>>, PushError> {
        let data = UnknownRecordData::from_octets(self.rtype, self.data.as_slice()).map_err(|_| PushError::ShortBuf)?;
        Ok(Record::new(&self.owner, self.class, Ttl::from_secs(self.ttl), data))
    }
}

/// Type, class, TTL and length of a record.
const FIXED_BYTES: usize = 10;

/// Records that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    conditions: Vec<Line>,
    changes: Vec<Line>,
}

impl Group {
    /// How many records, and how many bytes.
    fn size(&self) -> (usize, usize) {
        let lines = || self.conditions.iter().chain(&self.changes);
        (lines().count(), lines().map(Line::len).sum())
    }

    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Nothing at all stands at `owner`.
    #[must_use]
    pub fn if_free(mut self, owner: &WireName) -> Self {
        self.conditions.push(Line::new(owner, Class::NONE, Rtype::ANY));
        self
    }

    /// The CNAME at `owner` is this one.
    #[must_use]
    pub fn if_stands(mut self, owner: &WireName, policy: &Policy) -> Self {
        self.conditions
            .push(Line::new(owner, Class::IN, Rtype::CNAME).with(0, cname(policy)));
        self
    }

    /// Takes this very CNAME away, if it is there.
    #[must_use]
    pub fn take_cname(mut self, owner: &WireName, policy: &Policy) -> Self {
        self.changes
            .push(Line::new(owner, Class::NONE, Rtype::CNAME).with(0, cname(policy)));
        self
    }

    /// Puts a CNAME.
    #[must_use]
    pub fn put_cname(mut self, owner: &WireName, policy: &Policy, ttl: u32) -> Self {
        self.changes
            .push(Line::new(owner, Class::IN, Rtype::CNAME).with(ttl, cname(policy)));
        self
    }

    /// Takes all texts at a name among the marks away.
    #[must_use]
    pub fn take_text(mut self, owner: &WireName) -> Self {
        self.changes.push(Line::new(owner, Class::ANY, Rtype::TXT));
        self
    }

    /// Takes all at a name among the marks away, of whatever type.
    #[must_use]
    pub fn take_all(mut self, owner: &WireName) -> Self {
        self.changes.push(Line::new(owner, Class::ANY, Rtype::ANY));
        self
    }

    /// Puts one text in the place of those before.
    #[must_use]
    pub fn put_text(self, owner: &WireName, text: &str, ttl: u32) -> Self {
        let mut group = self.take_text(owner);
        group
            .changes
            .push(Line::new(owner, Class::IN, Rtype::TXT).with(ttl, character_string(text)));
        group
    }
}

fn cname(policy: &Policy) -> Vec<u8> {
    let labels = policy.name().split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> = labels.flat_map(character_string).collect();
    octets.push(0);
    octets
}

/// A length and as many bytes, as labels and texts have it; cut at what the length can say.
fn character_string(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    std::iter::once(length)
        .chain(text.bytes().take(length.into()))
        .collect()
}

/// How many of the first groups fit into one message; at least one.
pub fn fitting(groups: &[Group]) -> usize {
    let (mut records, mut bytes) = (0, 0);
    let fits = |group: &&Group| {
        let (more, longer) = group.size();
        (records, bytes) = (records + more, bytes + longer);
        records <= RECORDS_MAX && bytes <= BYTES_MAX
    };
    groups.iter().take_while(fits).count().clamp(1, groups.len().max(1))
}

/// The message of these groups, without an id and unsigned.
pub fn message(zone: &Zone, groups: &[Group]) -> Result<AdditionalBuilder<Vec<u8>>, PushError> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_opcode(Opcode::UPDATE);
    let mut section = builder.question();
    section.push((zone.apex().for_slice(), Rtype::SOA, Class::IN))?;
    let mut section = section.answer();
    for line in groups.iter().flat_map(|group| &group.conditions) {
        section.push(line.record()?)?;
    }
    let mut section = section.authority();
    for line in groups.iter().flat_map(|group| &group.changes) {
        section.push(line.record()?)?;
    }
    Ok(section.additional())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone::parse("rpz.example").unwrap()
    }

    fn put(at: usize) -> Group {
        let name = |below: String| zone().name(&below).unwrap();
        let trigger = name(format!("128.{at:x}.zz.2001.rpz-client-ip"));
        let mark = name(format!("128.{at:x}.zz.2001.rpz-client-ip.o._trapline"));
        Group::default()
            .if_free(&trigger)
            .put_cname(&trigger, &Policy::Drop, 30)
            .put_text(&mark, &"x".repeat(250), 30)
    }

    #[test]
    fn a_message_has_the_records_of_its_groups_in_their_sections() {
        let message = message(&zone(), &[put(1), put(2)]).unwrap().into_message();
        let counts = message.header_counts();
        assert_eq!((counts.zocount(), counts.prcount(), counts.upcount()), (1, 2, 6));
        assert_eq!(message.header().opcode(), Opcode::UPDATE);
    }

    #[test]
    fn messages_are_full_but_never_too_long() {
        let mut groups: Vec<_> = (1..=1000).map(put).collect();
        let mut messages = 0;
        while !groups.is_empty() {
            let count = fitting(&groups);
            let message = message(&zone(), &groups[..count]).unwrap().finish();
            assert!(message.len() < BYTES_MAX + 512, "{}", message.len());
            assert!(count > 80 || count == groups.len(), "{count}");
            groups.drain(..count);
            messages += 1;
        }
        assert!(messages <= 12, "{messages}");
        assert_eq!(fitting(&[]), 1);
    }
}
