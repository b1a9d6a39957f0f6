//! The way to a workflow: a card per event.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use trapline_notice::{Notice, Voice};
use trapline_schemas::Timestamp;
use trapline_sink::Parcel;
use trapline_sink::courier::{Courier, Form, Told};
use trapline_sink::http::{HttpClient, exchange};
use trapline_sink::secret_url::SecretUrl;
use trapline_sink::stream::Fault;

use crate::answer::judge;
use crate::card::message;

/// A channel or a chat behind a workflow; all of its URL but the host is the credential.
#[derive(Debug)]
pub(crate) struct Workflow {
    pub(crate) client: HttpClient,
    pub(crate) url: SecretUrl,
    pub(crate) voice: Voice,
}

#[async_trait]
impl Courier for Workflow {
    type Letter = (Notice, Timestamp);
    const NAME: &'static str = "the workflow";
    const SHORT: &'static str = "as a short card";

    async fn letter(&self, parcel: &Parcel) -> Self::Letter {
        (self.voice.compose(&parcel.event), parcel.event.at)
    }

    async fn send(&self, (notice, at): &mut Self::Letter, form: Form) -> Told {
        let message: Value = message(notice, *at, form);
        let request = self.url.request(&self.client, Method::POST);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(message.to_string());
        match exchange(request).await {
            Ok(answer) => Told {
                verdict: judge(&answer),
                retry_after: answer.retry_after,
            },
            Err(fault) => fault.into(),
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        let status = exchange(self.client.request(Method::HEAD, "")).await?.status;
        Ok(format!(
            "the host answers (http status {status}); whether the workflow takes messages shows a first one"
        ))
    }

    fn destination(&self) -> String {
        format!("a workflow of {}", self.client.origin())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.client.notes();
        notes.push("a workflow names no message, so incidents have no threads".to_owned());
        notes.push("delivered means that the workflow has begun; its run history tells whether it posted".to_owned());
        notes
    }

    fn secrets(&self) -> Vec<&str> {
        self.url.secrets()
    }
}
