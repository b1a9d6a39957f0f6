//! Whatever peers wrote into an event, its notice is ours: one line, bounded, nothing hidden, none of their words outside
//! the facts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use smol_str::SmolStr;
use trapline_notice::{DEFAULT_TONE, FACT_CHARS_MAX, Notice, SUBJECT_CHARS_MAX, Voice, WORDS_CHARS_MAX, defang, tones};
use trapline_schemas::{Action, CATALOGUE, Event, Field, Kind, Row, Timestamp, Value, text};
use trapline_sink::config::NoticeSettings;
use uuid::Uuid;

/// What no word of ours contains.
const MARK: &str = "zqxj";

/// Fields that a configuration or trapline itself fills. All others a peer may have written, in part.
const OURS: &[Field] = &[
    Field::BenignName,
    Field::BenignReason,
    Field::CredentialKind,
    Field::DecoyId,
    Field::ReleaseServices,
    Field::DecoyService,
    Field::DigestActions,
    Field::ErrorType,
    Field::ObserverName,
    Field::ResponseBy,
    Field::ResponseKind,
    Field::ResponseRule,
    Field::ResponseState,
    Field::ResponseTarget,
    Field::ResponseVerbs,
    Field::ScanDecoys,
    Field::SinkName,
    Field::Site,
    Field::SourceAddress,
    Field::SourceGeoCountry,
    Field::SourceGeoCountryName,
    Field::SourceMac,
    Field::SourceOwner,
    Field::SourceTags,
    Field::SourceZone,
    Field::TransformName,
];

static VOICES: LazyLock<Vec<Voice>> = LazyLock::new(|| {
    let settings = NoticeSettings::default();
    let names = tones(None);
    assert!(names.len() == 4 && names.iter().any(|name| name == DEFAULT_TONE));
    let voices = names.iter().map(|tone| Voice::new(tone, &settings));
    voices
        .map(|voice| voice.unwrap_or_else(|error| panic!("{error}")))
        .collect()
});

/// Whatever breaks, turns, hides or is markup somewhere.
const PARTS: &[&str] = &[
    "\r\nBcc: x@y.example\r\n\r\n",
    "\u{202e}",
    "\u{200b}",
    "\u{2028}",
    "\u{feff}",
    "\u{fe0f}",
    "\0",
    "\x1b[2J",
    "<!channel>",
    "<b>",
    "{{ who }}",
    "{% for a in b %}",
    "${jndi:x}",
    "http://evil.example/",
    "@here",
    "`*_~|",
    "\u{301}",
    "é漢",
    "%s%n",
    "\\",
    "\"'",
    "&#10;",
    "=?utf-8?q?x?=",
];

/// The mark, and such parts among noise.
fn hostile() -> impl Strategy<Value = String> {
    let noise =
        prop::collection::vec(any::<u8>(), 0..24).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let part = prop_oneof![prop::sample::select(PARTS).prop_map(str::to_owned), noise];
    let repeat = prop_oneof![4 => Just(1), 1 => Just(12)];
    (prop::collection::vec(part, 0..6), repeat)
        .prop_map(|(parts, times)| format!("{MARK}{}", parts.concat()).repeat(times))
}

fn value(row: &Row, text: &str, number: i64) -> Value {
    match row.kind {
        Kind::Keyword | Kind::Text => text.into(),
        Kind::Keywords => vec![SmolStr::new(text); 1 + number.unsigned_abs() as usize % 16].into(),
        Kind::Long => number.into(),
        Kind::Longs => vec![number; number.unsigned_abs() as usize % 16].into(),
        Kind::Float => 0.5.into(),
        Kind::Bool => (number % 2 == 0).into(),
        Kind::Ip => std::net::IpAddr::from(number.to_be_bytes().map(u16::from)).into(),
        Kind::Ips => vec![std::net::IpAddr::from([10, 0, 0, number as u8]); number.unsigned_abs() as usize % 16].into(),
        Kind::Date => Timestamp::from_micros(number).into(),
        Kind::Id => Uuid::from_u64_pair(number as u64, 7).into(),
        Kind::Bytes => text.as_bytes().to_vec().into(),
    }
}

