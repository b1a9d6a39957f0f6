//! The real binary with its own state folder, told in few words: [`Trap::start`], [`Trap::port`], [`Trap::trapline`].

#![allow(dead_code, reason = "each test file uses the part it needs")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

pub mod again;
pub mod clients;
pub mod feed;
pub mod killer;
pub mod manager;
pub mod maven;
pub mod promises;
pub mod rsyslog;
pub mod told;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// One trapline instance and the folder it lives in.
pub struct Trap {
    /// Configuration and state.
    pub folder: TempDir,
    child: Option<Child>,
    environment: Vec<(String, String)>,
}

impl Trap {
    /// A folder with this configuration, and nothing running.
    pub fn idle(config: &str) -> Self {
        let trap = Self {
            folder: TempDir::new().unwrap(),
            child: None,
            environment: Vec::new(),
        };
        trap.configure(config);
        trap
    }

    /// Starts the binary on this configuration and waits until it answers on its control socket.
    pub fn start(config: &str) -> Self {
        let mut trap = Self::idle(config);
        trap.launch();
        trap
    }

    /// Like [`Trap::start`], with these environment variables.
    pub fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let mut trap = Self::idle(config);
        trap.set(environment);
        trap.launch();
        trap
    }

    /// Environment variables of every command from now on.
    pub fn set(&mut self, environment: &[(&str, &str)]) {
        let owned = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment = owned.collect();
    }

    /// Starts the binary again on the same folder.
    pub fn launch(&mut self) {
        self.launch_by(self.command(&["run"]));
    }

    /// Starts it by another command, such as one that starts the binary in turn.
    pub fn launch_by(&mut self, mut command: Command) {
        let errors = std::fs::File::create(self.path("stderr.log")).unwrap();
        let prints = std::fs::File::create(self.path("stdout.log")).unwrap();
        let child = command.stdout(prints).stderr(errors).spawn().unwrap();
        self.child = Some(child);
        eventually("the instance answers", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "ended with {ended:?}: {}", self.log());
            self.trapline(&["status", "--json"])
                .status
                .code()
                .filter(|code| *code == 0)
        });
    }

    /// Writes the configuration file.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.config(), config).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("trapline.toml")
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line for this instance.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = trapline();
        command
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .current_dir(self.folder.path())
            // Without `journal.path` the state would be in the tester's home.
            .env("XDG_STATE_HOME", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command of this instance to its end.
    pub fn trapline(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        json(&self.trapline(&["status", "--json"]))
    }

    /// The address a decoy is bound to.
    pub fn address(&self, decoy: &str) -> SocketAddr {
        let status = self.status();
        let listeners = status["listeners"].as_array().unwrap();
        let found = listeners
            .iter()
            .find(|listener| listener["decoy"] == decoy && listener["bound"] == true);
        let found = found.unwrap_or_else(|| panic!("`{decoy}` is not bound: {status:#}"));
        found["address"].as_str().unwrap().parse().unwrap()
    }

    /// What `events --json` prints, with these further arguments.
    pub fn events(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["events", "--json"];
        all.extend(arguments);
        let output = self.trapline(&all);
        assert!(output.status.success(), "{}", text(&output.stderr));
        lines(&output.stdout)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal by its name (`TERM`, `HUP`, `KILL`).
    pub fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    /// Waits for the process to end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("the instance ends", || child.try_wait().unwrap())
    }

    /// Its standard output so far.
    pub fn printed(&self) -> String {
        text(&std::fs::read(self.path("stdout.log")).unwrap_or_default())
    }

    /// Its standard error so far.
    pub fn log(&self) -> String {
        text(&std::fs::read(self.path("stderr.log")).unwrap_or_default())
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The binary, with nothing of the tester's environment that would change it.
pub fn trapline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trapline"));
    command
        .env_remove("TRAPLINE_LOG")
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::null());
    command
}

/// Sends a process a signal by its name.
pub fn kill(pid: u32, signal: &str) {
    let mut kill = Command::new("kill");
    let sent = kill.arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap();
    assert!(sent.success());
}

/// Calls `look` until it finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Calls `look` until what it finds on both sides is the same; tells both where it never is.
pub fn agree<T: PartialEq + std::fmt::Debug>(what: &str, mut look: impl FnMut() -> (T, T)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (found, wanted) = look();
        if found == wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "gave up waiting until {what}: {found:?} of {wanted:?}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Connects to a decoy, reads its first bytes and closes.
pub fn touch(address: SocketAddr) -> Vec<u8> {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 512];
    let count = stream.read(&mut bytes).unwrap();
    bytes[..count].to_vec()
}

/// One JSON value of an output.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)))
}

/// One JSON value a line.
pub fn lines(bytes: &[u8]) -> Vec<Value> {
    text(bytes)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Bytes that must be UTF-8.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Whether a file is there.
pub fn exists(path: &Path) -> Option<()> {
    path.exists().then_some(())
}
