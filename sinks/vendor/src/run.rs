//! Running a step: its calls one after the other, with what each answered.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Map, Value};
use trapline_sink::http::{Answer, HttpClient, exchange_within};
use trapline_sink::oauth::Token;
use trapline_template::{RenderError, Scope};

use crate::auth::Login;
use crate::call::{Call, Rendered};
use crate::judge::{Came, Failed, judge, words};
use crate::profile::Profile;
use crate::remote::Remote;

/// Most bytes of an answer that are read; one that is longer cannot be read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A status that has no body.
const NO_CONTENT: u16 = 204;
/// A status that says that the credentials are not good, or no longer.
const UNAUTHORIZED: u16 = 401;

/// A vendor: its profile, and the connection and login for it.
#[derive(Debug)]
pub struct Vendor {
    client: HttpClient,
    profile: Profile,
    login: Login,
    fields: Map<String, Value>,
    others: Map<String, Value>,
}

impl Vendor {
    /// In: `fields`, the user's.
    pub fn new(client: HttpClient, profile: Profile, login: Login, fields: &Map<String, Value>) -> Self {
        let fields = profile.fields(fields);
        Self {
            others: profile.others(&fields),
            fields,
            client,
            profile,
            login,
        }
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What `status` says of the transport.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        notes.extend(self.login.notes());
        notes
    }

    /// Runs a step that there is; one that there is not does nothing.
    ///
    /// In: `values` for templates, an object. What answers tell is in `remote`, also if a later call fails. Time: the
    /// client's deadline for each call. Cancel: safe; the vendor may have done any part of it.
    /// Errors: why it did not come to its end.
    pub async fn run(&self, step: &str, values: &Value, remote: &mut Remote) -> Result<(), Failed> {
        let calls = self.profile.steps.get(step).map_or(&[][..], Vec::as_slice);
        let scope = self
            .profile
            .scope(values, &self.fields)
            .map_err(|error| unfit(&error))?;
        for call in calls {
            let scope = scope.and("remote", &remote.to_json());
            if !call.applies(&scope).map_err(|error| unfit(&error))? {
                continue;
            }
            if let Some(answer) = self.call(call, &scope).await? {
                call.take(&scope, &answer, remote)?;
            }
        }
        Ok(())
    }

    /// One call; the answer, if it is one to take from.
    async fn call(&self, call: &Call, scope: &Scope) -> Result<Option<Value>, Failed> {
        let rendered = call.render(scope, &self.others).map_err(|error| unfit(&error))?;
        let (mut answer, mut token) = self.send(call, &rendered).await?;
        if let Some(refused) = token.take_if(|_| answer.status == UNAUTHORIZED) {
            self.login.refused(&refused);
            (answer, token) = self.send(call, &rendered).await?;
        }
        let said = serde_json::from_slice(&answer.body).ok();
        let told = words(
            &self.profile.says,
            said.as_ref().unwrap_or(&Value::Null),
            &self.login.secrets(token.as_ref()),
        );
        let rules = call.rules.iter().chain(&self.profile.rules);
        match judge(&self.profile.name, &answer, &told, &call.ok, rules)? {
            Came::Done => Ok(None),
            Came::Ok if answer.status == NO_CONTENT && call.must.is_none() => Ok(Some(Value::Null)),
            Came::Ok => match said.filter(|said| call.makes_sense(scope, said)) {
                Some(said) => Ok(Some(said)),
                None if answer.body.is_empty() && !call.reads() => Ok(None),
                None => Err(Failed::server(format!(
                    "{} gave an answer that means nothing",
                    self.profile.name
                ))),
            },
        }
    }

    async fn send(&self, call: &Call, rendered: &Rendered) -> Result<(Answer, Option<Token>), Failed> {
        let request = self.client.request_to(
            call.method.clone(),
            &rendered.place.path,
            rendered.place.query.as_deref(),
        );
        let (mut request, token) = self.login.sign(request.header(ACCEPT, "application/json")).await?;
        for (name, value) in &rendered.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &rendered.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        Ok((exchange_within(request, ANSWER_BYTES_MAX).await?, token))
    }
}

/// A template gave nothing for these values.
fn unfit(error: &RenderError) -> Failed {
    Failed::Refused(format!("no request can be made of it: {error}"))
}
