//! What sources do again and again. Pure.
//!
//! In: events in journal order. Out: what may be proposed, and what may not and why. Only sources inside are looked
//! at: nobody outside has a right to a habit. What is marked as benign already needs no list.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use serde::Serialize;
use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field};

/// Most sources that are looked at.
const SOURCES_MAX: usize = 65_536;

/// Times of visits kept for a source, to tell how regular it comes.
const TIMES_MAX: usize = 512;

/// Decoys from which on a visit is a walk; the recorder's own number.
const SEVERAL: usize = 3;

const DAY_MICROS: i64 = 86_400_000_000;

/// What makes a habit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Least {
    /// Visits.
    pub(super) visits: u64,
    /// Days with a visit.
    pub(super) days: u64,
}

/// A source that may be ignored.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Proposal {
    /// Name of its table.
    pub(super) name: String,
    /// Who.
    pub(super) source: IpAddr,
    /// At which decoys.
    pub(super) decoys: Vec<String>,
    /// Up to which level of touch.
    pub(super) touch: &'static str,
    /// Why.
    pub(super) reason: String,
    /// How often it came.
    pub(super) visits: u64,
}

/// A source that comes often and must not be ignored.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refusal {
    /// Who.
    pub(super) source: IpAddr,
    /// Why not.
    pub(super) reason: String,
}

/// All sources inside.
#[derive(Debug, Default)]
pub(super) struct Habits {
    sources: HashMap<IpAddr, Source>,
    too_many: u64,
}

/// One source.
#[derive(Debug, Default)]
struct Source {
    visits: u64,
    days: BTreeSet<i64>,
    times: Vec<i64>,
    decoys: BTreeSet<SmolStr>,
    spoke: bool,
    proof: bool,
    folded: bool,
}

impl Habits {
    /// Takes note of an event.
    pub(super) fn see(&mut self, event: &Event) {
        let inside = event.get(Field::SourceZoneInside) == Some(&true.into());
        let Some(address) = event.ip(Field::SourceIp).filter(|_| inside) else {
            return;
        };
        let is_told = event.get(Field::DecoyId).is_some() || event.action == Action::SourceFolded;
        if !is_told || event.get(Field::BenignName).is_some() {
            return;
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&address) {
            self.too_many += 1;
            return;
        }
        self.sources.entry(address).or_default().see(event);
    }

    /// Events of sources that were too many to look at.
    pub(super) fn too_many(&self) -> u64 {
        self.too_many
    }

    /// What may be proposed, most frequent first, and what may not.
    pub(super) fn judge(self, least: &Least) -> (Vec<Proposal>, Vec<Refusal>) {
        let (mut proposals, mut refused) = (Vec::new(), Vec::new());
        let mut sources: Vec<_> = self.sources.into_iter().filter(|(_, of)| of.is_habit(least)).collect();
        sources.sort_by_key(|(address, of)| (std::cmp::Reverse(of.visits), *address));
        for (source, of) in sources {
            match of.objection() {
                Some(reason) => refused.push(Refusal { source, reason }),
                None => proposals.push(of.proposal(source)),
            }
        }
        (proposals, refused)
    }
}

impl Source {
    fn see(&mut self, event: &Event) {
        match event.action {
            Action::SourceFolded => self.folded = true,
            Action::Connect | Action::UdpProbe => self.visit(event.at.micros()),
            _ => {}
        }
        match event.text(Field::TouchLevel).map(SmolStr::as_str) {
            Some("proof") => self.proof = true,
            Some("intent") => self.spoke = true,
            _ => {}
        }
        if let Some(decoy) = event.text(Field::DecoyId) {
            self.decoys.insert(decoy.clone());
        }
    }

    fn visit(&mut self, at: i64) {
        self.visits += 1;
        self.days.insert(at.div_euclid(DAY_MICROS));
        if self.times.len() < TIMES_MAX {
            self.times.push(at);
        }
    }

    fn is_habit(&self, least: &Least) -> bool {
        self.visits >= least.visits && self.days.len() as u64 >= least.days
    }

    /// Why a habit must not be ignored.
    fn objection(&self) -> Option<String> {
        if self.proof {
            return Some("it offered credentials or sent commands".into());
        }
        if self.folded {
            return Some("it made more events than `limits.events_per_source_per_minute`".into());
        }
        (self.decoys.len() >= SEVERAL).then(|| {
            format!(
                "it walks over {} decoys; if it is a scanner of yours, declare it in [benign.endpoint_security] or \
                 [benign.vulnerability_scanner]",
                self.decoys.len()
            )
        })
    }

    fn proposal(self, source: IpAddr) -> Proposal {
        let said = if self.spoke {
            "spoke, but offered no credential"
        } else {
            "said nothing"
        };
        let rhythm = rhythm(&self.times)
            .map(|rhythm| format!(", {rhythm}"))
            .unwrap_or_default();
        Proposal {
            name: format!(
                "learned_{}",
                source.to_string().replace(['.', ':'], "_").trim_matches('_')
            )
            .replace("__", "_0_"),
            source,
            touch: if self.spoke { "intent" } else { "contact" },
            reason: format!("{} visits on {} days{rhythm}; {said}", self.visits, self.days.len()),
            decoys: self.decoys.into_iter().map(String::from).collect(),
            visits: self.visits,
        }
    }
}

