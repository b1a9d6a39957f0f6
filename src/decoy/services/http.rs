//! `http`: a web server of a known product with a login page and a protected folder, and nobody gets in.
//!
//! In: requests. Out: one handshake with the first request, a request for each further one, a credential for each
//! authorization, key in a header, login form, JSON login or secret in a query string. Bodies are bounded and never
//! inflated; `X-Forwarded-For` is what the peer claims and nothing else.
//!
//! What a product says to a strange request was asked of a live Apache 2.4.71 and nginx 1.22.1; IIS 10 answers as its
//! documentation and public captures show (see [`verdict`]).

mod answer;
mod body;
mod conditions;
mod form;
mod host;
mod multipart;
mod pages;
mod path;
mod range;
mod report;
mod request;
mod site;
mod verdict;

#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::answer::{APACHE_KEPT_MAX, Answer, Family, Frame};
use self::host::Named;
use self::report::Report;
use self::request::{Head, Request, V0_9, V1_1};
use self::site::Site;
use self::verdict::Verdict;
use crate::decoy::mask;
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "http",
    personality: "apache-ubuntu-22.04",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// What a web application takes to refuse a login.
const LOGIN_TIME: Duration = Duration::from_millis(450);

/// How long a server that has said its last word waits for the peer to end its side too.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How long Apache waits for a head that has begun (`RequestReadTimeout header=20`).
const APACHE_HEAD_TIME: Duration = Duration::from_secs(20);

/// Most blank lines before a request that Apache skips.
const APACHE_BLANK_MAX: usize = 10;

/// `[look]` of an `http` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Whose manners: `apache`, `nginx` or `iis`.
    family: Family,
    /// The `Server` header.
    server: String,
    /// First line of Apache's error pages.
    #[serde(default)]
    doctype: String,
    /// How long it waits for the next request of a kept connection.
    keep_alive_secs: u64,
    /// The page at `/`.
    index: String,
    /// Where the form of the page is sent to.
    login_path: String,
    /// The page after a refused login.
    refused: String,
    /// The folder that asks for a password, without `/` at the end.
    protected_path: String,
    /// The realm it asks for.
    realm: String,
    /// What nobody may see: places with all that is in them, and folders, with `/` at the end, that may not be listed.
    #[serde(default)]
    forbidden: Vec<String>,
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    // Made with the first request: a silent session holds no pages.
    let mut site = None;
    let mut before = Before::default();
    if session.is_misled() && !verdict::answers_plain(session.input(), look.family) {
        session.drop_input();
        return Ok(());
    }
    loop {
        let end = match next_head(session, look, before.kept > 0).await? {
            Next::Head(end) => end,
            Next::Late => return late(session, look).await,
            Next::Nothing => return Ok(()),
        };
        let site = site.get_or_insert_with(|| Site::new(look, &personality.install, session));
        // On the heap, so that a silent session does not hold the room of an answer.
        if !Box::pin(exchange(session, site, end, &mut before)).await? {
            return linger(session).await;
        }
        before.kept += 1;
    }
}

/// What came before on a connection that was kept.
#[derive(Debug, Default)]
struct Before {
    /// Requests.
    kept: u32,
    /// Whether the last one's body held a secret: what follows may be the rest of it, if its length was a lie.
    secret: bool,
}

/// What came of waiting for a head.
enum Next {
    /// It has this many bytes.
    Head(usize),
    /// The time for it is over, and it has begun.
    Late,
    /// The time for another is over.
    Nothing,
}

/// Waits for a whole head; blank lines before it are skipped, as servers do.
async fn next_head(session: &mut Session, look: &Look, was_kept: bool) -> Result<Next, SessionError> {
    let mut blank_lines = 0;
    let mut until = None;
    loop {
        let blank = blank(session.input(), look.family, &mut blank_lines);
        session.consume(blank);
        if let Some(end) = head_end(session.input(), look.family) {
            return Ok(Next::Head(end));
        }
        if session.input().is_empty() {
            if !was_kept {
                session.fill().await?;
            } else if session.fill_within(Duration::from_secs(look.keep_alive_secs)).await? == 0 {
                return Ok(Next::Nothing);
            }
        } else if look.family != Family::Apache {
            session.fill().await?;
        } else {
            let until = *until.get_or_insert_with(|| Instant::now() + APACHE_HEAD_TIME);
            if session
                .fill_within(until.saturating_duration_since(Instant::now()))
                .await?
                == 0
            {
                return Ok(Next::Late);
            }
        }
    }
}

/// Ends a session whose head did not come in time: with a page, if at least its first line came.
async fn late(session: &mut Session, look: &Look) -> Result<(), SessionError> {
    let bytes = session.input().to_vec();
    if bytes.contains(&b'\n') {
        let bytes = render(session, look, &request::read(&bytes), &verdict::late(), 0);
        session.send(&bytes).await?;
    }
    linger(session).await
}

/// How many bytes before a request are skipped. Apache counts whole lines, and takes what is too much for a request.
fn blank(input: &[u8], family: Family, lines: &mut usize) -> usize {
    if family != Family::Apache {
        return input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    }
    let pairs = input.chunks(2).take_while(|pair| *pair == b"\r\n").count();
    let skipped = pairs.min(APACHE_BLANK_MAX - *lines);
    *lines += skipped;
    skipped * 2
}

