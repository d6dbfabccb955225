//! Changing who takes part, as administrators ask for it.

use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use triad_ledger::Command;
use triad_proto::v1;
use triad_proto::v1::{JoinStage, Reason, Refusal};
use triad_raft::{ChangeError, JoinProgress, Member, MembersChange, ProposeError};

use crate::admin_service::{Admin, TRANSFER_TIMEOUT};
use crate::config::is_address;
use crate::convert;
use crate::node::Node;
use crate::node_spec::check_name;
use crate::tokens::{Principal, Role, confirmed_by_leader};

/// Tidings that wait for a slow administrator.
const TIDINGS_WAITING_MAX: usize = 4;

type Tidings = mpsc::Sender<Result<v1::ChangeMembersResponse, Status>>;

impl Admin {
    /// Notes that a node is drained, where this leads; drains it, where this is it.
    pub(crate) async fn drained(
        &self,
        by: &Principal,
        bearer_token: &str,
        request: v1::DrainNodeRequest,
    ) -> Result<v1::DrainNodeResponse, Refusal> {
        let node = &self.node;
        let (is_own, leads) =
            (request.node_id == node.consensus.node_id(), node.leading_term().is_some());
        if !is_own && !leads {
            return Err(node.not_leader());
        }
        let members = node.consensus.view().members;
        if !members.iter().any(|member| member.node_id == request.node_id) {
            let message = format!("node {} is not in this cluster", request.node_id);
            return Err(Refusal::because(Reason::InvalidRequest, message)
                .with_remedy("see \"triad node list\""));
        }
        if leads && !request.undo {
            let status = node.status(v1::Freshness::default(), String::new());
            others_who_can_lead(&status.nodes, request.node_id)?;
        }
        if !leads {
            // This node may be behind, and not know that the token was revoked.
            confirmed_by_leader(node, bearer_token, Role::Operator).await?;
        }
        if leads {
            let undo = if request.undo { " --undo" } else { "" };
            self.note_deed(by, format!("node drain {}{undo}", node.name_of(request.node_id)))
                .await?;
        }
        if is_own {
            node.consensus.drain(!request.undo);
            tracing::info!(drained = !request.undo, by = by.label, token = by.id, "drained");
            if leads && !request.undo && members.len() > 1 {
                let deadline = Instant::now() + TRANSFER_TIMEOUT;
                node.consensus.transfer(None, deadline).await.map_err(|error| {
                    node.consensus.drain(false);
                    nobody_takes_over(node, &error)
                })?;
            }
        }
        let leader_id = node.consensus.leadership().leader.unwrap_or(0);
        Ok(v1::DrainNodeResponse { done: is_own, noted: leads, leader_id })
    }

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
        let (tidings, told) = mpsc::channel(TIDINGS_WAITING_MAX);
        let mut stopping = node.watch_stopping();
        tokio::spawn(async move {
            tokio::select! {
                () = changed(&node, &by, &change, &tidings) => {}
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

/// The nodes that can lead while this one is drained, as the leader sees them.
///
/// # Errors
///
/// There would be none.
pub fn others_who_can_lead(
    nodes: &[v1::NodeStatus],
    node_id: u64,
) -> Result<Vec<&v1::NodeStatus>, Refusal> {
    let others = nodes.iter().filter(|node| node.node_id != node_id);
    let voters: Vec<_> = others.filter(|node| node.role() != v1::Role::Learner).collect();
    let can: Vec<_> = voters.iter().copied().filter(|n| n.reachable && !n.drained).collect();
    if !can.is_empty() {
        return Ok(can);
    }
    let named = |wanted: &dyn Fn(&v1::NodeStatus) -> bool| -> Vec<&str> {
        voters.iter().filter(|node| wanted(node)).map(|node| node.name.as_str()).collect()
    };
    let drained = named(&|node| node.drained);
    let away = named(&|node| !node.drained && !node.reachable);
    let are = |names: &[&str], one: &str, more: &str| {
        let verb = if names.len() == 1 { one } else { more };
        format!("{} {verb}, ", names.join(" and "))
    };
    let mut message = String::new();
    if !drained.is_empty() {
        message += &are(&drained, "is drained", "are drained");
    }
    if !away.is_empty() {
        message += &are(&away, "does not answer", "do not answer");
    }
    message += "nobody could lead";
    let remedy = match drained.first() {
        Some(name) => format!("let one lead again first: \"triad node drain {name} --undo\""),
        None => "see \"triad node list\"; start the others first".to_owned(),
    };
    Err(Refusal::because(Reason::InvalidRequest, message).with_remedy(remedy))
}

/// Changes, and tells of it. Whoever is behind with reading hears the next tiding.
async fn changed(node: &Node, by: &Principal, change: &MembersChange, tidings: &Tidings) {
    let last = match noted_and_changed(node, by, change, tidings).await {
        Ok(()) => {
            tracing::info!(?change, "the nodes were changed");
            Ok(v1::ChangeMembersResponse { stage: JoinStage::Done.into(), ..Default::default() })
        }
        Err(refusal) => {
            tracing::warn!(?change, %refusal, "the nodes were not changed");
            Err(refusal.into_status())
        }
    };
    let _ = tidings.send(last).await;
}

/// Notes who wants it first: what is done without a note would stay without one if
/// this node fell in between.
async fn noted_and_changed(
    node: &Node,
    by: &Principal,
    change: &MembersChange,
    tidings: &Tidings,
) -> Result<(), Refusal> {
    let refused = |error: ChangeError| refusal(node, &error);
    if node.consensus.is_due(change).map_err(refused)? {
        let what = convert::reason(&in_words(node, change))?;
        let noted = node.propose_by(by, Command::NoteDeed { what }).await?;
        if let Some(Err(denial)) = noted.answers.first() {
            return Err(convert::denial(denial));
        }
    }
    let told = |progress| {
        let _ = tidings.try_send(Ok(tiding(progress)));
    };
    node.consensus.change_members(change, told).await.map_err(refused)
}

fn nobody_takes_over(node: &Node, error: &ProposeError) -> Refusal {
    match error {
        ProposeError::NoQuorum if node.consensus.quorum_is_fresh() => {
            let message = "no other node can lead in its place, so it is not drained";
            Refusal::because(Reason::NotReady, message).with_remedy("see \"triad node list\"")
        }
        error => node.refusal(error),
    }
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
        ids_through: 0,
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
        ChangeError::Outdated { .. } => Refusal::because(Reason::InvalidRequest, error.to_string())
            .with_remedy(
                "install the version of Triad there that the other nodes run, start it, and ask \
                 again: see docs/how-to/upgrade.md",
            ),
        ChangeError::Busy => Refusal::because(Reason::Overloaded, error.to_string())
            .with_remedy("ask again in a few seconds"),
        ChangeError::Unknown => Refusal::because(Reason::Deadline, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_left_who_can_lead() {
        let node = |node_id, name: &str, reachable, drained| v1::NodeStatus {
            node_id,
            name: name.into(),
            reachable,
            drained,
            role: v1::Role::Follower.into(),
            ..Default::default()
        };
        let nodes =
            |a, b| [node(1, "a", a, false), node(2, "b", true, b), node(3, "c", true, true)];
        let of = |nodes: &[v1::NodeStatus], node_id| {
            let names = |can: Vec<&v1::NodeStatus>| can.iter().map(|n| n.name.clone()).collect();
            others_who_can_lead(nodes, node_id).map(names).map_err(|refusal| refusal.message)
        };
        let only = |name: &str| Ok(vec![name.to_owned()]);
        assert_eq!(of(&nodes(true, false), 2), only("a"));
        assert_eq!(of(&nodes(true, true), 3), only("a"), "it is drained already");
        let refused = |what: &str| Err(what.to_owned());
        assert_eq!(of(&nodes(true, true), 1), refused("b and c are drained, nobody could lead"));
        let last = of(&nodes(false, false), 2);
        assert_eq!(last, refused("c is drained, a does not answer, nobody could lead"));
        let mut two = vec![node(1, "a", true, false), node(2, "b", true, false)];
        two[0].role = v1::Role::Learner.into();
        assert_eq!(of(&two, 2), refused("nobody could lead"), "a learner does not lead");
    }
}
