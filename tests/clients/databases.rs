//! `redis` by redis-cli, `mysql` by the client of MariaDB, `postgresql` by its own; hydra and nmap.

use serde_json::json;

use crate::harness::clients::{has, hydra, nmap, run, shell};
use crate::{event, lure};

#[test]
fn redis_cli_is_refused_in_both_protocols_and_its_password_is_nowhere() {
    if !has("redis-cli") {
        return;
    }
    let trap = lure("service = \"redis\"");
    let port = trap.address("lure").port().to_string();
    let cli = |arguments: &[&str]| {
        let output = run("redis-cli", &[&["-p", &port], arguments].concat());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert_eq!(cli(&["ping"]).trim(), "NOAUTH Authentication required.");
    let refused = "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.";
    assert!(cli(&["-a", "hunter22", "info"]).contains(refused));
    assert!(cli(&["-3", "--user", "root", "--pass", "hunter22", "keys", "*"]).contains(refused));
    let root = event(&trap, "decoy-credential", &[("/user/name", json!("root"))]);
    assert_eq!(root["honeyport"]["credential"]["secret_length"], 8);
    event(&trap, "decoy-query", &[("/honeyport/commands", json!(["keys *"]))]);
    let all = trap.events(&["--limit", "10000", "--format", "ecs"]);
    assert!(all.iter().all(|event| !event.to_string().contains("hunter22")));
}

#[test]
fn hydra_guesses_at_redis_and_nmap_calls_it_so() {
    let trap = lure("service = \"redis\"");
    if has("hydra") {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "letmein1\nhunter22\n").unwrap();
        // It takes no user for redis.
        let (port, list) = (
            trap.address("lure").port().to_string(),
            list.path().to_str().unwrap().to_owned(),
        );
        run(
            "hydra",
            &["-I", "-t", "2", "-P", &list, "-s", &port, "127.0.0.1", "redis"],
        );
        event(
            &trap,
            "decoy-credential",
            &[("/honeyport/credential/kind", json!("password"))],
        );
    }
    if has("nmap") {
        let said = nmap(&[trap.address("lure")]);
        assert!(said.contains("Redis key-value store"), "{said}");
    }
}

#[test]
fn the_client_of_mariadb_is_refused_by_both_products_and_its_proof_can_be_cracked() {
    if !has("mariadb") || !has("python3") {
        return;
    }
    // Where the server has TLS the client takes it, and what it says of itself comes after its hello.
    for (personality, said_with) in [
        ("mariadb-debian-12", "decoy-handshake"),
        ("mysql-ubuntu-22.04", "decoy-credential"),
    ] {
        let keys = format!("service = \"mysql\"\npersonality = \"{personality}\"\n[capture]\nsecrets = \"clear\"");
        let trap = lure(&keys);
        let port = trap.address("lure").port().to_string();
        let target = [
            "-h127.0.0.1",
            "-P",
            &port,
            "-uroot",
            "-phunter22",
            "shop",
            "-e",
            "select 1",
        ];
        let output = run("mariadb", &target);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let denied = "ERROR 1045 (28000): Access denied for user 'root'@'127.0.0.1' (using password: YES)";
        assert!(said.contains(denied), "{said}");
        let known = event(&trap, said_with, &[("/honeyport/database/name", json!("shop"))]);
        assert!(known.to_string().contains("_client_name=libmariadb"), "{known:#}");
        let login = event(&trap, "decoy-credential", &[("/user/name", json!("root"))]);
        let line = login["honeyport"]["credential"]["secret"].as_str().unwrap();
        assert!(line.starts_with("$mysqlna$") && line.len() == 9 + 40 + 1 + 40, "{line}");
        assert!(can_be_cracked(line));
    }
}

/// Whether a line of hashcat's mode 11200 is of the password `hunter22`: SHA1(p) ^ SHA1(salt + SHA1(SHA1(p))).
fn can_be_cracked(line: &str) -> bool {
    let script = "import sys, hashlib; s = lambda b: hashlib.sha1(b).digest(); \
        salt, proof = map(bytes.fromhex, sys.argv[1][9:].split('*')); once = s(b'hunter22'); \
        sys.exit(bytes(a ^ b for a, b in zip(once, s(salt + s(once)))) != proof)";
    run("python3", &["-c", script, line]).status.success()
}

#[test]
fn hydra_guesses_at_mysql_and_nmap_reads_the_version() {
    let trap = lure("service = \"mysql\"");
    if has("hydra") {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "letmein1\nhunter22\n").unwrap();
        hydra("mysql", trap.address("lure"), "root", list.path().to_str().unwrap());
        event(
            &trap,
            "decoy-credential",
            &[("/honeyport/credential/kind", json!("hash"))],
        );
    }
    if has("nmap") {
        let said = nmap(&[trap.address("lure")]);
        assert!(said.contains("MySQL 5.5.5-10.11.19-MariaDB-0+deb12u1"), "{said}");
    }
}

