//! The command line: one file per command, one table of exit codes.
//!
//! In: arguments. Out: text or JSON on standard output, errors and diagnostics on standard error, an [`Exit`].
//!
//! Invariants:
//! 1. Whatever a peer sent is escaped before it is printed.
//! 2. Colours and tables appear on a terminal only, and no colours with `NO_COLOR`.
//! 3. A reader that closes its pipe ends the command quietly.
//! 4. With `--json` an answer is JSON on standard output, as is a refusal: `{ok, errors, warnings}`. What keeps a command
//!    from asking at all, as its arguments or a journal that is not there, is text on standard error.
//! 5. With a live instance a command asks it; the journal file is opened only while its lock is held.

mod check;
mod completions;
mod dead_letters;
mod decisions;
mod events;
mod export;
mod journal;
mod learn;
mod man;
mod metrics;
mod output;
mod owners;
mod place;
mod reload;
mod replay;
mod response;
mod run;
mod schema;
mod send_test;
mod service;
mod status;
mod token;
mod try_out;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{LoadError, StartError};
use crate::control::client::ClientError;
use crate::control::protocol::Reason;
use crate::journal::JournalError;
use crate::record::key::KeyError;
use crate::telemetry;

use output::Failure;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It was tried and failed; `status`: something is failing.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Another instance holds the journal.
    Held = 3,
    /// The configuration is not good.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Decoy listeners that turn every touch into one durable event, and deliver it.
#[derive(Debug, Parser)]
#[command(name = "trapline", version, about, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed running (status: only when failing), 2 usage, \
3 another instance holds the journal, 78 bad configuration.";

/// What every command understands.
#[derive(Debug, clap::Args)]
struct Globals {
    /// Configuration file [default: /etc/trapline/trapline.toml if there is one, else the embedded one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, where there is something to print
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open the decoys and deliver what touches them (also without any command)
    Run,
    /// Be a Linux host on free ports for as long as it runs: no configuration, no root, nothing left behind
    Try(try_out::Arguments),
    /// Read the configuration, try what it needs, change nothing
    Check(check::Arguments),
    /// How the running instance does
    Status,
    /// Print the figures of the running instance in the text form of Prometheus
    Metrics,
    /// Show recorded events
    Events(Box<events::Arguments>),
    /// Propose an ignore list of sources that come again and again without meaning harm
    Learn(learn::Arguments),
    /// Look after the journal
    Journal(journal::Arguments),
    /// Look after events that a sink refused for good
    DeadLetters(dead_letters::Arguments),
    /// Look after mails to those who answer for the sources of incidents
    Owners(owners::Arguments),
    /// Look after what is done about sources: what is in force, what waits for a person, what is never done
    Decisions(decisions::Arguments),
    /// Try the rules of what is done about sources
    Response(response::Arguments),
    /// Send recorded events of a time span to one sink again
    Replay(replay::Arguments),
    /// Make the running instance read its configuration again (as SIGHUP does)
    Reload,
    /// Send one marked test event through one sink, without recording it
    SendTest(send_test::Arguments),
    /// Look after the tokens of the live feed
    Token(token::Arguments),
    /// Print a JSON Schema: of the events as ECS or OCSF, or of the configuration
    Schema(schema::Arguments),
    /// Install trapline as a service of systemd, or take that back
    Service(service::Arguments),
    /// Print the manual page, or write the pages of all commands
    Man(man::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

/// Runs the program: reads the arguments, does what they say.
pub fn main() -> ExitCode {
    telemetry::keep_panics_clean();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match dispatch(&arguments) {
        Ok(exit) => exit.into(),
        Err(error) => failed(&error, arguments.globals.json).into(),
    }
}

fn dispatch(arguments: &Arguments) -> anyhow::Result<Exit> {
    let globals = &arguments.globals;
    match arguments.command.as_ref().unwrap_or(&Command::Run) {
        Command::Run => run::run(globals),
        Command::Try(wanted) => try_out::run(globals, wanted),
        Command::Check(wanted) => check::run(globals, wanted),
        Command::Status => status::run(globals),
        Command::Metrics => metrics::run(globals),
        Command::Events(wanted) => events::run(globals, wanted),
        Command::Learn(wanted) => learn::run(globals, wanted),
        Command::Journal(wanted) => journal::run(globals, wanted),
        Command::DeadLetters(wanted) => dead_letters::run(globals, wanted),
        Command::Owners(wanted) => owners::run(globals, wanted),
        Command::Decisions(wanted) => decisions::run(globals, wanted),
        Command::Response(wanted) => response::run(globals, wanted),
        Command::Replay(wanted) => replay::run(globals, wanted),
        Command::Reload => reload::run(globals),
        Command::SendTest(wanted) => send_test::run(globals, wanted),
        Command::Token(wanted) => token::run(globals, wanted),
        Command::Schema(wanted) => schema::run(wanted),
        Command::Service(wanted) => service::run(globals, wanted),
        Command::Man(wanted) => man::run(wanted),
        Command::Completions(wanted) => completions::run(wanted),
    }
}

/// `--help` and `--version` are no mistakes; everything else is exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    match std::env::args_os().any(|argument| argument == "--json") {
        true => tell(&Failure::new(vec![misused(error)], Vec::new()), true),
        false => drop(error.print()),
    }
    Exit::Usage.into()
}

