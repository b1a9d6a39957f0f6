//! A configuration is read again: by command, by signal, good and bad.

use super::*;

/// Needs the right to mount a small file system for the journal.
#[test]
fn on_a_full_disk_a_reload_of_sinks_is_refused_and_sigterm_ends() {
    let mut trap = Trap::idle(PLAIN);
    let state = trap.path("state");
    std::fs::create_dir(&state).unwrap();
    let Some(_disk) = SmallDisk::mount(&state) else {
        println!("SKIPPED: no right to mount a tmpfs; a reload on a full disk was not tried");
        return;
    };
    trap.launch();
    let mut filler = std::fs::File::create(state.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    // Each touch is an event: the journal notices.
    let address = trap.address("door");
    eventually("the journal fails", || {
        touch(address);
        (trap.status()["journal"]["health"] != "ok").then_some(())
    });
    trap.configure(&format!(
        "{PLAIN}\n[sinks.late]\ntype = \"file\"\ninputs = [\"*\"]\npath = \"late.jsonl\"\n"
    ));
    let reload = trap.command(&["reload"]).output().unwrap();
    assert_ne!(reload.status.code(), DONE);
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(said.contains("the journal's disk fails"), "{said}");
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}

/// A tmpfs of 4 MiB, unmounted at the end.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Option<Self> {
        let arguments = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", path.to_str()?];
        let mounted = Command::new("mount").args(arguments).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

/// The newest event of an action, once there are `count` of them.
fn told(trap: &Trap, action: &str, count: usize) -> serde_json::Value {
    eventually("the journal tells of it", || {
        let mut events = trap.events(&["--action", action]);
        (events.len() == count).then(|| events.pop()).flatten()
    })
}

#[test]
fn a_good_reload_opens_and_closes_what_changed_and_nothing_else() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let mut held = TcpStream::connect(door).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    trap.configure(&with_second_decoy());
    let output = trap.trapline(&["reload"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("window"), "{}", text(&output.stdout));
    assert_eq!(told(&trap, "config-reloaded", 1)["event.reason"], "decoy window added");
    assert!(touch(trap.address("window")).starts_with(b"220"));
    assert_eq!(trap.address("door"), door, "the unchanged listener keeps its port");
    held.write_all(b"SSH-2.0-client\r\n").unwrap();
    assert!(held.read(&mut [0; 64]).unwrap() > 0, "the open session goes on");
    trap.configure(PLAIN);
    let window = trap.address("window");
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    eventually("the removed decoy is closed", || {
        TcpStream::connect(window).is_err().then_some(())
    });
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    assert_eq!(told(&trap, "config-reloaded", 3)["event.reason"], "nothing changed");
    assert!(trap.events(&["--action", "config-refused"]).is_empty());
}

#[test]
fn a_reload_of_limits_drops_no_session_and_reopens_no_listener() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let mut held = TcpStream::connect(door).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    trap.configure(&format!("{PLAIN}\n[limits]\nsessions = 321\n"));
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    assert_eq!(told(&trap, "config-reloaded", 1)["event.reason"], "decoy door changed");
    assert_eq!(trap.address("door"), door);
    // Longer than the grace that sessions have at a stop.
    std::thread::park_timeout(std::time::Duration::from_secs(4));
    held.write_all(b"SSH-2.0-client\r\n").unwrap();
    assert!(held.read(&mut [0; 64]).unwrap() > 0, "the open session goes on");
    assert!(trap.events(&["--action", "listener-stopped"]).is_empty());
}

#[test]
fn a_broken_reload_changes_nothing_and_says_why() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let broken = with_second_decoy().replace("\"ftp\"", "\"f\\u001bt\"");
    trap.configure(&format!("{broken}servce = \"ftp\"\n"));
    let output = trap.trapline(&["reload"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), CONFIG, "{said}");
    assert!(
        said.contains("trapline.toml:15:") && said.contains("trapline.toml:17:1:"),
        "{said}"
    );
    assert!(said.contains("did you mean `service`"), "{said}");
    let refused = told(&trap, "config-refused", 1);
    assert_eq!(refused["honeyport.config.mistakes"], 2, "{refused:#}");
    let first = refused["error.message"].as_str().unwrap();
    assert!(first.contains("trapline.toml:15:"), "{first}");
    assert!(!first.chars().any(char::is_control), "{first:?}");
    assert!(trap.events(&["--action", "config-reloaded"]).is_empty());
    assert_eq!(trap.address("door"), door);
    assert_eq!(trap.status()["listeners"].as_array().unwrap().len(), 1);
    assert!(touch(door).starts_with(b"SSH-2.0-"));
}

