//! Encodes a typical credential event a number of times, so that instructions can be counted.
//!
//! ```sh
//! cargo build --release -p trapline-schemas --example encode_once
//! for n in 1000 2000; do
//!   valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/encode_once ecs $n
//! done
//! ```
//!
//! The difference of the two counts, divided by 1000, is what one costs. The first argument is a form (`ecs`, `ocsf`,
//! `cef`, `leef`, `text`), `encode` or `decode` of a journal body, or `make`: filling the event alone.

#[path = "../tests/happenings/mod.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod happenings;

use std::hint::black_box;

use trapline_schemas::render::render;
use trapline_schemas::{Action, Event, Format, codec};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "ecs".to_owned());
    let count: u32 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let event = credential();
    let body = codec::encode(&event);
    let mut out = Vec::with_capacity(4096);
    for _ in 0..count {
        out.clear();
        match Format::find(&what) {
            Some(format) => render(black_box(&event), format, &mut out),
            None => match what.as_str() {
                "encode" => codec::encode_into(black_box(&event), &mut out),
                "decode" => drop(black_box(codec::decode(black_box(&body)))),
                _ => drop(black_box(event.clone())),
            },
        }
        black_box(&out);
    }
}

/// An SSH password attempt with all that is known of it.
fn credential() -> Event {
    let is_one = |event: &Event| event.action == Action::Credential;
    happenings::contacts()
        .into_iter()
        .find(is_one)
        .expect("the samples hold a credential")
}
