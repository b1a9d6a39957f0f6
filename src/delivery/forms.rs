//! Renders ahead what several sinks are about to ask for.
//!
//! A parcel renders each form once, for whoever asks first; a thread that asks meanwhile sleeps until it is there. Sinks
//! that keep up are woken by the same entries at the same moment, so they would wait for each other at each event.
//! Hence the feed renders a form that two or more of them need before it tells of the entry. What one sink alone needs,
//! and what only those who lag need, stays with them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use trapline_schemas::Format;
use trapline_sink::Parcel;

use super::feed::{Content, Item};
use crate::graph::Node;

/// A sink that keeps up: its node, and the form that it will ask for.
pub(super) type Asking = (Node, Format);

/// Forms in one piece of memory: few enough that one event which is long under way holds on to little.
const PIECE: usize = 16;

/// Renders each form of each item that at least two of `sinks` will ask for.
pub(super) fn render_ahead(items: &[Arc<Item>], sinks: &[Asking]) {
    if sinks.len() < 2 {
        return;
    }
    for piece in items.chunks(PIECE) {
        Format::ALL.iter().for_each(|format| render(piece, sinks, *format));
    }
}

/// A renderer that breaks down, which is a bug, must not take the feed with it: the sinks meet it themselves.
fn render(items: &[Arc<Item>], sinks: &[Asking], format: Format) {
    let shared = items.iter().filter(|item| is_shared(item, sinks, format));
    let parcels = shared.filter_map(|item| match &item.content {
        Content::Parcel(parcel) => Some(parcel.as_ref()),
        Content::Lost | Content::Unreadable => None,
    });
    let _ = catch_unwind(AssertUnwindSafe(|| Parcel::render_all(parcels, format)));
}

fn is_shared(item: &Item, sinks: &[Asking], format: Format) -> bool {
    let asks = |(node, form): &&Asking| *form == format && item.reach.contains(*node);
    sinks.iter().filter(asks).nth(1).is_some()
}
