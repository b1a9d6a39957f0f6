//! One call of a step: what goes out, and what is taken from the answer.

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::{Map, Value};
use trapline_template::{Body, Condition, Line, RenderError, Scope, Target, Where};

use crate::judge::{Failed, Rule};
use crate::remote::Remote;

/// Longest list that is looked through for `pick`.
const PICK_MAX: usize = 1000;

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: Vec<(HeaderName, Line)>,
    pub(crate) body: Option<Body>,
    /// Where in the body the user's other fields go.
    pub(crate) merge: Option<String>,
    pub(crate) when: Option<Condition>,
    /// What an answer that means something has.
    pub(crate) must: Option<Condition>,
    pub(crate) ok: Vec<u16>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) pick: Option<Pick>,
    pub(crate) take: Vec<(String, Body)>,
}

/// The first element of a list that fits.
#[derive(Debug)]
pub(crate) struct Pick {
    pub(crate) from: Body,
    pub(crate) fits: Condition,
}

/// A request, rendered.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) place: Where,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Option<Value>,
}

impl Call {
    /// Whether it is due.
    pub(crate) fn applies(&self, scope: &Scope) -> Result<bool, RenderError> {
        self.when.as_ref().map_or(Ok(true), |when| when.holds(scope))
    }

    /// The request for these values. In: `others`, the fields to lay over the body.
    pub(crate) fn render(&self, scope: &Scope, others: &Map<String, Value>) -> Result<Rendered, RenderError> {
        let mut body = self.body.as_ref().map(|body| body.render(scope)).transpose()?;
        if let (Some(body), Some(at)) = (&mut body, &self.merge)
            && let Some(Value::Object(place)) = body.pointer_mut(at)
        {
            others.iter().for_each(|(name, value)| lay_over(place, name, value));
        }
        let mut headers = Vec::new();
        for (name, line) in &self.headers {
            headers.extend(line.render_header(scope)?.map(|value| (name.clone(), value)));
        }
        Ok(Rendered {
            place: self.target.render(scope)?,
            headers,
            body,
        })
    }

    /// Takes from an answer what the profile names. Errors: something that is no short value.
    pub(crate) fn take(&self, scope: &Scope, answer: &Value, remote: &mut Remote) -> Result<(), Failed> {
        let scope = scope.and("answer", answer);
        let scope = match &self.pick {
            Some(pick) => scope.and("picked", &pick.first(&scope)),
            None => scope,
        };
        for (name, body) in &self.take {
            // A part of an answer that is not as it was described is not there.
            let value = body.render(&scope).unwrap_or(Value::Null);
            // An empty text is how some say that a field is not set.
            let value = if value == "" { Value::Null } else { value };
            if !remote.set(name, value) {
                return Err(Failed::server(format!(
                    "the answer's `{name}` is no short text of one line"
                )));
            }
        }
        Ok(())
    }

    /// Whether an answer is one to this call: a proxy's page may be good JSON too.
    pub(crate) fn makes_sense(&self, scope: &Scope, answer: &Value) -> bool {
        let holds = |must: &Condition| must.holds(&scope.and("answer", answer)).unwrap_or(false);
        self.must.as_ref().is_none_or(holds)
    }

    /// Whether something is to be read from the answer.
    pub(crate) fn reads(&self) -> bool {
        !self.take.is_empty()
    }
}

impl Pick {
    /// The first element that fits; nothing if none does.
    fn first(&self, scope: &Scope) -> Value {
        let list = self.from.render(scope).unwrap_or(Value::Null);
        let items = list.as_array().into_iter().flatten().take(PICK_MAX);
        let fits = |item: &&Value| self.fits.holds(&scope.and("item", item)).unwrap_or(false);
        items.into_iter().find(fits).cloned().unwrap_or(Value::Null)
    }
}

/// Sets a field; of two objects the entries are laid over each other.
fn lay_over(place: &mut Map<String, Value>, name: &str, value: &Value) {
    match (place.get_mut(name), value) {
        (Some(Value::Object(there)), Value::Object(entries)) => {
            entries.iter().for_each(|(name, value)| lay_over(there, name, value));
        }
        _ => drop(place.insert(name.to_owned(), value.clone())),
    }
}
