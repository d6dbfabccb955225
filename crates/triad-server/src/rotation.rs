//! Certificates that are replaced while the node runs: open connections stay, and
//! every handshake after that shows the new one. A file that cannot be used is
//! refused, loudly, and the old one stays in force.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{MissedTickBehavior, interval};
use triad_proto::identity::NodeIdentity;
use triad_proto::net::{ClientCertificates, ClientTls, Identity, ServerTls, TlsError};
use triad_raft::WallClock;

use crate::authority::sha256;
use crate::certificates::{
    CertificateFiles, CertificatesError, NodeCertificates, check_certificate_files,
};
use crate::config::{Config, TlsFiles};

/// How often the files are looked at. A new set is tried when two looks in a row
/// have found the same: whoever copies two files does not do it at once.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    /// The files.
    #[error(transparent)]
    Files(#[from] CertificatesError),
    /// What is in them.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

/// The certificates of this node, and everything that shows them.
pub(crate) struct Certificates {
    expected: NodeIdentity,
    wall: Arc<dyn WallClock>,
    /// For the port of clients.
    pub(crate) clients: Arc<ServerTls>,
    /// For the port of peers, who must show one of their own.
    pub(crate) peers: Arc<ServerTls>,
    /// For connections to peers.
    pub(crate) to_peers: ClientTls,
    state: Mutex<State>,
}

struct State {
    files: CertificateFiles,
    identity: Identity,
    expires_ms: u64,
    /// What was found in the files and judged, good or bad.
    judged: Option<[u8; 32]>,
    /// What was found in them at the last look.
    found: Option<[u8; 32]>,
    /// Other listeners that show the same certificate.
    followers: Vec<Arc<ServerTls>>,
}

impl Certificates {
    /// Reads and checks the certificates; `None` where TLS is off.
    pub(crate) fn load(
        config: &Config,
        wall: Arc<dyn WallClock>,
    ) -> Result<Option<Arc<Self>>, RotationError> {
        let Some(files) = &config.tls else {
            tracing::warn!("TLS is off: everything is sent in plain text, on loopback");
            return Ok(None);
        };
        let files = files_of(files);
        let expected =
            NodeIdentity { cluster_id: config.cluster_id.clone(), node_id: config.node_id };
        let judged = digest(&files).ok();
        let checked = check_certificate_files(&files, &expected, now(&*wall))?;
        let required = ClientCertificates::Required(checked.ca_pem.clone());
        Ok(Some(Arc::new(Certificates {
            expected,
            wall,
            clients: Arc::new(ServerTls::new(&checked.identity, &ClientCertificates::Ignored)?),
            peers: Arc::new(ServerTls::new(&checked.identity, &required)?),
            to_peers: ClientTls::new(&checked.ca_pem, Some(&checked.identity))?,
            state: Mutex::new(State {
                files,
                expires_ms: since_1970_ms(checked.expires_at),
                identity: checked.identity,
                judged,
                found: judged,
                followers: Vec::new(),
            }),
        })))
    }

    /// The certificate that is in force, with its key.
    pub(crate) fn identity(&self) -> Identity {
        self.state().identity.clone()
    }

    /// When the first of the node's and the authority's certificates ends, ms since
    /// 1970 UTC.
    pub(crate) fn expires_ms(&self) -> u64 {
        self.state().expires_ms
    }

    /// For the port of pages, which shows what is in force, from now on for ever. It
    /// asks nobody for a certificate.
    pub(crate) fn for_pages(&self) -> Result<Arc<ServerTls>, RotationError> {
        let mut state = self.state();
        let pages = Arc::new(ServerTls::for_web(&state.identity)?);
        state.followers.push(pages.clone());
        Ok(pages)
    }

    /// Reads the files anew and puts them in force, if they are good.
    ///
    /// # Errors
    ///
    /// They are not; what was in force still is.
    pub(crate) fn reload(&self, files: Option<&TlsFiles>) -> Result<(), RotationError> {
        let mut state = self.state();
        let files = files.map_or_else(|| state.files.clone(), files_of);
        state.judged = digest(&files).ok();
        let checked = check_certificate_files(&files, &self.expected, now(&*self.wall))?;
        let NodeCertificates { ca_pem, identity, expires_at } = checked;
        let required = ClientCertificates::Required(ca_pem.clone());
        self.peers.reload(&identity, &required)?;
        self.clients.reload(&identity, &ClientCertificates::Ignored)?;
        self.to_peers.reload(&ca_pem, Some(&identity))?;
        for follower in &state.followers {
            follower.reload(&identity, &ClientCertificates::Ignored)?;
        }
        let is_new = state.identity.certificate() != identity.certificate();
        state.files = files;
        state.identity = identity;
        state.expires_ms = since_1970_ms(expires_at);
        if is_new {
            tracing::info!(
                file = %state.files.certificate.display(),
                expires_ms = state.expires_ms,
                "a new certificate is in force; open connections go on"
            );
        }
        Ok(())
    }

    /// Looks at the files until the node is gone.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.has_news()
                && let Err(error) = self.reload(None)
            {
                tracing::error!(%error, "a new certificate is refused; the old one stays in force");
            }
        }
    }

    /// Whether the files hold what was never judged, and have come to rest.
    fn has_news(&self) -> bool {
        let mut state = self.state();
        // A file that is away for a moment is being replaced.
        let Ok(found) = digest(&state.files) else { return false };
        let is_at_rest = state.found == Some(found);
        state.found = Some(found);
        is_at_rest && state.judged != Some(found)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn files_of(files: &TlsFiles) -> CertificateFiles {
    CertificateFiles {
        ca: files.ca.clone(),
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    }
}

/// What is in the files. They are a few KiB.
fn digest(files: &CertificateFiles) -> io::Result<[u8; 32]> {
    let mut digests = Vec::new();
    for file in [&files.ca, &files.certificate, &files.key] {
        digests.extend_from_slice(&sha256(&std::fs::read(file)?));
    }
    Ok(sha256(&digests))
}

fn now(wall: &dyn WallClock) -> SystemTime {
    // Certificates have whole seconds.
    UNIX_EPOCH + Duration::from_secs(wall.wall_ms() / 1_000)
}

fn since_1970_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
