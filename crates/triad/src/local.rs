//! A cluster of three real node processes on this machine, with a license of
//! its own: for the demo and for benchmarks. It is gone when this is dropped.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use triad_client::{Client, ClientBuilder};
use triad_license::{Binding, Day, Draft, DraftFeature, PublisherKey, issue};
use triad_proto::net::{
    ChannelParameters, ClientTls, Connector, TcpNetwork, Traffic, channel_lazy,
};
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_server::init::{Created, InitOptions, TlsMode, init_cluster};
use triad_server::node_spec::NodeSpec;

use crate::clock;
use crate::failure::Failure;
use crate::lists::PAGE_ROWS;
use crate::text::printable;

/// How long three nodes may take to agree on a leader.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at who leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Far enough away that nobody is warned of its end.
const LICENSE_DAYS: usize = 60;

/// A feature of the license.
pub struct Feature {
    pub name: String,
    pub seats: u32,
}

/// One node of the cluster.
pub struct LocalNode {
    pub name: String,
    pub id: u64,
    pub address: String,
    /// Where its pages are.
    pub http_address: String,
    /// Where it keeps its log and its image.
    pub data: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

/// Three node processes. See the module's documentation.
pub struct LocalCluster {
    created: Created,
    pub nodes: Vec<LocalNode>,
    tls: Option<ClientTls>,
    token: String,
    /// The last, so that nobody writes there any more when it is removed.
    folder: Folder,
}

/// A directory that is removed with everything in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: it stands in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a node says of the cluster, as far as we need it.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub leader: u64,
    pub term: u64,
}

impl LocalNode {
    /// Its process, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref()?.id()
    }
}

impl LocalCluster {
    /// Starts three nodes named `prefix`-1 to -3 and waits until they serve
    /// the license.
    pub async fn start(prefix: &str, tls: TlsMode, features: &[Feature]) -> Result<Self, Failure> {
        Self::start_with(prefix, tls, features, "").await
    }

