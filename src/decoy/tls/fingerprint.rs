//! What a ClientHello says about its client: JA3, JA4, and the facts of an event.
//!
//! Source: JA3, github.com/salesforce/ja3; JA4 (TLS client), github.com/FoxIO-LLC/ja4 technical_details/JA4.md, which
//! is under the BSD licence as none other of that family is.

use md5::Md5;
use rustls::CipherSuite;
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;
use trapline_schemas::{Field, Value, text};

use super::hello::{Hello, OldHello, Read, is_grease};

/// Most cipher suites in an event; how many there were is told as well.
const CIPHERS_SHOWN_MAX: usize = 64;

/// Most protocols, and most versions, in an event.
const LIST_SHOWN_MAX: usize = 16;

/// Longest server name in an event, bytes (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// Extensions that JA4 leaves out of its hash: the server's name and the protocols.
const LEFT_OUT: [u16; 2] = [0, 16];

/// The text that the JA3 is the MD5 of: version, ciphers, extensions, groups, point formats.
fn ja3_text(hello: &Hello) -> String {
    let formats: Vec<u16> = hello.point_formats.iter().copied().map(u16::from).collect();
    let list = |values: &[u16]| joined(values, "-", |value| value.to_string());
    [
        hello.version.to_string(),
        list(&hello.ciphers),
        list(&hello.extensions),
        list(&hello.groups),
        list(&formats),
    ]
    .join(",")
}

/// The JA3 of a client: 32 hex digits.
pub(crate) fn ja3(hello: &Hello) -> String {
    hex(&Md5::digest(ja3_text(hello)))
}

/// The JA4 of a client over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub(crate) fn ja4(hello: &Hello) -> String {
    let count = |values: &[u16]| values.iter().filter(|value| !is_grease(**value)).count().min(99);
    let name = if hello.extensions.contains(&0) { 'd' } else { 'i' };
    format!(
        "t{}{name}{:02}{:02}{}_{}_{}",
        ja4_version(hello.highest()),
        count(&hello.ciphers),
        count(&hello.extensions),
        ja4_protocol(hello.alpn.first().map(Vec::as_slice).unwrap_or_default()),
        ja4_ciphers(hello),
        ja4_extensions(hello),
    )
}

