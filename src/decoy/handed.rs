//! Sockets that outlive a restart: handed over by a service manager, and kept by it for the next run.
//!
//! In: what the manager passed at start (socket units, or sockets an earlier run left with it). Out: sockets for
//! decoys, in place of binding. A port whose socket the manager holds never closes: who connects during a restart waits
//! in the kernel's queue and is served by the next run.
//!
//! Invariants: 1. a socket of a socket unit stays the manager's: decoys get duplicates, and get them again after a
//! reload that took them away. 2. A socket that an earlier run left is used by the decoy and address it was bound for,
//! or closed and given up. 3. Nothing here fails a start: what cannot be used is said, and binding goes on without.
//!
//! Source: sd_listen_fds(3), sd_notify(3), systemd.socket(5).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use sd_notify::NotifyState;
use socket2::{SockRef, Type};

use crate::decoy::DecoySpec;
use crate::decoy::bind::Endpoint;
use crate::decoy::services::Transport;

/// Connections that may wait to be accepted, as for sockets that are bound here.
const BACKLOG: i32 = super::bind::BACKLOG;

/// Begins the name under which a socket is left with the manager.
const OURS: &str = "decoy=";

/// Longest name that a manager takes (systemd's `FDNAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// The sockets that a service manager holds for this instance.
#[derive(Debug, Default)]
pub struct Shelf {
    handed: Vec<Handed>,
    /// Whether there is a manager that may keep sockets.
    keeps: bool,
}

/// One socket that was passed.
#[derive(Debug)]
struct Handed {
    socket: OwnedFd,
    name: String,
    address: SocketAddr,
    transport: Transport,
    /// An IPv6 wildcard that takes IPv4 as well.
    both_families: bool,
    /// The decoy it was last given to.
    decoy: Option<String>,
}

/// A socket taken from the shelf.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) socket: OwnedFd,
    pub(super) address: SocketAddr,
}

impl Shelf {
    /// Takes what the service manager passed to this process; empty without one. Only the first shelf of a process has
    /// sockets.
    pub fn of_the_manager() -> Self {
        let passed = crate::sys::handed_over().unwrap_or_else(|error| {
            tracing::warn!(error = %error, "the sockets that the service manager passed cannot be used");
            Vec::new()
        });
        Self {
            keeps: std::env::var_os("NOTIFY_SOCKET").is_some(),
            ..Self::of(passed)
        }
    }

    /// A shelf with these sockets, without a manager.
    pub(super) fn of(passed: Vec<(OwnedFd, String)>) -> Self {
        let look = |(socket, name): (OwnedFd, String)| {
            let looked = Handed::look(socket, name.clone());
            let wrong = |error| tracing::warn!(error = %error, "socket `{name}` of the service manager is of no use");
            looked.map_err(wrong).ok()
        };
        Self {
            handed: passed.into_iter().filter_map(look).collect(),
            keeps: false,
        }
    }

    /// A socket for a decoy that is to listen at an address.
    ///
    /// The one that an earlier run had for it; else one that is bound to this very address; else one that has the
    /// decoy's name, of the same family, that nobody else uses. In: `all`, every address that decoys are to listen at.
    pub(super) fn take(&mut self, spec: &DecoySpec, wanted: Endpoint, all: &[Endpoint]) -> Option<Taken> {
        let at = self.find(spec, wanted, all)?;
        if self.handed.get(at)?.is_ours() {
            let Handed { socket, address, .. } = self.handed.remove(at);
            return Some(Taken { socket, address });
        }
        let handed = self.handed.get_mut(at)?;
        let copy = handed.socket.try_clone();
        let wrong = |error| tracing::warn!(error = %error, "a socket of the service manager cannot be duplicated");
        let socket = copy.map_err(wrong).ok()?;
        handed.decoy = Some(spec.name.to_string());
        let address = handed.address;
        Some(Taken { socket, address })
    }

    fn find(&self, spec: &DecoySpec, wanted: Endpoint, all: &[Endpoint]) -> Option<usize> {
        let transport = wanted.transport;
        let kept = kept_as(spec, wanted);
        let fits = |handed: &Handed| handed.transport == transport && !handed.is_ours();
        // Both families of one decoy may be one socket, never two decoys.
        let is_free = |handed: &Handed| handed.decoy.as_deref().is_none_or(|decoy| decoy == spec.name);
        let is_meant = |handed: &Handed| {
            let same_family = handed.address.is_ipv6() == wanted.address.is_ipv6();
            same_family && handed.name == spec.name && !all.iter().any(|endpoint| handed.serves(*endpoint))
        };
        let position = |right: &dyn Fn(&Handed) -> bool| self.handed.iter().position(right);
        position(&|handed| handed.transport == transport && handed.name == kept)
            .or_else(|| position(&|handed| fits(handed) && is_free(handed) && handed.serves(wanted)))
            .or_else(|| position(&|handed| fits(handed) && handed.decoy.is_none() && is_meant(handed)))
    }

