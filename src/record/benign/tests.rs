//! Who is marked, by what, and how far.

use std::sync::Arc;

use proptest::prelude::*;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use uuid::Uuid;

use super::*;

const NOON: i64 = 1_772_600_400_000_000;

fn recogniser(name: &str, text: &str) -> Active {
    Active {
        recogniser: Arc::new(Recogniser::parse(name, name, text).unwrap()),
        sources: Vec::new(),
        touch: Touch::Intent,
    }
}

const CHECK: &str = "title = 'x'\nreason = 'a check'\nwho = 'inside'\ntouch = 'intent'\n\
                     [[seen]]\n'user_agent.original' = ['check_http/*']\n";
const SCANNER: &str = "title = 'x'\nreason = 'a scanner'\nwho = 'declared'\ntouch = 'proof'\n";

/// One source at one decoy.
struct Visit {
    known: Option<Box<Known>>,
    source: &'static str,
    inside: bool,
    /// Where it differs from the touch.
    said: Option<Touch>,
    several: bool,
    session: u128,
    decoy: &'static str,
}

impl Visit {
    fn from(source: &'static str) -> Self {
        Self {
            known: None,
            source,
            inside: true,
            said: None,
            several: false,
            session: 1,
            decoy: "web",
        }
    }

    fn event(action: Action, facts: &[(Field, &str)]) -> Event {
        let mut event = Event::new(Uuid::from_u128(9), Timestamp::from_micros(NOON), action);
        event.set(Field::DestinationPort, 80_u16);
        for (field, value) in facts {
            event.set(*field, *value);
        }
        event
    }

    /// The name of the mark that an event gets.
    fn mark(&mut self, benign: &Benign, touch: Touch, event: &Event) -> Option<String> {
        let seen = Seen {
            event,
            secret: None,
            touch,
            said: self.said.unwrap_or(touch),
            several: self.several,
            inside: self.inside,
            source: self.source.parse().unwrap(),
            decoy: self.decoy,
            session: Uuid::from_u128(self.session),
        };
        let mark = benign.judge(&seen, &mut self.known);
        mark.map(|mark| mark.name.to_string())
    }
}

fn connect() -> Event {
    Visit::event(Action::Connect, &[])
}

fn check() -> Event {
    Visit::event(Action::Handshake, &[(Field::UserAgent, "check_http/v2.3")])
}

fn benign(recognisers: Vec<Active>) -> Benign {
    Benign {
        recognisers,
        ..Benign::default()
    }
}

#[test]
fn a_check_is_known_once_it_speaks_then_with_its_session_and_its_next_contacts() {
    let benign = benign(vec![recogniser("check", CHECK)]);
    let mut visit = Visit::from("10.0.0.1");
    let name = Some("check".to_owned());
    assert_eq!(
        visit.mark(&benign, Touch::Contact, &connect()),
        None,
        "it has not spoken"
    );
    assert_eq!(visit.mark(&benign, Touch::Intent, &check()), name);
    let end = Visit::event(Action::SessionEnd, &[]);
    assert_eq!(visit.mark(&benign, Touch::Intent, &end), name, "the same session");
    visit.session = 2;
    assert_eq!(
        visit.mark(&benign, Touch::Contact, &connect()),
        name,
        "its next contact"
    );
    let other = Visit::event(Action::Handshake, &[(Field::UserAgent, "sqlmap")]);
    assert_eq!(visit.mark(&benign, Touch::Intent, &other), None, "another client");
    visit.decoy = "ssh";
    assert_eq!(visit.mark(&benign, Touch::Contact, &connect()), None, "another decoy");
}

