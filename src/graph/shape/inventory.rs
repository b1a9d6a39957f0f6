//! A CSV inventory: what is known of an address, a network or a name.
//!
//! Layout (RFC 4180): a line of column names, then one line per entry. The first column, or the one called `address`,
//! `ip`, `network`, `cidr` or `key`, is what is looked up: an address, a CIDR (the longest prefix wins), or a word, of
//! which the case means nothing. The other columns are named by [`COLUMNS`] or by the path of the same fields; columns
//! that are neither are passed over. Bounds: [`ROWS_MAX`] entries; a line that cannot be read is counted.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use trapline_schemas::{Field, Kind, Value, text};

/// Most entries.
pub const ROWS_MAX: usize = 1_000_000;
/// Longest value that is kept, characters.
const VALUE_CHARS_MAX: usize = 256;
/// Most words of a list.
const WORDS_MAX: usize = 16;

/// What a column may be called, and the field that it gives.
pub const COLUMNS: &[(&str, Field)] = &[
    ("owner", Field::SourceOwner),
    ("host", Field::SourceDomain),
    ("hostname", Field::SourceDomain),
    ("name", Field::SourceDomain),
    ("tags", Field::SourceTags),
    ("mac", Field::SourceMac),
    ("shared_address", Field::SourceSharedAddress),
    ("organization", Field::OrganizationId),
    ("city", Field::SourceGeoCity),
    ("country", Field::SourceGeoCountry),
];

/// What the column may be called that is looked up.
const KEYS: &[&str] = &["address", "ip", "network", "cidr", "key"];

type Row = Vec<(Field, Value)>;

/// An inventory in memory.
#[derive(Debug, Default)]
pub struct Inventory {
    rows: Vec<Row>,
    networks: HashMap<IpNet, usize>,
    /// Lengths of prefixes that there are, the longest first.
    lengths: Vec<u8>,
    words: HashMap<String, usize>,
}

/// What could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Lines.
    pub lines: u64,
    /// The first of them.
    pub first: u64,
}

impl Inventory {
    /// Reads a table; also tells what of it could not be read.
    ///
    /// Errors: no column is of use, or there are too many lines; a sentence.
    ///
    /// In: `called`, names of columns in the file, lower case, and what they stand for (see [`is_column`]).
    pub fn read(bytes: &[u8], key: Field, called: &[(String, String)]) -> Result<(Self, Unread), String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut lines = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(bytes);
        let names = lines
            .byte_headers()
            .map_err(|error| format!("its first line cannot be read: {error}"))?;
        let columns = columns(names, called)?;
        let (mut inventory, mut unread) = (Self::default(), Unread::default());
        let mut line = csv::ByteRecord::new();
        loop {
            let at = lines.position().line();
            match lines.read_byte_record(&mut line) {
                Ok(false) => break,
                Ok(true) if inventory.add(&line, &columns, key) => {}
                _ => {
                    unread.lines += 1;
                    unread.first = if unread.lines == 1 { at } else { unread.first };
                }
            }
            if inventory.rows.len() > ROWS_MAX {
                return Err(format!("it has more than {ROWS_MAX} entries"));
            }
        }
        inventory.lengths = lengths(&inventory.networks);
        Ok((inventory, unread))
    }

    /// Adds an entry, whose key must be of the kind of the field that asks for it; of two for one key the last counts.
    fn add(&mut self, line: &csv::ByteRecord, columns: &Columns, key: Field) -> bool {
        let Some(word) = line.get(columns.key).and_then(|word| std::str::from_utf8(word).ok()) else {
            return false;
        };
        let row = || -> Row {
            let given = columns.fields.iter();
            given
                .filter_map(|(at, field)| Some((*field, value(*field, line.get(*at)?)?)))
                .collect()
        };
        let place = self.rows.len();
        if key.row().kind == Kind::Ip {
            let Some(network) = network(word) else { return false };
            self.networks.insert(network, place);
        } else if word.is_empty() {
            return false;
        } else {
            self.words.insert(word.to_lowercase(), place);
        }
        self.rows.push(row());
        true
    }

    /// What is known of an address.
    pub fn of_address(&self, address: IpAddr) -> &[(Field, Value)] {
        let address = address.to_canonical();
        let found = self.lengths.iter().find_map(|length| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            self.networks.get(&network)
        });
        self.row(found)
    }

    /// What is known of a word.
    pub fn of_word(&self, word: &str) -> &[(Field, Value)] {
        self.row(self.words.get(&word.to_lowercase()))
    }

    fn row(&self, place: Option<&usize>) -> &[(Field, Value)] {
        place.and_then(|place| self.rows.get(*place)).map_or(&[], Vec::as_slice)
    }
}

/// Whether a word names a column: one of [`COLUMNS`], the path of the same field, or what is looked up.
pub fn is_column(word: &str) -> bool {
    field(word).is_some() || KEYS.contains(&word)
}

/// The field that a column of this name gives.
fn field(name: &str) -> Option<Field> {
    let is_it = |(word, field): &&(&str, Field)| *word == name || field.name() == name;
    COLUMNS.iter().find(is_it).map(|(_, field)| *field)
}

/// Which column is which.
struct Columns {
    key: usize,
    fields: Vec<(usize, Field)>,
}

