//! `trapline learn`: who comes again and again without meaning harm, as a list to look through and paste.
//!
//! It proposes and changes nothing: each table names one source, the decoys it came to, no more than the level of touch
//! it reached, a reason and an end.

mod habits;

use jiff::{SpanRelativeTo, Timestamp};
use serde::Serialize;
use trapline_schemas::codec;

use crate::control::protocol::Query;

use self::habits::{Habits, Least, Proposal, Refusal};
use super::output::{self, Out, safe};
use super::{Exit, Globals, events, place};

/// What `learn` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// From this time on: a span back from now such as 7d, or RFC 3339
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = events::instant)]
    since: Timestamp,
    /// Least visits of a source that make a habit
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..))]
    visits: u64,
    /// Least days on which it came
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    days: u64,
    /// How long it is to be ignored
    #[arg(long = "for", value_name = "SPAN", default_value = "90d", value_parser = span)]
    lasting: jiff::Span,
}

fn span(text: &str) -> Result<jiff::Span, String> {
    let span: jiff::Span = text.parse().map_err(|_| format!("`{text}` is no span such as 90d"))?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours());
    match length.is_ok_and(|length| length.is_positive()) {
        true => Ok(span),
        false => Err(format!("`{text}` is no span such as 90d")),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    since: String,
    until: String,
    proposals: Vec<Proposal>,
    refused: Vec<Refusal>,
    sources_not_looked_at: u64,
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let mut habits = Habits::default();
    let query = Query {
        since: Some(wanted.since.as_microsecond()),
        ..Query::default()
    };
    let (exit, _) = place::each_event(globals, &query, |_, body| {
        // What this version cannot read is no habit that it could judge.
        if let Ok(event) = codec::decode(body) {
            habits.see(&event);
        }
        Ok(())
    })?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let report = report(habits, wanted)?;
    let mut out = Out::new();
    match globals.json {
        true => out.json(&report)?,
        false => print(&mut out, &report)?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn report(habits: Habits, wanted: &Arguments) -> anyhow::Result<Report> {
    let least = Least {
        visits: wanted.visits,
        days: wanted.days,
    };
    let sources_not_looked_at = habits.too_many();
    let (proposals, refused) = habits.judge(&least);
    Ok(Report {
        since: wanted.since.strftime("%Y-%m-%d").to_string(),
        until: end(Timestamp::now(), wanted.lasting)?,
        proposals,
        refused,
        sources_not_looked_at,
    })
}

/// When a list of now is over, RFC 3339: a day alone would be over at its beginning.
fn end(now: Timestamp, lasting: jiff::Span) -> anyhow::Result<String> {
    let end = now.to_zoned(jiff::tz::TimeZone::UTC).checked_add(lasting)?;
    Ok(end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn print(out: &mut Out, report: &Report) -> std::io::Result<()> {
    out.line(&format!(
        "# {} of the sources inside since {} are a habit without harm. Look at each, then paste it.",
        report.proposals.len(),
        report.since
    ))?;
    for proposal in &report.proposals {
        table(out, proposal, &report.until)?;
    }
    if !report.refused.is_empty() {
        out.line("\n# Not proposed:")?;
    }
    for refusal in &report.refused {
        out.line(&format!("# {}: {}", refusal.source, refusal.reason))?;
    }
    if report.sources_not_looked_at > 0 {
        let count = report.sources_not_looked_at;
        output::warning(&format!(
            "{count} events of further sources were not looked at, there are too many"
        ));
    }
    Ok(())
}

fn table(out: &mut Out, proposal: &Proposal, until: &str) -> std::io::Result<()> {
    let decoys: Vec<_> = proposal.decoys.iter().map(|decoy| quoted(decoy)).collect();
    out.line(&format!("\n[ignore.{}]", proposal.name))?;
    out.line(&format!("sources = [{}]", quoted(&proposal.source.to_string())))?;
    out.line(&format!("decoys = [{}]", decoys.join(", ")))?;
    out.line(&format!("touch = {}", quoted(proposal.touch)))?;
    out.line(&format!("reason = {}", quoted(&proposal.reason)))?;
    out.line(&format!("until = {}", quoted(until)))
}

/// A TOML string: JSON's is one (TOML 1.0, basic strings).
fn quoted(text: &str) -> String {
    serde_json::Value::from(safe(text)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_for_half_a_day_is_over_in_half_a_day() {
        let now = "2026-03-04T10:20:30.5Z".parse().unwrap();
        assert_eq!(end(now, span("12h").unwrap()).unwrap(), "2026-03-04T22:20:30Z");
        assert_eq!(end(now, span("90d").unwrap()).unwrap(), "2026-06-02T10:20:30Z");
    }
}
