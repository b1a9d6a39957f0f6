//! The program put together: builds every station from the configuration, owns all tasks and the order of shutdown.
//!
//! In: a [`Source`] of configuration. Out: a running instance ([`run`]) and what the control socket asks of it
//! ([`Core`]).
//!
//! Invariants:
//! 1. Nothing is bound, made or changed before the configuration is whole; a second instance ends before it binds.
//! 2. The way up: configuration, state folder, lock and journal, site key, recorder, decoy role, listeners, delivery,
//!    control socket, live feed. The way down: stop accepting, end sessions, recorder, journal flush, workers, journal.
//! 3. A reload is all or nothing: everything that can fail is made before anything running is touched.
//! 4. The service manager is told of each step, and its watchdog is fed by what was recorded and committed.
//! 5. The whole way down takes at most [`stop::STOP_TIME_MAX`]; a second signal ends at once.
//!
//! What it does not do: anything a station can do by itself.

mod acting;
mod alarms;
mod arming;
mod banner;
mod build;
mod canary;
mod certificates;
mod chores;
mod core;
mod decisions;
mod errands;
mod facts;
mod folder;
mod hosts;
mod indexed;
mod keeper;
mod load;
mod manager;
mod measured;
mod owners;
mod process;
mod reload;
mod start;
mod status;
pub mod stop;
mod surroundings;
mod tables;
mod tasks;
mod trial;

pub use build::{rules_of, wrong_certificates};
pub use canary::TIMEOUT_MAX as CANARY_TIMEOUT_MAX;
pub use core::{Core, Refused};
pub use errands::replay_report;
pub use load::{LoadError, Source, service_rules};
pub use process::{raise_descriptor_limit, shortage};
pub use start::{StartError, hostname, observer_name, run, stamp, web_descriptors};
pub use tables::check as check_tables;
pub use tasks::Tasks;
pub use trial::{look, reach, try_build, try_send};
