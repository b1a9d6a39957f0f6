//! Who is logged in to this host from where: utmp(5), systemd-logind's sessions, and whoever started this process.
//!
//! All three are written after somebody proved who he is. A host name in a record says nothing: it is what the other side
//! calls itself in DNS.

use std::collections::BTreeSet;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc::{USER_PROCESS, utmpx};

use super::files::Root;

/// Where programs that log people in write it; the second one where `/var/run` is a folder of its own.
const UTMP: [&str; 2] = ["/run/utmp", "/var/run/utmp"];
/// A file for each session of systemd-logind or elogind.
const SESSIONS: &str = "/run/systemd/sessions";

/// Who is logged in from elsewhere, and what could not be read. Blocking.
pub(super) fn read(root: &Root) -> (BTreeSet<IpAddr>, Vec<String>) {
    let (mut from, mut failed) = (BTreeSet::new(), Vec::new());
    for path in UTMP {
        match root.read(path) {
            Ok(bytes) => from.extend(logged_in(&bytes.unwrap_or_default())),
            Err(why) => failed.push(why),
        }
    }
    match root.list(SESSIONS, "") {
        Ok(files) => files.iter().for_each(|file| match root.text(file) {
            Ok(text) => from.extend(of_session(&text.unwrap_or_default())),
            Err(why) => failed.push(why),
        }),
        Err(why) => failed.push(why),
    }
    (from, failed)
}

/// Of `SSH_CONNECTION` (client, its port, server, its port), as sshd sets it for who has logged in: the client.
pub fn started_from(connection: &str) -> Option<IpAddr> {
    let words: Vec<_> = connection.split_whitespace().collect();
    let [client, port, server, server_port] = words.as_slice() else {
        return None;
    };
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let whole = address(server).is_some() && is_port(port) && is_port(server_port);
    address(client).filter(|client| whole && is_elsewhere(client))
}

/// Whence those in records of utmp are logged in. The records have the C library's layout.
fn logged_in(bytes: &[u8]) -> impl Iterator<Item = IpAddr> + '_ {
    bytes.chunks_exact(size_of::<utmpx>()).filter_map(|record| {
        let kind = record.get(offset_of!(utmpx, ut_type)..)?.first_chunk()?;
        (i16::from_ne_bytes(*kind) == USER_PROCESS).then_some(())?;
        let address: &[u8; 16] = record.get(offset_of!(utmpx, ut_addr_v6)..)?.first_chunk()?;
        Some(of_utmp(*address)).filter(is_elsewhere)
    })
}

/// In network byte order; of an IPv4 address the other three words are 0.
fn of_utmp(bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, rest @ ..] = bytes;
    match rest {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Ipv4Addr::new(a, b, c, d).into(),
        _ => IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(),
    }
}

/// Whence the user of a session file has come; none if it is no user's or not from elsewhere.
fn of_session(text: &str) -> Option<IpAddr> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let is_user = value("REMOTE") == Some("1") && value("CLASS").is_none_or(|class| class.starts_with("user"));
    address(value("REMOTE_HOST").filter(|_| is_user)?).filter(is_elsewhere)
}

/// A link-local address may name its link.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

