//! fail2ban: a jail of our own, which no log feeds, through `fail2ban-client`.
//!
//! In: edits. Out: `set JAIL banip …`, `set JAIL unbanip …`, `set JAIL bantime …`; `get JAIL banip --with-time` and `get
//! JAIL logpath`. What a ban does, and where, is the jail's action, which the operator chooses (`config/fail2ban/`).
//!
//! Invariants:
//! 1. The jail is ours: it reads `/dev/null` alone, so nothing but a command can fill it. One that reads a log is refused,
//!    whatever its name: its bans are others'. Bans of other jails are neither read nor changed.
//! 2. What somebody bans in our jail by hand is taken out, as what stands in any set of ours: it is no decision. `trapline
//!    decisions add`, or a jail of their own, is the way.
//! 3. Each ban has an end of its own in fail2ban, at most [`STEP_SECS`] and a little later than wanted, also if we are gone:
//!    a ban that is repeated with a longer `bantime` is prolonged to that and keeps it. So the jail's `bantime` is
//!    [`STEP_SECS`] but for the moment of a command.
//!
//! It does not start or reload fail2ban, and does not make the jail. fail2ban tells times in its host's zone without naming
//! it; ours must be the same.
//!
//! Source: fail2ban-client(1), fail2ban 1.0.2 `banmanager.py` (`addBanTicket`), `actions.py` (`removeBannedIP`); tried.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use trapline_schemas::Timestamp;
use trapline_schemas::text::clean_within;
use trapline_sink::set::{SetLimits, Standing, Target};
use trapline_sink::{Fault, FaultKind};

use crate::entry::{Entry, entry, never, seconds_left, standing};
use crate::run::{Answer, Programs};
use crate::sink::{Backend, Edits};

const CLIENT: &str = "fail2ban-client";
/// Ends are rounded up to whole steps, so that bans that end together go together; also the jail's own `bantime`.
const STEP_SECS: u64 = 60;
/// By how much an end may be off: the rounding, and the time that commands take.
const SLACK: Duration = Duration::from_secs(STEP_SECS + 30);
/// By how much the other clock may differ before it is another zone, microseconds.
const SKEW_MICROS: i64 = 120_000_000;

/// A jail.
#[derive(Debug)]
pub(crate) struct Fail2ban {
    programs: Programs,
    jail: String,
    socket: String,
    members: usize,
}

/// A ban that stands, or something in the jail that is none of ours to list.
#[derive(Debug, PartialEq, Eq, Default)]
struct Bans {
    bans: Vec<(Target, Timestamp)>,
    /// Networks that are too wide to be ours.
    foreign: Vec<String>,
}

impl Fail2ban {
    /// Errors: `fail2ban-client` is missing.
    pub fn new(programs: Programs, jail: &str, socket: &str, members: usize) -> Result<Self, Fault> {
        programs.find(CLIENT)?;
        Ok(Self {
            programs,
            jail: jail.to_owned(),
            socket: socket.to_owned(),
            members,
        })
    }

    /// Asks the server; `act` is `get` or `set`. Errors: it is not there, has no such jail, or refuses.
    async fn ask(&self, act: &str, words: &[String]) -> Result<String, Fault> {
        let mut arguments = vec!["-s".to_owned(), self.socket.clone(), act.to_owned(), self.jail.clone()];
        arguments.extend_from_slice(words);
        let answer = self.programs.run(CLIENT, &arguments).await?;
        match answer.is_good() {
            true => Ok(answer.out),
            false => Err(self.fault(&answer, act, words)),
        }
    }

    fn fault(&self, answer: &Answer, act: &str, words: &[String]) -> Fault {
        let config = |kind, message| Fault { kind, message };
        if answer.complains_of("does not exist") {
            let message = format!(
                "fail2ban has no jail `{}`: install `jail.d/trapline.conf` and `filter.d/trapline.conf` (config/fail2ban) and run `fail2ban-client reload`",
                self.jail
            );
            return config(FaultKind::Config, message);
        }
        if answer.complains_of("Permission denied") {
            let message = format!("needs root: `{}` is closed to this user", self.socket);
            return config(FaultKind::Auth, message);
        }
        if answer.complains_of("Is fail2ban running") {
            let message = format!(
                "fail2ban is not running, or not at `{}`: start it (`systemctl start fail2ban`) or set `socket`",
                self.socket
            );
            return config(FaultKind::Unreachable, message);
        }
        let word = words.first().map_or("", String::as_str);
        answer.fault(&format!("{CLIENT} {act} {} {word}", self.jail))
    }

