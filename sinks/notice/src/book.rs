//! A voice's file, read and held against what notices need.
//!
//! ```toml
//! [contact]                                          # a table for each kind of news
//! subject = "{{ who }} knocked at {{ decoy }}"       # one line
//! [[contact.words]]                                  # one or more; an incident is told in one of them
//! opening = "Somebody at {{ who }} knocked."
//! closing = "If that was you, ask {{ contact }}."
//! ```
//!
//! Invariants: 1. a book has words for every kind; 2. its templates were rendered for events of every kind with little,
//! usual and much to tell, so they render; 3. what they come to for usual events is within the bounds; 4. a template
//! knows nothing but the variables of its kind and our filters, and its work is bounded.

mod check;
mod mistake;

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use uuid::Uuid;

use crate::kind::Kind;
use crate::{safe, words};

pub use mistake::Mistake;

/// Longest subject, in characters.
pub const SUBJECT_CHARS_MAX: usize = 150;
/// Longest opening or closing, in characters.
pub const WORDS_CHARS_MAX: usize = 600;

/// Longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 4096;
/// Most variants of one kind.
const VARIANTS_MAX: usize = 64;
/// Most mistakes of one file that are told.
const MISTAKES_MAX: usize = 20;
/// Steps that rendering one template may take; ours take a few dozen.
const FUEL: u64 = 2_000;
/// How deep a template may nest.
const DEPTH: usize = 16;

/// The words of one kind.
#[derive(Debug)]
struct Page {
    subject: String,
    /// Openings and closings.
    variants: Vec<(String, String)>,
}

/// The words of a voice.
#[derive(Debug)]
pub(crate) struct Book {
    pages: BTreeMap<Kind, Page>,
    env: Environment<'static>,
}

/// What a notice says besides its facts.
pub(crate) struct Words {
    pub(crate) subject: String,
    pub(crate) opening: String,
    pub(crate) closing: String,
}

impl Book {
    /// Reads a voice; `origin` names it. Errors: everything that is wrong, up to 20 mistakes.
    pub(crate) fn read(origin: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader::new(origin, text);
        let (root, broken) = DeTable::parse_recoverable(text);
        for error in &broken {
            reader.wrong(error.span().unwrap_or(0..0), error.message(), "TOML");
        }
        if broken.is_empty() {
            reader.book(root.get_ref());
        }
        let Reader { book, mut mistakes, .. } = reader;
        mistakes.truncate(MISTAKES_MAX);
        if mistakes.is_empty() { Ok(book) } else { Err(mistakes) }
    }

    /// The words for an incident, or for an event without one: by its id alone, so the same on every host.
    pub(crate) fn words(&self, kind: Kind, id: Uuid, scope: &Value) -> Words {
        let page = self.pages.get(&kind);
        let chosen = page.and_then(|page| page.variants.get(choose(id, page.variants.len())));
        let say = |template: Option<&String>, chars_max| {
            let said = template.and_then(|template| self.render(template, scope).ok());
            safe::line(&said.unwrap_or_default(), chars_max)
        };
        let subject = say(page.map(|page| &page.subject), SUBJECT_CHARS_MAX);
        Words {
            // A book was tried out when it was read; a subject must never be empty all the same.
            subject: if subject.is_empty() {
                format!("trapline: {}", kind.name())
            } else {
                subject
            },
            opening: say(chosen.map(|(opening, _)| opening), WORDS_CHARS_MAX),
            closing: say(chosen.map(|(_, closing)| closing), WORDS_CHARS_MAX),
        }
    }

    /// How many variants a kind has.
    #[cfg(test)]
    pub(crate) fn variants(&self, kind: Kind) -> usize {
        self.pages.get(&kind).map_or(0, |page| page.variants.len())
    }

