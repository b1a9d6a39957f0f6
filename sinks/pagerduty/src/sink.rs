//! The way to a service of PagerDuty: an event per request.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use trapline_notice::Voice;
use trapline_sink::Parcel;
use trapline_sink::config::{ExposeSecret, Secret};
use trapline_sink::courier::{Courier, Form, Told};
use trapline_sink::http::{Answer, HttpClient, exchange};
use trapline_sink::stream::Fault;

use crate::answer;
use crate::message::{Letter, Shape};

/// Where events go below the endpoint.
const PATH: &str = "v2/enqueue";

/// A service of PagerDuty.
#[derive(Debug)]
pub(crate) struct PagerDuty {
    pub(crate) client: HttpClient,
    pub(crate) routing_key: Secret,
    pub(crate) voice: Voice,
    pub(crate) shape: Shape,
}

impl PagerDuty {
    async fn post(&self, mut body: Value) -> Result<Answer, Fault> {
        body["routing_key"] = self.routing_key.expose_secret().into();
        let request = self.client.request(Method::POST, PATH);
        exchange(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await
    }
}

#[async_trait]
impl Courier for PagerDuty {
    type Letter = Letter;
    const NAME: &'static str = "pagerduty";
    const SHORT: &'static str = "without details";

    async fn letter(&self, parcel: &Parcel) -> Letter {
        let notice = self.voice.compose(&parcel.event);
        self.shape.letter(parcel, &notice)
    }

    async fn send(&self, letter: &mut Letter, form: Form) -> Told {
        match self.post(letter.body(form)).await {
            Ok(answer) => Told {
                verdict: answer::of_event(&answer),
                retry_after: answer.retry_after,
            },
            Err(fault) => fault.into(),
        }
    }

    fn has_short(&self, letter: &Letter) -> bool {
        letter.short.is_some()
    }

    /// Asks with an event that is none, which PagerDuty refuses after a look at the key's form.
    async fn check(&self) -> Result<String, Fault> {
        let answer = self.post(Value::Object(serde_json::Map::new())).await?;
        answer::of_question(&answer)?;
        Ok("pagerduty answers; whether a service has this key only an event shows".to_owned())
    }

    fn destination(&self) -> String {
        format!("a service of {}", self.client.origin())
    }

    fn notes(&self) -> Vec<String> {
        self.client.notes()
    }

    fn secrets(&self) -> Vec<&str> {
        vec![self.routing_key.expose_secret()]
    }
}
