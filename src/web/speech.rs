//! HTTP over one connection: TLS if it is on, one request, its answer.

use std::io;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answer::Answer;
use super::tls::Secured;

/// How long a peer may take for the handshake of TLS, and for its request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines of a request.
const HEAD_LINES_MAX: usize = 64;

/// Hears one request and has it answered. Cancel: the connection is closed.
pub(super) async fn hear<S, A, F>(stream: S, tls: Option<&Secured>, answer: A) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let Some(tls) = tls else {
        return request(stream, answer).await;
    };
    let shaken = timeout(HEAD_TIME_MAX, tls.acceptor.accept(stream)).await;
    request(shaken.map_err(|_| io::ErrorKind::TimedOut)??, answer).await
}

async fn request<S, A, F>(stream: S, answer: A) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let serve = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_LINES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), serve)
        .await;
    served.map_err(io::Error::other)
}
