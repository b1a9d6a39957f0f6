//! The journal against a plain model: random commits, restarts, crashes and checks; and a child killed at any moment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use rand::Rng;
use tempfile::TempDir;

use super::super::{Commit, Journal, JournalSettings};
use super::{all, append, folder, open, settings};

/// What is done to the journal.
#[derive(Debug, Clone)]
enum Step {
    Commit {
        bodies: Vec<u16>,
        cursor: Option<(u8, u64)>,
        state: Option<(u8, Option<u8>)>,
    },
    Enqueue {
        bodies: Vec<u16>,
    },
    Read {
        from: u64,
        count: usize,
    },
    /// An orderly end and a start.
    Restart,
    /// The files as they are at this moment, as a kill leaves them, and a start on them.
    Crash,
    Verify,
}

/// What must be there.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Vec<u8>>,
    cursors: BTreeMap<String, u64>,
    state: BTreeMap<String, Vec<u8>>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bodies = || prop::collection::vec(prop_oneof![8 => 0..2000_u16, 1 => 8100..20_000_u16], 0..6);
    let step = prop_oneof![
        6 => (bodies(), prop::option::of((0..3_u8, 1..50_u64)), prop::option::of((0..4_u8, prop::option::of(any::<u8>()))))
            .prop_map(|(bodies, cursor, state)| Step::Commit { bodies, cursor, state }),
        3 => bodies().prop_map(|bodies| Step::Enqueue { bodies }),
        3 => (0..60_u64, 0..20_usize).prop_map(|(from, count)| Step::Read { from, count }),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        1 => Just(Step::Verify),
    ];
    prop::collection::vec(step, 1..25)
}

fn body(length: u16, number: usize) -> Vec<u8> {
    let mut body = vec![b'.'; length.into()];
    body.extend_from_slice(number.to_string().as_bytes());
    body
}

impl Model {
    /// The commit of new entries, which the model has from now on.
    fn commit(&mut self, lengths: &[u16]) -> Commit {
        let first = self.entries.len();
        self.entries.extend(
            lengths
                .iter()
                .enumerate()
                .map(|(place, length)| body(*length, first + place)),
        );
        let append = self.entries[first..].iter().map(|body| body.clone().into()).collect();
        Commit {
            append,
            ..Commit::default()
        }
    }

    async fn compare(&self, journal: &Journal) {
        let entries: Vec<Vec<u8>> = all(journal)
            .await
            .into_iter()
            .map(|entry| entry.body.to_vec())
            .collect();
        assert_eq!(entries.len(), self.entries.len());
        assert!(entries == self.entries, "bodies differ");
        let cursors: BTreeMap<_, _> = journal
            .cursors()
            .await
            .unwrap()
            .into_iter()
            .map(|cursor| (cursor.consumer, cursor.offset))
            .collect();
        assert_eq!(cursors, self.cursors);
        assert_eq!(
            journal
                .states("")
                .await
                .unwrap()
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            self.state
        );
    }

    async fn apply(&mut self, step: Step, journal: &mut Journal, folder: &mut TempDir) {
        match step {
            Step::Commit { bodies, cursor, state } => {
                let first = self.entries.len() as u64 + 1;
                let mut commit = self.commit(&bodies);
                if let Some((consumer, next)) = cursor {
                    commit.cursors.push((consumer.to_string(), next));
                    self.cursors.insert(consumer.to_string(), next);
                }
                if let Some((key, value)) = state {
                    commit.state.push((key.to_string(), value.map(|value| vec![value])));
                    match value {
                        Some(value) => drop(self.state.insert(key.to_string(), vec![value])),
                        None => drop(self.state.remove(&key.to_string())),
                    }
                }
                assert_eq!(journal.commit(commit).await.unwrap(), first);
            }
            Step::Enqueue { bodies } => journal.enqueue(self.commit(&bodies)).await.unwrap(),
            Step::Read { from, count } => self.read(journal, from, count).await,
            Step::Restart => {
                journal.close().await;
                *journal = open(folder);
            }
            Step::Crash => {
                // What was only enqueued may be lost; what is acknowledged may not. Waiting makes the model exact.
                journal.commit(Commit::default()).await.unwrap();
                let copy = crashed_copy(folder);
                journal.close().await;
                *folder = copy;
                *journal = open(folder);
            }
            Step::Verify => {
                let verified = journal.verify().await.unwrap();
                assert_eq!((verified.fault, verified.breaks), (None, Vec::new()));
            }
        }
    }

    async fn read(&self, journal: &Journal, from: u64, count: usize) {
        let head = *journal.head().borrow();
        let read = journal.read(from, count, usize::MAX).await.unwrap();
        // What was enqueued becomes durable meanwhile: there may be more than the head promised.
        let promised = (from.max(1)..head).take(count).count();
        assert!((promised..=count).contains(&read.len()));
        assert!(
            read.iter()
                .map(|entry| entry.offset)
                .eq((from.max(1)..).take(read.len()))
        );
        for entry in read {
            assert!(entry.body == self.entries[entry.offset as usize - 1]);
        }
    }
}

fn crashed_copy(folder: &TempDir) -> TempDir {
    let copy = super::folder();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        // The index of the log is shared memory: a dead process leaves it, and it is made anew.
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_the_journal_holds_what_a_plain_model_holds(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (mut model, mut folder) = (Model::default(), folder());
            let mut journal = open(&folder);
            for step in steps {
                model.apply(step, &mut journal, &mut folder).await;
            }
            journal.commit(Commit::default()).await.unwrap();
            model.compare(&journal).await;
            journal.close().await;
            model.compare(&open(&folder)).await;
        });
    }
}

/// The child of the test below: appends, and says what is acknowledged.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let (journal, report) = Journal::open(JournalSettings::at(path)).unwrap();
    println!("open {}", report.salvaged.is_some());
    let mut round = 0;
    loop {
        let burst = 1 + round % 7;
        for _ in 1..burst {
            journal.enqueue(append(&[&format!("{round:-<700}")])).await.unwrap();
        }
        let mut commit = append(&[&format!("{round:-<700}"); 3]);
        commit.cursors.push(("siem".into(), round + 1));
        let first = journal.commit(commit).await.unwrap();
        println!("acknowledged {} {}", first + 2, round + 1);
        round += 1;
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_loses_nothing_that_it_had_acknowledged() {
    let folder = folder();
    let path = settings(&folder).path;
    let mut random = rand::rng();
    for _ in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "journal::tests::model::child_that_appends_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let kill_at = random.random_range(1..150);
        let mut acknowledged = (0, 0);
        for (line, text) in lines.map_while(Result::ok).filter_map(acknowledgement).enumerate() {
            acknowledged = text;
            // The child goes on meanwhile: the kill meets it wherever it is. What is in the pipe counts as well.
            if line == kill_at {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let (journal, report) = Journal::open(settings(&folder)).unwrap();
        assert!(report.took_over.is_some() && report.salvaged.is_none());
        let (newest, cursor) = acknowledged;
        assert!(*journal.head().borrow() > newest, "entry {newest} was acknowledged");
        assert!(journal.cursor("siem").await.unwrap() >= Some(cursor));
        let verified = journal.verify().await.unwrap();
        assert_eq!((verified.fault, verified.first), (None, 1));
        assert_eq!(verified.entries, *journal.head().borrow() - 1, "there is no hole");
        journal.close().await;
    }
}

/// Newest offset and cursor of a line `acknowledged 12 3`; the test harness prints others.
fn acknowledgement(line: String) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("acknowledged ")?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

const CHILD: &str = "TRAPLINE_TEST_JOURNAL";
