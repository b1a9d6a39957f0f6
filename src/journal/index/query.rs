//! Searching the index.

use std::net::IpAddr;

use rusqlite::ToSql;
use smol_str::SmolStr;
use uuid::Uuid;

use super::table::{Table, address};
use crate::journal::Offset;
use crate::journal::sqlite::{offset, sql};

/// What is looked for: all that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Who came.
    pub source: Option<IpAddr>,
    /// The port that was touched.
    pub port: Option<u16>,
    /// The decoy that was touched.
    pub decoy: Option<SmolStr>,
    /// What happened.
    pub action: Option<SmolStr>,
    /// The level of touch.
    pub level: Option<SmolStr>,
    /// The least risk.
    pub risk_min: Option<u8>,
    /// The incident.
    pub incident: Option<Uuid>,
    /// The user name that was tried.
    pub user: Option<SmolStr>,
    /// Offsets at or above this one.
    pub from: Option<Offset>,
    /// Offsets below this one.
    pub until: Option<Offset>,
    /// Oldest first; newest first otherwise.
    pub oldest_first: bool,
    /// How many at most, in one page; 0 is the most, 1000.
    pub limit: usize,
}

/// One page of what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Offsets that match, in the order asked for. An entry may have been trimmed since.
    pub offsets: Vec<Offset>,
    /// The search that gives the next page; `None` if this is the last.
    pub more: Option<Box<Search>>,
    /// The first offset not in the index yet: what is newer was not searched.
    pub indexed_to: Offset,
}

impl Table {
    /// Finds one page. `indexed_to` is left to the caller.
    pub fn search(&self, search: &Search) -> rusqlite::Result<Page> {
        let Some(filters) = self.filters(search)? else {
            return Ok(Page::default());
        };
        let limit = if search.limit == 0 {
            LIMIT_MAX
        } else {
            search.limit.min(LIMIT_MAX)
        };
        let mut statement = self.conn.prepare_cached(&statement(&filters, search.oldest_first))?;
        let mut values: Vec<&dyn ToSql> = filters.iter().map(|filter| filter.value.as_ref()).collect();
        let limit_stored = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        values.push(&limit_stored);
        let found = statement.query_map(&values[..], |row| Ok(offset(row.get(0)?)))?;
        let mut offsets = found.collect::<rusqlite::Result<Vec<Offset>>>()?;
        let more = offsets.get(limit).is_some();
        offsets.truncate(limit);
        let more = offsets
            .last()
            .filter(|_| more)
            .map(|last| Box::new(search.behind(*last)));
        Ok(Page {
            offsets,
            more,
            indexed_to: 0,
        })
    }

    /// What must hold, the rarest kind of value first; `None` if a word was never used, so that nothing matches.
    fn filters(&self, search: &Search) -> rusqlite::Result<Option<Vec<Filter>>> {
        let mut filters = Vec::new();
        let mut equal = |column: &'static str, value: Option<Box<dyn ToSql>>| {
            filters.extend(value.map(|value| Filter {
                column,
                holds: "=",
                value,
            }));
        };
        equal(
            "incident",
            search
                .incident
                .map(|incident| Box::new(incident.into_bytes().to_vec()) as _),
        );
        equal(
            "source",
            search.source.map(|source| Box::new(address(source).into_vec()) as _),
        );
        equal("user", search.user.as_ref().map(|user| Box::new(user.to_string()) as _));
        equal("port", search.port.map(|port| Box::new(port) as _));
        for (column, word) in [
            ("decoy", &search.decoy),
            ("action", &search.action),
            ("level", &search.level),
        ] {
            let Some(word) = word else { continue };
            let Some(id) = self.word(word)? else { return Ok(None) };
            equal(column, Some(Box::new(id)));
        }
        filters.extend(search.risk_min.map(|risk| Filter {
            column: "risk",
            holds: ">=",
            value: Box::new(risk),
        }));
        filters.extend(search.from.map(|from| Filter {
            column: "offset",
            holds: ">=",
            value: Box::new(sql(from)),
        }));
        filters.extend(search.until.map(|until| Filter {
            column: "offset",
            holds: "<",
            value: Box::new(sql(until)),
        }));
        Ok(Some(filters))
    }
}

impl Search {
    fn behind(&self, last: Offset) -> Self {
        let mut next = self.clone();
        if self.oldest_first {
            next.from = Some(last + 1);
        } else {
            next.until = Some(last);
        }
        next
    }
}

struct Filter {
    column: &'static str,
    holds: &'static str,
    value: Box<dyn ToSql>,
}

/// The first filter leads over its index; `+` keeps SQLite from choosing another without knowing better.
fn statement(filters: &[Filter], oldest_first: bool) -> String {
    let mut text = "SELECT offset FROM rows WHERE 1".to_owned();
    for (place, Filter { column, holds, .. }) in filters.iter().enumerate() {
        let leads = place == 0 || *column == "offset";
        let plus = if leads { "" } else { "+" };
        text.push_str(&format!(" AND {plus}{column} {holds} ?{}", place + 1));
    }
    let order = if oldest_first { "ASC" } else { "DESC" };
    text.push_str(&format!(" ORDER BY offset {order} LIMIT ?{}", filters.len() + 1));
    text
}

/// Most offsets of one page.
pub const LIMIT_MAX: usize = 1000;
