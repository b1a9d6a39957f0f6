//! `enrich`: what tables that are at hand know of an event. Timeless lookups alone: no network, no name service.
//!
//! In: a MaxMind city or country database, one of autonomous systems, an [`Inventory`]. Out: `source.geo.*`,
//! `source.as.*`, and what the inventory's columns give. A field that the event has stays as it was recorded.
//!
//! Invariants: 1. tables are read whole before they are used, and exchanged as a whole; 2. an entry that cannot be read
//! adds nothing.
//!
//! Source: MaxMind DB File Format 2.0; GeoIP2 City, Country and ASN records.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use maxminddb::{Reader, geoip2};
use trapline_schemas::{Event, Field, Value, text};

use super::Shaped;
use super::inventory::Inventory;
use crate::graph::window::key_of;

/// The settings of an enrich.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrichSpec {
    /// A MaxMind database of cities or countries.
    pub geoip: Option<PathBuf>,
    /// A MaxMind database of autonomous systems.
    pub asn: Option<PathBuf>,
    /// A CSV inventory.
    pub table: Option<PathBuf>,
    /// The field by whose value the inventory is asked.
    pub key: Field,
    /// Names of its columns, lower case, and what they stand for.
    pub columns: Vec<(String, String)>,
}

/// What an enrich looks things up in.
#[derive(Debug, Default)]
pub struct Tables {
    /// Cities or countries.
    pub geoip: Option<MaxMind>,
    /// Autonomous systems.
    pub asn: Option<MaxMind>,
    /// The inventory.
    pub table: Option<Inventory>,
}

/// Tables in use, which may be exchanged.
#[derive(Debug, Default)]
pub struct SharedTables(RwLock<Arc<Tables>>);

impl SharedTables {
    /// Puts tables in use.
    pub fn put(&self, tables: Tables) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tables);
    }

    fn get(&self) -> Arc<Tables> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A MaxMind database in memory.
#[derive(Debug)]
pub struct MaxMind(Reader<Vec<u8>>);

impl MaxMind {
    /// Reads a database; `kind` is what its type must name, such as `City`.
    ///
    /// Errors: it is no database, or one of something else; a sentence.
    pub fn read(bytes: Vec<u8>, kinds: &[&str]) -> Result<Self, String> {
        let reader = Reader::from_source(bytes).map_err(|error| format!("it is no MaxMind database: {error}"))?;
        let kind = &reader.metadata().database_type;
        match kinds.iter().any(|wanted| kind.contains(wanted)) {
            true => Ok(Self(reader)),
            false => {
                let found = text::clean_within(kind.as_bytes(), 64);
                Err(format!(
                    "it is a database of type `{found}`, not of {}",
                    kinds.join(" or ")
                ))
            }
        }
    }

    /// Looks at every entry.
    ///
    /// Errors: what is damaged, a sentence.
    pub fn verify(&self) -> Result<(), String> {
        self.0.verify().map_err(|error| format!("it is damaged: {error}"))
    }

    fn place(&self, ip: IpAddr, facts: &mut Facts<'_>) -> Option<()> {
        let city: geoip2::City<'_> = self.0.lookup(ip).ok()?.decode().ok()??;
        facts.text(Field::SourceGeoCity, city.city.names.english);
        facts.text(Field::SourceGeoContinent, city.continent.code);
        facts.text(Field::SourceGeoCountry, city.country.iso_code);
        facts.text(Field::SourceGeoCountryName, city.country.names.english);
        let region = city.subdivisions.first();
        facts.text(Field::SourceGeoRegion, region.and_then(|region| region.names.english));
        if let (Some(lat), Some(lon)) = (city.location.latitude, city.location.longitude)
            && (-90.0..=90.0).contains(&lat)
            && (-180.0..=180.0).contains(&lon)
        {
            facts.add(Field::SourceGeoLat, lat);
            facts.add(Field::SourceGeoLon, lon);
        }
        Some(())
    }

    fn system(&self, ip: IpAddr, facts: &mut Facts<'_>) -> Option<()> {
        let system: geoip2::Asn<'_> = self.0.lookup(ip).ok()?.decode().ok()??;
        if let Some(number) = system.autonomous_system_number {
            facts.add(Field::SourceAsNumber, i64::from(number));
        }
        facts.text(Field::SourceAsName, system.autonomous_system_organization);
        Some(())
    }
}

/// What is to be added to an event.
struct Facts<'e> {
    event: &'e Event,
    found: Vec<(Field, Value)>,
}

impl Facts<'_> {
    fn add(&mut self, field: Field, value: impl Into<Value>) {
        if self.event.get(field).is_none() {
            self.found.push((field, value.into()));
        }
    }

    fn text(&mut self, field: Field, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.add(field, text::clean_within(value.as_bytes(), 256));
        }
    }
}

/// An enrich at work.
#[derive(Debug)]
pub struct Enrich {
    key: Field,
    tables: Arc<SharedTables>,
}

impl Enrich {
    /// An enrich over tables.
    pub fn new(spec: &EnrichSpec, tables: Arc<SharedTables>) -> Self {
        Self { key: spec.key, tables }
    }

    pub(super) fn shape(&self, event: &Event) -> Shaped {
        let tables = self.tables.get();
        let mut facts = Facts {
            event,
            found: Vec::new(),
        };
        if let Some(ip) = event.ip(Field::SourceIp) {
            let _ = tables.geoip.as_ref().and_then(|geoip| geoip.place(ip, &mut facts));
            let _ = tables.asn.as_ref().and_then(|asn| asn.system(ip, &mut facts));
        }
        for (field, value) in tables.table.iter().flat_map(|table| self.row(table, event)) {
            facts.add(*field, value.clone());
        }
        if facts.found.is_empty() {
            return Shaped::Same;
        }
        let found = facts.found;
        let mut richer = event.clone();
        found.into_iter().for_each(|(field, value)| richer.set(field, value));
        Shaped::Changed(Box::new(richer))
    }

    fn row<'t>(&self, table: &'t Inventory, event: &Event) -> &'t [(Field, Value)] {
        match event.get(self.key) {
            Some(Value::Ip(ip)) => table.of_address(*ip),
            Some(_) => table.of_word(&key_of(&[self.key], event)),
            None => &[],
        }
    }
}
