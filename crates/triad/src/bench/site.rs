//! Where a benchmark runs: three nodes of its own, or a cluster that is there,
//! of which it uses nothing but the features made for it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep};
use triad_client::{Checkout, Client, ClientBuilder, Error, SharedConnections};
use triad_license::{Binding, Day, Draft, DraftFeature};
use triad_proto::net::{ClientTls, SharedNetwork, TcpNetwork};
use triad_proto::v1::{Pool, PoolState};
use triad_server::init::TlsMode;

use crate::args::bench::BenchArguments;
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::failure::Failure;
use crate::holding::failure;
use crate::lists::all_features;
use crate::local::{Feature, LocalCluster};
use crate::settings::Settings;
use crate::verdict::statuses;

use super::outstanding::HOLDERS_PER_CONNECTION;
use super::progress::{Goal, Progress};
use super::workload::{HOT_POOL, HOT_SEATS, Part, SEATS_PER_POOL, Work, pool_name};

/// What all features of benchmarks begin with.
const PREFIX: &str = "bench-";
/// What a holder says of itself, in bytes, as with other systems measured beside
/// this one.
const HOLDER_BYTES: usize = 128;
/// Sessions that are opened at a time.
pub const OPENING_MAX: usize = 64;
/// A node takes so many connections of one address; some are left for others.
const CONNECTIONS_PER_ADDRESS: u32 = 2_000;
/// Sessions of one address are bounded, too.
const ADDRESSES_MIN: u32 = 4;
/// How long a benchmark waits for an answer before it is an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long everybody may take to leave: longer than a lease.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(75);
/// Between two looks at what is in use.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the license that is asked for lasts.
const LICENSE_DAYS: usize = 30;

/// Where a benchmark runs.
pub struct Site {
    place: Place,
    servers: String,
    ca_pem: Option<Vec<u8>>,
    tls: Option<ClientTls>,
    network: SharedNetwork,
    /// Empty: every client has a connection of its own.
    shared: Vec<SharedConnections>,
    /// How many pools there are to draw from.
    pub pools: u32,
    /// How many seats of the hot pool are free at the beginning.
    pub hot_seats: u32,
}

enum Place {
    Local(Box<LocalCluster>),
    Running(Box<Settings>),
}

impl Site {
    /// Three nodes of its own.
    pub async fn local(
        part: &Part,
        arguments: &BenchArguments,
        tls: TlsMode,
    ) -> Result<Self, Failure> {
        let hot_seats = HOT_SEATS + part.outstanding;
        let seats =
            SEATS_PER_POOL + (2 * part.outstanding + part.clients).div_ceil(arguments.pools);
        let many = (0..arguments.pools).map(|n| Feature { name: pool_name(n), seats });
        let hot = Feature { name: HOT_POOL.into(), seats: hot_seats };
        let features: Vec<Feature> = many.chain([hot]).collect();
        let configuration = configuration(part, arguments);
        let cluster = LocalCluster::start_with("bench", tls, &features, &configuration).await?;
        let ca_pem = match tls {
            TlsMode::Off => None,
            TlsMode::On => Some(crate::settings::read(cluster.ca())?),
        };
        // Other addresses of loopback, as of many machines.
        let clients = part.clients.div_ceil(CONNECTIONS_PER_ADDRESS);
        let others = part.outstanding.div_ceil(HOLDERS_PER_CONNECTION);
        let addresses = clients.max(others).clamp(ADDRESSES_MIN, 200);
        let address = |n| IpAddr::V4(Ipv4Addr::new(127, 0, u8::try_from(n).unwrap_or(0), 1));
        let network = TcpNetwork::new().from_addresses((0..addresses).map(address).collect());
        Ok(Site {
            servers: cluster.servers(),
            ca_pem,
            tls: cluster.tls(),
            network: Arc::new(network),
            shared: shared(arguments.conns),
            pools: arguments.pools,
            hot_seats,
            place: Place::Local(Box::new(cluster)),
        })
    }

    /// The cluster that the options name.
    ///
    /// # Errors
    ///
    /// It has no license for benchmarks, with the way to one.
    pub async fn running(settings: &Settings, arguments: &BenchArguments) -> Result<Self, Failure> {
        let pools = pools(settings).await?;
        let has = |name: &str| pools.iter().find(|pool| pool.feature == name && is_usable(pool));
        let many = (0..arguments.pools).take_while(|n| has(&pool_name(*n)).is_some()).count();
        let hot = has(HOT_POOL).map_or(0, |pool| pool.seats_free);
        if many == 0 || hot == 0 {
            return Err(not_licensed());
        }
        Ok(Site {
            servers: settings.servers()?.join(","),
            ca_pem: settings.authority_pem()?,
            tls: settings.tls()?,
            network: Arc::new(TcpNetwork::new()),
            shared: shared(arguments.conns),
            pools: u32::try_from(many).unwrap_or(arguments.pools),
            hot_seats: u32::try_from(hot).unwrap_or(HOT_SEATS).min(HOT_SEATS),
            place: Place::Running(Box::new(settings.clone())),
        })
    }

