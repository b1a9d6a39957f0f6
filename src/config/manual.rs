//! The tables of the configuration with their keys, in the order of the manual page: from the same rows that check it.

use trapline_sink::config::{Key, KeyKind, SinkType};
use trapline_sink::set::SetType;

use super::sections::{SECTIONS, TOP};
use super::{sets, sinks};
use crate::graph::transforms::TRANSFORMS;

/// One table, or one type of table, with its keys.
#[derive(Debug)]
pub struct Chapter {
    /// As it stands in the file: `[journal]`, `[sinks.NAME] with type = "file"`; empty for keys outside any table.
    pub title: String,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys by their whole name, nested ones after their table: `tls.ca`.
    pub keys: Vec<(String, &'static Key)>,
}

/// All tables there are, with these sinks.
pub fn manual(kinds: &[&'static SinkType], acting: &[&'static SetType]) -> Vec<Chapter> {
    let top = Chapter {
        title: String::new(),
        doc: "",
        keys: named("", TOP),
    };
    let mut chapters = vec![top];
    for section in SECTIONS {
        let name = if section.named {
            format!("{}.NAME", section.name)
        } else {
            section.name.to_owned()
        };
        chapters.push(Chapter {
            title: format!("[{name}]"),
            doc: section.doc,
            keys: named("", section.keys),
        });
        match section.name {
            "sinks" => {
                chapters.extend(
                    kinds
                        .iter()
                        .map(|kind| of_type("sinks", kind.name, kind.doc, own(kind))),
                );
                chapters.extend(
                    acting
                        .iter()
                        .map(|kind| of_type("sinks", kind.name, kind.doc, own_of_set(kind))),
                );
            }
            "transforms" => {
                chapters.extend(
                    TRANSFORMS
                        .iter()
                        .map(|row| of_type("transforms", row.name, row.doc, row.keys)),
                );
            }
            _ => {}
        }
    }
    chapters
}

/// The keys of a sink type that not all sinks have.
fn own(kind: &'static SinkType) -> impl Iterator<Item = &'static Key> {
    let common = |key: &&Key| {
        sinks::COMMON
            .iter()
            .any(|other| other.name == key.name && other.doc == key.doc)
    };
    sinks::keys(kind).filter(move |key| !common(key))
}

/// The keys of a type that acts that not all sinks have.
fn own_of_set(kind: &'static SetType) -> impl Iterator<Item = &'static Key> {
    let common = |key: &&Key| {
        let mut common = sinks::COMMON.iter();
        common.any(|other| other.name == key.name && other.doc == key.doc)
    };
    sets::keys(kind).filter(move |key| !common(key))
}

fn of_type(section: &str, name: &str, doc: &'static str, keys: impl IntoIterator<Item = &'static Key>) -> Chapter {
    Chapter {
        title: format!("[{section}.NAME] with type = \"{name}\""),
        doc,
        keys: named("", keys),
    }
}

fn named(before: &str, keys: impl IntoIterator<Item = &'static Key>) -> Vec<(String, &'static Key)> {
    let mut all = Vec::new();
    for key in keys {
        let name = format!("{before}{}", key.name);
        let nested = match key.kind {
            KeyKind::OffOr(keys) | KeyKind::Table(keys) => named(&format!("{name}."), keys),
            KeyKind::Tables(keys) => named(&format!("{name}.NAME."), keys),
            _ => Vec::new(),
        };
        all.push((name, key));
        all.extend(nested);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::registry::{SETS, SINKS};

    #[test]
    fn every_table_and_type_has_its_chapter_and_nested_keys_their_whole_name() {
        let chapters = manual(SINKS, SETS);
        assert_eq!(
            chapters.len(),
            1 + SECTIONS.len() + SINKS.len() + SETS.len() + TRANSFORMS.len()
        );
        let syslog = chapters
            .iter()
            .find(|chapter| chapter.title.contains("\"syslog\""))
            .unwrap();
        let names: Vec<_> = syslog.keys.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"address") && names.contains(&"tls.ca"), "{names:?}");
        assert!(
            !names.contains(&"inputs"),
            "it is in the chapter of all sinks: {names:?}"
        );
    }
}
