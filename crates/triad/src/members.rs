//! `triad node add`, `replace` and `remove`: changing who takes part while the
//! cluster serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use triad_proto::v1::{
    ChangeMembersRequest, ChangeMembersResponse, JoinStage, NewMember, NodeStatus, Reason, Refusal,
    Role, StatusRequest, StatusResponse,
};
use triad_server::config::Config;
use triad_server::init::{JoiningNode, init_joining, joining_directory};
use triad_server::node_spec::{NodeSpec, NodeSpecError};

use crate::args::nodes::{AddArguments, JoiningOptions, RemoveArguments, ReplaceArguments};
use crate::args::seats::ConsentOptions;
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::text::{counted, printable};
use crate::verdict::is_cut_off;

/// A leader tells how far it is several times a second.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Nobody is waited for who does not say how far it is for so long: a new leader
/// is there much earlier, if there are enough nodes for one.
const LEADERLESS_MAX: Duration = Duration::from_secs(10);
/// Before the leader is looked for again.
const PAUSE: Duration = Duration::from_millis(300);
/// Between two lines that say how far a node has caught up.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// How long to wait for a new node if nothing is said of it.
const JOIN_WAIT: Duration = Duration::from_secs(15 * 60);
/// How long to wait for what needs no new node.
const REMOVE_WAIT: Duration = Duration::from_secs(30);

/// Lets a new node join.
pub async fn add(settings: &Settings, arguments: &AddArguments) -> Result<Exit, Failure> {
    let status = status(settings).await?;
    let mut new = new_node(&status, arguments.node.clone(), None);
    if arguments.backup {
        return make_backup(settings, &status, &mut new, &arguments.joining);
    }
    join(settings, &status, new, None, &arguments.joining).await
}

/// Makes the directory of a back-up. The main server lets it follow by itself.
fn make_backup(
    settings: &Settings,
    status: &StatusResponse,
    new: &mut JoiningNode,
    options: &JoiningOptions,
) -> Result<Exit, Failure> {
    if status.nodes.len() != 1 {
        return Err(Failure::Usage {
            what: format!(
                "a back-up is for a single node, and this cluster has {}",
                status.nodes.len()
            ),
            remedy: "let it join as a node with a vote: without --backup".to_owned(),
        });
    }
    new.is_backup = true;
    let made = init_joining(&options.dir, &like(options, status)?, new)?;
    let (name, id, spec) = (&new.spec.name, new.node_id, &new.spec);
    let value = json!({ "event": "prepared", "nodeId": id.to_string(),
        "config": made.config.display().to_string() });
    settings.output.answer(&value, || {
        format!(
            "{}  goes to {}, whole, and nowhere else. Start it there:\n\n  triad serve --config {}\n\n\
             Then tell the other node in its triad.toml that it is the main server, and start it \
             again:\n\n  mode = \"pair\"\n  role = \"main\"\n\n  [[node]]\n  id = {id}\n  \
             name = \"{name}\"\n  clients = \"{}\"\n  peers = \"{}\"\n",
            made.directory.display(),
            spec.host,
            made.config.display(),
            spec.client_address(),
            spec.peer_address(),
        )
    })?;
    Ok(Exit::Ok)
}

/// Gives a node a vote that follows.
pub async fn promote(settings: &Settings, name: &str) -> Result<Exit, Failure> {
    let status = status(settings).await?;
    let node = find(&status, name)?.clone();
    let add = Some(NewMember {
        node_id: node.node_id,
        name: node.name.clone(),
        client_address: node.client_address.clone(),
        peer_address: node.peer_address.clone(),
    });
    let request = ChangeMembersRequest { add, remove_node_id: 0 };
    change(settings, &request, REMOVE_WAIT, |_| ()).await?;
    let value = json!({ "event": "joined", "nodeId": node.node_id.to_string() });
    settings.output.answer(&value, || {
        format!("node {} ({}) has a vote\n", node.node_id, printable(&node.name))
    })?;
    Ok(Exit::Ok)
}

