//! The control socket: how the command line talks to the running instance.
//!
//! A unix socket `control.sock` (0600) in the state folder (0700). One request per connection: a JSON object on one
//! line; the answer is one or more [`protocol::Answer`] lines. Only processes of the same user, or root, are heard.
//!
//! Invariants:
//! 1. A line is at most [`protocol::REQUEST_BYTES_MAX`]; a longer one ends the connection.
//! 2. At most [`server::CONNECTIONS_MAX`] connections; one more is told so and closed.
//! 3. A peer that sends or takes nothing is left after a deadline; it holds up nobody else.
//! 4. Whoever waits for an answer hears every [`protocol::BEAT`] that it is being made; an instance that is silent for
//!    longer hangs or is stopped, and is given up by [`client`].
//!
//! What it does not do: decide anything. Every request is a call of [`crate::app::Core`].

pub mod canary;
pub mod client;
pub mod decisions;
pub mod letters;
pub mod lookup;
pub mod owners;
pub mod paging;
pub mod protocol;
pub mod query;
pub mod search;
pub mod server;
pub mod status;

use std::path::{Path, PathBuf};

/// Where the control socket of a state folder is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}
