//! A vendor's profile, as it was read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use trapline_template::{Body, Scope};

use crate::call::Call;
use crate::judge::Rule;

/// How one logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// User and password, or user and token.
    Basic,
    /// The token in a header of the vendor's.
    Header,
    /// OAuth 2.0, client credentials (RFC 6749 section 4.4).
    OAuth2,
}

/// What a sink wants of a profile.
#[derive(Debug, Clone, Copy)]
pub struct Wants<'a> {
    /// The values that it gives to templates.
    pub names: &'a [&'a str],
    /// Steps that there must be.
    pub needed: &'a [&'a str],
    /// Steps that there may be besides.
    pub optional: &'a [&'a str],
    /// What a step must take from an answer: without it the sink could not go on.
    pub takes: &'a [(&'a str, &'a str)],
    /// The sink's own keys of a profile, in the table `settings`.
    pub settings: &'a [&'a str],
}

/// A list for templates, made of another.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) name: String,
    pub(crate) of: String,
    pub(crate) item: Body,
}

/// A profile that is right.
#[derive(Debug)]
pub struct Profile {
    /// Its file's name without `.toml`.
    pub name: String,
    /// What it is, in a line.
    pub doc: String,
    /// What an endpoint looks like.
    pub endpoint: String,
    /// How one can log in.
    pub auth: Vec<AuthKind>,
    /// The header for [`AuthKind::Header`].
    pub header: Option<reqwest::header::HeaderName>,
    /// Where tokens are given out for [`AuthKind::OAuth2`], below the endpoint.
    pub token_path: Option<String>,
    /// Fields that the user must give.
    pub needs: Vec<String>,
    /// The sink's own keys.
    pub settings: BTreeMap<String, String>,
    pub(crate) own: Vec<String>,
    pub(crate) defaults: Map<String, Value>,
    pub(crate) words: Value,
    pub(crate) says: Vec<Body>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) each: Vec<Each>,
    pub(crate) steps: BTreeMap<String, Vec<Call>>,
}

impl Profile {
    /// Whether there is such a step.
    pub fn has(&self, step: &str) -> bool {
        self.steps.contains_key(step)
    }

    /// Names in the user's fields that are needed and not there.
    pub fn missing<'p>(&'p self, fields: &Map<String, Value>) -> Vec<&'p str> {
        let has = |name: &str| fields.contains_key(name) || self.defaults.contains_key(name);
        self.needs
            .iter()
            .map(String::as_str)
            .filter(|name| !has(name))
            .collect()
    }

    /// The user's fields over the defaults.
    pub(crate) fn fields(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let mut all = self.defaults.clone();
        all.extend(fields.clone());
        all
    }

    /// Those of the fields that no template places.
    pub(crate) fn others(&self, fields: &Map<String, Value>) -> Map<String, Value> {
        let others = fields.iter().filter(|(name, _)| !self.own.contains(name));
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The values that templates see, besides what a call adds.
    pub(crate) fn scope(
        &self,
        values: &Value,
        fields: &Map<String, Value>,
    ) -> Result<Scope, trapline_template::RenderError> {
        let mut scope = Scope::from(values).and("fields", &Value::Object(fields.clone()));
        scope = scope.and("words", &self.words);
        for each in &self.each {
            let items = values.get(&each.of).and_then(Value::as_array);
            let made = items
                .into_iter()
                .flatten()
                .map(|item| each.item.render(&scope.and("item", item)));
            let made = made.collect::<Result<Vec<_>, _>>()?;
            scope = scope.and(&each.name, &Value::Array(made));
        }
        Ok(scope)
    }
}