/// An event of any action in which some fields, or all, hold what a peer or a broken journal may put there.
fn event() -> impl Strategy<Value = Event> {
    let stored: Vec<&Row> = CATALOGUE.iter().filter(|row| row.field.is_stored()).collect();
    let some = prop::sample::subsequence(stored.clone(), 0..stored.len());
    let rows = prop_oneof![3 => some, 1 => Just(stored)];
    let numbers = prop_oneof![0_i64..4, any::<i64>(), Just(i64::MAX), Just(i64::MIN)];
    let level = prop::sample::select(&["", "contact", "intent", "proof"][..]);
    let action = prop::sample::select(Action::ALL);
    (rows, hostile(), numbers, action, level, any::<i64>()).prop_map(|(rows, text, number, action, level, at)| {
        let mut event = Event::new(Uuid::from_u64_pair(at as u64, 1), Timestamp::from_micros(at), action);
        for row in rows {
            event.set(row.field, value(row, &text, number));
        }
        if !level.is_empty() {
            event.set(Field::TouchLevel, level);
        }
        if action == Action::Other {
            event.set_action_name(&text);
        }
        event
    })
}

fn is_told(text: &str, chars_max: usize) -> bool {
    let seen =
        |ch: char| !text::hidden(ch) && !matches!(ch, '\u{fe00}'..='\u{fe0f}') && (ch == ' ' || !ch.is_whitespace());
    !text.is_empty() && text.chars().count() <= chars_max && text.chars().all(seen)
}

fn words(notice: &Notice) -> [&str; 3] {
    [&notice.subject, &notice.opening, &notice.closing]
}

proptest! {
    #[test]
    fn any_bytes_in_an_event_leave_a_notice_of_bounded_lines_that_hide_nothing(event in event(), tone in 0_usize..4) {
        let notice = VOICES[tone].compose(&event);
        prop_assert!(is_told(&notice.subject, SUBJECT_CHARS_MAX), "{:?}", notice.subject);
        prop_assert!(is_told(&notice.opening, WORDS_CHARS_MAX), "{:?}", notice.opening);
        prop_assert!(is_told(&notice.closing, WORDS_CHARS_MAX), "{:?}", notice.closing);
        prop_assert!((3..60).contains(&notice.facts.len()), "{}", notice.facts.len());
        for fact in &notice.facts {
            prop_assert!(is_told(&fact.value, FACT_CHARS_MAX) && is_told(fact.label, 20), "{:?}", fact);
            prop_assert!(is_told(&fact.shown(), 3 * FACT_CHARS_MAX), "{:?}", fact);
        }
    }

    #[test]
    fn any_bytes_of_a_peer_are_in_no_word_of_ours_and_in_no_fact_that_does_not_say_so(event in event(), tone in 0_usize..4) {
        let mut event = event;
        OURS.iter().for_each(|field| drop(event.remove(*field)));
        prop_assume!(event.action != Action::Other);
        let notice = VOICES[tone].compose(&event);
        for said in words(&notice) {
            prop_assert!(!said.contains(MARK), "{}", said);
        }
        for fact in notice.facts.iter().filter(|fact| fact.value.contains(MARK)) {
            prop_assert!(fact.foreign, "{:?}", fact);
        }
    }

    #[test]
    fn any_bytes_in_place_of_a_name_bring_no_markup_into_the_words(event in event()) {
        let notice = VOICES[0].compose(&event);
        let markup: BTreeSet<char> = "<>&@*|~\\[]{}#$%\"".chars().collect();
        for said in words(&notice) {
            prop_assert!(!said.chars().any(|ch| markup.contains(&ch)), "{}", said);
            prop_assert!(!said.contains("://"), "{}", said);
        }
    }

    #[test]
    fn any_bytes_defanged_make_no_link_no_mention_and_no_share(text in hostile()) {
        let shown = defang(&text);
        for live in ["http://", "https://", "mailto:", "evil.example", "\\\\"] {
            prop_assert!(!shown.contains(live), "{}", shown);
        }
        prop_assert!(!shown.replace("[@]", "").contains('@'), "{}", shown);
        prop_assert!(shown.chars().count() <= 3 * text.chars().count());
    }

    #[test]
    fn any_bytes_in_a_voice_are_read_or_refused_with_their_place(noise in hostile(), at in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let plain = include_str!("../../../config/notices/plain.toml");
        let mut chars: Vec<char> = plain.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..at, noise.chars());
        std::fs::create_dir(folder.path().join("notices"))?;
        std::fs::write(folder.path().join("notices/mine.toml"), String::from_iter(chars))?;
        let settings = NoticeSettings { folder: Some(folder.path().to_owned()), ..NoticeSettings::default() };
        for mistake in Voice::mistakes("mine", &settings) {
            let told = mistake.to_string();
            prop_assert!(told.contains("mine.toml:") && !told.chars().any(text::hidden), "{}", told);
        }
    }
}
