//! Beginning anew from a saved ledger. It knows nothing of what was granted after it
//! was saved, and clients may believe in that until their leases have ended. So
//! nothing is granted before then; what the ledger knows to be held is held on.

use std::path::Path;
use std::time::Duration;

use triad_ledger::Command;
use triad_license::{LicenseError, Site};
use triad_proto::v1::{Reason, Refusal};
use triad_raft::disk::{Disk, RealDisk};
use triad_raft::{RestoreError, Saved, check_empty, lay_down, look_into};

use crate::config::Config;
use crate::node::Node;
use crate::serve::{JOINING, NEWBORN};

/// The file that marks a data directory as that of a node that begins with a saved
/// ledger. It stays until the new epoch is in the log.
pub(crate) const RESTORED: &str = "restored";

/// Why a saved ledger is not begun with.
#[derive(Debug, thiserror::Error)]
pub enum RestoringError {
    /// The file, or where it is to go.
    #[error(transparent)]
    Ledger(#[from] RestoreError),
    /// A license in it that this node would not put in force.
    #[error(
        "its license {license} is not to be trusted: {source}; where the publisher has other keys \
         by now, add the one that signed it to publisher_keys"
    )]
    License {
        /// Which.
        license: String,
        /// Why not.
        source: LicenseError,
    },
    /// A license in it that is not what its publisher signed.
    #[error("its license {0} is not what its publisher signed: the file was altered")]
    Altered(String),
}

/// Reads a saved ledger whole, and verifies its licenses once more: a file is not as
/// safe as three nodes that agree. Licenses that have expired since are licenses.
///
/// # Errors
///
/// It is damaged, or a license in it is not to be trusted.
pub fn look_into_for(config: &Config, bytes: &[u8]) -> Result<Saved, RestoringError> {
    let saved = look_into(bytes)?;
    let hostids: Vec<_> = config.nodes.values().filter_map(|entry| entry.hostid.clone()).collect();
    let site = Site { cluster_id: config.cluster_id.as_str(), hostids: &hostids };
    for license in &saved.licenses {
        let verified = triad_license::verify(&license.text, &config.publishers, &site, 0);
        let verified = verified.map_err(|source| {
            let license = license.id.to_string();
            RestoringError::License { license, source }
        })?;
        if verified.into_license() != *license {
            return Err(RestoringError::Altered(license.id.to_string()));
        }
    }
    Ok(saved)
}

/// Refuses what [`restore`] would refuse of a ledger that was looked into, and changes
/// nothing.
///
/// # Errors
///
/// See [`RestoreError`].
pub fn may_restore(config: &Config, saved: &Saved) -> Result<(), RestoreError> {
    fits(&RealDisk, config, saved).map(|_| ())
}

/// Whether a saved ledger may be laid down there; then, which files are there.
fn fits(disk: &dyn Disk, config: &Config, saved: &Saved) -> Result<Vec<String>, RestoreError> {
    let path = &config.data_dir;
    let names = disk.list(path);
    let names = names.map_err(|source| RestoreError::Disk { path: path.clone(), source })?;
    let again = names.iter().any(|name| name == RESTORING);
    check_empty(disk, path, again)?;
    let expected = config.cluster_id.as_str();
    if saved.cluster_id != expected {
        let (found, expected) = (saved.cluster_id.clone(), expected.to_owned());
        return Err(RestoreError::OtherCluster { found, expected });
    }
    Ok(names)
}

/// Lays a saved ledger down in the data directory of the node with this
/// configuration, which must have none. The node then is a cluster of its own.
///
/// # Errors
///
/// See [`RestoringError`].
pub fn restore(config: &Config, bytes: &[u8]) -> Result<Saved, RestoringError> {
    look_into_for(config, bytes)?;
    Ok(restore_on(&RealDisk, config, bytes)?)
}

/// The same on any disk. Cut off anywhere, it leaves a node that was not touched, or
/// one that starts with nothing until the restore is done once more.
fn restore_on(disk: &dyn Disk, config: &Config, bytes: &[u8]) -> Result<Saved, RestoreError> {
    let own = &config.nodes[&config.node_id].member;
    let data_dir = &config.data_dir;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Disk { path, source }
    };
    let sync = || disk.sync_dir(data_dir).map_err(failed(data_dir));
    let mark = |name: &str, text: &[u8]| {
        let path = data_dir.join(name);
        let written = disk.create(&path).and_then(|file| {
            file.write_at(text, 0)?;
            file.sync_data()
        });
        written.map_err(failed(&path))
    };
    // What is refused is refused before anything is marked.
    let names = fits(disk, config, &look_into(bytes)?)?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let again = has(RESTORING);
    mark(RESTORING, b"A ledger is being restored here. No node starts meanwhile.\n")?;
    sync()?;
    let node = (config.node_id, own.clone());
    let cluster_id = config.cluster_id.as_str();
    let saved = lay_down(disk, data_dir, bytes, cluster_id, node, again)?;
    mark(RESTORED, b"This node begins with a saved ledger. It removes this file.\n")?;
    for gone in [NEWBORN, JOINING].into_iter().filter(|name| has(name)) {
        let path = data_dir.join(gone);
        disk.remove(&path).map_err(failed(&path))?;
    }
    sync()?;
    // From here on the node may start.
    let restoring = data_dir.join(RESTORING);
    disk.remove(&restoring).map_err(failed(&restoring))?;
    sync()?;
    Ok(saved)
}

