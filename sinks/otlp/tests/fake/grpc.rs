//! The receiver over gRPC: as much of a server as the suite needs, on HTTP/2 frames of the crate `h2`.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use trapline_sink::conformance::web::{Listening, Orders};

use super::http::response;
use super::store::{Store, Taken};
use super::{KEY, wire};

/// The method.
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// What goes wrong with the next call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status alone, with details if there are any.
    Status(u16, &'static str),
    /// This status, with words of so many bytes in the trailers.
    Wordy(u16, usize),
    /// An answer of HTTP with this type and body, and no trailers.
    Page(u16, &'static str, Vec<u8>),
    /// An answer of gRPC with these bytes for a message and status 0.
    Bytes(Vec<u8>),
    /// The call is kept, then the connection is reset.
    ResetAfterStored,
    /// No answer.
    Silence,
    /// A message without end.
    Endless,
    /// An answer after a while.
    Slow(Duration),
    /// Half a message, and no trailers.
    ShortBody,
}

struct Shared {
    store: Mutex<Store>,
    orders: Orders<Fault>,
    tls: Option<Arc<ServerConfig>>,
}

/// A running receiver; it stops when dropped.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: Listening,
}

impl Receiver {
    /// Starts on a port of the kernel's choice.
    pub async fn start(store: Store, tls: Option<Arc<ServerConfig>>) -> Self {
        let tls = tls.map(|tls| {
            let mut tls = (*tls).clone();
            tls.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(tls)
        });
        let shared = Shared {
            store: Mutex::new(store),
            orders: Orders::default(),
            tls,
        };
        let listening = Listening::default();
        let mut receiver = Self {
            address: listening.address,
            shared: Arc::new(shared),
            listening,
        };
        receiver.resume().await;
        receiver
    }

    /// Listens again, at the same address, with all that was kept.
    pub async fn resume(&mut self) {
        let shared = self.shared.clone();
        self.listening.resume(|listener| accept(listener, shared)).await;
        self.address = self.listening.address;
    }

    /// Nobody listens from the return on.
    pub async fn stop(&mut self) {
        self.listening.stop().await;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The faults that it is to have.
    pub fn orders(&self) -> &Orders<Fault> {
        &self.shared.orders
    }

    /// Looks at what was kept.
    pub fn with<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut self.shared.store.lock().unwrap())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, shared.clone()));
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    match &shared.tls {
        None => drop(serve(stream, &shared).await),
        Some(tls) => {
            if let Ok(stream) = TlsAcceptor::from(tls.clone()).accept(stream).await {
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                drop(serve(stream, &shared).await);
            }
        }
    }
}

/// Serves calls until the connection ends, or one of them breaks it.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Arc<Shared>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let broken = Arc::new(Notify::new());
    let mut calls = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            () = broken.notified() => return Ok(()),
        };
        let Some(next) = next else { return Ok(()) };
        let (request, respond) = next?;
        if shared.orders.closes() {
            connection.graceful_shutdown();
        }
        calls.spawn(call(request, respond, shared.clone(), broken.clone()));
    }
}

async fn call(
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
    broken: Arc<Notify>,
) {
    let (head, mut body) = request.into_parts();
    let mut frame = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        frame.extend_from_slice(&data);
    }
    let fault = shared.orders.take();
    let keep = || taken(&head.uri.to_string(), &head.headers, &frame, &shared);
    let (told, fault) = match fault {
        None => (keep(), None),
        Some(Fault::Slow(pause)) => {
            tokio::time::sleep(pause).await;
            (keep(), None)
        }
        Some(Fault::ResetAfterStored) => (keep(), Some(Fault::ResetAfterStored)),
        Some(fault) => (Ok((0, 0)), Some(fault)),
    };
    match (told, fault) {
        (Ok(told), None) => drop(answer(respond, told, frame.first() == Some(&1))),
        (Err(Fault::ResetAfterStored), _) | (_, Some(Fault::ResetAfterStored)) => broken.notify_one(),
        (_, Some(fault)) | (Err(fault), None) => drop(spoil(respond, fault).await),
    }
}

