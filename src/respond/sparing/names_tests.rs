//! Names that move, come and go, and a resolver that hangs.

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
