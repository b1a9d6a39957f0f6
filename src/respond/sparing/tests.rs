//! The list as a whole: in a network of its own that `ip` changes, and from files of a host that is a folder.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use trapline_sink::dial::{Address, Resolver};
use trapline_sink::set::{Spared, Why};

use super::*;

const OWN_NETWORK: &str = "TRAPLINE_TEST_NETWORK";

/// Runs `test` again in a network of its own, which needs no rights but to make a user namespace; `true` in that process
/// alone.
fn has_own_network(test: &str) -> bool {
    if std::env::var_os(OWN_NETWORK).is_some() {
        return true;
    }
    let own = ["--map-root-user", "--net"];
    let link = ["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"];
    let mut may = Command::new("unshare");
    let may = may.args(own).args(link).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no namespace with links of its own (unshare, iproute2); {test} was not tried");
        return false;
    }
    let again = Command::new("unshare")
        .args(own)
        .args(["timeout", "120", "env", &format!("{OWN_NETWORK}=own")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(
        done.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Many changes in one go.
fn batch(lines: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch");
    std::fs::write(&path, lines.join("\n")).unwrap();
    ip(&format!("-batch {}", path.display()));
}

struct Kept {
    sparing: Sparing,
    root: TempDir,
    _stop: DropGuard,
}

impl Kept {
    /// Of a host without files but these.
    async fn start(files: &[(&str, &str)], resolver: Resolver, settings: &Settings) -> Self {
        let root = tempfile::tempdir().unwrap();
        files.iter().for_each(|(path, text)| write(root.path(), path, text));
        let host = Host {
            root: root.path().to_owned(),
            resolver,
            started_from: started_from("198.51.100.7 50000 192.0.2.1 22"),
        };
        let (sparing, work) = open(host, settings);
        let stop = CancellationToken::new();
        tokio::spawn(work.run(stop.clone()));
        sparing.ready().await;
        Self {
            sparing,
            root,
            _stop: stop.drop_guard(),
        }
    }

    fn why(&self, target: &str) -> Option<Why> {
        why(&self.sparing.watch().borrow(), target)
    }

    /// Waits until the list says so; far longer than it takes, and shorter than it would take to be found without being
    /// told.
    async fn until(&self, what: &str, good: impl Fn(&Spared) -> bool) {
        let mut list = self.sparing.watch();
        let told = tokio::time::timeout(Duration::from_secs(30), list.wait_for(|list| good(list))).await;
        assert!(told.is_ok(), "{what}: {:?}", self.sparing.rows());
    }
}

fn why(list: &Spared, target: &str) -> Option<Why> {
    list.why(target.parse().unwrap()).cloned()
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn zone(rows: &[(&str, &str)]) -> (Resolver, Arc<Mutex<HashMap<String, String>>>) {
    let rows = rows.iter().map(|(name, ip)| ((*name).to_owned(), (*ip).to_owned()));
    let zone = Arc::new(Mutex::new(rows.collect::<HashMap<_, _>>()));
    let asked = Arc::clone(&zone);
    let resolver = Resolver::new(move |host, port| {
        let zone = asked.lock().unwrap();
        let ip = zone.get(host).ok_or_else(|| io::Error::other("no such name"))?;
        Ok(vec![SocketAddr::new(ip.parse().unwrap(), port)])
    });
    (resolver, zone)
}

fn network() {
    ip("link set lo up");
    ip("link add v0 type veth peer name v1");
    for words in [
        "addr add 192.0.2.1/24 brd + dev v0",
        "addr add 192.0.2.9/24 dev v0",
        "-6 addr add 2001:db8::1/64 dev v0 nodad",
        "link set v0 up",
        "link set v1 up",
        "addr add 10.9.9.1 peer 10.9.9.2/32 dev v1",
        "route add default via 192.0.2.254",
        "route add 203.0.113.0/25 nexthop via 192.0.2.201 nexthop via 192.0.2.202",
        "route add 203.0.113.128/25 via inet6 2001:db8::fe dev v0",
        "route add 10.1.0.0/16 via 192.0.2.203 table 77",
        "-6 route add default via 2001:db8::ff",
        "-6 route add 2001:db8:5::/48 nexthop via 2001:db8::f1 nexthop via 2001:db8::f2",
        "nexthop add id 5 via 192.0.2.204 dev v0",
        "route add 10.2.0.0/16 nhid 5",
        "route add local 198.51.100.128/25 dev lo",
        "route add local default dev lo table 100",
        "-6 route add local default dev lo table 100",
    ] {
        ip(words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_gateways_are_found_and_found_again_when_they_change() {
    if !has_own_network("respond::sparing::tests::addresses_and_gateways_are_found_and_found_again_when_they_change") {
        return;
    }
    network();
    let kept = Kept::start(&[], zone(&[]).0, &Settings::default()).await;
    for (target, wanted) in [
        ("192.0.2.1", Some(Why::Own)),
        ("192.0.2.9", Some(Why::Own)),
        ("2001:db8::1", Some(Why::Own)),
        ("10.9.9.1", Some(Why::Own)),
        ("198.51.100.200", Some(Why::Own)),
        ("192.0.2.0", Some(Why::NoHost)),
        ("192.0.2.255", Some(Why::NoHost)),
        ("192.0.2.254", Some(Why::Gateway)),
        ("192.0.2.201", Some(Why::Gateway)),
        ("192.0.2.202", Some(Why::Gateway)),
        ("192.0.2.203", Some(Why::Gateway)),
        ("192.0.2.204", Some(Why::Gateway)),
        ("2001:db8::fe", Some(Why::Gateway)),
        ("2001:db8::ff", Some(Why::Gateway)),
        ("2001:db8::f1", Some(Why::Gateway)),
        ("2001:db8::f2", Some(Why::Gateway)),
        ("64:ff9b::c000:2fe", Some(Why::Gateway)),
        ("192.0.2.2", None),
        ("203.0.113.77", None),
        ("2001:db8::2", None),
        ("10.9.9.2", None),
    ] {
        assert_eq!(kept.why(target), wanted, "{target}: {:#?}", kept.sparing.rows());
    }
    assert_eq!(kept.sparing.notes(), [""; 0]);
    let rows = kept.sparing.rows();
    let own = rows
        .iter()
        .find(|row| row.network.to_string() == "192.0.2.1/32")
        .unwrap();
    assert_eq!(&*own.from, "v0");
    come_and_go(&kept).await;
}

async fn come_and_go(kept: &Kept) {
    for (come, go, target, wanted) in [
        (
            "addr add 192.0.2.10/24 dev v0",
            "addr del 192.0.2.10/24 dev v0",
            "192.0.2.10",
            Why::Own,
        ),
        (
            "-6 addr add 2001:db8::10/64 dev v0 nodad",
            "-6 addr del 2001:db8::10/64 dev v0",
            "2001:db8::10",
            Why::Own,
        ),
        (
            "route add 10.3.0.0/16 via 192.0.2.210",
            "route del 10.3.0.0/16",
            "192.0.2.210",
            Why::Gateway,
        ),
        (
            "-6 route add 2001:db8:7::/48 via 2001:db8::f7",
            "-6 route del 2001:db8:7::/48",
            "2001:db8::f7",
            Why::Gateway,
        ),
        (
            "nexthop add id 6 via 192.0.2.211 dev v0",
            "nexthop del id 6",
            "192.0.2.211",
            Why::Gateway,
        ),
        (
            "route add default dev v1 table 78",
            "route del default table 78",
            "10.9.9.2",
            Why::Gateway,
        ),
    ] {
        assert_eq!(kept.why(target), None, "{target}");
        ip(come);
        kept.until(come, |list| why(list, target).as_ref() == Some(&wanted))
            .await;
        ip(go);
        kept.until(go, |list| why(list, target).is_none()).await;
    }
    // More than a socket's buffer holds: what was lost is asked for.
    let route = |number: usize| format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
    let add = (0..4000).map(|number| format!("route add {} via 192.0.2.220", route(number)));
    batch(
        &add.chain(["route add 10.4.0.0/16 via 192.0.2.221".to_owned()])
            .collect::<Vec<_>>(),
    );
    kept.until("4001 routes", |list| {
        why(list, "192.0.2.220").is_some() && why(list, "192.0.2.221").is_some()
    })
    .await;
    batch(
        &(0..4000)
            .map(|number| format!("route del {}", route(number)))
            .collect::<Vec<_>>(),
    );
    kept.until("one of them is left", |list| {
        why(list, "192.0.2.220").is_none() && why(list, "192.0.2.221").is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_local_as_a_whole_is_a_note_and_not_spared() {
    if !has_own_network("respond::sparing::tests::a_network_that_is_local_as_a_whole_is_a_note_and_not_spared") {
        return;
    }
    ip("link set lo up");
    ip("route add local 0.0.0.0/1 dev lo");
    let kept = Kept::start(&[], zone(&[]).0, &Settings::default()).await;
    assert_eq!(kept.why("8.8.8.8"), None);
    let notes = kept.sparing.notes();
    assert!(
        notes.len() == 1 && notes[0].contains("0.0.0.0/1") && notes[0].contains("`allow`"),
        "{notes:?}"
    );
}

fn siem(host: &str) -> Settings {
    Settings {
        allow: vec!["192.0.2.128/25".parse().unwrap()],
        sinks: vec![Destination {
            sink: "siem".into(),
            places: ["192.0.2.20:514", host]
                .map(|text| Address::parse(text, Some(1)).unwrap())
                .into(),
        }],
    }
}

fn sink() -> Option<Why> {
    Some(Why::Sink("siem".into()))
}

#[tokio::test(start_paused = true)]
async fn what_files_settings_and_names_say_is_spared_and_follows_them() {
    let (resolver, zone) = zone(&[("siem.example", "192.0.2.21"), ("time.example", "192.0.2.40")]);
    let files = [
        ("etc/resolv.conf", "nameserver 192.0.2.53"),
        ("etc/chrony/chrony.conf", "server 192.0.2.41\npool time.example"),
        ("run/systemd/sessions/1", "REMOTE=1\nREMOTE_HOST=192.0.2.60"),
    ];
    let kept = Kept::start(&files, resolver, &siem("siem.example")).await;
    // The names of time servers are known a moment after their files.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (target, wanted) in [
        ("192.0.2.200", Some(Why::Allowed)),
        ("192.0.2.20", sink()),
        ("192.0.2.21", sink()),
        ("192.0.2.40", Some(Why::TimeServer)),
        ("192.0.2.41", Some(Why::TimeServer)),
        ("192.0.2.53", Some(Why::Resolver)),
        ("192.0.2.60", Some(Why::Admin)),
        ("198.51.100.7", Some(Why::Admin)),
        ("192.0.2.61", None),
    ] {
        assert_eq!(kept.why(target), wanted, "{target}: {:#?}", kept.sparing.rows());
    }
    write(kept.root.path(), "etc/resolv.conf", "nameserver 192.0.2.54");
    write(kept.root.path(), "etc/chrony/chrony.conf", "server 192.0.2.42");
    std::fs::remove_file(kept.root.path().join("run/systemd/sessions/1")).unwrap();
    zone.lock().unwrap().insert("new.example".into(), "192.0.2.22".into());
    kept.sparing.settle(&siem("new.example"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    for (target, wanted) in [
        ("192.0.2.21", None),
        ("192.0.2.22", sink()),
        ("192.0.2.40", None),
        ("192.0.2.42", Some(Why::TimeServer)),
        ("192.0.2.53", None),
        ("192.0.2.54", Some(Why::Resolver)),
        // Who was cut off comes again.
        ("192.0.2.60", Some(Why::Admin)),
        ("198.51.100.7", Some(Why::Admin)),
    ] {
        assert_eq!(kept.why(target), wanted, "{target}: {:#?}", kept.sparing.rows());
    }
    tokio::time::sleep(Duration::from_secs(3700)).await;
    assert_eq!(kept.why("192.0.2.60"), None);
}

#[tokio::test(start_paused = true)]
async fn who_showed_a_token_is_spared_at_once() {
    let kept = Kept::start(&[], zone(&[]).0, &Settings::default()).await;
    let admins = kept.sparing.admins();
    admins.seen("192.0.2.61".parse().unwrap());
    assert_eq!(kept.why("192.0.2.61"), Some(Why::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_hangs_delays_a_start_no_longer_than_it_may_and_is_a_note() {
    let gate = Arc::new(Mutex::new(()));
    let (held, asked) = (gate.lock().unwrap(), Arc::clone(&gate));
    let resolver = Resolver::new(move |_, port| {
        drop(asked.lock());
        Ok(vec![SocketAddr::new("192.0.2.21".parse().unwrap(), port)])
    });
    let files = [("etc/resolv.conf", "nameserver 192.0.2.53")];
    let kept = Kept::start(&files, resolver, &siem("siem.example")).await;
    assert_eq!(
        (kept.why("192.0.2.20"), kept.why("192.0.2.53")),
        (sink(), Some(Why::Resolver))
    );
    let notes = kept.sparing.notes();
    assert!(notes.iter().any(|note| note.contains("`siem.example`")), "{notes:?}");
    drop(held);
    kept.until("the name", |list| why(list, "192.0.2.21") == sink()).await;
    assert_eq!(kept.sparing.notes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_takes_nothing_off_the_list() {
    let files = [
        ("etc/resolv.conf", "nameserver 192.0.2.53"),
        ("etc/chrony/chrony.conf", "server 192.0.2.41"),
        ("run/systemd/sessions/1", "REMOTE=1\nREMOTE_HOST=192.0.2.60"),
    ];
    let kept = Kept::start(&files, zone(&[]).0, &Settings::default()).await;
    // A link to itself: nobody can read it, root neither.
    let paths = files.map(|(path, _)| path);
    for path in paths {
        std::fs::remove_file(kept.root.path().join(path)).unwrap();
        std::os::unix::fs::symlink(kept.root.path().join(path), kept.root.path().join(path)).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(kept.why("192.0.2.60"), Some(Why::Admin));
    assert_eq!(kept.why("192.0.2.53"), Some(Why::Resolver));
    assert_eq!(kept.why("192.0.2.41"), Some(Why::TimeServer));
    let notes = kept.sparing.notes();
    let named = |path: &str| notes.iter().any(|note| note.contains(path));
    assert!(paths.iter().all(|path| named(&format!("`/{path}`"))), "{notes:?}");
}
