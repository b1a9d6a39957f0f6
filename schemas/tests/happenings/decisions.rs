//! What is done about sources: every act and decision in each of its states, about an address of either family and about
//! a network.

use smol_str::SmolStr;
use trapline_schemas::derive::risk::{Circumstances, risk};
use trapline_schemas::derive::state::State;
use trapline_schemas::ids::{SiteKey, derived, incident};
use trapline_schemas::{Action, Event, Field, Timestamp};

use super::{From, Maker};

/// What is acted on.
#[derive(Clone, Copy)]
enum Whom {
    Address(From),
    Network(From, &'static str),
}

const WHOM: [Whom; 4] = [
    Whom::Address(From::Outside),
    Whom::Address(From::OutsideV6),
    Whom::Network(From::Outside, "203.0.113.0/24"),
    Whom::Network(From::OutsideV6, "2001:db8:77::/64"),
];

impl Whom {
    fn from(self) -> From {
        match self {
            Self::Address(from) | Self::Network(from, _) => from,
        }
    }
}

/// Each act with its verb, and its place.
const ACTS: [(Action, &str, &str); 8] = [
    (Action::Block, "block", "firewall"),
    (Action::Unblock, "block", "firewall"),
    (Action::Tag, "tag", "edr"),
    (Action::Untag, "tag", "edr"),
    (Action::Sinkhole, "sinkhole", "rpz"),
    (Action::Unsinkhole, "sinkhole", "rpz"),
    (Action::List, "list", "blocklist"),
    (Action::Unlist, "list", "blocklist"),
];

/// Every state with one of [`WHOM`], by turns.
pub fn samples() -> Vec<Event> {
    let mut make = Maker::new();
    let mut whom = WHOM.into_iter().cycle();
    let mut next = || whom.next().expect("a cycle goes on for ever");
    all(&mut make, &mut |make, about| about(make, next()))
}

/// Every state with each of [`WHOM`].
pub fn every() -> Vec<Event> {
    WHOM.into_iter()
        .flat_map(|whom| all(&mut Maker::new(), &mut |make, about| about(make, whom)))
        .collect()
}

type About<'a> = &'a dyn Fn(&mut Maker, Whom) -> Event;

fn all(make: &mut Maker, add: &mut dyn FnMut(&mut Maker, About<'_>) -> Event) -> Vec<Event> {
    let mut events = Vec::new();
    for (action, verb, place) in ACTS {
        let done = if action.is_act_on() {
            State::Enforced
        } else {
            State::Lifted
        };
        for state in [done, State::Failed] {
            events.push(add(make, &|make, whom| act(make, whom, (action, verb, place), state)));
        }
    }
    for state in State::OF_DECISIONS {
        events.push(add(make, &|make, whom| decided(make, whom, state)));
    }
    events.push(repaired(make));
    events
}

/// What every such event has.
fn event(make: &mut Maker, whom: Whom, action: Action, state: State) -> Event {
    let mut event = make.event(action);
    let from = whom.from();
    let (source, _) = from.ips();
    event.set(Field::SourceIp, source);
    event.set(Field::SourceZone, if from.is_inside() { "inside" } else { "external" });
    event.set(Field::SourceZoneInside, from.is_inside());
    event.set(Field::IncidentId, incident(&SiteKey::new([7; 32]), source, event.at));
    event.set(Field::ResponseId, derived("decision", "", Timestamp::default()));
    event.set(Field::ResponseCause, derived("cause", "", Timestamp::default()));
    event.set(Field::ResponseMode, "enforce");
    event.set(Field::ResponseRule, "credentials");
    event.set(Field::ResponseBy, "credentials");
    event.set(Field::ResponseState, state.name());
    event.set(Field::ResponseStep, 2_i64);
    event.set(Field::ResponseDryRun, false);
    event.set(Field::ResponseTtl, 3600_i64);
    event.set(
        Field::ResponseExpires,
        Timestamp::from_micros(event.at.micros() + 3_600_000_000),
    );
    let of = Circumstances {
        state: Some(state),
        ..Circumstances::default()
    };
    event.set(Field::EventRiskScore, risk(action, &of));
    match whom {
        Whom::Address(_) => event.set(Field::ResponseScope, "address"),
        Whom::Network(_, network) => {
            event.set(Field::ResponseScope, "network");
            event.set(Field::ResponseNetwork, network);
        }
    }
    event
}

fn act(make: &mut Maker, whom: Whom, (action, verb, place): (Action, &str, &str), state: State) -> Event {
    let mut event = event(make, whom, action, state);
    event.set(Field::ResponseKind, verb);
    event.set(Field::ResponseTarget, place);
    match state {
        State::Failed => {
            event.set(Field::ErrorType, "permission");
            event.set(Field::ErrorMessage, format!("{place}: operation not permitted"));
        }
        State::Enforced => event.set(Field::ResponseLatency, 1_482_i64),
        _ => event.set(Field::ResponseReason, "the time is over"),
    }
    event
}

fn decided(make: &mut Maker, whom: Whom, state: State) -> Event {
    let mut event = event(make, whom, Action::Decided, state);
    event.set(
        Field::ResponseVerbs,
        vec![SmolStr::new("block"), SmolStr::new("sinkhole")],
    );
    match state {
        State::Observed => {
            event.set(Field::ResponseMode, "observe");
            event.set(Field::ResponseDryRun, true);
        }
        State::Proposed => {
            event.set(Field::ResponseMode, "propose");
            event.set(Field::ResponseDryRun, true);
        }
        State::Approved | State::Rejected => {
            event.set(Field::ResponseMode, "propose");
            event.set(Field::ResponseBy, "alice");
            event.set(Field::ResponseUid, 1000_i64);
            event.set(Field::ResponseReason, "seen with the team");
        }
        State::Refused => event.set(Field::ResponseReason, "it is the gateway of this host"),
        State::Ended => event.set(Field::ResponseReason, "the time is over"),
        _ => {}
    }
    event
}

/// What others had changed at one place.
fn repaired(make: &mut Maker) -> Event {
    let mut event = make.event(Action::Repaired);
    event.set(Field::ResponseKind, "block");
    event.set(Field::ResponseTarget, "firewall");
    event.set(Field::ResponseRepaired, 3_i64);
    event
}
