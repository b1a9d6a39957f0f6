//! The instance's end of the control socket.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use trapline_schemas::text::is_clean;

use crate::app::{Core, Tasks};
use crate::control::decisions::DecisionOrder;
use crate::control::letters::{LetterAct, LetterError, LetterQuery, LetterSum, Walk};
use crate::control::owners::{By, ReleaseOrder};
use crate::control::protocol::{Answer, BEAT, REQUEST_BYTES_MAX, Reason, Refusal, ReplayQuery, Request};
use crate::control::search;
use crate::respond::decision::By as Decider;

/// Connections served at once; one more is refused.
pub const CONNECTIONS_MAX: usize = 16;
/// How often is looked whether the socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often who watches hears how far a walk has come.
const WATCHED_EVERY: Duration = Duration::from_millis(250);
/// How long a peer may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take to take a line.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest path that `sockaddr_un` holds on every system we run on, with its NUL.
const SOCKET_PATH_MAX: usize = 100;

/// A bound control socket.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket's file.
    file: (u64, u64),
}

impl Bound {
    /// Whether the path still leads to this socket.
    fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file == self.file)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Binds the control socket, replacing one left by a dead instance. Only whoever holds the journal's lock may call it.
pub fn bind(path: &Path) -> io::Result<Bound> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(path, |short| UnixListener::bind(short))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Bound {
        listener,
        path: path.to_owned(),
        file: identity(path)?,
    })
}

/// Calls `act` with a path to the same file that fits into a socket address, however deep the folder is.
pub(super) fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return act(path);
    };
    if path.as_os_str().len() < SOCKET_PATH_MAX {
        return act(path);
    }
    let folder = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    act(&short)
}

/// Serves the control socket until `stop`; makes it anew if it is removed or replaced.
pub async fn serve(mut bound: Bound, core: Arc<Core>, tasks: Tasks, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel: `accept` is cancel-safe, a connection not yet given out stays in the backlog.
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {
                bound = keep(bound, &core).await;
                continue;
            }
            accepted = bound.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "control socket cannot accept, trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let permit = room.clone().try_acquire_owned().ok();
        let (core, stop) = (core.clone(), stop.clone());
        tasks.spawn("control-connection", async move {
            let mut peer = Peer::new(stream);
            let served = async {
                match permit {
                    Some(_held) => peer.serve(&core).await,
                    None => {
                        peer.refuse(Refusal::Busy, "too many control connections, try again")
                            .await
                    }
                }
            };
            // Cancel: the connection is dropped, the caller sees its end.
            let ended = tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = served => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(error = %error, "a control connection broke");
            }
        });
    }
}

/// Binds anew if the path does not lead to the socket any more, unless the folder is another instance's by now.
async fn keep(bound: Bound, core: &Core) -> Bound {
    if bound.is_in_place() || !core.holds_state() {
        return bound;
    }
    match bind(&bound.path) {
        Ok(anew) => {
            let what = format!(
                "the socket {} was gone or replaced, and was made anew",
                bound.path.display()
            );
            core.alarm("control socket", what, "find out who removed it").await;
            anew
        }
        Err(error) => {
            tracing::warn!(error = %error, "the control socket is gone and cannot be made anew, trying again");
            bound
        }
    }
}

/// One caller.
pub(super) struct Peer {
    lines: BufReader<OwnedReadHalf>,
    out: BufWriter<OwnedWriteHalf>,
    uid: Option<u32>,
    /// When the peer heard last of us.
    flushed: Instant,
}

impl Peer {
    fn new(stream: UnixStream) -> Self {
        let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
        let (read, write) = stream.into_split();
        Self {
            lines: BufReader::new(read),
            out: BufWriter::new(write),
            uid,
            flushed: Instant::now(),
        }
    }

