//! Instructions of one ECS rendering, counted by valgrind: the one figure that a shared machine does not blur.

use std::hint::black_box;
use std::process::Command;

use trapline_schemas::render::render;
use trapline_schemas::{Action, Event, Format};

use crate::happenings;
use crate::harness::clients::has;
use crate::measure::row;

/// First argument of a process that is to render; the second is how often.
pub const ROLE: &str = "render-ecs";

/// Renderings that are counted.
const TIMES: u64 = 1000;

/// The difference of two runs, so that start and sample do not count.
pub fn run() {
    if !has("valgrind") {
        return row("instructions of one ECS rendering", "no valgrind", "", None, "20000");
    }
    let each = (instructions(2 * TIMES) - instructions(TIMES)) / TIMES;
    row(
        "instructions of one ECS rendering",
        &each.to_string(),
        "",
        None,
        "20000",
    );
}

/// Renders an SSH password attempt with all that is known of it.
pub fn render_often(times: u32) {
    let is_attempt = |event: &Event| event.action == Action::Credential;
    let event = happenings::contacts().into_iter().find(is_attempt).unwrap();
    let mut out = Vec::with_capacity(4096);
    for _ in 0..times {
        out.clear();
        render(black_box(&event), Format::Ecs, &mut out);
        black_box(&out);
    }
}

fn instructions(times: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([ROLE, &times.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("Collected :"));
    let line = line.unwrap_or_else(|| panic!("valgrind did not count: {said}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
