//! `triad leader transfer`: planned handover, as before maintenance.

use triad_proto::v1::{StatusRequest, TransferLeaderRequest};

use crate::args::LeaderVerb;
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::text::printable;

/// Does what was asked with the leader.
pub async fn run(settings: &Settings, verb: LeaderVerb) -> Result<Exit, Failure> {
    let LeaderVerb::Transfer { to } = verb;
    let cluster = Cluster::new(settings)?;
    let status = cluster
        .read(async |admin: &mut Admin| Ok(admin.status(StatusRequest {}).await?.into_inner()))
        .await?
        .answer;
    let to_node_id = match &to {
        None => 0,
        Some(name) => {
            let named = |node: &&_| -> bool { is_named(node, name) };
            let node = status.nodes.iter().find(named).ok_or_else(|| {
                let names: Vec<_> = status.nodes.iter().map(|node| node.name.as_str()).collect();
                Failure::Usage {
                    what: format!("no node of the cluster is named {name:?}"),
                    remedy: format!("its nodes are {}", names.join(", ")),
                }
            })?;
            node.node_id
        }
    };
    let request = TransferLeaderRequest { to_node_id };
    let answer = cluster
        .write(async |admin: &mut Admin| Ok(admin.transfer_leader(request).await?.into_inner()))
        .await?
        .answer;
    settings.output.answer(&answer, || {
        let leader = status.nodes.iter().find(|node| node.node_id == answer.leader_id);
        let leader =
            leader.map_or_else(|| format!("node {}", answer.leader_id), |n| n.name.clone());
        format!("{} leads, term {}\n", printable(&leader), answer.term)
    })?;
    Ok(Exit::Ok)
}

fn is_named(node: &triad_proto::v1::NodeStatus, name: &str) -> bool {
    node.name == name || node.node_id.to_string() == name
}
