//! `try`: nothing given, everything shown, nothing left.

use super::*;

/// A trial on an address of loopback that prints into a file of `folder`. Each test has its own address: between the
/// choice of a port and its use another could take it.
fn trial(folder: &Path, address: &str, arguments: &[&str]) -> std::process::Child {
    let prints = std::fs::File::create(folder.join("stdout.log")).unwrap();
    trapline()
        .args(["try", "--listen", address])
        .args(arguments)
        .env("TMPDIR", folder)
        .stdout(prints)
        .spawn()
        .unwrap()
}

fn printed(folder: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join("stdout.log")).unwrap()).into_owned()
}

/// The address after `ssh -p`, once it is printed.
fn ssh_of(folder: &Path, address: &str) -> std::net::SocketAddr {
    eventually("the trial says how to touch it", || {
        let said = printed(folder);
        let (_, rest) = said.split_once("ssh -p ")?;
        let (port, _) = rest.split_once(&format!(" anyone@{address}\n"))?;
        let ssh = format!("{address}:{port}").parse().ok()?;
        said.contains("Ctrl-C").then_some(ssh)
    })
}

fn interrupted(mut child: std::process::Child) -> Option<i32> {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    child.wait().unwrap().code()
}

fn left(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

#[test]
fn a_trial_shows_each_touch_sums_up_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The usual port is not to be had.
    let address = "127.0.0.71";
    let _held = TcpListener::bind((address, 2222));
    let child = trial(folder.path(), address, &[]);
    let ssh = ssh_of(folder.path(), address);
    assert_ne!(ssh.port(), 2222);
    for how in ["telnet 127.0.0.71 ", "curl http://127.0.0.71:", "nmap -sV -p "] {
        assert!(printed(folder.path()).contains(how), "{how}");
    }
    assert!(touch(ssh).starts_with(b"SSH-2.0-OpenSSH_8.9p1 Ubuntu"));
    eventually("the touch is shown", || {
        let said = printed(folder.path());
        let (_, after) = said.split_once("Ctrl-C")?;
        after.contains("ssh").then_some(())
    });
    assert_eq!(interrupted(child), DONE);
    let said = printed(folder.path());
    let last = said.lines().last().unwrap();
    assert!(last.ends_with(" from 1 source") && !last.starts_with("0 "), "{last}");
    assert!(left(folder.path()).is_empty(), "its folder is gone");
}

#[test]
fn a_trial_that_is_kept_can_be_looked_at_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let address = "127.0.0.72";
    let child = trial(folder.path(), address, &["--keep"]);
    touch(ssh_of(folder.path(), address));
    assert_eq!(interrupted(child), DONE);
    let kept = left(folder.path()).pop().unwrap();
    let last = printed(folder.path()).lines().last().unwrap().to_owned();
    assert!(
        last.ends_with(&format!("from 1 source, kept in {}", kept.display())),
        "{last}"
    );
    let events = trapline()
        .arg("--config")
        .arg(kept.join("trapline.toml"))
        .args(["events", "--json"])
        .output()
        .unwrap();
    assert!(text(&events.stdout).contains("decoy-connect"));
}

#[test]
fn a_trial_takes_no_configuration() {
    let trap = Trap::idle(PLAIN);
    let refused = trap.trapline(&["try"]);
    assert_eq!(refused.status.code(), USAGE, "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("a configuration of its own"));
}
