//! Hellos and clients for tests.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hello::Hello;
use crate::decoy::testing::{CERTIFICATE, Stage};

/// A client that trusts the certificate in `pem` and offers these protocols.
pub(crate) fn client_of(pem: &[u8], alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands with `files03.corp.local`.
pub(crate) async fn shake(client: &TlsConnector, socket: TcpStream) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("files03.corp.local").unwrap();
    client.connect(name, socket).await.unwrap()
}

/// Sends `before` in plaintext, waits for `ready` to be said, and sends `within` in TLS; what was said to each.
pub(crate) async fn upgrade(stage: &Stage, before: &[u8], ready: &[u8], within: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut socket = stage.connect().await;
    socket.write_all(before).await.unwrap();
    let mut plain = Vec::new();
    while !plain.ends_with(ready) {
        plain.push(
            socket
                .read_u8()
                .await
                .unwrap_or_else(|_| panic!("{}", plain.escape_ascii())),
        );
    }
    let mut peer = shake(&client_of(CERTIFICATE.as_bytes(), &[]), socket).await;
    peer.write_all(within).await.unwrap();
    peer.shutdown().await.unwrap();
    let mut said = Vec::new();
    let _ = peer.read_to_end(&mut said).await;
    (plain, said)
}

/// The handshake message of a hello. Extensions whose content is not in [`Hello`] are empty.
pub(crate) fn hello_of(hello: &Hello) -> Vec<u8> {
    let mut body = hello.version.to_be_bytes().to_vec();
    body.extend([0x11; 32]);
    body.push(0);
    body.extend(vector16(&shorts(&hello.ciphers)));
    body.extend([1, 0]);
    let extensions = hello.extensions.iter().flat_map(|kind| extension(hello, *kind));
    body.extend(vector16(&extensions.collect::<Vec<_>>()));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A handshake message in records of at most `bytes`.
pub(crate) fn in_records(message: &[u8], bytes: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &vector16(part)].concat();
    message.chunks(bytes).flat_map(record).collect()
}

fn extension(hello: &Hello, kind: u16) -> Vec<u8> {
    let data = match kind {
        0 => {
            let name = hello.server_name.as_deref().unwrap_or_default();
            vector16(&[&[0][..], &vector16(name)].concat())
        }
        10 => vector16(&shorts(&hello.groups)),
        11 => vector8(&hello.point_formats),
        13 => vector16(&shorts(&hello.signatures)),
        16 => vector16(&hello.alpn.iter().flat_map(|name| vector8(name)).collect::<Vec<_>>()),
        43 => vector8(&shorts(&hello.versions)),
        _ => Vec::new(),
    };
    [&kind.to_be_bytes()[..], &vector16(&data)].concat()
}

fn shorts(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}
