//! Windows: what comes together under one key in one span of time. One machine, four policies. Pure; the window task
//! keeps its cursor.
//!
//! In: events in journal order ([`Windows::see`]) and the clock when nothing is left to read ([`Windows::tick`]).
//! Out: a [`Verdict`] per event; one derived event per closed window and key that held something back; state rows for
//! the commit that carries them.
//!
//! | policy | goes on at once | derived event |
//! |---|---|---|
//! | `throttle` | the first `limit` of a window | `held-back`: how many more |
//! | `dedupe` | the first of a window | `held-back`: how many repeats, and of which event |
//! | `aggregate` | the first (`at_once`) or none (`never`) | `digest`: how many, and what they have in common |
//! | notices | a proof or an intent that is news of its key (`notices`) | `digest`: all else, of most keys together |
//!
//! Invariants:
//! 1. Window time is event time: windows lie side by side from the epoch on, whatever the clock does meanwhile.
//! 2. Every event is counted in exactly one window. A *late* event, whose window has closed, counts in the oldest
//!    window that is still open: no closed window is counted twice, and no id is given twice.
//! 3. A window closes when the time seen is [`LATENESS`] past its end, and is told of once, under the id of
//!    (node, key, window start): the same however often it is made.
//! 4. Bounds: [`KEYS_MAX`] keys in open windows, [`ITEMS_MAX`] items in the lists of all digests. When full, keys that
//!    are new share one key, `(others)`: their limit is then common, their count still exact; lists take no more.
//! 5. State rows equal memory: a restart from them goes on where the last commit stood.
//! 6. Other windows, keys or derived events in the configuration, or a clock that stepped back by more than a window: what is open is
//!    told of as it stands (a partial window), and a new *epoch* begins, whose ids differ.
//!
//! Layout of state (before a sink of people `NODE` is `notices/SINK`, without `window/` before it): `window/NODE` is `{"v":1,"epoch":…,"mark":…,"window":…,"by":[…],"tells":…}`; `window/NODE/EPOCH/START/KEY` is
//! a line of counts and the draft of its event (`bucket`).

mod bucket;
mod digest;
mod disband;
mod key;
mod machine;
mod notices;
mod policy;
mod rows;
mod span;

#[cfg(test)]
mod digest_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use disband::{Disbanded, by_node};
pub(super) use key::key_of;
pub use machine::{ITEMS_MAX, KEYS_MAX, LATENESS, StateRow, Windows};
pub use notices::{NoticeRules, node_before, sink_behind};
pub(super) use notices::{is_sum, weight};
pub use policy::{First, Policy, WindowSpec};

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is counted, and goes no further.
    Hold,
}
