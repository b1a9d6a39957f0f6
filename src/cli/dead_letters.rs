//! `trapline dead-letters`: events that a sink refused for good: shown, sent again, or dropped.

use std::io::{self, IsTerminal, Write};

use clap::Subcommand;

use crate::app;
use crate::control::client::{self, ClientError};
use crate::control::letters::{self, LetterAct, LetterQuery, LetterRow, LetterSum, Walk};
use crate::control::protocol::{Answer, Refusal, Request};
use crate::journal::{Hold, amend};

use super::output::{self, Out, safe};
use super::{Exit, Globals, place};

/// What `dead-letters` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show them, by sink and offset
    List {
        #[command(flatten)]
        which: Which,
        /// At most N of them, 0 is all
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Show some of them whole: reason and event
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Send them to their sink again, with the same ids; what is refused again is a dead letter anew
    Retry {
        #[command(flatten)]
        which: Which,
        /// All of them, or all of --sink
        #[arg(long)]
        all: bool,
    },
    /// Remove them for good; the journal keeps how many there were
    Drop {
        #[command(flatten)]
        which: Which,
        /// All of them, or all of --sink
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which are meant.
#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// Of this sink alone
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// These alone: an offset, SINK/OFFSET, or the id of an event
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

impl Which {
    fn query(&self, limit: u32, whole: bool) -> LetterQuery {
        LetterQuery {
            sink: self.sink.clone(),
            ids: self.ids.clone(),
            limit,
            whole,
        }
    }
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    match &wanted.act {
        Act::List { which, limit } => list(globals, &which.query(*limit, false)),
        Act::Show { which } if which.ids.is_empty() => {
            misused("name the dead letters to show; `dead-letters list` has them")
        }
        Act::Show { which } => list(globals, &which.query(0, true)),
        Act::Retry { which, all } | Act::Drop { which, all, .. } if which.ids.is_empty() != *all => {
            misused("name the dead letters that are meant, or say --all")
        }
        Act::Retry { which, .. } => retry(globals, &which.query(0, false)),
        Act::Drop { which, yes, .. } => drop_letters(globals, &which.query(0, false), *yes),
    }
}

fn misused(why: &str) -> anyhow::Result<Exit> {
    place::refused(Answer::refused(Refusal::Usage, why))
}

fn list(globals: &Globals, query: &LetterQuery) -> anyhow::Result<Exit> {
    let mut rows = Rows::new(globals.json);
    let sum = match client::ask(&place::state_dir(globals)?, &Request::LetterList(query.clone())) {
        Ok(answers) => rows.take(answers)?,
        Err(ClientError::NotRunning(_)) => list_file(globals, query, &mut rows)?,
        Err(error) => return Err(error.into()),
    };
    rows.end(&sum, query.whole)
}

fn list_file(globals: &Globals, query: &LetterQuery, rows: &mut Rows) -> anyhow::Result<LetterSum> {
    let sinks = enabled(globals).unwrap_or_default();
    let found = place::with_journal(globals, Hold::WhileLooking, async |journal| {
        let mut sum = LetterSum::default();
        let mut walk = Walk::begin(&journal, query, &sinks).await.map_err(refusal)?;
        while let Some(page) = walk.next().await.map_err(refusal)? {
            for kept in page {
                sum.count += 1;
                if let Some(row) = walk.row(&kept) {
                    rows.show(row)?;
                }
            }
        }
        Ok(sum)
    })?;
    Ok(found.unwrap_or_default())
}

/// What is shown: a line of JSON each at once, a table at the end.
struct Rows {
    out: Out,
    json: bool,
    kept: Vec<LetterRow>,
    shown: u64,
}

impl Rows {
    fn new(json: bool) -> Self {
        Self {
            out: Out::new(),
            json,
            kept: Vec::new(),
            shown: 0,
        }
    }

    fn take(&mut self, answers: client::Answers) -> anyhow::Result<LetterSum> {
        for answer in answers {
            match answer? {
                Answer::Letter(row) => self.show(row)?,
                Answer::Letters(sum) => return Ok(sum),
                other => return Err(place::refused(other).err().unwrap_or_else(|| ClientError::Ended.into())),
            }
        }
        Err(ClientError::Ended.into())
    }

    fn show(&mut self, row: LetterRow) -> io::Result<()> {
        self.shown += 1;
        if self.json {
            return self.out.line_of_json(&row);
        }
        self.kept.push(row);
        Ok(())
    }

    fn end(mut self, sum: &LetterSum, whole: bool) -> anyhow::Result<Exit> {
        if whole {
            self.kept.iter().try_for_each(|row| show_whole(&mut self.out, row))?;
        } else if !self.kept.is_empty() {
            let rows = self.kept.iter().map(cells).collect();
            self.out
                .table(&["ID", "REFUSED", "STATE", "EVENT", "REASON", "WHAT"], rows)?;
        }
        self.out.flush()?;
        if !self.json && sum.count == 0 {
            output::hint("there are no dead letters");
        } else if !self.json && self.shown < sum.count {
            output::hint(&format!(
                "{} of {} are shown, --limit 0 shows all",
                self.shown, sum.count
            ));
        }
        Ok(Exit::Done)
    }
}

fn state(row: &LetterRow) -> &'static str {
    if row.retrying { "sent again" } else { "kept" }
}

fn cells(row: &LetterRow) -> Vec<String> {
    vec![
        safe(&row.id),
        row.at.clone(),
        state(row).to_owned(),
        row.event_id.clone().unwrap_or_else(|| "-".to_owned()),
        safe(&row.reason),
        safe(&row.summary),
    ]
}

fn show_whole(out: &mut Out, row: &LetterRow) -> io::Result<()> {
    out.line(&format!(
        "{}: refused {}, {}: {}",
        safe(&row.id),
        row.at,
        state(row),
        safe(&row.reason)
    ))?;
    match &row.event {
        Some(event) => out.json(event),
        None => out.line(&safe(&row.summary)),
    }
}

fn retry(globals: &Globals, query: &LetterQuery) -> anyhow::Result<Exit> {
    let (sum, live) = act(globals, LetterAct::Retry, query)?;
    let then = if live {
        "sent to their sinks again"
    } else {
        "marked: they are sent again when trapline runs"
    };
    show_sum(globals, &sum, then)?;
    for (sink, count) in &sum.skipped {
        output::warning(&format!(
            "{count} of sink {} stay, as it is not enabled: enable it, or drop them",
            safe(sink)
        ));
    }
    Ok(if sum.count == 0 && !sum.skipped.is_empty() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn drop_letters(globals: &Globals, query: &LetterQuery, yes: bool) -> anyhow::Result<Exit> {
    if !yes && io::stdin().is_terminal() && io::stderr().is_terminal() {
        let (sum, _) = act(globals, LetterAct::Count, query)?;
        if sum.count > 0 && !confirmed(&sum)? {
            output::hint("nothing was dropped");
            return Ok(Exit::Failed);
        }
    }
    let (sum, _) = act(globals, LetterAct::Drop, query)?;
    show_sum(globals, &sum, "dropped")?;
    Ok(Exit::Done)
}

fn confirmed(sum: &LetterSum) -> io::Result<bool> {
    let mut stream = io::stderr().lock();
    write!(stream, "Drop {} for good? [y/N] ", told(sum))?;
    stream.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// "3 dead letters (siem 2, archive 1)".
fn told(sum: &LetterSum) -> String {
    let sinks: Vec<_> = sum
        .sinks
        .iter()
        .map(|(sink, count)| format!("{} {count}", safe(sink)))
        .collect();
    let noun = if sum.count == 1 { "dead letter" } else { "dead letters" };
    match sinks.as_slice() {
        [] => format!("{} {noun}", sum.count),
        sinks => format!("{} {noun} ({})", sum.count, sinks.join(", ")),
    }
}

fn show_sum(globals: &Globals, sum: &LetterSum, then: &str) -> anyhow::Result<()> {
    let mut out = Out::new();
    match globals.json {
        true => out.json(sum)?,
        false => out.line(&format!("{} {then}", told(sum)))?,
    }
    Ok(out.flush()?)
}

/// Has it done by the instance, or does it in the file of one that does not run; says which.
fn act(globals: &Globals, act: LetterAct, query: &LetterQuery) -> anyhow::Result<(LetterSum, bool)> {
    let request = Request::Letters(act, query.clone());
    match client::ask_one(&place::state_dir(globals)?, &request) {
        Ok(Answer::Letters(sum)) => Ok((sum, true)),
        Ok(other) => Err(place::refused(other).err().unwrap_or_else(|| ClientError::Ended.into())),
        Err(ClientError::NotRunning(_)) => Ok((act_on_file(globals, act, query)?, false)),
        Err(error) => Err(error.into()),
    }
}

fn act_on_file(globals: &Globals, act: LetterAct, query: &LetterQuery) -> anyhow::Result<LetterSum> {
    let (loaded, _) = place::source(globals).load()?;
    let sinks = enabled(globals)?;
    let planned = place::with_journal(globals, Hold::WhileLooking, async |journal| {
        let planned = letters::plan(&journal, act, query, &sinks, |event| app::stamp(&loaded.config, event)).await;
        planned.map_err(refusal)
    })?;
    let Some((commit, sum)) = planned else {
        return Ok(LetterSum::default());
    };
    if sum.count > 0 && act != LetterAct::Count {
        amend(&loaded.config.journal.path, &commit)?;
    }
    Ok(sum)
}

fn enabled(globals: &Globals) -> anyhow::Result<Vec<String>> {
    let (loaded, _) = place::source(globals).load()?;
    let enabled = loaded.config.sinks.iter().filter(|sink| sink.enabled);
    Ok(enabled.map(|sink| sink.name.clone()).collect())
}

fn refusal(error: letters::LetterError) -> anyhow::Error {
    match error {
        letters::LetterError::Journal(error) => error.into(),
        usage => {
            let refused = place::refused(Answer::refused(usage.cause(), usage.to_string()));
            refused.err().unwrap_or_else(|| usage.into())
        }
    }
}
