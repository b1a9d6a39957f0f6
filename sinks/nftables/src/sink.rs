//! The set sink: what is asked in tasks, what is read on threads of the pool, what is changed by the one thread that may.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Applied, Arming, Change, FastLane, SetCommon, SetLimits, SetSink, Spared, Standing, Target};
use trapline_sink::{Fault, FaultKind, Measure};

use crate::Settings;
use crate::census::members;
use crate::fault::{fault, local};
use crate::kernel::Kernel;
use crate::lane::{Job, Lane, Shared};
use crate::look;
use crate::news::{Bell, Watch, listen};
use crate::plan::{Plan, Set};
use crate::socket::Socket;

/// A table of the packet filter that equals what is decided.
#[derive(Debug)]
pub struct Nftables {
    plan: Plan,
    observes: bool,
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    bell: Arc<Bell>,
    told: watch::Receiver<u64>,
    /// As they were when the sets were last read.
    figures: Mutex<Figures>,
}

#[derive(Debug, Default, Clone)]
struct Figures {
    /// Packets dropped, by what the rule says of itself.
    dropped: Vec<(String, u64)>,
    members: usize,
    armed: usize,
}

/// Changes in a batch.
const CHANGES: usize = 4096;
/// What a dump's time and the kernel's clock are off by; on a busy host, of many, some seconds.
const SLACK: Duration = Duration::from_secs(5);
/// Where an element that has no end is said to end, so that it is put again with one, or taken: a hundred years on.
const NO_END: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Nftables {
    /// Asks whether this kernel has a packet filter of this kind; a right that is missing to use it is no error here.
    ///
    /// Errors: it has none, or lets nobody ask.
    pub fn probe() -> Result<(), Fault> {
        let lacks = |error: io::Error| local(format!("this kernel has no nf_tables: {error}"));
        let mut socket = Socket::open(0).map_err(lacks)?;
        match look::deed(&mut socket, "") {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(lacks(error)),
            _ => Ok(()),
        }
    }

    /// Opens a way to the kernel; nothing is changed there before [`SetSink::stands`] is first asked.
    ///
    /// Errors: a setting is out of bounds, or this kernel lets nobody speak to its packet filter.
    pub fn open(settings: &Settings, common: &SetCommon) -> Result<Arc<Self>, Fault> {
        settings.check()?;
        let plan = Plan::new(settings);
        let open = |error: io::Error| fault(&plan.table, "the kernel's packet filter was not reached", &error);
        let socket = Socket::open(0).map_err(open)?;
        let (shared, bell) = (Arc::new(Shared::default()), Bell::new().map_err(open)?);
        let news = listen(socket.port());
        let kernel = Kernel::new(socket, plan.clone(), settings.owned);
        let on_spared = Arc::clone(&bell);
        let on_spared = Box::new(move || on_spared.sweep());
        let lane = Arc::new(Lane::start(kernel, Arc::clone(&shared), on_spared).map_err(open)?);
        let (sender, told) = watch::channel(0);
        if let Err(error) = &news {
            let why = format!("others' changes to the nftables table are found by comparing alone: {error}");
            shared.note(|notes| notes.watch = Some(why));
        }
        let watch = Watch {
            bell: Arc::clone(&bell),
            socket: news.ok(),
            plan: plan.clone(),
            told: sender,
            lane: Arc::downgrade(&lane),
            shared: Arc::clone(&shared),
        };
        watch.start().map_err(open)?;
        Ok(Arc::new(Self {
            plan,
            observes: common.observes,
            shared,
            lane,
            bell,
            told,
            figures: Mutex::default(),
        }))
    }

    /// Reads sets on a thread of the pool, with a socket of its own, so that what cannot wait does not wait for it.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Socket, &Plan) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let plan = self.plan.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = Socket::open(0).and_then(|mut socket| read(&mut socket, &plan));
            result.map_err(|error| fault(&plan.table, "the sets were not read", &error))
        });
        done.await
            .map_err(|_| local("reading the nftables table broke down".to_owned()))?
    }

    fn figure(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn ends(&self) {
        self.lane.end();
        self.bell.ring();
    }
}

impl Drop for Nftables {
    fn drop(&mut self) {
        self.ends();
    }
}

/// Members as the engine knows them.
fn standing(members: Vec<(Target, Option<Duration>, Instant)>) -> Vec<Standing> {
    let (now, then) = (Timestamp::now(), Instant::now());
    let until = |left: Option<Duration>, at: Instant| {
        let left = left.map_or(NO_END, |left| left.saturating_sub(then.duration_since(at)));
        let micros = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(now.micros().saturating_add(micros))
    };
    let entry = |(target, left, at)| Standing {
        target,
        until: Some(until(left, at)),
        decision: None,
        handle: None,
    };
    members.into_iter().map(entry).collect()
}

