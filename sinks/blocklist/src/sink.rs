//! The sink: changes in, documents out.
//!
//! Changes are taken at once; the documents are written when all that is wanted stands, and when a member's time is over.
//! A long list is not written for each decision that comes: the pause grows with it ([`pause`]), and no firewall comes
//! more often than once a minute.
//!
//! A sink that observes takes no changes and hands out the list without members, unless somebody of its name hands out
//! another, which it then reads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use trapline_schemas::Timestamp;
use trapline_sink::measure::Measure;
use trapline_sink::published::Place;
use trapline_sink::set::{Applied, Change, Member, Put, SetCommon, SetLimits, SetSink, Spared, Standing};
use trapline_sink::task::JobTask;
use trapline_sink::{Fault, FaultKind};

use crate::cast::{Cast, Moment};
use crate::config::{ENTRIES_MAX, Settings};
use crate::file::{self, Stamp};
use crate::guard::Guard;
use crate::report;
use crate::roll::Roll;
use crate::stix::Identity;
use crate::text;

/// Members that are held, more than any list shows, so that it can be told how many found no room.
const MEMBERS_MAX: usize = ENTRIES_MAX + 50_000;
/// Changes in a batch.
const CHANGES_MAX: usize = 10_000;
/// Longest that a member's end is waited for at once: the clock may be set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Shortest time between two writings of a list of so many members: 2 s for 100,000, which take some 50 ms.
const fn pause(members: usize) -> Duration {
    Duration::from_micros(20 * members as u64)
}

#[derive(Debug)]
pub(crate) struct Blocklist {
    desk: Arc<Desk>,
    /// Ends members whose time is over.
    ender: JobTask<()>,
}

/// All but the task.
#[derive(Debug)]
struct Desk {
    settings: Settings,
    identity: Identity,
    observes: bool,
    place: Place,
    state: Mutex<State>,
    /// Held by whoever writes; when that was last.
    writing: tokio::sync::Mutex<Option<Instant>>,
    /// Says that other members stand than before.
    written: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    guard: Guard,
    roll: Roll,
    /// Version that is handed out.
    published: Option<u64>,
    /// Version that is in the file, and how that looked then.
    filed: Option<(u64, Option<Stamp>)>,
    left_out: Vec<(&'static str, usize)>,
}

impl Blocklist {
    pub(crate) fn new(settings: Settings, common: &SetCommon, guard: Guard) -> Self {
        let desk = Desk {
            identity: Identity::new(&common.observer, guard.is_inside()),
            observes: common.observes,
            place: common.shelf.reserve(&common.name),
            state: Mutex::new(State {
                guard,
                roll: Roll::default(),
                published: None,
                filed: None,
                left_out: Vec::new(),
            }),
            writing: tokio::sync::Mutex::default(),
            written: Arc::default(),
            settings,
        };
        Self {
            desk: Arc::new(desk),
            ender: JobTask::default(),
        }
    }

