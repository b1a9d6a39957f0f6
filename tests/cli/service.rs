//! Under a service manager: what it is told, sockets that outlive a restart, the install of the service.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::harness::clients::has;
use super::harness::manager::Manager;
use super::*;

/// A folder for the manager's socket, and a trap that speaks to it.
fn watched(config: &str, watchdog: &str) -> (tempfile::TempDir, Manager, Trap) {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::listen(folder.path());
    let mut trap = Trap::idle(config);
    trap.set(&[("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", watchdog)]);
    (folder, manager, trap)
}

#[test]
fn the_manager_hears_of_readiness_reloads_and_the_stop_and_its_watchdog_is_fed() {
    let (_folder, mut manager, mut trap) = watched(PLAIN, "600000");
    trap.launch();
    let ready = manager.wait_for(0, "READY=1");
    manager.wait_for(ready, "STATUS=ok: 1 of 1 listeners, 1 sinks");
    let fed = manager.wait_for(ready, "WATCHDOG=1");
    manager.wait_for(fed, "WATCHDOG=1");
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    let reloading = manager.wait_for(ready, "RELOADING=1");
    manager.wait_for(reloading, "MONOTONIC_USEC=");
    manager.wait_for(reloading, "READY=1");
    trap.signal("TERM");
    manager.wait_for(reloading, "STOPPING=1");
    assert_eq!(trap.ended().code(), DONE);
}

#[test]
fn a_watchdog_is_not_fed_unless_the_manager_asks_and_nothing_is_said_without_one() {
    let (_folder, mut manager, mut trap) = watched(PLAIN, "");
    trap.launch();
    let ready = manager.wait_for(0, "READY=1");
    // One that is fed hears of it before the first of these is over.
    for _ in 0..3 {
        assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    }
    manager.wait_for(ready, "READY=1");
    trap.signal("TERM");
    manager.wait_for(0, "STOPPING=1");
    assert!(
        !manager.heard.iter().any(|line| line == "WATCHDOG=1"),
        "{:?}",
        manager.heard
    );
}

/// The command of an instance that is passed one socket under a name, as sd_listen_fds(3) has it.
fn handed(trap: &Trap, socket: OwnedFd, name: &str) -> Command {
    let run = trap.command(&["run"]);
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            r#"exec env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES="$0" "$@" 3<&0 </dev/null"#,
            name,
        ])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(run.get_current_dir().unwrap());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(socket);
    shell
}

#[test]
fn whoever_connects_while_trapline_is_killed_and_started_again_is_served() {
    let (_folder, mut manager, mut trap) = watched(PLAIN, "");
    trap.launch();
    manager.wait_for(0, "FDSTORE=1");
    manager.wait_for(0, "FDPOLL=0");
    let address = trap.address("door");
    trap.signal("KILL");
    trap.ended();
    let mut waiting = TcpStream::connect(address).expect("the port is open though nobody runs");
    let (name, socket) = manager.kept.pop().unwrap();
    assert!(!name.contains(':'), "a manager takes no such name: {name}");
    trap.launch_by(handed(&trap, socket, &name));
    assert_eq!(
        trap.address("door"),
        address,
        "also where the configuration says any port"
    );
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut banner = [0; 8];
    waiting.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    let connects = trap.events(&["--action", "decoy-connect"]);
    assert_eq!(connects.len(), 1, "{connects:#?}");
}

#[test]
fn a_reload_lets_the_manager_forget_the_socket_of_a_decoy_that_goes() {
    let (_folder, mut manager, mut trap) = watched(&with_second_decoy(), "");
    trap.launch();
    manager.wait_for(0, "READY=1");
    manager.hear();
    assert_eq!(manager.kept.len(), 2);
    let window = trap.address("window");
    trap.configure(PLAIN);
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    manager.wait_for(0, "FDSTOREREMOVE=1");
    manager.hear();
    assert_eq!(manager.kept.len(), 1);
    assert!(TcpStream::connect(window).is_err(), "the port is closed");
}

