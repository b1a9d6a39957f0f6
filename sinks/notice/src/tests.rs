//! The voices that the program carries, and what a voice of the user's may get wrong.

use std::collections::BTreeSet;
use std::path::Path;

use trapline_schemas::{Action, Event, Field, Timestamp};
use trapline_sink::config::NoticeSettings;
use uuid::Uuid;

use crate::book::Book;
use crate::kind::Kind;
use crate::scope::VARIABLES;
use crate::shelf::text_of;
use crate::{DEFAULT_TONE, Voice, VoiceError, tones};

const TONES: [&str; 4] = ["disappointed", "formal", "passive-aggressive", "plain"];

/// The kinds of a first touch.
const TOUCHES: [Kind; 3] = [Kind::Contact, Kind::Intent, Kind::Proof];

fn embedded(tone: &str) -> (Book, String) {
    let (origin, text) = text_of(tone, None).unwrap();
    let book = Book::read(&origin, &text).unwrap_or_else(|mistakes| {
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", told.join("\n"))
    });
    (book, text.into_owned())
}

fn settings(folder: Option<&Path>) -> NoticeSettings {
    NoticeSettings {
        folder: folder.map(Path::to_owned),
        ..NoticeSettings::default()
    }
}

fn touch(incident: Uuid) -> Event {
    let mut event = Event::new(Uuid::from_u128(9), Timestamp::default(), Action::Connect);
    event.set(Field::IncidentId, incident);
    event.set(Field::TouchLevel, "contact");
    event
}

#[test]
fn every_tone_that_the_program_carries_has_words_for_every_kind() {
    assert_eq!(tones(None), TONES);
    for tone in TONES {
        let (book, _) = embedded(tone);
        for kind in Kind::ALL {
            assert!(book.variants(*kind) > 0, "{tone} {}", kind.name());
        }
    }
}

#[test]
fn the_default_tone_has_ten_variants_and_more_of_each_touch() {
    let (book, _) = embedded(DEFAULT_TONE);
    for kind in TOUCHES {
        assert!(book.variants(kind) >= 10, "{}: {}", kind.name(), book.variants(kind));
    }
}

#[test]
fn no_two_variants_of_a_kind_are_alike() {
    for tone in TONES {
        let (_, text) = embedded(tone);
        for key in ["opening = ", "closing = "] {
            let lines: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with(key) && line.len() > 80)
                .collect();
            let unlike: BTreeSet<_> = lines.iter().collect();
            assert_eq!(lines.len(), unlike.len(), "{tone} {key}");
        }
    }
}

#[test]
fn the_default_tone_explains_every_variable_and_filter() {
    let (_, text) = embedded(DEFAULT_TONE);
    let comment: String = text.lines().take_while(|line| line.starts_with('#')).collect();
    let words: BTreeSet<_> = comment.split(|ch: char| !ch.is_alphanumeric() && ch != '_').collect();
    for variable in VARIABLES {
        assert!(words.contains(variable.name), "{}", variable.name);
    }
    for filter in ["words", "figures", "times", "several", "counted", "either", "capital"] {
        assert!(words.contains(filter), "{filter}");
    }
}

#[test]
fn an_incident_keeps_its_words_in_every_notice_and_every_voice_that_is_made_anew() {
    for number in 0..20 {
        let mut event = touch(Uuid::from_u128(number));
        let first = Voice::new("", &settings(None)).unwrap().compose(&event);
        event.set(Field::EventSequence, 2_i64);
        let mut later = Event::new(Uuid::from_u128(77), Timestamp::default(), Action::Connect);
        event
            .facts()
            .iter()
            .for_each(|(field, value)| later.set(*field, value.clone()));
        let second = Voice::new(DEFAULT_TONE, &settings(None)).unwrap().compose(&later);
        assert_eq!((first.opening, first.closing), (second.opening, second.closing));
    }
}

#[test]
fn the_variant_of_an_incident_is_the_same_in_every_version() {
    let chosen: Vec<_> = (0..8)
        .map(|number| crate::book::choose(Uuid::from_u128(number << 64), 13))
        .collect();
    assert_eq!(chosen, [0, 10, 1, 2, 7, 10, 12, 11]);
    assert_eq!(crate::book::choose(Uuid::max(), 0), 0);
}

