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
mod form;
mod multipart;
mod pages;
mod report;
mod request;
mod verdict;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use self::answer::{APACHE_KEPT_MAX, Answer, Family, Frame};
use self::report::Report;
use self::request::{Fault, Head, Request, V0_9, V1_1};
use self::verdict::Verdict;
use crate::decoy::mask;
use crate::decoy::personality::{self, Install};
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "http",
    personality: "apache-ubuntu-22.04",
    look: personality::look::<Look>,
    speak: Speak::Stream(serve),
};

/// What a web application takes to refuse a login.
const LOGIN_TIME: Duration = Duration::from_millis(450);

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
    while let Some(end) = next_head(session, (before.kept > 0).then_some(look.keep_alive_secs)).await? {
        let site = site.get_or_insert_with(|| Site::new(look, &personality.install, session));
        // On the heap, so that a silent session does not hold the room of an answer.
        if !Box::pin(exchange(session, site, end, &mut before)).await? {
            return Ok(());
        }
        before.kept += 1;
    }
    Ok(())
}

/// What came before on a connection that was kept.
#[derive(Debug, Default)]
struct Before {
    /// Requests.
    kept: u32,
    /// Whether the last one's body held a secret: what follows may be the rest of it, if its length was a lie.
    secret: bool,
}

/// Waits for a whole head; blank lines before it are skipped, as servers do. `None`: the time for another is over.
async fn next_head(session: &mut Session, within: Option<u64>) -> Result<Option<usize>, SessionError> {
    loop {
        let blank = session
            .input()
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        session.consume(blank);
        match request::head(session.input()) {
            Head::End(end) => return Ok(Some(end)),
            Head::TooLong => return Ok(Some(request::HEAD_MAX.min(session.input().len()))),
            Head::More => {}
        }
        match within.filter(|_| session.input().is_empty()) {
            None => drop(session.fill().await?),
            Some(secs) if session.fill_within(Duration::from_secs(secs)).await? == 0 => return Ok(None),
            Some(_) => {}
        }
    }
}

/// The files of the site, as this install has them.
struct Site<'a> {
    look: &'a Look,
    index: String,
    refused: String,
    realm: String,
    modified: String,
    etag: String,
}

impl<'a> Site<'a> {
    fn new(look: &'a Look, install: &Install, session: &Session) -> Self {
        let index = session.expand(&look.index).into_owned();
        let (modified, etag) = file(look.family, install, index.len());
        Self {
            look,
            refused: session.expand(&look.refused).into_owned(),
            realm: session.expand(&look.realm).into_owned(),
            index,
            modified,
            etag,
        }
    }
}

/// When the index was last written, on this install, and the ETag that the product makes of it.
fn file(family: Family, install: &Install, size: usize) -> (String, String) {
    let drawn = install.draw("http index");
    let word = |at: usize| {
        drawn
            .get(at..at + 4)
            .and_then(|four| four.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    };
    // From the middle of 2022 for two and a half years.
    let seconds = 1_656_000_000 + u64::from(word(0)) % 80_000_000;
    let micros = seconds * 1_000_000 + u64::from(word(4)) % 1_000_000;
    let etag = match family {
        Family::Apache => format!("\"{size:x}-{micros:x}\""),
        Family::Nginx => format!("\"{seconds:x}-{size:x}\""),
        Family::Iis => {
            // A FILETIME, byte by byte, without leading zeros.
            let ticks = (micros + 11_644_473_600_000_000) * 10;
            let bytes: String = ticks.to_le_bytes().iter().map(|byte| format!("{byte:x}")).collect();
            format!("\"{bytes}:0\"")
        }
    };
    let written = i64::try_from(seconds).unwrap_or_default();
    (
        http_date(jiff::Timestamp::from_second(written).unwrap_or_default()),
        etag,
    )
}

fn http_date(at: jiff::Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
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
    let is_junk = request.faults.contains(&Fault::Line);
    // HTTP/2, whose headers cannot be read here; or the lines of a body without its head.
    if request.method == b"PRI" || is_junk && mask::may_hold_one(&[&bytes, session.input()].concat()) {
        session.hide_input();
    }
    let mut report = Report::new(session, &bytes, place, &request, before.secret);
    report.tell(session).await;
    let mut answer = judge(session, site, &request, &mut report).await?;
    let apache = site.look.family == Family::Apache;
    answer.close |= !keeps(&request) || (apache && (lies(&request) || before.kept >= APACHE_KEPT_MAX));
    before.secret = report.has_secret_body;
    if report.offer(session).await {
        session.pause(LOGIN_TIME).await?;
    }
    let local = session.local();
    let asked = verdict::host(&request).unwrap_or_else(|| local.ip().to_string());
    let date = http_date(jiff::Timestamp::now());
    let frame = Frame {
        family: site.look.family,
        server: &site.look.server,
        doctype: &site.look.doctype,
        date: &date,
        host: &asked,
        port: local.port(),
        head: request.method == b"HEAD",
        bare: request.version == V0_9 && verdict::of(&request, site.look.family) == Verdict::Fine,
        asked_keep: request.says("connection", "keep-alive"),
        kept: before.kept,
    };
    session.send(&answer.render(&frame)).await?;
    Ok(!answer.close)
}

/// What the product answers. The body is taken off the stream unless the connection ends without it.
async fn judge<'a>(
    session: &mut Session,
    site: &'a Site<'_>,
    request: &Request<'a>,
    report: &mut Report<'_>,
) -> Result<Answer<'a>, SessionError> {
    let verdict = verdict::of(request, site.look.family);
    if let Verdict::Refused(answer) = &verdict
        && answer.close
    {
        return Ok(answer.clone());
    }
    let goes_on = verdict == Verdict::Fine;
    Ok(match (report.read_body(session, goes_on).await?, verdict) {
        (Ok(()), Verdict::Fine) => choose(site, request),
        (Ok(()), Verdict::Refused(answer)) => answer,
        (Err(()), _) => Answer {
            status: 400,
            close: true,
            ..Answer::default()
        },
    })
}

