//! What real tools said to the decoys, connection by connection.
//!
//! `TRAPLINE_REMAKE=1 cargo test --test clients week` makes it anew: the tools are run against relays, which note what
//! they say and pass it on to decoys behind them. A tool that is not installed keeps what was recorded of it before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::hosts::{HOSTS, SENSOR};
use super::office;
use crate::harness::Trap;
use crate::harness::clients::{has, run};

/// Where the decoys are while tools are recorded.
pub const BEHIND: &str = "10.3.0.8";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/week/office.jsonl");
/// How long a datagram may be on its way back.
const REPLY: Duration = Duration::from_millis(300);

/// Each tool: its command, with `TARGET` for the sensor's address.
const TOOLS: &[(&str, &str)] = &[
    ("check_http", "/usr/lib/nagios/plugins/check_http -I TARGET"),
    ("check_https", "/usr/lib/nagios/plugins/check_http -S -I TARGET"),
    (
        "check_certificate",
        "/usr/lib/nagios/plugins/check_http -S -C 30 -I TARGET",
    ),
    ("check_ssh", "/usr/lib/nagios/plugins/check_ssh TARGET"),
    ("check_ftp", "/usr/lib/nagios/plugins/check_ftp -H TARGET"),
    ("check_smtp", "/usr/lib/nagios/plugins/check_smtp -H TARGET"),
    ("check_pgsql", "/usr/lib/nagios/plugins/check_pgsql -H TARGET -l nagios"),
    (
        "check_ntp_time",
        "/usr/lib/nagios/plugins/check_ntp_time -H TARGET -t 3",
    ),
    (
        "check_dns",
        "/usr/lib/nagios/plugins/check_dns -s TARGET -H intranet.example -t 3",
    ),
    ("check_tcp", "/usr/lib/nagios/plugins/check_tcp -H TARGET -p 445"),
    ("blackbox_http", "BLACKBOX 'module=http_2xx&target=http://TARGET/'"),
    ("blackbox_ssh", "BLACKBOX 'module=ssh_banner&target=TARGET:22'"),
    ("nmap_versions", "nmap -n -Pn -sT -sV -p 21,22,25,80,443,5432 TARGET"),
    ("nmap_scripts", "nmap -n -Pn -sT -sC -p 21,22,25,80,443 TARGET"),
    ("nmap_sweep", "nmap -n -Pn -sT --top-ports 50 TARGET"),
    ("nmap_udp", "nmap -n -Pn -sU --max-retries 0 -p 53,123,137,161 TARGET"),
    ("hydra_ftp", "hydra -I -t 2 -l admin -x 1:1:abc TARGET ftp"),
    (
        "curl_login",
        "curl -sS -u admin:admin -o /dev/null http://TARGET/manager/html",
    ),
    ("curl_head", "curl -sSI http://TARGET/"),
    ("ssh_keyscan", "ssh-keyscan -T 5 -t ed25519 TARGET"),
    ("knock_445", "nc -z TARGET 445"),
    ("knock_135", "nc -z TARGET 135"),
    ("knock_139", "nc -z TARGET 139"),
    ("knock_631", "nc -z TARGET 631"),
    ("knock_9100", "nc -z TARGET 9100"),
    ("nbtscan", "nbtscan -t 500 TARGET"),
    (
        "ldapsearch",
        "timeout 3 ldapsearch -x -H ldap://TARGET -b '' -s base -o nettimeout=2",
    ),
    (
        "snmp_printer",
        "snmpget -v1 -c public -t 1 -r 0 TARGET 1.3.6.1.2.1.25.3.2.1.3.1",
    ),
    (
        "snmp_uptime",
        "snmpget -v2c -c public -t 1 -r 0 TARGET 1.3.6.1.2.1.1.3.0",
    ),
    ("snmp_bulk", "snmpbulkget -v2c -c public -t 1 -r 0 TARGET 1.3.6.1.2.1.2"),
    ("snmp_walk", "snmpwalk -v2c -c public -t 1 -r 0 TARGET 1.3.6.1.2.1.1"),
    ("ntpdate", "ntpdate -q TARGET"),
    ("dig_a", "dig +time=1 +tries=1 @TARGET intranet.example A"),
    ("dig_aaaa", "dig +time=1 +tries=1 @TARGET intranet.example AAAA"),
    ("dig_ptr", "dig +time=1 +tries=1 @TARGET -x 10.3.0.1"),
    ("dig_srv", "dig +time=1 +tries=1 @TARGET _ldap._tcp.example SRV"),
    ("smbclient", "timeout 5 smbclient -N -L TARGET"),
    (
        "smbclient_login",
        "timeout 5 smbclient -U OFFICE/backup%secret-of-backup -L TARGET",
    ),
];

