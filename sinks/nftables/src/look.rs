//! How the table is found: whether it is as it was laid down, and who is in its sets.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::io::Errno;
use trapline_sink::set::Target;

use crate::element::{Found, Key, found};
use crate::intervals::{Interval, intervals};
use crate::plan::{CHAIN_SHUT, PRIORITY_SHUT, Plan, Set};
use crate::socket::Socket;
use crate::wire::{Attributes, Builder, numbers as nr};

/// What is found of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// There is no such table.
    Absent,
    /// All is as it was laid down.
    Whole,
    /// Something is missing, which laying it down again brings back.
    Lacking,
    /// A set is not as it must be, so that the table has to be made anew.
    Wrong,
}

/// What the kernel says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) flags: u32,
    /// The socket that it belongs to.
    pub(crate) owner: Option<u32>,
}

/// The table's flags and owner, if there is such a table.
pub(crate) fn deed(socket: &mut Socket, table: &str) -> io::Result<Option<Deed>> {
    let mut deed = None;
    socket.dump(
        nr::GETTABLE,
        |_| {},
        |attributes| {
            if attributes.text(nr::TABLE_NAME) == Some(table) {
                deed = Some(Deed {
                    flags: attributes.u32(nr::TABLE_FLAGS).unwrap_or(0),
                    owner: attributes.u32(nr::TABLE_OWNER),
                });
            }
        },
    )?;
    Ok(deed)
}

/// How the table is found.
pub(crate) fn shape(socket: &mut Socket, plan: &Plan) -> io::Result<Shape> {
    match deed(socket, &plan.table)? {
        None => return Ok(Shape::Absent),
        Some(deed) if deed.flags & nr::TABLE_F_DORMANT != 0 => return Ok(Shape::Wrong),
        Some(_) => {}
    }
    let sets = sets(socket, plan)?;
    if sets == Shape::Wrong {
        return Ok(sets);
    }
    match chain_is_whole(socket, plan)? && rules(socket, plan)? == plan.comments() {
        true => Ok(sets),
        false => Ok(Shape::Lacking),
    }
}

/// Flags, bytes of a key, and room of a set.
type SetShape = (u32, u32, u32);

fn sets(socket: &mut Socket, plan: &Plan) -> io::Result<Shape> {
    let mut seen: BTreeMap<String, SetShape> = BTreeMap::new();
    let about = |b: &mut Builder| b.text(nr::SET_TABLE, &plan.table);
    socket.dump(nr::GETSET, about, |it| {
        let (Some(name), Some(table)) = (it.text(nr::SET_NAME), it.text(nr::SET_TABLE)) else {
            return;
        };
        let size = it.nest(nr::SET_DESC).and_then(|desc| desc.u32(nr::DESC_SIZE));
        let number = |kind| it.u32(kind).unwrap_or(0);
        if table == plan.table {
            let shape = (number(nr::SET_FLAGS), number(nr::SET_KEY_LEN), size.unwrap_or(0));
            seen.insert(name.to_owned(), shape);
        }
    })?;
    let mut shape = Shape::Whole;
    for set in plan.sets() {
        match seen.remove(set.name()) {
            None => shape = Shape::Lacking,
            Some(found) if found != (set.flags(), set.key().1, plan.size(set)) => return Ok(Shape::Wrong),
            Some(_) => {}
        }
    }
    for set in Set::ARMED.iter().chain(&Set::ARMS) {
        seen.remove(set.name());
    }
    match seen.is_empty() {
        true => Ok(shape),
        false => Ok(Shape::Wrong),
    }
}

fn chain_is_whole(socket: &mut Socket, plan: &Plan) -> io::Result<bool> {
    let mut is_whole = false;
    socket.dump(
        nr::GETCHAIN,
        |_| {},
        |it| {
            let is_ours = it.text(nr::CHAIN_TABLE) == Some(&plan.table) && it.text(nr::CHAIN_NAME) == Some(CHAIN_SHUT);
            let hook = it.nest(nr::CHAIN_HOOK);
            let priority = hook.and_then(|hook| hook.u32(nr::HOOK_PRIORITY));
            let number = hook.and_then(|hook| hook.u32(nr::HOOK_NUM));
            let is_hooked = priority == Some(PRIORITY_SHUT.cast_unsigned()) && number == Some(nr::HOOK_PREROUTING);
            let takes_all = it.u32(nr::CHAIN_POLICY) == Some(nr::VERDICT_ACCEPT);
            is_whole |= is_ours && is_hooked && takes_all;
        },
    )?;
    Ok(is_whole)
}

