//! `triad init`: a new cluster on disk, and what to do next.

use std::fmt::Write as _;

use serde_json::json;
use triad_server::init::{Created, InitOptions, TlsMode, existing_cluster, init_cluster};

use crate::args::InitArguments;
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::license::keyring;
use crate::settings::Settings;

/// Makes the cluster, unless it was made before.
pub fn run(settings: &Settings, arguments: &InitArguments) -> Result<Exit, Failure> {
    let publisher_keys = keyring(&arguments.publisher_keys)?;
    let mut options = InitOptions::new(clock::now());
    options.publisher_keys = publisher_keys.keys().map(ToString::to_string).collect();
    options.pair = arguments.pair;
    options.data_dir.clone_from(&arguments.data_dir);
    if !settings.encrypted() {
        options.tls = TlsMode::Off;
    }
    let existing = existing_cluster(&arguments.dir, &arguments.nodes, &options)?;
    let is_changed = existing.is_none();
    let created = match existing {
        Some(existing) => existing,
        None => init_cluster(&arguments.dir, &arguments.nodes, &options)?,
    };
    let nodes: Vec<_> = created
        .nodes
        .iter()
        .map(|node| {
            json!({
                "nodeId": node.node_id.to_string(),
                "name": node.spec.name,
                "clientAddress": node.spec.client_address(),
                "peerAddress": node.spec.peer_address(),
                "config": node.config.display().to_string(),
            })
        })
        .collect();
    let value = json!({
        "changed": is_changed,
        "clusterId": created.cluster_id.as_str(),
        "ca": created.ca.display().to_string(),
        "adminToken": created.admin_token.display().to_string(),
        "nodes": nodes,
    });
    settings.output.answer(&value, || match is_changed {
        true => next_steps(&created, &options),
        false => format!("unchanged: cluster {} is there\n", created.cluster_id),
    })?;
    if options.tls == TlsMode::Off {
        settings.output.warn("without TLS the administrator's token travels in plain text");
    }
    Ok(Exit::Ok)
}

fn next_steps(created: &Created, options: &InitOptions) -> String {
    let mut text = format!("cluster {}\n\n", created.cluster_id);
    let mut step = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    for node in &created.nodes {
        let (home, host) = (node.directory.display(), &node.spec.host);
        step(format!("{home}  goes to {host}, whole, and nowhere else"));
    }
    step(format!("{}  is the administrator's", created.admin_token.display()));
    if let Some(home) = created.ca.parent() {
        step(format!("{}  stays offline; it is needed to replace a node", home.display()));
    }
    if options.publisher_keys.is_empty() {
        step(
            "\nNo publisher is trusted yet: fill in publisher_keys of each triad.toml.".to_owned(),
        );
    }
    step("\nStart each node, in any order:\n".to_owned());
    for node in &created.nodes {
        step(format!("  triad serve --config {}", node.config.display()));
    }
    let servers: Vec<_> = created.nodes.iter().map(|node| node.spec.client_address()).collect();
    step("\nThen look:\n".to_owned());
    step(format!("  export TRIAD_SERVERS={}", servers.join(",")));
    match options.tls {
        TlsMode::On => step(format!("  export TRIAD_CA={}", created.ca.display())),
        TlsMode::Off => step("  export TRIAD_TLS=off".to_owned()),
    }
    step(format!("  export TRIAD_TOKEN_FILE={}", created.admin_token.display()));
    step("  triad status".to_owned());
    text
}
