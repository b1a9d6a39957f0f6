//! Sets and rules by which the kernel acts by itself: who passes, which doors there are, how somebody becomes a member.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use trapline_sink::set::{Arming, Door, Spared};

use crate::arm::DOORS_MAX;
use crate::element::{write, write_list, write_net};
use crate::lay::{add_rule, lay_set};
use crate::plan::{CHAIN_ARM, CHAIN_ARMED, CHAIN_PROOF, Set, comment};
use crate::rules::End;
use crate::socket::Batch;
use crate::wire::numbers as nr;

/// How long a door stays armed without a beat.
const BEAT_ENDS: Duration = Duration::from_secs(30);
/// How long it is dropped what somebody sends who has not been answered yet.
const PENDING: Duration = Duration::from_secs(3);
/// Most elements in a message.
const ELEMENTS_MAX: usize = 500;

/// Who passes: all that is spared, and whom the arming names.
pub(crate) fn lay_allow(batch: &mut Batch, table: &str, arming: Option<&Arming>, spared: &Spared) {
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

/// The sets of members, made anew if their size is another.
pub(crate) fn lay_members(batch: &mut Batch, table: &str, arming: &Arming, is_anew: bool) {
    for set in Set::BY_ITSELF {
        if is_anew {
            batch.add(nr::DELSET, 0, |b| {
                b.text(nr::SET_TABLE, table);
                b.text(nr::SET_NAME, set.name());
            });
        }
        lay_set(batch, table, set, u32::try_from(arming.members).unwrap_or(u32::MAX));
    }
}

/// The sets of doors.
const DOORS: [Set; 4] = [Set::Doors4, Set::Doors6, Set::Ports4, Set::Ports6];

/// The sets that a door is in, and its keys there.
pub(crate) fn keys(door: &Door) -> impl Iterator<Item = (Set, Vec<u8>)> + use<> {
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

/// The doors, in place of those that there were.
pub(crate) fn lay_doors(batch: &mut Batch, table: &str, arming: Option<&Arming>) {
    let size = u32::try_from(DOORS_MAX).unwrap_or(u32::MAX);
    for set in DOORS {
        lay_set(batch, table, set, size);
        empty(batch, table, set);
    }
    for (set, key) in arming.into_iter().flat_map(|arming| &arming.doors).flat_map(keys) {
        put_door(batch, table, set, &key, nr::NEWSETELEM);
    }
}

/// Puts a door, or takes it.
pub(crate) fn put_door(batch: &mut Batch, table: &str, set: Set, key: &[u8], kind: u16) {
    let is_put = kind == nr::NEWSETELEM;
    let flags = if is_put { nr::F_CREATE } else { 0 };
    batch.add(kind, flags, |b| {
        write_list(b, table, set, |b| write(b, key, is_put.then_some(BEAT_ENDS), false));
    });
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

/// The rules; without an arming those alone by which members are dropped.
pub(crate) fn lay_rules(batch: &mut Batch, table: &str, arming: Option<&Arming>) {
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
