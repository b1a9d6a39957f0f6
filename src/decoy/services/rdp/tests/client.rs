//! A client of RDP for tests: the messages that one sends, and a TLS that trusts everybody.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::frame;
use crate::decoy::der::{OCTETS, SEQUENCE, context, element};
use crate::decoy::services::ntlm::encode;

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Speaks TLS from here on.
pub(super) async fn shake(socket: TcpStream) -> TlsStream<TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from("10.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .unwrap()
}

/// Reads so many bytes, as hex.
pub(super) async fn read(peer: &mut (impl AsyncRead + Unpin), count: usize) -> String {
    let mut said = vec![0; count];
    peer.read_exact(&mut said).await.unwrap();
    trapline_schemas::ids::hex(&said)
}

/// Reads to the end, as hex.
pub(super) async fn rest(peer: &mut (impl AsyncRead + Unpin)) -> String {
    let mut said = Vec::new();
    let _ = peer.read_to_end(&mut said).await;
    trapline_schemas::ids::hex(&said)
}

/// A connection request with this behind its head.
pub(super) fn connect(variable: &[u8]) -> Vec<u8> {
    let length = variable.len() as u8;
    let head = [3, 0, 0, length + 11, length + 6, 0xe0, 0, 0, 0, 0, 0];
    [&head, variable].concat()
}

/// What asks for these layers.
pub(super) fn wish(layers: u32) -> Vec<u8> {
    [&[1, 0, 8, 0][..], &layers.to_le_bytes()].concat()
}

fn block(kind: u16, content: &[u8]) -> Vec<u8> {
    let size = content.len() as u16 + 4;
    [&kind.to_le_bytes()[..], &size.to_le_bytes(), content].concat()
}

fn counted(content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16 | 0x8000;
    [&length.to_be_bytes(), content].concat()
}

fn padded(text: &str, bytes: usize) -> Vec<u8> {
    let mut text = encode(text, true);
    text.resize(bytes, 0);
    text
}

/// A Connect-Initial of `ATTACKER`, with these channels and methods of encryption.
pub(super) fn connect_initial(channels: &[&[u8]], methods: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let core = [
        // Version, size, depth, keyboard, build.
        words(&[0x0008_0004, 800 << 16 | 1280, 0xaa03_ca01, 0x407, 2600]),
        padded("ATTACKER", 32),
        words(&[4, 0, 12]),
        vec![0; 64],
        // Depths; the client can be told why it has to go.
        words(&[0x0001_ca01, 0, 0x0007_0018]),
        vec![1, 0],
        padded("55274-640", 64),
        vec![0; 6],
    ];
    let rows = channels.iter().flat_map(|name| {
        let mut row = name.to_vec();
        row.resize(8, 0);
        row.extend(b"\0\0\x80\x80");
        row
    });
    let network: Vec<u8> = (channels.len() as u32).to_le_bytes().into_iter().chain(rows).collect();
    let blocks = [
        block(0xc001, &core.concat()),
        block(0xc002, &words(&[methods, 0])),
        block(0xc003, &network),
    ];
    let conference = [&b"\0\x08\0\x10\0\x01\xc0\0Duca"[..], &counted(&blocks.concat())].concat();
    let data = [&b"\0\x05\0\x14\x7c\0\x01"[..], &counted(&conference)].concat();
    let parameters = element(SEQUENCE, b"\x02\x01\x22\x02\x01\x02");
    let selector = element(OCTETS, &[1]);
    let content = [
        &selector[..],
        &selector,
        b"\x01\x01\xff",
        &parameters,
        &parameters,
        &parameters,
        &element(OCTETS, &data),
    ];
    frame::wrap(&[&[0x7f][..], &element(0x65, &content.concat())].concat())
}

/// Asks for domain and user.
pub(super) fn attach() -> Vec<u8> {
    [frame::wrap(b"\x04\x01\0\x01\0"), frame::wrap(b"\x28")].concat()
}

/// Joins a channel.
pub(super) fn join(user: u16, channel: u16) -> Vec<u8> {
    frame::wrap(&[&[0x38][..], &user.to_be_bytes(), &channel.to_be_bytes()].concat())
}

/// Sends data with a security header.
pub(super) fn data(user: u16, flags: u16, content: &[u8]) -> Vec<u8> {
    let content = [&flags.to_le_bytes()[..], &[0, 0], content].concat();
    frame::wrap(&[&[0x64][..], &user.to_be_bytes(), b"\x03\xeb\x70", &counted(&content)].concat())
}

/// An info packet by `CORP\root`.
pub(super) fn info(flags: u32, password: &str) -> Vec<u8> {
    let strings = ["CORP", "root", password, "", "C:\\x"].map(|text| encode(text, true));
    let lengths = strings.iter().flat_map(|text| (text.len() as u16).to_le_bytes());
    let mut out = [&0x407_u32.to_le_bytes()[..], &flags.to_le_bytes()].concat();
    out.extend(lengths);
    for text in &strings {
        out.extend(text);
        out.extend([0, 0]);
    }
    out.extend([2, 0]);
    for text in ["10.9.8.7", "C:\\Windows\\System32\\mstscax.dll"] {
        let text = padded(text, (text.len() + 1) * 2);
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text);
    }
    out.extend([0; 172 + 8]);
    out.extend([28, 0]);
    out.extend(b"this is the cookie to resume");
    out
}

/// A TSRequest of this version.
pub(super) fn ask(version: u8, token: &[u8]) -> Vec<u8> {
    let version = element(context(0), &element(2, &[version]));
    let token = element(SEQUENCE, &element(context(0), &element(OCTETS, token)));
    let tokens = element(context(1), &element(SEQUENCE, &token));
    let key = element(context(3), &element(OCTETS, b"pubKeyAuth"));
    element(SEQUENCE, &[version, tokens, key].concat())
}

/// The first message of NTLM, as a Windows 10 sends it.
pub(super) const NEGOTIATE: &[u8] =
    b"NTLMSSP\0\x01\0\0\0\xb7\x82\x08\xe2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\x63\x45\0\0\0\x0f";

/// The last message of NTLM, by `CORP\alice` at `ATTACKER`.
pub(super) fn authenticate(response: &[u8]) -> Vec<u8> {
    let [domain, user, host] = ["CORP", "alice", "ATTACKER"].map(|text| encode(text, true));
    let mut at = 72;
    let mut head = b"NTLMSSP\0\x03\0\0\0".to_vec();
    for part in [&[0; 24][..], response, &domain, &user, &host, &[]] {
        let length = (part.len() as u16).to_le_bytes();
        head.extend([length, length].concat());
        head.extend((at as u32).to_le_bytes());
        at += part.len();
    }
    head.extend([0x35, 0x82, 0x88, 0xe2, 10, 0, 0x63, 0x45, 0, 0, 0, 15]);
    [&head[..], &[0; 24], response, &domain, &user, &host].concat()
}
