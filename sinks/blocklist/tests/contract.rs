//! What a set sink promises, of a list: it equals what is wanted, says so by what stands, and is handed out only whole.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{List, common, member, put, seconds, text};
use trapline_schemas::Timestamp;
use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Member, Put, Scope, SetCommon, Spared, Target, Why};

#[tokio::test(start_paused = true)]
async fn before_all_that_is_wanted_has_stood_there_is_no_list_and_none_is_not_an_empty_one() {
    let list = List::new("");
    assert!(list.document("txt").is_none());
    assert!(list.sink.stands().await.unwrap().is_empty());
    list.sink.apply(&[put("203.0.113.7")]).await;
    assert!(list.document("txt").is_none(), "half a list is none");
    assert!(list.sink.notes()[0].starts_with("not handed out yet"));
    list.sink.settled().await.unwrap();
    assert_eq!(list.text("txt"), "203.0.113.7\n");
    assert!(list.sink.notes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_nothing_decided_the_list_is_there_and_harms_nobody() {
    let list = List::new("");
    list.reconcile(&[]).await;
    assert_eq!(list.text("txt"), "192.0.2.1\n");
    assert_eq!(list.text("v4.txt"), "192.0.2.1\n");
    assert_eq!(list.text("v6.txt"), "2001:db8::1\n");
}

#[tokio::test(start_paused = true)]
async fn the_list_equals_what_is_wanted_and_what_stands_says_so() {
    let list = List::new("");
    let wanted = [
        member("203.0.113.7", 50),
        member("2001:db8::7", 60),
        member("203.0.114.0/24", 70),
    ];
    list.reconcile(&wanted).await;
    assert_eq!(list.text("txt"), "203.0.114.0/24\n2001:db8::7\n203.0.113.7\n");
    let mut stands: Vec<_> = list.sink.stands().await.unwrap();
    stands.sort_by_key(|entry| entry.target);
    let wanted_ends: Vec<_> = [&wanted[0], &wanted[2], &wanted[1]]
        .map(|member| (member.target, Some(member.until)))
        .into();
    assert_eq!(
        stands
            .iter()
            .map(|entry| (entry.target, entry.until))
            .collect::<Vec<_>>(),
        wanted_ends
    );
    let changes = trapline_sink::set::compare(
        &wanted.iter().map(|member| (member.target, member.clone())).collect(),
        &stands,
        Timestamp::now(),
        list.sink.limits(),
    );
    assert_eq!(changes, [], "nothing is left to do");
    list.reconcile(&wanted[..1]).await;
    assert_eq!(list.text("txt"), "203.0.113.7\n");
    list.reconcile(&[]).await;
    assert_eq!(list.text("txt"), "192.0.2.1\n");
}

#[tokio::test(start_paused = true)]
async fn changes_are_idempotent_and_answered_one_by_one() {
    let list = List::new("family = \"v4\"");
    let gone = Change::Take(trapline_sink::set::Standing {
        target: "203.0.113.9".parse().unwrap(),
        until: None,
        decision: None,
        handle: None,
    });
    let batch = [
        put("203.0.113.7"),
        put("10.0.0.1"),
        gone,
        put("2001:db8::7"),
        put("203.0.113.7"),
    ];
    for _ in 0..2 {
        let applied = list.sink.apply(&batch).await;
        assert_eq!((applied.fault, applied.retry_after), (None, None));
        assert_eq!(applied.outcomes.len(), batch.len());
        assert_eq!(applied.outcomes[0], Put::DONE);
        assert!(
            matches!(&applied.outcomes[1], Put::Refused(why) if why.contains("10.0.0.1 is not an address of the internet"))
        );
        assert_eq!(applied.outcomes[2], Put::DONE);
        assert!(matches!(applied.outcomes[3], Put::Nowhere(_)));
        assert_eq!(applied.outcomes[4], Put::DONE);
    }
    list.sink.settled().await.unwrap();
    assert_eq!(list.text("txt"), "203.0.113.7\n");
    assert!(
        list.shelf.find("edge.v6.txt").is_none(),
        "a list of one family has no other"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_for_outside_holds_no_inside_address_whatever_it_is_told_and_one_for_inside_no_other() {
    let all = [
        "10.9.8.7",
        "192.168.1.1",
        "100.64.0.1",
        "fd00::1",
        "198.51.100.7",
        "203.0.113.7",
        "2a00::1",
    ];
    let wanted: Vec<_> = all.iter().map(|target| member(target, 50)).collect();
    let outside = List::new("");
    outside.reconcile(&wanted).await;
    assert_eq!(outside.text("txt"), "203.0.113.7\n2a00::1\n");
    let inside = List::of("", &common(Scope::Inside));
    inside.reconcile(&wanted).await;
    let held: Vec<_> = inside.text("txt").lines().map(str::to_owned).collect();
    assert_eq!(
        held,
        ["10.9.8.7", "100.64.0.1", "192.168.1.1", "198.51.100.7", "fd00::1"]
    );
    assert!(inside.text("stix.json").contains("compromised"));
}

#[tokio::test(start_paused = true)]
async fn who_is_spared_leaves_the_list_and_does_not_come_back() {
    let list = List::new("");
    let wanted = [member("203.0.113.7", 50), member("203.0.113.8", 60)];
    list.reconcile(&wanted).await;
    list.sink
        .spare(Arc::new(Spared::new([("203.0.113.8/32".parse().unwrap(), Why::Admin)])));
    let answers = list.reconcile(&wanted).await;
    assert!(matches!(&answers[0].outcomes[0], Put::Refused(why) if why.contains("administrator")));
    assert_eq!(list.text("txt"), "203.0.113.7\n");
}

#[tokio::test(start_paused = true)]
async fn a_tag_changes_with_the_content_alone() {
    let list = List::new("");
    let wanted = [member("203.0.113.7", 50)];
    list.reconcile(&wanted).await;
    let first = list.document("txt").unwrap();
    let extended = Member {
        until: seconds(wanted[0].until, 600),
        ..wanted[0].clone()
    };
    list.reconcile(&[extended]).await;
    let second = list.document("txt").unwrap();
    assert_eq!(
        (&first.tag, first.modified),
        (&second.tag, second.modified),
        "an end is not on the list"
    );
    list.reconcile(&[member("203.0.113.8", 50)]).await;
    let third = list.document("txt").unwrap();
    assert_ne!(first.tag, third.tag);
    assert!(third.modified > first.modified);
    let other = List::new("");
    other.reconcile(&wanted).await;
    assert_eq!(other.document("txt").unwrap().tag, first.tag, "also after a restart");
}

#[tokio::test(start_paused = true)]
async fn the_longer_a_list_is_the_more_decisions_are_written_together() {
    let list = List::new("");
    let many: Vec<_> = (0..10_000_u32)
        .map(|number| Member {
            target: std::net::Ipv4Addr::from(0x0800_0000 + number).into(),
            ..member("203.0.113.7", 50)
        })
        .collect();
    list.reconcile(&many).await;
    let began = tokio::time::Instant::now();
    list.reconcile(&many[1..]).await;
    let pause = began.elapsed().as_millis();
    assert!(
        (199..=201).contains(&pause),
        "the clock of the test stands still but for waits: {pause} ms"
    );
    list.reconcile(&many[1..]).await;
    assert_eq!(began.elapsed().as_millis(), pause, "nothing new is nothing to write");
}

#[tokio::test]
async fn a_member_whose_time_is_over_leaves_the_list_by_itself() {
    let list = List::new("");
    let brief = Member {
        until: seconds(Timestamp::now(), 1),
        ..member("203.0.113.7", 50)
    };
    list.reconcile(&[brief, member("203.0.113.8", 40)]).await;
    assert_eq!(list.text("txt"), "203.0.113.7\n203.0.113.8\n");
    let gone = async {
        while list.text("txt") != "203.0.113.8\n" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_found_no_room_is_counted_and_told() {
    let list = List::new("entries_max = 2");
    let wanted: Vec<_> = (1..=5)
        .map(|host| member(&format!("203.0.113.{host}"), host * 10))
        .collect();
    list.reconcile(&wanted).await;
    assert_eq!(list.text("txt"), "203.0.113.5\n203.0.113.4\n");
    let notes = list.sink.notes();
    assert_eq!(
        notes[0],
        "3 found no room in edge.txt: `entries_max` is 2, the gravest are there"
    );
    let measure = |name: &str| {
        list.sink
            .measures()
            .into_iter()
            .find(|measure| measure.name == name)
            .unwrap()
            .value
    };
    assert_eq!((measure("members"), measure("left_out")), (5.0, 3.0));
    list.reconcile(&wanted[..2]).await;
    assert!(list.sink.notes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_nothing_may_be_changed_the_list_is_empty_and_no_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.txt");
    let observing = SetCommon {
        observes: true,
        ..common(Scope::Outside)
    };
    let list = List::of(&format!("path = {path:?}"), &observing);
    list.sink.stands().await.unwrap();
    assert_eq!(list.text("txt"), "192.0.2.1\n");
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn the_file_of_the_last_run_stays_until_all_that_is_wanted_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.txt");
    std::fs::write(&path, "203.0.113.66\n").unwrap();
    let list = List::new(&format!("path = {path:?}"));
    list.sink.stands().await.unwrap();
    list.sink.apply(&[put("203.0.113.7")]).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "203.0.113.66\n");
    list.sink.settled().await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "203.0.113.7\n");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_somebody_else_changed_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.txt");
    let list = List::new(&format!("path = {path:?}"));
    list.reconcile(&[member("203.0.113.7", 50)]).await;
    for text in [None, Some("203.0.113.9\n")] {
        match text {
            None => std::fs::remove_file(&path).unwrap(),
            Some(text) => std::fs::write(&path, text).unwrap(),
        }
        list.reconcile(&[member("203.0.113.7", 50)]).await;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "203.0.113.7\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_a_fault_and_tried_again_while_the_list_is_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later/edge.txt");
    let list = List::new(&format!("path = {path:?}"));
    list.sink.apply(&[put("203.0.113.7")]).await;
    let fault = list.sink.settled().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Local);
    assert!(fault.message.contains("does not exist: create it"), "{}", fault.message);
    assert_eq!(list.text("txt"), "203.0.113.7\n");
    std::fs::create_dir(folder.path().join("later")).unwrap();
    list.sink.settled().await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "203.0.113.7\n");
    assert_eq!(
        list.sink.check().await.unwrap(),
        "`[web]` serves it as /lists/edge.txt; file: 12 bytes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_hands_out_the_old_list_until_the_new_one_is_whole() {
    let old = List::new("");
    old.reconcile(&[member("203.0.113.7", 50)]).await;
    let again = SetCommon {
        shelf: old.shelf.clone(),
        ..common(Scope::Outside)
    };
    let new = List::of("comments = true", &again);
    assert_eq!(new.text("txt"), "203.0.113.7\n");
    new.reconcile(&[member("203.0.113.7", 50)]).await;
    drop(old);
    assert_eq!(new.text("txt"), "203.0.113.7 #credentials\n");
    let shelf = new.shelf.clone();
    drop(new);
    assert!(shelf.lists().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_came_and_when_is_in_status_and_figures() {
    let list = List::new("expect_every = \"15m\"");
    list.reconcile(&[]).await;
    let now = Instant::now();
    list.shelf.came("edge", "fw", "192.0.2.9".parse().unwrap(), now);
    list.shelf.came("edge", "fw", "192.0.2.9".parse().unwrap(), now);
    list.shelf.refused("edge", "192.0.2.9".parse().unwrap(), now);
    let notes = list.sink.notes();
    assert!(notes[0].starts_with("fw (192.0.2.9) came "), "{notes:?}");
    assert!(notes[0].ends_with("2 times in all, refused 1 times since"), "{notes:?}");
    let measures = list.sink.measures();
    assert!(measures.iter().all(trapline_sink::Measure::is_well_formed));
    let fetches = measures.iter().find(|measure| measure.name == "fetches_total").unwrap();
    assert_eq!(
        (fetches.value, fetches.labels[0].clone()),
        (2.0, ("token", "fw".to_owned()))
    );
    assert_eq!(list.shelf.away(now + Duration::from_secs(1_000)).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_members_are_one_list_whose_order_never_changes() {
    let list = List::new("entries_max = 150000");
    let wanted: Vec<_> = (0..100_000_u32)
        .map(|number| {
            let address = std::net::Ipv4Addr::from(0x0800_0000 + number.wrapping_mul(2_654_435_761) % 0x0100_0000);
            let gravity = (number % 100) as u8;
            Member {
                target: Target::host(address.into()),
                ..member("203.0.113.7", gravity)
            }
        })
        .collect();
    list.reconcile(&wanted).await;
    let lines = list.text("txt");
    assert_eq!(lines.lines().count(), 100_000);
    assert!(lines.len() < 2_000_000, "{} bytes", lines.len());
    let other = List::new("entries_max = 150000");
    let backwards: Vec<_> = wanted.iter().rev().cloned().collect();
    other.reconcile(&backwards).await;
    assert_eq!(other.document("txt").unwrap().tag, list.document("txt").unwrap().tag);
    let bundle: serde_json::Value = serde_json::from_str(&text(&list.document("stix.json").unwrap())).unwrap();
    assert_eq!(bundle["objects"].as_array().unwrap().len(), 100_001);
}
