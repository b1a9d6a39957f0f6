//! What redis-server 7.0.15 with a password was asked and answered, and what becomes of it.

use smol_str::SmolStr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trapline_schemas::{Action, Field, Value};

use super::{NO_LOGIN_IN_HELLO, WRONG_LOGIN};
use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, fact, spec};
use crate::roles::Hit;

async fn said(bytes: &[u8]) -> (String, Vec<Hit>) {
    let mut stage = Stage::open(spec(embedded("redis-debian-12").expect("it is embedded"))).await;
    let said = stage.talk(bytes).await;
    (String::from_utf8(said).expect("it says text"), stage.session().await)
}

/// A command as an array of bulk strings.
fn array(words: &[&str]) -> String {
    let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}

#[tokio::test]
async fn lines_are_answered_as_7_0_15_answers() {
    let module = "-ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run \
                  it from a local connection, otherwise you need to set this option in the configuration file, and then \
                  restart the server.";
    for (line, expected) in [
        ("PING", "-NOAUTH Authentication required."),
        ("info", "-NOAUTH Authentication required."),
        (
            "AUTH x",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        ),
        (
            "AUTH root x",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        ),
        ("AUTH", "-ERR wrong number of arguments for 'auth' command"),
        ("AUTH a b c", "-ERR syntax error"),
        ("CLIENT SETNAME x", "-NOAUTH Authentication required."),
        (
            "CLIENT SETINFO lib-name x",
            "-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.",
        ),
        ("client Foo", "-ERR unknown subcommand 'Foo'. Try CLIENT HELP."),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
        (
            "CLIENT SETNAME",
            "-ERR wrong number of arguments for 'client|setname' command",
        ),
        ("COMMAND DOCS", "-NOAUTH Authentication required."),
        (
            "CONFIG SET dir",
            "-ERR wrong number of arguments for 'config|set' command",
        ),
        ("CONFIG SET dir /tmp", "-NOAUTH Authentication required."),
        ("SLAVEOF 203.0.113.9 80", "-NOAUTH Authentication required."),
        ("MODULE", "-ERR wrong number of arguments for 'module' command"),
        ("MODULE LIST", "-NOAUTH Authentication required."),
        ("MODULE LOAD /tmp/x.so", module),
        (
            "EXEC",
            "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.",
        ),
        (
            "EXEC a",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
        ),
        ("RESET", "+RESET"),
        ("RESET x", "-ERR wrong number of arguments for 'reset' command"),
        ("GET / HTTP/1.0", "-ERR wrong number of arguments for 'get' command"),
        ("HELP", "-ERR unknown command 'HELP', with args beginning with: "),
        (
            "foo 'a b' \"c\\n\"",
            "-ERR unknown command 'foo', with args beginning with: 'a b' 'c ' ",
        ),
        ("$4", "-ERR unknown command '$4', with args beginning with: "),
        ("EHLO x", "-ERR unknown command 'EHLO', with args beginning with: 'x' "),
    ] {
        assert_eq!(
            said(format!("{line}\r\n").as_bytes()).await.0,
            format!("{expected}\r\n"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn arrays_are_answered_as_7_0_15_answers() {
    let (x50, x200) = ("x".repeat(50), "x".repeat(200));
    let name = "-ERR Client names cannot contain spaces, newlines or special characters.".to_owned();
    let unknown = |name: &str, shown: &str| format!("-ERR unknown command '{name}', with args beginning with: {shown}");
    for (words, expected) in [
        (&["HELLO"][..], format!("-{NO_LOGIN_IN_HELLO}")),
        (&["HELLO", "3"], format!("-{NO_LOGIN_IN_HELLO}")),
        (&["HELLO", "3", "SETNAME", "x"], format!("-{NO_LOGIN_IN_HELLO}")),
        (&["HELLO", "4"], "-NOPROTO unsupported protocol version".to_owned()),
        (&["HELLO", "-1"], "-NOPROTO unsupported protocol version".to_owned()),
        (
            &["HELLO", " 3"],
            "-ERR Protocol version is not an integer or out of range".to_owned(),
        ),
        (&["HELLO", "3", "AUTH", "u", "p", "FOO"], format!("-{WRONG_LOGIN}")),
        (
            &["HELLO", "3", "SETNAME", "n", "AUTH", "u", "p"],
            format!("-{WRONG_LOGIN}"),
        ),
        (
            &["HELLO", "3", "AUTH", "u"],
            "-ERR Syntax error in HELLO option 'AUTH'".to_owned(),
        ),
        (
            &["HELLO", "3", "F\0O"],
            "-ERR Syntax error in HELLO option 'F'".to_owned(),
        ),
        (&["HELLO", "3", "SETNAME", "a b"], name),
        (
            &["HELLO", "3", "AUTH", "u", "p", "SETNAME", "a b"],
            format!("-{WRONG_LOGIN}"),
        ),
        (&["foo", "a\r\nb", "\0é"], unknown("foo", "'a  b' '' ")),
        (
            &["foo", &x50, &x50, &x50],
            unknown("foo", &format!("'{x50}' '{x50}' '{}' ", &x50[..22])),
        ),
        (&[&x200, "a"], unknown(&x200[..128], "'a' ")),
        (&["fo\0o", "x"], unknown("fo", "'x' ")),
        (&[""], unknown("", "")),
        (&["QUIT "], unknown("QUIT ", "")),
        (
            &["CLIENT", "a\0b"],
            "-ERR unknown subcommand 'a'. Try CLIENT HELP.".to_owned(),
        ),
    ] {
        assert_eq!(
            said(array(words).as_bytes()).await.0,
            format!("{expected}\r\n"),
            "{words:?}"
        );
    }
}

#[tokio::test]
async fn it_hangs_up_where_7_0_15_does_and_what_waited_after_post_is_lost() {
    let refused = "-NOAUTH Authentication required.\r\n";
    let quotes = "-ERR Protocol error: unbalanced quotes in request\r\n";
    for (sent, expected) in [
        ("PING\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n", String::new()),
        ("Host: a\r\nPING\r\n", String::new()),
        ("PING\r\n\"bad\r\nPING\r\n", format!("{refused}{quotes}")),
        ("quit x\r\nPING\r\n", "+OK\r\n".to_owned()),
        (
            "*2\r\n$4\r\nPING\r\n+x\r\n",
            "-ERR Protocol error: expected '$', got '+'\r\n".to_owned(),
        ),
    ] {
        let stage = Stage::open(spec(embedded("redis-debian-12").expect("it is embedded"))).await;
        let mut client = stage.connect().await;
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut said = String::new();
        // With FIN, though the client has not ended its side.
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, expected, "{sent:?}");
    }
}

#[tokio::test]
async fn a_login_in_any_of_its_forms_is_a_credential() {
    for (sent, user) in [
        (array(&["AUTH", "hunter22"]), None),
        ("AUTH hunter22\r\n".to_owned(), None),
        (array(&["auth", "root", "hunter22"]), Some("root")),
        (
            array(&["HELLO", "3", "AUTH", "root", "hunter22", "SETNAME", "x"]),
            Some("root"),
        ),
        ("hello 2 setname n auth root \"hunter22\"\n".to_owned(), Some("root")),
    ] {
        let (_, hits) = said(sent.as_bytes()).await;
        let login = hits
            .iter()
            .find(|hit| hit.action == Action::Credential)
            .expect("a login is reported");
        assert_eq!(*login.secret.as_ref().unwrap().bytes, *b"hunter22", "{sent:?}");
        assert_eq!(fact(login, Field::UserName).cloned(), user.map(Value::from), "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_names_itself_is_introduced_and_its_commands_are_queries() {
    let sent = "CLIENT SETNAME worker\r\nCONFIG SET dir /var/spool/cron\r\nSLAVEOF 203.0.113.9 6379\r\n";
    let (_, hits) = said(sent.as_bytes()).await;
    let ours = [
        Action::Connect,
        Action::Handshake,
        Action::Query,
        Action::Query,
        Action::Query,
    ];
    assert_eq!(actions(&hits)[..5], ours);
    let name = Value::from(vec![SmolStr::from("name=worker")]);
    assert_eq!(fact(&hits[1], Field::ClientAttributes), Some(&name));
    let command = |at: usize| fact(&hits[at], Field::Commands).cloned();
    assert_eq!(
        command(3),
        Some(Value::from(vec![SmolStr::from("CONFIG SET dir /var/spool/cron")]))
    );
    assert_eq!(
        command(4),
        Some(Value::from(vec![SmolStr::from("SLAVEOF 203.0.113.9 6379")]))
    );
}
