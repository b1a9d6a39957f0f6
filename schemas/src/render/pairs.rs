//! `key=value` lines: what CEF, LEEF and the text form share. How a value is escaped is each form's own.

use std::net::IpAddr;

use crate::derive::View;
use crate::fields::Field;
use crate::json;
use crate::render::nested::cut;
use crate::text::{hidden, is_plain_without};

/// How a form writes pairs.
pub(super) struct Style {
    /// What stands between two pairs.
    pub(super) between: u8,
    /// ASCII characters of a value that `put` changes; one may stand twice.
    pub(super) special: [u8; 2],
    /// Writes one character of a value, escaped for the form.
    pub(super) put: fn(&mut Vec<u8>, char),
}

/// A line of pairs under way.
pub(super) struct Pairs<'o> {
    out: &'o mut Vec<u8>,
    style: &'static Style,
    begun: bool,
    chars_max: usize,
}

impl<'o> Pairs<'o> {
    pub(super) fn new(view: &View<'_>, style: &'static Style, out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            style,
            begun: false,
            chars_max: view.detail.chars_max(),
        }
    }

    /// Begins a pair; the key is ours.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if self.begun {
            self.out.push(self.style.between);
        }
        self.begun = true;
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
        self.out
    }

    /// A text, cut to `chars_max` before it is escaped; an empty one is left out.
    pub(super) fn text(&mut self, key: &str, text: Option<&str>, chars_max: usize) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let kept = cut(text, chars_max.min(self.chars_max));
        let style = self.style;
        let out = self.key(key);
        if is_plain_without(kept.as_bytes(), style.special) {
            out.extend_from_slice(kept.as_bytes());
        } else {
            kept.chars().for_each(|ch| put_visible(out, ch, style.put));
        }
        if kept.len() < text.len() {
            out.extend_from_slice("…".as_bytes());
        }
    }

    pub(super) fn int(&mut self, key: &str, number: Option<i64>) {
        if let Some(number) = number {
            json::int(self.key(key), number);
        }
    }

    pub(super) fn ip(&mut self, key: &str, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            json::raw_ip(self.key(key), ip);
        }
    }

    pub(super) fn id(&mut self, key: &str, id: Option<uuid::Uuid>) {
        if let Some(id) = id {
            json::raw_id(self.key(key), id);
        }
    }

    pub(super) fn time(&mut self, key: &str, at: crate::Timestamp) {
        json::raw_time(self.key(key), at);
    }
}

/// Facts are clean already; should one not be, nothing hidden gets into a line all the same.
pub(super) fn put_visible(out: &mut Vec<u8>, ch: char, put: fn(&mut Vec<u8>, char)) {
    if hidden(ch) {
        put(out, '\u{fffd}');
    } else {
        put(out, ch);
    }
}

/// Appends a character as UTF-8.
pub(super) fn push(out: &mut Vec<u8>, ch: char) {
    out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The version that made the event, for the headers.
pub(super) fn version<'e>(view: &View<'e>) -> &'e str {
    view.text(Field::ObserverVersion).unwrap_or(env!("CARGO_PKG_VERSION"))
}

/// The exact ATT&CK ids, comma between; `None` if the event shows none.
pub(super) fn techniques(view: &View<'_>) -> Option<String> {
    let ids: Vec<&str> = view
        .attacks()
        .iter()
        .map(crate::derive::attack::Attack::exact)
        .collect();
    (!ids.is_empty()).then(|| ids.join(","))
}

/// What failed, else why it was so.
pub(super) fn reason<'e>(view: &View<'e>) -> Option<&'e str> {
    let fields = [Field::ErrorMessage, Field::ResponseReason, Field::EventReason];
    fields.into_iter().find_map(|field| view.text(field))
}

/// What was sent, as one text: commands, else the payload if it is shown.
pub(super) fn sent(view: &View<'_>) -> Option<String> {
    let commands = view.texts(Field::Commands);
    if !commands.is_empty() {
        return Some(commands.join("; "));
    }
    let shown = crate::derive::shown(view, Field::PayloadPrintable)?;
    match shown {
        crate::derive::Shown::Text(text) => Some(text),
        _ => None,
    }
}
