//! `trapline check`: reads the configuration, tries what it needs, changes nothing.
//!
//! Errors are exit code 78, also of files that the configuration names, such as certificates. Ports that cannot be had,
//! and sinks that cannot be made now, are warnings: trapline would start and try again. With `--connect` every sink is
//! reached, and one that is not is exit code 1; so is, as at a start, a state folder that cannot be used. With `--canary`
//! the running instance sends an event through everything, and a hop that fails is exit code 1.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use serde::Serialize;
use trapline_schemas::Timestamp;
use trapline_sink::config::{Problem, Problems, Severity, parse_duration};

use crate::app::{self, LoadError};
use crate::config::{Config, Decoy, SinkSettings};
use crate::control::canary::{CanaryReport, Hop, HopState, Place};
use crate::control::client::{self, ClientError};
use crate::control::protocol::{Answer, Reason, Request, SinkReport};
use crate::control::status::Status;
use crate::decoy::bind::{Endpoint, bind};
use crate::decoy::services::Transport;

use super::output::{self, Out, safe};
use super::{Exit, Globals, place};

/// What `check` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also reach every sink, without sending an event
    #[arg(long)]
    connect: bool,
    /// Also have the running instance send a canary through journal and transforms to the sinks with `canary = true`
    #[arg(long)]
    canary: bool,
    /// How long to wait for the canary, 1s to 10m
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = timeout, requires = "canary")]
    timeout: Duration,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let given = parse_duration(text).ok_or_else(|| format!("`{text}` is no span such as 30s or 2m"))?;
    let allowed = Duration::from_secs(1)..=app::CANARY_TIMEOUT_MAX;
    match allowed.contains(&given) {
        true => Ok(given),
        false => Err(format!("`{text}` is out of range 1s..=10m")),
    }
}

/// What was found, as `--json` shows it.
#[derive(Debug, Default, Serialize)]
struct Findings {
    ok: bool,
    /// How many of the errors are the configuration's.
    #[serde(skip)]
    mistakes: usize,
    errors: Vec<Reason>,
    warnings: Vec<Reason>,
    sinks: Vec<SinkReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryReport>,
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let (loaded, _) = place::source(globals).load().map_err(with_looks)?;
    let config = loaded.config;
    let mut found = Findings {
        warnings: loaded.warnings.iter().map(Reason::from).collect(),
        ..Findings::default()
    };
    let live = live(&config, &mut found);
    let looked = ports(&config, live.as_ref()).into_iter().chain(modes(&config));
    let looked = looked.chain(web_port(&config, live.as_ref()));
    let looked = looked
        .chain(descriptors(&config))
        .chain(idle(&config))
        .chain(over(&config, Timestamp::now()));
    let looked = looked.map(Reason::from);
    found.warnings.extend(looked);
    let certificates = app::wrong_certificates(&config);
    found.mistakes += certificates.len();
    found.errors.extend(certificates.into_iter().map(Reason::from));
    if live.is_none() {
        found.errors.extend(folders(&config).map(Reason::from));
    }
    let (errors, warnings) = app::check_tables(&config);
    found.mistakes += errors.len();
    found.errors.extend(errors.into_iter().map(Reason::from));
    found.warnings.extend(warnings.into_iter().map(Reason::from));
    sinks(&config, wanted.connect, &mut found)?;
    if wanted.canary {
        canary(&config, wanted.timeout, &mut found)?;
    }
    found.ok = found.errors.is_empty();
    show(globals, &config, &found)
}

/// Has the running instance send a canary; every hop that failed is an error.
fn canary(config: &Config, timeout: Duration, found: &mut Findings) -> anyhow::Result<()> {
    let request = Request::Canary {
        timeout_secs: timeout.as_secs(),
    };
    let report = match client::ask_one(&config.state_dir, &request)? {
        Answer::Canary(report) => report,
        other => return place::refused(other).map(drop),
    };
    found
        .errors
        .extend(report.failures().map(|failed| format!("canary: {failed}").into()));
    found.canary = Some(report);
    Ok(())
}

/// Lists of sources to ignore that ignore nobody any more.
fn over(config: &Config, now: Timestamp) -> Vec<String> {
    let over = config.ignores.iter().filter(|list| list.until <= now);
    over.map(|list| {
        format!(
            "ignore.{}.until is over: it ignores nobody, renew it or take it out",
            list.name
        )
    })
    .collect()
}

/// The running instance of this state folder, if there is one. One that hangs is worth a warning.
fn live(config: &Config, found: &mut Findings) -> Option<Status> {
    match client::ask_one(&config.state_dir, &Request::Status) {
        Ok(Answer::Status(status)) => Some(*status),
        Err(silent @ (ClientError::Silent(_) | ClientError::Late { .. })) => {
            found.warnings.push(silent.to_string().into());
            None
        }
        _ => None,
    }
}

