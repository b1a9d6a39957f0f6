//! `trapline run`: opens the decoys and delivers what touches them, until a signal ends it.

use std::io::IsTerminal;

use crate::app;

use super::{Exit, Globals, place};

pub(super) fn run(globals: &Globals) -> anyhow::Result<Exit> {
    app::run(&place::source(globals), std::io::stdout().is_terminal())?;
    Ok(Exit::Done)
}
