//! One HTTP client per sink, with rules that hold for all.
//!
//! In: a request and the sink's TLS settings. Out: an [`Answer`], or the [`Fault`] that the transport had. Invariants:
//! 1 redirects are never followed and no proxy of the environment is used, so credentials go nowhere else; 2 connecting
//! ends within [`CONNECT_DEADLINE`], the whole exchange within the sink's own deadline, also when the peer trickles; 3
//! at most [`ANSWER_MAX`] bytes of an answer are read, or as many as [`exchange_within`] is told, and nothing is
//! inflated; 4 a fault's text never holds the URL's query, a header, or a token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url};

use crate::dial::{Address, CONNECT_DEADLINE, DEAD_PEER, Names, Resolver};
use crate::stream::{Fault, FaultKind};
use crate::tls::{Tls, explain};

/// Most bytes of an answer that are read.
pub const ANSWER_MAX: usize = 64 * 1024;
/// Longest pause that a destination can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Idle connections are closed before common servers would close them under a request.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// Most bytes of headers or trailers of HTTP/2: gRPC has its words there, and some servers repeat what they refuse.
const HEADERS_MAX: u32 = 256 * 1024;
/// Dead peers are noticed within a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A sink's client: one destination, known by its base URL.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
    base: Url,
    origin: String,
    tls: Option<Tls>,
}

impl HttpClient {
    /// Makes the client. Without `tls` the endpoint is plain and a TLS handshake never starts.
    ///
    /// With `tls.server_name` the destination is asked for and verified under that name, at the addresses of the
    /// base URL's host.
    /// Errors: [`FaultKind::Local`] when the TLS settings cannot be used, [`FaultKind::Config`] for a URL without host.
    pub fn new(base: Url, tls: Option<Tls>, deadline: Duration, resolver: Resolver) -> Result<Self, Fault> {
        let config = rustls_config(tls.as_ref())?;
        let builder = builder(&base, config, deadline, resolver)?;
        Self::built(builder, base, tls)
    }

    /// Like [`new`](Self::new), for a destination that speaks HTTP/2 and nothing else, as gRPC does: with TLS nothing
    /// else is offered, and in clear the connection begins with HTTP/2.
    pub fn over_http2(base: Url, tls: Option<Tls>, deadline: Duration, resolver: Resolver) -> Result<Self, Fault> {
        let mut config = rustls_config(tls.as_ref())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let builder = builder(&base, config, deadline, resolver)?
            .http2_prior_knowledge()
            .http2_max_header_list_size(HEADERS_MAX)
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_keep_alive_timeout(DEAD_PEER - KEEPALIVE);
        Self::built(builder, base, tls)
    }

    fn built(builder: ClientBuilder, base: Url, tls: Option<Tls>) -> Result<Self, Fault> {
        let client = builder
            .build()
            .map_err(|error| local(format!("http client: {}", chain(&error))))?;
        let origin = base.origin().ascii_serialization();
        let base = named(base, tls.as_ref())?;
        Ok(Self {
            client,
            base,
            origin,
            tls,
        })
    }

