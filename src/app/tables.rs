//! The files that events are enriched from: read at the start and at a reload, read again when they change.
//!
//! Invariants: 1. a file that cannot be read refuses a start or a reload; one that becomes unreadable while trapline runs
//! leaves the tables as they are and is told once; 2. files are read off the runtime's threads; 3. their size is bounded.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::graph::shape::{EnrichSpec, Inventory, MaxMind, SharedTables, Tables, Unread};
use crate::graph::transforms::TransformKind;

/// Largest MaxMind database; it is held in memory.
const DATABASE_BYTES_MAX: u64 = 1 << 30;
/// Largest inventory.
const TABLE_BYTES_MAX: u64 = 256 << 20;
/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// A file that a transform needs and cannot have.
#[derive(Debug, thiserror::Error)]
#[error("transforms.{node}.{key}: `{path}`: {why}")]
pub struct BadTable {
    node: String,
    key: &'static str,
    path: String,
    why: String,
}

/// The tables of one node.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    node: String,
    spec: EnrichSpec,
    shared: Arc<SharedTables>,
    /// The files as they were when they were read last.
    stamps: Stamps,
}

/// What tells one version of each file from the next: time of change, size.
type Stamps = [Option<(SystemTime, u64)>; 3];

/// Reads the tables of all transforms that have any.
pub(super) fn load(config: &Config) -> Result<Vec<Watched>, BadTable> {
    specs(config)
        .map(|(node, spec)| {
            let stamps = stamps(spec);
            let tables = read(node, spec)?;
            let shared = Arc::new(SharedTables::default());
            shared.put(tables);
            Ok(Watched {
                node: node.to_owned(),
                spec: spec.clone(),
                shared,
                stamps,
            })
        })
        .collect()
}

/// By node, the tables as the graph takes them.
pub(super) fn shared(watched: &[Watched]) -> HashMap<String, Arc<SharedTables>> {
    let each = watched.iter();
    each.map(|one| (one.node.clone(), Arc::clone(&one.shared))).collect()
}

/// What is wrong with the files of a configuration, one sentence each.
pub fn check(config: &Config) -> Vec<String> {
    let tried = specs(config).filter_map(|(node, spec)| read(node, spec).err());
    tried.map(|wrong| wrong.to_string()).collect()
}

fn specs(config: &Config) -> impl Iterator<Item = (&str, &EnrichSpec)> {
    config.transforms.iter().filter_map(|transform| match &transform.kind {
        TransformKind::Enrich(spec) => Some((transform.name.as_str(), spec)),
        _ => None,
    })
}

/// The tables in use, for whoever reads them again.
#[derive(Debug, Clone, Default)]
pub(super) struct InUse(Arc<Mutex<Vec<Watched>>>);

impl InUse {
    /// Those of another configuration take the place of what was watched.
    pub(super) fn put(&self, watched: Vec<Watched>) {
        *self.lock() = watched;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads files that changed again. Blocking.
    fn refresh(&self) {
        let mut watched = self.lock().clone();
        for one in &mut watched {
            one.refresh();
        }
        let mut now = self.lock();
        // A reload may have put others there meanwhile.
        for one in watched {
            if let Some(same) = now.iter_mut().find(|other| Arc::ptr_eq(&other.shared, &one.shared)) {
                *same = one;
            }
        }
    }
}

/// Looks after the files until `stop`.
pub(super) async fn run(tables: InUse, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel: a tick that is dropped comes again.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !tables.lock().is_empty() {
            let tables = tables.clone();
            let _ = tokio::task::spawn_blocking(move || tables.refresh()).await;
        }
    }
}

impl Watched {
    fn refresh(&mut self) {
        let now = stamps(&self.spec);
        if now == self.stamps {
            return;
        }
        self.stamps = now;
        match read(&self.node, &self.spec) {
            Ok(tables) => {
                self.shared.put(tables);
                tracing::info!(transform.name = %self.node, "transform {} reads its tables again", self.node);
            }
            Err(wrong) => {
                tracing::error!(transform.name = %self.node, "{wrong}; the tables stay as they were");
            }
        }
    }
}

fn stamps(spec: &EnrichSpec) -> Stamps {
    [&spec.geoip, &spec.asn, &spec.table].map(|path| {
        let found = std::fs::metadata(path.as_ref()?).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
}

fn read(node: &str, spec: &EnrichSpec) -> Result<Tables, BadTable> {
    let wrong = |key, path: &Path, why| BadTable {
        node: node.to_owned(),
        key,
        path: path.display().to_string(),
        why,
    };
    let database = |key, path: Option<&Path>, kinds: &[&str]| {
        path.map(|path| {
            let bytes = bounded(path, DATABASE_BYTES_MAX);
            bytes
                .and_then(|bytes| MaxMind::read(bytes, kinds))
                .map_err(|why| wrong(key, path, why))
        })
        .transpose()
    };
    Ok(Tables {
        geoip: database("geoip", spec.geoip.as_deref(), &["City", "Country", "Enterprise"])?,
        asn: database("asn", spec.asn.as_deref(), &["ASN", "ISP"])?,
        table: match &spec.table {
            Some(path) => Some(inventory(node, path, spec).map_err(|why| wrong("table", path, why))?),
            None => None,
        },
    })
}

fn inventory(node: &str, path: &Path, spec: &EnrichSpec) -> Result<Inventory, String> {
    let bytes = bounded(path, TABLE_BYTES_MAX)?;
    let (inventory, unread) = Inventory::read(&bytes, spec.key)?;
    let Unread { lines, first } = unread;
    if lines > 0 {
        let path = path.display();
        tracing::warn!(transform.name = %node, "{lines} lines of `{path}` cannot be read, the first is line {first}");
    }
    Ok(inventory)
}

/// A file of at most so many bytes.
///
/// Errors: a sentence.
pub(super) fn bounded(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    if !is_file {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    match bytes.len() as u64 > max {
        true => Err(format!("it is larger than {} MiB", max >> 20)),
        false => Ok(bytes),
    }
}