#[test]
fn every_variant_is_reached_and_about_as_often_as_the_others() {
    let (book, _) = embedded(DEFAULT_TONE);
    for kind in Kind::ALL {
        let count = book.variants(*kind);
        let mut seen = vec![0_u32; count];
        for number in 0..400 * count {
            // Incidents of one day at one site, as they are made: unlike in every bit.
            let at = Timestamp::default();
            let id = trapline_schemas::ids::derived("incident", &number.to_string(), at);
            seen[crate::book::choose(id, count)] += 1;
        }
        assert!(
            seen.iter().all(|times| (280..520).contains(times)),
            "{}: {seen:?}",
            kind.name()
        );
    }
}

#[test]
fn the_file_beside_the_configuration_wins_and_may_add_a_tone() {
    let folder = tempfile::tempdir().unwrap();
    let notices = folder.path().join("notices");
    std::fs::create_dir(&notices).unwrap();
    let (_, plain) = embedded("plain");
    let ours = plain.replace("A decoy has no honest users.", "Arr.");
    std::fs::write(notices.join("plain.toml"), &ours).unwrap();
    std::fs::write(notices.join("pirate.toml"), &ours).unwrap();
    let settings = settings(Some(folder.path()));
    for tone in ["plain", "pirate"] {
        let notice = Voice::new(tone, &settings).unwrap().compose(&touch(Uuid::nil()));
        assert!(notice.opening.ends_with("Arr."), "{}", notice.opening);
    }
    let told = Voice::new("formal", &settings).unwrap().compose(&touch(Uuid::nil()));
    assert!(!told.opening.contains("Arr."));
    assert!(tones(Some(folder.path())).contains(&"pirate".to_owned()));
}

#[test]
fn a_tone_that_is_not_there_or_leads_out_of_the_folder_is_unknown_and_the_others_are_named() {
    for tone in ["sarcastic", "../plain", "", "..", "a/b", "\u{202e}x"] {
        let asked = NoticeSettings {
            tone: if tone.is_empty() { "none".into() } else { String::new() },
            ..settings(Some(Path::new("/nonexistent")))
        };
        let error = Voice::new(tone, &asked).unwrap_err();
        assert!(matches!(&error, VoiceError::Unknown { known, .. } if known.contains("formal, passive-aggressive")));
        assert!(!error.to_string().contains('\u{202e}'));
    }
}

#[test]
fn a_sink_without_a_tone_takes_that_of_all_sinks() {
    let asked = NoticeSettings {
        tone: "plain".into(),
        ..settings(None)
    };
    let notice = Voice::new("", &asked).unwrap().compose(&touch(Uuid::nil()));
    assert!(notice.opening.ends_with("A decoy has no honest users."));
    let notice = Voice::new("formal", &asked).unwrap().compose(&touch(Uuid::nil()));
    assert!(!notice.opening.ends_with("A decoy has no honest users."));
}

#[test]
fn whoever_is_to_be_asked_is_named_or_is_whoever_runs_the_observer() {
    let mut event = touch(Uuid::nil());
    event.set(Field::ObserverName, "lure-dmz-01");
    let notice = Voice::new("plain", &settings(None)).unwrap().compose(&event);
    assert_eq!(notice.closing, "If this was intended, tell whoever runs lure-dmz-01.");
    let asked = NoticeSettings {
        contact: "net-team@example.org\u{202e}\n".into(),
        ..settings(None)
    };
    let notice = Voice::new("plain", &asked).unwrap().compose(&event);
    assert!(
        notice
            .closing
            .starts_with("If this was intended, tell net-team@example.org\\u{202e}")
    );
}

