//! New certificates for nodes that exist: beside the old ones, or in their place.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::{Access, Entry, open_options, write_all};
use super::joining::authority;
use super::{CERTIFICATE_DAYS_MAX, InitError};
use crate::certificates::certificate_ends;
use crate::config::{Config, TlsFiles};
use crate::node_spec::NodeSpec;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that was issued, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The node.
    pub node_id: u64,
    /// Its name.
    pub name: String,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// When it ends.
    pub ends: SystemTime,
}

/// Issues a certificate for the node with this configuration into a directory of
/// its own, with the authority's beside it. `directory` is that of the cluster.
///
/// # Errors
///
/// The authority or the configuration cannot be read, do not belong together, or
/// something is there already. Nothing is left behind then.
pub fn issue_certificate(
    directory: &Path,
    config: &Path,
    into: &Path,
    days: u32,
    now: SystemTime,
) -> Result<IssuedFiles, InitError> {
    let order = Order::read(directory, config, days)?;
    let issued = order.authority.issue_node(order.node_id, &order.spec, now, days)?;
    let (certificate, key) = (into.join("node.pem"), into.join("node-key.pem"));
    let ca_pem = order.authority.certificate_pem().to_owned();
    let entries = [
        Entry::file(into.join("ca.pem"), ca_pem, Access::Everyone),
        Entry::file(certificate.clone(), issued.certificate_pem, Access::Everyone),
        Entry::file(key.clone(), issued.key_pem, Access::Owner),
    ];
    write_all(into, &entries)?;
    let (node_id, name) = (order.node_id, order.spec.name);
    Ok(IssuedFiles { node_id, name, certificate, key, ends: now + DAY * days })
}

/// Issues a certificate for the node with this configuration, in the place of the
/// files that it names. A node that runs with them takes it up by itself.
///
/// # Errors
///
/// As with [`issue_certificate`]; the old files stay.
pub fn renew_certificate(
    directory: &Path,
    config: &Path,
    days: u32,
    now: SystemTime,
) -> Result<IssuedFiles, InitError> {
    let order = Order::read(directory, config, days)?;
    let Some(TlsFiles { certificate, key, .. }) = order.tls else {
        let what = "it has TLS off, and so no certificate to renew".to_owned();
        return Err(InitError::Like { file: config.to_owned(), what });
    };
    let issued = order.authority.issue_node(order.node_id, &order.spec, now, days)?;
    replace(&key, &issued.key_pem, Access::Owner)?;
    replace(&certificate, &issued.certificate_pem, Access::Everyone)?;
    let (node_id, name) = (order.node_id, order.spec.name);
    Ok(IssuedFiles { node_id, name, certificate, key, ends: now + DAY * days })
}

/// A certificate below the directory of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Whose: the directory of the node, or `ca`.
    pub whose: String,
    /// The file.
    pub file: PathBuf,
    /// When it ends, or why that is not known.
    pub ends: Result<SystemTime, String>,
}

/// The certificates below the directory of a cluster, the authority's first.
///
/// # Errors
///
/// The directory cannot be read.
pub fn certificates_in(directory: &Path) -> Result<Vec<CertificateInfo>, InitError> {
    let failed = |source| InitError::NoAuthority { file: directory.to_owned(), source };
    let mut homes = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        homes.push(entry.map_err(failed)?.path());
    }
    homes.sort();
    let name = |home: &Path| home.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let authority = directory.join("ca/ca.pem");
    let nodes = homes.iter().map(|home| (name(home), home.join("node.pem")));
    let all = std::iter::once(("ca".to_owned(), authority)).chain(nodes);
    let all = all.filter(|(_, file)| file.exists());
    let info = |(whose, file): (String, PathBuf)| {
        let ends = certificate_ends(&file).map_err(|error| error.to_string());
        CertificateInfo { whose, file, ends }
    };
    Ok(all.map(info).collect())
}

/// What is to be issued, and to whom.
struct Order {
    authority: crate::authority::Authority,
    node_id: u64,
    spec: NodeSpec,
    tls: Option<TlsFiles>,
}

impl Order {
    fn read(directory: &Path, file: &Path, days: u32) -> Result<Order, InitError> {
        if !(1..=CERTIFICATE_DAYS_MAX).contains(&days) {
            return Err(InitError::CertificateDays(days));
        }
        let authority = authority(&directory.join("ca"))?;
        let unusable = |what: String| InitError::Like { file: file.to_owned(), what };
        let config = Config::load(file).map_err(|error| unusable(error.to_string()))?;
        if config.cluster_id != *authority.cluster_id() {
            let what = format!(
                "it is of cluster {}, and the authority is that of {}",
                config.cluster_id,
                authority.cluster_id()
            );
            return Err(unusable(what));
        }
        let member = &config.nodes[&config.node_id].member;
        let spec = format!("{}={}", member.name, member.client_address);
        let spec = spec.parse().map_err(|error| unusable(format!("{spec}: {error}")))?;
        Ok(Order { authority, node_id: config.node_id, spec, tls: config.tls })
    }
}

/// Puts a file in the place of another, so that a reader finds the one or the other.
fn replace(file: &Path, content: &str, access: Access) -> Result<(), InitError> {
    let failed = |source: io::Error| InitError::Write { path: file.to_owned(), source };
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // Left by one that was interrupted.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    let written = open_options(access).open(&beside).and_then(|mut new| {
        new.write_all(content.as_bytes())?;
        new.sync_all()
    });
    written.and_then(|()| fs::rename(&beside, file)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::init::{InitOptions, init_cluster};

    #[test]
    fn a_renewed_certificate_is_another_one_of_the_same_node() {
        let folder = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_795_392_000);
        let nodes = ["a=127.0.0.1:27070/27071".parse().unwrap()];
        let created = init_cluster(folder.path(), &nodes, &InitOptions::new(now)).unwrap();
        let home = &created.nodes[0].directory;
        let before = fs::read(home.join("node.pem")).unwrap();
        let later = now + 10 * DAY;
        let renewed =
            renew_certificate(folder.path(), &home.join("triad.toml"), 90, later).unwrap();
        assert_eq!((renewed.node_id, renewed.name.as_str()), (1, "a"));
        assert_ne!(fs::read(home.join("node.pem")).unwrap(), before);
        assert_eq!(certificate_ends(&home.join("node.pem")).unwrap(), later + 90 * DAY);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(home.join("node-key.pem")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        assert!(!home.join("node-key.pem.new").exists());
        let listed = certificates_in(folder.path()).unwrap();
        let whose: Vec<_> = listed.iter().map(|info| info.whose.as_str()).collect();
        assert_eq!(whose, ["ca", "a"]);

        // Beside the old ones nothing is overwritten.
        let out = folder.path().join("new");
        let issue = || issue_certificate(folder.path(), &home.join("triad.toml"), &out, 5, later);
        issue().unwrap();
        assert!(matches!(issue(), Err(InitError::AlreadyExists(_))));
    }

    #[test]
    fn the_authority_of_another_cluster_signs_nothing() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let nodes = ["a=127.0.0.1:27070/27071".parse().unwrap()];
        let made = [&one, &two].map(|folder| {
            init_cluster(folder.path(), &nodes, &InitOptions::new(UNIX_EPOCH)).unwrap()
        });
        let config = &made[1].nodes[0].config;
        let refused = renew_certificate(one.path(), config, 5, UNIX_EPOCH).unwrap_err();
        assert!(refused.to_string().contains("the authority is that of"), "{refused}");
    }
}
