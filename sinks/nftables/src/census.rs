//! Who is in the sets, as surely as the kernel lets it be read.

use std::collections::HashMap;
use std::io;

use crate::look::{self, Members};
use crate::plan::{Plan, Set};
use crate::socket::Socket;

/// How often a set that changes while it is read is read again.
const READS_MAX: usize = 4;

/// Reads the members of sets. One that changed while it was read is read again; if that goes on, all that was seen counts:
/// whoever is missing is put again, which changes nothing, and whoever has gone is taken once more.
///
/// A hash that the kernel is still spreading over more room is read otherwise than it says: some come twice and others
/// not at all. So one that had doubles, or fewer than the kernel counts, is read again too.
pub(crate) fn members(socket: &mut Socket, plan: &Plan, sets: impl IntoIterator<Item = Set>) -> io::Result<Members> {
    let mut all = Members::default();
    for set in sets {
        let mut seen: HashMap<_, _> = HashMap::new();
        let mut odd = Vec::new();
        for _ in 0..READS_MAX {
            let read = look::members(socket, &plan.table, set)?;
            let counted = look::count(socket, &plan.table, set)?.unwrap_or(0);
            let (mut own, all) = (HashMap::with_capacity(read.members.len()), read.members.len());
            own.extend(read.members.into_iter().map(|(target, left, at)| (target, (left, at))));
            odd = read.odd;
            // Of intervals the kernel counts begins and ends.
            let is_short = own.len() < all || (!set.is_interval() && own.len() + odd.len() < counted);
            if read.is_whole && !is_short {
                seen = own;
                break;
            }
            seen.extend(own);
        }
        all.members
            .extend(seen.into_iter().map(|(target, (left, at))| (target, left, at)));
        all.odd.extend(odd);
    }
    Ok(all)
}
