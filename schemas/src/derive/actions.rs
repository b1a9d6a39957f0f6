//! One row per action: its rule, ECS classification and base risk.

use crate::event::Action;

/// Who an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A peer that touched a decoy.
    Contact,
    /// A finding or summary over many hits.
    Finding,
    /// What was done about a source.
    Response,
    /// This host: its decoys, sinks and journal.
    Health,
}

/// What is always so for an action.
#[derive(Debug, Clone, Copy)]
pub struct ActionRow {
    /// Id of the built-in rule.
    pub rule: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its category: decoy, response or health.
    pub category: &'static str,
    /// Who it is about.
    pub subject: Subject,
    /// Whether it is an alert where the source is proved.
    pub alert: bool,
    /// ECS `event.category`, unless the service says more.
    pub categories: &'static [&'static str],
    /// ECS `event.type`.
    pub types: &'static [&'static str],
    /// ECS `event.outcome` where nothing failed and no state of a decision says otherwise; empty: none.
    pub outcome: &'static str,
    /// Risk of an outside source.
    pub risk_outside: i32,
    /// Risk of an inside source.
    pub risk_inside: i32,
}

const NETWORK: &[&str] = &["network", "intrusion_detection"];
const LOGIN: &[&str] = &["authentication", "network", "intrusion_detection"];
const PROCESS: &[&str] = &["process"];
const CONFIGURATION: &[&str] = &["configuration", "network"];
const INFO: &[&str] = &["info"];

impl Action {
    /// What is always so for this action.
    pub fn row(self) -> &'static ActionRow {
        &ROWS[self as usize]
    }

    const fn describe(self) -> ActionRow {
        match self {
            Self::Connect => ActionRow {
                types: &["connection", "start", "info"],
                alert: true,
                ..contact("TL-1001", "Connection to decoy port", 25, 60)
            },
            Self::UdpProbe => ActionRow {
                types: &["protocol", "info"],
                ..contact("TL-1002", "Datagram to decoy port", 10, 35)
            },
            Self::Handshake => ActionRow {
                types: &["connection", "protocol", "info"],
                ..contact("TL-1003", "Protocol handshake with decoy", 25, 60)
            },
            Self::SessionEnd => ActionRow {
                types: &["connection", "end", "info"],
                ..contact("TL-1004", "Session with decoy ended", 25, 60)
            },
            Self::Credential => ActionRow {
                categories: LOGIN,
                types: &["start"],
                alert: true,
                outcome: "failure",
                ..contact("TL-1101", "Credential offered to decoy", 50, 78)
            },
            Self::Ntlm => ActionRow {
                categories: LOGIN,
                types: &["start"],
                alert: true,
                outcome: "failure",
                ..contact("TL-1102", "NTLM authentication to decoy", 60, 85)
            },
            Self::Payload => ActionRow {
                types: &["protocol", "info"],
                alert: true,
                ..contact("TL-1201", "Payload sent to decoy", 60, 85)
            },
            Self::Query => ActionRow {
                types: &["protocol", "info"],
                alert: true,
                ..contact("TL-1202", "Query or command sent to decoy", 60, 85)
            },
            Self::File => ActionRow {
                categories: &["network", "file", "intrusion_detection"],
                types: &["access", "info"],
                alert: true,
                ..contact("TL-1203", "File offered to or asked of decoy", 60, 85)
            },
            Self::Scan => ActionRow {
                alert: true,
                ..finding("TL-2001", "Port scan over decoys", 30, 80)
            },
            Self::SourceFolded => finding("TL-2002", "Source beyond its rate", 30, 80),
            Self::HeldBack => finding("TL-2003", "Events held back", 0, 0),
            Self::Digest => finding("TL-2004", "Digest of a window", 0, 0),
            Self::IncidentClosed => ActionRow {
                types: &["end", "info"],
                ..finding("TL-2005", "Incident closed", 0, 0)
            },
            Self::NoticeReleased => finding("TL-2006", "Notice to the owner of a source released", 0, 0),
            Self::Block => response("TL-3001", "Source blocked", &["creation"]),
            Self::Unblock => response("TL-3002", "Source unblocked", &["deletion"]),
            Self::Tag => response("TL-3003", "Host tagged", &["change"]),
            Self::Sinkhole => response("TL-3004", "Source sinkholed", &["creation"]),
            Self::Untag => response("TL-3005", "Host untagged", &["change"]),
            Self::Unsinkhole => response("TL-3006", "Source sinkholed no longer", &["deletion"]),
            Self::List => response("TL-3007", "Source listed", &["creation"]),
            Self::Unlist => response("TL-3008", "Source taken off a list", &["deletion"]),
            Self::Decided => response("TL-3101", "Response decided", INFO),
            Self::Repaired => ActionRow {
                categories: &["configuration"],
                ..response("TL-3201", "Response repaired", &["change"])
            },
            Self::SinkFailed => health("TL-4001", "Sink failed", INFO, "failure", 50),
            Self::SinkRecovered => health("TL-4002", "Sink recovered", INFO, "success", 0),
            Self::ListenerStarted => health("TL-4003", "Decoy listener started", &["start"], "success", 0),
            Self::ListenerStopped => health("TL-4004", "Decoy listener stopped", &["end"], "success", 0),
            Self::ListenerFailed => health("TL-4005", "Decoy listener failed", INFO, "failure", 50),
            Self::SensorStarted => health("TL-4006", "Sensor started", &["start"], "success", 0),
            Self::SensorStopped => health("TL-4007", "Sensor stopped", &["end"], "success", 0),
            Self::ConfigReloaded => ActionRow {
                categories: &["configuration"],
                ..health("TL-4008", "Configuration reloaded", &["change"], "success", 0)
            },
            Self::ConfigRefused => ActionRow {
                categories: &["configuration"],
                ..health("TL-4009", "Configuration refused", INFO, "failure", 50)
            },
            Self::JournalGap => health("TL-4101", "Events missing from the journal", INFO, "failure", 78),
            Self::ChainHead => health("TL-4102", "Head of the journal's chain", INFO, "", 0),
            Self::ChainBreak => health("TL-4103", "Journal's chain broken", INFO, "failure", 78),
            Self::Recovered => health("TL-4104", "State adopted at start", INFO, "success", 0),
            Self::HostAlarm => health("TL-4105", "Host not as it was", INFO, "failure", 50),
            Self::Canary => health("TL-4106", "Canary of trapline itself", INFO, "success", 0),
            Self::Other => contact("TL-9000", "Event of a newer version", 0, 0),
        }
    }
}