    /// The nodes, where they are its own.
    pub fn cluster(&self) -> Option<&LocalCluster> {
        match &self.place {
            Place::Local(cluster) => Some(cluster),
            Place::Running(_) => None,
        }
    }

    /// The same, to mistreat them.
    ///
    /// # Errors
    ///
    /// They are somebody else's.
    pub fn cluster_mut(&mut self) -> Result<&mut LocalCluster, Failure> {
        match &mut self.place {
            Place::Local(cluster) => Ok(cluster),
            Place::Running(_) => Err(needs_local("this")),
        }
    }

    /// How connections are made, for what does without the client library.
    pub fn network(&self) -> (SharedNetwork, Option<ClientTls>) {
        (self.network.clone(), self.tls.clone())
    }

    /// Where the leader takes clients.
    pub async fn leader_address(&self) -> Result<String, Failure> {
        match &self.place {
            Place::Local(cluster) => {
                let leader = cluster.leader(ANSWER_TIMEOUT).await?.leader;
                let n = cluster.position(leader).expect("a leader is one of the nodes");
                Ok(cluster.nodes[n].address.clone())
            }
            Place::Running(settings) => Ok(Cluster::new(settings)?.reader().await?.address),
        }
    }

    /// The term in which the nodes are led, where they are our own.
    pub async fn term(&self) -> Result<Option<u64>, Failure> {
        match self.cluster() {
            Some(cluster) => Ok(Some(cluster.leader(ANSWER_TIMEOUT).await?.term)),
            None => Ok(None),
        }
    }

    /// A client library set up for client `n`, which may share its connection.
    pub fn client(&self, n: u32) -> ClientBuilder {
        let builder = self.client_apart(n);
        match self.shared.get(n as usize % self.shared.len().max(1)) {
            Some(shared) => builder.connections(shared),
            None => builder,
        }
    }

    /// The same with a connection of its own in any case.
    fn client_apart(&self, n: u32) -> ClientBuilder {
        let (user, host, application) = (format!("bench{n}"), "bench", "triad bench");
        let told = user.len() + host.len() + application.len();
        let builder = Client::builder()
            .servers(&self.servers)
            .network(self.network.clone())
            .user(user)
            .host(host)
            .application(application)
            .display("")
            .project("")
            .hostids([])
            .vendor_data("x".repeat(HOLDER_BYTES.saturating_sub(told)))
            .checkout_timeout(ANSWER_TIMEOUT);
        match &self.ca_pem {
            Some(pem) => builder.ca_pem(pem.clone()),
            None => builder.plaintext(),
        }
    }

    /// One of the many pools, the same for the same number.
    pub fn pool(&self, n: u32) -> String {
        pool_name(n % self.pools)
    }

    /// Clients whose sessions are open. None of them holds anything.
    pub async fn clients(&self, settings: &Settings, count: u32) -> Result<Vec<Client>, Failure> {
        let open = |n: u32| async move {
            let client = self.client(n).build()?;
            client.checkout(&self.pool(n), "", 1).await?.give_back().await?;
            Ok(client)
        };
        each(settings, count, "clients connect", open).await
    }

