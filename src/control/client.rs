//! The caller's end of the control socket. Blocking: a command does one thing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::control::protocol::{ANSWER_BYTES_MAX, Answer, BEAT, Request};
use crate::control::socket_path;

/// How long an instance may say nothing at all before it counts as one that hangs.
const SILENCE_MAX: Duration = BEAT.saturating_mul(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: no instance runs with this state folder.
    #[error("no instance is running with state folder `{0}`")]
    NotRunning(String),
    /// The socket is another user's.
    #[error("may not talk to the instance of state folder `{0}`: run as its user")]
    NotAllowed(String),
    /// It listens and says nothing.
    #[error("the running instance{} does not answer: it hangs or is stopped", process(*.0))]
    Silent(Option<u32>),
    /// It works on the answer, for too long.
    #[error("the running instance{} has not finished within {limit:?}", process(*pid))]
    Late {
        /// Its process.
        pid: Option<u32>,
        /// How long it had.
        limit: Duration,
    },
    /// It ended before it had answered.
    #[error("the running instance ended")]
    Ended,
    /// The connection broke.
    #[error("lost the running instance")]
    Io(#[from] io::Error),
    /// The instance speaks another version.
    #[error("the running instance gave an answer that this version does not know: restart it after an upgrade")]
    Answer(#[source] serde_json::Error),
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// An open request; gives the answers one by one.
#[derive(Debug)]
pub struct Answers {
    lines: io::Take<BufReader<UnixStream>>,
    pid: Option<u32>,
    patience: Option<Duration>,
}

/// How long the instance may work on one answer; `None`: as long as it says that it does.
const fn patience(request: &Request) -> Option<Duration> {
    match request {
        Request::Status | Request::Metrics | Request::Decisions | Request::Spared => Some(Duration::from_secs(10)),
        // The index may be waited for.
        Request::Owners { .. } | Request::Release(_) | Request::Decide(_) => Some(Duration::from_secs(60)),
        // A sink that is down takes its whole deadline, a reload may wait for a sink's last batch.
        Request::SendTest { .. } | Request::CheckConnect | Request::Reload => Some(Duration::from_secs(90)),
        Request::Canary { timeout_secs } => Some(Duration::from_secs(timeout_secs.saturating_add(60))),
        Request::Events(query) if query.follow => None,
        // About a second a gigabyte.
        Request::Events(_)
        | Request::Verify
        | Request::VerifyWatched
        | Request::Backup { .. }
        | Request::LetterList(_)
        | Request::Letters(..)
        | Request::Replay(_) => Some(Duration::from_secs(3600)),
    }
}

/// Sends `request` to the instance of `state_dir`.
///
/// Time: each answer comes in time, or is [`ClientError::Silent`] or [`ClientError::Late`].
pub fn ask(state_dir: &Path, request: &Request) -> Result<Answers, ClientError> {
    ask_within(state_dir, request, SILENCE_MAX)
}

fn ask_within(state_dir: &Path, request: &Request, silence: Duration) -> Result<Answers, ClientError> {
    let mut stream = connect(state_dir, silence)?;
    stream.set_read_timeout(Some(silence))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    // An instance that refuses at once may have closed already; its answer still tells why.
    let _ = stream.write_all(&line);
    let peer = sockopt::socket_peercred(&stream).ok();
    Ok(Answers {
        pid: peer.and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok()),
        patience: patience(request),
        lines: BufReader::new(stream).take(ANSWER_BYTES_MAX as u64),
    })
}

/// Sends `request` and gives its first answer.
pub fn ask_one(state_dir: &Path, request: &Request) -> Result<Answer, ClientError> {
    ask(state_dir, request)?.next().unwrap_or(Err(ClientError::Ended))
}

fn connect(state_dir: &Path, silence: Duration) -> Result<UnixStream, ClientError> {
    let shown = state_dir.display().to_string();
    let connected = super::server::with_short_path(&socket_path(state_dir), |path| connect_within(path, silence));
    connected.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ClientError::NotRunning(shown)
        }
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed(shown),
        io::ErrorKind::WouldBlock => ClientError::Silent(None),
        _ => ClientError::Io(error),
    })
}

