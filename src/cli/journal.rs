//! `trapline journal`: whether the recorded past is as it was written; what leaves it is in `export`.

use std::path::Path;

use clap::Subcommand;

use crate::control::client::{self, ClientError};
use crate::control::protocol::{Answer, Request, VerifyReport};
use crate::journal::Hold;

use super::output::{self, Bar, Out};
use super::{Exit, Globals, export, place};

/// What `journal` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Walk over the whole hash chain; exit code 1 if an entry was altered, moved or taken away
    Verify,
    /// Write what was recorded as text, one event a line
    Export(export::Export),
    /// Copy the journal into a file, also while an instance runs
    Backup(export::Backup),
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    match &wanted.act {
        Act::Verify => verify(globals),
        Act::Export(wanted) => export::export(globals, wanted),
        Act::Backup(wanted) => export::backup(globals, wanted),
    }
}

fn verify(globals: &Globals) -> anyhow::Result<Exit> {
    let state_dir = place::state_dir(globals)?;
    let bar = Bar::new(globals.json);
    let answer = ask(&state_dir, bar);
    bar.clear()?;
    let report = match answer {
        Ok(Answer::Verified(report)) => report,
        Ok(other) => return place::refused(other),
        Err(ClientError::NotRunning(_)) => return verify_file(globals, bar),
        Err(error) => return Err(error.into()),
    };
    show(globals, &report, COMPARE)
}

/// Asks the running instance; draws how far it has come.
fn ask(state_dir: &Path, bar: Bar) -> Result<Answer, ClientError> {
    if !bar.is_watched() {
        return client::ask_one(state_dir, &Request::Verify);
    }
    for answer in client::ask(state_dir, &Request::VerifyWatched)? {
        match answer? {
            Answer::Verifying { done, of } => draw(bar, done, of),
            other => return Ok(other),
        }
    }
    Err(ClientError::Ended)
}

/// A terminal that takes no bar takes no report either, which then says so.
fn draw(bar: Bar, done: u64, of: u64) {
    let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100);
    let _ = bar.draw(percent, &format!("{done} of {of} entries"));
}

/// Verifies the file of an instance that does not run. A damaged one is no failure of the command but what it found.
fn verify_file(globals: &Globals, bar: Bar) -> anyhow::Result<Exit> {
    let verified = place::with_journal(globals, Hold::WhileOpen, async |journal| {
        let walked = |done, of| draw(bar, done, of);
        Ok(journal.verify_watched(walked).await?.into())
    });
    bar.clear()?;
    match verified {
        Ok(Some(report)) => show(globals, &report, COMPARE),
        Ok(None) if globals.json => show(globals, &VerifyReport::default(), COMPARE),
        Ok(None) => Ok(Exit::Done),
        Err(error) => {
            let Some(damage) = place::damage(&error) else {
                return Err(error);
            };
            let report = VerifyReport {
                fault: Some(damage.to_string()),
                ..VerifyReport::default()
            };
            show(globals, &report, place::SALVAGE)
        }
    }
}

/// What to do about an entry that is not what was written.
const COMPARE: &str = "compare the head hashes that went out as chain-head events before this place";

/// In: `hint`, what to do about a fault.
fn show(globals: &Globals, report: &VerifyReport, hint: &str) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    if globals.json {
        out.json(report)?;
    } else if report.next > 0 {
        let sound = format!(
            "{} entries are sound, from {} to before {}",
            report.entries, report.first, report.next
        );
        out.line(&format!("{sound}, head {}", report.hash))?;
        for at in &report.breaks {
            out.line(&format!("the chain starts anew at {at}, after damage"))?;
        }
    }
    out.flush()?;
    let Some(fault) = &report.fault else {
        return Ok(Exit::Done);
    };
    output::error(fault);
    output::hint(hint);
    Ok(Exit::Failed)
}
