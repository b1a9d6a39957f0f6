//! Mail to the owner of a source: only what somebody let go arrives, once, at the owner alone.
//!
//! The mail server is a real one; where it cannot run, the tests that need it say so on standard error and pass.

#[path = "../../sinks/email/tests/server/mod.rs"]
mod server;

use std::process::Output;

use self::server::Exim;
use super::*;

/// The decoy, and a sink that has all that machines may have.
const BASE: &str = r#"
[journal]
path = "state/journal.db"

[decoys.door]
service = "ftp"
listen = ["127.0.0.1:0"]

[sinks.archive]
type = "file"
inputs = ["*"]
format = "ocsf"
path = "events.jsonl"
"#;

/// This machine is somebody's; a wider network is somebody else's.
const OWNERS: &str = r#"
[owners.everybody]
networks = ["127.0.0.0/8"]
email = "it@example.org"

[owners.lab]
networks = ["127.0.0.1"]
email = "Lab <lab@example.org>"
"#;

/// Of the user of the mail server.
const PASSWORD: (&str, &str) = ("SMTP_PASSWORD", "hush");

fn mail(server: &Exim, more: &str) -> String {
    format!(
        "[sinks.mail]\ntype = \"email\"\ninputs = [\"*\", \"health\"]\nserver = \"{}\"\nuser = \"trapline\"\n\
         password = \"${{SMTP_PASSWORD}}\"\nfrom = \"watch@example.org\"\nretry.max = \"1s\"\nwindow = \"1s\"\ntls = {{ ca = \"{}\" }}\n\
         {more}\n",
        server.at,
        server.path("ca.pem").display()
    )
}

/// A sink that reaches nobody.
const NO_SERVER: &str = "[sinks.mail]\ntype = \"email\"\ninputs = [\"decoys\"]\nserver = \"127.0.0.1:9\"\n\
     security = \"off\"\nfrom = \"watch@example.org\"\nto = [\"soc@example.org\"]\n";

/// Offers a password, and waits until that is on record.
fn offer_password(trap: &Trap) {
    let count = || trap.events(&["--action", "decoy-credential", "--limit", "0"]).len();
    let before = count();
    let mut stream = TcpStream::connect(trap.address("door")).unwrap();
    stream.write_all(b"USER root\r\nPASS hunter2\r\nQUIT\r\n").unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    eventually("the password is on record", || (count() > before).then_some(()));
}

