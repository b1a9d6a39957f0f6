//! The reserved names of `inputs`, and which events each of them stands for.

use trapline_schemas::Action;

/// Names that no decoy, transform or sink may have.
pub const RESERVED: &[&str] = &["decoys", "findings", "decisions", "health", "*"];

/// What an event is about, as far as `inputs` cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A hit: contact with a decoy. Input `decoys`, or the decoy's own name.
    Decoys,
    /// What was found about hits or the journal itself: scans, folds, chain heads, gaps. Input `findings`.
    Findings,
    /// Decided, enforced, lifted, refused, and that an owner may be written to. Input `decisions`.
    Decisions,
    /// Lifecycle and sink failures. Input `health`.
    Health,
    /// Made by a windowed node, or by a watch over incidents: an output of that node alone.
    Derived,
    /// A canary: taken by whatever feeds a sink that wants it, under no name of its own.
    Canary,
}

impl Class {
    /// The classes that `inputs` can name.
    pub const NAMED: [Self; 4] = [Self::Decoys, Self::Findings, Self::Decisions, Self::Health];

    /// The class of an action.
    pub const fn of(action: Action) -> Self {
        match action {
            Action::Connect
            | Action::UdpProbe
            | Action::Handshake
            | Action::Credential
            | Action::Ntlm
            | Action::Payload
            | Action::Query
            | Action::File
            | Action::SessionEnd => Self::Decoys,
            Action::Scan
            | Action::SourceFolded
            | Action::JournalGap
            | Action::ChainHead
            | Action::ChainBreak
            | Action::Recovered
            | Action::HostAlarm
            // Of a newer version: told to whoever listens to everything.
            | Action::Other => Self::Findings,
            Action::Block
            | Action::Unblock
            | Action::Tag
            | Action::Untag
            | Action::Sinkhole
            | Action::Unsinkhole
            | Action::List
            | Action::Unlist
            | Action::Decided
            | Action::Repaired
            | Action::NoticeReleased => Self::Decisions,
            Action::SinkFailed
            | Action::SinkRecovered
            | Action::ListenerStarted
            | Action::ListenerStopped
            | Action::ListenerFailed
            | Action::SensorStarted
            | Action::SensorStopped
            | Action::ConfigReloaded
            | Action::ConfigRefused => Self::Health,
            Action::HeldBack | Action::Digest | Action::IncidentClosed => Self::Derived,
            Action::Canary => Self::Canary,
        }
    }

    /// The classes that a reserved name stands for; none for any other name.
    pub fn named(input: &str) -> &'static [Self] {
        match input {
            "decoys" => &[Self::Decoys],
            "findings" => &[Self::Findings],
            "decisions" => &[Self::Decisions],
            "health" => &[Self::Health],
            "*" => &[Self::Decoys, Self::Findings, Self::Decisions],
            _ => &[],
        }
    }
}

/// Whether the event says that a sink failed or works again: never sent to that sink.
pub const fn is_about_a_sink(action: Action) -> bool {
    matches!(action, Action::SinkFailed | Action::SinkRecovered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reserved_name_stands_for_something() {
        for name in RESERVED {
            assert!(!Class::named(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn the_star_is_neither_health_nor_what_transforms_made() {
        let star = Class::named("*");
        assert!(!star.contains(&Class::Health) && !star.contains(&Class::Derived) && !star.contains(&Class::Canary));
        assert!(star.contains(&Class::of(Action::Connect)));
    }

    #[test]
    fn what_is_done_about_sources_is_a_decision() {
        for action in Action::ALL.iter().filter(|action| action.row().category == "response") {
            assert_eq!(Class::of(*action), Class::Decisions, "{}", action.name());
        }
    }

    #[test]
    fn what_comes_of_decoys_is_what_somebody_did() {
        for action in Action::ALL {
            assert_eq!(
                Class::of(*action) == Class::Decoys,
                action.is_touch(),
                "{}",
                action.name()
            );
        }
    }
}
