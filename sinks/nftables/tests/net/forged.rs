//! Packets in somebody else's name.

use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// Sends a TCP segment without data from an address that need not be ours, out of the namespace of the calling thread.
pub fn send(from: SocketAddrV4, to: SocketAddrV4, flags: u8, sequence: u32, acknowledged: u32) {
    // IPPROTO_RAW: the header of IP is ours.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
    let packet = packet(from, to, flags, sequence, acknowledged);
    socket
        .send_to(&packet, &SockAddr::from(SocketAddrV4::new(*to.ip(), 0)))
        .unwrap();
}

/// Hears all TCP that comes to the namespace of the calling thread from now on.
pub fn listen() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .unwrap();
    socket
}

/// The number with which the answer to a SYN begins.
pub fn first_number(heard: &Socket, to: SocketAddrV4) -> u32 {
    use std::io::Read as _;
    let mut bytes = [0; 200];
    loop {
        let count = (&mut &*heard).read(&mut bytes).unwrap();
        let tcp = &bytes[20..count];
        if tcp[2..4] == to.port().to_be_bytes() && tcp[13] == SYN | ACK {
            return u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        }
    }
}

fn packet(from: SocketAddrV4, to: SocketAddrV4, flags: u8, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(from.port().to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledged.to_be_bytes());
    tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    let mut pseudo = addresses(*from.ip(), *to.ip());
    pseudo.extend([0, 6, 0, 20]);
    let sum = checksum(&[pseudo, tcp.clone()].concat());
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    ip.extend(addresses(*from.ip(), *to.ip()));
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [ip, tcp].concat()
}

fn addresses(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    [from.octets(), to.octets()].concat()
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}
