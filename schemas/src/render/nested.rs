//! Catalogue fields as nested JSON objects, in one pass over the rows.
//!
//! In: fields in catalogue order, each with its value. Out: `{"a":{"b":1,"c":2}}` for `a.b` and `a.c`. The rows are
//! sorted by path, so an object is opened once and closed once; what is to be written between two fields depends only
//! on how many parents they share, and is prepared per row.

use std::sync::LazyLock;

use crate::derive::{Detail, Shown};
use crate::fields::{CATALOGUE, Field, Kind};
use crate::json;
use crate::value::Value;

/// Longest keyword in UTF-16 code units: what Elasticsearch still indexes (`ignore_above`).
const KEYWORD_UNITS_MAX: usize = 1024;

/// The deepest path.
const DEPTH_MAX: usize = 5;

/// So many bytes are copied to open a field.
const WINDOW: usize = 56;

/// Closes as many objects as can be, and goes on in the one around them; a window on its end closes fewer.
const CLOSING: &[u8; DEPTH_MAX] = b"}}}},";

/// What opens a field.
struct Opening {
    /// By how many parents are open already.
    texts: [Text; DEPTH_MAX],
    /// How many parents the field has.
    parents: u8,
    /// By depth, a byte each: the first row under the same parents. Equal bytes are shared parents, and two fields
    /// differ where the path of the shorter ends, at the latest.
    kin: u64,
}

/// What closes other objects and opens a field: [`CLOSING`], then the rest of `"a":{"b":`.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; WINDOW + DEPTH_MAX - 1],
    length: u8,
}

static OPENINGS: LazyLock<Box<[Opening; Field::COUNT]>> = LazyLock::new(|| {
    let paths: Vec<Vec<&str>> = CATALOGUE.iter().map(|row| row.ecs.split('.').collect()).collect();
    Box::new(std::array::from_fn(|row| Opening::new(&paths[row], &paths)))
});

/// No path is too deep, and every text fits the window.
const _: () = {
    let mut row = 0;
    while row < CATALOGUE.len() {
        let path = CATALOGUE[row].ecs.as_bytes();
        assert!(dots(path) < DEPTH_MAX);
        // `"a":{"b":` for `a.b` has three signs more for each dot, and three around all.
        assert!(DEPTH_MAX + path.len() + 3 + 3 * dots(path) <= WINDOW);
        row += 1;
    }
};

const fn dots(path: &[u8]) -> usize {
    let (mut dots, mut at) = (0, 0);
    while at < path.len() {
        dots += (path[at] == b'.') as usize;
        at += 1;
    }
    dots
}

impl Opening {
    fn new(path: &[&str], paths: &[Vec<&str>]) -> Self {
        let mut kin = [0; 8];
        for (depth, kin) in kin.iter_mut().enumerate().take(path.len()) {
            let parents = &path[..=depth];
            let first = paths.iter().position(|other| other.starts_with(parents));
            *kin = first.unwrap_or_default() as u8;
        }
        let texts = std::array::from_fn(|open| {
            let rest = path.get(open..).unwrap_or_default();
            Text::new(&format!("\"{}\":", rest.join("\":{\"")))
        });
        Self {
            texts,
            parents: path.len() as u8 - 1,
            kin: u64::from_le_bytes(kin),
        }
    }
}

impl Text {
    fn new(opening: &str) -> Self {
        let text = [CLOSING, opening.as_bytes()].concat();
        let mut bytes = [b' '; WINDOW + DEPTH_MAX - 1];
        bytes[..text.len()].copy_from_slice(&text);
        Self {
            bytes,
            length: text.len() as u8,
        }
    }

    /// Writes what closes so many objects, and the opening.
    fn put(&self, closed: usize, out: &mut Vec<u8>) {
        let unused = (DEPTH_MAX - 1).saturating_sub(closed);
        if let Some(window) = self.bytes[unused..].first_chunk::<WINDOW>() {
            json::padded(out, window, usize::from(self.length) - unused);
        }
    }
}

/// A nested object under way. Fields come in catalogue order, each once.
pub(super) struct Nested<'o> {
    out: &'o mut Vec<u8>,
    detail: Detail,
    openings: &'static [Opening; Field::COUNT],
    /// Where the object begins.
    from: usize,
    /// Of the field before; none is kin to the first.
    kin: u64,
    /// How many parents are open.
    parents: usize,
}

