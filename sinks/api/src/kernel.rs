//! What the kernel counts of a socket (`SO_MEMINFO`, since Linux 4.12).

use std::io;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::{getsockopt, sockopt};

#[derive(Debug, Clone, Copy)]
struct MemInfo;

nix::getsockopt_impl!(
    MemInfo,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 9],
    sockopt::GetStruct<[u32; 9]>
);

/// Of a socket's counts, those that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketCounts {
    /// Bytes with their overhead that are written and not yet acknowledged (`SK_MEMINFO_WMEM_QUEUED`).
    pub unacknowledged: u32,
    /// Datagrams that were dropped for want of room (`SK_MEMINFO_DROPS`); it counts round.
    pub dropped: u32,
}

/// Reads a socket's counts. Errors: a kernel that does not tell them.
pub fn socket_counts(socket: &impl AsFd) -> io::Result<SocketCounts> {
    let [.., unacknowledged, _, _, dropped] = getsockopt(socket, MemInfo)?;
    Ok(SocketCounts {
        unacknowledged,
        dropped,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn what_the_peer_has_not_taken_is_unacknowledged_until_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(socket_counts(&socket).unwrap().unacknowledged, 0);
        socket.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = socket.write(&[0; 65536]) {
            written += count;
        }
        assert!(socket_counts(&socket).unwrap().unacknowledged > 0);
        peer.read_exact(&mut vec![0; written]).unwrap();
        let is_taken = |_: &u32| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            socket_counts(&socket).unwrap().unacknowledged == 0
        };
        assert!((0..1000).find(is_taken).is_some());
    }

    #[test]
    fn datagrams_without_room_are_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(socket_counts(&socket).unwrap().dropped, 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..2000 {
            sender.send_to(&[0; 1400], socket.local_addr().unwrap()).unwrap();
        }
        assert!(socket_counts(&socket).unwrap().dropped > 0);
    }
}
