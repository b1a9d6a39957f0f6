//! A socket to the kernel's packet filter: transactions, questions and dumps.
//!
//! The kernel does what it is asked for within the send, so an answer is there when it returns; the time limit is only for
//! a kernel that answers otherwise than any does. A datagram that is not the kernel's is passed over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::wire::{Attributes, Builder, Head, Message, messages, numbers as nr};

/// Room for one datagram; the kernel sends at most 32 KiB at a time, or what it was sent with an error.
const READ_BYTES: usize = 96 << 10;
/// Room for answers that are not read yet, and for a transaction.
const QUEUE_BYTES: usize = 16 << 20;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Most datagrams of one answer: a dump of two million elements has some thousand.
const DATAGRAMS_MAX: usize = 1_000_000;

/// A socket of its own to the packet filter.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one that hears what `groups` tell. Errors: the kernel's.
    pub(crate) fn open(groups: u32) -> io::Result<Self> {
        let protocol = Some(netlink::NETFILTER);
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_MAX))?;
        widen(&fd);
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        let address = SocketAddrNetlink::try_from(rustix::net::getsockname(&fd)?)?;
        Ok(Self {
            port: address.pid(),
            fd,
            sequence: 1,
            buffer: Vec::new(),
        })
    }

    /// Its number in the kernel, which what it changes carries.
    pub(crate) const fn port(&self) -> u32 {
        self.port
    }

    /// A transaction, empty.
    pub(crate) fn batch(&mut self) -> Batch {
        let first = self.next();
        let mut builder = Builder::default();
        builder.bracket(nr::BATCH_BEGIN, first);
        Batch {
            builder,
            first,
            last: first,
            last_at: 0,
        }
    }

    fn next(&mut self) -> u32 {
        // A batch takes the numbers behind its first one; more than it can hold are left between.
        self.sequence = self.sequence.wrapping_add(1 << 16).max(1);
        self.sequence
    }

    /// Has a transaction made. Gives the messages that the kernel refused, with the reasons; if there is one, nothing was
    /// changed.
    ///
    /// Errors: the transaction as a whole was refused, or the socket's.
    pub(crate) fn commit(&mut self, mut batch: Batch) -> io::Result<Vec<(u32, Errno)>> {
        if batch.last == batch.first {
            return Ok(Vec::new());
        }
        batch.builder.ask_answer(batch.last_at);
        batch.builder.bracket(nr::BATCH_END, batch.last.wrapping_add(1));
        self.send(batch.builder.bytes()?)?;
        let mut refused = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            for message in messages(self.receive()?) {
                let Some(code) = message.error() else { continue };
                if code != 0 && message.sequence == batch.first {
                    return Err(io::Error::from_raw_os_error(code));
                }
                let is_ours = message.sequence.wrapping_sub(batch.first) <= batch.last.wrapping_sub(batch.first);
                if code != 0 && is_ours {
                    refused.push((message.sequence, Errno::from_raw_os_error(code)));
                }
                if message.sequence == batch.last {
                    return Ok(refused);
                }
            }
        }
        Err(Errno::TIMEDOUT.into())
    }

    /// Asks several questions at once and gives, for each, 0 or the kernel's error.
    pub(crate) fn ask_all<T>(
        &mut self,
        kind: u16,
        about: &[T],
        fill: impl Fn(&mut Builder, &T),
    ) -> io::Result<Vec<i32>> {
        if about.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.next();
        let mut builder = Builder::default();
        for (sequence, what) in (first..).zip(about) {
            let flags = nr::F_ACK;
            builder.message(Head { kind, flags, sequence }, |b| fill(b, what));
        }
        let mut codes = vec![None; about.len()];
        let mut open = about.len();
        self.send(builder.bytes()?)?;
        for _ in 0..DATAGRAMS_MAX {
            if open == 0 {
                break;
            }
            for message in messages(self.receive()?) {
                let at = usize::try_from(message.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let (Some(code), Some(place)) = (message.error(), codes.get_mut(at)) else {
                    continue;
                };
                open -= usize::from(place.is_none());
                *place = Some(code);
            }
        }
        codes
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| Errno::TIMEDOUT.into())
    }

    /// Dumps what there is of a kind, message by message.
    ///
    /// Gives whether nothing changed meanwhile: otherwise some may be missing, or come twice. Errors: the kernel's.
    pub(crate) fn dump(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut Builder),
        mut each: impl FnMut(Attributes<'_>),
    ) -> io::Result<bool> {
        let (flags, sequence) = (nr::F_DUMP, self.next());
        let mut builder = Builder::default();
        builder.message(Head { kind, flags, sequence }, fill);
        self.send(builder.bytes()?)?;
        let mut is_whole = true;
        for _ in 0..DATAGRAMS_MAX {
            for message in messages(self.receive()?).filter(|message| message.sequence == sequence) {
                is_whole &= message.flags & nr::F_DUMP_INTR == 0 && !message.is_overrun();
                match ending(&message) {
                    Some(0) => return Ok(is_whole),
                    Some(code) => return Err(io::Error::from_raw_os_error(code)),
                    None => each(message.attributes()),
                }
            }
        }
        Err(Errno::TIMEDOUT.into())
    }

    /// Dumps the first datagram's worth of what there is; the socket is of no further use.
    pub(crate) fn dump_begin(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut Builder),
        mut each: impl FnMut(Attributes<'_>),
    ) -> io::Result<()> {
        let (flags, sequence) = (nr::F_DUMP, self.next());
        let mut builder = Builder::default();
        builder.message(Head { kind, flags, sequence }, fill);
        self.send(builder.bytes()?)?;
        for message in messages(self.receive()?) {
            match ending(&message) {
                None => each(message.attributes()),
                Some(0) => break,
                Some(code) => return Err(io::Error::from_raw_os_error(code)),
            }
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.fd, bytes, SendFlags::empty())?;
        Ok(())
    }

    /// One datagram. Errors: none came in time, or some were lost for want of room.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        self.buffer.resize(READ_BYTES, 0);
        loop {
            let flags = RecvFlags::TRUNC;
            let (read, whole, from) = match rustix::net::recvfrom(&self.fd, &mut self.buffer[..], flags) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if whole > read {
                return Err(Errno::NOBUFS.into());
            }
            let kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if kernel.is_some_and(|address| address.pid() == 0) {
                return Ok(self.buffer.get(..read).unwrap_or_default());
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What ends the answer to a dump: its error, or 0.
fn ending(message: &Message<'_>) -> Option<i32> {
    message.error().or_else(|| message.is_done().then_some(0))
}

/// Makes room for large transactions and their answers; beyond the system's bounds where that is allowed.
fn widen(fd: &OwnedFd) {
    let wide = sockopt::set_socket_recv_buffer_size_force(fd, QUEUE_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(fd, QUEUE_BYTES));
    let sends = sockopt::set_socket_send_buffer_size_force(fd, QUEUE_BYTES)
        .or_else(|_| sockopt::set_socket_send_buffer_size(fd, QUEUE_BYTES));
    if let Err(error) = wide.and(sends) {
        tracing::debug!(error.message = %error, "the buffers of a netlink socket stay as they are");
    }
}

/// Messages that are made together or not at all.
#[derive(Debug)]
pub(crate) struct Batch {
    builder: Builder,
    first: u32,
    last: u32,
    last_at: usize,
}

impl Batch {
    /// Adds a message, with flags besides `REQUEST`; gives the number that an error would carry.
    pub(crate) fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Builder)) -> u32 {
        let sequence = self.last.wrapping_add(1);
        (self.last, self.last_at) = (sequence, self.builder.len());
        self.builder.message(Head { kind, flags, sequence }, fill);
        sequence
    }
}