/// The first line says what is wrong, the rest how it would be right.
fn misused(error: &clap::Error) -> Reason {
    let text = error.to_string();
    let (message, rest) = text.split_once('\n').unwrap_or((&text, ""));
    Reason {
        hint: Some(rest.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|rest| !rest.is_empty()),
        ..Reason::from(message.trim_start_matches("error: ").to_owned())
    }
}

/// Nobody is left to tell if the stream is closed.
fn tell(failure: &Failure, json: bool) {
    let _ = failure.show(json);
}

/// Says what failed, causes in a chain, and gives the code for it.
fn failed(error: &anyhow::Error, json: bool) -> Exit {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        return Exit::Done;
    }
    let start = error.downcast_ref::<StartError>();
    let load = match start {
        Some(StartError::Load(load)) => Some(load),
        _ => error.downcast_ref::<LoadError>(),
    };
    if let Some(LoadError::Wrong(wrong)) = load {
        match json {
            true => tell(&Failure::from(wrong), true),
            false => output::problems(wrong),
        }
        return Exit::Config;
    }
    if let Some(refused) = error.downcast_ref::<place::Refused>() {
        tell(&refused.failure, json);
        return refused.exit;
    }
    let reason = Reason {
        file: load.and_then(LoadError::path).map(|path| path.display().to_string()),
        hint: error
            .downcast_ref()
            .and_then(what_to_do)
            .or_else(|| start.and_then(what_to_mend))
            .map(str::to_owned)
            .or_else(|| place::what_the_journal_needs(error)),
        ..Reason::from(format!("{error:#}"))
    };
    tell(&Failure::new(vec![reason], Vec::new()), json);
    let held = |journal: &JournalError| matches!(journal, JournalError::Held { .. });
    match start {
        Some(StartError::Journal(journal)) if held(journal) => Exit::Held,
        Some(StartError::Build(_)) => Exit::Config,
        _ if error.downcast_ref().is_some_and(held) => Exit::Held,
        _ if load.is_some() => Exit::Config,
        _ => Exit::Failed,
    }
}

/// What a person does about a start that failed.
fn what_to_mend(error: &StartError) -> Option<&'static str> {
    match error {
        StartError::Listener { .. } => {
            Some("free the port, or take `strict` off the decoy: it then tries again every 30 s")
        }
        StartError::Key(KeyError::Damaged { .. }) => Some(
            "put the key back from a backup; without one remove the file, and a new key is made, whose HMACs and incident \
             ids do not match earlier ones",
        ),
        _ => None,
    }
}

fn what_to_do(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::NotRunning(_) => Some("start it with `trapline run`; is `--config` the same as the instance's?"),
        ClientError::Silent(_) => Some("a stopped process goes on with `kill -CONT`; one that hangs must be restarted"),
        _ => None,
    }
}