/// Puts a new node in the place of another.
pub async fn replace(settings: &Settings, arguments: &ReplaceArguments) -> Result<Exit, Failure> {
    let status = status(settings).await?;
    let old = find(&status, &arguments.node)?.clone();
    demand_somebody_to_ask(arguments.consent)?;
    let spec = match &arguments.with {
        Some(spec) => spec.clone(),
        None => same_place(&old)?,
    };
    let new = new_node(&status, spec, Some(&old));
    let plan = format!(
        "node {} ({}) leaves the cluster for good, and node {} ({} at {}) takes its place.\n\
         Its data is not used again; nobody loses a seat.\n{}",
        old.node_id,
        old.name,
        new.node_id,
        new.spec.name,
        new.spec.client_address(),
        if is_away(&old) { "" } else { "It takes part now: this stops it.\n" },
    );
    if let Some(exit) = withheld(settings, arguments.consent, &plan)? {
        return Ok(exit);
    }
    join(settings, &status, new, Some(&old), &arguments.joining).await
}

/// Takes a node out.
pub async fn remove(settings: &Settings, arguments: &RemoveArguments) -> Result<Exit, Failure> {
    let status = status(settings).await?;
    let old = find(&status, &arguments.node)?.clone();
    let plan = removal(&status, &old, arguments.force, arguments.consent.dry_run)?;
    demand_somebody_to_ask(arguments.consent)?;
    if let Some(exit) = withheld(settings, arguments.consent, &plan)? {
        return Ok(exit);
    }
    let request = ChangeMembersRequest { add: None, remove_node_id: old.node_id };
    change(settings, &request, REMOVE_WAIT, |_| ()).await?;
    let value = json!({ "removed": old.node_id.to_string() });
    settings.output.answer(&value, || {
        format!(
            "node {} ({}) takes part no longer; stop it for good, and remove its data\n",
            old.node_id,
            printable(&old.name)
        )
    })?;
    Ok(Exit::Ok)
}

/// What taking a node out leaves, in words; or why it is refused.
fn removal(
    status: &StatusResponse,
    old: &NodeStatus,
    force: bool,
    dry_run: bool,
) -> Result<String, Failure> {
    let name = &old.name;
    let before: Vec<&NodeStatus> =
        status.nodes.iter().filter(|node| node.role() != Role::Learner).collect();
    let stays = |node: &&NodeStatus| node.node_id != old.node_id;
    let after: Vec<&NodeStatus> = before.iter().copied().filter(stays).collect();
    let silent = |nodes: &[&NodeStatus]| -> Vec<String> {
        let silent = nodes.iter().filter(|node| is_cut_off(status, node));
        silent.map(|node| printable(&node.name)).collect()
    };
    let (away, still_away) = (silent(&before), silent(&after));
    let quorum = after.len() / 2 + 1;
    let answering = after.len() - still_away.len();
    if after.is_empty() {
        return Err(Failure::Usage {
            what: format!("{} is the only node with a vote", printable(name)),
            remedy: "let another join first: `triad node add`".to_owned(),
        });
    }
    // The leader refuses it too, and --force does not make them answer.
    if answering < quorum {
        let message = format!(
            "without {} {answering} of {} would answer, and {quorum} must: {}",
            printable(name),
            counted(after.len() as u64, "node"),
            who_is_silent(&still_away)
        );
        let remedy = format!("start {} first, or see `triad status`", still_away.join(" and "));
        let refusal = Refusal::because(Reason::NoQuorum, message).with_remedy(remedy);
        return Err(Failure::refused(refusal));
    }
    let survives = |failures: usize| match failures {
        0 => "no failure of a node".to_owned(),
        1 => "the failure of one node".to_owned(),
        more => format!("the failure of {more} nodes"),
    };
    // A cluster of n goes on without (n - 1) / 2 of its nodes, if all are there.
    let (whole_before, whole_after) = ((before.len() - 1) / 2, (after.len() - 1) / 2);
    let is_weaker = whole_after < whole_before && !force;
    if is_weaker && !dry_run {
        let now = match away.as_slice() {
            [] => format!("now it survives {}", survives(whole_before)),
            away => {
                let whole = survives(whole_before);
                format!("whole, it survives {whole}; {}", who_is_silent(away))
            }
        };
        return Err(Failure::Usage {
            what: format!(
                "without {} the cluster would survive {}, and {now}",
                printable(name),
                survives(answering - quorum)
            ),
            remedy: "put another in its place with `triad node replace`, or give --force"
                .to_owned(),
        });
    }
    let mut plan = format!(
        "node {} ({name}) leaves the cluster for good; {} will take part, which survive {}.\n",
        old.node_id,
        counted(after.len() as u64, "node"),
        survives(answering - quorum)
    );
    let state = if away.is_empty() { "Now" } else { "Whole," };
    if !away.is_empty() {
        plan += &format!("{}.\n", who_is_silent(&away));
    }
    if is_weaker {
        plan += &format!(
            "{state} it survives {}: without --force this is refused. `triad node replace` puts \
             another in its place.\n",
            survives(whole_before)
        );
    }
    Ok(plan)
}