#[test]
fn sockets_of_a_unit_are_used_in_place_of_ports_that_could_not_be_bound() {
    if !has("systemd-socket-activate") {
        return;
    }
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (door, other) = (free(), free());
    // 192.0.2.1 is nobody's (RFC 5737): it can only be had by name.
    let config = PLAIN.replace("127.0.0.1:0", &door.to_string());
    let config = format!("{config}\n[decoys.window]\nservice = \"ftp\"\nlisten = [\"192.0.2.1:21\"]\n");
    let mut trap = Trap::idle(&config);
    let run = trap.command(&["run"]);
    let mut activate = Command::new("systemd-socket-activate");
    activate
        .args([
            "--listen",
            &door.to_string(),
            "--listen",
            &other.to_string(),
            "--fdname=spare:window",
            "--",
        ])
        .arg(run.get_program())
        .args(run.get_args())
        .env("XDG_STATE_HOME", trap.folder.path());
    // It starts the program when the first peer comes, who is served all the same.
    let first = std::thread::spawn(move || eventually("the first comes", || TcpStream::connect(door).ok()));
    trap.launch_by(activate);
    let mut first = first.join().unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut banner = [0; 8];
    first.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    assert_eq!(trap.address("window"), other);
    assert!(touch(other).starts_with(b"220"));
}

/// A folder that stands for a system, and the command that installs into it.
fn system() -> (tempfile::TempDir, impl Fn(&[&str]) -> std::process::Output) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let path = root.path().to_owned();
    let service = move |arguments: &[&str]| {
        let mut command = trapline();
        command
            .arg("service")
            .args(arguments)
            .arg("--root")
            .arg(&path)
            .output()
            .unwrap()
    };
    (root, service)
}

/// Every file below a folder, by its path in it.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => found.push(entry.strip_prefix(root).unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

const INSTALL: &[&str] = &["install", "--binary", "/usr/local/bin/trapline"];

#[test]
fn an_installed_service_is_taken_back_to_the_last_file_and_its_state_stays() {
    if !has("systemd-sysusers") {
        return;
    }
    let (root, service) = system();
    let dry = service(&[INSTALL, &["--dry-run"]].concat());
    assert_eq!(dry.status.code(), DONE, "{}", text(&dry.stderr));
    assert!(text(&dry.stdout).contains("would write /etc/systemd/system/trapline.service"));
    assert!(text(&dry.stdout).contains("ExecStart=/usr/local/bin/trapline run"));
    assert_eq!(files(root.path()), Vec::<PathBuf>::new(), "a dry run makes nothing");

    let installed = service(INSTALL);
    assert_eq!(installed.status.code(), DONE, "{}", text(&installed.stderr));
    let said = text(&installed.stdout);
    for made in [
        "made user trapline",
        "wrote /etc/trapline/trapline.toml",
        "made /var/lib/trapline",
    ] {
        assert!(said.contains(made), "{said}");
    }
    let unit = std::fs::read_to_string(root.path().join("etc/systemd/system/trapline.service")).unwrap();
    assert!(
        unit.contains("\nUser=trapline\n") && unit.contains("\nType=notify\n"),
        "{unit}"
    );
    let mode = |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("var/lib/trapline"), 0o700);
    assert_eq!(mode("etc/trapline/trapline.toml"), 0o640);
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(
        users.contains("trapline:") && users.contains("/var/lib/trapline:"),
        "{users}"
    );
    let again = service(INSTALL);
    assert_eq!(again.status.code(), DONE);
    assert!(
        text(&again.stdout).lines().all(|line| line.starts_with("kept ")),
        "{}",
        text(&again.stdout)
    );

    std::fs::write(root.path().join("var/lib/trapline/journal.db"), "kept").unwrap();
    let removed = service(&["uninstall"]);
    assert_eq!(removed.status.code(), DONE, "{}", text(&removed.stderr));
    assert!(
        text(&removed.stdout).contains("kept user trapline"),
        "{}",
        text(&removed.stdout)
    );
    let users = ["passwd", "group", "shadow", "gshadow", ".pwd.lock"];
    let mut left = files(root.path());
    left.retain(|file| {
        !users
            .iter()
            .any(|name| file.file_name().unwrap().to_str().unwrap().starts_with(name))
    });
    assert_eq!(left, [PathBuf::from("var/lib/trapline/journal.db")]);
    assert!(!root.path().join("etc/trapline").exists());
    assert_eq!(
        service(&["uninstall"]).status.code(),
        FAILED,
        "there is nothing left to take back"
    );
}