/// The file that marks a data directory in which a saved ledger is being laid down.
/// While it is there no node starts.
pub(crate) const RESTORING: &str = "restoring";

/// Begins the epoch of a ledger that was restored, before anybody is served by it.
/// Whoever waited for seats is told to ask again: nobody is served meanwhile.
pub(crate) async fn before_serving(node: &Node) -> bool {
    let mark = node.config.data_dir.join(RESTORED);
    if !mark.exists() {
        return true;
    }
    let (epoch, waiting) = node.consensus.read(|ledger| {
        let waiting: Vec<_> = ledger.waiting().map(|(_, w)| (w.session, w.request)).collect();
        (ledger.epoch(), waiting)
    });
    let cancel = |(session, request)| Command::Cancel { session, request, answered: false };
    let mut commands: Vec<_> = waiting.into_iter().map(cancel).collect();
    // Even ones are those of servers that serve by right.
    let epoch = (epoch / 2 + 1) * 2;
    commands.push(Command::BeginEpoch { epoch, adopted: 0, restored: true });
    if let Err(refusal) = node.propose(commands).await {
        tracing::warn!(%refusal, "the epoch of the restored ledger cannot begin");
        return false;
    }
    // A power cut would bring it back, and with it another time without grants.
    let synced = || RealDisk.sync_dir(&node.config.data_dir);
    if let Err(error) = RealDisk.remove(&mark).and_then(|()| synced()) {
        tracing::warn!(%error, mark = %mark.display(), "the mark may stay; the epoch begins again");
    }
    tracing::warn!(epoch, "serving from a restored ledger");
    true
}

impl Node {
    /// For how much longer nothing is granted, because clients may believe in seats
    /// that a restored ledger does not know.
    pub(crate) fn restoring_for(&self) -> Option<Duration> {
        // Not by the date, which one clock alone could move.
        let begun_ms = self.consensus.read(triad_ledger::Ledger::restored_ms)?;
        // What the configuration said at the start, and what the ledger knew of: nobody
        // shortens this meanwhile.
        let longest_ms = *self.longest_lease_ms.get_or_init(|| {
            // Sessions that were opened since it was saved had what the policy gives at
            // least, whatever the server allows.
            let known = self.consensus.read(|ledger| {
                let longest = ledger.sessions(None).map(|(_, session)| session.lease_ms).max();
                longest.unwrap_or(0).max(ledger.longest_lease_min_ms())
            });
            known.max(self.config.sessions.lease_max.as_millis() as u64)
        });
        let ends_ms = begun_ms + longest_ms;
        let left_ms = ends_ms.saturating_sub(self.consensus.cluster_ms());
        (left_ms > 0).then(|| Duration::from_millis(left_ms))
    }

    /// Whether anything may be granted yet.
    pub(crate) fn may_grant(&self) -> Result<(), Refusal> {
        let Some(left) = self.restoring_for() else { return Ok(()) };
        let message = format!(
            "restored from a snapshot: nothing is granted for another {} s, until every lease of \
             before has ended",
            left.as_secs() + 1
        );
        Err(Refusal::because(Reason::NotReady, message)
            .with_remedy("wait until then; \"triad status\" says how long that is")
            .retry_after(left))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::SystemTime;

    use tokio::time::Instant;
    use triad_ledger::Holder;
    use triad_ledger::names::SessionId;
    use triad_proto::net::TcpNetwork;
    use triad_raft::disk::{DirectoryLock, DiskFile};
    use triad_raft::{Consensus, Options, Origin, SystemClock, WallClock as _};

    use super::*;
    use crate::init::{InitOptions, init_cluster};
    use crate::serve::{ServeError, origin};

    /// A disk on which so many things can be done, and then nothing more.
    #[derive(Clone, Debug)]
    struct Cut(Arc<AtomicUsize>);

    impl Cut {
        fn after(steps: usize) -> Self {
            Cut(Arc::new(AtomicUsize::new(steps)))
        }

        fn step(&self) -> io::Result<()> {
            let left = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| io::Error::other("cut off"))
        }
    }

    #[derive(Debug)]
    struct CutFile(Cut, Box<dyn DiskFile>);