/// `b does not answer`, `b and c do not answer`.
fn who_is_silent(names: &[String]) -> String {
    let verb = if names.len() == 1 { "does" } else { "do" };
    format!("{} {verb} not answer", names.join(" and "))
}

/// How the command ends, unless it is to be done.
fn withheld(
    settings: &Settings,
    options: ConsentOptions,
    plan: &str,
) -> Result<Option<Exit>, Failure> {
    Ok(match consent(settings, options, plan)? {
        Consent::Given => None,
        Consent::Rehearsed => Some(Exit::Ok),
        Consent::Withheld => Some(Exit::Error),
    })
}

async fn status(settings: &Settings) -> Result<StatusResponse, Failure> {
    let asked = Cluster::new(settings)?
        .write(async |admin: &mut Admin| Ok(admin.status(StatusRequest {}).await?.into_inner()))
        .await?;
    Ok(asked.answer)
}

/// The node of this name or id.
pub fn find<'a>(status: &'a StatusResponse, name: &str) -> Result<&'a NodeStatus, Failure> {
    // While a node is replaced there may be two of one name; the older leaves.
    let named = status.nodes.iter().filter(|n| n.name == name || n.node_id.to_string() == name);
    named.min_by_key(|node| node.node_id).ok_or_else(|| {
        let names: Vec<_> = status.nodes.iter().map(|node| node.name.as_str()).collect();
        Failure::Usage {
            what: format!("no node of the cluster is named {name:?}"),
            remedy: format!("its nodes are {}", names.join(", ")),
        }
    })
}

fn is_away(node: &NodeStatus) -> bool {
    matches!(node.role(), Role::Unreachable | Role::Unspecified)
}

fn spec_of(node: &NodeStatus) -> Result<NodeSpec, Failure> {
    let (clients, peers) = (&node.client_address, &node.peer_address);
    let peer_port = peers.rsplit_once(':').map_or("", |(_, port)| port);
    let text = format!("{}={clients}/{peer_port}", node.name);
    text.parse().map_err(|error: NodeSpecError| Failure::Usage {
        what: format!("node {}: {error}", node.node_id),
        remedy: "say where the new node is: --with NAME=HOST:PORT".to_owned(),
    })
}

fn same_place(node: &NodeStatus) -> Result<NodeSpec, Failure> {
    let spec = spec_of(node)?;
    match spec.peer_address() == node.peer_address {
        true => Ok(spec),
        false => Err(Failure::Usage {
            what: format!(
                "node {} has one host for clients ({}) and another for peers ({})",
                node.node_id, node.client_address, node.peer_address
            ),
            remedy: "say where the new node is: --with NAME=HOST:PORT".to_owned(),
        }),
    }
}

