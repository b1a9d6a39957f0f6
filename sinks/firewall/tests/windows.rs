//! The requests that go to PowerShell, against a strict stand-in: what they make is a contract, for Windows is not here.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, SetSink, Spared, Why};
use trapline_sink_firewall::{Kind, Programs, Settings};
use world::{applied, build, member, reconcile, run, standing, take, targets, wanted};

const SCRIPT: &str = include_str!("../src/windows/serve.ps1");

/// A folder with a stand-in for `powershell.exe`.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_powershell.py");
        // By another process: see `fake::program`.
        run(&format!(
            "install -m 755 {from} {}",
            fake.path("powershell.exe").display()
        ));
        fake.write("script", SCRIPT);
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Rules as the stand-in keeps them, by name.
    fn rules(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("rules")).unwrap_or_default()
    }

    fn settings(&self) -> Settings {
        let programs = Programs::within(vec![self.0.path().into()], world::PATIENCE);
        Settings::new(Kind::Windows, programs)
    }

    fn sink(&self) -> Arc<dyn SetSink> {
        build(&self.settings(), false)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.read("wrong"), "");
        }
    }
}

#[tokio::test]
async fn addresses_are_in_sharded_rules_that_block_and_one_powershell_makes_them() {
    let fake = Fake::new();
    let mut settings = fake.settings();
    settings.shard = 2;
    let sink = build(&settings, false);
    let names = [
        "203.0.113.7",
        "203.0.113.0/24",
        "2001:db8::1",
        "2001:db8:0:1::/64",
        "192.0.2.1",
    ];
    let members = wanted(&names.map(|name| member(name, 600)));
    assert_eq!(reconcile(&sink, &members).await, 5);
    assert_eq!(standing(&sink).await, targets(&names));
    assert_eq!(reconcile(&sink, &members).await, 0);
    let rules = fake.rules();
    assert_eq!(rules.as_object().unwrap().len(), 3);
    for number in 0..3 {
        let rule = &rules[format!("trapline-block-{number}")];
        assert_eq!(
            (rule["direction"].as_str(), rule["action"].as_str()),
            (Some("Inbound"), Some("Block"))
        );
        assert!(rule["from"].as_array().unwrap().len() <= 2);
    }
    reconcile(&sink, &wanted(&[member("192.0.2.1", 600)])).await;
    assert_eq!(fake.rules().as_object().unwrap().len(), 1);
    reconcile(&sink, &wanted(&[])).await;
    assert_eq!(fake.rules(), serde_json::json!({}));
    assert_eq!(fake.read("starts").lines().count(), 1);
    assert_eq!(sink.limits().changes, 2);
}

#[tokio::test]
async fn a_shard_holds_a_thousand_ipv6_addresses_and_the_next_the_rest() {
    let fake = Fake::new();
    let sink = fake.sink();
    let members: Vec<_> = (1..=1500)
        .map(|host| member(&format!("2001:db8:1:2:3:4:5:{host:x}"), 600))
        .collect();
    assert_eq!(reconcile(&sink, &wanted(&members)).await, 1500);
    let rules = fake.rules();
    let counts = [0, 1].map(|number| {
        rules[format!("trapline-block-{number}")]["from"]
            .as_array()
            .unwrap()
            .len()
    });
    assert_eq!(counts, [1000, 500]);
    assert_eq!(reconcile(&sink, &wanted(&members)).await, 0);
}

