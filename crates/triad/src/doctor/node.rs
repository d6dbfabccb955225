//! The node on this machine: its files, its host id, its way to the others.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use triad_license::HostIdKind;
use triad_proto::identity::NodeIdentity;
use triad_proto::net::{Network as _, TcpNetwork};
use triad_server::Config;
use triad_server::certificates::{CertificateFiles, check_certificate_files};
use triad_server::hostids::of_this_machine;

use crate::concerns::Severity;

use super::Finding;

/// Peers are near; a port that needs longer is blocked.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at the node of this configuration.
pub async fn look(file: &Path, now: SystemTime) -> Vec<Finding> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            let error = error.to_string();
            let (what, remedy) = error.split_once("; ").unwrap_or((&error, "correct the file"));
            return vec![Finding::ill("config", Severity::Err, what, remedy)];
        }
    };
    let mut findings = vec![Finding::well("config", format!("{} is good", file.display()))];
    findings.push(certificates(&config, now));
    findings.push(hostid(&config));
    findings.push(data(&config));
    for (id, node) in &config.nodes {
        if *id != config.node_id {
            findings.push(peer(&node.member.name, &node.member.peer_address).await);
        }
    }
    findings
}

fn certificates(config: &Config, now: SystemTime) -> Finding {
    let Some(tls) = &config.tls else {
        return Finding::ill(
            "tls",
            Severity::Warn,
            "TLS is off",
            "make the cluster anew with `triad init`; off is for benchmarks on loopback",
        );
    };
    let files = CertificateFiles {
        ca: tls.ca.clone(),
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
    };
    let identity = NodeIdentity { cluster_id: config.cluster_id.clone(), node_id: config.node_id };
    match check_certificate_files(&files, &identity, now) {
        Ok(_) => Finding::well("tls", format!("{} is this node's", files.certificate.display())),
        Err(error) => {
            let error = error.to_string();
            let (what, remedy) =
                error.rsplit_once("; ").unwrap_or((&error, "copy the files again"));
            Finding::ill("tls", Severity::Err, what, remedy)
        }
    }
}

fn hostid(config: &Config) -> Finding {
    let found = of_this_machine();
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    let entry = config.nodes.get(&config.node_id).and_then(|node| node.hostid.as_ref());
    match entry {
        None => Finding::well("hostid", format!("none is asked for; this machine has {names}")),
        Some(wanted) if wanted.kind() == HostIdKind::String || found.contains(wanted) => {
            Finding::well("hostid", format!("{wanted} is this machine's"))
        }
        Some(wanted) => Finding::ill(
            "hostid",
            Severity::Err,
            format!("the license is for {wanted}, and this machine has {names}"),
            "move the node back, or ask the publisher for a license for this machine",
        ),
    }
}

fn data(config: &Config) -> Finding {
    let folder = &config.data_dir;
    match std::fs::read_dir(folder) {
        Ok(_) => Finding::well("data", format!("{} is there", folder.display())),
        Err(error) => Finding::ill(
            "data",
            Severity::Err,
            format!("{}: {error}", folder.display()),
            "mount it, or give it back to the user of the node; a node that lost its data is \
             replaced: `triad node replace`",
        ),
    }
}

async fn peer(name: &str, address: &str) -> Finding {
    let blocked = |what: String| {
        let remedy = "start the node there, and let the peers' port (27071) through in both \
                      directions";
        Finding::ill("peers", Severity::Err, what, remedy)
    };
    match timeout(PEER_TIMEOUT, TcpNetwork::new().connect(address)).await {
        Ok(Ok(_)) => Finding::well("peers", format!("{name} at {address} answers")),
        Ok(Err(error)) => blocked(format!("{name} at {address}: {error}")),
        Err(_) => blocked(format!("{name} at {address}: no answer")),
    }
}