/// A node that joins, by the next id or by the one that it has been given before.
fn new_node(status: &StatusResponse, spec: NodeSpec, old: Option<&NodeStatus>) -> JoiningNode {
    let newest = status.nodes.iter().max_by_key(|node| node.node_id);
    let begun = status.nodes.iter().find(|node| {
        node.role() == Role::Learner
            && node.name == spec.name
            && node.client_address == spec.client_address()
    });
    let node_id = match begun {
        Some(begun) => begun.node_id,
        None => status.next_node_id.max(newest.map_or(0, |node| node.node_id) + 1),
    };
    let stay = |node: &&NodeStatus| {
        node.node_id != node_id && old.is_none_or(|old| old.node_id != node.node_id)
    };
    let others = status.nodes.iter().filter(stay);
    let others = others.filter_map(|node| Some((node.node_id, spec_of(node).ok()?))).collect();
    JoiningNode { node_id, spec, others, now: clock::now(), is_backup: false }
}

async fn join(
    settings: &Settings,
    status: &StatusResponse,
    new: JoiningNode,
    old: Option<&NodeStatus>,
    options: &JoiningOptions,
) -> Result<Exit, Failure> {
    let directory = joining_directory(&options.dir, new.node_id, &new.spec.name);
    let config = directory.join("triad.toml");
    // Made by an earlier run of the same command, which did not come to its end.
    let is_there = Config::load(&config).is_ok_and(|made| made.node_id == new.node_id);
    if !is_there {
        init_joining(&options.dir, &like(options, status)?, &new)?;
    }
    let id = new.node_id;
    let told = |event: &str| json!({ "event": event, "nodeId": id.to_string(), "config": config.display().to_string() });
    settings.output.notice(&format!(
        "{}  goes to {}, whole, and nowhere else. Start it there:\n\n  triad serve --config {}\n\n",
        directory.display(),
        new.spec.host,
        config.display()
    ));
    if options.prepare {
        settings.output.answer(&told("prepared"), || {
            "Then give this command again without --prepare.\n".to_owned()
        })?;
        return Ok(Exit::Ok);
    }
    let request = ChangeMembersRequest {
        add: Some(NewMember {
            node_id: id,
            name: new.spec.name.clone(),
            client_address: new.spec.client_address(),
            peer_address: new.spec.peer_address(),
        }),
        remove_node_id: old.map_or(0, |old| old.node_id),
    };
    let wait = options.wait.or_else(|| settings.timeout_given()).unwrap_or(JOIN_WAIT);
    let mut teller = Teller { node_id: id, new: &new.spec, last: None, progress: None };
    let changed = change(settings, &request, wait, |progress| {
        if let Some(line) = teller.line(progress) {
            settings.output.notice(&line);
        }
    })
    .await;
    changed.map_err(|failure| match failure {
        Failure::TimedOut { .. } => teller.not_yet(wait, &config),
        failure => failure,
    })?;
    settings.output.answer(&told("joined"), || {
        let mut text = format!("node {id} ({}) takes part\n", new.spec.name);
        if let Some(old) = old {
            text += &format!(
                "node {} ({}) takes part no longer; if it runs, stop it for good\n",
                old.node_id,
                printable(&old.name)
            );
        }
        text
    })?;
    Ok(Exit::Ok)
}

fn like(options: &JoiningOptions, status: &StatusResponse) -> Result<PathBuf, Failure> {
    match &options.like {
        Some(file) => Ok(file.clone()),
        None => first_config(&options.dir, status),
    }
}

/// The configuration of the first of the cluster's nodes that is below `dir`.
fn first_config(dir: &Path, status: &StatusResponse) -> Result<PathBuf, Failure> {
    let mut homes = status
        .nodes
        .iter()
        .flat_map(|node| [joining_directory(dir, node.node_id, &node.name), dir.join(&node.name)]);
    let found = homes.find_map(|home| {
        let file = home.join("triad.toml");
        file.is_file().then_some(file)
    });
    found.ok_or_else(|| Failure::Usage {
        what: format!("no triad.toml of a node of this cluster is below {}", dir.display()),
        remedy: "give the triad.toml of any of its nodes with --like FILE".to_owned(),
    })
}

