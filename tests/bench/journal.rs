//! What a durable entry costs, beside its bare twins: rusqlite without a hash, and a file that is synced.
//!
//! The folder is made under `TMPDIR`; put that on the disk that counts.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::Connection;
use trapline::journal::{Commit, Journal, JournalSettings};

use crate::measure::{median, micros, row};

/// How long each row takes.
const TIME: Duration = Duration::from_secs(3);

/// Groups against rusqlite, then a lone entry against one sync.
pub fn run() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
    let ours = |batch: usize| {
        let append = vec![body(); batch];
        runtime
            .block_on(journal.commit(Commit {
                append,
                ..Commit::default()
            }))
            .unwrap();
    };
    let mut bare = Bare::open(&folder.path().join("bare.db"));
    for batch in [1, 32, 512] {
        let (twin, own) = alternate(TIME, &mut || bare.insert(batch), &mut || ours(batch));
        let what = format!("durable entry in groups of {batch}");
        compare(&what, own / batch as f64, twin / batch as f64);
    }
    let mut file = File::create(folder.path().join("bare.log")).unwrap();
    let mut sync = || {
        file.write_all(&body()).unwrap();
        file.sync_data().unwrap();
    };
    let (twin, own) = alternate(TIME, &mut sync, &mut || ours(1));
    compare("durable lone entry, one fdatasync", own, twin);
    runtime.block_on(journal.close());
}

/// The journal's table without its hash, written as simply as can be.
struct Bare(Connection);

impl Bare {
    fn open(path: &Path) -> Self {
        let conn = Connection::open(path).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE entries (offset INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, body BLOB NOT NULL)",
        )
        .unwrap();
        Self(conn)
    }

    fn insert(&mut self, batch: usize) {
        let tx = self.0.transaction().unwrap();
        {
            let mut insert = tx
                .prepare_cached("INSERT INTO entries (at, body) VALUES (?1, ?2)")
                .unwrap();
            for _ in 0..batch {
                insert.execute((1_i64, &body()[..])).unwrap();
            }
        }
        tx.commit().unwrap();
    }
}

/// Runs both by turns, some milliseconds each, and gives the median microseconds of one call.
fn alternate(time: Duration, first: &mut dyn FnMut(), second: &mut dyn FnMut()) -> (f64, f64) {
    let mut turns = (Vec::new(), Vec::new());
    let until = Instant::now() + time;
    while Instant::now() < until {
        turns.0.push(turn(first));
        turns.1.push(turn(second));
    }
    (median(turns.0), median(turns.1))
}

fn turn(call: &mut dyn FnMut()) -> f64 {
    let (begun, mut calls) = (Instant::now(), 0);
    while begun.elapsed() < TURN {
        call();
        calls += 1;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

fn compare(what: &str, ours: f64, bare: f64) {
    row(what, &micros(ours), &micros(bare), Some(ours / bare), "1.50");
}

fn body() -> Bytes {
    static BODY: [u8; 1126] = [b'x'; 1126];
    Bytes::from_static(&BODY)
}

const TURN: Duration = Duration::from_millis(30);