/// A HEC collector: refuses the first requests, then takes what comes. Tells of each request.
fn collector(refused: usize) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for number in 1.. {
            let stream = listener.accept().unwrap().0;
            let answer = match number <= refused {
                true => ("403 Forbidden", r#"{"text":"Invalid token","code":4}"#),
                false => ("200 OK", r#"{"text":"Success","code":0}"#),
            };
            answer_one(stream, answer);
            if told.send(number).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

/// Reads one request and answers it.
fn answer_one(mut stream: TcpStream, (status, body): (&str, &str)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close",
        body.len()
    );
    let _ = write!(stream, "{head}\r\n\r\n{body}");
}

#[test]
fn a_reload_that_changes_nothing_tries_a_refused_sink_again_at_once() {
    let (address, requests) = collector(2);
    let sink = format!("[sinks.siem]\ntype = \"splunk_hec\"\ninputs = [\"*\"]\nendpoint = \"http://{address}\"\n");
    let trap = Trap::start_with(
        &format!("{PLAIN}\n{sink}token = \"${{HEC_TOKEN}}\"\n"),
        &[("HEC_TOKEN", "11111111-2222-3333-4444-555555555555")],
    );
    let next = || {
        requests
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{}", trap.log()))
    };
    let siem = || {
        let status = trap.status();
        let mut sinks = status["sinks"].as_array().unwrap().iter();
        sinks.find(|sink| sink["name"] == "siem").unwrap().clone()
    };
    let waits = || {
        eventually("the sink waits for a person", || {
            siem()["retry_in_secs"].is_u64().then_some(())
        })
    };
    touch(trap.address("door"));
    assert_eq!(next(), 1);
    waits();
    let output = trap.trapline(&["reload"]);
    assert_eq!(text(&output.stdout), "nothing changed\n", "{}", text(&output.stderr));
    assert_eq!(next(), 2);
    waits();
    trap.signal("HUP");
    assert_eq!(next(), 3);
    eventually("the sink works", || (siem()["health"] == "ok").then_some(()));
}

#[test]
fn a_hangup_reloads_and_a_broken_file_is_logged() {
    let trap = Trap::start(PLAIN);
    trap.configure(&with_second_decoy());
    trap.signal("HUP");
    eventually("the second decoy listens", || {
        let status = trap.status();
        status["listeners"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["decoy"] == "window")
            .cloned()
    });
    let door = trap.address("door");
    trap.configure("[decoys.door]\nservice = 7\n");
    trap.signal("HUP");
    eventually("the refusal is logged", || {
        trap.log().contains("trapline.toml:2:").then_some(())
    });
    assert!(touch(door).starts_with(b"SSH-2.0-"));
}

#[test]
fn a_reload_refuses_what_only_a_restart_can_change() {
    let trap = Trap::start(PLAIN);
    trap.configure(&PLAIN.replace("state/journal.db", "elsewhere/journal.db"));
    trap.signal("HUP");
    eventually("the refusal is logged", || trap.log().contains("restart").then_some(()));
    // With the path as it was, the instance is found again.
    trap.configure(PLAIN);
    let refused = told(&trap, "config-refused", 1);
    let logged = trap.log().matches("takes a restart").count();
    assert_eq!(refused["honeyport.config.mistakes"], logged, "{refused:#}");
    assert!(refused["error.message"].as_str().unwrap().contains("takes a restart"));
    assert!(!trap.path("elsewhere").exists());
}

#[test]
fn zones_owners_retention_limits_and_log_level_change_without_a_restart() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let mut held = TcpStream::connect(door).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    let zone =
        |trap: &Trap| trap.events(&["--action", "decoy-connect"]).pop().unwrap()["honeyport.source.zone"].clone();
    eventually("the contact is recorded", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    assert_eq!(zone(&trap), "inside");
    let changed = "[zones.lab]\nnetworks = [\"127.0.0.0/8\"]\n[owners.net_team]\nnetworks = [\"127.0.0.0/8\"]\n\
                   [limits]\nevents_per_source_per_minute = 20\n[log]\nlevel = \"debug\"\n";
    let journal = PLAIN.replace("[journal]", "[journal]\nretain_days = 7\nretain_bytes = \"1GiB\"");
    trap.configure(&format!("{journal}\n{changed}"));
    trap.signal("HUP");
    let reason = told(&trap, "config-reloaded", 1)["event.reason"]
        .as_str()
        .unwrap()
        .to_owned();
    for what in [
        "zones changed",
        "owners or shared addresses changed",
        "retention changed",
        "log level changed",
        "decoy door changed",
    ] {
        assert!(reason.contains(what), "{what}: {reason}");
    }
    assert_eq!(trap.address("door"), door);
    held.write_all(b"SSH-2.0-client\r\n").unwrap();
    assert!(held.read(&mut [0; 64]).unwrap() > 0, "the open session goes on");
    touch(door);
    eventually("events from now on have the new zone", || {
        (zone(&trap) == "lab").then_some(())
    });
    for _ in 0..40 {
        touch(door);
    }
    // The rest of the minute is folded into one event, which is told when the minute or the run is over.
    let mut trap = trap;
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    assert!(
        !trap.events(&["--action", "source-folded"]).is_empty(),
        "the new limit folds"
    );
    assert!(trap.log().contains(" DEBUG "), "{}", trap.log());
}

#[test]
fn what_only_a_restart_can_change_is_told_in_one_line_and_nothing_else_is_done() {
    let trap = Trap::start(PLAIN);
    trap.configure(&format!(
        "{}\n[observer]\nsite = \"lyon\"\nname = \"other\"\n",
        with_second_decoy()
    ));
    let output = trap.trapline(&["reload"]);
    assert_eq!(output.status.code(), CONFIG);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("`observer.name`, `observer.site` changed, which takes a restart"),
        "{said}"
    );
    assert_eq!(trap.status()["listeners"].as_array().unwrap().len(), 1);
}

#[test]
fn a_sink_that_is_removed_and_comes_back_goes_on_where_it_stood() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let delivered = |count: usize| {
        eventually("the sink has what came", || {
            let text = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap_or_default();
            (text.matches("\"decoy-connect\"").count() == count).then_some(())
        });
    };
    touch(door);
    delivered(1);
    let without = PLAIN.split("[sinks.archive]").next().unwrap();
    trap.configure(without);
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    touch(door);
    eventually("it is recorded", || {
        (trap.events(&["--action", "decoy-connect"]).len() == 2).then_some(())
    });
    trap.configure(PLAIN);
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    delivered(2);
}

