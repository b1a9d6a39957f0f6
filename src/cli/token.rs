//! `trapline token`: who may ask the live feed. The files are looked at anew by each request, so nothing is restarted.

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;
use trapline_schemas::Timestamp;
use trapline_sink::config::parse_duration;

use crate::web::reach::Lists;
use crate::web::tokens::{Files, Token, TokenError};

use super::output::{self, Out, safe};
use super::{Exit, Globals, place};

/// What `token` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Make a token and print it: it is shown this once, and only its hash is kept
    Create {
        /// Whose it is: letters, digits, `-`, `_` and `.`
        name: String,
        /// How long it is good, such as 90d or 12h [default: until it is revoked]
        #[arg(long, value_name = "SPAN", value_parser = seconds)]
        expires: Option<i64>,
        /// For a firewall: it reads these lists and nothing else, by the names of their sinks, or `all`
        #[arg(long, value_name = "LISTS", value_delimiter = ',')]
        lists: Option<Vec<String>>,
    },
    /// Show names, ends, last uses and what each reads; no token
    List,
    /// Take a token away: it is refused from the next request on, and its streams end within seconds
    Revoke {
        /// Whose it is
        name: String,
    },
}

/// Longest that a token is good, days.
const DAYS_MAX: i64 = 3_650;

fn seconds(text: &str) -> Result<i64, String> {
    let read = parse_duration(text).and_then(|span| i64::try_from(span.as_secs()).ok());
    read.filter(|secs| (60..=DAYS_MAX * 86_400).contains(secs))
        .ok_or_else(|| format!("`{text}` is not a span such as 90d or 12h, 1m to {DAYS_MAX}d"))
}

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    let state_dir = place::state_dir(globals)?;
    let done = match &wanted.act {
        Act::Create { name, expires, lists } => {
            let lists = lists.as_deref().map(Lists::parse).transpose();
            let lists = match lists {
                Ok(lists) => lists,
                Err(wrong) => {
                    output::error(&wrong);
                    return Ok(Exit::Usage);
                }
            };
            create(globals, &state_dir, name, *expires, lists)
        }
        Act::List => list(globals, &state_dir),
        Act::Revoke { name } => revoke(globals, &state_dir, name),
    };
    match done.as_ref().map_err(|error| error.downcast_ref()) {
        Err(Some(TokenError::Name(_))) => {
            output::error(&done.err().map(|error| error.to_string()).unwrap_or_default());
            Ok(Exit::Usage)
        }
        _ => done,
    }
}

fn now() -> i64 {
    Timestamp::now().micros().div_euclid(1_000_000)
}

/// A token as `--json` shows it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Only where it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    created: String,
    expires: Option<String>,
    last_used: Option<String>,
    /// The lists that it reads and nothing else, `all lists` for each of them; absent for one of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    lists: Option<String>,
    state: &'static str,
}

impl Row {
    fn of(token: &Token, last_used: Option<i64>, now: i64) -> Self {
        Self {
            name: token.name.clone(),
            token: None,
            created: moment(token.created),
            expires: token.expires.map(moment),
            last_used: last_used.map(moment),
            lists: token.lists.as_ref().map(ToString::to_string),
            state: if token.is_over(now) { "over" } else { "good" },
        }
    }
}

fn moment(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).unwrap_or_default().to_string()
}

fn create(
    globals: &Globals,
    state_dir: &Path,
    name: &str,
    expires: Option<i64>,
    lists: Option<Lists>,
) -> anyhow::Result<Exit> {
    let made = now();
    let expires = expires.map(|secs| made.saturating_add(secs));
    let text = Files::within(state_dir).create_for(name, made, expires, lists.clone())?;
    let mut out = Out::new();
    if globals.json {
        out.json(&Row {
            name: name.to_owned(),
            token: Some(text),
            created: moment(made),
            expires: expires.map(moment),
            last_used: None,
            lists: lists.as_ref().map(ToString::to_string),
            state: "good",
        })?;
    } else {
        out.line(&text)?;
    }
    out.flush()?;
    if out.is_terminal() && !globals.json {
        output::hint(match lists {
            None => "keep it now, it is not shown again: `Authorization: Bearer TOKEN`",
            Some(_) => {
                "keep it now, it is not shown again: as the password of HTTP basic, or `Authorization: Bearer TOKEN`"
            }
        });
    }
    Ok(Exit::Done)
}

fn list(globals: &Globals, state_dir: &Path) -> anyhow::Result<Exit> {
    let files = Files::within(state_dir);
    let (uses, now) = (files.last_uses(), now());
    let tokens = files.list()?;
    let rows = tokens
        .iter()
        .map(|token| Row::of(token, uses.get(token.id()).copied(), now));
    let rows: Vec<_> = rows.collect();
    let mut out = Out::new();
    if globals.json {
        out.json(&rows)?;
    } else if rows.is_empty() {
        out.line("no tokens")?;
    } else {
        let cells = rows.iter().map(|row| {
            vec![
                safe(&row.name),
                row.created.clone(),
                row.expires.clone().unwrap_or_else(|| "never".into()),
                row.last_used.clone().unwrap_or_else(|| "never".into()),
                row.lists.clone().unwrap_or_else(|| "the API".into()),
                row.state.to_owned(),
            ]
        });
        out.table(
            &["NAME", "CREATED", "EXPIRES", "LAST USED", "READS", "STATE"],
            cells.collect(),
        )?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn revoke(globals: &Globals, state_dir: &Path, name: &str) -> anyhow::Result<Exit> {
    Files::within(state_dir).revoke(name, now())?;
    let mut out = Out::new();
    match globals.json {
        true => out.json(&serde_json::json!({ "revoked": name }))?,
        false => out.line(&format!("{} is revoked", safe(name)))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_a_minute_at_least_and_ten_years_at_most() {
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!(seconds("1m"), Ok(60));
        for bad in ["", "59s", "3651d", "soon", "-1d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
