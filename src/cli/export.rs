//! `trapline journal export` and `journal backup`: what was recorded, as text or as a file of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use trapline_schemas::{Field, Format, codec, render};

use crate::control::client::{self, ClientError};
use crate::control::protocol::{Answer, Query, Request, VerifyReport};
use crate::journal::Hold;

use super::events::instant;
use super::output::{self, Out};
use super::{Exit, Globals, place};

/// What `journal export` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// From this time on: a span back from now such as 15m, 2h, 1d, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// Source address or network
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// One event a line, as
    #[arg(long, value_enum, default_value = "ecs")]
    format: Form,
    /// Into this file, which is there only once it is whole [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
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
    /// As the journal keeps it: JSON by catalogue names
    Body,
}

/// What `journal backup` understands.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The copy is one sound SQLite file, mode 0600, as of the moment of the call; its hash chain is \
walked over before it is given its name. The site key (site.key in the state folder) is a file of its own: keep it \
elsewhere."
)]
pub(super) struct Backup {
    /// The file to write
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) fn export(globals: &Globals, wanted: &Export) -> anyhow::Result<Exit> {
    let mut draft = wanted
        .output
        .as_deref()
        .map(|path| Draft::new(path, wanted.force))
        .transpose()?;
    let mut writer = Writer {
        form: wanted.format,
        line: Vec::new(),
        count: 0,
        unreadable: 0,
    };
    match &mut draft {
        Some(draft) => each(globals, wanted, |offset, body| {
            writer.write(&mut draft.file, offset, body)
        })?,
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            each(globals, wanted, |offset, body| writer.write(&mut out, offset, body))?;
            out.flush()?;
        }
    }
    if let Some(draft) = draft {
        let path = draft.finish()?;
        tell(globals, &path, &writer)?;
    }
    if writer.unreadable > 0 {
        output::warning(&format!(
            "{} entries could not be read and are left out",
            writer.unreadable
        ));
    }
    Ok(Exit::Done)
}

fn tell(globals: &Globals, path: &Path, writer: &Writer) -> io::Result<()> {
    let mut out = Out::new();
    if globals.json {
        out.json(&serde_json::json!({"file": path, "events": writer.count, "unreadable": writer.unreadable}))?;
    } else {
        out.line(&format!("{} events written to {}", writer.count, path.display()))?;
    }
    out.flush()
}

/// Hands every event that is meant to `show`, oldest first, a page at a time.
fn each(globals: &Globals, wanted: &Export, mut show: impl FnMut(u64, &[u8]) -> io::Result<()>) -> anyhow::Result<()> {
    let query = Query {
        since: wanted.since.map(Timestamp::as_microsecond),
        until: wanted.until.map(Timestamp::as_microsecond),
        source: wanted.source.clone(),
        limit: 0,
        ..Query::default()
    };
    place::each_event(globals, &query, &mut show).map(drop)
}

/// Writes events one by one.
struct Writer {
    form: Form,
    line: Vec<u8>,
    count: u64,
    unreadable: u64,
}

impl Writer {
    fn write(&mut self, out: &mut impl Write, offset: u64, body: &[u8]) -> io::Result<()> {
        let Ok(mut event) = codec::decode(body) else {
            self.unreadable += 1;
            return Ok(());
        };
        self.count += 1;
        event.set(Field::JournalSequence, i64::try_from(offset).unwrap_or(i64::MAX));
        self.line.clear();
        match format(self.form) {
            Some(format) => render::render(&event, format, &mut self.line),
            None => codec::encode_into(&event, &mut self.line),
        }
        self.line.push(b'\n');
        out.write_all(&self.line)
    }
}

const fn format(form: Form) -> Option<Format> {
    match form {
        Form::Ecs => Some(Format::Ecs),
        Form::Ocsf => Some(Format::Ocsf),
        Form::Cef => Some(Format::Cef),
        Form::Leef => Some(Format::Leef),
        Form::Text => Some(Format::Text),
        Form::Body => None,
    }
}

/// A file under another name until it is whole; it goes if it never is.
struct Draft {
    file: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    is_whole: bool,
}

impl Draft {
    fn new(path: &Path, force: bool) -> anyhow::Result<Self> {
        if !force && path.try_exists()? {
            anyhow::bail!("the file `{}` exists: --force replaces it", path.display());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part);
        let file = file.map_err(|error| anyhow::anyhow!("failed to write `{}`: {error}", part.display()))?;
        Ok(Self {
            file: BufWriter::new(file),
            part,
            path: path.to_owned(),
            is_whole: false,
        })
    }

    fn finish(mut self) -> io::Result<PathBuf> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.part, &self.path)?;
        self.is_whole = true;
        Ok(self.path.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_whole {
            // What is left of it says by its name that it is a part.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

pub(super) fn backup(globals: &Globals, wanted: &Backup) -> anyhow::Result<Exit> {
    // The instance has another folder to start from.
    let target = std::path::absolute(&wanted.file)?;
    let request = Request::Backup {
        target: target.clone(),
        force: wanted.force,
    };
    let report = match client::ask_one(&place::state_dir(globals)?, &request) {
        Ok(Answer::Copied { report, file }) => {
            look_for(&target, file)?;
            report
        }
        Ok(other) => return place::refused(other),
        Err(ClientError::NotRunning(_)) => {
            let copied = place::with_journal(globals, Hold::WhileOpen, async |journal| {
                Ok(journal.backup(target.clone(), wanted.force).await?.into())
            })?;
            let Some(report) = copied else { return Ok(Exit::Failed) };
            report
        }
        Err(error) => return Err(error.into()),
    };
    show_backup(globals, &target, &report)
}

/// Looks whether the copy stands where it was wanted: a service may have a `/tmp` of its own.
fn look_for(target: &Path, made: Option<(u64, u64)>) -> anyhow::Result<()> {
    match std::fs::metadata(target) {
        Ok(found) if made == Some((found.dev(), found.ino())) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            output::warning(&format!("`{}` cannot be looked at: {error}", target.display()));
            return Ok(());
        }
        _ => {}
    }
    anyhow::bail!(
        "the copy is not at `{}`, the service wrote it into a folder of its own of that name (its /tmp is such a one): \
         name a path below the state folder, or in one that the unit names in `ReadWritePaths=`",
        target.display()
    )
}

fn show_backup(globals: &Globals, target: &Path, report: &VerifyReport) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    if globals.json {
        out.json(report)?;
    } else {
        let (count, head) = (report.entries, &report.hash);
        out.line(&format!(
            "{count} entries copied to {} and verified, head {head}",
            target.display()
        ))?;
    }
    out.flush()?;
    let Some(fault) = &report.fault else {
        return Ok(Exit::Done);
    };
    output::error(&format!("the copy is as the journal is: {fault}"));
    Ok(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_not_where_it_was_wanted_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.db");
        let said = look_for(&target, Some((1, 2))).unwrap_err().to_string();
        assert!(said.contains("ReadWritePaths="), "{said}");
        std::fs::write(&target, "of another day").unwrap();
        assert!(look_for(&target, Some((1, 2))).is_err(), "another file of that name");
        assert!(look_for(&target, None).is_err());
        let file = std::fs::metadata(&target).unwrap();
        look_for(&target, Some((file.dev(), file.ino()))).unwrap();
    }
}
