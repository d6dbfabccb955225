//! Three nodes, and how to ask them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use triad_client::{Client, ClientBuilder};
use triad_license::{Draft, PublisherKey};
use triad_proto::net::ClientTls;
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_raft::{Logged, read_log};
use triad_server::config::Config;
use triad_server::init::{Created, InitOptions, init_cluster};
use triad_server::node_spec::NodeSpec;

use crate::history::{Checked, Entry, History, Read, Recorder};
use crate::node::{Ended, Node, channel, command, run};
use crate::ports::Ports;
use crate::proxy::Proxy;
use crate::sightings::{Sighting, Sightings};
use crate::web::Web;
use crate::{clock, licenses, wait};

/// How long three nodes may take to start and agree, on a machine that does
/// other things besides.
pub const START_LIMIT: Duration = Duration::from_secs(20);
/// How long one look at one node may take. A node asks a quorum for half a
/// second before it answers stale.
const LOOK_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long a command of `triad` may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// What the nodes are called.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The feature that everybody wants.
pub const FEATURE: &str = "solver";

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lease of a session that asks for none.
    pub lease: Duration,
    /// How often a session is to be heard.
    pub heartbeat_interval: Duration,
    /// How long after a closed socket a session is ended; the lease at most.
    pub disconnect_grace: Duration,
    /// How many nodes: 1 to 3.
    pub nodes: usize,
    /// A main server and its back-up, instead of nodes that agree.
    pub pair: bool,
    /// What the license grants.
    pub features: Vec<(String, u32)>,
    /// Whether clients are told the addresses of proxies.
    pub with_proxies: bool,
    /// How many files a node may have open, if not as many as the test.
    pub files_max: Option<u32>,
    /// More lines for each `triad.toml`, from a table's header on.
    pub more_config: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            // Long enough for a machine that does other things besides.
            lease: Duration::from_secs(20),
            heartbeat_interval: Duration::from_millis(500),
            disconnect_grace: Duration::from_secs(4),
            nodes: 3,
            pair: false,
            features: vec![(FEATURE.into(), 100)],
            with_proxies: false,
            files_max: None,
            more_config: String::new(),
        }
    }
}

/// Where the nodes run, if not beside this test on loopback.
pub(crate) struct Site {
    /// The address of each.
    pub hosts: Vec<String>,
    /// What the program of each is started with.
    pub wrappers: Vec<Vec<String>>,
}

/// Three node processes on this machine. They are gone when this is dropped, and
/// their logs are shown if a test failed.
pub struct Cluster {
    /// The nodes; the first has id 1.
    pub nodes: Vec<Node>,
    /// Who issues its licenses.
    pub publisher: PublisherKey,
    options: Options,
    created: Created,
    token: String,
    tls: ClientTls,
    /// What the clients of the library say and hear.
    recorder: Arc<Recorder>,
    began: Instant,
    _folder: TempDir,
    ports: Option<Ports>,
}

impl Cluster {
    /// Makes a cluster, starts it, and puts its license in force.
    pub async fn start(options: Options) -> Self {
        let mut cluster = Self::create(options).await;
        cluster.run().await;
        cluster
    }

    /// Starts the nodes of a new cluster, and puts its license in force.
    pub(crate) async fn run(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        self.settled().await;
        let license = licenses::document(&self.draft(), &self.publisher);
        self.license(&license).await;
    }

    /// Makes a cluster; no node runs yet.
    ///
    /// # Panics
    ///
    /// If its files cannot be made.
    pub async fn create(options: Options) -> Self {
        Self::create_at(options, None).await
    }

