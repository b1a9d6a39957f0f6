//! What trapline costs, as ratios to bare twins in the same run: `cargo bench --bench trapline [-- PART…]`.
//!
//! Parts: `hits` (server CPU per hit), `sinks` (the same with file, syslog and HEC), `held` (memory of idle decoys and
//! held sessions), `recorded` (peers that close by FIN and by RST), `connect` (latency at 200 at a time), `search`
//! (1 M events: start and `events`), `journal` (durable entries), `encode` (instructions of an ECS rendering). Without
//! a part all run. Rounds go A B A B and the median is printed, because the machine is shared; what is compared is the
//! server's own CPU time, which the load generator does not touch.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a bench stops where something is wrong"
)]

mod bare;
mod encode;
#[path = "../../schemas/tests/happenings/mod.rs"]
#[expect(dead_code, reason = "the schemas' own tests use the rest")]
mod happenings;
#[path = "../harness/mod.rs"]
mod harness;
mod held;
mod hits;
mod journal;
mod load;
mod measure;
mod recorded;
mod search;

/// A part's name and what runs it.
const PARTS: &[(&str, fn())] = &[
    ("hits", hits::alone),
    ("sinks", hits::with_sinks),
    ("held", held::run),
    ("connect", held::connect),
    ("recorded", recorded::run),
    ("search", search::run),
    ("journal", journal::run),
    ("encode", encode::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    match arguments.first().map(String::as_str) {
        Some(bare::ROLE) => bare::serve(),
        Some(encode::ROLE) => encode::render_often(arguments[1].parse().unwrap()),
        _ => table(&arguments),
    }
}

fn table(wanted: &[String]) {
    let is_none = |word: &&String| PARTS.iter().all(|(name, _)| name != word);
    if let Some(unknown) = wanted.iter().find(is_none) {
        panic!("no part is named `{unknown}`");
    }
    measure::raise_descriptor_limit();
    println!(
        "{:<44} {:>12} {:>12} {:>8} {:>8}",
        "", "trapline", "bare twin", "ratio", "bound"
    );
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part();
        }
    }
}
