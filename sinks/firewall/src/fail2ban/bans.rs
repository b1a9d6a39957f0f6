//! What stands in the jail, as fail2ban tells it, and what is to be done about it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use trapline_schemas::Timestamp;
use trapline_schemas::text::clean_within;
use trapline_sink::set::Target;
use trapline_sink::{Fault, FaultKind};

use crate::entry::{Entry, entry, never, seconds_left};
use crate::sink::Edits;

/// Ends are rounded up to whole steps, so that bans that end together go together; also the jail's own `bantime`.
pub(super) const STEP_SECS: u64 = 60;
/// By how much an end may be off: the rounding, and the time that commands take.
pub(super) const SLACK: Duration = Duration::from_secs(STEP_SECS + 30);
/// By how much the other clock may differ before it is another zone, microseconds.
const SKEW_MICROS: i64 = 120_000_000;

/// A ban that stands, or something in the jail that is none of ours to list.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Bans {
    /// With their ends.
    pub bans: Vec<(Target, Timestamp)>,
    /// Networks that are too wide to be ours.
    pub foreign: Vec<String>,
}

/// What is to be done about bans, in view of what stands.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// To be lifted, also to be banned again for a shorter time.
    pub lift: Vec<Target>,
    /// To be banned that are not, or then no more.
    pub new: Vec<Target>,
    /// All that are to be banned, by the seconds left in whole steps.
    pub by_end: BTreeMap<u64, Vec<Target>>,
}

impl Plan {
    /// Of what is wanted and what stands.
    pub fn new(edits: &Edits, bans: &[(Target, Timestamp)], now: Timestamp) -> Self {
        let stands: HashMap<Target, Timestamp> = bans.iter().copied().collect();
        let mut plan = Self::default();
        // What does not stand is not lifted: of a network that is gone, fail2ban would lift the hosts.
        let there = edits.take.iter().filter(|target| stands.contains_key(target));
        plan.lift = there.copied().collect();
        for (target, until) in &edits.put {
            let secs = seconds_left(*until, now).div_ceil(STEP_SECS).saturating_mul(STEP_SECS);
            let too_long = |end: &Timestamp| end.since(*until) > SLACK;
            let stands_too_long = stands.get(target).is_some_and(too_long);
            if stands_too_long {
                plan.lift.push(*target);
            }
            if stands_too_long || !stands.contains_key(target) {
                plan.new.push(*target);
            }
            plan.by_end.entry(secs).or_default().push(*target);
        }
        plan
    }
}

/// Whether `get JAIL logpath` names `/dev/null` and nothing else.
pub(super) fn reads_nothing(said: &str) -> bool {
    let mut files = said
        .lines()
        .skip(1)
        .map(|line| line.trim_start_matches(['`', '|', '-', ' ']).trim());
    files.next() == Some("/dev/null") && files.all(str::is_empty)
}

impl Bans {
    /// Reads lines of `ADDRESS \tSTART + SECONDS = END`. Errors: one that is none, or a clock of another zone.
    pub fn read(text: &str, zone: &TimeZone, now: Timestamp) -> Result<Self, Fault> {
        let mut all = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (who, until) = ban(line, zone, now).ok_or_else(|| unreadable(line))??;
            match entry(who) {
                Entry::Target(target) => all.bans.push((target, until)),
                Entry::Wide(net) => all.foreign.push(net.to_string()),
                Entry::Unreadable => return Err(unreadable(line)),
            }
        }
        Ok(all)
    }
}

/// Who is banned and until when; `None`: no such line.
fn ban<'l>(line: &'l str, zone: &TimeZone, now: Timestamp) -> Option<Result<(&'l str, Timestamp), Fault>> {
    let (who, times) = line.split_once('\t')?;
    let (start, rest) = times.split_once(" + ")?;
    let (secs, end) = rest.split_once(" = ")?;
    if secs.trim().parse::<i64>().ok()? < 0 {
        return Some(Ok((who.trim(), never(now))));
    }
    let (start, end) = (instant(start, zone)?, instant(end, zone)?);
    let is_skewed = start.micros() > now.micros().saturating_add(SKEW_MICROS)
        || end.micros() < now.micros().saturating_sub(SKEW_MICROS);
    Some(match is_skewed {
        true => Err(another_zone(end)),
        false => Ok((who.trim(), end)),
    })
}

fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let time: DateTime = text.trim().parse().ok()?;
    let time = zone.to_zoned(time).ok()?.timestamp();
    Some(Timestamp::from_micros(time.as_microsecond()))
}

fn another_zone(end: Timestamp) -> Fault {
    Fault {
        kind: FaultKind::Config,
        message: format!(
            "fail2ban's clock is not ours (a ban that stands ends at {end}): run both with the same time zone"
        ),
    }
}

