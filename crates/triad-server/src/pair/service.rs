//! What the two servers of a pair ask each other, on the peers' port.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};
use triad_ledger::{Command, encode_commands};
use triad_proto::net::ConnectionInfo;
use triad_proto::v1;
use triad_proto::v1::pair_service_server::PairService;
use triad_proto::v1::{Reason, Refusal};

use super::{Pair, backup};
use crate::node::Node;

/// Answers the partner.
pub(crate) struct PairGate {
    pub(crate) node: Arc<Node>,
    pub(crate) pair: Arc<Pair>,
}

impl PairGate {
    /// Refuses everybody but the partner. Without TLS, on loopback, anybody.
    fn partner<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if self.node.config.tls.is_none() {
            return Ok(());
        }
        let info = request.extensions().get::<ConnectionInfo>();
        let identity = info.and_then(|info| info.identity.as_ref());
        let node = identity.and_then(|identity| identity.node.as_ref());
        let is_partner = node.is_some_and(|node| {
            node.cluster_id == self.node.config.cluster_id
                && node.node_id == self.pair.partner.node_id
        });
        if is_partner {
            return Ok(());
        }
        let message = "the caller is not the other server of this pair";
        Err(Refusal::because(Reason::WrongCluster, message).into_status())
    }
}

#[tonic::async_trait]
impl PairService for PairGate {
    async fn pair_state(
        &self,
        request: Request<v1::PairStateRequest>,
    ) -> Result<Response<v1::PairStateResponse>, Status> {
        self.partner(&request)?;
        let epoch = self.node.consensus.read(triad_ledger::Ledger::epoch);
        let phase = self.pair.phase().into();
        Ok(Response::new(v1::PairStateResponse { phase, epoch }))
    }

    type HandBackStream = BoxStream<'static, Result<v1::HandBackResponse, Status>>;

    async fn hand_back(
        &self,
        request: Request<v1::HandBackRequest>,
    ) -> Result<Response<Self::HandBackStream>, Status> {
        self.partner(&request)?;
        let parts = backup::hand_back(&self.node, &self.pair).await?;
        let parts = futures::stream::iter(parts).map(|takeover| {
            let command = encode_commands(&[Command::Adopt { takeover: Box::new(takeover) }]);
            Ok(v1::HandBackResponse { command })
        });
        Ok(Response::new(parts.boxed()))
    }

    async fn follow_again(
        &self,
        request: Request<v1::FollowAgainRequest>,
    ) -> Result<Response<v1::FollowAgainResponse>, Status> {
        self.partner(&request)?;
        let adopted_epoch = request.into_inner().adopted_epoch;
        backup::follow_again(&self.node, &self.pair, adopted_epoch)?;
        Ok(Response::new(v1::FollowAgainResponse {}))
    }
}
