//! The kinds of news. Each has its own words in every voice.
//!
//! A row is the name of its table in a voice's file, what a notice of it tells, and which variables its words may use.

use trapline_schemas::derive::state::State;
use trapline_schemas::{Action, Event, Field};

use crate::Weight;

/// A set of variables that belong together; see [`crate::scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Of every kind.
    All,
    /// Of every kind that stays in the house: which observer, which site.
    House,
    /// Who came.
    Source,
    /// What was touched.
    Door,
    /// What was done to it, in one event.
    Deed,
    /// What was done about it.
    Act,
    /// A sink.
    Sink,
    /// How much is missing.
    Gap,
    /// A configuration that was refused.
    Config,
    /// A part of this host or of trapline.
    Part,
    /// What the owner of a source is told of it.
    Owner,
}

macro_rules! kinds {
    ($($kind:ident = $name:literal, [$($group:ident),*], $doc:literal;)*) => {
        /// What a notice tells.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = $doc] $kind,)* }

        impl Kind {
            /// Every kind, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its table in a voice's file.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Whether its words may use a group of variables.
            pub(crate) fn has(self, group: Group) -> bool {
                let groups: &[Group] = match self { $(Self::$kind => &[$(Group::$group),*],)* };
                match group {
                    Group::All => true,
                    Group::House => self != Self::Owner,
                    group => groups.contains(&group),
                }
            }
        }
    };
}

kinds! {
    Contact = "contact", [Source, Door, Deed], "Somebody touched a decoy and said nothing of note.";
    Intent = "intent", [Source, Door, Deed], "Somebody spoke a decoy's protocol, or touched several.";
    Proof = "proof", [Source, Door, Deed], "Somebody left credentials, commands, files or an exploit.";
    Benign = "benign", [Source, Door], "Somebody who is known to mean no harm touched a decoy.";
    Digest = "digest", [Source, Door], "What came together in a window, as one.";
    Folded = "folded", [Source, Door], "What was counted and not told one by one.";
    Scan = "scan", [Source, Door], "Somebody walks over several ports or decoys.";
    ScanOver = "scan_over", [Source, Door], "That walk is over.";
    Blocked = "blocked", [Source, Act], "A source was shut out.";
    Listed = "listed", [Source, Act], "A source was written on a list that others read.";
    Lifted = "lifted", [Source, Act], "A source was let in again.";
    Undone = "undone", [Source, Act], "A source is tagged, sinkholed or listed no longer.";
    Tagged = "tagged", [Source, Act], "A host was tagged.";
    Sinkholed = "sinkholed", [Source, Act], "A source was sinkholed in DNS.";
    Decided = "decided", [Source, Act], "It was decided to act, or to go on for longer.";
    Observed = "observed", [Source, Act], "What would have been done, had the rule been allowed to.";
    Proposed = "proposed", [Source, Act], "An act that waits for a person's yes or no.";
    Rejected = "rejected", [Source, Act], "A person said no to what was proposed, or nothing in time.";
    Ended = "ended", [Source, Act], "A decision is over.";
    ActRefused = "act_refused", [Source, Act], "An act that is not allowed against this source.";
    ActFailed = "act_failed", [Source, Act], "An act that did not work.";
    Repaired = "repaired", [Act], "Others had changed what was done about sources; it is as decided again.";
    SinkFailed = "sink_failed", [Sink], "A sink does not work.";
    SinkRecovered = "sink_recovered", [Sink], "A sink works again.";
    Gap = "gap", [Gap], "Events are missing.";
    ConfigRefused = "config_refused", [Config], "A configuration was read and refused.";
    ConfigReloaded = "config_reloaded", [], "A configuration was read and put in force.";
    ListenerFailed = "listener_failed", [Door], "A decoy could not listen.";
    HostAlarm = "host_alarm", [Part], "Something of this host is not as it was.";
    ChainBreak = "chain_break", [], "The journal's chain was broken.";
    Lifecycle = "lifecycle", [Part], "Trapline or a decoy started or stopped.";
    Other = "other", [Part], "Anything else.";
    Owner = "owner", [Source, Owner], "To whoever answers for a source: what it did, and how it is let in again.";
    Test = "test", [], "`trapline send-test`, or a canary, tries whether notices arrive.";
}

