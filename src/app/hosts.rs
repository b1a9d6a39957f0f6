//! Looks after what is known of hosts around: the kernel's neighbours as they come and go, the leases as their file
//! changes. What cannot be had is told once, and tried again.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::Tasks;
use crate::app::tables::{LEASES_BYTES_MAX, bounded};
use crate::config::Observer;
use crate::record::leases::Leases;
use crate::record::{Hosts, neighbours};

/// How often the file of leases is looked at.
const LEASES_EVERY: Duration = Duration::from_secs(5);
/// Wait before the kernel is asked again after it refused.
const AGAIN: Duration = Duration::from_secs(60);
/// The kernel's word for "more came than you read".
const LOST: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

/// Starts whatever looks after the hosts around; the leases are there before the first hit.
pub(super) fn look_around(observer: &Observer, tasks: &Tasks, stop: &CancellationToken) -> Arc<Hosts> {
    let known = Arc::new(Hosts::default());
    if observer.neighbours {
        let follow = follow_neighbours(Arc::clone(&known), stop.clone());
        tasks.spawn_station("neighbours", stop.clone(), follow);
    }
    if let Some(leases) = &observer.leases {
        let seen = read_leases(&known, leases, None);
        let follow = follow_leases(Arc::clone(&known), leases.clone(), seen, stop.clone());
        tasks.spawn_station("leases", stop.clone(), follow);
    }
    known
}

/// Follows the kernel's neighbours until `stop`.
async fn follow_neighbours(hosts: Arc<Hosts>, stop: CancellationToken) {
    let mut is_told = false;
    loop {
        let followed = tokio::select! {
            // Cancel: a read that is dropped has taken nothing.
            () = stop.cancelled() => return,
            followed = follow(&hosts) => followed,
        };
        if let Err(error) = followed
            && !std::mem::replace(&mut is_told, true)
        {
            tracing::warn!(%error, "the kernel does not tell of neighbours, events have no MAC of theirs");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn follow(hosts: &Hosts) -> std::io::Result<()> {
    // The reactor has no socket of this family; it is asked for nothing but whether there is something to read.
    let socket = UnixDatagram::from_std(neighbours::open()?.into())?;
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || read(socket.as_fd())) {
            Ok(changes) => changes.into_iter().for_each(|change| hosts.note(change)),
            // Not ready after all.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The next changes; where some were lost all are asked for again.
fn read(socket: BorrowedFd<'_>) -> std::io::Result<Vec<neighbours::Change>> {
    match neighbours::read(socket) {
        Err(error) if error.raw_os_error() == Some(LOST) => {
            neighbours::ask_for_all(socket)?;
            Ok(Vec::new())
        }
        read => read,
    }
}

/// Reads the leases whenever their file changes, until `stop`.
async fn follow_leases(hosts: Arc<Hosts>, path: PathBuf, mut seen: Stamp, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LEASES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel: a tick that is dropped comes again.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (hosts, path, before) = (Arc::clone(&hosts), path.clone(), seen);
        let read = tokio::task::spawn_blocking(move || read_leases(&hosts, &path, before)).await;
        seen = read.unwrap_or(seen);
    }
}

/// A version of the file: time of change, size; `None` inside if it cannot be had.
type Stamp = Option<Option<(SystemTime, u64)>>;

/// Reads the file if it is another than before.
fn read_leases(hosts: &Hosts, path: &Path, before: Stamp) -> Stamp {
    let found = std::fs::metadata(path).ok();
    let now = found.and_then(|found| Some((found.modified().ok()?, found.len())));
    if before == Some(now) {
        return before;
    }
    match bounded(path, LEASES_BYTES_MAX) {
        Ok(bytes) => {
            let leases = Leases::read(&bytes);
            if leases.unread > 0 {
                tracing::debug!(leases.unread, "parts of `{}` cannot be read", path.display());
            }
            hosts.put_leases(leases.by_address);
        }
        // Those of before stay: a server writes its file anew now and then.
        Err(why) => tracing::warn!("leases `{}` cannot be read: {why}", path.display()),
    }
    Some(now)
}
