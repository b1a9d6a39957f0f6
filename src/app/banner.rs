//! What a person at a terminal sees at start: which decoys listen where, and what to type elsewhere to touch them.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::app::load::SYSTEM_PATH;
use crate::control::status::{Health, ListenerStatus, Status};
use crate::telemetry;

/// A documentation address: asking for a route to it sends nothing.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Longest path of a configuration shown, in characters.
const PATH_CHARS_MAX: usize = 4096;

/// Prints the banner. A terminal that is gone is no reason to stop.
pub(super) fn print(status: &Status) {
    let text = lines(status).join("\n");
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn lines(status: &Status) -> Vec<String> {
    let host = host_address();
    let mut lines = vec![format!(
        "trapline {} is listening. Touch it from elsewhere:",
        status.version
    )];
    lines.push(String::new());
    for listeners in status.listeners.chunk_by(|one, next| one.decoy == next.decoy) {
        lines.extend(decoy(listeners, host));
    }
    lines.push(String::new());
    let sinks: Vec<_> = status.sinks.iter().map(|sink| sink.name.as_str()).collect();
    lines.push(format!("journal  {}", status.journal.path));
    lines.push(format!(
        "sinks    {}",
        if sinks.is_empty() {
            "none".into()
        } else {
            sinks.join(", ")
        }
    ));
    let trapline = command(status.config.as_deref());
    lines.push(format!("look     {trapline} status | {trapline} events --follow"));
    lines.push("stop     Ctrl-C".into());
    lines.push(String::new());
    lines
}

/// How a command finds this instance: by the same configuration.
fn command(config: Option<&str>) -> String {
    match config {
        None | Some(SYSTEM_PATH) => "trapline".into(),
        Some(path) => format!("trapline --config {}", quoted(path)),
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", telemetry::safe(text, PATH_CHARS_MAX).replace('\'', "'\\''")),
    }
}

/// A line for where a decoy listens, and one for each address that it could not have.
fn decoy(listeners: &[ListenerStatus], host: IpAddr) -> Vec<String> {
    let bound = || listeners.iter().filter(|one| one.bound);
    let mut addresses: Vec<_> = bound().map(|one| one.address.as_str()).collect();
    // Over TCP and UDP it is one.
    addresses.dedup();
    let how = bound().find_map(|one| Some(touch(one, one.address.parse().ok()?, host)));
    let line = how.map(|how| row(listeners, &addresses.join(" "), &how));
    let missing = listeners.iter().filter(|one| !one.bound && one.health != Health::Ok);
    let missing = missing.map(|one| {
        let error = one.error.as_deref().unwrap_or("not bound");
        row(listeners, &one.address, &format!("NOT LISTENING: {error}"))
    });
    line.into_iter().chain(missing).collect()
}

fn row(listeners: &[ListenerStatus], address: &str, what: &str) -> String {
    let name = listeners
        .first()
        .map(|one| format!("{} ({})", one.decoy, one.personality));
    format!("  {:<34} {address:<26} {what}", name.unwrap_or_default())
}

/// What to type to touch it.
fn touch(listener: &ListenerStatus, bound: SocketAddr, host: IpAddr) -> String {
    let host = if bound.ip().is_unspecified() { host } else { bound.ip() };
    let port = bound.port();
    let place = SocketAddr::new(host, port);
    match (listener.service.as_str(), listener.transport.as_str()) {
        ("http", _) if listener.tls => format!("curl -k https://{place}/"),
        ("http", _) => format!("curl http://{place}/"),
        ("dns", _) => format!("dig @{host} -p {port} version.bind CH TXT"),
        ("rdp", _) => format!("xfreerdp /v:{place}"),
        ("sip", _) => format!("sipsak -vv -s sip:100@{place}"),
        ("smb", _) => format!("smbclient -p {port} -L //{host}"),
        ("snmp", _) => format!("snmpget -v2c -c public {place} 1.3.6.1.2.1.1.1.0"),
        ("tftp", _) => format!("tftp {host} {port}"),
        ("vnc", _) => format!("vncviewer {host}::{port}"),
        ("ssh", _) => format!("ssh -p {port} anyone@{host}"),
        ("telnet", _) => format!("telnet {host} {port}"),
        ("ftp", _) => format!("ftp {host} {port}"),
        ("mysql", _) => format!("mysql -h {host} -P {port} -u root -p"),
        ("postgresql", _) => format!("psql -h {host} -p {port} -U postgres"),
        ("redis", _) => format!("redis-cli -h {host} -p {port}"),
        (_, "udp") => format!("nc -u {host} {port}"),
        _ => format!("nc {host} {port}"),
    }
}

/// The address by which this host reaches others.
fn host_address() -> IpAddr {
    let route = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    route.map_or(Ipv4Addr::LOCALHOST.into(), |local| local.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(service: &str, transport: &str, bound: Option<&str>) -> ListenerStatus {
        ListenerStatus {
            decoy: "d".into(),
            service: service.into(),
            personality: "p".into(),
            transport: transport.into(),
            address: bound.unwrap_or("0.0.0.0:2222").into(),
            bound: bound.is_some(),
            health: if bound.is_some() { Health::Ok } else { Health::Degraded },
            error: bound.is_none().then(|| "the port is in use".into()),
            since: String::new(),
            tls: false,
            certificate: None,
        }
    }

    #[test]
    fn what_to_type_names_the_configuration_that_was_given() {
        assert_eq!(command(None), "trapline");
        assert_eq!(command(Some(SYSTEM_PATH)), "trapline");
        assert_eq!(command(Some("/srv/a.toml")), "trapline --config /srv/a.toml");
        assert_eq!(
            command(Some("/srv/it's a\u{1b}.toml")),
            "trapline --config '/srv/it'\\''s a\\x1b.toml'"
        );
    }

    #[test]
    fn a_decoy_says_how_to_touch_it_or_why_not() {
        let host = IpAddr::from([10, 0, 0, 5]);
        let shown = |listeners: &[ListenerStatus]| decoy(listeners, host).join("\n");
        let both = shown(&[
            listener("ssh", "tcp", Some("0.0.0.0:2222")),
            listener("ssh", "tcp", Some("[::]:2222")),
        ]);
        assert!(both.contains("0.0.0.0:2222 [::]:2222"), "{both}");
        assert!(both.ends_with("ssh -p 2222 anyone@10.0.0.5"), "{both}");
        assert_eq!(both.lines().count(), 1);
        let http = shown(&[listener("http", "tcp", Some("[::1]:80"))]);
        assert!(http.ends_with("curl http://[::1]:80/"), "{http}");
        let mut secure = listener("http", "tcp", Some("127.0.0.1:443"));
        secure.tls = true;
        assert!(shown(&[secure]).ends_with("curl -k https://127.0.0.1:443/"));
        let udp = shown(&[listener("ntp", "udp", Some("127.0.0.1:123"))]);
        assert!(udp.ends_with("nc -u 127.0.0.1 123"), "{udp}");
        let over_both = ["tcp", "udp"].map(|transport| listener("dns", transport, Some("127.0.0.1:53")));
        assert_eq!(shown(&over_both).matches(":53").count(), 1, "{over_both:?}");
        let half = shown(&[
            listener("ssh", "tcp", Some("127.0.0.1:22")),
            listener("ssh", "tcp", None),
        ]);
        assert_eq!(half.lines().count(), 2);
        assert!(half.ends_with("NOT LISTENING: the port is in use"), "{half}");
    }
}
