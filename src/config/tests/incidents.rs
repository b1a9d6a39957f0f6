//! When incidents are over, for the sinks that follow them.

use super::*;

const MAIL: &str = "[sinks.m]\ntype = 'mail'\ninputs = ['*']\n";
const PAGER: &str = "[sinks.p]\ntype = 'pager'\ninputs = ['*']\n";

fn follows(config: &Config, name: &str) -> Option<u64> {
    let sink = config.sinks.iter().find(|sink| sink.name == name).unwrap();
    sink.follows.map(|close_after| close_after.as_secs())
}

#[test]
fn sinks_that_follow_incidents_know_when_they_are_over_and_others_do_not() {
    let config = good(&format!("{MAIL}{PAGER}"));
    assert_eq!((follows(&config, "m"), follows(&config, "p")), (None, Some(86_400)));
    let config = good(&format!("[incidents]\nclose_after = '30d'\n{PAGER}"));
    assert_eq!(follows(&config, "p"), Some(30 * 86_400));
}

#[test]
fn another_time_changes_the_sinks_that_follow_and_no_other() {
    let old = good(&format!("{MAIL}{PAGER}"));
    let new = good(&format!("[incidents]\nclose_after = '1h'\n{MAIL}{PAGER}"));
    assert_eq!(changes(&old, &new).sinks.changed, ["p"]);
}

#[test]
fn a_time_out_of_its_bounds_is_told_also_where_nobody_follows() {
    for wrong in ["59s", "31d", "soon"] {
        only(&format!("[incidents]\nclose_after = '{wrong}'"), "t.toml:2:15: ");
    }
}
