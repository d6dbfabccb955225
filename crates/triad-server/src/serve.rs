//! A node from start to stop: checks what it is given, opens its data, listens,
//! and leaves in good order.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, timeout};
use tonic_health::ServingStatus;
use triad_license::{HostIdKind, LicenseError};
use triad_proto::net::{
    AcceptLimits, Listener, Network, ServiceManager, TcpNetwork, TlsError, Traffic, accept_loop,
    server,
};
use triad_proto::v1;
use triad_proto::v1::admin_service_server::AdminServiceServer;
use triad_proto::v1::licensing_service_server::LicensingServiceServer;
use triad_proto::v1::pair_service_server::PairServiceServer;
use triad_raft::disk::{Disk, RealDisk};
use triad_raft::{
    Consensus, Member, Options, Origin, Simulation, StartError, SystemClock, WallClock, WorkSink,
};

use crate::admin_service::Admin;
use crate::certificates::CertificatesError;
use crate::config::{Config, PairRole};
use crate::descriptors;
use crate::guarded::Guarded;
use crate::hostids;
use crate::http::{self, Web};
use crate::leader;
use crate::licenses;
use crate::licensing_service::Licensing;
use crate::meters::Meters;
use crate::mutation::{self, Mutation};
use crate::news::NewsDesk;
use crate::node::{Listeners, Node};
use crate::office;
use crate::pair::{self, Pair, PairGate, begin_anew_if_asked, goes_on_alone};
use crate::reload::{self, Reloading, Relog};
use crate::restoring::{RESTORED, RESTORING};
use crate::rotation::{Certificates, RotationError};
use crate::tokens::Telling;
use crate::traces::{Exporter, Traces};

/// The longest message a client may send: a license with its signatures.
const CLIENT_MESSAGE_BYTES_MAX: usize = 64 << 10;
const ADMIN_MESSAGE_BYTES_MAX: usize = 2 << 20;
/// A part of what a back-up granted.
const PAIR_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Handing leadership over before stopping.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Waiting for streams to be told before the ports close.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);
/// The file that marks a data directory as never used, of a node that founds a
/// cluster with others.
pub(crate) const NEWBORN: &str = "newborn";
/// The same, of a node that is taken into a cluster that serves.
pub(crate) const JOINING: &str = "joining";

/// What the caller of [`serve`] wants to know or decide.
#[derive(Default)]
pub struct ServeOptions {
    /// Told once the node listens.
    pub ready: Option<oneshot::Sender<Ready>>,
    /// The node's wall clock; the machine's by default.
    pub wall_clock: Option<Arc<dyn WallClock>>,
    /// The file system; the machine's by default.
    pub disk: Option<Arc<dyn Disk>>,
    /// Set where the node runs in a simulation.
    pub simulation: Option<Simulation>,
    /// Each word here makes the node read its configuration again.
    pub reload: Option<mpsc::Receiver<()>>,
    /// Puts another log filter in force.
    pub relog: Option<Relog>,
    /// Whoever is to know that the node is ready, alive, and stops.
    pub manager: ServiceManager,
}

/// Where a node listens.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The port of clients, as bound.
    pub clients: std::net::SocketAddr,
    /// The port of peers, as bound.
    pub peers: std::net::SocketAddr,
    /// The port of pages and metrics, as bound, where there is one.
    pub http: Option<std::net::SocketAddr>,
}

