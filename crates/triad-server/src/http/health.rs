//! Whether the node lives, and whether it is of use.

use axum::extract::State;
use axum::http::StatusCode;

use super::Web;
use crate::node::Node;

impl Node {
    /// Whether this node is of use: it leads with a quorum, or hears who does.
    pub(crate) fn is_ready(&self) -> bool {
        match self.consensus.leadership().leader {
            None => false,
            Some(leader) if leader == self.consensus.node_id() => {
                self.leading_term().is_some() && self.consensus.quorum_is_fresh()
            }
            Some(_) => true,
        }
    }
}

/// It answers, so it lives.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// It is of use to clients, or says why it is not.
pub(super) async fn ready(State(web): State<Web>) -> (StatusCode, String) {
    let node = &web.node;
    let leader = node.consensus.leadership().leader;
    match leader {
        Some(leader) if node.is_ready() => {
            (StatusCode::OK, format!("ready: {} leads\n", node.name_of(leader)))
        }
        Some(_) => {
            let why = "not ready: this node leads, and has not confirmed it with a quorum yet\n";
            (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
        }
        None => {
            let since = node.leaderless_for().as_secs_f64();
            let why = format!("not ready: nobody has led for {since:.1} s\n");
            (StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}