    /// A template's text for some values, with one space for every row of spaces and line ends.
    fn render(&self, template: &str, scope: &Value) -> Result<String, minijinja::Error> {
        let rendered = self.env.render_str(template, scope.clone())?;
        Ok(rendered.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// Which of `count` variants an id gets: an even share of ids each.
pub(crate) fn choose(id: Uuid, count: usize) -> usize {
    let (high, low) = id.as_u64_pair();
    // SplitMix64's finaliser: ids that differ in one place only, as those of one moment do, come out unlike.
    let mut mixed = high ^ low.rotate_left(32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    usize::try_from(mixed % count.max(1) as u64).unwrap_or(0)
}

/// What a template has: values, and filters for numbers. No functions, no tests, no other template.
fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(DEPTH);
    env.add_filter("words", words::in_words);
    env.add_filter("figures", words::figures);
    env.add_filter("times", words::times);
    env.add_filter("several", |number: i64, noun: &str| words::several(number, noun));
    env.add_filter("counted", |number: i64, noun: &str| words::counted(number, noun));
    env.add_filter("either", |number: i64, one: &str, many: &str| {
        (if number == 1 { one } else { many }).to_owned()
    });
    env.add_filter("capital", |text: &str| words::capital(text));
    env
}

/// The filters, for messages.
const FILTERS: &str = "words, figures, times, several(noun), counted(noun), either(one, many), capital";

/// A file under way.
struct Reader<'t> {
    origin: &'t str,
    text: &'t str,
    book: Book,
    mistakes: Vec<Mistake>,
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

impl<'t> Reader<'t> {
    fn new(origin: &'t str, text: &'t str) -> Self {
        let book = Book {
            pages: BTreeMap::new(),
            env: environment(),
        };
        let mistakes = Vec::new();
        Self {
            origin,
            text,
            book,
            mistakes,
        }
    }

    fn wrong(&mut self, span: std::ops::Range<usize>, found: &str, allowed: &str) {
        self.mistakes
            .push(Mistake::at(self.origin, self.text, span.start, found, allowed));
    }

    fn book(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            let kind = Kind::ALL.iter().find(|kind| kind.name() == name.get_ref());
            match (kind, value.get_ref()) {
                (Some(kind), DeValue::Table(table)) => self.page(*kind, name.span(), table),
                (Some(kind), _) => self.wrong(value.span(), &format!("`{}` is no table", kind.name()), PAGE),
                (None, _) => {
                    let found = format!("there is no kind of news `{}`", safe::line(name.get_ref(), 60));
                    self.wrong(name.span(), &found, &kinds());
                }
            }
        }
        let missing: Vec<_> = Kind::ALL
            .iter()
            .filter(|kind| !root.contains_key(kind.name()))
            .collect();
        for kind in missing {
            let found = format!("there are no words for `{}`", kind.name());
            self.wrong(
                self.text.len()..self.text.len(),
                &found,
                &format!("a table [{}] of {PAGE}", kind.name()),
            );
        }
    }

    fn page(&mut self, kind: Kind, place: std::ops::Range<usize>, table: &DeTable<'_>) {
        let mut page = Page {
            subject: String::new(),
            variants: Vec::new(),
        };
        let before = self.mistakes.len();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "subject" => page.subject = self.template(kind, (key, value), SUBJECT_CHARS_MAX),
                "words" => page.variants = self.variants(kind, value),
                other => {
                    let found = format!("unknown key `{}`", safe::line(other, 60));
                    self.wrong(key.span(), &found, PAGE);
                }
            }
        }
        let is_whole = !page.subject.is_empty() && !page.variants.is_empty();
        if !is_whole && self.mistakes.len() == before {
            self.wrong(place, &format!("`{}` is not whole", kind.name()), PAGE);
        }
        self.book.pages.insert(kind, page);
    }

    fn variants(&mut self, kind: Kind, value: &Spanned<DeValue<'_>>) -> Vec<(String, String)> {
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(value.span(), "`words` is no list", PAGE);
            return Vec::new();
        };
        if items.len() > VARIANTS_MAX {
            let found = format!("{} variants", items.len());
            self.wrong(value.span(), &found, &format!("at most {VARIANTS_MAX}"));
        }
        let items = items.iter().take(VARIANTS_MAX);
        items.map(|item| self.variant(kind, item)).collect()
    }

    fn variant(&mut self, kind: Kind, item: &Spanned<DeValue<'_>>) -> (String, String) {
        let empty = DeTable::new();
        let table = match item.get_ref() {
            DeValue::Table(table) => table,
            _ => &empty,
        };
        let mut read = |name: &str| match table.iter().find(|(key, _)| key.get_ref() == name) {
            Some(entry) => self.template(kind, entry, WORDS_CHARS_MAX),
            None => {
                self.wrong(item.span(), &format!("`{name}` is missing"), VARIANT);
                String::new()
            }
        };
        let variant = (read("opening"), read("closing"));
        for (key, _) in table
            .iter()
            .filter(|(key, _)| !["opening", "closing"].contains(&key.get_ref().as_ref()))
        {
            let found = format!("unknown key `{}`", safe::line(key.get_ref(), 60));
            self.wrong(key.span(), &found, VARIANT);
        }
        variant
    }

    /// A template that was tried out.
    fn template(&mut self, kind: Kind, (key, value): Entry<'_, '_>, chars_max: usize) -> String {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong(
                value.span(),
                &format!("`{}` is no text", key.get_ref()),
                "a template in quotes",
            );
            return String::new();
        };
        if let Err(found) = check::template(&self.book, kind, text, chars_max) {
            let at = value.span().start + found.offset(self.text.get(value.span()).unwrap_or(""));
            self.wrong(at..at, &found.found, &found.allowed);
        }
        text.to_string()
    }
}

/// What a table of a kind holds.
const PAGE: &str = "`subject`, and one or more [[….words]] with `opening` and `closing`";
/// What a variant holds.
const VARIANT: &str = "`opening` and `closing`";

fn kinds() -> String {
    Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}