/// Why a node did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its certificates.
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    /// TLS cannot be set up from them.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A port.
    #[error(
        "{key} = {address}: {source}; stop what listens there (ss -ltnp), or choose another port"
    )]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration names a machine that this is not.
    #[error(
        "{}: node {node_id} has hostid {configured}, but this machine has {found}; \
         move the node back, or ask the publisher for a license for this machine",
        file.display()
    )]
    Hostid {
        /// The configuration.
        file: PathBuf,
        /// The node.
        node_id: u64,
        /// What is configured.
        configured: String,
        /// What the machine says.
        found: String,
    },
    /// The data directory is empty, and should not be.
    #[error(
        "{}: this node has run before or was never set up, and its data is not here; check \
         data_dir. A node that lost its data must not vote: see docs/how-to/replace-a-node.md",
        data_dir.display()
    )]
    DataMissing {
        /// The directory.
        data_dir: PathBuf,
    },
    /// A saved ledger was not laid down whole.
    #[error(
        "{}: a restore was cut off here, and the ledger is not whole; run `triad snapshot restore`          once more",
        data_dir.display()
    )]
    RestoreCutOff {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The data directory cannot be used.
    #[error("{}: {source}", data_dir.display())]
    DataDir {
        /// The directory.
        data_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A back-up with the mark of a node that founds a cluster.
    #[error(
        "{}: a back-up founds nothing; it must be the mark \"joining\", as `triad init --pair` \
         writes it",
        mark.display()
    )]
    BackupFounds {
        /// The mark.
        mark: PathBuf,
    },
    /// The node's data.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The back office is configured and cannot be called.
    #[error(transparent)]
    Office(#[from] office::OfficeError),
    /// The data belongs to another machine.
    #[error("{0} (its data was brought from there)")]
    Elsewhere(LicenseError),
    /// The node had to stop: it cannot keep what it promised.
    #[error("{0}")]
    Failed(String),
}

impl From<RotationError> for ServeError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Files(error) => ServeError::Certificates(error),
            RotationError::Tls(error) => ServeError::Tls(error),
        }
    }
}

/// Runs a node until it is told to stop by SIGTERM or SIGINT, or has to. SIGHUP
/// makes it read its configuration and certificates again.
///
/// On a signal it hands leadership over first, tells its clients where to go,
/// and only then stops.
///
/// # Errors
///
/// See [`ServeError`]. A process must exit non-zero on any.
pub async fn serve(config: Config, options: ServeOptions) -> Result<Ended, ServeError> {
    descriptors::raise_limit();
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(signals)?;
    let (ask, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        // Two that come at once are one.
        while hangup.recv().await.is_some() {
            if let Err(mpsc::error::TrySendError::Closed(())) = ask.try_send(()) {
                return;
            }
        }
    });
    let manager = ServiceManager::from_environment().map_err(|error| {
        ServeError::Failed(format!("NOTIFY_SOCKET: the service manager is not there: {error}"))
    })?;
    let options = ServeOptions { reload: Some(asked), manager, ..options };
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve_until(config, options, Arc::new(TcpNetwork::new()), stop).await
}

fn signals(source: io::Error) -> ServeError {
    ServeError::Failed(format!("signals cannot be handled: {source}"))
}

/// How a node came to its end in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It is to be started again at once, in a new process: a back-up takes over,
    /// or follows again, as the marks in its data directory say.
    Again,
}

/// Names the rules up to which this program behaves as if it knew no newer ones; in
/// builds for tests only.
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
const EMULATED_RULES_VARIABLE: &str = "TRIAD_EMULATE_RULES";

/// Behaves as the older version that the environment asks for.
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
fn emulate_older() -> Result<(), ServeError> {
    let Some(asked) = std::env::var_os(EMULATED_RULES_VARIABLE) else { return Ok(()) };
    let rules = asked.to_str().and_then(|text| text.parse().ok());
    let rules =
        rules.filter(|rules| (triad_ledger::RULES_MIN..=triad_ledger::RULES).contains(rules));
    let rules = rules.ok_or_else(|| {
        ServeError::Failed(format!("{EMULATED_RULES_VARIABLE}: no rules that this program knows"))
    })?;
    triad_ledger::know_rules(rules);
    tracing::warn!(rules, "behaving as an older version");
    Ok(())
}

/// Says what the node runs with, key by key: nothing in it is secret.
fn log_start(config: &Config) {
    let ms = |length: std::time::Duration| length.as_millis() as u64;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %config.file.display(),
        cluster_id = config.cluster_id.as_str(),
        node_id = config.node_id,
        node_name = config.name,
        nodes = config.nodes.len(),
        data_dir = %config.data_dir.display(),
        clients = config.listen_clients,
        peers = config.listen_peers,
        http = config.listen_http.as_deref().unwrap_or("off"),
        tls = config.tls.is_some(),
        publisher_keys = config.publishers.len(),
        lease_default_ms = ms(config.sessions.lease_default),
        lease_max_ms = ms(config.sessions.lease_max),
        raft_heartbeat_ms = config.timing.heartbeat_ms,
        raft_election_min_ms = config.timing.election_min_ms,
        raft_election_max_ms = config.timing.election_max_ms,
        snapshot_entries = config.snapshot_entries,
        death_notice = config.death_notice,
        office = config.office.is_some(),
        pair = config.pair.is_some(),
        traces = config.traces.is_some(),
        "starting"
    );
}

