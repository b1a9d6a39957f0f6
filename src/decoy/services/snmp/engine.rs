//! What an engine of version 3 says to users that it does not know: a report of its name and what is wrong.
//!
//! In: a message. Out: the report. It is longer than most discoveries, so these stay unanswered.
//!
//! Source: RFC 3412 section 6, RFC 3414 sections 3.2 and 4; compared with a live snmpd 5.9.3 of Debian 12.

use std::sync::atomic::{AtomicU32, Ordering};

use super::agent::uptime;
use super::ber::{identifier, integer, tagged, whole};
use super::{Security, security, version};
use crate::decoy::personality::Install;

/// That reports may be sent (RFC 3412 section 6.4).
const REPORTABLE: u8 = 0x04;

/// The counters of RFC 3414 that a report can be of, below this name.
const STATS: [u32; 9] = [1, 3, 6, 1, 6, 3, 15, 1, 1];
const UNKNOWN_USERS: u32 = 3;
const UNKNOWN_ENGINES: u32 = 4;

/// Seconds after its machine that the engine began.
const BEGAN_AFTER_SECS: u32 = 21;

/// How often the engine reported what.
#[derive(Debug, Default)]
pub(super) struct Counters {
    users: AtomicU32,
    engines: AtomicU32,
}

/// The report that a message gets, if it gets one.
pub(super) fn report(message: &[u8], install: &Install, counters: &Counters) -> Option<Vec<u8>> {
    let (_, at) = version(message).filter(|(version, _)| *version == "3")?;
    let (_, global, _) = whole(message, at).filter(|(tag, ..)| *tag == 0x30)?;
    let fields = elements::<4>(global)?;
    let [id, size, flags, model] = fields;
    if flags.1.first()? & REPORTABLE == 0 || model.1 != [3] {
        return None;
    }
    let security = security(message)?;
    let own = engine(install);
    let is_ours = message.get(security.engine.clone())? == own;
    let (context, request) = scoped(message, &security).unwrap_or((&[], &[0]));
    let global = [
        tagged(0x02, id.1),
        tagged(0x02, size.1),
        tagged(0x04, &[0]),
        tagged(0x02, &[3]),
    ];
    let parameters = [
        tagged(0x04, &own),
        tagged(0x02, &integer(boots(install))),
        tagged(0x02, &integer((uptime(BEGAN_AFTER_SECS) / 100).into())),
        tagged(0x04, message.get(security.user)?),
        tagged(0x04, &[]),
        tagged(0x04, &[]),
    ];
    let data = [
        tagged(0x04, &own),
        tagged(0x04, context),
        told(request, is_ours, counters),
    ];
    let body = [
        tagged(0x02, &[3]),
        tagged(0x30, &global.concat()),
        tagged(0x04, &tagged(0x30, &parameters.concat())),
        tagged(0x30, &data.concat()),
    ];
    Some(tagged(0x30, &body.concat()))
}

/// The report itself: which counter, and how far it is.
fn told(request: &[u8], is_ours: bool, counters: &Counters) -> Vec<u8> {
    let (counter, which) = match is_ours {
        true => (&counters.users, UNKNOWN_USERS),
        false => (&counters.engines, UNKNOWN_ENGINES),
    };
    let count = counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let name = identifier(&[&STATS[..], &[which, 0]].concat());
    let pair = [tagged(0x06, &name), tagged(0x41, &integer(count.into()))];
    let list = tagged(0x30, &tagged(0x30, &pair.concat()));
    let contents = [tagged(0x02, request), tagged(0x02, &[0]), tagged(0x02, &[0]), list];
    tagged(0xa8, &contents.concat())
}

/// The context and the number of a request, unless they are encrypted.
fn scoped<'m>(message: &'m [u8], security: &Security) -> Option<(&'m [u8], &'m [u8])> {
    let (_, data, _) = whole(message, security.end).filter(|(tag, ..)| *tag == 0x30)?;
    let [_, context, request] = elements::<3>(data)?;
    let [number] = elements::<1>(request.1)?;
    Some((context.1, number.1))
}

