//! `sample`, `redact`, `enrich`: what changes events for the sinks behind it.

use trapline_schemas::{CATALOGUE, Field, fields::Row};
use trapline_sink::config::{Key, KeyKind, Problem, Table, listed, shown};

use super::TransformKind;
use super::windowed::{by, key_field};
use crate::graph::shape::{COLUMNS, EnrichSpec, RedactSpec, SampleSpec, With, is_column};

pub(super) const SAMPLE: &[Key] = &[
    Key::required(
        "one_in",
        KeyKind::Integer { min: 1, max: 1_000_000 },
        "One event in so many goes on.",
    ),
    Key::default(
        "by",
        KeyKind::Texts,
        "[]",
        "Fields by whose values is chosen, up to 4, so that what belongs together stays together; none: by event.",
    ),
    Key::optional(
        "keep",
        KeyKind::Condition,
        "Events that fulfil this condition go on in any case.",
    ),
];

pub(super) const REDACT: &[Key] = &[
    Key::required(
        "fields",
        KeyKind::Texts,
        "Paths to hide; `user.*` for all below `user`.",
    ),
    Key::default(
        "with",
        KeyKind::Choice(&["mask", "remove", "hmac"]),
        "\"mask\"",
        "What stands in their place: stars (of an address its network), nothing, or a pseudonym under the site key.",
    ),
];

pub(super) const ENRICH: &[Key] = &[
    Key::optional(
        "geoip",
        KeyKind::InputPath,
        "MaxMind database of cities or countries: GeoLite2-City.mmdb.",
    ),
    Key::optional(
        "asn",
        KeyKind::InputPath,
        "MaxMind database of autonomous systems: GeoLite2-ASN.mmdb.",
    ),
    Key::optional(
        "table",
        KeyKind::InputPath,
        "CSV inventory by address, CIDR or word, with columns such as owner, host, tags.",
    ),
    Key::default(
        "key",
        KeyKind::Text,
        "\"source.ip\"",
        "Path by whose value the inventory is asked.",
    ),
    Key::default(
        "columns",
        KeyKind::Texts,
        "[]",
        "Columns that are called otherwise in the inventory, each as `NAME THERE = NAME HERE`.",
    ),
];

pub(super) fn enrich(table: &Table) -> TransformKind {
    let [geoip, asn, inventory] = ["geoip", "asn", "table"].map(|key| table.path(key));
    if geoip.is_none() && asn.is_none() && inventory.is_none() {
        table.problem("table", "no table", "`geoip`, `asn` or `table`");
    }
    let name = table.text("key");
    let key = key_field(table, "key", None, &name);
    TransformKind::Enrich(EnrichSpec {
        geoip,
        asn,
        table: inventory,
        key: key.unwrap_or(Field::SourceIp),
        columns: columns(table),
    })
}

/// What the columns of the inventory stand for, as `Asset Owner = owner`.
fn columns(table: &Table) -> Vec<(String, String)> {
    let texts = table.texts("columns");
    let read = texts.iter().enumerate().filter_map(|(index, text)| {
        let (there, here) = text.split_once('=').unwrap_or((text, ""));
        let (there, here) = (there.trim().to_lowercase(), here.trim().to_lowercase());
        if is_column(&here) && !there.is_empty() {
            return Some((there, here));
        }
        let words = COLUMNS.iter().map(|(word, _)| *word);
        let found = format!("`{}` names no column", shown(text));
        let allowed = format!("NAME THERE = address or {}", listed(words.clone()));
        let problem = Problem::error(table.item_place("columns", index), found, allowed);
        table.report("columns", problem.did_you_mean(&here, words));
        None
    });
    read.collect()
}

pub(super) fn sample(table: &Table) -> TransformKind {
    TransformKind::Sample(SampleSpec {
        one_in: u64::try_from(table.integer("one_in")).unwrap_or(1).max(1),
        by: by(table, 0),
        keep: table.text_opt("keep"),
    })
}

pub(super) fn redact(table: &Table) -> TransformKind {
    let names = table.texts("fields");
    if names.is_empty() {
        table.problem("fields", "no field", "at least one field");
    }
    let found = names.iter().enumerate();
    let mut fields: Vec<Field> = found.flat_map(|(index, name)| hidden(table, index, name)).collect();
    fields.sort_unstable();
    fields.dedup();
    let with = match table.choice("with") {
        "remove" => With::Remove,
        "hmac" => With::Hmac,
        _ => With::Mask,
    };
    TransformKind::Redact(RedactSpec { fields, with })
}

/// The fields that a path or a sub-tree stands for.
fn hidden(table: &Table, index: usize, name: &str) -> Vec<Field> {
    let stored = || CATALOGUE.iter().filter(|row| row.field.is_stored());
    let is_meant = |row: &&Row| match name.strip_suffix('*') {
        Some(parent) => parent.ends_with('.') && row.ecs.starts_with(parent),
        None => row.ecs == name,
    };
    let fields: Vec<Field> = stored().filter(is_meant).map(|row| row.field).collect();
    if fields.is_empty() {
        let is_derived = CATALOGUE.iter().any(|row| is_meant(&row));
        let what = if is_derived {
            "made of other fields when it is shown"
        } else {
            "no path"
        };
        let found = format!("`{}` is {what}", shown(name));
        let problem = Problem::error(
            table.item_place("fields", index),
            found,
            "a field that is kept, or all below one as `user.*`",
        );
        table.report(
            "fields",
            match is_derived {
                true => problem.hint(
                    "hide the fields that it is made of, such as `source.ip`, `user.name`, `honeyport.payload.base64`",
                ),
                false => problem.did_you_mean(name, stored().map(|row| row.ecs)),
            },
        );
    }
    fields
}
