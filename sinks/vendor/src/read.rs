//! Reading a profile: a TOML file, held against what its sink wants.

use std::collections::BTreeSet;
use std::fmt;

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;
use trapline_template::{Body, Condition, Line, Mistake, Names, Target};

use crate::call::{Call, Pick};
use crate::file::{CallText, EachText, File, PickText};
use crate::profile::{AuthKind, Each, Profile, Wants};

/// Most calls of a step.
const CALLS_MAX: usize = 8;
/// What a call adds to the values of a sink.
const OWN_NAMES: &[&str] = &["fields", "words", "remote", "answer", "picked", "item"];

/// What is wrong with a profile: where, what was found, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// File, and where in it; may be empty.
    pub place: String,
    /// What was found there.
    pub found: String,
    /// What would be right.
    pub allowed: String,
}

impl ProfileError {
    pub(crate) fn new(origin: &str, place: &str, found: &str, allowed: &str) -> Self {
        let gap = if origin.is_empty() || place.is_empty() {
            ""
        } else {
            ": "
        };
        Self {
            place: format!("{origin}{gap}{place}"),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        }
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.place.is_empty() { "" } else { ": " };
        write!(f, "{}{gap}{}; allowed: {}", self.place, self.found, self.allowed)
    }
}

impl std::error::Error for ProfileError {}

/// Reads a profile; `origin` names it. Errors: everything that is wrong; of TOML the first mistake.
pub(crate) fn read(name: &str, origin: &str, text: &str, wants: &Wants<'_>) -> Result<Profile, Vec<ProfileError>> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text.get(..span.start).unwrap_or(text).matches('\n').count() + 1
        });
        vec![ProfileError::new(
            origin,
            &format!("line {line}"),
            error.message(),
            "a profile, see thehive.toml",
        )]
    })?;
    let mut reader = Reader::new(origin, &file, wants);
    let profile = reader.profile(name, file, wants);
    match reader.wrong.is_empty() {
        true => Ok(profile),
        false => Err(reader.wrong),
    }
}

/// A file under way.
struct Reader<'o> {
    origin: &'o str,
    names: Names,
    /// The sink's values.
    values: &'o [&'o str],
    wrong: Vec<ProfileError>,
}

impl<'o> Reader<'o> {
    fn new(origin: &'o str, file: &File, wants: &Wants<'o>) -> Self {
        let all = wants.names.iter().chain(OWN_NAMES).copied().map(str::to_owned);
        Self {
            origin,
            names: Names::new(all.chain(file.each.keys().cloned())),
            values: wants.names,
            wrong: Vec::new(),
        }
    }

    fn wrong(&mut self, place: &str, found: &str, allowed: &str) {
        self.wrong.push(ProfileError::new(self.origin, place, found, allowed));
    }

    /// What was read, or nothing and a mistake.
    fn good<T>(&mut self, place: &str, read: Result<T, Mistake>) -> Option<T> {
        read.map_err(|mistake| self.mistake(place, &mistake)).ok()
    }

    fn goods<T>(&mut self, place: &str, read: Result<T, Vec<Mistake>>) -> Option<T> {
        read.map_err(|all| all.iter().for_each(|mistake| self.mistake(place, mistake)))
            .ok()
    }

    fn mistake(&mut self, place: &str, mistake: &Mistake) {
        // Within a body it is a JSON Pointer; else `place` says it all.
        let within = Some(&mistake.place).filter(|place| place.starts_with('/'));
        let place = within.map_or_else(|| place.to_owned(), |pointer| format!("{place}{pointer}"));
        self.wrong(&place, &mistake.found, &mistake.allowed);
    }

    fn profile(&mut self, name: &str, file: File, wants: &Wants<'_>) -> Profile {
        self.steps_wanted(&file, wants);
        self.settings_wanted(&file, wants);
        self.login(&file);
        let header = self.header(&file);
        let says = file
            .says
            .iter()
            .filter_map(|text| self.body("says", &Value::String(text.clone())));
        Profile {
            name: name.to_owned(),
            doc: file.doc,
            endpoint: file.endpoint,
            auth: file.auth,
            header,
            token_path: Some(file.token_path).filter(|path| !path.is_empty()),
            needs: file.fields.needs,
            settings: file.settings,
            own: file.fields.own,
            defaults: file.fields.defaults,
            words: Value::Object(file.words.into_iter().collect()),
            says: says.collect(),
            rules: file.answers,
            each: file
                .each
                .into_iter()
                .filter_map(|(name, each)| self.each(name, each))
                .collect(),
            steps: file
                .steps
                .into_iter()
                .map(|(name, calls)| self.step(name, calls))
                .collect(),
        }
    }

    fn steps_wanted(&mut self, file: &File, wants: &Wants<'_>) {
        let known: BTreeSet<_> = wants.needed.iter().chain(wants.optional).copied().collect();
        for step in file.steps.keys().filter(|step| !known.contains(step.as_str())) {
            let allowed = known.iter().copied().collect::<Vec<_>>().join(", ");
            self.wrong(&format!("steps.{step}"), "an unknown step", &allowed);
        }
        for (step, slot) in wants.takes {
            let calls = file.steps.get(*step).into_iter().flatten();
            if calls.clone().next().is_some() && !calls.into_iter().any(|call| call.take.contains_key(*slot)) {
                let allowed = format!("take = {{ {slot} = … }}");
                self.wrong(&format!("steps.{step}"), &format!("no call takes `{slot}`"), &allowed);
            }
        }
        for step in wants.needed.iter().filter(|step| !file.steps.contains_key(**step)) {
            self.wrong("steps", &format!("there is no step `{step}`"), &wants.needed.join(", "));
        }
    }