    /// Scheme, host and port: where it sends, without any path, which may be a credential.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A request to `path` below the base URL.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    /// Like [`request`](Self::request), with a query; names and values are encoded here.
    pub fn request_with(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.below(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.client.request(method, url)
    }

    /// Like [`request`](Self::request), with a query in place of the base's; path and query are percent-encoded already.
    pub fn request_to(&self, method: Method, path: &str, query: Option<&str>) -> RequestBuilder {
        let mut url = self.below(path);
        if query.is_some() {
            url.set_query(query);
        }
        self.client.request(method, url)
    }

    /// The destination's host, for messages.
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    fn below(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// What `status` says of the transport: TLS off, or days left of certificates.
    pub fn notes(&self) -> Vec<String> {
        match &self.tls {
            Some(tls) => tls.notes(),
            None => vec!["tls is off: events and credentials travel in clear".to_owned()],
        }
    }
}

/// The rules that hold for every client.
fn builder(
    base: &Url,
    config: rustls::ClientConfig,
    deadline: Duration,
    resolver: Resolver,
) -> Result<ClientBuilder, Fault> {
    let names = Names::new(destination(base)?, resolver);
    Ok(Client::builder()
        .tls_backend_preconfigured(config)
        .dns_resolver(Arc::new(Destination(Arc::new(names))))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(deadline)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_keepalive(KEEPALIVE)
        .tcp_user_timeout(Some(DEAD_PEER))
        .tcp_nodelay(true)
        .user_agent(concat!("trapline/", env!("CARGO_PKG_VERSION"))))
}

/// Resolves every name that the client asks for to its one destination.
struct Destination(Arc<Names>);

impl reqwest::dns::Resolve for Destination {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let names = self.0.clone();
        Box::pin(async move {
            let found = names.resolve().await.map_err(|fault| fault.message)?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

fn destination(base: &Url) -> Result<Address, Fault> {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = base.port_or_known_default().unwrap_or_default();
    let unusable = || Fault {
        kind: FaultKind::Config,
        message: format!("`{host}` is not a host that can be reached"),
    };
    Address::parse(host, Some(port)).ok_or_else(unusable)
}

/// The base URL under the name that the certificate must have.
fn named(mut base: Url, tls: Option<&Tls>) -> Result<Url, Fault> {
    let Some(tls) = tls else { return Ok(base) };
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = tls.name(&host)?.to_str().into_owned();
    if name != host {
        base.set_host(Some(&name))
            .map_err(|error| local(format!("`tls.server_name`: {error}")))?;
    }
    Ok(base)
}

/// The sink's TLS, or settings that trust nobody: at a plain endpoint a handshake would be a mistake.
fn rustls_config(tls: Option<&Tls>) -> Result<rustls::ClientConfig, Fault> {
    if let Some(tls) = tls {
        return Ok(tls.config().as_ref().clone());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| local(format!("tls: {error}")))?;
    Ok(builder
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn local(message: String) -> Fault {
    Fault {
        kind: FaultKind::Local,
        message,
    }
}

/// What a destination answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Pause that it asked for, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// Whether it may be refused for what stands in the request: a firewall that reads along blocks what an attacker wrote,
    /// and does not say so. What tells of the address, the login, the size or the pace is about those.
    pub const fn may_be_content(&self) -> bool {
        matches!(self.status, 400 | 402 | 403 | 406 | 409 | 411 | 412 | 414..=424 | 426..=428 | 430..=499)
    }

    /// The fault that a status other than 2xx stands for; `what` is the destination in an operator's words.
    ///
    /// No status is about one event: a sink that knows better (400, 413, 422) asks before.
    pub fn fault(&self, what: &str) -> Fault {
        let (kind, means) = match self.status {
            401 | 403 => (FaultKind::Auth, "refused the credentials"),
            407 | 511 => (FaultKind::Auth, "is behind a proxy that asks for a login"),
            408 | 425 | 429 => (FaultKind::Busy, "asked for a pause"),
            503 if self.retry_after.is_some() => (FaultKind::Busy, "asked for a pause"),
            300..=399 => (FaultKind::Config, "redirects, which is never followed"),
            404 | 405 | 410 => (FaultKind::Config, "has nothing at this address"),
            400..=499 => (FaultKind::Config, "does not take such requests"),
            500..=599 => (FaultKind::Server, "failed"),
            _ => (FaultKind::Server, "gave an answer that means nothing"),
        };
        Fault {
            kind,
            message: format!("{what} {means}: http status {}", self.status),
        }
    }
}

/// Sends a request and reads the bounded answer.
///
/// Errors: the transport's fault; the destination may or may not have the request.
/// Cancel: safe; counts as not sent.
pub async fn exchange(request: RequestBuilder) -> Result<Answer, Fault> {
    exchange_within(request, ANSWER_MAX).await
}

/// Like [`exchange`], for answers that are rightly longer: reads the first `bytes_max` bytes.
pub async fn exchange_within(request: RequestBuilder, bytes_max: usize) -> Result<Answer, Fault> {
    let response = request.send().await.map_err(transport_fault)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let body = bounded_body(response, bytes_max).await?;
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

/// An answer with all that HTTP has around its body.
#[derive(Debug)]
pub struct Whole {
    /// Status, pause and body.
    pub answer: Answer,
    /// What stood before the body.
    pub headers: HeaderMap,
    /// What stood behind it, as far as it was read to its end.
    pub trailers: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Broken {
    /// The transport's fault.
    pub fault: Fault,
    /// Whether the peer answered, but in no HTTP of the version that was spoken to it.
    pub is_foreign: bool,
    /// Whether the peer's answer has more before or behind its body than is read.
    pub is_too_long: bool,
    /// Whether the peer took the connection and cut it.
    pub is_cut: bool,
}

/// Like [`exchange`], with headers and trailers.
pub async fn exchange_whole(request: RequestBuilder) -> Result<Whole, Broken> {
    let response = request.send().await.map_err(broken)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let headers = response.headers().clone();
    let (body, trailers) = bounded_frames(response.into()).await?;
    let answer = Answer {
        status,
        retry_after,
        body,
    };
    Ok(Whole {
        answer,
        headers,
        trailers,
    })
}

/// The first [`ANSWER_MAX`] bytes of a body, and the trailers if it ends there.
async fn bounded_frames(mut body: reqwest::Body) -> Result<(Vec<u8>, HeaderMap), Broken> {
    let (mut read, mut trailers) = (Vec::new(), HeaderMap::new());
    while read.len() < ANSWER_MAX {
        let Some(frame) = body.frame().await else { break };
        match frame.map_err(broken)?.into_data() {
            Ok(data) => read.extend_from_slice(data.get(..ANSWER_MAX - read.len()).unwrap_or(&data)),
            Err(other) => trailers = other.into_trailers().unwrap_or_default(),
        }
    }
    Ok((read, trailers))
}

fn broken(error: reqwest::Error) -> Broken {
    let is_foreign = causes(&error).any(is_foreign);
    let is_too_long = causes(&error).any(is_too_long);
    let was_open = !is_too_long && !error.is_connect() && !error.is_timeout();
    let fault = transport_fault(error);
    Broken {
        is_foreign,
        is_too_long,
        is_cut: was_open && fault.kind == FaultKind::Unreachable,
        fault,
    }
}

/// Whether a cause is that the peer's bytes are no HTTP of the version that was spoken: what an HTTP/1 server says first
/// is no frame, and what an HTTP/2 server says first is no status line, or comes before anybody asked.
fn is_foreign(cause: &(dyn std::error::Error + 'static)) -> bool {
    let no_answer = |error: &hyper::Error| error.is_parse() || error.to_string() == UNASKED;
    let no_frame = |error: &h2::Error| {
        let reason = error.reason();
        !error.is_remote() && matches!(reason, Some(h2::Reason::FRAME_SIZE_ERROR | h2::Reason::PROTOCOL_ERROR))
    };
    cause.downcast_ref().is_some_and(no_answer) || cause.downcast_ref().is_some_and(no_frame)
}

/// Whether a cause is that we broke the connection off because of endless headers.
fn is_too_long(cause: &(dyn std::error::Error + 'static)) -> bool {
    let is_excess = |error: &h2::Error| !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    cause.downcast_ref().is_some_and(is_excess)
}

/// What hyper says, by text alone, of bytes that come before a request went out.
const UNASKED: &str = "received unexpected message from connection";

async fn bounded_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while body.len() < bytes_max {
        let Some(chunk) = response.chunk().await.map_err(transport_fault)? else {
            break;
        };
        let room = bytes_max - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
    Ok(body)
}

/// `Retry-After` as seconds or as a date (RFC 9110 section 10.2.3), capped. No time at all, or a date that has passed (which
/// our clock decides, or theirs), asks for nothing: it would be a try at once, and one more, without end.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX)).filter(|wait| !wait.is_zero())
}

/// The fault of a transport error: what failed and why, without the URL.
fn transport_fault(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    if let Some(fault) = explain(&error) {
        return fault;
    }
    let message = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        chain(&error)
    };
    Fault {
        kind: FaultKind::Unreachable,
        message,
    }
}

/// The causes of an error, outermost first, as one line; doubles left out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let outermost: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(outermost), |cause| std::error::Error::source(*cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsAcceptor;

    use crate::conformance::certs::Authority;
    use crate::tls::TlsSettings;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date_and_capped() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        for none in ["0", "Sun, 06 Nov 1994 08:00:00 GMT"] {
            assert_eq!(asked(none), None, "{none}: the pace is then our own");
        }
        assert_eq!(asked("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn a_status_becomes_the_fault_an_operator_can_act_on() {
        let answer = |status| Answer {
            status,
            retry_after: None,
            body: vec![],
        };
        for status in 100..=599 {
            let expected = match status {
                401 | 403 | 407 | 511 => FaultKind::Auth,
                408 | 425 | 429 => FaultKind::Busy,
                300..=499 => FaultKind::Config,
                _ => FaultKind::Server,
            };
            assert_eq!(answer(status).fault("the collector").kind, expected, "{status}");
        }
        for status in 100..=599 {
            let kind = answer(status).fault("the collector").kind;
            let by_name = [401, 404, 405, 407, 408, 410, 413, 425, 429].contains(&status);
            let expected = matches!(kind, FaultKind::Auth | FaultKind::Config) && status / 100 == 4 && !by_name;
            assert_eq!(answer(status).may_be_content(), expected, "{status}");
        }
        let asked = Answer {
            retry_after: Some(Duration::from_secs(1)),
            ..answer(503)
        };
        assert_eq!(asked.fault("the collector").kind, FaultKind::Busy);
        assert!(answer(407).fault("the collector").message.contains("proxy"));
    }

    #[tokio::test]
    async fn a_refused_connection_is_unreachable_and_does_not_show_the_url() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let base = Url::parse(&format!("http://127.0.0.1:{port}/hush")).unwrap();
        let client = HttpClient::new(base, None, Duration::from_secs(2), Resolver::default()).unwrap();
        let fault = exchange(client.request(Method::GET, "health")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable);
        assert!(!fault.message.contains("hush"), "{}", fault.message);
    }

    #[tokio::test]
    async fn a_longer_answer_is_read_as_far_as_the_caller_says() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let client = HttpClient::new(base, None, Duration::from_secs(30), Resolver::default()).unwrap();
        let serve = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
                let _ = stream.write_all(&[&head[..], &[b'x'; 100_000]].concat()).await;
            }
        });
        let request = || client.request(Method::GET, "history");
        assert_eq!(exchange(request()).await.unwrap().body.len(), ANSWER_MAX);
        assert_eq!(exchange_within(request(), 99_999).await.unwrap().body.len(), 99_999);
        assert_eq!(exchange_within(request(), 1 << 20).await.unwrap().body.len(), 100_000);
        serve.abort();
    }

    /// What a TLS server wants of its clients.
    #[derive(PartialEq, Eq)]
    enum Asks {
        ForNothing,
        ForACertificate,
    }

    /// What is said of a `https` peer that does as `serve` with the first connection.
    async fn told<F: Future<Output = ()>>(asks: Asks, serve: impl FnOnce(TcpStream, TlsAcceptor) -> F) -> Fault {
        let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let settings = TlsSettings {
            ca: Some(ca),
            ..TlsSettings::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        let tls = Some(Tls::new(&settings).unwrap());
        let client = HttpClient::new(base, tls, Duration::from_secs(30), Resolver::default()).unwrap();
        let clients = (asks == Asks::ForACertificate).then_some(&authority);
        let shown = authority.issue("127.0.0.1").unwrap().server(clients).unwrap();
        let asked = tokio::spawn(exchange(client.request(Method::GET, "health")));
        serve(listener.accept().await.unwrap().0, TlsAcceptor::from(shown)).await;
        asked.await.unwrap().unwrap_err()
    }

    #[tokio::test]
    async fn a_peer_that_closes_in_the_handshake_is_asked_for_as_a_plain_text_port() {
        let fault = told(Asks::ForNothing, |mut tcp, _| async move {
            let _ = tcp.read(&mut [0; 4096]).await;
        })
        .await;
        assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
        for said in ["plain-text port", "without TLS", "`tls.cert`"] {
            assert!(fault.message.contains(said), "{fault:?}");
        }
    }

    /// With TLS 1.3 the handshake is done for the client before the server has looked at its certificate.
    #[tokio::test]
    async fn a_missing_client_certificate_is_named() {
        let fault = told(Asks::ForACertificate, |tcp, acceptor| async move {
            let (_, mut tcp) = acceptor.accept(tcp).into_fallible().await.unwrap_err();
            tcp.shutdown().await.unwrap();
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        })
        .await;
        assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
        assert!(fault.message.contains("set `tls.cert`"), "{fault:?}");
    }

    #[tokio::test]
    async fn a_peer_that_breaks_tls_off_is_told_in_plain_words_and_without_a_link() {
        let fault = told(Asks::ForNothing, |tcp, acceptor| async move {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            // Ends TCP alone.
            stream.get_mut().0.shutdown().await.unwrap();
        })
        .await;
        assert_eq!(fault.kind, FaultKind::Unreachable, "{fault:?}");
        assert!(fault.message.contains("`tls.cert`"), "{fault:?}");
        assert!(!fault.message.contains("http"), "{fault:?}");
    }

    const WORDS: &[&str] = &[
        "Sun, ",
        "06 Nov ",
        "99 Feb ",
        "1994",
        "99999",
        " 08:50:37",
        " 24:61:61",
        " GMT",
        "-1",
        "+7",
        "60",
        " ",
    ];

    fn header() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec());
        let noise = prop::collection::vec(any::<u8>(), 0..6);
        prop::collection::vec(prop_oneof![6 => word, 1 => noise], 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_retry_after_are_no_pause_or_a_bounded_one(value in header()) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(RETRY_AFTER, value);
            }
            prop_assert!(retry_after(&headers, SystemTime::now()).is_none_or(|pause| pause <= RETRY_AFTER_MAX));
        }
    }
}
