//! A server that is not the destination.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::conformance::certs::Identity;

/// Notes what it is sent, and answers nothing that would be taken.
pub struct Impostor {
    seen: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Impostor {
    /// Listens and reads; speaks TLS with `tls`, else says nothing that TLS would.
    pub async fn listen(address: SocketAddr, tls: Option<Identity>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let acceptor = tls.map(|identity| TlsAcceptor::from(identity.server(None).unwrap()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let bytes = match &acceptor {
                    None => in_clear(stream).await,
                    Some(acceptor) => behind_tls(stream, acceptor).await,
                };
                noted.lock().unwrap().extend_from_slice(&bytes);
            }
        });
        Self { seen, task }
    }

    /// Whether it saw any of these.
    pub fn saw(&self, secrets: &[&str]) -> bool {
        let seen = self.seen.lock().unwrap();
        let text = String::from_utf8_lossy(&seen);
        secrets.iter().any(|secret| text.contains(secret))
    }

    /// Nobody listens from the return on.
    pub async fn leave(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn in_clear(mut stream: TcpStream) -> Vec<u8> {
    let mut first = vec![0; 512];
    let count = stream.read(&mut first).await.unwrap_or(0);
    first.truncate(count);
    let _ = stream.write_all(b"220 not tls\r\n").await;
    first
}

async fn behind_tls(stream: TcpStream, acceptor: &TlsAcceptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut stream) = acceptor.accept(stream).await {
        let _ = stream.read_to_end(&mut bytes).await;
    }
    bytes
}
