//! As much of an HTTP server as a fake needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Fault, Settings, State};

pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

pub(super) async fn accept(listener: TcpListener, settings: Settings, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (settings, state) = (settings.clone(), state.clone());
        tokio::spawn(async move {
            match settings.tls.clone() {
                None => serve(stream, &settings, &state).await,
                Some(tls) => {
                    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                        serve(stream, &settings, &state).await;
                    }
                }
            }
        });
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

async fn serve(mut stream: impl Connection, settings: &Settings, state: &Mutex<State>) {
    let mut pending = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut pending).await {
        let fault = note(&request, state);
        match fault {
            None => answer(&mut stream, settings, state, &request).await,
            Some(Fault::Slow(wait)) => {
                tokio::time::sleep(wait).await;
                answer(&mut stream, settings, state, &request).await;
            }
            Some(Fault::Answer(status, headers, body)) => reply(&mut stream, status, headers, &body).await,
            Some(Fault::Error(word)) => refuse(&mut stream, &request, word).await,
            Some(Fault::ResetAfterStored) => {
                let _ = state.lock().unwrap().respond(settings, &request);
                return stream.reset();
            }
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Endless) => return endless(&mut stream).await,
            Some(Fault::ShortBody) => {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"ok\":")
                    .await;
                return;
            }
        }
    }
}

/// Notes what is asked for; messages meet the faults that were ordered.
fn note(request: &Request, state: &Mutex<State>) -> Option<Fault> {
    let mut state = state.lock().unwrap();
    let method = request.path.strip_prefix("/api/").unwrap_or("webhook").to_owned();
    let is_message = method == "chat.postMessage" || (method == "webhook" && request.method == "POST");
    state.asked.push(method);
    if is_message { state.next_fault() } else { None }
}

async fn refuse(stream: &mut impl Connection, request: &Request, word: &str) {
    if request.path.starts_with("/api/") {
        let body = format!("{{\"ok\":false,\"error\":\"{word}\"}}");
        return reply(stream, 200, "", body.as_bytes()).await;
    }
    reply(stream, 400, "", word.as_bytes()).await;
}

async fn read_request(stream: &mut impl Connection, pending: &mut Vec<u8>) -> Option<Request> {
    let head_end = loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(pending).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(pending[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.unwrap_or(0);
    while pending.len() < head_end + 4 + length {
        if stream.read_buf(pending).await.ok()? == 0 {
            return None;
        }
    }
    let body = pending[head_end + 4..head_end + 4 + length].to_vec();
    pending.drain(..head_end + 4 + length);
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

async fn answer(stream: &mut impl Connection, settings: &Settings, state: &Mutex<State>, request: &Request) {
    let (status, body) = state.lock().unwrap().respond(settings, request);
    let headers = if settings.closes { "Connection: close\r\n" } else { "" };
    reply(stream, status, headers, &body).await;
}

async fn reply(stream: &mut impl Connection, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    // In one piece, or the second waits for the first to be acknowledged.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}

async fn endless(stream: &mut impl Connection) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
}

/// A form of ASCII values, none of them escaped.
pub fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
