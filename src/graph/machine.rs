//! What a consumer that appends what it decided is made of: windows, the watch for scans, or one over the incidents of a
//! sink. One face for their task.

use trapline_schemas::{Event, Timestamp};

use super::incident::{FollowSpec, Incidents, Way};
use super::scan::{self, ScanSpec, Scans};
use super::window::{StateRow, Verdict, WindowSpec, Windows};
use crate::journal::Offset;

/// The settings of a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum MachineSpec {
    /// Windows of a transform.
    Window(WindowSpec),
    /// The watch for scans.
    Scans(ScanSpec),
    /// A watch over incidents.
    Follow(FollowSpec),
}

/// A machine at work.
#[derive(Debug)]
pub enum Machine {
    /// Windows of a transform.
    Windows(Windows),
    /// The watch for scans.
    Scans(Scans),
    /// A watch over incidents.
    Incidents(Box<Incidents>),
}

impl Machine {
    /// The prefix of all state rows of a node.
    pub fn prefix(node: &str, spec: &MachineSpec) -> String {
        match spec {
            MachineSpec::Window(_) => Windows::prefix(node),
            MachineSpec::Scans(_) => scan::prefix(),
            MachineSpec::Follow(_) => node.to_owned(),
        }
    }

    /// Goes on from state rows; out: also how many of them could not be read and are dropped.
    pub fn restore(node: &str, spec: &MachineSpec, rows: Vec<(String, Vec<u8>)>) -> (Self, usize) {
        match spec {
            MachineSpec::Window(spec) => {
                let (windows, dropped) = Windows::restore(node, spec, rows);
                (Self::Windows(windows), dropped)
            }
            MachineSpec::Scans(spec) => {
                let (scans, dropped) = Scans::restore(spec, rows);
                (Self::Scans(scans), dropped)
            }
            MachineSpec::Follow(spec) => {
                let (incidents, dropped) = Incidents::restore(node, spec, rows);
                (Self::Incidents(Box::new(incidents)), dropped)
            }
        }
    }

    /// The entry to begin with, if it is before the cursor: what was committed since is made again from entries.
    pub fn reads_from(&self) -> Option<Offset> {
        match self {
            Self::Windows(_) => None,
            Self::Scans(scans) => scans.reads_from(),
            Self::Incidents(incidents) => incidents.reads_from(),
        }
    }

    /// Counts the event of an entry; whether it goes on. In: `way`, what it is to a watch over incidents.
    pub fn see(&mut self, offset: Offset, event: &Event, way: Way) -> Verdict {
        match self {
            Self::Windows(windows) => windows.see(event),
            Self::Scans(scans) => {
                scans.see(offset, event);
                Verdict::Hold
            }
            Self::Incidents(incidents) => {
                incidents.see(offset, event, way);
                Verdict::Hold
            }
        }
    }

    /// Takes note of the clock, when nothing is left to read.
    pub fn tick(&mut self, now: Timestamp) {
        match self {
            Self::Windows(windows) => windows.tick(now),
            Self::Scans(scans) => scans.tick(now),
            Self::Incidents(incidents) => incidents.tick(now),
        }
    }

    /// When there is something to tell, if nothing comes before.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Windows(windows) => windows.due(),
            Self::Scans(scans) => scans.due(),
            Self::Incidents(incidents) => incidents.due(),
        }
    }

    /// Whether something waits to be told.
    pub fn is_closing(&self) -> bool {
        match self {
            Self::Windows(windows) => windows.is_closing(),
            Self::Scans(_) | Self::Incidents(_) => false,
        }
    }

    /// What is to be told, of what is due at most about `max`; the rest comes with the next call.
    pub fn close(&mut self, max: usize) -> Vec<Event> {
        match self {
            Self::Windows(windows) => windows.close(max),
            Self::Scans(scans) => scans.close(max),
            Self::Incidents(incidents) => incidents.close(max),
        }
    }

    /// The state rows that changed since the last call; `next`: all entries before it have been seen.
    pub fn changes(&mut self, next: Offset) -> Vec<StateRow> {
        match self {
            Self::Windows(windows) => windows.changes(),
            Self::Scans(scans) => scans.changes(next),
            Self::Incidents(incidents) => incidents.changes(next),
        }
    }

    /// Whether state without anything to tell may wait for more: what was read since is read again after a kill.
    pub fn is_patient(&self) -> bool {
        match self {
            Self::Windows(windows) => windows.is_patient(),
            Self::Scans(_) => true,
            Self::Incidents(incidents) => incidents.is_patient(),
        }
    }

    /// Whether what it could not read is missing from something that nobody else tells of.
    pub const fn has_losses(&self) -> bool {
        match self {
            Self::Windows(_) | Self::Scans(_) => true,
            // The sink reads the same, and says so.
            Self::Incidents(_) => false,
        }
    }

    /// Contacts that found no room, since it was asked last.
    pub fn take_unwatched(&mut self) -> u64 {
        match self {
            Self::Windows(_) | Self::Incidents(_) => 0,
            Self::Scans(scans) => scans.take_unwatched(),
        }
    }
}
