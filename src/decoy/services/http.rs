//! `http`: a web server of a known product with a login page and a protected folder, and nobody gets in.
//!
//! In: requests. Out: one handshake with the first request, a request for each further one, a credential for each
//! Basic authorization, bearer token, login form, JSON login or secret in a query string. Bodies are bounded and never
//! inflated; `X-Forwarded-For` is what the peer claims and nothing else.
//!
//! What a product says to a strange request was asked of a live Apache 2.4.71 and nginx 1.22.1; IIS 10 answers as its
//! documentation and public captures show (see [`verdict`]).

mod answer;
mod body;
mod form;
mod pages;
mod request;
mod verdict;

use std::ops::Range;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use trapline_schemas::{Field, Value, text};

use self::answer::{APACHE_KEPT_MAX, Answer, Family, Frame};
use self::body::{Body, KEPT_MAX, Progress};
use self::form::{Authorization, Login};
use self::request::{Head, Request, V0_9, V1_1};
use self::verdict::Verdict;
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

/// Most header names in an event.
const HEADERS_SHOWN_MAX: usize = 64;

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
    let site = Site::new(look, &personality.install, session);
    let mut kept = 0;
    while let Some(end) = next_head(session, (kept > 0).then_some(look.keep_alive_secs)).await? {
        if !exchange(session, &site, end, kept).await? {
            return Ok(());
        }
        kept += 1;
    }
    Ok(())
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
async fn exchange(session: &mut Session, site: &Site<'_>, end: usize, kept: u32) -> Result<bool, SessionError> {
    let bytes = session.input().get(..end).unwrap_or_default().to_vec();
    let place = session.consume(end);
    let request = request::read(&bytes);
    let mut logins = offered(&request);
    for (_, login) in &logins {
        hide(session, login, place.start);
    }
    tell(session, &request, &logins).await;
    let local = session.local();
    let verdict = verdict::of(&request, site.look.family);
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
        bare: request.version == V0_9 && verdict == Verdict::Fine,
        asked_keep: request.says("connection", "keep-alive"),
        kept,
    };
    let mut answer = match &verdict {
        Verdict::Fine => match read_body(session, &request).await? {
            Ok(login) => {
                logins.extend(login.map(|login| ("form", login)));
                choose(site, &request)
            }
            Err(()) => Answer {
                status: 400,
                close: true,
                ..Answer::default()
            },
        },
        Verdict::Refused(answer) => answer.clone(),
    };
    let apache = site.look.family == Family::Apache;
    answer.close |= !keeps(&request) || (apache && (lies(&request) || kept >= APACHE_KEPT_MAX));
    let form = logins.iter().any(|(kind, _)| *kind == "form");
    let hidden = places(&offered(&request));
    for (kind, login) in logins {
        session
            .credential(kind, &login.user, &login.secret, facts(&request, &hidden))
            .await;
    }
    if form {
        session.pause(LOGIN_TIME).await?;
    }
    session.send(&answer.render(&frame)).await?;
    Ok(!answer.close)
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

/// What the head of a request offers as credentials.
fn offered(request: &Request<'_>) -> Vec<(&'static str, Login)> {
    let mut logins = Vec::new();
    for header in ["authorization", "proxy-authorization"]
        .iter()
        .flat_map(|name| request.all(name))
    {
        logins.extend(form::authorization(header.value).map(|offered| match offered {
            Authorization::Basic(login) => ("password", moved(login, header.at)),
            Authorization::Bearer(login) => ("token", moved(login, header.at)),
        }));
    }
    if let Some(login) = form::userinfo(request.target) {
        logins.push(("password", moved(login, request.target_at)));
    }
    if let Some((query, at)) = request.query() {
        logins.extend(form::pairs(query).map(|login| ("form", moved(login, at))));
    }
    logins
}

/// The same login with its places counted from the beginning of what holds it.
fn moved(mut login: Login, by: usize) -> Login {
    for place in &mut login.places {
        *place = place.start + by..place.end + by;
    }
    login
}

fn hide(session: &mut Session, login: &Login, from: u64) {
    for place in &login.places {
        session.mark_secret(from + place.start as u64..from + place.end as u64);
    }
}

/// Reports a request: the first as the handshake, each further one as a request.
async fn tell(session: &mut Session, request: &Request<'_>, logins: &[(&'static str, Login)]) {
    let secrets = places(logins);
    let facts = facts(request, &secrets);
    if session.is_introduced() {
        let method = String::from_utf8_lossy(request.method);
        let line = [method.as_bytes(), b" ", &target(request, &secrets)].concat();
        session.request(&line, facts).await;
    } else {
        session.handshake(facts).await;
    }
}

