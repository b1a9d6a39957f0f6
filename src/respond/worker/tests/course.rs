//! The core under any course of things: changes, faults, wipes, hands, time, jumps of the clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use tokio::time::Instant;
use trapline_schemas::Timestamp;
use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Member, Spared, Standing, Target, Wanted, Why, compare};

use super::super::Report;
use super::super::core::{Core, Moment, Step, shifted};
use super::world::{Ill, World};
use super::{INTERVAL, SLACK, START, host, member, settings};

/// Steps between two moments: far above what any of the courses needs.
const STEPS_MAX: usize = 300;

#[derive(Debug, Clone)]
enum Act {
    Want(u8, u64),
    Drop(u8),
    Wipe,
    Delete(u8),
    Add(u8),
    Suffer(Ill),
    Heal,
    Told,
    Spare(Option<u8>),
    Pass(u64),
    /// Seconds by which the wall clock jumps.
    Jump(i64),
}

fn acts() -> impl Strategy<Value = Act> {
    use FaultKind::{Auth, Busy, Server, Unreachable};
    let ill = prop_oneof![
        proptest::sample::select(vec![Unreachable, Server, Auth, Busy]).prop_map(Ill::Away),
        Just(Ill::LosesAnswers),
        Just(Ill::Half),
    ];
    let hosts = 1..=12_u8;
    prop_oneof![
        6 => (hosts.clone(), 1..=900_u64).prop_map(|(n, ttl)| Act::Want(n, ttl)),
        2 => hosts.clone().prop_map(Act::Drop),
        1 => Just(Act::Wipe),
        1 => hosts.clone().prop_map(Act::Delete),
        1 => hosts.clone().prop_map(Act::Add),
        2 => ill.prop_map(Act::Suffer),
        2 => Just(Act::Heal),
        1 => Just(Act::Told),
        1 => proptest::option::of(hosts).prop_map(Act::Spare),
        5 => (0..=400_u64).prop_map(Act::Pass),
        1 => proptest::sample::select(vec![86_400, -86_400, 3600, -3600]).prop_map(Act::Jump),
    ]
}

/// A core, a world, and the time.
struct Course {
    core: Core,
    world: World,
    at: Instant,
    wall: Timestamp,
    wanted: Wanted,
    /// When members are over, whatever the wall clock does.
    over: HashMap<Target, Instant>,
    reports: Vec<Report>,
}

impl Course {
    fn new(ends_itself: bool, room: usize) -> Self {
        let mut world = World::new(ends_itself);
        world.room = room;
        let now = Moment {
            wall: START,
            at: Instant::now(),
            jitter: 0.5,
        };
        Self {
            core: Core::new(settings(), world.limits(), now),
            world,
            at: now.at,
            wall: START,
            wanted: Wanted::new(),
            over: HashMap::new(),
            reports: Vec::new(),
        }
    }

    fn now(&self) -> Moment {
        Moment {
            wall: self.wall,
            at: self.at,
            jitter: 0.5,
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Want(n, ttl) => self.want(member(*n, self.wall, Duration::from_secs(*ttl))),
            Act::Drop(n) => {
                self.wanted.remove(&host(*n));
                self.hand_over();
            }
            Act::Wipe => self.world.entries.clear(),
            Act::Delete(n) => drop(self.world.entries.remove(&host(*n))),
            Act::Add(n) => self.add(host(*n)),
            Act::Suffer(ill) => self.world.ill = Some(*ill),
            Act::Heal => self.world.ill = None,
            Act::Told => self.core.told(self.now()),
            Act::Spare(n) => self.spare(*n),
            Act::Pass(seconds) => self.pass(Duration::from_secs(*seconds)),
            Act::Jump(seconds) => {
                // The clock is looked at often; it does not jump in the middle of a long sleep.
                self.drive();
                self.wall = Timestamp::from_micros(self.wall.micros() + seconds * 1_000_000);
                self.drive();
            }
        }
    }

