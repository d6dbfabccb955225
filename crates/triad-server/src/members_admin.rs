//! Changing who takes part, as administrators ask for it.

use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use triad_proto::v1;
use triad_proto::v1::{JoinStage, Reason, Refusal};
use triad_raft::{ChangeError, JoinProgress, Member, MembersChange};

use crate::admin_service::{Admin, TRANSFER_TIMEOUT};
use crate::config::is_address;
use crate::node::Node;
use crate::node_spec::check_name;
use crate::tokens::Principal;

/// Tidings that wait for a slow administrator.
const TIDINGS_WAITING_MAX: usize = 4;

type Tidings = mpsc::Sender<Result<v1::ChangeMembersResponse, Status>>;

impl Admin {
    /// Starts a change, and tells how far it is. It ends with the stream.
    pub(crate) async fn change(
        &self,
        by: Principal,
        request: v1::ChangeMembersRequest,
    ) -> Result<BoxStream<'static, Result<v1::ChangeMembersResponse, Status>>, Refusal> {
        let node = self.node.clone();
        if node.leading_term().is_none() {
            return Err(node.not_leader());
        }
        let change = checked(request)?;
        if change.remove == Some(node.consensus.node_id()) {
            // Whoever leads next can be asked the same.
            let deadline = Instant::now() + TRANSFER_TIMEOUT;
            let moved = node.consensus.transfer(None, deadline).await;
            moved.map_err(|error| node.refusal(&error))?;
            return Err(node.not_leader());
        }
        self.note_deed(&by, in_words(&node, &change)).await?;
        let (tidings, told) = mpsc::channel(TIDINGS_WAITING_MAX);
        let mut stopping = node.watch_stopping();
        tokio::spawn(async move {
            tokio::select! {
                () = changed(&node, &change, &tidings) => {}
                () = tidings.closed() => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        });
        Ok(Box::pin(futures::stream::unfold(told, |mut told| async move {
            let tiding = told.recv().await?;
            Some((tiding, told))
        })))
    }
}

/// Changes, and tells of it. Whoever is behind with reading hears the next tiding.
async fn changed(node: &Node, change: &MembersChange, tidings: &Tidings) {
    let result = node
        .consensus
        .change_members(change, |progress| {
            let _ = tidings.try_send(Ok(tiding(progress)));
        })
        .await;
    let last = match result {
        Ok(()) => {
            tracing::info!(?change, "the nodes were changed");
            Ok(v1::ChangeMembersResponse { stage: JoinStage::Done.into(), ..Default::default() })
        }
        Err(error) => {
            tracing::warn!(?change, %error, "the nodes were not changed");
            Err(refusal(node, &error).into_status())
        }
    };
    let _ = tidings.send(last).await;
}

fn in_words(node: &Node, change: &MembersChange) -> String {
    let new = change.add.as_ref().map(|(id, member)| format!("{} (node {id})", member.name));
    match (new, change.remove.map(|id| node.name_of(id))) {
        (Some(new), Some(old)) => format!("node replace {old} with {new}"),
        (Some(new), None) => format!("node add {new}"),
        (None, Some(old)) => format!("node remove {old}"),
        (None, None) => "no change of nodes".to_owned(),
    }
}

fn tiding(progress: JoinProgress) -> v1::ChangeMembersResponse {
    let (stage, matched_index, last_index) = match progress {
        JoinProgress::Waiting => (JoinStage::Waiting, 0, 0),
        JoinProgress::CatchingUp { matched, last } => (JoinStage::CatchingUp, matched, last),
        JoinProgress::Voting => (JoinStage::Voting, 0, 0),
    };
    v1::ChangeMembersResponse { stage: stage.into(), matched_index, last_index }
}

fn checked(request: v1::ChangeMembersRequest) -> Result<MembersChange, Refusal> {
    let invalid = |what: String| Refusal::because(Reason::InvalidRequest, what);
    let remove = (request.remove_node_id != 0).then_some(request.remove_node_id);
    let Some(new) = request.add else {
        return match remove {
            None => Err(invalid("neither a node to add nor one to remove".to_owned())),
            remove => Ok(MembersChange { add: None, remove }),
        };
    };
    if new.node_id == 0 {
        return Err(invalid("add.node_id: node ids start at 1".to_owned()));
    }
    check_name(&new.name).map_err(|problem| invalid(format!("add.name: {problem}")))?;
    for (field, address) in
        [("client_address", &new.client_address), ("peer_address", &new.peer_address)]
    {
        if !is_address(address) {
            return Err(invalid(format!("add.{field}: addresses read host:port")));
        }
    }
    let member = Member {
        name: new.name,
        peer_address: new.peer_address,
        client_address: new.client_address,
    };
    Ok(MembersChange { add: Some((new.node_id, member)), remove })
}

fn refusal(node: &Node, error: &ChangeError) -> Refusal {
    match error {
        ChangeError::NotLeader => node.not_leader(),
        ChangeError::Impossible(what) => {
            Refusal::because(Reason::InvalidRequest, what).with_remedy("see \"triad node list\"")
        }
        ChangeError::NoQuorum { .. } => Refusal::because(Reason::NoQuorum, error.to_string())
            .with_remedy("see \"triad status\"; start the missing nodes or mend the network"),
        ChangeError::Busy => Refusal::because(Reason::Overloaded, error.to_string())
            .with_remedy("ask again in a few seconds"),
        ChangeError::Unknown => Refusal::because(Reason::Deadline, error.to_string()),
    }
}