/// The key of the digest of those that found no room to be told of one by one.
const OTHERS: &str = "(others)";

/// What marks the event of `trapline send-test`.
const TEST: &str = "send-test";

impl Kind {
    /// What a notice of the event tells.
    pub fn of(event: &Event) -> Self {
        let benign = event.text(Field::BenignName);
        match event.action {
            Action::Canary => Self::Test,
            Action::NoticeReleased => Self::Owner,
            _ if benign.is_some_and(|name| name == TEST) => Self::Test,
            Action::Scan if is_word(event, Field::FindingStatus, "closed") => Self::ScanOver,
            Action::Scan | Action::Digest if benign.is_some() => Self::Benign,
            Action::Scan => Self::Scan,
            Action::Digest if is_of_touches(event) && !is_word(event, Field::TransformKey, OTHERS) => Self::Digest,
            Action::Digest | Action::HeldBack | Action::SourceFolded => Self::Folded,
            Action::Repaired => Self::Repaired,
            Action::Decided => Self::of_decision(event),
            action if action.is_act() => Self::of_act(event),
            Action::SinkFailed => Self::SinkFailed,
            Action::SinkRecovered => Self::SinkRecovered,
            Action::JournalGap => Self::Gap,
            Action::ConfigRefused => Self::ConfigRefused,
            Action::ConfigReloaded => Self::ConfigReloaded,
            Action::ListenerFailed => Self::ListenerFailed,
            Action::HostAlarm => Self::HostAlarm,
            Action::ChainBreak => Self::ChainBreak,
            Action::ListenerStarted | Action::ListenerStopped => Self::Lifecycle,
            Action::SensorStarted | Action::SensorStopped => Self::Lifecycle,
            Action::ChainHead | Action::Recovered | Action::IncidentClosed | Action::Other => Self::Other,
            _ if benign.is_some() => Self::Benign,
            _ => Self::of_touch(event),
        }
    }

    fn of_touch(event: &Event) -> Self {
        match weight(event) {
            Weight::Proof => Self::Proof,
            Weight::Intent => Self::Intent,
            Weight::Contact | Weight::News => Self::Contact,
        }
    }

    fn of_act(event: &Event) -> Self {
        match (event.action, State::of(event)) {
            _ if is_failed(event) => Self::ActFailed,
            (_, Some(State::Refused)) => Self::ActRefused,
            (_, Some(State::Proposed)) => Self::Proposed,
            _ if event.get(Field::ResponseDryRun) == Some(&true.into()) => Self::Observed,
            (Action::Unblock, _) | (Action::Block, Some(State::Lifted)) => Self::Lifted,
            (action, _) if action.is_act_off() => Self::Undone,
            (_, Some(State::Lifted)) => Self::Undone,
            (Action::Tag, _) => Self::Tagged,
            (Action::Sinkhole, _) => Self::Sinkholed,
            (Action::List, _) => Self::Listed,
            _ => Self::Blocked,
        }
    }

    fn of_decision(event: &Event) -> Self {
        let is_dry = event.get(Field::ResponseDryRun) == Some(&true.into());
        match State::of(event) {
            Some(State::Extended) if is_dry && is_word(event, Field::ResponseMode, "propose") => Self::Proposed,
            Some(State::Extended) if is_dry => Self::Observed,
            Some(State::Ended) if is_dry => Self::Rejected,
            Some(State::Observed) => Self::Observed,
            Some(State::Proposed) => Self::Proposed,
            Some(State::Rejected) => Self::Rejected,
            Some(State::Refused) => Self::ActRefused,
            Some(State::Ended) => Self::Ended,
            _ => Self::Decided,
        }
    }
}

