//! What people are told, by a real channel's receiver: a flood from one source is a handful of messages whose counts add
//! up to every hit, also over a kill.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{Trap, eventually, told};

/// Logins of one round.
const LOGINS: usize = 150;
/// Rounds; between two of them the process is killed.
const ROUNDS: usize = 3;

const CONFIG: &str = r#"
[journal]
path = "state/journal.db"
[decoys.lure]
service = "http"
listen = ["127.0.0.1:0"]
[notices]
window = "3s"
contact = "the night desk"
[sinks.channel]
type = "slack"
inputs = ["decoys"]
webhook_url = "${HOOK}"
interval = "10ms"
"#;

#[test]
fn a_flood_is_a_handful_of_messages_whose_counts_add_up_over_kills() {
    let channel = Channel::open();
    let mut trap = Trap::start_with(CONFIG, &[("HOOK", &channel.url())]);
    for round in 0..ROUNDS {
        let address = trap.address("lure");
        (0..LOGINS).for_each(|_| login(address));
        if round + 1 < ROUNDS {
            trap.signal("KILL");
            trap.ended();
            trap.launch();
        }
    }
    let told = eventually("every hit is told of", || {
        let (told, hits) = (channel.told(), told::hits(&trap).len());
        let counted: usize = told.values().map(|message| told::count(message)).sum();
        assert!(counted <= hits, "{counted} of {hits} hits are told of");
        (counted == hits).then_some(told)
    });
    let hits = told::hits(&trap).len();
    assert!(hits > ROUNDS * LOGINS, "{hits}");
    // An intent, a proof and a digest for each window; a start takes about one.
    assert!(told.len() < hits / 20, "{} messages of {hits} hits", told.len());
    for message in told.values() {
        assert!(message.to_lowercase().contains("the night desk"), "{message}");
        assert!(!message.contains("hunter22"), "{message}");
    }
}

/// One login at the decoy, whatever it answers.
fn login(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    // admin:hunter22
    let request = "GET /admin HTTP/1.0\r\nAuthorization: Basic YWRtaW46aHVudGVyMjI=\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A channel behind an incoming webhook.
pub(crate) struct Channel {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Value>>>,
}

impl Channel {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, posted) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Value>>>::default());
        let into = Arc::clone(&posted);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let into = Arc::clone(&into);
                std::thread::spawn(move || serve(stream.unwrap(), &into));
            }
        });
        Self { address, posted }
    }

    /// The webhook.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/services/T0/B0/x", self.address)
    }

    /// The source that each message is about.
    pub(crate) fn sources(&self) -> Vec<String> {
        let source = |message: &String| {
            message
                .split("\"source ")
                .nth(1)?
                .split('"')
                .next()
                .map(str::trim)
                .map(str::to_owned)
        };
        self.told().values().filter_map(source).collect()
    }

    /// The blocks of each message, by the id of its event: one that was answered as the process died comes again.
    fn told(&self) -> BTreeMap<String, String> {
        let posted = self.posted.lock().unwrap();
        posted
            .iter()
            .map(|message| (told::event_of(message), message["blocks"].to_string()))
            .collect()
    }
}

/// Takes messages of one connection, until it ends.
fn serve(mut stream: TcpStream, into: &Mutex<Vec<Value>>) {
    while let Some(body) = request(&mut stream) {
        into.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .is_err()
        {
            return;
        }
    }
}

/// The body of the next request; `None` at the end.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?;
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}