/// Like [`serve`], on a given network, until `stop` resolves.
///
/// # Errors
///
/// See [`ServeError`].
pub async fn serve_until(
    config: Config,
    options: ServeOptions,
    network: Arc<dyn Network>,
    stop: impl Future<Output = ()>,
) -> Result<Ended, ServeError> {
    log_start(&config);
    #[cfg(all(feature = "seeded-bugs", debug_assertions))]
    emulate_older()?;
    let wall = options.wall_clock.unwrap_or_else(|| Arc::new(SystemClock));
    check_hostid(&config)?;
    let certificates = Certificates::load(&config, wall.clone())?;
    let tls = certificates.as_deref();
    let office = office::prepare(&config, &network)?;
    // Ports first: a second instance must not come as far as the data. That of
    // the clients is given back until they can be answered: a port that refuses
    // tells them that this node ends nobody's session, and one that is silent
    // might be the leader that they have lost.
    drop(bind(&*network, "listen.clients", &config.listen_clients).await?);
    let peers = bind(&*network, "listen.peers", &config.listen_peers).await?;

    let disk = options.disk.unwrap_or_else(|| Arc::new(RealDisk));
    let origin = match config.pair {
        None => origin(&*disk, &config.data_dir)?,
        Some(pair) => origin_in_a_pair(&*disk, &config.data_dir, pair.role)?,
    };
    let desk = Arc::new(NewsDesk::default());
    let meters = Arc::new(Meters::new(wall.wall_ms()));
    let (traces, spans) = Traces::new(config.traces.as_ref(), traces_seed(&config)?);
    let traces = Arc::new(traces);
    let (installed, _) = watch::channel(0);
    let listeners = Listeners { desk, meters, traces: traces.clone(), installed };
    let worked = traces.clone();
    let work: WorkSink = Arc::new(move |began, work| worked.worked(began, work));
    let told = listeners.clone();
    let (consensus, peer_service) = Consensus::start(Options {
        cluster_id: config.cluster_id.to_string(),
        node_id: config.node_id,
        members: founders(&config),
        data_dir: config.data_dir.clone(),
        origin,
        timing: config.timing,
        death_notice: config.death_notice,
        retention: config.retention,
        snapshot_entries: config.snapshot_entries,
        network: network.clone(),
        peer_tls: tls.map(|tls| tls.to_peers.clone()),
        wall_clock: Box::new(wall.clone()),
        disk: disk.clone(),
        events: Box::new(move |events| told.report(events)),
        work: traces.is_on().then_some(work),
        simulation: options.simulation,
    })
    .await?;
    if !mutation::is_on(Mutation::WipedNodeVotes) {
        remove_mark(&*disk, &config.data_dir, origin)?;
    }

    let (stopping, stops) = watch::channel(false);
    let (closing, closes) = watch::channel(false);
    let to_peers = tls.map(|tls| &tls.to_peers);
    let pair = Pair::new(&config, network.clone(), to_peers, origin == Origin::Alone);
    let telling = Telling::new(network.clone(), to_peers.cloned());
    let exporting = match (&config.traces, spans) {
        (Some(to), Some(spans)) => {
            let around = (network.clone(), wall.clone());
            let exporter = Exporter::new(traces, spans, to, &config, around);
            let exporter = exporter.map_err(|error| ServeError::Failed(error.to_string()))?;
            Some(tokio::spawn(exporter.run(stops.clone())))
        }
        _ => None,
    };
    let node = Node::new(
        config,
        consensus.clone(),
        listeners,
        certificates.clone(),
        stops,
        pair.clone(),
        telling,
    );
    let duties = tokio::spawn(leader::run(node.clone()));
    let watching = pair.clone().map(|pair| tokio::spawn(pair::watch(node.clone(), pair)));
    let manager = Arc::new(options.manager);
    let reloading = tokio::spawn(reload::run(Reloading {
        node: node.clone(),
        office,
        network: network.clone(),
        wall,
        relog: options.relog,
        manager: manager.clone(),
        asked: options.reload,
    }));
    let (health, health_service) = tonic_health::server::health_reporter();
    let following = tokio::spawn(report_health(node.clone(), health));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors are those of this build");

    let licensing = LicensingServiceServer::new(Licensing { node: node.clone() })
        .max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX);
    let admin = AdminServiceServer::new(Admin { node: node.clone() })
        .max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX);
    let limits = AcceptLimits::clients().within(descriptors::for_connections());
    let clients = bind(&*network, "listen.clients", &node.config.listen_clients).await?;
    let address = |listener: &dyn Listener| listener.local_addr().map_err(signals);
    let pages = match &node.config.listen_http {
        Some(address) => Some(bind(&*network, "listen.http", address).await?),
        None => None,
    };
    let ready = Ready {
        clients: address(&*clients)?,
        peers: address(&*peers)?,
        http: pages.as_deref().map(address).transpose()?,
    };
    let for_pages = match &certificates {
        Some(certificates) => Some(certificates.for_pages()?),
        None => None,
    };
    let pages = pages.map(|listener| {
        let web = Web::new(node.clone());
        tokio::spawn(http::serve(web, listener, for_pages))
    });
    let for_clients = server(Traffic::Clients)
        .add_service(Guarded::new(licensing, None))
        .add_service(Guarded::new(admin, Some(node.clone())))
        .add_service(Guarded::new(health_service, None))
        .add_service(Guarded::new(reflection, None))
        .serve_with_incoming_shutdown(
            accept_loop(clients, tls.map(|t| t.clients.clone()), limits),
            until(closes.clone()),
        );
    let gate = pair.clone().map(|pair| {
        PairServiceServer::new(PairGate { node: node.clone(), pair })
            .max_encoding_message_size(PAIR_MESSAGE_BYTES_MAX)
    });
    let for_peers = server(Traffic::Peers)
        .add_service(peer_service)
        .add_optional_service(gate)
        .serve_with_incoming_shutdown(
            accept_loop(peers, tls.map(|t| t.peers.clone()), AcceptLimits::peers()),
            until(closes),
        );
    let for_clients = tokio::spawn(for_clients);
    let for_peers = tokio::spawn(for_peers);
    let http = ready.http.map(tracing::field::display);
    tracing::info!(clients = %ready.clients, peers = %ready.peers, http, "listening");
    if let Some(told) = options.ready {
        let _ = told.send(ready);
    }
    manager.tell("READY=1");
    let pulse = tokio::spawn(pulse(manager.clone()));

    let outcome = tokio::select! {
        () = stop => Ok(Ended::Stopped),
        () = again(pair.as_deref()) => Ok(Ended::Again),
        failure = consensus.failure() => {
            tracing::error!(%failure, "this node stops");
            Err(ServeError::Failed(failure))
        }
        foreign = brought_from_elsewhere(&node) => {
            tracing::error!(%foreign, "this node stops");
            Err(ServeError::Elsewhere(foreign))
        }
    };
    manager.tell("STOPPING=1");
    if outcome.is_ok() {
        hand_over(&node).await;
    }
    stopping.send_replace(true);
    duties.abort();
    following.abort();
    reloading.abort();
    if let Some(watching) = watching {
        watching.abort();
    }
    // Streams say goodbye as soon as they see it; then the ports close.
    closing.send_replace(true);
    let _ = timeout(FAREWELL_TIMEOUT, for_clients).await;
    if let Some(pages) = pages {
        pages.abort();
    }
    if outcome.is_ok() {
        consensus.stop().await;
    }
    for_peers.abort();
    if let Some(exporting) = exporting {
        let _ = timeout(FAREWELL_TIMEOUT, exporting).await;
    }
    pulse.abort();
    tracing::info!("stopped");
    outcome
}

