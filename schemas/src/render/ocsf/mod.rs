//! OCSF 1.8.0 as one JSON object.
//!
//! In: a view of an event. Out: the class of events.md for its action and service, with every stored fact either at
//! an attribute of that class or under `unmapped` at its ECS path. Invariants, tested on the golden samples and on
//! hostile values: ids and captions agree; times are milliseconds; no attribute of another class or profile is used; a
//! value that an attribute's type refuses (a host name with a space, a hash that is not hex) goes under `unmapped`
//! instead of being bent; nothing is there twice but what `observables` points at.
//!
//! The rooms: `class` (which class), `writer` (the object under way), `parts` (endpoints, connection, traffic and
//! whatever else several classes share), `special` (what one class alone has), `remediation` (what is done about sources).

pub mod class;
mod parts;
mod remediation;
mod special;
mod writer;

use crate::derive::View;
use crate::fields::Field;
use crate::render::ocsf::class::{OTHER, classify};
use crate::render::ocsf::writer::Writer;

/// The version of OCSF that is written.
pub const VERSION: &str = "1.8.0";

/// Appends the event as OCSF.
pub(super) fn render(view: &View<'_>, out: &mut Vec<u8>) {
    let (class, activity) = classify(view);
    let mut w = Writer::new(view, class, out);
    w.open();
    head(&mut w, activity);
    parts::metadata(&mut w);
    parts::security(&mut w);
    special::write(&mut w, activity);
    if class.is_network() {
        parts::network(&mut w);
    }
    if class.is_network() || matches!(class.uid, 3002 | 6005) {
        parts::endpoints(&mut w);
        parts::raw_data(&mut w);
    }
    parts::times(&mut w);
    parts::observables(&mut w);
    w.unmapped();
    w.close();
}

/// Class, activity, severity and sentence.
fn head(w: &mut Writer<'_, '_>, activity: u8) {
    let class = w.class;
    let at = w.view.event.at.millis();
    w.key("time").int(at);
    w.key("class_uid").int(class.uid.into());
    w.key("class_name").word(class.name);
    w.key("category_uid").int(class.category().into());
    w.key("category_name").word(class.category_name());
    let name = class.activity(activity);
    w.key("activity_id").int(activity.into());
    w.key("activity_name").word(name);
    w.key("type_uid").int(i64::from(class.uid) * 100 + i64::from(activity));
    w.key("type_name").words(&[class.name, ": ", name]);
    let severity = w.view.severity();
    w.key("severity_id").int(severity.ocsf.into());
    w.key("severity").word(severity.caption);
    w.field("message", Field::Message);
    debug_assert!(
        activity == OTHER || name != "Other",
        "{} has no activity {activity}",
        class.name
    );
}