#[test]
fn a_host_that_checks_several_decoys_is_known_at_each_and_nowhere_else() {
    let benign = benign(vec![recogniser("check", CHECK)]);
    let mut visit = Visit::from("10.0.0.1");
    for (session, decoy) in [(1, "web"), (2, "shop"), (3, "wiki")] {
        (visit.session, visit.decoy) = (session, decoy);
        assert!(visit.mark(&benign, Touch::Intent, &check()).is_some());
    }
    // Three decoys are a walk, so a mere contact counts as intent.
    visit.said = Some(Touch::Contact);
    for (decoy, is_known) in [("web", true), ("shop", true), ("wiki", true), ("ssh", false)] {
        (visit.session, visit.decoy) = (9, decoy);
        assert_eq!(
            visit.mark(&benign, Touch::Intent, &connect()).is_some(),
            is_known,
            "{decoy}"
        );
    }
}

#[test]
fn checks_made_side_by_side_are_each_known_to_their_end() {
    let benign = benign(vec![recogniser("check", CHECK)]);
    let mut visit = Visit::from("10.0.0.1");
    for session in 1..=8 {
        visit.session = session;
        assert!(visit.mark(&benign, Touch::Intent, &check()).is_some());
    }
    let end = Visit::event(Action::SessionEnd, &[]);
    for session in 1..=8 {
        visit.session = session;
        assert!(visit.mark(&benign, Touch::Intent, &end).is_some(), "{session}");
    }
}

#[test]
fn whoever_goes_beyond_what_is_explained_loses_the_mark() {
    let benign = benign(vec![recogniser("check", CHECK)]);
    let mut visit = Visit::from("10.0.0.1");
    assert!(visit.mark(&benign, Touch::Intent, &check()).is_some());
    let login = Visit::event(Action::Credential, &[(Field::UserAgent, "check_http/v2.3")]);
    assert_eq!(visit.mark(&benign, Touch::Proof, &login), None);
}

#[test]
fn outside_nobody_is_known_by_behaviour() {
    let benign = benign(vec![recogniser("check", CHECK)]);
    let mut visit = Visit::from("203.0.113.7");
    visit.inside = false;
    assert_eq!(visit.mark(&benign, Touch::Intent, &check()), None);
}

#[test]
fn a_declared_source_is_known_whatever_it_does_and_has_no_risk() {
    let mut scanner = recogniser("scanner", SCANNER);
    let mut visit = Visit::from("203.0.113.9");
    let login = Visit::event(Action::Credential, &[]);
    assert_eq!(visit.mark(&benign(vec![scanner.clone()]), Touch::Proof, &login), None);
    scanner.sources = vec!["203.0.113.0/28".parse().unwrap()];
    let benign = benign(vec![scanner]);
    assert_eq!(visit.mark(&benign, Touch::Proof, &login), Some("scanner".into()));
    let mut event = login;
    event.set(Field::EventRiskScore, 50.0);
    let mark = Mark {
        declared: true,
        ..benign.recognisers[0].recogniser.mark()
    };
    mark.write(&mut event);
    assert_eq!(event.get(Field::EventRiskScore), Some(&Value::Float(0.0)));
    assert_eq!(event.text(Field::BenignReason).unwrap(), "a scanner");
    visit.source = "203.0.113.77";
    assert_eq!(visit.mark(&benign, Touch::Contact, &connect()), None);
}

#[test]
fn a_recogniser_with_declared_sources_knows_nobody_else() {
    let mut check_at = recogniser("check", CHECK);
    check_at.sources = vec!["10.0.0.5/32".parse().unwrap()];
    let benign = benign(vec![check_at]);
    assert_eq!(Visit::from("10.0.0.1").mark(&benign, Touch::Intent, &check()), None);
    assert!(Visit::from("10.0.0.5").mark(&benign, Touch::Intent, &check()).is_some());
}