impl<'o> Nested<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, detail: Detail) -> Self {
        Self {
            from: out.len(),
            out,
            detail,
            openings: &OPENINGS,
            kin: u64::MAX,
            parents: 0,
        }
    }

    pub(super) fn add(&mut self, field: Field, value: &Shown<'_>) {
        let detail = self.detail;
        put(self.open(field), value, field.row().kind, detail);
    }

    pub(super) fn fact(&mut self, field: Field, value: &Value) {
        let detail = self.detail;
        fact(self.open(field), value, field.row().kind, detail);
    }

    /// Opens a field; what is written next is its value, and may go on with fields under the same parents.
    pub(super) fn open(&mut self, field: Field) -> &mut Vec<u8> {
        let opening = &self.openings[field as usize];
        let shared = (opening.kin ^ self.kin).trailing_zeros() as usize / 8;
        opening.texts[shared].put(self.parents.saturating_sub(shared), self.out);
        self.kin = opening.kin;
        self.parents = usize::from(opening.parents);
        self.out
    }

    /// Ends the object. The comma before its first field becomes what begins it.
    pub(super) fn end(self) {
        match self.out.get_mut(self.from) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out
            .extend_from_slice(&b"}}}}}"[..=self.parents.min(DEPTH_MAX - 1)]);
    }
}

/// Writes one value as JSON.
pub(super) fn put(out: &mut Vec<u8>, value: &Shown<'_>, kind: Kind, detail: Detail) {
    match value {
        Shown::Fact(value) => fact(out, value, kind, detail),
        Shown::Str(text) => string(out, text, kind, detail),
        Shown::Word(word) => json::plain(out, word),
        Shown::Words(words) => json::array(out, words, |out, word| json::plain(out, word)),
        Shown::Few(few) => array(out, few.iter(), |out, text| string(out, text, kind, detail)),
        Shown::Ips(few) => array(out, few.iter(), json::ip),
        Shown::Int(number) => json::int(out, *number),
        Shown::Float(number) => json::float(out, *number),
        Shown::Bool(yes) => json::bool(out, *yes),
        Shown::IpText(ip) => json::ip(out, *ip),
        Shown::Time(at) => json::time(out, *at),
        Shown::Id(id) => json::id(out, *id),
        Shown::Text(text) => string(out, text, kind, detail),
    }
}

fn fact(out: &mut Vec<u8>, value: &Value, kind: Kind, detail: Detail) {
    match value {
        Value::Text(text) => string(out, text, kind, detail),
        Value::Int(number) => json::int(out, *number),
        Value::Float(number) => json::float(out, *number),
        Value::Bool(yes) => json::bool(out, *yes),
        Value::Ip(ip) => json::ip(out, *ip),
        Value::Time(at) => json::time(out, *at),
        Value::Id(id) => json::id(out, *id),
        Value::Bytes(bytes) => json::base64(out, bytes),
        Value::Texts(texts) => array(out, texts.iter().take(detail.items_max()), |out, text| {
            string(out, text, kind, detail);
        }),
        Value::Ips(ips) => array(out, ips.iter().take(detail.items_max()), |out, ip| json::ip(out, *ip)),
        Value::Ints(numbers) => {
            array(out, numbers.iter().take(detail.items_max()), |out, number| {
                json::int(out, *number)
            });
        }
    }
}

fn array<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

/// Writes a text, cut to what the detail and, for keywords, the index allow.
#[inline]
fn string(out: &mut Vec<u8>, text: &str, kind: Kind, detail: Detail) {
    let units_max = match kind {
        Kind::Text => usize::MAX,
        _ => KEYWORD_UNITS_MAX,
    };
    let kept = cut(text, units_max.min(detail.chars_max()));
    json::clean_string(out, kept);
    if kept.len() < text.len() {
        // The mark goes inside the closing quote.
        out.pop();
        out.extend_from_slice("…\"".as_bytes());
    }
}

/// The text, or so much of it that with a mark of one unit it has `units_max` UTF-16 code units.
pub(super) fn cut(text: &str, units_max: usize) -> &str {
    if text.len() <= units_max {
        return text;
    }
    let mut units = 0;
    let mut keep = 0;
    for (at, ch) in text.char_indices() {
        if units < units_max {
            keep = at;
        }
        units += ch.len_utf16();
        if units > units_max {
            return text.get(..keep).unwrap_or_default();
        }
    }
    text
}