    impl DiskFile for CutFile {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.1.read_at(buffer, offset)
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            if let Err(error) = self.0.step() {
                // Half of it arrived.
                self.1.write_at(&bytes[..bytes.len() / 2], offset)?;
                return Err(error);
            }
            self.1.write_at(bytes, offset)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.step()?;
            self.1.sync_data()
        }

        fn length(&self) -> io::Result<u64> {
            self.1.length()
        }

        fn set_length(&self, length_bytes: u64) -> io::Result<()> {
            self.0.step()?;
            self.1.set_length(length_bytes)
        }
    }

    impl Disk for Cut {
        fn create_dir(&self, folder: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.create_dir(folder)
        }

        fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
            RealDisk.list(folder)
        }

        fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            RealDisk.open(path)
        }

        fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            self.step()?;
            Ok(Box::new(CutFile(self.clone(), RealDisk.create(path)?)))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.remove(path)
        }

        fn sync_dir(&self, folder: &Path) -> io::Result<()> {
            self.step()?;
            RealDisk.sync_dir(folder)
        }

        fn lock_dir(&self, folder: &Path, name: &str) -> io::Result<Box<dyn DirectoryLock>> {
            RealDisk.lock_dir(folder, name)
        }
    }

    fn cluster_of_one(folder: &Path) -> Config {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(SystemClock.wall_ms());
        let spec = "a=127.0.0.1:27070".parse().expect("good");
        let created = init_cluster(folder, &[spec], &InitOptions::new(now)).expect("made");
        Config::load(&created.nodes[0].config).expect("as it was made")
    }

    /// A saved ledger with one session in it.
    async fn saved(config: &Config, data_dir: &Path) -> Vec<u8> {
        let own = config.nodes[&config.node_id].member.clone();
        let (consensus, _service) = Consensus::start(Options {
            cluster_id: config.cluster_id.to_string(),
            node_id: config.node_id,
            members: [(config.node_id, own)].into(),
            data_dir: data_dir.to_owned(),
            origin: Origin::Founding,
            timing: config.timing,
            death_notice: false,
            retention: config.retention,
            snapshot_entries: config.snapshot_entries,
            network: Arc::new(TcpNetwork::new()),
            peer_tls: None,
            wall_clock: Box::new(SystemClock),
            disk: Arc::new(RealDisk),
            events: Box::new(|_| {}),
            work: None,
            simulation: None,
        })
        .await
        .expect("it starts");
        let mut leadership = consensus.watch_leadership();
        leadership.wait_for(|now| now.serving).await.expect("it leads");
        let open = Command::Open {
            session: SessionId([1; 16]),
            holder: Holder::default(),
            lease_ms: 30_000,
            resume: false,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        consensus.propose(vec![open], deadline).await.expect("it is agreed");
        let pieces = consensus.save(config.cluster_id.as_str()).expect("a ledger");
        consensus.stop().await;
        pieces.concat()
    }

    /// Wherever a restore is cut off, the node is one that was not touched, or does
    /// not start; and the restore done once more makes it whole.
    #[tokio::test]
    async fn a_restore_that_is_cut_off_anywhere_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = cluster_of_one(&folder.path().join("saved"));
        let bytes = saved(&config, &folder.path().join("data")).await;
        let mut cuts = 0;
        loop {
            let node = folder.path().join(format!("node-{cuts}"));
            std::fs::create_dir(&node).expect("made");
            std::fs::write(node.join(NEWBORN), "").expect("marked");
            let config = Config { data_dir: node.clone(), ..config.clone() };
            let is_whole = restore_on(&Cut::after(cuts), &config, &bytes).is_ok();
            match origin(&RealDisk, &node) {
                Ok(Origin::Restored) => assert!(is_whole || !node.join(NEWBORN).exists()),
                Ok(Origin::Founding) => {
                    assert!(!is_whole && !node.join("snapshot").exists(), "cut {cuts}");
                }
                Err(ServeError::RestoreCutOff { .. }) => assert!(!is_whole, "cut {cuts}"),
                other => panic!("cut {cuts}: {other:?}"),
            }
            if is_whole {
                break;
            }
            if !node.join(RESTORED).exists() || node.join(RESTORING).exists() {
                restore_on(&RealDisk, &config, &bytes).expect("once more");
                assert_eq!(origin(&RealDisk, &node).expect("it starts"), Origin::Restored);
                assert!(!node.join(NEWBORN).exists() && !node.join(RESTORING).exists());
            }
            cuts += 1;
        }
        assert!(cuts > 10, "cut at {cuts} places");
        let data_dir = folder.path().join("data");
        let has_data = Config { data_dir, ..config.clone() };
        let refused = restore_on(&RealDisk, &has_data, &bytes);
        assert!(matches!(refused, Err(RestoreError::HasData(_))), "{refused:?}");
        let refused = may_restore(&has_data, &look_into(&bytes).expect("whole"));
        assert!(matches!(refused, Err(RestoreError::HasData(_))), "{refused:?}");
    }
}
