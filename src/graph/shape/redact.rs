//! `redact`: fields that the sinks behind it never see.
//!
//! What stands in place of a value:
//!
//! | with | text | address | id | anything else |
//! |---|---|---|---|---|
//! | `mask` | `***` | its network, /24 or /48 | taken away | taken away |
//! | `remove` | taken away | taken away | taken away | taken away |
//! | `hmac` | 32 hex digits of its HMAC | taken away; `source.address` and `destination.address` have 32 hex digits | a UUIDv8 of its HMAC | taken away |
//!
//! The HMAC is under the site key, so a value has one pseudonym at all sensors of a site, in every field. Derived fields
//! are made from what is left. A value that was hidden is hidden wherever else it stands in the event, in text and in
//! captured bytes ([`super::scrub`]); the community id, an unkeyed hash of both addresses, goes with either of them.
//! What no field of the event holds is not known: a user's name in bytes of a session that told no name stays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smol_str::SmolStr;
use trapline_schemas::ids::SiteKey;
use trapline_schemas::{Event, Field, Value, schema};
use uuid::Uuid;

use super::Shaped;
use super::scrub::Scrub;

/// What a masked text is.
const MASK: &str = "***";
/// Keeps pseudonyms apart from all else under the site key.
const LABEL: &[u8] = b"trapline pseudonym v1\0";
/// Hex digits of a pseudonym.
const DIGITS: usize = 32;

/// The settings of a redact.
#[derive(Debug, Clone, PartialEq)]
pub struct RedactSpec {
    /// The fields to hide, all of them stored.
    pub fields: Vec<Field>,
    /// What stands in their place.
    pub with: With,
}

/// What stands in place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// Stars, or the network of an address.
    Mask,
    /// Nothing.
    Remove,
    /// A pseudonym: the value's HMAC under the site key.
    Hmac,
}

/// A redact at work.
#[derive(Debug)]
pub struct Redact {
    spec: RedactSpec,
    key: SiteKey,
}

impl Redact {
    /// A redact; `key` is that of the site.
    pub fn new(spec: &RedactSpec, key: SiteKey) -> Self {
        Self {
            spec: spec.clone(),
            key,
        }
    }

    pub(super) fn shape(&self, event: &Event) -> Shaped {
        let there = |field: &&Field| event.get(**field).is_some();
        if !self.spec.fields.iter().any(|field| there(&field)) {
            return Shaped::Same;
        }
        let mut hidden = event.clone();
        let mut scrub = Scrub::default();
        for field in self.spec.fields.iter().filter(there) {
            if let Some(value) = hidden.remove(*field) {
                self.hide(&mut hidden, &mut scrub, *field, &value);
            }
        }
        self.hide_twins(event, &mut hidden, &mut scrub);
        scrub.clean(&mut hidden);
        if touches_flow(&self.spec.fields) {
            hidden.remove(Field::NetworkCommunityId);
        }
        if self.spec.fields.contains(&Field::SourceIp) {
            // Of a network of a few addresses it is as good as the address.
            hidden.remove(Field::ResponseNetwork);
        }
        Shaped::Changed(Box::new(hidden))
    }

    /// Hides the same addresses in other fields: a source that is the destination too, or in a digest's list.
    fn hide_twins(&self, event: &Event, hidden: &mut Event, scrub: &mut Scrub) {
        let address = |field: &Field| event.ip(*field);
        let addresses: Vec<IpAddr> = self.spec.fields.iter().filter_map(address).collect();
        for (field, value) in event.facts() {
            match value {
                _ if self.spec.fields.contains(field) => {}
                Value::Ip(ip) if addresses.contains(ip) => {
                    hidden.remove(*field);
                    self.hide_address(hidden, scrub, *field, *ip);
                }
                Value::Ips(ips) if ips.iter().any(|ip| addresses.contains(ip)) => {
                    let left: Vec<_> = ips.iter().filter(|ip| !addresses.contains(ip)).copied().collect();
                    hidden.set(*field, left);
                }
                _ => {}
            }
        }
    }

