//! What becomes of packets from one host to another, as a table of nftables.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::network::Host;

/// The table that stands in the namespace of the bridge, and nothing beside it.
const TABLE: &str = "bridge faults";

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is dropped.
    Drop,
    /// So many of a hundred are dropped.
    Lose {
        /// Of a hundred.
        percent: u8,
    },
}

/// The fates that are not "it arrives", by sender and receiver.
#[derive(Default)]
pub struct Rules(BTreeMap<(Host, Host), Fate>);

impl Rules {
    /// From now on, and instead of what was said before.
    pub fn set(&mut self, from: Host, to: Host, fate: Fate) {
        self.0.insert((from, to), fate);
    }

    /// Everything arrives.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The whole table, for `nft -f`, which takes all of it or nothing. Address
    /// resolution is never dropped: a host that is cut off still has neighbours.
    pub fn to_nft(&self) -> String {
        // Named first, so that it can be deleted where it is not there yet.
        let mut text = format!("table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n");
        text.push_str(
            "  chain carried {\n    type filter hook forward priority 0; policy accept;\n",
        );
        for ((from, to), fate) in &self.0 {
            let verdict = match fate {
                Fate::Drop => "drop".to_owned(),
                Fate::Lose { percent } => format!("numgen random mod 100 < {percent} drop"),
            };
            let (from, to) = (from.address(), to.address());
            writeln!(text, "    ip saddr {from} ip daddr {to} {verdict}").expect("it is a string");
        }
        text.push_str("  }\n}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_each_direction() {
        let mut rules = Rules::default();
        rules.set(Host::Node(0), Host::Clients, Fate::Lose { percent: 30 });
        rules.set(Host::Node(0), Host::Clients, Fate::Drop);
        rules.set(Host::Clients, Host::Node(2), Fate::Lose { percent: 30 });
        let text = rules.to_nft();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("saddr")).collect();
        assert_eq!(
            lines,
            [
                "    ip saddr 10.77.0.1 ip daddr 10.77.0.100 drop",
                "    ip saddr 10.77.0.100 ip daddr 10.77.0.3 numgen random mod 100 < 30 drop",
            ]
        );
        rules.clear();
        assert!(!rules.to_nft().contains("saddr"));
    }
}