/// Says that this process is alive for as long as it does anything at all: it
/// runs where everything else of the node does.
async fn pulse(manager: Arc<ServiceManager>) {
    let Some(every) = manager.watchdog_interval() else { return };
    let mut beats = interval(every.max(Duration::from_millis(1)));
    loop {
        beats.tick().await;
        manager.tell("WATCHDOG=1");
    }
}

async fn again(pair: Option<&Pair>) {
    match pair {
        Some(pair) => pair.again().await,
        None => std::future::pending().await,
    }
}

/// Who votes from the founding on: all, or of a pair the main alone.
fn founders(config: &Config) -> BTreeMap<u64, Member> {
    let own = |id: &u64| config.pair.is_none() || *id == config.node_id;
    let founders = config.nodes.iter().filter(|(id, _)| own(id));
    founders.map(|(id, entry)| (*id, entry.member.clone())).collect()
}

/// A back-up founds nothing, and may go on alone or begin anew.
fn origin_in_a_pair(
    disk: &dyn Disk,
    data_dir: &Path,
    role: PairRole,
) -> Result<Origin, ServeError> {
    let unusable = |source| ServeError::DataDir { data_dir: data_dir.to_owned(), source };
    if role == PairRole::Backup {
        begin_anew_if_asked(data_dir).map_err(unusable)?;
        if goes_on_alone(data_dir) {
            return Ok(Origin::Alone);
        }
    }
    match (origin(disk, data_dir)?, role) {
        (Origin::Founding, PairRole::Backup) => {
            Err(ServeError::BackupFounds { mark: data_dir.join(NEWBORN) })
        }
        (origin, _) => Ok(origin),
    }
}

