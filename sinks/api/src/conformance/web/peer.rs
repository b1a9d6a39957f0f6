//! The suite's rig around a fake server, whatever that speaks: names, certificates, impostors, and who listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustls::ServerConfig;
use uuid::Uuid;

use super::impostor::Impostor;
use crate::conformance::certs::{Authority, Identity, self_signed};
use crate::conformance::names::{NAME, Zone};
use crate::conformance::{Case, Rig};
use crate::dial::Resolver;
use crate::stream::StreamSink;

/// Where the sink under test finds its destination.
pub struct Place {
    /// `https://host:port` or `http://host:port`.
    pub base: String,
    /// Whom it trusts, where the destination has a certificate.
    pub ca: Option<PathBuf>,
    /// Who knows the destination's name.
    pub resolver: Resolver,
}

impl Place {
    /// The line `tls = …` of the sink's table; empty where there is no TLS.
    pub fn tls(&self) -> String {
        let line = |ca: &PathBuf| format!("tls = {{ ca = \"{}\" }}", ca.display());
        self.ca.as_ref().map(line).unwrap_or_default()
    }
}

/// A fake server as a rig breaks and mends it.
#[async_trait]
pub trait Peer: Send + Sync + 'static {
    /// Where it listens, also after a stop.
    fn address(&self) -> SocketAddr;

    /// Orders the faults of a case that are a matter of answers.
    fn spoil(&self, case: Case);

    /// Takes them back.
    fn heal(&self);

    /// From now on a connection serves one request alone.
    fn close_after_each(&self);

    /// Nobody listens from the return on.
    async fn stop(&mut self);

    /// Listens again, with all that was kept.
    async fn resume(&mut self);

    /// Ids of the events that it holds, in order of arrival, doubles included.
    fn stored(&self) -> Vec<Uuid>;

    /// What nobody else may see: parts of credentials and of a request's body.
    fn secrets(&self) -> &[&str];
}

struct PeerRig<P: Peer> {
    peer: P,
    sink: Arc<dyn StreamSink>,
    zone: Zone,
    /// Whether nobody listens, or an impostor does.
    away: bool,
    impostor: Option<Impostor>,
}

/// A fake in the state of a case, which `start` starts with this TLS or in clear, and a sink that is set to it.
pub async fn rig_around<P: Peer, F: Future<Output = P> + Send>(
    case: Case,
    start: impl FnOnce(Option<Arc<ServerConfig>>) -> F + Send,
    sink: impl FnOnce(&Place) -> Arc<dyn StreamSink> + Send,
) -> Box<dyn Rig> {
    let authority = Authority::new().unwrap();
    let by_name = matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost);
    let host = if by_name { NAME } else { "localhost" };
    let tls = (by_name || of_tls(case)).then(|| authority.issue(host).unwrap().server(None).unwrap());
    let encrypted = tls.is_some();
    let peer = start(tls).await;
    let zone = Zone::new(peer.address());
    let folder = std::env::temp_dir().join(format!("trapline-rig-{}", Uuid::new_v4()));
    let place = Place {
        base: match encrypted {
            true => format!("https://{host}:{}", peer.address().port()),
            false => format!("http://{}", peer.address()),
        },
        ca: encrypted.then(|| write(&folder, &authority)),
        resolver: if by_name { zone.resolver() } else { Resolver::default() },
    };
    let sink = sink(&place);
    let _ = std::fs::remove_dir_all(&folder);
    let mut rig = PeerRig {
        peer,
        sink,
        zone,
        away: false,
        impostor: None,
    };
    rig.break_it(case, &authority).await;
    Box::new(rig)
}

const fn of_tls(case: Case) -> bool {
    matches!(
        case,
        Case::TlsExpired | Case::TlsWrongHost | Case::TlsSelfSigned | Case::TlsPlainPort
    )
}

fn write(folder: &Path, authority: &Authority) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("ca.crt");
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

impl<P: Peer> PeerRig<P> {
    async fn break_it(&mut self, case: Case, authority: &Authority) {
        self.peer.spoil(case);
        match case {
            Case::Refused => self.leave().await,
            Case::NameGone | Case::ResolverDead => self.zone.fail(case),
            Case::NameLost => self.lose_the_name().await,
            Case::TlsPlainPort => self.replace(None).await,
            Case::TlsExpired => self.replace(Some(authority.issue_expired("localhost").unwrap())).await,
            Case::TlsWrongHost => self.replace(Some(authority.issue("elsewhere.example").unwrap())).await,
            Case::TlsSelfSigned => self.replace(Some(self_signed("localhost").unwrap())).await,
            _ => {}
        }
    }

    async fn leave(&mut self) {
        self.peer.stop().await;
        self.away = true;
    }

    async fn replace(&mut self, tls: Option<Identity>) {
        self.leave().await;
        self.impostor = Some(Impostor::listen(self.peer.address(), tls).await);
    }

    /// The server closes after each answer, so the next request needs the address again.
    async fn lose_the_name(&mut self) {
        self.peer.close_after_each();
        self.sink.check().await.unwrap();
        assert!(self.zone.asked() >= 1, "the name was never asked for");
        self.zone.fail(Case::NameLost);
    }
}

#[async_trait]
impl<P: Peer> Rig for PeerRig<P> {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }

    async fn heal(&mut self) {
        if let Some(impostor) = self.impostor.take() {
            impostor.leave().await;
        }
        self.zone.heal();
        self.peer.heal();
        if std::mem::take(&mut self.away) {
            self.peer.resume().await;
        }
    }

    fn stored(&self) -> Vec<Uuid> {
        self.peer.stored()
    }

    fn leaked(&self) -> bool {
        self.impostor
            .as_ref()
            .is_some_and(|impostor| impostor.saw(self.peer.secrets()))
    }
}