/// What the rules of the chain say of themselves.
fn rules(socket: &mut Socket, plan: &Plan) -> io::Result<Vec<String>> {
    let mut comments = Vec::new();
    socket.dump(
        nr::GETRULE,
        |b| about_rules(b, plan),
        |it| {
            let is_ours = it.text(nr::RULE_TABLE) == Some(&plan.table) && it.text(nr::RULE_CHAIN) == Some(CHAIN_SHUT);
            if is_ours {
                comments.push(it.raw(nr::RULE_USERDATA).map_or_else(String::new, comment_of));
            }
        },
    )?;
    Ok(comments)
}

fn about_rules(b: &mut Builder, plan: &Plan) {
    b.text(nr::RULE_TABLE, &plan.table);
    b.text(nr::RULE_CHAIN, CHAIN_SHUT);
}

fn comment_of(data: &[u8]) -> String {
    let text = match data {
        [nr::UDATA_COMMENT, _, text @ ..] => text,
        _ => &[],
    };
    String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()
}

/// Packets that each rule of the chain has counted: what it says of itself, and how many.
pub(crate) fn counted(socket: &mut Socket, plan: &Plan) -> io::Result<Vec<(String, u64)>> {
    let mut counts = Vec::new();
    socket.dump(
        nr::GETRULE,
        |b| about_rules(b, plan),
        |it| {
            let expressions = it.nest(nr::RULE_EXPRESSIONS).into_iter();
            let mut counters = expressions
                .flat_map(|list| list.nests(nr::LIST_ELEM))
                .filter(|one| one.text(nr::EXPR_NAME) == Some("counter"));
            // NFTA_COUNTER_PACKETS.
            let packets = counters.next().and_then(|one| one.nest(nr::EXPR_DATA)?.u64(2));
            let comment = it.raw(nr::RULE_USERDATA).map_or_else(String::new, comment_of);
            if let (Some(packets), Some(CHAIN_SHUT)) = (packets, it.text(nr::RULE_CHAIN)) {
                counts.push((comment, packets));
            }
        },
    )?;
    Ok(counts)
}

/// An element that stands for no target: its key, and whether it only ends an interval.
pub(crate) type Odd = (Set, Key, bool);

/// Who is in a set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Each target once, with what was left of its time and when that was so.
    pub(crate) members: Vec<(Target, Option<Duration>, Instant)>,
    /// Elements that stand for no target.
    pub(crate) odd: Vec<Odd>,
    /// Whether nothing changed while it was read.
    pub(crate) is_whole: bool,
}

/// Reads the elements of a set as they are; none if there is no such set.
pub(crate) fn elements(socket: &mut Socket, table: &str, set: Set) -> io::Result<(Vec<(Found, Instant)>, bool)> {
    let mut all = Vec::new();
    let about = |b: &mut Builder| {
        b.text(nr::LIST_TABLE, table);
        b.text(nr::LIST_SET, set.name());
    };
    let read = socket.dump(nr::GETSETELEM, about, |attributes| {
        let now = Instant::now();
        all.extend(found(attributes).flatten().map(|found| (found, now)));
    });
    match none_if_gone(read.map(Some))? {
        Some(is_whole) => Ok((all, is_whole)),
        None => Ok((Vec::new(), true)),
    }
}

/// Reads who is in a set; nobody if there is no such set.
pub(crate) fn members(socket: &mut Socket, table: &str, set: Set) -> io::Result<Members> {
    let (all, is_whole) = elements(socket, table, set)?;
    let mut members = Members {
        is_whole,
        ..Members::default()
    };
    match set.is_interval() {
        true => members.take_intervals(set, all),
        false => members.take_hosts(set, all),
    }
    Ok(members)
}

