//! Making a key and a certificate for it, once, as a fresh install of the claimed product does.
//!
//! In: the look, the install. Out: PEM: the key, its certificate, and the one above it if there is one. What stands in a
//! certificate besides name and dates, and in which order, tells the program that made it: see [`Form`].

use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, PublicKeyData as _, SerialNumber};
use ring::digest;

use super::certificate::{Form, KeyLook, TlsLook};
use crate::decoy::der;
use crate::decoy::number::RsaNumbers;
use crate::decoy::personality::Install;

/// Size of an RSA key.
const RSA_BITS: u32 = 2048;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Object identifiers of extensions (RFC 5280 section 4.2.1).
const SUBJECT_KEY: [u64; 4] = [2, 5, 29, 14];
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const ALTERNATIVE_NAME: [u64; 4] = [2, 5, 29, 17];
const CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];
const EXTENDED_USAGE: [u64; 4] = [2, 5, 29, 37];

/// A new key and its certificate, PEM. `name`: whose it is; its age is drawn by it.
pub(super) fn make(name: &str, look: &TlsLook, install: &Install) -> Result<Vec<u8>, rcgen::Error> {
    let expand = |text: &String| install.expand(text).into_owned();
    let names: Vec<_> = look.names.iter().map(expand).collect();
    let dates = Dates::draw(name, look, install);
    let key = new_key(look.key)?;
    let mut params = params(&expand(&look.common_name), dates);
    params.custom_extensions = extensions(look.form, &names, &key);
    if look.issuer.is_empty() {
        params.serial_number = Some(serial(look.form));
        let certificate = params.self_signed(&key)?;
        return Ok([key.serialize_pem(), certificate.pem()].concat().into_bytes());
    }
    params.serial_number = Some(SerialNumber::from(2));
    let above_key = new_key(look.key)?;
    let mut above = self::params(&expand(&look.issuer), dates);
    above.serial_number = Some(SerialNumber::from(1));
    above.custom_extensions = vec![constraints(true, true)];
    let top = above.self_signed(&above_key)?.pem();
    let certificate = params.signed_by(&key, &Issuer::new(above, above_key))?.pem();
    Ok([key.serialize_pem(), certificate, top].concat().into_bytes())
}

fn new_key(kind: KeyLook) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyLook::Ec => KeyPair::generate(),
        KeyLook::Rsa => {
            let key = RsaNumbers::generate(RSA_BITS).pkcs8();
            let key = key.ok_or(rcgen::Error::KeyGenerationUnavailable)?;
            KeyPair::try_from(key.as_slice())
        }
    }
}

/// From when to when, since 1970.
#[derive(Clone, Copy)]
struct Dates(Duration, Duration);

impl Dates {
    fn draw(name: &str, look: &TlsLook, install: &Install) -> Self {
        let age = age(install.draw(&format!("certificate of {name}")), look.days);
        let now = Duration::from_secs(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0));
        let from = now.saturating_sub(age);
        Self(from, from + DAY * u32::from(look.days))
    }
}

/// How long ago a certificate was made: at most two years, and at most half of its time.
fn age([a, b, c, d, ..]: [u8; 32], days: u16) -> Duration {
    let longest = DAY.as_secs() * u64::from(days / 2).min(730);
    let drawn = u64::from(u32::from_be_bytes([a, b, c, d]));
    Duration::from_secs(DAY.as_secs() + drawn % longest.max(1))
}

fn params(common_name: &str, Dates(from, to): Dates) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::NoCa;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + from;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + to;
    params
}

fn serial(form: Form) -> SerialNumber {
    let mut random: [u8; 20] = rand::random();
    // OpenSSL draws 159 bits, and Windows 16 bytes.
    random[0] = random[0] & 0x7f | 0x10;
    let length = if form == Form::Windows { 16 } else { random.len() };
    SerialNumber::from_slice(random.get(..length).unwrap_or(&random))
}

fn extensions(form: Form, names: &[String], key: &KeyPair) -> Vec<CustomExtension> {
    match form {
        Form::Snakeoil => {
            let names = (!names.is_empty()).then(|| alternative_names(names));
            let constraints = std::iter::once(constraints(false, false));
            constraints.chain(names).chain([subject_key(key)]).collect()
        }
        Form::Request => vec![subject_key(key), authority_key(key), constraints(true, true)],
        Form::Mysql => vec![constraints(true, false)],
        Form::Windows => vec![server_usage(), encipherment()],
    }
}

fn extension(oid: &[u64], critical: bool, content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content);
    extension.set_criticality(critical);
    extension
}

