//! The suite of set sinks over ipset, in a network namespace. Troubles are made by programs that stand before the real
//! ones: absent, hanging, without an answer, without the right.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trapline_schemas::Timestamp;
use trapline_sink::conformance::sets::{self, Added, Case, Held, ROOM, SetRig, SetSuite, Trouble};
use trapline_sink::set::{SetSink, Target};
use trapline_sink_firewall::{Kind, Programs, Settings};
use world::{build, run, tried};

const NEEDS: &[(&str, &str)] = &[
    ("/usr/sbin/ipset", "ipset"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/nft", "nftables"),
];

const SETS: [&str; 2] = ["trapline-v4", "trapline-v6"];
/// Stands before a program; `/run/trouble` says what is wrong with it.
const DOOR: &str = "#!/bin/bash
real=/usr/sbin/${0##*/}
case \"$(< /run/trouble)\" in
  down) echo 'it is away' >&2; exit 1 ;;
  hangs) exec /usr/bin/sleep 600 ;;
  weak) exec /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups $real \"$@\" ;;
  silent)
    case \" $* \" in
      *' save '* | *' -C '*) exec $real \"$@\" ;;
    esac
    $real \"$@\" >/dev/null 2>&1
    exec /usr/bin/sleep 600 ;;
esac
exec $real \"$@\"
";

struct Suite;

struct Rig(Settings);

#[async_trait]
impl SetSuite for Suite {
    fn name(&self) -> &'static str {
        "ipset"
    }

    fn declared(&self) -> &[(Case, &'static str)] {
        &[
            (Case::Nowhere, "a packet filter takes every address"),
            (Case::OneBad, "a packet filter takes every address"),
            (Case::FastLane, "a program is started for each batch"),
            (Case::Told, "ipset tells nobody of changes"),
        ]
    }

    fn added(&self) -> Added {
        Added::Removed
    }

    async fn start(&self, case: Case) -> Option<Box<dyn SetRig>> {
        if self.declared().iter().any(|(declared, _)| *declared == case) {
            return None;
        }
        run("nft flush ruleset");
        run("ipset destroy");
        std::fs::create_dir_all("/run/doors").unwrap();
        std::fs::write("/run/trouble", "").unwrap();
        let doors = ["ipset", "iptables", "ip6tables"].map(|name| format!("/run/doors/{name}"));
        for door in &doors {
            std::fs::write(door, DOOR).unwrap();
            run(&format!("chmod 755 {door}"));
        }
        let programs = Programs::within(vec!["/run/doors".into()], Duration::from_secs(4));
        let mut settings = Settings::new(Kind::Ipset, programs);
        settings.members = (case == Case::Room).then_some(ROOM);
        Some(Box::new(Rig(settings)))
    }
}

/// Entries of a set as `ipset` shows them: address and seconds left.
fn entries(set: &str) -> Vec<(String, u64)> {
    let out = tried(&format!("ipset save {set}"));
    let text = String::from_utf8(out.stdout).unwrap();
    let adds = text.lines().filter(|line| line.starts_with("add "));
    let entry = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        (words[2].to_owned(), words[4].parse().unwrap())
    };
    adds.map(entry).collect()
}

fn set(target: Target) -> &'static str {
    if target.address().is_ipv4() { SETS[0] } else { SETS[1] }
}

#[async_trait]
impl SetRig for Rig {
    async fn open(&mut self, observes: bool) -> Arc<dyn SetSink> {
        build(&self.0, observes)
    }

    async fn held(&mut self) -> Vec<Held> {
        // Without its rule a set acts on nobody.
        let rules = run("iptables -t raw -S PREROUTING") + &run("ip6tables -t raw -S PREROUTING");
        let acting = SETS.into_iter().filter(|set| rules.contains(set));
        let now = Timestamp::now().micros();
        let held = |(address, secs): (String, u64)| Held {
            target: address.parse().unwrap(),
            until: Some(Timestamp::from_micros(now + i64::try_from(secs).unwrap() * 1_000_000)),
        };
        acting.flat_map(entries).map(held).collect()
    }

    async fn foreign(&mut self) -> Vec<u8> {
        let rules = run("iptables -t raw -S") + &run("ip6tables -t raw -S");
        let others = rules
            .lines()
            .filter(|line| line.contains("192.0.2.9"))
            .collect::<String>();
        let set = tried("ipset save others").stdout;
        [others.into_bytes(), set].concat()
    }

    async fn dump(&mut self) -> Vec<u8> {
        let sets = run("ipset save");
        // Without the seconds, which run down.
        let mut lines: Vec<_> = sets
            .lines()
            .map(|line| line.split(" timeout ").next().unwrap())
            .collect();
        lines.sort_unstable();
        (lines.join("\n") + &run("nft list ruleset")).into_bytes()
    }

    async fn plant(&mut self) {
        run("ipset create others hash:net");
        run("ipset add others 192.0.2.9");
        run("iptables -t raw -A PREROUTING -s 192.0.2.9 -j DROP");
    }

    async fn wipe(&mut self) {
        for (set, program) in SETS.into_iter().zip(["iptables", "ip6tables"]) {
            let rule = "-m comment --comment trapline -j DROP";
            run(&format!(
                "{program} -t raw -D PREROUTING -m set --match-set {set} src {rule}"
            ));
            run(&format!("ipset destroy {set}"));
        }
    }

    async fn delete(&mut self, target: Target) {
        run(&format!("ipset del {} {target}", set(target)));
    }

    async fn add(&mut self, target: Target) {
        run(&format!("ipset add {} {target} timeout 600", set(target)));
    }

    async fn begin(&mut self, trouble: Trouble) {
        let word = match trouble {
            Trouble::Down => "down",
            Trouble::HalfOpen => "hangs",
            Trouble::LosesAnswers => "silent",
            Trouble::Unauthorized => "weak",
        };
        std::fs::write("/run/trouble", word).unwrap();
    }

    async fn heal(&mut self) {
        std::fs::write("/run/trouble", "").unwrap();
    }
}

#[tokio::test]
async fn ipset_passes_the_suite_of_set_sinks() {
    if !world::within("ipset_passes_the_suite_of_set_sinks", NEEDS) {
        return;
    }
    sets::run(&Suite).await.unwrap();
}
