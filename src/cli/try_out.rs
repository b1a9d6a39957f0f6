//! `trapline try`: one coherent Linux host on free ports, without configuration and root, to be touched and looked at.
//!
//! Its configuration and state are in a folder of their own below the system's temporary one, which goes when it ends.
//! What ends it at once (a second signal, kill -9) leaves the folder, as `--keep` does.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use trapline_schemas::{Field, codec};

use crate::app::{self, Source};
use crate::control::protocol::Query;

use super::output::{self, Out};
use super::{Exit, Globals, place};

/// What `try` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Leave configuration and journal where they are at the end
    #[arg(long)]
    keep: bool,
    /// Listen on this address alone [default: all of this host]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<IpAddr>,
}

/// Decoy, service, personality, and the port that is taken if it is free: an Ubuntu 22.04 with what is often found on it.
const HOST: &[(&str, &str, &str, u16)] = &[
    ("ssh", "ssh", "openssh-ubuntu-22.04", 2222),
    ("telnet", "telnet", "telnet-ubuntu-22.04", 2323),
    ("ftp", "ftp", "vsftpd-3.0.5", 2121),
    ("http", "http", "apache-ubuntu-22.04", 8080),
    ("mysql", "mysql", "mysql-ubuntu-22.04", 3306),
];

pub(super) fn run(globals: &Globals, wanted: &Arguments) -> anyhow::Result<Exit> {
    if globals.config.is_some() {
        output::error("`try` has a configuration of its own");
        output::hint("`trapline run --config FILE` runs yours");
        return Ok(Exit::Usage);
    }
    let addresses = match wanted.listen.as_slice() {
        [] => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        named => named.to_vec(),
    };
    let folder = Folder::make(wanted.keep)?;
    let ports = HOST.iter().map(|(.., usual)| choose(&addresses, *usual));
    let ports: Vec<u16> = ports.collect::<io::Result<_>>()?;
    let config = folder.write(&configuration(&folder.path, &addresses, &ports))?;
    greet(&addresses, &ports)?;
    app::run(&Source::choose(Some(&config)), true)?;
    let globals = Globals {
        config: Some(config),
        json: globals.json,
    };
    sum_up(&globals, &folder)
}

/// The usual port if it is free on every address, else one that the kernel chooses.
fn choose(addresses: &[IpAddr], usual: u16) -> io::Result<u16> {
    let is_free = |port: u16| addresses.iter().all(|address| !is_taken((*address, port).into()));
    if is_free(usual) {
        return Ok(usual);
    }
    let first = addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    for _ in 0..TRIES {
        let port = TcpListener::bind((first, 0))?.local_addr()?.port();
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port was found"))
}

/// An address that this host does not have, as IPv6 may be missing, is told by the run.
fn is_taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn configuration(folder: &Path, addresses: &[IpAddr], ports: &[u16]) -> String {
    // A string of JSON is one of TOML.
    let word = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!("state_dir = {}\n", word(&folder.to_string_lossy()));
    text.push_str("[journal]\nretain_bytes = \"256MiB\"\n");
    for ((decoy, service, look, _), port) in HOST.iter().zip(ports) {
        let listen = addresses.iter().map(|address| SocketAddr::new(*address, *port));
        let listen: Vec<_> = listen.map(|address| word(&address.to_string())).collect();
        let listen = listen.join(", ");
        text.push_str(&format!(
            "[decoys.{decoy}]\nservice = \"{service}\"\npersonality = \"{look}\"\nlisten = [{listen}]\n"
        ));
    }
    text.push_str("[sinks.console]\ntype = \"console\"\ninputs = [\"*\"]\n");
    text
}

/// Says by which addresses others reach this host, and how all of it is touched at once.
fn greet(addresses: &[IpAddr], ports: &[u16]) -> io::Result<()> {
    let reached: Vec<_> = match addresses.iter().any(IpAddr::is_unspecified) {
        true => own_addresses(),
        false => addresses.to_vec(),
    };
    let shown: Vec<_> = reached.iter().map(ToString::to_string).collect();
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let first = shown.first().map_or("localhost", String::as_str);
    let family = if first.contains(':') { "-6 " } else { "" };
    let mut out = Out::new();
    out.line(&format!("addresses  {}", shown.join(" ")))?;
    out.line(&format!("all of it  nmap {family}-sV -p {} {first}", ports.join(",")))?;
    out.line("")?;
    out.flush()
}

/// Addresses of this host that others may reach, IPv4 first; loopback if there is no other.
fn own_addresses() -> Vec<IpAddr> {
    let found = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    });
    let is_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    };
    let found: BTreeSet<_> = found.filter(|address| !is_local(address)).collect();
    match found.is_empty() {
        true => vec![Ipv4Addr::LOCALHOST.into()],
        false => found.into_iter().collect(),
    }
}

/// One line of what came.
fn sum_up(globals: &Globals, folder: &Folder) -> anyhow::Result<Exit> {
    let (mut events, mut sources) = (0_u64, BTreeSet::new());
    place::each_event(globals, &Query::default(), |_, body| {
        // What happened to trapline itself has no source.
        let source = codec::decode(body).ok().and_then(|event| event.ip(Field::SourceIp));
        events += u64::from(source.is_some());
        sources.extend(source);
        Ok(())
    })?;
    let mut out = Out::new();
    let sources = counted(sources.len() as u64, "source");
    let kept = match folder.kept {
        true => format!(", kept in {}", output::safe(&folder.path.to_string_lossy())),
        false => String::new(),
    };
    out.line(&format!("{} from {sources}{kept}", counted(events, "event")))?;
    out.flush()?;
    Ok(Exit::Done)
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The folder of one trial, which goes with it unless it is kept.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// A folder that was not there, for its owner alone.
    fn make(kept: bool) -> io::Result<Self> {
        let above = std::path::absolute(std::env::temp_dir())?;
        for _ in 0..TRIES {
            let path = above.join(format!("trapline-try-{:08x}", rand::random::<u32>()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self { path, kept }),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Writes the configuration; gives its path.
    fn write(&self, config: &str) -> io::Result<PathBuf> {
        let path = self.path.join("trapline.toml");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(config.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            output::warning(&format!("{} stays: {error}", self.path.display()));
        }
    }
}

/// Attempts at a port or name that nobody else has.
const TRIES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_on_one_address_is_not_chosen() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = held.local_addr().unwrap().port();
        let addresses = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        let chosen = choose(&addresses, taken).unwrap();
        assert_ne!(chosen, taken);
        assert!(chosen >= 1024);
    }

    #[test]
    fn a_folder_is_its_owners_and_goes_with_the_trial_unless_it_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        for kept in [false, true] {
            let folder = Folder::make(kept).unwrap();
            let path = folder.path.clone();
            folder.write("# nothing").unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
            drop(folder);
            assert_eq!(path.exists(), kept);
            let _ = std::fs::remove_dir_all(&path);
        }
    }

    #[test]
    fn one_is_said_as_one() {
        assert_eq!(counted(1, "source"), "1 source");
        assert_eq!(counted(0, "event"), "0 events");
    }
}
