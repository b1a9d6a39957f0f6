//! `trapline response`: rules tried on what was recorded, before they do anything.

use anyhow::bail;
use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use trapline_schemas::codec;
use trapline_sink::config::duration_text;
use trapline_sink::set::{Spared, Why};

use crate::app;
use crate::control::client;
use crate::control::protocol::{Answer, Query, Request};
use crate::respond::settings::ResponseSettings;
use crate::respond::simulate::{Simulation, Sum, Would};

use super::output::{self, Out, safe};
use super::{Exit, Globals, events, place};

/// What `response` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Replay recorded events through the rules of the configuration: who would have been acted on, when and why
    Simulate {
        /// From this time on: a span back from now such as 30d, or RFC 3339
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = events::instant)]
        since: Timestamp,
        /// Show extensions as well
        #[arg(long)]
        all: bool,
    },
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let Act::Simulate { since, all } = &wanted.act;
    simulate(globals, *since, *all)
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summed {
    summary: Sum,
}

fn simulate(globals: &Globals, since: Timestamp, all: bool) -> anyhow::Result<Exit> {
    let (loaded, _) = place::source(globals).load()?;
    let Some(response) = loaded.config.response.clone() else {
        bail!("there is no `[response]` in the configuration, so there are no rules to try");
    };
    let rules = app::rules_of(&response)?;
    let mut simulation = Simulation::new(response.clone(), rules, spared(&loaded.config.state_dir, &response));
    let query = Query {
        since: Some(since.as_microsecond()),
        ..Query::default()
    };
    let mut out = Out::new();
    let mut rows = Vec::new();
    let (exit, _) = place::each_event(globals, &query, |_, body| {
        // What this version cannot read is no hit that it would have acted on.
        let Ok(event) = codec::decode(body) else { return Ok(()) };
        for would in simulation
            .see(&event)
            .into_iter()
            .filter(|would| all || would.what != "extended")
        {
            match globals.json {
                true => out.line_of_json(&would)?,
                false => rows.push(cells(&would)),
            }
        }
        Ok(())
    })?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let sum = simulation.sum();
    if globals.json {
        out.line_of_json(&Summed { summary: sum })?;
    } else if !rows.is_empty() {
        out.table(
            &["WHEN", "TARGET", "WHAT", "RULE", "DOES", "FOR", "STEP", "BECAUSE"],
            rows,
        )?;
    }
    out.flush()?;
    if !globals.json {
        output::hint(&said(&sum));
    }
    Ok(Exit::Done)
}

/// Who is never acted on: of the running instance, which knows its host; else what the configuration says.
fn spared(state_dir: &std::path::Path, response: &ResponseSettings) -> Spared {
    let known = match client::ask_one(state_dir, &Request::Spared) {
        Ok(Answer::Spared(rows)) => rows,
        _ => Vec::new(),
    };
    let known = known
        .iter()
        .filter_map(|row| Some((row.network.parse().ok()?, Why::Known(row.why.clone()))));
    let allowed = response.allow.iter().map(|network| (*network, Why::Allowed));
    Spared::new(allowed.chain(known))
}

fn cells(would: &Would) -> Vec<String> {
    let what = match &would.refused {
        Some(why) => format!("refused: {}", safe(why)),
        None => would.what.to_owned(),
    };
    let lasts = match would.refused {
        Some(_) => "-".to_owned(),
        None => duration_text(std::time::Duration::from_secs(would.ttl_seconds)),
    };
    vec![
        would.at.clone(),
        would.target.clone(),
        what,
        safe(&would.rule),
        would.verbs.join(","),
        lasts,
        would.step.to_string(),
        safe(&would.because),
    ]
}

fn said(sum: &Sum) -> String {
    format!(
        "{} events: {} decisions about {} sources, {} refused; {} hits came from sources that were shut out by then",
        sum.events, sum.decisions, sum.sources, sum.refused, sum.spared_hits
    )
}