const fn ja4_version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first protocol; of its hex form, where one of them is no letter or digit.
fn ja4_protocol(protocol: &[u8]) -> String {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else {
        return "00".into();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

fn ja4_ciphers(hello: &Hello) -> String {
    let mut ciphers = hello.ciphers.clone();
    ciphers.sort_unstable();
    short_hash(&joined(&ciphers, ",", |value| format!("{value:04x}")))
}

fn ja4_extensions(hello: &Hello) -> String {
    let mut kinds = hello.extensions.clone();
    kinds.retain(|kind| !LEFT_OUT.contains(kind));
    kinds.sort_unstable();
    let four = |value: u16| format!("{value:04x}");
    let mut text = joined(&kinds, ",", four);
    if !text.is_empty() && !hello.signatures.is_empty() {
        text.push('_');
        text.push_str(&joined(&hello.signatures, ",", four));
    }
    short_hash(&text)
}

/// The first 12 hex digits of a SHA-256; zeros for nothing.
fn short_hash(text: &str) -> String {
    match text {
        "" => "0".repeat(12),
        _ => hex(&Sha256::digest(text)).chars().take(12).collect(),
    }
}

fn joined(values: &[u16], between: &str, show: impl Fn(u16) -> String) -> String {
    let meant = values.iter().copied().filter(|value| !is_grease(*value));
    meant.map(show).collect::<Vec<_>>().join(between)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an event says of a client by its first message; `None`: that is no hello.
pub(crate) fn facts_of(message: &Read) -> Option<Vec<(Field, Value)>> {
    match message {
        Read::Hello(hello) => Some(facts(hello)),
        Read::Old(hello) => Some(old_facts(hello)),
        _ => None,
    }
}

fn facts(hello: &Hello) -> Vec<(Field, Value)> {
    let mut facts = vec![
        (Field::TlsJa3, ja3(hello).into()),
        (Field::TlsJa4, ja4(hello).into()),
        (Field::TlsCipherCount, count(hello.ciphers.len())),
    ];
    facts.extend(version(hello.highest()));
    if let Some(name) = &hello.server_name {
        let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
        facts.push((Field::TlsServerName, text::clean(name).into()));
    }
    let ciphers = hello.ciphers.iter().copied().filter(|cipher| !is_grease(*cipher));
    listed(
        &mut facts,
        Field::TlsCiphers,
        ciphers.map(cipher_name),
        CIPHERS_SHOWN_MAX,
    );
    let protocols = hello.alpn.iter().map(|protocol| text::clean(protocol));
    listed(&mut facts, Field::TlsAlpn, protocols, LIST_SHOWN_MAX);
    let versions = hello.versions.iter().copied().filter(|version| !is_grease(*version));
    listed(
        &mut facts,
        Field::TlsVersions,
        versions.map(version_name),
        LIST_SHOWN_MAX,
    );
    facts
}

/// A hello in the form of SSL 2.0 has no JA3 or JA4.
fn old_facts(hello: &OldHello) -> Vec<(Field, Value)> {
    let mut facts = vec![(Field::TlsCipherCount, count(hello.ciphers.len()))];
    facts.extend(version(hello.version));
    facts
}

fn listed(facts: &mut Vec<(Field, Value)>, field: Field, items: impl Iterator<Item = SmolStr>, max: usize) {
    let items: Vec<_> = items.take(max).collect();
    if !items.is_empty() {
        facts.push((field, items.into()));
    }
}

/// The highest version, as ECS has it: a number and the protocol it is one of.
fn version(version: u16) -> [(Field, Value); 2] {
    let protocol = if version <= 0x0300 { "ssl" } else { "tls" };
    [
        (Field::TlsVersion, version_name(version).into()),
        (Field::TlsProtocol, protocol.into()),
    ]
}

fn version_name(version: u16) -> SmolStr {
    match version {
        0x0304 => "1.3".into(),
        0x0303 => "1.2".into(),
        0x0302 => "1.1".into(),
        0x0301 => "1.0".into(),
        0x0300 => "3.0".into(),
        0x0002 => "2.0".into(),
        other => format!("0x{other:04x}").into(),
    }
}

/// The IANA name of a cipher suite, or its number.
pub(crate) fn cipher_name(cipher: u16) -> SmolStr {
    let suite = CipherSuite::from(cipher);
    match suite.as_str() {
        Some(name) => name.replacen("TLS13_", "TLS_", 1).into(),
        None => format!("0x{cipher:04x}").into(),
    }
}

fn count(number: usize) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(list: &str, radix: u32) -> Vec<u16> {
        let items = list.split([',', '-']).filter(|item| !item.is_empty());
        items.map(|item| u16::from_str_radix(item, radix).unwrap()).collect()
    }

    /// A hello from the text of its JA3.
    fn of_ja3(text: &str) -> Hello {
        let parts: Vec<_> = text.split(',').collect();
        Hello {
            version: parts[0].parse().unwrap(),
            ciphers: numbers(parts[1], 10),
            extensions: numbers(parts[2], 10),
            groups: numbers(parts[3], 10),
            point_formats: numbers(parts[4], 10).into_iter().map(|format| format as u8).collect(),
            ..Hello::default()
        }
    }

    /// The examples of JA3's own page.
    #[test]
    fn ja3_is_that_of_the_published_examples() {
        for (text, hash) in [
            (
                "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0",
                "ada70206e40642a3e4461f35503241d5",
            ),
            (
                "769,4-5-10-9-100-98-3-6-19-18-99,,,",
                "de350869b8c85de67a350c8d186f11e6",
            ),
        ] {
            assert_eq!(ja3_text(&of_ja3(text)), text);
            assert_eq!(ja3(&of_ja3(text)), hash);
        }
    }

    /// Chrome, as JA4's own page takes it apart, with values of RFC 8701 strewn in.
    fn chrome() -> Hello {
        Hello {
            version: 0x0303,
            ciphers: numbers(
                "1a1a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
                16,
            ),
            extensions: numbers(
                "2a2a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015,3a3a",
                16,
            ),
            signatures: numbers("0403,0804,0401,0503,0805,0501,0806,0601", 16),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: vec![0x2a2a, 0x0304, 0x0303],
            ..Hello::default()
        }
    }

    #[test]
    fn ja4_is_that_of_the_published_example() {
        assert_eq!(ja4(&chrome()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn ja4_of_little_and_of_much_keeps_its_form() {
        let bare = Hello {
            version: 0x0301,
            ..Hello::default()
        };
        assert_eq!(ja4(&bare), "t10i000000_000000000000_000000000000");
        let much = Hello {
            version: 0x0303,
            ciphers: (0x2000..0x2100).collect(),
            ..Hello::default()
        };
        assert!(ja4(&much).starts_with("t12i990000_"), "{}", ja4(&much));
    }

    /// The rules for the last part of JA4's first word, from its own page.
    #[test]
    fn ja4_shows_protocols_that_are_no_letters_in_hex() {
        for (protocol, shown) in [
            (&b"http/1.1"[..], "h1"),
            (b"h", "hh"),
            (b"", "00"),
            (b"\xab", "ab"),
            (b"\xab\xcd", "ad"),
            (b"\x30\xab", "3b"),
            (b"\x30\x31\xab\xcd", "3d"),
            (b"\x30\xab\xcd\x31", "01"),
        ] {
            assert_eq!(ja4_protocol(protocol), shown, "{}", protocol.escape_ascii());
        }
    }

    #[test]
    fn facts_are_bounded_whatever_a_hello_offers() {
        let hello = Hello {
            ciphers: vec![5; 16_000],
            alpn: vec![vec![b'x'; 255]; 100],
            versions: vec![0x0304; 127],
            server_name: Some(vec![b'a'; 16_000]),
            ..Hello::default()
        };
        let of = |field| {
            facts(&hello)
                .into_iter()
                .find(|(found, _)| *found == field)
                .map(|(_, value)| value)
        };
        let length = |field| match of(field) {
            Some(Value::Texts(texts)) => texts.len(),
            Some(Value::Text(text)) => text.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(length(Field::TlsCiphers), 64);
        assert_eq!(length(Field::TlsAlpn), 16);
        assert_eq!(length(Field::TlsVersions), 16);
        assert!(length(Field::TlsServerName) <= 300);
        assert_eq!(of(Field::TlsCipherCount), Some(Value::Int(16_000)));
    }
}
