//! The index template of `config/vendors` is made from the catalogue; `TRAPLINE_REMAKE=1` writes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use std::path::Path;

use serde_json::{Map, Value, json};
use trapline_schemas::{CATALOGUE, Kind, Row};

/// What a field is to an index. Texts that a peer wrote are searched by word, and longer than a keyword may be.
fn mapping(row: &Row) -> Value {
    match row.kind {
        Kind::Keyword | Kind::Keywords | Kind::Id => json!({"type": "keyword", "ignore_above": 1024}),
        Kind::Text => json!({"type": "text"}),
        Kind::Long | Kind::Longs => json!({"type": "long"}),
        Kind::Float => json!({"type": "float"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Ip | Kind::Ips => json!({"type": "ip"}),
        Kind::Date => json!({"type": "date"}),
        Kind::Bytes => json!({"type": "binary"}),
    }
}

/// Puts a mapping where its path says.
fn put(properties: &mut Map<String, Value>, path: &str, mapping: Value) {
    match path.split_once('.') {
        None => {
            properties.insert(path.to_owned(), mapping);
        }
        Some((first, rest)) => {
            let object = properties.entry(first).or_insert_with(|| json!({"properties": {}}));
            put(object["properties"].as_object_mut().unwrap(), rest, mapping);
        }
    }
}

/// A data stream whose mapping nobody's bytes can change: what it does not know is kept and not indexed.
fn template() -> Value {
    let mut properties = Map::new();
    // A place on the earth is one field of two numbers.
    let is_place = |row: &&Row| row.ecs.contains(".geo.location.");
    for row in CATALOGUE.iter().filter(|row| !is_place(row)) {
        put(&mut properties, row.ecs, mapping(row));
    }
    put(&mut properties, "source.geo.location", json!({"type": "geo_point"}));
    json!({
        "index_patterns": ["logs-trapline.*-*"],
        "priority": 200,
        "data_stream": {},
        "template": {"mappings": {"dynamic": false, "date_detection": false, "properties": properties}},
        "_meta": {"description": "events of trapline in ECS"},
    })
}

#[test]
fn the_index_template_knows_every_field_of_the_catalogue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/vendors/elasticsearch-template.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&template()).unwrap());
    if std::env::var_os("TRAPLINE_REMAKE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        kept, made,
        "TRAPLINE_REMAKE=1 cargo test -p trapline-sink-elasticsearch makes it anew"
    );
    let source = &template()["template"]["mappings"]["properties"]["source"]["properties"];
    assert_eq!(source["ip"]["type"], "ip");
    assert_eq!(source["geo"]["properties"]["location"]["type"], "geo_point");
}
