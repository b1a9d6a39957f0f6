//! `[findings]`: what trapline looks for over several contacts.

use std::time::Duration;

use trapline_sink::config::{Key, KeyKind};

use super::load::Loader;
use crate::graph::scan::{ScanSpec, TOUCHED_MAX};

const TOUCHED: KeyKind = KeyKind::Integer {
    min: 2,
    max: TOUCHED_MAX as i64,
};
const SPAN: KeyKind = KeyKind::Duration {
    min: Duration::from_secs(1),
    max: Duration::from_secs(86_400),
};

/// Keys of `[findings]`.
pub const KEYS: &[Key] = &[
    Key::default(
        "scans",
        KeyKind::Bool,
        "true",
        "Whether scans are found, where a sink or transform takes `findings`.",
    ),
    Key::default(
        "scan_ports",
        TOUCHED,
        "3",
        "Different ports of one source that make a vertical scan.",
    ),
    Key::default(
        "scan_addresses",
        TOUCHED,
        "3",
        "Different addresses of ours with one port that make a horizontal scan.",
    ),
    Key::default("scan_within", SPAN, "\"10m\"", "Within how long they are touched."),
    Key::default(
        "scan_close_after",
        SPAN,
        "\"15m\"",
        "Without a contact for so long a scan is over.",
    ),
];

/// What makes a scan; `None` if they are not to be found.
pub(super) fn scans(loader: &Loader<'_>) -> Option<ScanSpec> {
    let table = loader.single("findings", KEYS);
    let number = |key| usize::try_from(table.integer(key)).unwrap_or(2);
    table.bool("scans").then(|| ScanSpec {
        ports: number("scan_ports"),
        addresses: number("scan_addresses"),
        within: table.duration("scan_within"),
        close_after: table.duration("scan_close_after"),
    })
}