/// What makes the ids of this run's spans differ from all others.
fn traces_seed(config: &Config) -> Result<u64, ServeError> {
    let mut bytes = [0; 8];
    if config.traces.is_some() {
        let failed = |error| ServeError::Failed(format!("no randomness: {error}"));
        getrandom::fill(&mut bytes).map_err(failed)?;
    }
    Ok(u64::from_le_bytes(bytes))
}

async fn until(mut told: watch::Receiver<bool>) {
    let _ = told.wait_for(|told| *told).await;
}

async fn hand_over(node: &Node) {
    if node.leading_term().is_none() || node.consensus.view().members.len() < 2 {
        return;
    }
    tracing::info!("handing leadership over");
    let deadline = Instant::now() + HANDOVER_TIMEOUT;
    match node.consensus.transfer(None, deadline).await {
        Ok(now) => tracing::info!(leader = now.leader, term = now.term, "handed over"),
        Err(error) => tracing::warn!(%error, "nobody took leadership over"),
    }
}

async fn bind(
    network: &dyn Network,
    key: &'static str,
    address: &str,
) -> Result<Box<dyn Listener>, ServeError> {
    let listen = |source| ServeError::Listen { key, address: address.to_owned(), source };
    network.bind(address).await.map_err(listen)
}

/// Resolves when this node has data with a license that is bound to other
/// machines. What is bound to machines is looked at when the data is opened, and
/// again when this node begins to lead: by then it has read its whole log.
async fn brought_from_elsewhere(node: &Node) -> LicenseError {
    let mut foreign = licenses::Foreign::to(&node.in_force());
    let mut leadership = node.consensus.watch_leadership();
    let mut installed = node.watch_installed();
    loop {
        foreign.follow(node);
        if let Some(foreign) = foreign.first() {
            return foreign.clone();
        }
        loop {
            tokio::select! {
                Ok(()) = leadership.changed() => break,
                Ok(()) = installed.changed() => foreign.follow(node),
                // The node is going away; so is whoever asks this.
                else => std::future::pending().await,
            }
        }
    }
}

fn check_hostid(config: &Config) -> Result<(), ServeError> {
    let Some(configured) = &config.nodes[&config.node_id].hostid else { return Ok(()) };
    let found = hostids::of_this_machine();
    // What was agreed upon, the machine cannot prove.
    if configured.kind() == HostIdKind::String || found.contains(configured) {
        return Ok(());
    }
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Err(ServeError::Hostid {
        file: config.file.clone(),
        node_id: config.node_id,
        configured: configured.to_string(),
        found: found.join(", "),
    })
}

