//! Tests that need a process of their own: with namespaces that nobody else sees.

use std::process::Command;

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test of this program again, in a process of its own that `wrapper` starts.
pub fn run_again(test: &str, wrapper: &[&str]) {
    let again = Command::new("timeout")
        .arg("600")
        .args(wrapper)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
    said.lines()
        .filter(|line| line.starts_with("SKIPPED"))
        .for_each(|line| println!("{line}"));
}