/// Tries every bind, but for addresses that our own instance has.
fn ports(config: &Config, live: Option<&Status>) -> Vec<String> {
    let ours = |decoy: &Decoy, wanted: &Endpoint| {
        live.is_some_and(|status| {
            let listeners = status.listeners.iter();
            listeners
                .filter(|one| one.bound && one.decoy == decoy.name)
                .any(|one| one.transport == wanted.transport.name() && one.address == wanted.address.to_string())
        })
    };
    let mut warnings = Vec::new();
    for decoy in &config.decoys {
        for wanted in decoy.endpoints().filter(|wanted| !ours(decoy, wanted)) {
            if let Err(error) = bind(wanted.address, wanted.transport) {
                warnings.push(format!("decoy {}: {error}", decoy.name));
            }
        }
    }
    warnings
}

/// Tries the bind of the live feed, but for the address that our own instance has.
fn web_port(config: &Config, live: Option<&Status>) -> Option<String> {
    let wanted = config.web.as_ref()?.listen;
    let ours = live.and_then(|status| status.web.as_ref());
    if ours.is_some_and(|web| web.bound && web.address == wanted.to_string()) {
        return None;
    }
    let error = bind(wanted, Transport::Tcp).err()?;
    Some(format!("web: {error}"))
}

/// Why what is to be kept could not be: the state folder, and the journal's.
fn folders(config: &Config) -> impl Iterator<Item = String> {
    let journal = config.journal.path.parent().unwrap_or(Path::new("."));
    let mut wanted = vec![("state_dir", config.state_dir.as_path())];
    if journal != config.state_dir {
        wanted.push(("journal.path", journal));
    }
    let folders = wanted.into_iter().filter_map(|(key, folder)| {
        let why = unusable(folder)?;
        Some(format!("{key}: {why}"))
    });
    folders.chain(no_file(&config.journal.path))
}

/// What stands where the journal's file should be and is none.
fn no_file(journal: &Path) -> Option<String> {
    let found = journal.metadata().ok()?;
    let name = journal.display();
    (!found.is_file()).then(|| format!("journal.path: `{name}` is not a file; the key names the journal's file itself"))
}

/// Why files cannot be made in a folder, which is made itself if it is missing.
fn unusable(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|part| part.symlink_metadata().is_ok())?;
    let name = there.display();
    if !there.is_dir() {
        return Some(format!("`{name}` is not a folder"));
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let denied = rustix::fs::access(there, wanted).err()?;
    Some(format!("files cannot be made in `{name}`: {denied}"))
}

/// Modes that would let others read what is kept.
fn modes(config: &Config) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let files: [(PathBuf, u32); 2] = [(config.state_dir.clone(), 0o700), (config.journal.path.clone(), 0o600)];
    let loose = files.iter().filter_map(|(path, wanted)| {
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        let path = path.display();
        (mode & !wanted != 0).then(|| format!("`{path}` has mode {mode:04o}, {wanted:04o} or tighter is meant"))
    });
    loose.collect()
}

fn descriptors(config: &Config) -> Option<String> {
    let limit = app::raise_descriptor_limit();
    let listeners: u64 = config.decoys.iter().map(|decoy| decoy.endpoints().count() as u64).sum();
    let listeners = listeners + app::web_descriptors(config);
    app::shortage(limit, config.limits.sessions as u64, listeners)
}

/// Looks at what every enabled sink needs; those that need nothing more are made, or reached.
fn sinks(config: &Config, connect: bool, found: &mut Findings) -> anyhow::Result<()> {
    let _folder = Borrowed::make(&config.state_dir);
    let observer = app::observer_name(config);
    let mut good = Vec::new();
    for sink in config.sinks.iter().filter(|sink| sink.enabled) {
        let problems = app::look(sink, &observer);
        let (errors, warnings): (Vec<_>, Vec<_>) = problems.iter().partition(|one| one.severity == Severity::Error);
        found.mistakes += errors.len();
        found.errors.extend(errors.into_iter().map(Reason::from));
        found.warnings.extend(warnings.into_iter().map(Reason::from));
        let is_whole = !problems.iter().any(|one| one.severity == Severity::Error);
        // What was warned of need not be tried to be warned of again.
        good.extend((problems.is_empty() || connect && is_whole).then_some(sink));
    }
    // Sinks may want a runtime already when they are made.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if !connect {
            found
                .warnings
                .extend(good.into_iter().filter_map(|sink| unmade(sink, &observer)));
            return;
        }
        let reached = good.into_iter().map(|sink| app::reach(sink, &observer));
        found.sinks = futures_util::future::join_all(reached).await;
        let failed = found.sinks.iter().filter(|report| !report.ok);
        found
            .errors
            .extend(failed.map(|report| format!("sink {}: {}", report.name, report.said).into()));
    });
    Ok(())
}