impl Members {
    fn take_hosts(&mut self, set: Set, all: Vec<(Found, Instant)>) {
        for (found, at) in all {
            match crate::element::target(set, &found.key) {
                Some(target) => self.members.push((target, found.left, at)),
                None => self.odd.push((set, found.key, found.is_end)),
            }
        }
    }

    fn take_intervals(&mut self, set: Set, all: Vec<(Found, Instant)>) {
        let at = all.first().map_or_else(Instant::now, |(_, at)| *at);
        let found = all.into_iter().map(|(found, _)| found).collect();
        for interval in intervals(found) {
            match interval.target(set.is_v4()) {
                Some(target) => self.members.push((target, interval.left, at)),
                None => self.odd.extend(interval.keys().map(|(key, is_end)| (set, key, is_end))),
            }
        }
    }
}

/// The networks that stand in an interval set, and what is odd there.
pub(crate) fn nets(socket: &mut Socket, table: &str, set: Set) -> io::Result<(Vec<IpNet>, Vec<Interval>)> {
    let (all, _) = elements(socket, table, set)?;
    let found = all.into_iter().map(|(found, _)| found).collect();
    let (mut nets, mut odd) = (Vec::new(), Vec::new());
    for interval in intervals(found) {
        match interval.target(set.is_v4()) {
            Some(target) => nets.push(target.net()),
            None => odd.push(interval),
        }
    }
    Ok((nets, odd))
}

/// Whether all of some sets are there.
pub(crate) fn has_sets(socket: &mut Socket, table: &str, wanted: &[Set]) -> io::Result<bool> {
    let mut seen = 0;
    socket.dump(
        nr::GETSET,
        |b| b.text(nr::SET_TABLE, table),
        |it| {
            let name = it.text(nr::SET_NAME).filter(|_| it.text(nr::SET_TABLE) == Some(table));
            seen += usize::from(wanted.iter().any(|set| Some(set.name()) == name));
        },
    )?;
    Ok(seen == wanted.len())
}

/// How many elements a set has room for, if there is such a set.
pub(crate) fn size(socket: &mut Socket, table: &str, set: Set) -> io::Result<Option<u32>> {
    of_set(socket, table, set, |it| it.nest(nr::SET_DESC)?.u32(nr::DESC_SIZE))
}

/// How many elements the kernel counts in a set, those included whose time has just come; newer kernels say so.
pub(crate) fn count(socket: &mut Socket, table: &str, set: Set) -> io::Result<Option<usize>> {
    let count = of_set(socket, table, set, |it| it.u32(nr::SET_COUNT))?;
    Ok(count.and_then(|count| usize::try_from(count).ok()))
}

fn of_set(
    socket: &mut Socket,
    table: &str,
    set: Set,
    read: impl Fn(Attributes<'_>) -> Option<u32>,
) -> io::Result<Option<u32>> {
    let mut number = None;
    let read_all = socket.dump(
        nr::GETSET,
        |b| b.text(nr::SET_TABLE, table),
        |it| {
            if it.text(nr::SET_TABLE) == Some(table) && it.text(nr::SET_NAME) == Some(set.name()) {
                number = read(it);
            }
        },
    );
    none_if_gone(read_all.map(|_| number))
}

/// Whether anybody is in a set. It is not read to its end: a socket of its own is thrown away with the rest.
pub(crate) fn has_members(table: &str, set: Set) -> io::Result<bool> {
    let mut socket = Socket::open(0)?;
    let mut has = false;
    let about = |b: &mut Builder| {
        b.text(nr::LIST_TABLE, table);
        b.text(nr::LIST_SET, set.name());
    };
    let read = socket.dump_begin(nr::GETSETELEM, about, |attributes| {
        has |= found(attributes).next().is_some()
    });
    none_if_gone(read.map(|()| has))
}

/// There is nothing where there is no such table or set.
fn none_if_gone<T: Default>(read: io::Result<T>) -> io::Result<T> {
    match read {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(T::default()),
        other => other,
    }
}
