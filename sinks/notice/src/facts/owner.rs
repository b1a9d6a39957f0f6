//! What the owner of a source is told.
//!
//! The mailbox may be the intruder's. So it is who, what, when, how often, what was done, and how the matter is called:
//! all of it known to whoever did it. It is not which of the addresses that were touched was a decoy, nor its port or
//! name, which observer saw it and by what, which users and passwords were tried, what was sent, how it is looked up,
//! or why somebody let the mail go. Of what a peer chose it holds nothing.

use trapline_schemas::{Field, Timestamp};

use super::Facts;
use crate::{scope, words};

impl Facts<'_> {
    pub(super) fn for_owner(&mut self, contact: &str) {
        match self.event.ip(Field::SourceIp) {
            Some(ip) => self.ours("your machine", &ip.to_string()),
            None => self.given("your machine", Field::SourceAddress),
        }
        if self.is(Field::SourceSpoofable) == Some(true) {
            self.ours("mind", "no handshake proved the address: it may be forged");
        }
        self.given("in the care of", Field::SourceOwner);
        self.ours("what it did", scope::conduct(self.event));
        self.ours(
            "where",
            &format!("{} that nobody uses", scope::kept_for_nobody(self.event)),
        );
        self.first_and_last();
        if let Some(hits) = self.event.int(Field::FindingHits) {
            self.ours("how often", &words::times(hits.max(1)));
        }
        let done = match scope::is_acted_upon(self.event) {
            true => "it was shut out",
            false => "it was written down, and nothing else",
        };
        self.ours("what was done", done);
        let asked = match contact {
            "" => "answer this mail".to_owned(),
            contact => format!("ask {contact}"),
        };
        self.ours("let in again", &asked);
        if let Some(incident) = self.event.uuid(Field::IncidentId) {
            self.ours("reference", &incident.to_string());
        }
    }

    /// When it was, never when the mail was let go.
    fn first_and_last(&mut self) {
        let time = |facts: &Self, field| facts.time(field).as_ref().map(|at: &Timestamp| words::instant(*at));
        let (first, last) = (time(self, Field::EventStart), time(self, Field::EventEnd));
        match (first, last) {
            (Some(first), Some(last)) if first != last => {
                self.ours("first", &first);
                self.ours("last", &last);
            }
            (Some(at), _) | (None, Some(at)) => self.ours("when", &at),
            (None, None) => {}
        }
    }
}