/// The first elements of a sequence.
fn elements<const N: usize>(bytes: &[u8]) -> Option<[(u8, &[u8]); N]> {
    let mut found = [(0, &[][..]); N];
    let mut at = 0;
    for place in &mut found {
        let (tag, contents, end) = whole(bytes, at)?;
        *place = (tag, contents);
        at = end;
    }
    Some(found)
}

/// How often it began.
fn boots(install: &Install) -> i64 {
    let [.., times] = install.draw("snmp boots");
    (times % 30 + 1).into()
}

/// Its name, as net-snmp makes one: its number at IANA, four random bytes, the time it was made, four bytes of nothing.
fn engine(install: &Install) -> Vec<u8> {
    let [a, b, c, d, days, seconds, ..] = install.draw("snmp engine");
    // Some day of the year 2024.
    let made = 1_704_067_200_u32 + u32::from(days) * 86_400 + u32::from(seconds) * 307;
    [
        &[0x80, 0, 0x1f, 0x88, 0x80, a, b, c, d][..],
        &made.to_le_bytes(),
        &[0; 4],
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use trapline_schemas::ids;

    use super::*;
    use crate::decoy::testing::install;

    /// What snmpget of net-snmp 5.9 sends for a user with a password; the engine and the digest are filled in.
    fn asked(engine: &[u8]) -> Vec<u8> {
        let parameters = [
            tagged(4, engine),
            b"\x02\x01\x01\x02\x01\x09\x04\x03bob\x04\x0c0123456789ab\x04\0".to_vec(),
        ];
        let data = [
            tagged(4, engine),
            b"\x04\0\xa0\x1c\x02\x04\x2c\xe6\x12\x13\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0".to_vec(),
        ];
        let body = [
            b"\x02\x01\x03\x30\x11\x02\x04\x6b\x85\xd3\x8f\x02\x03\0\xff\xe3\x04\x01\x05\x02\x01\x03".to_vec(),
            tagged(4, &tagged(0x30, &parameters.concat())),
            tagged(0x30, &data.concat()),
        ];
        tagged(0x30, &body.concat())
    }

    #[test]
    fn who_asks_another_engine_or_as_an_unknown_user_gets_a_report_that_fits() {
        let own = engine(&install());
        let other = [&own[..16], &[9]].concat();
        for (asked, counter) in [
            (asked(&own), "2b060106030f01010300"),
            (asked(&other), "2b060106030f01010400"),
        ] {
            let report = report(&asked, &install(), &Counters::default()).expect("a report");
            assert!(report.len() <= asked.len(), "{} to {}", report.len(), asked.len());
            let hex = ids::hex(&report);
            let own = ids::hex(&own);
            // As snmpd's, but for its name and its times.
            assert!(hex.contains("020103301102046b85d38f020300ffe30401000201030"), "{hex}");
            assert!(
                hex.contains(&format!("0411{own}")) && hex.contains("0403626f6204000400"),
                "{hex}"
            );
            assert!(
                hex.contains(&format!("0411{own}0400a8")) && hex.contains("02042ce61213020100020100"),
                "{hex}"
            );
            assert!(hex.contains(&format!("060a{counter}41")), "{hex}");
        }
    }

    #[test]
    fn who_wants_no_report_gets_none() {
        let mut quiet = asked(&engine(&install()));
        let flags = quiet.windows(4).position(|bytes| bytes == b"\x04\x01\x05\x02").unwrap() + 2;
        quiet[flags] = 1;
        assert_eq!(report(&quiet, &install(), &Counters::default()), None);
    }

    #[test]
    fn each_decoy_counts_its_own_reports() {
        let asked = asked(&engine(&install()));
        let count = |counters: &Counters| {
            let report = report(&asked, &install(), counters).expect("a report");
            report.last().copied()
        };
        let (one, other) = (Counters::default(), Counters::default());
        assert_eq!((count(&one), count(&one), count(&other)), (Some(1), Some(2), Some(1)));
    }
}
