//! Incidents of sources that somebody answers for, summed up as their rows come.
//!
//! In: what a row says of it ([`Owned`]). Out: who, when, how often, how grave, by incident. It is exact over what the
//! index has seen: a sum begins anew with an index that is built anew, and goes when all its entries were trimmed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rusqlite::{Row, Transaction};
use smol_str::SmolStr;
use trapline_schemas::Timestamp;
use uuid::Uuid;

use super::table::{Table, address};
use super::{IndexRow, Offset};
use crate::journal::sqlite::sql;

/// What one entry adds to an incident of a source that somebody answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Who answers for it.
    pub owner: SmolStr,
    /// From when to when it was.
    pub span: (Timestamp, Timestamp),
    /// How many visits it tells of.
    pub visits: u64,
    /// How grave it is; 0: no touch of its own.
    pub gravity: u8,
    /// Whether a handshake proved the address, so that nobody else can have written it.
    pub proved: bool,
    /// The service that was touched.
    pub service: Option<SmolStr>,
}

/// An incident of such a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedIncident {
    /// Its id.
    pub incident: Uuid,
    /// Who came.
    pub source: IpAddr,
    /// Who answers for it, as of its last entry.
    pub owner: SmolStr,
    /// The first and the last of it.
    pub span: (Timestamp, Timestamp),
    /// Visits in all.
    pub visits: u64,
    /// The gravest of it.
    pub gravity: u8,
    /// Whether a handshake ever proved the address.
    pub proved: bool,
    /// Services that were touched, by name, at most [`SERVICES_MAX`].
    pub services: Vec<SmolStr>,
}

/// Most services that are told of an incident.
pub const SERVICES_MAX: usize = 64;

/// The columns of a sum, in the order in which it is read.
const COLUMNS: &str = "incident, source, owner, first, last, visits, gravity, proved";

impl Table {
    pub(super) fn owned_latest(&mut self, limit: usize) -> rusqlite::Result<Vec<OwnedIncident>> {
        let text = format!("SELECT {COLUMNS} FROM owned ORDER BY last DESC LIMIT ?1");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found: Vec<_> = {
            let mut statement = self.conn.prepare_cached(&text)?;
            statement.query_map([limit], sum)?.collect::<rusqlite::Result<_>>()?
        };
        found.into_iter().map(|sum| self.with_services(sum)).collect()
    }

    pub(super) fn owned_within(&mut self, first: Uuid, last: Uuid) -> rusqlite::Result<Vec<OwnedIncident>> {
        let text = format!("SELECT {COLUMNS} FROM owned WHERE incident BETWEEN ?1 AND ?2 LIMIT 2");
        let found: Vec<_> = {
            let mut statement = self.conn.prepare_cached(&text)?;
            let ids = [first, last].map(|id| id.into_bytes().to_vec());
            statement.query_map(ids, sum)?.collect::<rusqlite::Result<_>>()?
        };
        found.into_iter().map(|sum| self.with_services(sum)).collect()
    }

    fn with_services(&self, sum: OwnedIncident) -> rusqlite::Result<OwnedIncident> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT service FROM owned_services WHERE incident = ?1 ORDER BY service LIMIT ?2")?;
        let id = sum.incident.into_bytes().to_vec();
        let services = statement.query_map((id, SERVICES_MAX as i64), |row| row.get::<_, String>(0))?;
        let services = services
            .map(|service| service.map(SmolStr::from))
            .collect::<rusqlite::Result<_>>()?;
        Ok(OwnedIncident { services, ..sum })
    }
}

fn sum(row: &Row<'_>) -> rusqlite::Result<OwnedIncident> {
    let time = |at| row.get(at).map(Timestamp::from_micros);
    Ok(OwnedIncident {
        incident: Uuid::from_bytes(row.get(0)?),
        source: read_address(&row.get::<_, Vec<u8>>(1)?).ok_or(rusqlite::Error::InvalidQuery)?,
        owner: SmolStr::from(row.get::<_, String>(2)?),
        span: (time(3)?, time(4)?),
        visits: row.get::<_, i64>(5)?.unsigned_abs(),
        gravity: row.get(6)?,
        proved: row.get(7)?,
        services: Vec::new(),
    })
}

/// An address as the index has it.
fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Adds what a group of rows says: one statement for an incident of it, however many hits it has.
pub(super) fn add(tx: &Transaction<'_>, rows: &[(Offset, IndexRow)]) -> rusqlite::Result<()> {
    let mut sums: BTreeMap<Uuid, (Offset, OwnedIncident)> = BTreeMap::new();
    let mut services = BTreeSet::new();
    for (offset, row) in rows {
        let (Some(owned), Some(incident), Some(source)) = (&row.owned, row.incident, row.source) else {
            continue;
        };
        services.extend(owned.service.as_ref().map(|service| (incident, service)));
        let fresh = || (*offset, first_of(incident, source, owned));
        let (until, sum) = sums.entry(incident).or_insert_with(fresh);
        *until = *offset;
        sum.owner.clone_from(&owned.owner);
        sum.span = (sum.span.0.min(owned.span.0), sum.span.1.max(owned.span.1));
        sum.visits = sum.visits.saturating_add(owned.visits);
        sum.gravity = sum.gravity.max(owned.gravity);
        sum.proved |= owned.proved;
    }
    sums.into_values().try_for_each(|(until, sum)| merge(tx, until, &sum))?;
    for (incident, service) in services {
        tx.prepare_cached("INSERT OR IGNORE INTO owned_services (incident, service) VALUES (?1, ?2)")?
            .execute((incident.as_bytes().as_slice(), service.as_str()))?;
    }
    Ok(())
}

/// A sum that nothing was added to.
fn first_of(incident: Uuid, source: IpAddr, owned: &Owned) -> OwnedIncident {
    OwnedIncident {
        incident,
        source,
        owner: owned.owner.clone(),
        span: owned.span,
        visits: 0,
        gravity: 0,
        proved: false,
        services: Vec::new(),
    }
}

fn merge(tx: &Transaction<'_>, until: Offset, sum: &OwnedIncident) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO owned (incident, owner, source, first, last, visits, gravity, proved, until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (incident) DO UPDATE SET owner = excluded.owner, first = min(first, excluded.first),
             last = max(last, excluded.last), visits = visits + excluded.visits,
             gravity = max(gravity, excluded.gravity), proved = max(proved, excluded.proved), until = excluded.until",
    )?;
    statement.execute((
        sum.incident.as_bytes().as_slice(),
        sum.owner.as_str(),
        address(sum.source).as_ref(),
        sum.span.0.micros(),
        sum.span.1.micros(),
        i64::try_from(sum.visits).unwrap_or(i64::MAX),
        sum.gravity,
        sum.proved,
        sql(until),
    ))?;
    Ok(())
}

/// Forgets incidents of which nothing is left from an offset on.
pub(super) fn forget(tx: &Transaction<'_>, until: Offset) -> rusqlite::Result<()> {
    let gone = "SELECT incident FROM owned WHERE until < ?1";
    tx.prepare_cached(&format!("DELETE FROM owned_services WHERE incident IN ({gone})"))?
        .execute([sql(until)])?;
    tx.prepare_cached("DELETE FROM owned WHERE until < ?1")?
        .execute([sql(until)])?;
    Ok(())
}
