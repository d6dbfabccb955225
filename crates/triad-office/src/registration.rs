//! Who belongs together: servers become single servers, pairs and triads, in
//! whatever order they call.
//!
//! | a server calls | and is | then |
//! |---|---|---|
//! | naming no partners | unknown | a single server |
//! | | known | as it was registered |
//! | as main, naming its back-up | | the pair of both |
//! | as back-up, naming its main | of that pair | as it was registered |
//! | | otherwise | `PENDING_MAIN`, until its main names it |
//! | as one of a triad | | the triad of all three |
//!
//! A pair needs the word of its main: a back-up alone could otherwise join any
//! server's rights. A server that became a single server by mistake is taken
//! over in silence while it holds no rights, and only by a person after that
//! (`repair`). So each order of arrivals ends in the same state.
//!
//! Every function writes in the caller's transaction: a call is registered as a
//! whole or not at all, wherever the power fails.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};
use triad_license::HostId;

use crate::audit::{self, About};
use crate::clock::now_ms;
use crate::error::OfficeError;
use crate::rights::{Writer, credit_ended};

/// What a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One server.
    Single,
    /// A main server and its back-up.
    Pair,
    /// Three equal servers.
    Triad,
}

impl Kind {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Single => "SINGLE",
            Kind::Pair => "PAIR",
            Kind::Triad => "TRIAD",
        }
    }

    /// Reads what [`Kind::as_str`] writes, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let kinds = [Kind::Single, Kind::Pair, Kind::Triad];
        kinds.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }

    /// How many servers it has.
    pub fn size(self) -> usize {
        match self {
            Kind::Single => 1,
            Kind::Pair => 2,
            Kind::Triad => 3,
        }
    }

    /// The role of each of its servers, in the order in which they are named.
    fn roles(self) -> &'static [&'static str] {
        match self {
            Kind::Single => &["SINGLE"],
            Kind::Pair => &["MAIN", "BACKUP"],
            Kind::Triad => &["MEMBER", "MEMBER", "MEMBER"],
        }
    }
}

/// What a server says of itself when it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The machine.
    pub hostid: HostId,
    /// Its group.
    pub shape: Shape,
}

/// Which group a server says it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It names nobody.
    Undeclared,
    /// It is the main server of a pair.
    Main {
        /// Its back-up.
        backup: HostId,
    },
    /// It is the back-up of a pair.
    Backup {
        /// Its main server.
        main: HostId,
    },
    /// It is one of a triad.
    Member {
        /// The others.
        others: [HostId; 2],
    },
}

/// Where a server was found to belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In this group.
    Group(i64),
    /// A declared back-up whose main has not named it yet.
    PendingMain,
}

/// Who registers, and how far that reaches.
#[derive(Clone, Copy, Debug)]
pub struct Registrar<'a> {
    /// For the audit: a user, or `server`.
    pub actor: &'a str,
    /// How it is told in the timeline, such as `automatically from the request of ...`.
    pub how: &'a str,
    /// The cluster that the caller is in; a person is in none.
    pub cluster: Option<&'a str>,
    /// A person has decided that rights may move to where they belong.
    pub repairs: bool,
    /// Now.
    pub now_ms: u64,
}

impl<'a> Registrar<'a> {
    /// A person, now.
    pub fn person(actor: &'a str, how: &'a str, repairs: bool) -> Self {
        Registrar { actor, how, cluster: None, repairs, now_ms: now_ms() }
    }
}

/// A server as it is registered.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its number.
    pub id: i64,
    /// The machine.
    pub hostid: String,
    /// Its group.
    pub group: Option<i64>,
    /// Its role in the group.
    pub role: String,
    /// What it said of itself last.
    pub declared: String,
    /// Whether it has called itself, and its key is known.
    pub has_called: bool,
}

const SERVER_COLUMNS: &str = "id, hostid, group_id, role, declared, public_key IS NOT NULL";

fn server(row: &Row<'_>) -> rusqlite::Result<Server> {
    Ok(Server {
        id: row.get(0)?,
        hostid: row.get(1)?,
        group: row.get(2)?,
        role: row.get(3)?,
        declared: row.get(4)?,
        has_called: row.get(5)?,
    })
}

