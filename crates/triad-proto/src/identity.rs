//! Who a certificate says its holder is: the cluster's id, a node's id, and
//! the names both go by in a certificate.
//!
//! A node certificate carries three names, all signed by the cluster's CA:
//! - the URI `triad://<cluster id>/node/<node id>`, read by whoever accepts;
//! - the DNS name [`NODE_SERVER_NAME`], checked by clients, to whom every
//!   node of the cluster is as good as another;
//! - the DNS name [`node_server_name`], checked by peers, who dial one node
//!   and must not be answered by another.
//!
//! **Why fixed names are safe.** The usual check of the host name exists
//! because public CAs sign for everybody. The CA of a cluster signs for the
//! nodes of that cluster only, so "signed by this CA, for `node.triad`"
//! already says "a node of my cluster", however it was reached. Addresses may
//! then change, and loopback works, without new certificates.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The DNS name in every node's certificate, in every cluster.
pub const NODE_SERVER_NAME: &str = "node.triad";

/// The prefix of every cluster id.
const CLUSTER_ID_PREFIX: &str = "tc-";

/// Hexadecimal digits after the prefix: 128 bits of a SHA-256, out of reach
/// of anyone who would forge a CA key with the same id.
const CLUSTER_ID_DIGITS: usize = 32;

/// The longest common name that is shown or compared.
const COMMON_NAME_BYTES_MAX: usize = 256;

/// The DNS name in the certificate of one node.
pub fn node_server_name(node_id: u64) -> String {
    format!("node-{node_id}.triad")
}

/// The id of a cluster: `tc-` and the first 32 hexadecimal digits of the
/// SHA-256 of its CA's public key (the whole SubjectPublicKeyInfo).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(String);

impl ClusterId {
    /// The id that belongs to a SHA-256 digest of a CA's public key.
    pub fn of_public_key_digest(sha256: &[u8; 32]) -> Self {
        let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{CLUSTER_ID_PREFIX}{}", &hex[..CLUSTER_ID_DIGITS]))
    }

    /// Reads an id as written by [`ClusterId`]'s `Display`.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let digits = text.strip_prefix(CLUSTER_ID_PREFIX).unwrap_or_default();
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == CLUSTER_ID_DIGITS && digits.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdentityError::ClusterId(text.chars().take(64).collect()))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One node of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeIdentity {
    /// The cluster the node belongs to.
    pub cluster_id: ClusterId,
    /// The node's number in it, from 1.
    pub node_id: u64,
}

impl NodeIdentity {
    /// The URI by which a certificate names this node.
    pub fn to_uri(&self) -> String {
        format!("triad://{}/node/{}", self.cluster_id, self.node_id)
    }

    /// Reads what [`NodeIdentity::to_uri`] wrote, and nothing looser.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::Uri(uri.chars().take(128).collect());
        let rest = uri.strip_prefix("triad://").ok_or_else(malformed)?;
        let (cluster_id, node_id) = rest.split_once("/node/").ok_or_else(malformed)?;
        let identity = Self {
            cluster_id: ClusterId::parse(cluster_id)?,
            node_id: node_id.parse().map_err(|_| malformed())?,
        };
        // "+1" and "01" parse as numbers, but one node has one name.
        if identity.node_id == 0 || identity.to_uri() != uri {
            return Err(malformed());
        }
        Ok(identity)
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {} of cluster {}", self.node_id, self.cluster_id)
    }
}

/// What a verified client certificate says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The node, if the certificate is a node's.
    pub node: Option<NodeIdentity>,
    /// The subject's common name, without control characters, if any.
    pub common_name: Option<String>,
}

impl PeerIdentity {
    /// Reads the identity from a certificate whose chain has been verified.
    ///
    /// A certificate with two node names, or with a malformed one, is refused
    /// whole: nothing this product makes looks like that.
    pub fn from_certificate(der: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| IdentityError::Certificate)?;
        let names =
            certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
        let uris =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(
                |name| match name {
                    GeneralName::URI(uri) if uri.starts_with("triad:") => Some(*uri),
                    _ => None,
                },
            );
        let mut node = None;
        for uri in uris {
            if node.replace(NodeIdentity::from_uri(uri)?).is_some() {
                return Err(IdentityError::SeveralNodes);
            }
        }
        let common_name = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .filter(|name| name.len() <= COMMON_NAME_BYTES_MAX)
            .filter(|name| !name.chars().any(char::is_control))
            .map(str::to_owned);
        Ok(Self { node, common_name })
    }
}

/// Why a text or a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a cluster id.
    #[error("{0:?} is not a cluster id: it must be `tc-` and {CLUSTER_ID_DIGITS} digits 0-9, a-f")]
    ClusterId(String),
    /// Not the URI of a node.
    #[error("{0:?} does not name a node: it must read triad://<cluster id>/node/<number>")]
    Uri(String),
    /// The certificate names more than one node.
    #[error("the certificate names several nodes; a node certificate names exactly one")]
    SeveralNodes,
    /// The certificate cannot be read.
    #[error("the certificate is not a readable X.509 certificate")]
    Certificate,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterId {
        ClusterId::of_public_key_digest(&[0xab; 32])
    }

    #[test]
    fn a_cluster_id_reads_back_and_nothing_else_does() {
        let id = cluster();
        assert_eq!(id.as_str(), "tc-abababababababababababababababab");
        assert_eq!(ClusterId::parse(id.as_str()).unwrap(), id);
        for bad in ["", "tc-", "tc-ABABABABABABABABABABABABABABABAB", "tc-ab", &id.as_str()[3..]] {
            assert!(ClusterId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_node_has_exactly_one_uri() {
        let node = NodeIdentity { cluster_id: cluster(), node_id: 12 };
        let uri = node.to_uri();
        assert_eq!(uri, "triad://tc-abababababababababababababababab/node/12");
        assert_eq!(NodeIdentity::from_uri(&uri).unwrap(), node);
        for bad in [
            uri.replace("/12", "/+12"),
            uri.replace("/12", "/012"),
            uri.replace("/12", "/0"),
            uri.replace("/12", "/12/x"),
            uri.replace("triad:", "TRIAD:"),
            uri.replace("/12", "/99999999999999999999999"),
        ] {
            assert!(NodeIdentity::from_uri(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_names_one_node_or_none() {
        let uri = |uri: String| rcgen::SanType::URI(uri.try_into().unwrap());
        let certificate = |names| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.subject_alt_names = names;
            let key = rcgen::KeyPair::generate().unwrap();
            parameters.self_signed(&key).unwrap().der().clone()
        };
        let one = NodeIdentity { cluster_id: cluster(), node_id: 1 };
        let two = NodeIdentity { cluster_id: cluster(), node_id: 2 };

        let read = |names| PeerIdentity::from_certificate(&certificate(names));
        assert_eq!(read(vec![uri(one.to_uri())]).unwrap().node, Some(one.clone()));
        assert_eq!(read(vec![]).unwrap().node, None);
        assert_eq!(read(vec![uri("https://example.com".into())]).unwrap().node, None);
        assert_eq!(
            read(vec![uri(one.to_uri()), uri(two.to_uri())]).unwrap_err(),
            IdentityError::SeveralNodes
        );
        assert!(read(vec![uri("triad://elsewhere/node/1".into())]).is_err());
        assert_eq!(
            PeerIdentity::from_certificate(&vec![0x30, 0x00].into()).unwrap_err(),
            IdentityError::Certificate
        );
    }
}
