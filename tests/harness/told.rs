//! What people were told, and whether it adds up to what there was.
//!
//! A notice is counted as whoever reads it would: by the line of its events, else as the one hit that it is of.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Trap;
use super::promises::action;

/// The id of the event that a notice is of, and how many hits it tells of that no other does.
pub type Notice = (String, usize);

/// The journal's events of decoys: what people are told of.
pub fn hits(trap: &Trap) -> Vec<Value> {
    let mut events = trap.events(&["--limit", "0", "--format", "ecs"]);
    events.retain(|event| {
        let action = action(event);
        action.starts_with("decoy-") && action != "decoy-scan" || action == "session-end"
    });
    events
}

/// The notices by the events that they are of. One that was taken as the process died, or as its answer was lost, comes
/// again, and says the same.
pub fn once(notices: impl IntoIterator<Item = Notice>) -> BTreeMap<String, usize> {
    let mut once = BTreeMap::new();
    for (event, count) in notices {
        let before = once.insert(event.clone(), count);
        assert!(
            before.is_none_or(|before| before == count),
            "{event}: {before:?}, then {count}"
        );
    }
    once
}

/// How many hits they tell of.
pub fn in_all(notices: impl IntoIterator<Item = Notice>) -> usize {
    once(notices).values().sum()
}

/// A Slack message.
pub fn of_slack(message: &Value) -> Notice {
    (event_of(message), count(&message["blocks"].to_string()))
}

/// The id that the last line of a Slack message names.
pub fn event_of(message: &Value) -> String {
    let blocks = message["blocks"].as_array().unwrap();
    let foot = blocks.last().unwrap()["elements"].as_array().unwrap();
    let mut parts = foot.iter().map(|part| part["text"].as_str().unwrap());
    parts.find_map(|part| part.strip_prefix("event ")).unwrap().to_owned()
}

/// How many hits the blocks of a Slack message tell of that no other does.
pub fn count(blocks: &str) -> usize {
    let counted = blocks.split_once("\\nevents ").map(|(_, counted)| counted);
    counted.map_or(1, |counted| own(counted.split('"').next().unwrap()))
}

/// A mail.
pub fn of_mail(mail: &Value) -> Notice {
    let rows = mail["rows"].as_array().unwrap();
    let events = rows.iter().find(|row| row[0] == "events");
    let count = events.map_or(1, |row| own(row[1].as_str().unwrap()));
    (header(mail, "X-Trapline-Event"), count)
}

fn header(mail: &Value, name: &str) -> String {
    let headers = mail["headers"].as_array().unwrap();
    let named = headers.iter().find(|header| header[0] == name);
    named.unwrap()[1].as_str().unwrap().to_owned()
}

/// A message with a card: its facts are rows of two columns, its foot names the event.
pub fn of_teams(message: &Value) -> Notice {
    let body = message["attachments"][0]["content"]["body"].as_array().unwrap();
    let text = |block: &Value| block["inlines"][0]["text"].as_str().map(str::to_owned);
    let column = |row: &Value, at: usize| text(&row["columns"][at]["items"][0]);
    let foot = text(body.last().unwrap()).unwrap();
    let event = foot.split(" · ").find_map(|part| part.strip_prefix("event "));
    let events = body.iter().find(|row| column(row, 0).as_deref() == Some("events"));
    let count = events.map_or(1, |row| own(&column(row, 1).unwrap()));
    (event.unwrap().to_owned(), count)
}

/// An event of PagerDuty that triggers.
pub fn of_pager(trigger: &Value) -> Notice {
    let details = &trigger["payload"]["custom_details"];
    let text = |name: &str| details[name].as_str();
    let event = text("event").unwrap_or_else(|| panic!("no event in {trigger}"));
    (event.to_owned(), text("events").map_or(1, own))
}

/// The description of a case in Markdown, or a comment on it.
pub fn of_markdown(text: &str) -> Notice {
    let fact = |label: &str| {
        let begin = format!("- **{label}**: ");
        let value = text.lines().find_map(|line| line.strip_prefix(&begin));
        value.map(|value| value.trim_matches(['`', ' ']))
    };
    let event = fact("event").unwrap_or_else(|| panic!("no event in {text}"));
    (event.to_owned(), fact("events").map_or(1, own))
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
