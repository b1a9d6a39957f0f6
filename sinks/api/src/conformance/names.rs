//! A host name that a test takes away and gives back, and a resolver that hangs.
//!
//! In: where the destination listens. Out: a [`Resolver`] that knows one name, as long as it is to know it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Case;
use crate::dial::Resolver;

/// The name; RFC 2606 keeps it from being anybody's.
pub const NAME: &str = "receiver.example";

/// Longest a resolver hangs, so that a test that failed still ends.
const HANGS_FOR: Duration = Duration::from_secs(60);

/// What the name servers know.
#[derive(Debug, Clone)]
pub struct Zone(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug)]
struct State {
    address: SocketAddr,
    fault: Option<Case>,
    asked: usize,
}

impl Zone {
    /// [`NAME`] is at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let state = State {
            address,
            fault: None,
            asked: 0,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// From now on it is as `case` says: [`Case::NameGone`], [`Case::NameLost`] or [`Case::ResolverDead`].
    pub fn fail(&self, case: Case) {
        self.state().fault = Some(case);
    }

    /// The name is back; whoever waits is answered.
    pub fn heal(&self) {
        self.state().fault = None;
        self.0.1.notify_all();
    }

    /// How often the name was asked for.
    pub fn asked(&self) -> usize {
        self.state().asked
    }

    /// A resolver that asks here.
    pub fn resolver(&self) -> Resolver {
        let zone = self.clone();
        Resolver::new(move |host, _| zone.answer(host))
    }

    fn answer(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let mut state = self.state();
        state.asked += 1;
        if state.fault == Some(Case::ResolverDead) {
            let dead = |state: &mut State| state.fault == Some(Case::ResolverDead);
            let waited = self.0.1.wait_timeout_while(state, HANGS_FOR, dead);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match state.fault {
            None if host == NAME => Ok(vec![state.address]),
            _ => Err(io::Error::other("no such name")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
