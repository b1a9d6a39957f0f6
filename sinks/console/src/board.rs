//! Sessions that are not told yet. Pure: events and the clock go in, lines come out.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use trapline_schemas::{Action, Event, Field};
use uuid::Uuid;

use crate::facts::{Facts, single};
use crate::layout::{Level, Line};

/// Most sessions remembered.
pub(crate) const SESSIONS_MAX: usize = 4096;
/// A contact of which nothing is learned is told after this: one that ends at once has no end of its own, and a person
/// takes a while to type a name.
const QUIET: Duration = Duration::from_secs(5);
/// A session that is still open is told after this: longer than a session lasts by default, so that it has one line.
const OPEN: Duration = Duration::from_secs(65);
/// A datagram whose credential does not follow is told after this.
const ALONE: Duration = Duration::from_secs(1);
/// A told session whose end never came is forgotten after this: longer than any session may last.
const FORGET: Duration = Duration::from_secs(600);

/// The sessions under way.
#[derive(Debug, Default)]
pub(crate) struct Board {
    sessions: HashMap<Uuid, Session>,
    /// In order of arrival; ids of sessions that are gone are skipped.
    order: VecDeque<Uuid>,
}

#[derive(Debug)]
struct Session {
    facts: Facts,
    since: Instant,
    heard: Instant,
    told: bool,
    news: bool,
    /// It is a datagram that waits for its credential.
    datagram: bool,
}

impl Session {
    fn new(event: &Event, now: Instant) -> Self {
        Self {
            facts: Facts::new(event),
            since: now,
            heard: now,
            told: false,
            news: false,
            datagram: event.action == Action::UdpProbe,
        }
    }

    /// Its line, if there is something to tell.
    fn tell(&mut self) -> Option<Line> {
        if self.told && !self.news {
            return None;
        }
        let again = std::mem::replace(&mut self.told, true);
        self.news = false;
        Some(self.facts.line(again))
    }

    /// When it is to be told, if it ever is before its end.
    fn due(&self) -> Option<Instant> {
        if self.told {
            return None;
        }
        Some(match (self.datagram, self.facts.is_bare()) {
            (true, _) => self.since + ALONE,
            (false, true) => self.heard + QUIET,
            (false, false) => self.since + OPEN,
        })
    }
}

impl Board {
    /// Takes one event; gives the lines that it makes due.
    pub(crate) fn take(&mut self, event: &Event, now: Instant, lines: &mut Vec<Line>) {
        match event.uuid(Field::SessionId) {
            Some(id) if is_datagram(event) => self.take_datagram(id, event, now, lines),
            Some(id) if in_session(event.action) => self.take_in_session(id, event, now, lines),
            _ => lines.push(single(event)),
        }
    }

    fn take_in_session(&mut self, id: Uuid, event: &Event, now: Instant, lines: &mut Vec<Line>) {
        let session = self.session(id, event, now, lines);
        session.heard = now;
        session.news |= session.facts.learn(event);
        if event.action == Action::SessionEnd {
            lines.extend(self.remove(id));
        }
    }

    /// Datagrams of one source share a session id, and each is a touch. A credential comes right after its datagram.
    fn take_datagram(&mut self, id: Uuid, event: &Event, now: Instant, lines: &mut Vec<Line>) {
        let is_probe = event.action == Action::UdpProbe;
        if is_probe {
            lines.extend(self.remove(id));
        }
        self.session(id, event, now, lines).facts.learn(event);
        if !is_probe || Level::of(event) < Level::Proof {
            lines.extend(self.remove(id));
        }
    }

    /// The session of an event, made if it is new.
    fn session(&mut self, id: Uuid, event: &Event, now: Instant, lines: &mut Vec<Line>) -> &mut Session {
        if !self.sessions.contains_key(&id) {
            self.make_room(lines);
            self.order.push_back(id);
        }
        self.sessions.entry(id).or_insert_with(|| Session::new(event, now))
    }

    /// Ends a session; gives its line, if there is something to tell.
    fn remove(&mut self, id: Uuid) -> Option<Line> {
        self.sessions.remove(&id)?.tell()
    }

    /// Lines of the sessions whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        for id in &self.order {
            if let Some(session) = self.sessions.get_mut(id)
                && session.due().is_some_and(|due| due <= now)
            {
                lines.extend(session.tell());
            }
        }
        self.sessions
            .retain(|_, session| !session.told || now - session.heard < FORGET);
        self.order.retain(|id| self.sessions.contains_key(id));
        lines
    }

    /// When [`Self::due`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.sessions.values().filter_map(Session::due).min()
    }

    /// Lines of all that is not told yet.
    pub(crate) fn finish(&mut self) -> Vec<Line> {
        let order = std::mem::take(&mut self.order);
        order.iter().filter_map(|id| self.sessions.remove(id)?.tell()).collect()
    }

    fn make_room(&mut self, lines: &mut Vec<Line>) {
        while self.sessions.len() >= SESSIONS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            lines.extend(self.sessions.remove(&oldest).and_then(|mut session| session.tell()));
        }
        // Sessions that ended leave their ids behind; they are swept before they are many.
        if self.order.len() >= 2 * SESSIONS_MAX {
            self.order.retain(|id| self.sessions.contains_key(id));
        }
    }
}

/// A datagram, or the credential in one.
fn is_datagram(event: &Event) -> bool {
    let udp = event
        .text(Field::NetworkTransport)
        .is_some_and(|transport| transport == "udp");
    event.action == Action::UdpProbe || (udp && event.action == Action::Credential)
}

fn in_session(action: Action) -> bool {
    matches!(
        action,
        Action::Connect
            | Action::Handshake
            | Action::Credential
            | Action::Ntlm
            | Action::Payload
            | Action::Query
            | Action::File
            | Action::SessionEnd
    )
}

#[cfg(test)]
mod tests;
