//! One HTTP client per sink, with rules that hold for all.
//!
//! In: a request and the sink's TLS settings. Out: an [`Answer`], or the [`Fault`] that the transport had. Invariants:
//! 1 redirects are never followed and no proxy of the environment is used, so credentials go nowhere else; 2 connecting
//! ends within [`CONNECT_DEADLINE`], the whole exchange within the sink's own deadline, also when the peer trickles; 3
//! at most [`ANSWER_MAX`] bytes of an answer are read, or as many as [`exchange_within`] is told, and nothing is
//! inflated; 4 a fault's text never holds the URL's query, a header, or a token.

mod exchange;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Url};

use self::exchange::chain;
pub use self::exchange::{Answer, Broken, Whole, exchange, exchange_whole, exchange_within};
use crate::dial::{Address, CONNECT_DEADLINE, DEAD_PEER, Names, Resolver};
use crate::stream::{Fault, FaultKind};
use crate::tls::Tls;

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
