//! A line on the screen: columns, colours, width.

use rustix::termios::tcgetwinsize;
use trapline_schemas::text::clean_within;
use trapline_schemas::{Action, Event, Field, Timestamp};

/// Column widths at the start, and the most they grow to so that later lines stay aligned.
const SOURCE_WIDTH: (usize, usize) = (17, 42);
const DECOY_WIDTH: (usize, usize) = (16, 24);
const SERVICE_WIDTH: (usize, usize) = (6, 12);
/// Longest line where there is no width: a pipe or a file.
const CHARS_MAX: usize = 1000;

/// How far it went; the order is that of alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Trapline speaking of itself.
    Health,
    /// A handshake or a datagram.
    Contact,
    /// Spoke the protocol with purpose.
    Intent,
    /// Credentials, commands, exploit.
    Proof,
    /// Something of ours failed.
    Failure,
}

impl Level {
    /// The level of an event; without one it is about trapline.
    pub(crate) fn of(event: &Event) -> Self {
        match event.text(Field::TouchLevel).map(|level| level.as_str()) {
            Some("contact") => Self::Contact,
            Some("intent") => Self::Intent,
            Some("proof") => Self::Proof,
            _ if event.ip(Field::SourceIp).is_some() => Self::Contact,
            _ => match event.action {
                Action::SinkFailed
                | Action::ListenerFailed
                | Action::ConfigRefused
                | Action::JournalGap
                | Action::ChainBreak => Self::Failure,
                _ => Self::Health,
            },
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Contact => "contact",
            Self::Intent => "intent",
            Self::Proof => "proof",
            Self::Failure => "failure",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Health => "\x1b[2m",
            Self::Contact => "\x1b[36m",
            Self::Intent => "\x1b[33m",
            Self::Proof => "\x1b[1;31m",
            Self::Failure => "\x1b[35m",
        }
    }
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) level: Level,
    pub(crate) source: String,
    pub(crate) decoy: String,
    pub(crate) service: String,
    pub(crate) text: String,
}

/// Where lines go, and what it can show.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    colour: bool,
    zone: jiff::tz::TimeZone,
    source: usize,
    decoy: usize,
    service: usize,
    begun: bool,
}

impl Screen {
    /// A terminal is coloured unless `no_color`, and lines are cut to its width; a pipe gets plain whole lines.
    pub(crate) fn of(terminal: bool, no_color: bool) -> Self {
        Self {
            terminal,
            colour: terminal && !no_color,
            zone: jiff::tz::TimeZone::system(),
            source: SOURCE_WIDTH.0,
            decoy: DECOY_WIDTH.0,
            service: SERVICE_WIDTH.0,
            begun: false,
        }
    }

    /// Appends the line and its end to `out`; a terminal's first line has a heading above it.
    pub(crate) fn put(&mut self, line: &Line, out: &mut String) {
        self.widen(line);
        let width = self.width();
        if self.terminal && !std::mem::replace(&mut self.begun, true) {
            let head = self.columns("time", "level", "source", "decoy", "speaks", "what it did");
            self.paint(out, "\x1b[2m", &fit(&head, width));
            out.push('\n');
        }
        let time = jiff::Timestamp::from_microsecond(line.at.micros()).unwrap_or_default();
        let time = time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string();
        let word = line.level.word();
        let whole = match line.source.is_empty() {
            // Trapline's own words need no columns.
            true => format!("{time:<8}  {word:<7}  {}", line.text),
            false => self.columns(&time, word, &line.source, &line.decoy, &line.service, &line.text),
        };
        let whole = fit(&clean_within(whole.as_bytes(), CHARS_MAX), width);
        let (before, rest) = whole.split_at_checked(time.len() + 2).unwrap_or(("", &whole));
        let (level, after) = rest.split_at_checked(word.len()).unwrap_or(("", rest));
        self.paint(out, "\x1b[2m", before);
        self.paint(out, line.level.colour(), level);
        out.push_str(after);
        out.push('\n');
    }

