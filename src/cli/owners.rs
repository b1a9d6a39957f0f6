//! `trapline owners`: the owners of sources: which incidents wait for somebody to let them be written to, and to let them.

use clap::Subcommand;

use crate::control::owners::{OwnerRow, Release, ReleaseOrder, ReleaseReport};
use crate::control::protocol::{Answer, Request};

use super::output::{self, Out, safe};
use super::{Exit, Globals, place};

/// What `owners` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show incidents whose source somebody answers for, the latest first, and whether the owner was written to
    List {
        /// At most N of them, 0 is 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Those alone that wait for a release
        #[arg(long)]
        waiting: bool,
    },
    /// Let the owner of an incident's source be written to, once; it may be the intruder who reads the mail
    Release {
        /// The incident: its id, or the first eight signs of it or more
        incident: String,
        /// Why, for the record; it is not in the mail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Send another mail, though there was one
        #[arg(long)]
        again: bool,
    },
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    match &wanted.act {
        Act::List { limit, waiting } => list(globals, *limit, *waiting),
        Act::Release {
            incident,
            reason,
            again,
        } => release(
            globals,
            ReleaseOrder {
                incident: incident.clone(),
                reason: reason.clone(),
                again: *again,
            },
        ),
    }
}

fn list(globals: &Globals, limit: u32, waiting: bool) -> anyhow::Result<Exit> {
    let mut rows = match place::ask_one(globals, &Request::Owners { limit })? {
        Answer::Owners(rows) => rows,
        other => return place::refused(other),
    };
    rows.retain(|row| !waiting || row.released.is_none());
    let mut out = Out::new();
    if globals.json {
        rows.iter().try_for_each(|row| out.line_of_json(row))?;
    } else if !rows.is_empty() {
        let head = [
            "INCIDENT", "SOURCE", "OWNER", "ADDRESS", "FIRST", "LAST", "HITS", "LEVEL", "RELEASED",
        ];
        out.table(&head, rows.iter().map(cells).collect())?;
    }
    out.flush()?;
    if rows.is_empty() && !globals.json {
        output::hint(match waiting {
            true => "no incident of a source that somebody answers for waits for a release",
            false => "there is no incident of a source that somebody answers for",
        });
    }
    Ok(Exit::Done)
}

fn cells(row: &OwnerRow) -> Vec<String> {
    let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), safe);
    vec![
        row.incident.clone(),
        source(row),
        safe(&row.owner),
        or_dash(row.email.as_deref()),
        row.first.clone(),
        row.last.clone(),
        row.hits.to_string(),
        or_dash(row.level.as_deref()),
        row.released.as_ref().map_or_else(|| "waits".to_owned(), told),
    ]
}

/// Who came, and that it may have been somebody else.
fn source(row: &OwnerRow) -> String {
    match row.spoofable {
        true => format!("{} (may be forged)", row.source),
        false => row.source.to_string(),
    }
}

/// `2026-03-04T10:15:30.123Z by alice`, with the number of a release after the first.
fn told(released: &Release) -> String {
    let times = match released.number {
        ..=1 => String::new(),
        number => format!(", {number} times in all"),
    };
    format!("{} by {}{times}", released.at, safe(&released.by))
}

fn release(globals: &Globals, order: ReleaseOrder) -> anyhow::Result<Exit> {
    let report = match place::ask_one(globals, &Request::Release(order))? {
        Answer::Released(report) => report,
        other => return place::refused(other),
    };
    let mut out = Out::new();
    match globals.json {
        true => out.json(&report)?,
        false => out.line(&said(&report))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn said(report: &ReleaseReport) -> String {
    let sinks: Vec<_> = report.sinks.iter().map(|sink| safe(sink)).collect();
    let noun = if sinks.len() == 1 { "sink" } else { "sinks" };
    let forged = match report.spoofable {
        true => "; no handshake proved the address, it may be forged",
        false => "",
    };
    format!(
        "released by {}: one mail about {} (incident {}) to its owner {}, {}, through {noun} {}{forged}",
        safe(&report.released.by),
        report.source,
        report.incident,
        safe(&report.owner),
        safe(&report.email),
        sinks.join(", ")
    )
}
