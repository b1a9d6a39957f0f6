//! Programs of the system, started with nothing but what is meant for them.
//!
//! In: the name of a program, its arguments as they stand in the code or as parsed addresses are written, perhaps lines
//! for its standard input. Out: its exit code and what it wrote, as data.
//!
//! Invariants:
//! 1. A program is looked for in a fixed list of folders, never in the current one, nor where the environment says.
//! 2. No shell comes in between; the environment is empty but for `LC_ALL=C` and `PATH`; standard input is closed unless
//!    lines are given.
//! 3. What is read is bounded, and so is the time; a program that goes beyond either, or whose caller has gone, is killed.
//!
//! It does not say what an answer means, but for the common ways in which a right or a service is missing.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use trapline_schemas::text::clean_within;
use trapline_sink::{Fault, FaultKind};

/// Most that a program may say on standard output, bytes: a listing of some hundred thousand addresses.
pub const OUT_BYTES_MAX: usize = 16 << 20;
/// Most that is kept of standard error, bytes; the rest is read and forgotten.
const ERR_BYTES_MAX: usize = 16 << 10;
/// Most of a program's own words in a fault, characters.
const WORDS_CHARS_MAX: usize = 200;

/// Where programs are looked for, first to last.
#[cfg(not(windows))]
const FOLDERS: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/run/current-system/sw/bin"];
#[cfg(windows)]
const FOLDERS: &[&str] = &[
    "C:\\Windows\\System32\\WindowsPowerShell\\v1.0",
    "C:\\Windows\\System32",
];

/// The folders of programs, and how long one may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    folders: Vec<PathBuf>,
    limit: Duration,
}

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// The beginning of standard error.
    pub err: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is in none of the folders.
    #[error("`{name}` is not installed (looked in {folders})")]
    Missing {
        /// The program.
        name: String,
        /// Where it was looked for.
        folders: String,
    },
    /// It could not be started, or its pipes broke.
    #[error("`{0}` could not be run: {1}")]
    Io(String, io::Error),
    /// It took too long and was killed.
    #[error("`{0}` did not end within {1:?}")]
    Late(String, Duration),
    /// It said too much and was killed.
    #[error("`{0}` said more than {OUT_BYTES_MAX} bytes")]
    Endless(String),
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        let kind = match error {
            RunError::Missing { .. } => FaultKind::Config,
            RunError::Io(..) => FaultKind::Local,
            RunError::Late(..) => FaultKind::Unreachable,
            RunError::Endless(_) => FaultKind::Server,
        };
        let message = error.to_string();
        Self { kind, message }
    }
}

impl Programs {
    /// Those of the system; one may take as long as `limit`.
    pub fn system(limit: Duration) -> Self {
        Self::within(FOLDERS.iter().map(PathBuf::from).collect(), limit)
    }

    /// Those in other folders.
    pub const fn within(folders: Vec<PathBuf>, limit: Duration) -> Self {
        Self { folders, limit }
    }

    /// How long a program may take.
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Where a program is. Errors: nowhere.
    pub fn find(&self, name: &str) -> Result<PathBuf, RunError> {
        let mut paths = self.folders.iter().map(|folder| folder.join(name));
        paths.find(|path| path.is_file()).ok_or_else(|| RunError::Missing {
            name: name.to_owned(),
            folders: listed(&self.folders),
        })
    }

    /// Runs a program without standard input.
    ///
    /// Cancel: the program is killed.
    pub async fn run<A: AsRef<str>>(&self, name: &str, arguments: &[A]) -> Result<Answer, RunError> {
        self.run_with(name, arguments, None).await
    }

