//! Lists for firewalls: what sinks put on the shelf, under `/lists/`.
//!
//! In: requests with a token of lists, as the password of HTTP basic or as a bearer; without one from the networks of
//! `lists_from` alone. Out: the document, or that the poller has it already; to the shelf, who came.
//!
//! A firewall keeps its last list when we do not answer, or answer 503; when its authentication *fails*, some stop
//! enforcing at once (PAN-OS does). Therefore:
//! 1. Old and new tokens are good together, until the old one is revoked.
//! 2. Who is a known poller (one from this address was let in before, or the token was one of lists until lately) and is
//!    refused gets 503, never 401 or a lock-out, and no byte of a list; that is an alarm, once an hour.
//! 3. Before the sink has said that its list is whole, the answer is 503 as well.
//!
//! What a stranger sees does not tell which lists there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, LAST_MODIFIED};
use hyper::http::request::Parts as Head;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;
use trapline_sink::published::{Away, Body, Document, Parts, Poller, REFUSAL_TOLD_EVERY, Shelf};

use super::answer::{self, Answer, Content, Refused};
use super::bearers::{Bearer, Pass, Tokens};
use super::conditional;
use super::credentials::{self, Credential};
use super::misses::Misses;
use super::route;
use super::server::{Web, now};
use crate::app::Core;

/// When a poller is to come back if there is no list for it.
const COME_BACK: Duration = Duration::from_secs(30);
/// How often it is looked who stays away.
const WATCH_EVERY: Duration = Duration::from_secs(15);
/// Who reads without a token, for status.
const ANONYMOUS: &str = "without a token";
/// Old tokens whose use was told lately.
const OLD_TOKENS_MAX: usize = 64;
/// What is said in the log, in status and as an event.
pub(super) const PART: &str = "lists";

/// When it was last told that an old token was shown, by the token.
#[derive(Debug, Default)]
pub(super) struct OldTokens(Mutex<HashMap<String, Instant>>);

impl OldTokens {
    fn is_news(&self, bearer: &Bearer, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < REFUSAL_TOLD_EVERY);
        let is_news = !told.contains_key(bearer.id()) && told.len() < OLD_TOKENS_MAX;
        if is_news {
            told.insert(bearer.id().to_owned(), now);
        }
        is_news
    }
}

/// The door of the lists, for one who stands there.
pub(super) struct Door<'a> {
    pub(super) tokens: &'a Arc<Tokens>,
    pub(super) shelf: &'a Shelf,
    pub(super) misses: &'a Misses,
    pub(super) old: &'a OldTokens,
    /// Networks that need no token.
    pub(super) open_to: &'a [IpNet],
    /// Who stands there; no IPv4-mapped one.
    pub(super) address: IpAddr,
}

/// What becomes of a request.
pub(super) struct Answered {
    pub(super) answer: Answer,
    /// What a person is to be told.
    pub(super) alarm: Option<String>,
    /// Whether a good token was shown.
    pub(super) has_token: bool,
}

/// Why one is not let in.
struct Denied {
    answer: Refused,
    alarm: Option<String>,
}

impl Denied {
    fn quietly(answer: Refused) -> Self {
        Self { answer, alarm: None }
    }
}

impl Door<'_> {
    /// Answers a request for a file of `/lists/`.
    pub(super) fn answer(&self, head: &Head, file: &str) -> Answered {
        let list = file.split('.').next().unwrap_or_default();
        match self.admit(head, list) {
            Ok(who) => Answered {
                answer: self.hand(head, list, file, who.as_deref()),
                alarm: None,
                has_token: who.is_some(),
            },
            Err(Denied { answer, alarm }) => Answered {
                answer: *answer,
                alarm,
                has_token: false,
            },
        }
    }

    fn hand(&self, head: &Head, list: &str, file: &str, who: Option<&str>) -> Answer {
        self.shelf
            .came(list, who.unwrap_or(ANONYMOUS), self.address, Instant::now());
        match self.shelf.find(file).map(|found| found.document) {
            None => *route::nothing(),
            Some(Some(document)) => handed(head, document),
            Some(None) => *come_back("the list is not whole yet, come back: keep the one that you have"),
        }
    }

    /// Who reads the list: the name of a token, or `None` where none is needed.
    fn admit(&self, head: &Head, list: &str) -> Result<Option<String>, Denied> {
        let credential = credentials::shown(&head.headers);
        let pass = match &credential {
            Credential::Token(token) => self.tokens.check_list(token, list, now()),
            Credential::None | Credential::Unreadable => Pass::None,
        };
        if let Pass::Reads(bearer, is_news) = pass {
            route::write_use(self.tokens, is_news);
            return Ok(Some(bearer.name));
        }
        if self.open_to.iter().any(|network| network.contains(&self.address)) {
            return Ok(None);
        }
        match credential {
            // Many clients show a password only when they are asked for it: this is no refusal.
            Credential::None => Err(Denied::quietly(answer::unauthorized_for_lists(NEEDED))),
            Credential::Token(_) | Credential::Unreadable => Err(self.deny(list, &pass)),
        }
    }

    /// What one is told who is not let in; if a firewall hangs on it, a person is told as well.
    fn deny(&self, list: &str, pass: &Pass) -> Denied {
        let now = Instant::now();
        let known = self.shelf.refused(list, self.address, now);
        let alarm = match (pass, &known) {
            (_, Some((poller, true))) => Some(self.refusal(list, poller, pass)),
            (Pass::Old(bearer), None) if self.old.is_news(bearer, now) => Some(self.old(list, bearer)),
            _ => None,
        };
        let answer = match (pass, known) {
            (Pass::Old(_), _) | (_, Some(_)) => come_back(KEEP),
            (Pass::Elsewhere(_), None) => answer::refused(StatusCode::FORBIDDEN, OTHER),
            (Pass::Reads(..) | Pass::None, None) => for_lists(route::missed(self.misses, self.address)),
        };
        Denied { answer, alarm }
    }

    fn refusal(&self, list: &str, poller: &Poller, pass: &Pass) -> String {
        let why = match pass {
            Pass::Old(bearer) => format!("its token `{}` was revoked or is over", bearer.name),
            Pass::Elsewhere(name) => format!("its token `{name}` does not read that list"),
            Pass::Reads(..) | Pass::None => "it shows no token that is known".to_owned(),
        };
        let (address, who) = (self.address, &poller.who);
        format!("{address}, which read list `{list}` as `{who}` before, is refused: {why}")
    }

    fn old(&self, list: &str, bearer: &Bearer) -> String {
        let (address, name) = (self.address, &bearer.name);
        format!(
            "{address} is refused a list{}: its token `{name}` was revoked or is over",
            named(list)
        )
    }
}

