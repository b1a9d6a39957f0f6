//! The two ways to Slack: a webhook, whose URL is the credential, or the Web API as a bot.
//!
//! Invariants: 1. a credential is in the request line's path or a header that is marked as sensitive, and nowhere else;
//! 2. what an answer says is judged by [`crate::answer`] before anything is made of it.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use trapline_schemas::Timestamp;
use trapline_schemas::text::clean_within;
use trapline_sink::config::{ExposeSecret, Secret};
use trapline_sink::courier::{Form, Told, Verdict};
use trapline_sink::http::{Answer, HttpClient, exchange, exchange_within};
use trapline_sink::secret_url::SecretUrl;
use trapline_sink::stream::{Fault, FaultKind};

use crate::answer::{of_api, of_webhook};
use crate::history::Page;
use crate::message::Message;
use crate::threads::{MessageId, Thread};

/// Messages on a page of the history; Slack gives 15 to apps that are sold outside of its marketplace.
const PAGE: usize = 100;
/// Bytes of a page: a message of ours has at most some 20 kB in Slack's words.
const PAGE_BYTES: usize = 4 << 20;
/// How far back the history is read: an incident is a day, and its first notice may be a day late.
const BACK: Duration = Duration::from_secs(2 * 24 * 3600);

/// How to post.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// To a webhook.
    Webhook(SecretUrl),
    /// As a bot.
    Bot {
        token: Secret,
        /// `Bearer` and the token, marked as sensitive.
        authorization: HeaderValue,
        /// An id or a name.
        channel: String,
    },
}

/// A way to Slack with the connection for it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: HttpClient,
    pub(crate) route: Route,
}

impl Line {
    /// Posts a message. Out: what became of it, and what it is called, which a webhook does not tell. Time: the client's
    /// deadline. Cancel: safe; counts as not posted.
    pub(crate) async fn post(
        &self,
        message: &Message,
        thread: Option<&Thread>,
        form: Form,
    ) -> (Told, Option<MessageId>) {
        let request = match &self.route {
            Route::Webhook(url) => json(url.request(&self.client, Method::POST), &message.body(form)),
            Route::Bot { channel, .. } => json(self.call("chat.postMessage"), &message.body_for(channel, thread, form)),
        };
        let answer = match exchange(request).await {
            Ok(answer) => answer,
            Err(fault) => return (fault.into(), None),
        };
        let (verdict, id) = self.judge(&answer);
        let retry_after = answer.retry_after;
        (Told { verdict, retry_after }, id)
    }

    fn judge(&self, answer: &Answer) -> (Verdict, Option<MessageId>) {
        if matches!(self.route, Route::Webhook(_)) {
            return (of_webhook(answer), None);
        }
        let reply = match of_api(answer) {
            Ok(reply) => reply,
            Err(verdict) => return (verdict, None),
        };
        let id = reply.get("ts").and_then(Value::as_str).and_then(MessageId::parse);
        let word = id
            .as_ref()
            .map_or_else(|| "ok".to_owned(), |id| format!("ok, message {}", id.as_str()));
        (Verdict::Accepted(word), id)
    }

