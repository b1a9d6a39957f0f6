//! The files that events are enriched from: read at the start and at a reload, read again when they change.
//!
//! Invariants: 1. a file that cannot be read refuses a start or a reload; one that becomes unreadable while trapline runs
//! leaves the tables as they are and is told once; 2. files are read off the runtime's threads; 3. their size is bounded.

use std::collections::HashMap;
use std::io::Read as _;
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
/// Largest file of leases.
pub(super) const LEASES_BYTES_MAX: u64 = 64 << 20;
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
            let read = read(node, spec)?;
            let shared = Arc::new(SharedTables::default());
            put(node, read, &shared);
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

/// What is wrong with the files of a configuration, one sentence each: what would refuse a start, and what would not.
/// Databases are read to their last entry, which takes a while.
pub fn check(config: &Config) -> (Vec<String>, Vec<String>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (node, spec) in specs(config) {
        match read(node, spec) {
            Err(wrong) => errors.push(wrong.to_string()),
            Ok(read) => {
                errors.extend(damage(node, spec, &read.tables).map(|wrong| wrong.to_string()));
                warnings.extend(read.unread);
            }
        }
    }
    if let Some(leases) = &config.observer.leases
        && let Err(why) = bounded(leases, LEASES_BYTES_MAX)
    {
        warnings.push(format!("observer.leases: `{}`: {why}", leases.display()));
    }
    (errors, warnings)
}

/// What stands wrong in the depth of a database.
fn damage(node: &str, spec: &EnrichSpec, tables: &Tables) -> Option<BadTable> {
    let databases = [("geoip", &tables.geoip, &spec.geoip), ("asn", &tables.asn, &spec.asn)];
    databases.into_iter().find_map(|(key, database, path)| {
        let why = database.as_ref()?.verify().err()?;
        Some(wrong(node, key, path.as_ref()?, why))
    })
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
            Ok(read) => {
                put(&self.node, read, &self.shared);
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

/// Tables as they were read.
struct Read {
    tables: Tables,
    /// What of them could not be, a sentence.
    unread: Option<String>,
}

fn wrong(node: &str, key: &'static str, path: &Path, why: String) -> BadTable {
    BadTable {
        node: node.to_owned(),
        key,
        path: path.display().to_string(),
        why,
    }
}

fn read(node: &str, spec: &EnrichSpec) -> Result<Read, BadTable> {
    let database = |key, path: Option<&Path>, kinds: &[&str]| {
        path.map(|path| {
            let bytes = bounded(path, DATABASE_BYTES_MAX);
            bytes
                .and_then(|bytes| MaxMind::read(bytes, kinds))
                .map_err(|why| wrong(node, key, path, why))
        })
        .transpose()
    };
    let mut tables = Tables {
        geoip: database("geoip", spec.geoip.as_deref(), &["City", "Country", "Enterprise"])?,
        asn: database("asn", spec.asn.as_deref(), &["ASN", "ISP"])?,
        table: None,
    };
    let mut unread = None;
    if let Some(path) = &spec.table {
        let found = bounded(path, TABLE_BYTES_MAX).and_then(|bytes| Inventory::read(&bytes, spec.key, &spec.columns));
        let (inventory, Unread { lines, first }) = found.map_err(|why| wrong(node, "table", path, why))?;
        let told = || {
            let path = path.display();
            format!("transforms.{node}.table: {lines} lines of `{path}` cannot be read, the first is line {first}")
        };
        unread = (lines > 0).then(told);
        tables.table = Some(inventory);
    }
    Ok(Read { tables, unread })
}

/// Puts tables in use, and says what of them could not be read.
fn put(node: &str, read: Read, shared: &SharedTables) {
    if let Some(unread) = read.unread {
        tracing::warn!(transform.name = %node, "{unread}");
    }
    shared.put(read.tables);
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
