//! Clients of the live feed: `curl`, and one of Server-Sent Events and NDJSON that is written by the book.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::clients::curl;
use super::{PATIENCE, Trap, text};

/// The table, on a port that the kernel chooses.
pub const WEB: &str = "[web]\nlisten = \"127.0.0.1:0\"\n";

/// Where the live feed listens.
pub fn feed_address(trap: &Trap) -> SocketAddr {
    let status = trap.status();
    assert_eq!(status["web"]["bound"], true, "{status:#}");
    status["web"]["address"].as_str().unwrap().parse().unwrap()
}

/// A new token.
pub fn token(trap: &Trap, name: &str) -> String {
    let made = trap.trapline(&["token", "create", name]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    text(&made.stdout).trim().to_owned()
}

/// What `curl` gets: status, head, body.
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Asks by `curl`, with further arguments.
pub fn get(url: &str, token: Option<&str>, arguments: &[&str]) -> Got {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
    let mut all = vec!["-i", url];
    all.extend(bearer.iter().flat_map(|bearer| ["-H", bearer]));
    all.extend(arguments);
    let output = curl(&all);
    let answer = text(&output.stdout);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| {
        panic!("{url}: {answer:?} {}", text(&output.stderr));
    });
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Got {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The last id when it came.
    pub id: u64,
    pub event: String,
    pub data: Value,
}

/// A stream that is open.
pub struct Stream {
    chunks: Chunks,
    /// The last id.
    pub id: Option<u64>,
    /// Whether it ended as HTTP says, and not by a broken connection.
    pub is_whole: bool,
    pub head: String,
}

impl Stream {
    /// Opens one. In: further header lines.
    pub fn open(address: SocketAddr, path: &str, token: &str, headers: &[&str]) -> Self {
        Self::try_open(address, path, token, headers).unwrap()
    }

    /// Opens one, if somebody listens and answers to the end of the head.
    fn try_open(address: SocketAddr, path: &str, token: &str, headers: &[&str]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes())?;
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let chunks = Chunks {
            inner: lines,
            held: Vec::new(),
            is_over: false,
        };
        Ok(Self {
            chunks,
            id: None,
            is_whole: false,
            head,
        })
    }

    /// Opens one of Server-Sent Events, after what another one had last, and reads until it says where it is.
    pub fn sse(address: SocketAddr, query: &str, token: &str, last: Option<u64>) -> Self {
        Self::try_sse(address, query, token, last).unwrap()
    }

    /// As [`sse`](Self::sse), if somebody listens and does not go away meanwhile.
    pub fn try_sse(address: SocketAddr, query: &str, token: &str, last: Option<u64>) -> io::Result<Self> {
        let last = last.map(|last| format!("Last-Event-ID: {last}"));
        let headers: Vec<_> = last.iter().map(String::as_str).collect();
        let path = format!("/api/v1/events/stream{query}");
        let mut stream = Self::try_open(address, &path, token, &headers)?;
        while stream.id.is_none() {
            let Some(first) = stream.block() else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            assert_eq!(first, None, "an id comes first");
        }
        Ok(stream)
    }

    /// The next line, without its end; `None` at the end of the stream.
    pub fn line(&mut self) -> Option<String> {
        let line = self.chunks.line();
        self.is_whole = line.is_none() && self.chunks.is_over;
        line
    }

    /// The next block: `None` at the end, `Some(None)` if it raises no event.
    fn block(&mut self) -> Option<Option<Sent>> {
        let (mut event, mut data) = (String::new(), None::<String>);
        loop {
            let line = self.line()?;
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" if line.is_empty() => break,
                "" => {}
                "event" => event = value.to_owned(),
                "id" => self.id = Some(value.parse().unwrap()),
                "data" => {
                    assert_eq!(data.replace(value.to_owned()), None, "one line of data");
                }
                "retry" => assert!(value.parse::<u32>().is_ok()),
                other => panic!("field {other:?}"),
            }
        }
        let Some(data) = data else { return Some(None) };
        Some(Some(Sent {
            id: self.id.unwrap(),
            event,
            data: serde_json::from_str(&data).unwrap_or(Value::String(data)),
        }))
    }
}

impl Iterator for Stream {
    type Item = Sent;

    fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.block()? {
                return Some(sent);
            }
        }
    }
}

/// A chunked body (RFC 9112 section 7.1).
struct Chunks {
    inner: BufReader<TcpStream>,
    held: Vec<u8>,
    is_over: bool,
}

impl Chunks {
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Some(text(&line[..end]));
            }
            if self.is_over {
                return None;
            }
            self.more()?;
        }
    }

    /// The next chunk; `None` if the connection broke.
    fn more(&mut self) -> Option<()> {
        let mut size = String::new();
        if self.inner.read_line(&mut size).ok()? == 0 {
            return None;
        }
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.inner.read_exact(&mut chunk).ok()?;
        assert!(chunk.ends_with(b"\r\n"));
        self.held.extend_from_slice(&chunk[..size]);
        self.is_over = size == 0;
        Some(())
    }
}