/// What is wrong with the text, and what is wrong with the files that its sinks need: all of it at once.
fn with_looks(error: LoadError) -> LoadError {
    let LoadError::Wrong(mut wrong) = error else {
        return error;
    };
    // Where nobody knows the state folder, what is missing in it says nothing.
    let folder = wrong.journal.is_some().then(|| Borrowed::make(&wrong.state_dir));
    // The name that the text gives may be among what is wrong.
    let observer = app::hostname();
    let sinks = wrong.sinks.iter().filter(|sink| sink.enabled);
    let looked = sinks.flat_map(|sink| app::look(sink, &observer));
    let told: Vec<_> = looked
        .filter(|problem| folder.is_some() || problem.severity == Severity::Error)
        .collect();
    drop(folder);
    let all = Problems::default();
    wrong
        .problems
        .drain(..)
        .chain(told)
        .for_each(|problem| all.push(problem));
    wrong.problems = all.take();
    LoadError::Wrong(wrong)
}

/// Why a sink cannot be made now: trapline would start, and try again.
fn unmade(sink: &SinkSettings, observer: &str) -> Option<Reason> {
    let fault = app::try_build(sink, observer).err()?;
    let found = format!("sink {}: {}", sink.name, fault.message);
    Some(Reason::from(&Problem::warning(sink.table.own_place(), found, "")))
}

/// A state folder that is there for the time of the check, with the folders above it: sinks that write into it would
/// complain of its absence, though a start would make it.
struct Borrowed<'a>(Vec<&'a Path>);

impl<'a> Borrowed<'a> {
    fn make(folder: &'a Path) -> Self {
        let missing = folder.ancestors().take_while(|path| !path.exists());
        let missing: Vec<_> = missing.collect();
        let made = missing.into_iter().rev().take_while(|path| make_folder(path).is_ok());
        Self(made.collect())
    }
}

/// For its owner alone, as a start would make it.
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Stays if something was put into it meanwhile.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn show(globals: &Globals, config: &Config, found: &Findings) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    if globals.json {
        out.json(found)?;
        out.flush()?;
        return Ok(exit(found));
    }
    for warning in &found.warnings {
        output::say(output::warning, warning);
    }
    for error in &found.errors {
        output::say(output::error, error);
    }
    for report in found.sinks.iter().filter(|report| report.ok) {
        let said = safe(&report.said);
        out.line(&format!("sink {} ({}): {said}", report.name, report.kind))?;
    }
    for hop in found.canary.iter().flat_map(|report| &report.hops) {
        out.line(&shown_hop(hop))?;
    }
    out.line(&verdict(config, found))?;
    out.flush()?;
    Ok(exit(found))
}

const fn exit(found: &Findings) -> Exit {
    match (found.ok, found.mistakes) {
        (true, _) => Exit::Done,
        (false, 0) => Exit::Failed,
        (false, _) => Exit::Config,
    }
}

/// One line: what there is if all is well, else what is not.
fn verdict(config: &Config, found: &Findings) -> String {
    if found.mistakes > 0 {
        return count(found.mistakes, "configuration error");
    }
    if let Some(report) = found.canary.as_ref().filter(|report| !report.ok) {
        let failed = report.hops.iter().filter(|hop| hop.failed).count();
        return format!("the canary failed at {failed} of {}", count(report.hops.len(), "hop"));
    }
    if !found.ok {
        let failed = found.sinks.iter().filter(|report| !report.ok).count();
        if failed == 0 {
            return count(found.errors.len(), "thing") + " would keep it from starting";
        }
        return format!("{failed} of {} cannot be reached", count(found.sinks.len(), "sink"));
    }
    format!(
        "configuration is good: {}, {}, {}",
        count(config.decoys.len(), "decoy"),
        count(config.transforms.len(), "transform"),
        count(config.sinks.len(), "sink"),
    )
}

/// `sink siem delivered after 12.3 ms (queued after 4.5 ms): 250 ok`.
fn shown_hop(hop: &Hop) -> String {
    let place = match hop.place {
        Place::Journal => "",
        Place::Transform => "transform ",
        Place::Sink => "sink ",
    };
    let after = hop.micros.map(|micros| format!(" after {}", millis(micros)));
    let queued = hop
        .queued_micros
        .map(|micros| format!(" (queued after {})", millis(micros)));
    let (after, queued) = (after.unwrap_or_default(), queued.unwrap_or_default());
    // What is recorded and made durable is said by its name alone.
    let state = match hop.place {
        Place::Journal if hop.state == HopState::Passed => "",
        _ => hop.state.name(),
    };
    let said = match hop.said.as_str() {
        "" => String::new(),
        said => format!(": {}", safe(said)),
    };
    format!("{place}{} {state}{after}{queued}{said}", hop.name).replace("  ", " ")
}

fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// What makes a configuration useless though nothing in it is wrong.
fn idle(config: &Config) -> impl Iterator<Item = String> {
    let decoys = config.decoys.is_empty();
    let decoys = decoys.then(|| "there is no decoy: nothing will be touched".to_owned());
    let sinks = !config.sinks.iter().any(|sink| sink.enabled);
    let sinks = sinks.then(|| "there is no enabled sink: events stay in the journal".to_owned());
    decoys.into_iter().chain(sinks)
}
