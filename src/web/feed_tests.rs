//! Streams: what they say, and when they end.

use tokio::sync::Semaphore;
use trapline_schemas::{Action, Event, Timestamp, codec};

use super::*;
use crate::journal::{Commit, JournalSettings};
use crate::web::tokens::Files;

async fn append(journal: &Journal, actions: &[Action]) {
    let event = |action: &Action| Event::new(uuid::Uuid::nil(), Timestamp::from_micros(1), *action);
    let append = actions.iter().map(|action| codec::encode(&event(action)).into());
    let commit = Commit {
        append: append.collect(),
        ..Commit::default()
    };
    journal.commit(commit).await.unwrap();
}

struct Set {
    folder: tempfile::TempDir,
    journal: Journal,
    tokens: Arc<Tokens>,
    bearer: Bearer,
    stop: CancellationToken,
}

fn set() -> Set {
    set_that_keeps(Duration::from_secs(86_400))
}

fn set_that_keeps(retain: Duration) -> Set {
    let folder = tempfile::tempdir().unwrap();
    let settings = JournalSettings {
        retain,
        ..JournalSettings::at(folder.path().join("journal.db"))
    };
    let (journal, _) = Journal::open(settings).unwrap();
    let text = Files::within(folder.path()).create("soc", now(), None).unwrap();
    let tokens = Arc::new(Tokens::new(folder.path()));
    let (bearer, _) = tokens.check(&text, now()).unwrap();
    Set {
        folder,
        journal,
        tokens,
        bearer,
        stop: CancellationToken::new(),
    }
}

fn stream(set: &Set, framing: Framing, next: Offset, filter: Filter) -> BoxStream<'static, Bytes> {
    let feed = Feed {
        journal: set.journal.clone(),
        head: set.journal.head(),
        filter,
        shown: Shown::Json,
        framing,
        next,
        foreign: None,
        tokens: set.tokens.clone(),
        bearer: set.bearer.clone(),
        stop: set.stop.clone(),
        _seat: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
    };
    feed.stream()
}

async fn next(stream: &mut BoxStream<'static, Bytes>) -> String {
    String::from_utf8(stream.next().await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_quiet_stream_says_where_it_is_and_what_passed_it_by_moves_the_id() {
    let set = set();
    let filter = || Filter {
        action: Some(Action::Connect),
        ..Filter::default()
    };
    let mut sse = stream(&set, Framing::Sse, 1, filter());
    let mut lines = stream(&set, Framing::Ndjson, 1, filter());
    assert_eq!(next(&mut sse).await, ": trapline\nretry: 2000\nid: 0\n\n");
    assert_eq!(next(&mut lines).await, "{\"offset\":0}\n");
    append(&set.journal, &[Action::Credential, Action::Credential]).await;
    tokio::time::pause();
    // What does not match is passed before the clock can move on.
    let mut beats = vec![next(&mut sse).await];
    assert_eq!(next(&mut lines).await, "{\"offset\":2}\n");
    beats.push(next(&mut sse).await);
    tokio::time::resume();
    assert_eq!(beats, [":\nid: 2\n\n", ":\n\n"]);
    append(&set.journal, &[Action::Connect]).await;
    let told = next(&mut sse).await;
    assert!(
        told.starts_with("event: decoy-connect\ndata: {") && told.ends_with("}\nid: 3\n\n"),
        "{told}"
    );
    set.stop.cancel();
    assert_eq!(sse.next().await, None);
    set.journal.close().await;
}

#[tokio::test]
async fn what_retention_took_is_a_gap_with_its_range_and_who_comes_back_behind_it_is_told_nothing() {
    let set = set_that_keeps(Duration::from_micros(1));
    append(&set.journal, &[Action::Connect; 5]).await;
    for _ in 0..3_000 {
        if set.journal.oldest().await.unwrap() == 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (framing, gap) in [
        (
            Framing::Sse,
            "event: gap\ndata: {\"first\":1,\"last\":5,\"lost\":5}\nid: 5\n\n",
        ),
        (
            Framing::Ndjson,
            "{\"offset\":5,\"gap\":{\"first\":1,\"last\":5,\"lost\":5}}\n",
        ),
    ] {
        let mut stale = stream(&set, framing, 1, Filter::default());
        next(&mut stale).await;
        assert_eq!(next(&mut stale).await, gap);
    }
    let mut again = stream(&set, Framing::Sse, 6, Filter::default());
    assert_eq!(next(&mut again).await, ": trapline\nretry: 2000\nid: 5\n\n");
    tokio::time::pause();
    assert_eq!(next(&mut again).await, ":\n\n");
    set.journal.close().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_stream() {
    let set = set();
    let mut sse = stream(&set, Framing::Sse, 1, Filter::default());
    next(&mut sse).await;
    Files::within(set.folder.path()).revoke("soc", 0).unwrap();
    tokio::time::pause();
    assert_eq!(sse.next().await, None);
    set.journal.close().await;
}

#[test]
fn an_action_that_is_no_word_is_named_event() {
    assert_eq!(word("decoy-connect"), "decoy-connect");
    for bad in ["", "gap", "a\nid: 7", "Ä", &"x".repeat(65)] {
        assert_eq!(word(bad), "event", "{bad:?}");
    }
}
