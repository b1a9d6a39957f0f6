//! What commands print: tables and colours on a terminal, plain lines in a pipe.

use std::io::{self, IsTerminal, StdoutLock, Write};

use comfy_table::{Cell, Table, presets};
use trapline_schemas::text::hidden;
use trapline_sink::config::{Problem, Severity};

use crate::config::ConfigError;
use crate::control::protocol::Reason;
use crate::control::status::Health;
use crate::telemetry;

/// Longest line of an error shown, in characters.
const ERROR_CHARS_MAX: usize = 8 * 1024;

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

    /// Writes rows under a head; columns are lined up by spaces, without lines.
    pub fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
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
    fn json_hides_nothing_and_means_the_same() {
        let value = serde_json::json!({"a": "\u{202e}b\u{7f}\u{e0041}\n\u{85}", "c": ["d"]});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let plain = plain_json(&text);
            assert!(plain.lines().all(trapline_schemas::text::is_clean), "{plain:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&plain).unwrap(), value);
        }
    }
}
