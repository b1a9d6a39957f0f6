//! Whether a poller has a document already, so that only a few lines go to it.
//!
//! Source: RFC 9110 sections 13.1.2, 13.1.3 and 13.2.2: a list of tags wins over a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};
use trapline_schemas::Timestamp;
use trapline_sink::published::Document;

/// Whether the request names this very document.
pub(super) fn is_held(headers: &HeaderMap, document: &Document) -> bool {
    let mut tags = headers.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        return tags.any(|tags| tags.to_str().is_ok_and(|tags| has(tags, &document.tag)));
    }
    let since = headers.get(IF_MODIFIED_SINCE).and_then(|since| since.to_str().ok());
    since
        .and_then(seconds)
        .is_some_and(|since| seconds_of(document.modified) <= since)
}

/// Weak tags count as strong ones here; a tag of ours has no comma in it.
fn has(tags: &str, tag: &str) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn seconds(date: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

const fn seconds_of(time: Timestamp) -> i64 {
    time.micros().div_euclid(1_000_000)
}

/// The time as HTTP writes it; `None` while it lies ahead, for then it says nothing (section 8.8.2.1).
pub(super) fn modified(time: Timestamp, now: Timestamp) -> Option<String> {
    let secs = u64::try_from(seconds_of(time)).ok()?;
    let at: SystemTime = UNIX_EPOCH + Duration::from_secs(secs);
    (time <= now).then(|| httpdate::fmt_http_date(at))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    /// Modified on Sun, 06 Nov 1994 08:49:37 GMT.
    fn document() -> Document {
        let mut document = Document::whole("text/plain", "192.0.2.1\n");
        document.modified = Timestamp::from_micros(784_111_777_000_000);
        document
    }

    fn held(headers: &[(HeaderName, &[u8])]) -> bool {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        is_held(&all, &document())
    }

    #[test]
    fn a_document_is_held_by_whoever_names_its_tag() {
        let tag = document().tag;
        let several = format!("\"x\", W/{tag} ,\"y\"");
        for good in [tag.as_str(), several.as_str(), "*"] {
            assert!(held(&[(IF_NONE_MATCH, good.as_bytes())]), "{good}");
        }
        assert!(held(&[(IF_NONE_MATCH, b"\"x\""), (IF_NONE_MATCH, tag.as_bytes())]));
        for bad in ["", "\"x\"", tag.trim_matches('"'), "w/*"] {
            assert!(!held(&[(IF_NONE_MATCH, bad.as_bytes())]), "{bad}");
        }
    }

    #[test]
    fn a_time_counts_only_without_a_tag() {
        let at = |date: &'static str| (IF_MODIFIED_SINCE, date.as_bytes());
        assert!(held(&[at("Sun, 06 Nov 1994 08:49:37 GMT")]));
        assert!(held(&[at("Sunday, 06-Nov-94 08:49:38 GMT")]));
        assert!(!held(&[at("Sun, 06 Nov 1994 08:49:36 GMT")]));
        assert!(!held(&[at("yesterday")]));
        assert!(!held(&[at("Sun, 06 Nov 1994 08:49:37 GMT"), (IF_NONE_MATCH, b"\"x\"")]));
        assert!(!held(&[]));
    }

    #[test]
    fn a_change_is_dated_unless_it_lies_ahead() {
        let time = document().modified;
        assert_eq!(modified(time, time).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(modified(time, Timestamp::from_micros(time.micros() - 1)), None);
        assert_eq!(modified(Timestamp::from_micros(-1), time), None);
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_condition_hold_nothing_that_they_do_not_name(
            tags in prop::collection::vec(prop_oneof![32_u8..=126, 128_u8..=255], 0..80),
            since in prop::collection::vec(prop_oneof![32_u8..=126, 128_u8..=255], 0..40),
        ) {
            let names = tags.contains(&b'*') || String::from_utf8_lossy(&tags).contains(&document().tag);
            prop_assert!(names || !held(&[(IF_NONE_MATCH, &tags)]));
            held(&[(IF_MODIFIED_SINCE, &since)]);
        }
    }
}
