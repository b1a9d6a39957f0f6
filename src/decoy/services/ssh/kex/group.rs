//! Finite-field Diffie-Hellman, in a fixed group or in one that the client asks for by size.
//!
//! Source: RFC 4253 section 8, RFC 4419; the checks of OpenSSH's dh.c.

use rand::RngCore as _;
use rand::seq::IndexedRandom as _;

use super::Agreement;
use crate::decoy::number;
use crate::decoy::services::ssh::wire::{Reader, Writer, trimmed};

/// All groups: name, bits, generator and prime, a line each.
static GROUPS: &str = include_str!("groups.txt");

/// Bytes of the server's secret exponent: twice what the strongest cipher is worth.
const EXPONENT_BYTES: usize = 64;

/// Sizes that OpenSSH gives, whatever is asked for, bits.
const BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// A group.
#[derive(Debug, Clone)]
pub(in super::super) struct Group {
    bits: u32,
    /// Generator, one byte.
    pub(in super::super) generator: u8,
    /// The prime, big end first.
    pub(in super::super) prime: Vec<u8>,
}

impl Group {
    fn read(line: &str) -> Option<(&str, Self)> {
        let mut words = line.split(' ');
        let name = words.next().filter(|name| *name != "#")?;
        let bits = words.next()?.parse().ok()?;
        let generator = words.next()?.parse().ok()?;
        let prime = unhex(words.next()?)?;
        let group = Self { bits, generator, prime };
        Some((name, group))
    }

    /// Answers a client's public value: within bounds and of more than a few bits, as OpenSSH wants it.
    pub(super) fn agree(&self, theirs: &[u8]) -> Option<Agreement> {
        let theirs = trimmed(theirs);
        let ones: u32 = theirs.iter().map(|byte| byte.count_ones()).sum();
        if ones < 4 || !self.is_below_end(theirs) {
            return None;
        }
        let mut exponent = [0; EXPONENT_BYTES];
        rand::rng().fill_bytes(&mut exponent);
        let ours = number::power(&[self.generator], &exponent, &self.prime)?;
        let shared = number::power(theirs, &exponent, &self.prime)?;
        let secret = Writer::default().number(&shared).done();
        Some(Agreement { ours, secret })
    }

    /// Whether a number is below the prime less one, which is even: the same but for its last bit.
    fn is_below_end(&self, number: &[u8]) -> bool {
        let mut end = self.prime.clone();
        if let Some(last) = end.last_mut() {
            *last &= 0xfe;
        }
        (number.len(), number) < (end.len(), end.as_slice())
    }
}

/// A group of RFC 3526 by its number.
pub(super) fn fixed(name: &str) -> Option<Group> {
    let mut groups = GROUPS.lines().filter_map(Group::read);
    groups.find(|(found, _)| *found == name).map(|(_, group)| group)
}

/// The sizes that a client asks for, bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    /// At least.
    pub(in super::super) min: u32,
    /// Best.
    pub(in super::super) best: u32,
    /// At most.
    pub(in super::super) max: u32,
}

impl Wanted {
    /// Reads `SSH_MSG_KEX_DH_GEX_REQUEST` behind its number.
    pub(in super::super) fn read(mut from: Reader<'_>) -> Option<Self> {
        let wanted = Self {
            min: from.u32()?,
            best: from.u32()?,
            max: from.u32()?,
        };
        from.is_empty().then_some(wanted)
    }

    /// A group of the size that OpenSSH's dh.c chooses: the smallest that is no smaller than what is best, else the
    /// largest; one of several at random. `None`: what is asked for cannot be.
    pub(in super::super) fn choose(self) -> Option<Group> {
        let min = self.min.max(*BITS.start());
        let max = self.max.min(*BITS.end());
        let best = self.best.clamp(*BITS.start(), *BITS.end());
        if max < min || best < min || max < best {
            return None;
        }
        let groups = || {
            GROUPS
                .lines()
                .filter_map(Group::read)
                .filter(|(name, _)| *name == "moduli")
        };
        let fitting = || {
            groups()
                .map(|(_, group)| group.bits)
                .filter(|bits| (min..=max).contains(bits))
        };
        let size = fitting().filter(|bits| *bits >= best).min().or_else(|| fitting().max());
        let several: Vec<_> = groups().filter(|(_, group)| Some(group.bits) == size).collect();
        several
            .choose(&mut rand::rng())
            .map(|(_, group)| group.clone())
            .or_else(|| fallback(max))
    }
}

/// What OpenSSH gives where no group fits.
fn fallback(max: u32) -> Option<Group> {
    fixed(match max {
        ..3072 => "14",
        3072..6144 => "16",
        _ => "18",
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_group_has_the_bits_it_says_and_both_sides_agree_in_it() {
        let mut count = 0;
        for line in GROUPS.lines().filter(|line| !line.starts_with('#')) {
            let (_, group) = Group::read(line).expect("a group");
            assert_eq!(group.prime.len() * 8, group.bits as usize);
            assert!(group.prime[0] >= 0x80);
            count += 1;
        }
        assert_eq!(count, 3 + 6 * 8);
        let group = fixed("14").unwrap();
        let exponent = [3; 32];
        let theirs = number::power(&[2], &exponent, &group.prime).unwrap();
        let agreement = group.agree(&[&[0], &theirs[..]].concat()).expect("a good value");
        let shared = number::power(&agreement.ours, &exponent, &group.prime);
        assert_eq!(agreement.secret, Writer::default().number(&shared.unwrap()).done());
    }

    #[test]
    fn a_value_that_gives_the_secret_away_is_refused() {
        let group = fixed("14").unwrap();
        let mut end = group.prime.clone();
        *end.last_mut().unwrap() -= 1;
        let end = [&[0], &end[..]].concat();
        let prime = [&[0], &group.prime[..]].concat();
        for theirs in [&[][..], &[0], &[1], &[2], &[0x80, 0x81], &end, &prime, &[1; 300]] {
            assert!(group.agree(theirs).is_none());
        }
    }

    #[test]
    fn the_group_is_of_the_size_that_openssh_chooses() {
        let choose = |min, best, max| Wanted { min, best, max }.choose().map(|group| group.bits);
        assert_eq!(choose(2048, 3072, 8192), Some(3072));
        assert_eq!(choose(1024, 1024, 8192), Some(2048));
        assert_eq!(choose(2048, 3073, 8192), Some(4096));
        assert_eq!(choose(2048, 9000, 9000), Some(8192));
        assert_eq!(choose(3000, 3000, 3071), Some(2048), "none fits: a fixed group");
        for (min, best, max) in [
            (1024, 1024, 1024),
            (4096, 2048, 8192),
            (2048, 8192, 4096),
            (9000, 9000, 9000),
        ] {
            assert_eq!(choose(min, best, max), None, "{min} {best} {max}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_ask_for_a_group_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            if let Some(group) = Wanted::read(Reader::new(&bytes)).and_then(Wanted::choose) {
                prop_assert!(BITS.contains(&group.bits));
            }
        }
    }
}
