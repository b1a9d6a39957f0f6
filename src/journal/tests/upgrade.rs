//! Older files are brought up once, behind a backup; newer ones are left as they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use tempfile::TempDir;

use super::super::settings::{UpgradeStep, Upgrading};
use super::super::sqlite::{self, OpenFault};
use super::super::upgrade::{Migration, Progress, backup_of, bring_up, newest};
use super::super::{Entry, Hold, Journal, JournalError, JournalSettings, Offset};
use super::disk::Disk;
use super::{all, append, folder, letters, open, settings};

/// Two steps that there never were: a mark in each row, then one more table.
const TWO_STEPS: &[Migration] = &[
    Migration {
        to: 2,
        rewrites: true,
        run: mark_rows,
    },
    Migration {
        to: 3,
        rewrites: false,
        run: add_table,
    },
];

fn mark_rows(tx: &Transaction<'_>, progress: &mut Progress<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("ALTER TABLE entries ADD COLUMN mark TEXT")?;
    let newest: u32 = tx.query_row("SELECT max(offset) FROM entries", [], |row| row.get(0))?;
    for offset in 1..=newest {
        tx.execute("UPDATE entries SET mark = 'marked' WHERE offset = ?1", [offset])?;
        progress.at(offset.into(), newest.into());
    }
    Ok(())
}

fn add_table(tx: &Transaction<'_>, progress: &mut Progress<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("CREATE TABLE marks (mark TEXT)")?;
    progress.at(1, 1);
    Ok(())
}

/// Every golden file: its version and its path.
fn golden() -> Vec<(i64, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let version = |path: &PathBuf| -> Option<i64> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("journal-v")?.strip_suffix(".db")?.parse().ok()
    };
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter_map(|path| Some((version(&path)?, path)))
        .collect()
}

/// A golden file as the journal of a folder of its own.
fn laid(file: &Path) -> TempDir {
    let folder = folder();
    std::fs::copy(file, folder.path().join("journal.db")).unwrap();
    folder
}

/// Nothing of them is old enough to go.
fn keeping(folder: &TempDir) -> JournalSettings {
    JournalSettings {
        retain: Duration::ZERO,
        ..settings(folder)
    }
}

fn versions(path: &Path) -> (i64, i64) {
    let conn = Connection::open(path).unwrap();
    let one = |query: &str| conn.query_row(query, [], |row| row.get(0)).unwrap();
    (one("PRAGMA user_version"), one("SELECT schema FROM anchor"))
}

/// How many rows have the mark, how many there are, and whether the later table is there.
fn marks(path: &Path) -> (u32, u32, bool) {
    let conn = Connection::open(path).unwrap();
    let count = |query: &str| conn.query_row(query, [], |row| row.get::<_, u32>(0)).unwrap_or(0);
    (
        count("SELECT count(mark) FROM entries"),
        count("SELECT count(*) FROM entries"),
        conn.prepare("SELECT mark FROM marks").is_ok(),
    )
}

fn tables(path: &Path) -> Vec<(String, String)> {
    let conn = Connection::open(path).unwrap();
    let mut statement = conn
        .prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Every file beside the journal that holds something of it, but the lock.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "lock"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_entry_of_every_past_version_is_read_and_the_tables_are_those_of_a_new_file() {
    let golden = golden();
    assert!((1..=sqlite::SCHEMA).all(|version| golden.iter().any(|(found, _)| *found == version)));
    for (version, file) in golden {
        let name = file.display();
        let listed = std::fs::read_to_string(file.with_extension("txt")).unwrap();
        let listed: Vec<(Offset, &str)> = listed
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                (words.next().unwrap().parse().unwrap(), words.next().unwrap())
            })
            .collect();
        let folder = laid(&file);
        assert_eq!(versions(&folder.path().join("journal.db")), (version, version));
        let (journal, report) = Journal::open(keeping(&folder)).unwrap();
        assert!(report.salvaged.is_none() && report.cut_short.is_none(), "{name}");
        let entries = all(&journal).await;
        for (offset, id) in &listed {
            let entry = entries.iter().find(|entry| entry.offset == *offset).unwrap();
            let body = String::from_utf8_lossy(&entry.body);
            assert!(body.contains(id), "{name}: {offset}: {body}");
        }
        let verified = journal.verify().await.unwrap();
        assert_eq!(
            (verified.fault, verified.entries),
            (None, entries.len() as u64),
            "{name}"
        );
        assert_eq!(letters(&journal, Some("refuser")).await.len(), 8, "{name}");
        assert!(!journal.cursors().await.unwrap().is_empty(), "{name}");
        assert_eq!(journal.commit(append(&["next"])).await.unwrap(), report.head);
        journal.close().await;
        let other = self::folder();
        open(&other).close().await;
        let path = |folder: &TempDir| folder.path().join("journal.db");
        assert_eq!(
            tables(&path(&folder)),
            tables(&path(&other)),
            "{name}: a migration is missing"
        );
    }
}