/// Says how far a change is, in lines for a person.
struct Teller<'a> {
    node_id: u64,
    new: &'a NodeSpec,
    last: Option<(JoinStage, Instant)>,
    /// What was heard last.
    progress: Option<ChangeMembersResponse>,
}

impl Teller<'_> {
    fn line(&mut self, progress: &ChangeMembersResponse) -> Option<String> {
        self.progress = Some(*progress);
        let (stage, now) = (progress.stage(), Instant::now());
        let is_new = self.last.is_none_or(|(last, _)| last != stage);
        let is_due = self.last.is_some_and(|(_, at)| now - at >= PROGRESS_INTERVAL);
        let name = format!("node {} ({})", self.node_id, self.new.name);
        let line = match stage {
            JoinStage::Waiting if is_new => {
                format!("waiting for {name} to answer at {} ...\n", self.new.peer_address())
            }
            JoinStage::CatchingUp if is_new || is_due => format!(
                "{name} catches up: {} of {} entries\n",
                progress.matched_index, progress.last_index
            ),
            JoinStage::Voting if is_new => format!("{name} has caught up; it is given a vote\n"),
            _ => return None,
        };
        self.last = Some((stage, now));
        Some(line)
    }

    /// What was waited for when the time was over. Whatever was done stays done, and
    /// the same command goes on from there.
    fn not_yet(&self, wait: Duration, config: &Path) -> Failure {
        let (id, name, spec) = (self.node_id, &self.new.name, self.new);
        let within = show_ms(wait.as_millis() as u64);
        let (what, remedy) = match self.progress.map(|progress| (progress.stage(), progress)) {
            Some((JoinStage::CatchingUp, at)) => (
                format!(
                    "node {id} ({name}) has {} of {} entries after {within}",
                    at.matched_index, at.last_index
                ),
                "it goes on catching up; give the same command again, with a longer --wait"
                    .to_owned(),
            ),
            Some((JoinStage::Voting, _)) => (
                format!("node {id} ({name}) has caught up, and had no vote after {within}"),
                "see `triad status`, and give the same command again".to_owned(),
            ),
            _ => (
                format!(
                    "node {id} ({name}) did not answer at {} within {within}; it has no vote, and \
                     the others serve as before",
                    spec.peer_address()
                ),
                format!(
                    "start it there: `triad serve --config {}`; read what it logs, let {} through, \
                     and give the same command again",
                    config.display(),
                    spec.peer_address()
                ),
            ),
        };
        Failure::NotYet { what, remedy }
    }
}

