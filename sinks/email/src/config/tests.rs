//! What a table says, and what is wrong with one.

use super::*;

const GOOD: &str = "server = 'smtp.example:587'\nfrom = 'Trapline <trapline@example.org>'\nto = ['soc@example.org']\n";

/// What is wrong with a table, each with its place.
fn problems(toml: &str) -> Vec<String> {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    (SINK.parse)(&table);
    problems.take().iter().map(ToString::to_string).collect()
}

fn only(more: &str, said: &str) {
    let found = problems(&format!("{GOOD}{more}"));
    assert!(found.len() == 1 && found[0].contains(said), "{found:?}");
}

#[test]
fn three_keys_are_enough() {
    assert_eq!(problems(GOOD), [""; 0]);
}

#[test]
fn a_missing_key_is_told_once() {
    let found = problems("server = 'smtp.example'\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`from`") && found[1].contains("`to`"), "{found:?}");
}

#[test]
fn addresses_are_checked_each_at_its_place() {
    let found = problems("server = 'smtp.example'\nfrom = 'trapline'\nto = ['a@b', 'x y@b', 'a@b']\nreply_to = 'z'\n");
    let places = ["test.toml:2:8", "test.toml:3:14", "test.toml:3:23", "test.toml:4:12"];
    assert_eq!(found.len(), places.len(), "{found:#?}");
    for place in places {
        assert!(
            found.iter().any(|problem| problem.starts_with(place)),
            "{place} in {found:#?}"
        );
    }
}

#[test]
fn nobody_and_too_many_are_refused() {
    let many: Vec<_> = (0..21).map(|at| format!("'u{at}@example.org'")).collect();
    for (to, said) in [(String::new(), "0 recipients"), (many.join(","), "21 recipients")] {
        let found = problems(&format!("server = 's'\nfrom = 'a@b'\nto = [{to}]\n"));
        assert!(found.len() == 1 && found[0].contains(said), "{found:?}");
    }
}

#[test]
fn in_clear_goes_to_this_machine_or_where_it_is_said_twice() {
    only("security = 'off'", "to another machine");
    only(
        "security = 'off'\ntls = 'off'\nuser = 'u'\npassword = 'p'",
        "travel in clear",
    );
    only("security = 'tls'\ntls = 'off'", "`\"off\"` with `security = \"tls\"`");
    let local = GOOD.replace("smtp.example:587", "127.0.0.1:25");
    for more in [
        "security = 'off'",
        "tls = 'off'",
        "tls = 'off'\nuser = 'u'\npassword = 'p'",
    ] {
        assert_eq!(problems(&format!("{local}{more}\n")), [""; 0], "{more}");
    }
    assert_eq!(problems(&format!("{GOOD}tls = 'off'")), [""; 0]);
}

#[test]
fn a_login_is_whole_and_its_password_is_not_shown() {
    only("user = 'u'", "`user` alone");
    only("password = 'hush'", "`password` alone");
    let found = problems(&format!("{GOOD}user = 'u'\npassword = \"hush\\r\\nQUIT\""));
    assert!(found.len() == 1 && !found[0].contains("hush"), "{found:?}");
}

#[test]
fn names_of_hosts_are_checked() {
    only("list_id = 'no spaces here'", "`no spaces here`");
    only("helo = 'a..b'", "`a..b`");
    let url = GOOD.replace("smtp.example:587", "smtp://u:hush@smtp.example");
    let found = problems(&url);
    assert!(found.len() == 1 && !found[0].contains("hush"), "{found:?}");
}

#[test]
fn the_port_says_how_the_connection_begins() {
    let security = |toml: &str| {
        let (table, _) = Table::for_test(toml, SINK.keys);
        security(&table, table.is_off("tls"))
    };
    assert_eq!(security("server = 's:465'"), Security::Tls);
    for text in [
        "server = 's'",
        "server = 's:587'",
        "server = 's:25'",
        "server = 's:465'\nsecurity = 'starttls'",
    ] {
        assert_eq!(security(text), Security::StartTls, "{text}");
    }
    assert_eq!(security("server = 's:25'\ntls = 'off'"), Security::Off);
}
