//! Changes to hosts: one element of a hash each.
//!
//! All go in one transaction, many to a message. If the kernel refuses one, the transaction is made again with a message
//! for each, which names all that are at fault; then without those. An element is removed before it is put, for a kernel
//! before 6.12 does not change the end of one that stands. Where the kernel cannot remove what may not be there, it is
//! first put.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::change::Act;
use crate::element::{Key, Place, write, write_list};
use crate::kernel::{Kernel, Outcome};
use crate::plan::Set;
use crate::socket::Batch;
use crate::wire::numbers as nr;

/// Most elements in a message: an IPv6 one takes 40 bytes of the 64 KiB that a list may have.
const ELEMENTS_MAX: usize = 1000;
/// How often a transaction is made again without those at fault.
const ROUNDS_MAX: usize = 6;
/// For how long an element stands that is put only to be removed.
const PASSING: Duration = Duration::from_secs(60);

/// One element to be changed.
#[derive(Debug, Clone, Copy)]
struct One {
    /// Its place among the changes.
    at: usize,
    set: Set,
    key: Key,
    left: Option<Duration>,
}

/// Makes those changes that are about hosts.
pub(crate) fn make(kernel: &mut Kernel, acts: &[Act], outcomes: &mut [Outcome]) -> io::Result<()> {
    let mut ones: Vec<_> = acts
        .iter()
        .enumerate()
        .flat_map(|(at, act)| ones(kernel, at, act))
        .collect();
    ones.sort_by_key(|one| (one.set, one.left.is_some()));
    commit(kernel, ones.clone(), outcomes)?;
    ones.retain(|one| one.left.is_none());
    read_back(kernel, &ones, outcomes)
}

/// The elements of a change: whom the kernel has shut out by itself is taken there as well.
fn ones(kernel: &Kernel, at: usize, act: &Act) -> impl Iterator<Item = One> + use<> {
    let left = act.left();
    let own = match act.place() {
        Place::Hash(set, key) => Some((set, key)),
        Place::Interval(..) => None,
    };
    let armed = own.filter(|_| kernel.has_armed && left.is_none());
    let armed = armed.into_iter().flat_map(|(set, key)| match set {
        Set::Hosts4 => vec![(Set::Armed4, key), (Set::Pending4, key)],
        Set::Hosts6 => vec![(Set::Armed6, key), (Set::Pending6, key)],
        _ => Vec::new(),
    });
    let both = own.into_iter().chain(armed);
    both.map(move |(set, key)| One { at, set, key, left })
}

fn commit(kernel: &mut Kernel, mut ones: Vec<One>, outcomes: &mut [Outcome]) -> io::Result<()> {
    let mut last = Errno::AGAIN;
    for round in 0..ROUNDS_MAX {
        let (batch, numbers) = match round % 2 {
            0 => (packed(kernel, &ones), Vec::new()),
            _ => apart(kernel, &ones),
        };
        let refused = kernel.socket.commit(batch)?;
        let Some((_, error)) = refused.first() else {
            return Ok(());
        };
        last = *error;
        set_aside(&mut ones, &numbers, &refused, outcomes);
        if last == Errno::NOENT {
            // A set is gone, and with it the table, or its sets.
            return Err(last.into());
        }
    }
    ones.iter().for_each(|one| fail(outcomes, one.at, last));
    Ok(())
}

/// Takes out those that were refused by name.
fn set_aside(ones: &mut Vec<One>, numbers: &[u32], refused: &[(u32, Errno)], outcomes: &mut [Outcome]) {
    let mut index = 0;
    ones.retain(|one| {
        let own = numbers.get(index * NUMBERS..(index + 1) * NUMBERS).unwrap_or_default();
        index += 1;
        let error = refused
            .iter()
            .find(|(number, _)| own.contains(number))
            .map(|(_, error)| *error);
        if let Some(error) = error {
            fail(outcomes, one.at, error);
        }
        error.is_none()
    });
}

fn fail(outcomes: &mut [Outcome], at: usize, error: Errno) {
    if let Some(outcome) = outcomes.get_mut(at) {
        *outcome = Outcome::Failed(error);
    }
}

fn packed(kernel: &mut Kernel, ones: &[One]) -> Batch {
    let mut batch = kernel.socket.batch();
    for of_set in ones.chunk_by(|one, next| one.set == next.set) {
        for part in of_set.chunks(ELEMENTS_MAX) {
            add(&mut batch, kernel, part);
        }
    }
    batch
}

/// Messages for an element, at most.
const NUMBERS: usize = 3;

/// A message for each; gives their numbers, `NUMBERS` an element.
fn apart(kernel: &mut Kernel, ones: &[One]) -> (Batch, Vec<u32>) {
    let mut batch = kernel.socket.batch();
    let numbers = ones
        .iter()
        .flat_map(|one| add(&mut batch, kernel, std::slice::from_ref(one)));
    let numbers = numbers.collect();
    (batch, numbers)
}

