//! Certificates of decoys: until when they are valid, and a warning in time for the operator's own.
//!
//! Those that the install made are renewed by nobody, like those of the hosts that they are taken from: they run out
//! after years, and are served on. They are shown and are no fault.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use trapline_schemas::Timestamp;

use super::build::Made;
use crate::control::status::{CertificateStatus, Fault, Health};
use crate::decoy::tls::Tls;

/// How many days before its end an operator's certificate is a fault.
const WARNED_DAYS: i64 = 14;

const DAY_SECS: i64 = 24 * 60 * 60;

const HINT: &str = "put a new certificate and its key in the place of the files in `tls`, then `trapline reload`";

/// The certificates of the decoys that are in force.
#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<Vec<Certified>>);

#[derive(Debug, Clone)]
struct Certified {
    decoy: String,
    own: bool,
    tls: Tls,
}

impl Certificates {
    /// Takes those of other decoys instead.
    pub(super) fn set(&self, decoys: &[Made]) {
        let found = decoys.iter().filter_map(|made| {
            Some(Certified {
                decoy: made.name().to_owned(),
                own: made.has_own_certificate(),
                tls: made.wanted.spec.tls.clone()?,
            })
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found.collect();
    }

    /// That of a decoy, if it has one by now.
    pub(super) fn status(&self, decoy: &str, now: Timestamp) -> Option<CertificateStatus> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .find(|one| one.decoy == decoy)
            .and_then(|one| one.status(now))
    }

    /// Whether a decoy speaks TLS from the first byte.
    pub(super) fn is_from_the_first_byte(&self, decoy: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|one| one.decoy == decoy && one.tls.implicit)
    }

    /// Those of the operator's that run out soon, or have.
    pub(super) fn faults(&self, now: Timestamp) -> Vec<Fault> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter_map(|one| fault(&format!("decoy {}", one.decoy), &one.status(now)?))
            .collect()
    }

    /// Says them in the log, each once a day. `said`: what was said last of each.
    pub(super) fn warn(&self, said: &mut BTreeMap<String, String>, now: Timestamp) {
        for Fault { part, what, hint, .. } in self.faults(now) {
            if said.get(&part) != Some(&what) {
                tracing::warn!("{part}: {what}; {hint}");
                said.insert(part, what);
            }
        }
    }
}

impl Certified {
    fn status(&self, now: Timestamp) -> Option<CertificateStatus> {
        Some(status(self.tls.known()?.until, self.own, now))
    }
}

/// One that is valid until then, seconds since the epoch.
pub(super) fn status(until: i64, own: bool, now: Timestamp) -> CertificateStatus {
    let left = until - now.millis() / 1000;
    CertificateStatus {
        until: jiff::Timestamp::from_second(until)
            .unwrap_or(jiff::Timestamp::MAX)
            .to_string(),
        days_left: left.div_euclid(DAY_SECS),
        own,
    }
}

/// What is wrong with it, if it is the operator's. In: `part`, whose it is.
pub(super) fn fault(part: &str, certificate: &CertificateStatus) -> Option<Fault> {
    let CertificateStatus { until, days_left, own } = certificate;
    if !own || *days_left > WARNED_DAYS {
        return None;
    }
    let what = match days_left {
        ..0 => format!("its certificate was valid until {until}"),
        _ => format!("its certificate is valid until {until}, {days_left} days more"),
    };
    Some(Fault {
        health: Health::Degraded,
        part: part.to_owned(),
        what,
        since: None,
        hint: HINT.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_certificate_is_a_fault_a_fortnight_before_its_end_and_after_it() {
        let told = |days_left, own| {
            let until = "2030-01-01T00:00:00Z".to_owned();
            let certificate = CertificateStatus { until, days_left, own };
            fault("web", &certificate).map(|fault| fault.what)
        };
        assert_eq!(told(15, true), None);
        let soon = "its certificate is valid until 2030-01-01T00:00:00Z, 14 days more";
        assert_eq!(told(14, true).as_deref(), Some(soon));
        let over = "its certificate was valid until 2030-01-01T00:00:00Z";
        assert_eq!(told(-1, true).as_deref(), Some(over));
        assert_eq!(told(-1, false), None);
    }
}
