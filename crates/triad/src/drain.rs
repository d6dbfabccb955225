//! `triad node drain`: before work on a node, its leadership goes to another.

use serde_json::json;
use triad_proto::v1::{DrainNodeRequest, NodeStatus, Role, StatusRequest, StatusResponse};
use triad_server::others_who_can_lead;

use crate::args::nodes::DrainArguments;
use crate::cluster::{Admin, Cluster};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::members::find;
use crate::settings::Settings;
use crate::text::printable;

/// Drains a node, or ends that.
pub async fn run(settings: &Settings, arguments: &DrainArguments) -> Result<Exit, Failure> {
    let mut cluster = Cluster::new(settings)?;
    let status = cluster
        .read(async |admin: &mut Admin| Ok(admin.status(StatusRequest {}).await?.into_inner()))
        .await?
        .answer;
    let node = find(&status, &arguments.node)?.clone();
    if !arguments.undo || arguments.consent.dry_run {
        let plan = match arguments.undo {
            true => format!("{} may lead again: nothing changes for clients\n", node.name),
            false => plan(&status, &node)?,
        };
        demand_somebody_to_ask(arguments.consent)?;
        match consent(settings, arguments.consent, &plan)? {
            Consent::Given => {}
            Consent::Rehearsed => return Ok(Exit::Ok),
            Consent::Withheld => return Ok(Exit::Error),
        }
    }
    cluster.begin_anew();
    let request = DrainNodeRequest { node_id: node.node_id, undo: arguments.undo };
    let ask = async |admin: &mut Admin| Ok(admin.drain_node(request).await?.into_inner());
    // The leader notes it, the node does it; one may be the other.
    let noted = cluster.write(ask).await?.answer;
    let done = match noted.done {
        true => noted,
        false => cluster.at(&node.client_address, ask).await?,
    };
    let leader = status.nodes.iter().find(|other| other.node_id == done.leader_id);
    let leader = leader.map_or("nobody", |leader| leader.name.as_str());
    let value = json!({
        "node": node.name, "drained": !arguments.undo, "leaderId": done.leader_id.to_string(),
    });
    settings.output.answer(&value, || {
        let (name, leader) = (printable(&node.name), printable(leader));
        match arguments.undo {
            true => format!("{name} may lead again; {leader} leads\n"),
            false => format!(
                "{name} is drained; {leader} leads. It stays so until `triad node drain {name} \
                 --undo`, or until {name} is started again\n"
            ),
        }
    })?;
    Ok(Exit::Ok)
}

/// What draining does, and what it leaves.
fn plan(status: &StatusResponse, node: &NodeStatus) -> Result<String, Failure> {
    let can_lead = others_who_can_lead(&status.nodes, node.node_id).map_err(Failure::refused)?;
    let others: Vec<_> = status
        .nodes
        .iter()
        .filter(|other| other.node_id != node.node_id && other.role() != Role::Learner)
        .collect();
    let voters = others.len() + 1;
    let (well, away): (Vec<&NodeStatus>, Vec<&NodeStatus>) =
        others.into_iter().partition(|other| other.reachable);
    // Of the nodes that vote, so many must be there for anything to be granted.
    let quorum = voters / 2 + 1;
    let names: Vec<_> = can_lead.iter().map(|other| other.name.as_str()).collect();
    let mut text = match status.leader_id == node.node_id {
        true => format!(
            "{} leads: it hands leadership over, and its clients are told where to go; nobody \
             loses a seat\n",
            node.name
        ),
        false => format!("{} does not lead: nothing changes for clients\n", node.name),
    };
    text += &format!(
        "until it is undone or {} starts again, it does not lead; it goes on to vote. Only {} can \
         lead\n",
        node.name,
        names.join(" and ")
    );
    if !away.is_empty() {
        let names: Vec<_> = away.iter().map(|other| other.name.as_str()).collect();
        text += &format!("already away: {}\n", names.join(", "));
    }
    text += &match (well.len() >= quorum, well.len()) {
        (true, _) => format!("it may then be stopped: the others are {} of {voters}\n", well.len()),
        (false, left) => format!(
            "do not stop it: without it {left} of {voters} are left, and nothing is granted\n"
        ),
    };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node_id: u64, name: &str, reachable: bool) -> NodeStatus {
        let role = if reachable { Role::Follower } else { Role::Unreachable };
        NodeStatus {
            node_id,
            name: name.into(),
            reachable,
            role: role.into(),
            ..Default::default()
        }
    }

    #[test]
    fn whoever_drains_is_told_what_is_left() {
        let nodes = vec![node(1, "a", true), node(2, "b", true), node(3, "c", true)];
        let status = StatusResponse { leader_id: 2, nodes, ..StatusResponse::default() };
        let of = |status: &StatusResponse, n: usize| plan(status, &status.nodes[n]);
        let text = of(&status, 1).unwrap();
        assert!(text.starts_with("b leads: it hands leadership over"), "{text}");
        assert!(text.contains("Only a and c can lead"), "{text}");
        assert!(text.ends_with("the others are 2 of 3\n"), "{text}");
        assert!(of(&status, 0).unwrap().starts_with("a does not lead"));

        let nodes = vec![node(1, "a", true), node(2, "b", true), node(3, "c", false)];
        let text = of(&StatusResponse { nodes, ..status.clone() }, 1).unwrap();
        assert!(text.contains("already away: c"), "{text}");
        assert!(
            text.ends_with("do not stop it: without it 1 of 3 are left, and nothing is granted\n")
        );
        let mut nodes = vec![node(1, "a", true), node(2, "b", true), node(3, "c", true)];
        nodes[2].drained = true;
        let text = of(&StatusResponse { nodes: nodes.clone(), ..status.clone() }, 1).unwrap();
        assert!(text.contains("Only a can lead"), "{text}");
        assert!(text.ends_with("the others are 2 of 3\n"), "c still votes: {text}");
        nodes[0].drained = true;
        let refused = of(&StatusResponse { nodes, ..status.clone() }, 1).unwrap_err().to_string();
        assert_eq!(refused, "a and c are drained, nobody could lead");
        let alone = StatusResponse { nodes: vec![node(1, "a", true)], ..status };
        assert!(of(&alone, 0).is_err());
    }
}