const NEEDED: &str = "a token of lists is needed, as the password of HTTP basic or as a bearer";
const KEEP: &str = "the token is not good for this list (any more): keep the one that you have, and see to the token";
const OTHER: &str = "this token does not read that: a list has tokens of its own";

/// With the challenge of lists in the place of the API's.
fn for_lists(missed: Refused) -> Refused {
    match missed.status() {
        StatusCode::UNAUTHORIZED => answer::unauthorized_for_lists("the token is wrong, revoked or over"),
        _ => missed,
    }
}

fn come_back(error: &str) -> Refused {
    answer::later(StatusCode::SERVICE_UNAVAILABLE, error, COME_BACK)
}

/// What to do when a poller is refused.
pub(super) const REFUSED: &str = "give the firewall a good token (`trapline token create NAME --lists LIST`): it may stop \
                                  enforcing the list, or goes on with an old one";

/// A list that a request names, if it is a name at all.
fn named(list: &str) -> String {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match (1..=64).contains(&list.len()) && list.bytes().all(good) {
        true => format!(" (it asked for `{list}`)"),
        false => String::new(),
    }
}

/// The document, or that it is held already.
fn handed(head: &Head, document: Document) -> Answer {
    let is_held = conditional::is_held(&head.headers, &document);
    let modified = conditional::modified(document.modified, Timestamp::now());
    let mut answer = match (is_held, document.body) {
        (true, _) => answer::typed(StatusCode::NOT_MODIFIED, document.kind, Content::Whole(None)),
        (false, Body::Whole(bytes)) => answer::whole(StatusCode::OK, document.kind, bytes),
        (false, Body::Parts(parts)) => answer::typed(StatusCode::OK, document.kind, coming(parts)),
    };
    let headers = answer.headers_mut();
    // A proxy of the firewall's may keep it for the firewall alone, and asks each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    let tag = HeaderValue::from_str(&document.tag).ok();
    let modified = modified.and_then(|modified| HeaderValue::from_str(&modified).ok());
    headers.extend(tag.map(|tag| (ETAG, tag)));
    headers.extend(modified.map(|modified| (LAST_MODIFIED, modified)));
    answer
}

/// Part by part, each made when the one before it was taken.
fn coming(parts: Arc<dyn Parts>) -> Content {
    let parts = stream::unfold((parts, 0), |(parts, index)| async move {
        let part = parts.part(index)?;
        Some((part, (parts, index + 1)))
    });
    Content::Coming(parts.boxed())
}

/// Tells who stays away from a list, until `stop`. Cancel: safe.
pub(super) async fn watch(web: Arc<Web>, core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    loop {
        // Cancel: both are safe.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for away in web.shelf.away(Instant::now()) {
            core.alarm(PART, missing(&away), AWAY).await;
        }
    }
}

/// What to do when one stays away.
const AWAY: &str = "see whether the firewall runs, reaches us and has its token; one that is gone for good is forgotten \
                    after 7 d";

fn missing(away: &Away) -> String {
    let (since, expected) = (minutes(away.since), minutes(away.expected));
    let list = &away.list;
    match &away.who {
        Some((who, address)) => {
            format!("{address} (`{who}`) has not come for list `{list}` for {since}, expected every {expected}")
        }
        None => format!("nobody has come for list `{list}` for {since}, expected every {expected}"),
    }
}

fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs() / 60)
}
