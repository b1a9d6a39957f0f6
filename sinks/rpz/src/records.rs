//! The records of a zone's transfer.
//!
//! In: the messages of an AXFR, in order. Out: each record of the zone to a [`Walk`], and whether the transfer is
//! complete: it begins and ends with the SOA (RFC 5936 section 2.2). Nothing is believed before the last signature held,
//! which is the caller's business.

use domain::base::iana::{Class, Rtype};
use domain::base::name::ToName;
use domain::base::{Message, ParsedRecord};
use domain::rdata::{Cname, Soa, Txt};

use crate::ledger::{Data, Walk};
use crate::policy::Policy;
use crate::zone::{Zone, plain};

/// Most records of a zone.
pub const RECORDS_MAX: usize = 5_000_000;

/// How far a transfer is.
#[derive(Debug, Default)]
pub struct Records {
    /// The serial, once the first SOA was seen.
    pub serial: Option<u32>,
    count: usize,
}

/// Why a transfer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A record or a name cannot be read.
    #[error("sends a transfer that cannot be read")]
    Garbled,
    /// It does not begin with the SOA, goes on behind its end, or changed while it was sent.
    #[error("sends a transfer that does not begin and end with the same soa")]
    Unframed,
    /// It is longer than can be kept.
    #[error(
        "has a zone of more than {RECORDS_MAX} records, or {} policies: keep a zone for trapline alone",
        crate::ledger::ENTRIES_MAX
    )]
    TooMany,
}

impl Records {
    /// Takes a message's records in; `true` if they were the last.
    pub fn take(&mut self, message: &Message<Vec<u8>>, zone: &Zone, walk: &mut Walk<'_>) -> Result<bool, Unreadable> {
        let mut is_over = false;
        for record in message.answer().map_err(|_| Unreadable::Garbled)? {
            let record = record.map_err(|_| Unreadable::Garbled)?;
            if is_over {
                return Err(Unreadable::Unframed);
            }
            self.count += 1;
            if self.count > RECORDS_MAX {
                return Err(Unreadable::TooMany);
            }
            is_over = match record.rtype() {
                Rtype::SOA => self.frame(&record, zone)?,
                _ if self.serial.is_none() => return Err(Unreadable::Unframed),
                _ => see(&record, zone, walk)?,
            };
        }
        Ok(is_over)
    }

    /// An SOA begins the transfer or ends it.
    fn frame(&mut self, record: &ParsedRecord<'_, Vec<u8>>, zone: &Zone) -> Result<bool, Unreadable> {
        let soa = record.to_record::<Soa<_>>().ok().flatten().ok_or(Unreadable::Garbled)?;
        let serial = soa.data().serial().into_int();
        let is_ours = record.owner().name_eq(zone.apex());
        match self.serial.replace(serial) {
            None if is_ours => Ok(false),
            Some(begun) if is_ours && begun == serial => Ok(true),
            _ => Err(Unreadable::Unframed),
        }
    }
}

fn see(record: &ParsedRecord<'_, Vec<u8>>, zone: &Zone, walk: &mut Walk<'_>) -> Result<bool, Unreadable> {
    let owner = record.owner();
    let Some(below) = zone.below(&owner).filter(|_| record.class() == Class::IN) else {
        return Ok(false);
    };
    let data = match record.rtype() {
        Rtype::CNAME => name(record),
        Rtype::TXT => text(record),
        _ => Some(Data::Other),
    };
    let seen = walk.see(&below, || owner.to_vec(), data.unwrap_or(Data::Other));
    seen.map(|()| false).map_err(|_| Unreadable::TooMany)
}

fn name(record: &ParsedRecord<'_, Vec<u8>>) -> Option<Data> {
    let cname = record.to_record::<Cname<_>>().ok().flatten()?;
    plain(cname.data().cname()).map(|name| Data::Cname(Policy::of_name(&name)))
}

fn text(record: &ParsedRecord<'_, Vec<u8>>) -> Option<Data> {
    let txt = record.to_record::<Txt<_>>().ok().flatten()?;
    let mut strings = txt.data().iter();
    let text = std::str::from_utf8(strings.next()?).ok()?.to_owned();
    strings.next().is_none().then_some(Data::Text(text))
}

#[cfg(test)]
mod tests {
    use domain::base::{MessageBuilder, Serial, Ttl};
    use proptest::prelude::*;

    use super::*;
    use crate::mark::Observer;
    use crate::zone::WireName;

    fn soa(serial: u32) -> Soa<WireName> {
        let name: WireName = "localhost".parse().unwrap();
        let time = Ttl::from_secs(60);
        Soa::new(name.clone(), name, Serial(serial), time, time, time, time)
    }

    fn message(serials: &[u32], names: &[&str]) -> Message<Vec<u8>> {
        let zone = Zone::parse("rpz.example").unwrap();
        let mut message = MessageBuilder::new_vec().answer();
        let (first, last) = serials.split_at(serials.len().min(1));
        for serial in first {
            message.push((zone.apex(), 60, soa(*serial))).unwrap();
        }
        for name in names {
            let root: WireName = ".".parse().unwrap();
            message.push((zone.name(name).unwrap(), 60, Cname::new(root))).unwrap();
        }
        for serial in last {
            message.push((zone.apex(), 60, soa(*serial))).unwrap();
        }
        message.into_message()
    }

    fn taken(messages: &[Message<Vec<u8>>]) -> Result<bool, Unreadable> {
        let (zone, observer) = (Zone::parse("rpz.example").unwrap(), Observer::new("o"));
        let (mut records, mut walk) = (Records::default(), Walk::new(&observer));
        let mut is_over = false;
        for message in messages {
            is_over = records.take(message, &zone, &mut walk)?;
        }
        Ok(is_over)
    }

    #[test]
    fn a_transfer_begins_and_ends_with_its_soa() {
        let name = "32.7.113.0.203.rpz-ip";
        assert_eq!(taken(&[message(&[7, 7], &[name])]), Ok(true));
        assert_eq!(taken(&[message(&[7], &[name]), message(&[7], &[])]), Ok(true));
        assert_eq!(taken(&[message(&[7], &[name])]), Ok(false));
        for wrong in [
            message(&[], &[name]),
            message(&[7, 8], &[name]),
            message(&[7, 7, 7], &[name]),
        ] {
            assert_eq!(taken(&[wrong]), Err(Unreadable::Unframed));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_records_or_unreadable(
            bytes in prop::collection::vec(any::<u8>(), 12..300),
            at in 0..200usize,
            with in any::<u8>(),
        ) {
            let _ = taken(&[Message::from_octets(bytes).unwrap()]);
            let mut good = message(&[7, 7], &["32.7.113.0.203.rpz-ip"]).into_octets();
            if let Some(byte) = good.get_mut(at) {
                *byte = with;
            }
            let _ = taken(&[Message::from_octets(good).unwrap()]);
        }
    }
}
