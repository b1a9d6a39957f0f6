//! A mail server that can misbehave; its address stays while its behaviour changes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// What it does to a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    Well,
    /// Nobody listens.
    Closed,
    /// Waits before each answer.
    Slow(Duration),
    /// Accepts and says nothing.
    Silent,
    /// Says this instead of a greeting, and closes.
    Says(&'static [u8]),
    /// Greets without end.
    Endless,
    /// Resets the first connection instead of answering to its first mail, which it keeps.
    ResetsAfterStored,
    /// Has no STARTTLS, whoever took it away.
    Stripped,
    /// Goes on speaking after its consent to TLS, as somebody in between may.
    Chatty,
}

/// How it is protected.
#[derive(Debug, Clone)]
pub enum Protection {
    None,
    StartTls(Arc<ServerConfig>),
    Tls(Arc<ServerConfig>),
}

/// An answer of its own to a command, by the command.
pub type Rule = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A mail that it took.
#[derive(Debug, Clone)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
}

impl Mail {
    /// The event's id in its header.
    pub fn event(&self) -> Uuid {
        let (_, rest) = self.text.split_once("X-Trapline-Event: ").unwrap();
        rest.lines().next().unwrap().trim().parse().unwrap()
    }
}

struct State {
    mails: Mutex<Vec<Mail>>,
    /// Every line that was heard but those of mails, in order.
    heard: Mutex<Vec<String>>,
    rule: Mutex<Rule>,
}

pub struct Server {
    at: SocketAddr,
    state: Arc<State>,
    protection: Protection,
    tasks: Option<JoinSet<()>>,
}

impl Server {
    pub fn start(behaviour: Behaviour, protection: Protection) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let state = State {
            mails: Mutex::default(),
            heard: Mutex::default(),
            rule: Mutex::new(Arc::new(|_| None)),
        };
        let mut server = Self {
            at: listener.local_addr().unwrap(),
            state: Arc::new(state),
            protection,
            tasks: None,
        };
        drop(listener);
        server.run(behaviour);
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.at
    }

    pub fn answer(&self, rule: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *self.state.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Ends every connection and behaves like this from now on.
    pub async fn behave(&mut self, behaviour: Behaviour, protection: Protection) {
        if let Some(mut tasks) = self.tasks.take() {
            tasks.shutdown().await;
        }
        self.protection = protection;
        self.answer(|_| None);
        self.run(behaviour);
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.state.mails.lock().unwrap().clone()
    }

    pub fn heard(&self) -> Vec<String> {
        self.state.heard.lock().unwrap().clone()
    }

    fn run(&mut self, behaviour: Behaviour) {
        let mut tasks = JoinSet::new();
        if behaviour != Behaviour::Closed {
            let (listener, state, protection) = (listen(self.at), self.state.clone(), self.protection.clone());
            tasks.spawn(accept(listener, behaviour, protection, state));
        }
        self.tasks = Some(tasks);
    }
}

fn listen(at: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at).unwrap();
    socket.listen(16).unwrap()
}

