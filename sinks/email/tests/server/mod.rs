//! A real mail server: Debian's exim with TLS, logins and Maildirs.
//!
//! Each has its own configuration and spool in a folder of its own. Connections to a port that the kernel chose are
//! handed to `exim4 -bs`, as inetd does it.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use trapline_sink::conformance::certs::Authority;

const EXIM: &str = "/usr/sbin/exim4";
const PATIENCE: Duration = Duration::from_secs(30);

/// A mail server; it ends when dropped. Who logs in is `trapline` with the password `hush`.
pub struct Exim {
    folder: tempfile::TempDir,
    /// Where it listens, also while it is closed.
    pub at: SocketAddr,
    tls_first: bool,
    stop: Arc<AtomicBool>,
    door: Option<JoinHandle<()>>,
}

impl Exim {
    /// `None`, said loudly, if it cannot run here. With `tls_first`, TLS begins with the first byte.
    pub fn start(tls_first: bool) -> Option<Self> {
        if !is_possible() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let mut server = Self {
            folder,
            at: "127.0.0.1:0".parse().unwrap(),
            tls_first,
            stop: Arc::default(),
            door: None,
        };
        server.open();
        Some(server)
    }

    /// Listens, at the same address as before.
    pub fn open(&mut self) {
        let listener = TcpListener::bind(self.at).unwrap();
        self.at = listener.local_addr().unwrap();
        self.stop.store(false, Ordering::Release);
        let (stop, tls_first) = (self.stop.clone(), self.tls_first);
        let (configuration, log) = (self.path("exim.conf"), self.path("stderr"));
        let door = std::thread::spawn(move || keep_door(&listener, &configuration, &log, tls_first, &stop));
        self.door = Some(door);
    }

    /// Nobody listens from the return on.
    pub fn close(&mut self) {
        if let Some(door) = self.door.take() {
            self.stop.store(true, Ordering::Release);
            let _ = TcpStream::connect(self.at);
            door.join().unwrap();
        }
    }

    /// A file in its folder; `ca.pem` is whom its certificate comes from.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every mail that somebody has, as a mail client reads it.
    pub fn mailbox(&self, who: &str) -> Vec<Value> {
        let maildir = self.path("mail").join(who);
        if !maildir.join("new").exists() {
            return Vec::new();
        }
        let read = Command::new("python3")
            .args(["-c", include_str!("read_mail.py")])
            .arg(maildir)
            .output()
            .unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        serde_json::from_slice(&read.stdout).unwrap()
    }

    /// Waits until somebody has `count` mails.
    pub fn mails(&self, who: &str, count: usize) -> Vec<Value> {
        let new = self.path("mail").join(who).join("new");
        let deadline = Instant::now() + PATIENCE;
        let there = || std::fs::read_dir(&new).map_or(0, Iterator::count);
        while there() < count {
            let log = std::fs::read_to_string(self.path("log/main")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "{} of {count} mails for {who}: {log}",
                there()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let mails = self.mailbox(who);
        assert_eq!(mails.len(), count, "for {who}");
        mails
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_possible() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let possible = Path::new(EXIM).exists() && id.stdout == b"0\n";
    if !possible {
        // Not by `eprintln!`, which a passing test swallows.
        let said = format!("SKIPPED: {EXIM} is not installed (apt install exim4-daemon-light), or this is not root\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    possible
}

/// The server reads and delivers as users of its own.
fn prepare(folder: &Path) {
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(folder, 0o755);
    for name in ["mail", "log", "spool"] {
        std::fs::create_dir(folder.join(name)).unwrap();
        open(&folder.join(name), 0o777);
    }
    let authority = Authority::new().unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    authority.issue("127.0.0.1").unwrap().write(folder, "server").unwrap();
    let configuration = include_str!("exim.conf").replace("FOLDER", folder.to_str().unwrap());
    std::fs::write(folder.join("exim.conf"), configuration).unwrap();
}

/// Hands each connection to a server of its own, one after the other.
fn keep_door(listener: &TcpListener, configuration: &Path, log: &Path, tls_first: bool, stop: &AtomicBool) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        if stop.load(Ordering::Acquire) {
            return;
        }
        let stdin = OwnedFd::from(stream.try_clone().unwrap());
        let mut command = Command::new(EXIM);
        command
            .arg("-C")
            .arg(configuration)
            .args(tls_first.then_some("-tls-on-connect"))
            .arg("-bs");
        command
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(OwnedFd::from(stream)));
        let mut child = command.stderr(std::fs::File::create(log).unwrap()).spawn().unwrap();
        drop(command);
        child.wait().unwrap();
    }
}
