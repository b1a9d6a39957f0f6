//! Events to try templates with.

use std::net::IpAddr;

use trapline_schemas::{Action, CATALOGUE, Event, Kind, Origin, Timestamp, Value};
use uuid::Uuid;

use crate::Scope;

/// The scopes of an event that has every field and of one that has hardly any: a template that renders for both has
/// no mistake that its syntax did not show.
pub fn samples() -> [Scope; 2] {
    let mut full = Event::new(Uuid::nil(), Timestamp::default(), Action::Credential);
    for row in CATALOGUE.iter().filter(|row| row.origin == Origin::Stored) {
        full.set(row.field, sample(row.kind));
    }
    let bare = Event::new(Uuid::nil(), Timestamp::default(), Action::Connect);
    [Scope::of_event(&full), Scope::of_event(&bare)]
}

fn sample(kind: Kind) -> Value {
    let ip = IpAddr::from([192, 0, 2, 7]);
    match kind {
        Kind::Keyword | Kind::Text => Value::from("word"),
        Kind::Long => Value::from(7_i64),
        Kind::Float => Value::from(0.5),
        Kind::Bool => Value::from(true),
        Kind::Ip => Value::from(ip),
        Kind::Date => Value::from(Timestamp::default()),
        Kind::Id => Value::from(Uuid::nil()),
        Kind::Bytes => Value::from(b"bytes".to_vec()),
        Kind::Keywords => Value::Texts(vec!["word".into(), "other".into()]),
        Kind::Ips => Value::from(vec![ip]),
        Kind::Longs => Value::from(vec![7_i64]),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Line, Names, samples};

    #[test]
    fn every_field_that_is_kept_is_in_the_full_sample_and_few_are_in_the_bare_one() {
        let of = |text: &str| {
            let line = Line::parse("", text, &Names::of_events()).unwrap();
            samples().map(|scope| line.render(&scope).unwrap())
        };
        assert_eq!(
            of("{{ source.ip }} {{ user.name }}"),
            [Some("192.0.2.7 word".to_owned()), None]
        );
        assert!(of("{{ event.id }} {{ timestamp | unix }}").iter().all(Option::is_some));
    }
}
