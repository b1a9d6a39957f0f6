//! Query strings: the words of `trapline events`, checked, all mistakes at once.

use trapline_schemas::Format;
use trapline_schemas::{Event, codec, render};
use trapline_sink::config::{listed, nearest, one_of, shown};

use crate::control::paging::Order;
use crate::control::protocol::Query;
use crate::control::query::{Filter, instant};
use crate::journal::Offset;

/// Events of a page, if no number is asked for.
const LIMIT: usize = 100;
/// Events of a page at most.
pub(super) const LIMIT_MAX: usize = 1_000;
/// Longest value, bytes.
const VALUE_BYTES_MAX: usize = 1_024;

/// What both lists and streams are filtered by.
const FILTERS: [&str; 9] = [
    "since", "until", "source", "port", "decoy", "action", "level", "user", "incident",
];
const PAGES: [&str; 4] = ["format", "limit", "order", "cursor"];
const STREAMS: [&str; 4] = ["format", "framing", "after", "last_event_id"];
const LEVELS: [&str; 3] = ["contact", "intent", "proof"];

/// How an event is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// By catalogue names, as `events --json` does.
    Json,
    /// In a form that sinks send.
    As(Format),
}

impl Shown {
    /// Appends an event as one line of JSON: an object, or a text of the forms that are none.
    pub(super) fn append_json(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::As(format) if !format.is_json() => {
                let mut line = Vec::new();
                render::render(event, format, &mut line);
                let text = String::from_utf8_lossy(&line);
                out.extend_from_slice(serde_json::Value::from(text.as_ref()).to_string().as_bytes());
            }
            _ => self.append(event, out),
        }
    }

    /// Appends an event as one line without its end.
    pub(super) fn append(self, event: &Event, out: &mut Vec<u8>) {
        let from = out.len();
        match self {
            Self::Json => codec::encode_into(event, out),
            Self::As(format) => render::render(event, format, out),
        }
        // Only white space between the names of a body that another version wrote can be a line end.
        let line = out.get_mut(from..).unwrap_or_default();
        for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
}

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
        reader
            .wrong
            .push("a stream has no `until`: it goes on with what comes; pages have one".into());
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

/// Takes parameters out of a query, and notes what is wrong with them.
struct Reader {
    pairs: Vec<(String, String)>,
    allowed: Vec<&'static str>,
    wrong: Vec<String>,
}

impl Reader {
    /// For a query with filters, and these.
    fn new(query: &str, others: &[&'static str]) -> Self {
        Self::named(query, FILTERS.iter().chain(others).copied().collect())
    }

    fn named(query: &str, allowed: Vec<&'static str>) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self {
            pairs: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            allowed,
            wrong: Vec::new(),
        }
    }

    /// One parameter, out of the query.
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(there, _)| there == name)?;
        let (_, value) = self.pairs.remove(at);
        if value.len() > VALUE_BYTES_MAX {
            self.wrong
                .push(format!("`{name}` is longer than {VALUE_BYTES_MAX} bytes"));
            return None;
        }
        Some(value)
    }

    fn keep<T>(&mut self, read: Result<T, String>) -> Option<T> {
        read.map_err(|wrong| self.wrong.push(wrong)).ok()
    }

    fn choice(&mut self, name: &str, words: &'static [&'static str]) -> Option<&'static str> {
        let value = self.take(name)?;
        let found = words.iter().copied().find(|word| *word == value);
        let wrong = || {
            format!(
                "`{name}` is `{}`; allowed: {}",
                shown(&value),
                one_of(words.iter().copied())
            )
        };
        self.keep(found.ok_or_else(wrong))
    }

    fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let value = self.take(name)?;
        let found = number(&value).filter(|number| (min..=max).contains(number));
        let wrong = || {
            format!(
                "`{name}` is `{}`; allowed: a whole number in {min}..={max}",
                shown(&value)
            )
        };
        self.keep(found.ok_or_else(wrong))
    }

    fn time(&mut self, name: &str) -> Option<i64> {
        let value = self.take(name)?;
        let read = instant(&value).map_err(|_| {
            let value = shown(&value);
            format!(
                "`{name}` is `{value}`; allowed: a span back such as 15m or 2d, or a time such as 2026-11-22T10:00:00Z"
            )
        });
        self.keep(read).map(jiff::Timestamp::as_microsecond)
    }

    fn shown(&mut self) -> Shown {
        let Some(word) = self.take("format") else {
            return Shown::As(Format::Ecs);
        };
        if word == "json" {
            return Shown::Json;
        }
        let words = || Format::ALL.iter().map(|format| format.name()).chain(["json"]);
        let found =
            Format::find(&word).ok_or_else(|| format!("`format` is `{}`; allowed: {}", shown(&word), one_of(words())));
        Shown::As(self.keep(found).unwrap_or(Format::Ecs))
    }

    fn filter(&mut self) -> Filter {
        let query = Query {
            since: self.time("since"),
            until: self.time("until"),
            source: self.take("source"),
            port: self
                .number("port", 0, u16::MAX.into())
                .and_then(|port| port.try_into().ok()),
            decoy: self.take("decoy"),
            action: self.take("action"),
            level: self.choice("level", &LEVELS).map(str::to_owned),
            user: self.take("user"),
            incident: self.take("incident"),
            ..Query::default()
        };
        match Filter::parse(&query) {
            Ok(filter) => filter,
            Err(wrong) => {
                self.wrong.extend(wrong);
                Filter::default()
            }
        }
    }

    /// Whether all was right, and nothing is left.
    fn end(mut self) -> Result<(), Vec<String>> {
        for (name, _) in &self.pairs {
            let name = shown(name);
            let allowed = match self.allowed.is_empty() {
                true => "none".to_owned(),
                false => listed(self.allowed.iter().copied()),
            };
            let near = nearest(&name, self.allowed.iter().copied());
            self.wrong.push(match (self.allowed.contains(&name.as_str()), near) {
                (true, _) => format!("parameter `{name}` stands there twice"),
                (false, Some(near)) => format!("unknown parameter `{name}`, did you mean `{near}`? allowed: {allowed}"),
                (false, None) => format!("unknown parameter `{name}`; allowed: {allowed}"),
            });
            if self.wrong.len() > WRONG_MAX {
                break;
            }
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong) }
    }
}

/// Mistakes told at once.
const WRONG_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn every_mistake_is_told_with_what_is_allowed() {
        let wrong = listing("sorce=x&limit=1001&format=xml&level=grave&since=soon&user=a&user=b&cursor=x").unwrap_err();
        let all = wrong.join("\n");
        for part in [
            "unknown parameter `sorce`, did you mean `source`? allowed: since, until, source,",
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

    #[test]
    fn an_event_of_any_form_is_one_line_of_json() {
        let at = trapline_schemas::Timestamp::from_micros(5);
        let mut event = Event::new(uuid::Uuid::nil(), at, trapline_schemas::Action::Credential);
        event.set(trapline_schemas::Field::UserName, "ro\"ot\r\nid: 7\u{2028}");
        event.keep_unknown("new".into(), "{\n\"a\":1}".into());
        for shown in [Shown::Json]
            .into_iter()
            .chain(Format::ALL.iter().copied().map(Shown::As))
        {
            let mut line = Vec::new();
            shown.append_json(&event, &mut line);
            serde_json::from_slice::<serde_json::Value>(&line).unwrap();
            line.clear();
            shown.append(&event, &mut line);
            assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "{shown:?}");
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
