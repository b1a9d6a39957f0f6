//! A real BIND that polices its answers, asked with `dig` before, during and after.

#![expect(clippy::panic, reason = "tests fail so")]

mod lab;

use lab::{
    DIG, NAMED, NAMED_RUN, NSUPDATE, bind, digs, member, nsupdate, reconcile, sink, sink_of, wanted, within, zone,
};
use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, Standing, Wanted};

const BIND: &[&str] = &[NAMED, DIG, NSUPDATE];
const NAMES_OF_SIX: [(&str, &str); 6] = [
    ("six.test", "2001:db8:5:1::9"),
    ("tie.test", "2001:db8:0:0:1:0:0:5"),
    ("full.test", "2001:db8:1:2:3:4:5:6"),
    ("one.test", "2001:6:5:0:3:2:1:5"),
    ("zeros.test", "2001:db8:77:0:1::5"),
    ("net.test", "2001:db8:9:9::/64"),
];

#[test]
fn what_is_decided_is_in_force_at_bind_and_undone_when_it_is_over() {
    within(
        "what_is_decided_is_in_force_at_bind_and_undone_when_it_is_over",
        BIND,
        async || {
            let bind = bind(NAMED_RUN, "");
            let empty = zone();
            let sink = sink("");
            digs("10.0.0.7", "other.test", "A", "NOERROR 198.51.100.1");
            digs("10.0.0.8", "www.test", "A", "NOERROR 203.0.113.77");
            let mut targets = vec!["10.0.0.7", "2001:db8:1::7", "203.0.113.77", "192.0.2.0/24"];
            targets.extend(NAMES_OF_SIX.map(|(_, target)| target));
            assert_eq!(reconcile(&sink, &wanted(&targets)).await, targets.len());
            // An inside host asks in vain, whatever it asks for; others are answered.
            digs("10.0.0.7", "other.test", "A", "NXDOMAIN");
            digs("10.0.0.8", "other.test", "A", "NOERROR 198.51.100.1");
            // What leads to an outside one does not resolve for anybody.
            digs("10.0.0.8", "www.test", "A", "NXDOMAIN");
            digs("10.0.0.8", "net4.test", "A", "NXDOMAIN");
            for (name, _) in NAMES_OF_SIX {
                digs("10.0.0.8", name, "AAAA", "NXDOMAIN");
            }
            let v6 = lab::dig("2001:db8:1::53", "2001:db8:1::7", "other.test", "A", &[]);
            assert_eq!(v6, "NXDOMAIN");
            assert_eq!(reconcile(&sink, &wanted(&targets)).await, 0, "nothing to do");
            assert_eq!(reconcile(&sink, &Wanted::new()).await, targets.len());
            digs("10.0.0.7", "other.test", "A", "NOERROR 198.51.100.1");
            digs("10.0.0.8", "www.test", "A", "NOERROR 203.0.113.77");
            digs("10.0.0.8", "six.test", "AAAA", "NOERROR 2001:db8:5:1::9");
            assert_eq!(zone(), empty);
            let complaints = |line: &&str| {
                line.contains("rpz")
                    && ["canonical", "invalid", "error", "too small"]
                        .iter()
                        .any(|word| line.contains(word))
            };
            let log = bind.log();
            assert_eq!(log.lines().filter(complaints).collect::<Vec<_>>(), [""; 0]);
        },
    );
}

#[test]
fn each_policy_does_what_it_says() {
    within("each_policy_does_what_it_says", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        let both = wanted(&["10.0.0.7", "203.0.113.77"]);
        for (policy, answer) in [
            ("policy = \"nodata\"", "NOERROR"),
            ("policy = \"drop\"", "SILENCE"),
            ("policy = \"passthru\"", "NOERROR 198.51.100.1"),
            ("policy = \"tcp-only\"", "NOERROR tc"),
            ("policy = \"garden\"\ngarden = \"q.test\"", "NOERROR q.test. 192.0.2.80"),
            ("policy = \"nxdomain\"", "NXDOMAIN"),
        ] {
            // Of a policy that was configured before, all is put anew.
            assert_eq!(reconcile(&sink(policy), &both).await, 2, "{policy}");
            digs("10.0.0.7", "other.test", "A", answer);
            digs("10.0.0.8", "other.test", "A", "NOERROR 198.51.100.1");
        }
        assert_eq!(reconcile(&sink(""), &Wanted::new()).await, 2);
        digs("10.0.0.7", "other.test", "A", "NOERROR 198.51.100.1");
    });
}

