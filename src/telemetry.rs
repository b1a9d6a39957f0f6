//! Diagnostics: what trapline says about itself on standard error. Events never come this way.
//!
//! In: `tracing` events and spans of the whole program. Out: one line each on standard error.
//!
//! Invariants:
//! 1. A line holds no control, bidi or line-separator character but its own end, whatever a peer sent; its length is
//!    bounded.
//! 2. A message that repeats is shown [`BURST`] times in [`WINDOW`], and all messages of one place in the code
//!    [`PLACE_BURST`] times, whatever they name; then they are counted, and the count is said when the window is over.
//! 3. A panic anywhere is one `error` line and one count; it is never silent.
//!
//! What it does not do: write files, rotate, ship. That is the service manager's business.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;
use trapline_schemas::{Timestamp, text};

/// How often one message is shown within [`WINDOW`].
pub const BURST: u32 = 10;
/// How many lines of one place in the code are shown within [`WINDOW`].
pub const PLACE_BURST: u32 = 100;
/// Over how long repeats of a message are counted together.
pub const WINDOW: Duration = Duration::from_secs(30);
/// Longest value or message on a line, in characters.
const CHARS_MAX: usize = 1024;
/// Different messages watched for repeats at once; beyond that new ones count for their place alone.
const WATCHED_MAX: usize = 512;
/// The environment variable that wins over `log.level`.
pub const LEVEL_VARIABLE: &str = "TRAPLINE_LOG";

/// The words for levels.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

static PANICS: AtomicU64 = AtomicU64::new(0);
static LAST_PANIC_MICROS: AtomicI64 = AtomicI64::new(0);
static LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Puts another level in force.
type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// How many panics there were since the start.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// When the last panic was.
pub fn last_panic() -> Option<Timestamp> {
    let micros = LAST_PANIC_MICROS.load(Ordering::Relaxed);
    (micros > 0).then(|| Timestamp::from_micros(micros))
}

/// Changes the level, unless `TRAPLINE_LOG` is set.
pub fn set_level(level: &str) {
    if let Some(set) = LEVEL.get() {
        set(level);
    }
}

/// Starts diagnostics at `level` (a word such as `info`), unless `TRAPLINE_LOG` says otherwise, which may also hold
/// directives such as `trapline::delivery=debug`. A second call changes nothing.
pub fn start(level: &str) {
    let house = House::default();
    let _ = COUNTED.set(Arc::clone(&house.repeats));
    let builder = tracing_subscriber::fmt()
        .with_writer(|| Diagnostics)
        // It would be told on standard error too, which is what has just failed.
        .log_internal_errors(false)
        .with_ansi(colours(std::io::stderr().is_terminal()))
        .fmt_fields(House::default())
        .event_format(house)
        .with_env_filter(filter(level))
        .with_filter_reloading();
    let handle = builder.reload_handle();
    if tracing::subscriber::set_global_default(builder.finish()).is_ok() {
        if let Err(wrong) = wanted(level) {
            tracing::warn!("{wrong}: `{level}` is used");
        }
        // Fails only when the subscriber is gone, and it lives as long as the process.
        let _ = LEVEL.set(Box::new(move |level| drop(handle.reload(filter(level)))));
        count_panics();
    }
}

/// Standard error, as far as it takes anything: a full disk or a reader that has gone must not take the service down.
struct Diagnostics;

impl io::Write for Diagnostics {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::Write::write_all(&mut io::stderr(), line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn filter(level: &str) -> EnvFilter {
    let wanted = wanted(level).unwrap_or_else(|_| level.to_owned());
    EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// What is to be shown, or what is wrong with the variable.
fn wanted(level: &str) -> Result<String, String> {
    match std::env::var_os(LEVEL_VARIABLE) {
        None => Ok(level.to_owned()),
        Some(text) => directives(&text),
    }
}

/// The variable's text, if all of it is levels and directives. A lone word is taken for a target by the filter, which
/// then shows nothing else: only one of ours can be meant so.
fn directives(text: &OsStr) -> Result<String, String> {
    let wrong = || {
        let found = safe(&text.to_string_lossy(), 64);
        format!(
            "{LEVEL_VARIABLE} `{found}` is no level (error, warn, info, debug, trace, off) and no directive such as \
             `trapline::delivery=debug`"
        )
    };
    let words = text.to_str().ok_or_else(wrong)?;
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_meant = |part: &str| is_level(part) || part.contains(['=', '[', ':']) || part.starts_with("trapline");
    let all_meant = words.split(',').map(str::trim).all(is_meant);
    if all_meant && EnvFilter::try_new(words).is_ok() {
        Ok(words.to_owned())
    } else {
        Err(wrong())
    }
}

/// Whether colours are wanted on a stream that is a terminal or not: `NO_COLOR` and a dumb terminal win.
pub fn colours(terminal: bool) -> bool {
    let is_plain = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    terminal && !is_plain && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn count_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        LAST_PANIC_MICROS.store(Timestamp::now().micros(), Ordering::Relaxed);
        let place = panic.location().map(ToString::to_string);
        tracing::error!(
            panic.place = place.as_deref().unwrap_or("unknown"),
            "a task panicked, please report this as a bug: {}",
            said(panic.payload())
        );
    }));
}