    /// What must not be shown.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        match &self.route {
            Route::Webhook(url) => url.secrets(),
            Route::Bot { token, .. } => vec![token.expose_secret()],
        }
    }

    /// A page of the channel's last days. Errors: why there is none.
    pub(crate) async fn history(&self, channel: &str, cursor: Option<&str>) -> Result<Page, Fault> {
        let oldest = Timestamp::now().millis() / 1000 - i64::try_from(BACK.as_secs()).unwrap_or(0);
        let mut body = form(&[
            ("channel", channel),
            ("limit", &PAGE.to_string()),
            ("oldest", &oldest.to_string()),
            ("include_all_metadata", "true"),
        ]);
        if let Some(cursor) = cursor {
            body = format!("{body}&{}", form(&[("cursor", cursor)]));
        }
        let answer = exchange_within(self.call("conversations.history").body(body), PAGE_BYTES).await?;
        of_api(&answer).map_err(fault)?;
        Page::read(&answer.body).ok_or_else(|| Fault {
            kind: FaultKind::Server,
            message: "slack's history of the channel cannot be read".to_owned(),
        })
    }

    /// Says what answers at the other end, without posting.
    pub(crate) async fn check(&self) -> Result<String, Fault> {
        match &self.route {
            Route::Webhook(_) => {
                let status = exchange(self.client.request(Method::GET, "")).await?.status;
                Ok(format!(
                    "the host answers (http status {status}); whether the webhook takes messages shows a first one"
                ))
            }
            Route::Bot { channel, .. } => {
                let reply = self.ask("auth.test", String::new()).await.map_err(fault)?;
                let (user, team) = (named(reply.get("user")), named(reply.get("team")));
                let channel = self.check_channel(channel).await?;
                Ok(format!("the token is good: bot {user} of {team}; {channel}"))
            }
        }
    }

    async fn check_channel(&self, channel: &str) -> Result<String, Fault> {
        if !is_channel_id(channel) {
            return Ok("the channel is given by name and was not looked for".to_owned());
        }
        match self.ask("conversations.info", form(&[("channel", channel)])).await {
            Ok(reply) => found(reply.get("channel").unwrap_or(&Value::Null)),
            // It takes a scope that posting does not.
            Err(Verdict::Fault(fault)) if fault.message.contains("missing_scope") => {
                Ok("the channel was not looked at, which needs the scope channels:read".to_owned())
            }
            Err(verdict) => Err(fault(verdict)),
        }
    }

    async fn ask(&self, method: &str, body: String) -> Result<Value, Verdict> {
        let answer = exchange(self.call(method).body(body)).await.map_err(Verdict::Fault)?;
        of_api(&answer)
    }

    fn call(&self, method: &str) -> RequestBuilder {
        let request = self.client.request(Method::POST, method);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match &self.route {
            Route::Bot { authorization, .. } => request.header(AUTHORIZATION, authorization.clone()),
            Route::Webhook(_) => request,
        }
    }
}

/// Whether it is an id, which all methods take; a name is taken for posting alone.
pub(crate) fn is_channel_id(channel: &str) -> bool {
    let is_id = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    channel.starts_with(['C', 'D', 'G']) && channel.len() >= 9 && channel.bytes().all(is_id)
}

/// What is told of a channel that there is.
fn found(channel: &Value) -> Result<String, Fault> {
    let is = |key: &str| channel.get(key).and_then(Value::as_bool);
    let name = named(channel.get("name"));
    match (is("is_archived"), is("is_member")) {
        (Some(true), _) => Err(Fault {
            kind: FaultKind::Config,
            message: format!("the channel {name} is archived"),
        }),
        (_, Some(false)) => Ok(format!(
            "it is not in the channel {name}: invite it, or give it chat:write.public"
        )),
        _ => Ok(format!("it is in the channel {name}")),
    }
}

/// A name that Slack told, bounded and without anything hidden.
fn named(name: Option<&Value>) -> String {
    let name = name.and_then(Value::as_str).unwrap_or("?");
    format!("`{}`", clean_within(name.as_bytes(), 60))
}

fn json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    let request = request.body(body.to_string());
    let utf8 = HeaderValue::from_static("application/json; charset=utf-8");
    request.headers([(CONTENT_TYPE, utf8)].into_iter().collect())
}

/// A question that cannot be answered; only a message can be refused for itself.
fn fault(verdict: Verdict) -> Fault {
    match verdict {
        Verdict::Fault(fault) => fault,
        Verdict::Refused { reason, .. } | Verdict::Changed(reason) => Fault {
            kind: FaultKind::Config,
            message: reason,
        },
        Verdict::Accepted(_) => Fault {
            kind: FaultKind::Server,
            message: "slack took a question for an answer".to_owned(),
        },
    }
}

/// `key=value&…` with everything but letters, digits and `-._` as `%NN`.
fn form(pairs: &[(&str, &str)]) -> String {
    let written = |byte: u8| match byte {
        b'-' | b'.' | b'_' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", value.bytes().map(written).collect::<String>()));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_a_name() {
        for (channel, is_id) in [
            ("C0123456789", true),
            ("G012345678", true),
            ("#security", false),
            ("SECURITY", false),
            ("CANARY", false),
            ("C01234567é9", false),
        ] {
            assert_eq!(is_channel_id(channel), is_id, "{channel}");
        }
    }

    #[test]
    fn a_form_holds_nothing_but_its_pairs() {
        assert_eq!(
            form(&[("a", "b&c=d e/é"), ("f", "-._")]),
            "a=b%26c%3Dd%20e%2F%C3%A9&f=-._"
        );
    }
}
