//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use trapline_schemas::text;

use super::place::{Origin, Place};

/// Whether a problem refuses the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It works, but perhaps not as meant.
    Warning,
}

/// One thing that is wrong: where, what was found, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What was found: a lower-case fragment, without secrets.
    pub found: String,
    /// What would be right; may be empty.
    pub allowed: String,
    /// What to do, such as "did you mean `x`?".
    pub hint: Option<String>,
    /// How much of its source line may be shown.
    pub visible: Visible,
}

/// How much of a source line may be shown: strings in it may be secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// All of it.
    Line,
    /// Strings only at the place itself.
    Place,
    /// No string, and not the place.
    Nothing,
}

impl Problem {
    /// An error.
    pub fn error(place: Place, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place,
            found: escaped(&without_user(&found.into())),
            allowed: escaped(&allowed.into()),
            hint: None,
            visible: Visible::Place,
        }
    }

    /// A warning.
    pub fn warning(place: Place, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, found, allowed)
        }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(escaped(&hint.into()));
        self
    }

    /// With `did you mean` the candidate nearest to `word`, if one is near.
    #[must_use]
    pub fn did_you_mean<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(near) = nearest(word, candidates) {
            return self.hint(format!("did you mean `{near}`?"));
        }
        self
    }

    /// With as much of its source line shown.
    #[must_use]
    pub fn show(mut self, visible: Visible) -> Self {
        self.visible = visible;
        self
    }

    /// For a terminal: message, place, the line with a caret, what is allowed, the hint. Strings outside the place
    /// are not shown, for they may be secrets.
    pub fn rich(&self, colour: bool) -> String {
        let (name, code) = match self.severity {
            Severity::Error => ("error", "31"),
            Severity::Warning => ("warning", "33"),
        };
        let paint = |text: &str, code: &str| match colour {
            true => format!("\x1b[1;{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let mut out = format!("{}: {}\n", paint(name, code), self.found);
        out += &format!("  --> {}\n", self.place.label());
        if let Some(snippet) = super::snippet::snippet(self, |caret| paint(caret, code)) {
            out += &snippet;
        }
        if !self.allowed.is_empty() {
            out += &format!("  allowed: {}\n", self.allowed);
        }
        if let Some(hint) = &self.hint {
            out += &format!("  {}: {hint}\n", paint("hint", "36"));
        }
        out
    }

    /// For programs.
    pub fn facts(&self) -> Facts<'_> {
        let position = self.place.position();
        let (file, variable) = match &self.place.origin {
            Origin::Text { source, .. } => (Some(source.name.as_str()), None),
            Origin::Variable(name) => (None, Some(name.as_str())),
            Origin::Default => (None, None),
        };
        Facts {
            severity: self.severity,
            file,
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            variable,
            key: &self.place.key,
            found: &self.found,
            allowed: &self.allowed,
            hint: self.hint.as_deref(),
        }
    }
}

/// Plain, for pipes and logs: `FILE:LINE:COLUMN: found; allowed: …`, the hint on its own line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place.label())?;
        if self.severity == Severity::Warning {
            write!(f, "warning: ")?;
        }
        write!(f, "{}", self.found)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A problem as JSON.
#[derive(Debug, Serialize)]
pub struct Facts<'a> {
    /// `error` or `warning`.
    pub severity: Severity,
    /// The file's name, if it stands in one.
    pub file: Option<&'a str>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The environment variable, if it stands in one.
    pub variable: Option<&'a str>,
    /// Dotted path of the key.
    pub key: &'a str,
    /// What was found.
    pub found: &'a str,
    /// What is allowed.
    pub allowed: &'a str,
    /// What to do.
    pub hint: Option<&'a str>,
}

/// The collector that a whole configuration shares; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Problems(Arc<Mutex<Vec<Problem>>>);

impl Problems {
    /// Adds one.
    pub fn push(&self, problem: Problem) {
        self.list().push(problem);
    }

    /// Whether any of them refuses the configuration.
    pub fn has_errors(&self) -> bool {
        self.list().iter().any(|p| p.severity == Severity::Error)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list().len()
    }

    /// Takes all, in the order of the text, those of variables and defaults last; each once.
    pub fn take(&self) -> Vec<Problem> {
        let mut all = std::mem::take(&mut *self.list());
        all.sort_by_cached_key(|p| (p.place.position().unwrap_or((usize::MAX, 0)), p.place.label()));
        all.dedup();
        all
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Problem>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The candidate nearest to `word` by edit distance, if at most a third of its letters differ; else the shortest that
/// begins with it. Case does not matter.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let bound = (length / 3).max(1).min(length.saturating_sub(1));
    let rank = |candidate: &'a str| {
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        let begins = length >= BEGINNING_LEAST && candidate.to_lowercase().starts_with(&word);
        (distance <= bound || begins).then_some((distance, candidate))
    };
    let near = candidates.into_iter().filter_map(rank).min();
    near.map(|(_, candidate)| candidate)
}

/// Fewest letters that may stand for a longer word.
const BEGINNING_LEAST: usize = 3;

/// `"a"`, `"b"` or `"c"`.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// `a, b, c`.
pub fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// A value for a message: at most 60 characters, what moves or hides escaped, user and password of a URL left out.
pub fn shown(text: &str) -> String {
    let text = without_user(text);
    let cut: String = text.chars().take(60).collect();
    let mut out = escaped(&cut);
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

/// A text in which whatever moves a cursor, turns a direction or hides is an escape.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match text::hidden(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// A text in which `scheme://user:password@` shows as `scheme://…@`.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#', ' ', '`', '"', '\'']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|host| host.rfind('@')) {
        Some(at) => format!("{scheme}://…{}", rest.get(at..).unwrap_or("")),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::place::SourceText;
    use super::*;

    /// Turns, hides, breaks and moves.
    const EVIL: &str = "a\u{202e}b\u{200b}\u{2028}\u{85}\u{1b}[2J\u{e0041}";

    #[test]
    fn a_word_in_other_case_or_without_its_end_is_recognised() {
        assert_eq!(nearest("SSH", ["ftp", "ssh"]), Some("ssh"));
        assert_eq!(nearest("splunk", ["syslog", "splunk_hec"]), Some("splunk_hec"));
        let looks = ["openssh-debian-12", "openssh-ubuntu-22.04"];
        assert_eq!(nearest("openssh-ubuntu", looks), Some("openssh-ubuntu-22.04"));
        assert_eq!(nearest("s", ["syslog"]), None);
        assert_eq!(nearest("kafka", ["syslog", "splunk_hec"]), None);
    }

    #[test]
    fn nothing_that_turns_hides_or_moves_comes_out_of_a_problem() {
        let line = format!("\"{EVIL}\" = 1");
        let source = Arc::new(SourceText {
            name: EVIL.into(),
            text: line.clone(),
        });
        let key = line.find(" =").unwrap();
        for span in [0..key, key + 1..key + 2] {
            let origin = Origin::Text {
                source: source.clone(),
                span,
            };
            let place = Place {
                origin,
                key: EVIL.into(),
            };
            let problem = Problem::error(place, EVIL, EVIL).did_you_mean(EVIL, [EVIL]);
            for visible in [Visible::Line, Visible::Place, Visible::Nothing] {
                let problem = problem.clone().show(visible);
                for text in [problem.rich(false), problem.to_string(), shown(EVIL)] {
                    assert!(text.lines().all(text::is_clean), "{text:?}");
                }
            }
        }
    }
}
