//! Where the configuration and the state of an instance are, and what its refusals mean.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::app::{LoadError, Source, StartError};
use crate::control::client::{self, ClientError};
use crate::control::protocol::{Answer, Query, Reason, Refusal, Request};
use crate::control::query::Filter;
use crate::control::search;
use crate::journal::{Hold, Journal, JournalError};

use super::output::{self, Failure};
use super::{Exit, Globals};

/// Which configuration the command line names.
pub(super) fn source(globals: &Globals) -> Source {
    Source::choose(globals.config.as_deref())
}

/// The state folder. It is found even if other parts of the configuration are wrong: a running instance must be
/// reachable while its file is being edited.
pub(super) fn state_dir(globals: &Globals) -> Result<PathBuf, LoadError> {
    match source(globals).load() {
        Ok((loaded, _)) => Ok(loaded.config.state_dir),
        Err(LoadError::Wrong(wrong)) => Ok(wrong.state_dir),
        Err(error) => Err(error),
    }
}

/// Asks the running instance for one answer.
///
/// Errors: the mistakes of the configuration, if nobody answers and they leave open where the instance is.
pub(super) fn ask_one(globals: &Globals, request: &Request) -> anyhow::Result<Answer> {
    let loaded = source(globals).load();
    let (state_dir, lost) = match loaded {
        Ok((loaded, _)) => (loaded.config.state_dir, None),
        Err(LoadError::Wrong(wrong)) => (wrong.state_dir.clone(), wrong.journal.is_none().then_some(wrong)),
        Err(error) => return Err(error.into()),
    };
    match (client::ask_one(&state_dir, request), lost) {
        (Err(ClientError::NotRunning(_)), Some(wrong)) => Err(LoadError::Wrong(wrong).into()),
        (answer, _) => Ok(answer?),
    }
}

/// What a running instance refused.
#[derive(Debug, thiserror::Error)]
#[error("the running instance refused")]
pub(super) struct Refused {
    pub(super) exit: Exit,
    pub(super) failure: Failure,
}

/// The journal's file. Nothing else in the configuration need be right, and no secret need be there.
fn journal_path(globals: &Globals) -> Result<PathBuf, LoadError> {
    match source(globals).load() {
        Ok((loaded, _)) => Ok(loaded.config.journal.path),
        Err(LoadError::Wrong(wrong)) => wrong.journal.clone().ok_or(LoadError::Wrong(wrong)),
        Err(error) => Err(error),
    }
}

/// What an answer other than the expected one means: always an error.
pub(super) fn refused(answer: Answer) -> anyhow::Result<Exit> {
    let Answer::Refused {
        cause,
        reasons,
        warnings,
    } = answer
    else {
        bail!("the running instance answered something else: restart it after an upgrade");
    };
    let exit = match cause {
        Refusal::Usage => Exit::Usage,
        Refusal::Config => Exit::Config,
        Refusal::Failed | Refusal::Busy => Exit::Failed,
    };
    let failure = Failure::new(reasons, warnings);
    Err(Refused { exit, failure }.into())
}

/// Shows matching events, oldest first: of the running instance or, if none runs, of the journal file.
///
/// Out: how it ended, and how many entries the instance's index has not seen. Errors of `show` end it; those that a
/// closed pipe causes end the command quietly.
pub(super) fn each_event(
    globals: &Globals,
    wanted: &Query,
    mut show: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> anyhow::Result<(Exit, u64)> {
    let state_dir = state_dir(globals)?;
    let answers = match client::ask(&state_dir, &Request::Events(wanted.clone())) {
        Ok(answers) => answers,
        Err(ClientError::NotRunning(_)) if !wanted.follow => return Ok((read_journal(globals, wanted, show)?, 0)),
        Err(error) => return Err(error.into()),
    };
    for answer in answers {
        match answer? {
            Answer::Event { offset, body } => show(offset, body.as_bytes())?,
            Answer::End { index_lag } => return Ok((Exit::Done, index_lag)),
            other => return Ok((refused(other)?, 0)),
        }
    }
    Err(ClientError::Ended.into())
}

/// Reads matching events from the journal file of an instance that does not run.
fn read_journal(
    globals: &Globals,
    wanted: &Query,
    mut show: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> anyhow::Result<Exit> {
    let filter = match Filter::parse(wanted) {
        Ok(filter) => filter,
        Err(reasons) => {
            return refused(Answer::Refused {
                cause: Refusal::Usage,
                reasons: reasons.into_iter().map(Reason::from).collect(),
                warnings: Vec::new(),
            });
        }
    };
    // A pager may keep it for hours, and no start of the service waits for that.
    with_journal(globals, Hold::WhileLooking, async |journal| {
        Ok(search::each(&journal, &filter, wanted.limit, &mut show).await?)
    })?;
    Ok(Exit::Done)
}

/// What is damaged in the journal, if that is why it cannot be read.
pub(super) fn damage(error: &anyhow::Error) -> Option<&JournalError> {
    error
        .downcast_ref()
        .filter(|error| matches!(error, JournalError::Damaged { .. }))
}

/// What a person does about it.
pub(super) const SALVAGE: &str = "`trapline run` or a restart of the service keeps the damaged file, salvages what can be read, and tells the numbers";

/// What a person does about a journal that cannot be opened.
pub(super) fn what_the_journal_needs(error: &anyhow::Error) -> Option<String> {
    let of_start = error.downcast_ref().and_then(|error| match error {
        StartError::Journal(journal) => Some(journal),
        _ => None,
    });
    Some(match of_start.or_else(|| error.downcast_ref())? {
        JournalError::Damaged { .. } => SALVAGE.to_owned(),
        JournalError::Newer { backup: None, .. } => {
            "start the newer trapline again, or move the file with its -wal and -shm away to begin anew".to_owned()
        }
        JournalError::Newer {
            backup: Some(backup), ..
        } => format!(
            "start the newer trapline again; to go back instead, move the file with its -wal and -shm away and copy \
             `{backup}` into its place: what was recorded since is then told as a gap"
        ),
        JournalError::Older { .. } => {
            "`trapline run` or a restart of the service keeps a copy of it and brings it up".to_owned()
        }
        JournalError::NotUpgraded { .. } => "mend that and start again, or start the trapline that wrote it".to_owned(),
        _ => return None,
    })
}

/// Opens the journal file of an instance that does not run; `None` if there is no file.
/// The file stays as it is, also a damaged one.
pub(super) fn with_journal<T>(
    globals: &Globals,
    hold: Hold,
    act: impl AsyncFnOnce(Journal) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let path = journal_path(globals)?;
    let Some(journal) = Journal::open_to_read(path.clone(), hold)? else {
        output::hint(&format!(
            "nothing was recorded yet: there is no journal `{}`",
            path.display()
        ));
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(act(journal));
    done.map(Some).context("failed to read the journal")
}
