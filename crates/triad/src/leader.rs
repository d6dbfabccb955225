//! `triad leader transfer`: planned handover, as before maintenance.

use triad_proto::v1::{StatusRequest, TransferLeaderRequest};

use crate::args::LeaderVerb;
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::members::find;
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
        Some(name) => find(&status, name)?.node_id,
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
