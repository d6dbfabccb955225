//! The administrator of the simulated site: installs the license, hands
//! leadership around, and compares what nodes say with what it must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use tonic::Request;
use tonic::transport::Channel;
use triad_proto::net::{ChannelParameters, Connector, SharedNetwork, Traffic, channel};
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;

use crate::cluster::{NODES, TOKEN, license};
use crate::oracle::Oracle;

const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Short, so that a leader is asked while it does not know yet that it is none.
const PAUSE: Duration = Duration::from_millis(24);

/// What the auditor and the run tell each other.
#[derive(Default)]
pub struct Blackboard {
    /// The license is in force.
    pub is_licensed: AtomicBool,
    /// Leadership is to be handed over.
    pub transfer: AtomicBool,
    /// When a node last gave a confirmed answer, ms.
    pub confirmed_ms: AtomicU64,
    pub now_ms: AtomicU64,
}

pub struct Auditor {
    pub seed: u64,
    pub network: SharedNetwork,
    pub oracle: Arc<Oracle>,
    pub board: Arc<Blackboard>,
}

type Admin = AdminServiceClient<Channel>;

impl Auditor {
    /// Asks each node for ever, and none the later because another is silent.
    pub async fn work(self) {
        let mut dice = StdRng::seed_from_u64(self.seed);
        let asking = NODES.map(|node| self.ask(node, StdRng::seed_from_u64(dice.random())));
        futures::future::join_all(asking).await;
    }

    async fn ask(&self, node: u64, mut dice: StdRng) {
        let mut admin = None;
        loop {
            let outcome = timeout(CALL_TIMEOUT, self.visit(node, &mut admin, &mut dice)).await;
            if !matches!(outcome, Ok(Ok(()))) {
                admin = None;
            }
            sleep(PAUSE).await;
        }
    }

    async fn visit(
        &self,
        node: u64,
        admin: &mut Option<Admin>,
        dice: &mut StdRng,
    ) -> Result<(), tonic::Status> {
        if admin.is_none() {
            *admin = Some(self.dial(node).await?);
        }
        let admin = admin.as_mut().expect("just dialled");
        if !self.board.is_licensed.load(Ordering::Relaxed) {
            return self.install(admin).await;
        }
        let newest = self.oracle.last_command();
        let status = admin.status(request(v1::StatusRequest {})).await?.into_inner();
        let freshness = status.freshness.unwrap_or_default();
        if freshness.linearizable {
            let now = self.board.now_ms.load(Ordering::Relaxed);
            self.board.confirmed_ms.store(now, Ordering::Relaxed);
            if freshness.index < newest {
                self.oracle.violated(format!(
                    "P6: node {node} calls its answer linearizable at {}, and {newest} was \
                     committed before it was asked",
                    freshness.index
                ));
            }
        }
        if self.board.transfer.swap(false, Ordering::Relaxed) {
            let to_node_id = if dice.random() { 0 } else { NODES[dice.random_range(0..3)] };
            let transfer = v1::TransferLeaderRequest { to_node_id };
            // Only the leader can; anybody may be asked.
            let _ = admin.transfer_leader(request(transfer)).await;
        }
        Ok(())
    }

    async fn install(&self, admin: &mut Admin) -> Result<(), tonic::Status> {
        admin.apply_license(request(v1::ApplyLicenseRequest { text: license() })).await?;
        self.board.is_licensed.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn dial(&self, node: u64) -> Result<Admin, tonic::Status> {
        let parameters = ChannelParameters {
            host_port: format!("node-{node}:27070"),
            connector: Connector::new(self.network.clone(), None),
            traffic: Traffic::Clients,
            call_timeout: None,
        };
        let channel = channel(parameters).await;
        let channel = channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        Ok(Admin::new(channel))
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer {TOKEN}").parse().expect("the token is plain ASCII");
    request.metadata_mut().insert("authorization", token);
    request
}
