//! `trapline reload`: the running instance reads its configuration again, all or nothing.

use crate::control::protocol::{Answer, Request};

use super::output::{Out, safe};
use super::{Exit, Globals, place};

pub(super) fn run(globals: &Globals) -> anyhow::Result<Exit> {
    let changes = match place::ask_one(globals, &Request::Reload)? {
        Answer::Reloaded { changes } => changes,
        other => return place::refused(other),
    };
    let mut out = Out::new();
    if globals.json {
        out.json(&changes)?;
    } else if changes.is_empty() {
        out.line("nothing changed")?;
    } else {
        for change in &changes {
            out.line(&safe(change))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}
