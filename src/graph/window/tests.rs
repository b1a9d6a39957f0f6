//! Windows, counted.

use std::net::IpAddr;

use trapline_schemas::{Action, Event, Field, Timestamp, ids};
use uuid::Uuid;

use std::collections::BTreeMap;
use std::time::Duration;

use super::key::{OTHERS, key_of};
use super::*;

const SECOND: i64 = 1_000_000;
/// A window's start: 60 s windows lie on whole minutes.
const T0: i64 = 1_700_000_040 * SECOND;

fn spec() -> WindowSpec {
    WindowSpec {
        by: vec![Field::SourceIp],
        window: Duration::from_secs(60),
        policy: Policy::Throttle { limit: 2 },
    }
}

fn fresh() -> Windows {
    Windows::restore("digest", &spec(), Vec::new()).0
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(T0 + secs * SECOND)
}

fn hit(secs: i64, source: &str) -> Event {
    let mut event = Event::new(Uuid::nil(), at(secs), Action::Connect);
    event.set(Field::SourceIp, source.parse::<IpAddr>().unwrap());
    event.set(Field::ObserverName, "lure-1");
    event
}

fn see(windows: &mut Windows, secs: i64, source: &str) -> bool {
    windows.see(&hit(secs, source)) == Verdict::Pass
}

fn see_all(windows: &mut Windows, secs: impl IntoIterator<Item = i64>, source: &str) {
    for at in secs {
        see(windows, at, source);
    }
}

/// Key and count of each event.
fn told(events: &[Event]) -> Vec<(String, i64)> {
    let one = |event: &Event| {
        (
            event.text(Field::TransformKey).unwrap().to_string(),
            event.int(Field::FindingHits).unwrap(),
        )
    };
    events.iter().map(one).collect()
}

/// What a journal would hold after all changes.
#[derive(Default)]
struct Rows(BTreeMap<String, Vec<u8>>);

