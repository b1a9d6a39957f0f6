//! What commands print: tables and colours on a terminal, plain lines in a pipe.

use std::io::{self, IsTerminal, StdoutLock, Write};

use comfy_table::{Cell, Table, presets};
use rustix::termios::tcgetwinsize;
use trapline_schemas::text::hidden;
use trapline_sink::config::{Problem, Severity};

use crate::config::ConfigError;
use crate::control::protocol::Reason;
use crate::control::status::Health;
use crate::telemetry;

/// Longest line of an error shown, in characters.
const ERROR_CHARS_MAX: usize = 8 * 1024;

/// A bar on standard error for a person who waits; nothing where nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    watched: bool,
}

impl Bar {
    /// In: `json`, whether the output is for a program.
    pub fn new(json: bool) -> Self {
        Self {
            watched: io::stderr().is_terminal() && !json,
        }
    }

    /// Whether a person watches.
    pub fn is_watched(self) -> bool {
        self.watched
    }

    /// Draws it over what stood there.
    pub fn draw(self, percent: u64, what: &str) -> io::Result<()> {
        if !self.watched {
            return Ok(());
        }
        let full = usize::try_from(percent).unwrap_or(0).min(100) * BAR / 100;
        let bar: String = (0..BAR).map(|at| if at < full { '█' } else { '░' }).collect();
        let mut stream = io::stderr().lock();
        write!(stream, "\r\x1b[K{bar} {percent:3} %, {what}")?;
        stream.flush()
    }

    /// Wipes it.
    pub fn clear(self) -> io::Result<()> {
        if self.watched {
            write!(io::stderr(), "\r\x1b[K")?;
        }
        Ok(())
    }
}

/// Signs of the bar.
const BAR: usize = 30;

/// Standard output. Writing to a closed pipe is an error that ends the command quietly.
pub struct Out {
    stream: io::BufWriter<StdoutLock<'static>>,
    terminal: bool,
    colours: bool,
}

impl Out {
    /// Takes standard output for the command.
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            stream: io::BufWriter::new(io::stdout().lock()),
            terminal,
            colours: telemetry::colours(terminal),
        }
    }

    /// Whether a person reads it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes one line.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.stream, "{line}")
    }

    /// Writes bytes and a line end.
    pub fn raw(&mut self, line: &[u8]) -> io::Result<()> {
        self.stream.write_all(line)?;
        self.stream.write_all(b"\n")
    }

    /// Writes `value` as JSON: indented on a terminal, one line in a pipe.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let text = if self.terminal {
            serde_json::to_string_pretty(value)?
        } else {
            serde_json::to_string(value)?
        };
        self.line(&plain_json(&text))
    }

    /// Writes `value` as JSON on one line.
    pub fn line_of_json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.line(&plain_json(&serde_json::to_string(value)?))
    }

    /// Columns of the terminal, if it is one. Asked each time: windows change.
    pub fn width(&self) -> Option<usize> {
        let size = tcgetwinsize(io::stdout()).ok().filter(|_| self.terminal)?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    }

    /// Writes rows under a head; columns are lined up by spaces, without lines. On a terminal they fit its width.
    pub fn table(&mut self, head: &[&str], mut rows: Vec<Vec<String>>) -> io::Result<()> {
        if let Some(width) = self.width() {
            shorten(head, &mut rows, width);
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(head.iter().map(Cell::new));
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// `text` in the colour of `health`, on a terminal.
    pub fn health(&self, health: Health, text: &str) -> String {
        let colour = match health {
            Health::Ok => 32,
            Health::Degraded => 33,
            Health::Failing => 31,
        };
        self.paint(colour, text)
    }

    /// `text` in bold, on a terminal.
    pub fn bold(&self, text: &str) -> String {
        self.paint(1, text)
    }

    fn paint(&self, code: u8, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The same JSON with what turns or hides as `\uNNNN`: outside its strings it has none of it but line ends.
fn plain_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match hidden(c) && c != '\n' {
            true => out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
            false => out.push(c),
        }
    }
    out
}

/// Text from a journal, a peer or a server, safe to print.
pub fn safe(text: &str) -> String {
    telemetry::safe(text, 512).into()
}

/// Columns between two cells.
const GAP: usize = 2;
/// Least that is worth showing of the last column, which holds remarks: below it is left out.
const REMARK_LEAST: usize = 16;

/// Cuts cells until every row fits into `width`: the last column first, then always the widest.
fn shorten(head: &[&str], rows: &mut [Vec<String>], width: usize) {
    let mut widths: Vec<_> = head.iter().map(|name| columns(name)).collect();
    for row in rows.iter() {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = columns(cell).max(*widest);
        }
    }
    let room = width.saturating_sub(GAP * widths.len().saturating_sub(1));
    if let Some((last, others)) = widths.split_last_mut() {
        let left = room.saturating_sub(others.iter().sum());
        if *last > left {
            *last = if left < REMARK_LEAST { 0 } else { left };
        }
    }
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > 1) else {
            break;
        };
        *widest -= 1;
    }
    for row in rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            *cell = cut(cell, *width);
        }
    }
}

