//! A real firewalld with a D-Bus of its own and the ipsets of `config/firewalld`, in a network namespace, with packets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod world;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, SetSink, Spared, Why};
use trapline_sink_firewall::{Kind, Programs};
use world::{
    Peer, applied, build, left, member, reconcile, run, settings, standing, take, targets, tried, until, wanted,
};

const NEEDS: &[(&str, &str)] = &[
    ("/usr/sbin/firewalld", "firewalld"),
    ("/usr/bin/firewall-cmd", "firewalld"),
    ("/usr/bin/dbus-daemon", "dbus-daemon"),
    ("/usr/bin/nc", "netcat-openbsd"),
];

/// A bus that lets everybody ask, as the system's does of firewalld, which says itself who may.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>system</type>
 <listen>unix:path=/run/dbus/system_bus_socket</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow user="*"/> <allow own="*"/> <allow eavesdrop="true"/>
  <allow send_type="method_call"/> <allow receive_type="method_call"/>
  <allow send_type="signal"/> <allow receive_type="signal"/>
  <allow send_requested_reply="true" send_type="method_return"/> <allow receive_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/> <allow receive_type="error"/>
 </policy>
</busconfig>
"#;

/// A firewalld with its configuration in `/run/f`.
struct Firewalld {
    bus: Child,
    server: Child,
}

