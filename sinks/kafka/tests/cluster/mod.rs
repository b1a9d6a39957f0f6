//! The mock cluster of librdkafka, a door in front of it that can be in the way, and a reader of what it holds.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::dial::Resolver;
use trapline_sink_kafka::SINK;
use uuid::Uuid;

/// The topic of the tests.
pub const TOPIC: &str = "honeyport.events";
/// Its partitions.
pub const PARTITIONS: i32 = 3;
/// How long anything may take; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Mock = MockCluster<'static, DefaultProducerContext>;
type Act = Box<dyn FnOnce(&Mock) + Send>;

/// A mock cluster, which stays on the thread that made it.
pub struct Cluster {
    acts: mpsc::Sender<Act>,
    servers: String,
}

impl Cluster {
    /// A cluster with the topic.
    pub fn new(brokers: i32) -> Self {
        let cluster = Self::bare(brokers);
        cluster.act(move |mock| mock.create_topic(TOPIC, PARTITIONS, brokers.min(3)).unwrap());
        cluster
    }

    /// A cluster without a topic.
    pub fn bare(brokers: i32) -> Self {
        let (acts, queue) = mpsc::channel::<Act>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mock = MockCluster::new(brokers).unwrap();
            tell.send(mock.bootstrap_servers()).unwrap();
            queue.iter().for_each(|act| act(&mock));
        });
        Self {
            acts,
            servers: told.recv().unwrap(),
        }
    }

    /// Does something with it, and waits until it is done.
    pub fn act(&self, act: impl FnOnce(&Mock) + Send + 'static) {
        let (tell, told) = mpsc::channel();
        let act = move |mock: &Mock| {
            act(mock);
            tell.send(()).unwrap();
        };
        self.acts.send(Box::new(act)).unwrap();
        told.recv().unwrap();
    }

    /// Its brokers, HOST:PORT.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Answers to requests of this kind, in turn.
    pub fn fail(&self, api: RDKafkaApiKey, errors: &'static [RDKafkaRespErr]) {
        self.act(move |mock| mock.request_errors(api, errors));
    }

    /// All that the topic of the tests holds.
    pub fn stored(&self) -> Vec<Stored> {
        stored(&self.servers, TOPIC)
    }
}

/// A sink for these brokers, with further lines of its table.
pub fn sink(brokers: &str, lines: &str) -> Arc<dyn StreamSink> {
    sink_to(brokers, TOPIC, lines)
}

/// A sink for another topic.
pub fn sink_to(brokers: &str, topic: &str, lines: &str) -> Arc<dyn StreamSink> {
    let list: Vec<_> = brokers.split(',').map(|broker| format!("\"{broker}\"")).collect();
    let toml = format!(
        "brokers = [{}]\ntopic = \"{topic}\"\ntimeout = \"1s\"\ndelivery_timeout = \"30s\"\n{lines}",
        list.join(", ")
    );
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    let factory = (SINK.parse)(&table);
    assert!(!problems.has_errors(), "{:?}", problems.take());
    let common = Common {
        name: "bus".into(),
        format: Format::Ecs,
        observer: "lure".into(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    factory.build(&common).unwrap()
}

/// A record as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub key: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub value: Vec<u8>,
    pub millis: Option<i64>,
}

impl Stored {
    pub fn id(&self) -> Uuid {
        self.headers["event.id"].parse().unwrap()
    }
}

/// All that a topic holds, by partition and offset.
pub fn stored(brokers: &str, topic: &str) -> Vec<Stored> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut left = 0;
    let mut wanted = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
        left += high - low;
        wanted
            .add_partition_offset(topic, partition, Offset::Offset(low))
            .unwrap();
    }
    consumer.assign(&wanted).unwrap();
    let mut found = Vec::new();
    while left > 0 {
        let message = consumer
            .poll(PATIENCE)
            .expect("what is below the mark can be read")
            .unwrap();
        found.push(read(&message));
        left -= 1;
    }
    found
}

fn read(message: &rdkafka::message::BorrowedMessage<'_>) -> Stored {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = message.headers().map(|headers| {
        let pair = |header: rdkafka::message::Header<'_, &[u8]>| (header.key.to_owned(), text(header.value.unwrap()));
        headers.iter().map(pair).collect()
    });
    Stored {
        partition: message.partition(),
        key: message.key().map(text),
        headers: headers.unwrap_or_default(),
        value: message.payload().unwrap().to_vec(),
        millis: message.timestamp().to_millis(),
    }
}

/// What a door does with who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Lets them through to the broker.
    Open,
    /// Takes them in and says nothing.
    Silent,
    /// Says this, and closes.
    Says(&'static [u8]),
    /// Says without end.
    Babbles,
}

/// A port in front of a broker. Brokers name their own ports to who gets through, so the door is for the first contact.
pub struct Door {
    pub address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    task: tokio::task::JoinHandle<()>,
}

impl Door {
    /// A door at a port of the kernel's choice, or at that of an earlier one.
    pub async fn open(at: Option<SocketAddr>, broker: String, manner: Manner) -> Self {
        let listener = TcpListener::bind(at.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(manner));
        let kept = manner.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let manner = *kept.lock().unwrap();
                tokio::spawn(serve(stream, broker.clone(), manner));
            }
        });
        Self { address, manner, task }
    }

    /// How it treats who comes from now on.
    pub fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, broker: String, manner: Manner) {
    match manner {
        Manner::Open => {
            if let Ok(mut inner) = TcpStream::connect(broker).await {
                let _ = copy_bidirectional(&mut stream, &mut inner).await;
            }
        }
        Manner::Silent => {
            let mut bytes = [0; 1024];
            while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        }
        Manner::Says(words) => {
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(words).await;
        }
        Manner::Babbles => while stream.write_all(&[7; 4096]).await.is_ok() {},
    }
}
