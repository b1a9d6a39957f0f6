//! `trapline journal verify`: whether the recorded past is as it was written.

use clap::Subcommand;

use crate::control::client::{self, ClientError};
use crate::control::protocol::{Answer, Request, VerifyReport};

use super::output::{self, Out};
use super::{Exit, Globals, place};

/// What `journal` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Act {
    /// Walk over the whole hash chain; exit code 1 if an entry was altered, moved or taken away
    Verify,
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    match wanted.act {
        Act::Verify => verify(globals),
    }
}

fn verify(globals: &Globals) -> anyhow::Result<Exit> {
    let state_dir = place::state_dir(globals)?;
    let report = match client::ask_one(&state_dir, &Request::Verify) {
        Ok(Answer::Verified(report)) => report,
        Ok(other) => return place::refused(other),
        Err(ClientError::NotRunning(_)) => {
            let Some(report) = place::with_journal(globals, async |journal| Ok(journal.verify().await?.into()))? else {
                return match globals.json {
                    true => show(globals, &VerifyReport::default()),
                    false => Ok(Exit::Done),
                };
            };
            report
        }
        Err(error) => return Err(error.into()),
    };
    show(globals, &report)
}

fn show(globals: &Globals, report: &VerifyReport) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    if globals.json {
        out.json(report)?;
    } else {
        let sound = format!(
            "{} entries are sound, from {} to before {}",
            report.entries, report.first, report.next
        );
        out.line(&format!("{sound}, head {}", report.hash))?;
        for at in &report.breaks {
            out.line(&format!("the chain starts anew at {at}, after a salvage"))?;
        }
    }
    out.flush()?;
    let Some(fault) = &report.fault else {
        return Ok(Exit::Done);
    };
    output::error(fault);
    output::hint("compare the head hashes that went out as chain-head events before this place");
    Ok(Exit::Failed)
}
