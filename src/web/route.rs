//! One request: who asks, by which name, for what.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use uuid::Uuid;

use super::answer::{self, Answer, Refused};
use super::bearers::{Bearer, Tokens};
use super::credentials::AUTHORIZATION_BYTES_MAX;
use super::hosts::{Stranger, is_ours};
use super::lists::{self, Door};
use super::lobby::Guest;
use super::misses::Misses;
use super::opening;
use super::params;
use super::server::{Look, Web, now};
use super::shown::Shown;
use crate::app::Core;
use crate::control::lookup::{self, Lookup};
use crate::control::paging::{self, Wanted};
use crate::control::search::Places;
use crate::control::status::Health;
use crate::journal::JournalError;
use crate::metrics;

/// How long one answer is searched for; what is not found by then is on the next page.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a search waits for its turn.
const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// When one who found no room is to come back.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Who is at the other end, and what there is to ask.
pub(super) struct Caller {
    pub(super) web: Arc<Web>,
    pub(super) core: Arc<Core>,
    pub(super) look: Arc<Look>,
    pub(super) peer: IpAddr,
    pub(super) local: IpAddr,
    /// Until it shows a token.
    pub(super) guest: Mutex<Option<Guest>>,
}

impl Caller {
    /// It has shown a token: it makes room for nobody.
    fn is_no_guest(&self) {
        drop(self.guest.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Answers a request. Nothing of it but its head is read.
pub(super) async fn answer(caller: &Caller, request: Request<Incoming>) -> Answer {
    let (head, _) = request.into_parts();
    match judged(caller, &head).await {
        Ok(answer) => answer,
        Err(refused) => *refused,
    }
}

/// `Err` is an answer too: why there is no other.
async fn judged(caller: &Caller, head: &Parts) -> Result<Answer, Refused> {
    refuse_strangers(caller, head)?;
    refuse_writers(head)?;
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    if path == "/healthz" {
        return Ok(healthz(caller).await);
    }
    if let Some(file) = path.strip_prefix("/lists/") {
        return Ok(list(caller, head, file).await);
    }
    if path != "/metrics" && path != "/api" && !path.starts_with("/api/") {
        return Err(nothing());
    }
    let bearer = bearer(caller, head).await?;
    let core = &caller.core;
    match path.strip_prefix("/api/v1/") {
        None if path == "/metrics" => {
            no_parameters(query)?;
            let figures = core.metrics().await;
            Ok(answer::whole(StatusCode::OK, metrics::CONTENT_TYPE, figures))
        }
        Some("status") => {
            no_parameters(query)?;
            status(core).await
        }
        Some("events") => events(caller, query).await,
        Some("events/stream") => opening::stream(caller, head, query, bearer).await,
        Some(rest) => match rest.strip_prefix("events/") {
            Some(id) => event(caller, id, query).await,
            None => Err(nothing()),
        },
        None => Err(nothing()),
    }
}

pub(super) fn nothing() -> Refused {
    answer::refused(StatusCode::NOT_FOUND, "there is nothing here")
}

/// A file of `/lists/`; a person is told if a firewall hangs on what it does not get.
async fn list(caller: &Caller, head: &Parts, file: &str) -> Answer {
    let web = &caller.web;
    let door = Door {
        tokens: &web.tokens,
        shelf: &web.shelf,
        misses: &web.misses,
        old: &web.old_tokens,
        open_to: &caller.look.lists_from,
        address: caller.peer.to_canonical(),
    };
    let answered = door.answer(head, file);
    if answered.has_token {
        caller.is_no_guest();
    }
    if let Some(what) = answered.alarm {
        caller.core.alarm(lists::PART, what, lists::REFUSED).await;
    }
    answered.answer
}

fn refuse_strangers(caller: &Caller, head: &Parts) -> Result<(), Refused> {
    let refused = match is_ours(&head.headers, &head.uri, caller.local, &caller.look.hosts) {
        Ok(()) => return Ok(()),
        Err(Stranger::Nameless) => answer::refused(StatusCode::BAD_REQUEST, "one `Host` is needed"),
        Err(Stranger::Other) => answer::refused(StatusCode::MISDIRECTED_REQUEST, "this host is not served here"),
    };
    Err(refused)
}

fn refuse_writers(head: &Parts) -> Result<(), Refused> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(answer::not_allowed());
    }
    let length = head.headers.get(CONTENT_LENGTH);
    if length.is_some_and(|length| length != "0") || head.headers.contains_key(TRANSFER_ENCODING) {
        return Err(answer::refused(StatusCode::BAD_REQUEST, "a request has no body here"));
    }
    Ok(())
}

fn no_parameters(query: &str) -> Result<(), Refused> {
    params::none(query).map_err(|wrong| answer::wrong(StatusCode::BAD_REQUEST, &wrong))
}

/// Whose token the request shows.
async fn bearer(caller: &Caller, head: &Parts) -> Result<Bearer, Refused> {
    let Some(shown) = head.headers.get(AUTHORIZATION) else {
        let how = "a token is needed: `Authorization: Bearer TOKEN`";
        return Err(answer::unauthorized(how, false));
    };
    let text = shown.to_str().ok().filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX);
    let token = text.and_then(|text| text.split_once(' ')).and_then(|(scheme, token)| {
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then_some(token.trim())
    });
    let tokens = &caller.web.tokens;
    match token.and_then(|token| tokens.check(token, now())) {
        Some((bearer, is_news)) => {
            caller.is_no_guest();
            caller.web.was_right(caller.peer);
            write_use(tokens, is_news);
            Ok(bearer)
        }
        None if token.is_some_and(|token| tokens.reads_lists(token, now())) => Err(answer::refused(
            StatusCode::FORBIDDEN,
            "this token reads lists and nothing else",
        )),
        None => Err(missed(&caller.web.misses, caller.peer)),
    }
}

