//! A form: `application/x-www-form-urlencoded`.

use crate::{Line, Mistake, Names, RenderError, Scope, percent};

/// A form whose names are literal and whose values are templates.
#[derive(Debug)]
pub struct Form(Vec<(String, Line)>);

impl Form {
    /// Reads names and templates. Errors: every mistake, each with its field's name.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, names: &Names) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut lines = Vec::new();
        for (name, text) in fields {
            match Line::parse(name, text, names) {
                Ok(line) => lines.push((name.to_owned(), line)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() {
            Ok(Self(lines))
        } else {
            Err(mistakes)
        }
    }

    /// The form for some values; a field whose value is not there is left out.
    pub fn render(&self, scope: &Scope) -> Result<String, RenderError> {
        let mut out = String::new();
        for (name, line) in &self.0 {
            let Some(value) = line.render(scope)? else { continue };
            if !out.is_empty() {
                out.push('&');
            }
            percent::encode(name, &mut out);
            out.push('=');
            percent::encode(&value, &mut out);
            if out.len() > crate::BYTES_MAX {
                let place = name.clone();
                return Err(RenderError::TooLarge { place });
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn form(values: serde_json::Value) -> String {
        let fields = [("tags", "{{ a }}"), ("a b", "x={{ b }}"), ("fixed", "1")];
        let form = Form::new(fields, &Names::new(["a", "b"])).unwrap();
        form.render(&Scope::from(&values)).unwrap()
    }

    #[test]
    fn names_and_values_are_encoded_and_what_is_not_there_is_left_out() {
        assert_eq!(form(json!({"b": "&y=é"})), "a%20b=x%3D%26y%3D%C3%A9&fixed=1");
        let mistakes = Form::new([("a", "{{ x }}"), ("b", "{{ y")], &Names::default()).unwrap_err();
        assert_eq!(
            mistakes
                .iter()
                .map(|mistake| mistake.place.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_one_field_and_comes_back(text in any::<String>()) {
            let sent = form(json!({"a": text, "b": "x"}));
            let fields: Vec<_> = sent.split('&').map(|field| field.split_once('=').unwrap()).collect();
            prop_assert_eq!(fields.len(), 3);
            prop_assert_eq!(percent::decode(fields[0].1).unwrap(), text);
        }
    }
}
