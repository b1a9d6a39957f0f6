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

use super::feed::Item;
use crate::graph::Node;

/// A sink that keeps up: its node, and the form that it will ask for.
pub(super) type Asking = (Node, Format);

/// Renders each form of each item that at least two of `sinks` will ask for.
pub(super) fn render_ahead(items: &[Arc<Item>], sinks: &[Asking]) {
    if sinks.len() < 2 {
        return;
    }
    for item in items {
        for parcel in item.parcels() {
            let shared = |format: &&Format| is_shared(item, parcel, sinks, **format);
            Format::ALL.iter().filter(shared).for_each(|form| render(parcel, *form));
        }
    }
}

fn is_shared(item: &Item, parcel: &Arc<Parcel>, sinks: &[Asking], format: Format) -> bool {
    let gets = |node| item.reach.contains(node) && item.for_node(node).is_some_and(|own| Arc::ptr_eq(own, parcel));
    let asks = |(node, form): &&Asking| *form == format && gets(*node);
    sinks.iter().filter(asks).nth(1).is_some()
}

/// A renderer that breaks down, which is a bug, must not take the feed with it: the sinks meet it themselves.
fn render(parcel: &Parcel, format: Format) {
    let _ = catch_unwind(AssertUnwindSafe(|| parcel.rendered(format).len()));
}
