//! The algorithms that a server offers: part of a personality, by names that are rows of tables here.
//!
//! Invariant: what is offered is spoken. A name that no table has is an error of the personality, with its place.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::cipher::Cipher;
use super::hostkey::Algorithm;
use super::kex::Method;
use super::mac::Mac;

/// An algorithm in the table of its kind.
pub(super) trait Row: Sized + 'static {
    /// What the kind is called in errors.
    const KIND: &'static str;

    /// All of them.
    fn table() -> &'static [Self];

    /// Its name in a KEXINIT.
    fn name(&self) -> &'static str;
}

/// Some algorithms of one kind, in the server's order.
pub(super) struct List<T: Row>(Vec<&'static T>);

impl<T: Row> List<T> {
    /// The client's first choice that is one of these: RFC 4253 section 7.1.
    pub(super) fn choose(&self, offered: &[u8]) -> Option<&'static T> {
        offered.split(|byte| *byte == b',').find_map(|name| self.find(name))
    }

    /// The one with this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<&'static T> {
        self.0.iter().copied().find(|row| row.name().as_bytes() == name)
    }

    /// The server's first.
    pub(super) fn first(&self) -> Option<&'static T> {
        self.0.first().copied()
    }

    /// All names, as a name list.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|row| row.name()).collect();
        names.join(",")
    }

    /// The rows.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static T> {
        self.0.iter().copied()
    }
}

impl<T: Row> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names())
    }
}

impl<'de, T: Row> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Names(std::marker::PhantomData))
    }
}

struct Names<T>(std::marker::PhantomData<T>);

impl<'de, T: Row> Visitor<'de> for Names<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of names, each a {}", T::KIND)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<List<T>, A::Error> {
        let mut rows = Vec::new();
        while let Some(Known(row)) = names.next_element()? {
            rows.push(row);
        }
        Ok(List(rows))
    }
}

/// One name.
struct Known<T: 'static>(&'static T);

impl<'de, T: Row> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // By a visitor, so that an error has the name's own place.
        from.deserialize_str(Name(std::marker::PhantomData))
    }
}

struct Name<T>(std::marker::PhantomData<T>);

impl<T: Row> Visitor<'_> for Name<T> {
    type Value = Known<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", T::KIND)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Known<T>, E> {
        let found = T::table().iter().find(|row| row.name() == name);
        found.map(Known).ok_or_else(|| unknown::<T, E>(name))
    }
}

fn unknown<T: Row, E: de::Error>(name: &str) -> E {
    let names: Vec<_> = T::table().iter().map(|row| format!("`{}`", row.name())).collect();
    E::custom(format!(
        "there is no {} `{name}`, allowed: {}",
        T::KIND,
        names.join(", ")
    ))
}

/// The algorithms that a server offers: part of the `[look]` of an `ssh` personality, in the product's order.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    /// Key exchange, with markers such as `kex-strict-s-v00@openssh.com`.
    pub(super) kex: List<Method>,
    /// Host key algorithms: what the keys of such an install can sign with.
    pub(super) host_keys: List<Algorithm>,
    /// Ciphers, both directions.
    pub(super) ciphers: List<Cipher>,
    /// MACs, both directions.
    pub(super) macs: List<Mac>,
    /// Compression, both directions.
    pub(super) compression: List<Compression>,
}

/// How packets are compressed: not before a login, which there is none of.
#[derive(Debug)]
pub(super) struct Compression(&'static str);

impl Row for Compression {
    const KIND: &'static str = "compression";

    fn table() -> &'static [Self] {
        static TABLE: &[Compression] = &[Compression("none"), Compression("zlib@openssh.com")];
        TABLE
    }

    fn name(&self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Table {
        macs: List<Mac>,
    }

    #[test]
    fn a_name_that_nobody_speaks_is_told_with_what_is_allowed() {
        let error = toml::from_str::<Table>("macs = ['hmac-sha1', 'hmac-md5']").unwrap_err();
        assert!(
            error
                .message()
                .starts_with("there is no MAC `hmac-md5`, allowed: `umac-64-etm"),
            "{error}"
        );
        assert_eq!(error.span(), Some(21..31));
    }

    #[test]
    fn the_clients_first_choice_wins() {
        let table: Table = toml::from_str("macs = ['hmac-sha1', 'hmac-sha2-256']").unwrap();
        let chosen = |offered: &[u8]| table.macs.choose(offered).map(Row::name);
        assert_eq!(chosen(b"hmac-md5,hmac-sha2-256,hmac-sha1"), Some("hmac-sha2-256"));
        assert_eq!(chosen(b"hmac-md5,,hmac-sha2-2567"), None);
        assert_eq!(table.macs.names(), "hmac-sha1,hmac-sha2-256");
    }
}
