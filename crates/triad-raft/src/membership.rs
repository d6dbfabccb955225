//! Who takes part, and how that changes while the cluster serves: a new node first learns what the
//! others know, then votes in the place of the one that leaves.
//!
//! A node that joins has an id that no node ever had. One that lost its data under its old id would
//! vote without the memory of what it promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _, Precondition};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use triad_ledger::Ledger;

use crate::consensus::{ClusterView, Consensus, MemberView, QUORUM_LEASE_MAX};
use crate::leadership::Leadership;
use crate::peers::Raft;
use crate::types::Member;

/// Three is the product; more than five votes are not worth waiting for.
const VOTERS_MAX: usize = 5;
/// A node with all but so many entries has caught up: the rest is sent with the next messages.
const NEARLY_ENTRIES: u64 = 256;
/// How often a change looks how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A node that has not answered the leader for this long does not count for a quorum.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);
/// How long the entries that change who votes may take. They need a quorum of the old and of the
/// new nodes, which was there a moment before.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A change of who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersChange {
    /// The node that joins, by an id that no node ever had.
    pub add: Option<(u64, Member)>,
    /// The node that leaves.
    pub remove: Option<u64>,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinProgress {
    /// The new node does not answer yet.
    Waiting,
    /// It has `matched` of the leader's `last` entries.
    CatchingUp {
        /// The last entry known to be on the new node.
        matched: u64,
        /// The last entry of the leader.
        last: u64,
    },
    /// It has nearly everything, and who votes is being changed.
    Voting,
}

/// Why who takes part was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// The change cannot be: the text says why.
    #[error("{0}")]
    Impossible(String),
    /// Too few nodes answer to change anything safely.
    #[error("{answering} of {voters} nodes answer, and {needed} are needed; nothing was changed")]
    NoQuorum {
        /// How many of the voters answer, the leader included.
        answering: usize,
        /// The voters, before or after the change.
        voters: usize,
        /// A majority of them.
        needed: usize,
    },
    /// The node that is to take part cannot apply what is agreed.
    #[error(
        "{name} runs an older version of Triad, which knows rules up to {known}, and rules \
         {in_use} are in use; it was not taken in"
    )]
    Outdated {
        /// The node.
        name: String,
        /// The newest rules that it knows.
        known: u32,
        /// The rules of the ledger.
        in_use: u32,
    },
    /// Another change is under way.
    #[error("another change of the nodes is under way")]
    Busy,
    /// It was not confirmed in time, or leadership was lost on the way. The same change again
    /// finds out, and completes it.
    #[error("the change was not confirmed in time; ask for it again")]
    Unknown,
}

