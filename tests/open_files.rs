//! At the limit of open files the longest idle sessions make room and no contact is lost.
//!
//! A process of its own, because the limit is the whole process's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trapline::decoy::bind::bind;
use trapline::decoy::personality::Install;
use trapline::decoy::role::Role;
use trapline::decoy::services::{self, Transport};
use trapline::decoy::{DecoySpec, Limits, Personality, Secrets};
use trapline::roles::{Bound, Hit, ToDecoy};
use trapline_schemas::{Action, Field, Value};

const FILES: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(30);

fn silent_decoy() -> Arc<DecoySpec> {
    let text = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";
    let install = Install::new("files03", "corp.local", [7; 32]);
    Arc::new(DecoySpec {
        name: "lure".into(),
        service: services::find("banner").expect("the table has it"),
        personality: Personality::parse("silent", "silent.toml", text, &install).expect("the text is whole"),
        limits: Limits {
            report_after: Duration::ZERO,
            ..Limits::default()
        },
        secrets: Secrets::Hmac,
        provided: None,
        tls: None,
    })
}

async fn next(hits: &mut mpsc::Receiver<Hit>) -> Hit {
    tokio::time::timeout(PATIENCE, hits.recv())
        .await
        .expect("a hit comes in time")
        .expect("the role runs")
}

#[tokio::test]
async fn at_the_limit_of_open_files_idle_sessions_make_room_for_a_new_contact() {
    let limit = Rlimit {
        current: Some(FILES),
        maximum: Some(FILES),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let (hits, mut told) = mpsc::channel(1024);
    let (missed, _) = mpsc::channel(1);
    let (role, orders) = mpsc::channel(1);
    let (socket, address) = bind("127.0.0.1:0".parse().unwrap(), Transport::Tcp).unwrap();
    let spec = silent_decoy();
    role.send(ToDecoy::Listen {
        listener: 1,
        socket: Bound::Tcp(socket),
        spec,
    })
    .await
    .unwrap();
    let stop = CancellationToken::new();
    let runtime = tokio::runtime::Handle::current();
    let running = runtime.spawn(Role::new(hits, missed, Duration::ZERO).run(orders, stop.clone()));

    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(address).await.unwrap());
        assert_eq!(next(&mut told).await.action, Action::Connect);
    }
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(hoard.len() > 100, "the limit was reached by opening files");
    hoard.pop();
    let last = TcpStream::connect(address)
        .await
        .expect("one file was left for the client");

    let (mut came, mut ended) = (false, 0);
    while !came || ended == 0 {
        let hit = next(&mut told).await;
        match hit.action {
            Action::Connect => {
                assert_eq!(hit.contact.peer, last.local_addr().unwrap());
                came = true;
            }
            Action::SessionEnd => {
                let reason = hit.facts.iter().find(|(field, _)| *field == Field::EventReason);
                let why = Value::from("closed: no more open files");
                assert_eq!(reason.map(|(_, value)| value), Some(&why));
                ended += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(ended < 20, "only some sessions had to go");
    drop((hoard, clients));
    stop.cancel();
    running.await.unwrap();
}
