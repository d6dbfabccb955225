//! The gRPC service of applications. It decides nothing: it converts, asks, and
//! converts back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use triad_ledger::names::{CheckoutId, RequestId, SessionId};
use triad_ledger::{Command, Denial, Holder, Outcome};
use triad_proto::net::ConnectionInfo;
use triad_proto::v1;
use triad_proto::v1::licensing_service_server::LicensingService;
use triad_proto::v1::{Reason, Refusal};

use crate::convert;
use crate::node::Node;
use crate::session_stream::{SessionStream, position};

pub(crate) struct Licensing {
    pub(crate) node: Arc<Node>,
}

fn unanswered() -> Refusal {
    Refusal::because(Reason::Internal, "a command without an answer")
}

impl Licensing {
    async fn checkout_once(
        &self,
        message: v1::CheckoutRequest,
        address: Option<IpAddr>,
    ) -> Result<v1::CheckoutResponse, Refusal> {
        let session = convert::session_id(&message.session_id)?;
        let holder = convert::holder(message.holder, address)?;
        let items = convert::items(message.items)?;
        let request = convert::request_id(message.request_id)?;
        let lease_ms = self.open_for_checkout(session, holder, message.lease_ms).await?;
        let answered_through = RequestId(message.answered_through);
        let wait = convert::wait(message.wait);
        let wanted = items.clone();
        self.node.may_grant()?;
        let command = Command::Checkout { session, request, answered_through, items, wait };
        let committed = self.node.propose_for_client(vec![command]).await?;
        let position = Some(position(&committed));
        let answer = committed.answers.into_iter().next().ok_or_else(unanswered)?;
        let lease = Duration::from_millis(lease_ms);
        let (grant, queued) = match answer.map_err(|denial| self.node.denial(&denial))? {
            // Asked again for what has ended since: who cannot be told of the end later
            // is told now.
            Outcome::Granted(grant) if self.node.has_ended(grant.checkout) => {
                return Err(convert::denial(&Denial::CheckoutUnknown { checkout: grant.checkout }));
            }
            Outcome::Granted(grant) => (Some(convert::grant(grant)), None),
            Outcome::Queued { position: place } => {
                let estimate_ms = self.node.desk.estimate_ms(&wanted, place);
                let request_id = request.0;
                (None, Some(v1::Queued { request_id, position, place, estimate_ms }))
            }
            _ => return Err(convert::request_id_reused()),
        };
        let heartbeat_interval_ms = self.node.heartbeat(lease).as_millis() as u64;
        Ok(v1::CheckoutResponse { grant, position, lease_ms, heartbeat_interval_ms, queued })
    }

    async fn cancel_once(&self, message: v1::CancelRequest) -> Result<v1::CancelResponse, Refusal> {
        let command = Command::Cancel {
            session: convert::session_id(&message.session_id)?,
            request: convert::request_id(message.request_id)?,
            answered: false,
        };
        let committed = self.node.propose_for_client(vec![command]).await?;
        let position = Some(position(&committed));
        match committed.answers.into_iter().next().ok_or_else(unanswered)? {
            Ok(Outcome::Cancelled { was_queued }) => {
                Ok(v1::CancelResponse { was_waiting: was_queued, position })
            }
            other => unreachable!("a cancellation is not answered {other:?}"),
        }
    }

    /// Makes sure that the session is open, and says its lease. A session that
    /// is another holder's is not touched.
    async fn open_for_checkout(
        &self,
        session: SessionId,
        holder: Holder,
        lease_ms: u64,
    ) -> Result<u64, Refusal> {
        let lease = self.node.times().lease(Duration::from_millis(lease_ms));
        let suspicion = self.node.opening(session, lease, holder.address)?;
        let known = self.node.consensus.read(|ledger| {
            let open = ledger.session(session)?;
            // He may have come by another way since.
            let same = Holder { address: open.holder.address, ..holder.clone() } == *open.holder;
            Some((same, open.lease_ms))
        });
        if let Some((true, lease_ms)) = known
            && suspicion.is_none()
        {
            self.node.opened(session, Duration::from_millis(lease_ms), None);
            return Ok(lease_ms);
        }
        let lease_ms = lease.as_millis() as u64;
        let command = Command::Open { session, holder, lease_ms, resume: false };
        let committed = self.node.propose_opening(session, vec![command]).await?;
        let answer = committed.answers.into_iter().next().ok_or_else(unanswered)?;
        match answer.map_err(|denial| self.node.opening_denied(session, &denial))? {
            Outcome::Opened { lease_ms, .. } => {
                let lease = Duration::from_millis(lease_ms);
                self.node.opened(session, lease, suspicion);
                Ok(lease_ms)
            }
            other => unreachable!("an opening is not answered {other:?}"),
        }
    }

    async fn checkin_once(
        &self,
        message: v1::CheckinRequest,
    ) -> Result<v1::CheckinResponse, Refusal> {
        let command = Command::Checkin {
            session: convert::session_id(&message.session_id)?,
            request: convert::request_id(message.request_id)?,
            answered_through: RequestId(message.answered_through),
            checkout: CheckoutId(message.checkout_id),
        };
        let committed = self.node.propose_for_client(vec![command]).await?;
        let position = Some(position(&committed));
        let answer = committed.answers.into_iter().next().ok_or_else(unanswered)?;
        match answer.map_err(|denial| convert::denial(&denial))? {
            Outcome::Returned { was_held } => Ok(v1::CheckinResponse { was_held, position }),
            _ => Err(convert::request_id_reused()),
        }
    }

    async fn close_once(&self, session: SessionId) -> Result<(), Refusal> {
        self.node.propose_for_client(vec![Command::Close { session }]).await?;
        self.node.not_open(session);
        Ok(())
    }

    async fn heartbeat_once(&self, session: SessionId) -> Result<v1::HeartbeatResponse, Refusal> {
        if let Some(suspicion) = self.node.heard(session, Instant::now())? {
            self.node.unsuspect(suspicion).await?;
        }
        let lease =
            self.node.consensus.read(|ledger| ledger.session(session).map(|open| open.lease_ms));
        let lease_ms = lease.ok_or_else(|| self.node.session_unknown(session))?;
        Ok(v1::HeartbeatResponse { lease_ms })
    }
}

#[tonic::async_trait]
impl LicensingService for Licensing {
    type SessionStream = BoxStream<'static, Result<v1::SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        // Said before anything is read, so that a client looking for the leader loses no time.
        self.node.leads_soon().await.map_err(Refusal::into_status)?;
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        let (node, calls) = (self.node.clone(), request.into_inner());
        let stream = SessionStream::new(node, calls, connection.as_ref());
        Ok(Response::new(Box::pin(stream.into_stream())))
    }

    async fn checkout(
        &self,
        request: Request<v1::CheckoutRequest>,
    ) -> Result<Response<v1::CheckoutResponse>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>();
        let address = connection.map(|info| info.peer.ip());
        Ok(Response::new(self.checkout_once(request.into_inner(), address).await?))
    }

    async fn checkin(
        &self,
        request: Request<v1::CheckinRequest>,
    ) -> Result<Response<v1::CheckinResponse>, Status> {
        Ok(Response::new(self.checkin_once(request.into_inner()).await?))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let session = convert::session_id(&request.into_inner().session_id)?;
        Ok(Response::new(self.heartbeat_once(session).await?))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let session = convert::session_id(&request.into_inner().session_id)?;
        self.close_once(session).await?;
        Ok(Response::new(v1::CloseSessionResponse {}))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        Ok(Response::new(self.cancel_once(request.into_inner()).await?))
    }
}
