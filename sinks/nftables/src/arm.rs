//! The kernel acts by itself: whoever finishes a handshake with a door goes into a set whose members are dropped, with no
//! program in the way.
//!
//! At prerouting, behind connection tracking: 1. who is never shut out passes; 2. a packet that belongs to a conversation
//! with a door, from who began it and is no member yet, makes its source pend, within the rate; 3. conversations with
//! doors go on; 4. what members and those who pend send is dropped, whatever it belongs to. At output: 5. when the door
//! answers somebody who pends with data, or ends the conversation, it becomes a member.
//!
//! Why in two steps: connection tracking takes any of 66,000 numbers for the ACK that ends a handshake, and looks at some
//! that it does not take as part of the connection all the same. So somebody who sends a SYN and then ACKs in another's
//! name could have that other shut out. What pends does so for moments ([`PENDING`]); the kernel's own TCP, which takes one
//! number alone, does not say a word of data before it has come. Tracking that takes any number
//! (`nf_conntrack_tcp_be_liberal`) is refused.
//!
//! The doors are elements with a short end, put again while this process lives ([`beat`]): if it dies, a real service
//! that later listens on the same port shuts nobody out.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use trapline_sink::Fault;
use trapline_sink::FaultKind;
use trapline_sink::set::{Arming, Door, Spared};

use crate::change::{ACTS_MAX, Act};
use crate::element::{Key, Place, write, write_list, write_net};
use crate::kernel::{Kernel, first};
use crate::lay::{add_rule, lay_chain, lay_set};
use crate::look;
use crate::plan::{CHAIN_ARM, CHAIN_ARMED, CHAIN_PROOF, PRIORITY_ARMED, Set, comment};
use crate::rules::End;
use crate::socket::Batch;
use crate::wire::numbers as nr;

/// Most doors: "all ports" is none of them.
pub(crate) const DOORS_MAX: usize = 1024;
/// How long a door stays armed without a beat.
const BEAT_ENDS: Duration = Duration::from_secs(30);
/// How long it is dropped what somebody sends who has not been answered yet.
const PENDING: Duration = Duration::from_secs(3);
/// How often doors are put again.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// Most elements in a message.
const ELEMENTS_MAX: usize = 500;
/// Where connection tracking says whether it takes any acknowledgement.
const LIBERAL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";

/// Errors: what is asked for would shut out whom it should not.
pub(crate) fn check(arming: &Arming) -> Result<(), Fault> {
    let config = |message: String| {
        let kind = FaultKind::Config;
        Err(Fault { kind, message })
    };
    if !(1..=DOORS_MAX).contains(&arming.doors.len()) {
        return config(format!(
            "`{}` doors to arm are out of range 1..={DOORS_MAX}: name the decoys, never all ports",
            arming.doors.len()
        ));
    }
    if arming.doors.iter().any(|door| door.port == 0) {
        return config("port `0` of a door is none".to_owned());
    }
    if arming.members == 0 || arming.ttl < Duration::from_secs(1) {
        return config(format!(
            "room for `{}` members for `{} ms` is none: at least 1, for 1 s",
            arming.members,
            arming.ttl.as_millis()
        ));
    }
    let is_liberal = std::fs::read_to_string(LIBERAL).is_ok_and(|text| text.trim() != "0");
    match is_liberal {
        true => config(format!(
            "{LIBERAL} is on, so that an ACK proves no address: turn it off, or do not arm"
        )),
        false => Ok(()),
    }
}

/// Arms the doors, or with `None` disarms them: members go on being dropped until their end.
pub(crate) fn arm(kernel: &mut Kernel, arming: Option<&Arming>, spared: &Spared) -> io::Result<()> {
    if arming.is_none() && !kernel.has_armed {
        return Ok(());
    }
    let kept = kept(kernel, arming)?;
    let table = kernel.plan.table.clone();
    let mut batch = kernel.socket.batch();
    lay_chain(
        &mut batch,
        &table,
        CHAIN_ARMED,
        Some((nr::HOOK_PREROUTING, PRIORITY_ARMED)),
    );
    lay_chain(&mut batch, &table, CHAIN_PROOF, Some((nr::HOOK_OUTPUT, PRIORITY_ARMED)));
    lay_chain(&mut batch, &table, CHAIN_ARM, None);
    lay_allow(&mut batch, &table, arming, spared);
    if let Some(arming) = arming {
        lay_members(&mut batch, &table, arming, kept.as_ref());
    }
    lay_doors(&mut batch, &table, arming);
    lay_rules(&mut batch, &table, arming);
    first(kernel.socket.commit(batch)?)?;
    kernel.has_armed = true;
    restore(kernel, kept.unwrap_or_default())
}