    pub(crate) async fn create_at(options: Options, site: Option<Site>) -> Self {
        let folder = tempfile::Builder::new().prefix("triad-tests-").tempdir().unwrap();
        let publisher = licenses::key();
        let (ports, specs, listens) = match &site {
            Some(site) => at_hosts(&site.hosts, &options),
            None => on_loopback(&options),
        };
        let mut init = InitOptions::new(clock::now());
        init.pair = options.pair;
        init.publisher_keys = vec![publisher.public().to_string()];
        let created = init_cluster(folder.path(), &specs, &init).unwrap();
        let token = fs::read_to_string(&created.admin_token).unwrap().trim().to_owned();
        let tls = ClientTls::new(&fs::read(&created.ca).unwrap(), None).unwrap();
        let mut nodes = Vec::new();
        for (n, (node, address)) in created.nodes.iter().zip(listens).enumerate() {
            let public_address = node.spec.client_address();
            let proxy = match options.with_proxies {
                true => Some(Proxy::start(node.spec.client_port, address.clone()).await),
                false => None,
            };
            let node = Node {
                id: node.node_id,
                name: node.spec.name.clone(),
                channel: channel(&address, &tls),
                address,
                public_address,
                peer_address: node.spec.peer_address(),
                directory: node.directory.clone(),
                proxy,
                wrapper: match &site {
                    Some(site) => site.wrappers[n].clone(),
                    None => options.files_max.map_or(Vec::new(), with_few_files),
                },
                preload: Vec::new(),
                environment: Vec::new(),
                process: None,
            };
            node.edit("triad.toml", |text| configured(&text, &node, &options));
            nodes.push(node);
        }
        let _folder = folder;
        let began = Instant::now();
        let recorder = Recorder::new(move || began.elapsed());
        Cluster { nodes, publisher, options, created, token, tls, recorder, began, _folder, ports }
    }

