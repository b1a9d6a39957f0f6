//! Tests that need a process of their own: its mounts, its environment.

use std::path::Path;
use std::process::Command;

/// Runs one test of this program again in a process that `env` starts, with these words before the program's.
pub(super) fn run_again(test: &str, wrapper: &[&str]) {
    let again = Command::new("timeout")
        .arg("120")
        .args(wrapper)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

/// A tmpfs of 3 MiB, among the mounts of a process of its own.
pub(crate) struct Disk<'p>(&'p Path);

const OWN_MOUNTS: &str = "TRAPLINE_TEST_MOUNTS";

impl<'p> Disk<'p> {
    /// Runs `test` again where it may mount, which needs no rights but to make a user namespace; gives the disk in that
    /// process alone.
    pub(crate) fn mount(path: &'p Path, test: &str) -> Option<Self> {
        let mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path.to_str()?];
        if std::env::var_os(OWN_MOUNTS).is_some() {
            assert!(run(mount[0], &mount[1..]));
            return Some(Self(path));
        }
        let own = ["unshare", "--map-root-user", "--mount"];
        if run(own[0], &[&own[1..], &mount].concat()) {
            let told = format!("{OWN_MOUNTS}=own");
            let wrapper = [&own[..], &["env", &told]].concat();
            run_again(test, &wrapper);
        } else {
            println!("SKIPPED: no namespace to mount a tmpfs in; {test} was not tried");
        }
        None
    }

    /// A file of others takes this much of it, or what there is.
    pub(crate) fn others_take(&self, kib: usize) {
        // It may not fit; then the disk is full, as was wanted.
        let _ = std::fs::write(self.0.join("others"), vec![0; kib << 10]);
    }

    /// The source is named, or `mount` asks the kernel for options of a user that has no name here.
    pub(crate) fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(
            run("mount", &["-o", &options, "tmpfs", self.0.to_str().unwrap()]),
            "{options}"
        );
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}