    fn want(&mut self, member: Member) {
        self.over
            .insert(member.target, self.at + member.until.since(member.since));
        self.wanted.insert(member.target, member);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        self.core.want(Arc::new(self.wanted.clone()), self.now());
    }

    fn add(&mut self, target: Target) {
        if self.world.entries.len() < self.world.room {
            let end = self.at + Duration::from_secs(100_000);
            self.world.entries.entry(target).or_insert(end);
        }
    }

    fn spare(&mut self, n: Option<u8>) {
        let rows = n.map(|n| (IpNet::from(host(n).address()), Why::Admin));
        let spared = Arc::new(Spared::new(rows));
        self.world.spared = spared.clone();
        self.core.spare(spared);
    }

    /// Does all that is to be done now; when something is to be done next.
    fn drive(&mut self) -> Instant {
        for _ in 0..STEPS_MAX {
            let step = self.core.next(self.now());
            let now = self.now();
            match step {
                Step::List => {
                    let found = self.world.stands(self.wall, self.at);
                    self.core.listed(found, now);
                }
                Step::Apply(batch) => {
                    let applied = self.world.apply(&batch, self.wall, self.at);
                    self.core.applied(&batch, applied, now);
                }
                Step::Settle => {
                    self.world.settles += 1;
                    self.core.settled(Ok(()), now);
                }
                Step::Rest(at) => {
                    assert!(at > self.at, "a rest that is over already");
                    self.reports.extend(self.core.account.take());
                    return at;
                }
            }
        }
        panic!("no rest after {STEPS_MAX} steps");
    }

    fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        loop {
            let next = self.drive().min(end);
            self.wall = shifted(self.wall, next.duration_since(self.at));
            self.at = next;
            self.world.pass(self.at);
            if next == end {
                self.drive();
                return;
            }
        }
    }

    /// What is wanted, not over, and not spared, with ends as the wall clock shows them now.
    fn goal(&self) -> Wanted {
        let live = self
            .wanted
            .values()
            .filter(|member| self.over[&member.target] > self.at);
        let live = live.filter(|member| self.world.spared.why(member.target).is_none());
        let moved = live.map(|member| Member {
            until: shifted(self.wall, self.over[&member.target].duration_since(self.at)),
            ..member.clone()
        });
        moved.map(|member| (member.target, member)).collect()
    }

    fn held(&mut self) -> Vec<Standing> {
        self.world.pass(self.at);
        let ill = self.world.ill.take();
        let held = self.world.stands(self.wall, self.at).unwrap();
        self.world.ill = ill;
        held
    }

    /// What the destination lacks of the goal, or has beyond it.
    fn left(&mut self) -> Vec<Change> {
        let (goal, held) = (self.goal(), self.held());
        compare(&goal, &held, self.wall, self.world.limits())
    }

    /// No fault, and time enough for the longest wait, a list, and what that brings.
    fn comes_to_rest(&mut self) {
        self.world.ill = None;
        self.pass(Duration::from_secs(80) + INTERVAL + SLACK);
        self.pass(Duration::from_millis(2));
    }

    /// Nothing of the worker's own making stands beyond its end.
    fn nothing_is_late(&mut self) -> Result<(), TestCaseError> {
        let ends: Vec<_> = self.held().iter().map(|entry| entry.target).collect();
        for target in ends {
            let late = self
                .over
                .get(&target)
                .is_some_and(|over| *over + SLACK + Duration::from_secs(1) < self.at);
            prop_assert!(!late, "{target} stands beyond its end");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn once_faults_are_over_the_destination_is_as_wanted(
        acts in proptest::collection::vec(acts(), 1..40),
        ends_itself: bool,
        room in prop_oneof![Just(5_usize), Just(100)],
    ) {
        let mut course = Course::new(ends_itself, room);
        for act in &acts {
            course.act(act);
        }
        course.comes_to_rest();
        prop_assert_eq!(course.left(), []);
        course.nothing_is_late()?;
        prop_assert!(course.held().iter().all(|entry| course.world.spared.why(entry.target).is_none()));
        prop_assert_eq!(course.core.board.fault.clone(), None);
    }

    #[test]
    fn where_nobody_else_has_a_hand_all_is_as_wanted_at_each_moment(
        acts in proptest::collection::vec(acts(), 1..40),
        ends_itself: bool,
    ) {
        let mut course = Course::new(ends_itself, 100);
        for act in &acts {
            if matches!(act, Act::Wipe | Act::Delete(_) | Act::Add(_) | Act::Suffer(_)) {
                continue;
            }
            course.act(act);
            // What ends at this very moment is found a hair later.
            course.pass(Duration::from_millis(2));
            let about_to_end = |change: &Change| matches!(change, Change::Take(_)) && ends_itself;
            let left = course.left();
            prop_assert!(left.iter().all(about_to_end), "{:?}", left);
            course.nothing_is_late()?;
        }
        prop_assert_eq!(course.core.board.repaired, 0);
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One member that stands, and a core that is at rest.
fn at_rest(ends_itself: bool) -> Course {
    let mut course = Course::new(ends_itself, 100);
    course.pass(secs(1));
    course.want(member(1, course.wall, secs(600)));
    course.drive();
    course
}

#[test]
fn a_change_is_made_without_listing_and_a_list_comes_each_interval() {
    let mut course = at_rest(false);
    assert_eq!((course.world.lists, course.world.batches.len()), (1, 1));
    course.pass(INTERVAL);
    assert_eq!((course.world.lists, course.world.batches.len()), (2, 1));
}

#[test]
fn a_member_is_taken_out_when_its_time_is_over_though_nobody_says_so() {
    let mut course = at_rest(false);
    course.pass(secs(599));
    assert_eq!(course.world.entries.len(), 1);
    course.pass(secs(2));
    assert_eq!(course.world.entries.len(), 0);
    assert!(matches!(
        course.reports.last(),
        Some(Report::Lifted { decision: Some(_), .. })
    ));
}

#[test]
fn what_the_destination_ends_by_itself_is_left_to_it_and_told() {
    let mut course = at_rest(true);
    course.pass(secs(700));
    let takes = course
        .world
        .batches
        .iter()
        .flatten()
        .filter(|change| matches!(change, Change::Take(_)));
    assert_eq!(takes.count(), 0);
    assert!(matches!(course.reports.last(), Some(Report::Lifted { .. })));
    let lifted = course
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Lifted { .. }));
    assert_eq!(lifted.count(), 1);
}

#[test]
fn an_end_that_a_list_finds_first_is_told_as_well() {
    let mut course = Course::new(true, 100);
    course.pass(secs(1));
    let wanted = member(1, course.wall, secs(10));
    let lifted = Report::Lifted {
        target: wanted.target,
        decision: Some(wanted.decision),
    };
    course.want(wanted);
    course.core.told(course.now());
    course.pass(secs(5));
    // It is over, and the slack is not: the destination has ended it, and is listed.
    course.pass(Duration::from_millis(5_010));
    course.wanted.clear();
    course.hand_over();
    course.reports.clear();
    let lists = course.world.lists;
    course.core.told(course.now());
    course.pass(Duration::from_millis(300));
    assert!(course.world.entries.is_empty() && course.world.lists > lists);
    course.pass(secs(60));
    assert_eq!(course.reports, [lifted]);
}

#[test]
fn what_a_destination_was_to_end_and_did_not_is_taken_out() {
    let mut course = at_rest(true);
    course.pass(INTERVAL);
    // Somebody has made it last.
    course.world.entries.insert(host(1), course.at + secs(100_000));
    course.pass(secs(600) + INTERVAL);
    assert_eq!(course.world.entries.len(), 0);
}

#[test]
fn what_is_listed_after_its_end_is_taken_out() {
    let mut course = at_rest(true);
    course.world.never_ends = true;
    course.pass(secs(600) + INTERVAL + SLACK);
    assert_eq!(course.world.entries.len(), 0);
}

#[test]
fn after_an_outage_all_is_listed_before_anything_else() {
    let mut course = at_rest(true);
    course.pass(INTERVAL);
    course.world.entries.clear();
    course.world.ill = Some(Ill::Away(FaultKind::Unreachable));
    course.want(Member {
        target: host(2),
        ..course.wanted[&host(1)].clone()
    });
    course.pass(secs(5));
    course.world.ill = None;
    course.pass(secs(10));
    assert_eq!(course.world.entries.len(), 2, "long before the next list of its own");
}

#[test]
fn members_that_fail_again_and_again_hold_up_nobody_who_comes_later() {
    let mut course = Course::new(false, 100);
    course.world.batch = 1;
    course.core.limits.changes = 1;
    for n in 100..110 {
        course.world.fails.insert(host(n));
        course.want(member(n, course.wall, secs(7200)));
    }
    course.pass(secs(300));
    for n in 1..=9 {
        course.want(member(n, course.wall, secs(7200)));
    }
    course.pass(secs(80));
    assert_eq!(course.world.entries.len(), 9);
}

#[test]
fn a_jump_of_the_clock_makes_no_end_early_or_late() {
    for (jump, ends_itself) in [(86_400, false), (-86_400, false), (86_400, true), (-86_400, true)] {
        let mut course = at_rest(ends_itself);
        course.pass(INTERVAL);
        course.act(&Act::Jump(jump));
        course.pass(secs(530));
        assert_eq!(course.world.entries.len(), 1, "{jump}: early");
        let is_lifted = |report: &Report| matches!(report, Report::Lifted { .. });
        assert!(!course.reports.iter().any(is_lifted), "{jump}: told of early");
        course.pass(secs(20));
        assert_eq!(course.world.entries.len(), 0, "{jump}: late");
        assert_eq!(course.core.board.clock_jumps, 1);
        assert_eq!(course.core.board.repaired, 0);
    }
}

#[test]
fn a_clock_that_is_set_right_after_the_boot_makes_nothing_endless() {
    let mut course = Course::new(false, 100);
    let right = course.wall;
    course.wall = Timestamp::from_micros(0);
    course.core = Core::new(settings(), course.world.limits(), course.now());
    course.want(member(1, right, secs(600)));
    course.drive();
    course.wall = right;
    course.drive();
    course.pass(secs(601));
    assert_eq!(course.world.entries.len(), 0);
}

#[test]
fn a_wipe_is_mended_once_told_within_seconds_and_counted_once() {
    let mut course = at_rest(true);
    course.pass(secs(10));
    course.world.entries.clear();
    course.core.told(course.now());
    course.core.told(course.now());
    course.pass(secs(5));
    assert_eq!(course.world.entries.len(), 1);
    assert_eq!(course.reports.last(), Some(&Report::Repaired { count: 1 }));
    let applied = course
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Applied { .. }));
    assert_eq!(
        (applied.count(), course.core.board.repaired),
        (1, 1),
        "it stood for the decision all the while"
    );
}