    /// Takes a node over whose directory `triad node` has made; it does not run yet.
    /// Its place is that of the node `instead`, if one is named.
    pub fn adopt(&mut self, directory: &Path, instead: Option<usize>) -> usize {
        let config = Config::load(&directory.join("triad.toml")).unwrap();
        let address = config.listen_clients.clone();
        let node = Node {
            id: config.node_id,
            name: config.name.clone(),
            channel: channel(&address, &self.tls),
            public_address: address.clone(),
            address,
            peer_address: config.listen_peers.clone(),
            directory: directory.to_owned(),
            proxy: None,
            wrapper: Vec::new(),
            preload: Vec::new(),
            environment: Vec::new(),
            process: None,
        };
        match instead {
            Some(place) => {
                self.nodes[place] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    /// An address of this machine that nobody uses: `NAME=HOST:PORT/PEERPORT/HTTPPORT`.
    pub fn spare_place(&mut self, name: &str) -> String {
        let ports = self.ports.as_mut().expect("the nodes are on loopback");
        let (clients, peers, http) = (ports.take(), ports.take(), ports.take());
        format!("{name}=127.0.0.1:{clients}/{peers}/{http}")
    }

    /// The license that the options ask for, not yet signed.
    pub fn draft(&self) -> Draft {
        licenses::draft(self.created.cluster_id.as_str(), &self.options.features)
    }

    /// The directory of the whole cluster.
    pub fn folder(&self) -> PathBuf {
        self.created.admin_token.parent().expect("a file stands in a directory").to_owned()
    }

    /// The name of the cluster.
    pub fn id(&self) -> &str {
        self.created.cluster_id.as_str()
    }

    /// What asks node `n` by HTTP.
    ///
    /// # Panics
    ///
    /// If it has no pages.
    pub fn web(&self, n: usize) -> Web {
        Web::new(&self.http_address(n), Some(self.tls.clone()))
    }

    /// Where node `n` has its pages, as `host:port`.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn http_address(&self, n: usize) -> String {
        let config = Config::load(&self.nodes[n].config()).unwrap();
        config.listen_http.expect("listen.http is set")
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate of its authority.
    pub fn ca(&self) -> PathBuf {
        self.created.ca.clone()
    }

    // Asking.

    /// What one node says of itself.
    pub async fn look(&self, n: usize) -> Sighting {
        let mut admin = AdminServiceClient::new(self.nodes[n].channel.clone());
        let asked = timeout(LOOK_TIMEOUT, admin.status(v1::StatusRequest {})).await;
        match asked {
            Err(_) => Err("no answer in time".into()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
        }
    }

    /// What the running nodes say.
    pub async fn sightings(&self) -> Sightings {
        let looks = (0..self.nodes.len()).map(async |n| match self.nodes[n].runs() {
            true => self.look(n).await,
            false => Err("not running".into()),
        });
        Sightings(join_all(looks).await)
    }

    /// Waits until what the nodes say is as wanted.
    ///
    /// # Panics
    ///
    /// If that takes longer than `limit`; the text says what they said last.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Sightings) -> Option<T>,
    ) -> T {
        let look = async || {
            let sightings = self.sightings().await;
            wanted(&sightings).ok_or_else(|| sightings.to_string())
        };
        wait::until(what, limit, look).await
    }

    /// Waits until somebody leads, and says who.
    pub async fn leader(&self) -> usize {
        self.until("somebody leads", START_LIMIT, Sightings::leader).await
    }

    /// Waits until all running nodes follow one leader, and says whom.
    pub async fn settled(&self) -> usize {
        let running = self.nodes.iter().filter(|node| node.runs()).count();
        self.until("all nodes follow one leader", START_LIMIT, |s| s.agreed_leader(running)).await
    }

    /// Waits until all running nodes stand at one index with one ledger (P7).
    pub async fn equal_ledgers(&self) -> (u64, String) {
        let running = self.nodes.iter().filter(|node| node.runs()).count();
        self.until("ledgers are equal", START_LIMIT, |s| s.equal_ledgers(running)).await
    }

    /// Waits until a node has confirmed to the leader whatever is in the leader's log now.
    pub async fn until_confirmed(&self, n: usize) {
        let id = self.nodes[n].id;
        let (_, last) = self.until("somebody leads", START_LIMIT, |s| s.confirmed_by(id)).await;
        let confirmed = |s: &Sightings| (s.confirmed_by(id)?.0 >= last).then_some(());
        self.until("the node confirms what the leader has", START_LIMIT, confirmed).await;
    }

    /// Every checkout, as the leader confirms it with a quorum: number, and the
    /// whole row.
    pub async fn checkouts(&self) -> BTreeMap<u64, v1::CheckoutInfo> {
        let look = async || {
            let leader = self.sightings().await.leader().ok_or("nobody leads")?;
            let mut admin = self.admin(leader);
            let request = self.authorized(v1::ListCheckoutsRequest::default());
            let answer = admin.list_checkouts(request).await.map_err(|s| s.to_string())?;
            let answer = answer.into_inner();
            if !answer.freshness.is_some_and(|freshness| freshness.linearizable) {
                return Err("stale".to_owned());
            }
            assert!(answer.next_page_token.is_empty(), "more rows than a test should need");
            Ok(answer.checkouts)
        };
        let rows = wait::until("the leader lists its checkouts", START_LIMIT, look).await;
        rows.into_iter().map(|row| (row.checkout_id, row)).collect()
    }

    /// Waits until there are `count` checkouts, and lists them.
    pub async fn until_checkouts(
        &self,
        count: usize,
        limit: Duration,
    ) -> BTreeMap<u64, v1::CheckoutInfo> {
        let look = async || {
            let all = self.checkouts().await;
            let seen = format!("{all:?}");
            (all.len() == count).then_some(all).ok_or(seen)
        };
        wait::until(&format!("there are {count} checkouts"), limit, look).await
    }

    /// The administration of one node.
    pub fn admin(&self, n: usize) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.nodes[n].channel.clone()).max_encoding_message_size(4 << 20)
    }

    /// A connection to one node, past its proxy.
    pub fn channel(&self, n: usize) -> Channel {
        self.nodes[n].channel.clone()
    }

    /// A new connection to any address of this cluster.
    pub fn channel_to(&self, address: &str) -> Channel {
        channel(address, &self.tls)
    }

    /// A call with the administrator's token.
    pub fn authorized<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse().expect("a token is plain ASCII");
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    /// Puts a license in force, or says why not.
    ///
    /// # Errors
    ///
    /// The leader's refusal.
    pub async fn apply_license(
        &self,
        text: &str,
    ) -> Result<v1::ApplyLicenseResponse, Box<v1::Refusal>> {
        let mut admin = self.admin(self.leader().await);
        let request = v1::ApplyLicenseRequest { text: text.to_owned() };
        let applied = admin.apply_license(self.authorized(request)).await;
        applied.map(tonic::Response::into_inner).map_err(|s| Box::new(v1::Refusal::from_status(&s)))
    }

    /// Puts a good license in force.
    pub async fn license(&self, text: &str) {
        // A node leads a little earlier than its services know.
        let look = async || match self.apply_license(text).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.retryable => Err(refusal.to_string()),
            Err(refusal) => panic!("the license is refused: {refusal}"),
        };
        wait::until("the license is in force", START_LIMIT, look).await;
    }

    // Using.