/// A probe of Prometheus' blackbox exporter, which is asked over HTTP to make it.
const BLACKBOX: &str = "blackbox() { prometheus-blackbox-exporter --web.listen-address=127.0.0.1:9115 \
    --config.file=/etc/prometheus/blackbox.yml 2>/dev/null & p=$!; \
    curl -s --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null \"http://127.0.0.1:9115/probe?$1\"; kill $p; }; ";

/// One connection or exchange of datagrams.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub udp: bool,
    pub port: u16,
    /// What was said, each after so many bytes were heard.
    pub says: Vec<(u64, Vec<u8>)>,
    /// Bytes heard in all.
    pub heard: u64,
}

/// What each tool said.
#[derive(Debug, Default)]
pub struct Recording {
    tools: BTreeMap<String, Vec<Session>>,
}

impl Recording {
    /// The one that is kept.
    pub fn read() -> Self {
        let text = std::fs::read_to_string(FILE).unwrap();
        let tools = text.lines().map(|line| tool(&serde_json::from_str(line).unwrap()));
        Self { tools: tools.collect() }
    }

    /// Runs every tool, and keeps what they said.
    pub fn make() -> Self {
        let mut recording = match std::fs::exists(FILE) {
            Ok(true) => Self::read(),
            _ => Self::default(),
        };
        let mut behind = super::with_own_recogniser(Trap::idle(&office(BEHIND)));
        behind.launch();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let log = Log::default();
        runtime.block_on(relays(&log));
        for (name, command) in TOOLS {
            let program = command.split(' ').next().unwrap();
            if !has(program.replace("BLACKBOX", "prometheus-blackbox-exporter").as_str()) {
                continue;
            }
            let command = command.replace("TARGET", SENSOR).replace("BLACKBOX", "blackbox");
            run("bash", &["-c", &format!("{BLACKBOX}{command}")]);
            std::thread::sleep(2 * REPLY);
            let noted = std::mem::take(&mut *log.lock().unwrap());
            let sessions = noted.iter().map(|session| session.lock().unwrap().playable());
            recording.tools.insert((*name).to_owned(), sessions.collect());
        }
        recording.keep();
        recording
    }

    /// What a tool said.
    pub fn of(&self, tool: &str) -> &[Session] {
        self.tools
            .get(tool)
            .unwrap_or_else(|| panic!("`{tool}` was not recorded"))
    }

    fn keep(&self) {
        let is_used = |name: &&String| {
            HOSTS
                .iter()
                .any(|host| [host.hourly, host.nightly].concat().contains(&name.as_str()))
        };
        let lines = self.tools.keys().filter(is_used).map(|name| {
            let sessions: Vec<Value> = self.of(name).iter().map(Session::json).collect();
            format!("{}\n", json!({"tool": name, "sessions": sessions}))
        });
        std::fs::write(FILE, lines.collect::<String>()).unwrap();
    }
}

fn tool(line: &Value) -> (String, Vec<Session>) {
    let sessions = line["sessions"].as_array().unwrap().iter().map(Session::from);
    (line["tool"].as_str().unwrap().to_owned(), sessions.collect())
}

