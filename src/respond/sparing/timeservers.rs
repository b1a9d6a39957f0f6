//! The time servers that this host asks, from the files of chrony, systemd-timesyncd, ntpd, ntpsec and openntpd.

use std::collections::BTreeSet;
use std::net::IpAddr;

use trapline_sink::dial::Address;
use trapline_sink::set::Why;

use super::board::{Found, Row};
use super::files::Root;

/// The port of NTP, which says nothing here.
const NTP: u16 = 123;
/// Most that are taken from one file.
const SERVERS_MAX: usize = 64;

/// Words that a line with a server begins with: of chrony and the ntpds.
const SERVER_WORDS: [&str; 4] = ["server", "servers", "peer", "pool"];
/// Keys of systemd's files that hold servers.
const SERVER_KEYS: [&str; 2] = ["NTP", "FallbackNTP"];

/// Files in the manner of chrony.conf(5) and ntp.conf(5).
const LINES: [&str; 7] = [
    "/etc/chrony.conf",
    "/etc/ntp.conf",
    "/etc/ntpsec/ntp.conf",
    "/run/ntp.conf.dhcp",
    "/run/ntpsec/ntp.conf.dhcp",
    "/etc/openntpd/ntpd.conf",
    "/etc/ntpd.conf",
];
/// Folders of such files, and how their names end.
const LINES_IN: [(&str, &str); 7] = [
    ("/etc/chrony", ".conf"),
    ("/etc/chrony/conf.d", ".conf"),
    ("/etc/chrony.d", ".conf"),
    ("/etc/chrony/sources.d", ".sources"),
    ("/run/chrony-dhcp", ".sources"),
    ("/run/chrony", ".sources"),
    ("/etc/ntpsec/ntp.d", ".conf"),
];
/// Files in the manner of timesyncd.conf(5); the last one is what networkd has by DHCP.
const KEYS: [&str; 2] = ["/etc/systemd/timesyncd.conf", "/run/systemd/netif/state"];
/// Folders of such files.
const KEYS_IN: [(&str, &str); 3] = [
    ("/usr/lib/systemd/timesyncd.conf.d", ".conf"),
    ("/run/systemd/timesyncd.conf.d", ".conf"),
    ("/etc/systemd/timesyncd.conf.d", ".conf"),
];

/// Reads all there are: rows of those that are addresses, and the names of the others; what is there and cannot be read
/// is a note. Blocking.
pub(super) fn read(root: &Root) -> (Found, BTreeSet<String>) {
    let (mut found, mut names) = (Found::default(), BTreeSet::new());
    for (files, folders, servers) in [
        (&LINES[..], &LINES_IN[..], of_lines as Servers),
        (&KEYS[..], &KEYS_IN[..], of_keys),
    ] {
        let mut paths: Vec<_> = files.iter().map(|file| (*file).to_owned()).collect();
        for (folder, end) in folders {
            paths.extend(found.or_note(root.list(folder, end)));
        }
        for path in paths {
            let text = found.or_note(root.text(&path)).unwrap_or_default();
            sort_out(servers(&text), &path, &mut found.rows, &mut names);
        }
    }
    (found, names)
}

type Servers = fn(&str) -> Vec<String>;

fn sort_out(servers: Vec<String>, path: &str, rows: &mut Vec<Row>, names: &mut BTreeSet<String>) {
    for server in servers {
        match server.parse::<IpAddr>() {
            // A clock of ntpd's own has an address like this.
            Ok(address) if address.is_loopback() => {}
            Ok(address) => rows.push(Row::host(address, Why::TimeServer, path)),
            Err(_) => drop(names.insert(server)),
        }
    }
}

/// `server HOST …`, its options before or after the host.
fn of_lines(text: &str) -> Vec<String> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next()?.to_ascii_lowercase();
        SERVER_WORDS.contains(&first.as_str()).then_some(())?;
        host(words.find(|word| !word.starts_with('-'))?)
    });
    servers.take(SERVERS_MAX).collect()
}

/// `NTP=HOST HOST …`; systemd's files know no comment behind a value.
fn of_keys(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(key, _)| SERVER_KEYS.contains(&key.trim()));
    let hosts = values.flat_map(|(_, value)| value.split_whitespace()).filter_map(host);
    hosts.take(SERVERS_MAX).collect()
}

/// A host as a file has it: perhaps quoted, a link behind `%`, an address in brackets.
fn host(word: &str) -> Option<String> {
    let word = word.trim_matches(['"', '\'', '[', ']']);
    let word = word.split('%').next()?;
    Address::parse(word, Some(NTP)).map(|address| address.host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn servers_of_chrony_and_ntpd_are_found_whatever_options_they_have() {
        let text = "\
            # server 192.0.2.9\n\
            pool 2.debian.pool.ntp.org iburst\n\
            \tServer 192.0.2.1 minpoll 4 iburst\n\
            peer 2001:db8::7%eth0 key 3\n\
            server -4 time.example iburst\n\
            servers ntpd.example weight 5\n\
            ! pool no.example\nserverless x.example\nserver\nserver a/b\nsourcedir /run/chrony-dhcp\n";
        let found = [
            "2.debian.pool.ntp.org",
            "192.0.2.1",
            "2001:db8::7",
            "time.example",
            "ntpd.example",
        ];
        assert_eq!(of_lines(text), found);
    }

    #[test]
    fn servers_of_timesyncd_are_found() {
        let text =
            "[Time]\n#NTP=no.example\nNTP=192.0.2.1 time.example\n FallbackNTP = 2001:db8::7\nRootDistanceMaxSec=5\n";
        assert_eq!(of_keys(text), ["192.0.2.1", "time.example", "2001:db8::7"]);
    }

    #[test]
    fn files_of_every_manner_are_read_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/chrony/chrony.conf", "server 192.0.2.1\nserver 127.127.1.0"),
            ("etc/chrony/sources.d/a.sources", "pool pool.example"),
            ("etc/chrony/sources.d/a.off", "pool no.example"),
            ("run/chrony-dhcp/eth0.sources", "server 192.0.2.2"),
            ("etc/systemd/timesyncd.conf.d/a.conf", "[Time]\nNTP=192.0.2.3"),
            ("run/systemd/netif/state", "NTP=192.0.2.4 dhcp.example"),
            ("etc/ntp.conf", "server -6 six.example"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let (found, names) = read(&Root::new(folder.path()));
        let mut rows: Vec<_> = found.rows.iter().map(|row| row.network.addr().to_string()).collect();
        rows.sort();
        assert_eq!(rows, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["dhcp.example", "pool.example", "six.example"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_name_time_servers_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), word in "[ -~]{0,40}") {
            let text = format!("{}\nserver {word}\nNTP={word}", String::from_utf8_lossy(&bytes));
            for host in of_lines(&text).into_iter().chain(of_keys(&text)) {
                prop_assert!(!host.is_empty() && !host.contains(['/', ' ', '%']), "{host}");
            }
        }
    }
}
