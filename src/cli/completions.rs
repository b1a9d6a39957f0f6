//! `trapline completions SHELL`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Exit;

/// What `completions` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell to complete for
    shell: Shell,
}

pub(super) fn run(wanted: &Arguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(wanted.shell, &mut super::Arguments::command(), "trapline", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}
