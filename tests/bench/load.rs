//! Peers: many short connections from addresses spread over 127.0.0.0/8.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How a peer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Reads the banner, then closes.
    AfterBanner,
    /// Closes at once.
    Fin,
    /// Resets at once.
    Rst,
}

/// Touches `address` `count` times, `parallel` at a time; gives each connect's latency.
pub fn touch(address: SocketAddr, count: usize, parallel: usize, leave: Leave) -> Vec<Duration> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let peers: Vec<_> = (0..parallel)
            .map(|_| scope.spawn(|| peer(address, count, &next, leave)))
            .collect();
        peers.into_iter().flat_map(|peer| peer.join().unwrap()).collect()
    })
}

fn peer(address: SocketAddr, count: usize, next: &AtomicUsize, leave: Leave) -> Vec<Duration> {
    if leave == Leave::Rst {
        stay_on_this_cpu();
    }
    let mut latencies = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return latencies;
        }
        let start = Instant::now();
        let mut stream = connect(address, number);
        latencies.push(start.elapsed());
        match leave {
            Leave::AfterBanner => drop(stream.read(&mut [0; 64])),
            Leave::Fin => {}
            Leave::Rst => socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap(),
        }
    }
}

/// Keeps a peer's packets in order: over loopback, a reset that is sent from another CPU than the connect overtakes the
/// end of the handshake, and then there was no connection.
fn stay_on_this_cpu() {
    let mut here = rustix::thread::CpuSet::new();
    here.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &here).unwrap();
}

/// Connects from the `number`th of 16,000 sources.
pub fn connect(address: SocketAddr, number: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let octet = |value: usize| u8::try_from(value).unwrap();
    let source = Ipv4Addr::new(127, octet(1 + number % 160), octet(number / 160 % 100), 1);
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}
