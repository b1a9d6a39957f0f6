//! The addresses of names: of sinks and time servers.
//!
//! A name is asked for again and again: destinations move, and pools answer differently each time. Every address that it
//! had in the last hour is spared, and the last ones for as long as it does not resolve.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use trapline_sink::dial::Resolver;
use trapline_sink::set::Why;

use super::board::{Board, Found, Row, Source};

/// Names of which the addresses are wanted, and why.
pub(super) type Wanted = BTreeMap<String, BTreeSet<Why>>;

/// Most names that are asked for; those of sinks come first.
const NAMES_MAX: usize = 256;
/// Most lookups under way: each may hold a thread for as long as the system's resolver waits.
const LOOKUPS_MAX: usize = 8;
/// First wait before a name is asked for again, and the longest while its addresses stay the same.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(15 * 60);
/// First wait after a name did not resolve, and the longest.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(5 * 60);
/// How long an address is spared after its name had it last, while the name resolves.
pub(super) const KEPT: Duration = Duration::from_secs(3600);
/// Most addresses of one name; of more the latest.
const ADDRESSES_MAX: usize = 64;

type Answer = (String, io::Result<Vec<IpAddr>>);

/// What is known of one name.
#[derive(Debug)]
struct Name {
    /// Its addresses, and when it had each last.
    seen: BTreeMap<IpAddr, Instant>,
    /// When it is asked for; `None` while it is.
    due: Option<Instant>,
    wait: Duration,
    /// Why it did not resolve when it was asked for last.
    failure: Option<String>,
    is_answered: bool,
}

/// Keeps the board's rows of names. Ends when nobody can want any more.
pub(super) async fn follow(board: Arc<Board>, resolver: Resolver, mut wanted: watch::Receiver<Wanted>) {
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    let mut lookups = JoinSet::new();
    loop {
        let (want, left) = bounded(wanted.borrow_and_update().clone());
        names.retain(|host, _| want.contains_key(host));
        for host in want.keys() {
            names.entry(host.clone()).or_insert_with(Name::new);
        }
        start(&mut names, &mut lookups, &resolver);
        board.put(Source::Names, found(&names, &want, left));
        let next = names.values().filter_map(|name| name.due).min();
        let is_free = lookups.len() < LOOKUPS_MAX;
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            // Cancel: an answer that is not taken stays.
            Some(answer) = lookups.join_next() => take(&mut names, answer),
            () = until(next), if is_free => {}
        }
    }
}

