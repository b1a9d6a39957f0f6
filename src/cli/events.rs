//! `trapline events`: what was recorded, from the running instance or, if none runs, from the journal file.

use std::io;
use std::ops::Range;

use clap::ValueEnum;
use jiff::Timestamp;
use trapline_schemas::{Event, Field, Format, Value, codec, render};

use crate::control::protocol::Query;
pub(super) use crate::control::query::instant;

use super::output::{self, Out, safe};
use super::{Exit, Globals, place};

/// What `events` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// From this time on: a span back from now such as 15m, 2h, 1d, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// Source address or network
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// Destination port
    #[arg(long)]
    port: Option<u16>,
    /// Decoy by its name
    #[arg(long, value_name = "NAME")]
    decoy: Option<String>,
    /// Action such as decoy-connect or decoy-credential
    #[arg(long)]
    action: Option<String>,
    /// Level of touch
    #[arg(long, value_parser = ["contact", "intent", "proof"])]
    level: Option<String>,
    /// User that was tried
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Incident id
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// The newest N that match, 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// How to print them [default: table on a terminal, else text]
    #[arg(long, value_enum)]
    format: Option<Shown>,
    /// Go on with new events as they come
    #[arg(long, short)]
    follow: bool,
}

/// How events are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// Columns for a person
    Table,
    /// One JSON object a line, by catalogue names
    Json,
    /// Elastic Common Schema
    Ecs,
    /// OCSF
    Ocsf,
    /// CEF
    Cef,
    /// LEEF
    Leef,
    /// One sentence a line
    Text,
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let mut printer = Printer::new(globals, wanted);
    let query = query(wanted);
    let (exit, index_lag) = place::each_event(globals, &query, |offset, body| printer.print(offset, body))?;
    match exit {
        Exit::Done => printer.end(index_lag),
        refused => Ok(refused),
    }
}

fn query(wanted: &Arguments) -> Query {
    Query {
        since: wanted.since.map(Timestamp::as_microsecond),
        until: wanted.until.map(Timestamp::as_microsecond),
        source: wanted.source.clone(),
        port: wanted.port,
        decoy: wanted.decoy.clone(),
        action: wanted.action.clone(),
        level: wanted.level.clone(),
        user: wanted.user.clone(),
        incident: wanted.incident.clone(),
        limit: wanted.limit,
        follow: wanted.follow && !is_over(wanted.until),
    }
}

/// Whether nothing that is still to come can match.
fn is_over(until: Option<Timestamp>) -> bool {
    until.is_some_and(|until| until < Timestamp::now())
}

/// Prints events one by one.
struct Printer {
    out: Out,
    shown: Shown,
    follow: bool,
    count: u64,
    line: Vec<u8>,
}

impl Printer {
    fn new(globals: &Globals, wanted: &Arguments) -> Self {
        let out = Out::new();
        let usual = if out.is_terminal() { Shown::Table } else { Shown::Text };
        let json = globals.json.then_some(Shown::Json);
        Self {
            shown: wanted.format.or(json).unwrap_or(usual),
            out,
            follow: wanted.follow,
            count: 0,
            line: Vec::new(),
        }
    }

    fn print(&mut self, offset: u64, body: &[u8]) -> io::Result<()> {
        let mut event = match codec::decode(body) {
            Ok(event) => event,
            Err(error) => {
                output::warning(&format!("entry {offset} of the journal: {error}"));
                return Ok(());
            }
        };
        event.set(Field::JournalSequence, i64::try_from(offset).unwrap_or(i64::MAX));
        self.count += 1;
        match self.shown {
            Shown::Table => self.row(&event)?,
            Shown::Json => self.out.raw(&codec::encode(&event))?,
            Shown::Ecs => self.form(&event, Format::Ecs)?,
            Shown::Ocsf => self.form(&event, Format::Ocsf)?,
            Shown::Cef => self.form(&event, Format::Cef)?,
            Shown::Leef => self.form(&event, Format::Leef)?,
            Shown::Text => self.form(&event, Format::Text)?,
        }
        if self.follow { self.out.flush() } else { Ok(()) }
    }

    fn form(&mut self, event: &Event, format: Format) -> io::Result<()> {
        self.line.clear();
        render::render(event, format, &mut self.line);
        self.out.raw(&self.line)
    }

    fn row(&mut self, event: &Event) -> io::Result<()> {
        if self.count == 1 {
            let head = ["TIME", "SOURCE", "DECOY", "ACTION", "LEVEL", "WHAT"].map(String::from);
            let head = columns(head, self.out.width());
            let head = self.out.bold(&head);
            self.out.line(&head)?;
        }
        self.out.line(&columns(cells(event), self.out.width()))
    }

    /// Says on a terminal what there was; the index lag if some had to be searched without it.
    fn end(&mut self, index_lag: u64) -> anyhow::Result<Exit> {
        if self.out.is_terminal() && self.count == 0 {
            output::hint("nothing matches");
        }
        if self.out.is_terminal() && index_lag > 0 {
            output::hint(&format!("{index_lag} new events are not in the index yet"));
        }
        self.out.flush()?;
        Ok(Exit::Done)
    }
}

