//! Real hits, many at a time and from many addresses of this host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How many come at a time.
const AT_ONCE: usize = 64;

/// What a visitor says: nothing, a login, a request with one.
const WORDS: &[&[u8]] = &[
    b"",
    b"USER root\r\nPASS hunter22\r\nQUIT\r\n",
    b"GET /admin HTTP/1.0\r\nAuthorization: Basic YWRtaW46aHVudGVyMjI=\r\n\r\n",
];

/// How many visits there have been, and whether it is over with them.
#[derive(Default)]
pub struct Visits {
    made: AtomicUsize,
    over: AtomicBool,
}

/// Ends the visits when dropped, also where a test fails in the midst of them.
pub struct Close<'a>(&'a Visits);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Visits {
    /// So many have been there.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// What ends the visits when it goes out of scope.
    pub fn close_later(&self) -> Close<'_> {
        Close(self)
    }

    fn go_on_still(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// So many more to these decoys, from so many addresses. Whoever finds a door shut comes again.
    pub fn go_on(&self, decoys: &[SocketAddr], more: usize, sources: usize) {
        std::thread::scope(|scope| {
            for first in 0..AT_ONCE {
                scope.spawn(move || {
                    for at in (first..more).step_by(AT_ONCE) {
                        let from = Ipv4Addr::new(127, 0, 7, u8::try_from(1 + at % sources).unwrap());
                        let decoy = decoys[at % decoys.len()];
                        while self.go_on_still() && call(decoy, from, WORDS[at % WORDS.len()]).is_none() {
                            std::thread::park_timeout(Duration::from_millis(20));
                        }
                        self.made.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
    }
}

/// Comes, says something, hears something, goes.
fn call(decoy: SocketAddr, from: Ipv4Addr, words: &[u8]) -> Option<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&decoy.into()).ok()?;
    let mut stream = TcpStream::from(socket);
    // Who is shut out in the middle has been there all the same.
    let _ = stream.write_all(words);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
    Some(())
}