impl Rows {
    fn save(&mut self, windows: &mut Windows) {
        for (key, value) in windows.changes() {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    fn restore(&self, spec: &WindowSpec) -> Windows {
        let rows = self.0.iter().map(|(key, value)| (key.clone(), value.clone()));
        let (windows, dropped) = Windows::restore("digest", spec, rows.collect());
        assert_eq!(dropped, 0);
        windows
    }
}

#[test]
fn the_limit_passes_and_the_rest_is_counted_per_key() {
    let mut windows = fresh();
    let passed: Vec<_> = (0..5).map(|n| see(&mut windows, n, "192.0.2.1")).collect();
    assert_eq!(passed, [true, true, false, false, false]);
    assert!(see(&mut windows, 5, "192.0.2.2"), "another key has its own window");
    windows.tick(at(60));
    assert!(windows.close(10).is_empty(), "late events may still come");
    windows.tick(at(61));
    let events = windows.close(10);
    assert_eq!(
        told(&events),
        [("192.0.2.1".to_owned(), 3)],
        "who was not held back is not told of"
    );
    assert_eq!(events[0].action, Action::HeldBack);
    assert_eq!(events[0].at, at(60));
    assert_eq!(events[0].ip(Field::SourceIp), hit(0, "192.0.2.1").ip(Field::SourceIp));
    assert_eq!(events[0].text(Field::ObserverName).unwrap(), "lure-1");
    assert_eq!(events[0].id, ids::derived("digest", "192.0.2.1", at(0)));
    assert!(windows.due().is_none());
}

#[test]
fn a_new_window_begins_anew() {
    let mut windows = fresh();
    see_all(&mut windows, 0..4, "192.0.2.1");
    assert!(see(&mut windows, 60, "192.0.2.1"));
    assert_eq!(windows.due(), Some(at(61)));
}

#[test]
fn window_time_is_event_time() {
    let mut windows = fresh();
    see_all(&mut windows, 0..4, "192.0.2.1");
    see(&mut windows, 90, "192.0.2.9");
    assert_eq!(
        told(&windows.close(10)),
        [("192.0.2.1".to_owned(), 2)],
        "a later event closes it, no clock"
    );
}

#[test]
fn a_late_event_counts_in_the_oldest_open_window_and_no_id_comes_twice() {
    let mut windows = fresh();
    see_all(&mut windows, 0..4, "192.0.2.1");
    windows.tick(at(70));
    let first = windows.close(10);
    let late: Vec<_> = (0..4).map(|_| see(&mut windows, 5, "192.0.2.1")).collect();
    assert_eq!(late, [true, true, false, false]);
    windows.tick(at(200));
    let second = windows.close(10);
    assert_eq!((told(&first)[0].1, told(&second)[0].1), (2, 2));
    assert_ne!(first[0].id, second[0].id);
    assert_eq!(second[0].id, ids::derived("digest", "192.0.2.1", at(60)));
}

#[test]
fn an_event_within_the_lateness_still_counts_in_its_own_window() {
    let mut windows = fresh();
    see_all(&mut windows, 0..2, "192.0.2.1");
    windows.tick(Timestamp::from_micros(T0 + 60 * SECOND + SECOND / 2));
    assert!(!see(&mut windows, 59, "192.0.2.1"));
    windows.tick(at(61));
    assert_eq!(told(&windows.close(10)), [("192.0.2.1".to_owned(), 1)]);
}

#[test]
fn a_restart_goes_on_from_the_rows() {
    let (mut windows, mut rows) = (fresh(), Rows::default());
    see_all(&mut windows, 0..3, "192.0.2.1");
    rows.save(&mut windows);
    let mut restored = rows.restore(&spec());
    assert!(!see(&mut restored, 4, "192.0.2.1"), "the limit is still used up");
    restored.tick(at(61));
    assert_eq!(told(&restored.close(10)), [("192.0.2.1".to_owned(), 2)]);
    rows.save(&mut restored);
    assert_eq!(
        rows.0.keys().collect::<Vec<_>>(),
        ["window/digest"],
        "closed windows leave nothing behind"
    );
}

#[test]
fn what_was_closed_but_not_told_is_told_after_a_restart_under_the_same_id() {
    let (mut windows, mut rows) = (fresh(), Rows::default());
    for source in ["192.0.2.1", "192.0.2.2"] {
        see_all(&mut windows, 0..3, source);
    }
    windows.tick(at(61));
    let first = windows.close(1);
    rows.save(&mut windows);
    let mut restored = rows.restore(&spec());
    let (kept, again) = (windows.close(9), restored.close(9));
    assert_eq!(told(&first), [("192.0.2.1".to_owned(), 1)]);
    assert_eq!(told(&kept), [("192.0.2.2".to_owned(), 1)]);
    assert_eq!(kept, again);
}

#[test]
fn a_changed_window_is_told_as_partial_and_ids_do_not_come_twice() {
    let (mut windows, mut rows) = (fresh(), Rows::default());
    see_all(&mut windows, 0..5, "192.0.2.1");
    rows.save(&mut windows);
    let longer = WindowSpec {
        window: Duration::from_secs(120),
        ..spec()
    };
    let mut restored = rows.restore(&longer);
    let partial = restored.close(10);
    assert_eq!(told(&partial), [("192.0.2.1".to_owned(), 3)]);
    assert_eq!(partial[0].at, at(4), "as far as it went");
    see_all(&mut restored, 5..9, "192.0.2.1");
    rows.save(&mut restored);
    let mut again = rows.restore(&longer);
    again.tick(at(200));
    let whole = again.close(10);
    assert_eq!(told(&whole), [("192.0.2.1".to_owned(), 2)]);
    assert_ne!(whole[0].id, partial[0].id);
}

#[test]
fn a_changed_limit_goes_on_with_the_open_window() {
    let (mut windows, mut rows) = (fresh(), Rows::default());
    see_all(&mut windows, 0..3, "192.0.2.1");
    rows.save(&mut windows);
    let mut restored = rows.restore(&WindowSpec {
        policy: Policy::Throttle { limit: 3 },
        ..spec()
    });
    assert!(see(&mut restored, 4, "192.0.2.1"));
    assert!(!see(&mut restored, 5, "192.0.2.1"));
}

#[test]
fn a_clock_that_stepped_back_ends_the_windows_of_the_future() {
    let mut windows = fresh();
    see_all(&mut windows, [100_000; 3], "192.0.2.1");
    windows.tick(at(0));
    assert_eq!(told(&windows.close(10)), [("192.0.2.1".to_owned(), 1)]);
    let now: Vec<_> = (0..3).map(|n| see(&mut windows, n, "192.0.2.1")).collect();
    assert_eq!(now, [true, true, false]);
    assert_eq!(windows.due(), Some(at(61)));
}

#[test]
fn keys_are_bounded_and_those_too_many_share_one_with_their_count_still_exact() {
    let mut windows = fresh();
    for n in 0..KEYS_MAX + 100 {
        let ip = IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        see(&mut windows, 1, &ip.to_string());
    }
    windows.tick(at(100));
    let events = windows.close(usize::MAX);
    assert_eq!(told(&events), [(OTHERS.to_owned(), 98)]);
}

#[test]
fn rows_that_cannot_be_read_are_dropped_and_counted() {
    let (mut windows, mut rows) = (fresh(), Rows::default());
    see(&mut windows, 1, "192.0.2.1");
    rows.save(&mut windows);
    let mut broken: Vec<_> = rows.0.clone().into_iter().collect();
    broken.last_mut().unwrap().1.truncate(3);
    let (mut restored, dropped) = Windows::restore("digest", &spec(), broken);
    assert_eq!(dropped, 1);
    rows.save(&mut restored);
    assert_eq!(rows.0.len(), 1, "only the row of the node is left");
}

#[test]
fn absent_and_several_fields_make_keys_that_do_not_collide() {
    let by = vec![Field::UserName, Field::DecoyId];
    let key = |user: Option<&str>, decoy: Option<&str>| {
        let mut event = hit(0, "192.0.2.1");
        event.set_some(Field::UserName, user);
        event.set_some(Field::DecoyId, decoy);
        key_of(&by, &event)
    };
    let keys = [
        key(Some("a"), None),
        key(None, Some("a")),
        key(None, None),
        key(Some("a"), Some("")),
        key(Some(""), Some("a")),
    ];
    for (at, one) in keys.iter().enumerate() {
        assert!(keys.iter().skip(at + 1).all(|other| other != one), "{keys:?}");
    }
}