impl Consensus {
    /// Changes who takes part, and tells how far it is as often as that changes, and at least
    /// every few hundred milliseconds. Waits for the new node as long as it takes.
    ///
    /// The change is complete when this returns `Ok`. Dropping the future before leaves a node
    /// that learns and does not vote; the same change again goes on from there.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. A leader cannot remove itself: it must hand over first.
    pub async fn change_members(
        &self,
        change: &MembersChange,
        mut tell: impl FnMut(JoinProgress),
    ) -> Result<(), ChangeError> {
        let raft = self.raft();
        loop {
            if !self.leadership().serving {
                return Err(ChangeError::NotLeader);
            }
            let view = self.view();
            let Some(voters) = self.voters_after(change, &view)? else {
                // It is in this node's log. It counts when it is in those of most.
                if members_are_agreed(raft) {
                    return Ok(());
                }
                sleep(LOOK_INTERVAL).await;
                continue;
            };
            if let Some((id, member)) = &change.add {
                let known = view.members.iter().find(|m| m.node_id == *id);
                match known {
                    None => {
                        enough_answer(&view, self.node_id(), &voters_now(&view), None)?;
                        completed(raft.add_learner(*id, member.clone(), false)).await?;
                        continue;
                    }
                    Some(joining) if !joining.is_voter => {
                        self.refuse_outdated(joining).await?;
                        let progress = progress(joining, &view);
                        tell(progress);
                        if progress != JoinProgress::Voting {
                            sleep(LOOK_INTERVAL).await;
                            continue;
                        }
                    }
                    Some(_) => {}
                }
            }
            let leaves = |member: &MemberView| Some(member.node_id) == change.remove;
            let learner = view.members.iter().find(|m| leaves(m) && !m.is_voter);
            if let Some(learner) = learner
                && !is_joint(raft)
            {
                self.forget_learner(learner.node_id).await?;
                continue;
            }
            // Who learns may be forgotten later, and nobody would know of the ids below its own.
            let staying = view.members.iter().filter(|member| !leaves(member) && member.is_voter);
            if change.remove.is_some() && highest_id(staying) < highest_id(&view.members) {
                self.keep_ids().await?;
                continue;
            }
            tell(JoinProgress::Voting);
            let joins = change.add.as_ref().map(|(id, _)| *id);
            enough_answer(&view, self.node_id(), &voters_now(&view), None)?;
            enough_answer(&view, self.node_id(), &voters, joins)?;
            completed(raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false))
                .await?;
            if let Some(gone) = change.remove {
                self.confirmed().forget(gone);
                self.peer_rules().forget(gone);
            }
        }
    }

    /// Writes down, with this node, that ids as high as that of the node which leaves were given;
    /// only while who takes part is what this node goes by.
    async fn keep_ids(&self) -> Result<(), ChangeError> {
        let (seen, own, ids_through) = {
            let metrics = self.raft().server_metrics();
            let metrics = metrics.borrow_watched();
            let members = &metrics.membership_config;
            let own = members.membership().get_node(&self.node_id()).cloned();
            let all = members.membership().nodes().map(|(id, member)| (*id, member));
            (*members.log_id(), own, Member::highest_id(all))
        };
        let member = Member { ids_through, ..own.ok_or(ChangeError::NotLeader)? };
        let change = ChangeMembers::SetNodes(BTreeMap::from([(self.node_id(), member)]));
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: seen };
        completed(self.raft().change_membership_if(change, false, [unchanged])).await
    }

    /// Whether there is anything to do for a change, and nothing against it.
    ///
    /// # Errors
    ///
    /// As [`Consensus::change_members`].
    pub fn is_due(&self, change: &MembersChange) -> Result<bool, ChangeError> {
        if !self.leadership().serving {
            return Err(ChangeError::NotLeader);
        }
        let view = self.view();
        if self.voters_after(change, &view)?.is_none() {
            return Ok(false);
        }
        enough_answer(&view, self.node_id(), &voters_now(&view), None).map(|()| true)
    }

    /// Lets a node learn what is agreed, without a vote. One that learns already is left alone.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub async fn teach(&self, node_id: u64, member: Member) -> Result<(), ChangeError> {
        let view = self.view();
        match view.members.iter().find(|known| known.node_id == node_id) {
            Some(known) => self.refuse_outdated(known).await,
            None => completed(self.raft().add_learner(node_id, member, false)).await,
        }
    }

    /// Lets a node learn no more that cannot apply what it learns. It says so when it is
    /// first reached, and stops by itself.
    async fn refuse_outdated(&self, learner: &MemberView) -> Result<(), ChangeError> {
        let in_use = self.read(Ledger::rules);
        let Some(known) = learner.rules.filter(|known| *known < in_use && !learner.is_voter) else {
            return Ok(());
        };
        self.forget_learner(learner.node_id).await?;
        Err(ChangeError::Outdated { name: learner.member.name.clone(), known, in_use })
    }

    /// Teaches a node no more that has no vote, and forgets what it confirmed and which rules it
    /// knows: it may come back with nothing, or as another version.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]; a node that votes is not forgotten.
    pub async fn forget_learner(&self, node_id: u64) -> Result<(), ChangeError> {
        let view = self.view();
        match view.members.iter().find(|known| known.node_id == node_id) {
            Some(known) if known.is_voter => {
                return Err(ChangeError::Impossible(format!("node {node_id} has a vote")));
            }
            Some(_) => {
                let change = ChangeMembers::RemoveNodes(BTreeSet::from([node_id]));
                completed(self.raft().change_membership(change, false)).await?;
            }
            None => {}
        }
        self.confirmed().forget(node_id);
        self.peer_rules().forget(node_id);
        Ok(())
    }

    /// Who votes after the change, `None` where that is so already.
    fn voters_after(
        &self,
        change: &MembersChange,
        view: &ClusterView,
    ) -> Result<Option<BTreeSet<u64>>, ChangeError> {
        let impossible = |what: String| Err(ChangeError::Impossible(what));
        if change.remove == Some(self.node_id()) {
            return Err(ChangeError::NotLeader);
        }
        let mut voters = target_voters(self.raft());
        let before = voters.clone();
        if let Some(leaving) = change.remove {
            voters.remove(&leaving);
        }
        if let Some((id, member)) = &change.add {
            let known = view.members.iter().find(|m| m.node_id == *id);
            match known {
                Some(known) if !known.member.is_same(member) => {
                    return impossible(format!(
                        "node {id} takes part already, as {} at {}",
                        known.member.name, known.member.peer_address
                    ));
                }
                None if *id < view.next_id() => {
                    return impossible(format!(
                        "node ids are never used again: the next one is {}",
                        view.next_id()
                    ));
                }
                _ => {}
            }
            let others = view
                .members
                .iter()
                .filter(|m| m.node_id != *id && Some(m.node_id) != change.remove);
            for other in others {
                let clash = [
                    (&other.member.name, &member.name),
                    (&other.member.peer_address, &member.peer_address),
                    (&other.member.client_address, &member.client_address),
                ];
                if let Some((taken, _)) = clash.into_iter().find(|(theirs, new)| theirs == new) {
                    return impossible(format!("{taken} belongs to node {}", other.node_id));
                }
            }
            voters.insert(*id);
        }
        if voters.is_empty() || voters.len() > VOTERS_MAX {
            return impossible(format!(
                "a cluster has 1 to {VOTERS_MAX} nodes; this would make it {}",
                voters.len()
            ));
        }
        let leaves = change.remove.is_some_and(|id| view.members.iter().any(|m| m.node_id == id));
        Ok((voters != before || leaves || is_joint(self.raft())).then_some(voters))
    }
}

