//! What is wrong with a voice's file, and where.

use std::fmt;

use crate::safe;

/// One mistake of a file: where, what was found, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, or the name of the one in the program.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was found.
    pub found: String,
    /// What would be right.
    pub allowed: String,
}

impl Mistake {
    /// A mistake at a byte of a text.
    pub(super) fn at(origin: &str, text: &str, offset: usize, found: &str, allowed: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self {
            origin: origin.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            found: safe::line(found, FOUND_CHARS_MAX),
            allowed: allowed.to_owned(),
        }
    }
}

impl Mistake {
    /// `FILE:LINE:COLUMN: what was found`.
    pub(crate) fn place_and_found(&self) -> String {
        let Self {
            origin,
            line,
            column,
            found,
            ..
        } = self;
        format!("{origin}:{line}:{column}: {found}")
    }
}

/// Longest text on what was found, in characters: a part of it is the file's own.
const FOUND_CHARS_MAX: usize = 300;

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; allowed: {}", self.place_and_found(), self.allowed)
    }
}