/// Until [`start`] a panic is one clean line too, so that what a journal or a peer holds never reaches a terminal raw.
pub fn keep_panics_clean() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = safe(said(panic.payload()), CHARS_MAX);
        let mut stream = std::io::stderr().lock();
        // Nobody is left to tell if standard error is closed.
        let _ = io::Write::write_fmt(
            &mut stream,
            format_args!("error: trapline broke down at {place}, please report this as a bug: {said}\n"),
        );
    }));
}

fn said(payload: &dyn std::any::Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The house's line: time, level, spans, message, fields.
#[derive(Debug, Default)]
struct House {
    repeats: Arc<Mutex<HashMap<u64, Repeats>>>,
}

/// What is counted by the diagnostics of this process, so that it is told though no other line comes.
static COUNTED: OnceLock<Arc<Mutex<HashMap<u64, Repeats>>>> = OnceLock::new();

/// Says what was held back in windows that are over; at the end of the process, in `all`.
pub fn say_held_back(all: bool) {
    let Some(repeats) = COUNTED.get() else { return };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = say(&mut Writer::new(&mut text), expired(repeats, all));
    let _ = io::Write::write_all(&mut Diagnostics, text.as_bytes());
}

#[derive(Debug)]
struct Repeats {
    since: Instant,
    shown: u32,
    held: u64,
    message: String,
}

impl<S, N> FormatEvent<S, N> for House
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        self.say_expired(&mut out)?;
        if !self.admit(event, &line.message) {
            return Ok(());
        }
        head(&mut out, *event.metadata().level())?;
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            write!(out, "{}", span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                write!(out, "{{{}}}", fields.fields.trim_start())?;
            }
            write!(out, ": ")?;
        }
        writeln!(out, "{}{}", line.message, line.fields)
    }
}

impl<'w> FormatFields<'w> for House {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line::default();
        fields.record(&mut line);
        write!(out, "{}{}", line.message, line.fields)
    }
}

impl House {
    /// Whether this message is still within its burst, and its place within its own; counts it if not.
    fn admit(&self, event: &Event<'_>, message: &str) -> bool {
        let Ok(mut repeats) = self.repeats.lock() else {
            return true;
        };
        let watched = key(event, Some(message));
        let is_watched = repeats.contains_key(&watched) || repeats.len() < WATCHED_MAX;
        if is_watched && !count(&mut repeats, watched, BURST, message) {
            return false;
        }
        let other = format!("{message} (and others of its kind)");
        count(&mut repeats, key(event, None), PLACE_BURST, &other)
    }

    /// Says how many repeats were held back in windows that are over, and forgets those windows.
    fn say_expired(&self, out: &mut Writer<'_>) -> fmt::Result {
        say(out, expired(&self.repeats, false))
    }
}

/// Counts a line; whether it may be shown.
fn count(repeats: &mut HashMap<u64, Repeats>, key: u64, burst: u32, message: &str) -> bool {
    let entry = repeats.entry(key).or_insert_with(|| Repeats {
        since: Instant::now(),
        shown: 0,
        held: 0,
        message: message.to_owned(),
    });
    let admitted = entry.shown < burst;
    entry.shown += u32::from(admitted);
    entry.held += u64::from(!admitted);
    admitted
}

/// Takes out what was counted in windows that are over.
fn expired(repeats: &Mutex<HashMap<u64, Repeats>>, all: bool) -> Vec<Repeats> {
    let Ok(mut repeats) = repeats.lock() else {
        return Vec::new();
    };
    let over = repeats.extract_if(|_, entry| all || entry.since.elapsed() >= WINDOW);
    over.map(|(_, entry)| entry).collect()
}