/// A member that stood, and until when.
type Kept = Vec<(Set, Key, Instant)>;

/// The members, if their sets must be made anew.
fn kept(kernel: &mut Kernel, arming: Option<&Arming>) -> io::Result<Option<Kept>> {
    let (true, Some(arming)) = (kernel.has_armed, arming) else {
        return Ok(None);
    };
    let table = kernel.plan.table.clone();
    if look::size(&mut kernel.socket, &table, Set::Armed4)? == Some(size(arming)) {
        return Ok(None);
    }
    let mut kept = Vec::new();
    for set in Set::ARMED {
        let (all, _) = look::elements(&mut kernel.socket, &table, set)?;
        let ends = all
            .into_iter()
            .filter_map(|(found, at)| Some((set, found.key, at + found.left?)));
        kept.extend(ends);
    }
    Ok(Some(kept))
}

fn restore(kernel: &mut Kernel, kept: Kept) -> io::Result<()> {
    let now = Instant::now();
    let puts = kept.into_iter().filter(|(.., end)| *end > now);
    let puts: Vec<_> = puts
        .map(|(set, key, end)| Act::Put(Place::Hash(set, key), end - now))
        .collect();
    for part in puts.chunks(ACTS_MAX) {
        kernel.make(part)?;
    }
    Ok(())
}

fn size(arming: &Arming) -> u32 {
    u32::try_from(arming.members).unwrap_or(u32::MAX)
}

/// Who passes: all that is spared, and whom the arming names.
fn lay_allow(batch: &mut Batch, table: &str, arming: Option<&Arming>, spared: &Spared) {
    let passes = arming.into_iter().flat_map(|arming| arming.passes.iter().copied());
    let all: Vec<_> = spared.rows().iter().map(|(net, _)| *net).chain(passes).collect();
    let v4 = all.iter().filter_map(|net| match net {
        IpNet::V4(v4) => Some(*v4),
        IpNet::V6(_) => None,
    });
    let v6 = all.iter().filter_map(|net| match net {
        IpNet::V6(v6) => Some(*v6),
        IpNet::V4(_) => None,
    });
    let v4 = Ipv4Net::aggregate(&v4.collect()).into_iter().map(IpNet::V4).collect();
    let v6 = Ipv6Net::aggregate(&v6.collect()).into_iter().map(IpNet::V6).collect();
    let both: [(Set, Vec<IpNet>); 2] = [(Set::Allow4, v4), (Set::Allow6, v6)];
    for (set, nets) in both {
        // Kernels differ in whether an end counts; there is room for twice as many as come.
        lay_set(
            batch,
            table,
            set,
            u32::try_from(nets.len() * 4 + 16).unwrap_or(u32::MAX),
        );
        empty(batch, table, set);
        for part in nets.chunks(ELEMENTS_MAX) {
            batch.add(nr::NEWSETELEM, nr::F_CREATE, |b| {
                write_list(b, table, set, |b| part.iter().for_each(|net| write_net(b, *net, None)));
            });
        }
    }
}

/// Takes out all that is in a set.
fn empty(batch: &mut Batch, table: &str, set: Set) {
    batch.add(nr::DELSETELEM, 0, |b| {
        b.text(nr::LIST_TABLE, table);
        b.text(nr::LIST_SET, set.name());
    });
}

fn lay_members(batch: &mut Batch, table: &str, arming: &Arming, kept: Option<&Kept>) {
    for set in Set::BY_ITSELF {
        if kept.is_some() {
            batch.add(nr::DELSET, 0, |b| {
                b.text(nr::SET_TABLE, table);
                b.text(nr::SET_NAME, set.name());
            });
        }
        lay_set(batch, table, set, size(arming));
    }
}