impl Session {
    /// What can be said again: after a hello of TLS all is sealed for that one connection.
    fn playable(&self) -> Self {
        let mut session = self.clone();
        if session
            .says
            .first()
            .is_some_and(|(_, bytes)| bytes.starts_with(b"\x16\x03"))
        {
            session.says.truncate(1);
        }
        session
    }

    fn json(&self) -> Value {
        let says = self
            .says
            .iter()
            .map(|(after, bytes)| json!([after, STANDARD.encode(bytes)]));
        json!({"udp": self.udp, "port": self.port, "says": says.collect::<Vec<_>>(), "heard": self.heard})
    }
}

impl From<&Value> for Session {
    fn from(session: &Value) -> Self {
        let say = |say: &Value| {
            (
                say[0].as_u64().unwrap(),
                STANDARD.decode(say[1].as_str().unwrap()).unwrap(),
            )
        };
        Self {
            udp: session["udp"].as_bool().unwrap(),
            port: u16::try_from(session["port"].as_u64().unwrap()).unwrap(),
            says: session["says"].as_array().unwrap().iter().map(say).collect(),
            heard: session["heard"].as_u64().unwrap(),
        }
    }
}

type Noted = Arc<Mutex<Session>>;
/// Sessions of the tool that runs.
type Log = Arc<Mutex<Vec<Noted>>>;

/// Listens where the sensor is, on each port that the decoys behind have.
async fn relays(log: &Log) {
    let config: toml::Table = office(BEHIND).parse().unwrap();
    for decoy in config["decoys"].as_table().unwrap().values() {
        let is_udp = ["ntp", "snmp", "dns"].contains(&decoy["service"].as_str().unwrap());
        for listen in decoy["listen"].as_array().unwrap() {
            let behind: SocketAddr = listen.as_str().unwrap().parse().unwrap();
            let front = SocketAddr::new(SENSOR.parse().unwrap(), behind.port());
            match is_udp {
                true => drop(tokio::spawn(relay_datagrams(
                    UdpSocket::bind(front).await.unwrap(),
                    behind,
                    log.clone(),
                ))),
                false => drop(tokio::spawn(relay_streams(
                    TcpListener::bind(front).await.unwrap(),
                    behind,
                    log.clone(),
                ))),
            }
        }
    }
}

fn begin(log: &Log, udp: bool, port: u16) -> Noted {
    let session = Noted::default();
    (session.lock().unwrap().udp, session.lock().unwrap().port) = (udp, port);
    log.lock().unwrap().push(session.clone());
    session
}

async fn relay_datagrams(front: UdpSocket, behind: SocketAddr, log: Log) {
    let mut bytes = vec![0; 65_536];
    while let Ok((count, from)) = front.recv_from(&mut bytes).await {
        let session = begin(&log, true, behind.port());
        session.lock().unwrap().says.push((0, bytes[..count].to_vec()));
        let back = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        back.send_to(&bytes[..count], behind).await.unwrap();
        if let Ok(Ok((count, _))) = tokio::time::timeout(REPLY, back.recv_from(&mut bytes)).await {
            session.lock().unwrap().heard += count as u64;
            front.send_to(&bytes[..count], from).await.unwrap();
        }
    }
}

async fn relay_streams(front: TcpListener, behind: SocketAddr, log: Log) {
    while let Ok((client, _)) = front.accept().await {
        tokio::spawn(relay_stream(client, behind, begin(&log, false, behind.port())));
    }
}

async fn relay_stream(client: TcpStream, behind: SocketAddr, session: Noted) {
    let decoy = TcpStream::connect(behind).await.unwrap();
    let ((mut asks, mut hears), (mut answers, mut told)) = (client.into_split(), decoy.into_split());
    let heard = session.clone();
    let back = tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(count @ 1..) = answers.read(&mut bytes).await {
            heard.lock().unwrap().heard += count as u64;
            if hears.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    });
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = asks.read(&mut bytes).await {
        let heard = session.lock().unwrap().heard;
        session.lock().unwrap().says.push((heard, bytes[..count].to_vec()));
        if told.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    drop(told);
    back.abort();
}