/// The status of the call, and how many records it refuses; or what becomes of it instead.
fn taken(uri: &str, headers: &HeaderMap, frame: &[u8], shared: &Shared) -> Result<(u16, usize), Fault> {
    let mut store = shared.store.lock().unwrap();
    let header = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .unwrap_or_default()
    };
    let in_form = uri.ends_with(EXPORT)
        && header("te") == "trailers"
        && header("content-type") == "application/grpc"
        && header("grpc-accept-encoding") == "identity"
        && header("user-agent").starts_with("trapline/")
        && header("grpc-timeout")
            .strip_suffix('m')
            .is_some_and(|digits| digits.parse::<u32>().is_ok());
    let message = unframed(frame, header("grpc-encoding"));
    let logs = message.and_then(|message| Some((wire::export_request(&message).ok()?, message.len())));
    let Some((logs, bytes)) = logs.filter(|_| in_form) else {
        store.wrong.push(format!("{uri} {headers:?} {frame:?}"));
        return Ok((13, 0));
    };
    if header("api-key") != KEY {
        return Ok((16, 0));
    }
    Ok(match store.take(&logs, bytes) {
        Taken::Invalid => (3, 0),
        Taken::TooMany => (8, 0),
        Taken::Broken => (13, 0),
        Taken::Blocked => (7, 0),
        Taken::Page => return Err(Fault::Page(200, "text/html", b"<html>blocked</html>".to_vec())),
        Taken::Cut => return Err(Fault::ResetAfterStored),
        Taken::AllBut(refused) => (0, refused),
    })
}

/// The message of a frame, inflated where it says so.
fn unframed(frame: &[u8], encoding: &str) -> Option<Vec<u8>> {
    let (flag, rest) = frame.split_first()?;
    let (length, message) = rest.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*length) as usize != message.len() {
        return None;
    }
    match (flag, encoding) {
        (0, "identity") => Some(message.to_vec()),
        (1, "gzip") => {
            let mut content = Vec::new();
            flate2::read::GzDecoder::new(message).read_to_end(&mut content).ok()?;
            Some(content)
        }
        _ => None,
    }
}

fn head(status: u16, kind: &str) -> Response<()> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(())
        .unwrap()
}

/// In the compression of the call, whatever the client says of what it takes: so does grpc-go.
fn answer(mut respond: SendResponse<Bytes>, (code, refused): (u16, usize), gzip: bool) -> Result<(), h2::Error> {
    if code != 0 {
        return alone(respond, code, "");
    }
    let mut head = head(200, "application/grpc+proto");
    if gzip {
        head.headers_mut()
            .insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(framed(response(refused), gzip).into(), false)?;
    trailers(&mut stream)
}

fn framed(message: Vec<u8>, gzip: bool) -> Vec<u8> {
    let message = if gzip { deflated(&message) } else { message };
    [
        &[u8::from(gzip)],
        &u32::try_from(message.len()).unwrap().to_be_bytes()[..],
        &message,
    ]
    .concat()
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn trailers(stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

/// A status in the headers, with nothing behind them.
fn alone(mut respond: SendResponse<Bytes>, code: u16, details: &str) -> Result<(), h2::Error> {
    let mut head = head(200, "application/grpc");
    let headers = head.headers_mut();
    headers.insert("grpc-status", code.into());
    headers.insert("grpc-message", HeaderValue::from_static("as%20ordered"));
    if !details.is_empty() {
        headers.insert("grpc-status-details-bin", HeaderValue::from_str(details).unwrap());
    }
    respond.send_response(head, true).map(drop)
}

async fn spoil(mut respond: SendResponse<Bytes>, fault: Fault) -> Result<(), h2::Error> {
    match fault {
        Fault::Status(code, details) => alone(respond, code, details),
        Fault::Wordy(code, bytes) => {
            let mut stream = respond.send_response(head(200, "application/grpc"), false)?;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", code.into());
            trailers.insert("grpc-message", HeaderValue::from_str(&"w".repeat(bytes)).unwrap());
            stream.send_trailers(trailers)
        }
        Fault::Page(status, kind, body) => {
            let mut stream = respond.send_response(head(status, kind), false)?;
            stream.send_data(body.into(), true)
        }
        Fault::Bytes(bytes) => {
            let mut head = head(200, "application/grpc");
            head.headers_mut()
                .insert("grpc-encoding", HeaderValue::from_static("gzip"));
            let mut stream = respond.send_response(head, false)?;
            stream.send_data(bytes.into(), false)?;
            trailers(&mut stream)
        }
        Fault::ShortBody => {
            let mut stream = respond.send_response(head(200, "application/grpc"), false)?;
            stream.send_data(b"\0\0\0\0\x09abc".as_slice().into(), true)
        }
        Fault::Endless => endless(respond.send_response(head(200, "application/grpc"), false)?).await,
        // The call is held until the client gives up or the receiver stops.
        _ => {
            let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
            Ok(())
        }
    }
}

async fn endless(mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
    loop {
        stream.reserve_capacity(8192);
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(room)) => stream.send_data(vec![0; room].into(), false)?,
            _ => return Ok(()),
        }
    }
}