#[test]
fn what_a_declared_source_does_is_explained_up_to_the_level_it_was_declared_for() {
    let mut check_at = recogniser("check", CHECK);
    check_at.sources = vec!["10.0.0.5/32".parse().unwrap()];
    let mut visit = Visit::from("10.0.0.5");
    let quit = Visit::event(Action::Handshake, &[]);
    let login = Visit::event(Action::Credential, &[]);
    let at_most_intent = benign(vec![check_at.clone()]);
    assert!(visit.mark(&at_most_intent, Touch::Intent, &quit).is_some());
    assert_eq!(visit.mark(&at_most_intent, Touch::Proof, &login), None);
    check_at.touch = Touch::Proof;
    assert!(
        visit
            .mark(&benign(vec![check_at.clone()]), Touch::Proof, &login)
            .is_some()
    );
    check_at.touch = Touch::Contact;
    let at_most_contact = benign(vec![check_at]);
    assert_eq!(visit.mark(&at_most_contact, Touch::Intent, &quit), None);
    assert!(
        visit.mark(&at_most_contact, Touch::Intent, &check()).is_some(),
        "what it knows by itself"
    );
}

#[test]
fn a_walk_over_several_decoys_is_not_what_explains_one_contact() {
    let probe = "title = 'x'\nreason = 'a probe'\nwho = 'inside'\ntouch = 'contact'\n\
                 [[seen]]\n'destination.port' = [80]\n";
    let benign = benign(vec![recogniser("probe", probe)]);
    let mut visit = Visit::from("10.0.0.1");
    assert!(visit.mark(&benign, Touch::Contact, &connect()).is_some());
    visit.said = Some(Touch::Contact);
    assert_eq!(
        visit.mark(&benign, Touch::Intent, &connect()),
        None,
        "although the decoy knows it"
    );
}

#[test]
fn a_borrowed_name_of_a_check_explains_no_walk_unless_the_source_is_declared() {
    let (all, bad) = super::all(std::path::Path::new("/nowhere"));
    assert_eq!(bad.len(), 0, "{bad:?}");
    let monitoring = all
        .into_iter()
        .find(|recogniser| recogniser.name == "monitoring")
        .unwrap();
    let monitoring = Arc::new(monitoring);
    let active = |sources: &[&str]| Active {
        recogniser: Arc::clone(&monitoring),
        sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
        touch: Touch::Intent,
    };
    let agent = [
        (Field::UserAgent, "Zabbix 7.0"),
        (Field::HttpMethod, "GET"),
        (Field::UrlPath, "/health"),
    ];
    let check = Visit::event(Action::Handshake, &agent);
    let name = Some("monitoring".to_owned());
    for (sources, on_a_walk) in [(&[][..], None), (&["10.0.0.1/32"], name.clone())] {
        let benign = benign(vec![active(sources)]);
        let mut visit = Visit::from("10.0.0.1");
        assert_eq!(visit.mark(&benign, Touch::Intent, &check), name, "at one decoy");
        (visit.several, visit.session, visit.decoy) = (true, 2, "wiki");
        assert_eq!(visit.mark(&benign, Touch::Intent, &check), on_a_walk);
        visit.decoy = "web";
        assert_eq!(
            visit.mark(&benign, Touch::Intent, &check),
            on_a_walk,
            "nor where it was known"
        );
    }
}

#[test]
fn an_ignored_source_is_ignored_at_its_decoys_up_to_its_level_and_until_its_end() {
    let ignore = Ignore {
        name: "backup".into(),
        sources: vec!["10.0.0.0/30".parse().unwrap()],
        decoys: vec!["web".into()],
        touch: Touch::Intent,
        reason: "looks for shares".into(),
        until: Timestamp::from_micros(NOON + 1),
    };
    let with = |ignore: Ignore| Benign {
        ignores: vec![ignore],
        ..Benign::default()
    };
    let is_ignored = |benign: &Benign, source, touch, decoy| {
        let mut visit = Visit::from(source);
        visit.decoy = decoy;
        visit.mark(benign, touch, &connect()) == Some("ignore.backup".into())
    };
    let now = with(ignore.clone());
    assert!(is_ignored(&now, "10.0.0.2", Touch::Contact, "web"));
    assert!(is_ignored(&now, "10.0.0.2", Touch::Intent, "web"));
    assert!(!is_ignored(&now, "10.0.0.2", Touch::Proof, "web"));
    assert!(!is_ignored(&now, "10.0.0.2", Touch::Contact, "ssh"));
    assert!(!is_ignored(&now, "10.0.0.4", Touch::Contact, "web"));
    let ended = Ignore {
        until: Timestamp::from_micros(NOON),
        ..ignore
    };
    assert!(!is_ignored(&with(ended), "10.0.0.2", Touch::Contact, "web"));
}

