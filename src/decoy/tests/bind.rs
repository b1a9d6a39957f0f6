//! Binding, retrying, and what is told of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Event, Field, codec};

use crate::decoy::bind::{BindError, Binder, Endpoint, ListenerStatus, RETRY_EVERY, Wanted, bind};
use crate::decoy::handed::Shelf;
use crate::decoy::personality::embedded;
use crate::decoy::role::Role;
use crate::decoy::services::Transport;
use crate::decoy::testing::{self, spec};
use crate::journal::{Commit, JournalError};
use crate::record::{self, Append};

const SILENT: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";

struct Bodies(mpsc::Sender<Bytes>);

impl Append for Bodies {
    async fn append(&self, commit: Commit) -> Result<(), JournalError> {
        for body in commit.append {
            self.0.send(body).await.map_err(|_| JournalError::Closed)?;
        }
        Ok(())
    }
}

/// Core and decoy role with a channel in place of the journal.
struct House {
    wishes: mpsc::Sender<Vec<Wanted>>,
    states: tokio::sync::watch::Receiver<Vec<ListenerStatus>>,
    bodies: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
}

impl House {
    fn open() -> Self {
        let (bodies, bodies_in) = mpsc::channel(64);
        let (recorder, task) = record::start(testing::settings());
        let (role, orders) = mpsc::channel(8);
        let (wishes, wishes_in) = mpsc::channel(8);
        let (binder, states) = Binder::new(role, recorder.clone(), Shelf::default());
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Handle::current();
        runtime.spawn(task.run(Bodies(bodies), CancellationToken::new()));
        runtime
            .spawn(Role::new(recorder.hits(), recorder.missed(), Duration::ZERO).run(orders, CancellationToken::new()));
        runtime.spawn(binder.run(wishes_in, stop.clone()));
        Self {
            wishes,
            states,
            bodies: bodies_in,
            stop,
        }
    }

    async fn want(&mut self, wanted: &[Wanted]) -> Vec<ListenerStatus> {
        self.wishes.send(wanted.to_vec()).await.unwrap();
        self.states.changed().await.unwrap();
        self.states.borrow_and_update().clone()
    }

    async fn event(&mut self) -> Event {
        codec::decode(&self.bodies.recv().await.unwrap()).unwrap()
    }
}

fn wanted(name: &str, addresses: &[SocketAddr]) -> Wanted {
    let mut spec = spec(SILENT);
    spec.name = name.into();
    Wanted {
        spec: Arc::new(spec),
        endpoints: addresses.iter().copied().map(tcp).collect(),
    }
}