/// The sets of doors, and the keys that doors have in them.
const DOORS: [Set; 4] = [Set::Doors4, Set::Doors6, Set::Ports4, Set::Ports6];

fn keys(door: &Door) -> impl Iterator<Item = (Set, Vec<u8>)> + use<> {
    let port = door.port.to_be_bytes();
    // In a concatenation each part takes whole registers of 4 bytes.
    let padded = [port[0], port[1], 0, 0];
    let (own, also) = match door.address.to_canonical() {
        IpAddr::V4(any) if any.is_unspecified() => ((Set::Ports4, port.to_vec()), None),
        IpAddr::V6(any) if any.is_unspecified() => {
            let v4 = (Set::Ports4, port.to_vec());
            ((Set::Ports6, port.to_vec()), Some(v4))
        }
        IpAddr::V4(v4) => ((Set::Doors4, [&v4.octets()[..], &padded].concat()), None),
        IpAddr::V6(v6) => ((Set::Doors6, [&v6.octets()[..], &padded].concat()), None),
    };
    std::iter::once(own).chain(also)
}

fn lay_doors(batch: &mut Batch, table: &str, arming: Option<&Arming>) {
    let size = u32::try_from(DOORS_MAX).unwrap_or(u32::MAX);
    for set in DOORS {
        lay_set(batch, table, set, size);
        empty(batch, table, set);
    }
    for (set, key) in arming.into_iter().flat_map(|arming| &arming.doors).flat_map(keys) {
        put_door(batch, table, set, &key, nr::NEWSETELEM);
    }
}

fn put_door(batch: &mut Batch, table: &str, set: Set, key: &[u8], kind: u16) {
    let is_put = kind == nr::NEWSETELEM;
    let flags = if is_put { nr::F_CREATE } else { 0 };
    batch.add(kind, flags, |b| {
        write_list(b, table, set, |b| write(b, key, is_put.then_some(BEAT_ENDS), false));
    });
}

/// Puts the doors again, so that they stay armed.
pub(crate) fn beat(kernel: &mut Kernel, arming: &Arming) -> io::Result<()> {
    let mut batch = kernel.socket.batch();
    for (set, key) in arming.doors.iter().flat_map(keys) {
        for kind in [nr::NEWSETELEM, nr::DELSETELEM, nr::NEWSETELEM] {
            put_door(&mut batch, &kernel.plan.table, set, &key, kind);
        }
    }
    Ok(first(kernel.socket.commit(batch)?)?)
}

/// Of each family: who is never shut out, who pends, who is.
const FAMILIES: [(Set, Set, Set); 2] = [
    (Set::Allow4, Set::Pending4, Set::Armed4),
    (Set::Allow6, Set::Pending6, Set::Armed6),
];

const fn family(doors: Set) -> (Set, Set, Set) {
    let [v4, v6] = FAMILIES;
    if doors.is_v4() { v4 } else { v6 }
}

fn lay_rules(batch: &mut Batch, table: &str, arming: Option<&Arming>) {
    for (allow, ..) in FAMILIES {
        add_rule(batch, table, CHAIN_ARMED, "trapline: never shut out", |it| {
            it.is_family_of(allow).source_in(allow).end(nr::VERDICT_ACCEPT);
        });
    }
    if let Some(arming) = arming.filter(|arming| arming.per_minute > 0) {
        lay_taking(batch, table, arming);
        lay_proof(batch, table, arming);
    }
    for doors in DOORS {
        add_rule(
            batch,
            table,
            CHAIN_ARMED,
            "trapline: the conversation with a decoy goes on",
            |it| {
                it.is_family_of(doors)
                    .goes_to(doors)
                    .is_established()
                    .end(nr::VERDICT_ACCEPT);
            },
        );
    }
    let pending = arming.map(|_| [Set::Pending4, Set::Pending6]);
    for set in pending.into_iter().flatten().chain(Set::ARMED) {
        add_rule(batch, table, CHAIN_ARMED, &comment(set), |it| {
            it.is_family_of(set).source_in(set).count().end(nr::VERDICT_DROP);
        });
    }
}

