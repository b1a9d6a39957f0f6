//! `trapline man [--out DIR]`: manual pages, made from the same tables as the code.
//!
//! `trapline.1`, one page for each command, and `trapline.toml.5` with every key of the configuration.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use trapline_sink::config::Key;

use super::Exit;
use crate::config::{self, Chapter};
use crate::delivery::registry::{SETS, SINKS};

/// What stands at the head and foot of every page.
const MANUAL: &str = "trapline manual";
const SOURCE: &str = concat!("trapline ", env!("CARGO_PKG_VERSION"));

/// What `man` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write trapline.1, a page for each command and trapline.toml.5 into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(wanted: &Arguments) -> anyhow::Result<Exit> {
    let pages = pages()?;
    match &wanted.out {
        Some(folder) => write(folder, &pages)?,
        None => {
            let first = pages.first().map(|(_, text)| text.as_slice());
            io::stdout().write_all(first.unwrap_or_default())?;
        }
    }
    Ok(Exit::Done)
}

fn write(folder: &Path, pages: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    for (name, text) in pages {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(())
}

/// File names and texts, that of the program first.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = super::Arguments::command();
    // Gives every command its whole name and the options that all have.
    program.build();
    let mut pages = vec![(String::from("trapline.1"), page(&program)?)];
    add_commands(&program, &mut pages)?;
    pages.push(("trapline.toml.5".into(), keys_page()));
    Ok(pages)
}

fn add_commands(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_display_name().unwrap_or(command.get_name());
        pages.push((format!("{name}.1"), page(command)?));
        add_commands(command, pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    // The version is at the foot; as a section it would be empty for all but the program.
    let man = Man::new(command.clone().disable_help_subcommand(true))
        .manual(MANUAL)
        .source(SOURCE)
        .date("");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_subcommands().any(|command| command.get_name() != "help") {
        man.render_subcommands_section(&mut text)?;
    }
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut text)?;
    }
    more().to_writer(&mut text)?;
    Ok(text)
}

/// The foot of a command's page.
fn more() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    for (path, what) in FILES {
        roff.control("TP", []).text([italic(*path)]).text([roman(*what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("trapline"), roman("(1), "), bold("trapline.toml"), roman("(5)")]);
    roff
}

const FILES: &[(&str, &str)] = &[
    (
        "/etc/trapline/trapline.toml",
        "The configuration, if no --config names another; see trapline.toml(5).",
    ),
    (
        "/var/lib/trapline",
        "Journal, index, site key and control socket of the service. Without a configuration file they are in \
         $XDG_STATE_HOME/trapline.",
    ),
];

/// `trapline.toml(5)`.
fn keys_page() -> Vec<u8> {
    let mut roff = Roff::new();
    roff.control("TH", ["trapline.toml", "5", "", SOURCE, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("trapline.toml - configuration of trapline")]);
    roff.control("SH", ["DESCRIPTION"]);
    for text in INTRODUCTION {
        roff.control("PP", []).text([roman(*text)]);
    }
    for chapter in config::manual(SINKS, SETS)
        .iter()
        .filter(|chapter| !chapter.keys.is_empty())
    {
        add_chapter(&mut roff, chapter);
    }
    roff.control("SH", ["FILES"]);
    roff.control("TP", []).text([italic("/etc/trapline/trapline.toml")]);
    roff.text([roman("The configuration, if no --config names another.")]);
    roff.control("SH", ["SEE ALSO"]).text([bold("trapline"), roman("(1)")]);
    roff.render().into_bytes()
}

const INTRODUCTION: &[&str] = &[
    "One TOML file. Tables are named, so that a variable can reach each key: \
     TRAPLINE__JOURNAL__RETAIN_DAYS=7 sets retain_days of [journal].",
    "Durations are \"250ms\", \"15m\", \"1h30m\"; sizes are \"64KiB\", \"10GiB\" or a number of bytes. Any text may hold \
     ${VARIABLE}. A secret is ${VARIABLE}, file:PATH or credential:NAME (systemd), and plain only in a file of mode 0600.",
    "Files that trapline writes are relative to state_dir, files that it reads to the configuration\u{2019}s folder. \
     Mistakes are told all at once, by line and column: trapline check. A running instance takes a changed file over \
     with trapline reload or SIGHUP, all of it or nothing.",
];

fn add_chapter(roff: &mut Roff, chapter: &Chapter) {
    match chapter.title.as_str() {
        "" => roff.control("SH", ["KEYS OUTSIDE ANY TABLE"]),
        title => roff.control("SH", [title]),
    };
    if !chapter.doc.is_empty() {
        roff.text([roman(chapter.doc)]);
    }
    for (name, key) in &chapter.keys {
        roff.control("TP", []).text(head(name, key));
        roff.text([roman(key.doc.replace('`', ""))]);
    }
}

/// A key with what it takes and what it is without.
fn head(name: &str, key: &Key) -> Vec<Inline> {
    let takes = key.kind.allowed().replace('`', "");
    let without = match (key.default, key.required) {
        (Some(default), _) => format!(" (default {default})"),
        (None, true) => " (must be there)".to_owned(),
        (None, false) => String::new(),
    };
    vec![bold(name), roman(" = "), italic(takes), roman(without)]
}
