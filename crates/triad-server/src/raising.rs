//! Raising the rules of the log, once every node knows newer ones; and who keeps them
//! from it.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use triad_ledger::{Command, Ledger, rules_known};

use crate::node::Node;

/// How often the leader looks whether all nodes know newer rules. They say so when
/// they are first reached.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Raises the rules when that can be done, for as long as this node leads. It does not
/// return.
pub(crate) async fn run(node: &Node) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let in_use = node.consensus.read(Ledger::rules);
        if in_use >= rules_known() {
            break;
        }
        // Newer ones than this program knows are for a leader that knows them.
        let common = node.consensus.common_rules().map(|rules| rules.min(rules_known()));
        let Some(rules) = common.filter(|rules| *rules > in_use && is_whole(node)) else {
            continue;
        };
        match node.propose(vec![Command::RaiseRules { rules }]).await {
            Ok(_) => tracing::info!(rules, "every node knows the rules that are now in use"),
            Err(refusal) => tracing::warn!(%refusal, rules, "the rules are not raised yet"),
        }
    }
    std::future::pending().await
}

/// Of a pair both must be there: each may stand alone for a while, and is to be
/// understood by the other afterwards.
fn is_whole(node: &Node) -> bool {
    node.pair.is_none() || node.consensus.view().members.len() > 1
}

impl Node {
    /// Where this node leads and knows newer rules than are in use: the sentence that
    /// says who keeps them from being raised.
    pub(crate) fn unraised(&self) -> Option<String> {
        self.leading_term()?;
        let (in_use, newest) = (self.consensus.read(Ledger::rules), rules_known());
        let members = self.consensus.view().members;
        let older = members.iter().filter(|member| member.rules.is_some_and(|own| own < newest));
        let older: Vec<&str> = older.map(|member| member.member.name.as_str()).collect();
        (in_use < newest && !older.is_empty()).then(|| {
            format!(
                "Rules {in_use} of {newest} are in use: an older version runs on {}.",
                older.join(", ")
            )
        })
    }
}
