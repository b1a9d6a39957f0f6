//! Tables that are right, and others.

use super::*;

fn problems(toml: &str) -> Vec<String> {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    let _ = (SINK.parse)(&table);
    problems.take().iter().map(ToString::to_string).collect()
}

fn common() -> SetCommon {
    SetCommon::new("firewall", "lure", trapline_sink::dial::Resolver::default())
}

#[test]
fn the_defaults_are_right_for_every_backend() {
    for kind in ["auto", "nftables", "ipset", "firewalld", "fail2ban", "windows"] {
        assert_eq!(
            problems(&format!("backend = \"{kind}\"")),
            Vec::<String>::new(),
            "{kind}"
        );
    }
    assert_eq!(problems(""), Vec::<String>::new());
}

#[test]
fn each_key_of_another_backend_is_refused_at_its_place() {
    let all = problems("backend = \"ipset\"\njail = \"x\"\nzone = \"y\"\nset = \"mine\"\n");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("test.toml:2:"), "{}", all[0]);
    assert!(all[0].contains("`jail` with `backend = \"ipset\"`"), "{}", all[0]);
    assert!(all[0].contains("no `jail`: it is a key of fail2ban"), "{}", all[0]);
    for (backend, key) in [
        ("nftables", "set = \"a\""),
        ("nftables", "timeout = \"5s\""),
        ("fail2ban", "table = \"a\""),
        ("auto", "socket = \"/a\""),
        ("windows", "v6_prefix = 64"),
        ("firewalld", "shard = 5"),
    ] {
        assert_eq!(
            problems(&format!("backend = \"{backend}\"\n{key}")).len(),
            1,
            "{backend} {key}"
        );
    }
}

#[test]
fn values_are_held_to_their_bounds_all_at_once() {
    let all = problems("backend = \"nftables\"\nmembers = 3000000\ntable = \"Trap\"\nv6_prefix = 96\n");
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].contains("2000000") && all[1].contains("a letter first") && all[2].contains("64 or 128"));
    for toml in [
        "backend = \"fail2ban\"\njail = \"--all\"",
        "backend = \"fail2ban\"\njail = \"a b\"",
        "backend = \"fail2ban\"\nmembers = 20001",
        "backend = \"ipset\"\nset = \"\"",
        "backend = \"ipset\"\nset = \"a-name-that-is-just-too-long\"",
        "backend = \"windows\"\nshard = 1001",
        "backend = \"pf\"",
    ] {
        assert_eq!(problems(toml).len(), 1, "{toml}");
    }
}

#[test]
fn what_is_missing_is_told_when_it_is_built() {
    let nothing = Programs::within(vec!["/nowhere".into()], Duration::from_secs(1));
    for (kind, program) in [
        (Kind::Ipset, "ipset"),
        (Kind::Firewalld, "firewall-cmd"),
        (Kind::Fail2ban, "fail2ban-client"),
        (Kind::Windows, "powershell.exe"),
    ] {
        let built = Settings::new(kind, nothing.clone()).build(&common());
        let fault = built.map(|_| ()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Config, "{kind}");
        assert!(
            fault.message.starts_with(&format!("`{program}` is not installed")),
            "{}",
            fault.message
        );
    }
}

#[tokio::test]
async fn auto_takes_nftables_where_the_kernel_has_it_and_ipset_where_not() {
    let auto = Settings::new(Kind::Auto, Programs::system(Duration::from_secs(5)));
    if Nftables::probe().is_ok() {
        let chosen = auto.build(&common()).unwrap().destination().unwrap();
        assert!(chosen.contains("nftables"), "{chosen}");
    }
    let lacks = Fault {
        kind: FaultKind::Local,
        message: "none here".into(),
    };
    let folder = tempfile::tempdir().unwrap();
    for program in ["ipset", "iptables", "ip6tables"] {
        std::fs::write(folder.path().join(program), "").unwrap();
    }
    let auto = Settings::new(
        Kind::Auto,
        Programs::within(vec![folder.path().into()], Duration::from_secs(5)),
    );
    let chosen = auto.instead_of_nftables(&lacks, &common()).unwrap();
    assert!(chosen.destination().unwrap().starts_with("ipset trapline-v4"));
    let nothing = Settings::new(Kind::Auto, Programs::within(Vec::new(), Duration::from_secs(1)));
    let fault = nothing.instead_of_nftables(&lacks, &common()).map(|_| ()).unwrap_err();
    assert!(
        fault
            .message
            .contains("nftables: none here; ipset: `ipset` is not installed"),
        "{}",
        fault.message
    );
}
