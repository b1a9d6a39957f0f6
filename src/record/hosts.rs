//! What is known of hosts around at this moment: MACs of neighbours, names of leases. Written by whoever looks after
//! them, read by the recorder for each hit; neither waits for the disk or the network here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use smol_str::SmolStr;

use super::leases::Lease;
use super::neighbours::Change;

/// Most neighbours.
const NEIGHBOURS_MAX: usize = 65_536;

/// Hosts by address.
#[derive(Debug, Default)]
pub struct Hosts {
    neighbours: RwLock<HashMap<IpAddr, SmolStr>>,
    leases: RwLock<Arc<HashMap<IpAddr, Lease>>>,
}

impl Hosts {
    /// Takes note of a neighbour that came or went; beyond 65,536 none comes.
    pub fn note(&self, change: Change) {
        let mut neighbours = self.neighbours.write().unwrap_or_else(PoisonError::into_inner);
        match change.mac {
            None => drop(neighbours.remove(&change.address)),
            Some(mac) if neighbours.len() < NEIGHBOURS_MAX => drop(neighbours.insert(change.address, mac)),
            Some(_) => {}
        }
    }

    /// Puts leases in the place of those before.
    pub fn put_leases(&self, leases: HashMap<IpAddr, Lease>) {
        *self.leases.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(leases);
    }

    /// The MAC of an address: the neighbour's, else the lease's.
    pub fn mac(&self, address: IpAddr) -> Option<SmolStr> {
        let neighbours = self.neighbours.read().unwrap_or_else(PoisonError::into_inner);
        let neighbour = neighbours.get(&address).cloned();
        drop(neighbours);
        neighbour.or_else(|| self.lease(address, |lease| lease.mac.clone()))
    }

    /// The name of an address in its lease.
    pub fn name(&self, address: IpAddr) -> Option<SmolStr> {
        self.lease(address, |lease| lease.name.clone())
    }

    fn lease(&self, address: IpAddr, part: impl Fn(&Lease) -> Option<SmolStr>) -> Option<SmolStr> {
        let leases = self.leases.read().unwrap_or_else(PoisonError::into_inner);
        leases.get(&address).and_then(part)
    }
}
