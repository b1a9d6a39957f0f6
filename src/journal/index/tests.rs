//! The index against its journal.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::journal::{Commit, JournalSettings};

struct Fixture {
    folder: TempDir,
    journal: Journal,
    stop: CancellationToken,
    running: Option<tokio::task::JoinHandle<()>>,
    index: Index,
    extracted: Arc<AtomicUsize>,
}

impl Fixture {
    async fn with(entries: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        append(&journal, 0, entries).await;
        Self::on(folder, journal)
    }

    fn on(folder: TempDir, journal: Journal) -> Self {
        let extracted = Arc::new(AtomicUsize::new(0));
        let count = extracted.clone();
        let extract: Extract = Arc::new(move |body| {
            count.fetch_add(1, Ordering::Relaxed);
            row(body)
        });
        let index = Index::new(folder.path().join("index.db"), journal.clone(), extract);
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (index, stop) = (index.clone(), stop.clone());
            async move { index.run(stop).await }
        });
        Self {
            folder,
            journal,
            stop,
            running: Some(running),
            index,
            extracted,
        }
    }

    async fn caught_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.index.indexed_to() < *self.journal.head().borrow() {
            assert!(
                Instant::now() < deadline,
                "the index stands at {}",
                self.index.indexed_to()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn offsets(&self, search: Search) -> Vec<Offset> {
        self.index.search(search).await.unwrap().offsets
    }

    /// Stops the index; its file is then as it was left.
    async fn stopped(mut self) -> (TempDir, Journal) {
        self.stop.cancel();
        self.running.take().unwrap().await.unwrap();
        (self.folder, self.journal)
    }
}

/// Entry n has source 10.0.0.(n % 10), port n % 3, a user on each seventh, and no row at all on each fiftieth.
fn row(body: &[u8]) -> Option<IndexRow> {
    let number: u32 = std::str::from_utf8(body).ok()?.parse().ok()?;
    Some(IndexRow {
        source: Some(IpAddr::from([10, 0, 0, (number % 10) as u8])),
        port: Some((number % 3) as u16),
        decoy: Some("ssh".into()),
        action: Some(
            if number.is_multiple_of(2) {
                "decoy-connect"
            } else {
                "decoy-credential"
            }
            .into(),
        ),
        level: Some("contact".into()),
        risk: Some((number % 100) as u8),
        incident: Some(Uuid::from_u128(u128::from(number / 20))),
        user: number.is_multiple_of(7).then(|| "root".into()),
        owned: number.is_multiple_of(2).then(|| Owned {
            owner: "lab".into(),
            span: (
                Timestamp::from_micros(number.into()),
                Timestamp::from_micros(number.into()),
            ),
            visits: 1,
            gravity: (number % 4) as u8,
            proved: number.is_multiple_of(26),
            service: number.is_multiple_of(4).then(|| "ssh".into()),
        }),
    })
    .filter(|_| !number.is_multiple_of(50))
}

async fn append(journal: &Journal, from: usize, to: usize) {
    let append: Vec<Bytes> = (from..to).map(|number| number.to_string().into()).collect();
    journal
        .commit(Commit {
            append,
            ..Commit::default()
        })
        .await
        .unwrap();
}

/// Offsets (entry n stands at n + 1) of the numbers below `count` that match, newest first.
fn expected(count: u64, matches: impl Fn(u64) -> bool) -> Vec<Offset> {
    (0..count)
        .filter(|number| number % 50 != 0 && matches(*number))
        .map(|number| number + 1)
        .rev()
        .collect()
}

#[tokio::test]
async fn each_field_finds_what_a_scan_would_find() {
    let fixture = Fixture::with(900).await;
    fixture.caught_up().await;
    let any = Search::default;
    let source = Some(IpAddr::from([10, 0, 0, 3]));
    let checks: [(Search, Vec<Offset>); 9] = [
        (any(), expected(900, |_| true)),
        (Search { source, ..any() }, expected(900, |n| n % 10 == 3)),
        (Search { port: Some(2), ..any() }, expected(900, |n| n % 3 == 2)),
        (
            Search {
                action: Some("decoy-credential".into()),
                ..any()
            },
            expected(900, |n| n % 2 == 1),
        ),
        (
            Search {
                risk_min: Some(90),
                ..any()
            },
            expected(900, |n| n % 100 >= 90),
        ),
        (
            Search {
                incident: Some(Uuid::from_u128(4)),
                ..any()
            },
            expected(900, |n| n / 20 == 4),
        ),
        (
            Search {
                user: Some("root".into()),
                source,
                ..any()
            },
            expected(900, |n| n % 7 == 0 && n % 10 == 3),
        ),
        (
            Search {
                decoy: Some("never-used".into()),
                ..any()
            },
            Vec::new(),
        ),
        (
            Search {
                level: Some("contact".into()),
                from: Some(100),
                until: Some(120),
                ..any()
            },
            expected(900, |n| (99..119).contains(&n)),
        ),
    ];
    for (search, expected) in checks {
        assert_eq!(fixture.offsets(search.clone()).await, expected, "{search:?}");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_the_file_is_told_until_it_is_gone() {
    let fixture = Fixture::with(10).await;
    fixture.caught_up().await;
    assert_eq!(fixture.index.trouble(), None);
    let (folder, journal) = fixture.stopped().await;
    let path = folder.path().join("index.db");
    table::remove(&path);
    std::fs::create_dir(&path).unwrap();
    let fixture = Fixture::on(folder, journal);
    let deadline = Instant::now() + Duration::from_secs(20);
    while fixture.index.trouble().is_none() {
        assert!(Instant::now() < deadline, "nothing is told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_dir(&path).unwrap();
    while fixture.index.trouble().is_some() {
        assert!(Instant::now() < deadline, "it does not go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.caught_up().await;
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_open_is_built_anew() {
    let fixture = Fixture::with(100).await;
    fixture.caught_up().await;
    let search = Search {
        port: Some(1),
        limit: 1000,
        ..Search::default()
    };
    assert_eq!(
        fixture.offsets(search.clone()).await.len(),
        expected(100, |n| n % 3 == 1).len()
    );
    let path = fixture.folder.path().join("index.db");
    table::remove(&path);
    let page = fixture.index.search(search.clone()).await.unwrap();
    assert_eq!(
        page.indexed_to, 0,
        "what it does not find must be looked for in the journal"
    );
    append(&fixture.journal, 100, 150).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < deadline, "others can open it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.caught_up().await;
    assert_eq!(fixture.offsets(search).await, expected(150, |n| n % 3 == 1));
}

#[tokio::test]
async fn pages_follow_one_another_in_either_order_without_gap_or_double() {
    let fixture = Fixture::with(500).await;
    fixture.caught_up().await;
    for oldest_first in [false, true] {
        let mut next = Some(Search {
            port: Some(1),
            limit: 7,
            oldest_first,
            ..Search::default()
        });
        let mut found = Vec::new();
        while let Some(search) = next {
            let page = fixture.index.search(search).await.unwrap();
            assert!(page.offsets.len() <= 7);
            found.extend(page.offsets);
            next = page.more.map(|more| *more);
        }
        let mut all = expected(500, |n| n % 3 == 1);
        if oldest_first {
            all.reverse();
        }
        assert_eq!(found, all);
    }
}

#[tokio::test]
async fn a_stopped_index_goes_on_where_it_was_and_a_missing_or_damaged_one_is_built_anew() {
    let fixture = Fixture::with(300).await;
    fixture.caught_up().await;
    let (folder, journal) = fixture.stopped().await;
    append(&journal, 300, 400).await;

    let fixture = Fixture::on(folder, journal);
    fixture.caught_up().await;
    assert_eq!(
        fixture.extracted.load(Ordering::Relaxed),
        100,
        "only what is new is read"
    );
    assert_eq!(fixture.offsets(Search::default()).await, expected(400, |_| true));

    let (mut folder, mut journal) = fixture.stopped().await;
    for damage in [None, Some(&b"not an index"[..])] {
        let path = folder.path().join("index.db");
        match damage {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        let fixture = Fixture::on(folder, journal);
        fixture.caught_up().await;
        assert_eq!(fixture.offsets(Search::default()).await, expected(400, |_| true));
        (folder, journal) = fixture.stopped().await;
    }
}

#[tokio::test]
async fn an_index_ahead_of_its_journal_or_left_open_by_a_dead_machine_is_built_anew() {
    let fixture = Fixture::with(200).await;
    fixture.caught_up().await;
    let (folder, journal) = fixture.stopped().await;
    let change = |text: &str| {
        let raw = rusqlite::Connection::open(folder.path().join("index.db")).unwrap();
        raw.execute_batch(text).unwrap();
    };
    change("UPDATE place SET next = 5000; INSERT INTO rows (offset, port) VALUES (4999, 1)");
    let fixture = Fixture::on(folder, journal);
    fixture.caught_up().await;
    assert_eq!(fixture.offsets(Search::default()).await, expected(200, |_| true));

    let (folder, journal) = fixture.stopped().await;
    let raw = rusqlite::Connection::open(folder.path().join("index.db")).unwrap();
    raw.execute_batch("UPDATE place SET whole = 0, boot = 'another'; DELETE FROM rows WHERE offset = 7")
        .unwrap();
    drop(raw);
    let fixture = Fixture::on(folder, journal);
    fixture.caught_up().await;
    assert_eq!(fixture.offsets(Search::default()).await, expected(200, |_| true));
}

#[tokio::test]
async fn what_the_journal_trims_the_index_forgets() {
    let folder = tempfile::tempdir().unwrap();
    let settings = JournalSettings {
        retain: Duration::from_micros(1),
        consumers: vec!["siem".into()],
        ..JournalSettings::at(folder.path().join("journal.db"))
    };
    let (journal, _) = Journal::open(settings).unwrap();
    append(&journal, 0, 100).await;
    let fixture = Fixture::on(folder, journal.clone());
    fixture.caught_up().await;
    assert_eq!(fixture.offsets(Search::default()).await.len(), 98);
    let cursors = vec![("siem".to_owned(), 61)];
    journal
        .commit(Commit {
            cursors,
            ..Commit::default()
        })
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // The index follows the journal's head: something must happen for it to look.
    while fixture
        .offsets(Search {
            oldest_first: true,
            ..Search::default()
        })
        .await[0]
        < 61
    {
        assert!(Instant::now() < deadline);
        append(&journal, 101, 102).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The sum of incident `incident` over entries from `from` to before `to`, as [`row`] has them.
fn owned_sum(incident: u32, from: u32, to: u32) -> Option<OwnedIncident> {
    let numbers = (from..to).filter(|number| number / 20 == incident && number % 2 == 0 && number % 50 != 0);
    let numbers: Vec<_> = numbers.collect();
    let at = |number: Option<&u32>| Some(Timestamp::from_micros((*number?).into()));
    Some(OwnedIncident {
        incident: Uuid::from_u128(incident.into()),
        source: IpAddr::from([10, 0, 0, (numbers.first()? % 10) as u8]),
        owner: "lab".into(),
        span: (at(numbers.first())?, at(numbers.last())?),
        visits: numbers.len() as u64,
        gravity: numbers.iter().map(|number| (number % 4) as u8).max()?,
        proved: numbers.iter().any(|number| number % 26 == 0),
        services: numbers
            .iter()
            .find(|number| *number % 4 == 0)
            .map(|_| "ssh".into())
            .into_iter()
            .collect(),
    })
}

#[tokio::test]
async fn incidents_of_those_who_have_an_owner_are_summed_up_exactly_over_restarts_and_damage() {
    let wanted = |to: u32, limit: usize| -> Vec<_> {
        (0..to.div_ceil(20))
            .rev()
            .filter_map(|incident| owned_sum(incident, 0, to))
            .take(limit)
            .collect()
    };
    let fixture = Fixture::with(210).await;
    fixture.caught_up().await;
    assert_eq!(fixture.index.owned(1000).await.unwrap(), wanted(210, 1000));
    assert_eq!(fixture.index.owned(3).await.unwrap(), wanted(210, 3));
    let (folder, journal) = fixture.stopped().await;
    append(&journal, 210, 403).await;
    let fixture = Fixture::on(folder, journal);
    fixture.caught_up().await;
    assert_eq!(fixture.index.owned(1000).await.unwrap(), wanted(403, 1000));
    let one = Uuid::from_u128(7);
    assert_eq!(
        fixture.index.owned_within(one, one).await.unwrap(),
        [owned_sum(7, 0, 403).unwrap()]
    );
    assert_eq!(fixture.index.owned_within(Uuid::nil(), one).await.unwrap().len(), 2);
    assert_eq!(fixture.index.owned_within(Uuid::max(), Uuid::max()).await.unwrap(), []);

    let (folder, journal) = fixture.stopped().await;
    let raw = rusqlite::Connection::open(folder.path().join("index.db")).unwrap();
    raw.execute_batch("UPDATE place SET next = 5000").unwrap();
    drop(raw);
    let fixture = Fixture::on(folder, journal);
    fixture.caught_up().await;
    assert_eq!(
        fixture.index.owned(1000).await.unwrap(),
        wanted(403, 1000),
        "begun anew, not added to"
    );
}

#[test]
fn what_is_gone_altogether_has_no_sum_and_what_is_gone_in_part_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = Table::open_or_make(&folder.path().join("index.db")).unwrap();
    let rows = (0..60_u32).filter_map(|number| Some((u64::from(number) + 1, row(number.to_string().as_bytes())?)));
    let taken = Rows {
        rows: rows.collect(),
        next: Some(61),
    };
    table.take(1, &taken, 1).unwrap();
    let nothing = || Rows {
        rows: Vec::new(),
        next: None,
    };
    table.take(61, &nothing(), 31).unwrap();
    let left: Vec<_> = [2, 1]
        .into_iter()
        .filter_map(|incident| owned_sum(incident, 0, 60))
        .collect();
    assert_eq!(table.owned_latest(9).unwrap(), left);
    table.take(61, &nothing(), 61).unwrap();
    assert_eq!(table.owned_latest(9).unwrap(), []);
}
