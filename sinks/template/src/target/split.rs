//! Taking a path and a query apart, once, when a template is read: what a value brings later is not looked at.

use super::{Parameter, Target, is_dots};
use crate::Mistake;
use crate::engine::{Leaf, Part};

/// Takes a template's literals apart at `/`, `?`, `&` and `=`.
pub(super) struct Splitter<'t> {
    text: &'t str,
    segments: Vec<Vec<Part>>,
    parameters: Option<Vec<Parameter>>,
}

impl<'t> Splitter<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            segments: vec![Vec::new()],
            parameters: None,
        }
    }

    pub(super) fn split(mut self, leaf: Leaf) -> Result<Target, Mistake> {
        for part in leaf.into_parts() {
            match part {
                Part::Literal(literal) => literal.chars().try_for_each(|ch| self.sign(ch))?,
                expression => self.expression(expression)?,
            }
        }
        let last = self.segments.len() - 1;
        for (at, segment) in self.segments.iter().enumerate() {
            self.good(segment, at == last)?;
        }
        Ok(Target {
            segments: self.segments,
            parameters: self.parameters.unwrap_or_default(),
        })
    }

    fn sign(&mut self, ch: char) -> Result<(), Mistake> {
        match (&mut self.parameters, ch) {
            (None, '/') => self.segments.push(Vec::new()),
            (None, '?') => self.parameters = Some(vec![Parameter::new()]),
            (Some(parameters), '&') => parameters.push(Parameter::new()),
            (Some(parameters), '=') if parameters.last().is_some_and(|last| last.value.is_none()) => {
                parameters
                    .iter_mut()
                    .next_back()
                    .into_iter()
                    .for_each(|last| last.value = Some(Vec::new()));
            }
            (parameters, ch) if is_url_sign(ch) => match parameters.as_mut().and_then(|all| all.last_mut()) {
                None => push(self.segments.last_mut(), ch),
                Some(Parameter { value: None, name }) => name.push(ch),
                Some(Parameter { value, .. }) => push(value.as_mut(), ch),
            },
            _ => {
                let offset = self.text.find(ch).unwrap_or(0);
                let found = format!("`{ch}`");
                let allowed = "signs of a URL; others percent-encoded, as `%20`";
                return Err(Mistake::new("path", self.text, offset, &found, allowed));
            }
        }
        Ok(())
    }

    fn expression(&mut self, expression: Part) -> Result<(), Mistake> {
        let place = match self.parameters.as_mut().and_then(|all| all.last_mut()) {
            None => self.segments.last_mut(),
            Some(parameter) => parameter.value.as_mut(),
        };
        match place {
            Some(parts) => parts.push(expression),
            None => {
                let offset = self.text.find('?').unwrap_or(0);
                let allowed = "literal names: `?name={{ value }}`";
                return Err(Mistake::new(
                    "query",
                    self.text,
                    offset,
                    "an expression in a parameter's name",
                    allowed,
                ));
            }
        }
        Ok(())
    }

    /// A path may end in `/`; otherwise none of its segments is empty.
    fn good(&self, segment: &[Part], is_last: bool) -> Result<(), Mistake> {
        let found = match segment {
            [] if !is_last => "an empty segment",
            [Part::Literal(literal)] if is_dots(literal) => "`.` or `..`",
            _ => return Ok(()),
        };
        Err(Mistake::new("path", self.text, 0, found, "a path without these"))
    }
}

impl Parameter {
    fn new() -> Self {
        Self {
            name: String::new(),
            value: None,
        }
    }
}

fn push(parts: Option<&mut Vec<Part>>, ch: char) {
    let Some(parts) = parts else { return };
    match parts.last_mut() {
        Some(Part::Literal(literal)) => literal.push(ch),
        _ => parts.push(Part::Literal(ch.into())),
    }
}

/// Signs that stand in a path or a query as they are (RFC 3986 section 3.3 and 3.4), and the percent sign.
fn is_url_sign(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%/?".contains(ch)
}
