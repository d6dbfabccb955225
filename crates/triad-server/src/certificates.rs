//! Whether a node's certificates are its own, checked before it starts.
//!
//! A wrong file would show only when peers or clients turn away, with a TLS
//! error that names neither the file nor the remedy. So each of the ways in
//! which certificates get mixed up has an error of its own here.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::CertificateError as Fault;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use triad_proto::identity::{ClusterId, NodeIdentity, PeerIdentity};
use triad_proto::net::{Identity, TlsError};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{cluster_id_of_public_key, sha256};

/// The largest certificate file that is read: real ones have a few KiB.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Where a node's certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate of the cluster's authority.
    pub ca: PathBuf,
    /// The node's certificate.
    pub certificate: PathBuf,
    /// The node's private key.
    pub key: PathBuf,
}

/// Certificates that passed every check.
#[derive(Clone, Debug)]
pub struct NodeCertificates {
    /// The authority's certificate, as PEM.
    pub ca_pem: Vec<u8>,
    /// The node's certificate and key.
    pub identity: Identity,
    /// When the first of the node's and the authority's certificates ends.
    pub expires_at: SystemTime,
}

/// Reads the files and checks that they belong to `expected`, to each other,
/// and to the present.
pub fn check_certificate_files(
    files: &CertificateFiles,
    expected: &NodeIdentity,
    now: SystemTime,
) -> Result<NodeCertificates, CertificatesError> {
    check_certificates(files, Pems::read(files)?, expected, now)
}

/// What is in the files.
pub(crate) struct Pems {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pems {
    /// Reads the files, none of which may be longer than 256 KiB.
    pub(crate) fn read(files: &CertificateFiles) -> Result<Self, CertificatesError> {
        let (ca, certificate) = (read(&files.ca)?, read(&files.certificate)?);
        Ok(Pems { ca, certificate, key: read(&files.key)? })
    }

    /// Differs where any of them does.
    pub(crate) fn digest(&self) -> [u8; 32] {
        sha256(&[&self.ca, &self.certificate, &self.key].map(|pem| sha256(pem)).concat())
    }
}

/// Checks what was in the files.
pub(crate) fn check_certificates(
    files: &CertificateFiles,
    pems: Pems,
    expected: &NodeIdentity,
    now: SystemTime,
) -> Result<NodeCertificates, CertificatesError> {
    let Pems { ca: ca_pem, certificate: certificate_pem, key: key_pem } = pems;
    let authority_ends = check_authority(&files.ca, &ca_pem, &expected.cluster_id, now)?;
    let identity =
        Identity::from_pem(&certificate_pem, &key_pem).map_err(|error| unpaired(files, error))?;
    check_names(&files.certificate, &identity, expected)?;
    let node_ends = check_dates(&files.certificate, identity.certificate(), now)?;
    check_issuer(files, &identity, &ca_pem, now)?;
    Ok(NodeCertificates { ca_pem, identity, expires_at: node_ends.min(authority_ends) })
}

/// When the certificate in a file ends.
///
/// # Errors
///
/// There is none in it, or the file cannot be read. One that has ended is no error.
pub fn certificate_ends(file: &Path) -> Result<SystemTime, CertificatesError> {
    let content =
        || CertificatesError::Content { file: file.to_owned(), problem: TlsError::NoCertificate };
    let der = CertificateDer::from_pem_slice(&read(file)?).map_err(|_| content())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| content())?;
    let seconds = certificate.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

/// Why a node must not start with these certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// A file cannot be read.
    #[error(
        "{}: {source}; `triad init` wrote the file, copy the whole directory of this node",
        file.display()
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file without what it should contain.
    #[error("{}: {problem}; copy the file again from where `triad init` ran", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: TlsError,
    },
    /// The key is not that of the certificate.
    #[error(
        "{} is not the key of {}; copy both from the directory of this node",
        key.display(),
        certificate.display()
    )]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The authority is that of another cluster.
    #[error(
        "{} belongs to cluster {found}, but this node is configured for {expected}; \
         copy ca.pem of the own cluster, or correct cluster_id",
        file.display()
    )]
    ForeignAuthority {
        /// The file.
        file: PathBuf,
        /// The cluster it belongs to.
        found: ClusterId,
        /// The cluster in the configuration.
        expected: ClusterId,
    },
    /// The certificate was not issued by the authority.
    #[error(
        "{} was not issued by the authority in {}; copy node.pem and node-key.pem of this node \
         from where `triad init` ran",
        certificate.display(),
        ca.display()
    )]
    NotIssuedByAuthority {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file.
        ca: PathBuf,
    },
    /// The certificate names no node at all.
    #[error(
        "{}: the certificate names no node ({problem}); use one that `triad init` or \
         `triad node replace` issued",
        file.display()
    )]
    NoNode {
        /// The file.
        file: PathBuf,
        /// What it names instead.
        problem: String,
    },
    /// The certificate is that of another node or another cluster.
    #[error(
        "{} is the certificate of {found}, but this is {expected}; copy node.pem of this node, \
         or correct node_id",
        file.display()
    )]
    OtherNode {
        /// The file.
        file: PathBuf,
        /// Whom it names.
        found: NodeIdentity,
        /// Whom the configuration names.
        expected: NodeIdentity,
    },
    /// A certificate has ended.
    #[error(
        "{} expired {days} days ago; issue a new one with `triad cert renew`, \
         or set this machine's clock if it is wrong",
        file.display()
    )]
    Expired {
        /// The file.
        file: PathBuf,
        /// Full days since.
        days: u64,
    },
    /// A certificate begins in the future.
    #[error("{} is not valid for another {days} days; set this machine's clock", file.display())]
    NotYetValid {
        /// The file.
        file: PathBuf,
        /// Full days until it begins.
        days: u64,
        /// When it begins.
        begins: SystemTime,
    },
    /// Anything else that verifiers would object to.
    #[error(
        "{}: peers and clients would refuse the certificate ({problem}), checked against {}; \
         copy this node's files again from where `triad init` ran",
        certificate.display(),
        ca.display()
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file: it may be the one that is damaged.
        ca: PathBuf,
        /// The objection.
        problem: TlsError,
    },
}

