//! Cases through the real binary: killed between what the vendor did and what we keep of it, and flooded.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]
#![allow(dead_code, reason = "what is shared with other tests is not all used")]

#[path = "../harness/desk.rs"]
mod desk;
#[path = "../harness/mod.rs"]
mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use desk::{Desk, Ticket, Vendor};
use harness::killer::Killer;
use harness::{PATIENCE, Trap, eventually};
use tokio::runtime::Runtime;
use trapline_sink::conformance::web::Server;

const CONFIG: &str = r#"
[journal]
path = "state/journal.db"
[decoys.door]
service = "http"
listen = ["127.0.0.1:0"]
[limits]
sessions_per_source = 10000
"#;

/// A desk, and a trap that has cases there.
struct World {
    trap: Trap,
    server: Server<Killer<Desk>>,
    _runtime: Runtime,
}

impl World {
    fn new(vendor: Vendor) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::start(Killer::new(Desk::new(vendor)), None));
        let table = desk::table("desk", vendor, &server.url(), "inputs = [\"decoys\", \"findings\"]\n");
        let trap = Trap::idle(&format!("{CONFIG}{table}"));
        // The file holds credentials, and an index that is quick.
        private(&trap.config());
        let word = vendor.word();
        let shipped = std::fs::read_to_string(format!("config/vendors/{word}.toml")).unwrap();
        std::fs::create_dir(trap.path("vendors")).unwrap();
        let quick = shipped.replace("settle = \"15s\"", "settle = \"300ms\"");
        std::fs::write(trap.path(&format!("vendors/{word}.toml")), quick).unwrap();
        Self {
            trap,
            server,
            _runtime: runtime,
        }
    }

    fn tickets(&self) -> Vec<Ticket> {
        self.server.with(|killer| {
            assert_eq!(killer.service.wrong, Vec::<String>::new());
            killer.service.there()
        })
    }

    /// Rows that the sink remembers.
    fn remembered(&self) -> usize {
        let file = rusqlite::Connection::open(self.trap.path("state/journal.db")).unwrap();
        let count = "SELECT count(*) FROM state WHERE key LIKE 'memory/desk/%'";
        let count: i64 = file.query_row(count, [], |row| row.get(0)).unwrap();
        usize::try_from(count).unwrap()
    }

    fn stop(&mut self) {
        self.trap.signal("TERM");
        self.trap.ended();
    }
}

fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Logs in, in vain.
fn log_in(http: SocketAddr) {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: door\r\nAuthorization: Basic cm9vdDp0b29y\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn killed_between_the_case_and_our_memory_of_it_there_is_one_case() {
    for (vendor, deadly, late) in [
        (Vendor::TheHive, "/api/v1/alert", 0),
        (Vendor::TheHive, "/case", 1),
        (Vendor::ServiceNowSir, "/sn_si_incident", 0),
        (Vendor::JiraCloud, "/issue", 1),
    ] {
        let mut world = World::new(vendor);
        world.trap.launch();
        let pid = world.trap.pid();
        world
            .server
            .with(|killer| killer.arm(pid, move |path| path.ends_with(deadly)));
        log_in(world.trap.address("door"));
        assert!(!world.trap.ended().success(), "killed");
        assert_eq!((world.tickets().len(), world.remembered()), (1, 0), "{vendor:?}");
        world.server.with(|killer| killer.service.late = late);
        world.trap.launch();
        eventually("the notice has come again", || {
            world
                .tickets()
                .iter()
                .any(|ticket| !ticket.comments.is_empty() || ticket.id.starts_with('~'))
                .then_some(())
        });
        eventually("nothing waits", || {
            let sink = world.trap.status()["sinks"][0].clone();
            (sink["delivered"].as_u64()? >= 1).then_some(())
        });
        world.stop();
        assert_eq!((world.tickets().len(), world.remembered()), (1, 1), "{vendor:?}");
    }
}

#[test]
fn what_a_desk_takes_in_no_form_is_a_dead_letter_that_becomes_a_case_once_it_is_sent_again() {
    let mut world = World::new(Vendor::ServiceNowSir);
    world
        .server
        .with(|killer| killer.service.sick = Some(("/sn_si_incident", 400)));
    world.trap.launch();
    log_in(world.trap.address("door"));
    let listed = || {
        world
            .trap
            .trapline(&["dead-letters", "list", "--json", "--limit", "0"])
            .stdout
    };
    let letters = eventually("the notice is put aside", || {
        let letters = harness::lines(&listed());
        (!letters.is_empty()).then_some(letters)
    });
    let told = letters[0].to_string();
    assert!(told.contains("open: ") && told.contains("http status 400"), "{told}");
    assert!(world.tickets().is_empty());
    world.server.with(|killer| killer.service.sick = None);
    // A second notice of that visit may have been under way, and is put aside behind the first call.
    eventually("no letter is left", || {
        let retry = world.trap.trapline(&["dead-letters", "retry", "--all"]);
        (retry.status.success() && harness::lines(&listed()).is_empty()).then_some(())
    });
    eventually("a case is there", || (!world.tickets().is_empty()).then_some(()));
    world.stop();
    assert_eq!((world.tickets().len(), world.remembered()), (1, 1));
}

#[test]
fn a_flood_of_one_source_is_one_case_with_a_handful_of_comments() {
    let mut world = World::new(Vendor::TheHive);
    world.trap.launch();
    let door = world.trap.address("door");
    (0..300).for_each(|_| log_in(door));
    eventually("all is recorded", || {
        let events = world.trap.events(&["--action", "decoy-credential", "--limit", "0"]);
        (events.len() >= 300).then_some(())
    });
    eventually("a case is there", || (!world.tickets().is_empty()).then_some(()));
    world.stop();
    let tickets = world.tickets();
    assert_eq!(tickets.len(), 1);
    assert!(tickets[0].comments.len() <= 5, "{}", tickets[0].comments.len());
}