fn is_failed(event: &Event) -> bool {
    let has_error = event.get(Field::ErrorType).is_some() || event.get(Field::ErrorMessage).is_some();
    has_error || State::of(event) == Some(State::Failed)
}

/// How grave an event is: by its level of touch; one of a source without a level is a contact at least, and what a person
/// has to see to more than that.
pub(crate) fn weight(event: &Event) -> Weight {
    match event.text(Field::TouchLevel).map_or("", |level| level) {
        "proof" => Weight::Proof,
        "intent" => Weight::Intent,
        "contact" => Weight::Contact,
        _ if event.action == Action::Scan => Weight::Intent,
        _ if event.action.is_act() && is_failed(event) => Weight::Intent,
        _ if event.action == Action::Decided && State::of(event) == Some(State::Proposed) => Weight::Intent,
        _ if is_of_somebody(event) || event.action.is_touch() => Weight::Contact,
        _ => Weight::News,
    }
}

/// Whether an event knows which decoys were touched: one of acts alone does not.
fn has_door(event: &Event) -> bool {
    event.get(Field::DecoyId).is_some() || event.int(Field::ScanDecoyCount).is_some_and(|decoys| decoys > 0)
}

/// Whether a digest is one of touches: those of acts know no decoy, and those of listeners nobody who came.
fn is_of_touches(event: &Event) -> bool {
    has_door(event) && is_of_somebody(event)
}

/// Whether an event tells of somebody, rather than of trapline. A decoy alone is no sign of it: decoys start and stop.
fn is_of_somebody(event: &Event) -> bool {
    let has = |field| event.get(field).is_some();
    has(Field::SourceIp) || has(Field::SourceAddress) || has(Field::DigestSourceCount) || has(Field::TouchLevel)
}

fn is_word(event: &Event, field: Field, word: &str) -> bool {
    event.text(field).is_some_and(|text| text == word)
}

#[cfg(test)]
mod tests {
    use trapline_schemas::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn event(action: Action, facts: &[(Field, &str)]) -> Event {
        let mut event = Event::new(Uuid::nil(), Timestamp::default(), action);
        facts.iter().for_each(|(field, text)| event.set(*field, *text));
        event
    }

    #[test]
    fn every_action_has_a_kind_and_only_newer_ones_are_other() {
        for action in Action::ALL {
            let is_other = Kind::of(&event(*action, &[])) == Kind::Other;
            let rest = [
                Action::ChainHead,
                Action::Recovered,
                Action::IncidentClosed,
                Action::Other,
            ]
            .contains(action);
            assert_eq!(is_other, rest, "{action:?}");
        }
    }

    #[test]
    fn a_touch_is_told_by_its_level_unless_it_is_known_to_be_benign() {
        for (level, kind) in [
            ("contact", Kind::Contact),
            ("intent", Kind::Intent),
            ("proof", Kind::Proof),
        ] {
            let mut touch = event(Action::Connect, &[(Field::TouchLevel, level)]);
            assert_eq!(Kind::of(&touch), kind);
            touch.set(Field::BenignName, "monitoring");
            assert_eq!(Kind::of(&touch), Kind::Benign);
            touch.set(Field::BenignName, TEST);
            assert_eq!(Kind::of(&touch), Kind::Test);
        }
    }

    #[test]
    fn an_act_that_failed_was_refused_or_only_said_is_not_told_as_done() {
        let mut act = event(Action::Block, &[(Field::ResponseState, "enforced")]);
        assert_eq!(Kind::of(&act), Kind::Blocked);
        act.set(Field::ResponseDryRun, true);
        assert_eq!(Kind::of(&act), Kind::Observed);
        act.set(Field::ResponseState, "refused");
        assert_eq!(Kind::of(&act), Kind::ActRefused);
        act.set(Field::ErrorType, "netlink");
        assert_eq!(Kind::of(&act), Kind::ActFailed);
        assert_eq!(
            Kind::of(&event(Action::Block, &[(Field::ResponseState, "lifted")])),
            Kind::Lifted
        );
        assert_eq!(Kind::of(&event(Action::Unblock, &[])), Kind::Lifted);
    }

