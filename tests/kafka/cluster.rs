//! Real Apache Kafka on loopback, without ZooKeeper: brokers that are controllers as well, each a JVM of its own.
//!
//! The jars come by Maven into a folder beside the build's output, once. Where they or Java cannot be had, nothing is
//! started and that is said.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::harness::maven::{self, ports};
use super::harness::{clients, eventually, text};
use super::reader::{Record, records};

/// The Kafka that is tested against.
const VERSION: &str = "4.1.0";
/// What the cluster is called: 16 bytes in base64.
const CLUSTER_ID: &str = "dHJhcGxpbmUtdGVzdHMtMQ";
/// Who may come where a password is asked for, and the password.
pub const USER: (&str, &str) = ("lure", "correct horse");

/// Brokers and the folder they live in; ended and removed when dropped.
pub struct Cluster {
    folder: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    plain: u16,
    controller: u16,
    sasl: u16,
    tls: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Starts brokers and waits until each knows all; `None`, loudly, where there is no Kafka to be had.
    pub fn start(name: &str, brokers: usize) -> Option<Self> {
        let jars = jars()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        super::certificates::make(&folder);
        let nodes = ports(4 * brokers).chunks(4).map(Node::new).collect();
        let mut cluster = Self { folder, nodes };
        for at in 0..brokers {
            std::fs::write(cluster.properties(at), cluster.configuration(at)).unwrap();
            format(jars, &cluster.properties(at));
        }
        (0..brokers).for_each(|at| cluster.launch(at));
        (0..brokers).for_each(|at| cluster.wait_for(at, brokers));
        Some(cluster)
    }

    /// The brokers' plain addresses.
    pub fn brokers(&self) -> Vec<String> {
        self.nodes.iter().map(|node| local(node.plain)).collect()
    }

    /// Where a password is asked for.
    pub fn with_password(&self) -> String {
        local(self.nodes[0].sasl)
    }

    /// Where a client certificate is asked for.
    pub fn with_tls(&self) -> String {
        format!("localhost:{}", self.nodes[0].tls)
    }