    /// Runs a program that reads `input`, which then ends.
    ///
    /// Cancel: the program is killed.
    pub async fn run_with<A: AsRef<str>>(
        &self,
        name: &str,
        arguments: &[A],
        input: Option<String>,
    ) -> Result<Answer, RunError> {
        let mut command = self.command(name)?;
        command.args(arguments.iter().map(AsRef::as_ref));
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let child = command.spawn().map_err(|e| RunError::Io(name.to_owned(), e))?;
        match tokio::time::timeout(self.limit, answer(child, input)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Broken::Endless)) => Err(RunError::Endless(name.to_owned())),
            Ok(Err(Broken::Io(e))) => Err(RunError::Io(name.to_owned(), e)),
            Err(_) => Err(RunError::Late(name.to_owned(), self.limit)),
        }
    }

    /// A program with piped output and an empty environment, killed when its handle is dropped.
    pub(crate) fn command(&self, name: &str) -> Result<Command, RunError> {
        let mut command = Command::new(self.find(name)?);
        command.env_clear().env("LC_ALL", "C");
        if let Ok(path) = std::env::join_paths(&self.folders) {
            command.env("PATH", path);
        }
        // PowerShell finds nothing of itself without it, wherever Windows is installed.
        #[cfg(windows)]
        command.env("SystemRoot", "C:\\Windows");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.current_dir("/");
        Ok(command)
    }
}

fn listed(folders: &[PathBuf]) -> String {
    let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    shown.join(", ")
}

/// Why the words of a program do not count.
enum Broken {
    Endless,
    Io(io::Error),
}

async fn answer(mut child: Child, input: Option<String>) -> Result<Answer, Broken> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that ends without reading all says why by other means.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(())
    };
    let ((), out, err) = tokio::try_join!(feed, whole(stdout), beginning(stderr))?;
    let status = child.wait().await.map_err(Broken::Io)?;
    Ok(Answer {
        code: code(status),
        out,
        err,
    })
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}

async fn whole(pipe: Option<impl AsyncRead + Unpin>) -> Result<String, Broken> {
    let Some(pipe) = pipe else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    let most = u64::try_from(OUT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    pipe.take(most).read_to_end(&mut bytes).await.map_err(Broken::Io)?;
    match bytes.len() > OUT_BYTES_MAX {
        true => Err(Broken::Endless),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> Result<String, Broken> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let (mut kept, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = pipe.read(&mut part).await.map_err(Broken::Io)?;
        let room = ERR_BYTES_MAX.saturating_sub(kept.len());
        kept.extend(part.iter().take(count.min(room)));
        if count == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
    }
}

/// What programs say when a right is missing.
const NO_RIGHT: &[&str] = &[
    "not permitted",
    "must be root",
    "permission denied",
    "can't open socket to ipset",
    "authorization failed",
    "notauthorized",
    "accessdenied",
    "access is denied",
    "access to a cim resource was not available",
];

impl Answer {
    /// Whether it ended well.
    pub fn is_good(&self) -> bool {
        self.code == Some(0)
    }

    /// Whether its complaint has these words.
    pub fn complains_of(&self, words: &str) -> bool {
        self.err.contains(words) || self.out.contains(words)
    }

    /// Its last words: of standard error, else of standard output; clean and bounded.
    pub fn words(&self) -> String {
        let line = |text: &str| {
            text.lines()
                .map(str::trim)
                .rfind(|line| !line.is_empty())
                .map(str::to_owned)
        };
        let words = line(&self.err).or_else(|| line(&self.out)).unwrap_or_default();
        clean_within(words.as_bytes(), WORDS_CHARS_MAX).into()
    }

    /// The fault of a program that did not end well.
    pub fn fault(&self, what: &str) -> Fault {
        let words = self.words();
        if self.lacks_rights() {
            return Fault {
                kind: FaultKind::Auth,
                message: format!("needs CAP_NET_ADMIN or root: `{what}` said: {words}"),
            };
        }
        let end = match self.code {
            Some(code) => format!("code {code}"),
            None => "a signal".to_owned(),
        };
        Fault {
            kind: FaultKind::Server,
            message: format!("`{what}` ended with {end}: {words}"),
        }
    }

    fn lacks_rights(&self) -> bool {
        let said = self.err.to_ascii_lowercase();
        NO_RIGHT.iter().any(|words| said.contains(words))
    }
}

#[cfg(test)]
#[cfg(unix)]
#[path = "run_tests.rs"]
mod tests;
