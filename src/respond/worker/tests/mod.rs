//! The worker's promises: of the pure core under any course of things, and of the task with a clock that stands still.

mod course;
mod task;
mod world;

use std::time::Duration;

use trapline_schemas::Timestamp;
use trapline_sink::set::{Grounds, Member, Target};
use uuid::Uuid;

use super::Settings;
use super::core::shifted;
use crate::delivery::Pace;

const INTERVAL: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_secs(2);
const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn settings() -> Settings {
    Settings {
        interval: INTERVAL,
        retry: Pace::default(),
        observes: false,
        grace: Duration::from_secs(10),
    }
}

fn host(n: u8) -> Target {
    Target::host([203, 0, 113, n].into())
}

fn member(n: u8, since: Timestamp, ttl: Duration) -> Member {
    Member {
        target: host(n),
        inside: false,
        since,
        until: shifted(since, ttl),
        decision: Uuid::new_v4(),
        gravity: n,
        reason: "test".into(),
        grounds: Grounds::Handshake,
        handle: None,
    }
}