impl ClusterView {
    /// The id of the next node that joins. One that had a vote and left has no successor of
    /// its id: what is left of it may still speak, and vote twice.
    pub fn next_id(&self) -> u64 {
        highest_id(&self.members) + 1
    }
}

/// The highest id that any of these has, or knows of.
fn highest_id<'a>(members: impl IntoIterator<Item = &'a MemberView>) -> u64 {
    Member::highest_id(members.into_iter().map(|m| (m.node_id, &m.member)))
}

fn voters_now(view: &ClusterView) -> BTreeSet<u64> {
    view.members.iter().filter(|m| m.is_voter).map(|m| m.node_id).collect()
}

/// Refuses a change that would wait for nodes which do not answer. `joins` was seen to answer.
fn enough_answer(
    view: &ClusterView,
    own: u64,
    voters: &BTreeSet<u64>,
    joins: Option<u64>,
) -> Result<(), ChangeError> {
    let answers = |id: &&u64| {
        let member = view.members.iter().find(|m| m.node_id == **id);
        let lately = member.and_then(|m| m.answered_ago).is_some_and(|ago| ago < ANSWER_AGE_MAX);
        **id == own || Some(**id) == joins || lately
    };
    let (answering, needed) = (voters.iter().filter(answers).count(), voters.len() / 2 + 1);
    if answering >= needed {
        return Ok(());
    }
    Err(ChangeError::NoQuorum { answering, voters: voters.len(), needed })
}

fn progress(joining: &MemberView, view: &ClusterView) -> JoinProgress {
    let answers = joining.answered_ago.is_some_and(|ago| ago < ANSWER_AGE_MAX);
    match joining.matched_index {
        Some(matched) if answers && matched + NEARLY_ENTRIES >= view.last_index => {
            JoinProgress::Voting
        }
        Some(matched) if answers => JoinProgress::CatchingUp { matched, last: view.last_index },
        _ if answers => JoinProgress::CatchingUp { matched: 0, last: view.last_index },
        _ => JoinProgress::Waiting,
    }
}

