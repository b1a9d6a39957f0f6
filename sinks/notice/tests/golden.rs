//! Every kind of news in every tone, to be read: `tests/golden/TONE.txt`. And every variant of the default tone.
//!
//! `TRAPLINE_REMAKE=1 cargo test -p trapline-notice` writes them anew; the difference is for a person to read aloud.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod news;

use std::fmt::Write as _;
use std::path::Path;

use trapline_notice::{DEFAULT_TONE, Notice, Voice, tones};
use trapline_schemas::Field;
use trapline_sink::config::NoticeSettings;
use uuid::Uuid;

/// Sets that says golden texts are to be written.
const REMAKE: &str = "TRAPLINE_REMAKE";

/// Longest line of a golden text, in characters.
const WIDTH: usize = 120;

fn voice(tone: &str, contact: &str) -> Voice {
    let settings = NoticeSettings {
        contact: contact.to_owned(),
        ..NoticeSettings::default()
    };
    Voice::new(tone, &settings).unwrap_or_else(|error| panic!("{error}"))
}

fn golden(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os(REMAKE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(made.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "{name} differs from line {differs:?} on; if that is meant: {REMAKE}=1"
    );
}

/// A notice as a page of text.
fn page(title: &str, notice: &Notice) -> String {
    let mut page = format!("=== {title} ({:?})\n{}\n\n", notice.weight, notice.subject);
    wrapped(&mut page, &notice.opening);
    page += "\n";
    for fact in &notice.facts {
        let mark = if fact.foreign { "*" } else { " " };
        writeln!(page, " {mark}{:<17} {}", fact.label, fact.shown()).unwrap();
    }
    page += "\n";
    wrapped(&mut page, &notice.closing);
    page + "\n"
}

fn wrapped(page: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        let chars = word.chars().count();
        let gap = match width {
            0 => "",
            _ if width + 1 + chars > WIDTH => "\n",
            _ => " ",
        };
        width = if gap == "\n" { 0 } else { width + gap.len() } + chars;
        *page += gap;
        *page += word;
    }
    *page += "\n";
}

#[test]
fn every_kind_of_news_in_every_tone_is_as_it_was_read_last() {
    for tone in tones(None) {
        let (named, unnamed) = (voice(&tone, "net-team@example.org"), voice(&tone, ""));
        let mut pages =
            String::from("Every kind of news in this tone. A fact with a star has a value that a peer chose.\n\n");
        for (at, (title, event)) in news::all().into_iter().enumerate() {
            let voice = if at % 2 == 0 { &named } else { &unnamed };
            pages += &page(&title, &voice.compose(&event));
        }
        golden(&format!("{tone}.txt"), &pages);
    }
}

#[test]
fn every_variant_of_the_default_tone_is_as_it_was_read_last() {
    let voice = voice(DEFAULT_TONE, "net-team@example.org");
    let mut pages = String::from("Every variant of the default tone, found by trying incidents.\n\n");
    for (title, event) in news::all() {
        let mut found: Vec<(String, String)> = Vec::new();
        for number in 0..400_u128 {
            let mut event = event.clone();
            event.id = Uuid::from_u128(number << 64 | 1);
            event.remove(Field::IncidentId);
            let notice = voice.compose(&event);
            let words = (notice.opening, notice.closing);
            if !found.contains(&words) {
                found.push(words);
            }
        }
        found.sort();
        writeln!(pages, "=== {title}: {}\n", found.len()).unwrap();
        for (opening, closing) in found {
            wrapped(&mut pages, &opening);
            wrapped(&mut pages, &closing);
            pages += "\n";
        }
    }
    golden("variants.txt", &pages);
}
