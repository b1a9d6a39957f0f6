//! The values an event field can hold, and the clock they are dated by.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smol_str::SmolStr;
use uuid::Uuid;

use crate::fields::Kind;
use crate::text::{clean_within, is_clean};

/// One field's value. Text is always clean (see [`crate::text`]): valid UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text or a keyword.
    Text(SmolStr),
    /// A whole number; durations are nanoseconds.
    Int(i64),
    /// A number with a fraction, always finite.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// An address; IPv4-mapped IPv6 is already IPv4.
    Ip(IpAddr),
    /// An instant.
    Time(Timestamp),
    /// An event, session, incident or decision id.
    Id(Uuid),
    /// Bytes from the network, secrets already masked.
    Bytes(Box<[u8]>),
    /// Several keywords, in order of appearance, without doubles.
    Texts(Vec<SmolStr>),
    /// Several addresses.
    Ips(Vec<IpAddr>),
    /// Several whole numbers.
    Ints(Vec<i64>),
}

impl Value {
    /// Whether a field of `kind` can hold the value.
    pub(crate) fn fits(&self, kind: Kind) -> bool {
        match self {
            Self::Text(_) => matches!(kind, Kind::Keyword | Kind::Text),
            Self::Int(_) => kind == Kind::Long,
            Self::Float(_) => kind == Kind::Float,
            Self::Bool(_) => kind == Kind::Bool,
            Self::Ip(_) => kind == Kind::Ip,
            Self::Time(_) => kind == Kind::Date,
            Self::Id(_) => kind == Kind::Id,
            Self::Bytes(_) => kind == Kind::Bytes,
            Self::Texts(_) => kind == Kind::Keywords,
            Self::Ips(_) => kind == Kind::Ips,
            Self::Ints(_) => kind == Kind::Longs,
        }
    }

    /// The value as an event may hold it; `None` if it may not.
    pub(crate) fn sound(self) -> Option<Self> {
        Some(match self {
            Self::Float(number) if !number.is_finite() => return None,
            Self::Text(text) => Self::Text(shown(text)),
            Self::Texts(texts) => Self::Texts(texts.into_iter().map(shown).collect()),
            Self::Ip(ip) => Self::Ip(ip.to_canonical()),
            Self::Ips(ips) => Self::Ips(ips.into_iter().map(|ip| ip.to_canonical()).collect()),
            other => other,
        })
    }
}

fn shown(text: SmolStr) -> SmolStr {
    if is_clean(&text) {
        text
    } else {
        clean_within(text.as_bytes(), usize::MAX)
    }
}

/// An instant of the wall clock, in whole microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Reads the wall clock. Before 1970 it is 0.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time from `earlier` to `self`; zero if the clock went back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(24);
        crate::json::raw_time(&mut text, *self);
        f.write_str(std::str::from_utf8(&text).map_err(|_| std::fmt::Error)?)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from! {
    SmolStr => Text, &str => Text, String => Text,
    i64 => Int, u32 => Int, u16 => Int, u8 => Int,
    f64 => Float, bool => Bool, IpAddr => Ip, Timestamp => Time, Uuid => Id,
    Vec<u8> => Bytes, Vec<SmolStr> => Texts, Vec<IpAddr> => Ips, Vec<i64> => Ints,
}
