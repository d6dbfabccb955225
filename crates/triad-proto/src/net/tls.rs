//! TLS as Triad uses it: version 1.3, one cryptographic provider handed over
//! explicitly, certificates that can be replaced while running.
//!
//! TLS 1.3 only: both ends are ours, or a gRPC library of the last years.
//! There is no process-wide provider, so several nodes, or an application
//! with a TLS library of its own, can live in one process.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::pinned::Pinned;
use crate::identity::{NODE_SERVER_NAME, node_server_name};

/// HTTP/2, the only protocol spoken by nodes.
const ALPN_HTTP2: &[u8] = b"h2";
/// What browsers and scripts fall back to.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Where systems keep the authorities that they trust; the first is taken.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Certificates in one PEM file: a chain is two or three, a bundle of roots
/// during the change of a CA is two.
const CERTIFICATES_MAX: usize = 16;

/// A certificate chain and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM texts: the chain with the holder's own certificate first,
    /// and its key (PKCS #8, SEC 1 or PKCS #1). The two must belong together.
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::NoKey)?;
        // First, so that a damaged key is not taken for a damaged certificate.
        let loaded = provider().key_provider.load_private_key(key.clone_key());
        loaded.map_err(|_| TlsError::UnreadableKey)?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider()).map_err(|error| {
            match error {
                rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch,
                other => TlsError::Rustls(other),
            }
        })?;
        Ok(Self { chain, key })
    }

    /// The holder's own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        // `from_pem` is the only way here, and it refuses an empty chain.
        &self.chain[0]
    }

    /// Signs a message with the holder's key.
    ///
    /// # Errors
    ///
    /// The key is not one for this scheme.
    pub fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TlsError> {
        let key = provider().key_provider.load_private_key(self.key.clone_key())?;
        let signer = key.choose_scheme(&[scheme]).ok_or(TlsError::NoKey)?;
        Ok(signer.sign(message)?)
    }

    /// Checks that a certificate with this chain was issued by a CA of
    /// `ca_pem` for nodes, and is valid at `now`.
    pub fn verify_as_node(&self, ca_pem: &[u8], now: UnixTime) -> Result<(), TlsError> {
        is_a_nodes(&self.chain[0], &self.chain[1..], ca_pem, now)
    }
}

/// Checks that a certificate was issued by a CA of `ca_pem` for a node, and is
/// valid at `now`.
pub fn certificate_is_a_nodes(
    certificate: &CertificateDer<'_>,
    ca_pem: &[u8],
    now: UnixTime,
) -> Result<(), TlsError> {
    is_a_nodes(certificate, &[], ca_pem, now)
}

fn is_a_nodes(
    certificate: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    ca_pem: &[u8],
    now: UnixTime,
) -> Result<(), TlsError> {
    let name = node_name(NODE_SERVER_NAME);
    let verified = server_verifier(ca_pem)?.verify_server_cert(certificate, chain, &name, &[], now);
    verified.map(|_| ()).map_err(TlsError::Rustls)
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        write!(formatter, "Identity({} certificates)", self.chain.len())
    }
}

/// What a listener wants to see of those who connect.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// None is asked for.
    Ignored,
    /// One issued by these CAs (PEM) is read if it is offered; a bad one is refused.
    Optional(Vec<u8>),
    /// One issued by these CAs (PEM) is needed: the peers' port.
    Required(Vec<u8>),
}

/// TLS for a listener. [`ServerTls::reload`] replaces the certificate for all
/// handshakes to come, and leaves open connections alone.
#[derive(Debug)]
pub struct ServerTls {
    config: RwLock<Arc<ServerConfig>>,
}

impl ServerTls {
    /// TLS that shows `identity` and treats clients as told.
    pub fn new(identity: &Identity, clients: &ClientCertificates) -> Result<Self, TlsError> {
        Ok(Self { config: RwLock::new(server_config(identity, clients)?) })
    }

    /// TLS for browsers and scripts, which may speak HTTP/1.1, too.
    pub fn for_web(identity: &Identity) -> Result<Self, TlsError> {
        let mut config = (*server_config(identity, &ClientCertificates::Ignored)?).clone();
        config.alpn_protocols.push(ALPN_HTTP1.to_vec());
        Ok(Self { config: RwLock::new(Arc::new(config)) })
    }

