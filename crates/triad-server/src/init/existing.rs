//! A cluster that was made before: whether it is the one that is asked for, so
//! that making it again changes nothing.

use std::path::Path;

use super::joining::authority;
use super::{Created, CreatedNode, InitError, InitOptions, TlsMode};
use crate::config::Config;
use crate::node_spec::NodeSpec;

/// The cluster that [`super::init_cluster`] made below `directory` before, if it
/// has these nodes in this order, and trusts the publishers of `options`; it may
/// trust more. `None` if there is none.
///
/// # Errors
///
/// [`InitError::Another`] names the first file that says otherwise.
pub fn existing_cluster(
    directory: &Path,
    nodes: &[NodeSpec],
    options: &InitOptions,
) -> Result<Option<Created>, InitError> {
    let ca = directory.join("ca/ca.pem");
    let admin_token = directory.join("admin.token");
    if !ca.exists() {
        return Ok(None);
    }
    let cluster_id = authority(&directory.join("ca"))?.cluster_id().clone();
    let another = |file: &Path, what: String| InitError::Another { file: file.to_owned(), what };
    if !admin_token.exists() {
        return Err(another(&admin_token, "it is not there".to_owned()));
    }
    let mut created = Vec::new();
    for (node_id, spec) in (1..).zip(nodes) {
        let home = directory.join(&spec.name);
        let file = home.join("triad.toml");
        let config = Config::load(&file).map_err(|error| another(&file, error.to_string()))?;
        if config.cluster_id != cluster_id {
            let what = format!("it is of cluster {}, not of {cluster_id}", config.cluster_id);
            return Err(another(&file, what));
        }
        if let Some(what) = difference(&config, node_id, nodes, options) {
            return Err(another(&file, what));
        }
        created.push(CreatedNode { node_id, spec: spec.clone(), directory: home, config: file });
    }
    Ok(Some(Created { cluster_id, ca, admin_token, nodes: created }))
}

/// What one node's configuration says otherwise than it is asked for.
fn difference(
    config: &Config,
    node_id: u64,
    nodes: &[NodeSpec],
    options: &InitOptions,
) -> Option<String> {
    if config.node_id != node_id {
        return Some(format!("it is node {}, not {node_id}", config.node_id));
    }
    if config.nodes.len() != nodes.len() {
        return Some(format!("it has {} nodes, not {}", config.nodes.len(), nodes.len()));
    }
    for ((id, entry), spec) in config.nodes.iter().zip(nodes) {
        let has = (&entry.member.name, &entry.member.client_address, &entry.member.peer_address);
        let (clients, peers) = (spec.client_address(), spec.peer_address());
        if has != (&spec.name, &clients, &peers) {
            let has = format!("{} at {} and {}", has.0, has.1, has.2);
            return Some(format!("node {id} is {has}, not {} at {clients} and {peers}", spec.name));
        }
    }
    let words = |is_so: bool| if is_so { "" } else { "not " };
    if config.pair.is_some() != options.pair {
        return Some(format!("it is {}one of a pair", words(config.pair.is_some())));
    }
    if config.tls.is_some() != (options.tls == TlsMode::On) {
        return Some(format!("its connections are {}encrypted", words(config.tls.is_some())));
    }
    let trusted: Vec<_> = config.publishers.keys().map(ToString::to_string).collect();
    let missing = options.publisher_keys.iter().find(|key| !trusted.contains(*key))?;
    Some(format!("publisher_keys has no {missing}"))
}
