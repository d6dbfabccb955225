//! What the nodes say of themselves at one moment.

use std::fmt;

use triad_proto::v1::{Role, StatusResponse};

/// One node's word, or why there is none.
pub type Sighting = Result<StatusResponse, String>;

/// What each node says, in the order of the nodes.
pub struct Sightings(pub Vec<Sighting>);

impl Sightings {
    /// The nodes that answer, with their places.
    pub fn answering(&self) -> impl Iterator<Item = (usize, &StatusResponse)> {
        self.0.iter().enumerate().filter_map(|(n, sighting)| Some((n, sighting.as_ref().ok()?)))
    }

    /// The node that leads: by its own word, confirmed by a quorum, and in no
    /// lower term than anybody knows of.
    pub fn leader(&self) -> Option<usize> {
        let newest = self.answering().map(|(_, status)| status.term).max()?;
        let leads = |status: &StatusResponse| {
            let confirmed = status.freshness.is_some_and(|freshness| freshness.linearizable);
            status.leader_id == status.node_id && status.term == newest && confirmed
        };
        self.answering().find(|(_, status)| leads(status)).map(|(n, _)| n)
    }

    /// The last entry that the node with this id has confirmed to who leads, and the last of
    /// the leader's own log.
    pub fn confirmed_by(&self, id: u64) -> Option<(u64, u64)> {
        let leader = self.0[self.leader()?].as_ref().ok()?;
        let index =
            |id| leader.nodes.iter().find(|node| node.node_id == id).map(|n| n.matched_index);
        Some((index(id)?, index(leader.node_id)?))
    }

    /// The leader, if `count` nodes answer and all of them follow it.
    pub fn agreed_leader(&self, count: usize) -> Option<usize> {
        let leader = self.leader()?;
        let id = self.0[leader].as_ref().ok()?.node_id;
        let agreed = self.answering().filter(|(_, status)| status.leader_id == id).count();
        (agreed == count).then_some(leader)
    }

    /// The one index and hash at which `count` nodes stand, if they stand at one
    /// index. Equal indexes with different hashes are a broken promise (P7).
    ///
    /// # Panics
    ///
    /// If two ledgers at one index differ.
    pub fn equal_ledgers(&self, count: usize) -> Option<(u64, String)> {
        let at = |status: &StatusResponse| {
            let index = status.freshness.map_or(0, |freshness| freshness.index);
            (index, status.state_hash.clone())
        };
        let all: Vec<_> = self.answering().map(|(_, status)| at(status)).collect();
        for (n, one) in all.iter().enumerate() {
            let differs = all[..n].iter().find(|other| other.0 == one.0 && other.1 != one.1);
            assert!(differs.is_none(), "ledgers differ at one index: {self}");
        }
        let first = all.first()?.clone();
        (all.len() == count && all.iter().all(|one| *one == first)).then_some(first)
    }
}

impl fmt::Display for Sightings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, sighting) in self.0.iter().enumerate() {
            match sighting {
                Err(error) => write!(f, "\n  node {}: {error}", n + 1)?,
                Ok(status) => {
                    let own = status.nodes.iter().find(|node| node.node_id == status.node_id);
                    let role = own.map_or(Role::Unspecified, |own| own.role());
                    let freshness = status.freshness.unwrap_or_default();
                    write!(
                        f,
                        "\n  node {}: {} term {} leader {} index {} {} quorum {} hash {} sessions \
                         {} checkouts {}",
                        status.node_id,
                        role.as_str_name().trim_start_matches("ROLE_"),
                        status.term,
                        status.leader_id,
                        freshness.index,
                        if freshness.linearizable { "linearizable" } else { "stale" },
                        status.has_quorum,
                        &status.state_hash.get(..8).unwrap_or_default(),
                        status.sessions,
                        status.checkouts,
                    )?;
                }
            }
        }
        Ok(())
    }
}
