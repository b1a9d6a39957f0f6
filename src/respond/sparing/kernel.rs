//! Asks the kernel for addresses and routes, and again when they change.
//!
//! A change is not read but taken as a reason to ask for everything: what was lost, or came while it was told, is then
//! no other case.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use trapline_sink::set::Why;

use super::board::{Board, Found, Row, Source};
use super::routes::{Answer, HEADER, Learned};

const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEXTHOP: u16 = 106;
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Kind of message, family, bytes of the body: `ifaddrmsg`, `rtmsg`, `nhmsg`. Of next hops no byte may be too many.
type Question = (u16, u8, usize);
const QUESTIONS: [Question; 4] = [
    (RTM_GETADDR, AF_UNSPEC, 8),
    (RTM_GETROUTE, AF_INET, 12),
    (RTM_GETROUTE, AF_INET6, 12),
    (RTM_GETNEXTHOP, AF_UNSPEC, 8),
];
const NOT_KNOWN: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();
/// NLM_F_REQUEST and NLM_F_DUMP.
const FLAGS: u16 = 0x301;
/// RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, and the bit of RTNLGRP_NEXTHOP.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400 | 1 << 31;
/// Room for one read; the kernel sends at most 32 KiB at a time.
const READ_BYTES: usize = 64 << 10;
/// The kernel answers from memory; longer is a fault.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Times that everything is asked for again because it changed meanwhile.
const TRIES: usize = 4;
/// Reads of an answer, for 16 million routes.
const READS_MAX: usize = 1 << 17;

/// Most that is read of what was told in one go; the rest is a reason to ask once more.
const TOLD_MAX: usize = 1024;

/// Asked for also when nothing is told.
const EVERY: Duration = Duration::from_secs(60);
/// Shortest time between two times; of a host with all routes of the Internet ten times what the asking takes.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSES: u32 = 10;

/// Keeps the board's rows of this host and its gateways as the kernel has them. Never ends.
pub(super) async fn follow(board: Arc<Board>) {
    loop {
        // Opened before all is asked for: what changes in between is told.
        let changes = changes();
        let mut told = Found::default();
        if let Err(error) = &changes {
            let every = EVERY.as_secs();
            told.notes.push(format!(
                "changes of addresses and routes are seen after {every} s: {error}"
            ));
        }
        // Ends when the socket does; without one at once.
        loop {
            let begun = Instant::now();
            if let Ok(changes) = &changes {
                drain(changes);
            }
            let read = tokio::task::spawn_blocking(ask).await;
            let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
            board.put_read(Source::Kernel, found(read, &told));
            tokio::time::sleep((begun.elapsed() * PAUSES).clamp(PAUSE, EVERY)).await;
            if !is_told(changes.as_ref().ok()).await {
                break;
            }
        }
    }
}

/// Waits for a change, or until it is time anyway. `false`: the socket is of no more use.
async fn is_told(changes: Option<&UnixDatagram>) -> bool {
    let Some(changes) = changes else {
        tokio::time::sleep(EVERY).await;
        return false;
    };
    tokio::select! {
        // Cancel: nothing is read here.
        ready = changes.readable() => ready.is_ok(),
        () = tokio::time::sleep(EVERY) => true,
    }
}

/// A socket that tells of changes.
fn changes() -> io::Result<UnixDatagram> {
    // The reactor has no socket of this family; it is asked for nothing but whether there is something to read.
    UnixDatagram::from_std(open(SocketFlags::NONBLOCK, GROUPS)?.into())
}

/// Reads what was told, which is a word to ask again whatever it says; that some was lost says no more.
fn drain(changes: &UnixDatagram) {
    let mut bytes = vec![0; READ_BYTES];
    for _ in 0..TOLD_MAX {
        let read = changes.try_io(Interest::READABLE, || {
            let (count, _) = rustix::net::recv(changes, &mut bytes[..], RecvFlags::empty())?;
            Ok(count)
        });
        if read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            return;
        }
    }
}

fn open(flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    // Without a protocol it is NETLINK_ROUTE, which is 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Everything, with the names of links. Blocking: at most [`ANSWER_WITHIN`] an answer.
fn ask() -> io::Result<(Learned, BTreeMap<u32, String>)> {
    let socket = open(SocketFlags::empty(), 0)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
    let mut learned = Learned::default();
    let mut sequence = 0;
    for _ in 0..TRIES {
        learned = Learned::default();
        for question in QUESTIONS {
            sequence += 1;
            match dump(socket.as_fd(), question, sequence, &mut learned)? {
                // Kernels before 5.3 have none.
                Answer::Failed(NOT_KNOWN) if question.0 == RTM_GETNEXTHOP => {}
                Answer::Failed(error) => return Err(io::Error::from_raw_os_error(error)),
                Answer::Open | Answer::Done => {}
            }
        }
        if !learned.is_torn {
            break;
        }
    }
    let links = links(&socket, &learned);
    Ok((learned, links))
}

fn dump(socket: BorrowedFd<'_>, question: Question, sequence: u32, learned: &mut Learned) -> io::Result<Answer> {
    let (kind, family, length) = question;
    // All of the body but the family is 0.
    let mut request = vec![0; HEADER + length];
    request[..4].copy_from_slice(&((HEADER + length) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request[HEADER] = family;
    rustix::net::send(socket, &request, SendFlags::empty())?;
    let mut bytes = vec![0; READ_BYTES];
    for _ in 0..READS_MAX {
        let (count, _) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty())?;
        match learned.take(bytes.get(..count).unwrap_or_default(), sequence) {
            Answer::Open => {}
            answer => return Ok(answer),
        }
    }
    Err(io::Error::other("the kernel's answer does not end"))
}

/// The names of the links that something was learned of.
fn links(socket: &OwnedFd, learned: &Learned) -> BTreeMap<u32, String> {
    let of_gateways = learned.gateways().map(|(_, link)| link);
    let numbers: std::collections::BTreeSet<_> = learned.own.values().copied().chain(of_gateways).collect();
    let name = |number| rustix::net::netdevice::index_to_name(socket, number).ok();
    numbers
        .into_iter()
        .filter_map(|number| Some((number, name(number)?)))
        .collect()
}

fn found(read: io::Result<(Learned, BTreeMap<u32, String>)>, told: &Found) -> Found {
    let mut found = told.clone();
    match read {
        Ok((learned, links)) => {
            found.rows = rows(&learned, &links);
            let wide = learned.too_wide.iter();
            found.notes.extend(wide.map(|net| {
                format!(
                    "a local route makes all of {net} this host's own: it is not spared, name in `allow` what is to be"
                )
            }));
            if learned.is_cut {
                let most = super::routes::ENTRIES_MAX;
                found.notes.push(format!(
                    "more than {most} addresses or gateways: the others are not spared"
                ));
            }
        }
        Err(error) => found.fail(format!("the kernel does not tell of addresses and routes: {error}")),
    }
    found
}

fn rows(learned: &Learned, links: &BTreeMap<u32, String>) -> Vec<Row> {
    let name = |link: &u32| -> Arc<str> { links.get(link).map_or("a route", String::as_str).into() };
    let row = |network: IpNet, why, from| Row { network, why, from };
    let own = learned.own.iter().map(|(net, link)| row(*net, Why::Own, name(link)));
    let gateways = learned
        .gateways()
        .map(|(address, link)| row(address.into(), Why::Gateway, name(&link)));
    let ends = learned.broadcasts.iter();
    let ends = ends.map(|address| {
        row(
            (*address).into(),
            Why::NoHost,
            "an end of a network of this host".into(),
        )
    });
    own.chain(gateways).chain(ends).collect()
}