/// Columns that a text takes. East Asian characters and emoji take two.
fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

const fn char_columns(c: char) -> usize {
    if c >= '\u{1100}' && c != CUT { 2 } else { 1 }
}

/// What stands where a text was cut.
const CUT: char = '…';

/// `text` in at most `width` columns, with a mark if it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = width;
    for c in text.chars() {
        // One column is kept for the mark.
        if char_columns(c) + 1 > left {
            break;
        }
        left -= char_columns(c);
        out.push(c);
    }
    if left > 0 {
        out.push(CUT);
    }
    out
}

/// What failed, as `--json` shows it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Failure {
    ok: bool,
    errors: Vec<Reason>,
    warnings: Vec<Reason>,
}

impl Failure {
    /// Of these parts.
    pub fn new(errors: Vec<Reason>, warnings: Vec<Reason>) -> Self {
        Self {
            ok: false,
            errors,
            warnings,
        }
    }

    /// Shows it: as JSON on standard output, else on standard error.
    pub fn show(&self, json: bool) -> io::Result<()> {
        if json {
            let mut out = Out::new();
            out.json(self)?;
            return out.flush();
        }
        for reason in &self.warnings {
            say(warning, reason);
        }
        for reason in &self.errors {
            say(error, reason);
        }
        Ok(())
    }
}

impl From<&ConfigError> for Failure {
    fn from(wrong: &ConfigError) -> Self {
        let (errors, warnings): (Vec<_>, Vec<_>) = wrong
            .problems
            .iter()
            .partition(|problem| problem.severity == Severity::Error);
        let reasons = |problems: Vec<&Problem>| problems.into_iter().map(Reason::from).collect();
        Self::new(reasons(errors), reasons(warnings))
    }
}

/// Says one reason, and its hint below.
pub fn say(label: fn(&str), reason: &Reason) {
    label(&reason.to_string());
    if let Some(text) = &reason.hint {
        hint(text);
    }
}

/// Shows on standard error all that is wrong with a configuration: with its lines on a terminal, else a line each.
pub fn problems(wrong: &ConfigError) {
    let mut stream = io::stderr().lock();
    let colours = telemetry::colours(stream.is_terminal());
    let text = if stream.is_terminal() {
        wrong.rich(colours)
    } else {
        wrong.to_string()
    };
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(stream, "{}", text.trim_end());
}

/// Says on standard error what failed.
pub fn error(text: &str) {
    labelled("error", 31, text);
}

/// Says on standard error what to look at.
pub fn warning(text: &str) {
    labelled("warning", 33, text);
}

/// Says on standard error what to do.
pub fn hint(text: &str) {
    labelled("hint", 36, text);
}

fn labelled(label: &str, colour: u8, text: &str) {
    let mut stream = io::stderr().lock();
    let painted = telemetry::colours(stream.is_terminal());
    for (number, line) in text.lines().enumerate() {
        let line = telemetry::safe(line, ERROR_CHARS_MAX);
        // Nobody is left to tell if standard error is closed.
        let _ = match (number, painted) {
            (0, true) => writeln!(stream, "\x1b[1;{colour}m{label}:\x1b[0m {line}"),
            (0, false) => writeln!(stream, "{label}: {line}"),
            _ => writeln!(stream, "{line}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_its_columns_with_a_mark() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("ab", 0), "");
    }

    #[test]
    fn rows_fit_the_width_by_their_remarks_first_and_then_by_the_widest() {
        let head = ["SINK", "TYPE", ""];
        let rows = || vec![vec!["archive".to_owned(), "splunk_hec".to_owned(), "r".repeat(90)]];
        let fitted = |width| {
            let mut rows = rows();
            shorten(&head, &mut rows, width);
            rows.remove(0)
        };
        assert_eq!(fitted(200), rows()[0]);
        let at_80 = fitted(80);
        assert_eq!(at_80[..2], rows()[0][..2]);
        assert_eq!(columns(&at_80[2]), 80 - 7 - 10 - 4);
        assert_eq!(fitted(30), ["archive", "splunk_hec", ""]);
        let tiny = fitted(16);
        assert_eq!((tiny[0].as_str(), tiny[1].as_str()), ("archi…", "splun…"));
    }

    #[test]
    fn json_hides_nothing_and_means_the_same() {
        let value = serde_json::json!({"a": "\u{202e}b\u{7f}\u{e0041}\n\u{85}", "c": ["d"]});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let plain = plain_json(&text);
            assert!(plain.lines().all(trapline_schemas::text::is_clean), "{plain:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).unwrap(), value);
        }
    }
}