    /// The public addresses of all nodes.
    pub fn servers(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|n| n.public_address.as_str()).collect();
        addresses.join(",")
    }

    /// The client library, set up for this cluster.
    pub fn client(&self) -> ClientBuilder {
        let client = Client::builder().servers(self.servers()).ca_file(self.ca());
        client.witness(self.recorder.clone())
    }

    /// The client library, past the proxies.
    pub fn direct_client(&self) -> ClientBuilder {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.address.as_str()).collect();
        self.client().servers(addresses.join(","))
    }

    /// `triad` with these arguments, as an administrator of this cluster.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = command();
        command.args(arguments.split_whitespace());
        command.env("TRIAD_SERVERS", self.servers());
        command.env("TRIAD_CA", self.ca());
        command.env("TRIAD_TOKEN_FILE", &self.created.admin_token);
        command
    }

    /// Runs `triad` to its end.
    pub async fn triad(&self, arguments: &str) -> Ended {
        run(self.command(arguments), COMMAND_LIMIT).await
    }

    /// The time, as the histories have it.
    pub fn clock(&self) -> impl Fn() -> Duration + Send + 'static {
        let began = self.began;
        move || began.elapsed()
    }

    /// Checks everything that clients of the library were told since the start,
    /// and these reads, against the committed log, for which node `n` stops. It
    /// must have the whole log, and nobody may ask for anything meanwhile.
    ///
    /// # Panics
    ///
    /// If they were told what the log does not say, or something else cannot
    /// have been.
    pub async fn check_history(&mut self, n: usize, reads: Vec<Read>) -> Checked {
        let operations = self.recorder.operations();
        let node = &mut self.nodes[n];
        assert_eq!(node.sigterm().await.code(), Some(0), "{}", node.log());
        let log = read_log(&node.data(), self.created.cluster_id.as_str(), node.id);
        let log = log.unwrap_or_else(|error| panic!("{}: {error}", node.name));
        let entries = log.into_iter().map(|logged| {
            let Logged { at, commands } = logged;
            Entry { at, commands }
        });
        let history = History { operations, reads, log: entries.collect() };
        history.check().unwrap_or_else(|violations| {
            let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
            panic!("the history cannot have been:\n{}", violations.join("\n"))
        })
    }

    /// The place of the node with this id.
    pub fn place_of(&self, id: u64) -> usize {
        self.nodes.iter().position(|node| node.id == id).expect("it is one of the nodes")
    }

    /// The two other nodes.
    pub fn others(&self, n: usize) -> [usize; 2] {
        let count = self.nodes.len();
        [(n + 1) % count, (n + 2) % count]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            if std::thread::panicking() {
                eprintln!("--- the end of the log of {}:\n{}", node.name, node.log_tail());
            } else {
                // Whatever else the test looked at.
                assert!(!node.log().contains("panicked at"), "{}: {}", node.name, node.log());
            }
        }
    }
}

/// Ports that nobody else uses, what is told of each node, and where it listens.
type Addresses = (Option<Ports>, Vec<NodeSpec>, Vec<String>);

fn on_loopback(options: &Options) -> Addresses {
    let mut ports = Ports::reserve();
    let mut specs = Vec::new();
    let mut listens = Vec::new();
    for name in NAMES.into_iter().take(options.nodes) {
        let (listen, peers, http) = (ports.take(), ports.take(), ports.take());
        let public = if options.with_proxies { ports.take() } else { listen };
        specs.push(format!("{name}=127.0.0.1:{public}/{peers}/{http}").parse().unwrap());
        listens.push(format!("127.0.0.1:{listen}"));
    }
    (Some(ports), specs, listens)
}

fn at_hosts(hosts: &[String], options: &Options) -> Addresses {
    assert!(!options.with_proxies, "the network itself obeys the test");
    let spec = |(name, host)| format!("{name}={host}").parse().unwrap();
    let specs: Vec<NodeSpec> = NAMES.into_iter().zip(hosts).take(options.nodes).map(spec).collect();
    let listens = specs.iter().map(NodeSpec::client_address).collect();
    (None, specs, listens)
}

/// A shell that lowers its limit and becomes the program.
fn with_few_files(max: u32) -> Vec<String> {
    let script = format!("ulimit -n {max}; exec \"$0\" \"$@\"");
    vec!["sh".into(), "-c".into(), script]
}

fn configured(text: &str, node: &Node, options: &Options) -> String {
    let listen = format!("clients = \"{}\"", node.address);
    let told = format!("clients = \"{}\"", node.public_address);
    // The first is where it listens, the others are the list of nodes.
    let text = text.replacen(&told, &listen, 1);
    format!(
        "{text}\n[session]\nlease_min_ms = 500\nlease_ms = {}\nheartbeat_interval_ms = {}\n\
         disconnect_grace_ms = {}\n{}\n",
        options.lease.as_millis(),
        options.heartbeat_interval.as_millis(),
        options.disconnect_grace.min(options.lease).as_millis(),
        options.more_config,
    )
}