fn constraints(critical: bool, is_authority: bool) -> CustomExtension {
    let content: &[u8] = if is_authority { b"\x01\x01\xff" } else { b"" };
    extension(&CONSTRAINTS, critical, der::sequence(&[content]))
}

fn alternative_names(names: &[String]) -> CustomExtension {
    const DNS_NAME: u8 = 0x82;
    let names: Vec<u8> = names
        .iter()
        .flat_map(|name| der::element(DNS_NAME, name.as_bytes()))
        .collect();
    extension(&ALTERNATIVE_NAME, false, der::sequence(&[&names]))
}

/// The first method of RFC 5280 section 4.2.1.2, which OpenSSL takes.
fn key_id(key: &KeyPair) -> Vec<u8> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.der_bytes());
    digest.as_ref().to_vec()
}

fn subject_key(key: &KeyPair) -> CustomExtension {
    extension(&SUBJECT_KEY, false, der::element(der::OCTETS, &key_id(key)))
}

fn authority_key(key: &KeyPair) -> CustomExtension {
    const KEY_IDENTIFIER: u8 = 0x80;
    let id = der::element(KEY_IDENTIFIER, &key_id(key));
    extension(&AUTHORITY_KEY, false, der::sequence(&[&id]))
}

fn server_usage() -> CustomExtension {
    let server = der::element(der::OBJECT, b"\x2b\x06\x01\x05\x05\x07\x03\x01");
    extension(&EXTENDED_USAGE, false, der::sequence(&[&server]))
}

/// Encipherment of keys and of data.
fn encipherment() -> CustomExtension {
    extension(&KEY_USAGE, false, der::element(der::BITS, &[4, 0x30]))
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn made(look: &TlsLook) -> Vec<CertificateDer<'static>> {
        let install = Install::new("files03", "corp.local", [7; 32]);
        let pem = make("lure", look, &install).unwrap();
        CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect()
    }

    fn is_signed(certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> bool {
        let key = &by.public_key().subject_public_key.data;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
        let signature = &certificate.signature_value.data;
        key.verify(certificate.tbs_certificate.as_ref(), signature).is_ok()
    }

    /// As `openssl x509 -text` shows the certificates of Debian's `ssl-cert` and of `openssl req -x509`.
    #[test]
    fn each_form_has_the_extensions_of_its_maker_in_their_order() {
        let (bc, san, ski, aki) = ("2.5.29.19", "2.5.29.17", "2.5.29.14", "2.5.29.35");
        for (form, expected) in [
            (Form::Snakeoil, &[(bc, false), (san, false), (ski, false)][..]),
            (Form::Request, &[(ski, false), (aki, false), (bc, true)]),
            (Form::Mysql, &[(bc, true)]),
            (Form::Windows, &[("2.5.29.37", false), ("2.5.29.15", false)]),
        ] {
            let look = TlsLook {
                form,
                key: KeyLook::Ec,
                ..TlsLook::default()
            };
            let chain = made(&look);
            let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
            let found: Vec<_> = certificate
                .extensions()
                .iter()
                .map(|e| (e.oid.to_id_string(), e.critical))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(oid, critical)| ((*oid).to_owned(), *critical))
                .collect();
            assert_eq!(found, expected, "{form:?}");
            assert_eq!(certificate.subject().to_string(), "CN=files03.corp.local");
            assert!(is_signed(&certificate, &certificate));
        }
    }

    #[test]
    fn an_rsa_key_has_2048_bits_and_signs_by_sha_256() {
        let chain = made(&TlsLook::default());
        let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
        assert_eq!(certificate.public_key().parsed().unwrap().key_size(), 2048);
        assert_eq!(
            certificate.signature_algorithm.algorithm.to_id_string(),
            "1.2.840.113549.1.1.11"
        );
        let days = certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
        assert_eq!(days, 3650 * 24 * 60 * 60);
    }

    #[test]
    fn one_with_an_issuer_comes_with_it() {
        let look = TlsLook {
            form: Form::Mysql,
            key: KeyLook::Ec,
            issuer: "An authority".into(),
            ..TlsLook::default()
        };
        let chain = made(&look);
        let parsed: Vec<_> = chain
            .iter()
            .map(|one| X509Certificate::from_der(one).unwrap().1)
            .collect();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].issuer(), parsed[1].subject());
        assert!(is_signed(&parsed[0], &parsed[1]) && !is_signed(&parsed[0], &parsed[0]));
        assert!(parsed[1].is_ca() && !parsed[0].is_ca());
    }
}
