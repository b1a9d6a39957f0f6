//! What is learned of rtnetlink's answers.

use proptest::prelude::*;

use super::*;

const SEQUENCE: u32 = 7;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [((value.len() + 4) as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

fn route(prefix: u8, table: u8, protocol: u8, kind: u8, flags: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![AF_INET, prefix, 0, 0, table, protocol, 0, kind];
    body.extend(flags.to_ne_bytes());
    body.extend(attributes.concat());
    message(RTM_NEWROUTE, 2, &body)
}

fn address(flags: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![AF_INET, 24, flags, 0];
    body.extend(3u32.to_ne_bytes());
    body.extend(attributes.concat());
    message(RTM_NEWADDR, 2, &body)
}

fn learned(bytes: &[u8]) -> Learned {
    let mut learned = Learned::default();
    assert_eq!(learned.take(bytes, SEQUENCE), Answer::Open);
    learned
}

fn gateways(learned: &Learned) -> Vec<String> {
    learned.gateways().map(|(address, _)| address.to_string()).collect()
}

const GATEWAY: [u8; 4] = [192, 0, 2, 254];

#[test]
fn an_address_is_own_with_the_ends_of_its_network_unless_another_host_has_it() {
    let of = [
        attribute(IFA_ADDRESS, &[192, 0, 2, 1]),
        attribute(IFA_LOCAL, &[192, 0, 2, 1]),
    ];
    let found = learned(&address(0, &of));
    assert_eq!(
        found.own.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.1/32"]
    );
    let ends: Vec<_> = found.broadcasts.iter().map(ToString::to_string).collect();
    assert_eq!(ends, ["192.0.2.0", "192.0.2.255"]);
    assert_eq!(learned(&address(OF_ANOTHER, &of)), Learned::default());
}

#[test]
fn what_a_redirect_taught_is_no_gateway() {
    let to = attribute(RTA_GATEWAY, &GATEWAY);
    assert_eq!(
        gateways(&learned(&route(0, 254, 4, RTN_UNICAST, 0, &[to.clone()]))),
        ["192.0.2.254"]
    );
    for taught in [
        route(32, 254, 4, RTN_UNICAST, CLONED, &[to.clone()]),
        route(32, 254, REDIRECT, RTN_UNICAST, 0, &[to.clone()]),
    ] {
        assert_eq!(learned(&taught), Learned::default());
    }
}

#[test]
fn a_route_that_makes_everything_local_makes_nothing_spared() {
    let link = attribute(RTA_OIF, &1u32.to_ne_bytes());
    let proxy = learned(&route(0, 100, 3, RTN_LOCAL, 0, &[link.clone()]));
    assert_eq!((proxy.own.len(), proxy.too_wide.len()), (0, 0));
    let all = learned(&route(0, 255, 3, RTN_LOCAL, 0, &[link.clone()]));
    assert_eq!((all.own.len(), all.too_wide.len()), (0, 1));
    let net = attribute(RTA_DST, &[198, 51, 100, 0]);
    let any = learned(&route(24, 255, 3, RTN_LOCAL, 0, &[net, link]));
    assert_eq!(
        any.own.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["198.51.100.0/24"]
    );
}

#[test]
fn the_other_end_of_a_link_is_a_gateway_only_if_everything_goes_out_there() {
    let of = [
        attribute(IFA_ADDRESS, &[10, 9, 9, 2]),
        attribute(IFA_LOCAL, &[10, 9, 9, 1]),
    ];
    let peer = address(0, &of);
    assert_eq!(gateways(&learned(&peer)), [""; 0]);
    let link = attribute(RTA_OIF, &3u32.to_ne_bytes());
    let out = route(0, 254, 4, RTN_UNICAST, 0, &[link]);
    assert_eq!(gateways(&learned(&[peer, out].concat())), ["10.9.9.2"]);
}

#[test]
fn an_answer_ends_in_whole_in_part_or_with_the_kernels_error() {
    let mut learned = Learned::default();
    let zero = 0i32.to_ne_bytes();
    assert_eq!(learned.take(&message(NLMSG_DONE, 2, &zero), SEQUENCE), Answer::Done);
    assert!(!learned.is_torn);
    assert_eq!(
        learned.take(&message(NLMSG_DONE, 2 | INTERRUPTED, &zero), SEQUENCE),
        Answer::Done
    );
    assert!(learned.is_torn);
    let refused = (-95i32).to_ne_bytes();
    assert_eq!(
        learned.take(&message(NLMSG_ERROR, 0, &refused), SEQUENCE),
        Answer::Failed(95)
    );
    assert_eq!(
        learned.take(&message(NLMSG_DONE, 2, &zero), 8),
        Answer::Open,
        "of another request"
    );
}

#[test]
fn tables_are_bounded_and_say_so() {
    let mut learned = Learned::default();
    for number in 0..=ENTRIES_MAX as u32 {
        let to = attribute(RTA_GATEWAY, &(0x0a00_0000 + number).to_be_bytes());
        learned.take(&route(0, 254, 4, RTN_UNICAST, 0, &[to]), SEQUENCE);
    }
    assert!(learned.gateways.len() == ENTRIES_MAX && learned.is_cut);
}

proptest! {
    #[test]
    fn any_bytes_are_learned_from_or_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..80usize, byte in any::<u8>()) {
        Learned::default().take(&bytes, SEQUENCE);
        for kind in [RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEXTHOP, NLMSG_ERROR, NLMSG_DONE] {
            Learned::default().take(&message(kind, 2, &bytes), SEQUENCE);
        }
        let hop = [&[16, 0, 0, 0, 3, 0, 0, 0], &attribute(RTA_GATEWAY, &GATEWAY)[..]].concat();
        let mut changed = route(0, 254, 4, RTN_UNICAST, 0, &[attribute(RTA_MULTIPATH, &hop)]);
        if let Some(place) = changed.get_mut(at) {
            *place = byte;
        }
        let mut learned = Learned::default();
        learned.take(&changed, SEQUENCE);
        prop_assert!(learned.gateways.len() <= 2);
    }
}