/// What is told of a plain voice in which a text was replaced by another.
fn told(old: &str, new: &str) -> Vec<String> {
    let (_, plain) = embedded("plain");
    assert!(plain.contains(old), "{old}");
    match Book::read("v.toml", &plain.replacen(old, new, 1)) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_mistake_in_a_voice_is_told_with_its_place_and_what_is_allowed() {
    let subject = "\"{{ who | capital }} {{ deed }} at {{ decoy }} on {{ observer }}\"";
    for (old, new, expected) in [
        (
            subject,
            "\"{{ whom }}\"",
            "v.toml:4:15: `contact` has no variable `whom`; allowed: observer, site, contact,",
        ),
        (
            subject,
            "\"{% if who %}x\"",
            "v.toml:4:24: syntax error: unexpected end of input",
        ),
        (subject, "\"{{ who | shout }}\"", "shout"),
        (subject, "\"{{ who.name }}\"", "undefined"),
        (
            subject,
            "7",
            "v.toml:4:11: `subject` is no text; allowed: a template in quotes",
        ),
        (subject, "\"\"", "v.toml:4:11: nothing is said"),
        (
            subject,
            "\"{% for a in 'x' %}{% endfor %}{{ hits | several }}\"",
            "v.toml:4:",
        ),
        (subject, "\"\u{202e}x\"", "U+202E"),
        (
            "[contact]",
            "[contract]",
            "v.toml:3:2: there is no kind of news `contract`; allowed: contact, intent",
        ),
        (
            "[contact]",
            "[contract]",
            "v.toml:5:3: `contact` is not whole; allowed: `subject`, and",
        ),
        ("[contact]", "[contact", "v.toml:3:9: "),
        (
            "closing = \"If this was intended, tell {{ contact }}.\"\n",
            "",
            "v.toml:5:1: `closing` is missing",
        ),
        ("[[contact.words]]", "[contact.words]", "`words` is no list"),
        (
            "subject",
            "subjekt",
            "unknown key `subjekt`; allowed: `subject`, and one or more",
        ),
        (
            "closing",
            "clothing",
            "unknown key `clothing`; allowed: `opening` and `closing`",
        ),
    ] {
        let told = told(old, new);
        assert!(told.iter().any(|told| told.contains(expected)), "{new}: {told:?}");
    }
}

#[test]
fn a_voice_that_says_too_much_or_works_too_long_is_refused() {
    let subject = "\"{{ who | capital }} {{ deed }} at {{ decoy }} on {{ observer }}\"";
    for (new, expected) in [
        (
            format!("\"{}\"", "x".repeat(151)),
            "151 characters for a usual event; allowed: at most 150",
        ),
        (
            format!("\"{}\"", "x".repeat(5000)),
            "a template of 5000 bytes; allowed: at most 4096",
        ),
        (
            "\"{% for a in [1,2,3,4,5,6,7,8,9] * 999 %}{{ a }}{% endfor %}\"".to_owned(),
            "at most 2000 steps",
        ),
        (format!("\"{}1{}\"", "{{ (", "(".repeat(500)), "v.toml:4:"),
    ] {
        let told = told(subject, &new);
        assert!(told.iter().any(|told| told.contains(expected)), "{new}: {told:?}");
    }
    let many = "[[contact.words]]\nopening = \"a\"\nclosing = \"b\"\n".repeat(64);
    let told = told("[intent]", &format!("{many}[intent]"));
    assert!(told[0].contains("65 variants; allowed: at most 64"), "{told:?}");
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_up_to_a_bound() {
    let few = told(
        "{{ deed }} at {{ decoy }}",
        "{{ deeed }} at {{ deccoy }}\"\nsubjekt = \"x",
    );
    assert_eq!(few.len(), 2, "{few:?}");
    let none = Book::read("v.toml", "").unwrap_err();
    assert_eq!(none.len(), 20);
    let missing = "v.toml:1:1: there are no words for `contact`; allowed: a table [contact] of `subject`";
    assert!(none[0].to_string().starts_with(missing), "{}", none[0]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let notices = folder.path().join("notices");
    std::fs::create_dir_all(notices.join("plain.toml")).unwrap();
    std::fs::write(notices.join("formal.toml"), b"\xff").unwrap();
    std::fs::write(notices.join("disappointed.toml"), vec![b'#'; 300 << 10]).unwrap();
    std::os::unix::fs::symlink("/nonexistent", notices.join("passive-aggressive.toml")).unwrap();
    for (tone, why) in [
        ("plain", "it is not a regular file"),
        ("formal", "UTF-8"),
        ("disappointed", "at most 262144 are read"),
        ("", "No such file"),
    ] {
        let told = Voice::new(tone, &settings(Some(folder.path())))
            .unwrap_err()
            .to_string();
        assert!(told.contains(why) && told.contains("could not be read"), "{told}");
    }
}
