//! `trapline metrics`: the instance's figures as Prometheus reads them, also for node_exporter's textfile collector.

use crate::control::protocol::{Answer, Request};

use super::output::Out;
use super::{Exit, Globals, place};

pub(super) fn run(globals: &Globals) -> anyhow::Result<Exit> {
    let text = match place::ask_one(globals, &Request::Metrics)? {
        Answer::Metrics(text) => text,
        other => return place::refused(other),
    };
    let mut out = Out::new();
    match globals.json {
        true => out.json(&serde_json::json!({ "metrics": text }))?,
        false => text.lines().try_for_each(|line| out.line(line))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}