#[async_trait]
impl SetSink for Nftables {
    fn limits(&self) -> SetLimits {
        SetLimits {
            changes: CHANGES,
            members: usize::try_from(self.plan.members).unwrap_or(usize::MAX),
            slack: SLACK,
        }
    }

    fn spare(&self, spared: Arc<Spared>) {
        *self.shared.spared.write().unwrap_or_else(PoisonError::into_inner) = spared;
        if !self.observes {
            self.lane.tell(Job::Spared, false);
        }
    }

    async fn stands(&self) -> Result<Vec<Standing>, Fault> {
        if !self.observes {
            self.lane.ask(Job::Ready).await??;
        }
        let sets = [Set::Hosts4, Set::Hosts6, Set::Prefixes6, Set::Nets4, Set::Nets6];
        let (members, dropped) = self
            .read(move |socket, plan| {
                let members = members(socket, plan, sets)?;
                // Figures are not worth a fault.
                let dropped = look::counted(socket, plan).unwrap_or_default();
                Ok((members, dropped))
            })
            .await?;
        if !members.odd.is_empty() && !self.observes {
            self.lane.tell(Job::Purge(members.odd), false);
        }
        let stands = standing(members.members);
        self.figure(|figures| (figures.members, figures.dropped) = (stands.len(), dropped));
        Ok(stands)
    }

    async fn apply(&self, changes: &[Change]) -> Applied {
        if self.observes {
            return Applied::retry(changes.len(), observes());
        }
        let asked = self.lane.ask(|answer| Job::Apply(changes.to_vec(), answer)).await;
        asked.unwrap_or_else(|fault| Applied::retry(changes.len(), fault))
    }

    async fn check(&self) -> Result<String, Fault> {
        let deed = self.read(|socket, plan| look::deed(socket, &plan.table)).await?;
        let table = &self.plan.table;
        Ok(match deed {
            None => format!("nf_tables answers, table `{table}` is not there yet"),
            Some(_) => format!("nf_tables answers, table `{table}` is there"),
        })
    }

    fn told(&self) -> Option<watch::Receiver<u64>> {
        Some(self.told.clone())
    }

    fn fast_lane(&self) -> Option<Arc<dyn FastLane>> {
        let lane: Arc<dyn FastLane> = Arc::<Lane>::clone(&self.lane);
        (!self.observes).then_some(lane)
    }

    fn can_arm(&self) -> bool {
        true
    }

    async fn arm(&self, arming: Option<&Arming>) -> Result<(), Fault> {
        if self.observes {
            return arming.map_or(Ok(()), |_| Err(observes()));
        }
        self.lane.ask(|answer| Job::Arm(arming.cloned(), answer)).await?
    }

    async fn armed(&self) -> Result<Vec<Standing>, Fault> {
        let (members, room) = self
            .read(|socket, plan| {
                let room = look::size(socket, &plan.table, Set::Armed4)?;
                Ok((members(socket, plan, Set::ARMED)?, room))
            })
            .await?;
        let armed = standing(members.members);
        let is_full = room.is_some_and(|room| armed.len() >= usize::try_from(room).unwrap_or(usize::MAX));
        let note = is_full.then(|| {
            format!(
                "the kernel has shut out {} by itself and has no room for more",
                armed.len()
            )
        });
        self.shared.note(|notes| notes.armed = note);
        self.figure(|figures| figures.armed = armed.len());
        Ok(armed)
    }

    fn notes(&self) -> Vec<String> {
        let notes = self.shared.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missed = self.shared.missed.load(Ordering::Relaxed);
        let missed = (missed > 0).then(|| format!("{missed} members did not go in at once and were left to comparing"));
        [notes.tenure, notes.pace, notes.watch, notes.armed, missed]
            .into_iter()
            .flatten()
            .collect()
    }

    fn measures(&self) -> Vec<Measure> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missed = self.shared.missed.load(Ordering::Relaxed);
        let mut all = vec![
            Measure::gauge(
                "members",
                "Whom the table shuts out, when last read.",
                figures.members as f64,
            ),
            Measure::gauge(
                "armed_members",
                "Whom the kernel has shut out by itself, when last read.",
                figures.armed as f64,
            ),
            Measure::counter("missed_total", "Members that did not go in at once.", missed as f64),
        ];
        all.extend(figures.dropped.into_iter().map(|(comment, packets)| {
            let set = comment.trim_start_matches("trapline: ").to_owned();
            Measure::counter(
                "dropped_packets_total",
                "Packets of members, when last read.",
                packets as f64,
            )
            .with("set", set)
        }));
        all
    }

    fn destination(&self) -> Option<String> {
        Some(format!("nftables table inet {}", self.plan.table))
    }

    async fn close(&self) {
        if !self.observes {
            // A thread that is over has nothing to close.
            let _ = self.lane.ask(Job::Close).await;
        }
        self.ends();
    }
}

fn observes() -> Fault {
    Fault {
        kind: FaultKind::Config,
        message: "the nftables table is only observed".to_owned(),
    }
}
