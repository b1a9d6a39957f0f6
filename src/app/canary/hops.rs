//! What became of a canary at each node, judged from what the graph says and what was seen. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::SinkSettings;
use crate::control::canary::{Hop, HopState, Place};
use crate::delivery::SinkStatus;
use crate::delivery::canary::{Sight, Sighting};
use crate::graph::window::sink_behind;
use crate::graph::{Passage, Station};

/// Longest text of a destination that is shown, in characters.
const SAID_CHARS_MAX: usize = 300;

/// All that there is to judge by.
pub(super) struct Judged<'j> {
    /// The way, as the graph has it.
    pub(super) passages: &'j [Passage],
    /// Where it was seen.
    pub(super) flight: &'j [Sighting],
    /// Since when.
    pub(super) begun: Instant,
    pub(super) sinks: &'j [SinkSettings],
    pub(super) statuses: &'j [SinkStatus],
}

/// A hop; one that failed, was held, or waits at a sink, is as it should not be.
pub(super) fn hop(place: Place, name: &str, state: HopState, said: &str, after: Option<Duration>) -> Hop {
    let at_sink = place == Place::Sink;
    Hop {
        place,
        name: name.to_owned(),
        state,
        failed: match state {
            HopState::Failed | HopState::Held => true,
            HopState::Filtered | HopState::Waiting => at_sink,
            HopState::Passed | HopState::Delivered | HopState::Sent | HopState::NotWanted => false,
        },
        queued_micros: None,
        micros: after.map(micros),
        said: trapline_schemas::text::clean_within(said.as_bytes(), SAID_CHARS_MAX).into(),
    }
}

fn micros(after: Duration) -> u64 {
    u64::try_from(after.as_micros()).unwrap_or(u64::MAX)
}

/// The nodes between, in their order.
pub(super) fn transforms(judged: &Judged<'_>) -> Vec<Hop> {
    let between = judged
        .passages
        .iter()
        .filter(|passage| passage.station != Station::Sink);
    between.map(|passage| judged.transform(passage)).collect()
}

/// The sinks that run, in the order of the configuration.
pub(super) fn sinks(judged: &Judged<'_>) -> Vec<Hop> {
    let enabled = judged.sinks.iter().filter(|sink| sink.enabled);
    enabled.map(|sink| judged.sink(&sink.name, sink.canary)).collect()
}

