//! A profile as it is written in its file, before anything in it is held against what its sink wants.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::judge::Rule;
use crate::profile::AuthKind;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) doc: String,
    pub(crate) endpoint: String,
    pub(crate) auth: Vec<AuthKind>,
    #[serde(default)]
    pub(crate) header: String,
    #[serde(default)]
    pub(crate) token_path: String,
    #[serde(default)]
    pub(crate) says: Vec<String>,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) fields: FieldsText,
    #[serde(default)]
    pub(crate) words: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) each: BTreeMap<String, EachText>,
    #[serde(default)]
    pub(crate) answers: Vec<Rule>,
    pub(crate) steps: BTreeMap<String, Vec<CallText>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FieldsText {
    pub(crate) needs: Vec<String>,
    pub(crate) own: Vec<String>,
    pub(crate) defaults: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EachText {
    pub(crate) of: String,
    pub(crate) item: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallText {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<Value>,
    pub(crate) merge: Option<String>,
    pub(crate) when: Option<String>,
    pub(crate) must: Option<String>,
    #[serde(default)]
    pub(crate) ok: Vec<u16>,
    #[serde(default)]
    pub(crate) answers: Vec<Rule>,
    pub(crate) pick: Option<PickText>,
    #[serde(default)]
    pub(crate) take: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PickText {
    pub(crate) from: String,
    pub(crate) r#where: String,
}