    async fn set(&self, word: &str, values: impl IntoIterator<Item = String>) -> Result<(), Fault> {
        let words: Vec<_> = std::iter::once(word.to_owned()).chain(values).collect();
        match words.len() {
            1 => Ok(()),
            _ => self.ask("set", &words).await.map(drop),
        }
    }

    /// Errors: the jail reads something, so its bans are others'.
    async fn is_ours(&self) -> Result<(), Fault> {
        let said = self.ask("get", &["logpath".to_owned()]).await?;
        match reads_nothing(&said) {
            true => Ok(()),
            false => Err(Fault {
                kind: FaultKind::Config,
                message: format!(
                    "jail `{}` reads logs, so its bans are not ours to lift: make one that reads `/dev/null` alone (config/fail2ban)",
                    self.jail
                ),
            }),
        }
    }

    async fn bans(&self) -> Result<Bans, Fault> {
        let said = self.ask("get", &["banip".to_owned(), "--with-time".to_owned()]).await?;
        Bans::read(&said, &TimeZone::system(), Timestamp::now())
    }

    /// Bans `puts`, each with its end: first for a step, then prolonged, those that end together at once.
    async fn ban(&self, new: Vec<Target>, puts: &BTreeMap<u64, Vec<Target>>) -> Result<(), Fault> {
        self.set("bantime", [STEP_SECS.to_string()]).await?;
        self.set("banip", shown(&new)).await?;
        let longer = puts.iter().filter(|(secs, _)| **secs > STEP_SECS);
        let result = self.prolong(longer).await;
        self.set("bantime", [STEP_SECS.to_string()]).await?;
        result
    }

    async fn prolong(&self, longer: impl Iterator<Item = (&u64, &Vec<Target>)> + Send) -> Result<(), Fault> {
        for (secs, targets) in longer {
            self.set("bantime", [secs.to_string()]).await?;
            self.set("banip", shown(targets)).await?;
        }
        Ok(())
    }
}

fn shown(targets: &[Target]) -> Vec<String> {
    targets.iter().map(ToString::to_string).collect()
}

/// What is to be done about bans, in view of what stands.
#[derive(Debug, PartialEq, Eq, Default)]
struct Plan {
    /// To be lifted, also to be banned again for a shorter time.
    lift: Vec<Target>,
    /// To be banned that are not, or then no more.
    new: Vec<Target>,
    /// All that are to be banned, by the seconds left in whole steps.
    by_end: BTreeMap<u64, Vec<Target>>,
}

impl Plan {
    fn new(edits: &Edits, bans: &[(Target, Timestamp)], now: Timestamp) -> Self {
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

#[async_trait]
impl Backend for Fail2ban {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: 100,
            members: self.members,
            slack: SLACK,
        }
    }

    async fn list(&self, mends: bool) -> Result<Vec<Standing>, Fault> {
        self.is_ours().await?;
        let Bans { bans, foreign } = self.bans().await?;
        if mends {
            self.set("unbanip", foreign).await?;
        }
        Ok(bans
            .into_iter()
            .map(|(target, until)| standing(target, Some(until)))
            .collect())
    }

    async fn edit(&self, edits: &Edits) -> Result<(), Fault> {
        self.is_ours().await?;
        let bans = self.bans().await?.bans;
        let plan = Plan::new(edits, &bans, Timestamp::now());
        self.set("unbanip", shown(&plan.lift)).await?;
        match plan.by_end.is_empty() {
            true => Ok(()),
            false => self.ban(plan.new, &plan.by_end).await,
        }
    }

    async fn look(&self) -> Result<String, Fault> {
        self.is_ours().await?;
        let bans = self.bans().await?.bans;
        Ok(format!("fail2ban answers, {} bans in jail `{}`", bans.len(), self.jail))
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "starts `fail2ban-client`, so it needs root and stands outside the sandbox".to_owned(),
            format!(
                "what others ban in jail `{}` by hand is lifted; use `decisions add`",
                self.jail
            ),
        ]
    }

    fn destination(&self) -> String {
        format!("fail2ban jail {}", self.jail)
    }
}

/// Whether `get JAIL logpath` names `/dev/null` and nothing else.
fn reads_nothing(said: &str) -> bool {
    let mut files = said
        .lines()
        .skip(1)
        .map(|line| line.trim_start_matches(['`', '|', '-', ' ']).trim());
    files.next() == Some("/dev/null") && files.all(str::is_empty)
}

impl Bans {
    /// Reads lines of `ADDRESS \tSTART + SECONDS = END`. Errors: one that is none, or a clock of another zone.
    fn read(text: &str, zone: &TimeZone, now: Timestamp) -> Result<Self, Fault> {
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
