//! What the kernel says of a process, and how figures are printed.

use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: part of the kernel's ABI (`USER_HZ`), whatever the timer does.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time, user and system, of a process and its finished and running threads.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A span as the table shows it.
pub fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// A figure as the table shows it.
pub fn micros(figure: f64) -> String {
    format!("{figure:.1} µs")
}

/// Lets this process, and those it starts, open as many descriptors as the hard limit allows.
pub fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// One line of the table: a figure beside its twin's.
pub fn row(what: &str, ours: &str, bare: &str, ratio: Option<f64>, bound: &str) {
    let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    println!("{what:<44} {ours:>12} {bare:>12} {ratio:>8} {bound:>8}");
}