    fn settings_wanted(&mut self, file: &File, wants: &Wants<'_>) {
        let is_unknown = |key: &&String| !wants.settings.contains(&key.as_str());
        for key in file.settings.keys().filter(is_unknown) {
            self.wrong(&format!("settings.{key}"), "an unknown key", &wants.settings.join(", "));
        }
    }

    fn login(&mut self, file: &File) {
        if file.auth.is_empty() {
            self.wrong("auth", "no way to log in", "bearer, basic, header, oauth2");
        }
        if file.auth.contains(&AuthKind::OAuth2) && file.token_path.is_empty() {
            self.wrong(
                "token_path",
                "oauth2 without it",
                "where tokens are given out, below the endpoint",
            );
        }
    }

    fn header(&mut self, file: &File) -> Option<HeaderName> {
        let name = HeaderName::from_bytes(file.header.as_bytes()).ok();
        if file.auth.contains(&AuthKind::Header) && name.is_none() {
            self.wrong("header", "no name of a header", "the header that holds the token");
        }
        name
    }

    fn each(&mut self, name: String, each: EachText) -> Option<Each> {
        let place = format!("each.{name}");
        if self.values.iter().chain(OWN_NAMES).any(|known| *known == name) {
            self.wrong(&place, &format!("`{name}`, which there is already"), "another name");
        }
        if !self.values.contains(&each.of.as_str()) {
            let found = format!("there is no `{}`", each.of);
            self.wrong(&format!("{place}.of"), &found, &self.values.join(", "));
        }
        let item = self.body(&format!("{place}.item"), &each.item)?;
        Some(Each {
            name,
            of: each.of,
            item,
        })
    }

    fn step(&mut self, name: String, calls: Vec<CallText>) -> (String, Vec<Call>) {
        if calls.is_empty() {
            self.wrong(&format!("steps.{name}"), "no calls", &format!("1 to {CALLS_MAX}"));
        }
        if calls.len() > CALLS_MAX {
            let found = format!("{} calls", calls.len());
            self.wrong(&format!("steps.{name}"), &found, &format!("at most {CALLS_MAX}"));
        }
        let calls = calls.into_iter().enumerate().take(CALLS_MAX);
        let calls = calls
            .filter_map(|(at, call)| self.call(&format!("steps.{name}[{at}]"), call))
            .collect();
        (name, calls)
    }

    fn call(&mut self, place: &str, call: CallText) -> Option<Call> {
        let below = |key: &str| format!("{place}.{key}");
        if !matches!(call.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            self.wrong(
                &below("method"),
                &format!("`{}`", call.method),
                "GET, POST, PUT, PATCH, DELETE",
            );
        }
        self.merge(&below("merge"), &call);
        let target = self.good(&below("path"), Target::parse(&call.path, &self.names));
        let body = call.body.as_ref().map(|body| self.body(&below("body"), body));
        let when = call
            .when
            .map(|text| self.good(&below("when"), Condition::parse(&text, &self.names)));
        let must = call
            .must
            .map(|text| self.good(&below("must"), Condition::parse(&text, &self.names)));
        let headers = call
            .headers
            .iter()
            .filter_map(|(name, text)| self.line(&below(&format!("headers.{name}")), name, text));
        let headers = headers.collect();
        let take = call.take.iter().map(|(name, text)| {
            let body = self.body(&below(&format!("take.{name}")), &Value::String(text.clone()));
            Some((name.clone(), body?))
        });
        let take = take.collect::<Option<_>>();
        let pick = call.pick.map(|pick| self.pick(&below("pick"), &pick));
        Some(Call {
            method: Method::from_bytes(call.method.as_bytes()).ok()?,
            target: target?,
            headers,
            body: flat(body)?,
            merge: call.merge,
            when: flat(when)?,
            must: flat(must)?,
            ok: call.ok,
            rules: call.answers,
            pick: flat(pick)?,
            take: take?,
        })
    }

    /// Fields that are laid over what is no object would be lost.
    fn merge(&mut self, place: &str, call: &CallText) {
        let Some(at) = &call.merge else { return };
        let there = call.body.as_ref().and_then(|body| body.pointer(at));
        if !there.is_some_and(Value::is_object) {
            let found = format!("`{at}` is no object of the body");
            self.wrong(
                place,
                &found,
                "a JSON Pointer to an object of `body`; empty for all of it",
            );
        }
    }

    fn body(&mut self, place: &str, body: &Value) -> Option<Body> {
        let read = Body::new(body, &self.names);
        self.goods(place, read)
    }

    fn line(&mut self, place: &str, name: &str, text: &str) -> Option<(HeaderName, Line)> {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            self.wrong(place, &format!("`{name}`"), "the name of a header");
            return None;
        };
        let line = Line::parse_header(name, text, &self.names);
        Some((header, self.good(place, line)?))
    }

    fn pick(&mut self, place: &str, pick: &PickText) -> Option<Pick> {
        let from = self.body(place, &Value::String(pick.from.clone()));
        let fits = self.good(place, Condition::parse(&pick.r#where, &self.names));
        Some(Pick {
            from: from?,
            fits: fits?,
        })
    }
}

/// A thing that may be left out, and was right if it was not.
#[expect(clippy::option_option, reason = "left out, wrong, right")]
fn flat<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}
