//! The certificate authority of a cluster, and the certificates it issues to
//! nodes.
//!
//! It signs for the nodes of one cluster and for nobody else, which is what
//! makes the fixed names of [`triad_proto::identity`] safe. Its key is needed
//! to make the cluster and to replace a node, and belongs nowhere near a
//! running node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use triad_proto::identity::{ClusterId, NODE_SERVER_NAME, NodeIdentity, node_server_name};

use crate::node_spec::NodeSpec;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the authority lives. Its end is the end of the cluster's
/// certificates, so it outlives the machines.
const AUTHORITY_DAYS: u32 = 3_652;

/// How long a node's certificate lives if nothing else is said: two years and
/// a quarter, the longest that common verifiers accept.
pub const CERTIFICATE_DAYS_DEFAULT: u32 = 825;

/// Certificates begin a day in the past, for machines whose clocks are slow.
const BACKDATED: Duration = DAY;

/// A certificate and its private key, as PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

/// A cluster's authority: its key, ready to sign.
pub struct Authority {
    cluster_id: ClusterId,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a new key, and with it a new cluster id.
    pub fn create(now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let cluster_id = cluster_id_of_public_key(&key.subject_public_key_info());
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = common_name(&format!("Triad cluster {cluster_id}"));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut parameters, now, AUTHORITY_DAYS);
        let certificate_pem = parameters.self_signed(&key)?.pem();
        Ok(Self { cluster_id, certificate_pem, issuer: Issuer::new(parameters, key) })
    }

    /// An existing authority, from the texts of `ca.pem` and `ca-key.pem`.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem)?;
        let public_key = key.subject_public_key_info();
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes())
            .map_err(|_| AuthorityError::KeyMismatch)?;
        let certificate = pem.parse_x509().map_err(|_| AuthorityError::KeyMismatch)?;
        if certificate.public_key().raw != public_key {
            return Err(AuthorityError::KeyMismatch);
        }
        Ok(Self {
            cluster_id: cluster_id_of_public_key(&public_key),
            certificate_pem: certificate_pem.to_owned(),
            issuer: Issuer::from_ca_cert_pem(certificate_pem, key)?,
        })
    }

    /// The id of the cluster, which is that of this authority's key.
    pub fn cluster_id(&self) -> &ClusterId {
        &self.cluster_id
    }

    /// The authority's certificate: what nodes and clients trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key. Whoever has it can make nodes.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a key and a certificate to a node.
    pub fn issue_node(
        &self,
        node_id: u64,
        spec: &NodeSpec,
        now: SystemTime,
        days: u32,
    ) -> Result<Issued, AuthorityError> {
        let identity = NodeIdentity { cluster_id: self.cluster_id.clone(), node_id };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = common_name(&format!("Triad node {}", spec.name));
        parameters.subject_alt_names = names_of(&identity, &spec.host)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        set_validity(&mut parameters, now, days);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

/// Why the authority could not be made, read, or sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Key and certificate of the authority are not a pair.
    #[error("ca-key.pem is not the key of ca.pem; use the two that `triad init` wrote")]
    KeyMismatch,
    /// The key or the certificate could not be made or read.
    #[error("certificates: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The cluster id that belongs to a public key (SubjectPublicKeyInfo, DER).
pub(crate) fn cluster_id_of_public_key(public_key: &[u8]) -> ClusterId {
    ClusterId::of_public_key_digest(&sha256(public_key))
}

/// The SHA-256 digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

fn names_of(identity: &NodeIdentity, host: &str) -> Result<Vec<SanType>, AuthorityError> {
    let mut hosts = BTreeSet::from([NODE_SERVER_NAME.to_owned(), "localhost".to_owned()]);
    hosts.insert(node_server_name(identity.node_id));
    let mut addresses = BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    match host.parse() {
        Ok(address) => addresses.insert(address),
        Err(_) => hosts.insert(host.to_ascii_lowercase()),
    };
    let mut names = vec![SanType::URI(identity.to_uri().try_into()?)];
    for host in hosts {
        names.push(SanType::DnsName(host.try_into()?));
    }
    names.extend(addresses.into_iter().map(SanType::IpAddress));
    Ok(names)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn set_validity(parameters: &mut CertificateParams, now: SystemTime, days: u32) {
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Certificates have whole seconds.
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since_1970.as_secs());
    parameters.not_before = now - BACKDATED;
    parameters.not_after = now + DAY * days;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_read_back_is_the_same_and_signs() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_392_000);
        let made = Authority::create(now).unwrap();
        let read = Authority::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();
        assert_eq!(read.cluster_id(), made.cluster_id());
        let spec = "a=lic-a:27070".parse().unwrap();
        let issued = read.issue_node(1, &spec, now, CERTIFICATE_DAYS_DEFAULT).unwrap();
        let identity = triad_proto::net::Identity::from_pem(
            issued.certificate_pem.as_bytes(),
            issued.key_pem.as_bytes(),
        );
        let at =
            rustls_pki_types::UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap());
        identity.unwrap().verify_as_node(made.certificate_pem().as_bytes(), at).unwrap();
    }

    #[test]
    fn two_authorities_have_two_ids_and_do_not_mix() {
        let (one, two) =
            (Authority::create(UNIX_EPOCH).unwrap(), Authority::create(UNIX_EPOCH).unwrap());
        assert_ne!(one.cluster_id(), two.cluster_id());
        let mixed = Authority::from_pem(one.certificate_pem(), &two.key_pem());
        assert!(matches!(mixed.err().unwrap(), AuthorityError::KeyMismatch));
    }
}
