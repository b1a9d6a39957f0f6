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
//! name could have that other shut out. What pends does so for moments ([`PENDING`](crate::doors)); the kernel's own TCP, which takes one
//! number alone, does not say a word of data before it has come. Tracking that takes any number
//! (`nf_conntrack_tcp_be_liberal`) is refused.
//!
//! The doors are elements with a short end, put again while this process lives ([`beat`]): if it dies, a real service
//! that later listens on the same port shuts nobody out.

use std::io;
use std::time::{Duration, Instant};

use trapline_sink::set::{Arming, Spared};
use trapline_sink::{Fault, FaultKind};

use crate::change::{ACTS_MAX, Act};
use crate::doors::{keys, lay_allow, lay_doors, lay_members, lay_rules, put_door};
use crate::element::{Key, Place};
use crate::kernel::{Kernel, first};
use crate::lay::lay_chain;
use crate::look;
use crate::plan::{CHAIN_ARM, CHAIN_ARMED, CHAIN_PROOF, PRIORITY_ARMED, Set};
use crate::wire::numbers as nr;

/// Most doors: "all ports" is none of them.
pub(crate) const DOORS_MAX: usize = 1024;
/// How often doors are put again.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
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
        lay_members(&mut batch, &table, arming, kept.is_some());
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

#[cfg(test)]
mod tests {
    use trapline_sink::set::Door;

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
}