impl Judged<'_> {
    fn transform(&self, passage: &Passage) -> Hop {
        let name = title(&passage.node);
        let told = |state, said: &str, after| hop(Place::Transform, &name, state, said, after);
        if !passage.comes {
            return told(HopState::Filtered, &stopped(passage), None);
        }
        match passage.station {
            Station::Window => match self.after(&passage.node, |sight| *sight == Sight::Passed) {
                Some(after) => told(HopState::Passed, "", Some(after)),
                None => match self.holder(passage) {
                    Some(holder) => told(HopState::Waiting, &format!("held before by {}", title(holder)), None),
                    None => told(HopState::Held, "it has not let it through in time", None),
                },
            },
            _ if passage.goes_on => told(HopState::Passed, "", None),
            _ => told(HopState::Filtered, "its condition is not true for a canary", None),
        }
    }

    fn sink(&self, name: &str, is_wanted: bool) -> Hop {
        let told = |state, said: &str| hop(Place::Sink, name, state, said, None);
        if !is_wanted {
            return told(
                HopState::NotWanted,
                "`canary = true` in its table would have it get one",
            );
        }
        let Some(passage) = self.passages.iter().find(|passage| passage.is_of_sink(name)) else {
            return told(HopState::Failed, "no way leads to it");
        };
        if !passage.comes {
            let said = format!(
                "{}; `… || event.action == \"canary\"` lets it through",
                stopped(passage)
            );
            return told(HopState::Filtered, &said);
        }
        Hop {
            queued_micros: self.after(name, |sight| *sight == Sight::Queued).map(micros),
            ..self.reached(name, passage)
        }
    }

    /// A sink that it should come to.
    fn reached(&self, name: &str, passage: &Passage) -> Hop {
        let told = |state, said: &str, after| hop(Place::Sink, name, state, said, after);
        let status = self.statuses.iter().find(|status| status.name == name);
        let unconfirmed = status.is_some_and(|status| status.unconfirmed);
        // A window may have the sink's name.
        let seen = self
            .flight
            .iter()
            .filter(|seen| seen.node == name && seen.sight != Sight::Passed);
        let last = seen.max_by_key(|seen| seen.at);
        let after = last.map(|seen| seen.at.saturating_duration_since(self.begun));
        match last.map(|seen| &seen.sight) {
            Some(Sight::Delivered(_)) if unconfirmed => told(HopState::Sent, "nobody confirms it", after),
            Some(Sight::Delivered(word)) => {
                let word = word.as_deref().unwrap_or("accepted by the destination");
                told(HopState::Delivered, word, after)
            }
            Some(Sight::Refused(reason)) => told(
                HopState::Failed,
                &format!("refused, kept as a dead letter: {reason}"),
                None,
            ),
            Some(Sight::Failed(message)) => told(HopState::Failed, message, None),
            Some(Sight::Queued | Sight::Passed) => told(HopState::Waiting, &waits(status), None),
            None => match self.holder(passage) {
                Some(window) => told(HopState::Held, &format!("held by {}", title(window)), None),
                None => told(HopState::Waiting, &waits(status), None),
            },
        }
    }

    /// The first window above that it has not come through.
    fn holder<'p>(&self, passage: &'p Passage) -> Option<&'p str> {
        let has_passed = |node: &&String| self.after(node, |sight| *sight == Sight::Passed).is_none();
        passage.behind.iter().find(has_passed).map(String::as_str)
    }

    fn after(&self, node: &str, is_it: impl Fn(&Sight) -> bool) -> Option<Duration> {
        let seen = self
            .flight
            .iter()
            .find(|seen| seen.node == node && is_it(&seen.sight))?;
        Some(seen.at.saturating_duration_since(self.begun))
    }
}

/// What keeps a sink from what it has to do.
fn waits(status: Option<&SinkStatus>) -> String {
    let Some(status) = status else {
        return "its worker does not run".to_owned();
    };
    let fault = status.last_fault.as_ref().filter(|fault| !fault.over);
    match fault {
        Some(fault) => fault.message.clone(),
        None => format!("no answer in time, {} entries wait for it", status.lag),
    }
}

fn stopped(passage: &Passage) -> String {
    format!("filtered by {}", passage.stopped_by.join(", "))
}