    /// The same with more lines at the end of each node's configuration.
    pub async fn start_with(
        prefix: &str,
        tls: TlsMode,
        features: &[Feature],
        configuration: &str,
    ) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("triad-{prefix}-{}", std::process::id()));
        let folder = Folder(folder);
        let key = publisher_key()?;
        let ports = free_ports(9)?;
        let spec = |n: usize| -> NodeSpec {
            let (clients, peers, http) = (ports[n], ports[n + 3], ports[n + 6]);
            let text = format!("{prefix}-{}=127.0.0.1:{clients}/{peers}/{http}", n + 1);
            text.parse().expect("a loopback address is well formed")
        };
        let mut options = InitOptions::new(clock::now());
        options.publisher_keys = vec![key.public().to_string()];
        options.tls = tls;
        let specs: Vec<NodeSpec> = (0..3).map(spec).collect();
        let created = init_cluster(&folder.0, &specs, &options)?;
        for node in &created.nodes {
            append(&node.config, configuration)?;
        }
        let nodes = created.nodes.iter().map(|node| LocalNode {
            name: node.spec.name.clone(),
            id: node.node_id,
            address: node.spec.client_address(),
            http_address: node.spec.http_address(),
            config: node.config.clone(),
            data: node.directory.join("data"),
            log: node.directory.join("log.txt"),
            process: None,
        });
        let nodes = nodes.collect();
        let token = read(&created.admin_token)?.trim().to_owned();
        let tls = match tls {
            TlsMode::Off => None,
            TlsMode::On => {
                let pem = read(&created.ca)?;
                let tls = ClientTls::new(pem.as_bytes(), None);
                Some(tls.map_err(|source| Failure::Serve(source.to_string()))?)
            }
        };
        let mut cluster = LocalCluster { folder, created, nodes, tls, token };
        for n in 0..cluster.nodes.len() {
            cluster.spawn(n)?;
        }
        cluster.leader(START_TIMEOUT).await?;
        cluster.license(&key, features).await?;
        Ok(cluster)
    }

    /// Starts the process of node `n`.
    pub fn spawn(&mut self, n: usize) -> Result<(), Failure> {
        let system = |what| move |source| Failure::System { what, source };
        let program = std::env::current_exe().map_err(system("cannot find this program"))?;
        let node = &mut self.nodes[n];
        let log = fs::OpenOptions::new().create(true).append(true).open(&node.log);
        let log = log.map_err(system("cannot write a node's log"))?;
        let process = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&node.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for the demo, not for its nodes.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        node.process = Some(process.map_err(system("cannot start a node"))?);
        Ok(())
    }

    /// Kills the process of node `n` with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self, n: usize) -> Result<(), Failure> {
        if let Some(mut process) = self.nodes[n].process.take() {
            let killed = process.kill().await;
            killed.map_err(|source| Failure::System { what: "cannot kill a node", source })?;
        }
        Ok(())
    }

    /// Lets node `n` stand still, as a host does that hangs: nothing of it is
    /// closed. [`LocalCluster::kill`] ends it all the same.
    pub fn freeze(&self, n: usize) -> Result<(), Failure> {
        self.send(n, Signal::STOP)
    }

    /// Asks node `n` to end, as for maintenance, and waits until it has.
    pub async fn stop(&mut self, n: usize) -> Result<(), Failure> {
        self.send(n, Signal::TERM)?;
        if let Some(mut process) = self.nodes[n].process.take() {
            let ended = process.wait().await;
            ended.map_err(|source| Failure::System { what: "cannot wait for a node", source })?;
        }
        Ok(())
    }

    fn send(&self, n: usize, signal: Signal) -> Result<(), Failure> {
        let process = self.nodes[n].process_id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(process) = process else { return Ok(()) };
        kill_process(process, signal).map_err(|error| Failure::System {
            what: "cannot send a signal to a node",
            source: error.into(),
        })
    }

    /// Which of the nodes has this id.
    pub fn position(&self, id: u64) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// The addresses of all nodes, for `TRIAD_SERVERS`.
    pub fn servers(&self) -> String {
        let addresses: Vec<&str> = self.nodes.iter().map(|node| node.address.as_str()).collect();
        addresses.join(",")
    }

    /// The authority's certificate, where TLS is on.
    pub fn ca(&self) -> &Path {
        &self.created.ca
    }

    /// The file with the administrator's token.
    pub fn token_file(&self) -> &Path {
        &self.created.admin_token
    }

    /// Where the nodes keep their files.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// How connections are encrypted, if they are.
    pub fn tls(&self) -> Option<ClientTls> {
        self.tls.clone()
    }

    /// A client library set up for this cluster.
    pub fn client(&self) -> ClientBuilder {
        let builder = Client::builder().servers(self.servers());
        match self.tls {
            Some(_) => builder.ca_file(self.ca()),
            None => builder.plaintext(),
        }
    }

    /// Waits until the running nodes follow one leader.
    pub async fn leader(&self, limit: Duration) -> Result<Sighting, Failure> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        while Instant::now() < deadline {
            seen.clear();
            for node in self.nodes.iter().filter(|node| node.process.is_some()) {
                seen.push(self.look(node).await);
            }
            if let [Some(first), ..] = seen.as_slice()
                && first.leader != 0
                && seen.iter().all(|s| s.as_ref().is_some_and(|s| s.leader == first.leader))
            {
                return Ok(first.clone());
            }
            sleep(LOOK_INTERVAL).await;
        }
        let mut what =
            format!("the nodes agree on no leader within {limit:?}; last seen: {seen:?}");
        // Their files go with this process.
        for node in &self.nodes {
            let log = fs::read(&node.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let last = log.lines().last().unwrap_or("nothing");
            what.push_str(&format!("; {} said last: {}", node.name, printable(last)));
        }
        Err(Failure::Serve(what))
    }

    async fn look(&self, node: &LocalNode) -> Option<Sighting> {
        let limit = Duration::from_millis(200);
        let asked = tokio::time::timeout(limit, self.status(node)).await;
        let status = asked.ok()?.ok()?;
        Some(Sighting { leader: status.leader_id, term: status.term })
    }

    /// Asks one node for its status.
    pub async fn status(&self, node: &LocalNode) -> Result<v1::StatusResponse, tonic::Status> {
        let mut admin = AdminServiceClient::new(self.channel(&node.address));
        Ok(admin.status(v1::StatusRequest {}).await?.into_inner())
    }

    /// Every checkout that the leader knows.
    pub async fn checkouts(&self) -> Result<Vec<v1::CheckoutInfo>, Failure> {
        let leader = self.leader(START_TIMEOUT).await?;
        let n = self.position(leader.leader).expect("a leader is one of the nodes");
        let mut admin = AdminServiceClient::new(self.channel(&self.nodes[n].address));
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListCheckoutsRequest {
                page_size: PAGE_ROWS,
                page_token,
                ..v1::ListCheckoutsRequest::default()
            };
            let answer = admin.list_checkouts(self.authorized(request)).await;
            let page = answer.map_err(refused)?.into_inner();
            all.extend(page.checkouts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// How many seats are in use of the features whose names begin with `prefix`,
    /// as the leader knows.
    pub async fn seats_in_use(&self, prefix: &str) -> Result<u64, Failure> {
        let leader = self.leader(START_TIMEOUT).await?;
        let n = self.position(leader.leader).expect("a leader is one of the nodes");
        let mut admin = AdminServiceClient::new(self.channel(&self.nodes[n].address));
        let (mut seats, mut page_token) = (0, String::new());
        loop {
            let page_size = PAGE_ROWS;
            let request = v1::ListFeaturesRequest { page_size, page_token, ..Default::default() };
            let answer = admin.list_features(self.authorized(request)).await;
            let page = answer.map_err(refused)?.into_inner();
            let wanted = page.pools.iter().filter(|pool| pool.feature.starts_with(prefix));
            seats += wanted.map(|pool| pool.seats_in_use).sum::<u64>();
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(seats);
            }
        }
    }

    async fn license(&self, key: &PublisherKey, features: &[Feature]) -> Result<(), Failure> {
        let today = Day::in_utc(clock::now_ms());
        let expires =
            today.and_then(|today| (0..LICENSE_DAYS).try_fold(today, |day, _| day.tomorrow()));
        let line = |feature: &Feature| {
            let mut line = DraftFeature::new(&feature.name, "2026.1", feature.seats);
            line.expires = expires;
            line
        };
        let draft = Draft {
            license: "demo".into(),
            publisher: "Triad demo".into(),
            serial: 1,
            zone: None,
            issued: today,
            notice: Some("accepted by the cluster it was made for and by no other".into()),
            binding: Binding::Cluster(self.created.cluster_id.to_string()),
            features: features.iter().map(line).collect(),
        };
        let text = issue(&draft.to_toml(), &[key]).map_err(|e| Failure::Serve(e.to_string()))?;
        let leader = self.leader(START_TIMEOUT).await?;
        let n = self.position(leader.leader).expect("a leader is one of the nodes");
        let mut admin = AdminServiceClient::new(self.channel(&self.nodes[n].address))
            .max_encoding_message_size(2 << 20);
        let request = || self.authorized(v1::ApplyLicenseRequest { text: text.clone() });
        // The node that leads may not have said so to its services yet.
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match admin.apply_license(request()).await {
                Ok(_) => return Ok(()),
                Err(status) if Instant::now() > deadline => return Err(refused(status)),
                Err(status) if v1::Refusal::from_status(&status).retryable => {
                    sleep(LOOK_INTERVAL).await;
                }
                Err(status) => return Err(refused(status)),
            }
        }
    }

    fn authorized<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse();
        let bearer = bearer.expect("a token is plain ASCII");
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    fn channel(&self, address: &str) -> tonic::transport::Channel {
        let network = std::sync::Arc::new(TcpNetwork::new());
        let parameters = ChannelParameters {
            host_port: address.to_owned(),
            connector: Connector::new(network, self.tls.clone()),
            traffic: Traffic::Clients,
            call_timeout: Some(Duration::from_secs(5)),
        };
        channel_lazy(parameters).expect("a loopback address is well formed")
    }
}