fn columns(names: &csv::ByteRecord, called: &[(String, String)]) -> Result<Columns, String> {
    let meaning = |name: &[u8]| {
        let name = String::from_utf8_lossy(name).to_lowercase();
        let known = called.iter().find(|(column, _)| *column == name);
        known.map_or(name, |(_, word)| word.clone())
    };
    let names: Vec<_> = names.iter().map(meaning).collect();
    let key = names.iter().position(|name| KEYS.contains(&name.as_str())).unwrap_or(0);
    let known = names.iter().enumerate().filter(|(at, _)| *at != key);
    let fields: Vec<_> = known.filter_map(|(at, name)| Some((at, field(name)?))).collect();
    if fields.is_empty() {
        let words: Vec<_> = COLUMNS.iter().map(|(word, _)| *word).collect();
        return Err(format!("none of its columns is called {}", words.join(", ")));
    }
    Ok(Columns { key, fields })
}

fn network(word: &str) -> Option<IpNet> {
    let network = word
        .parse::<IpNet>()
        .ok()
        .or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(network.trunc())
}

fn value(field: Field, bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let word = |bytes: &[u8]| text::clean_within(bytes, VALUE_CHARS_MAX);
    match field.row().kind {
        Kind::Keywords => {
            let words = bytes.split(|byte| matches!(byte, b';' | b',' | b'|' | b' '));
            let words: Vec<_> = words.filter(|one| !one.is_empty()).take(WORDS_MAX).map(word).collect();
            (!words.is_empty()).then_some(Value::Texts(words))
        }
        Kind::Bool => match bytes.to_ascii_lowercase().as_slice() {
            b"true" | b"yes" | b"1" => Some(Value::Bool(true)),
            _ => None,
        },
        _ if field == Field::SourceMac => text::mac(bytes).map(Value::Text),
        _ => Some(Value::Text(word(bytes))),
    }
}

fn lengths(networks: &HashMap<IpNet, usize>) -> Vec<u8> {
    let mut lengths: Vec<u8> = networks.keys().map(IpNet::prefix_len).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.dedup();
    lengths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "Network,Owner,hostname,Tags,shared_address,serial\n\
        10.0.0.0/8,office,,lan,,1\n\
        10.1.2.3,\"Doe, Jane\",WS-0417,\"pc;finance\",,2\n\
        not-an-address,x,y,z,,3\n\
        2001:db8::/32,lab,,,yes,4\n";

    fn text(row: &[(Field, Value)], field: Field) -> Option<String> {
        let found = row.iter().find(|(known, _)| *known == field);
        found.map(|(_, value)| format!("{value:?}"))
    }

    #[test]
    fn the_longest_prefix_wins_and_bad_lines_are_counted() {
        let (table, unread) = Inventory::read(TABLE.as_bytes(), Field::SourceIp, &[]).unwrap();
        assert_eq!(unread, Unread { lines: 1, first: 4 });
        let of = |ip: &str| table.of_address(ip.parse().unwrap());
        assert!(text(of("10.1.2.3"), Field::SourceOwner).unwrap().contains("Doe, Jane"));
        assert!(text(of("10.1.2.3"), Field::SourceTags).unwrap().contains("finance"));
        assert!(text(of("10.9.9.9"), Field::SourceOwner).unwrap().contains("office"));
        assert_eq!(of("10.9.9.9").len(), 2, "empty cells and unknown columns give nothing");
        assert_eq!(of("2001:db8::7").len(), 2);
        assert!(of("192.0.2.1").is_empty());
        assert!(!of("::ffff:10.1.2.3").is_empty());
    }

    #[test]
    fn a_word_is_found_in_any_case() {
        let (table, unread) =
            Inventory::read(b"\xef\xbb\xbfkey,owner\nRoot,unix team\n", Field::UserName, &[]).unwrap();
        assert_eq!(unread, Unread::default());
        assert_eq!(table.of_word("rOOT").len(), 1);
        assert!(table.of_word("toor").is_empty());
    }

    #[test]
    fn columns_may_be_called_otherwise() {
        let called = [("ip address", "address"), ("asset owner", "owner")];
        let called = called.map(|(column, word)| (column.to_owned(), word.to_owned()));
        let text = b"Asset Owner;x,IP Address\nlab,10.0.0.1\n";
        assert!(
            Inventory::read(text, Field::SourceIp, &called).is_err(),
            "the whole name counts"
        );
        let text = b"Asset Owner,IP Address\nlab,10.0.0.1\n";
        let (table, _) = Inventory::read(text, Field::SourceIp, &called).unwrap();
        assert_eq!(table.of_address("10.0.0.1".parse().unwrap()).len(), 1);
    }

    #[test]
    fn a_table_without_a_known_column_is_refused() {
        let told = Inventory::read(b"address,colour\n10.0.0.1,red\n", Field::SourceIp, &[]).unwrap_err();
        assert!(told.contains("owner"), "{told}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), lines in "([0-9.:/a-f]{0,12},[ -~]{0,20}\n){0,9}") {
            let _ = Inventory::read(&bytes, Field::SourceIp, &[]);
            let (table, _) = Inventory::read(format!("address,owner\n{lines}").as_bytes(), Field::SourceIp, &[]).unwrap();
            table.of_address("10.0.0.1".parse().unwrap());
        }
    }
}
