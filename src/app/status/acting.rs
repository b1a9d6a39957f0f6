//! The sinks that act, and what is decided.

use trapline_sink::FaultKind;

use super::time;
use crate::app::acting::Stand;
use crate::app::core::Core;
use crate::control::status::{ActingStatus, Fault, Health, ResponseStatus};
use crate::respond::decision::Phase;
use crate::respond::engine::Engine;
use crate::respond::worker::{Board, Level};

impl Core {
    /// What is decided; `None` if nothing decides and nothing is left of one that did.
    pub(super) fn response_status(&self) -> Option<ResponseStatus> {
        let has_table = self.config().response.is_some();
        let status = self.desk.look(response);
        let is_there = has_table || status.active + status.over > 0;
        is_there.then_some(status)
    }

    /// The sinks that act, by name, and what is wrong with them.
    pub(super) fn acting_statuses(&self, faults: &mut Vec<Fault>) -> Vec<ActingStatus> {
        let stands = self.acting.stands();
        faults.extend(stands.iter().filter_map(fault));
        stands.into_iter().map(acting).collect()
    }
}

fn response(engine: &Engine) -> ResponseStatus {
    let count = |phase| {
        let of_phase = engine.book().all().filter(|decision| decision.phase == phase);
        u64::try_from(of_phase.count()).unwrap_or(u64::MAX)
    };
    ResponseStatus {
        mode: engine.mode().name().to_owned(),
        active: count(Phase::Active),
        proposed: count(Phase::Proposed),
        observed: count(Phase::Observed),
        over: count(Phase::Over),
    }
}

fn acting(stand: Stand) -> ActingStatus {
    let Stand {
        settings,
        board,
        destination,
    } = stand;
    ActingStatus {
        name: settings.name.clone(),
        kind: settings.kind.name.to_owned(),
        verb: settings.verb().name().to_owned(),
        scope: settings.scope.name().to_owned(),
        destination,
        health: health(&board),
        since: Some(time(board.since)).filter(|_| board.level != Level::Starting),
        error: board.fault,
        wanted: board.wanted,
        standing: board.standing,
        failed: board.failed,
        refused: board.refused,
        nowhere: board.nowhere,
        beyond_room: board.beyond_room,
        compared: board.compared.map(time),
        repaired: board.repaired,
        would_put: board.would.map(|would| would.puts),
        would_take: board.would.map(|would| would.takes),
        notes: board.notes,
    }
}

const fn health(board: &Board) -> Health {
    match board.level {
        Level::Starting | Level::Ok | Level::Stopped => Health::Ok,
        Level::Degraded => Health::Degraded,
        Level::Failing => Health::Failing,
    }
}

fn fault(stand: &Stand) -> Option<Fault> {
    let board = &stand.board;
    let health = health(board);
    let what = match (&board.fault, board.beyond_room) {
        (Some(fault), _) => fault.clone(),
        (None, 0) => return None,
        (None, beyond) => format!("{beyond} decisions find no room there; the gravest have it"),
    };
    (health != Health::Ok || board.beyond_room > 0).then(|| Fault {
        health: health.max(Health::Degraded),
        part: format!("sink {}", stand.settings.name),
        what,
        since: Some(time(board.since)),
        hint: hint(board.kind).to_owned(),
    })
}

const fn hint(kind: Option<FaultKind>) -> &'static str {
    match kind {
        Some(FaultKind::Auth) => "check its credentials; it is tried each minute, and what is decided is kept",
        Some(FaultKind::Config) => {
            "check its table and the destination's; it is tried each minute, and what is decided is kept"
        }
        Some(FaultKind::Tls) => "check the certificate and its names; what is decided is kept",
        Some(FaultKind::Local) => "give the service what is missing and restart it; what is decided is kept",
        Some(FaultKind::Broken) => "report the log as a bug; what is decided is kept",
        _ => "it is tried again by itself, and made to equal what is decided then",
    }
}