    /// Leaves a socket with the manager, for the next run.
    pub(super) fn keep(&self, spec: &DecoySpec, wanted: Endpoint, socket: BorrowedFd<'_>) {
        let name = kept_as(spec, wanted);
        if !self.keeps || name.len() > NAME_BYTES_MAX {
            return;
        }
        // Without FDPOLL=0 an error that a peer causes on a UDP socket would make the manager let go of it.
        let states = [
            NotifyState::FdStore,
            NotifyState::FdName(&name),
            NotifyState::Custom("FDPOLL=0"),
        ];
        if let Err(error) = sd_notify::notify_with_fds(&states, &[socket]) {
            tracing::debug!(error = %error, "the service manager does not keep the socket {name}");
        }
    }

    /// Has the manager let go of a socket that this decoy does not need any more.
    pub(super) fn let_go(&mut self, spec: &DecoySpec, wanted: Endpoint) {
        for handed in &mut self.handed {
            if handed.decoy.as_deref() == Some(spec.name.as_str()) && handed.serves(wanted) {
                handed.decoy = None;
            }
        }
        self.give_up(&kept_as(spec, wanted));
    }

    /// Closes what an earlier run left and nobody took, and says what of the manager's sockets nobody uses.
    pub(super) fn clear(&mut self) {
        let (left, handed) = std::mem::take(&mut self.handed)
            .into_iter()
            .partition::<Vec<_>, _>(Handed::is_ours);
        self.handed = handed;
        for handed in left {
            tracing::info!(listener.address = %handed.address, "no decoy wants {} of the last run any more, closing it", handed.address);
            self.give_up(&handed.name);
        }
        for handed in self.handed.iter().filter(|handed| handed.decoy.is_none()) {
            tracing::warn!(listener.address = %handed.address, "the service manager passed {} (`{}`), and no decoy is to listen there: who connects gets no answer; remove it from the socket unit", handed.address, handed.name);
        }
    }

    fn give_up(&self, name: &str) {
        if self.keeps {
            let _ = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
        }
    }
}

impl Handed {
    /// Finds out what it is, and makes it ready to be served.
    fn look(socket: OwnedFd, name: String) -> io::Result<Self> {
        let found = SockRef::from(&socket);
        let address = found.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::other("it is no IP socket"))?;
        let transport = match found.r#type()? {
            Type::STREAM => Transport::Tcp,
            Type::DGRAM => Transport::Udp,
            _ => return Err(io::Error::other("it is neither TCP nor UDP")),
        };
        if transport == Transport::Tcp {
            if rustix::net::getpeername(socket.as_fd()).is_ok() {
                return Err(io::Error::other("it is a connection, set Accept=no"));
            }
            found.listen(BACKLOG)?;
        }
        found.set_nonblocking(true)?;
        let both_families = address.is_ipv6() && address.ip().is_unspecified() && !found.only_v6()?;
        Ok(Self {
            socket,
            name,
            address,
            transport,
            both_families,
            decoy: None,
        })
    }

    /// Whether an earlier run left it.
    fn is_ours(&self) -> bool {
        self.name.starts_with(OURS)
    }

    /// Whether it is where a decoy is to listen.
    fn serves(&self, wanted: Endpoint) -> bool {
        let Endpoint { transport, address } = wanted;
        let is_any_v4 = address.is_ipv4() && address.ip().is_unspecified();
        let same_place =
            self.address == address || self.both_families && is_any_v4 && self.address.port() == address.port();
        same_place && self.transport == transport
    }
}