    /// The task starts with the first list: before it, nothing has an end.
    async fn start_ender(&self) {
        if !self.ender.is_started() {
            let (desk, written) = (Arc::downgrade(&self.desk), self.desk.written.clone());
            // It ends with the sink alone.
            let _ = self.ender.hand((), |jobs| end_members(desk, written, jobs)).await;
        }
    }
}

/// Writes the list anew when a member's time is over. The jobs are there to keep the task.
async fn end_members(desk: Weak<Desk>, written: Arc<Notify>, _jobs: mpsc::Receiver<()>) {
    loop {
        let Some(wait) = desk.upgrade().map(|desk| desk.next_end()) else {
            return;
        };
        // Cancel: both are safe.
        tokio::select! {
            () = written.notified() => continue,
            () = tokio::time::sleep(wait.min(WAIT_MAX)) => {}
        }
        let Some(desk) = desk.upgrade() else { return };
        let has_ended = desk.state().roll.expire(Timestamp::now());
        if has_ended {
            // What fails is told by the next that asks for it to be written.
            let _ = desk.write().await;
        }
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it is to the next end; as long as can be if there is none.
    fn next_end(&self) -> Duration {
        let end = self.state().roll.next_end();
        end.map_or(Duration::MAX, |end| end.since(Timestamp::now()))
    }

    fn change(&self, state: &mut State, change: &Change, now: Timestamp) -> Put {
        match change {
            Change::Take(standing) => {
                state.roll.take(standing.target, now);
                Put::DONE
            }
            Change::Put(member) => match self.refusal(state, member) {
                Some(refused) => refused,
                None => {
                    state.roll.put(member, now);
                    Put::DONE
                }
            },
        }
    }

    fn refusal(&self, state: &State, member: &Member) -> Option<Put> {
        if let Some(why) = state.guard.why_not(member) {
            return Some(Put::Refused(why));
        }
        let family = self.settings.layout.family;
        let is_other = !family.takes(member.target.address());
        is_other.then(|| Put::Nowhere("the list is of the other address family".to_owned()))
    }

    /// Whether what stands is handed out, and is in the file if there is one: also if somebody else wrote to that.
    fn is_done(&self) -> bool {
        let state = self.state();
        let version = state.roll.version();
        let in_file = |path: PathBuf| state.filed == Some((version, file::stamp(&path)));
        state.published == Some(version) && self.path().is_none_or(in_file)
    }

    /// Writes and hands out what stands. Cancel: safe, what was not done is done by the next.
    async fn write(&self) -> Result<(), Fault> {
        let mut last = self.writing.lock().await;
        if self.is_done() {
            return Ok(());
        }
        let members = self.state().roll.len();
        if let Some(last) = *last {
            tokio::time::sleep_until(last + pause(members)).await;
        }
        let (cast, version) = self.cast().await?;
        *last = Some(Instant::now());
        let main = self.publish(cast, version);
        self.file(main, version).await
    }

    async fn cast(&self) -> Result<(Cast, u64), Fault> {
        let now = Timestamp::now();
        let moment = {
            let mut state = self.state();
            state.roll.expire(now);
            Moment::of(&mut state.roll, now)
        };
        let version = moment.version;
        let (layout, identity) = (self.settings.layout.clone(), self.identity.clone());
        let cast = blocking(move || moment.cast(&layout, &identity)).await?;
        Ok((cast, version))
    }

    fn publish(&self, cast: Cast, version: u64) -> String {
        self.place.put(cast.documents, self.settings.expected);
        let mut state = self.state();
        state.published = Some(version);
        state.left_out = cast.left_out;
        self.written.notify_one();
        cast.main
    }

    async fn file(&self, text: String, version: u64) -> Result<(), Fault> {
        let Some(path) = self.path() else { return Ok(()) };
        let written = blocking(move || file::replace(&path, &text).map(|()| file::stamp(&path))).await?;
        let stamp = written.map_err(|error| local(error.to_string()))?;
        self.state().filed = Some((version, stamp));
        Ok(())
    }

    /// Where the file is to be; while nothing may be changed, nowhere.
    fn path(&self) -> Option<PathBuf> {
        self.settings.path.clone().filter(|_| !self.observes)
    }

    /// What stands on the list that is handed out, by whomever; if there is none, one without members is.
    async fn observed(&self) -> Result<Vec<Standing>, Fault> {
        let layout = &self.settings.layout;
        if let Some(document) = self.place.held("txt") {
            let standing = |target| Standing {
                target,
                until: None,
                decision: None,
                handle: None,
            };
            return Ok(text::read(&document, layout).into_iter().map(standing).collect());
        }
        let (cast, _) = self.cast().await?;
        self.place.offer(cast.documents, self.settings.expected);
        Ok(Vec::new())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| local("the list could not be written: a thread ended before its time".to_owned()))
}

const fn local(message: String) -> Fault {
    Fault {
        kind: FaultKind::Local,
        message,
    }
}

#[async_trait]
impl SetSink for Blocklist {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: CHANGES_MAX,
            members: MEMBERS_MAX,
            slack: Duration::from_secs(1),
        }
    }

    fn spare(&self, spared: Arc<Spared>) {
        let mut state = self.desk.state();
        state.guard.spare(spared);
        let State { guard, roll, .. } = &mut *state;
        roll.drop_those(|target| guard.spares(target).is_some(), Timestamp::now());
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        match self.desk.observes {
            true => self.desk.observed().await,
            false => Ok(self.desk.state().roll.stands(Timestamp::now())),
        }
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        let now = Timestamp::now();
        let mut state = self.desk.state();
        let outcomes = changes.iter().map(|change| self.desk.change(&mut state, change, now));
        Applied {
            outcomes: outcomes.collect(),
            retry_after: None,
            fault: None,
        }
    }

    async fn settled(&self) -> Result<(), Fault> {
        if self.desk.observes {
            return Ok(());
        }
        let written = self.desk.write().await;
        self.start_ender().await;
        written
    }

    async fn check(&self) -> Result<String, Fault> {
        let served = format!("`[web]` serves it as /lists/{}.txt", self.desk.place.list());
        let Some(path) = self.desk.settings.path.clone() else {
            return Ok(served);
        };
        let found = blocking(move || file::look_at(&path)).await?;
        let found = found.map_err(|error| local(error.to_string()))?;
        Ok(format!("{served}; file: {found}"))
    }

    fn notes(&self) -> Vec<String> {
        let (desk, list) = (&self.desk, self.desk.place.list());
        let state = desk.state();
        let is_waiting = state.published.is_none() && !desk.observes;
        let waiting = is_waiting.then(|| "not handed out yet: not all that is wanted has stood".to_owned());
        let most = desk.settings.layout.entries_max;
        let left_out = state.left_out.iter().map(|(form, count)| {
            format!("{count} found no room in {list}.{form}: `entries_max` is {most}, the gravest are there")
        });
        let notes: Vec<_> = waiting.into_iter().chain(left_out).collect();
        drop(state);
        notes.into_iter().chain(report::notes(&desk.place.pollers())).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        let state = self.desk.state();
        let left_out = state.left_out.first().map_or(0, |(_, count)| *count);
        let of_list = [
            Measure::gauge("members", "Targets that stand on the list.", state.roll.len() as f64),
            Measure::gauge("left_out", "Targets that found no room on the list.", left_out as f64),
        ];
        drop(state);
        let of_pollers = report::measures(&self.desk.place.pollers());
        of_list.into_iter().chain(of_pollers).collect()
    }

    fn destination(&self) -> Option<String> {
        Some(format!("/lists/{}.txt", self.desk.place.list()))
    }

    async fn close(&self) {}
}