/// The rows, in order of declaration.
static ROWS: [ActionRow; Action::ALL.len()] = {
    let mut rows = [contact("", "", 0, 0); Action::ALL.len()];
    let mut at = 0;
    while at < rows.len() {
        rows[at] = Action::ALL[at].describe();
        at += 1;
    }
    rows
};

const fn contact(rule: &'static str, name: &'static str, outside: i32, inside: i32) -> ActionRow {
    ActionRow {
        rule,
        name,
        category: "decoy",
        subject: Subject::Contact,
        alert: false,
        categories: NETWORK,
        types: INFO,
        outcome: "",
        risk_outside: outside,
        risk_inside: inside,
    }
}

const fn finding(rule: &'static str, name: &'static str, outside: i32, inside: i32) -> ActionRow {
    ActionRow {
        subject: Subject::Finding,
        ..contact(rule, name, outside, inside)
    }
}

const fn response(rule: &'static str, name: &'static str, types: &'static [&'static str]) -> ActionRow {
    ActionRow {
        category: "response",
        subject: Subject::Response,
        categories: CONFIGURATION,
        types,
        outcome: "success",
        ..contact(rule, name, 0, 0)
    }
}

const fn health(
    rule: &'static str,
    name: &'static str,
    types: &'static [&'static str],
    outcome: &'static str,
    risk: i32,
) -> ActionRow {
    ActionRow {
        category: "health",
        subject: Subject::Health,
        categories: PROCESS,
        types,
        outcome,
        ..contact(rule, name, risk, risk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_rule_of_its_own() {
        let mut rules: Vec<_> = Action::ALL.iter().map(|action| action.row().rule).collect();
        rules.sort_unstable();
        rules.dedup();
        assert_eq!(rules.len(), Action::ALL.len());
    }

    #[test]
    fn every_action_is_found_by_its_name() {
        for action in Action::ALL {
            assert_eq!(Action::find(action.name()), Some(*action));
        }
    }
}