/// Asks for a change until it is done, whoever leads meanwhile.
async fn change(
    settings: &Settings,
    request: &ChangeMembersRequest,
    wait: Duration,
    mut tell: impl FnMut(&ChangeMembersResponse),
) -> Result<(), Failure> {
    let deadline = Instant::now() + wait;
    let mut heard = Instant::now();
    loop {
        let mut tell = |progress: &ChangeMembersResponse| {
            heard = Instant::now();
            tell(progress);
        };
        let failure = match attempt(settings, request, (deadline, wait), &mut tell).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let give_up = deadline.min(heard + LEADERLESS_MAX);
        if !may_pass(&failure) || Instant::now() + PAUSE >= give_up {
            return Err(failure);
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(
    settings: &Settings,
    request: &ChangeMembersRequest,
    (deadline, wait): (Instant, Duration),
    tell: &mut impl FnMut(&ChangeMembersResponse),
) -> Result<(), Failure> {
    let opened = Cluster::new(settings)?
        .write(async |admin: &mut Admin| {
            Ok(admin.change_members(request.clone()).await?.into_inner())
        })
        .await?;
    let (mut stream, address) = (opened.answer, opened.address);
    loop {
        let next = timeout(SILENCE_MAX, stream.message());
        match timeout_at(deadline, next).await {
            Err(_) => return Err(Failure::TimedOut { address, timeout: wait }),
            Ok(Err(_) | Ok(Ok(None))) => {
                let what = "the stream ended before the change was done".to_owned();
                return Err(Failure::Unreachable(vec![(address, what)]));
            }
            Ok(Ok(Err(status))) => return Err(Failure::refused(Refusal::from_status(&status))),
            Ok(Ok(Ok(Some(progress)))) if progress.stage() == JoinStage::Done => return Ok(()),
            Ok(Ok(Ok(Some(progress)))) => tell(&progress),
        }
    }
}

fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) | Failure::NoLeader { .. } => true,
        Failure::Refused(refusal) => matches!(
            refusal.reason(),
            Reason::NotLeader
                | Reason::NotReady
                | Reason::Deadline
                | Reason::Overloaded
                | Reason::NodeUnreachable
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster that node 1 leads: `a`, `b`, `c` ... and who of them is away.
    fn cluster(nodes: u64, away: &[u64]) -> StatusResponse {
        let node = |node_id| {
            let role = match node_id {
                1 => Role::Leader,
                id if away.contains(&id) => Role::Unreachable,
                _ => Role::Follower,
            };
            NodeStatus {
                node_id,
                name: char::from(b'a' + node_id as u8 - 1).to_string(),
                role: role.into(),
                reachable: !away.contains(&node_id),
                ..NodeStatus::default()
            }
        };
        StatusResponse {
            node_id: 1,
            leader_id: 1,
            has_quorum: true,
            nodes: (1..=nodes).map(node).collect(),
            ..StatusResponse::default()
        }
    }

    fn rehearsed(status: &StatusResponse, old: usize, force: bool) -> Result<String, Failure> {
        removal(status, &status.nodes[old], force, true)
    }

    #[test]
    fn a_rehearsal_counts_those_that_answer() {
        let refused = "without --force this is refused. `triad node replace` puts another in its \
                       place.\n";
        let plan = rehearsed(&cluster(3, &[]), 1, false).unwrap();
        let expected = format!(
            "node 2 (b) leaves the cluster for good; 2 nodes will take part, which survive no \
             failure of a node.\nNow it survives the failure of one node: {refused}"
        );
        assert_eq!(plan, expected);
        let plan = rehearsed(&cluster(3, &[2]), 1, false).unwrap();
        let expected = format!(
            "node 2 (b) leaves the cluster for good; 2 nodes will take part, which survive no \
             failure of a node.\nb does not answer.\nWhole, it survives the failure of one node: \
             {refused}"
        );
        assert_eq!(plan, expected);
        // All there would be 2 of 4 to spare after it; of those that answer it is none.
        let plan = rehearsed(&cluster(5, &[2, 3]), 1, true).unwrap();
        assert!(plan.contains("4 nodes will take part, which survive no failure"), "{plan}");
        assert!(plan.ends_with("\nb and c do not answer.\n"), "{plan}");
    }

    #[test]
    fn what_would_leave_too_few_is_refused_in_a_rehearsal_too() {
        for force in [false, true] {
            let refused = rehearsed(&cluster(3, &[3]), 1, force).unwrap_err();
            let told = "without b 1 of 2 nodes would answer, and 2 must: c does not answer";
            assert_eq!(refused.to_string(), told);
            assert_eq!(refused.exit(), Exit::NoQuorum);
            assert!(refused.render().contains("hint: start c first"), "{}", refused.render());
        }
        let only = rehearsed(&cluster(1, &[]), 0, true).unwrap_err();
        assert_eq!(only.to_string(), "a is the only node with a vote");
    }

    #[test]
    fn one_without_a_vote_leaves_the_others_as_they_are() {
        let mut status = cluster(4, &[4]);
        status.nodes[3].role = Role::Learner.into();
        let plan = rehearsed(&status, 3, false).unwrap();
        assert!(plan.ends_with("3 nodes will take part, which survive the failure of one node.\n"));
    }

    #[test]
    fn a_refusal_says_who_is_away() {
        let status = cluster(3, &[2]);
        let refused = removal(&status, &status.nodes[1], false, false).unwrap_err().to_string();
        let told = "without b the cluster would survive no failure of a node, and whole, it \
                    survives the failure of one node; b does not answer";
        assert_eq!(refused, told);
    }
}
