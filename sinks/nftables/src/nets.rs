//! Changes to networks: intervals, of which the kernel lets no two overlap.
//!
//! What stands is read before it is changed, for an interval is two elements that have to go together. A network that a
//! wider one covers is not put: the wider one does the work, and once it has ended the narrower one is asked for again. A
//! wider one takes the place of those in it.

use std::io;
use std::time::Duration;

use ipnet::IpNet;
use rustix::io::Errno;

use crate::change::Act;
use crate::element::{Place, write, write_list, write_net};
use crate::intervals::Interval;
use crate::kernel::{Kernel, Outcome, first};
use crate::look::{self, Odd};
use crate::plan::Set;
use crate::socket::Batch;
use crate::wire::numbers as nr;

/// Makes those changes that are about networks.
pub(crate) fn make(kernel: &mut Kernel, acts: &[Act], outcomes: &mut [Outcome]) -> io::Result<()> {
    for set in [Set::Nets4, Set::Nets6] {
        let of_set: Vec<_> = acts
            .iter()
            .enumerate()
            .filter_map(|(at, act)| match act.place() {
                Place::Interval(found, net) if found == set => Some((at, net, act.left())),
                _ => None,
            })
            .collect();
        if !of_set.is_empty() {
            of_one_set(kernel, set, &of_set, outcomes)?;
        }
    }
    Ok(())
}

/// A change: its place among all, the network, and how long it is to stand.
type One = (usize, IpNet, Option<Duration>);

fn of_one_set(kernel: &mut Kernel, set: Set, ones: &[One], outcomes: &mut [Outcome]) -> io::Result<()> {
    if first(commit(kernel, set, ones, outcomes)?).is_err() {
        for one in ones {
            let refused = first(commit(kernel, set, std::slice::from_ref(one), outcomes)?);
            if let (Err(error), Some(outcome)) = (refused, outcomes.get_mut(one.0)) {
                *outcome = Outcome::Failed(error);
            }
        }
    }
    read_back(kernel, set, ones, outcomes)
}

fn commit(kernel: &mut Kernel, set: Set, ones: &[One], outcomes: &mut [Outcome]) -> io::Result<Vec<(u32, Errno)>> {
    let (nets, odd) = look::nets(&mut kernel.socket, &kernel.plan.table, set)?;
    let mut standing = Standing { nets, odd };
    let mut batch = kernel.socket.batch();
    for (at, net, left) in ones {
        let outcome = standing.change(&mut batch, &kernel.plan.table, set, *net, *left);
        if let Some(place) = outcomes.get_mut(*at) {
            *place = outcome;
        }
    }
    kernel.socket.commit(batch)
}

/// What stands in a set, as far as the transaction goes.
struct Standing {
    nets: Vec<IpNet>,
    odd: Vec<Interval>,
}

impl Standing {
    fn change(&mut self, batch: &mut Batch, table: &str, set: Set, net: IpNet, left: Option<Duration>) -> Outcome {
        let Some(left) = left else {
            self.remove(batch, table, set, |standing| *standing == net);
            return Outcome::Done;
        };
        let wider = self
            .nets
            .iter()
            .find(|standing| **standing != net && standing.contains(&net));
        if let Some(wider) = wider {
            return Outcome::Covered(wider.to_string());
        }
        self.remove(batch, table, set, |standing| net.contains(standing));
        self.remove_odd(batch, table, set, net);
        batch.add(nr::NEWSETELEM, nr::F_CREATE, |b| {
            write_list(b, table, set, |b| write_net(b, net, Some(left)));
        });
        self.nets.push(net);
        Outcome::Done
    }

    fn remove(&mut self, batch: &mut Batch, table: &str, set: Set, goes: impl Fn(&IpNet) -> bool) {
        self.nets.retain(|standing| {
            let goes = goes(standing);
            if goes {
                batch.add(nr::DELSETELEM, 0, |b| {
                    write_list(b, table, set, |b| write_net(b, *standing, None));
                });
            }
            !goes
        });
    }

    fn remove_odd(&mut self, batch: &mut Batch, table: &str, set: Set, net: IpNet) {
        self.odd.retain(|interval| {
            let goes = interval.meets(net);
            if goes {
                batch.add(nr::DELSETELEM, 0, |b| {
                    write_list(b, table, set, |b| {
                        interval
                            .keys()
                            .for_each(|(key, is_end)| write(b, key.bytes(), None, is_end));
                    });
                });
            }
            !goes
        });
    }
}

/// Looks whether what was taken is gone.
fn read_back(kernel: &mut Kernel, set: Set, ones: &[One], outcomes: &mut [Outcome]) -> io::Result<()> {
    if ones.iter().all(|(_, _, left)| left.is_some()) {
        return Ok(());
    }
    let (nets, _) = look::nets(&mut kernel.socket, &kernel.plan.table, set)?;
    for (at, net, left) in ones {
        if let (None, true, Some(outcome)) = (left, nets.contains(net), outcomes.get_mut(*at)) {
            *outcome = Outcome::Failed(Errno::EXIST);
        }
    }
    Ok(())
}

/// Removes elements that stand for no target.
pub(crate) fn purge(kernel: &mut Kernel, odd: &[Odd]) -> io::Result<()> {
    for of_set in odd.chunk_by(|one, next| one.0 == next.0) {
        // An interval's begin and end go together, and none is at fault for another.
        for pair in of_set.chunks(2) {
            let Some((set, ..)) = pair.first() else { continue };
            let mut batch = kernel.socket.batch();
            batch.add(nr::DELSETELEM, 0, |b| {
                write_list(b, &kernel.plan.table, *set, |b| {
                    pair.iter()
                        .for_each(|(_, key, is_end)| write(b, key.bytes(), None, *is_end));
                });
            });
            match first(kernel.socket.commit(batch)?) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
