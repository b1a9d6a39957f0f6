//! What people were told, and whether it adds up to what there was.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Trap;
use super::promises::action;

/// The journal's events of decoys: what people are told of.
pub fn hits(trap: &Trap) -> Vec<Value> {
    let mut events = trap.events(&["--limit", "0", "--format", "ecs"]);
    events.retain(|event| {
        let action = action(event);
        action.starts_with("decoy-") && action != "decoy-scan" || action == "session-end"
    });
    events
}

/// How many hits these Slack messages tell of. One that was answered as the process died comes again.
pub fn by_slack(messages: &[Value]) -> usize {
    let told = messages
        .iter()
        .map(|message| (event_of(message), count(&message["blocks"].to_string())));
    told.collect::<BTreeMap<_, _>>().values().sum()
}

/// The id that the last line of a Slack message names.
pub fn event_of(message: &Value) -> String {
    let blocks = message["blocks"].as_array().unwrap();
    let foot = blocks.last().unwrap()["elements"].as_array().unwrap();
    let is_event = |part: &&Value| part["text"].as_str().unwrap().starts_with("event ");
    foot.iter().find(is_event).unwrap()["text"].as_str().unwrap().to_owned()
}

/// How many hits the blocks of a Slack message tell of that no other does.
pub fn count(blocks: &str) -> usize {
    let counted = blocks.split_once("\\nevents ").map(|(_, counted)| counted);
    counted.map_or(1, |counted| own(counted.split('"').next().unwrap()))
}

/// How many hits these mails tell of.
pub fn by_mail(mails: &[Value]) -> usize {
    let told = mails
        .iter()
        .map(|mail| (header(mail, "X-Trapline-Event"), of_mail(mail)));
    told.collect::<BTreeMap<_, _>>().values().sum()
}

fn of_mail(mail: &Value) -> usize {
    let rows = mail["rows"].as_array().unwrap();
    let events = rows.iter().find(|row| row[0] == "events");
    events.map_or(1, |row| own(row[1].as_str().unwrap()))
}

fn header(mail: &Value, name: &str) -> String {
    let headers = mail["headers"].as_array().unwrap();
    let named = headers.iter().find(|header| header[0] == name);
    named.unwrap()[1].as_str().unwrap().to_owned()
}

/// The number of `1,204`, or of `1,204: 1,200 counted here, 4 told before` the second.
fn own(line: &str) -> usize {
    let own = match line.trim().split_once(": ") {
        Some((_, own)) => own.split(' ').next().unwrap(),
        None => line.trim(),
    };
    let digits = own.replace(',', "");
    digits.parse().unwrap_or_else(|_| panic!("`{own}` of {line}"))
}