    /// Replaces identity and CAs at once. On an error the old ones stay.
    pub fn reload(
        &self,
        identity: &Identity,
        clients: &ClientCertificates,
    ) -> Result<(), TlsError> {
        self.put(NextServerTls::new(identity, clients)?);
        Ok(())
    }

    /// Puts in force what was made ready before.
    pub fn put(&self, next: NextServerTls) {
        let mut config = next.0;
        let mut current = self.config.write().unwrap_or_else(PoisonError::into_inner);
        // Who is spoken with does not change with the certificate.
        config.alpn_protocols.clone_from(&current.alpn_protocols);
        *current = Arc::new(config);
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a listener is to show from now on: everything that can go wrong has not.
#[derive(Clone, Debug)]
pub struct NextServerTls(ServerConfig);

impl NextServerTls {
    /// TLS that shows `identity` and treats clients as told.
    pub fn new(identity: &Identity, clients: &ClientCertificates) -> Result<Self, TlsError> {
        Ok(Self((*server_config(identity, clients)?).clone()))
    }
}

/// The same for those who connect.
#[derive(Clone, Debug)]
pub struct NextClientTls(Arc<ClientConfig>);

impl NextClientTls {
    /// TLS that trusts the CAs of `ca_pem`, and shows `identity` if there is one.
    pub fn new(ca_pem: &[u8], identity: Option<&Identity>) -> Result<Self, TlsError> {
        Ok(Self(client_config(ca_pem, identity)?))
    }
}

/// TLS for those who connect. Clones share one configuration, so
/// [`ClientTls::reload`] reaches all of them.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<RwLock<Arc<ClientConfig>>>,
    server_name: ServerName<'static>,
}

impl ClientTls {
    /// TLS that trusts the CAs of `ca_pem`, accepts any node they vouch for,
    /// and shows `identity` if there is one.
    pub fn new(ca_pem: &[u8], identity: Option<&Identity>) -> Result<Self, TlsError> {
        Ok(Self {
            config: Arc::new(RwLock::new(client_config(ca_pem, identity)?)),
            server_name: node_name(NODE_SERVER_NAME),
        })
    }

    /// TLS that trusts the authorities of this machine, for a server whose host
    /// name is still to be given.
    pub fn system() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let bundle = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read(path).ok());
        let bundle = bundle.ok_or(TlsError::NoCertificate)?;
        // One that is damaged must not take the others along.
        for certificate in CertificateDer::pem_slice_iter(&bundle).flatten() {
            let _ = roots.add(certificate);
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
            server_name: node_name(NODE_SERVER_NAME),
        })
    }

    /// TLS that accepts the one certificate with this SHA-256 fingerprint, from
    /// whatever host and whoever issued it.
    pub fn pinned(fingerprint: [u8; 32]) -> Result<Self, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Pinned::new(fingerprint, provider()))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
            server_name: node_name(NODE_SERVER_NAME),
        })
    }

    /// The same, for connections to this one node: a certificate of another
    /// node of the cluster is refused.
    pub fn for_node(&self, node_id: u64) -> Self {
        Self { config: self.config.clone(), server_name: node_name(&node_server_name(node_id)) }
    }

    /// The same, for a server with a certificate for this host name, as when
    /// nodes show certificates of a CA that signs for others, too.
    pub fn for_server_name(&self, server_name: &str) -> Result<Self, TlsError> {
        let server_name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::ServerName(server_name.to_owned()))?;
        Ok(Self { config: self.config.clone(), server_name })
    }

    /// Replaces CAs and identity at once, in all clones. On an error the old
    /// ones stay.
    pub fn reload(&self, ca_pem: &[u8], identity: Option<&Identity>) -> Result<(), TlsError> {
        self.put(NextClientTls::new(ca_pem, identity)?);
        Ok(())
    }

    /// Puts in force what was made ready before, in all clones.
    pub fn put(&self, next: NextClientTls) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = next.0;
    }

    pub(super) fn current(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        (config, self.server_name.clone())
    }
}