/// Where the head ends, or what there is of one that is answered before its end.
fn head_end(input: &[u8], family: Family) -> Option<usize> {
    let all = request::HEAD_MAX.min(input.len());
    match request::head(input, verdict::open_max(family)) {
        Head::End(end) => Some(end),
        Head::TooLong => Some(all),
        Head::More => verdict::is_no_line(input, family).then_some(all),
    }
}

/// Ends our side and waits for the peer to end its own, so that the last answer arrives. What comes meanwhile was read
/// by nobody, and may be the rest of anything: it is not shown.
async fn linger(session: &mut Session) -> Result<(), SessionError> {
    if mask::may_hold_one(session.input()) {
        session.hide_input();
    }
    let from = session.consume(session.input().len()).end;
    let ended = session.drain(LINGER_TIME).await;
    session.hide(from..session.position());
    ended
}

/// Takes one request and answers it; `false`: the connection ends.
async fn exchange(
    session: &mut Session,
    site: &Site<'_>,
    end: usize,
    before: &mut Before,
) -> Result<bool, SessionError> {
    let bytes = session.input().get(..end).unwrap_or_default().to_vec();
    let place = session.consume(end);
    let request = request::read(&bytes);
    // HTTP/2, whose headers cannot be read here; or the lines of a body without its head.
    if request.method == b"PRI" || request.is_junk() && mask::may_hold_one(&[&bytes, session.input()].concat()) {
        session.hide_input();
    }
    let mut report = Report::new(session, &bytes, place, &request, before.secret);
    report.tell(session).await;
    let mut answer = judge(session, site, &request, &mut report).await?;
    answer.close |= !keeps(&request) || (site.look.family == Family::Apache && apache_ends(&request, before.kept));
    before.secret = report.has_secret_body;
    if report.offer(session).await {
        session.pause(LOGIN_TIME).await?;
    }
    let bytes = render(session, site.look, &request, &answer, before.kept);
    session.send(&bytes).await?;
    Ok(!(answer.close || answer.drop))
}

fn render(session: &Session, look: &Look, request: &Request<'_>, answer: &Answer<'_>, kept: u32) -> Vec<u8> {
    let local = session.local();
    let named = host::named(request).filter(|_| !answer.early);
    let mut named = named.unwrap_or_else(|| Named {
        name: local.ip().to_string(),
        port: None,
    });
    if look.family == Family::Apache {
        named.name = named.name.trim_end_matches('.').to_ascii_lowercase();
    }
    let bare = verdict::is_bare(request, look.family);
    answer.render(&Frame {
        family: look.family,
        server: &look.server,
        doctype: &look.doctype,
        date: &site::http_date(jiff::Timestamp::now()),
        host: &named.name,
        port: named.port.unwrap_or(local.port()),
        head: request.method == b"HEAD" && !bare,
        bare,
        old: request.version < V1_1,
        asked_keep: request.says("connection", "keep-alive"),
        kept,
    })
}

/// What the product answers. The body is taken off the stream unless the connection ends without it.
async fn judge<'a>(
    session: &mut Session,
    site: &'a Site<'_>,
    request: &Request<'a>,
    report: &mut Report<'_>,
) -> Result<Answer<'a>, SessionError> {
    let verdict = match verdict::of(request, site.look.family) {
        Verdict::Fine if session.is_misled() => Verdict::Refused(verdict::plain(site.look.family)),
        verdict => verdict,
    };
    if let Verdict::Refused(answer) = &verdict
        && answer.close
    {
        return Ok(answer.clone());
    }
    let answer = match verdict {
        Verdict::Fine => site.answer(request),
        Verdict::Refused(answer) => answer,
    };
    let goes_on = goes_on(request, &answer, site.look.family);
    let strict = site.look.family == Family::Apache;
    Ok(match report.read_body(session, goes_on, strict).await? {
        Ok(()) => answer,
        Err(()) => verdict::no_chunks(site.look.family, answer),
    })
}

/// Whether the product asks for the body that the client keeps back. Apache does before it reads any; nginx before it
/// drops one, unless it sends an error.
fn goes_on(request: &Request<'_>, answer: &Answer<'_>, family: Family) -> bool {
    let waits = request.version >= V1_1
        && request
            .get("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    waits
        && match family {
            Family::Nginx => answer.status < 400,
            _ => request.has_body(),
        }
}

/// Whether the connection goes on after this request.
fn keeps(request: &Request<'_>) -> bool {
    match request.version {
        version if version >= V1_1 => !request.says("connection", "close"),
        V0_9 => false,
        _ => request.says("connection", "keep-alive"),
    }
}

/// Whether Apache ends the connection although the client would keep it: there are both a length and chunks, and the
/// chunks win (RFC 9112 section 6.3); a body was announced that does not exist; or it was kept often enough.
fn apache_ends(request: &Request<'_>, kept: u32) -> bool {
    let lies = request.get("content-length").is_some() && request.get("transfer-encoding").is_some();
    let waits = request.says("expect", "100-continue") && !request.has_body();
    lies || waits || kept >= APACHE_KEPT_MAX
}
