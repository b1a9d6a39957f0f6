//! Looks after the list: one future that asks all sources, and the handle to what they found.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trapline_sink::dial::{Address, Resolver};
use trapline_sink::set::{Spared, Why};

use super::admins::{Admins, LOGIN_KEPT, Remembered};
use super::board::{Board, Found, Row, Source};
use super::files::Root;
use super::names::{self, Wanted};
use super::{kernel, logins, resolvers, timeservers};

/// Longest that a start waits for the list; what is not found by then comes later, and is a note until then.
pub const READY_WITHIN: Duration = Duration::from_secs(2);
/// How often files of this host are read.
const FILES_EVERY: Duration = Duration::from_secs(10);
/// How often the login records are.
const LOGINS_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whose time is over.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What is to know of the host before it is looked at.
#[derive(Debug, Clone)]
pub struct Host {
    /// The folder that its files are below: `/`.
    pub root: PathBuf,
    /// How names become addresses.
    pub resolver: Resolver,
    /// Where the person sits who started this process by hand, see [`started_from`](super::started_from).
    pub started_from: Option<IpAddr>,
}

/// Where a sink sends to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The sink's name.
    pub sink: String,
    /// The hosts; a port means nothing.
    pub places: Vec<Address>,
}

/// What the configuration says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[response] allow`.
    pub allow: Vec<IpNet>,
    /// Of every sink that is configured and enabled.
    pub sinks: Vec<Destination>,
}

/// The list and what is behind it. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Sparing {
    board: Arc<Board>,
    wishes: Arc<Wishes>,
    admins: Admins,
}

/// Names that somebody wants the addresses of.
#[derive(Debug)]
struct Wishes {
    /// Of sinks, and of time servers.
    of: Mutex<(Wanted, Wanted)>,
    names: watch::Sender<Wanted>,
    started_from: Option<IpAddr>,
}

/// What is to be run for the list to be kept.
#[derive(Debug)]
pub struct Work {
    sparing: Sparing,
    host: Host,
}

/// The handle, and what a task is to run for it. What the settings name by its address is on the list when this returns.
pub fn open(host: Host, settings: &Settings) -> (Sparing, Work) {
    let board = Arc::new(Board::new());
    let sparing = Sparing {
        admins: Admins::new(Arc::clone(&board)),
        wishes: Arc::new(Wishes {
            of: Mutex::default(),
            names: watch::Sender::default(),
            started_from: host.started_from,
        }),
        board,
    };
    sparing.settle(settings);
    let work = Work {
        sparing: sparing.clone(),
        host,
    };
    (sparing, work)
}

impl Sparing {
    /// The list, anew at each change.
    pub fn watch(&self) -> watch::Receiver<Arc<Spared>> {
        self.board.watch()
    }

    /// Takes over what a start or a reload has read. Names that were wanted before keep their addresses.
    pub fn settle(&self, settings: &Settings) {
        let (mut names, mut rows) = (Wanted::new(), Vec::new());
        for Destination { sink, places } in &settings.sinks {
            let why = Why::Sink(sink.clone());
            for place in places {
                match place.host.parse::<IpAddr>() {
                    Ok(address) => rows.push(Row::host(address, why.clone(), "the configuration")),
                    Err(_) => drop(names.entry(place.host.clone()).or_default().insert(why.clone())),
                }
            }
        }
        let allowed = settings.allow.iter().map(|network| Row {
            network: *network,
            why: Why::Allowed,
            from: "the configuration".into(),
        });
        let by_hand = self.wishes.started_from.into_iter();
        let by_hand = by_hand.map(|address| Row::host(address, Why::Admin, "who started this process over SSH"));
        rows.extend(allowed.chain(by_hand));
        self.wishes.put(|of| of.0 = names);
        let found = Found {
            rows,
            ..Found::default()
        };
        self.board.put(Source::Settings, found);
    }