impl Firewalld {
    /// With our ipsets, or without.
    fn start(has_sets: bool) -> Self {
        run("mkdir -p /run/dbus /run/f/ipsets");
        std::fs::write("/run/bus.conf", BUS).unwrap();
        run("cp /etc/firewalld/firewalld.conf /run/f/");
        if has_sets {
            let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/firewalld");
            for name in ["v4", "v6", "net4", "net6"] {
                run(&format!("cp {}/trapline-{name}.xml /run/f/ipsets/", config.display()));
            }
        }
        let bus = Command::new("/usr/bin/dbus-daemon")
            .args(["--config-file=/run/bus.conf", "--nofork", "--nopidfile"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the bus is up", || Path::new("/run/dbus/system_bus_socket").exists());
        let server = serve();
        Self { bus, server }
    }

    fn restart(&mut self) {
        self.stop();
        self.server = serve();
    }

    fn stop(&mut self) {
        run(&format!("kill {}", self.server.id()));
        self.server.wait().unwrap();
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn serve() -> Child {
    let server = Command::new("/usr/sbin/firewalld")
        .args(["--nofork", "--nopid", "--system-config", "/run/f"])
        .args(["--log-target", "file", "--log-file", "/run/f.log"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("firewalld is up", || tried("firewall-cmd --state").status.success());
    server
}

fn sink() -> Arc<dyn SetSink> {
    build(&settings(Kind::Firewalld), false)
}

fn command(words: &str) -> String {
    run(&format!("firewall-cmd {words}"))
}

#[tokio::test]
async fn entries_shut_out_survive_a_reload_and_go_when_they_are_taken() {
    if !world::within("entries_shut_out_survive_a_reload_and_go_when_they_are_taken", NEEDS) {
        return;
    }
    let (peer, mut server, sink) = (Peer::new(), Firewalld::start(true), sink());
    command("--zone=public --add-port=1-65535/tcp --permanent");
    command("--zone=drop --add-source=192.0.2.0/24 --permanent");
    command("--reload");
    assert!(peer.is_let_in("198.51.100.2"));
    assert!(sink.check().await.unwrap().contains("has not yet our sets"));
    let names = [
        "198.51.100.2",
        "2001:db8::2",
        "203.0.113.0/24",
        "203.0.113.7",
        "2001:db8:1::/64",
    ];
    let members = wanted(&names.map(|name| member(name, 600)));
    assert_eq!(reconcile(&sink, &members).await, 5);
    assert_eq!(reconcile(&sink, &members).await, 0);
    assert_eq!(standing(&sink).await, targets(&names));
    assert_eq!(left(&sink, "198.51.100.2").await, None);
    assert!(peer.is_shut_out("198.51.100.2") && peer.is_shut_out("2001:db8::2"));
    assert!(peer.is_let_in("198.51.100.3") && peer.is_let_in("2001:db8::3"));
    assert_eq!(sink.check().await.unwrap(), "firewalld answers, 5 addresses stand");
    // What is there already, and what is not.
    assert_eq!(
        applied(&sink, Change::Put(member("198.51.100.2", 600))).await,
        Put::DONE
    );
    assert_eq!(applied(&sink, take("192.0.2.200")).await, Put::DONE);
    for step in 0..4 {
        match step {
            0 => drop(command("--reload")),
            1 => server.restart(),
            2 => drop(command("--zone=drop --remove-source=ipset:trapline-v4")),
            _ => {
                command("--ipset=trapline-net4 --add-entry=10.0.0.0/8");
                command("--ipset=trapline-v4 --remove-entry=198.51.100.2");
            }
        }
        reconcile(&sink, &members).await;
        assert_eq!(standing(&sink).await, targets(&names), "step {step}");
        assert!(
            peer.is_shut_out("198.51.100.2") && peer.is_let_in("198.51.100.3"),
            "step {step}"
        );
        assert!(
            command("--zone=drop --list-sources").contains("192.0.2.0/24"),
            "step {step}"
        );
    }
    assert!(!command("--ipset=trapline-net4 --get-entries").contains("10.0.0.0"));
    assert_eq!(command("--permanent --zone=drop --list-sources").trim(), "192.0.2.0/24");
    reconcile(&sink, &wanted(&[])).await;
    assert!(peer.is_let_in("198.51.100.2") && peer.is_let_in("2001:db8::2"));
    server.stop();
    let fault = sink.stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.message.contains("systemctl start firewalld"), "{}", fault.message);
}

#[tokio::test]
async fn sets_that_are_missing_are_told_with_what_to_do_and_an_observer_changes_nothing() {
    if !world::within(
        "sets_that_are_missing_are_told_with_what_to_do_and_an_observer_changes_nothing",
        NEEDS,
    ) {
        return;
    }
    let server = Firewalld::start(false);
    let fault = sink().stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Config);
    assert!(
        fault.message.contains("`trapline-net6`") && fault.message.contains("/etc/firewalld/ipsets"),
        "{}",
        fault.message
    );
    drop(server);
    run("rm -r /run/f /run/dbus");
    let _server = Firewalld::start(true);
    let watching = build(&settings(Kind::Firewalld), true);
    assert_eq!(watching.stands().await.unwrap(), []);
    assert!(watching.check().await.is_ok());
    let put = watching.apply(&[Change::Put(member("203.0.113.7", 60))]).await;
    assert_eq!(put.outcomes, [Put::Retry]);
    assert_eq!(command("--zone=drop --list-sources").trim(), "");
    assert_eq!(command("--ipset=trapline-v4 --get-entries").trim(), "");
    let mut lost = settings(Kind::Firewalld);
    lost.zone = "nowhere".to_owned();
    let fault = build(&lost, false).stands().await.unwrap_err();
    assert!(fault.message.contains("no zone `nowhere`"), "{}", fault.message);
    let sink = sink();
    sink.spare(Arc::new(Spared::new([(
        "203.0.113.0/24".parse().unwrap(),
        Why::Allowed,
    )])));
    let put = applied(&sink, Change::Put(member("203.0.113.7", 600))).await;
    assert!(matches!(put, Put::Refused(_)), "{put:?}");
    // Who may not speak to it.
    let folder = PathBuf::from("/run/weak");
    std::fs::create_dir(&folder).unwrap();
    let text =
        "#!/bin/sh\nexec /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/firewall-cmd \"$@\"\n";
    std::fs::write(folder.join("firewall-cmd"), text).unwrap();
    run("chmod 755 /run/weak/firewall-cmd");
    let mut weak = settings(Kind::Firewalld);
    weak.programs = Programs::within(vec![folder], world::PATIENCE);
    let fault = build(&weak, false).stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Auth, "{}", fault.message);
}
