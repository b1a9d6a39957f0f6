//! The deployments in `config/examples`, as `check` sees them, and the Debian package.
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

use super::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files that examples name by an absolute path, and what stands in for each.
const STAND_INS: &[(&str, &str)] = &[
    ("/var/lib/trapline", "state"),
    ("/etc/trapline/logs-ca.pem", "ca.pem"),
    ("/etc/trapline/kafka-ca.pem", "ca.pem"),
];

/// Secrets that examples take from a file, and what could stand there.
const SECRETS: &[(&str, &str)] = &[
    ("hec.token", "11111111-2222-3333-4444-555555555555\n"),
    ("kafka.password", "correct horse battery staple\n"),
    ("slack.url", "https://hooks.slack.com/services/T0/B0/x\n"),
    ("smtp.password", "correct horse battery staple\n"),
];

#[test]
fn every_example_is_a_configuration_without_a_mistake() {
    let examples: Vec<_> = std::fs::read_dir(Path::new(ROOT).join("config/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        accepted(&example);
    }
}

#[test]
fn what_the_readme_shows_is_a_configuration_without_a_mistake() {
    const VARIABLES: &[(&str, &str)] = &[
        ("AZURE_CLIENT_SECRET", "token"),
        ("ELASTIC_API_KEY", "token"),
        ("OTLP_HEADERS", "api-key=token"),
        ("PAGERDUTY_ROUTING_KEY", "0123456789abcdef0123456789abcdef"),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/token"),
        ("SMTP_PASSWORD", "token"),
        ("SOAR_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("SPLUNK_HEC_TOKEN", "token"),
        (
            "TEAMS_WEBHOOK_URL",
            "https://prod-1.westeurope.logic.azure.com/workflows/0?sig=token",
        ),
        ("THEHIVE_TOKEN", "token"),
        ("TSIG_SECRET", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"),
    ];
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let blocks: Vec<_> = readme
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 2, "{blocks:?}");
    let trap = Trap::idle(&blocks.concat());
    let output = trap
        .command(&["check", "--json"])
        .envs(VARIABLES.iter().copied())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), DONE, "{:#}", json(&output));
}

/// With stand-ins for what it names outside.
fn accepted(example: &Path) {
    let trap = Trap::idle("");
    let mut config = std::fs::read_to_string(example).unwrap();
    for (named, name) in STAND_INS {
        config = config.replace(named, trap.path(name).to_str().unwrap());
    }
    trap.configure(&config);
    let authority = rcgen::generate_simple_self_signed(["logs.example".to_owned()]).unwrap();
    std::fs::write(trap.path("ca.pem"), authority.cert.pem()).unwrap();
    for (name, secret) in SECRETS {
        std::fs::write(trap.path(name), secret).unwrap();
    }
    std::fs::write(
        trap.path("inventory.csv"),
        "ip,owner,host,tags\n10.3.0.9,net,pc-9,desk\n",
    )
    .unwrap();
    let output = trap.trapline(&["check", "--json"]);
    let said = json(&output);
    if config.contains("\"scram-") && !cfg!(feature = "kafka-tls-system") {
        refused_for_want_of_tls(&output, &said);
        return;
    }
    assert_eq!(output.status.code(), DONE, "{}: {said:#}", example.display());
    assert_eq!(said["ok"], true, "{}", example.display());
    // Ports of this machine may be taken, and the right to low ones may be missing; nothing else may be odd.
    for warning in said["warnings"].as_array().unwrap() {
        assert!(
            warning.to_string().contains("listen"),
            "{}: {warning}",
            example.display()
        );
    }
}

/// A build without TLS for Kafka says so, and nothing else.
fn refused_for_want_of_tls(output: &std::process::Output, said: &serde_json::Value) {
    assert_ne!(output.status.code(), DONE);
    let errors = said["errors"].as_array().unwrap();
    assert!(
        errors
            .iter()
            .all(|error| error.to_string().contains("--features kafka-tls")),
        "{said:#}"
    );
}

#[test]
fn the_debian_package_holds_the_program_its_unit_its_configuration_and_its_pages() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        println!("SKIPPED: no dpkg-deb; the package was not built");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(Path::new(ROOT).join("config/packaging/deb.sh"))
        .args([Path::new(env!("CARGO_BIN_EXE_trapline")), folder.path()])
        // The program of a test is large, and how small it can be made is not asked here.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    let package = text(&built.stdout).trim().to_owned();
    let ask = |what: &str| {
        let answer = Command::new("dpkg-deb").args([what, &package]).output().unwrap();
        assert!(answer.status.success(), "{}", text(&answer.stderr));
        text(&answer.stdout)
    };
    let control = ask("--field");
    for field in ["Package: trapline\n", "Version: ", "Depends: libc6", "adduser"] {
        assert!(control.contains(field), "{field} in {control}");
    }
    let listed = ask("--contents");
    for (mode, file) in [
        ("-rwxr-xr-x root/root", "./usr/bin/trapline"),
        ("-rw-r--r-- root/root", "./lib/systemd/system/trapline.service"),
        ("-rw-r----- root/root", "./etc/trapline/trapline.toml"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/trapline.1.gz"),
        (
            "-rw-r--r-- root/root",
            "./usr/share/bash-completion/completions/trapline",
        ),
        (
            "-rw-r--r-- root/root",
            "./usr/share/doc/trapline/examples/lone-vps.toml",
        ),
    ] {
        let is_it = |line: &str| line.starts_with(mode) && line.ends_with(file);
        assert!(listed.lines().any(is_it), "{mode} {file} in {listed}");
    }
    packaged_parts_work(&package, folder.path());
}

/// The packaged configuration is a good one, and what is installed has the sums that the package says.
fn packaged_parts_work(package: &str, folder: &Path) {
    let root = folder.join("root");
    let unpacked = Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(package)
        .arg(&root)
        .output()
        .unwrap();
    assert!(unpacked.status.success(), "{}", text(&unpacked.stderr));
    let sums = Command::new("md5sum")
        .args(["--check", "--quiet", "DEBIAN/md5sums"])
        .current_dir(&root)
        .output();
    assert!(sums.unwrap().status.success());
    let conffiles = std::fs::read_to_string(root.join("DEBIAN/conffiles")).unwrap();
    assert_eq!(conffiles, "/etc/trapline/trapline.toml\n");
    let config = std::fs::read_to_string(root.join("etc/trapline/trapline.toml")).unwrap();
    assert!(config.contains("\nstate_dir = \"/var/lib/trapline\"\n"));
    let program = Command::new(root.join("usr/bin/trapline"))
        .arg("--version")
        .output()
        .unwrap();
    assert_eq!(program.status.code(), DONE);
    for script in ["postinst", "prerm", "postrm"] {
        let parsed = Command::new("sh")
            .arg("-n")
            .arg(root.join("DEBIAN").join(script))
            .status()
            .unwrap();
        assert!(parsed.success(), "{script}");
    }
}