/// The name of a decoy's socket while the manager keeps it; a colon would end it.
fn kept_as(spec: &DecoySpec, wanted: Endpoint) -> String {
    let Endpoint { transport, address } = wanted;
    format!("{OURS}{},{},{address}", spec.name, transport.name()).replace(':', "_")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::decoy::testing::spec;

    const SILENT: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";

    fn named(name: &str) -> DecoySpec {
        DecoySpec {
            name: name.into(),
            ..spec(SILENT)
        }
    }

    fn tcp(address: SocketAddr) -> Endpoint {
        Endpoint {
            transport: Transport::Tcp,
            address,
        }
    }

    fn listening(name: &str) -> ((OwnedFd, String), SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        ((socket.into(), name.to_owned()), address)
    }

    #[test]
    fn a_socket_goes_to_the_decoy_of_its_address_and_else_to_that_of_its_name() {
        let (by_address, address) = listening("unknown");
        let (by_name, other) = listening("mail");
        let mut shelf = Shelf::of(vec![by_address, by_name]);
        let mut take = |name, wanted: SocketAddr, all: &[SocketAddr]| {
            let all: Vec<_> = all.iter().copied().map(tcp).collect();
            Some(shelf.take(&named(name), tcp(wanted), &all)?.address)
        };
        let (far, far_v6) = ("127.0.0.9:25".parse().unwrap(), "[::1]:25".parse().unwrap());
        assert_eq!(take("web", address, &[]), Some(address));
        assert_eq!(take("late", address, &[]), None, "another decoy has it");
        assert_eq!(take("web", far, &[]), None, "neither address nor name");
        assert_eq!(take("mail", far_v6, &[]), None, "another family");
        assert_eq!(
            take("mail", far, &[far, other]),
            None,
            "it is another address's of the same decoy"
        );
        assert_eq!(take("mail", far, &[]), Some(other));
        assert_eq!(take("mail", far, &[]), None, "it is in use");
    }

    #[test]
    fn of_two_sockets_at_one_address_each_transport_gets_its_own() {
        let (stream, address) = listening("dns");
        let datagrams = (UdpSocket::bind(address).unwrap().into(), "dns".to_owned());
        let mut shelf = Shelf::of(vec![stream, datagrams]);
        let udp = Endpoint {
            transport: Transport::Udp,
            ..tcp(address)
        };
        let all = [tcp(address), udp];
        let mut kind = |wanted| {
            let taken = shelf.take(&named("dns"), wanted, &all).expect("there is one");
            SockRef::from(&taken.socket).r#type().unwrap()
        };
        assert_eq!((kind(udp), kind(tcp(address))), (Type::DGRAM, Type::STREAM));
        shelf.let_go(&named("dns"), udp);
        assert!(
            shelf.take(&named("other"), tcp(address), &all).is_none(),
            "still in use"
        );
        assert!(shelf.take(&named("other"), udp, &all).is_some());
    }

    #[test]
    fn a_socket_of_a_unit_can_be_had_again_after_it_was_let_go() {
        let (passed, address) = listening("web");
        let mut shelf = Shelf::of(vec![passed]);
        drop(shelf.take(&named("web"), tcp(address), &[]).unwrap());
        TcpStream::connect(address).expect("the manager's own stays open");
        shelf.let_go(&named("web"), tcp(address));
        assert!(shelf.take(&named("other"), tcp(address), &[]).is_some());
    }

    #[test]
    fn what_an_earlier_run_left_is_for_the_same_decoy_and_address_or_is_closed() {
        let wanted: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (mut passed, address) = listening("");
        passed.1 = kept_as(&named("web"), tcp(wanted));
        let (mut unwanted, gone) = listening("");
        unwanted.1 = kept_as(&named("old"), tcp(gone));
        let mut shelf = Shelf::of(vec![passed, unwanted]);
        assert!(shelf.take(&named("ftp"), tcp(address), &[]).is_none());
        let taken = shelf.take(&named("web"), tcp(wanted), &[]).unwrap();
        assert_eq!(taken.address, address);
        shelf.clear();
        assert!(TcpStream::connect(gone).is_err(), "nobody wanted it");
        TcpStream::connect(address).expect("the taken one is open");
    }

    #[test]
    fn one_socket_for_both_families_serves_both_addresses_of_a_decoy() {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        if socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).is_err() {
            println!("SKIPPED: no IPv6 here; a socket of both families was not tried");
            return;
        }
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let mut shelf = Shelf::of(vec![(socket.into(), "unknown".into())]);
        let both = ["[::]", "0.0.0.0"].map(|ip| format!("{ip}:{port}").parse().unwrap());
        for wanted in both {
            assert_eq!(
                shelf.take(&named("web"), tcp(wanted), &[]).unwrap().address.port(),
                port
            );
        }
        assert!(shelf.take(&named("other"), tcp(both[1]), &[]).is_none());
    }

    #[test]
    fn what_is_no_listening_ip_socket_is_left_out() {
        let (listener, address) = listening("web");
        let connection: OwnedFd = TcpStream::connect(address).unwrap().into();
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let unix: OwnedFd = std::os::unix::net::UnixDatagram::unbound().unwrap().into();
        let datagrams = UdpSocket::bind(address).unwrap().into();
        let all = [connection, file, unix, datagrams].map(|socket| (socket, "web".to_owned()));
        let mut shelf = Shelf::of(all.into_iter().chain([listener]).collect());
        assert_eq!(shelf.handed.len(), 2, "{shelf:?}");
        let taken = shelf.take(&named("web"), tcp(address), &[]).unwrap();
        assert!(SockRef::from(&taken.socket).is_listener().unwrap());
    }
}