    async fn serve(&mut self, core: &Core) -> io::Result<()> {
        if !self.is_trusted() {
            tracing::warn!(user.id = ?self.uid, "a control connection of another user was refused");
            return self
                .refuse(Refusal::Usage, "only the user trapline runs as may do this")
                .await;
        }
        let request = match timeout(REQUEST_TIME_MAX, self.request()).await {
            Ok(Ok(request)) => request,
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return self.refuse(Refusal::Usage, &error.to_string()).await;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        self.answer(core, request).await
    }

    /// The same user, or root.
    fn is_trusted(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.uid.is_some_and(|uid| uid == own || uid == 0)
    }

    /// Who is at the other end, as this host's own list of users has it; names that are kept elsewhere stay numbers.
    fn person(&self) -> By {
        let uid = self.uid.unwrap_or(u32::MAX);
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        By::Person {
            uid,
            name: user_name(&users, uid),
        }
    }

    async fn request(&mut self) -> io::Result<Request> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.lines).take(REQUEST_BYTES_MAX as u64);
        bounded.read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not a request: {error}")))
    }

    async fn answer(&mut self, core: &Core, request: Request) -> io::Result<()> {
        let answer = match request {
            Request::Events(wanted) => return search::serve(self, core, &wanted).await,
            Request::LetterList(query) => return self.list_letters(core, &query).await,
            Request::Letters(act, query) => self.during(handle_letters(core, act, &query)).await?,
            Request::Owners { limit } => self.during(owners(core, limit)).await?,
            Request::Release(order) => {
                let by = self.person();
                self.during(release(core, &order, &by)).await?
            }
            Request::Decisions => Answer::Decisions(core.decisions()),
            Request::Spared => Answer::Spared(core.spared()),
            Request::Decide(order) => {
                let by = decider(&self.person(), self.uid);
                self.during(decide(core, &order, &by)).await?
            }
            Request::Replay(query) => self.during(replay(core, &query)).await?,
            Request::Backup { target, force } => self.during(backup(core, target, force)).await?,
            Request::Status => self.during(status(core)).await?,
            Request::Metrics => Answer::Metrics(self.during(core.metrics()).await?),
            Request::SendTest { sink } => self.during(send_test(core, &sink)).await?,
            Request::Canary { timeout_secs } => self.during(canary(core, timeout_secs)).await?,
            Request::CheckConnect => Answer::Sinks(self.during(core.check_sinks()).await?),
            Request::Verify => self.during(verify(core, |_, _| {})).await?,
            Request::VerifyWatched => self.verify_watched(core).await?,
            Request::Reload => self.during(reload(core)).await?,
        };
        self.finish(&answer).await
    }

    /// Shows dead letters, one by one.
    async fn list_letters(&mut self, core: &Core, query: &LetterQuery) -> io::Result<()> {
        let last = match self.show_letters(core, query).await? {
            Ok(sum) => Answer::Letters(sum),
            Err(error) => Answer::refused(error.cause(), error.to_string()),
        };
        self.finish(&last).await
    }

    async fn show_letters(&mut self, core: &Core, query: &LetterQuery) -> io::Result<Result<LetterSum, LetterError>> {
        let names = core.sink_names();
        let mut walk = match self.during(Walk::begin(core.journal(), query, &names)).await? {
            Ok(walk) => walk,
            Err(error) => return Ok(Err(error)),
        };
        let mut sum = LetterSum::default();
        loop {
            let page = match self.during(walk.next()).await? {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(sum)),
                Err(error) => return Ok(Err(error)),
            };
            for kept in page {
                sum.count += 1;
                *sum.sinks.entry(kept.letter.sink.clone()).or_default() += 1;
                if let Some(row) = walk.row(&kept) {
                    self.send(&Answer::Letter(row)).await?;
                }
            }
        }
    }

    async fn verify_watched(&mut self, core: &Core) -> io::Result<Answer> {
        let walked = watch::Sender::new((0, 0));
        let work = verify(core, |done, of| {
            walked.send_replace((done, of));
        });
        let stands = || {
            let (done, of) = *walked.borrow();
            Answer::Verifying { done, of }
        };
        self.telling(work, WATCHED_EVERY, stands).await
    }

    /// Awaits `work`, and tells the peer meanwhile that it goes on. Errors: the peer has gone; `work` is dropped.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        self.telling(work, BEAT, || Answer::Working).await
    }

    /// Awaits `work`, and tells the peer each `every` how it stands.
    async fn telling<T>(
        &mut self,
        work: impl Future<Output = T>,
        every: Duration,
        stands: impl Fn() -> Answer,
    ) -> io::Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let quiet = every.saturating_sub(self.flushed.elapsed());
            // Cancel: `work` is not dropped, it is asked again.
            match timeout(quiet, &mut work).await {
                Ok(done) => return Ok(done),
                Err(_) => self.finish(&stands()).await?,
            }
        }
    }

    async fn refuse(&mut self, cause: Refusal, reason: &str) -> io::Result<()> {
        self.finish(&Answer::refused(cause, reason)).await
    }

    /// Refuses with several reasons.
    pub(super) async fn refuse_all(&mut self, cause: Refusal, reasons: Vec<String>) -> io::Result<()> {
        let refused = Answer::Refused {
            cause,
            reasons: reasons.into_iter().map(Reason::from).collect(),
            warnings: Vec::new(),
        };
        self.finish(&refused).await
    }

    /// Queues an answer; what fills the buffer is written at once. Time: [`WRITE_TIME_MAX`] if the peer takes nothing.
    pub(super) async fn send(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        in_time(self.out.write_all(&line)).await
    }

    /// Sends the last answer.
    pub(super) async fn finish(&mut self, answer: &Answer) -> io::Result<()> {
        self.send(answer).await?;
        self.flush().await
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        in_time(self.out.flush()).await
    }

    /// Ends when the peer has closed its end. Cancel: safe, what it reads means nothing.
    pub(super) async fn closed(&mut self) {
        let mut byte = [0];
        while matches!(self.lines.read(&mut byte).await, Ok(1..)) {}
    }
}

