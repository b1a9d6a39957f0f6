//! Tokens by OAuth 2.0 client credentials (RFC 6749 section 4.4), for sinks whose destination wants one.
//!
//! In: where to ask, who we are, for what. Out: a [`Token`], kept until it is nearly over.
//! Invariants: 1 one renewal is under way at a time, and whoever waits for it has what came of it; 2 a token is renewed before it ends, and goes on
//! being used while that fails; 3 a destination that refuses a token ([`Tokens::refused`]) costs one renewal, and no later
//! token is thrown away for it; 4 no secret and no token is in a fault, a log or a `Debug` text; 5 a fault says that it is
//! the token's, and at which host, and what its code word means; nothing that is echoed is shown.
//! It does not: keep tokens over a restart, use refresh tokens, sign assertions.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use tokio::time::Instant;

use crate::config::{ExposeSecret, Secret};
use crate::http::{Answer, HttpClient, exchange};
use crate::stream::{Fault, FaultKind};

/// Life of a token of which nothing is said (RFC 6749 leaves it to the documentation).
const LIFE_UNSAID: Duration = Duration::from_secs(600);
/// Longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token is renewed so long before its end, or after three quarters of a shorter life.
const EARLY: Duration = Duration::from_secs(300);
/// Pause between two early tries that failed.
const AGAIN: Duration = Duration::from_secs(30);
/// Longest token that goes into a header.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A code word of a vendor's own in a refusal, and what to do about it.
pub type Hint = (&'static str, &'static str);

/// Who we are, and for what.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The client's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// What the token shall be good for; empty for the endpoint's default.
    pub scope: String,
}

/// A token, as the header has it. Its number tells it from others without showing it.
#[derive(Debug, Clone)]
pub struct Token {
    /// `Bearer …`, marked as sensitive.
    pub header: HeaderValue,
    number: u64,
}

/// The tokens of one client.
#[derive(Debug)]
pub struct Tokens {
    client: HttpClient,
    path: String,
    credentials: Credentials,
    hints: &'static [Hint],
    kept: Mutex<Kept>,
    /// Held by whoever renews.
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<Timed>,
    number: u64,
    /// How often there was none, and why the last time.
    failures: u64,
    failed: Option<NoToken>,
}

#[derive(Debug, Clone)]
struct Timed {
    token: Token,
    /// From when on it is renewed.
    due: Instant,
    end: Instant,
}

/// Why there is no token, and how long the endpoint wants to be left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoToken {
    /// The fault, for the sink's own answer.
    pub fault: Fault,
    /// The endpoint's own word on when to try again.
    pub retry_after: Option<Duration>,
}

impl Tokens {
    /// Tokens of the endpoint at `path` below the client's base URL. `hints` are the vendor's own codes.
    pub fn new(client: HttpClient, path: &str, credentials: Credentials, hints: &'static [Hint]) -> Self {
        Self {
            client,
            path: path.to_owned(),
            credentials,
            hints,
            kept: Mutex::default(),
            renewal: tokio::sync::Mutex::default(),
        }
    }

    /// A token that is good now. Time: at most the client's deadline, twice when another renewal is waited for.
    /// Cancel: safe.
    pub async fn get(&self) -> Result<Token, NoToken> {
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        let failures = self.kept().failures;
        let _turn = match (self.renewal.try_lock(), self.usable()) {
            (Ok(turn), _) => turn,
            (Err(_), Some(token)) => return Ok(token),
            (Err(_), None) => self.renewal.lock().await,
        };
        // Whoever was first has renewed it, or could not.
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        if let Some(none) = self.failed_since(failures) {
            return Err(none);
        }
        match self.ask().await {
            Ok((header, life)) => Ok(self.keep(header, life)),
            Err(none) => self.put_off(&none).ok_or_else(|| self.fail(none)),
        }
    }

    fn failed_since(&self, failures: u64) -> Option<NoToken> {
        let kept = self.kept();
        kept.failed.clone().filter(|_| kept.failures != failures)
    }

    /// Keeps why there is none, for those who wait.
    fn fail(&self, none: NoToken) -> NoToken {
        let mut kept = self.kept();
        kept.failures += 1;
        kept.failed = Some(none.clone());
        none
    }

    /// The destination refused this token: the next [`get`](Self::get) renews it, unless that was done already.
    pub fn refused(&self, token: &Token) {
        let mut kept = self.kept();
        if kept
            .token
            .as_ref()
            .is_some_and(|timed| timed.token.number == token.number)
        {
            kept.token = None;
        }
    }

    /// What `status` says of the way to the endpoint.
    pub fn notes(&self) -> Vec<String> {
        let host = self.client.host();
        let notes = self.client.notes().into_iter();
        notes.map(|note| format!("token endpoint {host}: {note}")).collect()
    }

