//! A configuration that is refused.

use std::fmt;
use std::path::PathBuf;

use trapline_sink::config::{Problem, Severity};

use super::sinks::SinkSettings;

/// Everything that is wrong with a configuration, errors and warnings, in the order of the text.
#[derive(Debug, Clone)]
pub struct ConfigError {
    /// At least one of them is an error.
    pub problems: Vec<Problem>,
    /// The state folder as far as it can be told, so that a running instance is reachable while its file is wrong.
    pub state_dir: PathBuf,
    /// The journal's file, if what says where it is is right, whatever else is wrong.
    pub journal: Option<PathBuf>,
    /// The sinks as far as they could be read, so that what they need beyond the text can be looked at as well.
    pub sinks: Vec<SinkSettings>,
}

impl ConfigError {
    /// For a terminal: each with its line and a caret, then the count.
    pub fn rich(&self, colour: bool) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            out += &problem.rich(colour);
            out.push('\n');
        }
        out + &self.summary()
    }

    /// What refuses it: without the warnings.
    pub fn mistakes(&self) -> impl Iterator<Item = &Problem> {
        self.problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
    }

    fn summary(&self) -> String {
        let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        match (count(Severity::Error), count(Severity::Warning)) {
            (errors, 0) => plural(errors, "configuration error"),
            (errors, warnings) => {
                let errors = plural(errors, "configuration error");
                format!("{errors}, {}", plural(warnings, "warning"))
            }
        }
    }
}

/// Plain, for pipes and logs: one problem a line, hints below, then the count.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        f.write_str(&self.summary())
    }
}

impl std::error::Error for ConfigError {}
