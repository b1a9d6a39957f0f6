//! Query strings: the words of `trapline events`, checked, all mistakes at once.

use trapline_sink::config::shown;

use super::reader::Reader;
use super::shown::Shown;
use crate::control::paging::Order;
use crate::control::query::Filter;
use crate::journal::Offset;

/// Events of a page, if no number is asked for.
const LIMIT: usize = 100;
/// Events of a page at most.
pub(super) const LIMIT_MAX: usize = 1_000;

const PAGES: [&str; 4] = ["format", "limit", "order", "cursor"];
const STREAMS: [&str; 4] = ["format", "framing", "after", "last_event_id"];

/// What a page is asked for with.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) filter: Filter,
    pub(super) shown: Shown,
    pub(super) count: usize,
    pub(super) order: Order,
    pub(super) place: Option<Offset>,
}

/// How a stream is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-Sent Events.
    Sse,
    /// A JSON object a line.
    Ndjson,
}

/// What a stream is asked for with.
#[derive(Debug)]
pub(super) struct Streaming {
    pub(super) filter: Filter,
    pub(super) shown: Shown,
    /// How it is cut, if that is asked for in the query.
    pub(super) framing: Option<Framing>,
    /// The last offset that the client had.
    pub(super) after: Option<Offset>,
}

/// Reads the query of `/events`.
pub(super) fn listing(query: &str) -> Result<Listing, Vec<String>> {
    let mut reader = Reader::new(query, &PAGES);
    let filter = reader.filter();
    let shown = reader.shown();
    let order = match reader.choice("order", &["newest", "oldest"]) {
        Some("oldest") => Order::Oldest,
        _ => Order::Newest,
    };
    let count = reader.number("limit", 1, LIMIT_MAX as u64);
    let place = reader.take("cursor").and_then(|text| {
        let place = read_cursor(&text, order);
        reader.keep(place)
    });
    reader.end()?;
    Ok(Listing {
        filter,
        shown,
        count: count.and_then(|count| count.try_into().ok()).unwrap_or(LIMIT),
        order,
        place,
    })
}

/// Reads the query of `/events/stream`.
pub(super) fn streaming(query: &str) -> Result<Streaming, Vec<String>> {
    let mut reader = Reader::new(query, &STREAMS);
    let filter = reader.filter();
    let shown = reader.shown();
    let framing = match reader.choice("framing", &["sse", "ndjson"]) {
        Some("ndjson") => Some(Framing::Ndjson),
        Some(_) => Some(Framing::Sse),
        None => None,
    };
    let after = reader.number("after", 0, OFFSET_MAX);
    let last = reader.number("last_event_id", 0, OFFSET_MAX);
    if filter.until.is_some() {
        reader.refuse("a stream has no `until`: it goes on with what comes; pages have one");
    }
    reader.end()?;
    Ok(Streaming {
        filter,
        shown,
        framing,
        after: last.or(after),
    })
}

/// Reads the query of one event.
pub(super) fn single(query: &str) -> Result<Shown, Vec<String>> {
    let mut reader = Reader::named(query, vec!["format"]);
    let shown = reader.shown();
    reader.end()?;
    Ok(shown)
}

/// Reads a query that has no parameters.
pub(super) fn none(query: &str) -> Result<(), Vec<String>> {
    Reader::named(query, Vec::new()).end()
}

/// Largest offset.
pub(super) const OFFSET_MAX: u64 = i64::MAX as u64 - 1;

/// Where the next page begins, opaque to clients.
pub(super) fn cursor(order: Order, place: Offset) -> String {
    match order {
        Order::Newest => format!("n{place}"),
        Order::Oldest => format!("o{place}"),
    }
}

fn read_cursor(text: &str, order: Order) -> Result<Offset, String> {
    let of = |mark| text.strip_prefix(mark).and_then(|digits: &str| number(digits));
    match (order, of('n'), of('o')) {
        (Order::Newest, Some(place), _) | (Order::Oldest, _, Some(place)) => Ok(place),
        (_, None, None) => Err(format!(
            "`{}` is not a cursor: take `next` of the page before",
            shown(text)
        )),
        _ => Err("the cursor is of the other order: keep `order` as it was from page to page".into()),
    }
}

/// An offset as clients give it back.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain
        .then(|| text.parse().ok())?
        .filter(|number| *number <= OFFSET_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::Format;

    use super::*;

    #[test]
    fn a_page_is_asked_for_in_the_words_of_the_command() {
        let wanted = listing("source=10.0.0.0%2F8&level=proof&limit=7&order=oldest&format=ocsf&cursor=o42").unwrap();
        assert_eq!((wanted.count, wanted.order, wanted.place), (7, Order::Oldest, Some(42)));
        assert_eq!(wanted.shown, Shown::As(Format::Ocsf));
        assert_eq!(wanted.filter.level.as_deref(), Some("proof"));
        let usual = listing("").unwrap();
        assert_eq!((usual.count, usual.order, usual.place), (100, Order::Newest, None));
        assert_eq!(usual.shown, Shown::As(Format::Ecs));
    }

    #[test]
    fn a_time_with_an_offset_is_read_also_where_its_plus_was_not_encoded() {
        let wanted = |query: &str| listing(query).unwrap().filter.since.unwrap();
        let utc = wanted("since=2026-11-22T10:00:00Z");
        for same in ["2026-11-22T11:00:00%2B01:00", "2026-11-22T11:00:00+01:00"] {
            assert_eq!(wanted(&format!("since={same}")), utc, "{same}");
        }
    }

    #[test]
    fn every_mistake_is_told_with_what_is_allowed() {
        let wrong =
            listing("sorce=x&decoy=&limit=1001&format=xml&level=grave&since=soon&user=a&user=b&cursor=x").unwrap_err();
        let all = wrong.join("\n");
        for part in [
            "unknown parameter `sorce`, did you mean `source`? allowed: since, until, source,",
            "`decoy` is empty; allowed: a name",
            "`limit` is `1001`; allowed: a whole number in 1..=1000",
            "`format` is `xml`; allowed: \"ecs\", \"ocsf\", \"cef\", \"leef\", \"text\" or \"json\"",
            "`level` is `grave`; allowed: \"contact\", \"intent\" or \"proof\"",
            "`since` is `soon`; allowed: a span back such as 15m",
            "parameter `user` stands there twice",
            "`x` is not a cursor",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        assert!(listing("cursor=n5&order=oldest").unwrap_err()[0].contains("the other order"));
        assert!(streaming("until=1h").unwrap_err()[0].contains("no `until`"));
        assert!(streaming("limit=5").unwrap_err()[0].contains("unknown parameter `limit`"));
        assert!(none("x=1").unwrap_err()[0].contains("allowed: none"));
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for order in [Order::Newest, Order::Oldest] {
            assert_eq!(read_cursor(&cursor(order, 7), order), Ok(7));
        }
        for bad in ["", "n", "n-1", "n+1", "n99999999999999999999", "é"] {
            assert!(read_cursor(bad, Order::Newest).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_a_query_are_taken_or_told(words in prop::collection::vec(prop::sample::select(vec![
            "since=", "until=", "source=::/0", "port=22", "limit=5", "cursor=n1", "&", "=", "%", "%00", "%ff", "1h",
            "after=", "9223372036854775807", "format=cef", "é", "framing=ndjson", "x",
        ]), 0..16)) {
            let query = words.concat();
            for wrong in [listing(&query).err(), streaming(&query).err(), single(&query).err(), none(&query).err()] {
                prop_assert!(wrong.is_none_or(|wrong| !wrong.is_empty()));
            }
        }
    }
}
