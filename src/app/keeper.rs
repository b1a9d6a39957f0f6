//! Looks every moment whether what must not change is as it was: the site key's file, and the clock.
//!
//! The journal looks after its own files, the control socket after itself, the index after its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;

use crate::app::alarms::Alarms;
use crate::app::core::Core;
use crate::journal::{Commit, Journal, JournalError, Offset};
use crate::record::key::{KeyFile, Place};
use crate::record::{Identity, Recorder};
use crate::telemetry;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);
/// A clock that moved by more than this against the monotonic one was set; less is what time services do.
const JUMP: Duration = Duration::from_secs(120);
/// State key of the mark of the site key that the records were made with.
const MARK: &str = "site/key";

const CLOCK_HINT: &str =
    "check NTP; the order of events is that of `honeyport.journal.sequence`, not that of ids and times";
const KEY_HINT: &str = "put the earlier key back from a backup and restart, or live with new HMACs and incident ids";

/// Looks until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut clock = Clock::new(Timestamp::now(), Instant::now());
    let mut key = Place::InPlace;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel: a tick that is dropped comes again.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        telemetry::say_held_back(false);
        if let Some(jump) = clock.look(Timestamp::now(), Instant::now()) {
            core.alarm("clock", told(jump), CLOCK_HINT).await;
        }
        if let Some(file) = &core.key_file {
            look_after_key(&core, file, &mut key).await;
        }
    }
}

/// Puts the key's file back if it is gone, and says each change once.
async fn look_after_key(core: &Core, file: &KeyFile, before: &mut Place) {
    // In a folder that another instance has taken nothing is ours.
    if !core.journal.holds_lock() {
        return;
    }
    let place = file.keep();
    if place == *before {
        return;
    }
    let path = file.path().display();
    match &place {
        Place::InPlace => tracing::info!("site key {path} is the one in use again"),
        Place::Restored => {
            let what = format!("the site key {path} was gone and was written again from memory");
            core.alarm("site key", what, "find out who removed it").await;
        }
        Place::Foreign => {
            let what = format!("the site key {path} was replaced; the one read at start stays in use until a restart");
            core.alarm("site key", what, KEY_HINT).await;
        }
        Place::Unkept(error) => {
            let what = format!("the site key {path} is gone and cannot be written again: {error}");
            core.alarm(
                "site key",
                what,
                "a restart would make a new key: mend the folder before",
            )
            .await;
        }
    }
    *before = if place == Place::Restored {
        Place::InPlace
    } else {
        place
    };
}

/// Compares the site key with the one that the journal's records were made with. In: `made`, whether it was made just
/// now; `head`, the journal's when it was opened.
pub(super) async fn compare_key(
    journal: &Journal,
    identity: &Identity,
    (made, head): (bool, Offset),
    alarms: &Alarms,
    recorder: &Recorder,
) -> Result<(), JournalError> {
    let mark = identity.key.hmac_hex(b"trapline site key mark").into_bytes();
    let noted = journal.state(MARK).await?;
    let is_other = match &noted {
        Some(noted) => *noted != mark,
        None => made && head > 1,
    };
    if is_other {
        let how = if made {
            "there was no site key, a new one was made"
        } else {
            "the site key is another one"
        };
        let what = format!("{how}: HMACs and incident ids do not match those of earlier events");
        alarms.raise(recorder, "site key", what, KEY_HINT).await;
    }
    if noted.as_ref() != Some(&mark) {
        let state = vec![(MARK.to_owned(), Some(mark))];
        journal
            .enqueue(Commit {
                state,
                ..Commit::default()
            })
            .await?;
    }
    Ok(())
}

/// The wall clock against the monotonic one.
#[derive(Debug)]
struct Clock {
    wall: Timestamp,
    at: Instant,
}

impl Clock {
    fn new(wall: Timestamp, at: Instant) -> Self {
        Self { wall, at }
    }

    /// By how many microseconds the wall clock was moved since the last look, if that is no drift.
    fn look(&mut self, wall: Timestamp, at: Instant) -> Option<i64> {
        let passed = i64::try_from(at.duration_since(self.at).as_micros()).unwrap_or(i64::MAX);
        let jump = wall.micros().saturating_sub(self.wall.micros()).saturating_sub(passed);
        *self = Self::new(wall, at);
        (u128::from(jump.unsigned_abs()) > JUMP.as_micros()).then_some(jump)
    }
}

fn told(jump: i64) -> String {
    let way = if jump > 0 { "forward" } else { "back" };
    let seconds = jump.unsigned_abs() / 1_000_000;
    format!("the wall clock went {way} by {seconds} s: it was set, or the machine slept")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::JournalSettings;
    use trapline_schemas::ids::SiteKey;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_clock_that_was_set_is_one_alarm_and_drift_is_none() {
        let begun = Instant::now();
        let later = |seconds| begun + Duration::from_secs(seconds);
        let mut clock = Clock::new(at(1000), begun);
        assert_eq!(clock.look(at(1002), later(2)), None);
        assert_eq!(clock.look(at(1034), later(4)), None, "30 s: NTP stepped");
        let day = clock.look(at(1036 + 86_400), later(6)).unwrap();
        assert_eq!(
            told(day),
            "the wall clock went forward by 86400 s: it was set, or the machine slept"
        );
        assert_eq!(clock.look(at(1038 + 86_400), later(8)), None, "one alarm");
        let back = clock.look(at(1040), later(10)).unwrap();
        assert!(told(back).contains("back by 86400 s"));
    }

    #[tokio::test]
    async fn a_site_key_that_is_not_the_one_of_the_records_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        let identity = |byte| Identity {
            name: "a".into(),
            hostname: "a".into(),
            site: None,
            organization: None,
            boot: uuid::Uuid::nil(),
            key: SiteKey::new([byte; 32]),
        };
        let alarms = Alarms::default();
        let (recorder, _task) = crate::record::start(crate::record::Settings {
            state: Vec::new(),
            identity: Arc::new(identity(1)),
            rules: crate::record::Rules {
                zones: crate::record::Zones::new(Vec::new()),
                events_per_source_per_minute: 1,
                ..crate::record::Rules::default()
            },
            hosts: Default::default(),
        });
        let mut counts = Vec::new();
        for (byte, made) in [(1, true), (1, false), (2, true), (2, false), (3, false)] {
            compare_key(&journal, &identity(byte), (made, 1), &alarms, &recorder)
                .await
                .unwrap();
            journal.commit(Commit::default()).await.unwrap();
            counts.push(alarms.news(Timestamp::now()).len());
        }
        assert_eq!(counts, [0, 0, 1, 1, 2]);
        // Records of a version that left no mark.
        let unmarked = || Commit {
            state: vec![(MARK.to_owned(), None)],
            ..Commit::default()
        };
        journal.commit(unmarked()).await.unwrap();
        compare_key(&journal, &identity(4), (true, 1), &alarms, &recorder)
            .await
            .unwrap();
        assert_eq!(
            alarms.news(Timestamp::now()).len(),
            2,
            "a new journal has nothing to match"
        );
        journal.commit(unmarked()).await.unwrap();
        compare_key(&journal, &identity(5), (true, 2), &alarms, &recorder)
            .await
            .unwrap();
        assert_eq!(alarms.news(Timestamp::now()).len(), 3);
        journal.close().await;
    }
}