    /// Clients that hold a seat each.
    pub async fn holders(
        &self,
        settings: &Settings,
        count: u32,
        set_up: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Vec<(Client, Checkout)>, Failure> {
        let set_up = &set_up;
        let open = |n: u32| async move {
            let client = set_up(self.client(n)).build()?;
            let seat = client.checkout(&self.pool(n), "", 1).await?;
            Ok((client, seat))
        };
        each(settings, count, "clients take a seat", open).await
    }

    /// Takes as many seats of the hot pool as leave `free` of them.
    pub async fn ballast(
        &self,
        free: u32,
        outstanding: u32,
    ) -> Result<Option<(Client, Checkout)>, Failure> {
        let seats = self.hot_seats.saturating_sub(outstanding).saturating_sub(free);
        if seats == 0 {
            return Ok(None);
        }
        let client = self.client_apart(u32::MAX).build().map_err(failure)?;
        let held = client.checkout(HOT_POOL, "", seats).await.map_err(failure)?;
        Ok(Some((client, held)))
    }

    /// How many seats of its features stay in use when everybody has left. Who is
    /// cut off in the middle of a farewell is gone after a grace, so they are
    /// waited for.
    pub async fn seats_left(&self) -> Result<u64, Failure> {
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        loop {
            match self.seats_in_use().await? {
                0 => return Ok(0),
                seats if Instant::now() > deadline => return Ok(seats),
                _ => sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// How many seats of its features are in use.
    pub async fn seats_in_use(&self) -> Result<u64, Failure> {
        match &self.place {
            Place::Local(cluster) => cluster.seats_in_use(PREFIX).await,
            Place::Running(settings) => {
                let pools = pools(settings).await?;
                let own = pools.iter().filter(|pool| pool.feature.starts_with(PREFIX));
                Ok(own.map(|pool| pool.seats_in_use).sum())
            }
        }
    }
}

/// Opens something for each of `count` clients, some at a time.
async fn each<T, F: Future<Output = Result<T, Error>>>(
    settings: &Settings,
    count: u32,
    what: &str,
    open: impl Fn(u32) -> F,
) -> Result<Vec<T>, Failure> {
    let done = Arc::new(AtomicU64::new(0));
    let goal = Goal::Count(u64::from(count), done.clone());
    let _shown = Progress::begin(settings.output, what.to_owned(), goal);
    let all = stream::iter(0..count).map(open).buffer_unordered(OPENING_MAX);
    let counted = all.inspect_ok(|_| {
        done.fetch_add(1, Ordering::Relaxed);
    });
    counted.try_collect().await.map_err(failure)
}

/// Ends all of these, some at a time: to end ten thousand sessions at once is a
/// load that nobody wanted to measure.
pub async fn some_at_a_time<F: Future<Output = ()>>(ends: impl Iterator<Item = F>) {
    stream::iter(ends).buffer_unordered(OPENING_MAX).collect::<Vec<()>>().await;
}

fn shared(connections: u32) -> Vec<SharedConnections> {
    (0..connections).map(|_| SharedConnections::default()).collect()
}

/// What the nodes are told besides what every cluster is told.
fn configuration(part: &Part, arguments: &BenchArguments) -> String {
    match part.work {
        Work::Idle => {
            let beat_ms = arguments.beat.as_millis().clamp(50, 60_000);
            // Five beats may be lost, and a machine may stand still for a while.
            let lease_ms = (6 * beat_ms).max(30_000);
            format!("\n[session]\nlease_ms = {lease_ms}\nheartbeat_interval_ms = {beat_ms}\n")
        }
        _ => String::new(),
    }
}

fn is_usable(pool: &Pool) -> bool {
    pool.state() == PoolState::Valid && pool.seats_free > 0
}

async fn pools(settings: &Settings) -> Result<Vec<Pool>, Failure> {
    let all = async |admin: &mut Admin| all_features(admin, "").await;
    let read = Cluster::new(settings)?.read(all).await?;
    Ok(read.answer.pools)
}

fn not_licensed() -> Failure {
    Failure::Usage {
        what: format!(
            "{} and {HOT_POOL} are not licensed on this cluster or have no free seat, and a \
             benchmark takes none of the seats that others use",
            pool_name(0)
        ),
        remedy: "add --local to measure three nodes of its own on this machine; or have your \
                 publisher sign what `triad bench --license-terms > bench.toml` writes (triad \
                 license issue --key publisher.secret bench.toml --out bench.lic) and apply it \
                 (triad license apply bench.lic)"
            .to_owned(),
    }
}

/// Why a workload does not run on a cluster that is there.
pub fn needs_local(what: &str) -> Failure {
    Failure::Usage {
        what: format!(
            "{what} kills nodes or looks at their processes, so it does not run on a cluster that \
             serves others"
        ),
        remedy: "add --local: three nodes are started for it and removed afterwards".to_owned(),
    }
}

/// The terms of a license for benchmarks on the cluster of the options.
pub async fn license_terms(
    settings: &Settings,
    arguments: &BenchArguments,
) -> Result<String, Failure> {
    let cluster = Cluster::new(settings)?;
    let answers = cluster.statuses().await;
    let heard = statuses(&answers);
    let Some(status) = heard.first() else {
        let met =
            answers.iter().filter_map(|a| Some((a.address.clone(), a.outcome.clone().err()?)));
        return Err(Failure::Unreachable(met.collect()));
    };
    let today = Day::in_utc(clock::now_ms());
    let expires = (0..LICENSE_DAYS).try_fold(today, |day, _| Some(day?.tomorrow())).flatten();
    let feature =
        |name: String, seats| DraftFeature { expires, ..DraftFeature::new(name, "1", seats) };
    let many = (0..arguments.pools).map(|n| feature(pool_name(n), SEATS_PER_POOL));
    let draft = Draft {
        license: "bench".into(),
        publisher: "the publisher of this license".into(),
        serial: 1,
        zone: None,
        issued: today,
        notice: Some("for triad bench alone".into()),
        binding: Binding::Cluster(status.cluster_id.clone()),
        features: many.chain([feature(HOT_POOL.into(), HOT_SEATS)]).collect(),
    };
    Ok(draft.to_toml())
}
