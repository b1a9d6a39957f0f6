//! Plays what was recorded, from the addresses of the office's hosts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::hosts::{HOSTS, Host, SENSOR};
use super::recording::{Recording, Session};

/// The hour of what is done at night.
const NIGHT: u64 = 3;
/// How long an answer is awaited: names differ from install to install, and so do the lengths of answers.
const ANSWER: Duration = Duration::from_millis(100);

/// All visits of one hour of the day; counts those of each host.
pub fn hour(recording: &Recording, hour: u64, visits: &mut BTreeMap<&'static str, u64>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let hosts = HOSTS
            .iter()
            .map(|host| async move { (host.address, visit(recording, host, hour).await) });
        for (address, count) in futures_util::future::join_all(hosts).await {
            *visits.entry(address).or_default() += count;
        }
    });
}

/// What one host does in that hour.
async fn visit(recording: &Recording, host: &Host, hour: u64) -> u64 {
    let nightly = if hour == NIGHT { host.nightly } else { &[] };
    let tools = host.hourly.iter().chain(nightly);
    let runs = tools.map(|tool| play(host.address, recording.of(tool)));
    futures_util::future::join_all(runs).await.into_iter().sum()
}

/// What one tool does, one connection after another.
async fn play(address: &str, sessions: &[Session]) -> u64 {
    let mut count = 0;
    for session in sessions {
        count += match session.udp {
            true => play_datagrams(address, session).await,
            false => play_stream(address, session).await,
        };
    }
    count
}

fn from(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0)
}

fn to(session: &Session) -> SocketAddr {
    SocketAddr::new(SENSOR.parse().unwrap(), session.port)
}

async fn play_datagrams(address: &str, session: &Session) -> u64 {
    let socket = UdpSocket::bind(from(address)).await.unwrap();
    for (_, bytes) in &session.says {
        socket.send_to(bytes, to(session)).await.unwrap();
        if session.heard > 0 {
            let _ = timeout(ANSWER, socket.recv(&mut [0; 4096])).await;
        }
    }
    session.says.len() as u64
}

async fn play_stream(address: &str, session: &Session) -> u64 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from(address)).unwrap();
    let mut stream = socket.connect(to(session)).await.unwrap();
    let mut heard = 0;
    for (after, bytes) in &session.says {
        hear(&mut stream, &mut heard, *after).await;
        if stream.write_all(bytes).await.is_err() {
            break;
        }
    }
    hear(&mut stream, &mut heard, session.heard).await;
    1
}

/// Waits until so many bytes were heard in all, or no more come.
async fn hear(stream: &mut TcpStream, heard: &mut u64, wanted: u64) {
    let mut bytes = [0; 4096];
    while *heard < wanted {
        match timeout(ANSWER, stream.read(&mut bytes)).await {
            Ok(Ok(count @ 1..)) => *heard += count as u64,
            _ => return,
        }
    }
}