/// Adds changes to one set; gives the numbers of the messages, 0 for those that are not needed.
fn add(batch: &mut Batch, kernel: &Kernel, ones: &[One]) -> [u32; NUMBERS] {
    let mut list = |kind, flags, passing: Option<Duration>, of: &mut dyn Iterator<Item = &One>| {
        let Some(set) = ones.first().map(|one| one.set) else {
            return 0;
        };
        let mut of = of.peekable();
        if of.peek().is_none() {
            return 0;
        }
        batch.add(kind, flags, |b| {
            write_list(b, &kernel.plan.table, set, |b| {
                of.for_each(|one| {
                    write(
                        b,
                        one.key.bytes(),
                        one.left.filter(|_| kind == nr::NEWSETELEM).or(passing),
                        false,
                    )
                });
            });
        })
    };
    let create = nr::F_CREATE;
    let puts = |one: &&One| one.left.is_some();
    match kernel.can_destroy {
        true => [
            list(nr::DESTROYSETELEM, 0, None, &mut ones.iter()),
            list(nr::NEWSETELEM, create, None, &mut ones.iter().filter(puts)),
            0,
        ],
        false => [
            list(nr::NEWSETELEM, create, Some(PASSING), &mut ones.iter()),
            list(nr::DELSETELEM, 0, None, &mut ones.iter()),
            list(nr::NEWSETELEM, create, None, &mut ones.iter().filter(puts)),
        ],
    }
}

/// Asks whether what was taken is gone.
fn read_back(kernel: &mut Kernel, taken: &[One], outcomes: &mut [Outcome]) -> io::Result<()> {
    let table = kernel.plan.table.clone();
    let codes = kernel.socket.ask_all(nr::GETSETELEM, taken, |b, one| {
        write_list(b, &table, one.set, |b| write(b, one.key.bytes(), None, false));
    })?;
    for (one, code) in taken.iter().zip(codes) {
        if code != Errno::NOENT.raw_os_error() {
            let error = if code == 0 {
                Errno::EXIST
            } else {
                Errno::from_raw_os_error(code)
            };
            fail(outcomes, one.at, error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Settings;
    use crate::net::Net;
    use crate::plan::Plan;
    use crate::socket::Socket;

    fn act(target: &str, minutes: u64) -> Act {
        let place = Plan::new(&Settings::default()).place(target.parse().unwrap());
        match minutes {
            0 => Act::Take(place),
            _ => Act::Put(place, Duration::from_secs(minutes * 60)),
        }
    }

    fn stands(kernel: &mut Kernel) -> BTreeMap<String, u64> {
        let sets = [Set::Hosts4, Set::Hosts6].map(|set| {
            let members = crate::look::members(&mut kernel.socket, "trapline", set).unwrap();
            members.members
        });
        let minutes = |left: Option<Duration>| left.unwrap().as_secs().div_ceil(60);
        sets.into_iter()
            .flatten()
            .map(|(target, left, _)| (target.to_string(), minutes(left)))
            .collect()
    }

    #[test]
    fn members_come_go_and_change_their_ends_on_any_kernel() {
        let Some(_net) = Net::enter() else { return };
        let mut kernel = Kernel::new(Socket::open(0).unwrap(), Plan::new(&Settings::default()), false);
        for can_destroy in [true, false] {
            kernel.ready().unwrap();
            kernel.can_destroy &= can_destroy;
            for (acts, wanted) in [
                (
                    vec![("192.0.2.1", 60), ("fd00::1", 60), ("192.0.2.2", 0)],
                    vec![("192.0.2.1", 60), ("fd00::1", 60)],
                ),
                (
                    vec![("192.0.2.1", 120), ("192.0.2.2", 60)],
                    vec![("192.0.2.1", 120), ("192.0.2.2", 60), ("fd00::1", 60)],
                ),
                (
                    vec![("192.0.2.1", 30), ("fd00::1", 0), ("fd00::2", 0)],
                    vec![("192.0.2.1", 30), ("192.0.2.2", 60)],
                ),
                (vec![("192.0.2.1", 0), ("192.0.2.2", 0)], vec![]),
            ] {
                let acts: Vec<_> = acts.into_iter().map(|(target, minutes)| act(target, minutes)).collect();
                assert_eq!(kernel.make(&acts).unwrap(), vec![Outcome::Done; acts.len()]);
                let wanted = wanted
                    .into_iter()
                    .map(|(target, minutes)| (target.to_owned(), minutes))
                    .collect();
                assert_eq!(stands(&mut kernel), wanted, "{can_destroy}");
            }
        }
    }

    #[test]
    fn those_at_fault_undo_no_other_on_any_kernel() {
        let Some(_net) = Net::enter() else { return };
        let settings = Settings {
            members: 2,
            ..Settings::default()
        };
        let mut kernel = Kernel::new(Socket::open(0).unwrap(), Plan::new(&settings), false);
        for can_destroy in [true, false] {
            kernel.ready().unwrap();
            kernel.can_destroy &= can_destroy;
            let acts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "fd00::1"].map(|target| act(target, 60));
            let full = Outcome::Failed(Errno::NFILE);
            assert_eq!(
                kernel.make(&acts).unwrap(),
                [Outcome::Done, Outcome::Done, full, Outcome::Done]
            );
            assert_eq!(stands(&mut kernel).len(), 3);
        }
    }

    #[test]
    fn a_table_that_is_gone_is_an_error_and_no_outcome() {
        let Some(_net) = Net::enter() else { return };
        let mut kernel = Kernel::new(Socket::open(0).unwrap(), Plan::new(&Settings::default()), false);
        kernel.ready().unwrap();
        crate::net::nft("flush ruleset");
        for act in [act("192.0.2.1", 60), act("192.0.2.1", 0)] {
            let error = kernel.make(&[act]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
        }
    }
}