    /// Puts in place of a value what may be seen of it, and has it looked for elsewhere.
    fn hide(&self, event: &mut Event, scrub: &mut Scrub, field: Field, value: &Value) {
        match value {
            // It takes no other word, and the words are ours.
            Value::Text(_) if schema::words(field.name()).is_some() => {}
            Value::Text(text) => {
                let stand_in = self.stand_in(text);
                scrub.look_for(text, stand_in.as_deref().unwrap_or(MASK));
                event.set_some(field, stand_in);
            }
            Value::Texts(texts) => {
                let stand_ins: Vec<_> = texts.iter().map(|text| self.stand_in(text)).collect();
                for (text, stand_in) in texts.iter().zip(&stand_ins) {
                    scrub.look_for(text, stand_in.as_deref().unwrap_or(MASK));
                }
                let left: Vec<SmolStr> = stand_ins.into_iter().flatten().map(SmolStr::from).collect();
                if !left.is_empty() {
                    event.set(field, left);
                }
            }
            Value::Ip(ip) => self.hide_address(event, scrub, field, *ip),
            Value::Ips(ips) => {
                for ip in ips {
                    scrub.look_for(&ip.to_string(), &self.address_word(*ip));
                }
                if self.spec.with == With::Mask {
                    event.set(field, ips.iter().map(|ip| network(*ip)).collect::<Vec<_>>());
                }
            }
            Value::Id(id) => {
                let stand_in = (self.spec.with == With::Hmac).then(|| self.pseudonymous_id(*id));
                let word = stand_in.map_or_else(|| MASK.to_owned(), |id| id.to_string());
                scrub.look_for(&id.to_string(), &word);
                event.set_some(field, stand_in);
            }
            Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Time(_) | Value::Bytes(_) | Value::Ints(_) => {}
        }
    }

    fn hide_address(&self, event: &mut Event, scrub: &mut Scrub, field: Field, ip: IpAddr) {
        scrub.look_for(&ip.to_string(), &self.address_word(ip));
        match (self.spec.with, field) {
            (With::Mask, _) => event.set(field, network(ip)),
            // An address field takes no other text, the one beside it does.
            (With::Hmac, Field::SourceIp) => event.set(Field::SourceAddress, self.address_word(ip)),
            (With::Hmac, Field::DestinationIp) => event.set(Field::DestinationAddress, self.address_word(ip)),
            _ => {}
        }
    }

    /// What stands for a text, in its field and elsewhere.
    fn stand_in(&self, text: &str) -> Option<String> {
        match self.spec.with {
            With::Mask => Some(MASK.to_owned()),
            With::Remove => None,
            With::Hmac => Some(self.pseudonym(text.as_bytes())),
        }
    }

    /// What stands for an address within a text.
    fn address_word(&self, ip: IpAddr) -> String {
        match self.spec.with {
            With::Mask => network(ip).to_string(),
            With::Remove => MASK.to_owned(),
            With::Hmac => self.pseudonym(ip.to_string().as_bytes()),
        }
    }

    fn pseudonym(&self, value: &[u8]) -> String {
        let mut pseudonym = self.key.hmac_hex(&[LABEL, value].concat());
        pseudonym.truncate(DIGITS);
        pseudonym
    }

    fn pseudonymous_id(&self, id: Uuid) -> Uuid {
        let digits = self.pseudonym(id.as_bytes());
        let number = u128::from_str_radix(&digits, 16).unwrap_or_default();
        uuid::Builder::from_custom_bytes(number.to_be_bytes()).into_uuid()
    }
}

/// An address without what tells its host: /24 of IPv4, /48 of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !((1 << 80) - 1)).into(),
    }
}

/// Whether a part of what the community id is made of is to be hidden.
fn touches_flow(fields: &[Field]) -> bool {
    let parts = [Field::SourceIp, Field::DestinationIp];
    parts.iter().any(|part| fields.contains(part))
}
