//! What changes while the node runs: the configuration is read again on request,
//! and of what differs that is put in force which can be. The rest is named, and
//! waits for a restart. A configuration with a mistake changes nothing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use triad_proto::net::{ServiceManager, SharedNetwork};
use triad_raft::WallClock;

use crate::config::{Config, LogConfig};
use crate::node::Node;
use crate::office::{self, Prepared};
use crate::rotation::Renewal;

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
        reloading.reload(&mut calling).await;
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

    async fn reload(&self, calling: &mut JoinSet<()>) {
        let node = self.node.clone();
        let network = self.network.clone();
        // Files are read, and a disk may hang.
        let prepared = spawn_blocking(move || prepare(&node, &network)).await;
        let prepared = prepared.unwrap_or_else(|error| Err(error.to_string()));
        let refused = |error: &str| {
            tracing::error!(error, "the configuration is refused; the old one stays in force");
        };
        let (Difference { config, changed, waiting }, office, renewal) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return refused(&error),
        };
        // The last that can go wrong: it is judged and put in force in one.
        if changed.contains(&"log.level")
            && let Some(relog) = &self.relog
            && let Err(error) = relog(config.log.level.as_deref())
        {
            return refused(&error);
        }
        let node = &self.node;
        if let Some((certificates, renewal)) = node.certificates.as_ref().zip(renewal) {
            certificates.put(renewal);
        }
        node.put_in_force(config);
        if changed.contains(&"office") {
            self.call(calling, office);
        }
        match changed.is_empty() && waiting.is_empty() {
            true => tracing::info!("the configuration was read again; nothing changed in it"),
            false if changed.is_empty() => tracing::info!("the configuration was read again"),
            false => {
                let changed = changed.join(", ");
                tracing::info!(changed, "the configuration was read again");
            }
        }
        for key in waiting {
            tracing::warn!(key, "changed in the configuration, and needs a restart");
        }
    }
}

/// Everything that can go wrong goes wrong here, before anything is changed.
fn prepare(
    node: &Node,
    network: &SharedNetwork,
) -> Result<(Difference, Option<Prepared>, Option<Renewal>), String> {
    let read = Config::load(&node.config.file).map_err(|error| error.to_string())?;
    let difference = difference(&node.in_force(), read);
    let office = office::prepare(&difference.config, network).map_err(|error| error.to_string())?;
    let renewal = match &node.certificates {
        None => None,
        Some(certificates) => {
            let renewal = certificates.prepare(difference.config.tls.as_ref());
            Some(renewal.map_err(|error| error.to_string())?)
        }
    };
    Ok((difference, office, renewal))
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