/// Writes a certificate and its key, valid until a year.
fn certify(trap: &Trap, name: &str, until: i32) {
    let until = jiff::civil::date(i16::try_from(until).unwrap(), 1, 1).to_zoned(jiff::tz::TimeZone::UTC);
    certify_until(trap, name, until.unwrap().timestamp().as_second());
}

/// `until`: seconds since 1970.
fn certify_until(trap: &Trap, name: &str, until: i64) {
    let mut params = rcgen::CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(until.try_into().unwrap());
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(trap.path("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(trap.path("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn a_decoys_certificate_is_followed_by_a_reload_and_a_bad_one_changes_nothing() {
    let secure = format!("{PLAIN}\n[decoys.web]\nservice = \"http\"\nlisten = [\"127.0.0.1:0\"]\n");
    let secure = secure + "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let mut trap = Trap::idle(&secure);
    let missing = trap.trapline(&["check"]);
    assert_eq!(missing.status.code(), CONFIG);
    let said = text(&missing.stderr);
    assert!(said.contains("decoys.web.tls") && said.contains("cert.pem"), "{said}");

    certify(&trap, "one", 2999);
    assert_eq!(trap.trapline(&["check"]).status.code(), DONE);
    trap.launch();
    let reload = || trap.trapline(&["reload"]);
    assert!(text(&reload().stdout).contains("nothing changed") || text(&reload().stderr).contains("nothing changed"));
    certify(&trap, "old", 2010);
    let expired = reload();
    assert_eq!(expired.status.code(), CONFIG);
    assert!(
        text(&expired.stderr).contains("and not now"),
        "{}",
        text(&expired.stderr)
    );
    told(&trap, "config-refused", 1);
    certify(&trap, "two", 2999);
    let changed = reload();
    assert_eq!(changed.status.code(), DONE);
    assert!(text(&changed.stdout).contains("decoy web changed"), "{changed:?}");
}

#[test]
fn a_certificate_that_runs_out_soon_is_told_in_status_and_log_until_there_is_another() {
    let secure = format!("{PLAIN}\n[decoys.web]\nservice = \"http\"\nlisten = [\"127.0.0.1:0\"]\n");
    let secure = secure + "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let mut trap = Trap::idle(&secure);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(7 * 24 + 1);
    certify_until(&trap, "one", soon.as_second());
    trap.launch();
    let web = |status: &serde_json::Value| {
        let listeners = status["listeners"].as_array().unwrap();
        let web = listeners.iter().find(|listener| listener["decoy"] == "web");
        web.unwrap()["certificate"].clone()
    };
    let status = trap.status();
    assert_eq!(status["health"], "degraded");
    assert!(
        web(&status)["days_left"] == 7 && web(&status)["own"] == true,
        "{status:#}"
    );
    let fault = &status["faults"][0];
    assert_eq!(fault["part"], "decoy web");
    assert!(fault["what"].as_str().unwrap().ends_with("7 days more"), "{fault}");
    let shown = text(&trap.trapline(&["status"]).stdout);
    assert!(shown.contains("7 days, own"), "{shown}");
    eventually("the log warns", || {
        trap.log()
            .contains("decoy web: its certificate is valid until")
            .then_some(())
    });

    certify(&trap, "two", 2999);
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    let status = trap.status();
    assert_eq!(status["health"], "ok");
    assert!(web(&status)["days_left"].as_i64().unwrap() > 300_000, "{status:#}");
}
