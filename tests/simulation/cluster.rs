//! The three nodes: how they are set up, started, and what became of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use triad_license::{Binding, Day, Draft, DraftFeature, Keyring, PublisherKey, issue};
use triad_proto::identity::ClusterId;
use triad_raft::{Member, Retention, Simulation, Timing, WallClock};
use triad_server::config::{LogConfig, NodeEntry, SessionTimes};
use triad_server::init::admin_token_hash;
use triad_server::{Config, ServeError, ServeOptions, serve_until};

use crate::oracle::Oracle;
use crate::world::{MachineId, SimulatedDisk, World};

/// What the first license grants.
pub const FEATURES: [(&str, u32); 3] = [("solver", 3), ("mesher", 2), ("viewer", 5)];
/// The feature that may be borrowed.
pub const LENT: &str = "viewer";
/// The feature whose right never ends.
const PERMANENT: &str = "solver";
const LOAN_MAX: Duration = Duration::from_secs(3_600);
pub const SERVERS: &str = "node-1:27070,node-2:27070,node-3:27070";
pub const NODES: [u64; 3] = [1, 2, 3];
pub const CLIENTS_PORT: u16 = 27070;
pub const PEERS_PORT: u16 = 27071;
pub const TOKEN: &str = "simulated";
/// No session has a shorter lease than this.
pub const LEASE_MIN: Duration = Duration::from_secs(3);
/// No session has a longer lease than this.
pub const LEASE_MAX: Duration = Duration::from_secs(6);

/// How long a session lasts unheard, how often it is heard, and how long it is kept after its socket
/// was closed, ms. A client that beats more often than that undoes by itself what a leader does too
/// early, and a node has it beat six times in a lease at least.
const LEASES_BEATS_GRACES_MS: [(u64, u64, u64); 5] = [
    (3_000, 500, 1_000),
    (3_000, 500, 1_000),
    (3_000, 500, 1_000),
    (6_000, 1_000, 200),
    (6_000, 1_000, 0),
];
const CLUSTER_ID: [u8; 32] = [7; 32];
/// 2026-11-01, when the simulated world begins.
pub const EPOCH_MS: u64 = 1_793_491_200_000;
/// Small, so that a run begins many segments.
const SEGMENT_BYTES: u32 = 64 << 10;
const DATA: &str = "/data";

/// How often nodes hear each other in a calm world, as where they are far apart: it is most of
/// what an idle cluster does, and an hour passes in half the time.
const CALM_TIMING: Timing =
    Timing { heartbeat_ms: 200, election_min_ms: 500, election_max_ms: 1_000 };

fn leases_beats_graces_ms(seed: u64) -> (u64, u64, u64) {
    LEASES_BEATS_GRACES_MS[seed as usize % LEASES_BEATS_GRACES_MS.len()]
}

/// How long a session lasts unheard in the runs of a seed.
pub fn lease(seed: u64) -> Duration {
    let (lease, _, _) = leases_beats_graces_ms(seed);
    Duration::from_millis(lease)
}

/// What all nodes of a run have in common.
#[derive(Clone, Copy)]
pub struct NodeSettings {
    /// How often they hear each other.
    pub timing: Timing,
    /// Entries of the log between two snapshots.
    pub snapshot_entries: u64,
    /// How sessions are kept.
    pub sessions: SessionTimes,
}

impl NodeSettings {
    /// Those of a seed, and what was drawn for it.
    pub fn new(seed: u64, calm: u32, snapshot_entries: u64) -> Self {
        let (_, beat, grace) = leases_beats_graces_ms(seed);
        let lease = lease(seed);
        let sessions = SessionTimes {
            lease_default: lease,
            lease_min: lease,
            lease_max: lease,
            heartbeat_interval: Duration::from_millis(beat),
            disconnect_grace: Duration::from_millis(grace),
        };
        let timing = if calm == 1 { Timing::default() } else { CALM_TIMING };
        NodeSettings { timing, snapshot_entries, sessions }
    }
}

/// A node, with what outlives its process.
pub struct Node {
    /// Its id in the cluster; a node that takes another's place has a new one.
    pub id: u64,
    /// Its machine, counted from 1.
    pub place: u64,
    pub machine: MachineId,
    pub disk: SimulatedDisk,
    pub clock: Arc<NodeClock>,
    /// Asks the process to stop in good order.
    pub stop: Option<oneshot::Sender<()>>,
    pub state: NodeState,
    /// Something that was synced was altered: it may refuse to start, and is
    /// lost then.
    pub is_damaged: bool,
    /// It did refuse.
    has_refused: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// To run, and started again should it end.
    Up,
    /// Off until then.
    Down(Duration),
    /// It lost its disk, and is not to come back as the one it was.
    Lost,
}

/// A node's wall clock, which may be wrong.
#[derive(Debug, Default)]
pub struct NodeClock {
    world_ms: AtomicU64,
    pub offset_ms: AtomicI64,
}

impl NodeClock {
    pub fn set_world(&self, now: Duration) {
        self.world_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }
}