/// Once a minute for a token; nobody waits for the disk.
pub(super) fn write_use(tokens: &Arc<Tokens>, is_news: bool) {
    if is_news {
        let tokens = tokens.clone();
        drop(tokio::task::spawn_blocking(move || tokens.write_uses()));
    }
}

/// Says in the log who showed a wrong token, never which.
pub(super) fn missed(misses: &Misses, peer: IpAddr) -> Refused {
    let verdict = misses.note(peer, Instant::now());
    if verdict.is_news {
        let more = if verdict.wait.is_some() {
            ", and others before"
        } else {
            ""
        };
        tracing::warn!(source.ip = %peer, "{peer} showed a wrong token to the live feed{more}");
    }
    match verdict.wait {
        Some(wait) => answer::later(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens", wait),
        None => answer::unauthorized("the token is wrong, revoked or over", true),
    }
}

async fn healthz(caller: &Caller) -> Answer {
    let (status, word) = match caller.web.health(&caller.core).await {
        Health::Ok | Health::Degraded => (StatusCode::OK, "ok\n"),
        Health::Failing => (StatusCode::SERVICE_UNAVAILABLE, "failing\n"),
    };
    answer::whole(status, "text/plain; charset=utf-8", word)
}

async fn status(core: &Core) -> Result<Answer, Refused> {
    let text = serde_json::to_vec(&core.status().await);
    text.map(answer::json)
        .map_err(|error| failed(&format!("the status could not be written: {error}")))
}

fn failed(error: &str) -> Refused {
    tracing::warn!("a request of the live feed failed: {error}");
    answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error)
}

pub(super) fn unread(error: &JournalError) -> Refused {
    failed(&error.to_string())
}

/// A turn to search: who records shares the processors with who searches.
async fn turn(searches: &Semaphore) -> Result<SemaphorePermit<'_>, Refused> {
    match timeout(TURN_TIME_MAX, searches.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => {
            let busy = "too many searches are under way, come back";
            Err(answer::later(StatusCode::SERVICE_UNAVAILABLE, busy, BUSY))
        }
    }
}

/// A page: `{"events": […], "next": "CURSOR" or null}`.
async fn events(caller: &Caller, query: &str) -> Result<Answer, Refused> {
    let wanted = params::listing(query).map_err(|wrong| answer::wrong(StatusCode::BAD_REQUEST, &wrong))?;
    let (core, _turn) = (&caller.core, turn(&caller.web.searches).await?);
    let places = Places {
        journal: core.journal(),
        index: Some(core.index()),
    };
    let page = Wanted {
        order: wanted.order,
        place: wanted.place,
        count: wanted.count,
        until: Instant::now() + SEARCH_TIME_MAX,
    };
    let page = paging::page(places, &wanted.filter, page)
        .await
        .map_err(|error| unread(&error))?;
    let mut out = b"{\"events\":[".to_vec();
    for (index, event) in page.events.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
        wanted.shown.append_json(event, &mut out);
    }
    let next = page.next.map(|place| params::cursor(wanted.order, place));
    out.extend_from_slice(format!("\n],\"next\":{}}}\n", serde_json::json!(next)).as_bytes());
    Ok(answer::json(out))
}

/// One event, by its id, or by its offset.
async fn event(caller: &Caller, id: &str, query: &str) -> Result<Answer, Refused> {
    let shown = params::single(query).map_err(|wrong| answer::wrong(StatusCode::BAD_REQUEST, &wrong))?;
    let (journal, _turn) = (caller.core.journal(), turn(&caller.web.searches).await?);
    let found = match (params::number(id), id.parse::<Uuid>()) {
        (Some(offset), _) => lookup::at(journal, offset).await,
        (None, Ok(id)) => lookup::find(journal, id, Instant::now() + SEARCH_TIME_MAX).await,
        (None, Err(_)) => {
            let error = "an event is asked for by its `event.id`, or by its `honeyport.journal.sequence`";
            return Err(answer::refused(StatusCode::BAD_REQUEST, error));
        }
    };
    match found.map_err(|error| unread(&error))? {
        Lookup::Found(event) => Ok(one(&event, shown)),
        Lookup::None => Err(answer::refused(
            StatusCode::NOT_FOUND,
            "there is no such event, or not any more",
        )),
        Lookup::Late => Err(answer::refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "not found among those that could be looked at in time: ask by its `honeyport.journal.sequence`",
        )),
    }
}

fn one(event: &trapline_schemas::Event, shown: Shown) -> Answer {
    let mut out = Vec::new();
    shown.append_json(event, &mut out);
    out.push(b'\n');
    answer::json(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_search_waits_for_its_turn_and_is_told_to_come_back_if_there_is_none() {
        let searches = Semaphore::new(1);
        let first = turn(&searches).await.ok().unwrap();
        let refused = turn(&searches).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        let (second, ()) = tokio::join!(turn(&searches), async { drop(first) });
        assert!(second.is_ok());
    }
}
