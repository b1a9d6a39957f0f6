//! The thread that hears of others' changes to the table, and looks through it for those who became spared.
//!
//! The kernel tells of every change to rules, with the number of the socket that made it. A filter in the kernel keeps our
//! own away, so that a large batch neither wakes this thread nor fills its queue. What was lost counts as a change.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use socket2::{SockFilter, SockRef};
use tokio::sync::watch;

use crate::census;
use crate::lane::{Job, Lane, Shared};
use crate::plan::{Plan, Set};
use crate::socket::Socket;
use crate::wire::{messages, numbers as nr};

/// Wakes the thread.
#[derive(Debug)]
pub(crate) struct Bell {
    event: OwnedFd,
    wants_sweep: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let wants_sweep = AtomicBool::new(false);
        Ok(Arc::new(Self { event, wants_sweep }))
    }

    /// Has the sets looked through.
    pub(crate) fn sweep(&self) {
        self.wants_sweep.store(true, Ordering::Release);
        self.ring();
    }

    /// Has the thread look whether it is over.
    pub(crate) fn ring(&self) {
        // It fails only when it has been rung 2^64 times and not heard.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn hear(&self) {
        // Nothing to read is as good.
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
    }
}

/// What the thread has.
pub(crate) struct Watch {
    pub(crate) bell: Arc<Bell>,
    pub(crate) socket: Option<Socket>,
    pub(crate) plan: Plan,
    pub(crate) told: watch::Sender<u64>,
    pub(crate) lane: Weak<Lane>,
    pub(crate) shared: Arc<Shared>,
}

/// Room for the thread's stack.
const STACK_BYTES: usize = 256 << 10;

/// A socket that hears of changes by all but the socket of number `own`. Errors: the kernel's.
pub(crate) fn listen(own: u32) -> io::Result<Socket> {
    let socket = Socket::open(nr::GROUP_NFTABLES)?;
    // What came between the two calls is heard, which is no harm.
    SockRef::from(&socket).attach_filter(&filter(own))?;
    Ok(socket)
}

/// Lets through what does not carry a number at the place of `nlmsg_pid`. The filter reads numbers as big-endian.
fn filter(own: u32) -> [SockFilter; 4] {
    const LOAD_WORD_AT: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PORT_AT: u32 = 12;
    let own = u32::from_be_bytes(own.to_ne_bytes());
    [
        SockFilter::new(LOAD_WORD_AT, 0, 0, PORT_AT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, own),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

impl Watch {
    /// Starts the thread; it ends when the shared end is set and the bell rung. Errors: no room for a thread.
    pub(crate) fn start(self) -> io::Result<()> {
        std::thread::Builder::new()
            .name("trapline-told".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || self.run())?;
        Ok(())
    }

    fn run(mut self) {
        while !self.shared.is_over.load(Ordering::Acquire) {
            if self.wait().is_err() {
                return self.say_deaf();
            }
            if self.bell.wants_sweep.swap(false, Ordering::AcqRel) {
                self.sweep();
            }
        }
    }

    /// Waits for the bell or for news, and reads the news.
    fn wait(&mut self) -> io::Result<()> {
        let mut ends = vec![PollFd::new(&self.bell.event, PollFlags::IN)];
        ends.extend(self.socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut ends, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_news = ends.get(1).is_some_and(|end| !end.revents().is_empty());
        self.bell.hear();
        if has_news {
            self.read_news();
        }
        Ok(())
    }

    fn read_news(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        let is_changed = match socket.receive() {
            Ok(bytes) => is_about(bytes, &self.plan.table),
            // Whatever was lost may have been about the table.
            Err(_) => true,
        };
        if is_changed {
            self.shared.changes.fetch_add(1, Ordering::AcqRel);
            self.told.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn say_deaf(&self) {
        let why =
            "others' changes to the nftables table are found by comparing alone: the thread that hears of them ended";
        self.shared.note(|notes| notes.watch = Some(why.to_owned()));
    }

    /// Looks for members that are spared, and has them taken.
    fn sweep(&self) {
        let swept = self.spared_members();
        match (swept, self.lane.upgrade()) {
            (Ok(targets), Some(lane)) if !targets.is_empty() => lane.tell(Job::Take(targets), true),
            (Err(error), _) => {
                tracing::warn!(error.message = %error, "the nftables table was not looked through for those who are spared");
            }
            _ => {}
        }
    }

    fn spared_members(&self) -> io::Result<Vec<trapline_sink::set::Target>> {
        let spared = self.shared.spared();
        let mut socket = Socket::open(0)?;
        let all = census::members(&mut socket, &self.plan, Set::MEMBERS)?
            .members
            .into_iter();
        let mut targets: Vec<_> = all.map(|(target, ..)| target).collect();
        targets.retain(|target| spared.why(*target).is_some());
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }
}

/// Whether a datagram tells of a change to the table of a name.
fn is_about(bytes: &[u8], table: &str) -> bool {
    messages(bytes).any(|message| {
        let is_change = message.table_message().is_some_and(|kind| kind != nr::NEWGEN);
        // In all messages of nf_tables the first attribute is the table's name.
        let name = message.attributes().text(nr::TABLE_NAME);
        is_change && message.family() == Some(nr::PROTO_INET) && name == Some(table)
    })
}

impl AsFd for Bell {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Builder, Head};

    fn news(kind: u16, table: &str) -> Vec<u8> {
        let mut builder = Builder::default();
        let head = Head {
            kind,
            flags: 0,
            sequence: 0,
        };
        builder.message(head, |b| b.text(nr::TABLE_NAME, table));
        builder.bytes().unwrap().to_vec()
    }

    #[test]
    fn news_of_other_tables_are_none() {
        assert!(is_about(&news(nr::DELTABLE, "trapline"), "trapline"));
        assert!(is_about(
            &[news(nr::DELTABLE, "x"), news(nr::DELSETELEM, "trapline")].concat(),
            "trapline"
        ));
        assert!(!is_about(&news(nr::DELTABLE, "filter"), "trapline"));
        assert!(!is_about(&news(nr::NEWGEN, "trapline"), "trapline"));
        assert!(!is_about(&[], "trapline"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_news_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            is_about(&bytes, "trapline");
        }
    }
}
