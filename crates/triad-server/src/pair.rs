//! A main server and its back-up. The back-up mirrors the main's ledger. When the
//! main is silent and clients ask, it serves from its mirror, for as long as the
//! publisher allows; when the main is back, that takes over what was granted
//! meanwhile, and the back-up follows again.
//!
//! Two servers cannot tell a dead partner from one that is cut off. Where the
//! network between them is cut and clients reach both, both serve, and together
//! they may grant up to twice what is licensed. What they did is brought together
//! afterwards, and nobody loses a seat; a site that wants never to be oversold has
//! three nodes.
//!
//! ```text
//! back-up:  FOLLOWING -> ALONE -> HANDING_BACK -> FOLLOWING, with an empty log
//!                          \-> OVER (until the main asks)
//! main:     ASKING -> MAIN -> ASKING (a back-up that served is seen) -> MAIN
//! ```

mod backup;
mod main_server;
mod marks;
mod service;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;
use triad_proto::net::{
    ChannelParameters, ClientTls, Connector, SharedNetwork, Traffic, channel_lazy,
};
use triad_proto::v1::pair_service_client::PairServiceClient;
use triad_proto::v1::{PairPhase, PairStatus, Reason, Refusal};

use triad_raft::Leadership;

use crate::config::{Config, PairConfig, PairRole};
use crate::node::Node;

pub(crate) use marks::{begin_anew_if_asked, goes_on_alone};
pub(crate) use service::PairGate;

/// For how long a back-up serves at most if no license says otherwise.
const FAILOVER_HOURS_DEFAULT: u64 = 72;
const HOUR_MS: u64 = 3_600_000;
/// How often the partner is asked, and time is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long the partner may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// A client that asked so long ago asks no more.
const WANTED_FOR: Duration = Duration::from_secs(3);

/// The other server.
struct Partner {
    node_id: u64,
    name: String,
    client_address: String,
    client: PairServiceClient<Channel>,
}

/// What a server of a pair knows besides its ledger.
pub(crate) struct Pair {
    config: PairConfig,
    partner: Partner,
    phase: watch::Sender<PairPhase>,
    /// When a client last asked for what only a leader does.
    wanted: Mutex<Option<Instant>>,
    /// The process is to begin anew, as what its marks now say.
    again: watch::Sender<bool>,
    /// The main has looked for a back-up that served, since it started.
    has_asked: watch::Sender<bool>,
}

impl Pair {
    /// What the configuration says; `None` for a cluster of nodes that agree.
    pub(crate) fn new(
        config: &Config,
        network: SharedNetwork,
        tls: Option<&ClientTls>,
        alone: bool,
    ) -> Option<Arc<Pair>> {
        let pair = config.pair?;
        let (node_id, other) = config.nodes.iter().find(|(id, _)| **id != config.node_id)?;
        let tls = tls.map(|tls| tls.for_node(*node_id));
        let parameters = ChannelParameters {
            host_port: other.member.peer_address.clone(),
            connector: Connector::new(network, tls).with_connect_timeout(ASK_TIMEOUT),
            traffic: Traffic::Peers,
            call_timeout: None,
        };
        let channel =
            channel_lazy(parameters).expect("addresses are checked with the configuration");
        let phase = match pair.role {
            PairRole::Main => PairPhase::Asking,
            PairRole::Backup if alone => PairPhase::Alone,
            PairRole::Backup => PairPhase::Following,
        };
        Some(Arc::new(Pair {
            config: pair,
            partner: Partner {
                node_id: *node_id,
                name: other.member.name.clone(),
                client_address: other.member.client_address.clone(),
                client: PairServiceClient::new(channel).max_decoding_message_size(16 << 20),
            },
            phase: watch::Sender::new(phase),
            wanted: Mutex::new(None),
            again: watch::Sender::new(false),
            has_asked: watch::Sender::new(false),
        }))
    }

    /// How it stands.
    pub(crate) fn phase(&self) -> PairPhase {
        *self.phase.borrow()
    }

    fn enter(&self, phase: PairPhase) {
        let before = self.phase.send_replace(phase);
        if before != phase {
            tracing::warn!(from = before.as_str_name(), to = phase.as_str_name(), "the pair");
        }
    }