/// Connects and writes within a time: an instance that accepts nothing any more has a full backlog, where a plain
/// connect waits without end.
fn connect_within(path: &Path, silence: Duration) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(silence))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

impl Answers {
    fn read(&mut self) -> Option<Result<Answer, ClientError>> {
        let mut line = Vec::new();
        self.lines.set_limit(ANSWER_BYTES_MAX as u64);
        match self.lines.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&line).map_err(ClientError::Answer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Err(ClientError::Silent(self.pid))),
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl Iterator for Answers {
    type Item = Result<Answer, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let asked = Instant::now();
        loop {
            let read = self.read();
            match self.patience {
                _ if !matches!(read, Some(Ok(Answer::Working))) => return read,
                Some(limit) if asked.elapsed() >= limit => {
                    return Some(Err(ClientError::Late { pid: self.pid, limit }));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn silent_instance() -> (tempfile::TempDir, UnixListener) {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket_path(folder.path())).unwrap();
        (folder, listener)
    }

    #[test]
    fn an_instance_that_takes_a_request_and_says_nothing_is_named_as_hanging() {
        let (folder, _listener) = silent_instance();
        let mut answers = ask_within(folder.path(), &Request::Verify, SHORT).unwrap();
        let error = answers.next().unwrap().unwrap_err();
        assert!(
            matches!(error, ClientError::Silent(Some(pid)) if pid == std::process::id()),
            "{error}"
        );
        assert!(error.to_string().contains("hangs or is stopped"), "{error}");
    }

    #[test]
    fn an_instance_whose_backlog_is_full_is_given_up_as_well() {
        let (folder, listener) = silent_instance();
        rustix::net::listen(&listener, 0).unwrap();
        let asked = || ask_within(folder.path(), &Request::Status, SHORT);
        let _queued: Vec<_> = (0..8).map_while(|_| asked().ok()).collect();
        let refused = asked().unwrap_err();
        assert!(matches!(refused, ClientError::Silent(_)), "{refused}");
    }

    #[test]
    fn work_that_is_told_of_is_waited_for_up_to_the_deadline_of_the_request() {
        let (folder, listener) = silent_instance();
        let mut answers = ask_within(folder.path(), &Request::Status, SHORT).unwrap();
        let (mut instance, _) = listener.accept().unwrap();
        instance
            .write_all(b"\"working\"\n\"working\"\n{\"end\":{\"index_lag\":7}}\n\"working\"\n")
            .unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), Answer::End { index_lag: 7 });
        answers.patience = Some(Duration::ZERO);
        assert!(matches!(answers.next(), Some(Err(ClientError::Late { .. }))));
    }

    const WORDS: &[&[u8]] = &[
        b"{\"event\":{\"offset\":1,\"body\":\"",
        b"\"}}",
        b"{\"end\":{\"index_lag\":0}}",
        b"{\"refused\":{\"cause\":\"busy\",\"reasons\":[]}}",
        b"{\"sinks\":[",
        b"{\"status\":{",
        b"\\ud800",
        b"[[[[[[[[",
        b"\n",
        b"\0",
    ];

    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(WORDS).prop_map(<[u8]>::to_vec);
        let noise = prop::collection::vec(any::<u8>(), 0..20);
        prop::collection::vec(prop_oneof![4 => word, 1 => noise], 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_of_an_instance_are_one_answer_or_error_a_line(bytes in sent()) {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&bytes).unwrap();
            drop(theirs);
            let answers = Answers {
                pid: None,
                patience: None,
                lines: BufReader::new(ours).take(0),
            };
            let lines = bytes.split_inclusive(|byte| *byte == b'\n').count();
            prop_assert_eq!(answers.count(), lines);
        }
    }
}