    fn columns(&self, time: &str, level: &str, source: &str, decoy: &str, service: &str, text: &str) -> String {
        format!(
            "{time:<8}  {level:<7}  {source:<a$}  {decoy:<b$}  {service:<c$}  {text}",
            a = self.source,
            b = self.decoy,
            c = self.service
        )
    }

    fn widen(&mut self, line: &Line) {
        let grown = |now: usize, text: &str, most: usize| now.max(text.chars().count().min(most));
        self.source = grown(self.source, &line.source, SOURCE_WIDTH.1);
        self.decoy = grown(self.decoy, &line.decoy, DECOY_WIDTH.1);
        self.service = grown(self.service, &line.service, SERVICE_WIDTH.1);
    }

    fn paint(&self, out: &mut String, colour: &str, text: &str) {
        match self.colour && !text.is_empty() {
            true => out.extend([colour, text, "\x1b[0m"]),
            false => out.push_str(text),
        }
    }

    /// Asked before each line: windows change.
    fn width(&self) -> Option<usize> {
        if !self.terminal {
            return None;
        }
        tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|width| *width > 0)
    }
}

/// Cuts to `width` columns, with a mark. East Asian characters and emoji count as two.
fn fit(line: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return line.to_owned() };
    let mut used = 0;
    for (at, ch) in line.char_indices() {
        let wide = if ch >= '\u{1100}' && ch != '…' { 2 } else { 1 };
        let last = at + ch.len_utf8() == line.len();
        if used + wide + usize::from(!last) > width {
            let mut cut = line.get(..at).unwrap_or_default().to_owned();
            cut.push('…');
            return cut;
        }
        used += wide;
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
            at: Timestamp::from_micros(0),
            level: Level::Proof,
            source: "203.0.113.77".to_owned(),
            decoy: "ssh :2222".to_owned(),
            service: "ssh".to_owned(),
            text: text.to_owned(),
        }
    }

    fn put(screen: &mut Screen, line: &Line) -> String {
        let mut out = String::new();
        screen.put(line, &mut out);
        out
    }

    #[test]
    fn columns_stay_aligned_after_a_longer_address() {
        let mut screen = Screen::of(false, false);
        let mut long = line("second");
        long.source = "2001:db8:1234:5678::77 (inside)".to_owned();
        put(&mut screen, &line("first"));
        let (second, third) = (put(&mut screen, &long), put(&mut screen, &line("third!")));
        assert_eq!(second.find("second"), third.find("third!"));
    }

    #[test]
    fn what_trapline_says_of_itself_has_no_empty_columns() {
        let mut screen = Screen::of(false, false);
        screen.zone = jiff::tz::TimeZone::UTC;
        let line = Line {
            level: Level::Failure,
            source: String::new(),
            decoy: String::new(),
            ..line("a sink failed")
        };
        assert_eq!(put(&mut screen, &line), "00:00:00  failure  a sink failed\n");
    }

    #[test]
    fn a_pipe_gets_no_colour_and_a_terminal_does_unless_told_not_to() {
        assert!(!put(&mut Screen::of(false, false), &line("x")).contains('\x1b'));
        assert!(put(&mut Screen::of(true, false), &line("x")).contains("\x1b[1;31mproof\x1b[0m"));
        assert!(!put(&mut Screen::of(true, true), &line("x")).contains('\x1b'));
    }

    #[test]
    fn nothing_that_a_peer_sent_moves_the_cursor() {
        let hostile = "a\x1b]0;owned\x07\r\n\u{202e}b\u{200b}\u{2028}c\u{85}";
        let shown = put(&mut Screen::of(false, false), &line(hostile));
        assert!(
            !shown
                .trim_end_matches('\n')
                .chars()
                .any(|ch| ch.is_control() || trapline_schemas::text::hidden(ch))
        );
        assert_eq!(shown.lines().count(), 1);
    }

    #[test]
    fn a_line_is_cut_to_the_width_with_a_mark() {
        assert_eq!(fit("abcdef", Some(6)), "abcdef");
        assert_eq!(fit("abcdefg", Some(6)), "abcde…");
        assert_eq!(fit("日本語", Some(5)), "日本…");
        assert_eq!(fit("abcdefg", None), "abcdefg");
    }
}