/// What an operator knows a node as.
fn title(node: &str) -> String {
    match sink_behind(node) {
        Some(sink) => format!("the window before sink {sink}"),
        None => node.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::delivery::FaultSeen;
    use trapline_schemas::Timestamp;

    use super::*;

    fn passage(node: &str, station: Station) -> Passage {
        Passage {
            node: node.into(),
            station,
            comes: true,
            stopped_by: Vec::new(),
            behind: Vec::new(),
            goes_on: station != Station::Sink,
        }
    }

    fn told(passage: Passage, flight: &[(&str, Sight)], status: SinkStatus) -> Hop {
        let begun = Instant::now();
        let flight = flight.iter().zip(1..).map(|((node, sight), millis)| Sighting {
            at: begun + Duration::from_millis(millis),
            node: (*node).to_owned(),
            sight: sight.clone(),
        });
        let flight: Vec<_> = flight.collect();
        let (name, station) = (passage.node.clone(), passage.station);
        let judged = Judged {
            passages: &[passage],
            flight: &flight,
            begun,
            sinks: &[],
            statuses: &[status],
        };
        match station {
            Station::Sink => judged.sink(&name, true),
            _ => transforms(&judged).remove(0),
        }
    }

    fn siem() -> SinkStatus {
        SinkStatus {
            name: "siem".into(),
            ..SinkStatus::default()
        }
    }

    #[test]
    fn a_sink_that_has_it_says_when_and_what_the_destination_said() {
        let flight = [
            ("siem", Sight::Queued),
            ("siem", Sight::Delivered(Some("250 ok".into()))),
        ];
        let hop = told(passage("siem", Station::Sink), &flight, siem());
        assert_eq!(
            (hop.state, hop.failed, hop.said.as_str()),
            (HopState::Delivered, false, "250 ok")
        );
        assert_eq!((hop.queued_micros, hop.micros), (Some(1000), Some(2000)));
        let unconfirmed = SinkStatus {
            unconfirmed: true,
            ..siem()
        };
        let hop = told(passage("siem", Station::Sink), &flight, unconfirmed);
        assert_eq!((hop.state, hop.failed), (HopState::Sent, false));
    }

    #[test]
    fn a_sink_that_fails_says_why_and_one_that_refused_it_too() {
        for (sight, said) in [
            (Sight::Failed("connection refused".into()), "connection refused"),
            (Sight::Refused("400".into()), "refused, kept as a dead letter: 400"),
        ] {
            let hop = told(passage("siem", Station::Sink), &[("siem", sight)], siem());
            assert_eq!(
                (hop.state, hop.failed, hop.said.as_str()),
                (HopState::Failed, true, said)
            );
        }
    }

    #[test]
    fn a_sink_that_is_paused_after_a_failure_says_what_failed() {
        let paused = SinkStatus {
            last_fault: Some(FaultSeen {
                kind: None,
                message: "no route".into(),
                since: Timestamp::default(),
                attempts: 9,
                over: false,
            }),
            ..siem()
        };
        let hop = told(passage("siem", Station::Sink), &[("siem", Sight::Queued)], paused);
        assert_eq!(
            (hop.state, hop.failed, hop.said.as_str()),
            (HopState::Waiting, true, "no route")
        );
    }

    #[test]
    fn what_stops_it_is_named() {
        let filtered = Passage {
            comes: false,
            stopped_by: vec!["worth_a_human".into()],
            ..passage("siem", Station::Sink)
        };
        let hop = told(filtered, &[], siem());
        assert_eq!((hop.state, hop.failed), (HopState::Filtered, true));
        assert!(hop.said.starts_with("filtered by worth_a_human; "), "{}", hop.said);
        let behind = Passage {
            behind: vec!["digest".into(), "notices/siem".into()],
            ..passage("siem", Station::Sink)
        };
        let hop = told(behind.clone(), &[("digest", Sight::Passed)], siem());
        assert_eq!((hop.state, hop.failed), (HopState::Held, true));
        assert_eq!(hop.said, "held by the window before sink siem");
    }

    #[test]
    fn a_filter_that_does_not_let_it_through_is_no_fault_and_a_window_that_does_not_is() {
        let filter = Passage {
            goes_on: false,
            ..passage("f", Station::Filter)
        };
        let hop = told(filter, &[], siem());
        assert_eq!((hop.state, hop.failed), (HopState::Filtered, false));
        let hop = told(passage("w", Station::Window), &[], siem());
        assert_eq!((hop.state, hop.failed), (HopState::Held, true));
        let hop = told(passage("w", Station::Window), &[("w", Sight::Passed)], siem());
        assert_eq!(
            (hop.state, hop.failed, hop.micros),
            (HopState::Passed, false, Some(1000))
        );
    }

    #[test]
    fn a_sink_that_wants_none_is_no_fault() {
        let judged = Judged {
            passages: &[],
            flight: &[],
            begun: Instant::now(),
            sinks: &[],
            statuses: &[],
        };
        let hop = judged.sink("siem", false);
        assert_eq!((hop.state, hop.failed), (HopState::NotWanted, false));
    }
}