async fn status(core: &Core) -> Answer {
    Answer::Status(Box::new(core.status().await))
}

async fn send_test(core: &Core, sink: &str) -> Answer {
    match core.send_test(sink).await {
        Ok(report) => Answer::Sinks(vec![report]),
        Err(known) => unknown_sink(sink, &known),
    }
}

async fn canary(core: &Core, timeout_secs: u64) -> Answer {
    let asked = core.canary(
        Duration::from_secs(timeout_secs),
        "asked for by `trapline check --canary`",
    );
    match asked.await {
        Ok(report) => Answer::Canary(report),
        Err(refused) => refused.into(),
    }
}

async fn verify(core: &Core, walked: impl FnMut(u64, u64)) -> Answer {
    match core.journal().verify_watched(walked).await {
        Ok(found) => Answer::Verified(found.into()),
        Err(error) => Answer::refused(Refusal::Failed, error.to_string()),
    }
}

async fn handle_letters(core: &Core, act: LetterAct, query: &LetterQuery) -> Answer {
    match core.letters(act, query).await {
        Ok(sum) => Answer::Letters(sum),
        Err(error) => Answer::refused(error.cause(), error.to_string()),
    }
}

async fn owners(core: &Core, limit: u32) -> Answer {
    match core.owners(limit).await {
        Ok(rows) => Answer::Owners(rows),
        Err(error) => Answer::refused(Refusal::Failed, error.to_string()),
    }
}

async fn release(core: &Core, order: &ReleaseOrder, by: &By) -> Answer {
    match core.release(order, by).await {
        Ok(report) => Answer::Released(report),
        Err(refused) => refused.into(),
    }
}

/// Who has something decided.
fn decider(person: &By, uid: Option<u32>) -> Decider {
    Decider::Person {
        name: person.shown().into(),
        uid,
    }
}