#[tokio::test]
async fn rules_of_others_stay_and_ours_are_mended() {
    let fake = Fake::new();
    let sink = fake.sink();
    let rule = |group: &str, enabled: &str, from: &[&str]| serde_json::json!({"group": group, "enabled": enabled, "direction": "Inbound", "action": "Block", "from": from});
    let others = serde_json::json!({
        "CoreNet-DNS": rule("@FirewallAPI.dll,-25000", "True", &["Any"]),
        "by hand": rule("trapline", "True", &["192.0.2.1"]),
        "trapline-block-x": rule("trapline", "True", &["192.0.2.2"]),
    });
    let mut rules = others.clone();
    rules["trapline-block-0"] = rule("trapline", "True", &["Any"]);
    rules["trapline-block-1"] = rule("trapline", "False", &["203.0.113.7", "192.0.2.9"]);
    rules["trapline-block-2"] = rule(
        "trapline",
        "True",
        &["198.51.100.1", "10.0.0.1-10.0.0.9", "10.0.0.0/255.0.0.0"],
    );
    fake.write("rules", &rules.to_string());
    // An observer sees what blocks, and leaves all as it is.
    let watching = build(&fake.settings(), true);
    assert_eq!(standing(&watching).await, targets(&["198.51.100.1"]));
    assert_eq!(watching.apply(&[take("198.51.100.1")]).await.outcomes, [Put::Retry]);
    assert_eq!(fake.rules(), rules);
    let members = wanted(&[member("203.0.113.7", 600), member("198.51.100.1", 600)]);
    reconcile(&sink, &members).await;
    assert_eq!(standing(&sink).await, targets(&["198.51.100.1", "203.0.113.7"]));
    let mut expected = others;
    expected["trapline-block-1"] = rule("trapline", "True", &["203.0.113.7"]);
    expected["trapline-block-2"] = rule("trapline", "True", &["198.51.100.1"]);
    assert_eq!(fake.rules(), expected);
    assert_eq!(
        sink.check().await.unwrap(),
        "Windows' firewall answers, 2 addresses stand"
    );
}

#[tokio::test]
async fn who_is_spared_is_refused() {
    let fake = Fake::new();
    let sink = fake.sink();
    sink.spare(Arc::new(Spared::new([("203.0.113.0/24".parse().unwrap(), Why::Own)])));
    let put = applied(&sink, Change::Put(member("203.0.113.7", 600))).await;
    assert!(matches!(put, Put::Refused(_)), "{put:?}");
    assert_eq!(fake.read("asked"), "");
}

#[tokio::test]
async fn a_policy_that_forbids_local_rules_is_told() {
    let fake = Fake::new();
    fake.write(
        "profiles",
        r#"["profile Domain True False", "profile Private False True"]"#,
    );
    let sink = fake.sink();
    for fault in [sink.stands().await.unwrap_err(), sink.check().await.unwrap_err()] {
        assert_eq!(fault.kind, FaultKind::Config);
        assert!(fault.message.contains("AllowLocalPolicyMerge"), "{}", fault.message);
    }
    fake.write(
        "profiles",
        r#"["profile Domain True False", "profile Public True True"]"#,
    );
    let said = sink.check().await.unwrap();
    assert!(said.ends_with("without effect in profile Domain"), "{said}");
}

#[tokio::test]
async fn what_windows_refuses_is_told_and_tried_again() {
    let fake = Fake::new();
    let sink = fake.sink();
    fake.write("fault", "\"Access is denied.\"");
    let fault = sink.stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(fault.message.starts_with("needs an administrator"), "{}", fault.message);
    let applied_then = sink.apply(&[Change::Put(member("203.0.113.7", 600))]).await;
    assert_eq!(
        (applied_then.outcomes, applied_then.fault.unwrap().kind),
        (vec![Put::Retry], FaultKind::Auth)
    );
    std::fs::remove_file(fake.path("fault")).unwrap();
    reconcile(&sink, &wanted(&[member("203.0.113.7", 600)])).await;
    assert_eq!(standing(&sink).await, targets(&["203.0.113.7"]));
}

#[tokio::test]
async fn a_powershell_that_ends_or_hangs_is_followed_by_a_new_one() {
    let fake = Fake::new();
    let mut settings = fake.settings();
    let sink = fake.sink();
    let members = wanted(&[member("203.0.113.7", 600)]);
    reconcile(&sink, &members).await;
    let first = fake.read("starts");
    run(&format!("kill -9 {}", first.trim()));
    // The one that is no more is noticed by the question to it, or by its end.
    assert!(sink.stands().await.is_err() || fake.read("starts") != first);
    assert_eq!(reconcile(&sink, &members).await, 0);
    assert_eq!(fake.read("starts").lines().count(), 2);
    fake.write("silent", "");
    settings.programs = Programs::within(vec![fake.0.path().into()], Duration::from_millis(500));
    let hasty = build(&settings, false);
    let fault = hasty.stands().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(
        fault.message.contains("`powershell.exe` did not end within"),
        "{}",
        fault.message
    );
    std::fs::remove_file(fake.path("silent")).unwrap();
    let mut patient = fake.settings();
    patient.members = Some(5);
    assert_eq!(standing(&build(&patient, false)).await, targets(&["203.0.113.7"]));
}
