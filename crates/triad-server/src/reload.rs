//! What changes while the node runs: the configuration is read again on request,
//! and of what differs that is put in force which can be. The rest is named, and
//! waits for a restart. A configuration with a mistake changes nothing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use triad_proto::net::{ServiceManager, SharedNetwork};
use triad_raft::WallClock;

use crate::config::{Config, LogConfig};
use crate::node::Node;
use crate::office::{self, Prepared};

/// Puts a log filter in force, or says why not. `None`: the one of the start.
pub type Relog = Box<dyn Fn(Option<&str>) -> Result<(), String> + Send + Sync>;

/// Everything that follows the configuration.
pub(crate) struct Reloading {
    pub(crate) node: Arc<Node>,
    pub(crate) office: Option<Prepared>,
    pub(crate) network: SharedNetwork,
    pub(crate) wall: Arc<dyn WallClock>,
    pub(crate) relog: Option<Relog>,
    pub(crate) manager: Arc<ServiceManager>,
    /// Somebody asks that the configuration is read again.
    pub(crate) asked: Option<mpsc::Receiver<()>>,
}

/// Calls the back office, watches the certificates, and reads the configuration
/// again when asked, until it is dropped.
pub(crate) async fn run(mut reloading: Reloading) {
    let mut watching = JoinSet::new();
    if let Some(certificates) = &reloading.node.certificates {
        watching.spawn(certificates.clone().watch());
    }
    let mut calling = JoinSet::new();
    let prepared = reloading.office.take();
    reloading.call(&mut calling, prepared);
    let Some(mut asked) = reloading.asked.take() else { return std::future::pending().await };
    while asked.recv().await.is_some() {
        reloading.manager.tell("RELOADING=1");
        reloading.reload(&mut calling);
        reloading.manager.tell("READY=1");
    }
    std::future::pending::<()>().await;
}

impl Reloading {
    fn call(&self, calling: &mut JoinSet<()>, prepared: Option<Prepared>) {
        calling.abort_all();
        if let Some(prepared) = prepared {
            calling.spawn(office::run(self.node.clone(), prepared, self.wall.clone()));
        }
    }

    fn reload(&self, calling: &mut JoinSet<()>) {
        let node = &self.node;
        let refused = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the configuration is refused; the old one stays in force");
        };
        let read = match Config::load(&node.config.file) {
            Ok(read) => read,
            Err(error) => return refused(&error),
        };
        let before = node.in_force();
        let difference = difference(&before, read);
        // What can go wrong goes wrong before anything is changed.
        let office = match office::prepare(&difference.config, &self.network) {
            Ok(office) => office,
            Err(error) => return refused(&error),
        };
        if difference.changed.contains(&"log.level")
            && let Some(relog) = &self.relog
            && let Err(error) = relog(difference.config.log.level.as_deref())
        {
            return refused(&error);
        }
        if let Some(certificates) = &node.certificates
            && let Err(error) = certificates.reload(difference.config.tls.as_ref())
        {
            tracing::error!(%error, "the certificates are refused; the old ones stay in force");
        }
        let Difference { config, changed, waiting } = difference;
        node.put_in_force(config);
        if changed.contains(&"office") {
            self.call(calling, office);
        }
        tracing::info!(changed = changed.join(", "), "the configuration was read again");
        for key in waiting {
            tracing::warn!(key, "changed in the configuration, and needs a restart");
        }
    }
}

/// What another configuration comes to.
struct Difference {
    /// The old one, with what can be changed.
    config: Config,
    /// What is changed.
    changed: Vec<&'static str>,
    /// What needs a restart.
    waiting: Vec<&'static str>,
}

fn difference(old: &Config, new: Config) -> Difference {
    let (mut changed, mut waiting) = (Vec::new(), Vec::new());
    let note = |list: &mut Vec<&'static str>, key, differs: bool| {
        if differs {
            list.push(key);
        }
    };
    note(&mut changed, "publisher_keys", old.publishers != new.publishers);
    note(&mut changed, "session", old.sessions != new.sessions);
    note(&mut changed, "office", old.office != new.office);
    note(&mut changed, "log.level", old.log.level != new.log.level);
    let both = old.tls.is_some() && new.tls.is_some();
    note(&mut changed, "tls", both && old.tls != new.tls);

    note(&mut waiting, "cluster_id", old.cluster_id != new.cluster_id);
    note(&mut waiting, "node_id", old.node_id != new.node_id);
    note(&mut waiting, "name", old.name != new.name);
    note(&mut waiting, "data_dir", old.data_dir != new.data_dir);
    let token = old.admin_token_sha256 != new.admin_token_sha256;
    note(&mut waiting, "admin_token_sha256", token);
    note(&mut waiting, "listen.clients", old.listen_clients != new.listen_clients);
    note(&mut waiting, "listen.peers", old.listen_peers != new.listen_peers);
    note(&mut waiting, "listen.http", old.listen_http != new.listen_http);
    note(&mut waiting, "log.format", old.log.format != new.log.format);
    note(&mut waiting, "tls.mode", old.tls.is_some() != new.tls.is_some());
    note(&mut waiting, "node", old.nodes != new.nodes);
    note(&mut waiting, "raft", format!("{:?}", old.timing) != format!("{:?}", new.timing));
    note(&mut waiting, "raft.death_notice", old.death_notice != new.death_notice);
    note(&mut waiting, "raft.snapshot_entries", old.snapshot_entries != new.snapshot_entries);
    let retention = format!("{:?}", old.retention) != format!("{:?}", new.retention);
    note(&mut waiting, "history", retention);
    note(&mut waiting, "pair", old.pair != new.pair);
    note(&mut waiting, "traces", old.traces != new.traces);
    let config = Config {
        publishers: new.publishers,
        sessions: new.sessions,
        office: new.office,
        log: LogConfig { level: new.log.level, ..old.log.clone() },
        tls: if both { new.tls } else { old.tls.clone() },
        ..old.clone()
    };
    Difference { config, changed, waiting }
}
