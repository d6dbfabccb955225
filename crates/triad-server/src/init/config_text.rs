//! The text of a new node's `triad.toml`.

use std::fmt::Write as _;

use super::{InitOptions, TlsMode, admin_token_hash};
use crate::authority::Authority;
use crate::node_spec::NodeSpec;

/// The configuration of the node `node_id`, with comments that explain it.
pub(super) fn config_text(
    authority: &Authority,
    node_id: u64,
    nodes: &[NodeSpec],
    options: &InitOptions,
    token: &str,
) -> String {
    let own = (1..).zip(nodes).find(|(id, _)| *id == node_id).map(|(_, spec)| spec);
    let own = own.expect("a configuration is written for one of the nodes");
    let publisher_keys: Vec<_> = options.publisher_keys.iter().map(|key| quoted(key)).collect();
    let mode = match options.tls {
        TlsMode::On => "on",
        TlsMode::Off => "off",
    };
    let mut text = format!(
        r#"# Node {name} of a Triad cluster. Start it with
#     triad serve --config triad.toml
# Relative paths are relative to this file.

# The same on all nodes: the fingerprint of ca.pem. Licenses are bound to it.
cluster_id = {cluster_id}

# This node. Never give the id of a node that lost its data to its successor.
node_id = {node_id}
name = {name_quoted}
data_dir = {data_dir}
{pair}
# The publishers whose licenses are accepted (triad-publisher-public-v1:...).
# Nothing can be checked out before a key and a license are there.
publisher_keys = [{publisher_keys}]

# SHA-256 of the administrator's token, which was written to admin.token.
admin_token_sha256 = {token_hash}

# Where this node listens.
[listen]
clients = {client_listen}
peers = {peer_listen}
# Pages for browsers, and metrics. Without this line there are none.
http = {http_listen}

[tls]
# "off" is for benchmarks on loopback only: it sends tokens in plain text.
mode = "{mode}"
ca = "ca.pem"
certificate = "node.pem"
key = "node-key.pem"

# All nodes, by the addresses at which clients and the other nodes reach them.
"#,
        name = own.name,
        data_dir =
            quoted(&options.data_dir.as_ref().map_or("data".into(), |d| d.to_string_lossy())),
        pair = pair_text(node_id, options),
        name_quoted = quoted(&own.name),
        cluster_id = quoted(authority.cluster_id().as_str()),
        publisher_keys = publisher_keys.join(", "),
        token_hash = quoted(&admin_token_hash(token)),
        client_listen = quoted(&own.client_listen()),
        peer_listen = quoted(&own.peer_listen()),
        http_listen = quoted(&own.http_listen()),
    );
    for (id, node) in (1_u64..).zip(nodes) {
        let (name, clients) = (quoted(&node.name), quoted(&node.client_address()));
        let (peers, http) = (quoted(&node.peer_address()), quoted(&node.http_address()));
        write!(
            text,
            "[[node]]\nid = {id}\nname = {name}\nclients = {clients}\npeers = {peers}\n\
             http = {http}\n\n"
        )
        .expect("a String takes every write");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn pair_text(node_id: u64, options: &InitOptions) -> String {
    let role = match (options.pair, node_id) {
        (false, _) => return String::new(),
        (true, 1) => "main",
        (true, _) => "backup",
    };
    format!(
        "\n# Two servers that serve in turn. The back-up serves when the main has been silent\n\
         # for pair.takeover_after_ms (5000) and clients ask for it.\n\
         mode = \"pair\"\nrole = \"{role}\"\n"
    )
}

/// A TOML string, with everything escaped that needs it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