#[test]
fn what_others_wrote_is_neither_listed_nor_changed() {
    within("what_others_wrote_is_neither_listed_nor_changed", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        nsupdate(
            "add 32.9.0.0.10.rpz-client-ip.rpz.test 30 CNAME rpz-drop.
             add 24.0.1.0.10.rpz-client-ip.rpz.test 30 CNAME rpz-passthru.
             add evil.example.rpz.test 30 CNAME .
             add *.evil.example.rpz.test 30 CNAME .
             add 32.77.113.0.203.rpz-nsip.rpz.test 30 CNAME .
             add 32.78.113.0.203.rpz-ip.rpz.test 30 A 192.0.2.80
             add 0032.1.1.1.1.rpz-ip.rpz.test 30 CNAME .",
        );
        let theirs = zone();
        let sink = sink("");
        assert_eq!(sink.stands().await.unwrap(), []);
        let puts = ["10.0.0.9", "10.0.1.7", "203.0.113.78", "10.0.0.53", "203.0.113.77"]
            .map(|target| Change::Put(member(target)));
        let applied = sink.apply(&puts).await;
        for (outcome, word) in applied.outcomes.iter().zip([
            "by somebody else",
            "is let pass",
            "by somebody else",
            "dns server itself",
        ]) {
            assert!(
                matches!(outcome, Put::Refused(why) if why.contains(word)),
                "{applied:?}"
            );
        }
        assert_eq!(applied.outcomes[4], Put::DONE);
        let ours: Vec<_> = zone().into_iter().filter(|line| !theirs.contains(line)).collect();
        assert_eq!(ours.len(), 2, "{ours:?}");
        // A mark that went astray, as one of ours, takes nothing of theirs with it.
        nsupdate("add 32.9.0.0.10.rpz-client-ip.fra-1._trapline.rpz.test 30 TXT junk");
        assert_eq!(sink.stands().await.unwrap().len(), 1);
        let taken = ["10.0.0.9", "10.0.1.7", "203.0.113.78", "203.0.113.77"].map(|target| {
            Change::Take(Standing {
                target: target.parse().unwrap(),
                until: None,
                decision: None,
                handle: None,
            })
        });
        assert!(
            sink.apply(&taken)
                .await
                .outcomes
                .iter()
                .all(|outcome| *outcome == Put::DONE)
        );
        assert_eq!(zone(), theirs);
    });
}

#[test]
fn what_somebody_writes_after_the_zone_was_read_is_not_overwritten() {
    within(
        "what_somebody_writes_after_the_zone_was_read_is_not_overwritten",
        BIND,
        async || {
            let _bind = bind(NAMED_RUN, "");
            let sink = sink("");
            assert_eq!(sink.stands().await.unwrap(), []);
            nsupdate("add 32.7.0.0.10.rpz-client-ip.rpz.test 30 CNAME rpz-passthru.");
            let put = [Change::Put(member("10.0.0.7"))];
            let applied = sink.apply(&put).await;
            assert_eq!(applied.outcomes, [Put::Retry]);
            assert_eq!(applied.fault.unwrap().kind, FaultKind::Busy);
            assert!(matches!(&sink.apply(&put).await.outcomes[0], Put::Refused(why) if why.contains("somebody else")));
            // And of what is ours: once somebody changed it, it is theirs.
            assert_eq!(reconcile(&sink, &wanted(&["10.0.0.8"])).await, 1);
            nsupdate(
                "del 32.8.0.0.10.rpz-client-ip.rpz.test CNAME\nadd 32.8.0.0.10.rpz-client-ip.rpz.test 30 CNAME rpz-passthru.",
            );
            let taken = [Change::Take(Standing {
                target: "10.0.0.8".parse().unwrap(),
                until: None,
                decision: None,
                handle: None,
            })];
            assert_eq!(sink.apply(&taken).await.outcomes, [Put::DONE]);
            let left = zone();
            assert!(
                left.iter()
                    .any(|line| line.starts_with("32.8.0.0.10.rpz-client-ip") && line.contains("rpz-passthru.")),
                "{left:?}"
            );
            assert!(!left.iter().any(|line| line.contains("_trapline")), "{left:?}");
        },
    );
}

#[test]
fn a_zone_that_was_reset_or_torn_is_mended() {
    within("a_zone_that_was_reset_or_torn_is_mended", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        let sink = sink("");
        let all = wanted(&["10.0.0.7", "10.0.0.8", "203.0.113.77", "2001:db8:5:1::9"]);
        assert_eq!(reconcile(&sink, &all).await, 4);
        let good = zone();
        // A trigger without its mark, a mark without its trigger, another mark, and names that are none.
        nsupdate(
            "del 32.7.0.0.10.rpz-client-ip.fra-1._trapline.rpz.test
             del 32.8.0.0.10.rpz-client-ip.rpz.test
             del 32.77.113.0.203.rpz-ip.fra-1._trapline.rpz.test
             add 32.77.113.0.203.rpz-ip.fra-1._trapline.rpz.test 30 TXT junk
             add junk.fra-1._trapline.rpz.test 30 TXT junk
             add junk.fra-1._trapline.rpz.test 30 SPF junk",
        );
        assert_eq!(reconcile(&sink, &all).await, 3);
        assert_eq!(zone(), good);
        // All of it gone at once, behind the sink's back.
        for line in good.iter().filter(|line| !line.contains("\tNS\t")) {
            nsupdate(&format!("del {}", line.split_whitespace().next().unwrap()));
        }
        assert_eq!(reconcile(&sink, &all).await, 4);
        assert_eq!(zone(), good);
    });
}

