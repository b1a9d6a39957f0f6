//! How the decoys' listeners stand, and what to do about those that are not bound.

use trapline_schemas::Timestamp;

use super::time;
use crate::app::certificates::Certificates;
use crate::config::Config;
use crate::control::status::{Fault, Health, ListenerStatus};
use crate::decoy::bind::{self, BindError};

pub(super) fn statuses(
    config: &Config,
    seen: &[bind::ListenerStatus],
    certificates: &Certificates,
    faults: &mut Vec<Fault>,
) -> Vec<ListenerStatus> {
    let now = Timestamp::now();
    let shown = seen.iter().map(|listener| {
        let decoy = config.decoys.iter().find(|decoy| decoy.name == listener.decoy);
        let status = ListenerStatus {
            decoy: listener.decoy.to_string(),
            service: decoy.map_or_else(String::new, |decoy| decoy.service.to_owned()),
            personality: decoy.map_or_else(String::new, |decoy| decoy.personality.clone()),
            transport: listener.transport.name().to_owned(),
            address: listener.address.to_string(),
            bound: listener.degraded.is_none(),
            health: listener.degraded.as_deref().map_or(Health::Ok, bind_health),
            error: listener.degraded.as_ref().map(ToString::to_string),
            since: time(listener.since),
            tls: certificates.is_from_the_first_byte(&listener.decoy),
            certificate: certificates.status(&listener.decoy, now),
        };
        faults.extend(listener_fault(&status, listener.degraded.as_deref()));
        status
    });
    shown.collect()
}

/// A host without IPv6 is no fault.
const fn bind_health(error: &BindError) -> Health {
    match error {
        BindError::NoFamily(_) => Health::Ok,
        _ => Health::Degraded,
    }
}

fn listener_fault(status: &ListenerStatus, error: Option<&BindError>) -> Option<Fault> {
    let hint = match error? {
        BindError::NoFamily(_) => return None,
        BindError::Taken(_) => {
            "stop the other program (`ss -lnp` names it) or give the decoy another port; tried again each 30 s"
        }
        BindError::Forbidden(_) => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: run as a service, or take a higher port"
        }
        BindError::NotHere(_) => "give the decoy an address of this host, or 0.0.0.0; tried again each 30 s",
        BindError::Failed(..) => "tried again each 30 s",
    };
    Some(Fault {
        health: status.health,
        part: format!("decoy {}", status.decoy),
        what: status.error.clone().unwrap_or_default(),
        since: Some(status.since.clone()),
        hint: hint.to_owned(),
    })
}
