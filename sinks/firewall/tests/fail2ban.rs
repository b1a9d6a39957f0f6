//! A real fail2ban with the jail of `config/fail2ban`, in a network namespace, with packets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod world;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, SetSink, Spared, Why};
use trapline_sink_firewall::{Kind, Programs, Settings};
use world::{
    Peer, applied, build, left, member, reconcile, run, settings, standing, take, targets, tried, until, wanted,
};

const NEEDS: &[(&str, &str)] = &[
    ("/usr/bin/fail2ban-server", "fail2ban"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/nc", "netcat-openbsd"),
];

/// A fail2ban in `/run/f`, with Debian's configuration, our jail, and a jail of others that reads a log.
struct Fail2ban(Option<Child>);

impl Fail2ban {
    fn start() -> Self {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/fail2ban");
        run("mkdir /run/f");
        run("cp -r /etc/fail2ban /run/f/etc");
        run("find /run/f/etc/jail.d -type f -delete");
        run(&format!("cp -r {0}/jail.d {0}/filter.d /run/f/etc/", config.display()));
        std::fs::write("/run/f/log", "").unwrap();
        std::fs::write("/run/f/etc/fail2ban.d/here.conf", "[Definition]\ndbfile = /run/f/db\n").unwrap();
        let other = "[others]\nenabled = true\nfilter = sshd\nbackend = polling\nlogpath = /run/f/log\nbantime = 600\n";
        std::fs::write("/run/f/etc/jail.d/others.conf", other).unwrap();
        let mut fail2ban = Self(None);
        fail2ban.run();
        fail2ban
    }

    fn run(&mut self) {
        let child = Command::new("/usr/bin/fail2ban-server")
            .args(["-f", "-c", "/run/f/etc", "-s", "/run/f/sock", "-p", "/run/f/pid"])
            .args(["--logtarget", "/run/f/out", "start"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .spawn();
        self.0 = Some(child.unwrap());
        until("fail2ban has both jails", || {
            let said = tried("fail2ban-client -c /run/f/etc -s /run/f/sock status");
            String::from_utf8_lossy(&said.stdout).contains("others, trapline")
        });
    }

    fn stop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        client("stop");
        child.wait().unwrap();
    }
}

impl Drop for Fail2ban {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn client(words: &str) -> String {
    run(&format!("fail2ban-client -c /run/f/etc -s /run/f/sock {words}"))
}

fn ours() -> Settings {
    let mut settings = settings(Kind::Fail2ban);
    settings.socket = Some("/run/f/sock".into());
    settings
}

#[tokio::test]
async fn a_ban_has_the_end_of_its_decision_and_is_lifted_with_it() {
    if !world::within("a_ban_has_the_end_of_its_decision_and_is_lifted_with_it", NEEDS) {
        return;
    }
    let (_server, peer) = (Fail2ban::start(), Peer::new());
    let sink: Arc<dyn SetSink> = build(&ours(), false);
    assert_eq!(
        sink.check().await.unwrap(),
        "fail2ban answers, 0 bans in jail `trapline`"
    );
    let members = [
        member("198.51.100.2", 600),
        member("2001:db8::2", 86_400),
        member("203.0.113.0/24", 600),
        member("203.0.113.7", 30),
    ];
    assert_eq!(reconcile(&sink, &wanted(&members)).await, 4);
    assert_eq!(reconcile(&sink, &wanted(&members)).await, 0);
    assert!(peer.is_shut_out("198.51.100.2") && peer.is_shut_out("2001:db8::2"));
    assert!(peer.is_let_in("198.51.100.3") && peer.is_let_in("2001:db8::3"));
    for (who, secs) in [("198.51.100.2", 600), ("2001:db8::2", 86_400), ("203.0.113.7", 30)] {
        let left = left(&sink, who).await.unwrap();
        assert!(
            (secs - 30..=secs + 60).contains(&left),
            "{who} has {left} s left of {secs}"
        );
    }
    assert_eq!(client("get trapline bantime").trim(), "60");
    // Longer and shorter.
    for secs in [7200, 300] {
        let moved = [member("198.51.100.2", secs), member("2001:db8::2", secs)];
        reconcile(&sink, &wanted(&moved)).await;
        assert_eq!(standing(&sink).await, targets(&["198.51.100.2", "2001:db8::2"]));
        for who in ["198.51.100.2", "2001:db8::2"] {
            let left = left(&sink, who).await.unwrap();
            assert!(
                (secs - 30..=secs + 60).contains(&left),
                "{who} has {left} s left of {secs}"
            );
        }
    }
    reconcile(&sink, &wanted(&[])).await;
    assert!(peer.is_let_in("198.51.100.2") && peer.is_let_in("2001:db8::2"));
    assert_eq!(client("get trapline banip").trim(), "");
}

#[tokio::test]
async fn bans_come_back_after_whatever_happened_and_those_of_other_jails_stay() {
    if !world::within(
        "bans_come_back_after_whatever_happened_and_those_of_other_jails_stay",
        NEEDS,
    ) {
        return;
    }
    let mut server = Fail2ban::start();
    let sink: Arc<dyn SetSink> = build(&ours(), false);
    client("set others banip 192.0.2.1 198.51.100.2");
    let members = wanted(&[
        member("198.51.100.2", 600),
        member("203.0.113.0/24", 600),
        member("203.0.113.7", 600),
    ]);
    let all = targets(&["198.51.100.2", "203.0.113.0/24", "203.0.113.7"]);
    reconcile(&sink, &members).await;
    assert_eq!(standing(&sink).await, all);
    // Lifted by somebody; banned by somebody, also half of the world.
    for words in [
        "set trapline unbanip 198.51.100.2",
        "set trapline banip 192.0.2.77 10.0.0.0/8",
        "reload --restart --unban trapline",
    ] {
        client(words);
        reconcile(&sink, &members).await;
        assert_eq!(standing(&sink).await, all, "{words}");
        assert!(!client("get trapline banip").contains("10.0.0.0"), "{words}");
    }
    // Of a network that is gone, the hosts stay.
    client("set trapline unbanip 203.0.113.0/24");
    reconcile(&sink, &members).await;
    client("set trapline unbanip 203.0.113.0/24");
    client("set trapline banip 203.0.113.7");
    assert_eq!(applied(&sink, take("203.0.113.0/24")).await, Put::DONE);
    assert!(client("get trapline banip").contains("203.0.113.7"));
    server.stop();
    let fault = sink.stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(
        fault.message.contains("fail2ban is not running") && fault.message.contains("systemctl start"),
        "{}",
        fault.message
    );
    server.run();
    until("fail2ban has restored its own", || {
        client("get others banip").contains("198.51.100.2")
    });
    reconcile(&sink, &members).await;
    assert_eq!(standing(&sink).await, all);
    let others = client("get others banip");
    assert!(
        others.contains("192.0.2.1") && others.contains("198.51.100.2"),
        "{others}"
    );
}

#[tokio::test]
async fn a_jail_that_reads_a_log_or_is_missing_is_told_and_nothing_done() {
    if !world::within("a_jail_that_reads_a_log_or_is_missing_is_told_and_nothing_done", NEEDS) {
        return;
    }
    let _server = Fail2ban::start();
    client("set others banip 192.0.2.1");
    for (jail, words) in [
        ("others", "jail `others` reads logs"),
        ("nobody", "fail2ban has no jail `nobody`"),
    ] {
        let mut other = ours();
        other.jail = jail.to_owned();
        let sink = build(&other, false);
        for fault in [sink.stands().await.unwrap_err(), sink.check().await.unwrap_err()] {
            assert_eq!(fault.kind, FaultKind::Config);
            assert!(fault.message.starts_with(words), "{}", fault.message);
        }
    }
    let mut other = ours();
    other.jail = "others".to_owned();
    let sink = build(&other, false);
    let applied_then = sink
        .apply(&[take("192.0.2.1"), Change::Put(member("203.0.113.7", 60))])
        .await;
    assert_eq!(applied_then.outcomes, [Put::Retry, Put::Retry]);
    assert_eq!(client("get others banip").trim(), "192.0.2.1");
}

#[tokio::test]
async fn who_is_spared_is_not_banned_and_an_observer_bans_nobody() {
    if !world::within("who_is_spared_is_not_banned_and_an_observer_bans_nobody", NEEDS) {
        return;
    }
    let _server = Fail2ban::start();
    let watching = build(&ours(), true);
    client("set trapline banip 192.0.2.77 10.0.0.0/8");
    assert_eq!(standing(&watching).await, targets(&["192.0.2.77"]));
    let change = [Change::Put(member("203.0.113.7", 60)), take("192.0.2.77")];
    assert_eq!(watching.apply(&change).await.outcomes, [Put::Retry, Put::Retry]);
    assert_eq!(client("get trapline banip").split_whitespace().count(), 2);
    let sink = build(&ours(), false);
    sink.spare(Arc::new(Spared::new([("203.0.113.7/32".parse().unwrap(), Why::Admin)])));
    let put = applied(&sink, Change::Put(member("203.0.113.7", 600))).await;
    assert!(matches!(put, Put::Refused(_)), "{put:?}");
    assert!(!client("get trapline banip").contains("203.0.113.7"));
    // Who may not speak to it.
    let folder = PathBuf::from("/run/weak");
    std::fs::create_dir(&folder).unwrap();
    let text =
        "#!/bin/sh\nexec /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/fail2ban-client \"$@\"\n";
    std::fs::write(folder.join("fail2ban-client"), text).unwrap();
    run("chmod 755 /run/weak/fail2ban-client");
    let mut weak = ours();
    weak.programs = Programs::within(vec![folder], world::PATIENCE);
    let fault = build(&weak, false).stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Auth, "{}", fault.message);
}