fn is_elsewhere(address: &IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const RECORD: usize = size_of::<utmpx>();

    fn record(kind: i16, user: &str, address: [u8; 16]) -> Vec<u8> {
        let mut bytes = vec![0; RECORD];
        let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        put(offset_of!(utmpx, ut_type), &kind.to_ne_bytes());
        put(offset_of!(utmpx, ut_pid), &std::process::id().to_ne_bytes());
        put(offset_of!(utmpx, ut_line), b"pts/7");
        put(offset_of!(utmpx, ut_id), b"ts/7");
        put(offset_of!(utmpx, ut_user), user.as_bytes());
        put(offset_of!(utmpx, ut_host), b"admin.example");
        put(offset_of!(utmpx, ut_tv), &1_700_000_000i32.to_ne_bytes());
        put(offset_of!(utmpx, ut_addr_v6), &address);
        bytes
    }

    fn v4(address: [u8; 4]) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&address);
        bytes
    }

    fn v6(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    fn found(bytes: &[u8]) -> Vec<String> {
        logged_in(bytes).map(|address| address.to_string()).collect()
    }

    fn records() -> Vec<u8> {
        [
            record(USER_PROCESS, "ada", v4([192, 0, 2, 7])),
            record(USER_PROCESS, "eve", v6("2001:db8::7")),
            record(USER_PROCESS, "bob", v6("::ffff:192.0.2.8")),
            record(USER_PROCESS, "tty", [0; 16]),
            record(USER_PROCESS, "own", v4([127, 0, 0, 1])),
            // LOGIN_PROCESS: somebody is asked for his password; DEAD_PROCESS: somebody has left.
            record(6, "LOGIN", v4([192, 0, 2, 66])),
            record(8, "gone", v4([192, 0, 2, 67])),
        ]
        .concat()
    }

    #[test]
    fn who_is_logged_in_from_elsewhere_is_found_and_who_is_asked_for_a_password_is_not() {
        assert_eq!(found(&records()), ["192.0.2.7", "2001:db8::7", "192.0.2.8"]);
        assert_eq!(found(&records()[..RECORD - 1]), [""; 0], "half a record");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_record_has_the_layout_that_utmp_documents() {
        assert_eq!((RECORD, offset_of!(utmpx, ut_addr_v6)), (384, 348));
    }

    /// The system's own reader reads these records as this one does.
    #[test]
    fn utmpdump_reads_the_same_addresses_in_the_same_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("utmp");
        std::fs::write(&path, records()).unwrap();
        let Ok(output) = Command::new("utmpdump").arg(&path).output() else {
            println!("SKIPPED: utmpdump is not installed (apt install util-linux-extra or util-linux)");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        for (user, address) in [("ada", "192.0.2.7"), ("eve", "2001:db8::7"), ("gone", "192.0.2.67")] {
            let line = said.lines().find(|line| line.contains(user)).unwrap_or_default();
            assert!(line.contains(&format!("[{address} ")), "{said}");
        }
    }

    #[test]
    fn a_session_counts_if_a_user_came_from_an_address() {
        let session = "UID=0\nUSER=ada\nACTIVE=1\nSTATE=active\nREMOTE=1\nTYPE=tty\nCLASS=user\nREMOTE_HOST=192.0.2.7\nREMOTE_USER=x\n";
        assert_eq!(of_session(session), Some("192.0.2.7".parse().unwrap()));
        for (from, to) in [
            ("REMOTE=1", "REMOTE=0"),
            ("CLASS=user", "CLASS=greeter"),
            ("=192.0.2.7", "=friend.example"),
            ("=192.0.2.7", "=127.0.0.1"),
            ("REMOTE_HOST=", "HOST="),
        ] {
            assert_eq!(of_session(&session.replace(from, to)), None, "{to}");
        }
        let on_link = session.replace("192.0.2.7", "fe80::1%eth0");
        assert_eq!(of_session(&on_link), Some("fe80::1".parse().unwrap()));
    }

    #[test]
    fn the_other_end_of_the_ssh_connection_is_found() {
        assert_eq!(
            started_from("192.0.2.7 50000 10.0.0.1 22"),
            Some("192.0.2.7".parse().unwrap())
        );
        assert_eq!(
            started_from("2001:db8::7 50000 2001:db8::1 22"),
            Some("2001:db8::7".parse().unwrap())
        );
        for text in [
            "",
            "192.0.2.7",
            "192.0.2.7 x 10.0.0.1 22",
            "127.0.0.1 50000 127.0.0.1 22",
            "a b c d",
        ] {
            assert_eq!(started_from(text), None, "{text}");
        }
    }

    #[test]
    fn files_are_read_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert_eq!(read(&root), (BTreeSet::new(), vec![]));
        std::fs::create_dir_all(folder.path().join("run/systemd/sessions")).unwrap();
        std::fs::write(folder.path().join("run/utmp"), records()).unwrap();
        std::fs::write(
            folder.path().join("run/systemd/sessions/4"),
            "REMOTE=1\nREMOTE_HOST=192.0.2.9",
        )
        .unwrap();
        let (from, failed) = read(&root);
        let from: Vec<_> = from.iter().map(ToString::to_string).collect();
        assert_eq!(
            (from.join(" "), failed.len()),
            ("192.0.2.7 192.0.2.8 192.0.2.9 2001:db8::7".into(), 0)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_logins_or_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..900), text in "[ -~\n]{0,60}") {
            let from: Vec<_> = logged_in(&bytes).collect();
            prop_assert!(from.len() <= bytes.len() / RECORD && from.iter().all(is_elsewhere));
            of_session(&String::from_utf8_lossy(&bytes));
            of_session(&format!("REMOTE=1\nREMOTE_HOST={text}"));
            started_from(&text);
        }
    }
}