fn unreadable(line: &str) -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: format!(
            "the jail holds what is no ban of an address: `{}`; lift it with `fail2ban-client`",
            clean_within(line.as_bytes(), 80)
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-24 02:15:46 UTC.
    const NOW: Timestamp = Timestamp::from_micros(1_795_486_546_000_000);

    fn until(secs: i64) -> Timestamp {
        Timestamp::from_micros(NOW.micros() + secs * 1_000_000)
    }

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn bans_are_read_with_their_ends_in_the_hosts_zone() {
        let text = "203.0.113.0/24 \t2026-11-24 02:15:46 + 60 = 2026-11-24 02:16:46\n\
            2001:db8::1 \t2026-11-24 02:15:46 + 3600 = 2026-11-24 03:15:46\n\
            198.51.100.1 \t2026-11-24 02:15:46 + -1 = 9999-12-31 23:59:59\n\
            10.0.0.0/8 \t2026-11-24 02:15:46 + 60 = 2026-11-24 02:16:46\n";
        let all = Bans::read(text, &TimeZone::UTC, NOW).unwrap();
        assert_eq!(
            all.bans,
            [
                (target("203.0.113.0/24"), until(60)),
                (target("2001:db8::1"), until(3600)),
                (target("198.51.100.1"), never(NOW)),
            ]
        );
        assert_eq!(all.foreign, ["10.0.0.0/8"]);
        let india = TimeZone::fixed(jiff::tz::offset(5) + jiff::SignedDuration::from_mins(30));
        let text = "203.0.113.7 \t2026-11-24 07:45:46 + 60 = 2026-11-24 07:46:46\n";
        assert_eq!(
            Bans::read(text, &india, NOW).unwrap().bans,
            [(target("203.0.113.7"), until(60))]
        );
    }

    #[test]
    fn a_clock_of_another_zone_is_a_fault_that_says_so() {
        for text in [
            "203.0.113.7 \t2026-11-24 07:45:46 + 60 = 2026-11-24 07:46:46\n",
            "203.0.113.7 \t2026-11-23 22:15:46 + 60 = 2026-11-23 22:16:46\n",
        ] {
            let fault = Bans::read(text, &TimeZone::UTC, NOW).unwrap_err();
            assert!(fault.message.contains("same time zone"), "{}", fault.message);
        }
    }

    #[test]
    fn what_is_no_address_in_the_jail_is_told() {
        let text = "root\x1b[2J \t2026-11-24 02:15:46 + 60 = 2026-11-24 02:16:46\n";
        let fault = Bans::read(text, &TimeZone::UTC, NOW).unwrap_err();
        assert!(fault.message.contains("no ban of an address") && !fault.message.contains('\x1b'));
    }

    #[test]
    fn a_jail_that_reads_anything_is_not_ours() {
        assert!(reads_nothing("Current monitored log file(s):\n`- /dev/null\n"));
        for said in [
            "",
            "No file is currently monitored\n",
            "Current monitored log file(s):\n`- /var/log/auth.log\n",
            "Current monitored log file(s):\n|- /dev/null\n`- /var/log/auth.log\n",
        ] {
            assert!(!reads_nothing(said), "{said}");
        }
    }

    #[test]
    fn what_stands_too_long_is_banned_anew_and_what_ends_together_goes_together() {
        let (short, long, new) = (target("192.0.2.1"), target("192.0.2.2"), target("192.0.2.3"));
        let bans = [(short, until(60)), (long, until(86_400))];
        let edits = Edits {
            take: vec![target("192.0.2.0/24")],
            put: vec![(short, until(3600)), (long, until(3590)), (new, until(10))],
        };
        let plan = Plan::new(&edits, &bans, NOW);
        assert_eq!(plan.lift, [long]);
        assert_eq!(plan.new, [long, new]);
        let by_end = BTreeMap::from([(60, vec![new]), (3600, vec![short, long])]);
        assert_eq!(plan.by_end, by_end);
    }

    proptest! {
        #[test]
        fn any_bytes_of_fail2ban_are_bans_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = Bans::read(&text, &TimeZone::UTC, NOW);
            let _ = reads_nothing(&text);
        }

        #[test]
        fn any_bytes_within_a_ban_are_a_ban_or_a_fault(who in "[ -~]{0,20}", secs in "[-0-9]{0,22}", end in "[-0-9: ]{0,25}") {
            let _ = Bans::read(&format!("{who} \t2026-11-24 02:15:46 + {secs} = {end}\n"), &TimeZone::UTC, NOW);
        }
    }
}