/// Whether the connection goes on after this request.
fn keeps(request: &Request<'_>) -> bool {
    match request.version {
        version if version >= V1_1 => !request.says("connection", "close"),
        V0_9 => false,
        _ => request.says("connection", "keep-alive"),
    }
}

/// Both a length and chunks: the chunks win and the connection ends (RFC 9112 section 6.3).
fn lies(request: &Request<'_>) -> bool {
    request.get("content-length").is_some() && request.get("transfer-encoding").is_some()
}

/// What the site has for a request that is in order.
fn choose<'a>(site: &'a Site<'_>, request: &Request<'_>) -> Answer<'a> {
    let path = form::path(request.path()).unwrap_or_default();
    let post = request.method == b"POST";
    let look = site.look;
    let file = Some((site.modified.as_str(), site.etag.as_str()));
    if request.method == b"OPTIONS" {
        return verdict::options(look.family, request.target == b"*");
    }
    if under(&path, look.protected_path.as_bytes()) {
        let realm = format!("Basic realm=\"{}\"", site.realm);
        return Answer {
            status: 401,
            extra: Some(("WWW-Authenticate", realm)),
            ..Answer::default()
        };
    }
    if path == look.login_path.as_bytes() {
        return if post {
            let place = format!("{}?error=1", look.login_path);
            Answer {
                status: 302,
                extra: Some(("Location", place)),
                ..Answer::default()
            }
        } else {
            let failed = request.query().is_some();
            let body = if failed { &site.refused } else { &site.index };
            Answer {
                status: 200,
                body: Some(body),
                kind: Some("text/html; charset=UTF-8"),
                ..Answer::default()
            }
        };
    }
    if path == b"/" {
        if post && look.family != Family::Apache {
            return verdict::not_allowed(look.family, "POST");
        }
        let fresh = request.says("if-none-match", &site.etag) || request.says("if-none-match", "*");
        return Answer {
            status: if fresh { 304 } else { 200 },
            body: Some(&site.index),
            kind: Some("text/html"),
            file,
            ..Answer::default()
        };
    }
    let hidden = look.family == Family::Apache && path.split(|byte| *byte == b'/').any(|part| part.starts_with(b".ht"));
    Answer {
        status: if hidden { 403 } else { 404 },
        ..Answer::default()
    }
}

fn under(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_have_the_shape_of_their_product() {
        let install = Install::from_seed([3; 32]);
        let etag = |family| file(family, &install, 0x29cd).1;
        let shape = |text: String| {
            text.chars()
                .map(|letter| if letter.is_ascii_hexdigit() { 'h' } else { letter })
                .collect::<String>()
        };
        assert_eq!(shape(etag(Family::Apache)), "\"hhhh-hhhhhhhhhhhhh\"");
        assert_eq!(shape(etag(Family::Nginx)), "\"hhhhhhhh-hhhh\"");
        let iis = etag(Family::Iis);
        assert!(
            iis.ends_with("d81:0\"") || iis.ends_with("db1:0\"") || iis.contains("1:0\""),
            "{iis}"
        );
        assert_eq!(etag(Family::Apache), etag(Family::Apache), "stable on an install");
        assert_ne!(
            file(Family::Apache, &Install::from_seed([4; 32]), 1),
            file(Family::Apache, &install, 1)
        );
    }

    #[test]
    fn a_folder_is_protected_and_its_namesakes_are_not() {
        assert!(under(b"/manager", b"/manager") && under(b"/manager/x", b"/manager"));
        assert!(!under(b"/managers", b"/manager") && !under(b"/", b"/manager"));
    }
}