/// How packets make their sources pend.
fn lay_taking(batch: &mut Batch, table: &str, arming: &Arming) {
    for doors in DOORS {
        let (_, pending, armed) = family(doors);
        add_rule(batch, table, CHAIN_ARMED, "trapline: a handshake with a decoy", |it| {
            it.is_family_of(doors).goes_to(doors).is_established().goes_on();
            it.source_not_in(armed).source_not_in(pending).jump(CHAIN_ARM);
        });
    }
    let (rate, seconds, burst) = pace(arming.per_minute);
    add_rule(batch, table, CHAIN_ARM, "trapline: no more in a minute", |it| {
        it.is_over(rate, seconds, burst).end(nr::VERDICT_RETURN);
    });
    for (_, pending, _) in FAMILIES {
        add_rule(batch, table, CHAIN_ARM, "trapline: somebody pends", |it| {
            let pending_ms = u64::try_from(PENDING.as_millis()).unwrap_or(u64::MAX);
            it.is_family_of(pending)
                .add(End::Source, pending, pending_ms)
                .end(nr::VERDICT_ACCEPT);
        });
    }
}

/// How answers make those who pend members.
fn lay_proof(batch: &mut Batch, table: &str, arming: &Arming) {
    let ttl_ms = u64::try_from(arming.ttl.as_millis()).unwrap_or(u64::MAX);
    for doors in DOORS {
        let (allow, pending, armed) = family(doors);
        add_rule(batch, table, CHAIN_PROOF, "trapline: a new member", |it| {
            it.is_family_of(doors)
                .comes_from(doors)
                .proves()
                .destination_in(pending, true)
                .destination_in(allow, false);
            it.add(End::Destination, armed, ttl_ms).count().end(nr::VERDICT_ACCEPT);
        });
    }
}

/// Rate, the seconds it is for, and burst: together they are never more than `per_minute` in any minute.
fn pace(per_minute: u32) -> (u64, u64, u32) {
    let burst = per_minute.div_ceil(2).max(1);
    match per_minute - burst.min(per_minute) {
        0 => (1, 120, burst),
        rate => (rate.into(), 60, burst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arming(doors: usize) -> Arming {
        let door = |at: usize| Door {
            address: "192.0.2.1".parse().unwrap(),
            port: u16::try_from(at + 1).unwrap(),
        };
        Arming {
            doors: (0..doors).map(door).collect(),
            ttl: Duration::from_secs(60),
            passes: Vec::new(),
            members: 10,
            per_minute: 10,
        }
    }

    #[test]
    fn never_all_ports_and_never_for_ever() {
        assert!(check(&arming(0)).unwrap_err().message.contains("1..=1024"));
        assert!(check(&arming(1025)).unwrap_err().message.contains("never all ports"));
        let without_port = Arming {
            doors: vec![Door {
                address: "::".parse().unwrap(),
                port: 0,
            }],
            ..arming(1)
        };
        assert!(check(&without_port).unwrap_err().message.contains("port `0`"));
        for empty in [
            Arming {
                members: 0,
                ..arming(1)
            },
            Arming {
                ttl: Duration::ZERO,
                ..arming(1)
            },
        ] {
            assert_eq!(check(&empty).unwrap_err().kind, FaultKind::Config);
        }
    }

    #[test]
    fn burst_and_rate_together_are_what_a_minute_may_have() {
        for (per_minute, wanted) in [(1, (1, 120, 1)), (2, (1, 60, 1)), (3, (1, 60, 2)), (60, (30, 60, 30))] {
            assert_eq!(pace(per_minute), wanted);
        }
    }

    #[test]
    fn a_door_on_all_addresses_is_one_of_each_family_that_it_hears() {
        let sets = |address: &str| -> Vec<(Set, usize)> {
            let door = Door {
                address: address.parse().unwrap(),
                port: 22,
            };
            keys(&door).map(|(set, key)| (set, key.len())).collect()
        };
        assert_eq!(sets("0.0.0.0"), [(Set::Ports4, 2)]);
        assert_eq!(sets("::"), [(Set::Ports6, 2), (Set::Ports4, 2)]);
        assert_eq!(sets("192.0.2.1"), [(Set::Doors4, 8)]);
        assert_eq!(sets("::ffff:192.0.2.1"), [(Set::Doors4, 8)]);
        assert_eq!(sets("2001:db8::1"), [(Set::Doors6, 20)]);
    }
}