/// The server of this machine.
pub fn find(tx: &Connection, hostid: &str) -> Result<Option<Server>, OfficeError> {
    let text = format!("SELECT {SERVER_COLUMNS} FROM servers WHERE hostid = ?1");
    Ok(tx.prepare_cached(&text)?.query_row([hostid], server).optional()?)
}

/// The servers of a group: the main server first, equals by their host ids.
pub fn members(tx: &Connection, group: i64) -> Result<Vec<Server>, OfficeError> {
    let text = format!(
        "SELECT {SERVER_COLUMNS} FROM servers WHERE group_id = ?1
         ORDER BY role = 'BACKUP', hostid"
    );
    let mut statement = tx.prepare_cached(&text)?;
    let rows = statement.query_map([group], server)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Copies that a group holds, those on their way back included.
pub fn copies_held(tx: &Connection, group: i64) -> Result<u64, OfficeError> {
    let text = "SELECT coalesce(sum(copies + in_return), 0) FROM mappings WHERE group_id = ?1";
    Ok(tx.prepare_cached(text)?.query_row([group], |row| row.get(0))?)
}

impl Claim {
    /// For the record of what a server said of itself.
    pub fn declared(&self) -> String {
        match &self.shape {
            Shape::Undeclared => String::new(),
            Shape::Main { backup } => format!("main of {backup}"),
            Shape::Backup { main } => format!("back-up of {main}"),
            Shape::Member { others: [a, b] } => {
                let (a, b) = if a <= b { (a, b) } else { (b, a) };
                format!("triad with {a} and {b}")
            }
        }
    }
}

/// Registers a server by its own call.
///
/// # Errors
///
/// A refusal says which rule is broken, by whom, and what mends it.
pub fn register(
    tx: &Connection,
    claim: &Claim,
    by: Registrar<'_>,
) -> Result<Placement, OfficeError> {
    let hostid = &claim.hostid;
    let now = |partner: &HostId| now_in_place_of(tx, partner, hostid);
    let placement = match &claim.shape {
        Shape::Undeclared => undeclared(tx, hostid, by)?,
        Shape::Backup { main } => backup(tx, hostid, &now(main)?, by)?,
        Shape::Main { backup } => {
            let hosts = [hostid.clone(), now(backup)?];
            Placement::Group(place(tx, Kind::Pair, &hosts, hostid, by)?)
        }
        Shape::Member { others } => {
            let mut hosts = vec![hostid.clone()];
            for other in others {
                hosts.push(now(other)?);
            }
            Placement::Group(place(tx, Kind::Triad, &hosts, hostid, by)?)
        }
    };
    tx.prepare_cached("UPDATE servers SET declared = ?1 WHERE hostid = ?2")?
        .execute(params![claim.declared(), hostid.to_string()])?;
    Ok(placement)
}

/// The machine that took the place of a partner in the caller's own group, if the caller still
/// names the one before: the office is told first, and then the servers one by one.
fn now_in_place_of(
    tx: &Connection,
    partner: &HostId,
    caller: &HostId,
) -> Result<HostId, OfficeError> {
    let text = "SELECT new.hostid FROM replaced
         JOIN servers new ON new.hostid = by_hostid
         JOIN servers own ON own.group_id = new.group_id AND own.hostid = ?2
         WHERE replaced.hostid = ?1 AND ?1 NOT IN (SELECT hostid FROM servers)";
    let names = params![partner.to_string(), caller.to_string()];
    let new: Option<String> =
        tx.prepare_cached(text)?.query_row(names, |row| row.get(0)).optional()?;
    Ok(new.map_or_else(|| Ok(partner.clone()), |new| HostId::parse(&new))?)
}

/// Registers a group by hand. The first of a pair is its main server.
pub fn register_group(
    tx: &Connection,
    kind: Kind,
    hosts: &[HostId],
    by: Registrar<'_>,
) -> Result<i64, OfficeError> {
    let first = hosts.first().ok_or_else(|| {
        OfficeError::refused("GROUP_SIZE", "name at least one host id, as TYPE:value")
    })?;
    place(tx, kind, hosts, first, by)
}

fn undeclared(
    tx: &Connection,
    hostid: &HostId,
    by: Registrar<'_>,
) -> Result<Placement, OfficeError> {
    match find(tx, &hostid.to_string())?.and_then(|server| server.group) {
        Some(group) => Ok(Placement::Group(group)),
        None => {
            Ok(Placement::Group(place(tx, Kind::Single, std::slice::from_ref(hostid), hostid, by)?))
        }
    }
}

fn backup(
    tx: &Connection,
    hostid: &HostId,
    main: &HostId,
    by: Registrar<'_>,
) -> Result<Placement, OfficeError> {
    check_hosts(Kind::Pair, &[main.clone(), hostid.clone()])?;
    let name = hostid.to_string();
    let Some(own) = find(tx, &name)? else {
        let id = insert(tx, &name, "PENDING_MAIN", by.now_ms)?;
        pending(tx, id, &name, main, by)?;
        return Ok(Placement::PendingMain);
    };
    let Some(group) = own.group else {
        if own.role != "PENDING_MAIN" {
            pending(tx, own.id, &name, main, by)?;
        }
        return Ok(Placement::PendingMain);
    };
    let with = members(tx, group)?;
    if with.iter().any(|server| server.hostid == main.to_string()) {
        // The pair is as declared, or the other way round.
        let hosts = [main.clone(), hostid.clone()];
        return Ok(Placement::Group(place(tx, Kind::Pair, &hosts, hostid, by)?));
    }
    if with.len() > 1 {
        return Err(in_other_group(&name, &with));
    }
    let held = copies_held(tx, group)?;
    if held > 0 {
        return Err(holds_rights(&name, held, main, hostid));
    }
    dissolve(tx, group, std::slice::from_ref(&name))?;
    pending(tx, own.id, &name, main, by)?;
    Ok(Placement::PendingMain)
}

fn pending(
    tx: &Connection,
    id: i64,
    name: &str,
    main: &HostId,
    by: Registrar<'_>,
) -> Result<(), OfficeError> {
    tx.execute("UPDATE servers SET role = 'PENDING_MAIN', group_id = NULL WHERE id = ?1", [id])?;
    let detail = format!("waits for {main} to name it as its back-up");
    let about = About { group: None, hostid: name };
    audit::record(tx, by.now_ms, by.actor, "server.pending", about, &detail)
}

/// Makes sure that there is exactly this group.
fn place(
    tx: &Connection,
    kind: Kind,
    hosts: &[HostId],
    claimer: &HostId,
    by: Registrar<'_>,
) -> Result<i64, OfficeError> {
    check_hosts(kind, hosts)?;
    let names: Vec<String> = hosts.iter().map(HostId::to_string).collect();
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut known = Vec::new();
    for name in &names {
        known.push(find(tx, name)?);
    }
    let groups: BTreeSet<i64> = known.iter().flatten().filter_map(|server| server.group).collect();

    // The usual case: it is there already.
    if let [group] = Vec::from_iter(&groups)[..]
        && known.iter().all(|server| server.as_ref().is_some_and(|s| s.group == Some(*group)))
        && kind_of(tx, *group)? == kind
    {
        let roles = known.iter().flatten().map(|server| server.role.as_str());
        if roles.eq(kind.roles().iter().copied()) {
            return Ok(*group);
        }
    }

    let waits =
        |server: &&Server| server.role == "PENDING_MAIN" && server.hostid != claimer.to_string();
    for server in known.iter().flatten().filter(waits) {
        let expected = kind == Kind::Pair && server.declared == format!("back-up of {}", hosts[0]);
        if !expected && !by.repairs {
            let (name, declared) = (&server.hostid, &server.declared);
            let as_what = if kind == Kind::Pair { "as its own back-up" } else { "in its triad" };
            let message = format!(
                "{name} says that it is {declared}, and {claimer} names it {as_what}; \
                 correct the host ids in the configuration of one of the two"
            );
            return Err(OfficeError::refused("BACKUP_OF_ANOTHER", message));
        }
    }

    let mut candidates = Vec::new();
    let mut absorbed = Vec::new();
    for group in groups {
        let with = members(tx, group)?;
        let held = copies_held(tx, group)?;
        let is_own = with.iter().any(|server| server.hostid == claimer.to_string());
        if !is_own && !by.repairs {
            check_same_cluster(tx, group, &with, claimer, by)?;
        }
        if !with.iter().all(|server| wanted.contains(server.hostid.as_str())) {
            // Somebody else is in it. A server may change its own mind while
            // nothing is at stake and nobody else says the same as it did.
            let confirmed = with
                .iter()
                .any(|server| !wanted.contains(server.hostid.as_str()) && server.has_called);
            if held > 0 || confirmed || !(is_own || by.repairs) {
                let name = with.iter().find(|server| wanted.contains(server.hostid.as_str()));
                let name = name.map_or("", |server| &server.hostid);
                return Err(in_other_group(name, &with));
            }
            absorbed.push(group);
            continue;
        }
        // Rights stay where they are if they are those of the main server or of
        // the caller; a back-up that holds some was taken for a main server.
        let first_is_in = with.iter().any(|server| server.hostid == names[0]);
        let is_reversed = with.len() == 2
            && kind == Kind::Pair
            && with.iter().any(|server| server.hostid == names[0] && server.role == "BACKUP");
        let may_keep = match kind {
            Kind::Pair => first_is_in && !is_reversed,
            Kind::Single | Kind::Triad => is_own,
        };
        if held > 0 && !may_keep && !by.repairs {
            let name = with.iter().find(|server| server.hostid != names[0]);
            let name = name.map_or(names[0].as_str(), |server| &server.hostid);
            return Err(match kind {
                Kind::Triad => holds_rights_already(name, held),
                _ => holds_rights(name, held, &hosts[0], hosts.last().unwrap_or(&hosts[0])),
            });
        }
        candidates.push((group, held, first_is_in));
    }
    let holders = candidates.iter().filter(|(_, held, _)| *held > 0).count();
    if holders > 1 {
        // Each of them has a license of its own out, and one would be left over.
        let message = format!(
            "more than one of {} holds rights of its own; take the copies back from all but one, \
             and wait until they are credited",
            names.join(", ")
        );
        return Err(OfficeError::refused("SEVERAL_HOLD_RIGHTS", message));
    }
    let best = candidates.iter().max_by_key(|(_, held, first_is_in)| (*held > 0, *first_is_in));
    let kept = best.filter(|(_, held, first_is_in)| *held > 0 || *first_is_in).map(|(g, ..)| *g);
    let others = candidates.iter().map(|(group, ..)| *group);
    absorbed.extend(others.filter(|group| Some(*group) != kept));

    let group = match kept {
        Some(group) => {
            tx.execute(
                "UPDATE server_groups SET kind = ?1 WHERE id = ?2",
                params![kind.as_str(), group],
            )?;
            group
        }
        None => {
            tx.execute(
                "INSERT INTO server_groups (kind, created_ms) VALUES (?1, ?2)",
                params![kind.as_str(), by.now_ms],
            )?;
            tx.last_insert_rowid()
        }
    };
    for other in absorbed {
        dissolve(tx, other, &names)?;
    }
    for ((name, role), known) in names.iter().zip(kind.roles()).zip(&known) {
        let id = match known {
            Some(server) => server.id,
            None => insert(tx, name, role, by.now_ms)?,
        };
        tx.execute(
            "UPDATE servers SET group_id = ?1, role = ?2 WHERE id = ?3",
            params![group, role, id],
        )?;
        let about = About { group: Some(group), hostid: name };
        let before = known.as_ref().map(|server| server.role.as_str());
        if before != Some(*role) || known.as_ref().is_some_and(|s| s.group != Some(group)) {
            let from = before.map(|role| format!(" (before: {role})")).unwrap_or_default();
            let detail = format!("registered as {role}{from}, {}", by.how);
            audit::record(tx, by.now_ms, by.actor, "server.registered", about, &detail)?;
        }
    }
    Ok(group)
}

fn check_hosts(kind: Kind, hosts: &[HostId]) -> Result<(), OfficeError> {
    if hosts.len() != kind.size() {
        let (noun, size) = (kind.as_str().to_lowercase(), kind.size());
        let message = format!("a {noun} has {size} host ids, {} were named", hosts.len());
        return Err(OfficeError::refused("GROUP_SIZE", message));
    }
    let distinct: BTreeSet<&HostId> = hosts.iter().collect();
    if distinct.len() != hosts.len() {
        let message = "the same host id stands for two servers; each machine has its own";
        return Err(OfficeError::refused("HOSTID_TWICE", message));
    }
    if let Some(other) = hosts.iter().find(|host| host.kind() != hosts[0].kind()) {
        let message = format!(
            "{} and {other} are host ids of different types; name all servers of a group by the \
             same type (see \"triad hostid\" on each)",
            hosts[0]
        );
        return Err(OfficeError::refused("HOSTID_TYPES_DIFFER", message));
    }
    Ok(())
}

fn in_other_group(name: &str, with: &[Server]) -> OfficeError {
    let others: Vec<&str> =
        with.iter().map(|server| server.hostid.as_str()).filter(|other| *other != name).collect();
    let others = others.join(" and ");
    let message = format!(
        "{name} is registered together with {others}, and a server belongs to one group; correct \
         the partners in its configuration, or take the group apart in the portal"
    );
    OfficeError::refused("IN_OTHER_GROUP", message)
}

fn copies(held: u64) -> String {
    if held == 1 { "copy".to_owned() } else { format!("{held} copies") }
}

fn holds_rights(name: &str, held: u64, main: &HostId, other: &HostId) -> OfficeError {
    let copies = copies(held);
    let message = format!(
        "{name} is registered as a main server of its own and holds {copies} of rights; to make \
         {main} the main server and move them, use Repair on its page in the portal, or \
         \"triad-office pair repair {main} {other}\""
    );
    OfficeError::refused("MAIN_HOLDS_RIGHTS", message)
}

/// A triad grows from the server that has the rights.
fn holds_rights_already(name: &str, held: u64) -> OfficeError {
    let copies = copies(held);
    let message = format!(
        "{name} is registered by itself and holds {copies} of rights; let it call first, as one of \
         this triad, and the rights become those of all three"
    );
    OfficeError::refused("MAIN_HOLDS_RIGHTS", message)
}

/// Servers that belong together are nodes of one cluster: who names a server of another is not of its
/// group, and would be given its rights.
fn check_same_cluster(
    tx: &Connection,
    group: i64,
    with: &[Server],
    claimer: &HostId,
    by: Registrar<'_>,
) -> Result<(), OfficeError> {
    let text = "SELECT cluster_id FROM server_groups WHERE id = ?1";
    let known: Option<String> = tx.prepare_cached(text)?.query_row([group], |row| row.get(0))?;
    let (Some(known), Some(cluster)) = (known, by.cluster) else { return Ok(()) };
    if known == cluster {
        return Ok(());
    }
    let names: Vec<&str> = with.iter().map(|server| server.hostid.as_str()).collect();
    let message = format!(
        "{} called from cluster {known}, and {claimer}, which names it, is in cluster {cluster}; the \
         servers of a group are nodes of one cluster. If it was set up anew, let its group begin anew \
         on its page in the portal",
        names.join(" and ")
    );
    Err(OfficeError::refused("OTHER_CLUSTER", message))
}

fn kind_of(tx: &Connection, group: i64) -> Result<Kind, OfficeError> {
    let text = "SELECT kind FROM server_groups WHERE id = ?1";
    let kind: String = tx.prepare_cached(text)?.query_row([group], |row| row.get(0))?;
    Kind::parse(&kind).ok_or_else(|| OfficeError::NotFound(format!("the kind {kind}")))
}

fn insert(tx: &Connection, name: &str, role: &str, now_ms: u64) -> Result<i64, OfficeError> {
    let text = "INSERT INTO servers (hostid, role, created_ms) VALUES (?1, ?2, ?3)";
    tx.prepare_cached(text)?.execute(params![name, role, now_ms])?;
    Ok(tx.last_insert_rowid())
}

/// Ends a group. Servers that nobody has ever heard of go with it, unless they are kept; the others
/// stand alone until they are placed again.
fn dissolve(tx: &Connection, group: i64, kept: &[String]) -> Result<(), OfficeError> {
    for server in members(tx, group)? {
        let text = "DELETE FROM servers WHERE id = ?1 AND last_seen_ms IS NULL
             AND public_key IS NULL";
        if !kept.contains(&server.hostid) {
            tx.execute(text, [server.id])?;
        }
    }
    tx.execute("UPDATE servers SET group_id = NULL, role = 'SINGLE' WHERE group_id = ?1", [group])?;
    tx.execute("DELETE FROM mappings WHERE group_id = ?1", [group])?;
    tx.execute("DELETE FROM server_groups WHERE id = ?1", [group])?;
    Ok(())
}

/// Puts another machine in the place of a server: same group, same role. The old
/// one is forgotten, and the group's next license names the new one.
pub fn replace_server(
    tx: &Connection,
    old: &HostId,
    new: &HostId,
    by: Registrar<'_>,
) -> Result<i64, OfficeError> {
    let old_name = old.to_string();
    let found = find(tx, &old_name)?;
    let found = found.ok_or_else(|| OfficeError::NotFound(format!("the server {old}")))?;
    let Some(group) = found.group else {
        let message = format!("{old} is in no group; there is nothing to take over");
        return Err(OfficeError::refused("NO_GROUP", message));
    };
    let mut hosts = vec![new.clone()];
    for server in members(tx, group)?.iter().filter(|server| server.hostid != old_name) {
        hosts.push(HostId::parse(&server.hostid)?);
    }
    check_hosts(kind_of(tx, group)?, &hosts)?;
    let new_name = new.to_string();
    if let Some(known) = find(tx, &new_name)? {
        // It may have called already, and stand alone since then.
        if let Some(other) = known.group {
            let with = members(tx, other)?;
            if with.len() > 1 {
                return Err(in_other_group(&new_name, &with));
            }
            let held = copies_held(tx, other)?;
            if held > 0 {
                return Err(holds_rights(&new_name, held, old, new));
            }
            dissolve(tx, other, &[])?;
        }
        tx.execute("DELETE FROM servers WHERE id = ?1", [known.id])?;
    }
    let text = "UPDATE servers SET hostid = ?1, declared = '', public_key = NULL, sequence = 0,
             name = '', version = '', last_seen_ms = NULL WHERE id = ?2";
    tx.execute(text, params![new_name, found.id])?;
    tx.execute("DELETE FROM replaced WHERE hostid = ?1", [&new_name])?;
    tx.execute("UPDATE replaced SET by_hostid = ?1 WHERE by_hostid = ?2", [&new_name, &old_name])?;
    let text = "INSERT OR REPLACE INTO replaced (hostid, by_hostid) VALUES (?1, ?2)";
    tx.execute(text, [&old_name, &new_name])?;
    let about = About { group: Some(group), hostid: &new_name };
    let detail = format!("takes the place of {old} as {}, {}", found.role, by.how);
    audit::record(tx, by.now_ms, by.actor, "server.replaced", about, &detail)?;
    Ok(group)
}

/// Takes a group without rights apart; its servers are placed anew when they
/// call again. Keys are forgotten, so that a machine that was set up anew is
/// let in.
pub fn take_apart(tx: &Connection, group: i64, by: Registrar<'_>) -> Result<(), OfficeError> {
    kind_of(tx, group).map_err(|_| OfficeError::NotFound(format!("the group {group}")))?;
    credit_ended(tx, Writer { actor: by.actor, now_ms: by.now_ms })?;
    let held = copies_held(tx, group)?;
    if held > 0 {
        let message = format!("the group holds {held} copies of rights; take them back first");
        return Err(OfficeError::refused("GROUP_HOLDS_RIGHTS", message));
    }
    for server in members(tx, group)? {
        let about = About { group: Some(group), hostid: &server.hostid };
        audit::record(tx, by.now_ms, by.actor, "group.apart", about, "taken out of the group")?;
    }
    tx.execute("UPDATE servers SET public_key = NULL, sequence = 0 WHERE group_id = ?1", [group])?;
    dissolve(tx, group, &[])
}

#[cfg(test)]
mod tests;
