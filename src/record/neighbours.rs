//! The kernel's neighbours, IPv4 and IPv6, as rtnetlink tells of them: all at first, then each that comes or goes. The
//! kernel knows the MAC of a neighbour before it can answer its SYN, so it is here before the hit is.
//!
//! In: datagrams of a netlink socket. Out: [`Change`]s. No process is started and no file is read.
//!
//! Layout: `nlmsghdr` (length, type, flags, sequence, port; 16 bytes), `ndmsg` (family, interface, state, flags, type; 12
//! bytes), attributes (length, type, value; padded to 4). Native byte order. Source: rtnetlink(7), linux/neighbour.h.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use smol_str::SmolStr;
use trapline_schemas::text;

const HEADER: usize = 16;
const NEIGHBOUR: usize = 12;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
/// NLM_F_REQUEST and NLM_F_DUMP.
const FLAGS: u16 = 0x301;
/// RTMGRP_NEIGH: neighbours that come and go.
const GROUP: u32 = 4;
/// NUD_INCOMPLETE, NUD_FAILED and NUD_NOARP: nothing is known of the address, or there is nothing to know.
const UNKNOWN_STATES: u16 = 0x01 | 0x20 | 0x40;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// Room for one read; the kernel sends at most 32 KiB at a time.
const READ_BYTES: usize = 32 << 10;

/// A neighbour that came, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC, as ECS writes it; `None` if it went.
    pub mac: Option<SmolStr>,
}

/// Opens a socket that tells of all neighbours and then of each change. It does not block.
///
/// Errors: the kernel's; a sandbox may forbid the family.
pub fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Without a protocol it is NETLINK_ROUTE, which is 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
    ask_for_all(socket.as_fd())?;
    Ok(socket)
}

/// Asks for all neighbours again, after messages were lost.
pub fn ask_for_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut request = [0; HEADER + NEIGHBOUR];
    request[..4].copy_from_slice(&((HEADER + NEIGHBOUR) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETNEIGH.to_ne_bytes());
    request[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    rustix::net::send(socket, &request, SendFlags::empty())?;
    Ok(())
}

/// Reads what the socket has: the changes of one datagram.
///
/// Errors: `WouldBlock` if there is none; `ENOBUFS` if some were lost; else the kernel's.
pub fn read(socket: BorrowedFd<'_>) -> io::Result<Vec<Change>> {
    let mut bytes = vec![0; READ_BYTES];
    let (count, _) = rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty())?;
    Ok(changes(bytes.get(..count).unwrap_or_default()))
}

/// The changes that a datagram tells of; what is not understood is passed over.
pub fn changes(mut bytes: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some((message, rest)) = part::<4>(bytes, HEADER) {
        changes.extend(change(message));
        bytes = rest;
    }
    changes
}

/// A part of rtnetlink that begins with its length, in `N` bytes, and what follows after the padding to 4.
pub(crate) fn part<const N: usize>(bytes: &[u8], least: usize) -> Option<(&[u8], &[u8])> {
    let mut length = [0; 4];
    length.get_mut(..N)?.copy_from_slice(bytes.get(..N)?);
    // The lower bytes come first on little-endian machines alone.
    let length = match N {
        2 => usize::from(u16::from_ne_bytes([length[0], length[1]])),
        _ => usize::try_from(u32::from_ne_bytes(length)).ok()?,
    };
    let part = bytes.get(..length).filter(|part| part.len() >= least)?;
    let padded = length.checked_next_multiple_of(4)?;
    Some((part, bytes.get(padded..).unwrap_or_default()))
}

fn change(message: &[u8]) -> Option<Change> {
    let kind = number(message, 4)?;
    let state = number(message, HEADER + 8)?;
    let mut attributes = message.get(HEADER + NEIGHBOUR..)?;
    let (mut address, mut mac) = (None, None);
    while let Some((attribute, rest)) = part::<2>(attributes, 4) {
        let value = attribute.get(4..)?;
        match number(attribute, 2)? {
            NDA_DST => address = ip(value),
            NDA_LLADDR => mac = hardware(value),
            _ => {}
        }
        attributes = rest;
    }
    let address = address?;
    match kind {
        RTM_DELNEIGH => Some(Change { address, mac: None }),
        RTM_NEWNEIGH if state & UNKNOWN_STATES == 0 => Some(Change {
            address,
            mac: Some(mac?),
        }),
        _ => None,
    }
}

/// Two bytes as a number.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(two.try_into().ok()?))
}

/// An address, by its length.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// A MAC of six bytes, unless it is no host's.
fn hardware(bytes: &[u8]) -> Option<SmolStr> {
    let mac = <[u8; 6]>::try_from(bytes).ok().filter(|mac| *mac != [0; 6])?;
    text::mac(trapline_schemas::ids::hex(&mac).as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = (value.len() + 4) as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, state: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = attributes.concat();
        let length = (HEADER + NEIGHBOUR + body.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([2, 0, 0, 0, 3, 0, 0, 0]);
        bytes.extend(state.to_ne_bytes());
        bytes.extend([0, 1]);
        bytes.extend(body);
        bytes
    }

    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 0x53, 0x23];

    #[test]
    fn neighbours_come_and_go() {
        let (address, mac) = (attribute(NDA_DST, &[10, 0, 0, 5]), attribute(NDA_LLADDR, &MAC));
        let v6 = attribute(NDA_DST, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let datagram = [
            message(RTM_NEWNEIGH, 0x02, &[address.clone(), mac.clone()]),
            message(RTM_NEWNEIGH, 0x04, &[v6, mac.clone()]),
            message(RTM_NEWNEIGH, 0x01, std::slice::from_ref(&address)),
            message(RTM_NEWNEIGH, 0x40, &[address.clone(), mac]),
            message(RTM_DELNEIGH, 0x20, &[address]),
        ]
        .concat();
        let told: Vec<_> = changes(&datagram)
            .into_iter()
            .map(|change| (change.address.to_string(), change.mac.map(|mac| mac.to_string())))
            .collect();
        let mac = Some("00-00-5E-00-53-23".to_owned());
        assert_eq!(
            told,
            [
                ("10.0.0.5".to_owned(), mac.clone()),
                ("fe80::1".to_owned(), mac),
                ("10.0.0.5".to_owned(), None)
            ]
        );
    }

    /// The end of an answer of several messages.
    const NLMSG_DONE: u16 = 3;

    #[test]
    fn the_kernel_answers() {
        let Ok(socket) = open() else {
            // A sandbox without netlink.
            return;
        };
        // What was asked for is there when the request is sent: neighbours, or that there are none.
        let mut bytes = vec![0; READ_BYTES];
        let (count, _) = rustix::net::recv(&socket, &mut bytes[..], RecvFlags::PEEK).unwrap();
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        assert!([RTM_NEWNEIGH, NLMSG_DONE].contains(&kind), "{kind} of {count} bytes");
        assert_eq!(read(socket.as_fd()).unwrap(), changes(&bytes[..count]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_changes_or_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60usize, byte in any::<u8>()) {
            changes(&bytes);
            let mut changed = message(RTM_NEWNEIGH, 2, &[attribute(NDA_DST, &[10, 0, 0, 5]), attribute(NDA_LLADDR, &MAC)]);
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            prop_assert!(changes(&changed).len() <= 1);
        }
    }
}
