//! Programs that stand in for others in tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program, by a process of its own: a file that this one had open for writing might still be so in a child that
/// another test is about to start, and the kernel runs no file that somebody writes.
pub(crate) fn program(path: &Path, text: &str) {
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    install.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(install.wait().unwrap().success());
}