async fn decide(core: &Core, order: &DecisionOrder, by: &Decider) -> Answer {
    match core.decide(order, by).await {
        Ok(report) => Answer::Decided(report),
        Err(refused) => refused.into(),
    }
}

/// The name of a user in the lines of passwd(5).
fn user_name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut columns = line.split(':');
        let (name, _, number) = (columns.next()?, columns.next()?, columns.next()?);
        let is_it = number.parse() == Ok(uid) && !name.is_empty() && is_clean(name);
        is_it.then(|| name.to_owned())
    })
}

async fn replay(core: &Core, query: &ReplayQuery) -> Answer {
    match core.replay(query).await {
        Ok(report) => Answer::Replay(report),
        Err(refused) => refused.into(),
    }
}

async fn backup(core: &Core, target: PathBuf, force: bool) -> Answer {
    match core.journal().backup(target.clone(), force).await {
        Ok(found) => Answer::Copied {
            report: found.into(),
            file: std::fs::metadata(target).ok().map(|file| (file.dev(), file.ino())),
        },
        Err(error) => Answer::refused(Refusal::Failed, error.to_string()),
    }
}

async fn reload(core: &Core) -> Answer {
    match core.reload().await {
        Ok(changes) => Answer::Reloaded { changes },
        Err(refused) => refused.into(),
    }
}

async fn in_time(write: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(WRITE_TIME_MAX, write)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn unknown_sink(sink: &str, known: &[String]) -> Answer {
    let known = known.join(", ");
    Answer::refused(Refusal::Usage, format!("no sink is named `{sink}`, there are: {known}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control::query::Filter;

    #[test]
    fn a_user_is_named_as_the_host_does_and_stays_a_number_where_it_does_not() {
        let users = "root:x:0:0::/root:/bin/sh\n+nis\n:x:7:7\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/bash\n";
        assert_eq!(user_name(users, 0).as_deref(), Some("root"));
        assert_eq!(user_name(users, 1000).as_deref(), Some("alice"));
        assert_eq!([7, 100, u32::MAX].map(|uid| user_name(users, uid)), [None, None, None]);
        assert_eq!(user_name("a\u{202e}b:x:1:1::/:/", 1), None);
    }

    const WORDS: &[&[u8]] = &[
        b"\"status\"",
        b"{\"events\":{",
        b"{\"send_test\":{\"sink\":\"",
        b"\"source\":\"10.0.0.0/8\",",
        b"\"source\":\"::/129\",",
        b"\"action\":\"decoy-conect\",",
        b"\"incident\":\"",
        b"\"since\":-9223372036854775808,",
        b"\"port\":65536,",
        b"\"limit\":4294967295",
        b"\"follow\":true",
        b"}}",
        b"\\ud800",
        b"[[[[[[[[",
        b"1e999",
        b"\n",
        b"\0",
    ];

    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(WORDS).prop_map(<[u8]>::to_vec);
        let noise = prop::collection::vec(any::<u8>(), 0..20);
        prop::collection::vec(prop_oneof![4 => word, 1 => noise], 0..12).prop_map(|parts| parts.concat())
    }

    async fn asked(bytes: &[u8]) -> io::Result<Request> {
        let (ours, mut theirs) = UnixStream::pair()?;
        theirs.write_all(bytes).await?;
        drop(theirs);
        Peer::new(ours).request().await
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_caller_are_a_request_or_told_to_be_none(bytes in sent()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            match runtime.block_on(asked(&bytes)) {
                Ok(Request::Events(query)) => match Filter::parse(&query) {
                    Ok(filter) => prop_assert_eq!(filter.port, query.port),
                    Err(reasons) => prop_assert!(!reasons.is_empty()),
                },
                Ok(_) => {}
                Err(error) if bytes.is_empty() => prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
                Err(error) => prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData),
            }
        }
    }
}
