//! What stands behind a question: records that nobody asked for, and among them EDNS.
//!
//! Source: RFC 1035 section 4.1.3, RFC 6891 section 6.1, RFC 7873 (cookies), RFC 7828 (keepalive); what is taken for a
//! mistake is what BIND 9.18 takes for one.

/// Type of an OPT record.
const OPT: u16 = 41;

/// Bytes of a record between its name and its data.
const FIXED: usize = 10;

/// Bytes of a client's cookie.
pub(super) const COOKIE_BYTES: usize = 8;

const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;

/// What an OPT record says.
#[derive(Debug, Default)]
pub(super) struct Edns {
    /// Of EDNS; there is only 0.
    pub(super) version: u8,
    /// DO.
    pub(super) dnssec_ok: bool,
    /// The client's part of a cookie.
    pub(super) cookie: Option<[u8; COOKIE_BYTES]>,
    /// Whether it asks how long a connection may be idle.
    pub(super) keepalive: bool,
}

/// Why a message is refused as malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A record cannot be read.
    Record,
    /// An option of EDNS is wrong; EDNS is answered.
    Option,
}

impl Edns {
    /// Whether it is of a version that there is not.
    pub(super) const fn is_outdated(&self) -> bool {
        self.version != 0
    }
}

/// Reads `count` records from an offset on; bytes behind them are nobody's. Errors: one of them cannot be read.
pub(super) fn edns(message: &[u8], from: usize, count: usize) -> Result<(Option<Edns>, Option<Mistake>), Mistake> {
    let (mut at, mut found) = (from, None);
    for _ in 0..count {
        let record = Record::read(message, at).ok_or(Mistake::Record)?;
        at = record.end;
        if record.kind == OPT {
            if found.is_some() || !record.at_root {
                return Err(Mistake::Record);
            }
            found = Some(record.edns()?);
        }
    }
    match found {
        Some((edns, mistake)) => Ok((Some(edns), mistake)),
        None => Ok((None, None)),
    }
}

struct Record<'m> {
    at_root: bool,
    kind: u16,
    ttl: [u8; 4],
    data: &'m [u8],
    end: usize,
}

impl<'m> Record<'m> {
    fn read(message: &'m [u8], at: usize) -> Option<Self> {
        let after = skip_name(message, at)?;
        let [k0, k1, _, _, t0, t1, t2, t3, l0, l1] = *message.get(after..)?.first_chunk::<FIXED>()?;
        let start = after + FIXED;
        let end = start + usize::from(u16::from_be_bytes([l0, l1]));
        Some(Self {
            at_root: after == at + 1,
            kind: u16::from_be_bytes([k0, k1]),
            ttl: [t0, t1, t2, t3],
            data: message.get(start..end)?,
            end,
        })
    }

    /// Errors: the options do not fill the record.
    fn edns(&self) -> Result<(Edns, Option<Mistake>), Mistake> {
        let [_, version, flags, _] = self.ttl;
        let mut edns = Edns {
            version,
            dnssec_ok: flags & 0x80 != 0,
            ..Edns::default()
        };
        let (mut rest, mut mistake) = (self.data, None);
        while let Some(([k0, k1, l0, l1], after)) = rest.split_first_chunk() {
            let length = u16::from_be_bytes([*l0, *l1]).into();
            let (value, after) = after.split_at_checked(length).ok_or(Mistake::Record)?;
            rest = after;
            match u16::from_be_bytes([*k0, *k1]) {
                COOKIE if matches!(length, COOKIE_BYTES | 16..=40) => edns.cookie = value.first_chunk().copied(),
                COOKIE => mistake = Some(Mistake::Option),
                KEEPALIVE => edns.keepalive = true,
                _ => {}
            }
        }
        match rest {
            [] if edns.is_outdated() => Ok((edns, None)),
            [] => Ok((edns, mistake)),
            _ => Err(Mistake::Record),
        }
    }
}

/// The offset behind a name. A pointer ends it, and points back.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + usize::from(label),
            high @ 0xc0.. => {
                let to = usize::from(u16::from_be_bytes([high & 0x3f, *message.get(at + 1)?]));
                return (to < at).then_some(at + 2);
            }
            _ => return None,
        }
    }
}