/// As many names as there is room for, and how many were left out.
fn bounded(wanted: Wanted) -> (Wanted, usize) {
    let left = wanted.len().saturating_sub(NAMES_MAX);
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_by_key(|(_, whys)| !whys.iter().any(|why| matches!(why, Why::Sink(_))));
    wanted.truncate(NAMES_MAX);
    (wanted.into_iter().collect(), left)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Starts what is due, as far as there is room.
fn start(names: &mut BTreeMap<String, Name>, lookups: &mut JoinSet<Answer>, resolver: &Resolver) {
    let now = Instant::now();
    for (host, name) in names {
        if lookups.len() >= LOOKUPS_MAX {
            return;
        }
        if name.due.is_some_and(|due| due <= now) {
            name.due = None;
            let (host, resolver) = (host.clone(), resolver.clone());
            lookups.spawn_blocking(move || {
                // The port says nothing; no resolver is asked for it.
                let found = resolver.lookup(&host, 1);
                let found = found.map(|found| found.iter().map(|address| address.ip().to_canonical()).collect());
                (host, found)
            });
        }
    }
}

fn take(names: &mut BTreeMap<String, Name>, answer: Result<Answer, JoinError>) {
    match answer {
        Ok((host, answer)) => {
            if let Some(name) = names.get_mut(&host) {
                name.take(answer);
            }
        }
        // A resolver that broke down does not say for which name: all that wait are asked for again.
        Err(error) => names
            .values_mut()
            .filter(|name| name.due.is_none())
            .for_each(|name| name.take(Err(io::Error::other(error.to_string())))),
    }
}

impl Name {
    fn new() -> Self {
        Self {
            seen: BTreeMap::new(),
            due: Some(Instant::now()),
            wait: Duration::ZERO,
            failure: None,
            is_answered: false,
        }
    }

    fn take(&mut self, answer: io::Result<Vec<IpAddr>>) {
        let now = Instant::now();
        let answer = answer.and_then(|found| match found.is_empty() {
            true => Err(io::Error::other("no address")),
            false => Ok(found),
        });
        self.is_answered = true;
        match answer {
            Ok(found) => self.wait = self.keep(found, now),
            Err(error) => {
                let wait = if self.failure.is_some() { self.wait * 2 } else { RETRY };
                self.wait = wait.clamp(RETRY, RETRY_MAX);
                self.failure = Some(error.to_string());
            }
        }
        self.due = Some(now + self.wait);
    }

    /// Keeps what a name has now, and had lately; how long it may be left alone.
    fn keep(&mut self, found: Vec<IpAddr>, now: Instant) -> Duration {
        let is_same = self.failure.is_none() && found.iter().all(|address| self.seen.contains_key(address));
        self.failure = None;
        self.seen.retain(|_, last| now.duration_since(*last) < KEPT);
        for address in found {
            self.seen.insert(address, now);
            if self.seen.len() > ADDRESSES_MAX {
                let oldest = self.seen.iter().min_by_key(|(_, last)| **last);
                let oldest = oldest.map(|(address, _)| *address);
                oldest.map(|address| self.seen.remove(&address));
            }
        }
        match is_same {
            true => (self.wait * 2).clamp(AGAIN, AGAIN_MAX),
            false => AGAIN,
        }
    }

    /// What could not be found out.
    fn note(&self, host: &str, whys: &BTreeSet<Why>) -> Option<String> {
        let failure = self.failure.as_deref()?;
        let whys = said(whys);
        Some(match self.seen.len() {
            0 => format!("`{host}` ({whys}) does not resolve, no address of it is spared: {failure}"),
            count => format!("`{host}` ({whys}) does not resolve, its last addresses ({count}) stay spared: {failure}"),
        })
    }
}

fn said(whys: &BTreeSet<Why>) -> String {
    whys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn found(names: &BTreeMap<String, Name>, wanted: &Wanted, left: usize) -> Found {
    let mut found = Found::default();
    if left > 0 {
        found.notes.push(format!(
            "more than {NAMES_MAX} names of sinks and time servers: {left} are not asked for, and not spared"
        ));
    }
    for (host, whys) in wanted {
        let Some(name) = names.get(host) else { continue };
        let from: Arc<str> = format!("the name `{host}`").into();
        for why in whys {
            let rows = name.seen.keys();
            let rows = rows.map(|address| Row::host(*address, why.clone(), Arc::clone(&from)));
            found.rows.extend(rows);
        }
        found.notes.extend(name.note(host, whys));
        if !name.is_answered {
            found
                .awaited
                .push(format!("`{host}` ({}) has not resolved yet", said(whys)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    type Zone = Arc<Mutex<HashMap<String, Vec<&'static str>>>>;

    fn resolver(zone: &Zone) -> Resolver {
        let zone = Arc::clone(zone);
        Resolver::new(move |host, port| {
            let zone = zone.lock().unwrap();
            let found = zone.get(host).ok_or_else(|| io::Error::other("no such name"))?;
            Ok(found
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
                .collect())
        })
    }

    fn set(zone: &Zone, host: &str, addresses: &[&'static str]) {
        let mut zone = zone.lock().unwrap();
        match addresses {
            [] => drop(zone.remove(host)),
            _ => drop(zone.insert(host.to_owned(), addresses.to_vec())),
        }
    }

    fn want(hosts: &[&str]) -> Wanted {
        let why = BTreeSet::from([Why::Sink("siem".into())]);
        hosts.iter().map(|host| ((*host).to_owned(), why.clone())).collect()
    }

    fn addresses(board: &Board) -> Vec<String> {
        board.rows().iter().map(|row| row.network.addr().to_string()).collect()
    }

    /// Waits until the board says so; time goes on only while nothing else can be done.
    async fn until_it_is(board: &Board, good: impl Fn(&Board) -> bool) {
        for _ in 0..10_000 {
            if good(board) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{:?} {:?}", board.rows(), board.notes());
    }

    fn follow_it(zone: &Zone, hosts: &[&str]) -> (Arc<Board>, watch::Sender<Wanted>) {
        let (board, wanted) = (Arc::new(Board::new()), watch::Sender::new(want(hosts)));
        tokio::spawn(follow(Arc::clone(&board), resolver(zone), wanted.subscribe()));
        (board, wanted)
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_of_a_name_is_spared_and_a_new_one_beside_the_old_for_an_hour() {
        let zone = Zone::default();
        set(&zone, "siem.example", &["192.0.2.1", "2001:db8::1"]);
        let (board, _wanted) = follow_it(&zone, &["siem.example"]);
        until_it_is(&board, |board| addresses(board) == ["192.0.2.1", "2001:db8::1"]).await;
        let begun = Instant::now();
        set(&zone, "siem.example", &["192.0.2.2"]);
        until_it_is(&board, |board| addresses(board).len() == 3).await;
        assert!(begun.elapsed() <= AGAIN_MAX, "{:?}", begun.elapsed());
        until_it_is(&board, |board| addresses(board) == ["192.0.2.2"]).await;
        assert!(begun.elapsed() >= KEPT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_addresses_stay_while_a_name_does_not_resolve_and_a_note_says_so() {
        let zone = Zone::default();
        set(&zone, "siem.example", &["192.0.2.1"]);
        let (board, _wanted) = follow_it(&zone, &["siem.example", "gone.example"]);
        let told = |board: &Board, part: &str| board.notes().iter().any(|note| note.contains(part));
        until_it_is(&board, |board| {
            told(board, "`gone.example`") && !addresses(board).is_empty()
        })
        .await;
        assert!(told(&board, "no address of it is spared") && told(&board, "sink `siem`"));
        set(&zone, "siem.example", &[]);
        until_it_is(&board, |board| told(board, "its last addresses (1) stay spared")).await;
        tokio::time::sleep(KEPT * 3).await;
        assert_eq!(addresses(&board), ["192.0.2.1"]);
        set(&zone, "gone.example", &["192.0.2.9"]);
        until_it_is(&board, |board| addresses(board).contains(&"192.0.2.9".to_owned())).await;
        assert!(!told(&board, "`gone.example`"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_nobody_wants_any_more_goes_and_a_new_one_comes() {
        let zone = Zone::default();
        set(&zone, "a.example", &["192.0.2.1"]);
        set(&zone, "b.example", &["192.0.2.2"]);
        let (board, wanted) = follow_it(&zone, &["a.example"]);
        until_it_is(&board, |board| addresses(board) == ["192.0.2.1"]).await;
        wanted.send_replace(want(&["b.example"]));
        until_it_is(&board, |board| addresses(board) == ["192.0.2.2"]).await;
    }

    /// A resolver that tells of every lookup, which then waits until it is let go.
    fn stuck(let_go: Receiver<()>) -> (Resolver, tokio::sync::mpsc::Receiver<()>) {
        let (begun, told) = tokio::sync::mpsc::channel(100);
        let gate = Mutex::new(let_go);
        let resolver = Resolver::new(move |_, port| {
            begun.blocking_send(()).unwrap();
            // Its sender is dropped at the end.
            let _ = gate.lock().unwrap().recv();
            Ok(vec![SocketAddr::new("192.0.2.1".parse().unwrap(), port)])
        });
        (resolver, told)
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_holds_a_bounded_number_of_threads() {
        let (let_go, gate) = channel();
        let (resolver, mut begun) = stuck(gate);
        let hosts: Vec<_> = (0..40).map(|number| format!("h{number}.example")).collect();
        let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
        let (board, wanted) = (Arc::new(Board::new()), watch::Sender::new(want(&hosts)));
        tokio::spawn(follow(Arc::clone(&board), resolver, wanted.subscribe()));
        for _ in 0..LOOKUPS_MAX {
            begun.recv().await.unwrap();
        }
        // Those that are asked for are wanted no more; that lets no others in.
        wanted.send_replace(want(&hosts[20..]));
        tokio::task::yield_now().await;
        assert!(begun.try_recv().is_err() && !board.notes().is_empty());
        drop(let_go);
        let mut list = board.watch();
        let target = "192.0.2.1".parse().unwrap();
        list.wait_for(|list| list.why(target).is_some()).await.unwrap();
    }

    #[test]
    fn of_more_names_than_there_is_room_for_those_of_sinks_stay_and_a_note_says_so() {
        let hosts = (0..NAMES_MAX).map(|number| format!("a{number}.example"));
        let mut wanted: Wanted = hosts.map(|host| (host, BTreeSet::from([Why::TimeServer]))).collect();
        wanted.extend(want(&["siem.example"]));
        let (kept, left) = bounded(wanted);
        assert!(kept.len() == NAMES_MAX && kept.contains_key("siem.example") && left == 1);
        assert!(found(&BTreeMap::new(), &kept, left).notes[0].contains("1 are not asked for"));
    }

    #[test]
    fn of_more_addresses_than_there_is_room_for_the_latest_stay() {
        let mut name = Name::new();
        let now = Instant::now();
        for number in 0..200u32 {
            name.keep(
                vec![IpAddr::V4(number.into())],
                now + Duration::from_secs(number.into()),
            );
        }
        assert_eq!(name.seen.len(), ADDRESSES_MAX);
        assert!(name.seen.contains_key(&IpAddr::V4(199.into())));
    }
}