    #[test]
    fn each_act_and_decision_has_the_kind_of_its_state() {
        let of = |action, state: State| Kind::of(&event(action, &[(Field::ResponseState, state.name())]));
        let acts = [
            (Action::Block, Kind::Blocked),
            (Action::Tag, Kind::Tagged),
            (Action::Sinkhole, Kind::Sinkholed),
            (Action::List, Kind::Listed),
        ];
        for (action, kind) in acts {
            assert_eq!(of(action, State::Enforced), kind);
            assert_eq!(of(action, State::Failed), Kind::ActFailed);
        }
        for action in [Action::Untag, Action::Unsinkhole, Action::Unlist] {
            assert_eq!(of(action, State::Lifted), Kind::Undone);
            assert_eq!(of(action, State::Failed), Kind::ActFailed);
        }
        assert_eq!(of(Action::Unblock, State::Lifted), Kind::Lifted);
        assert_eq!(of(Action::Unblock, State::Failed), Kind::ActFailed);
        let decisions = [
            Kind::Observed,
            Kind::Proposed,
            Kind::Decided,
            Kind::Decided,
            Kind::Rejected,
            Kind::Decided,
            Kind::ActRefused,
            Kind::Ended,
        ];
        assert_eq!(State::OF_DECISIONS.map(|state| of(Action::Decided, state)), decisions);
        let dry = |mode: &str, state: State| {
            let facts = [(Field::ResponseState, state.name()), (Field::ResponseMode, mode)];
            let mut event = event(Action::Decided, &facts);
            event.set(Field::ResponseDryRun, true);
            Kind::of(&event)
        };
        assert_eq!(dry("propose", State::Extended), Kind::Proposed);
        assert_eq!(dry("observe", State::Extended), Kind::Observed);
        assert_eq!(dry("propose", State::Ended), Kind::Rejected);
    }

    #[test]
    fn what_waits_for_a_person_or_failed_is_graver_than_what_runs_by_itself() {
        let of = |action, state: State| {
            let mut event = event(action, &[(Field::ResponseState, state.name())]);
            event.set(Field::SourceIp, std::net::IpAddr::from([203, 0, 113, 7]));
            weight(&event)
        };
        assert_eq!(of(Action::Decided, State::Decided), Weight::Contact);
        assert_eq!(of(Action::Decided, State::Proposed), Weight::Intent);
        assert_eq!(of(Action::Block, State::Enforced), Weight::Contact);
        assert_eq!(of(Action::Block, State::Failed), Weight::Intent);
        assert_eq!(weight(&event(Action::Repaired, &[])), Weight::News);
    }

    #[test]
    fn a_digest_of_trapline_itself_is_a_count_and_no_touch() {
        assert_eq!(
            Kind::of(&event(Action::Digest, &[(Field::SinkName, "siem")])),
            Kind::Folded
        );
        assert_eq!(
            weight(&event(Action::Digest, &[(Field::SinkName, "siem")])),
            Weight::News
        );
        let listeners = event(Action::Digest, &[(Field::DecoyId, "ssh")]);
        assert_eq!((Kind::of(&listeners), weight(&listeners)), (Kind::Folded, Weight::News));
        let listener = event(Action::ListenerStarted, &[(Field::DecoyId, "ssh")]);
        assert_eq!(
            (Kind::of(&listener), weight(&listener)),
            (Kind::Lifecycle, Weight::News)
        );
        let acts = event(Action::Digest, &[(Field::SourceAddress, "p-77")]);
        assert_eq!((Kind::of(&acts), weight(&acts)), (Kind::Folded, Weight::Contact));
        let mut touched = event(Action::Digest, &[(Field::TouchLevel, "proof"), (Field::DecoyId, "ssh")]);
        assert_eq!((Kind::of(&touched), weight(&touched)), (Kind::Digest, Weight::Proof));
        touched.set(Field::TransformKey, OTHERS);
        assert_eq!(Kind::of(&touched), Kind::Folded);
    }
}
