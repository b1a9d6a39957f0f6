//! `[journal]`, `[capture]`, `[limits]`, `[log]`: what is kept, and within which bounds.

use std::path::PathBuf;
use std::time::Duration;

use trapline_sink::config::{Key, KeyKind, Table};

use super::load::Loader;
use crate::decoy::Limits;

/// Keys of `[journal]`.
pub const JOURNAL: &[Key] = &[
    Key::default(
        "path",
        KeyKind::OutputPath,
        "\"journal.db\"",
        "The journal's file: relative to `state_dir`, or to this file if `state_dir` is not set.",
    ),
    Key::default(
        "durability",
        KeyKind::Choice(&["full", "normal"]),
        "\"full\"",
        "`normal` may lose the last moments on power loss, never on kill -9.",
    ),
    Key::default(
        "retain_days",
        KeyKind::Integer { min: 0, max: 36_500 },
        "30",
        "Days that events are kept; 0: without end. Waits for every enabled sink.",
    ),
    Key::default(
        "retain_bytes",
        KeyKind::Size { min: 0, max: 1 << 50 },
        "\"10GiB\"",
        "Size above which the oldest events go, also unread ones; 0: without bound.",
    ),
];

/// Keys of `[capture]`.
pub const CAPTURE: &[Key] = &[Key::default(
    "secrets",
    KeyKind::Choice(&["hmac", "clear", "none"]),
    "\"hmac\"",
    "What is kept of passwords that peers try: HMAC and length, the text itself, or nothing.",
)];

const fn seconds(min: u64, max: u64) -> KeyKind {
    KeyKind::Duration {
        min: Duration::from_secs(min),
        max: Duration::from_secs(max),
    }
}

/// Keys of `[limits]`.
pub const LIMITS: &[Key] = &[
    Key::default(
        "sessions",
        KeyKind::Integer { min: 1, max: 1_000_000 },
        "15000",
        "Open sessions of all decoys; beyond it the longest idle one is closed.",
    ),
    Key::default(
        "sessions_per_source",
        KeyKind::Integer { min: 1, max: 1_000_000 },
        "200",
        "Open sessions of one source; a contact beyond it is recorded and closed.",
    ),
    Key::default(
        "session",
        seconds(1, 86_400),
        "\"60s\"",
        "Longest a session lasts, whatever trickles; each install draws its own, up to a quarter shorter.",
    ),
    Key::default(
        "idle",
        seconds(1, 86_400),
        "\"30s\"",
        "Longest a session waits for one byte; each install draws its own, up to a quarter shorter.",
    ),
    Key::default(
        "write",
        seconds(1, 3_600),
        "\"10s\"",
        "Longest one write waits for the peer to read.",
    ),
    Key::default(
        "received_bytes_max",
        KeyKind::Size {
            min: 1024,
            max: 1 << 40,
        },
        "\"32MiB\"",
        "Bytes a session may send before it is closed.",
    ),
    Key::default(
        "capture_bytes_max",
        KeyKind::Size { min: 0, max: 1 << 20 },
        "\"64KiB\"",
        "Bytes of a session or datagram that are kept.",
    ),
    Key::default(
        "credentials_per_session",
        KeyKind::Integer { min: 0, max: 100_000 },
        "20",
        "Credentials of a session told one by one; the rest is a count.",
    ),
    Key::default(
        "queries_per_session",
        KeyKind::Integer { min: 0, max: 100_000 },
        "100",
        "Commands of a session told one by one; the rest is a count.",
    ),
    Key::default(
        "report_after",
        KeyKind::Duration {
            min: Duration::ZERO,
            max: Duration::from_secs(3_600),
        },
        "\"250ms\"",
        "A silent session that lasts longer has a session end event.",
    ),
    Key::default(
        "datagrams_per_source_per_minute",
        KeyKind::Integer { min: 1, max: 1_000_000 },
        "60",
        "Datagrams of one source to one decoy told one by one in a minute; the rest is one event with a count.",
    ),
    Key::default(
        "events_per_source_per_minute",
        KeyKind::Integer {
            min: 1,
            max: 10_000_000,
        },
        "10000",
        "Events of one source in a minute; the rest is one event with a count.",
    ),
];

/// Keys of `[log]`.
pub const LOG: &[Key] = &[Key::default(
    "level",
    KeyKind::Choice(&["error", "warn", "info", "debug", "trace"]),
    "\"info\"",
    "Least severe message on standard error; the variable TRAPLINE_LOG wins.",
)];

/// The journal, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// Its file.
    pub path: PathBuf,
    /// How sure an acknowledgement is.
    pub durability: Durability,
    /// Age at which entries go; zero: never.
    pub retain: Duration,
    /// Bytes above which the oldest entries go; zero: without bound.
    pub retain_bytes: u64,
}

/// How sure an acknowledgement of the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives power loss.
    Full,
    /// Survives any kill; power loss may take the last moments.
    Normal,
}

/// What is kept of what peers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// What becomes of attempted secrets.
    pub secrets: SecretPolicy,
}

/// What becomes of a secret that a peer offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPolicy {
    /// HMAC and length.
    Hmac,
    /// The text itself.
    Clear,
    /// Nothing but its length.
    None,
}

/// What trapline says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn journal(table: &Table, fallback: PathBuf) -> JournalSettings {
    let days = u32::try_from(table.integer("retain_days")).unwrap_or(0);
    JournalSettings {
        path: table.path("path").unwrap_or(fallback),
        durability: match table.choice("durability") {
            "normal" => Durability::Normal,
            _ => Durability::Full,
        },
        retain: DAY * days,
        retain_bytes: table.size("retain_bytes"),
    }
}

pub(super) fn capture(loader: &Loader<'_>) -> Capture {
    let table = loader.single("capture", CAPTURE);
    Capture {
        secrets: match table.choice("secrets") {
            "clear" => SecretPolicy::Clear,
            "none" => SecretPolicy::None,
            _ => SecretPolicy::Hmac,
        },
    }
}

pub(super) fn limits(loader: &Loader<'_>) -> Limits {
    let table = loader.single("limits", LIMITS);
    // The declared bounds are within these types.
    let count = |key| u32::try_from(table.integer(key)).unwrap_or(u32::MAX);
    let many = |key| usize::try_from(table.integer(key)).unwrap_or(usize::MAX);
    let limits = Limits {
        sessions: many("sessions"),
        sessions_per_source: many("sessions_per_source"),
        session: table.duration("session"),
        idle: table.duration("idle"),
        write: table.duration("write"),
        received_bytes_max: table.size("received_bytes_max"),
        capture_bytes_max: usize::try_from(table.size("capture_bytes_max")).unwrap_or(usize::MAX),
        credentials_per_session: count("credentials_per_session"),
        queries_per_session: count("queries_per_session"),
        report_after: table.duration("report_after"),
        datagrams_per_source_per_minute: count("datagrams_per_source_per_minute"),
        events_per_source_per_minute: count("events_per_source_per_minute"),
    };
    if limits.sessions_per_source > limits.sessions && table.is_set("sessions_per_source") {
        let found = format!("sessions_per_source is above `sessions` ({})", limits.sessions);
        table.warning("sessions_per_source", &found, "at most `sessions`");
    }
    limits
}

pub(super) fn log(loader: &Loader<'_>) -> Log {
    let table = loader.single("log", LOG);
    Log {
        level: table.choice("level"),
    }
}
