//! Passwords and certificates, against the brokers' own listeners for them.

use super::*;
use crate::cluster::USER;

/// The lines of a `sasl` table; the password comes by the environment.
fn sasl(mechanism: &str) -> String {
    format!(
        "sasl = {{ mechanism = \"{mechanism}\", user = \"{}\", password = \"${{TEST_PASSWORD}}\" }}",
        USER.0
    )
}

fn start(address: String, lines: &str, password: &str) -> Trap {
    Trap::start_with(&configuration(&[address], TOPIC, lines), &[("TEST_PASSWORD", password)])
}

#[test]
fn a_password_is_proved_and_a_wrong_one_is_an_alarm_that_does_not_show_it() {
    let Some(cluster) = Cluster::start("password", 1) else {
        return;
    };
    cluster.make_topic(TOPIC, 3, &[]);
    let scram = cfg!(feature = "kafka-tls-system").then_some("scram-sha-512");
    for mechanism in ["plain"].into_iter().chain(scram) {
        let trap = start(cluster.with_password(), &sasl(mechanism), USER.1);
        visit(&trap, 3);
        eventually("the events of this trap are there", || {
            let (wanted, _) = ids(&journal(&trap));
            let records = cluster.records(TOPIC);
            wanted
                .iter()
                .all(|id| records.iter().any(|record| record.id() == id))
                .then_some(())
        });
        drop(trap);
        let trap = start(cluster.with_password(), &sasl(mechanism), "hush-hush");
        visit(&trap, 1);
        let bus = trouble(&trap, "a broker refuses the user or password of `sasl`");
        assert!(bus["retry_in_secs"].as_u64().is_some_and(|secs| secs > 10), "{bus:#}");
        let check = trap.trapline(&["check", "--connect", "--json"]);
        assert!(
            text(&check.stdout).contains("refuses the user or password"),
            "{}",
            text(&check.stdout)
        );
        assert!(!trap.log().contains("hush-hush") && !bus.to_string().contains("hush-hush"));
    }
}

#[test]
#[cfg(feature = "kafka-tls-system")]
fn certificates_are_held_against_each_other_and_a_strange_authority_is_an_alarm() {
    let Some(cluster) = Cluster::start("tls", 1) else {
        return;
    };
    cluster.make_topic(TOPIC, 3, &[]);
    let tls = |authority: &str| {
        let file = |name: &str| cluster.file(name).display().to_string();
        format!(
            "tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\" }}",
            file(authority),
            file("client.crt"),
            file("client.key")
        )
    };
    let trap = start(cluster.with_tls(), &tls("ca.crt"), "");
    visit(&trap, 3);
    all_arrive(&cluster, TOPIC, &trap);
    drop(trap);
    for (address, authority) in [
        (cluster.with_tls(), "other.crt"),
        (cluster.brokers()[0].clone(), "ca.crt"),
    ] {
        let trap = start(address, &tls(authority), "");
        visit(&trap, 1);
        trouble(&trap, "no TLS connection with a broker");
        assert_eq!(bus(&trap)["delivered"], 0);
    }
}