fn say(out: &mut Writer<'_>, over: Vec<Repeats>) -> fmt::Result {
    for entry in over.into_iter().filter(|entry| entry.held > 0) {
        head(out, Level::WARN)?;
        writeln!(
            out,
            "{} more of these in the last window: {}",
            entry.held, entry.message
        )?;
    }
    Ok(())
}

/// Of a message, or of the place in the code that it comes from.
fn key(event: &Event<'_>, message: Option<&str>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    event.metadata().callsite().hash(&mut hasher);
    message.hash(&mut hasher);
    hasher.finish()
}

fn head(out: &mut Writer<'_>, level: Level) -> fmt::Result {
    let now = jiff::Timestamp::now();
    if !out.has_ansi_escapes() {
        return write!(out, "{now:.3} {level:>5} ");
    }
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    };
    write!(out, "\x1b[2m{now:.3}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m ")
}

/// Message and fields of one event, already safe.
#[derive(Debug, Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            push_safe(&mut self.message, &format!("{value:?}"));
            return;
        }
        self.fields.push(' ');
        self.fields.push_str(field.name());
        self.fields.push('=');
        push_safe(&mut self.fields, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut chain = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(chain, ": {error}");
            cause = error.source();
        }
        self.record_debug(field, &format_args!("{chain}"));
    }
}

/// Appends at most [`CHARS_MAX`] characters of `text`, everything that could move a cursor or a line escaped.
fn push_safe(out: &mut String, text: &str) {
    out.push_str(&safe(text, CHARS_MAX));
}

/// `text` cut at `max` characters, without anything that hides, moves a cursor or breaks a line.
pub fn safe(text: &str, max: usize) -> smol_str::SmolStr {
    text::clean_within(text.as_bytes(), max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn captured(act: impl FnOnce()) -> String {
        let lines = Captured::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .fmt_fields(House::default())
            .event_format(House::default())
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn hostile_values_stay_on_their_line_as_text() {
        let evil = "a\r\nb\u{1b}[2J\u{202e}c\u{85}\u{2028}";
        let out = captured(|| {
            let _span = tracing::info_span!("session", peer = evil).entered();
            tracing::warn!(user.name = evil, shown = %evil, "peer said {evil}");
        });
        assert_eq!(out.matches('\n').count(), 1, "{out:?}");
        assert!(text::is_clean(out.trim_end()), "{out:?}");
        assert!(out.contains("session{peer=a\\x0d\\x0ab"), "{out:?}");
    }

    #[test]
    fn a_level_variable_that_means_nothing_is_told() {
        for good in [
            "debug",
            "WARN",
            "trapline::delivery=debug",
            "info,hyper=off",
            "trapline",
        ] {
            assert_eq!(directives(OsStr::new(good)).as_deref(), Ok(good));
        }
        for bad in ["bogus", "", "info,bogus", "trapline=loud"] {
            let wrong = directives(OsStr::new(bad)).unwrap_err();
            assert!(wrong.contains(&format!("`{bad}`")), "{wrong}");
        }
        let raw = std::os::unix::ffi::OsStrExt::from_bytes(b"in\xfffo");
        assert!(directives(raw).is_err());
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(safe("aaaa", 3), "aa…");
        assert_eq!(safe("aaa", 3), "aaa");
    }

    #[test]
    fn repeats_beyond_the_burst_are_held_back() {
        let out = captured(|| {
            for _ in 0..100 {
                tracing::warn!("the same again");
            }
            tracing::warn!("another");
        });
        assert_eq!(out.matches("the same again").count(), BURST as usize);
        assert!(out.contains("another"));
    }

    #[test]
    fn a_flood_whose_words_differ_is_held_back_by_its_place_and_counted() {
        let house = House::default();
        let repeats = Arc::clone(&house.repeats);
        let lines = Captured::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .event_format(house)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..2_000 {
                tracing::warn!("peer {number} is odd");
            }
        });
        let shown = String::from_utf8(lines.0.lock().unwrap().clone())
            .unwrap()
            .lines()
            .count();
        assert_eq!(shown, PLACE_BURST as usize);
        let mut text = String::new();
        say(&mut Writer::new(&mut text), expired(&repeats, true)).unwrap();
        assert!(text.contains(" 1900 more of these"), "{text}");
        assert!(repeats.lock().unwrap().is_empty());
    }
}
