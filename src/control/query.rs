//! Questions to the journal: which events match, oldest first, then new ones as they come.
//!
//! In: a [`Query`]. Out: entries whose event matches. The index finds candidates; every entry that is shown was read
//! from the journal and matched again, so that a stale index may cost time, never truth.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::SpanRelativeTo;
use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use uuid::Uuid;

use crate::control::protocol::Query;
use crate::journal::index::Search;

/// A query whose values make sense.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Appended at this instant or later.
    pub since: Option<Timestamp>,
    /// Appended before this instant.
    pub until: Option<Timestamp>,
    /// Source network; a single address is the network of itself.
    pub source: Option<IpNet>,
    /// Destination port.
    pub port: Option<u16>,
    /// The decoy's name.
    pub decoy: Option<SmolStr>,
    /// What happened.
    pub action: Option<Action>,
    /// Level of touch.
    pub level: Option<SmolStr>,
    /// The user that was tried.
    pub user: Option<SmolStr>,
    /// The incident.
    pub incident: Option<Uuid>,
}

impl Filter {
    /// Reads a query.
    ///
    /// Errors: one line for each value that makes no sense.
    pub fn parse(query: &Query) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let filter = Self {
            since: query.since.map(Timestamp::from_micros),
            until: query.until.map(Timestamp::from_micros),
            source: keep(query.source.as_deref().map(network), &mut wrong),
            port: query.port,
            decoy: query.decoy.as_deref().map(SmolStr::from),
            action: keep(query.action.as_deref().map(action), &mut wrong),
            level: query.level.as_deref().map(SmolStr::from),
            user: query.user.as_deref().map(SmolStr::from),
            incident: keep(query.incident.as_deref().map(incident), &mut wrong),
        };
        if wrong.is_empty() { Ok(filter) } else { Err(wrong) }
    }

    /// Whether the facts of an event match; times are the journal's business.
    pub fn matches(&self, event: &Event) -> bool {
        let same_text =
            |wanted: &Option<SmolStr>, field| wanted.as_ref().is_none_or(|text| event.text(field) == Some(text));
        self.action.is_none_or(|action| event.action == action)
            && self
                .port
                .is_none_or(|port| event.int(Field::DestinationPort) == Some(port.into()))
            && self
                .source
                .is_none_or(|net| event.ip(Field::SourceIp).is_some_and(|ip| net.contains(&ip)))
            && self
                .incident
                .is_none_or(|id| event.get(Field::IncidentId) == Some(&Value::Id(id)))
            && same_text(&self.decoy, Field::DecoyId)
            && same_text(&self.level, Field::TouchLevel)
            && same_text(&self.user, Field::UserName)
    }

    /// What the index can be asked for, a superset of what matches; `None` if it knows nothing of what is wanted.
    pub fn search(&self) -> Option<Search> {
        let host = |net: IpNet| (net.prefix_len() == net.max_prefix_len()).then(|| net.addr());
        let search = Search {
            source: self.source.and_then(host),
            port: self.port,
            decoy: self.decoy.clone(),
            action: self.action.map(|action| action.name().into()),
            level: self.level.clone(),
            incident: self.incident,
            user: self.user.clone(),
            ..Search::default()
        };
        (search != Search::default()).then_some(search)
    }

    /// Whether an entry appended at `at` is within the times asked for.
    pub fn is_within(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// A span back from now such as `15m`, or an instant.
///
/// Errors: what it is not.
pub fn instant(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at);
    }
    let wrong = |_| format!("`{text}` is neither a span such as 15m or 2d nor a time such as 2026-11-22T10:00:00Z");
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let back = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    jiff::Timestamp::now()
        .checked_sub(back.abs())
        .map_err(|_| format!("`{text}` is longer than time is old"))
}

fn keep<T>(read: Option<Result<T, String>>, wrong: &mut Vec<String>) -> Option<T> {
    read?.map_err(|reason| wrong.push(reason)).ok()
}

fn network(text: &str) -> Result<IpNet, String> {
    // Events name IPv4 sources as such, on whichever socket they came.
    let single = text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical()));
    single
        .or_else(|_| text.parse::<IpNet>())
        .map_err(|_| format!("`{text}` is neither an address nor a network such as `10.0.0.0/8`"))
}

fn action(text: &str) -> Result<Action, String> {
    Action::find(text).ok_or_else(|| {
        let names = || Action::ALL.iter().map(|action| action.name());
        match trapline_sink::config::nearest(text, names()) {
            Some(near) => format!("no action is named `{text}`, did you mean `{near}`?"),
            None => format!(
                "no action is named `{text}`, there are: {}",
                names().collect::<Vec<_>>().join(", ")
            ),
        }
    })
}

fn incident(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an incident id: 36 characters such as 019cb859-0e8b-8d47-978e-899785bbb80f")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit() -> Event {
        let mut event = Event::new(Uuid::nil(), Timestamp::from_micros(5), Action::Credential);
        event.set(Field::SourceIp, IpAddr::from([10, 1, 2, 3]));
        event.set(Field::DestinationPort, 22_u16);
        event.set(Field::UserName, "root");
        event
    }

    fn parsed(change: impl FnOnce(&mut Query)) -> Filter {
        let mut query = Query::default();
        change(&mut query);
        Filter::parse(&query).unwrap()
    }

    #[test]
    fn an_event_matches_when_all_that_was_asked_for_is_so() {
        assert!(parsed(|_| {}).matches(&hit()));
        assert!(parsed(|query| query.source = Some("10.1.2.3".into())).matches(&hit()));
        assert!(parsed(|query| query.source = Some("10.0.0.0/8".into())).matches(&hit()));
        assert!(parsed(|query| query.source = Some("::ffff:10.1.2.3".into())).matches(&hit()));
        assert!(!parsed(|query| query.source = Some("10.1.2.4".into())).matches(&hit()));
        assert!(parsed(|query| query.port = Some(22)).matches(&hit()));
        assert!(!parsed(|query| query.decoy = Some("ssh".into())).matches(&hit()));
        let both = parsed(|query| {
            query.user = Some("root".into());
            query.action = Some("decoy-connect".into());
        });
        assert!(!both.matches(&hit()));
    }

    #[test]
    fn times_are_half_open() {
        let filter = parsed(|query| (query.since, query.until) = (Some(5), Some(7)));
        let within = |micros| filter.is_within(Timestamp::from_micros(micros));
        assert_eq!([4, 5, 6, 7].map(within), [false, true, true, false]);
    }

    #[test]
    fn all_that_makes_no_sense_is_named() {
        let query = Query {
            source: Some("10.0.0.0/40".into()),
            action: Some("decoy-conect".into()),
            incident: Some("7".into()),
            ..Query::default()
        };
        let wrong = Filter::parse(&query).unwrap_err();
        assert_eq!(wrong.len(), 3);
        assert!(
            wrong.iter().any(|line| line.contains("did you mean `decoy-connect`")),
            "{wrong:?}"
        );
    }
}