fn read(file: &Path) -> Result<Vec<u8>, CertificatesError> {
    let failed = |source| CertificatesError::Read { file: file.to_owned(), source };
    let refused = |kind, why| Err(failed(io::Error::new(kind, why)));
    // A pipe would be waited for, and a device never ends.
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return refused(io::ErrorKind::InvalidInput, "not a file");
    }
    let mut content = Vec::new();
    let opened = fs::File::open(file).map_err(failed)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return refused(io::ErrorKind::FileTooLarge, "far too large");
    }
    Ok(content)
}

/// Returns when the authority's certificate ends.
fn check_authority(
    file: &Path,
    pem: &[u8],
    expected: &ClusterId,
    now: SystemTime,
) -> Result<SystemTime, CertificatesError> {
    let content =
        || CertificatesError::Content { file: file.to_owned(), problem: TlsError::NoCertificate };
    let der = CertificateDer::from_pem_slice(pem).map_err(|_| content())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| content())?;
    let found = cluster_id_of_public_key(certificate.public_key().raw);
    if found != *expected {
        let (file, expected) = (file.to_owned(), expected.clone());
        return Err(CertificatesError::ForeignAuthority { file, found, expected });
    }
    check_dates(file, &der, now)
}

fn unpaired(files: &CertificateFiles, error: TlsError) -> CertificatesError {
    let file = match error {
        TlsError::KeyMismatch => {
            let (key, certificate) = (files.key.clone(), files.certificate.clone());
            return CertificatesError::KeyMismatch { key, certificate };
        }
        TlsError::NoKey | TlsError::UnreadableKey => &files.key,
        _ => &files.certificate,
    };
    CertificatesError::Content { file: file.clone(), problem: error }
}

fn check_names(
    file: &Path,
    identity: &Identity,
    expected: &NodeIdentity,
) -> Result<(), CertificatesError> {
    let nobody = |problem: String| CertificatesError::NoNode { file: file.to_owned(), problem };
    let named = PeerIdentity::from_certificate(identity.certificate())
        .map_err(|error| nobody(error.to_string()))?;
    match named.node {
        None => Err(nobody("it has no triad:// name".to_owned())),
        Some(found) if found != *expected => {
            let (file, expected) = (file.to_owned(), expected.clone());
            Err(CertificatesError::OtherNode { file, found, expected })
        }
        Some(_) => Ok(()),
    }
}

/// Returns when the certificate ends.
fn check_dates(
    file: &Path,
    der: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<SystemTime, CertificatesError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| {
        CertificatesError::Content { file: file.to_owned(), problem: TlsError::NoCertificate }
    })?;
    let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    let validity = certificate.validity();
    let (begins, ends) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
    let days = |duration: Duration| duration.as_secs() / (24 * 60 * 60);
    if let Ok(until) = begins.duration_since(now)
        && !until.is_zero()
    {
        let (file, days) = (file.to_owned(), days(until));
        return Err(CertificatesError::NotYetValid { file, days, begins });
    }
    match now.duration_since(ends) {
        Ok(since) if !since.is_zero() => {
            Err(CertificatesError::Expired { file: file.to_owned(), days: days(since) })
        }
        _ => Ok(ends),
    }
}