    fn fresh(&self) -> Option<Token> {
        let kept = self.kept();
        let timed = kept.token.as_ref().filter(|timed| Instant::now() < timed.due)?;
        Some(timed.token.clone())
    }

    fn usable(&self) -> Option<Token> {
        let kept = self.kept();
        let timed = kept.token.as_ref().filter(|timed| Instant::now() < timed.end)?;
        Some(timed.token.clone())
    }

    fn keep(&self, header: HeaderValue, life: Duration) -> Token {
        let (mut kept, now) = (self.kept(), Instant::now());
        kept.number += 1;
        let token = Token {
            header,
            number: kept.number,
        };
        kept.token = Some(Timed {
            token: token.clone(),
            due: now + (life * 3 / 4).max(life.saturating_sub(EARLY)),
            end: now + life,
        });
        token
    }

    /// The old token, if it is still good; it is used a while before the next try.
    fn put_off(&self, none: &NoToken) -> Option<Token> {
        let token = self.usable()?;
        tracing::warn!(error = %none.fault.message, "a token could not be renewed early; the old one is still good");
        let pause = none.retry_after.unwrap_or(AGAIN).max(AGAIN);
        if let Some(timed) = &mut self.kept().token {
            timed.due = (Instant::now() + pause).min(timed.end);
        }
        Some(token)
    }

    async fn ask(&self) -> Result<(HeaderValue, Duration), NoToken> {
        let request = self
            .client
            .request(Method::POST, &self.path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form(&self.credentials));
        let host = self.client.host();
        let answer = exchange(request).await.map_err(|fault| NoToken {
            fault: Fault {
                message: format!("token endpoint {host}: {}", fault.message),
                ..fault
            },
            retry_after: None,
        })?;
        read(&answer, &format!("the token endpoint {host}"), self.hints).map_err(|fault| NoToken {
            fault,
            // No time at all would have it asked without end.
            retry_after: answer.retry_after.filter(|pause| !pause.is_zero()),
        })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request's body (RFC 6749 section 4.4.2), the client's credentials in it.
fn form(credentials: &Credentials) -> String {
    let mut pairs = Url::parse("form:/").expect("a constant URL parses");
    pairs
        .query_pairs_mut()
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &credentials.client_id)
        .append_pair("client_secret", credentials.client_secret.expose_secret());
    if !credentials.scope.is_empty() {
        pairs.query_pairs_mut().append_pair("scope", &credentials.scope);
    }
    pairs.query().unwrap_or_default().to_owned()
}

/// The token of an answer and its life.
fn read(answer: &Answer, what: &str, hints: &[Hint]) -> Result<(HeaderValue, Duration), Fault> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.is_success() {
        return Err(refusal(answer, &body, what, hints));
    }
    let no_token = || Fault {
        kind: FaultKind::Server,
        message: format!(
            "{what} gave an answer without a bearer token: http status {}",
            answer.status
        ),
    };
    bearer(&body).map(|header| (header, life(&body))).ok_or_else(no_token)
}

fn bearer(body: &Value) -> Option<HeaderValue> {
    let token = body.get("access_token")?.as_str()?;
    let is_bearer = body.get("token_type")?.as_str()?.eq_ignore_ascii_case("bearer");
    let is_token = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_bearer || !is_token {
        return None;
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Seconds as a number, or as text, which some send.
fn life(body: &Value) -> Duration {
    let said = body.get("expires_in");
    let seconds = said.and_then(|said| said.as_u64().or_else(|| said.as_str()?.parse().ok()));
    seconds.map_or(LIFE_UNSAID, Duration::from_secs).min(LIFE_MAX)
}

/// Code words of RFC 6749 section 5.2 that are about the settings; the others are about who we are.
const SETTINGS: &[&str] = &[
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unsupported_grant_type",
];
const WHO: &[&str] = &[
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
];
const PASSING: &[&str] = &["server_error", "temporarily_unavailable"];

/// Why there is no token: by the code word of the standard, and the vendor's own beside it.
fn refusal(answer: &Answer, body: &Value, what: &str, hints: &[Hint]) -> Fault {
    let word = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let kind = match answer.status {
        400..=428 | 430..=499 if WHO.contains(&word) => FaultKind::Auth,
        400..=428 | 430..=499 if SETTINGS.contains(&word) => FaultKind::Config,
        400..=428 | 430..=499 if PASSING.contains(&word) => FaultKind::Server,
        _ => return answer.fault(what),
    };
    let said = hint(body, hints)
        .map(|(code, hint)| format!(", {code}: {hint}"))
        .unwrap_or_default();
    let message = format!("{what} refused us: {word}{said} (http status {})", answer.status);
    Fault { kind, message }
}

/// The vendor's code: one of its list, or the first word of its text.
fn hint(body: &Value, hints: &[Hint]) -> Option<Hint> {
    let said = body
        .get("error_description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let first = said
        .split(|sign: char| !sign.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    hints.iter().find(|(code, _)| *code == first).copied()
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