/// A node that has run before has a log. One that never ran has the mark that
/// `triad init` or `triad node replace` made, and nothing else. A node with
/// neither lost its data, and would vote as if it had never promised anything.
pub(crate) fn origin(disk: &dyn Disk, data_dir: &Path) -> Result<Origin, ServeError> {
    let unusable = |source| ServeError::DataDir { data_dir: data_dir.to_owned(), source };
    let missing = || match mutation::is_on(Mutation::WipedNodeVotes) {
        true => Ok(Origin::Founding),
        false => Err(ServeError::DataMissing { data_dir: data_dir.to_owned() }),
    };
    let names = match disk.list(data_dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(),
        Err(error) => return Err(unusable(error)),
    };
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(RESTORING) {
        return Err(ServeError::RestoreCutOff { data_dir: data_dir.to_owned() });
    }
    // A start that was interrupted after making the log begins again.
    if has(RESTORED) {
        return Ok(Origin::Restored);
    }
    match (has(NEWBORN), has(JOINING), has("log")) {
        (true, _, _) => Ok(Origin::Founding),
        (false, true, _) => Ok(Origin::Joining),
        (false, false, true) => Ok(Origin::Kept),
        (false, false, false) => missing(),
    }
}

/// From the first start on an empty log is a lost one.
fn remove_mark(disk: &dyn Disk, data_dir: &Path, origin: Origin) -> Result<(), ServeError> {
    let mark = match origin {
        // That of a restored ledger goes when its epoch has begun.
        Origin::Kept | Origin::Alone | Origin::Restored => return Ok(()),
        Origin::Founding => NEWBORN,
        Origin::Joining => JOINING,
    };
    let removed = disk.remove(&data_dir.join(mark)).and_then(|()| disk.sync_dir(data_dir));
    removed.map_err(|source| ServeError::DataDir { data_dir: data_dir.to_owned(), source })
}

/// Tells health checks whether this node is of use: it leads, or knows who does.
async fn report_health(node: Arc<Node>, health: tonic_health::server::HealthReporter) {
    let mut leadership = node.consensus.watch_leadership();
    loop {
        let of_use = leadership.borrow_and_update().leader.is_some();
        let status = if of_use { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", "triad.v1.LicensingService", "triad.v1.AdminService"] {
            health.set_service_status(service, status).await;
        }
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::SystemTime;

    use futures::FutureExt;
    use futures::future::BoxFuture;
    use triad_proto::net::Connection;

    use super::*;
    use crate::init::{InitOptions, init_cluster};

    /// A network that notes in which order ports are taken, and whether the data
    /// was open by then.
    struct Noting {
        inner: TcpNetwork,
        log: PathBuf,
        bound: Mutex<Vec<(String, bool)>>,
    }

    impl Network for Noting {
        fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
            self.inner.connect(host_port)
        }

        fn bind<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            let bind = async move {
                let refused = self.inner.connect(host_port).await.err().map(|error| error.kind());
                assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused), "{host_port}");
                let is_open = self.log.exists();
                self.bound.lock().expect("no panic").push((host_port.to_owned(), is_open));
                self.inner.bind(host_port).await
            };
            bind.boxed()
        }
    }

    /// While a node opens its data, the clients' port refuses.
    #[tokio::test]
    async fn clients_are_refused_until_they_can_be_answered() {
        let folder = tempfile::tempdir().expect("a folder");
        let network = TcpNetwork::new();
        let mut ports = [0, 0, 0];
        for port in &mut ports {
            let free = network.bind("127.0.0.1:0").await.expect("a free port");
            *port = free.local_addr().expect("it is bound").port();
        }
        let spec = format!("a=127.0.0.1:{}/{}/{}", ports[0], ports[1], ports[2]);
        let spec = spec.parse().expect("good");
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(SystemClock.wall_ms());
        let created = init_cluster(folder.path(), &[spec], &InitOptions::new(now));
        let created = created.expect("a cluster of one");
        let directory = &created.nodes[0].directory;
        let config = Config::load(&directory.join("triad.toml")).expect("as it was made");
        let log = config.data_dir.join("log");
        let noting = Arc::new(Noting { inner: network, log, bound: Mutex::default() });
        let (ready, is_ready) = oneshot::channel();
        let options = ServeOptions { ready: Some(ready), ..ServeOptions::default() };
        let stop = async {
            is_ready.await.expect("it listens");
        };
        serve_until(config, options, noting.clone(), stop).await.expect("it stops in order");
        let [clients, peers, http] = ports.map(|port| format!("127.0.0.1:{port}"));
        let bound = noting.bound.lock().expect("no panic");
        let expected = [(clients.clone(), false), (peers, false), (clients, true), (http, true)];
        assert_eq!(*bound, expected);
    }
}
