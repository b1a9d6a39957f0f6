//! A syslog receiver that can misbehave; its address stays while its behaviour changes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use trapline_sink::dial::Address;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    Well,
    /// Nobody listens.
    Closed,
    /// Waits before it accepts and reads.
    Slow,
    /// Accepts and never reads.
    NeverReads,
    /// Reads, stores nothing, answers and closes.
    Answers(&'static [u8]),
    /// Reads, stores nothing, and sends without end.
    AnswersForEver,
    /// Resets the first connection as soon as it has stored something.
    ResetsAfterStored,
}

#[derive(Default)]
struct State {
    stored: Mutex<Vec<Uuid>>,
    saw_text: Mutex<bool>,
}

pub struct Server {
    at: SocketAddr,
    state: Arc<State>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    healed: Mutex<Option<Arc<ServerConfig>>>,
    tasks: Option<JoinSet<()>>,
}

impl Server {
    pub async fn start(behaviour: Behaviour, tls: Option<Arc<ServerConfig>>) -> Self {
        let at = listen("127.0.0.1:0".parse().unwrap()).local_addr().unwrap();
        let state = Arc::default();
        let mut server = Self {
            at,
            state,
            tls: Mutex::new(tls),
            healed: Mutex::default(),
            tasks: None,
        };
        server.run(behaviour);
        server
    }

    pub fn address(&self) -> Address {
        Address {
            host: self.at.ip().to_string(),
            port: self.at.port(),
        }
    }

    /// The certificate that is shown once the fault is over.
    pub fn heals_to(&self, tls: Arc<ServerConfig>) {
        *self.healed.lock().unwrap() = Some(tls);
    }

    /// Ends every connection and behaves like this from now on.
    pub async fn behave(&mut self, behaviour: Behaviour) {
        if let Some(mut tasks) = self.tasks.take() {
            tasks.shutdown().await;
        }
        if let Some(tls) = self.healed.lock().unwrap().take() {
            *self.tls.lock().unwrap() = Some(tls);
        }
        self.run(behaviour);
    }

    pub fn stored(&self) -> Vec<Uuid> {
        self.state.stored.lock().unwrap().clone()
    }

    pub fn saw_text(&self) -> bool {
        *self.state.saw_text.lock().unwrap()
    }

    fn run(&mut self, behaviour: Behaviour) {
        let mut tasks = JoinSet::new();
        if behaviour != Behaviour::Closed {
            let (listener, state) = (listen(self.at), self.state.clone());
            let tls = self.tls.lock().unwrap().clone();
            tasks.spawn(accept(listener, behaviour, state, tls));
        }
        self.tasks = Some(tasks);
    }
}

fn listen(at: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(at).unwrap();
    socket.listen(16).unwrap()
}

async fn accept(listener: TcpListener, behaviour: Behaviour, state: Arc<State>, tls: Option<Arc<ServerConfig>>) {
    let mut sessions = JoinSet::new();
    let mut first = true;
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let behaviour = match behaviour {
            Behaviour::ResetsAfterStored if !first => Behaviour::Well,
            behaviour => behaviour,
        };
        first = false;
        let (state, tls) = (state.clone(), tls.clone());
        sessions.spawn(async move {
            match tls {
                None => serve(tcp, behaviour, &state).await,
                Some(tls) => {
                    if let Ok(stream) = TlsAcceptor::from(tls).accept(tcp).await {
                        serve(stream, behaviour, &state).await;
                    }
                }
            }
        });
    }
}

trait Reset {
    fn reset(self);
}

impl Reset for TcpStream {
    fn reset(self) {
        self.set_zero_linger().unwrap();
    }
}

impl Reset for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(self) {
        self.get_ref().0.set_zero_linger().unwrap();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin + Reset, behaviour: Behaviour, state: &State) {
    match behaviour {
        Behaviour::NeverReads => std::future::pending().await,
        Behaviour::Slow => tokio::time::sleep(Duration::from_millis(200)).await,
        Behaviour::Answers(answer) => {
            note_text(&mut stream, state).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
            return;
        }
        Behaviour::AnswersForEver => while stream.write_all(&[b'x'; 4096]).await.is_ok() {},
        _ => {}
    }
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut chunk).await {
        buffer.extend_from_slice(&chunk[..len]);
        let ids = take_frames(&mut buffer);
        let any = !ids.is_empty();
        state.stored.lock().unwrap().extend(ids);
        if any && behaviour == Behaviour::ResetsAfterStored {
            return stream.reset();
        }
    }
}

/// Reads once; a ClientHello is no text of an event.
async fn note_text(stream: &mut (impl AsyncRead + Unpin), state: &State) {
    let mut chunk = [0; 4096];
    let len = stream.read(&mut chunk).await.unwrap_or(0);
    let text = chunk[..len]
        .windows(4)
        .any(|bytes| bytes == b"<132" || bytes == b"<134");
    *state.saw_text.lock().unwrap() |= text;
}

/// Whole octet-counted frames in `buffer`: their ids. A part stays.
fn take_frames(buffer: &mut Vec<u8>) -> Vec<Uuid> {
    let mut ids = Vec::new();
    while let Some(space) = buffer.iter().position(|byte| *byte == b' ') {
        let len: usize = std::str::from_utf8(&buffer[..space]).unwrap().parse().unwrap();
        if buffer.len() < space + 1 + len {
            break;
        }
        let frame = buffer.drain(..space + 1 + len).skip(space + 1).collect::<Vec<u8>>();
        ids.push(id_of(std::str::from_utf8(&frame).unwrap()));
    }
    ids
}

/// The id in the structured data.
pub fn id_of(message: &str) -> Uuid {
    let (_, rest) = message.split_once(" id=\"").unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}
