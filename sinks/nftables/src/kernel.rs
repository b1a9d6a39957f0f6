//! The table in the kernel, through the one socket that may change it.
//!
//! It is laid down when it is first needed and whenever it is found otherwise than laid down. If a set is not as it must
//! be (another size, by other settings), the table is made anew in one transaction and who was in it is put back with
//! what is left of the time.

use std::io;

use rustix::io::Errno;
use trapline_sink::Fault;

use crate::element::{Key, write, write_list};
use crate::fault::{fault, taken};
use crate::lay::{Tenure, lay, probe, raze};
use crate::look::{self, Shape};
use crate::plan::{Plan, Set};
use crate::socket::Socket;
use crate::wire::numbers as nr;
use crate::{census, hashes, nets};

/// The table and the way to change it.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) socket: Socket,
    pub(crate) plan: Plan,
    wants_owned: bool,
    /// Whose table it is to be; found out before it is first laid down.
    tenure: Option<Tenure>,
    /// Whether the kernel can remove an element that may not be there (since Linux 6.3).
    pub(crate) can_destroy: bool,
    /// Whether the sets of the kernel's own members are there.
    pub(crate) has_armed: bool,
    is_laid: bool,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Made.
    Done,
    /// A wider network that stands covers it.
    Covered(String),
    /// Refused, or not seen to be made.
    Failed(Errno),
}

impl Kernel {
    pub(crate) const fn new(socket: Socket, plan: Plan, wants_owned: bool) -> Self {
        Self {
            socket,
            plan,
            wants_owned,
            tenure: None,
            can_destroy: false,
            has_armed: false,
            is_laid: false,
        }
    }

    /// Whether the table belongs to this socket; unknown before it is laid down.
    pub(crate) const fn tenure(&self) -> Option<Tenure> {
        self.tenure
    }

    /// Sees to it that the table is as it must be, whatever was done to it.
    pub(crate) fn ready(&mut self) -> Result<(), Fault> {
        self.try_ready()
            .map_err(|error| self.blame("the table was not laid down", &error))
    }

    /// The same, but only if it is not known to be so.
    pub(crate) fn ready_once(&mut self) -> Result<(), Fault> {
        match self.is_laid {
            true => Ok(()),
            false => self.ready(),
        }
    }

    /// Whether it was laid down by this process.
    pub(crate) const fn is_there(&self) -> bool {
        self.is_laid
    }

    /// Takes the table away if it is ours and nobody is in it.
    pub(crate) fn raze_if_empty(&mut self) -> io::Result<()> {
        if !self.is_laid {
            return Ok(());
        }
        for set in Set::MEMBERS {
            if look::has_members(&self.plan.table, set)? {
                return Ok(());
            }
        }
        let mut batch = self.socket.batch();
        raze(&mut batch, &self.plan.table);
        Ok(first(self.socket.commit(batch)?)?)
    }

    /// Has the table looked at before it is next used.
    pub(crate) const fn doubt(&mut self) {
        self.is_laid = false;
    }

    /// What an error means here: a table of another process is the likeliest cause of a refusal.
    pub(crate) fn blame(&mut self, what: &str, error: &io::Error) -> Fault {
        let is_refused = error.raw_os_error() == Some(Errno::PERM.raw_os_error());
        let deed = match is_refused {
            true => look::deed(&mut self.socket, &self.plan.table).ok().flatten(),
            false => None,
        };
        match deed.and_then(|deed| deed.owner) {
            Some(owner) if owner != self.socket.port() => taken(&self.plan.table, owner),
            _ => fault(&self.plan.table, what, error),
        }
    }

    fn try_ready(&mut self) -> io::Result<()> {
        self.is_laid = false;
        let tenure = self.find_tenure()?;
        match self.shape(tenure)? {
            Shape::Whole => {}
            Shape::Absent | Shape::Lacking => self.lay(tenure)?,
            Shape::Wrong => self.lay_anew(tenure)?,
        }
        self.can_destroy = self.try_destroy()?;
        self.has_armed = look::has_sets(&mut self.socket, &self.plan.table, &Set::BY_ITSELF)?;
        self.is_laid = true;
        Ok(())
    }