#[test]
fn after_a_day_without_the_server_what_is_over_is_undone() {
    within(
        "after_a_day_without_the_server_what_is_over_is_undone",
        BIND,
        async || {
            let mut bind = bind(NAMED_RUN, "");
            let sink = sink("timeout = \"1s\"");
            assert_eq!(reconcile(&sink, &wanted(&["10.0.0.7", "203.0.113.77"])).await, 2);
            bind.stop();
            let fault = sink.stands().await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unreachable, "{fault:?}");
            let put = [Change::Put(member("10.0.0.8"))];
            let applied = sink.apply(&put).await;
            assert_eq!(
                (applied.outcomes, applied.fault.unwrap().kind),
                (vec![Put::Retry], FaultKind::Unreachable)
            );
            bind.restart(NAMED_RUN);
            lab::until("the zones are loaded", || bind.log().contains("all zones loaded"));
            // The end of one came while the server was away.
            let mut later = wanted(&["10.0.0.7", "203.0.113.77"]);
            later
                .values_mut()
                .filter(|member| member.inside)
                .for_each(|member| member.until = member.since);
            assert_eq!(reconcile(&sink, &later).await, 1);
            digs("10.0.0.7", "other.test", "A", "NOERROR 198.51.100.1");
            digs("10.0.0.8", "www.test", "A", "NXDOMAIN");
        },
    );
}

#[test]
fn two_observers_on_one_zone_leave_each_other_alone() {
    within("two_observers_on_one_zone_leave_each_other_alone", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        let empty = zone();
        let (one, two) = (sink_of("fra-1", ""), sink_of("fra-2", "policy = \"drop\""));
        assert_eq!(reconcile(&one, &wanted(&["10.0.0.7", "10.0.0.8"])).await, 2);
        assert_eq!(two.stands().await.unwrap(), []);
        assert_eq!(reconcile(&two, &wanted(&["10.0.0.7", "203.0.113.77"])).await, 2);
        for _ in 0..2 {
            assert_eq!(reconcile(&one, &wanted(&["10.0.0.7", "10.0.0.8"])).await, 0);
            assert_eq!(reconcile(&two, &wanted(&["10.0.0.7", "203.0.113.77"])).await, 0);
        }
        // The first wants it no more: it stands for the second, which then has it its own way.
        assert_eq!(reconcile(&one, &wanted(&["10.0.0.8"])).await, 1);
        assert!(
            zone()
                .iter()
                .any(|line| line.starts_with("32.7.0.0.10.rpz-client-ip.rpz.test."))
        );
        assert_eq!(reconcile(&two, &wanted(&["10.0.0.7", "203.0.113.77"])).await, 1);
        assert_eq!(reconcile(&two, &wanted(&["10.0.0.7", "203.0.113.77"])).await, 0);
        assert_eq!(reconcile(&one, &wanted(&["10.0.0.8"])).await, 0);
        digs("10.0.0.7", "other.test", "A", "SILENCE");
        assert_eq!(
            reconcile(&one, &Wanted::new()).await + reconcile(&two, &Wanted::new()).await,
            3
        );
        assert_eq!(zone(), empty);
    });
}

#[test]
fn the_probe_tells_whether_what_was_put_is_in_force() {
    within("the_probe_tells_whether_what_was_put_is_in_force", BIND, async || {
        let _bind = bind(
            NAMED_RUN,
            "response-policy { zone \"rpz.test\"; } qname-wait-recurse no min-update-interval 1;",
        );
        let probe = |more: &str| format!("probe = {{ resolver = \"10.0.0.53\", {more} }}");
        let sink = sink(&probe("wait = \"30s\""));
        assert_eq!(reconcile(&sink, &wanted(&["10.0.0.7"])).await, 1);
        // Settled means in force: the first question is answered so.
        assert_eq!(lab::dig("10.0.0.53", "10.0.0.7", "other.test", "A", &[]), "NXDOMAIN");
        assert_eq!(sink.notes(), [""; 0]);
    });
}

#[test]
fn a_resolver_that_does_not_go_by_the_zone_is_told_of() {
    within("a_resolver_that_does_not_go_by_the_zone_is_told_of", BIND, async || {
        let _bind = bind(NAMED_RUN, "max-cache-size 10m;");
        let patient = sink("probe = { resolver = \"10.0.0.53\", wait = \"0ms\" }");
        assert_eq!(reconcile(&patient, &wanted(&["10.0.0.7"])).await, 1);
        assert!(
            patient.notes()[0].contains("not in force at resolver 10.0.0.53:53"),
            "{:?}",
            patient.notes()
        );
        let strict = sink("probe = { resolver = \"10.0.0.53\", wait = \"0ms\", late = \"0ms\" }");
        strict.apply(&[Change::Put(member("10.0.0.8"))]).await;
        let fault = strict.settled().await.unwrap_err();
        assert!(
            fault.kind == FaultKind::Config && fault.message.contains("min-update-interval"),
            "{fault:?}"
        );
    });
}
