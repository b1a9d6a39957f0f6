//! A fake server's place on loopback, which it leaves and comes back to.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// An address, and the task that accepts there; it stops when dropped, and every connection with it.
pub struct Listening {
    /// Where, also after a stop.
    pub address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Default for Listening {
    /// Nowhere yet: the kernel chooses the port.
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            task: None,
        }
    }
}

impl Listening {
    /// Listens, for the first time or again at the same address. `accept` owns the connections that it takes.
    pub async fn resume<F>(&mut self, accept: impl FnOnce(TcpListener) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.task = Some(tokio::spawn(accept(listener)));
    }

    /// Closes every connection; nobody listens from the return on.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