/// Why certificates cannot be used. The caller knows the files and names them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate in a PEM text.
    #[error("there is no PEM certificate (-----BEGIN CERTIFICATE-----) in it")]
    NoCertificate,
    /// Too many certificates in a PEM text.
    #[error("there are more than {CERTIFICATES_MAX} certificates in it")]
    TooManyCertificates,
    /// No private key in a PEM text.
    #[error("there is no PEM private key (-----BEGIN PRIVATE KEY-----) in it")]
    NoKey,
    /// A private key in a PEM text that is none inside.
    #[error("the private key in it cannot be read: it is damaged, or not RSA, ECDSA or EdDSA")]
    UnreadableKey,
    /// Key and certificate are not a pair.
    #[error("the private key does not belong to the certificate; use the two from one node")]
    KeyMismatch,
    /// Not a name that a certificate can carry.
    #[error("{0:?} is neither a host name nor an IP address")]
    ServerName(String),
    /// A CA certificate that cannot serve as one.
    #[error("the CA certificate cannot be used: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// Anything else that rustls objects to.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_config(
    identity: &Identity,
    clients: &ClientCertificates,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(client_verifier(clients)?)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn client_verifier(clients: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder =
        |ca_pem: &[u8]| Ok(WebPkiClientVerifier::builder_with_provider(roots(ca_pem)?, provider()));
    match clients {
        ClientCertificates::Ignored => Ok(WebPkiClientVerifier::no_client_auth()),
        ClientCertificates::Optional(ca_pem) => {
            builder(ca_pem).and_then(|builder| Ok(builder.allow_unauthenticated().build()?))
        }
        ClientCertificates::Required(ca_pem) => {
            builder(ca_pem).and_then(|builder| Ok(builder.build()?))
        }
    }
}

fn client_config(
    ca_pem: &[u8],
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(ca_pem)?);
    let mut config = match identity {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn server_verifier(ca_pem: &[u8]) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots(ca_pem)?, provider());
    Ok(verifier.build()?)
}

fn roots(ca_pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX + 1).collect();
    let found = found.map_err(|_| TlsError::NoCertificate)?;
    match found.len() {
        0 => Err(TlsError::NoCertificate),
        count if count > CERTIFICATES_MAX => Err(TlsError::TooManyCertificates),
        _ => Ok(found),
    }
}

fn node_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("the names of nodes are valid DNS names")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{Authority, UNIX_NOW};

    #[test]
    fn a_key_of_another_certificate_is_told_apart_from_no_key() {
        let authority = Authority::new();
        let (one, two) = (authority.node(1), authority.node(2));
        let pem = |certificate: &str, key: &str| {
            Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err()
        };
        let error = pem(&one.certificate_pem, &two.key_pem);
        assert!(matches!(error, TlsError::KeyMismatch), "{error}");
        let error = pem(&one.certificate_pem, &one.certificate_pem);
        assert!(matches!(error, TlsError::NoKey), "{error}");
        let damaged = one.key_pem.replacen("\nM", "\nX", 1);
        let error = pem(&one.certificate_pem, &damaged);
        assert!(matches!(error, TlsError::UnreadableKey), "{error}");
        let error = pem(&one.key_pem, &one.key_pem);
        assert!(matches!(error, TlsError::NoCertificate), "{error}");
    }

    #[test]
    fn debug_output_never_shows_a_key() {
        let identity = Authority::new().node(1).identity();
        assert_eq!(format!("{identity:?}"), "Identity(1 certificates)");
    }

    #[test]
    fn a_node_certificate_verifies_under_its_own_authority_and_while_valid() {
        let (authority, foreign) = (Authority::new(), Authority::new());
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let identity = authority.node(1).identity();
        identity.verify_as_node(authority.ca_pem.as_bytes(), at(UNIX_NOW)).unwrap();
        assert!(identity.verify_as_node(foreign.ca_pem.as_bytes(), at(UNIX_NOW)).is_err());
        assert!(identity.verify_as_node(authority.ca_pem.as_bytes(), at(10)).is_err());
    }
}
