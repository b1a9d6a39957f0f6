//! JSON written straight into bytes: no tree, no formatter, no allocation of its own.
//!
//! In: values. Out: JSON text without a raw control, bidi or invisible character, on one line. Every value type of
//! an event has its writer here, so that journal bodies, ECS and OCSF agree on how it looks.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use base64::prelude::{BASE64_STANDARD, Engine};
use uuid::Uuid;

use crate::text::{has_quote, hidden, is_plain_without};
use crate::value::Timestamp;

/// Appends `text` as a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if is_plain_without(text.as_bytes(), [b'"', b'\\']) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text);
    }
    out.push(b'"');
}

/// Appends a text that hides nothing, such as a fact's, as a JSON string: only quotes and backslashes are looked for.
#[inline]
pub fn clean_string(out: &mut Vec<u8>, text: &str) {
    if has_quote(text.as_bytes()) {
        string(out, text);
    } else {
        plain(out, text);
    }
}

/// Appends the first `length` bytes of a text. It is copied whole: a few moves cost less than a call.
pub fn padded<const BYTES: usize>(out: &mut Vec<u8>, text: &[u8; BYTES], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(text);
    out.truncate(end);
}

/// Appends a text that needs no escape, such as one of our own, as a JSON string.
pub fn plain(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends the inside of a JSON string; what is hidden is named by its code unit.
pub fn escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, ch) in text.char_indices() {
        let short = match ch {
            '"' | '\\' => true,
            ' '..='~' => continue,
            _ if !hidden(ch) => continue,
            _ => false,
        };
        out.extend_from_slice(&bytes[from..at]);
        if short {
            out.extend_from_slice(&[b'\\', ch as u8]);
        } else {
            code_units(out, ch);
        }
        from = at + ch.len_utf8();
    }
    out.extend_from_slice(&bytes[from..]);
}

fn code_units(out: &mut Vec<u8>, ch: char) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for unit in ch.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            out.push(DIGITS[usize::from(*unit >> shift & 0xf)]);
        }
    }
}

/// Appends a whole number.
pub fn int(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a number with a fraction, always with a point or an exponent; nothing finite is lost.
pub fn float(out: &mut Vec<u8>, number: f64) {
    let whole = number as i64;
    if whole as f64 == number && whole.unsigned_abs() < 1 << 53 {
        int(out, whole);
        out.extend_from_slice(b".0");
    } else if number.is_finite() {
        // Rust's debug form of a finite float is JSON and reads back as the same float.
        let _ = write!(out, "{number:?}");
    } else {
        out.extend_from_slice(b"0.0");
    }
}

/// Appends an array, each item by `put`.
pub fn array<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

/// Appends `true` or `false`.
pub fn bool(out: &mut Vec<u8>, yes: bool) {
    out.extend_from_slice(if yes { b"true" } else { b"false" });
}

/// Appends an address as a JSON string.
pub fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let (text, length) = ipv4_text(ip);
            padded(out, &text, length);
        }
        IpAddr::V6(ip) => {
            let _ = write!(out, "\"{ip}\"");
        }
    }
}

/// Appends an address without quotes.
pub fn raw_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let (text, length) = ipv4_text(ip);
            out.extend_from_slice(&text[1..length - 1]);
        }
        IpAddr::V6(ip) => {
            let _ = write!(out, "{ip}");
        }
    }
}

/// An address with its quotes, and their length.
fn ipv4_text(ip: Ipv4Addr) -> ([u8; 20], usize) {
    let mut text = [b'"'; 20];
    let mut end = 1;
    for octet in ip.octets() {
        // Four bytes at once; what is not the octet's is overwritten by the next.
        text[end..end + 4].copy_from_slice(&OCTETS[usize::from(octet)]);
        end += 2 + usize::from(octet > 9) + usize::from(octet > 99);
    }
    text[end - 1] = b'"';
    (text, end)
}

/// Every octet's digits and a dot, filled up with dots.
static OCTETS: [[u8; 4]; 256] = {
    let mut table = [[b'.'; 4]; 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let unused = (octet < 100) as usize + (octet < 10) as usize;
        let mut at = unused;
        while at < 3 {
            table[octet][at - unused] = b'0' + digits[at] as u8;
            at += 1;
        }
        octet += 1;
    }
    table
};

/// Appends a UUID as a JSON string, lower case with hyphens.
pub fn id(out: &mut Vec<u8>, id: Uuid) {
    let mut quoted = [b'"'; 38];
    quoted[1..37].copy_from_slice(&id_text(id));
    out.extend_from_slice(&quoted);
}

/// Appends a UUID without quotes.
pub fn raw_id(out: &mut Vec<u8>, id: Uuid) {
    out.extend_from_slice(&id_text(id));
}

fn id_text(id: Uuid) -> [u8; 36] {
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (at, byte) in PLACES.into_iter().zip(id.into_bytes()) {
        text[at..at + 2].copy_from_slice(&HEX[usize::from(byte)]);
    }
    text
}

