//! Three nodes, the honest and the attacker; and how an attack is judged.

use std::fs;
use std::time::Duration;

use tokio::task::JoinSet;
use triad_proto::net::ClientTls;
use triad_proto::v1;
use triad_tests::cluster::FEATURE;
use triad_tests::node::raise_file_limit;
use triad_tests::{Cluster, Options, wait};

use crate::attacker::Attacker;
use crate::honest::Honest;
use crate::process::Uses;

/// Rounds that each honest client completes while an attack goes on.
const ROUNDS: u64 = 20;
/// How long it may take until an attack is under way, until one who comes new
/// is served, and until everything is released: connections that were accepted
/// are given up by the keepalive after 25 s.
const LIMIT: Duration = Duration::from_secs(45);
const NEWCOMERS_LEASE: Duration = Duration::from_secs(20);
/// More memory than this, on top of what it had, no attack makes a node use.
/// Measured: see docs/reference/limits.md.
const GROWTH_MAX_KIB: u64 = 256 << 10;
/// Files that come and go by themselves: log segments, the newcomers' sockets.
const FILES_SLACK: usize = 8;

/// Where it happens.
pub struct Arena {
    pub cluster: Cluster,
    pub honest: Honest,
    pub attacker: Attacker,
    pub tls: ClientTls,
    before: Vec<Uses>,
}

impl Arena {
    pub async fn open() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        raise_file_limit();
        // An attacker who takes both processors may cost elections, and no seat.
        let options = Options { lease: Duration::from_secs(120), ..options };
        let cluster = Cluster::start(options).await;
        let leader = cluster.settled().await;
        println!("node {} leads", cluster.nodes[leader].id);
        let tls = ClientTls::new(&fs::read(cluster.ca()).unwrap(), None).unwrap();
        let honest = Honest::start(&cluster, 3).await;
        honest.are_answered(ROUNDS).await;
        println!("{:24} {}", "before", honest.times());
        let mut arena =
            Arena { cluster, honest, attacker: Attacker::at(66, &tls), tls, before: vec![] };
        arena.before = arena.uses();
        arena
    }

    /// The clients' ports of all nodes.
    pub fn clients_ports(&self) -> Vec<String> {
        self.cluster.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// The peers' ports of all nodes.
    pub fn peers_ports(&self) -> Vec<String> {
        self.cluster.nodes.iter().map(|node| node.peer_address.clone()).collect()
    }

    /// The leader's port for clients.
    pub async fn leaders_port(&self) -> String {
        self.cluster.nodes[self.cluster.leader().await].address.clone()
    }

    fn uses(&mut self) -> Vec<Uses> {
        let ids = self.cluster.nodes.iter_mut().map(|node| {
            node.process_id().unwrap_or_else(|| panic!("{} has gone: {}", node.name, node.log()))
        });
        ids.map(Uses::of).collect()
    }

    /// Waits until `blows` blows have landed, lets the honest do their work
    /// meanwhile, ends the attack, and waits until nothing is left of it.
    pub async fn withstand(&mut self, name: &str, blows: u64, attack: JoinSet<()>) {
        let landed = self.attacker.blows() + blows;
        self.honest.times();
        let term = self.term().await;
        let look = async || match self.attacker.blows() {
            count if count >= landed => Ok(()),
            count => Err(format!("{} to go", landed - count)),
        };
        wait::until(&format!("{name}: the attack is under way"), LIMIT, look).await;
        self.honest.are_answered(ROUNDS).await;
        let tries = self.one_who_comes_new(name).await;
        let during = self.uses();
        drop(attack);
        let times = self.honest.times();
        let after = self.until_released(name).await;
        let most = |uses: &[Uses], of: fn(&Uses) -> u64| uses.iter().map(of).max().unwrap_or(0);
        println!(
            "{name:24} {times}; {} blows; newcomer {tries}; elections {}; MiB before {} during {} after {} peak {}; files {} {} {}",
            self.attacker.blows() + blows - landed,
            self.term().await - term,
            most(&self.before, |u| u.resident_kib) >> 10,
            most(&during, |u| u.resident_kib) >> 10,
            most(&after, |u| u.resident_kib) >> 10,
            most(&after, |u| u.peak_kib) >> 10,
            most(&self.before, |u| u.files as u64),
            most(&during, |u| u.files as u64),
            most(&after, |u| u.files as u64),
        );
        for (before, after) in self.before.iter().zip(&after) {
            let grown = after.peak_kib.saturating_sub(before.resident_kib);
            assert!(grown <= GROWTH_MAX_KIB, "{name}: {grown} KiB more at the peak: {after:?}");
        }
    }

    /// Goes up with every election.
    async fn term(&self) -> u64 {
        let sightings = self.cluster.sightings().await;
        sightings.answering().map(|(_, status)| status.term).max().unwrap_or(0)
    }

    /// Who comes while the attack goes on is served. With attacker, nodes and
    /// clients on two processors he may have to come again. Says how often he
    /// came.
    async fn one_who_comes_new(&self, name: &str) -> u32 {
        let mut tries = 0;
        let look = async || {
            tries += 1;
            // Who gave up before its opening was answered cannot close what may be open; that
            // stays for a lease, which is not the attacker's.
            let client = self.cluster.client().user("newcomer").lease(NEWCOMERS_LEASE);
            let client = client.build().unwrap();
            let served = async { client.checkout(FEATURE, "", 1).await?.give_back().await };
            let served = served.await.map_err(|error| error.to_string());
            client.close().await;
            served
        };
        wait::until(&format!("{name}: one who comes new is served"), LIMIT, look).await;
        tries
    }

    /// Every session that the leader knows of, for a message.
    async fn sessions(&self) -> Option<v1::ListSessionsResponse> {
        let leader = self.cluster.sightings().await.leader()?;
        let request = self.cluster.authorized(v1::ListSessionsRequest::default());
        let listed = self.cluster.admin(leader).list_sessions(request).await;
        Some(listed.ok()?.into_inner())
    }

    async fn until_released(&mut self, name: &str) -> Vec<Uses> {
        let honest = self.honest.sessions();
        let look = async || {
            let uses = self.uses();
            let more = self.before.iter().zip(&uses).any(|(b, a)| a.files > b.files + FILES_SLACK);
            let sightings = self.cluster.sightings().await;
            let sessions = sightings.answering().map(|(_, status)| status.sessions);
            let sessions: Vec<u64> = sessions.collect();
            match !more && sessions.iter().max() == Some(&honest) {
                true => Ok(uses),
                false => Err(format!(
                    "{sessions:?} sessions of {honest}, {uses:?}, before {:?}; {:?}",
                    self.before,
                    self.sessions().await,
                )),
            }
        };
        wait::until(&format!("{name}: everything is released"), LIMIT, look).await
    }
}
