//! A session's socket, which the reactor is told of only when somebody must wait for it.
//!
//! In a flood many peers have read the banner and gone before anybody waits for them: each is spared two calls into
//! the kernel and a place in the reactor.
//!
//! Invariants: 1. at most one task waits to read and one to write. 2. Any thread may shut the socket at any time; it is
//! reached whoever has it just then. 3. A socket that the reactor refuses is closed, and every later call fails.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A connected socket that does not block.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Until the reactor has it.
    own: Mutex<Option<std::net::TcpStream>>,
    watched: OnceLock<TcpStream>,
}

impl Stream {
    /// Takes over a socket that does not block.
    pub(crate) fn new(socket: std::net::TcpStream) -> Self {
        Self {
            own: Mutex::new(Some(socket)),
            watched: OnceLock::new(),
        }
    }

    /// Reads what there is; 0 at the end of the stream, `WouldBlock` if there is nothing.
    pub(crate) fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.attempt(Interest::READABLE, |socket| {
            Ok(rustix::net::recv(socket, bytes, RecvFlags::DONTWAIT)?.0)
        })
    }

    /// Writes what there is room for; `WouldBlock` if there is none.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(Interest::WRITABLE, |socket| send(socket, bytes))
    }

    /// Like [`Stream::try_write`], without asking the reactor whether there is room.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|socket| send(socket, bytes))
    }

    /// Whether the reactor has it.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.get().is_some()
    }

    /// Waits until a read may find something; it may be in vain. Errors: the reactor takes no more sockets. Cancel: safe.
    pub(crate) fn readable(&self) -> impl Future<Output = io::Result<()>> {
        // Tokio's own `readable` keeps its waker in the future, which every silent session would hold.
        poll_fn(|cx| self.watched()?.poll_read_ready(cx))
    }

    /// Waits until a write may find room; as [`Stream::readable`].
    pub(crate) fn writable(&self) -> impl Future<Output = io::Result<()>> {
        poll_fn(|cx| self.watched()?.poll_write_ready(cx))
    }

    /// Whether bytes wait in the kernel now.
    pub(crate) fn has_waiting(&self) -> bool {
        self.with(|socket| Ok(rustix::io::ioctl_fionread(socket)?))
            .is_ok_and(|count| count > 0)
    }

    /// Sends small writes at once instead of joining them.
    pub(crate) fn send_promptly(&self) {
        let _ = self.with(|socket| SockRef::from(&socket).set_tcp_nodelay(true));
    }

    /// Ends one side of the stream, or both.
    pub(crate) fn shut(&self, side: Shutdown) {
        let _ = self.with(|socket| SockRef::from(&socket).shutdown(side));
    }

    /// Makes its close a reset.
    pub(crate) fn reset_on_close(&self) {
        let _ = self.with(|socket| SockRef::from(&socket).set_linger(Some(Duration::ZERO)));
    }
}

impl Stream {
    /// Tries a call that may block; once the reactor has the socket, only while the reactor holds it for ready.
    fn attempt<R>(&self, interest: Interest, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        match self.watched.get() {
            Some(stream) => stream.try_io(interest, || call(stream.as_fd())),
            None => self.with(call),
        }
    }

    /// Calls the socket, whoever has it.
    fn with<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        if let Some(stream) = self.watched.get() {
            return call(stream.as_fd());
        }
        let own = self.own();
        match (&*own, self.watched.get()) {
            (Some(socket), _) => call(socket.as_fd()),
            (None, Some(stream)) => call(stream.as_fd()),
            // The reactor refused it.
            (None, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket in the reactor, given to it now if it is not there yet.
    fn watched(&self) -> io::Result<&TcpStream> {
        if let Some(stream) = self.watched.get() {
            return Ok(stream);
        }
        let mut own = self.own();
        if let Some(socket) = own.take() {
            let stream = TcpStream::from_std(socket).inspect_err(complain)?;
            return Ok(self.watched.get_or_init(|| stream));
        }
        self.watched.get().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn own(&self) -> MutexGuard<'_, Option<std::net::TcpStream>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says once what would else be said of every peer.
fn complain(error: &io::Error) {
    static COMPLAINED: AtomicBool = AtomicBool::new(false);
    if !COMPLAINED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %error,
            "the kernel watches no more sockets, so sessions end at their first wait; raise fs.epoll.max_user_watches"
        );
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(
        socket,
        bytes,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as Peer};
    use std::os::fd::OwnedFd;

    use super::*;

    fn pair() -> (Stream, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).set_send_buffer_size(16 << 10).unwrap();
        (Stream::new(socket), peer)
    }

    async fn read(stream: &Stream) -> Vec<u8> {
        let mut bytes = [0; 64];
        loop {
            match stream.try_read(&mut bytes) {
                Ok(count) => return bytes[..count].to_vec(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            stream.readable().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_comes_before_and_after_the_reactor_has_the_socket_is_read() {
        let (stream, mut peer) = pair();
        peer.write_all(b"early").unwrap();
        while !stream.has_waiting() {
            tokio::task::yield_now().await;
        }
        assert_eq!(read(&stream).await, b"early");
        assert!(!stream.is_watched());
        let (late, ()) = tokio::join!(read(&stream), async { peer.write_all(b"late").unwrap() });
        assert_eq!(late, b"late");
        assert!(stream.is_watched());
        drop(peer);
        assert_eq!(read(&stream).await, b"");
    }

    #[tokio::test]
    async fn a_socket_that_is_shut_reads_its_end_whoever_has_it() {
        for watched in [false, true] {
            let (stream, _peer) = pair();
            assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            if watched {
                stream.watched().unwrap();
            }
            stream.shut(Shutdown::Both);
            assert_eq!(read(&stream).await, b"");
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_the_shut() {
        let (stream, _peer) = pair();
        let (end, ()) = tokio::join!(read(&stream), async { stream.shut(Shutdown::Both) });
        assert_eq!(end, b"");
    }

    /// All that fits is written at once, the rest as the peer makes room.
    async fn write(stream: &Stream, bytes: &[u8]) {
        let mut rest = &bytes[stream.send_now(bytes).unwrap()..];
        assert!(!rest.is_empty(), "nothing was left to wait for");
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await.unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_write_waits_until_the_peer_has_made_room() {
        const BYTES: usize = 1 << 20;
        for watched in [false, true] {
            let (stream, mut peer) = pair();
            if watched {
                stream.watched().unwrap();
            }
            let reader = tokio::task::spawn_blocking(move || peer.read_exact(&mut vec![0; BYTES]));
            write(&stream, &vec![b'x'; BYTES]).await;
            assert!(stream.is_watched());
            reader.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_socket_that_the_reactor_refuses_fails_and_goes_on_failing() {
        let file = std::net::TcpStream::from(OwnedFd::from(tempfile::tempfile().unwrap()));
        file.set_nonblocking(true).unwrap();
        let stream = Stream::new(file);
        assert_eq!(
            stream.readable().await.unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert_eq!(stream.readable().await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(stream.try_write(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
    }
}