/// How regular it came: the usual time between two visits, if half of them keep it within a quarter.
fn rhythm(times: &[i64]) -> Option<String> {
    let mut gaps: Vec<i64> = times
        .windows(2)
        .filter_map(|pair| Some(pair.get(1)? - pair.first()?))
        .collect();
    gaps.sort_unstable();
    let usual = *gaps.get(gaps.len() / 2)?;
    let near = gaps.iter().filter(|gap| (*gap - usual).abs() <= usual / 4).count();
    let is_regular = usual >= 1_000_000 && gaps.len() >= 3 && near * 2 >= gaps.len();
    is_regular.then(|| format!("about every {}", span(usual / 1_000_000)))
}

fn span(secs: i64) -> String {
    match secs {
        ..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", (secs + 30) / 60),
        7_200..172_800 => format!("{} h", (secs + 1_800) / 3_600),
        _ => format!("{} d", (secs + 43_200) / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use trapline_schemas::Timestamp;
    use uuid::Uuid;

    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const LEAST: Least = Least { visits: 5, days: 2 };

    fn event(action: Action, source: &str, hour: i64, decoy: &str, level: &str) -> Event {
        let mut event = Event::new(
            Uuid::from_u128(1),
            Timestamp::from_micros(1_772_600_400_000_000 + hour * HOUR),
            action,
        );
        event.set(Field::SourceIp, source.parse::<IpAddr>().unwrap());
        event.set(Field::SourceZoneInside, true);
        event.set(Field::DecoyId, decoy);
        event.set(Field::TouchLevel, level);
        event
    }

    fn visits(habits: &mut Habits, source: &str, hours: impl Iterator<Item = i64>, decoy: &str) {
        hours.for_each(|hour| habits.see(&event(Action::Connect, source, hour, decoy, "contact")));
    }

    #[test]
    fn a_regular_visitor_that_says_nothing_is_proposed_narrowly() {
        let mut habits = Habits::default();
        visits(&mut habits, "10.0.0.9", 0..168, "smb");
        let (proposals, refused) = habits.judge(&LEAST);
        assert!(refused.is_empty());
        let proposal = Proposal {
            name: "learned_10_0_0_9".into(),
            source: "10.0.0.9".parse().unwrap(),
            decoys: vec!["smb".into()],
            touch: "contact",
            reason: "168 visits on 8 days, about every 60 min; said nothing".into(),
            visits: 168,
        };
        assert_eq!(proposals, [proposal]);
    }

    #[test]
    fn whoever_came_seldom_from_outside_or_is_known_is_not_looked_at() {
        let mut habits = Habits::default();
        visits(&mut habits, "10.0.0.1", 0..4, "smb");
        visits(&mut habits, "10.0.0.2", (0..9).map(|_| 1), "smb");
        let mut outside = event(Action::Connect, "203.0.113.7", 0, "smb", "contact");
        outside.set(Field::SourceZoneInside, false);
        let mut known = event(Action::Connect, "10.0.0.3", 0, "smb", "contact");
        known.set(Field::BenignName, "monitoring");
        for _ in 0..99 {
            habits.see(&outside);
            habits.see(&known);
        }
        let (proposals, refused) = habits.judge(&LEAST);
        assert!(proposals.is_empty() && refused.is_empty(), "{proposals:?} {refused:?}");
    }

    #[test]
    fn whoever_offered_a_credential_walked_or_flooded_is_refused_with_the_reason() {
        let mut habits = Habits::default();
        for source in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            visits(&mut habits, source, 0..60, "smb");
        }
        habits.see(&event(Action::Credential, "10.0.0.1", 1, "smb", "proof"));
        visits(&mut habits, "10.0.0.2", 0..1, "ssh");
        visits(&mut habits, "10.0.0.2", 0..1, "http");
        habits.see(&event(Action::SourceFolded, "10.0.0.3", 1, "smb", "contact"));
        let (proposals, refused) = habits.judge(&LEAST);
        assert!(proposals.is_empty(), "{proposals:?}");
        let reasons: Vec<_> = refused.iter().map(|refusal| refusal.reason.as_str()).collect();
        assert!(
            reasons.iter().any(|reason| reason.contains("credentials")),
            "{reasons:?}"
        );
        assert!(
            reasons.iter().any(|reason| reason.contains("walks over 3 decoys")),
            "{reasons:?}"
        );
        assert!(
            reasons.iter().any(|reason| reason.contains("events_per_source")),
            "{reasons:?}"
        );
    }

    #[test]
    fn a_name_can_stand_in_a_configuration_whatever_the_address() {
        for (source, name) in [
            ("fd00::1", "learned_fd00_0_1"),
            ("fe80::", "learned_fe80"),
            ("::1", "learned_1"),
        ] {
            let mut habits = Habits::default();
            visits(&mut habits, source, (0..9).map(|day| day * 24), "smb");
            let (proposals, _) = habits.judge(&LEAST);
            assert_eq!(proposals[0].name, name);
            assert!(
                proposals[0].reason.contains("about every 24 h"),
                "{}",
                proposals[0].reason
            );
        }
    }
}
