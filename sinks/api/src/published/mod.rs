//! Documents that sinks publish and the web server hands out: lists that firewalls come for.
//!
//! In: documents, by a sink that has a [`Place`] on the [`Shelf`]. Out: the document that a path names, for whoever the
//! web server lets have it; and back to the sink who came when ([`Poller`]).
//!
//! Invariants:
//! 1. A list is handed out only as its sink last said that it is whole; until then, and after [`Place::clear`], there is
//!    none, which is not the same as an empty one.
//! 2. A tag changes with the content and with nothing else; the time of change goes up with each change of the tag, also
//!    within a second.
//! 3. Who is built to replace another (a reload) takes nothing from it before it has something better, and who is gone
//!    leaves nothing behind.
//! 4. Bounded: a list a place, [`FORMS_MAX`] forms of each, [`POLLERS_MAX`] pollers of each.
//!
//! It does not: judge tokens, speak HTTP, keep anything over a restart.

mod document;
mod pollers;
mod shelf;

pub use document::{Body, Document, Parts};
pub use pollers::{Away, POLLERS_MAX, Poller, REFUSAL_TOLD_EVERY};
pub use shelf::{FORMS_MAX, Found, Place, Shelf};
