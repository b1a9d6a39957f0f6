//! The caller's end of the control socket. Blocking: a command does one thing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::control::protocol::{ANSWER_BYTES_MAX, Answer, Request};
use crate::control::socket_path;

/// How long an answer may take. Reaching a sink that is down takes its whole deadline.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: no instance runs with this state folder.
    #[error("no instance is running with state folder `{0}`")]
    NotRunning(String),
    /// The socket is another user's.
    #[error("may not talk to the instance of state folder `{0}`: run as its user")]
    NotAllowed(String),
    /// The connection broke.
    #[error("lost the running instance")]
    Io(#[from] io::Error),
    /// The instance speaks another version.
    #[error("the running instance gave an answer that this version does not know: restart it after an upgrade")]
    Answer(#[source] serde_json::Error),
}

/// An open request; gives the answers one by one.
#[derive(Debug)]
pub struct Answers {
    lines: io::Take<BufReader<UnixStream>>,
}

/// Sends `request` to the instance of `state_dir`.
pub fn ask(state_dir: &Path, request: &Request) -> Result<Answers, ClientError> {
    let mut stream = connect(state_dir)?;
    let endless = match request {
        Request::Events(query) => query.follow,
        // About a second a gigabyte.
        Request::Verify => true,
        _ => false,
    };
    stream.set_read_timeout((!endless).then_some(ANSWER_TIME_MAX))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    // An instance that refuses at once may have closed already; its answer still tells why.
    let _ = stream.write_all(&line);
    Ok(Answers {
        lines: BufReader::new(stream).take(ANSWER_BYTES_MAX as u64),
    })
}

/// Sends `request` and gives its first answer.
pub fn ask_one(state_dir: &Path, request: &Request) -> Result<Answer, ClientError> {
    ask(state_dir, request)?
        .next()
        .unwrap_or_else(|| Err(ClientError::Io(io::ErrorKind::UnexpectedEof.into())))
}

fn connect(state_dir: &Path) -> Result<UnixStream, ClientError> {
    let shown = state_dir.display().to_string();
    super::server::with_short_path(&socket_path(state_dir), |path| UnixStream::connect(path)).map_err(|error| {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                ClientError::NotRunning(shown)
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed(shown),
            _ => ClientError::Io(error),
        }
    })
}

impl Iterator for Answers {
    type Item = Result<Answer, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        self.lines.set_limit(ANSWER_BYTES_MAX as u64);
        match self.lines.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(ClientError::Answer)),
            Err(error) => Some(Err(error.into())),
        }
    }
}
