//! The policy zone and the names in it.

use std::str::FromStr;

use domain::base::name::{Label, Name, ToName};

/// Longest name, octets (RFC 1035 section 2.3.4).
const NAME_OCTETS_MAX: usize = 255;

/// A name as it is sent.
pub type WireName = Name<Vec<u8>>;

/// The policy zone's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(WireName);

impl Zone {
    /// Reads a zone's name. Errors: why it is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() || !text.chars().all(good) {
            return Err("a domain name of letters, digits, hyphens and dots");
        }
        let mut name = WireName::from_str(text).map_err(|_| "a domain name")?;
        name.make_canonical();
        match name.is_root() {
            true => Err("the name of a zone below the root"),
            false => Ok(Self(name)),
        }
    }

    /// The zone's own name.
    pub const fn apex(&self) -> &WireName {
        &self.0
    }

    /// The name `below` the zone; `None` if there is nothing below or it is too long.
    pub fn name(&self, below: &str) -> Option<WireName> {
        let mut octets = Vec::with_capacity(NAME_OCTETS_MAX);
        for label in below.split('.') {
            if label.is_empty() || label.len() > Label::MAX_LEN {
                return None;
            }
            octets.push(u8::try_from(label.len()).ok()?);
            octets.extend_from_slice(label.as_bytes());
        }
        octets.extend_from_slice(self.0.as_slice());
        WireName::from_octets(octets).ok()
    }

    /// What stands before the zone's name, in small letters; `None` for the zone itself, for names beyond it, and for
    /// names with other signs than ours have.
    pub fn below(&self, name: &impl ToName) -> Option<String> {
        if !name.ends_with(&self.0) {
            return None;
        }
        let count = name.iter_labels().count().checked_sub(self.0.label_count())?;
        let labels: Option<Vec<_>> = name.iter_labels().take(count).map(text).collect();
        Some(labels?.join(".")).filter(|below| !below.is_empty())
    }
}

/// A name in small letters without the dot at the end; `None` if it has other signs than hosts have, or a `*`.
pub fn plain(name: &impl ToName) -> Option<String> {
    let labels: Option<Vec<_>> = name.iter_labels().filter(|label| !label.is_root()).map(text).collect();
    Some(labels?.join("."))
}

fn text(label: &Label) -> Option<String> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*');
    let bytes = label.as_slice();
    let good = bytes.iter().all(good);
    good.then(|| bytes.iter().map(|byte| byte.to_ascii_lowercase() as char).collect())
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_below_the_zone_and_nowhere_else() {
        let zone = Zone::parse("RPZ.Example").unwrap();
        assert_eq!(zone.to_string(), "rpz.example");
        let name = zone.name("32.7.113.0.203.rpz-ip").unwrap();
        assert_eq!(name.to_string(), "32.7.113.0.203.rpz-ip.rpz.example");
        assert_eq!(zone.below(&name).as_deref(), Some("32.7.113.0.203.rpz-ip"));
        assert_eq!(zone.below(zone.apex()), None);
        for beyond in ["example", "x.example", "xrpz.example", "a b.rpz.example"] {
            assert_eq!(zone.below(&WireName::from_str(beyond).unwrap()), None, "{beyond}");
        }
        let large = WireName::from_str("A.RPZ.EXAMPLE").unwrap();
        assert_eq!(zone.below(&large).as_deref(), Some("a"));
    }

    #[test]
    fn a_name_that_is_too_long_or_empty_is_none() {
        let long = [["a"; 50].join("."), ["b"; 50].join(".")].join(".");
        let zone = Zone::parse(&long).unwrap();
        assert!(zone.name("32.7.113.0.203.rpz-ip").is_some());
        assert!(
            zone.name("128.1.2.3.4.5.6.7.2001.rpz-client-ip.some-long-observer._trapline")
                .is_none()
        );
        for wrong in ["", ".", "a..b", "a."] {
            assert!(zone.name(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in ["", ".", "a b", "a..b", "a\\.b", "x/y", &"a".repeat(64)] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_name_are_below_the_zone_or_nothing(octets in prop::collection::vec(any::<u8>(), 0..60)) {
            let zone = Zone::parse("a").unwrap();
            let mut octets = octets;
            octets.extend([1, b'a', 0]);
            if let Ok(name) = WireName::from_octets(octets) {
                if let Some(below) = zone.below(&name) {
                    prop_assert_eq!(zone.name(&below), Some(name.clone()));
                }
                let _ = plain(&name);
            }
        }
    }
}
