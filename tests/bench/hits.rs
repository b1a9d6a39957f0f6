//! Server CPU per hit: connect, banner, close, durable event.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::bare::Bare;
use crate::harness::{Trap, eventually};
use crate::load::{Leave, touch};
use crate::measure::{cpu, median, micros, row};

/// Hits of one round; enough that a clock tick is under half a percent.
const HITS: usize = 20_000;
/// Rounds, each bare twin then trapline.
const ROUNDS: usize = 9;

const DECOY: &str = r#"
[limits]
sessions_per_source = 10000
[decoys.ftp]
service = "ftp"
listen = ["127.0.0.1:0"]
"#;

/// Without sinks.
pub fn alone() {
    let trap = Trap::start(DECOY);
    compare("server CPU per hit, no sinks", &trap, "1.35");
}

/// With file, syslog over TCP and HEC.
pub fn with_sinks() {
    let (syslog, hec) = (swallow(false), swallow(true));
    let config = format!(
        r#"{DECOY}
[sinks.archive]
type = "file"
inputs = ["*"]
path = "events.jsonl"
[sinks.rsyslog]
type = "syslog"
inputs = ["*"]
transport = "tcp"
address = "{syslog}"
[sinks.siem]
type = "splunk_hec"
inputs = ["*"]
endpoint = "http://{hec}"
token = "${{TRAPLINE_BENCH_TOKEN}}"
"#
    );
    let trap = Trap::start_with(&config, &[("TRAPLINE_BENCH_TOKEN", "bench")]);
    compare("server CPU per hit, file + syslog + HEC", &trap, "1.70");
}

fn compare(what: &str, trap: &Trap, bound: &str) {
    let bare = Bare::start();
    let address = trap.address("ftp");
    touch(bare.address, HITS / 10, 16, Leave::AfterBanner);
    round(trap, address, HITS / 10);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = cpu(bare.pid());
        touch(bare.address, HITS, 16, Leave::AfterBanner);
        theirs.push((cpu(bare.pid()) - before).as_secs_f64() * 1e6 / HITS as f64);
        ours.push(round(trap, address, HITS));
        ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
    }
    row(
        what,
        &micros(median(ours)),
        &micros(median(theirs)),
        Some(median(ratios)),
        bound,
    );
}

/// One round of hits, up to the moment when all are durable and every sink has them; CPU µs a hit.
fn round(trap: &Trap, address: SocketAddr, hits: usize) -> f64 {
    let head = trap.status()["journal"]["head"].as_u64().unwrap();
    let before = cpu(trap.pid());
    touch(address, hits, 16, Leave::AfterBanner);
    eventually("every hit is durable and delivered", || {
        let status = trap.status();
        let durable = status["journal"]["head"].as_u64().unwrap() >= head + hits as u64;
        let delivered = status["sinks"].as_array().unwrap().iter().all(|sink| sink["lag"] == 0);
        (durable && delivered).then_some(())
    });
    (cpu(trap.pid()) - before).as_secs_f64() * 1e6 / hits as f64
}

/// A receiver that takes everything; with `http` it answers each request as a collector does.
fn swallow(http: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                if http {
                    answer(stream.unwrap())
                } else {
                    drain(stream.unwrap())
                }
            });
        }
    });
    address
}

fn drain(mut stream: TcpStream) {
    let mut bytes = vec![0; 65536];
    while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// Reads requests by their `Content-Length` and answers each with success.
fn answer(mut stream: TcpStream) {
    const SUCCESS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"text\":\"Success\",\"code\":0}";
    let (mut pending, mut bytes) = (Vec::new(), vec![0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        pending.extend_from_slice(&bytes[..count]);
        while let Some(length) = request_length(&pending).filter(|length| *length <= pending.len()) {
            pending.drain(..length);
            stream.write_all(SUCCESS).unwrap();
        }
    }
}

fn request_length(pending: &[u8]) -> Option<usize> {
    let head = pending.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&pending[..head]).to_ascii_lowercase();
    let body = text
        .split("content-length: ")
        .nth(1)
        .map_or("0", |rest| rest.split('\r').next().unwrap());
    Some(head + body.parse::<usize>().unwrap())
}
