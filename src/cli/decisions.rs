//! `trapline decisions`: what is done about sources, and what a person wants done.

use std::time::Duration;

use clap::Subcommand;
use trapline_sink::config::{duration_text, parse_duration};

use crate::control::decisions::{DecisionAct, DecisionOrder, DecisionReport, DecisionRow, SparedRow, TTL_MAX};
use crate::control::protocol::{Answer, Request};

use super::output::{self, Out, safe};
use super::{Exit, Globals, place};

/// What `decisions` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show what is in force, what waits for a person and what would be done, by when it ends
    List {
        /// Those alone that wait for a person
        #[arg(long)]
        waiting: bool,
    },
    /// Have something done to an address or a network, for a time
    Add {
        /// The address, or a network of /24 (IPv4) or /48 (IPv6) at the widest
        target: String,
        /// What is done: block, sinkhole, tag, list
        #[arg(long = "do", value_name = "ACTS", value_delimiter = ',', default_value = "block")]
        verbs: Vec<String>,
        /// For how long, up to 365d
        #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = ttl)]
        ttl: Duration,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a decision, or all about an address, now: what was done is undone everywhere
    Remove {
        /// The address or network, or the decision's id, or the first eight signs of it or more
        decision: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Have done what a rule proposes
    Approve {
        /// The decision's id, or the first eight signs of it or more; or its address
        decision: String,
    },
    /// Turn down what a rule proposes; it is not proposed again while it would have lasted
    Reject {
        /// The decision's id, or the first eight signs of it or more; or its address
        decision: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Show whom nothing is ever done to, and why
    Spared,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let given = parse_duration(text).ok_or_else(|| format!("`{text}` is no span such as 30m or 7d"))?;
    match (Duration::from_secs(1)..=TTL_MAX).contains(&given) {
        true => Ok(given),
        false => Err(format!("`{text}` is out of range 1s..=365d")),
    }
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let order = |act, about: &str, reason: &Option<String>| DecisionOrder {
        act,
        about: about.to_owned(),
        reason: reason.clone(),
    };
    match &wanted.act {
        Act::List { waiting } => list(globals, *waiting),
        Act::Spared => spared(globals),
        Act::Add {
            target,
            verbs,
            ttl,
            reason,
        } => {
            let act = DecisionAct::Add {
                verbs: verbs.clone(),
                ttl_secs: ttl.as_secs(),
            };
            decide(globals, order(act, target, reason), "decided")
        }
        Act::Remove { decision, reason } => decide(globals, order(DecisionAct::Remove, decision, reason), "lifted"),
        Act::Approve { decision } => decide(globals, order(DecisionAct::Approve, decision, &None), "approved"),
        Act::Reject { decision, reason } => decide(globals, order(DecisionAct::Reject, decision, reason), "rejected"),
    }
}

fn list(globals: &Globals, waiting: bool) -> anyhow::Result<Exit> {
    let mut rows = match place::ask_one(globals, &Request::Decisions)? {
        Answer::Decisions(rows) => rows,
        other => return place::refused(other),
    };
    rows.retain(|row| !waiting || row.state == "proposed");
    let mut out = Out::new();
    if globals.json {
        rows.iter().try_for_each(|row| out.line_of_json(row))?;
    } else if !rows.is_empty() {
        let head = ["ID", "TARGET", "STATE", "DOES", "BY", "STEP", "LEFT", "SINKS"];
        out.table(&head, rows.iter().map(cells).collect())?;
    }
    out.flush()?;
    if rows.is_empty() && !globals.json {
        output::hint(match waiting {
            true => "nothing waits for a person",
            false => "nothing is decided about anybody",
        });
    }
    Ok(Exit::Done)
}

fn cells(row: &DecisionRow) -> Vec<String> {
    let by = row.rule.as_deref().or(row.person.as_deref()).unwrap_or("-");
    let sinks: Vec<_> = row
        .sinks
        .iter()
        .map(|sink| format!("{} {}", safe(&sink.sink), sink.state))
        .collect();
    vec![
        row.id.to_string(),
        row.target.clone(),
        row.state.clone(),
        row.verbs.join(","),
        safe(by),
        row.step.to_string(),
        match row.state.as_str() {
            "over" => "-".to_owned(),
            _ => duration_text(Duration::from_secs(row.remaining_seconds)),
        },
        match sinks.is_empty() {
            true => "-".to_owned(),
            false => sinks.join(", "),
        },
    ]
}

fn decide(globals: &Globals, order: DecisionOrder, done: &str) -> anyhow::Result<Exit> {
    let report = match place::ask_one(globals, &Request::Decide(order))? {
        Answer::Decided(report) => report,
        other => return place::refused(other),
    };
    let mut out = Out::new();
    match globals.json {
        true => out.json(&report)?,
        false => said(&mut out, &report, done)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn said(out: &mut Out, report: &DecisionReport, done: &str) -> std::io::Result<()> {
    report.decisions.iter().try_for_each(|row| {
        let until = match row.state.as_str() {
            "active" if done != "lifted" => format!(" until {}", row.until),
            _ => String::new(),
        };
        out.line(&format!(
            "{done}: {} {}{until} ({})",
            row.verbs.join(", "),
            row.target,
            row.id
        ))
    })
}

fn spared(globals: &Globals) -> anyhow::Result<Exit> {
    let rows = match place::ask_one(globals, &Request::Spared)? {
        Answer::Spared(rows) => rows,
        other => return place::refused(other),
    };
    let mut out = Out::new();
    if globals.json {
        rows.iter().try_for_each(|row| out.line_of_json(row))?;
    } else {
        let cells = |row: &SparedRow| vec![row.network.clone(), safe(&row.why), safe(&row.from)];
        out.table(&["NETWORK", "WHY", "FROM"], rows.iter().map(cells).collect())?;
    }
    out.flush()?;
    Ok(Exit::Done)
}
