//! `trapline replay`: sends recorded events of a time span to one sink again, beside what comes.

use std::io;
use std::time::Duration;

use jiff::Timestamp;

use crate::app;
use crate::control::client::ClientError;
use crate::control::protocol::{Answer, Refusal, ReplayAct, ReplayQuery, ReplayReport, ReplayState, Request};
use crate::journal::Hold;

use super::events::instant;
use super::output::{self, Bar, Out, safe};
use super::{Exit, Globals, place};

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What `replay` understands.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The running instance does the work: Ctrl-C or a restart does not end a replay, the same command \
shows it again. Events keep their ids. What the sink has not had yet comes to it anyway and is left out. Of a \
throttle, what it let through is sent."
)]
pub(super) struct Arguments {
    /// The sink that gets them
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// From this time on: a span back from now such as 15m, 2h, 1d, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = written)]
    since: Option<Moment>,
    /// Before this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = written)]
    until: Option<Moment>,
    /// Count what would be sent, send nothing
    #[arg(long, conflicts_with_all = ["status", "cancel"])]
    dry_run: bool,
    /// Show the last replay to the sink
    #[arg(long, conflicts_with = "cancel")]
    status: bool,
    /// End the replay that is under way
    #[arg(long)]
    cancel: bool,
}

/// A time, and how it was written.
#[derive(Debug, Clone)]
struct Moment {
    at: Timestamp,
    text: String,
}

fn written(text: &str) -> Result<Moment, String> {
    Ok(Moment {
        at: instant(text)?,
        text: text.to_owned(),
    })
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let act = match (wanted.status, wanted.cancel, wanted.dry_run) {
        (true, ..) => ReplayAct::Look,
        (_, true, _) => ReplayAct::Cancel,
        (.., true) => ReplayAct::DryRun,
        _ => ReplayAct::Begin,
    };
    if wanted.since.is_none() && matches!(act, ReplayAct::Begin | ReplayAct::DryRun) {
        return place::refused(Answer::refused(
            Refusal::Usage,
            "say --since when; --since 1d is the last day",
        ));
    }
    let query = query(act, wanted);
    let report = match ask(globals, &query) {
        Err(error) if act == ReplayAct::Look && is_not_running(&error) => look_at_file(globals, &wanted.sink)?,
        report => report?,
    };
    match act {
        ReplayAct::Begin if report.state == ReplayState::Running => follow(globals, wanted, report),
        _ => show(globals, act, &report),
    }
}

fn query(act: ReplayAct, wanted: &Arguments) -> ReplayQuery {
    let text = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.text.clone());
    let at = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.at.as_microsecond());
    ReplayQuery {
        act,
        sink: wanted.sink.clone(),
        since: at(&wanted.since),
        until: at(&wanted.until),
        asked: (text(&wanted.since).unwrap_or_default(), text(&wanted.until)),
    }
}

fn ask(globals: &Globals, query: &ReplayQuery) -> anyhow::Result<ReplayReport> {
    match place::ask_one(globals, &Request::Replay(query.clone()))? {
        Answer::Replay(report) => Ok(report),
        other => Err(place::refused(other).err().unwrap_or_else(|| ClientError::Ended.into())),
    }
}

fn is_not_running(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::NotRunning(_)))
}

fn look_at_file(globals: &Globals, sink: &str) -> anyhow::Result<ReplayReport> {
    let found = place::with_journal(globals, Hold::WhileLooking, async |journal| {
        Ok(app::replay_report(&journal, sink).await?)
    })?;
    Ok(found.unwrap_or_else(|| ReplayReport::none(sink)))
}

/// Shows the progress until the replay ends.
fn follow(globals: &Globals, wanted: &Arguments, mut report: ReplayReport) -> anyhow::Result<Exit> {
    let bar = Bar::new(globals.json);
    if bar.is_watched() {
        let sink = safe(&wanted.sink);
        output::hint(&format!(
            "Ctrl-C leaves it running; `trapline replay --sink {sink} --cancel` ends it"
        ));
    }
    while report.state == ReplayState::Running {
        draw(bar, &report)?;
        std::thread::sleep(LOOK_EVERY);
        report = ask(globals, &query(ReplayAct::Look, wanted))?;
    }
    bar.clear()?;
    show(globals, ReplayAct::Begin, &report)
}

fn draw(bar: Bar, report: &ReplayReport) -> io::Result<()> {
    let waits = report
        .waits
        .as_ref()
        .map(|why| format!(", waiting: {}", output::cut(&safe(why), 40)));
    bar.draw(
        report.percent(),
        &format!("{} sent{}", report.sent, waits.unwrap_or_default()),
    )
}

fn show(globals: &Globals, act: ReplayAct, report: &ReplayReport) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    match globals.json {
        true => out.json(report)?,
        false => out.line(&told(act, report))?,
    }
    out.flush()?;
    Ok(match (act, report.state) {
        (ReplayAct::Begin, ReplayState::Cancelled) => Exit::Failed,
        _ => Exit::Done,
    })
}

fn told(act: ReplayAct, report: &ReplayReport) -> String {
    let sink = safe(&report.sink);
    if act == ReplayAct::DryRun {
        return format!("{} events would be sent to sink {sink}", report.sent);
    }
    let sums = format!(
        "{} events sent, {} refused, {} entries missing",
        report.sent, report.refused, report.missing
    );
    match report.state {
        ReplayState::None if act == ReplayAct::Begin => {
            format!("nothing was recorded in that time that sink {sink} does not get anyway")
        }
        ReplayState::None => format!("there was no replay to sink {sink}"),
        ReplayState::Running => {
            let waits = report.waits.as_ref().map(|why| format!("; waiting: {}", safe(why)));
            format!(
                "replay to sink {sink} is at {} %: {sums}{}",
                report.percent(),
                waits.unwrap_or_default()
            )
        }
        ReplayState::Done | ReplayState::Cancelled => {
            format!("replay to sink {sink} is {}: {sums}", report.state.name())
        }
    }
}
