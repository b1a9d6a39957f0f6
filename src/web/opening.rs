//! A stream that is asked for: where it begins, how it is cut, and whether there is a seat.

use hyper::header::ACCEPT;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::answer::{self, Answer, Content, Refused};
use super::bearers::Bearer;
use super::feed::Feed;
use super::params::{self, Framing};
use super::route::{BUSY, Caller, unread};
use crate::app::Core;
use crate::control::query::Filter;
use crate::journal::{JournalError, Offset};

/// Events as they come, from where the client was, from a time, or from now on.
pub(super) async fn stream(caller: &Caller, head: &Parts, query: &str, bearer: Bearer) -> Result<Answer, Refused> {
    let wanted = params::streaming(query).map_err(|wrong| answer::wrong(StatusCode::BAD_REQUEST, &wrong))?;
    let framing = wanted.framing.unwrap_or_else(|| accepted(head));
    let kind = match framing {
        Framing::Sse => "text/event-stream",
        Framing::Ndjson => "application/x-ndjson",
    };
    // What a browser comes back with wins over the address that it was given at first.
    let after = last_event_id(head)?.or(wanted.after);
    if head.method == Method::HEAD {
        return Ok(answer::typed(StatusCode::OK, kind, Content::Whole(None)));
    }
    let web = &caller.web;
    let Ok(seat) = web.streams.clone().try_acquire_owned() else {
        let full = "all streams are taken, come back";
        return Err(answer::later(StatusCode::SERVICE_UNAVAILABLE, full, BUSY));
    };
    let (next, foreign) = begin(&caller.core, &wanted.filter, after)
        .await
        .map_err(|error| unread(&error))?;
    let journal = caller.core.journal();
    let feed = Feed {
        journal: journal.clone(),
        head: journal.head(),
        filter: wanted.filter,
        shown: wanted.shown,
        framing,
        next,
        foreign,
        tokens: web.tokens.clone(),
        bearer,
        stop: web.stop.clone(),
        _seat: seat,
    };
    Ok(answer::unbuffered(answer::typed(
        StatusCode::OK,
        kind,
        Content::Coming(feed.stream()),
    )))
}

/// Where a stream begins, and the offset that was given if it is not of this journal.
async fn begin(core: &Core, filter: &Filter, after: Option<Offset>) -> Result<(Offset, Option<Offset>), JournalError> {
    let journal = core.journal();
    let head = *journal.head().borrow();
    match (after, filter.since) {
        (Some(after), _) if after < head => Ok((after + 1, None)),
        (Some(after), _) => Ok((journal.oldest().await?, Some(after))),
        (None, Some(since)) => Ok((journal.offset_at(since).await?, None)),
        (None, None) => Ok((head, None)),
    }
}

/// `Err`: it is no offset.
fn last_event_id(head: &Parts) -> Result<Option<Offset>, Refused> {
    let Some(value) = head.headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().map(str::trim);
    match text.map(|text| (text.is_empty(), params::number(text))) {
        Ok((_, Some(offset))) => Ok(Some(offset)),
        Ok((true, None)) => Ok(None),
        _ => Err(answer::refused(
            StatusCode::BAD_REQUEST,
            "`Last-Event-ID` is the `id` of the last event that came: a whole number",
        )),
    }
}

/// NDJSON, if it is asked for by name.
fn accepted(head: &Parts) -> Framing {
    let accepts = head
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut kinds = accepts.flat_map(|value| value.split(','));
    let is_wanted = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-ndjson")
    };
    match kinds.any(is_wanted) {
        true => Framing::Ndjson,
        false => Framing::Sse,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn a_last_id_that_is_none_is_refused_and_never_taken_for_no_id() {
        let asked = |id: &[u8]| {
            let request = Request::builder().header("Last-Event-ID", id);
            let (head, ()) = request.body(()).unwrap().into_parts();
            last_event_id(&head).map_err(|refused| refused.status())
        };
        assert_eq!(asked(b"7"), Ok(Some(7)));
        assert_eq!(asked(b" "), Ok(None));
        for bad in [&b"-1"[..], b"x", b"\xff", b"7\xff", b"18446744073709551616"] {
            assert_eq!(asked(bad), Err(StatusCode::BAD_REQUEST), "{bad:?}");
        }
    }
}