/// Widths of all columns but the last, 0 for those left out, and what is shown of the time.
type Layout = ([usize; 5], Range<usize>);

const WIDE: Layout = ([23, 21, 16, 17, 7], 0..23);
const NARROW: Layout = ([14, 21, 14, 16, 7], 5..19);
/// The sentence at the end names the decoy's port and what was done.
const SLIM: Layout = ([11, 15, 0, 0, 7], 5..16);

/// How the columns are laid out in a window, or in a pipe.
const fn layout(width: Option<usize>) -> Layout {
    match width {
        Some(..100) => SLIM,
        Some(100..120) => NARROW,
        _ => WIDE,
    }
}

/// Least that is worth showing of what happened, the last column.
const WHAT_LEAST: usize = 16;

/// One line. On a terminal it fits, else nothing of it is cut.
fn columns(cells: [String; 6], width: Option<usize>) -> String {
    let (widths, shown) = layout(width);
    let [at, rest @ .., what] = cells;
    let at = at.get(shown).unwrap_or(&at).to_owned();
    let mut line = String::new();
    let cells = std::iter::once(at).chain(rest).zip(widths);
    for (cell, room) in cells.filter(|(_, room)| *room > 0) {
        let cell = match width {
            Some(_) => output::cut(&cell, room),
            None => cell,
        };
        line += &format!("{cell:<room$}  ");
    }
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(line.chars().count()));
    if room >= WHAT_LEAST {
        line += &output::cut(&what, room);
    }
    let line = line.trim_end();
    width.map_or_else(|| line.to_owned(), |width| output::cut(line, width))
}

fn cells(event: &Event) -> [String; 6] {
    [
        moment(event),
        endpoint(event, Field::SourceIp, Field::SourcePort),
        decoy(event),
        event.action.name().to_owned(),
        text(event, Field::TouchLevel),
        text(event, Field::Message),
    ]
}

/// The local time, to be compared with a clock on the wall.
fn moment(event: &Event) -> String {
    let at = Timestamp::from_microsecond(event.at.micros()).unwrap_or_default();
    // What is below a millisecond is left out, as in every other form.
    let local = at.to_zoned(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn endpoint(event: &Event, ip: Field, port: Field) -> String {
    match (event.ip(ip), event.int(port)) {
        (Some(std::net::IpAddr::V6(ip)), Some(port)) => format!("[{ip}]:{port}"),
        (Some(ip), Some(port)) => format!("{ip}:{port}"),
        (Some(ip), None) => ip.to_string(),
        (None, _) => String::from("-"),
    }
}

fn decoy(event: &Event) -> String {
    match (event.text(Field::DecoyId), event.int(Field::DestinationPort)) {
        (Some(decoy), Some(port)) => format!("{}:{port}", safe(decoy)),
        (Some(decoy), None) => safe(decoy),
        (None, _) => String::from("-"),
    }
}

fn text(event: &Event, field: Field) -> String {
    match event.resolve(field) {
        Some(Value::Text(text)) => safe(&text),
        _ => String::from("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_the_terminal_and_is_whole_in_a_pipe() {
        let cells = || {
            let at = "2026-11-22 18:06:24.123".to_owned();
            let source = "[2001:db8:1234:5678:9abc:def0:1234:5678]:40022".to_owned();
            let cells = [at, source, "everywhere:2222".to_owned(), "decoy-credential".to_owned()];
            let [at, source, decoy, action] = cells;
            [at, source, decoy, action, "proof".to_owned(), "what ".repeat(40)]
        };
        for width in [10, 40, 80, 99, 100, 119, 120, 200] {
            let line = columns(cells(), Some(width));
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
        let narrow = columns(cells(), Some(100));
        assert!(
            narrow.starts_with("11-22 18:06:24") && narrow.contains("decoy-credential  proof"),
            "{narrow}"
        );
        let slim = columns(cells(), Some(80));
        assert!(
            slim.starts_with("11-22 18:06") && slim.contains("proof    what what what"),
            "{slim}"
        );
        let whole = columns(cells(), None);
        assert!(cells().iter().all(|cell| whole.contains(cell.trim_end())), "{whole}");
    }

    #[test]
    fn a_time_is_a_span_back_or_an_instant() {
        let hour = jiff::SignedDuration::from_hours(1);
        let before = Timestamp::now();
        let read = instant("1h").unwrap();
        assert!(read >= before - hour && read <= Timestamp::now() - hour, "{read}");
        assert!(instant("1d").unwrap() < instant("23h").unwrap());
        assert_eq!(instant("2026-11-22T10:00:00Z").unwrap().as_second(), 1_795_341_600);
        assert!(instant("yesterday").unwrap_err().contains("`yesterday`"));
    }
}