fn refused(status: tonic::Status) -> Failure {
    Failure::Refused(Box::new(v1::Refusal::from_status(&status)))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

fn append(path: &Path, text: &str) -> Result<(), Failure> {
    let whole = read(path)? + text;
    fs::write(path, whole).map_err(|source| Failure::Write { path: path.to_owned(), source })
}

fn publisher_key() -> Result<PublisherKey, Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| Failure::System {
        what: "the system gives no randomness",
        source: io::Error::other(error.to_string()),
    })?;
    Ok(PublisherKey::generate(random))
}

/// Where ports are looked for: below those that the system gives to connections, of which one could
/// be anybody's before the node has it, or while it is down.
const PORTS: std::ops::Range<u16> = 9_000..12_000;

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let system = |source| Failure::System { what: "no free port on 127.0.0.1", source };
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|error| system(io::Error::other(error.to_string())))?;
    let length = PORTS.end - PORTS.start;
    let begin = u16::from_ne_bytes(random) % length;
    let ports = (0..length).map(|n| PORTS.start + (begin + n) % length);
    // Held until all are found, so that each is found once.
    let bound = ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(count);
    let bound: Vec<TcpListener> = bound.collect();
    if bound.len() < count {
        return Err(system(io::ErrorKind::AddrInUse.into()));
    }
    bound.iter().map(|l| l.local_addr().map(|at| at.port()).map_err(system)).collect()
}