async fn accept(listener: TcpListener, behaviour: Behaviour, protection: Protection, state: Arc<State>) {
    let mut sessions = JoinSet::new();
    let mut first = true;
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let behaviour = match behaviour {
            Behaviour::ResetsAfterStored if !first => Behaviour::Well,
            behaviour => behaviour,
        };
        first = false;
        sessions.spawn(serve(tcp, behaviour, protection.clone(), state.clone()));
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// One connection; `None` at any point is its end.
async fn serve(tcp: TcpStream, behaviour: Behaviour, protection: Protection, state: Arc<State>) {
    if behaviour == Behaviour::ResetsAfterStored {
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let upgrade = match &protection {
        Protection::StartTls(config) => Some(config.clone()),
        _ => None,
    };
    let socket: Box<dyn Socket> = match protection {
        Protection::Tls(config) => match TlsAcceptor::from(config).accept(tcp).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
        _ => Box::new(tcp),
    };
    let mut talk = Talk {
        socket,
        behaviour,
        state,
        upgrade,
        envelope: None,
    };
    talk.begin().await;
}

struct Talk {
    socket: Box<dyn Socket>,
    behaviour: Behaviour,
    state: Arc<State>,
    /// For STARTTLS, until it is done.
    upgrade: Option<Arc<ServerConfig>>,
    envelope: Option<(String, Vec<String>)>,
}

impl Talk {
    async fn begin(&mut self) -> Option<()> {
        match self.behaviour {
            Behaviour::Silent => {
                let mut rest = [0; 64];
                while self.socket.read(&mut rest).await.ok()? > 0 {}
                return None;
            }
            Behaviour::Says(bytes) => {
                self.socket.write_all(bytes).await.ok()?;
                return self.socket.shutdown().await.ok();
            }
            Behaviour::Endless => loop {
                self.socket.write_all(&b"220-and so on\r\n".repeat(64)).await.ok()?;
            },
            _ => {}
        }
        let greeting = self
            .ruled("connect")
            .unwrap_or_else(|| "220 mx.example ESMTP".to_owned());
        self.say(&greeting).await?;
        loop {
            let line = self.line().await?;
            self.state.heard.lock().unwrap().push(line.clone());
            self.answer(&line).await?;
        }
    }

    fn ruled(&self, line: &str) -> Option<String> {
        let rule = self.state.rule.lock().unwrap().clone();
        rule(line)
    }

    async fn answer(&mut self, line: &str) -> Option<()> {
        if let Some(answer) = self.ruled(line) {
            return self.say(&answer).await;
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "EHLO" => {
                let has_tls = self.upgrade.is_some() && self.behaviour != Behaviour::Stripped;
                let tls = if has_tls { "250-STARTTLS\r\n" } else { "" };
                let hello =
                    format!("250-mx.example greets {rest}\r\n{tls}250-AUTH PLAIN LOGIN XOAUTH2\r\n250 SIZE 1000000");
                self.say(&hello).await
            }
            "STARTTLS" => self.start_tls().await,
            "AUTH" => self.log_in(rest).await,
            "MAIL" => {
                self.envelope = Some((path(rest), Vec::new()));
                self.say("250 2.1.0 ok").await
            }
            "RCPT" => {
                let known = self.envelope.as_mut().map(|(_, to)| to.push(path(rest)));
                self.say(if known.is_some() {
                    "250 2.1.5 ok"
                } else {
                    "503 5.5.1 MAIL first"
                })
                .await
            }
            "DATA" => self.data().await,
            "RSET" => {
                self.envelope = None;
                self.say("250 2.0.0 ok").await
            }
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                None
            }
            _ => self.say("500 5.5.2 what?").await,
        }
    }

    async fn log_in(&mut self, rest: &str) -> Option<()> {
        if rest == "LOGIN" {
            for question in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                self.say(question).await?;
                let answer = self.line().await?;
                self.state.heard.lock().unwrap().push(answer);
            }
        }
        self.say("235 2.7.0 welcome").await
    }

    async fn start_tls(&mut self) -> Option<()> {
        let extra = if self.behaviour == Behaviour::Chatty {
            "\r\n250 injected"
        } else {
            ""
        };
        self.say(&format!("220 2.0.0 ready{extra}")).await?;
        let config = self.upgrade.take()?;
        let socket = std::mem::replace(&mut self.socket, Box::new(tokio::io::empty()));
        self.socket = Box::new(TlsAcceptor::from(config).accept(socket).await.ok()?);
        Some(())
    }

    async fn data(&mut self) -> Option<()> {
        let Some((from, to)) = self.envelope.take().filter(|(_, to)| !to.is_empty()) else {
            return self.say("554 5.5.1 no valid recipients").await;
        };
        self.say("354 go ahead").await?;
        let mut text = String::new();
        loop {
            let line = self.line().await?;
            match line.strip_prefix('.') {
                Some("") => break,
                Some(rest) => text += rest,
                None => text += &line,
            }
            text += "\r\n";
        }
        if let Some(refusal) = self.ruled(&text) {
            return self.say(&refusal).await;
        }
        self.state.mails.lock().unwrap().push(Mail { from, to, text });
        if self.behaviour == Behaviour::ResetsAfterStored {
            return None;
        }
        self.say("250 2.0.0 kept").await
    }

    async fn say(&mut self, answer: &str) -> Option<()> {
        if let Behaviour::Slow(by) = self.behaviour {
            tokio::time::sleep(by).await;
        }
        self.socket.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        self.socket.flush().await.ok()
    }

    /// A line that ends in CRLF, byte by byte: nothing of what comes after is read. A lone LF is a fault of the client's.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            line.push(self.socket.read_u8().await.ok()?);
            if let Some(text) = line.strip_suffix(b"\r\n") {
                assert!(!text.contains(&b'\n') && !text.contains(&b'\r'), "a lone line end");
                assert!(line.len() <= 1000, "a line of {} bytes", line.len());
                return Some(String::from_utf8(text.to_vec()).unwrap());
            }
        }
    }
}

/// What stands between the angle brackets.
fn path(text: &str) -> String {
    text.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}