fn check_issuer(
    files: &CertificateFiles,
    identity: &Identity,
    ca_pem: &[u8],
    now: SystemTime,
) -> Result<(), CertificatesError> {
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    identity.verify_as_node(ca_pem, now).map_err(|problem| {
        let (certificate, ca) = (files.certificate.clone(), files.ca.clone());
        match problem {
            TlsError::Rustls(rustls::Error::InvalidCertificate(
                Fault::UnknownIssuer | Fault::BadSignature,
            )) => CertificatesError::NotIssuedByAuthority { certificate, ca },
            problem => CertificatesError::Unusable { certificate, ca, problem },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Case {
        _directory: tempfile::TempDir,
        authority: Authority,
        files: CertificateFiles,
        expected: NodeIdentity,
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }

    impl Case {
        /// The right files of node 1.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            let files = CertificateFiles {
                ca: at("ca.pem"),
                certificate: at("node.pem"),
                key: at("node-key.pem"),
            };
            let authority = Authority::create(now()).unwrap();
            fs::write(&files.ca, authority.certificate_pem()).unwrap();
            let expected = NodeIdentity { cluster_id: authority.cluster_id().clone(), node_id: 1 };
            let case = Self { _directory: directory, files, expected, authority };
            case.install(&case.authority, 1);
            case
        }

        fn install(&self, authority: &Authority, node_id: u64) {
            let spec = "a=lic-a:27070".parse().unwrap();
            let issued = authority.issue_node(node_id, &spec, now(), 825).unwrap();
            fs::write(&self.files.certificate, issued.certificate_pem).unwrap();
            fs::write(&self.files.key, issued.key_pem).unwrap();
        }

        fn check_at(&self, at: SystemTime) -> Result<NodeCertificates, CertificatesError> {
            check_certificate_files(&self.files, &self.expected, at)
        }

        /// The error, which must name `file` and say `remedy`.
        fn fails(&self, file: &Path, remedy: &str) -> CertificatesError {
            let error = self.check_at(now()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&file.display().to_string()), "{text}");
            assert!(text.contains(remedy), "{text}");
            error
        }
    }

    #[test]
    fn the_right_files_pass_until_the_day_they_end() {
        let case = Case::new();
        let checked = case.check_at(now()).unwrap();
        assert_eq!(checked.expires_at, now() + DAY * 825);
        case.check_at(now() + DAY * 825).unwrap();
        let after = case.check_at(now() + DAY * 828).unwrap_err();
        assert!(matches!(after, CertificatesError::Expired { days: 3, .. }), "{after}");
        let before = case.check_at(now() - DAY * 4).unwrap_err();
        assert!(matches!(before, CertificatesError::NotYetValid { days: 3, .. }), "{before}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let case = Case::new();
        fs::remove_file(&case.files.key).unwrap();
        let error = case.fails(&case.files.key, "triad init");
        assert!(matches!(error, CertificatesError::Read { .. }));
    }

    #[test]
    fn a_file_with_something_else_in_it_is_named() {
        let case = Case::new();
        fs::write(&case.files.key, "not a key").unwrap();
        let error = case.fails(&case.files.key, "PRIVATE KEY");
        assert!(matches!(error, CertificatesError::Content { .. }));
        case.install(&case.authority, 1);
        fs::write(&case.files.ca, "not a certificate").unwrap();
        let error = case.fails(&case.files.ca, "BEGIN CERTIFICATE");
        assert!(matches!(error, CertificatesError::Content { .. }));
    }

    #[test]
    fn the_key_of_another_node_is_found() {
        let case = Case::new();
        let certificate = fs::read(&case.files.certificate).unwrap();
        case.install(&case.authority, 1);
        fs::write(&case.files.certificate, certificate).unwrap();
        let error = case.fails(&case.files.key, "directory of this node");
        assert!(matches!(error, CertificatesError::KeyMismatch { .. }));
    }

    #[test]
    fn the_certificate_of_another_node_is_found() {
        let case = Case::new();
        case.install(&case.authority, 2);
        match case.fails(&case.files.certificate, "copy node.pem of this node") {
            CertificatesError::OtherNode { found, .. } => assert_eq!(found.node_id, 2),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_files_of_another_cluster_are_found() {
        let case = Case::new();
        let foreign = Authority::create(now()).unwrap();
        case.install(&foreign, 1);
        let error = case.fails(&case.files.certificate, foreign.cluster_id().as_str());
        assert!(matches!(error, CertificatesError::OtherNode { .. }));
        fs::write(&case.files.ca, foreign.certificate_pem()).unwrap();
        let error = case.fails(&case.files.ca, case.expected.cluster_id.as_str());
        assert!(matches!(error, CertificatesError::ForeignAuthority { .. }));
    }

    #[test]
    fn a_certificate_that_only_claims_the_cluster_is_found() {
        // The names are right, but the signature is that of another authority.
        let case = Case::new();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        let uri = case.expected.to_uri().try_into().unwrap();
        parameters.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        let forged = parameters.self_signed(&key).unwrap();
        fs::write(&case.files.certificate, forged.pem()).unwrap();
        fs::write(&case.files.key, key.serialize_pem()).unwrap();
        let error = case.fails(&case.files.certificate, "not issued by the authority");
        assert!(matches!(error, CertificatesError::NotIssuedByAuthority { .. }));
    }

    #[test]
    fn a_certificate_that_names_no_node_is_found() {
        let case = Case::new();
        let key = rcgen::KeyPair::generate().unwrap();
        let plain = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        fs::write(&case.files.certificate, plain.pem()).unwrap();
        fs::write(&case.files.key, key.serialize_pem()).unwrap();
        let error = case.fails(&case.files.certificate, "triad init");
        assert!(matches!(error, CertificatesError::NoNode { .. }));
    }
}
