//! A real rsyslogd on loopback that takes RFC 5424 over TLS with client certificates and writes one line a message.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::eventually;

/// A running rsyslogd and its folder; ended when dropped.
pub struct Rsyslog {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// Whether rsyslogd and its TLS driver are installed; says loudly when not.
    pub fn is_installed() -> bool {
        let driver = Path::new("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so").exists()
            || Path::new("/usr/lib/aarch64-linux-gnu/rsyslog/lmnsd_gtls.so").exists();
        let found = driver && Path::new("/usr/sbin/rsyslogd").exists();
        if !found {
            println!("SKIPPED rsyslog: rsyslog and rsyslog-gnutls are not installed");
        }
        found
    }

    /// Makes certificates in `folder` and starts.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        make_certificates(folder);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self {
            folder: folder.to_owned(),
            port,
            child: None,
        };
        std::fs::write(server.path("rsyslog.conf"), server.configuration()).unwrap();
        server.launch();
        server
    }

    /// The configuration of a sink that sends here.
    pub fn sink(&self) -> String {
        format!(
            "type = \"syslog\"\ntransport = \"tls\"\naddress = \"localhost:{}\"\n\
             tls = {{ ca = \"{dir}/ca.crt\", cert = \"{dir}/client.crt\", key = \"{dir}/client.key\" }}\n",
            self.port,
            dir = self.folder.display()
        )
    }

    /// Starts again after a stop.
    pub fn launch(&mut self) {
        let log = std::fs::File::create(self.path("rsyslogd.log")).unwrap();
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(self.path("rsyslog.conf"))
            .arg("-i")
            .arg(self.path("rsyslogd.pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        eventually("rsyslogd listens", || TcpStream::connect(address).ok());
    }

    /// Ends it, as an administrator would.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// The messages received, one JSON event a line.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read(self.path("received.jsonl")).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configuration(&self) -> String {
        let dir = self.folder.display();
        format!(
            r#"global(maxMessageSize="128k" workDirectory="{dir}" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriverCAFile="{dir}/ca.crt"
       defaultNetstreamDriverCertFile="{dir}/server.crt" defaultNetstreamDriverKeyFile="{dir}/server.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
template(name="raw" type="string" string="%msg%\n")
ruleset(name="keep") {{ action(type="omfile" file="{dir}/received.jsonl" template="raw" flushOnTXEnd="on") }}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="keep")
"#,
            port = self.port
        )
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An authority, a server certificate for `localhost` and a client certificate.
fn make_certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
