//! The configuration: one TOML text, environment variables over it, one typed struct per section.
//!
//! In: [`Sources`] (the text, its folder, the environment, ways to secret files) and [`Rules`] (the rows of other
//! stations: sinks, services, personalities, conditions). Out: a [`Config`] whose types say that it is good, and
//! warnings; or a [`ConfigError`] with every problem there is. Life: [`provision`] reads, [`load()`] checks, `app` runs,
//! [`changes()`] compares at a reload.
//!
//! Invariants:
//! 1. All problems at once: a wrong section does not hide the mistakes of another, and one mistake is one problem.
//! 2. No I/O outside [`provision`]; a test loads from texts.
//! 3. Unknown tables, keys and variables under `TRAPLINE__` are errors, also tables that a later build may have.
//! 4. Two configurations are equal if their values are, wherever these were written.
//!
//! It does not open, bind, connect or resolve: that is each station's, when it is built.

mod benign;
mod canary;
pub mod changes;
mod decoys;
mod error;
mod findings;
mod incidents;
mod load;
mod manual;
mod notices;
mod observer;
pub mod provision;
mod response;
mod rules;
mod schema;
mod sections;
mod sets;
mod sinks;
mod storage;
mod transforms;
mod variables;
mod web;
mod wiring;

#[cfg(test)]
mod embedded;
#[cfg(test)]
mod tests;

pub use benign::{BenignSettings, IgnoreSettings};
pub use canary::CanarySettings;
pub use changes::{Changes, changes};
pub use decoys::{Decoy, DecoyTls};
pub use error::ConfigError;
pub use load::{Config, Loaded, Sources, load};
pub use manual::{Chapter, manual};
pub use notices::Notices;
pub use observer::{Observer, Owner, SiteKeySource, Zone};
pub use provision::{ProvisionError, Provisioned};
pub use rules::{ConditionMistake, KnownLook, Recognisers, Rules, ServiceRule, UnknownLook};
pub use schema::schema;
pub use sections::{SECTIONS, Section};
pub use sets::SetSettings;
pub use sinks::{RetrySettings, SinkSettings};
pub use storage::{Capture, Durability, JournalSettings, Log, SecretPolicy};
pub use web::{WebSettings, WebTls};

/// The configuration in the binary: what runs when there is no file.
pub const EMBEDDED: &str = include_str!("../../config/trapline.toml");

/// What messages call [`EMBEDDED`].
pub const EMBEDDED_NAME: &str = "trapline.toml (built in)";