#[test]
fn psql_is_refused_and_its_proof_or_password_is_a_credential() {
    if !has("psql") || !has("pg_isready") {
        return;
    }
    for (personality, kind) in [("postgresql-debian-12", "hash"), ("postgresql-password", "password")] {
        let trap = lure(&format!("service = \"postgresql\"\npersonality = \"{personality}\""));
        let port = trap.address("lure").port().to_string();
        let ready = run("pg_isready", &["-h", "127.0.0.1", "-p", &port]);
        assert!(String::from_utf8_lossy(&ready.stdout).contains("accepting connections"));
        let login = format!("PGPASSWORD=hunter22 psql -h 127.0.0.1 -p {port} -U bob -c 'select 1' shop");
        let said = String::from_utf8_lossy(&shell(&login).stderr).into_owned();
        assert!(
            said.contains("FATAL:  password authentication failed for user \"bob\""),
            "{said}"
        );
        let known = event(&trap, "decoy-handshake", &[("/honeyport/database/name", json!("shop"))]);
        assert!(known.to_string().contains("application_name=psql"), "{known:#}");
        let wanted = [
            ("/user/name", json!("bob")),
            ("/honeyport/credential/kind", json!(kind)),
        ];
        event(&trap, "decoy-credential", &wanted);
        let all = trap.events(&["--limit", "10000", "--format", "ecs"]);
        assert!(all.iter().all(|event| !event.to_string().contains("hunter22")));
    }
}

#[test]
fn nmap_calls_postgresql_as_it_calls_a_real_one() {
    if has("nmap") {
        let trap = lure("service = \"postgresql\"");
        let said = nmap(&[trap.address("lure")]);
        assert!(said.contains("PostgreSQL DB 9.6.0 or later"), "{said}");
    }
}

#[test]
fn psql_that_insists_on_tls_and_binds_to_it_leaves_its_hello_and_its_proof() {
    if !has("psql") {
        return;
    }
    for (personality, binding) in [("postgresql-debian-12", "require"), ("postgresql-password", "disable")] {
        let trap = lure(&format!("service = \"postgresql\"\npersonality = \"{personality}\""));
        let port = trap.address("lure").port();
        let target = format!(
            "host=127.0.0.1 port={port} user=bob dbname=shop password=hunter22 sslmode=require channel_binding={binding}"
        );
        let said = String::from_utf8_lossy(&run("psql", &[&target, "-c", "select 1"]).stderr).into_owned();
        assert!(
            said.contains("FATAL:  password authentication failed for user \"bob\""),
            "{said}"
        );
        let hello = event(&trap, "decoy-handshake", &[("/tls/version", json!("1.3"))]);
        assert!(
            hello["honeyport"]["tls"]["ja4"].as_str().unwrap().starts_with("t13"),
            "{hello:#}"
        );
        let login = event(&trap, "decoy-credential", &[("/user/name", json!("bob"))]);
        assert!(login.to_string().contains("application_name=psql"), "{login:#}");
        event(&trap, "session-end", &[("/tls/established", json!(true))]);
        let all = trap.events(&["--limit", "10000", "--format", "ecs"]);
        assert!(all.iter().all(|event| !event.to_string().contains("hunter22")));
    }
}

#[test]
fn the_client_of_mariadb_speaks_tls_with_mysql_which_has_a_certificate() {
    if !has("mariadb") {
        return;
    }
    let trap = lure("service = \"mysql\"\npersonality = \"mysql-ubuntu-22.04\"");
    let port = trap.address("lure").port().to_string();
    let target = [
        "-h127.0.0.1",
        "-P",
        &port,
        "-uroot",
        "-phunter22",
        "--ssl",
        "-e",
        "select 1",
    ];
    let said = String::from_utf8_lossy(&run("mariadb", &target).stderr).into_owned();
    let denied = "ERROR 1045 (28000): Access denied for user 'root'@'127.0.0.1' (using password: YES)";
    assert!(said.contains(denied), "{said}");
    let hello = event(&trap, "decoy-handshake", &[("/tls/version", json!("1.3"))]);
    assert_eq!(hello["tls"]["client"]["ja3"].as_str().unwrap().len(), 32);
    event(&trap, "decoy-credential", &[("/user/name", json!("root"))]);
    event(&trap, "session-end", &[("/tls/established", json!(true))]);
}

#[test]
fn openssl_and_nmap_read_the_certificates_of_databases() {
    for (service, starttls, name) in [
        ("postgresql", "postgres", "commonName="),
        (
            "mysql\"\npersonality = \"mysql-ubuntu-22.04",
            "mysql",
            "commonName=MySQL_Server_8.0.41_Auto_Generated_Server",
        ),
    ] {
        let trap = lure(&format!("service = \"{service}\""));
        let address = trap.address("lure");
        if has("openssl") {
            let said = shell(&format!(
                "openssl s_client -connect {address} -starttls {starttls} </dev/null 2>&1"
            ));
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.contains("TLSv1.3") && said.contains("BEGIN CERTIFICATE"), "{said}");
        }
        if has("nmap") {
            let port = address.port().to_string();
            let scan = ["-Pn", "-sT", "-sV", "--script", "+ssl-cert", "-p", &port, "127.0.0.1"];
            let said = String::from_utf8_lossy(&run("nmap", &scan).stdout).into_owned();
            assert!(said.contains(&format!("Subject: {name}")), "{said}");
        }
    }
}