#[test]
fn an_install_overwrites_nothing_and_an_uninstall_leaves_what_was_changed() {
    if !has("systemd-sysusers") {
        return;
    }
    let (root, service) = system();
    let (config, unit) = ("etc/trapline/trapline.toml", "etc/systemd/system/trapline.service");
    std::fs::create_dir_all(root.path().join("etc/trapline")).unwrap();
    std::fs::write(root.path().join(config), "mine").unwrap();
    assert_eq!(service(INSTALL).status.code(), DONE);
    assert_eq!(std::fs::read_to_string(root.path().join(config)).unwrap(), "mine");
    std::fs::write(root.path().join(unit), "changed by hand").unwrap();
    let again = service(INSTALL);
    assert_eq!(again.status.code(), FAILED);
    assert!(
        text(&again.stderr).contains("not as an earlier install wrote it"),
        "{}",
        text(&again.stderr)
    );
    let removed = service(&["uninstall"]);
    assert_eq!(removed.status.code(), DONE);
    assert!(
        text(&removed.stdout).contains("it was changed since"),
        "{}",
        text(&removed.stdout)
    );
    assert_eq!(
        std::fs::read_to_string(root.path().join(unit)).unwrap(),
        "changed by hand"
    );
    assert_eq!(std::fs::read_to_string(root.path().join(config)).unwrap(), "mine");
}

#[test]
fn an_install_that_came_to_nothing_is_taken_back_as_well() {
    if !has("systemd-sysusers") {
        return;
    }
    let (root, service) = system();
    let unit = "etc/systemd/system/trapline.service";
    std::fs::create_dir_all(root.path().join("etc/systemd/system")).unwrap();
    std::fs::write(root.path().join(unit), "of somebody else").unwrap();
    let refused = service(INSTALL);
    assert_eq!(refused.status.code(), FAILED);
    assert!(root.path().join("etc/trapline/trapline.toml").exists());
    let removed = service(&["uninstall"]);
    assert_eq!(removed.status.code(), DONE, "{}", text(&removed.stderr));
    assert!(!root.path().join("etc/trapline").exists(), "{}", text(&removed.stdout));
    assert_eq!(
        std::fs::read_to_string(root.path().join(unit)).unwrap(),
        "of somebody else"
    );
}

#[test]
fn a_service_that_could_not_work_is_not_installed() {
    let (root, service) = system();
    for (arguments, why) in [
        (&["install", "--binary", "/home/me/trapline"][..], "sandbox hides /home"),
        (&["install", "--binary", "trapline"], "no path that a unit can hold"),
        (&["install", "--binary", "/opt/a b"], "no path that a unit can hold"),
        (
            &["install", "--binary", "/opt/trapline", "--user", "root"],
            "does not need root",
        ),
        (
            &["install", "--binary", "/opt/trapline", "--user", "a\nb"],
            "no name of a user",
        ),
    ] {
        let refused = service(arguments);
        assert_eq!(refused.status.code(), FAILED, "{arguments:?}");
        assert!(
            text(&refused.stderr).contains(why),
            "{arguments:?}: {}",
            text(&refused.stderr)
        );
    }
    std::fs::create_dir_all(root.path().join("usr/lib/systemd/system")).unwrap();
    std::fs::write(root.path().join("usr/lib/systemd/system/trapline.service"), "").unwrap();
    let packaged = service(INSTALL);
    assert!(
        text(&packaged.stderr).contains("a package has installed"),
        "{}",
        text(&packaged.stderr)
    );
}

#[test]
fn where_systemd_does_not_run_the_install_says_so_and_makes_nothing() {
    if Path::new("/run/systemd/system").exists() {
        println!("SKIPPED: this machine runs systemd; an install without it was not tried");
        return;
    }
    let refused = trapline().arg("service").args(INSTALL).output().unwrap();
    assert_eq!(refused.status.code(), FAILED);
    assert!(
        text(&refused.stderr).contains("not started by systemd"),
        "{}",
        text(&refused.stderr)
    );
    assert!(!Path::new("/etc/systemd/system/trapline.service").exists());
}

#[test]
fn systemd_itself_finds_nothing_wrong_with_the_unit_and_its_sandbox_is_tight() {
    if !has("systemd-analyze") {
        return;
    }
    let (root, service) = system();
    let binary = ["install", "--binary", "/bin/true"];
    if !has("systemd-sysusers") {
        return;
    }
    assert_eq!(service(&binary).status.code(), DONE);
    let unit = root.path().join("etc/systemd/system/trapline.service");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = text(&verified.stderr);
    assert!(
        verified.status.success() && !said.contains("trapline.service"),
        "{said}"
    );
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    let rated = Command::new("systemd-analyze")
        .args(arguments)
        .arg(&unit)
        .output()
        .unwrap();
    assert!(rated.status.success(), "exposure above 2.0: {}", text(&rated.stdout));
}