fn places(logins: &[(&'static str, Login)]) -> Vec<Range<usize>> {
    logins
        .iter()
        .flat_map(|(_, login)| login.places.iter().cloned())
        .collect()
}

/// The target with the secrets of its query hidden; they may be encoded, so that nobody else would find them.
fn target(request: &Request<'_>, secrets: &[Range<usize>]) -> Vec<u8> {
    let mut shown = request.target.to_vec();
    for secret in secrets {
        let from = secret.start.saturating_sub(request.target_at);
        let to = secret.end.saturating_sub(request.target_at);
        if let Some(hidden) = shown.get_mut(from..to) {
            hidden.fill(b'*');
        }
    }
    shown
}

fn facts(request: &Request<'_>, secrets: &[Range<usize>]) -> Vec<(Field, Value)> {
    let mut facts = Vec::with_capacity(10);
    let mut clean = |field, bytes: &[u8]| facts.push((field, Value::from(text::clean(bytes))));
    clean(Field::HttpMethod, request.method);
    clean(Field::UrlOriginal, &target(request, secrets));
    clean(Field::UrlPath, request.path());
    for (field, name) in [
        (Field::UserAgent, "user-agent"),
        (Field::HttpReferrer, "referer"),
        (Field::HttpForwardedFor, "x-forwarded-for"),
    ] {
        if let Some(value) = request.get(name) {
            clean(field, value);
        }
    }
    if let Some(host) = verdict::host(request) {
        clean(Field::UrlDomain, host.as_bytes());
    }
    let version = request.version;
    clean(
        Field::HttpVersion,
        format!("{}.{}", version.major, version.minor).as_bytes(),
    );
    if let Ok(Some(length)) = request.content_length() {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        facts.push((Field::HttpRequestBytes, length.into()));
    }
    let names = request.headers.iter().take(HEADERS_SHOWN_MAX);
    let names: Vec<_> = names.map(|header| text::clean(header.name)).collect();
    if !names.is_empty() {
        facts.push((Field::HttpHeaders, names.into()));
    }
    facts
}

/// Reads the body, hides what is secret in it, gives the login it holds. `Err`: its chunks are none.
async fn read_body(session: &mut Session, request: &Request<'_>) -> Result<Result<Option<Login>, ()>, SessionError> {
    let chunked = request.says("transfer-encoding", "chunked");
    let length = request.content_length().ok().flatten().unwrap_or(0);
    let mut body = if chunked { Body::chunked() } else { Body::sized(length) };
    if body.progress() == Progress::More && request.says("expect", "100-continue") {
        session.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let from = session.position();
    let ended = loop {
        let taken = body.take(session.input());
        session.consume(taken);
        match body.progress() {
            Progress::More => {}
            Progress::Done => break Ok(true),
            Progress::Broken => break Ok(false),
        }
        if let Err(error) = session.fill().await {
            break Err(error);
        }
    };
    let login = search(session, request, &body, from);
    match ended {
        Ok(true) => Ok(Ok(login)),
        Ok(false) => Ok(Err(())),
        // A login whose body was cut short was still offered.
        Err(error) => {
            if let Some(login) = login {
                session
                    .credential(
                        "form",
                        &login.user,
                        &login.secret,
                        facts(request, &places(&offered(request))),
                    )
                    .await;
            }
            Err(error)
        }
    }
}

/// Looks for a login in what was kept of a body.
fn search(session: &mut Session, request: &Request<'_>, body: &Body, from: u64) -> Option<Login> {
    let all = from..session.position();
    let kind = request.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let login = if kind.starts_with(b"application/json") || body.kept.first() == Some(&b'{') {
        form::json(&body.kept)
    } else {
        form::pairs(&body.kept)
    };
    match &login {
        // What was cut off could go on with the secret.
        Some(login) if body.whole && body.seen <= KEPT_MAX as u64 => hide(session, login, from),
        Some(_) => session.mark_secret(all),
        None if may_hide(&kind, &body.kept) => session.mark_secret(all),
        None => {}
    }
    login
}

/// Forms that are not read here, but name a field as a secret is named.
fn may_hide(kind: &[u8], body: &[u8]) -> bool {
    let form = [
        &b"multipart/"[..],
        b"application/json",
        b"application/xml",
        b"text/xml",
        b"application/soap",
    ];
    form.iter().any(|known| kind.starts_with(known)) && form::is_secret(body)
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
    fn secrets_in_a_query_are_not_in_the_facts() {
        let head = b"GET /l?user=a&pass=%78yz HTTP/1.1\r\nHost: h\r\n\r\n";
        let request = request::read(head);
        let logins = offered(&request);
        let places: Vec<_> = logins.iter().flat_map(|(_, login)| login.places.clone()).collect();
        assert_eq!(&head[places[0].clone()], b"%78yz");
        assert_eq!(target(&request, &places), b"/l?user=a&pass=*****");
    }

    #[test]
    fn a_password_in_the_target_is_a_credential_and_not_in_the_facts() {
        let head = b"GET http://u:p%40ss@h/a@b HTTP/1.1\r\nHost: h\r\n\r\n";
        let request = request::read(head);
        let logins = offered(&request);
        assert_eq!(
            (&logins[0].1.user[..], &logins[0].1.secret[..]),
            (&b"u"[..], &b"p@ss"[..])
        );
        assert_eq!(target(&request, &logins[0].1.places), b"http://u:******@h/a@b");
        assert!(offered(&request::read(b"GET /a://b:c@d HTTP/1.1\r\n\r\n")).is_empty());
    }

    #[test]
    fn a_folder_is_protected_and_its_namesakes_are_not() {
        assert!(under(b"/manager", b"/manager") && under(b"/manager/x", b"/manager"));
        assert!(!under(b"/managers", b"/manager") && !under(b"/", b"/manager"));
    }
}