    /// A file of its folder: `ca.crt`, `client.crt`, `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a topic with these settings and waits until it has its leaders.
    pub fn make_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let replicas = i32::try_from(self.nodes.len().min(3)).unwrap();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.brokers().join(","))
            .create()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let made = runtime
            .block_on(admin.create_topics([&topic], &AdminOptions::new()))
            .unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        eventually("each partition has a leader", || {
            let leaders = self.leaders(name);
            (leaders.len() == usize::try_from(partitions).unwrap() && leaders.iter().all(|leader| *leader > 0))
                .then_some(())
        });
    }

    /// The leaders of a topic's partitions, as brokers' numbers from 1 on; 0 or less for none.
    pub fn leaders(&self, topic: &str) -> Vec<i64> {
        let asked = Command::new("kcat")
            .args(["-L", "-J", "-m", "5", "-b", &self.brokers().join(","), "-t", topic])
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
        let partitions = said["topics"][0]["partitions"].as_array().cloned().unwrap_or_default();
        partitions
            .iter()
            .map(|partition| partition["leader"].as_i64().unwrap_or(0))
            .collect()
    }

    /// All that a topic holds, as kcat reads it.
    pub fn records(&self, topic: &str) -> Vec<Record> {
        records(&self.brokers().join(","), topic)
    }

    /// Ends a broker at once, as `kill -9` does.
    pub fn kill(&mut self, broker: usize) {
        if let Some(mut child) = self.nodes[broker].child.take() {
            // The shell around it waits for the end of its input, then kills.
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Starts a broker again and waits until it answers.
    pub fn revive(&mut self, broker: usize) {
        self.launch(broker);
        self.wait_for(broker, 1);
    }

    fn launch(&mut self, at: usize) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("broker-{at}.log")))
            .unwrap();
        // Its input ends with this process, whatever ends that.
        let keeper = "\"$@\" </dev/null & pid=$!; read -r _; kill -9 $pid; wait $pid 2>/dev/null";
        let child = Command::new("sh")
            .args(["-c", keeper, "sh", "java", "-Xms64m", "-Xmx256m"])
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(jars().unwrap().join("*"))
            .arg("kafka.Kafka")
            .arg(self.properties(at))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[at].child = Some(child);
    }

    /// Waits until a broker knows of so many.
    fn wait_for(&self, at: usize, brokers: usize) {
        let address = local(self.nodes[at].plain);
        eventually(&format!("broker {at} of {} answers", self.folder.display()), || {
            let asked = Command::new("kcat")
                .args(["-L", "-J", "-m", "2", "-b", &address])
                .output()
                .unwrap();
            let said: serde_json::Value = serde_json::from_slice(&asked.stdout).ok()?;
            (said["brokers"].as_array()?.len() >= brokers).then_some(())
        });
    }

    fn properties(&self, at: usize) -> PathBuf {
        self.folder.join(format!("broker-{at}.properties"))
    }

    fn configuration(&self, at: usize) -> String {
        let voters: Vec<_> = (1..)
            .zip(&self.nodes)
            .map(|(id, node)| format!("{id}@{}", local(node.controller)))
            .collect();
        let node = &self.nodes[at];
        let copies = self.nodes.len().min(3);
        format!(
            "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
             listeners=PLAIN://{plain},CONTROLLER://{controller},PASSWORD://{sasl},TLS://localhost:{tls}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAIN\n\
             listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,PASSWORD:SASL_PLAINTEXT,TLS:SSL\n\
             log.dirs={folder}/data-{at}\nauto.create.topics.enable=false\ndefault.replication.factor={copies}\n\
             min.insync.replicas={sure}\nbroker.heartbeat.interval.ms=500\nbroker.session.timeout.ms=3000\n\
             replica.lag.time.max.ms=5000\ncontrolled.shutdown.enable=false\n{secure}",
            id = at + 1,
            voters = voters.join(","),
            plain = local(node.plain),
            controller = local(node.controller),
            sasl = local(node.sasl),
            tls = node.tls,
            folder = self.folder.display(),
            sure = copies.div_ceil(2),
            secure = self.security(),
        )
    }

    fn security(&self) -> String {
        let (user, password) = USER;
        let dir = self.folder.display();
        format!(
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_{user}=\"{password}\";\n\
             listener.name.password.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.tls.ssl.client.auth=required\n\
             listener.name.tls.ssl.keystore.type=PEM\nlistener.name.tls.ssl.keystore.location={dir}/broker.pem\n\
             listener.name.tls.ssl.truststore.type=PEM\nlistener.name.tls.ssl.truststore.location={dir}/ca.crt\n"
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.kill(at));
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Node {
    fn new(ports: &[u16]) -> Self {
        let [plain, controller, sasl, tls] = *ports else {
            unreachable!("four ports a node")
        };
        Self {
            plain,
            controller,
            sasl,
            tls,
            child: None,
        }
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn format(jars: &Path, properties: &Path) {
    let (user, password) = USER;
    let formatted = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars.join("*"))
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(properties)
        .arg("--add-scram")
        .arg(format!("SCRAM-SHA-512=[name={user},password={password}]"))
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{}", text(&formatted.stderr));
}

/// The folder of the jars, fetched at the first call.
fn jars() -> Option<&'static Path> {
    static JARS: OnceLock<Option<PathBuf>> = OnceLock::new();
    JARS.get_or_init(|| {
        let all = ["java", "mvn", "kcat"].iter().all(|program| clients::has(program));
        let fetched = all.then(fetch)?;
        if let Err(why) = &fetched {
            println!("SKIPPED Apache Kafka {VERSION}: its jars cannot be fetched by Maven: {why}");
        }
        fetched.ok()
    })
    .as_deref()
}

fn fetch() -> Result<PathBuf, String> {
    let jars = [
        ("org.apache.kafka", "kafka_2.13", VERSION),
        ("org.slf4j", "slf4j-simple", "1.7.36"),
    ];
    maven::fetch(&format!("apache-kafka-{VERSION}"), &jars)
}