    /// Waits until the list is whole, at most [`READY_WITHIN`]. Cancel: safe.
    pub async fn ready(&self) {
        let whole = tokio::time::timeout(READY_WITHIN, self.board.is_whole()).await;
        if whole.is_err() {
            tracing::warn!("who is never acted on is not wholly known yet, the rest of the list comes later");
        }
    }

    /// For whoever checks tokens.
    pub fn admins(&self) -> Admins {
        self.admins.clone()
    }

    /// Every reason for every network, sorted: for people.
    pub fn rows(&self) -> Vec<Row> {
        self.board.rows()
    }

    /// What could not be found out, or not yet.
    pub fn notes(&self) -> Vec<String> {
        self.board.notes()
    }
}

impl Wishes {
    fn put(&self, change: impl FnOnce(&mut (Wanted, Wanted))) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut of);
        let wanted = together(&of.0, &of.1);
        self.names.send_if_modified(|now| {
            let is_other = *now != wanted;
            if is_other {
                *now = wanted;
            }
            is_other
        });
    }
}

fn together(sinks: &Wanted, time_servers: &Wanted) -> Wanted {
    let mut wanted = sinks.clone();
    for (host, whys) in time_servers {
        wanted.entry(host.clone()).or_default().extend(whys.iter().cloned());
    }
    wanted
}

impl Work {
    /// Keeps the list until `stop`. A thread that hangs in the system's resolver or on a disk may outlast it.
    pub async fn run(self, stop: CancellationToken) {
        let Self { sparing, host } = self;
        let root = Root::new(&host.root);
        let board = || Arc::clone(&sparing.board);
        let all = async {
            tokio::join!(
                kernel::follow(board()),
                follow_resolvers(board(), root.clone()),
                follow_time_servers(&sparing, root.clone()),
                follow_logins(board(), root.clone()),
                names::follow(board(), host.resolver, sparing.wishes.names.subscribe()),
                follow_tokens(&sparing.admins),
            );
        };
        tokio::select! {
            // Cancel: each of them leaves the board as it is.
            () = stop.cancelled() => {}
            () = all => {}
        }
    }
}

async fn follow_resolvers(board: Arc<Board>, root: Root) {
    loop {
        let root = root.clone();
        if let Ok(found) = tokio::task::spawn_blocking(move || resolvers::read(&root)).await {
            board.put_read(Source::Resolvers, found);
        }
        tokio::time::sleep(FILES_EVERY).await;
    }
}

async fn follow_time_servers(sparing: &Sparing, root: Root) {
    loop {
        let root = root.clone();
        if let Ok((found, names)) = tokio::task::spawn_blocking(move || timeservers::read(&root)).await {
            let names = names.into_iter();
            let mut names: Wanted = names.map(|name| (name, BTreeSet::from([Why::TimeServer]))).collect();
            sparing.wishes.put(|of| {
                if found.is_partial {
                    names.append(&mut of.1);
                }
                of.1 = names;
            });
            // After the names are wanted: the list is whole when they are found.
            sparing.board.put_read(Source::TimeServers, found);
        }
        tokio::time::sleep(FILES_EVERY).await;
    }
}

async fn follow_logins(board: Arc<Board>, root: Root) {
    let logins = Remembered::new(board, Source::Logins, LOGIN_KEPT, "a login record");
    let mut last = BTreeSet::new();
    loop {
        let root = root.clone();
        if let Ok((mut from, failed)) = tokio::task::spawn_blocking(move || logins::read(&root)).await {
            if !failed.is_empty() {
                // Who was logged in may still be.
                from.append(&mut last);
            }
            last.clone_from(&from);
            let beside = Found {
                notes: failed.into_iter().map(|why| format!("login records: {why}")).collect(),
                ..Found::default()
            };
            logins.saw_with(from, beside);
        }
        tokio::time::sleep(LOGINS_EVERY).await;
    }
}

async fn follow_tokens(admins: &Admins) {
    loop {
        admins.forget();
        tokio::time::sleep(FORGET_EVERY).await;
    }
}
