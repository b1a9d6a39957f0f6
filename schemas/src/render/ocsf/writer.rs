//! The OCSF object under way: keys, values, and which facts have found their place.

use std::net::IpAddr;

use uuid::Uuid;

use crate::derive::{Detail, Shown, View, derived, shown};
use crate::fields::{Field, Kind};
use crate::json;
use crate::render::nested::{self, Nested};
use crate::render::ocsf::class::Class;
use crate::value::Value;

pub(super) struct Writer<'w, 'e> {
    pub(super) view: &'w View<'e>,
    pub(super) class: &'static Class,
    out: &'w mut Vec<u8>,
    /// Fields whose value stands at an attribute.
    placed: [bool; Field::COUNT],
}

impl<'w, 'e> Writer<'w, 'e> {
    pub(super) fn new(view: &'w View<'e>, class: &'static Class, out: &'w mut Vec<u8>) -> Self {
        Self {
            view,
            class,
            out,
            placed: [false; Field::COUNT],
        }
    }

    /// Begins a member: a comma unless it is the first, and the key.
    pub(super) fn key(&mut self, key: &'static str) -> &mut Self {
        self.comma();
        json::plain(self.out, key);
        self.out.push(b':');
        self
    }

    /// Begins an object.
    pub(super) fn open(&mut self) -> &mut Self {
        self.out.push(b'{');
        self
    }

    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Begins an array.
    pub(super) fn open_list(&mut self) -> &mut Self {
        self.out.push(b'[');
        self
    }

    pub(super) fn close_list(&mut self) {
        self.out.push(b']');
    }

    /// Begins an item of an array.
    pub(super) fn item(&mut self) -> &mut Self {
        self.comma();
        self
    }

    /// A comma, unless the last byte has just opened an object or array.
    fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    pub(super) fn int(&mut self, number: i64) {
        json::int(self.out, number);
    }

    /// A number in an attribute of 32 bits.
    pub(super) fn small(&mut self, number: i64) {
        json::int(self.out, number.clamp(i32::MIN.into(), i32::MAX.into()));
    }

    pub(super) fn bool(&mut self, yes: bool) {
        json::bool(self.out, yes);
    }

    /// Our own word, which needs no escape.
    pub(super) fn word(&mut self, word: &str) {
        json::plain(self.out, word);
    }

    /// Our own words as one text.
    pub(super) fn words(&mut self, words: &[&str]) {
        self.out.push(b'"');
        for word in words {
            self.out.extend_from_slice(word.as_bytes());
        }
        self.out.push(b'"');
    }

    /// A text, cut as the detail says.
    pub(super) fn text(&mut self, text: &str) {
        nested::put(self.out, &Shown::Str(text), Kind::Text, self.view.detail);
    }

    /// A text as a field of keywords has it.
    pub(super) fn keyword(&mut self, text: &str) {
        nested::put(self.out, &Shown::Str(text), Kind::Keyword, self.view.detail);
    }

    pub(super) fn id(&mut self, id: Uuid) {
        json::id(self.out, id);
    }

    pub(super) fn ip(&mut self, ip: IpAddr) {
        json::ip(self.out, ip);
    }

    pub(super) fn base64(&mut self, bytes: &[u8]) {
        json::base64(self.out, bytes);
    }

    /// A member with an id and the caption beside it: `"x_id":1,"x":"One"`.
    pub(super) fn pair(&mut self, id_key: &'static str, id: i64, key: &'static str, caption: &str) {
        self.key(id_key).int(id);
        self.key(key).word(caption);
    }

    /// Notes that a field has its place.
    pub(super) fn place(&mut self, field: Field) {
        self.placed[field as usize] = true;
    }

    /// Writes a field's value under `key`, if it has one; dates as milliseconds, texts as the detail says.
    pub(super) fn field(&mut self, key: &'static str, field: Field) -> bool {
        let Some(value) = shown(self.view, field) else {
            return false;
        };
        self.key(key);
        match value {
            Shown::Fact(Value::Time(at)) => json::int(self.out, at.millis()),
            value => nested::put(self.out, &value, field.row().kind, self.view.detail),
        }
        self.place(field);
        true
    }

    /// Writes a text field under `key`, if its text is as the attribute's type wants it.
    pub(super) fn field_if(&mut self, key: &'static str, field: Field, fits: fn(&str) -> bool) -> bool {
        self.view.text(field).is_some_and(fits) && self.field(key, field)
    }

    /// Writes a port, if it is one.
    pub(super) fn port(&mut self, key: &'static str, field: Field) {
        if self.view.int(field).is_some_and(|port| (0..=65_535).contains(&port)) {
            self.field(key, field);
        }
    }

    /// Writes `unmapped`: the facts without a place, and how much of the payload is there.
    pub(super) fn unmapped(&mut self) {
        let (view, placed) = (self.view, self.placed);
        let mut left = view
            .event
            .facts()
            .iter()
            .filter(|(field, _)| !placed[*field as usize] && view.shows(*field))
            .peekable();
        if left.peek().is_none() {
            return;
        }
        self.key("unmapped");
        let mut object = Nested::new(self.out, view.detail);
        for field in [Field::PayloadCaptured, Field::PayloadTruncated] {
            while let Some((fact, value)) = left.next_if(|(fact, _)| *fact < field) {
                object.add(*fact, &Shown::Fact(value));
            }
            if let Some(value) = derived(view, field) {
                object.add(field, &value);
            }
        }
        for (fact, value) in left {
            object.add(*fact, &Shown::Fact(value));
        }
        object.end();
    }

    /// Whether the event is shown with less than it has.
    pub(super) fn is_truncated(&self) -> bool {
        self.view.detail > Detail::Whole
    }
}

/// Whether a text is a host name as OCSF's `hostname_t` wants it.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        (1..=63).contains(&label.len()) && !label.starts_with('-') && label.bytes().all(plain)
    };
    text.len() <= 255 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// Whether a text may stand in a `url_t`.
pub(super) fn is_url(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Whether a text is a MAC address.
pub(super) fn is_mac(text: &str) -> bool {
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(['-', ':']).count() == 6 && text.split(['-', ':']).all(pair)
}

/// Whether a text is `DIGITS` hex digits.
pub(super) fn is_hex<const DIGITS: usize>(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_labels() {
        for good in ["a", "lure-dmz-01", "a.b.", "x_y.example"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a", "a b", "é", "a\\x00"] {
            assert!(!is_host(bad), "{bad}");
        }
        assert!(!is_host(&"a".repeat(64)));
    }

    #[test]
    fn hashes_macs_and_urls_are_checked() {
        assert!(is_hex::<4>("0aF9") && !is_hex::<4>("0aF") && !is_hex::<4>("0aFg"));
        assert!(is_mac("AA-BB-CC-00-11-22") && !is_mac("AA-BB-CC-00-11") && !is_mac("AA-BB-CC-00-11-2G"));
        assert!(is_url("/a?b") && !is_url("") && !is_url("a b") && !is_url("a\u{a0}b"));
    }
}
