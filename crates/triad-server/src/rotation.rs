//! Certificates that are replaced while the node runs: open connections stay, and
//! every handshake after that shows the new one. A file that cannot be used is
//! refused, loudly, and the old one stays in force.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use triad_proto::identity::NodeIdentity;
use triad_proto::net::{
    ClientCertificates, ClientTls, Identity, NextClientTls, NextServerTls, ServerTls, TlsError,
};
use triad_raft::WallClock;

use crate::certificates::{
    CertificateFiles, CertificatesError, NodeCertificates, Pems, check_certificates,
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

/// Certificates that were found good, with everything that shows them.
pub(crate) struct Renewal {
    files: CertificateFiles,
    identity: Identity,
    expires_ms: u64,
    clients: NextServerTls,
    peers: NextServerTls,
    to_peers: NextClientTls,
}

struct State {
    files: CertificateFiles,
    identity: Identity,
    expires_ms: u64,
    /// What was found in the files and judged, good or bad.
    judged: Option<[u8; 32]>,
    /// When that is to be judged again: it was too early for it.
    again: Option<SystemTime>,
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
        let pems = Pems::read(&files)?;
        let judged = Some(pems.digest());
        let checked = check_certificates(&files, pems, &expected, now(&*wall))?;
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
                again: None,
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

    /// Reads the files anew, those of another configuration if there is one, and
    /// makes everything ready that goes with them. Nothing is changed yet. It reads
    /// files, so it is not for the runtime's own threads.
    ///
    /// # Errors
    ///
    /// They are not good.
    pub(crate) fn prepare(&self, files: Option<&TlsFiles>) -> Result<Renewal, RotationError> {
        let files = files.map_or_else(|| self.state().files.clone(), files_of);
        let pems = Pems::read(&files)?;
        let judged = pems.digest();
        let checked = check_certificates(&files, pems, &self.expected, now(&*self.wall));
        {
            let mut state = self.state();
            state.judged = Some(judged);
            state.again = match &checked {
                Err(CertificatesError::NotYetValid { begins, .. }) => Some(*begins),
                _ => None,
            };
        }
        let NodeCertificates { ca_pem, identity, expires_at } = checked?;
        let required = ClientCertificates::Required(ca_pem.clone());
        Ok(Renewal {
            clients: NextServerTls::new(&identity, &ClientCertificates::Ignored)?,
            peers: NextServerTls::new(&identity, &required)?,
            to_peers: NextClientTls::new(&ca_pem, Some(&identity))?,
            files,
            identity,
            expires_ms: since_1970_ms(expires_at),
        })
    }

    /// Puts in force what was made ready. Nothing of it can fail.
    pub(crate) fn put(&self, renewal: Renewal) {
        let Renewal { files, identity, expires_ms, clients, peers, to_peers } = renewal;
        let mut state = self.state();
        self.peers.put(peers);
        self.to_peers.put(to_peers);
        for follower in &state.followers {
            follower.put(clients.clone());
        }
        self.clients.put(clients);
        let is_new = state.identity.certificate() != identity.certificate();
        state.files = files;
        state.identity = identity;
        state.expires_ms = expires_ms;
        if is_new {
            tracing::info!(
                file = %state.files.certificate.display(),
                expires_ms = state.expires_ms,
                "a new certificate is in force; open connections go on"
            );
        }
    }

    /// Looks at the files until the node is gone, one look at a time: a disk that
    /// hangs holds one thread, and nobody who waits for it.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let own = self.clone();
            let _ = spawn_blocking(move || own.look()).await;
        }
    }

    /// Looks at the files once, and puts in force what is new and good.
    fn look(&self) {
        if !self.has_news() {
            return;
        }
        match self.prepare(None) {
            Ok(renewal) => self.put(renewal),
            Err(error) => {
                tracing::error!(%error, "a new certificate is refused; the old one stays in force");
            }
        }
    }

    /// Whether the files hold what was never judged, or can be judged better now,
    /// and have come to rest.
    fn has_news(&self) -> bool {
        let files = self.state().files.clone();
        // A file that is away for a moment is being replaced.
        let Ok(found) = Pems::read(&files).map(|pems| pems.digest()) else { return false };
        let mut state = self.state();
        let is_at_rest = state.found == Some(found);
        state.found = Some(found);
        let is_known = state.judged == Some(found);
        let has_begun = state.again.is_some_and(|begins| begins <= now(&*self.wall));
        is_at_rest && (!is_known || has_begun)
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

fn now(wall: &dyn WallClock) -> SystemTime {
    // Certificates have whole seconds.
    UNIX_EPOCH + Duration::from_secs(wall.wall_ms() / 1_000)
}

fn since_1970_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::authority::Authority;
    use crate::init::{InitOptions, init_cluster};

    const DAY_MS: u64 = 86_400_000;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl WallClock for Hand {
        fn wall_ms(&self) -> u64 {
            self.0.load(Relaxed)
        }
    }

    struct Scene {
        folder: tempfile::TempDir,
        config: Config,
        wall: Arc<Hand>,
        certificates: Arc<Certificates>,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let wall = Arc::new(Hand(AtomicU64::new(20_000 * DAY_MS)));
            let spec = "a=127.0.0.1:27070".parse().expect("good");
            let created = init_cluster(folder.path(), &[spec], &InitOptions::new(now(&*wall)));
            let created = created.expect("a cluster of one");
            let config = Config::load(&created.nodes[0].config).expect("as it was made");
            let certificates = Certificates::load(&config, wall.clone()).expect("good");
            Scene { folder, config, wall, certificates: certificates.expect("TLS is on") }
        }

        fn file(&self, name: &str) -> std::path::PathBuf {
            self.config.file.parent().expect("a folder").join(name)
        }

        /// Lays down another certificate, made so many days from now.
        fn renew(&self, in_days: u32) {
            let read = |name: &str| {
                let path = walk(self.folder.path(), name).expect("it was made");
                std::fs::read_to_string(path).expect("it can be read")
            };
            let authority = Authority::from_pem(&read("ca.pem"), &read("ca-key.pem"));
            let authority = authority.expect("a pair");
            let spec = "a=127.0.0.1:27070".parse().expect("good");
            let at = now(&*self.wall) + Duration::from_millis(DAY_MS) * in_days;
            let issued = authority.issue_node(1, &spec, at, 100).expect("issued");
            for (name, pem) in
                [("node.pem", &issued.certificate_pem), ("node-key.pem", &issued.key_pem)]
            {
                std::fs::write(self.file(name), pem).expect("written");
            }
        }

        fn shown(&self) -> Vec<u8> {
            self.certificates.identity().certificate().to_vec()
        }
    }

    fn walk(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        let own = entries.iter().find(|path| path.is_file() && path.ends_with(name)).cloned();
        own.or_else(|| {
            entries.iter().filter(|path| path.is_dir()).find_map(|path| walk(path, name))
        })
    }

    #[test]
    fn a_certificate_that_is_early_is_taken_when_its_day_comes() {
        let scene = Scene::new();
        let before = scene.shown();
        scene.renew(3);
        scene.certificates.look();
        scene.certificates.look();
        scene.certificates.look();
        assert_eq!(scene.shown(), before, "it is valid from the day after tomorrow on");
        scene.wall.0.fetch_add(2 * DAY_MS, Relaxed);
        scene.certificates.look();
        assert_ne!(scene.shown(), before);
    }

    #[test]
    fn files_without_end_are_not_read_to_it() {
        let scene = Scene::new();
        let before = scene.shown();
        let file = scene.file("node.pem");
        let good = std::fs::read(&file).expect("it is there");
        std::fs::write(&file, vec![b'x'; 2 << 20]).expect("written");
        let error = scene.certificates.prepare(None).err().expect("too large").to_string();
        assert!(error.contains("far too large"), "{error}");
        std::fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", &file).expect("linked");
        let error = scene.certificates.prepare(None).err().expect("a device").to_string();
        assert!(error.contains("not a file"), "{error}");
        std::fs::remove_file(&file).expect("removed");
        std::fs::write(&file, good).expect("written");
        let renewal = scene.certificates.prepare(None).expect("as it was");
        scene.certificates.put(renewal);
        assert_eq!(scene.shown(), before);
    }
}
