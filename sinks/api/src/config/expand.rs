//! `${VARIABLE}` in parsed string values.

use super::outside::Outside;

/// A string value with its variables filled in.
pub(super) struct Expanded {
    /// The text.
    pub text: String,
    /// Whether a variable was filled in: then the text must not be shown.
    pub filled: bool,
}

/// Why a string value could not be filled in.
pub(super) struct Unfilled {
    /// Byte offset of the `$` in the value.
    pub at: usize,
    /// What was found.
    pub found: String,
}

/// Fills in `${VARIABLE}`; `$${` stands for `${`. Values are not looked at again.
pub(super) fn expand(text: &str, outside: &dyn Outside) -> Result<Expanded, Unfilled> {
    let mut out = Expanded {
        text: String::with_capacity(text.len()),
        filled: false,
    };
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
        let dollar = at + found;
        let before = text.get(at..dollar).unwrap_or("");
        if let Some(before) = before.strip_suffix('$') {
            out.text += before;
            out.text += "${";
            at = dollar + 2;
            continue;
        }
        out.text += before;
        let (value, end) = fill(text, dollar, outside)?;
        out.text += &value;
        out.filled = true;
        at = end;
    }
    out.text += text.get(at..).unwrap_or("");
    Ok(out)
}

/// The value of the variable at `dollar`, and where its `}` ends.
fn fill(text: &str, dollar: usize, outside: &dyn Outside) -> Result<(String, usize), Unfilled> {
    let wrong = |found: String| Unfilled { at: dollar, found };
    let rest = text.get(dollar + 2..).unwrap_or("");
    let length = rest.find('}').ok_or_else(|| wrong("`${` without `}`".into()))?;
    let name = rest.get(..length).unwrap_or("");
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err(wrong(format!(
            "`{}` is not the name of a variable",
            super::problem::shown(name)
        )));
    }
    match outside.variable(name) {
        Some(value) => Ok((value, dollar + 2 + length + 1)),
        None if outside.not_utf8().iter().any(|other| other == name) => Err(wrong(format!(
            "the value of environment variable `{name}` is not UTF-8"
        ))),
        None => Err(wrong(format!("environment variable `{name}` is not set"))),
    }
}
