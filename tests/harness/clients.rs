//! Real clients from Debian, each bounded in time.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

/// Longest run of one client, seconds.
const CLIENT_SECS: &str = "90";

/// Whether a program can be run; says loudly when it cannot.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED part of a test: `{program}` is not installed");
    }
    found
}

/// Runs a client to its end; what it says and how it exits is its own business.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args([CLIENT_SECS, program])
        .args(arguments)
        // Some leave files where they stand.
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a line of shell, for clients that want to be typed at.
pub fn shell(line: &str) -> Output {
    run("bash", &["-c", line])
}

/// OpenSSH's client, which offers keys and would offer a password.
pub fn ssh(address: SocketAddr, user: &str) -> Output {
    let port = address.port().to_string();
    let options = "-oBatchMode=yes -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oConnectTimeout=20";
    let mut arguments: Vec<&str> = options.split(' ').collect();
    let target = format!("{user}@{}", address.ip());
    arguments.extend(["-p", &port, &target, "true"]);
    run("ssh", &arguments)
}

/// `curl` with further arguments.
pub fn curl(arguments: &[&str]) -> Output {
    let mut all = vec!["-sS", "--max-time", "30"];
    all.extend(arguments);
    run("curl", &all)
}

/// The `ftp` client, logging in.
pub fn ftp(address: SocketAddr, user: &str, password: &str) -> Output {
    let (ip, port) = (address.ip(), address.port());
    shell(&format!(
        "printf 'user {user} {password}\\nsyst\\nquit\\n' | ftp -n -p {ip} {port}"
    ))
}

/// The `telnet` client, typed at by somebody who logs in once.
pub fn telnet(address: SocketAddr, user: &str, password: &str) -> Output {
    let (ip, port) = (address.ip(), address.port());
    shell(&format!(
        "(sleep 1; echo {user}; sleep 1; echo {password}; sleep 4) | telnet {ip} {port}"
    ))
}

/// hydra with a list of passwords against one service.
pub fn hydra(service: &str, address: SocketAddr, user: &str, passwords: &str) -> Output {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    run(
        "hydra",
        &["-I", "-t", "4", "-l", user, "-P", passwords, "-s", &port, &ip, service],
    )
}

/// `nmap -sV` of some ports; its words.
pub fn nmap(addresses: &[SocketAddr]) -> String {
    let ports: Vec<String> = addresses.iter().map(|address| address.port().to_string()).collect();
    let ip = addresses[0].ip().to_string();
    let output = run("nmap", &["-Pn", "-sT", "-sV", "-p", &ports.join(","), &ip]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