    fn find_tenure(&mut self) -> io::Result<Tenure> {
        if let Some(tenure) = self.tenure {
            return Ok(tenure);
        }
        let tenure = match self.wants_owned && self.can_own()? {
            true => Tenure::Owned,
            false => Tenure::Plain,
        };
        self.tenure = Some(tenure);
        Ok(tenure)
    }

    fn can_own(&mut self) -> io::Result<bool> {
        let mut batch = self.socket.batch();
        probe(&mut batch, &self.plan.table, Tenure::Owned);
        match first(self.socket.commit(batch)?) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How the table is found, where one that is somebody else's by right is lacking or wrong too.
    fn shape(&mut self, tenure: Tenure) -> io::Result<Shape> {
        let shape = look::shape(&mut self.socket, &self.plan)?;
        let Some(deed) = look::deed(&mut self.socket, &self.plan.table)? else {
            return Ok(Shape::Absent);
        };
        let persists = deed.flags & nr::TABLE_F_PERSIST != 0;
        Ok(match (tenure, deed.owner) {
            (_, Some(owner)) if owner != self.socket.port() => return Err(Errno::PERM.into()),
            (Tenure::Owned, Some(_)) => shape,
            (Tenure::Owned, None) if persists && shape != Shape::Wrong => Shape::Lacking,
            (Tenure::Plain, None) if !persists => shape,
            _ => Shape::Wrong,
        })
    }

    fn lay(&mut self, tenure: Tenure) -> io::Result<()> {
        let mut batch = self.socket.batch();
        lay(&mut batch, &self.plan, tenure);
        Ok(first(self.socket.commit(batch)?)?)
    }

    fn lay_anew(&mut self, tenure: Tenure) -> io::Result<()> {
        let kept = census::members(&mut self.socket, &self.plan, Set::MEMBERS)?.members;
        let mut batch = self.socket.batch();
        raze(&mut batch, &self.plan.table);
        lay(&mut batch, &self.plan, tenure);
        first(self.socket.commit(batch)?)?;
        self.can_destroy = self.try_destroy()?;
        self.has_armed = false;
        let changes: Vec<_> = kept
            .into_iter()
            .filter_map(|(target, left, at)| Some((self.plan.place(target), left?.saturating_sub(at.elapsed()))))
            .filter(|(_, left)| !left.is_zero())
            .map(|(place, left)| crate::change::Act::Put(place, left))
            .collect();
        for part in changes.chunks(crate::change::ACTS_MAX) {
            // What is refused now is found when the set is compared.
            self.make(part)?;
        }
        Ok(())
    }

    fn try_destroy(&mut self) -> io::Result<bool> {
        let key = Key::of(std::net::Ipv4Addr::UNSPECIFIED.into());
        let mut batch = self.socket.batch();
        let (table, set) = (&self.plan.table, Set::Hosts4);
        batch.add(nr::DESTROYSETELEM, 0, |b| {
            write_list(b, table, set, |b| write(b, key.bytes(), None, false));
        });
        match first(self.socket.commit(batch)?) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes changes; gives an outcome for each, in order. Networks are made in the order given, behind the hosts.
    ///
    /// Errors: nothing can be changed at all.
    pub(crate) fn make(&mut self, acts: &[crate::change::Act]) -> io::Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Done; acts.len()];
        hashes::make(self, acts, &mut outcomes)?;
        nets::make(self, acts, &mut outcomes)?;
        Ok(outcomes)
    }
}

/// The first refusal, if there is one.
pub(crate) fn first(refused: Vec<(u32, Errno)>) -> Result<(), Errno> {
    refused.first().map_or(Ok(()), |(_, error)| Err(*error))
}
