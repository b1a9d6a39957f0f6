//! Numbers, spans and times as people write them.

use jiff::tz::TimeZone;
use trapline_schemas::Timestamp;

/// Numbers from here on are figures.
const WORDS_END: i64 = 100;

const SMALL: [&str; 20] = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// `no`, `one`, `forty-one`, `1,204`.
pub(crate) fn in_words(number: i64) -> String {
    let digit = |at: i64| usize::try_from(at).unwrap_or(0);
    match number {
        0..20 => SMALL[digit(number)].to_owned(),
        20..WORDS_END if number % 10 == 0 => TENS[digit(number / 10)].to_owned(),
        20..WORDS_END => format!("{}-{}", TENS[digit(number / 10)], SMALL[digit(number % 10)]),
        _ => figures(number),
    }
}

/// `1,234,567`.
pub(crate) fn figures(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `once`, `twice`, `forty-one times`.
pub(crate) fn times(number: i64) -> String {
    match number {
        0 => "not once".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", in_words(number)),
    }
}

/// The noun after a number of it: `door`, `doors`, `tries`; one that is unlike this is given as `person|people`.
pub(crate) fn noun(number: i64, noun: &str) -> String {
    match noun.split_once('|') {
        Some((one, _)) if number == 1 => one.to_owned(),
        Some((_, many)) => many.to_owned(),
        None if number == 1 => noun.to_owned(),
        None => format!("{noun}s"),
    }
}

/// `one door`, `three doors`, `1,204 doors`.
pub(crate) fn several(number: i64, of: &str) -> String {
    format!("{} {}", in_words(number), noun(number, of))
}

/// `1 door`, `3 doors`, `1,204 doors`.
pub(crate) fn counted(number: i64, of: &str) -> String {
    format!("{} {}", figures(number), noun(number, of))
}

/// The text with its first letter large, if it begins with a word: an address, a mailbox and a host name stay as they are.
pub(crate) fn capital(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or("");
    let is_word = first.chars().all(|ch| ch.is_alphabetic() || ch == '-');
    let mut chars = text.chars();
    match chars.next() {
        Some(ch) if is_word => ch.to_uppercase().collect::<String>() + chars.as_str(),
        _ => text.to_owned(),
    }
}

/// `a moment`, `forty seconds`, `fifteen minutes`, `three hours`, `two days`; rounded.
pub(crate) fn span(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let rounded = |unit: i64| (seconds.saturating_add(unit / 2)) / unit;
    match seconds {
        ..1 => "a moment".to_owned(),
        1..120 => several(seconds, "second"),
        120..7200 => several(rounded(60), "minute"),
        7200..172_800 => several(rounded(3600), "hour"),
        _ => several(rounded(86_400), "day"),
    }
}

/// How long an act lasts, exactly if it is a whole number of a unit: `one hour`, `ninety minutes`.
pub(crate) fn term(seconds: i64) -> String {
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds % unit == 0);
    match whole {
        Some((unit, name)) => several(seconds / unit, name),
        None => span(seconds.saturating_mul(1_000_000_000)),
    }
}

/// `4 March 2026`.
pub(crate) fn date(at: Timestamp) -> String {
    written(at, "%-d %B %Y")
}

/// `10:15 UTC`.
pub(crate) fn clock(at: Timestamp) -> String {
    written(at, "%H:%M UTC")
}

/// `2026-03-04 10:15:30 UTC`.
pub(crate) fn instant(at: Timestamp) -> String {
    written(at, "%Y-%m-%d %H:%M:%S UTC")
}

/// A time in UTC; one that no calendar has as it is stored.
fn written(at: Timestamp, form: &str) -> String {
    match jiff::Timestamp::from_microsecond(at.micros()) {
        Ok(instant) => instant.to_zoned(TimeZone::UTC).strftime(form).to_string(),
        Err(_) => format!("{} µs after 1970", at.micros()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_words_below_a_hundred_and_figures_from_there() {
        let told: Vec<_> = [0, 1, 13, 20, 41, 99, 100, 1204, 1_234_567, -5].map(in_words).to_vec();
        let words = ["no", "one", "thirteen", "twenty", "forty-one", "ninety-nine"];
        assert_eq!(told[..6], words);
        assert_eq!(told[6..], ["100", "1,204", "1,234,567", "-5"]);
        assert_eq!(figures(i64::MIN), "-9,223,372,036,854,775,808");
    }

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        assert_eq!([1, 2, 3, 412].map(times), ["once", "twice", "three times", "412 times"]);
        assert_eq!(
            [0, 1, 2].map(|n| several(n, "door")),
            ["no doors", "one door", "two doors"]
        );
        assert_eq!([1, 2].map(|n| counted(n, "try|tries")), ["1 try", "2 tries"]);
    }

    #[test]
    fn a_sentence_begins_large_unless_it_begins_with_an_address() {
        let told = [
            "forty-one doors",
            "an unknown source",
            "net-team@example.org",
            "fe80::1",
            "lure-dmz-01",
            "",
        ];
        let large = [
            "Forty-one doors",
            "An unknown source",
            "net-team@example.org",
            "fe80::1",
            "lure-dmz-01",
            "",
        ];
        assert_eq!(told.map(capital), large);
    }

    #[test]
    fn spans_are_rounded_to_a_unit_that_people_use() {
        let seconds = [
            0,
            1,
            119,
            120,
            900,
            7199,
            7200,
            86_400,
            172_800,
            i64::MAX / 2_000_000_000,
        ];
        let told = seconds.map(|seconds| span(seconds * 1_000_000_000));
        assert_eq!(told[..4], ["a moment", "one second", "119 seconds", "two minutes"]);
        assert_eq!(
            told[4..8],
            ["fifteen minutes", "120 minutes", "two hours", "twenty-four hours"]
        );
        assert_eq!(told[8..], ["two days", "53,376 days"]);
        assert_eq!(span(i64::MAX), "106,752 days");
        assert_eq!(
            [60, 3600, 5400, 86_400, 61].map(term)[..4],
            ["one minute", "one hour", "ninety minutes", "one day"]
        );
    }

    #[test]
    fn times_are_in_utc_with_their_date_and_any_is_written() {
        let noon = Timestamp::from_micros(1_772_619_330_123_456);
        assert_eq!((date(noon), clock(noon)), ("4 March 2026".into(), "10:15 UTC".into()));
        assert_eq!(instant(noon), "2026-03-04 10:15:30 UTC");
        assert!(date(Timestamp::from_micros(i64::MAX)).contains("after 1970"));
    }
}
