//! An authority, the brokers' certificate in the one file that Kafka wants, and a client's.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Writes `ca.crt`, `broker.pem`, `client.crt`, `client.key`, and `other.crt`, an authority that nobody asked.
pub fn make(folder: &Path) {
    let authority = authority();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("ca.crt", &authority.pem());
    write("other.crt", &self::authority().pem());
    for name in ["broker", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &authority).unwrap().pem();
        match name {
            "broker" => write("broker.pem", &format!("{}{certificate}", key.serialize_pem())),
            _ => {
                write("client.crt", &certificate);
                write("client.key", &key.serialize_pem());
            }
        }
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