/// A closed journal of today with some entries.
async fn filled() -> (TempDir, Vec<Entry>) {
    let folder = folder();
    let journal = open(&folder);
    journal.commit(append(&["one", "two", "three"])).await.unwrap();
    let entries = all(&journal).await;
    journal.close().await;
    (folder, entries)
}

#[tokio::test]
async fn an_older_file_is_kept_then_brought_up_step_by_step_and_once() {
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let (folder, entries) = filled().await;
    let path = folder.path().join("journal.db");
    std::fs::write(backup_of(&path, 0), "of a version before").unwrap();
    let settings = JournalSettings {
        upgrading: |upgrading: &Upgrading| {
            assert_eq!((upgrading.to, upgrading.step), (3, UpgradeStep::Migration));
            STEPS.fetch_add(1, Ordering::Relaxed);
        },
        ..settings(&folder)
    };
    bring_up(&settings, TWO_STEPS).unwrap();
    assert_eq!((versions(&path), marks(&path)), ((3, 3), (3, 3, true)));
    assert_eq!(
        STEPS.load(Ordering::Relaxed),
        6,
        "three rows and a table, and two commits"
    );
    let backup = backup_of(&path, 1);
    assert_eq!((versions(&backup), marks(&backup)), ((1, 1), (0, 3, false)));

    let before = std::fs::read(&backup).unwrap();
    bring_up(&settings, TWO_STEPS).unwrap();
    assert_eq!(STEPS.load(Ordering::Relaxed), 6, "there is nothing left to do");
    assert_eq!(std::fs::read(&backup).unwrap(), before);

    // And back, as the head of `upgrade.rs` says.
    let refused = Journal::open(settings.clone()).unwrap_err();
    let JournalError::Newer {
        found: 3,
        known: 1,
        backup: Some(named),
        ..
    } = &refused
    else {
        panic!("{refused}");
    };
    assert_eq!(**named, *backup.to_str().unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(&**named, &path).unwrap();
    let (journal, report) = Journal::open(settings).unwrap();
    assert_eq!((all(&journal).await, report.head), (entries, 4));
    assert_eq!(journal.verify().await.unwrap().fault, None);
}

#[tokio::test]
async fn the_backup_of_the_version_before_goes_once_the_way_up_is_done() {
    let (folder, _) = filled().await;
    let path = folder.path().join("journal.db");
    let settings = settings(&folder);
    bring_up(&settings, &TWO_STEPS[..1]).unwrap();
    assert!(backup_of(&path, 1).exists());
    bring_up(&settings, TWO_STEPS).unwrap();
    assert!(!backup_of(&path, 1).exists() && backup_of(&path, 2).exists());
    assert_eq!(versions(&backup_of(&path, 2)), (2, 2));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let broken: &[Migration] = &[Migration {
        to: 2,
        rewrites: false,
        run: |tx, progress| {
            mark_rows(tx, progress)?;
            tx.execute_batch("SELECT a mistake of ours")
        },
    }];
    let (folder, entries) = filled().await;
    let path = folder.path().join("journal.db");
    let refused = bring_up(&settings(&folder), broken).unwrap_err();
    let OpenFault::Refused(JournalError::NotUpgraded { found: 1, known: 2, .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!((versions(&path), marks(&path)), ((1, 1), (0, 3, false)));
    assert_eq!(all(&open(&folder)).await, entries);
}

/// Of what the test below starts: ends without a word at the progress call that the variable names.
#[test]
fn child_that_is_killed_on_its_way_up() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let Some(path) = std::env::var_os(KILLED_AT) else {
        return;
    };
    let settings = JournalSettings {
        upgrading: |_| {
            if CALLS.fetch_add(1, Ordering::Relaxed).to_string() == std::env::var(KILLED_AFTER).unwrap() {
                let own = std::process::id().to_string();
                Command::new("kill").args(["-KILL", &own]).status().unwrap();
                std::thread::park();
            }
        },
        ..JournalSettings::at(PathBuf::from(path))
    };
    bring_up(&settings, TWO_STEPS).unwrap();
}

const KILLED_AT: &str = "TRAPLINE_TEST_KILLED_AT";
const KILLED_AFTER: &str = "TRAPLINE_TEST_KILLED_AFTER";

#[tokio::test]
async fn killed_at_any_moment_the_file_is_wholly_of_one_version_and_the_next_start_goes_on() {
    let (folder, _) = filled().await;
    let whole = std::fs::read(folder.path().join("journal.db")).unwrap();
    let mut seen = Vec::new();
    // Three rows and a commit, a table and a commit: the last run is to come through.
    for calls in 0..=6_u32 {
        let folder = self::folder();
        let path = folder.path().join("journal.db");
        std::fs::write(&path, &whole).unwrap();
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::upgrade::child_that_is_killed_on_its_way_up"])
            .env(KILLED_AT, &path)
            .env(KILLED_AFTER, calls.to_string())
            .output()
            .unwrap();
        assert_eq!(killed.status.success(), calls == 6, "{killed:?}");
        assert_eq!(versions(&backup_of(&path, 1)), (1, 1), "the backup was whole before");
        let (version, marks) = (versions(&path), marks(&path));
        seen.push(version.0);
        match version {
            (1, 1) => assert_eq!(marks, (0, 3, false)),
            (2, 2) => assert_eq!(marks, (3, 3, false)),
            (3, 3) => assert_eq!(marks, (3, 3, true)),
            between => panic!("{between:?}"),
        }
        bring_up(&settings(&folder), TWO_STEPS).unwrap();
        assert_eq!((versions(&path), self::marks(&path)), ((3, 3), (3, 3, true)));
    }
    assert_eq!(seen, [1, 1, 1, 1, 2, 2, 3]);
}

#[tokio::test]
async fn a_disk_without_room_for_the_backup_refuses_before_anything_is_written() {
    let folder = folder();
    let name = "journal::tests::upgrade::a_disk_without_room_for_the_backup_refuses_before_anything_is_written";
    let Some(disk) = Disk::mount(folder.path(), name) else {
        return;
    };
    let journal = open(&folder);
    journal.commit(append(&["x".repeat(400 << 10)])).await.unwrap();
    journal.close().await;
    disk.others_take(1 << 10);
    let before = files(folder.path());
    let refused = bring_up(&settings(&folder), TWO_STEPS).unwrap_err();
    let OpenFault::Refused(JournalError::NotUpgraded { reason, .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("need 3 MiB, the disk has "), "{reason}");
    assert!(files(folder.path()) == before, "it was left as it is");
    std::fs::remove_file(folder.path().join("others")).unwrap();
    bring_up(&settings(&folder), &TWO_STEPS[..1]).unwrap_err();
    bring_up(
        &settings(&folder),
        &[Migration {
            rewrites: false,
            ..TWO_STEPS[0]
        }],
    )
    .unwrap();
}

/// A crash of the newer one left its last commit in the log.
#[tokio::test]
async fn a_newer_file_is_refused_with_its_log_and_not_a_byte_of_either_is_changed() {
    let (folder, _) = filled().await;
    let path = folder.path().join("journal.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA user_version = 7; UPDATE anchor SET schema = 7")
        .unwrap();
    let crashed = self::folder();
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    let before = files(crashed.path());
    assert_eq!(before.len(), 2);
    let refused = Journal::open(settings(&crashed)).unwrap_err();
    assert!(
        matches!(&refused, JournalError::Newer { found: 7, known, backup: None, .. } if *known == sqlite::SCHEMA),
        "{refused}"
    );
    assert!(files(crashed.path()) == before, "it was left as it is");
    let refused = Journal::open_to_read(crashed.path().join("journal.db"), Hold::WhileOpen).unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 7, .. }), "{refused}");
}

#[tokio::test]
async fn one_version_alone_is_damage_and_no_reason_to_refuse() {
    let (folder, entries) = filled().await;
    let conn = Connection::open(folder.path().join("journal.db")).unwrap();
    conn.execute_batch("PRAGMA user_version = 7").unwrap();
    conn.close().unwrap();
    let (journal, report) = Journal::open(settings(&folder)).unwrap();
    assert!(report.salvaged.is_some());
    assert_eq!(all(&journal).await, entries);
}

#[test]
fn migrations_are_in_order_and_end_at_the_version_that_is_written() {
    assert_eq!((newest(&[]), newest(TWO_STEPS)), (1, 3));
    for (migration, to) in super::super::upgrade::MIGRATIONS.iter().zip(2..) {
        assert_eq!(migration.to, to);
    }
}