#[test]
fn what_is_refused_is_not_tried_again_before_its_decision_changes() {
    let mut course = Course::new(false, 100);
    course.world.refused.insert(host(1));
    course.want(member(1, course.wall, secs(7200)));
    course.pass(secs(3600));
    assert_eq!(course.world.batches.len(), 1);
    assert_eq!(course.core.board.refused, 1);
    course.want(member(1, course.wall, secs(7200)));
    course.pass(secs(600));
    assert_eq!(course.world.batches.len(), 2);
    let refused = course
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Refused { .. }));
    assert_eq!(refused.count(), 2);
}

#[test]
fn what_is_nowhere_is_asked_for_each_five_minutes_and_told_once() {
    let mut course = Course::new(false, 100);
    course.world.nowhere.insert(host(1));
    course.want(member(1, course.wall, secs(7200)));
    course.pass(secs(1000));
    assert_eq!(course.world.batches.len(), 4);
    assert!(
        matches!(course.reports[..], [Report::Nowhere { .. }]),
        "{:?}",
        course.reports
    );
    course.world.nowhere.clear();
    course.pass(secs(300));
    assert_eq!(course.world.entries.len(), 1);
}

#[test]
fn what_has_no_place_leaves_its_room_to_the_next() {
    let mut course = Course::new(false, 2);
    course.world.refused.insert(host(9));
    for n in [9, 1, 2] {
        course.want(member(n, course.wall, secs(7200)));
    }
    course.drive();
    assert_eq!(course.world.entries.len(), 2);
    assert_eq!(course.core.board.beyond_room, 1);
}

