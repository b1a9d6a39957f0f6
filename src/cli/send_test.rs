//! `trapline send-test SINK`: one marked test event, through that sink alone.

use crate::control::protocol::{Answer, Request, SinkReport};

use super::output::{Out, safe};
use super::{Exit, Globals, place};

/// What `send-test` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The sink's name in the configuration
    sink: String,
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let request = Request::SendTest {
        sink: wanted.sink.clone(),
    };
    match place::ask_one(globals, &request)? {
        Answer::Sinks(reports) => show(globals, &reports),
        other => place::refused(other),
    }
}

fn show(globals: &Globals, reports: &[SinkReport]) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    if globals.json {
        out.json(&reports)?;
    }
    for report in reports.iter().filter(|_| !globals.json) {
        let result = result(report);
        out.line(&format!(
            "{} ({}): {result}: {}",
            report.name,
            report.kind,
            safe(&report.said)
        ))?;
        if let Some(destination) = &report.destination {
            out.line(&format!("to: {}", safe(destination)))?;
        }
        if let Some(sent) = &report.sent {
            out.line(&format!("sent: {}", safe(sent)))?;
        }
    }
    out.flush()?;
    let all_well = reports.iter().all(|report| report.ok);
    Ok(if all_well { Exit::Done } else { Exit::Failed })
}

const fn result(report: &SinkReport) -> &'static str {
    match (report.ok, report.unconfirmed) {
        (true, false) => "delivered",
        (true, true) => "sent",
        (false, _) => "not delivered",
    }
}