    /// Resolves when this server may not serve clients, even if it leads.
    pub(crate) async fn must_not_serve(&self) {
        let mut phase = self.phase.subscribe();
        let over = |phase: &PairPhase| !matches!(phase, PairPhase::Main | PairPhase::Alone);
        // The sender is borrowed, so it is there.
        let _ = phase.wait_for(over).await;
    }

    /// Resolves when the process is to begin anew.
    pub(crate) async fn again(&self) {
        let mut again = self.again.subscribe();
        let _ = again.wait_for(|again| *again).await;
    }

    /// A client asks for what only a leader does, and this does not lead.
    fn note_wanted(&self) {
        *self.wanted.lock().expect("no panic while held") = Some(Instant::now());
    }

    fn is_wanted(&self) -> bool {
        let wanted = *self.wanted.lock().expect("no panic while held");
        wanted.is_some_and(|at| at.elapsed() < WANTED_FOR)
    }

    /// How a client that this server does not serve is told so, where the pair
    /// knows better than consensus.
    pub(crate) fn refusal(&self, leadership: Leadership) -> Option<Refusal> {
        self.note_wanted();
        match self.phase() {
            PairPhase::Over => {
                let message = "the back-up has served for as long as the publisher allows; start \
                               the main server";
                Some(Refusal::because(Reason::FailoverOver, message))
            }
            // The main is there, or it would not have asked.
            PairPhase::HandingBack => {
                let message = format!("{} serves again", self.partner.name);
                let refusal = Refusal::because(Reason::NotLeader, message);
                Some(Refusal {
                    leader_address: self.partner.client_address.clone(),
                    leader_id: self.partner.node_id,
                    // What was closed here was closed by nobody who still ends sessions.
                    leader_term: leadership.term + 1,
                    ..refusal
                })
            }
            PairPhase::Following if leadership.leader.is_none() => {
                let message = format!(
                    "the main server {} is silent; its back-up serves when that has lasted for {:?}",
                    self.partner.name, self.config.takeover_after
                );
                Some(Refusal::because(Reason::NotReady, message).retry_after(LOOK_INTERVAL))
            }
            PairPhase::Asking => {
                let message = "the main server asks its back-up before it serves";
                Some(Refusal::because(Reason::NotReady, message).retry_after(LOOK_INTERVAL))
            }
            _ => None,
        }
    }

    /// For status and metrics.
    pub(crate) fn status(&self, node: &Node) -> PairStatus {
        let epoch = node.consensus.read(triad_ledger::Ledger::epoch);
        let serves = self.phase() == PairPhase::Alone;
        PairStatus {
            phase: self.phase().into(),
            partner_name: self.partner.name.clone(),
            epoch,
            serves_until_ms: if serves { serves_until_ms(node) } else { 0 },
        }
    }

    async fn ask_partner(&self) -> Result<triad_proto::v1::PairStateResponse, tonic::Status> {
        let mut client = self.partner.client.clone();
        let asked = client.pair_state(triad_proto::v1::PairStateRequest {});
        match tokio::time::timeout(ASK_TIMEOUT, asked).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(tonic::Status::deadline_exceeded("no answer in time")),
        }
    }
}

/// Until when a back-up serves that has begun to: the shortest time that a license
/// in force allows, or the site.
fn serves_until_ms(node: &Node) -> u64 {
    let of_site = node.config.pair.and_then(|pair| pair.failover_max);
    let of_site_ms = of_site.map(|max| max.as_millis() as u64);
    node.consensus.read(|ledger| {
        let hours = ledger.licenses().filter_map(|l| triad_license::failover_hours(&l.text));
        let hours = hours.map(u64::from).min().unwrap_or(FAILOVER_HOURS_DEFAULT);
        let (begun_ms, ..) = ledger.epoch_begun();
        begun_ms.saturating_add((hours * HOUR_MS).min(of_site_ms.unwrap_or(u64::MAX)))
    })
}

/// What has to be done before a leader of a pair serves its clients. `false`: not
/// yet, look again.
pub(crate) async fn before_serving(node: &Arc<Node>, pair: &Arc<Pair>) -> bool {
    match pair.config.role {
        PairRole::Main => main_server::before_serving(node, pair).await,
        PairRole::Backup => backup::before_serving(node, pair).await,
    }
}

/// Watches the partner until the node stops.
pub(crate) async fn watch(node: Arc<Node>, pair: Arc<Pair>) {
    match pair.config.role {
        PairRole::Main => main_server::watch(node, pair).await,
        PairRole::Backup => backup::watch(node, pair).await,
    }
}
