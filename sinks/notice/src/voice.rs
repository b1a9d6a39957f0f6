//! A voice: the words of a tone, and whom to ask.

use std::path::Path;
use std::sync::Arc;

use trapline_schemas::{Event, Field};
use trapline_sink::config::{NoticeSettings, Problem, Table, Visible, listed};

use crate::book::Book;
use crate::kind::{self, Kind};
use crate::shelf::{self, DEFAULT_TONE, VoiceError};
use crate::{Notice, facts, safe, scope};

/// How notices are worded.
#[derive(Debug, Clone)]
pub struct Voice {
    book: Arc<Book>,
    contact: String,
}

/// Longest name of whoever is to be asked, in characters.
const CONTACT_CHARS_MAX: usize = 120;

impl Voice {
    /// The voice of a tone; an empty word asks for that of the settings, and if they name none for
    /// [`DEFAULT_TONE`].
    ///
    /// `settings.folder` is the folder of the user's configuration: `notices/TONE.toml` in it is preferred to the voice
    /// that the program carries. Errors: there is no such tone, or the first mistake of its file; for all of them
    /// there is [`Voice::mistakes`].
    pub fn new(tone: &str, settings: &NoticeSettings) -> Result<Self, VoiceError> {
        let book = read(asked(tone, settings), settings.folder.as_deref());
        let book = book.map_err(|mut mistakes| mistakes.swap_remove(0))?;
        Ok(Self {
            book: Arc::new(book),
            contact: safe::line(&settings.contact, CONTACT_CHARS_MAX),
        })
    }

    /// Everything that is wrong with the voice of a tone, up to 20 mistakes; nothing if [`Voice::new`] would have it.
    pub fn mistakes(tone: &str, settings: &NoticeSettings) -> Vec<VoiceError> {
        read(asked(tone, settings), settings.folder.as_deref())
            .err()
            .unwrap_or_default()
    }

    /// What is wrong with the voice that a sink's table asks for in its key `tone`, for
    /// [`Factory::look`](trapline_sink::config::Factory::look):
    ///
    /// ```text
    /// fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
    ///     Voice::look(table, "tone", &common.notices)
    /// }
    /// fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
    ///     let voice = Voice::new(&self.tone, &common.notices).map_err(|error| Fault::new(FaultKind::Config, error))?;
    /// ```
    ///
    /// Each problem stands at the key, or at the sink's name where the tone is that of all sinks; it names the place in
    /// the voice's file, what was found there, and what is allowed.
    pub fn look(table: &Table, key: &str, settings: &NoticeSettings) -> Vec<Problem> {
        let problem = |error: VoiceError| {
            let (found, allowed) = match error {
                VoiceError::Wrong(mistake) => (mistake.place_and_found(), mistake.allowed),
                VoiceError::Unknown { tone, known } => (format!("there is no tone `{tone}`"), known),
                other => (other.to_string(), listed(shelf::tones(None).iter().map(String::as_str))),
            };
            Problem::error(table.place(key), found, allowed).show(Visible::Nothing)
        };
        let mistakes = Self::mistakes(&table.text(key), settings);
        mistakes.into_iter().map(problem).collect()
    }

    /// Words a notice of the event.
    ///
    /// In: any event, also one of another host or a newer version. Out: a notice within the bounds of its fields.
    pub fn compose(&self, event: &Event) -> Notice {
        let kind = Kind::of(event);
        let incident = event.uuid(Field::IncidentId);
        let scope = scope::scope(kind, event, &self.contact);
        let words = self.book.words(kind, incident.unwrap_or(event.id), &scope);
        Notice {
            event: event.id,
            incident,
            weight: kind::weight(event),
            subject: words.subject,
            opening: words.opening,
            facts: facts::facts(kind, event, &self.contact),
            closing: words.closing,
        }
    }
}

/// The tone that is asked for: the sink's, else that of all sinks, else the default one.
fn asked<'a>(tone: &'a str, settings: &'a NoticeSettings) -> &'a str {
    let words = [tone, settings.tone.as_str()];
    words.into_iter().find(|word| !word.is_empty()).unwrap_or(DEFAULT_TONE)
}

/// The book of a tone, or everything that is wrong with it: one error at least.
fn read(tone: &str, folder: Option<&Path>) -> Result<Book, Vec<VoiceError>> {
    let (origin, text) = shelf::text_of(tone, folder).map_err(|error| vec![error])?;
    Book::read(&origin, &text).map_err(|mistakes| mistakes.into_iter().map(VoiceError::Wrong).collect())
}
