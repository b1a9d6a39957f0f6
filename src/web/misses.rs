//! Wrong tokens by source: the first few are answered, then their source waits.
//!
//! 256 random bits are not guessed: what is kept small is the noise and the work. So a right token is taken whatever its
//! neighbours did, and nobody is locked out by a stranger behind the same address.
//!
//! Bounded: [`SOURCES_MAX`] sources, an IPv6 one being its /64; the one that is longest quiet makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens of a source that are answered in a window.
pub(super) const MISSES_MAX: u32 = 5;
/// From the first wrong one on.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Sources that are remembered.
const SOURCES_MAX: usize = 1024;

/// What a wrong token leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How long its source should wait, if it should.
    pub(super) wait: Option<Duration>,
    /// Whether it is worth a line in the log: the first, and the first too many.
    pub(super) is_news: bool,
}

/// Who showed wrong tokens lately.
#[derive(Debug, Default)]
pub(super) struct Misses(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Misses {
    /// Notes a wrong token.
    pub(super) fn note(&self, source: IpAddr, now: Instant) -> Verdict {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source = network(source);
        if !rows.contains_key(&source) && rows.len() >= SOURCES_MAX {
            let oldest = rows
                .iter()
                .min_by_key(|(_, (since, _))| *since)
                .map(|(source, _)| *source);
            oldest.map(|oldest| rows.remove(&oldest));
        }
        let (since, count) = rows.entry(source).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(*since));
        Verdict {
            wait: (*count > MISSES_MAX).then_some(left),
            is_news: *count == 1 || *count == MISSES_MAX + 1,
        }
    }
}

/// One customer of an IPv6 provider has a /64 at least.
pub(super) fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_wrong_tokens_are_answered_and_more_are_told_to_wait() {
        let (misses, now) = (Misses::default(), Instant::now());
        let source = IpAddr::from([192, 0, 2, 1]);
        let verdicts: Vec<_> = (0..8).map(|_| misses.note(source, now)).collect();
        let waits: Vec<_> = verdicts.iter().map(|verdict| verdict.wait.is_some()).collect();
        assert_eq!(waits, [false, false, false, false, false, true, true, true]);
        let news = verdicts.iter().filter(|verdict| verdict.is_news).count();
        assert_eq!(news, 2);
        assert_eq!(misses.note(IpAddr::from([192, 0, 2, 2]), now).wait, None);
        assert_eq!(misses.note(source, now + WINDOW).wait, None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let (misses, now) = (Misses::default(), Instant::now());
        let of = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let waits = (0..6).filter(|last| misses.note(of(*last), now).wait.is_some());
        assert_eq!(waits.count(), 1);
    }

    #[test]
    fn sources_are_bounded_and_the_longest_quiet_goes_first() {
        let (misses, now) = (Misses::default(), Instant::now());
        for number in 0..2_000_u32 {
            let at = now + Duration::from_millis(number.into());
            misses.note(IpAddr::from(number.to_be_bytes()), at);
        }
        let rows = misses.0.lock().unwrap();
        assert_eq!(rows.len(), SOURCES_MAX);
        assert!(rows.contains_key(&IpAddr::from(1_999_u32.to_be_bytes())));
    }
}