impl WallClock for NodeClock {
    fn wall_ms(&self) -> u64 {
        let right = EPOCH_MS + self.world_ms.load(Ordering::Relaxed);
        right.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

impl Node {
    pub fn new(world: &mut World, id: u64) -> Self {
        let machine = world.add(&format!("node-{id}"));
        let disk = SimulatedDisk::default();
        disk.put(&Path::new(DATA).join("newborn"), b"");
        let (clock, has_refused) = Default::default();
        Node {
            id,
            place: id,
            machine,
            disk,
            clock,
            stop: None,
            state: NodeState::Up,
            is_damaged: false,
            has_refused,
        }
    }

    /// It did not start on what it found on its disk, or stopped over it.
    pub fn has_refused(&self) -> bool {
        self.has_refused.load(Ordering::Relaxed)
    }

    /// Its disk is new, and it is to join as another node.
    pub fn renew(&mut self, id: u64) {
        self.disk.wipe();
        self.disk.put(&Path::new(DATA).join("joining"), b"");
        self.id = id;
        self.is_damaged = false;
        self.has_refused = Arc::default();
        self.state = NodeState::Up;
    }

    /// Starts the process.
    pub fn start(&mut self, world: &mut World, oracle: &Arc<Oracle>, settings: NodeSettings) {
        use rand::RngExt;
        let (seed, runtime_seed) = (world.dice.random(), world.dice.random());
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        let observer = oracle.watch(self.id);
        let simulation = Simulation { seed, segment_bytes: SEGMENT_BYTES, observer };
        let options = ServeOptions {
            ready: None,
            wall_clock: Some(self.clock.clone()),
            disk: Some(Arc::new(self.disk.clone())),
            simulation: Some(simulation),
            ..ServeOptions::default()
        };
        let config = config(self.id, self.place, settings);
        let network = world.network.of(self.machine);
        let (id, oracle, disk) = (self.id, oracle.clone(), self.disk.clone());
        let may_fail = self.state == NodeState::Lost;
        let (is_damaged, has_refused) = (self.is_damaged, self.has_refused.clone());
        self.disk.forgive();
        if !may_fail {
            self.state = NodeState::Up;
        }
        let main = async move {
            let stop = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let outcome = serve_until(config, options, network, stop).await;
            let expected = match &outcome {
                Ok(_) => true,
                // It ran, and its disk failed under it.
                Err(ServeError::Failed(_)) => disk.has_failed(),
                Err(ServeError::DataMissing { .. }) => may_fail,
                Err(_) => disk.has_failed(),
            };
            if is_damaged && outcome.is_err() && !disk.has_failed() {
                has_refused.store(true, Ordering::Relaxed);
            }
            if let Err(error) = outcome {
                tracing::info!(node = id, %error, "the process ended");
                if !expected && !is_damaged {
                    oracle.violated(format!("P8: node {id} stops: {error}"));
                }
            }
        };
        world.machine(self.machine).start(runtime_seed, main);
    }
}

fn config(node_id: u64, place: u64, settings: NodeSettings) -> Config {
    let entry = |other: &u64| {
        let member = Member {
            name: format!("node-{other}"),
            peer_address: format!("node-{other}:27071"),
            client_address: format!("node-{other}:27070"),
            ids_through: 0,
        };
        let id = if *other == place { node_id } else { *other };
        (id, NodeEntry { member, hostid: None, http: None })
    };
    let mut publishers = Keyring::new();
    publishers.trust(publisher().public()).expect("the ring is empty");
    Config {
        file: PathBuf::from("triad.toml"),
        cluster_id: ClusterId::of_public_key_digest(&CLUSTER_ID),
        node_id,
        name: format!("node-{place}"),
        data_dir: PathBuf::from(DATA),
        publishers,
        admin_token_sha256: admin_token_hash(TOKEN),
        listen_clients: format!("node-{place}:27070"),
        listen_peers: format!("node-{place}:27071"),
        listen_http: None,
        tls: None,
        nodes: BTreeMap::from_iter(NODES.iter().map(entry)),
        sessions: settings.sessions,
        timing: settings.timing,
        death_notice: true,
        snapshot_entries: settings.snapshot_entries,
        retention: Retention::default(),
        office: None,
        pair: None,
        log: LogConfig::default(),
        traces: None,
    }
}

fn publisher() -> PublisherKey {
    PublisherKey::generate([9; 32])
}

/// A license of the simulated site, signed.
pub fn license(serial: u64, seats: &[(&str, u32)]) -> String {
    license_by(&publisher(), CLUSTER_ID, serial, seats)
}

/// Licenses that nobody may put in force, and what is wrong with each. One with this serial is newer
/// than that in force.
pub fn bad_licenses(serial: u64) -> Vec<(&'static str, String)> {
    let many = FEATURES.map(|(feature, seats)| (feature, seats + 9));
    let stranger = PublisherKey::generate([8; 32]);
    let altered = license(serial, &FEATURES).replacen("seats = 3", "seats = 9", 1);
    vec![
        ("older than that in force", license(1, &many)),
        ("altered after it was signed", altered),
        ("signed by a stranger", license_by(&stranger, CLUSTER_ID, serial, &many)),
        ("for another cluster", license_by(&publisher(), [6; 32], serial, &many)),
    ]
}

fn license_by(
    publisher: &PublisherKey,
    cluster: [u8; 32],
    serial: u64,
    seats: &[(&str, u32)],
) -> String {
    let day = Day::in_utc(EPOCH_MS);
    let feature = |(name, seats): &(&str, u32)| {
        let mut feature = DraftFeature::new(*name, "2026.1", *seats);
        if *name != PERMANENT {
            feature.expires = day.and_then(Day::tomorrow).and_then(Day::tomorrow);
        }
        if *name == LENT {
            feature.terms.borrow_max_ms = Some(LOAN_MAX.as_millis() as u64);
        }
        feature
    };
    let draft = Draft {
        license: "simulated".into(),
        publisher: "Triad tests".into(),
        serial,
        zone: None,
        issued: day,
        notice: None,
        binding: Binding::Cluster(ClusterId::of_public_key_digest(&cluster).to_string()),
        features: seats.iter().map(feature).collect(),
    };
    issue(&draft.to_toml(), &[publisher]).expect("the draft is good")
}
