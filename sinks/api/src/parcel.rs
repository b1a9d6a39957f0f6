//! An event on its way to sinks, rendered at most once per form.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use trapline_schemas::render::{render, render_within};
use trapline_schemas::{Event, Format};

/// Room for a usual event in its longest form, JSON.
const BYTES_USUAL: usize = 2560;

/// One journal entry to deliver. Shared by all sinks: each form is rendered once, on first use.
#[derive(Debug)]
pub struct Parcel {
    /// Offset of the journal entry; for a pass entry the pass's own.
    pub offset: u64,
    /// The event to send.
    pub event: Arc<Event>,
    rendered: [OnceLock<Bytes>; Format::ALL.len()],
}

impl Parcel {
    /// Wraps an event.
    pub fn new(offset: u64, event: Arc<Event>) -> Self {
        Self {
            offset,
            event,
            rendered: Default::default(),
        }
    }

    /// The event in `format`: one line without a line end.
    pub fn rendered(&self, format: Format) -> &Bytes {
        self.rendered[format as usize].get_or_init(|| {
            let mut out = Vec::with_capacity(BYTES_USUAL);
            render(&self.event, format, &mut out);
            out.into()
        })
    }

    /// Whether that form has been rendered.
    pub fn is_rendered(&self, format: Format) -> bool {
        self.rendered[format as usize].get().is_some()
    }

    /// The event in `format` with at most `max` bytes, by the drop order; `None` if it cannot be made to fit.
    pub fn rendered_within(&self, format: Format, max: usize) -> Option<Bytes> {
        let whole = self.rendered(format);
        if whole.len() <= max {
            return Some(whole.clone());
        }
        let mut out = Vec::with_capacity(max);
        render_within(&self.event, format, max, &mut out).then(|| out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::events;

    #[test]
    fn a_form_is_rendered_once_and_shared() {
        let parcel = events(1, false).remove(0);
        assert_eq!(
            parcel.rendered(Format::Ecs).as_ptr(),
            parcel.rendered(Format::Ecs).as_ptr()
        );
        assert!(parcel.is_rendered(Format::Ecs) && !parcel.is_rendered(Format::Ocsf));
        let within = parcel.rendered_within(Format::Ecs, usize::MAX).unwrap();
        assert_eq!(within.as_ptr(), parcel.rendered(Format::Ecs).as_ptr());
        assert_ne!(parcel.rendered(Format::Ecs), parcel.rendered(Format::Ocsf));
    }

    #[test]
    fn what_cannot_be_made_to_fit_is_not_cut() {
        let parcel = events(1, false).remove(0);
        assert_eq!(parcel.rendered_within(Format::Ecs, 10), None);
    }
}