#[test]
fn a_resolver_is_known_as_such_and_nobody_else_is() {
    let text = CHECK.replace("inside", "resolver");
    let mut benign = benign(vec![recogniser("controller", &text)]);
    assert_eq!(Visit::from("10.0.0.2").mark(&benign, Touch::Intent, &check()), None);
    benign.resolvers = vec!["10.0.0.2".parse().unwrap()];
    assert!(Visit::from("10.0.0.2").mark(&benign, Touch::Intent, &check()).is_some());
}

#[test]
fn a_default_community_is_known_and_a_guessed_one_is_not() {
    let (recognisers, unreadable) = all(std::path::Path::new("/nonexistent"));
    assert!(unreadable.is_empty(), "{unreadable:?}");
    let poller = recognisers.into_iter().find(|one| one.name == "snmp_poller").unwrap();
    let facts = [(Field::CredentialKind, "community"), (Field::NetworkTransport, "udp")];
    let event = Visit::event(Action::Credential, &facts);
    let benign = benign(vec![Active {
        recogniser: Arc::new(poller),
        sources: Vec::new(),
        touch: Touch::Intent,
    }]);
    let mut memory = None;
    let mut known = |secret: &[u8]| {
        let seen = Seen {
            event: &event,
            secret: Some(secret),
            touch: Touch::Proof,
            said: Touch::Proof,
            several: false,
            inside: true,
            source: "10.0.0.1".parse().unwrap(),
            decoy: "snmp",
            session: Uuid::from_u128(1),
        };
        benign.judge(&seen, &mut memory).is_some()
    };
    assert!(known(b"public") && !known(b"private") && !known(b"publicity"));
}

#[test]
fn every_recogniser_in_the_binary_is_sound_and_can_be_configured() {
    let (recognisers, unreadable) = all(std::path::Path::new("/nonexistent"));
    assert!(unreadable.is_empty(), "{unreadable:?}");
    assert!(recognisers.len() >= 9, "{}", recognisers.len());
    for recogniser in recognisers {
        let name = &recogniser.name;
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.chars().all(plain), "`{name}` cannot be a table's name");
        assert!(!recogniser.title.is_empty() && recogniser.reason.len() > 10, "{name}");
    }
}

#[test]
fn a_file_of_ones_own_wins_and_one_that_is_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("monitoring.toml", CHECK);
    write("mine.toml", "title = 7\n");
    write(".hidden.toml", "");
    write("readme.md", "");
    let (recognisers, unreadable) = all(folder.path());
    let monitoring = recognisers.iter().find(|one| one.name == "monitoring").unwrap();
    assert_eq!(monitoring.reason, "a check");
    let [wrong] = unreadable.as_slice() else {
        panic!("{unreadable:?}")
    };
    assert!(wrong.to_string().contains("mine.toml:1:9"), "{wrong}");
    assert!(names(folder.path()).contains(&"mine".to_owned()));
}

proptest! {
    #[test]
    fn any_bytes_as_a_user_agent_are_judged_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (recognisers, _) = all(std::path::Path::new("/nonexistent"));
        let recognisers = recognisers.into_iter().map(|one| Active { recogniser: Arc::new(one), sources: Vec::new(), touch: Touch::Intent });
        let benign = benign(recognisers.collect());
        let mut event = Visit::event(Action::Handshake, &[]);
        event.set(Field::UserAgent, trapline_schemas::text::clean(&bytes));
        event.set(Field::HttpMethod, trapline_schemas::text::clean(&bytes));
        let mut visit = Visit::from("10.0.0.1");
        prop_assert!(visit.mark(&benign, Touch::Proof, &event).is_none());
    }
}