fn tcp(address: SocketAddr) -> Endpoint {
    Endpoint {
        transport: Transport::Tcp,
        address,
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_told_retried_and_costs_no_other_decoy() {
    let taken = std::net::TcpListener::bind(any_port()).unwrap();
    let address = taken.local_addr().unwrap();
    let mut house = House::open();
    let started = tokio::time::Instant::now();
    let states = house
        .want(&[wanted("busy", &[address]), wanted("free", &[any_port()])])
        .await;
    let taken_error = states[0].degraded.as_deref();
    assert!(matches!(taken_error, Some(BindError::Taken(at)) if *at == address));
    assert_eq!(states[1].degraded, None);
    TcpStream::connect(states[1].address)
        .await
        .expect("the other decoy listens");
    let failed = house.event().await;
    assert_eq!(failed.action, Action::ListenerFailed);
    assert_eq!(failed.text(Field::DecoyId).map(|name| name.as_str()), Some("busy"));
    assert_eq!(
        failed.text(Field::ErrorType).map(|kind| kind.as_str()),
        Some("address-taken")
    );
    assert_eq!(house.event().await.action, Action::ListenerStarted);
    drop(taken);
    house.states.changed().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), RETRY_EVERY.as_secs());
    assert_eq!(house.states.borrow()[0].degraded, None);
    TcpStream::connect(address)
        .await
        .expect("the freed port is a decoy now");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_goes_on_is_told_once_and_keeps_its_since() {
    let taken = std::net::TcpListener::bind(any_port()).unwrap();
    let mut house = House::open();
    let before = house.want(&[wanted("busy", &[taken.local_addr().unwrap()])]).await;
    assert_eq!(house.event().await.action, Action::ListenerFailed);
    house.states.changed().await.unwrap();
    house.states.changed().await.unwrap();
    assert_eq!(*house.states.borrow(), before);
    assert!(house.bodies.try_recv().is_err());
}

#[tokio::test]
async fn new_wishes_close_what_is_gone_and_leave_what_stayed() {
    let mut house = House::open();
    let (stays, goes) = (wanted("stays", &[any_port()]), wanted("goes", &[any_port()]));
    let before = house.want(&[stays.clone(), goes]).await;
    let held = TcpStream::connect(before[0].address).await.unwrap();
    let again = wanted("goes", &[before[1].address]);
    let after = house.want(&[stays.clone(), again]).await;
    assert_eq!(after[0], before[0]);
    assert_eq!((after[1].address, &after[1].degraded), (before[1].address, &None));
    let last = house.want(&[stays]).await;
    assert_eq!(last, before[..1]);
    TcpStream::connect(before[1].address)
        .await
        .expect_err("a decoy that is gone is closed");
    TcpStream::connect(before[0].address)
        .await
        .expect("a decoy that stayed listens");
    drop(held);
}

#[tokio::test]
async fn a_decoy_that_changes_keeps_its_socket_where_it_is_to_stay() {
    let mut house = House::open();
    let before = house.want(&[wanted("one", &[any_port()])]).await;
    let after = house.want(&[wanted("one", &[any_port(), any_port()])]).await;
    assert_eq!(after[0], before[0], "as another spec, at one more address");
    assert_ne!(after[1].address, before[0].address);
    for status in after {
        TcpStream::connect(status.address).await.expect("both listen");
    }
}

#[tokio::test]
async fn a_decoy_of_both_transports_that_is_narrowed_to_one_keeps_that_socket_and_closes_the_other() {
    let mut house = House::open();
    let spec = Arc::new(spec(embedded("dns-refused").unwrap()));
    let over = |transports: &[Transport]| Wanted {
        spec: Arc::clone(&spec),
        endpoints: transports
            .iter()
            .map(|transport| Endpoint {
                transport: *transport,
                address: any_port(),
            })
            .collect(),
    };
    let both = house.want(&[over(&[Transport::Tcp, Transport::Udp])]).await;
    assert_eq!((both[0].transport, both[1].transport), (Transport::Tcp, Transport::Udp));
    let narrowed = house.want(&[over(&[Transport::Tcp])]).await;
    assert_eq!(narrowed, both[..1]);
    TcpStream::connect(both[0].address).await.expect("it listens still");
    std::net::UdpSocket::bind(both[1].address).expect("the other socket is closed");
}

#[tokio::test]
async fn a_stop_tells_of_each_listener() {
    let mut house = House::open();
    house.want(&[wanted("one", &[any_port(), any_port()])]).await;
    house.stop.cancel();
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(house.event().await.action);
    }
    let (started, stopped) = (Action::ListenerStarted, Action::ListenerStopped);
    assert_eq!(told, [started, started, stopped, stopped]);
}

#[test]
fn udp_ports_are_taken_too_and_families_stand_side_by_side() {
    let (_held, address) = bind(any_port(), Transport::Udp).unwrap();
    assert!(matches!(bind(address, Transport::Udp), Err(BindError::Taken(_))));
    let (_v4, v4) = bind("0.0.0.0:0".parse().unwrap(), Transport::Tcp).unwrap();
    let v6 = bind(SocketAddr::new("::".parse().unwrap(), v4.port()), Transport::Tcp);
    assert!(matches!(v6, Ok(_) | Err(BindError::NoFamily(_))), "{v6:?}");
}

#[test]
fn an_address_of_another_machine_is_told_as_such() {
    let missing = bind("192.0.2.1:7000".parse().unwrap(), Transport::Tcp);
    assert!(matches!(missing, Err(BindError::NotHere(_))), "{missing:?}");
}
