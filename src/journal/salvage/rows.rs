//! Rows out of raw pages: b-tree leaves, cells, overflow chains, records (sqlite.org/fileformat2.html, sections 1.6, 2).

use bytes::Bytes;
use trapline_schemas::Timestamp;

use super::pages::{Pages, word};
use crate::journal::chain::{self, Hash, Stored};
use crate::journal::sqlite::PAGE_BYTES;
use crate::journal::{Entry, Offset};

/// A row of any table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub id: i64,
    pub values: Vec<Value>,
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Real,
    Blob(Vec<u8>),
    Text(String),
}

/// The rows of one leaf page; none if it is no leaf of a table. Broken cells are left out.
pub(super) fn of_leaf(pages: &Pages, page: &[u8], header: usize) -> Vec<Row> {
    if page.get(header) != Some(&LEAF) {
        return Vec::new();
    }
    cell_places(page, header, 8)
        .filter_map(|at| leaf_cell(pages, page, at))
        .collect()
}

/// Every row of the table whose tree begins at page `root`, as far as the tree can be followed.
pub(super) fn of_table(pages: &Pages, root: u32) -> Vec<Row> {
    let (mut todo, mut seen, mut rows) = (vec![root], std::collections::HashSet::new(), Vec::new());
    while let Some(number) = todo.pop() {
        let Some(page) = pages.read(number).filter(|_| seen.insert(number)) else {
            continue;
        };
        let header = header_at(number);
        if page.get(header) == Some(&INTERIOR) {
            todo.extend(word(&page, header + 8));
            todo.extend(cell_places(&page, header, 12).filter_map(|at| word(&page, at)));
        } else {
            rows.extend(of_leaf(pages, &page, header));
        }
    }
    rows
}

/// The last row of the table whose tree begins at page `root`.
pub(super) fn last_of_table(pages: &Pages, root: u32) -> Option<Row> {
    let mut number = root;
    for _ in 0..DEPTH_MAX {
        let page = pages.read(number)?;
        let header = header_at(number);
        if page.get(header) != Some(&INTERIOR) {
            return of_leaf(pages, &page, header).pop();
        }
        number = word(&page, header + 8)?;
    }
    None
}

/// An entry as its row says, and the hash stored with it.
#[derive(Debug)]
pub(in crate::journal) struct Found {
    pub entry: Entry,
    pub stored: Stored,
    pub digest: Hash,
}

/// What a row is to the journal.
#[derive(Debug)]
pub(super) enum Kind {
    /// An entry whose sum holds.
    Sound(Found),
    /// A row of that shape whose sum does not hold.
    Broken,
    /// A row of another table.
    Other,
}

/// Judges a row.
pub(super) fn judge(row: Row) -> Kind {
    let Ok([Value::Null, Value::Int(at), Value::Blob(hash), Value::Blob(body)]) = <[Value; 4]>::try_from(row.values)
    else {
        return Kind::Other;
    };
    let (Some(stored), Ok(offset)) = (Stored::parse(&hash), Offset::try_from(row.id)) else {
        return Kind::Other;
    };
    let appended_at = Timestamp::from_micros(at);
    let digest = chain::digest(offset, appended_at, &body);
    if !stored.sum_holds(&digest) {
        return Kind::Broken;
    }
    let entry = Entry {
        offset,
        appended_at,
        body: Bytes::from(body),
    };
    Kind::Sound(Found { entry, stored, digest })
}

fn header_at(number: u32) -> usize {
    if number == 1 { 100 } else { 0 }
}

/// Where the cells of a page begin; `header_bytes` is 8 for a leaf, 12 for an interior page.
fn cell_places(page: &[u8], header: usize, header_bytes: usize) -> impl Iterator<Item = usize> {
    let count = half(page, header + 3).unwrap_or(0).min(PAGE_BYTES / 4);
    (0..count).filter_map(move |cell| half(page, header + header_bytes + 2 * cell))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn leaf_cell(pages: &Pages, page: &[u8], at: usize) -> Option<Row> {
    let mut cursor = Cursor(page.get(at..)?);
    let length = usize::try_from(cursor.varint()?)
        .ok()
        .filter(|length| *length <= PAYLOAD_MAX)?;
    let id = cursor.varint()?.cast_signed();
    let payload = payload(pages, cursor.0, length)?;
    Some(Row {
        id,
        values: record(&payload)?,
    })
}

/// The payload that begins with `local` and may go on in overflow pages.
fn payload(pages: &Pages, local: &[u8], length: usize) -> Option<Vec<u8>> {
    if length <= LOCAL_MAX {
        return Some(local.get(..length)?.to_vec());
    }
    let surplus = LOCAL_MIN + (length - LOCAL_MIN) % (PAGE_BYTES - 4);
    let here = if surplus <= LOCAL_MAX { surplus } else { LOCAL_MIN };
    let mut payload = local.get(..here)?.to_vec();
    let mut next = word(local, here)?;
    while payload.len() < length {
        let page = pages.read(next)?;
        let rest = (length - payload.len()).min(PAGE_BYTES - 4);
        payload.extend_from_slice(page.get(4..4 + rest)?);
        next = word(&page, 0)?;
    }
    Some(payload)
}

fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let mut types = Cursor(payload);
    let header = usize::try_from(types.varint()?).ok()?;
    let mut body = Cursor(payload.get(header..)?);
    types = Cursor(payload.get(payload.len() - types.0.len()..header)?);
    let mut values = Vec::new();
    while !types.0.is_empty() && values.len() < COLUMNS_MAX {
        values.push(body.value(types.varint()?)?);
    }
    Some(values)
}

/// Bytes still to be read.
struct Cursor<'p>(&'p [u8]);

impl<'p> Cursor<'p> {
    fn take(&mut self, count: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for place in 0..9 {
            let byte = u64::from(*self.take(1)?.first()?);
            if place == 8 {
                return Some(value << 8 | byte);
            }
            value = value << 7 | (byte & 0x7f);
            if byte < 0x80 {
                break;
            }
        }
        Some(value)
    }

    fn value(&mut self, serial: u64) -> Option<Value> {
        Some(match serial {
            0 => Value::Null,
            1..=4 => self.int(usize::try_from(serial).ok()?)?,
            5 => self.int(6)?,
            6 => self.int(8)?,
            7 => self.take(8).map(|_| Value::Real)?,
            8 => Value::Int(0),
            9 => Value::Int(1),
            10 | 11 => return None,
            _ => self.bytes(serial)?,
        })
    }

    fn int(&mut self, count: usize) -> Option<Value> {
        let bytes = self.take(count)?;
        let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
        Some(Value::Int(
            bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)),
        ))
    }

    fn bytes(&mut self, serial: u64) -> Option<Value> {
        let bytes = self.take(usize::try_from((serial - 12) / 2).ok()?)?;
        if serial.is_multiple_of(2) {
            return Some(Value::Blob(bytes.to_vec()));
        }
        Some(Value::Text(String::from_utf8(bytes.to_vec()).ok()?))
    }
}

const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;
/// Payload bytes that stay in a leaf: all up to the first bound, at least the second (section 1.6).
const LOCAL_MAX: usize = PAGE_BYTES - 35;
const LOCAL_MIN: usize = (PAGE_BYTES - 12) * 32 / 255 - 23;
/// Largest payload believed: more than any commit may hold.
const PAYLOAD_MAX: usize = 80 << 20;
const COLUMNS_MAX: usize = 16;
const DEPTH_MAX: usize = 20;
