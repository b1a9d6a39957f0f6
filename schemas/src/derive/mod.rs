//! What follows from an event's stored facts: ECS classification, rule, ATT&CK, severity, pivots, the sentence.
//!
//! In: an [`Event`](crate::Event), seen through a view. Out: the value of any catalogue field. Every form is
//! made from here, so that they agree. Invariants, tested:
//!
//! 1. The same event gives the same values on every host and at every time: nothing here reads a clock or a setting.
//! 2. A fact that was stored wins over its default; a purely derived field cannot be stored.
//! 3. No secret and no raw bytes are in the sentence.
//!
//! The rooms: [`actions`] (a row per action), [`attack`] (service and zone), [`risk`] (what a recorder asks at record
//! time), [`state`] (a row per state of what is done about sources), `message` (the sentence), `field` (all the rest, by field).

pub mod actions;
pub mod attack;
mod field;
mod message;
pub mod risk;
pub mod state;
mod view;

pub(crate) use field::{Shown, derived, hosts, is_datastore, is_text, shown, spoken};
pub use message::service_caption;
pub(crate) use message::{sentence, write_sentence};
pub(crate) use view::{Detail, View};
