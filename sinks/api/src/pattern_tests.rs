//! Names of topics and indices, legal whatever an event holds.

use super::*;
use crate::conformance::events;

static TOPIC: Rules = Rules {
    what: "topic",
    whose: "Kafka",
    chars_max: 249,
    signs: Signs::Letters,
    instead: '-',
    parting: &['.'],
    not_first: &[],
    refused: &[".", ".."],
    words: &[Word::Site, Word::Observer, Word::Level, Word::Action],
};
static INDEX: Rules = Rules {
    what: "index",
    whose: "Elasticsearch",
    chars_max: 255,
    signs: Signs::LowerCase,
    instead: '_',
    parting: &['.', '-'],
    not_first: &['.', '_', '-', '{'],
    refused: &[],
    words: &[Word::Site, Word::Level, Word::Day, Word::Month],
};

fn event() -> Event {
    let mut event = Event::clone(&events(1, false)[0].event);
    event.set(Field::Site, "Lyon é/..");
    event.at = Timestamp::from_micros(1_772_668_799_999_999);
    event
}

fn of(text: &str, rules: &'static Rules) -> String {
    Pattern::parse(text, rules).unwrap().of(&event()).into_owned()
}

#[test]
fn a_pattern_takes_words_of_ours_and_makes_them_legal() {
    assert_eq!(of("honeyport.events", &TOPIC), "honeyport.events");
    assert_eq!(of("hp.{level}.{action}", &TOPIC), "hp.proof.decoy-credential");
    assert_eq!(of("x{site}_{observer}", &TOPIC), "xLyon-----_lure-test");
    assert_eq!(
        of("logs-trapline.{site}-default", &INDEX),
        "logs-trapline.lyon_____-default"
    );
    let nothing = Event::new(event().id, Timestamp::now(), Action::Connect);
    assert_eq!(Pattern::parse("{site}", &TOPIC).unwrap().of(&nothing), "none");
}

#[test]
fn a_date_is_the_events_own_in_utc() {
    assert_eq!(of("hp-{yyyy.mm.dd}", &INDEX), "hp-2026.03.04");
    assert_eq!(of("hp-{yyyy.mm}-{level}", &INDEX), "hp-2026.03-proof");
}

#[test]
fn an_action_of_a_newer_version_is_none_of_our_words() {
    let mut event = event();
    event.set_action_name("../../etc");
    assert_eq!(Pattern::parse("{action}", &TOPIC).unwrap().of(&event), "other");
}

#[test]
fn what_a_destination_does_not_take_is_refused_with_the_reason() {
    for (text, rules, found) in [
        ("", &TOPIC, "a name that Kafka does not take in the topic ``"),
        ("..", &TOPIC, "a name that Kafka does not take in the topic `..`"),
        ("a b", &TOPIC, "` ` in the topic `a b`"),
        ("é", &TOPIC, "`\\u{e9}` in the topic `é`"),
        ("a}", &TOPIC, "`}` in the topic `a}`"),
        ("{level", &TOPIC, "a `{` without `}` in the topic `{level`"),
        ("{user}", &TOPIC, "`{user}` in a topic"),
        ("{}", &TOPIC, "`{}` in a topic"),
        ("Logs", &INDEX, "`L` in the index `Logs`"),
        ("_x", &INDEX, "`_` as the first sign in the index `_x`"),
        ("{site}-x", &INDEX, "`{` as the first sign in the index `{site}-x`"),
        ("x-{action}", &INDEX, "`{action}` in an index"),
    ] {
        assert_eq!(Pattern::parse(text, rules).unwrap_err().found, found, "{text}");
    }
    let allowed = Pattern::parse("{user}", &TOPIC).unwrap_err().allowed;
    assert!(allowed.contains("level") && allowed.contains("site"), "{allowed}");
}

#[test]
fn the_longest_that_can_come_of_a_pattern_is_within_the_bound() {
    let fits = "{level}".repeat(5);
    assert!(Pattern::parse(&fits, &TOPIC).is_ok());
    assert!(Pattern::parse(&format!("{fits}0123456789"), &TOPIC).is_err());
    let mut event = event();
    event.set(Field::Site, "x".repeat(200));
    let topic = Pattern::parse(&"{site}".repeat(5), &TOPIC).unwrap();
    assert!(topic.of(&event).len() <= TOPIC.chars_max);
}

#[test]
fn names_of_a_pattern_are_known_by_its_ends() {
    let topic = Pattern::parse("hp.{level}.{site}.v1", &TOPIC).unwrap();
    assert!(topic.may_be("hp.proof.lyon.v1") && !topic.may_be("hp..v1") && !topic.may_be("other"));
    assert_eq!(topic.to_string(), "hp.{level}.{site}.v1");
    assert_eq!(topic.with("*"), "hp.*.*.v1");
}

proptest::proptest! {
    #[test]
    fn any_bytes_as_a_site_make_a_legal_name(site in ".{0,80}") {
        let mut event = event();
        event.set(Field::Site, trapline_schemas::text::clean(site.as_bytes()));
        for (rules, before) in [(&TOPIC, ""), (&INDEX, "x")] {
            let name = Pattern::parse(&format!("{before}{{site}}"), rules).unwrap().of(&event).into_owned();
            proptest::prop_assert!(!name.is_empty() && name.chars().all(|sign| rules.is_legal(sign)));
            proptest::prop_assert!(!name.contains(rules.parting), "{}", name);
        }
    }
}