type Written = Result<
    openraft::raft::ClientWriteResponse<crate::types::TypeConfig>,
    RaftError<crate::types::TypeConfig, ClientWriteError<crate::types::TypeConfig>>,
>;

async fn completed(writing: impl Future<Output = Written>) -> Result<(), ChangeError> {
    match timeout(CHANGE_TIMEOUT, writing).await {
        Err(_) | Ok(Err(RaftError::Fatal(_))) => Err(ChangeError::Unknown),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            Err(ChangeError::NotLeader)
        }
        Ok(Err(RaftError::APIError(error))) => {
            tracing::warn!(%error, "who takes part was not changed");
            Err(ChangeError::Busy)
        }
    }
}

/// Who votes, or will once the change under way is complete.
fn target_voters(raft: &Raft) -> BTreeSet<u64> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let configs = metrics.membership_config.membership().get_joint_config();
    configs.last().cloned().unwrap_or_default()
}

fn is_joint(raft: &Raft) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.membership().get_joint_config().len() > 1
}

/// Whether the entry that says who takes part is applied, and so in the logs of a majority.
fn members_are_agreed(raft: &Raft) -> bool {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let said = metrics.membership_config.log_id().as_ref().map_or(0, |id| id.index());
    metrics.last_applied.as_ref().is_some_and(|id| id.index() >= said)
}

/// Completes what an earlier leader began: between the two steps of a change a quorum of the old
/// and of the new nodes is needed for everything, which is more than anyone should wait for.
pub(crate) async fn complete_changes(raft: Raft, mut leadership: watch::Receiver<Leadership>) {
    loop {
        let now = *leadership.borrow_and_update();
        if now.serving && is_joint(&raft) {
            // Whoever leads began it himself if he led when it began; he is given the time.
            sleep(LOOK_INTERVAL).await;
            if is_joint(&raft) {
                let target = target_voters(&raft);
                tracing::info!(voters = ?target, "completing a change of the nodes");
                let change = ChangeMembers::ReplaceAllVoters(target);
                let _ = completed(raft.change_membership(change, false)).await;
            }
        }
        let again = now.serving && is_joint(&raft);
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            () = sleep(LOOK_INTERVAL), if again => {}
        }
    }
}

/// The newest term in which a leader said that this node takes part no longer; 0 for none.
#[derive(Clone, Debug)]
pub(crate) struct Removed(Arc<watch::Sender<u64>>);

impl Default for Removed {
    fn default() -> Self {
        Removed(Arc::new(watch::Sender::new(0)))
    }
}

impl Removed {
    /// Who leads in `term` said so, or believes that he does.
    pub(crate) fn note(&self, term: u64) {
        self.0.send_if_modified(|newest| std::mem::replace(newest, term.max(*newest)) < term);
    }

    /// Resolves when it is so. A leader knows every change of the nodes that was committed before
    /// its term; one of an earlier term than the change that let this node in knows nothing of it,
    /// and is not believed.
    pub(crate) async fn for_good(&self, raft: &Raft) {
        let mut told = self.0.subscribe();
        let is_out = |term: &u64| *term > 0 && *term >= members_since(raft);
        // The sender is borrowed, so it is there.
        let _ = told.wait_for(is_out).await;
    }
}

/// The term of the entry that says who takes part, as far as this node has heard.
fn members_since(raft: &Raft) -> u64 {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.log_id().as_ref().map_or(0, |id| id.committed_leader_id().term)
}

/// The term in which this node leads, if it does and `node_id` takes no part. Who does not lead,
/// or has not heard from a quorum lately, may be behind, and must listen to a leader that it has
/// not heard of.
pub(crate) fn leads_without(raft: &Raft, own: u64, node_id: u64) -> Option<u64> {
    let acknowledged = raft.data_metrics().borrow_watched().last_quorum_acked;
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    // What is not agreed yet may never be: neither that a node is in, nor that it is out.
    let all = [&metrics.membership_config, &metrics.committed_membership_config];
    let is_out = acknowledged.is_some_and(|at| at.elapsed() < QUORUM_LEASE_MAX)
        && metrics.current_leader == Some(own)
        && all.into_iter().all(|config| config.get_node(&node_id).is_none());
    is_out.then_some(metrics.vote.leader_id.term)
}
