//! Holding a JSON body against a documented form.

use serde_json::Value;

/// What was found wrong.
#[derive(Debug, Default)]
pub struct Checked {
    pub wrong: Vec<String>,
}

impl Checked {
    pub fn that(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.wrong.push(what.into());
        }
    }

    /// Has these keys and perhaps those, and no others.
    pub fn keys(&mut self, body: &Value, must: &[&str], may: &[&str]) {
        let Some(entries) = body.as_object() else {
            return self.wrong.push(format!("no object: {body}"));
        };
        for key in must {
            self.that(entries.contains_key(*key), format!("`{key}` is missing"));
        }
        for key in entries.keys() {
            let known = must.contains(&key.as_str()) || may.contains(&key.as_str());
            self.that(known, format!("`{key}` is unknown"));
        }
    }

    /// A text of 1 to `max` characters.
    pub fn text(&mut self, body: &Value, key: &str, max: usize) {
        let length = body[key].as_str().map(|text| text.chars().count());
        let fits = length.is_some_and(|length| (1..=max).contains(&length));
        self.that(fits, format!("`{key}` is no text of 1..={max}: {}", body[key]));
    }

    pub fn integer(&mut self, body: &Value, key: &str, within: std::ops::RangeInclusive<i64>) {
        let fits = body[key].as_i64().is_some_and(|number| within.contains(&number));
        self.that(fits, format!("`{key}` is no number in {within:?}: {}", body[key]));
    }

    /// A list of texts, none of them empty.
    pub fn texts(&mut self, body: &Value, key: &str) {
        let fits = body[key].as_array().is_some_and(|items| {
            items
                .iter()
                .all(|item| item.as_str().is_some_and(|text| !text.is_empty()))
        });
        self.that(fits, format!("`{key}` is no list of texts: {}", body[key]));
    }

    /// One of some texts.
    pub fn choice(&mut self, body: &Value, key: &str, words: &[&str]) {
        let fits = body[key].as_str().is_some_and(|word| words.contains(&word));
        self.that(fits, format!("`{key}` is none of {words:?}: {}", body[key]));
    }
}
