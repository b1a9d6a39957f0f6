//! Every sample event in every form is as it was committed, and valid by our own schemas and by the reference
//! validators.
//!
//! `TRAPLINE_REMAKE=1 cargo test -p trapline-schemas` makes samples, JSON Schemas and the field page anew; the
//! difference is then reviewed like any other. The reference validators are looked for in `../shared/schemas`
//! from the repository root, or in `$TRAPLINE_SHARED/schemas`; where there are none, those checks say so and pass.

#![expect(clippy::unwrap_used, reason = "a test")]

mod happenings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use trapline_schemas::render::{render, render_within};
use trapline_schemas::{Action, CATALOGUE, Event, Format, codec, schema};

const REMAKE: &str = "TRAPLINE_REMAKE";

/// Compares what was made with what is committed, or commits it anew.
fn golden(path: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os(REMAKE).is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(made.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "{} differs from line {:?} on; if that is meant: {REMAKE}=1 cargo test -p trapline-schemas",
        path.display(),
        differs.map(|line| line + 1),
    );
}

fn lines(events: &[Event], format: Format) -> String {
    let mut out = Vec::new();
    for event in events {
        render(event, format, &mut out);
        out.push(b'\n');
    }
    String::from_utf8(out).unwrap()
}

fn json_lines(format: Format) -> Vec<Value> {
    let all = happenings::all();
    let text: String = all.iter().map(|(_, events)| lines(events, format)).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_sample_is_as_committed_in_every_form() {
    for (name, events) in happenings::all() {
        for format in Format::ALL {
            let extension = match format {
                Format::Ecs => "ecs.jsonl",
                Format::Ocsf => "ocsf.jsonl",
                Format::Cef => "cef",
                Format::Leef => "leef",
                Format::Text => "txt",
            };
            golden(&format!("samples/{name}.{extension}"), &lines(&events, *format));
        }
        let bodies: Vec<String> = events
            .iter()
            .map(|event| String::from_utf8(codec::encode(event)).unwrap() + "\n")
            .collect();
        golden(&format!("samples/{name}.body.jsonl"), &bodies.concat());
    }
}

#[test]
fn every_sample_body_reads_back_as_its_event() {
    for event in happenings::all().into_iter().flat_map(|(_, events)| events) {
        assert_eq!(codec::decode(&codec::encode(&event)).unwrap(), event);
    }
}

#[test]
fn every_action_has_a_sample() {
    let shown: BTreeSet<Action> = happenings::all()
        .iter()
        .flat_map(|(_, events)| events)
        .map(|event| event.action)
        .collect();
    assert_eq!(shown.len(), Action::ALL.len());
}

#[test]
fn the_schemas_and_the_field_page_are_as_committed() {
    golden("json/ecs.schema.json", &schema::pretty(&schema::ecs()));
    golden("json/ocsf.schema.json", &schema::pretty(&schema::ocsf()));
    golden("FIELDS.md", &schema::fields_page());
}

/// Each sample with all left out that can be.
fn smallest(format: Format) -> Vec<Value> {
    let smallest = |event: &Event| {
        let (mut max, mut last) = (usize::MAX, Vec::new());
        let mut out = Vec::new();
        while render_within(event, format, max, &mut out) {
            max = out.len() - 1;
            last = std::mem::take(&mut out);
        }
        serde_json::from_slice(&last).unwrap()
    };
    let all = happenings::all();
    all.iter().flat_map(|(_, events)| events).map(smallest).collect()
}

#[test]
fn every_sample_is_valid_by_our_own_schemas() {
    for (format, schema) in [(Format::Ecs, schema::ecs()), (Format::Ocsf, schema::ocsf())] {
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for event in json_lines(format).into_iter().chain(smallest(format)) {
            let errors: Vec<String> = validator
                .iter_errors(&event)
                .map(|error| format!("{}: {error}", error.instance_path))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}\n{event}");
        }
    }
}

#[test]
fn our_own_schemas_refuse_what_is_wrong() {
    let breaks: [fn(&mut Value); 3] = [
        |event| event["surprise"] = Value::from(1),
        |event| *event = serde_json::json!({}),
        |event| event["message"] = Value::Null,
    ];
    for (format, schema) in [(Format::Ecs, schema::ecs()), (Format::Ocsf, schema::ocsf())] {
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for (number, break_it) in breaks.iter().enumerate() {
            let mut event = json_lines(format).swap_remove(0);
            break_it(&mut event);
            assert!(!validator.is_valid(&event), "{format:?} {number}");
        }
    }
}

#[test]
fn every_sample_is_valid_by_the_reference_validators() {
    let Some(shared) = shared() else {
        return note("reference validators not found: samples not checked by them");
    };
    for (script, form) in [("validate_ecs.py", "ecs"), ("validate_ocsf.py", "ocsf")] {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let files = happenings::all().map(|(name, _)| samples.join(format!("{name}.{form}.jsonl")));
        validate(&shared.join(script), &files);
    }
}

#[test]
fn every_act_and_decision_about_addresses_and_networks_is_valid_by_the_reference_validators() {
    let Some(shared) = shared() else {
        return note("reference validators not found: acts and decisions not checked by them");
    };
    let events = happenings::decisions::every();
    assert_eq!(
        events.len(),
        4 * (8 * 2 + 8 + 1),
        "every action, state and kind of target"
    );
    for (script, format) in [("validate_ecs.py", Format::Ecs), ("validate_ocsf.py", Format::Ocsf)] {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("decisions.{}.jsonl", format.name()));
        std::fs::write(&file, lines(&events, format)).unwrap();
        validate(&shared.join(script), &[file]);
    }
}

/// Has a reference validator look at files.
fn validate(script: &Path, files: &[PathBuf]) {
    let run = Command::new("python3").arg(script).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.trim_end().ends_with(" 0 violations"),
        "{}:\n{said}",
        script.display()
    );
    note(&format!("{}: {}", script.display(), said.trim_end()));
}

/// The folder of the reference validators, if there is one.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("TRAPLINE_SHARED")
        .map_or_else(beside, PathBuf::from)
        .join("schemas");
    shared.join("validate_ecs.py").exists().then_some(shared)
}

/// Tells the person who runs the tests.
#[expect(clippy::print_stderr, reason = "a skipped check must be seen")]
fn note(text: &str) {
    eprintln!("{text}");
}

#[test]
fn every_field_with_an_ocsf_path_stands_there_in_some_sample() {
    let events = json_lines(Format::Ocsf);
    // Set by later parts of the program only, or a rendering of less than the whole.
    let later = ["metadata.is_truncated"];
    for row in CATALOGUE
        .iter()
        .filter(|row| !row.ocsf.is_empty() && !later.contains(&row.ocsf))
    {
        assert!(
            events.iter().any(|event| has(event, row.ocsf)),
            "{} is nowhere at {}",
            row.ecs,
            row.ocsf
        );
    }
}

/// Whether something stands at a dotted path, through the items of arrays.
fn has(value: &Value, path: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has(item, path)),
        _ if path.is_empty() => true,
        _ => {
            let (key, rest) = path.split_once('.').unwrap_or((path, ""));
            value.get(key).is_some_and(|value| has(value, rest))
        }
    }
}
