//! As much of an HTTP server as a fake needs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::listening::Listening;
use super::message::{Reply, Request};
use super::orders::Orders;

/// A destination's behaviour where nothing is wrong; it keeps what it accepts.
pub trait Service: Send + 'static {
    /// Answers a request as the documentation says, however strict.
    fn answer(&mut self, request: &Request) -> Reply;

    /// Whether this request meets the faults that were ordered. Those that carry events should; a token or a look at
    /// the server's health need not.
    fn meets_faults(&self, _request: &Request) -> bool {
        true
    }
}

/// What goes wrong with the next request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer; nothing is kept.
    Answer(Reply),
    /// The service answers, then the connection is reset instead.
    ResetAfterStored,
    /// The request is read and never answered.
    Silence,
    /// A body without end.
    Endless,
    /// The service answers after a while.
    Slow(Duration),
    /// A longer body is announced than is sent, then the connection closes.
    ShortBody,
}

struct Shared<S> {
    service: Mutex<S>,
    orders: Orders<Fault>,
    asked: Mutex<Vec<String>>,
    tls: Option<Arc<ServerConfig>>,
}

/// A running server on loopback; it stops when dropped.
pub struct Server<S> {
    /// Where it listens, also after a stop.
    pub address: SocketAddr,
    shared: Arc<Shared<S>>,
    listening: Listening,
}

impl<S: Service> Server<S> {
    /// Starts on a port of the kernel's choice; plain without `tls`.
    pub async fn start(service: S, tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Shared {
            service: Mutex::new(service),
            orders: Orders::default(),
            asked: Mutex::default(),
            tls,
        };
        let listening = Listening::default();
        let mut server = Self {
            address: listening.address,
            shared: Arc::new(shared),
            listening,
        };
        server.resume().await;
        server
    }

    /// Listens again after [`stop`](Self::stop), at the same address, with all that was kept.
    pub async fn resume(&mut self) {
        let shared = self.shared.clone();
        self.listening.resume(|listener| accept(listener, shared)).await;
        self.address = self.listening.address;
    }

    /// Closes every connection; nobody listens from the return on.
    pub async fn stop(&mut self) {
        self.listening.stop().await;
    }

    /// `http://` or `https://` with the address.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Looks at the service, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.shared.service.lock().unwrap())
    }

    /// Orders a fault for the next request that meets faults.
    pub fn order(&self, fault: Fault) {
        self.shared.orders.order(fault);
    }

    /// Orders a fault for every such request until it is healed.
    pub fn order_lasting(&self, fault: Fault) {
        self.shared.orders.order_lasting(fault);
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        self.shared.orders.heal();
    }

    /// From now on a connection serves one request alone.
    pub fn close_after_each(&self) {
        self.shared.orders.close_after_each();
    }

    /// What was asked for so far, in order: method and path.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn accept<S: Service>(listener: TcpListener, shared: Arc<Shared<S>>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(greet(stream, shared.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn greet<S: Service>(stream: TcpStream, shared: Arc<Shared<S>>) {
    match shared.tls.clone() {
        None => serve(stream, &shared).await,
        Some(tls) => {
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                serve(stream, &shared).await;
            }
        }
    }
}

/// A connection that can be reset instead of closed.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {
    fn reset(&self);
}

impl Connection for TcpStream {
    fn reset(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Connection for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(&self) {
        let _ = self.get_ref().0.set_zero_linger();
    }
}

async fn serve<S: Service>(mut stream: impl Connection, shared: &Shared<S>) {
    let mut pending = Vec::new();
    while let Some(request) = Request::read(&mut stream, &mut pending).await {
        if !turn(&mut stream, shared, &request).await {
            return;
        }
    }
}

/// One request; false when the connection is over.
async fn turn<S: Service>(stream: &mut impl Connection, shared: &Shared<S>, request: &Request) -> bool {
    let answer = || shared.service.lock().unwrap().answer(request);
    match fault(shared, request) {
        None => reply(stream, shared, &answer()).await,
        Some(Fault::Slow(wait)) => {
            tokio::time::sleep(wait).await;
            reply(stream, shared, &answer()).await
        }
        Some(Fault::Answer(refusal)) => reply(stream, shared, &refusal).await,
        Some(Fault::ResetAfterStored) => {
            answer();
            stream.reset();
            false
        }
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Endless) => endless(stream).await,
        Some(Fault::ShortBody) => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"ok\":")
                .await;
            false
        }
    }
}

fn fault<S: Service>(shared: &Shared<S>, request: &Request) -> Option<Fault> {
    let meets = shared.service.lock().unwrap().meets_faults(request);
    let asked = format!("{} {}", request.method, request.path());
    shared.asked.lock().unwrap().push(asked);
    if meets { shared.orders.take() } else { None }
}

/// False when the connection closes after it.
async fn reply<S>(stream: &mut impl Connection, shared: &Shared<S>, reply: &Reply) -> bool {
    let closes = shared.orders.closes();
    let close = if closes { "Connection: close\r\n" } else { "" };
    let (status, length, headers) = (reply.status, reply.body.len(), &reply.headers);
    // Where a status has no body there is no length of it either (RFC 9110 section 8.6).
    let length = if status == 204 {
        String::new()
    } else {
        format!("Content-Length: {length}\r\n")
    };
    let head = format!("HTTP/1.1 {status} X\r\n{length}{headers}{close}\r\n");
    // In one piece, or the second waits for the first to be acknowledged.
    let sent = stream.write_all(&[head.as_bytes(), &reply.body].concat()).await;
    sent.is_ok() && !closes
}

async fn endless(stream: &mut impl Connection) -> bool {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    false
}