/// Every byte in hexadecimal.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

/// Appends bytes as a JSON string in base64 with padding.
pub fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64_STANDARD.encode_slice(bytes, &mut out[from..]);
    out.truncate(from + written.unwrap_or(0));
    out.push(b'"');
}

/// Appends an instant as a JSON string: RFC 3339 in UTC with milliseconds.
pub fn time(out: &mut Vec<u8>, at: Timestamp) {
    let mut quoted = [b'"'; 26];
    quoted[1..25].copy_from_slice(&time_text(at));
    out.extend_from_slice(&quoted);
}

/// Appends an instant without quotes. Years 1970 to 9999; what is outside is shown as the nearest end.
pub fn raw_time(out: &mut Vec<u8>, at: Timestamp) {
    out.extend_from_slice(&time_text(at));
}

/// Appends an instant without quotes, with microseconds; bounds as [`raw_time`].
pub fn raw_time_micros(out: &mut Vec<u8>, at: Timestamp) {
    let micros = at.micros().clamp(0, LAST_MILLIS * 1000 + 999) % 1000;
    let (tens, ones) = (micros as u32 / 10, micros as u32 % 10);
    out.extend_from_slice(&time_text(at)[..23]);
    out.extend_from_slice(&two(tens));
    out.extend_from_slice(&[b'0' + ones as u8, b'Z']);
}

fn time_text(at: Timestamp) -> [u8; 24] {
    let millis = at.millis().clamp(0, LAST_MILLIS).cast_unsigned();
    let (days, in_day) = ((millis / 86_400_000) as u32, (millis % 86_400_000) as u32);
    let (year, month, day) = civil(days);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[0..2].copy_from_slice(&two(year / 100));
    text[2..4].copy_from_slice(&two(year % 100));
    text[5..7].copy_from_slice(&two(month));
    text[8..10].copy_from_slice(&two(day));
    text[11..13].copy_from_slice(&two(seconds / 3600));
    text[14..16].copy_from_slice(&two(seconds / 60 % 60));
    text[17..19].copy_from_slice(&two(seconds % 60));
    text[20..22].copy_from_slice(&two(millis / 10));
    text[22] = b'0' + (millis % 10) as u8;
    text
}

/// The last millisecond of the year 9999.
const LAST_MILLIS: i64 = 253_402_300_799_999;

/// The two digits of a number below 100.
const fn two(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// Year, month and day of a day number since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil(days: u32) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_read_back_and_hold_nothing_hidden() {
        for text in ["", "root", "a\"b\\c", "\0\r\n\u{1b}[2J", "\u{202e}é漢\u{e0041}\u{2028}"] {
            let json = written(|out| string(out, text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(!json.chars().any(hidden), "{json}");
        }
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        for millis in [
            0,
            951_782_400_000,
            1_772_619_330_123,
            4_107_542_399_999,
            253_402_207_199_999,
        ] {
            let expected = jiff::Timestamp::from_millisecond(millis).unwrap();
            let json = written(|out| raw_time(out, Timestamp::from_micros(millis * 1000 + 999)));
            assert_eq!(json, format!("{expected:.3}"));
        }
        let ends = [i64::MIN, i64::MAX].map(|micros| written(|out| raw_time(out, Timestamp::from_micros(micros))));
        assert_eq!(ends, ["1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]);
    }

    #[test]
    fn microseconds_are_all_there_at_every_size() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_772_619_370_120_405, "2026-03-04T10:16:10.120405Z"),
            (i64::MIN, "1970-01-01T00:00:00.000000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(
                written(|out| raw_time_micros(out, Timestamp::from_micros(micros))),
                expected
            );
        }
    }

    #[test]
    fn every_day_of_two_centuries_is_dated_rightly() {
        for day in (0..73_000).step_by(13) {
            let expected = jiff::Timestamp::from_second(day * 86_400).unwrap();
            let json = written(|out| raw_time(out, Timestamp::from_micros(day * 86_400_000_000)));
            assert_eq!(json, format!("{expected:.3}"));
        }
    }

    #[test]
    fn numbers_addresses_and_bytes_are_plain_json() {
        let float_text = |number| written(|out| float(out, number));
        assert_eq!(
            [50.0, -0.5, 1e300, f64::NAN].map(float_text),
            ["50.0", "-0.5", "1e300", "0.0"]
        );
        assert_eq!(
            written(|out| ip(out, "10.20.30.40".parse().unwrap())),
            "\"10.20.30.40\""
        );
        assert_eq!(
            written(|out| ip(out, "2001:db8::1".parse().unwrap())),
            "\"2001:db8::1\""
        );
        assert_eq!(written(|out| base64(out, b"\xff\xfea")), "\"//5h\"");
        assert_eq!(written(|out| base64(out, b"")), "\"\"");
    }
}
