//! The sink: changes in, documents out.
//!
//! Changes are taken at once; the documents are written when all that is wanted stands, and then at most once in
//! [`WRITE_EVERY`], however fast decisions come: a list of 100,000 takes some tens of milliseconds, and no firewall comes
//! more often than once a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use trapline_schemas::Timestamp;
use trapline_sink::measure::Measure;
use trapline_sink::published::{Place, Poller};
use trapline_sink::set::{Applied, Change, Member, Put, SetCommon, SetLimits, SetSink, Spared, Standing};
use trapline_sink::{Fault, FaultKind};

use crate::cast::{Cast, Moment};
use crate::config::{ENTRIES_MAX, Settings};
use crate::file;
use crate::guard::Guard;
use crate::roll::Roll;
use crate::stix::Identity;

/// Shortest time between two writings.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Members that are held, more than any list shows, so that it can be told how many found no room.
const MEMBERS_MAX: usize = ENTRIES_MAX + 50_000;
/// Changes in a batch.
const CHANGES_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Blocklist {
    settings: Settings,
    identity: Identity,
    observes: bool,
    place: Place,
    state: Mutex<State>,
    /// Held by whoever writes; when that was last.
    writing: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct State {
    guard: Guard,
    roll: Roll,
    /// Version that is handed out.
    published: Option<u64>,
    /// Version that is in the file.
    filed: Option<u64>,
    left_out: Vec<(&'static str, usize)>,
}

impl State {
    fn is_done(&self, has_file: bool) -> bool {
        let version = Some(self.roll.version());
        self.published == version && (!has_file || self.filed == version)
    }
}

impl Blocklist {
    pub(crate) fn new(settings: Settings, common: &SetCommon, guard: Guard) -> Self {
        Self {
            settings,
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
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Writes and hands out what stands. Cancel: safe, what was not done is done by the next.
    async fn write(&self) -> Result<(), Fault> {
        let mut last = self.writing.lock().await;
        if self.state().is_done(self.path().is_some()) {
            return Ok(());
        }
        if let Some(last) = *last {
            tokio::time::sleep_until(last + WRITE_EVERY).await;
        }
        let moment = Moment::of(&mut self.state().roll, Timestamp::now());
        let version = moment.version;
        let (layout, identity) = (self.settings.layout.clone(), self.identity.clone());
        let cast = blocking(move || moment.cast(&layout, &identity)).await?;
        *last = Some(Instant::now());
        let main = self.publish(cast, version);
        self.file(main, version).await
    }

    fn publish(&self, cast: Cast, version: u64) -> String {
        self.place.put(cast.documents, self.settings.expected);
        let mut state = self.state();
        state.published = Some(version);
        state.left_out = cast.left_out;
        cast.main
    }

    async fn file(&self, text: String, version: u64) -> Result<(), Fault> {
        let Some(path) = self.path() else { return Ok(()) };
        let written = blocking(move || file::replace(&path, &text)).await?;
        written.map_err(|error| local(error.to_string()))?;
        self.state().filed = Some(version);
        Ok(())
    }

    /// Where the file is to be; while nothing may be changed, nowhere.
    fn path(&self) -> Option<std::path::PathBuf> {
        self.settings.path.clone().filter(|_| !self.observes)
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
        let mut state = self.state();
        state.guard.spare(spared);
        let State { guard, roll, .. } = &mut *state;
        roll.drop_those(|target| guard.spares(target).is_some(), Timestamp::now());
    }

    /// While nothing may be changed, nothing is decided either, and that is what is handed out.
    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        if self.observes {
            self.write().await?;
        }
        Ok(self.state().roll.stands())
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        let now = Timestamp::now();
        let mut state = self.state();
        let outcomes = changes
            .iter()
            .map(|change| self.change(&mut state, change, now))
            .collect();
        Applied {
            outcomes,
            retry_after: None,
            fault: None,
        }
    }

    async fn settled(&self) -> Result<(), Fault> {
        self.write().await
    }

    async fn check(&self) -> Result<String, Fault> {
        let served = format!("`[web]` serves it as /lists/{}.txt", self.place.list());
        let Some(path) = self.settings.path.clone() else {
            return Ok(served);
        };
        let found = blocking(move || file::look_at(&path)).await?;
        let found = found.map_err(|error| local(error.to_string()))?;
        Ok(format!("{served}; file: {found}"))
    }

    fn notes(&self) -> Vec<String> {
        let state = self.state();
        let members = state.roll.len();
        let waiting =
            (state.published.is_none()).then(|| "not handed out yet: not all that is wanted has stood".to_owned());
        let most = self.settings.layout.entries_max;
        let left_out = state.left_out.iter().map(|(form, count)| {
            format!(
                "{count} of {members} found no room in {}.{form}: `entries_max` is {most}, the gravest are there",
                self.place.list()
            )
        });
        let notes: Vec<_> = waiting.into_iter().chain(left_out).collect();
        drop(state);
        notes.into_iter().chain(pollers(&self.place.pollers())).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        let state = self.state();
        let left_out = state.left_out.first().map_or(0, |(_, count)| *count);
        let of_list = [
            Measure::gauge("members", "Targets that stand on the list.", state.roll.len() as f64),
            Measure::gauge("left_out", "Targets that found no room on the list.", left_out as f64),
        ];
        drop(state);
        of_list.into_iter().chain(measured(&self.place.pollers())).collect()
    }

    fn destination(&self) -> Option<String> {
        Some(format!("/lists/{}.txt", self.place.list()))
    }

    async fn close(&self) {}
}

/// Pollers that `status` names, those that came last.
const POLLERS_SHOWN: usize = 8;

fn pollers(all: &[Poller]) -> Vec<String> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|poller| poller.last.elapsed());
    let more = all.len().saturating_sub(POLLERS_SHOWN);
    let shown = all.iter().take(POLLERS_SHOWN).map(|poller| {
        let refused = match poller.refused {
            0 => String::new(),
            count => format!(", refused {count} times since"),
        };
        let (who, address, came) = (&poller.who, poller.address, poller.came);
        format!(
            "{who} ({address}) came {} ago, {came} times in all{refused}",
            ago(poller.last.elapsed())
        )
    });
    let more = (more > 0).then(|| format!("{more} more came for the list"));
    shown.chain(more).collect()
}

fn ago(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3_600),
    }
}

/// By token: an address is no label.
fn measured(pollers: &[Poller]) -> Vec<Measure> {
    let mut names: Vec<_> = pollers.iter().map(|poller| &poller.who).collect();
    names.sort();
    names.dedup();
    names.into_iter().flat_map(|name| by_token(pollers, name)).collect()
}

fn by_token(pollers: &[Poller], name: &str) -> [Measure; 3] {
    let of = || pollers.iter().filter(|poller| poller.who == name);
    let age = of()
        .map(|poller| poller.last.elapsed().as_secs_f64())
        .fold(f64::MAX, f64::min);
    let came: u64 = of().map(|poller| poller.came).sum();
    let refused: u64 = of().map(|poller| poller.refused).sum();
    [
        Measure::counter(
            "fetches_total",
            "How often a token was shown for the list.",
            came as f64,
        ),
        Measure::gauge(
            "refusals",
            "How often its poller was refused since it came last.",
            refused as f64,
        ),
        Measure::gauge(
            "fetch_age_seconds",
            "Time since the list was fetched with the token.",
            age,
        ),
    ]
    .map(|measure| measure.with("token", name))
}