fn listed(trap: &Trap) -> Vec<serde_json::Value> {
    let output = trap.trapline(&["owners", "list", "--json"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    lines(&output.stdout)
}

fn release(trap: &Trap, arguments: &[&str]) -> Output {
    trap.trapline(&[&["owners", "release"], arguments].concat())
}

/// That it was refused so, in these words.
fn refused(output: &Output, code: Option<i32>, words: &str) {
    let said = text(&output.stderr);
    assert!(
        output.status.code() == code && said.contains(words),
        "{:?}: {said}",
        output.status
    );
}

fn user() -> String {
    text(&Command::new("id").arg("-un").output().unwrap().stdout)
        .trim()
        .to_owned()
}

#[test]
fn an_incident_waits_in_the_list_until_a_person_releases_it_by_name() {
    let trap = Trap::start(&format!("{BASE}{OWNERS}{NO_SERVER}owners = true\n"));
    let none = trap.trapline(&["owners", "list"]);
    assert!(
        none.status.code() == DONE && text(&none.stderr).contains("no incident"),
        "{none:?}"
    );
    offer_password(&trap);
    let row = listed(&trap).remove(0);
    let known = ["source", "owner", "email", "hits", "level", "released"].map(|key| row[key].clone());
    let wanted = serde_json::json!(["127.0.0.1", "lab", "Lab <lab@example.org>", 1, "proof", null]);
    assert_eq!(
        serde_json::json!(known),
        wanted,
        "the narrowest network says whose it is: {row}"
    );
    assert_eq!(row["services"], serde_json::json!(["ftp"]));
    let incident = row["incident"].as_str().unwrap();

    let output = release(&trap, &[&incident[..8], "--reason", "seen with the team", "--json"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    let report = json(&output);
    assert_eq!(
        (&report["incident"], &report["owner"]),
        (&incident.into(), &"lab".into())
    );
    assert_eq!(
        (&report["email"], &report["sinks"]),
        (&"Lab <lab@example.org>".into(), &serde_json::json!(["mail"]))
    );
    assert_eq!(report["released"]["by"], user());

    let shown = text(&trap.trapline(&["owners", "list"]).stdout);
    assert!(
        shown.contains(&format!(" by {}", user())) && !shown.contains("waits"),
        "{shown}"
    );
    assert_eq!(
        lines(&trap.trapline(&["owners", "list", "--waiting", "--json"]).stdout),
        [serde_json::Value::Null; 0]
    );
    refused(
        &release(&trap, &[incident]),
        FAILED,
        &format!("by {}; `--again` sends", user()),
    );
    let again = release(&trap, &[incident, "--again"]);
    let said = text(&again.stdout);
    assert!(
        said.contains("to its owner lab, Lab <lab@example.org>, through sink mail"),
        "{said}"
    );
    let shown = text(&trap.trapline(&["owners", "list"]).stdout);
    assert!(shown.contains("2 times in all"), "{shown}");

    let released = trap.events(&["--action", "notice-released", "--format", "ecs"]);
    assert_eq!(released.len(), 2);
    assert_eq!(released[0]["event"]["id"], report["event_id"]);
    assert_eq!(released[0]["event"]["reason"], "seen with the team");
    assert_eq!(released[0]["honeyport"]["release"]["to"], "Lab <lab@example.org>");
}

#[test]
fn an_address_that_anybody_may_have_written_is_told_before_its_owner_is_written_to() {
    let probe = "[decoys.names]\nservice = \"dns\"\nlisten = [\"127.0.0.1:0\"]\ntransport = \"udp\"\n";
    let trap = Trap::start(&format!("{BASE}{probe}{OWNERS}{NO_SERVER}owners = true\n"));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"hello", trap.address("names")).unwrap();
    let row = eventually("the datagram is summed up", || listed(&trap).pop());
    assert_eq!((&row["spoofable"], &row["hits"]), (&true.into(), &1.into()));
    let shown = text(&trap.trapline(&["owners", "list"]).stdout);
    assert!(shown.contains("127.0.0.1 (may be forged)"), "{shown}");
    let said = text(&release(&trap, &[row["incident"].as_str().unwrap()]).stdout);
    assert!(said.contains("no handshake proved the address"), "{said}");
    offer_password(&trap);
    assert_eq!(listed(&trap)[0]["spoofable"], false, "a connection of it is one");
}

#[test]
fn what_cannot_be_released_says_why_and_leaves_nothing_on_record() {
    let trap = Trap::start(&format!("{BASE}{NO_SERVER}owners = true\n"));
    offer_password(&trap);
    let incident = trap.events(&["--action", "decoy-credential"])[0]["honeyport.incident.id"].clone();
    let incident = incident.as_str().unwrap().to_owned();
    let nobodys = "19cb8590-0e8b-8d47-978e-899785bbb80f";
    refused(&release(&trap, &["10.3.4.5"]), USAGE, "`10.3.4.5` names no incident");
    refused(&release(&trap, &[nobodys]), USAGE, "there is no incident");
    refused(&release(&trap, &[&incident]), USAGE, "has no owner: no `[owners.NAME]`");

    let reloaded = |config: String| {
        trap.configure(&config);
        let output = trap.trapline(&["reload"]);
        assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    };
    reloaded(format!(
        "{BASE}{}{NO_SERVER}owners = true\n",
        OWNERS.replace("email = \"Lab", "#")
    ));
    offer_password(&trap);
    refused(
        &release(&trap, &[&incident]),
        FAILED,
        "the owner `lab` of 127.0.0.1 has no address",
    );
    reloaded(format!("{BASE}{OWNERS}{NO_SERVER}"));
    refused(&release(&trap, &[&incident]), FAILED, "needs `owners = true`");
    reloaded(format!("{BASE}{OWNERS}{NO_SERVER}owners = true\nenabled = false\n"));
    refused(
        &release(&trap, &[&incident]),
        FAILED,
        "no sink writes to owners: an enabled `email` sink",
    );
    reloaded(format!("{BASE}{NO_SERVER}owners = true\n"));
    refused(
        &release(&trap, &[&incident]),
        FAILED,
        "is not in the configuration any more",
    );
    reloaded(format!("{BASE}{OWNERS}{NO_SERVER}owners = true\n"));
    let long = "x".repeat(501);
    refused(
        &release(&trap, &[&incident, "--reason", &long]),
        USAGE,
        "501 characters; at most 500",
    );
    let refusal = json(&release(&trap, &[nobodys, "--json"]));
    assert_eq!(refusal["ok"], false, "{refusal}");
    assert_eq!(trap.events(&["--action", "notice-released"]).len(), 0);
    assert_eq!(listed(&trap)[0]["released"], serde_json::Value::Null);
}

#[test]
fn addresses_of_owners_are_checked_and_a_sink_for_owners_alone_takes_no_canary() {
    for (config, said) in [
        (
            OWNERS.replace("lab@example.org>", "lab@example.org>\\r\\nBcc: x@y"),
            "allowed: `user@host.example`",
        ),
        (OWNERS.replace("it@example.org", "it"), ":17:9: `it`"),
        (
            format!(
                "{}canary = true\nowners = true\n",
                NO_SERVER.replace("to = [\"soc@example.org\"]\n", "")
            ),
            "a canary for a sink that writes to owners alone",
        ),
        (NO_SERVER.replace("to = [\"soc@example.org\"]\n", ""), "no `to`"),
    ] {
        let output = Trap::idle(&format!("{BASE}{config}")).trapline(&["check"]);
        let told = text(&output.stderr);
        assert!(output.status.code() == CONFIG && told.contains(said), "{said}: {told}");
    }
}

/// Waits until somebody has so many mails or more.
fn has_mails(server: &Exim, who: &str, count: usize) -> Vec<serde_json::Value> {
    eventually(&format!("{who} has {count} mails"), || {
        Some(server.mailbox(who)).filter(|mails| mails.len() >= count)
    })
}

#[test]
fn nothing_is_ever_sent_to_an_owner_but_by_a_release() {
    let Some(exim) = Exim::start(false) else { return };
    let team = mail(&exim, "to = [\"soc@example.org\"]\nowners = true\ncanary = true");
    let config = format!("{BASE}{OWNERS}{team}");
    let trap = Trap::start_with(&config, &[PASSWORD]);
    offer_password(&trap);
    has_mails(&exim, "soc", 1);
    let run = |arguments: &[&str]| {
        let output = trap.trapline(arguments);
        assert_eq!(
            output.status.code(),
            DONE,
            "{arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    };
    run(&["send-test", "mail"]);
    run(&["check", "--canary"]);
    trap.configure(&format!("{config}[notices]\ntone = \"plain\"\n"));
    run(&["reload"]);
    offer_password(&trap);
    // The password, the test, the canary, the second password or the digest with it.
    let before = has_mails(&exim, "soc", 4).len();
    assert!(exim.mailbox("lab").is_empty() && exim.mailbox("it").is_empty());

    let incident = listed(&trap)[0]["incident"].as_str().unwrap().to_owned();
    assert_eq!(release(&trap, &[&incident]).status.code(), DONE);
    let told = has_mails(&exim, "lab", 1);
    assert_eq!(
        told[0]["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|header| header[0] == "To")
            .count(),
        1
    );
    offer_password(&trap);
    let team = has_mails(&exim, "soc", before + 1);
    let replay = ["replay", "--sink", "mail", "--since", "1d"];
    run(&replay);
    eventually("the replay is over", || {
        let seen = json(&trap.trapline(&["replay", "--sink", "mail", "--status", "--json"]));
        (seen["state"] == "done").then_some(())
    });
    assert_eq!(
        exim.mailbox("lab").len(),
        1,
        "later hits and a replay need a release of their own"
    );
    assert!(
        exim.mailbox("it").is_empty(),
        "a wider network is not asked where a narrower one has an owner"
    );
    for mail in team {
        let headers = mail["headers"].to_string();
        assert!(
            !headers.contains("lab@example.org") && !headers.contains("Your machine"),
            "{headers}"
        );
    }
    eventually("machines have it on record", || {
        let archive = std::fs::read_to_string(trap.path("state/events.jsonl")).ok()?;
        archive.contains("TL-notice-released").then_some(())
    });
}

#[test]
fn a_mail_that_was_let_go_before_a_kill_arrives_after_it_and_is_the_same_mail() {
    let Some(mut exim) = Exim::start(false) else { return };
    let mut trap = Trap::start_with(&format!("{BASE}{OWNERS}{}", mail(&exim, "owners = true")), &[PASSWORD]);
    offer_password(&trap);
    exim.close();
    let incident = listed(&trap)[0]["incident"].as_str().unwrap().to_owned();
    let report = json(&release(&trap, &[&incident, "--json"]));
    trap.signal("KILL");
    trap.ended();
    exim.open();
    trap.launch();
    let told = has_mails(&exim, "lab", 1);
    let headers = told[0]["headers"].to_string();
    let id = report["event_id"].as_str().unwrap();
    assert!(
        headers.contains(&format!("<{id}@example.org>")) && headers.contains("Lab <lab@example.org>"),
        "{headers}"
    );
    refused(&release(&trap, &[&incident]), FAILED, "was released on");
    trap.signal("TERM");
    trap.ended();
    trap.launch();
    assert_eq!(release(&trap, &[&incident, "--again"]).status.code(), DONE);
    let told = has_mails(&exim, "lab", 2);
    assert_eq!(told.len(), 2, "each release is one mail");
    assert!(exim.mailbox("soc").is_empty() && exim.mailbox("it").is_empty());
    let test = trap.trapline(&["send-test", "mail"]);
    assert!(
        test.status.code() == FAILED && text(&test.stdout).contains("writes to owners alone"),
        "{test:?}"
    );
}
