//! Decoys: where they listen, what they speak, how they look.

use super::*;

#[test]
fn listen_addresses_are_addresses_and_each_is_taken_once() {
    let decoy = |listen: &str| format!("[decoys.d]\nservice = 'ssh'\nlisten = [{listen}]");
    let hint = |listen: &str| problems(&decoy(listen))[0].hint.clone().unwrap_or_default();
    assert_eq!(hint("'2222'"), "for every address: \"0.0.0.0:2222\", \"[::]:2222\"");
    assert_eq!(hint("':2222'"), hint("'2222'"));
    assert_eq!(hint("'2001:db8::1:22'"), "did you mean `[2001:db8::1]:22`?");
    assert_eq!(hint("'0.0.0.0:99999'"), "a port is a number in 0..=65535");
    assert_eq!(hint("'localhost:22'"), "names are not resolved: give an address");
    assert_eq!(hint("'[::1:22'"), "did you mean `[::1]:22`?");
    assert_eq!(hint("'0:0'"), "");
    only(
        "[decoys.d]\nservice = 'ssh'\nlisten = '0.0.0.0:1'",
        "t.toml:3:10: text `0.0.0.0:1` for `listen`; allowed: a list of texts",
    );
    only(&decoy(""), "t.toml:3:10: no address to listen on");
    only(
        &decoy("'0.0.0.0:22', '127.0.0.1:22'"),
        "t.toml:3:25: `127.0.0.1:22` is taken: decoy `d` listens on `0.0.0.0:22`",
    );
    good(&decoy("'0.0.0.0:22', '[::]:22', '127.0.0.1:0', '127.0.0.1:0'"));
    let udp = "\n[decoys.u]\nservice = 'snmp'\nlisten = ['0.0.0.0:22']";
    good(&(decoy("'0.0.0.0:22'") + udp));
    only(
        &(decoy("'0.0.0.0:22'") + "\n[decoys.e]\nservice = 'telnet'\nlisten = ['0.0.0.0:22']"),
        "t.toml:6:11: `0.0.0.0:22` is taken: decoy `d`",
    );
}

#[test]
fn a_transport_is_one_that_the_protocol_runs_over_and_each_takes_its_own_addresses() {
    let decoy =
        |service: &str, more: &str| format!("[decoys.d]\nservice = '{service}'\nlisten = ['0.0.0.0:53']\n{more}\n");
    let chosen = |more: &str| good(&decoy("dns", more)).decoys.remove(0).transports;
    assert_eq!(chosen(""), [Transport::Tcp, Transport::Udp]);
    assert_eq!(chosen("transport = 'udp'"), [Transport::Udp]);
    good(&decoy("ssh", "transport = 'tcp'"));
    only(
        &decoy("ssh", "transport = 'udp'"),
        "t.toml:4:13: service `ssh` does not run over `udp`; allowed: tcp",
    );
    only(
        &decoy("dns", "transport = 'upd'"),
        "t.toml:4:13: unknown transport `upd`; allowed: tcp, udp",
    );
    only(
        &decoy("dns", "tls = true"),
        "t.toml:4:7: service `dns` runs over UDP as well",
    );
    good(&decoy("dns", "tls = true\ntransport = 'tcp'"));
    let other = "[decoys.e]\nservice = 'snmp'\nlisten = ['127.0.0.1:53']";
    only(
        &(decoy("dns", "") + other),
        "t.toml:7:11: `127.0.0.1:53` is taken: decoy `d`",
    );
    good(&(decoy("dns", "transport = 'tcp'") + other));
}

#[test]
fn a_personality_must_be_one_of_its_service() {
    only(
        "[decoys.d]\nservice = 'ssh'\npersonality = 'busybox'\nlisten = ['0.0.0.0:1']",
        "t.toml:3:15: personality `busybox` is one of `telnet`; allowed: a personality of `ssh`",
    );
}

#[test]
fn an_upgrade_to_tls_is_for_personalities_that_have_one() {
    let config = |personality: &str, service: &str| {
        format!(
            "[decoys.a]\nservice = \"{service}\"\npersonality = \"{personality}\"\nlisten = [\"127.0.0.1:1\"]\n\
             tls = {{ cert = \"c.pem\", key = \"k.pem\", upgrade = true }}\n"
        )
    };
    good(&config("busybox", "telnet"));
    let problems = problems(&config("openssh", "ssh"));
    let told: Vec<_> = problems
        .iter()
        .map(|problem| (problem.place.label(), problem.found.as_str()))
        .collect();
    assert_eq!(
        told,
        [("t.toml:5:50".into(), "the personality has no STARTTLS or the like")]
    );
}
