//! Risk and severity. Severity comes from risk alone, so that all forms agree.
//!
//! In: what happened and under which circumstances, at record time. Out: the score that is stored in
//! `event.risk_score`, and the severity that each form shows for it.

use crate::derive::state::State;
use crate::event::Action;

/// What makes a hit more or less grave than its kind. The recorder knows it; nothing here is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Circumstances {
    /// The source is in an inside zone.
    pub inside: bool,
    /// The address was proved by no handshake: a UDP source that may be forged.
    pub unverified: bool,
    /// The user name that was tried exists in the organisation.
    pub user_exists: bool,
    /// The bytes match a known exploit.
    pub exploit: bool,
    /// The same source was on 3 or more decoys within 10 minutes.
    pub several_decoys: bool,
    /// The source is on an intelligence list.
    pub listed: bool,
    /// A honeytoken credential or a lure was used.
    pub honeytoken: bool,
    /// The source is a declared scanner: risk 0, no alert, never acted on.
    pub declared_scanner: bool,
    /// The act that the event tells of failed.
    pub failed: bool,
    /// How it stands with what is done about a source.
    pub state: Option<State>,
}

/// The risk of a happening, 0 to 100: its base for where the source is, and the modifiers.
pub fn risk(action: Action, circumstances: &Circumstances) -> f64 {
    let of = circumstances;
    if of.declared_scanner {
        return 0.0;
    }
    if of.honeytoken {
        return 99.0;
    }
    let row = action.row();
    if of.failed && row.category == "response" {
        return 73.0;
    }
    if let Some(state) = of.state {
        return f64::from(state.row().risk);
    }
    let base = if of.inside { row.risk_inside } else { row.risk_outside };
    let modifiers = [
        (of.user_exists, 15),
        (of.exploit, 15),
        (of.several_decoys, 10),
        (of.listed, 10),
        (of.unverified, -10),
    ];
    let sum = modifiers
        .iter()
        .filter(|(applies, _)| *applies)
        .fold(base, |sum, (_, by)| sum + by);
    f64::from(sum.clamp(0, 100))
}

/// One step of severity, as each form says it.
#[derive(Debug, PartialEq, Eq)]
pub struct Severity {
    /// The least risk of this step.
    pub from: u8,
    /// ECS `event.severity`, Kibana's usual score.
    pub ecs: i64,
    /// OCSF `severity_id`.
    pub ocsf: u8,
    /// OCSF `severity`.
    pub caption: &'static str,
    /// OCSF `risk_level_id`.
    pub level: u8,
    /// OCSF `risk_level`.
    pub level_caption: &'static str,
    /// CEF and LEEF severity, 0 to 10.
    pub cef: u8,
    /// Syslog severity, 0 to 7.
    pub syslog: u8,
}

/// The steps, gravest first.
const STEPS: [Severity; 5] = [
    step(99, 99, 5, "Critical", 4, "Critical", 10, 2),
    step(73, 73, 4, "High", 3, "High", 8, 3),
    step(47, 47, 3, "Medium", 2, "Medium", 5, 4),
    step(21, 21, 2, "Low", 1, "Low", 3, 5),
    step(0, 0, 1, "Informational", 0, "Info", 1, 6),
];

#[expect(clippy::too_many_arguments, reason = "the columns of a table")]
const fn step(
    from: u8,
    ecs: i64,
    ocsf: u8,
    caption: &'static str,
    level: u8,
    level_caption: &'static str,
    cef: u8,
    syslog: u8,
) -> Severity {
    Severity {
        from,
        ecs,
        ocsf,
        caption,
        level,
        level_caption,
        cef,
        syslog,
    }
}

/// The severity of a risk.
pub fn severity(risk: f64) -> &'static Severity {
    let [graver @ .., least] = &STEPS;
    graver.iter().find(|step| risk >= f64::from(step.from)).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: Circumstances = Circumstances {
        inside: false,
        unverified: false,
        user_exists: false,
        exploit: false,
        several_decoys: false,
        listed: false,
        honeytoken: false,
        declared_scanner: false,
        failed: false,
        state: None,
    };
    const INSIDE: Circumstances = Circumstances {
        inside: true,
        ..OUTSIDE
    };

    #[test]
    fn the_base_is_higher_inside() {
        for (action, outside, inside) in [
            (Action::UdpProbe, 10.0, 35.0),
            (Action::Connect, 25.0, 60.0),
            (Action::Scan, 30.0, 80.0),
            (Action::Credential, 50.0, 78.0),
            (Action::Payload, 60.0, 85.0),
            (Action::Ntlm, 60.0, 85.0),
        ] {
            assert_eq!((risk(action, &OUTSIDE), risk(action, &INSIDE)), (outside, inside));
        }
    }

    #[test]
    fn modifiers_add_up_and_stay_within_the_scale() {
        let grave = Circumstances {
            exploit: true,
            several_decoys: true,
            listed: true,
            ..INSIDE
        };
        assert_eq!(risk(Action::Payload, &grave), 100.0);
        let forged = Circumstances {
            unverified: true,
            ..OUTSIDE
        };
        assert_eq!(risk(Action::UdpProbe, &forged), 0.0);
        let token = Circumstances {
            honeytoken: true,
            ..OUTSIDE
        };
        assert_eq!(risk(Action::Credential, &token), 99.0);
        let scanner = Circumstances {
            declared_scanner: true,
            honeytoken: true,
            ..INSIDE
        };
        assert_eq!(risk(Action::Connect, &scanner), 0.0);
        let failed = Circumstances {
            failed: true,
            ..OUTSIDE
        };
        assert_eq!(
            (risk(Action::Block, &OUTSIDE), risk(Action::Block, &failed)),
            (0.0, 73.0)
        );
    }

    #[test]
    fn what_a_person_should_see_of_decisions_is_graver_than_what_runs_by_itself() {
        let of = |state| {
            let state = Some(state);
            risk(Action::Decided, &Circumstances { state, ..INSIDE })
        };
        assert_eq!(
            [
                State::Proposed,
                State::Failed,
                State::Refused,
                State::Decided,
                State::Ended
            ]
            .map(of),
            [47.0, 73.0, 21.0, 0.0, 0.0]
        );
    }

    #[test]
    fn severity_steps_at_21_47_73_and_99() {
        let ecs: Vec<i64> = [0.0, 20.9, 21.0, 46.0, 47.0, 72.0, 73.0, 98.0, 99.0, 100.0]
            .map(|risk| severity(risk).ecs)
            .into();
        assert_eq!(ecs, [0, 0, 21, 21, 47, 47, 73, 73, 99, 99]);
        assert_eq!(severity(f64::NAN).ecs, 0);
    }
}
