//! The suite against a right sink, and against sinks that are wrong on purpose: one for each case.

mod fake;

use super::*;
use fake::{FakeRig, Wrong};

struct Fakes {
    wrong: Wrong,
    added: Added,
    declared: &'static [(Case, &'static str)],
}

impl Fakes {
    const fn new(wrong: Wrong) -> Self {
        Self {
            wrong,
            added: Added::Removed,
            declared: &[],
        }
    }

    /// The cases that do not hold, of all but the long one, unless it is the very one.
    async fn found(&self, with_many: bool) -> Vec<(Case, String)> {
        let mut found = Vec::new();
        for row in CASES.iter().filter(|row| with_many || row.case != Case::Many) {
            found.extend(answer(self, row).await.err().map(|why| (row.case, why)));
        }
        found
    }
}

#[async_trait]
impl SetSuite for Fakes {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn declared(&self) -> &[(Case, &'static str)] {
        self.declared
    }

    fn added(&self) -> Added {
        self.added
    }

    async fn start(&self, case: Case) -> Option<Box<dyn SetRig>> {
        let is_declared = self.declared.iter().any(|(found, _)| *found == case);
        (!is_declared).then(|| Box::new(FakeRig::new(self.wrong, case, self.added)) as Box<dyn SetRig>)
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_sink_passes() {
    run(&Fakes::new(Wrong::Nothing)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_right_sink_that_leaves_what_has_no_mark_passes() {
    let fakes = Fakes {
        added: Added::Foreign,
        ..Fakes::new(Wrong::Nothing)
    };
    assert_eq!(fakes.found(false).await, []);
}

/// For each case the sink that is wrong in this alone, and what the suite says of it.
const ONE_EACH: &[(Wrong, Case, &str)] = &[
    (Wrong::CannotCheck, Case::Well, "and `check` says"),
    (Wrong::WaitsForSecond, Case::Lone, "the destination lacks [203.0.113.1]"),
    (Wrong::NoV6Hosts, Case::V6, "a round at a well destination"),
    (
        Wrong::NoV6Networks,
        Case::Network,
        "lacks [2001:db8:7::/48, 2001:db8:8:1::/64]",
    ),
    (Wrong::NoOverlap, Case::Overlap, "a round at a well destination"),
    (Wrong::NeverShortens, Case::Extend, "ends at"),
    (Wrong::FailsOnGone, Case::TakeGone, "at a well destination"),
    (Wrong::Exists, Case::PutStanding, "at a well destination"),
    (Wrong::Doubles, Case::AnswerLost, "2 entries are there twice"),
    (Wrong::NoContainer, Case::Wiped, "not well after 5 rounds"),
    (Wrong::ListsPut, Case::Deleted, "one entry is missing"),
    (Wrong::ListsKnown, Case::Added, "one entry was added, 1 changes are due"),
    (
        Wrong::DropsForeign,
        Case::Foreign,
        "what is not the sink's own has changed",
    ),
    (Wrong::Replays, Case::DownForADay, "holds [203.0.113.7] beyond"),
    (Wrong::LiesDown, Case::ExpiredWhileDown, "and all again"),
    (Wrong::NeverEnds, Case::EndsItself, "a member's end: not so after 30 s"),
    (Wrong::FirstPage, Case::Many, "a round makes"),
    (Wrong::PutsFirst, Case::Room, "a round at a well destination"),
    (Wrong::SparesNewOnly, Case::Spared, "203.0.113.1 is to be spared"),
    (Wrong::WritesObserving, Case::Observe, "has changed the destination"),
    (
        Wrong::MistakesAuth,
        Case::Unauthorized,
        "expected a fault of [Auth, Config]",
    ),
    (Wrong::Hangs, Case::HalfOpen, "stands did not come back within 30 s"),
    (Wrong::MarksInstance, Case::Restart, "what stood before a restart"),
    (Wrong::HalfEntries, Case::Cancelled, "there twice"),
    (Wrong::Insists, Case::Nowhere, "there is nothing at 203.0.113.250"),
    (Wrong::AllOrNothing, Case::OneBad, "203.0.113.251 alone is refused"),
    (Wrong::LaneUnguarded, Case::FastLane, "holds [203.0.113.2] beyond"),
    (Wrong::Deaf, Case::Told, "told of nothing"),
];

#[tokio::test(start_paused = true)]
async fn each_case_finds_the_sink_that_is_wrong_in_it_and_no_other_case_does() {
    for (wrong, case, reason) in ONE_EACH {
        let found = Fakes::new(*wrong).found(*case == Case::Many).await;
        let cases: Vec<_> = found.iter().map(|(case, _)| *case).collect();
        assert_eq!(cases, [*case], "{wrong:?}: {found:?}");
        assert!(found[0].1.contains(reason), "{wrong:?}: {}", found[0].1);
    }
    for row in CASES {
        let has_wrong = ONE_EACH.iter().any(|(_, case, _)| *case == row.case);
        assert!(has_wrong, "{} has no wrong sink", row.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_wrong_in_everything_is_found_with_the_reason() {
    for (wrong, reason) in [
        (Wrong::Lies, "the destination lacks [203.0.113.1"),
        (Wrong::Miscounts, "7 outcomes for 8 changes"),
        (Wrong::ListsTwice, "is listed twice"),
        (Wrong::Silent, "nothing says why"),
    ] {
        let found = answer(&Fakes::new(wrong), &CASES[0]).await.unwrap_err();
        assert!(found.contains(reason), "{wrong:?}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_listed_where_the_destination_keeps_it_and_nowhere_else() {
    let fakes = Fakes {
        declared: &[(Case::EndsItself, "it keeps no ends")],
        ..Fakes::new(Wrong::Nothing)
    };
    let found = answer(&fakes, &CASES[0]).await.unwrap_err();
    assert!(
        found.contains("with an end that its destination does not keep"),
        "{found}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_case_is_run_or_declared_and_never_both_nor_neither() {
    struct Silent(&'static [(Case, &'static str)]);
    #[async_trait]
    impl SetSuite for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }
        fn declared(&self) -> &[(Case, &'static str)] {
            self.0
        }
        fn added(&self) -> Added {
            Added::Removed
        }
        async fn start(&self, case: Case) -> Option<Box<dyn SetRig>> {
            let rig = || Box::new(FakeRig::new(Wrong::Nothing, case, Added::Removed)) as Box<dyn SetRig>;
            (case == Case::Told).then(rig)
        }
    }
    let of = |case| CASES.iter().find(|row| row.case == case).unwrap();
    let down = of(Case::DownForADay);
    assert_eq!(
        answer(&Silent(&[]), down).await,
        Err("neither run nor declared".to_owned())
    );
    assert_eq!(
        answer(&Silent(&[(Case::DownForADay, "")]), down).await,
        Err("declared without a reason".to_owned())
    );
    assert_eq!(
        answer(&Silent(&[(Case::DownForADay, "it is this host")]), down).await,
        Ok(Some("it is this host"))
    );
    assert_eq!(
        answer(&Silent(&[(Case::Told, "no")]), of(Case::Told)).await,
        Err("declared, although the rig can run it".to_owned())
    );
    for case in [Case::Well, Case::Spared, Case::Observe] {
        let declared: &'static [_] = Box::leak(Box::new([(case, "why not")]));
        let found = answer(&Silent(declared), of(case)).await.unwrap_err();
        assert!(found.starts_with("cannot be declared"), "{found}");
    }
}