#[test]
fn a_destination_that_refuses_credentials_is_tried_each_minute_and_told_at_once() {
    let mut course = Course::new(false, 100);
    course.world.ill = Some(Ill::Away(FaultKind::Auth));
    course.want(member(1, course.wall, secs(7200)));
    course.pass(secs(1));
    assert!(
        matches!(course.reports[..], [Report::Failed { .. }]),
        "{:?}",
        course.reports
    );
    assert_eq!(course.core.board.level, super::super::Level::Failing);
    course.pass(secs(600));
    assert_eq!(course.world.lists, 11);
    assert_eq!(course.reports.len(), 1);
}

#[test]
fn a_short_outage_is_nobodys_failure_and_a_long_one_is_told_once() {
    let mut course = Course::new(false, 100);
    course.world.ill = Some(Ill::Away(FaultKind::Unreachable));
    course.want(member(1, course.wall, secs(7200)));
    course.pass(secs(20));
    assert_eq!(course.reports, []);
    course.pass(secs(400));
    assert!(
        matches!(course.reports[..], [Report::Failed { .. }]),
        "{:?}",
        course.reports
    );
    assert_eq!(course.core.board.level, super::super::Level::Failing);
    course.comes_to_rest();
    assert!(matches!(course.reports[1..], [Report::Applied { took, .. }] if took >= secs(420)));
    assert_eq!(course.core.board.level, super::super::Level::Ok);
}

#[test]
fn a_fault_of_one_batch_holds_up_no_other() {
    let mut course = Course::new(false, 100);
    course.drive();
    course.world.ill = Some(Ill::Half);
    for n in 1..=12 {
        course.want(member(n, course.wall, secs(7200)));
    }
    course.drive();
    assert_eq!(course.world.entries.len(), 6);
    course.world.ill = None;
    course.pass(secs(2));
    assert_eq!(course.world.entries.len(), 12);
}

#[test]
fn a_decision_that_takes_over_what_stands_is_told_and_nothing_is_put_again() {
    let mut course = at_rest(false);
    course.pass(INTERVAL);
    course.want(member(1, course.wall, secs(900)));
    course.drive();
    assert_eq!(course.world.batches.len(), 1);
    let decisions: HashSet<_> = course
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Applied { decision, .. } => Some(*decision),
            _ => None,
        })
        .collect();
    assert_eq!(decisions.len(), 2);
}

#[test]
fn what_stood_at_the_start_is_found_and_not_applied() {
    let mut course = Course::new(false, 100);
    course.world.entries.insert(host(1), course.at + secs(600));
    course.want(member(1, course.wall, secs(600)));
    course.drive();
    assert!(
        matches!(course.reports[..], [Report::Found { .. }]),
        "{:?}",
        course.reports
    );
    assert_eq!(course.world.batches.len(), 0);
}

#[test]
fn who_observes_counts_what_would_be_done_and_does_nothing() {
    let mut course = at_rest(false);
    course.core.settings.observes = true;
    course.world.entries.insert(host(9), course.at + secs(600));
    let batches = course.world.batches.len();
    course.want(member(2, course.wall, secs(600)));
    course.pass(INTERVAL * 2);
    assert_eq!(course.world.batches.len(), batches);
    let would = course.core.board.would.unwrap();
    assert_eq!((would.puts, would.takes), (1, 1));
}
