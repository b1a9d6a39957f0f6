//! File sink: one line per event, appended and synced.
//!
//! ```toml
//! [sinks.archive]
//! type = "file"
//! inputs = ["*"]
//! path = "events.jsonl"      # relative to state_dir; its folder must be there
//! format = "ecs"             # default; ecs | ocsf | cef | leef | text
//! durability = "full"        # default; normal leaves syncing to the system
//! ```
//!
//! In: batches. Out: lines, each ended by LF, valid UTF-8, without other control characters; file mode 0640.
//!
//! Invariants:
//! 1. `Delivered` means written and, with `durability = "full"`, synced: it survives power loss on a disk that honours a
//!    sync. With `normal` it survives a kill -9 and may lose the last moments on power loss.
//! 2. Exactly once over clean restarts; at most one batch doubles per crash, under the same ids.
//! 3. No half line stays: after an error the file is cut back to where the batch began, and a torn last line (a crash in
//!    the middle of a write) is cut and counted when the file is opened.
//! 4. A file that was renamed or removed (logrotate with or without `create`) is opened anew before the next batch; with
//!    `copytruncate` writing goes on at the new end. Lines are never written to a rotated file.
//! 5. A handle whose sync failed is never used again: the kernel reports that error once and forgets the pages.
//!
//! Disk full, read-only and the like are [`FaultKind::Local`]: sent again later. It does not rotate, compress or
//! remove files: that is logrotate's.

mod log;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use trapline_schemas::Format;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::{BatchLimits, Delivery, Fault, FaultKind, Parcel, Said, StreamSink};

use crate::log::{FileError, Log, System, look_at};

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "file",
    keys: &[
        Key::required(
            "path",
            KeyKind::OutputPath,
            "the file to append to; relative to `state_dir`, its folder must be there",
        ),
        Key::default(
            "durability",
            KeyKind::Choice(&["full", "normal"]),
            "\"full\"",
            "full: synced before an event counts as delivered; normal: survives a crash of trapline, not power loss",
        ),
    ],
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef, Format::Text],
    parse: |table: &Table| Box::new(Settings::read(table)),
    doc: "one line per event, appended and synced",
};

/// A checked `file` table.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Whether each batch is synced before it counts as delivered.
    pub sync: bool,
}

impl Settings {
    fn read(table: &Table) -> Self {
        Self {
            path: table.path("path").unwrap_or_default(),
            sync: table.choice("durability") == "full",
        }
    }
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        // The file itself is opened with the first batch: `check` must leave nothing behind.
        look_at(&self.path).map_err(fault)?;
        Ok(Arc::new(FileSink {
            path: self.path.clone(),
            format: common.format,
            sync: self.sync,
            log: Arc::new(Mutex::new(Log::new(System::new(&self.path), self.sync))),
            said: Said::default(),
        }))
    }

    /// A warning, for the path may be right by the time of the first event.
    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        let error = look_at(&self.path).err().filter(|_| table.is_good("path"));
        let problem = |error: FileError| Problem::warning(table.place("path"), error.to_string(), "");
        error.map(problem).into_iter().collect()
    }
}

#[derive(Debug)]
struct FileSink {
    path: PathBuf,
    format: Format,
    sync: bool,
    log: Arc<Mutex<Log<System>>>,
    said: Said,
}

#[async_trait]
impl StreamSink for FileSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 2000,
            bytes: 2 * 1024 * 1024,
            linger: Duration::from_millis(20),
            in_flight: 1,
        }
    }

    /// Renders, writes and syncs on a blocking thread. Cancel: safe; the write ends on its own, whole.
    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let (log, format, batch) = (self.log.clone(), self.format, batch.to_vec());
        let count = batch.len();
        let written = tokio::task::spawn_blocking(move || {
            let lines = lines(&batch, format);
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(&lines).map(|()| lines.len())
        });
        match written.await {
            Ok(Ok(bytes)) => {
                self.said.keep(&written_words(bytes, self.sync), &[]);
                Delivery::all(count)
            }
            Ok(Err(error)) => Delivery::retry(count, fault(error)),
            Err(error) => Delivery::retry(
                count,
                Fault {
                    kind: FaultKind::Local,
                    message: error.to_string(),
                },
            ),
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || look_at(&path)).await;
        match looked {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(fault(error)),
            Err(error) => Err(Fault {
                kind: FaultKind::Local,
                message: error.to_string(),
            }),
        }
    }

    fn destination(&self) -> Option<String> {
        Some(shown(&self.path).to_string())
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        // A disk that hangs holds the log: whoever asks must not hang with it.
        let cut = self.log.try_lock().map_or(0, |log| log.torn_lines());
        let durability = (!self.sync).then(|| "durability is normal: power loss may take the last moments".to_owned());
        let torn = (cut > 0).then(|| format!("{cut} torn lines cut at open"));
        durability.into_iter().chain(torn).collect()
    }
}

fn written_words(bytes: usize, sync: bool) -> String {
    match sync {
        true => format!("{bytes} bytes written and synced"),
        false => format!("{bytes} bytes written, not synced"),
    }
}

fn lines(batch: &[Arc<Parcel>], format: Format) -> Vec<u8> {
    let mut lines = Vec::with_capacity(batch.iter().map(|parcel| parcel.rendered(format).len() + 1).sum());
    for parcel in batch {
        lines.extend_from_slice(parcel.rendered(format));
        lines.push(b'\n');
    }
    lines
}

fn fault(error: FileError) -> Fault {
    let kind = match error {
        FileError::NoFolder(_) | FileError::NotAFile(_) | FileError::NotLines { .. } => FaultKind::Config,
        _ => FaultKind::Local,
    };
    Fault {
        kind,
        message: error.to_string(),
    }
}

/// `path` for messages.
fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_hangs_makes_nobody_wait_who_asks_for_notes() {
        let path = Path::new("/nonexistent/events.jsonl");
        let sink = FileSink {
            path: path.to_owned(),
            format: Format::Ecs,
            sync: false,
            log: Arc::new(Mutex::new(Log::new(System::new(path), false))),
            said: Said::default(),
        };
        let _written = sink.log.lock().unwrap();
        assert_eq!(sink.notes().len(), 1, "what is known without the log");
    }
}
