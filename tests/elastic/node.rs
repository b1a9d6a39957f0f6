//! A real OpenSearch node on loopback, in a JVM of its own.
//!
//! The jars come by Maven: the server's, and the module that speaks HTTP. Where they or Java cannot be had, nothing is
//! started and that is said. It is started without native code, so that it runs as whoever runs the tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::harness::{clients, eventually, maven};

/// The OpenSearch that is tested against.
const VERSION: &str = "2.19.1";
/// The log4j that it is made with.
const LOG4J: &str = "2.21.0";

/// A node and the folder it lives in; ended and removed when dropped.
pub struct Node {
    home: PathBuf,
    http: u16,
    child: Option<Child>,
}

impl Node {
    /// Starts a node and waits until it answers; `None`, loudly, where there is no OpenSearch to be had.
    pub fn start(name: &str) -> Option<Self> {
        let jars = jars()?;
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("opensearch-{name}"));
        let _ = std::fs::remove_dir_all(&home);
        for folder in ["config", "lib", "modules/transport-netty4"] {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        lay_out(jars, &home);
        let ports = maven::ports(2);
        configure(&home, ports[0], ports[1]);
        let mut node = Self {
            home,
            http: ports[0],
            child: None,
        };
        node.launch();
        Some(node)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Asks it; the answer's JSON, null where there is none.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/{path}", self.url());
        let body = body.map(Value::to_string);
        let mut arguments = vec!["--globoff", "-X", method, &url];
        if let Some(body) = &body {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let said = clients::curl(&arguments);
        serde_json::from_slice(&said.stdout).unwrap_or_default()
    }

    /// Every event of an index or a data stream, as it was sent, with `_id` and `_index` in it.
    pub fn documents(&self, index: &str) -> Vec<Value> {
        self.ask("POST", &format!("{index}/_refresh"), None);
        let found = self.ask("GET", &format!("{index}/_search?size=10000"), None);
        let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
        hits.into_iter()
            .map(|hit| {
                let mut document = hit["_source"].clone();
                document["_id"] = hit["_id"].clone();
                document["_index"] = hit["_index"].clone();
                document
            })
            .filter(|document| document["event"]["action"] != "record-control")
            .collect()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The shell around it waits for the end of its input, then kills.
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Starts it, again or for the first time, and waits until it has its shards.
    pub fn launch(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.join("node.log"))
            .unwrap();
        // Its input ends with this process, whatever ends that.
        let keeper = "\"$@\" </dev/null & pid=$!; read -r _; kill -9 $pid; wait $pid 2>/dev/null";
        let home = self.home.display();
        let child = Command::new("sh")
            .args(["-c", keeper, "sh", "java", "-Xms128m", "-Xmx384m"])
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-Djava.security.manager=allow", "-Dlog4j2.disable.jmx=true"])
            // Native code looks who runs it, and refuses root.
            .args([
                "-Djna.nosys=true",
                "-Djna.noclasspath=true",
                "-Djna.boot.library.path=/nowhere",
            ])
            .arg(format!("-Djava.security.policy={home}/config/policy"))
            .arg(format!("-Dopensearch.path.home={home}"))
            .arg(format!("-Dopensearch.path.conf={home}/config"))
            .args(["-Dopensearch.distribution.type=tar", "-cp"])
            .arg(self.home.join("lib/*"))
            .arg("org.opensearch.bootstrap.OpenSearch")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually(&format!("{home} answers"), || {
            let health = self.ask("GET", "_cluster/health", None);
            let settled = health["initializing_shards"] == 0 && health["status"] != "red";
            settled.then_some(())
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }
}

/// The module's own jars go into its folder, where alone they may be.
fn lay_out(jars: &Path, home: &Path) {
    for jar in std::fs::read_dir(jars).unwrap() {
        let name = jar.unwrap().file_name();
        let text = name.to_string_lossy();
        let is_modules = text.starts_with("netty-") || text.starts_with("transport-netty4");
        let folder = if is_modules { "modules/transport-netty4" } else { "lib" };
        std::fs::copy(jars.join(&name), home.join(folder).join(&name)).unwrap();
    }
}

fn configure(home: &Path, http: u16, transport: u16) {
    let write = |name: &str, text: &str| std::fs::write(home.join(name), text).unwrap();
    write(
        "modules/transport-netty4/plugin-descriptor.properties",
        &format!(
            "name=transport-netty4\ndescription=HTTP\nversion={VERSION}\nopensearch.version={VERSION}\n\
             java.version=11\nclassname=org.opensearch.transport.Netty4Plugin\n"
        ),
    );
    // The disk of a machine that runs tests may be as full as it likes.
    write(
        "config/opensearch.yml",
        &format!(
            "discovery.type: single-node\nnetwork.host: 127.0.0.1\nhttp.port: {http}\ntransport.port: {transport}\n\
             cluster.routing.allocation.disk.threshold_enabled: false\n"
        ),
    );
    write(
        "config/log4j2.properties",
        "rootLogger.level = info\nappender.console.type = Console\nappender.console.name = console\n\
         appender.console.layout.type = PatternLayout\nappender.console.layout.pattern = %d %p %c %m%n\n\
         rootLogger.appenderRef.console.ref = console\n",
    );
    write("config/policy", "grant { permission java.security.AllPermission; };\n");
}

/// The folder of the jars, fetched at the first call.
fn jars() -> Option<&'static Path> {
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    JARS.get_or_init(|| {
        let all = ["java", "mvn", "curl"].iter().all(|program| clients::has(program));
        let fetched = all.then(fetch)?;
        if let Err(why) = &fetched {
            println!("SKIPPED OpenSearch {VERSION}: its jars cannot be fetched by Maven: {why}");
        }
        fetched.ok()
    })
    .as_deref()
}

fn fetch() -> Result<PathBuf, String> {
    let jars = [
        ("org.opensearch", "opensearch", VERSION),
        ("org.opensearch", "opensearch-plugin-classloader", VERSION),
        ("org.opensearch.plugin", "transport-netty4-client", VERSION),
        ("org.apache.logging.log4j", "log4j-core", LOG4J),
    ];
    maven::fetch(&format!("opensearch-{VERSION}"), &jars)
}
