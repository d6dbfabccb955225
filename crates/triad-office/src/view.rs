//! One server and all that belongs to it: what View Server shows.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use crate::audit::{self, About};
use crate::error::OfficeError;
use crate::lists;
use crate::rights::Writer;
use crate::table::{Ask, Table, when};

/// Entries of the timeline that are shown; the audit has all.
const TIMELINE_ROWS: u32 = 30;
const RIGHTS_ROWS: u32 = 200;

/// One server of the group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub id: i64,
    /// The machine.
    pub hostid: String,
    /// Its name; empty before its first call.
    pub name: String,
    /// Its role.
    pub role: String,
    /// What it says of itself.
    pub declared: String,
    /// The version of its program.
    pub version: String,
    /// When it called last.
    pub last_request: String,
    /// Whether its key is known.
    pub has_key: bool,
}

/// A server with its group.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// The one that was asked for.
    pub id: i64,
    /// Its group, if it is in one.
    pub group: Option<i64>,
    /// `SINGLE`, `PAIR`, `TRIAD`, or empty.
    pub kind: String,
    /// Whose servers they are; empty while nobody knows.
    pub organisation: String,
    /// The cluster that the rights are bound to; empty before the first call.
    pub cluster: String,
    /// The serial of the license issued last; 0: none.
    pub serial: u64,
    /// Until when that license is good without being renewed.
    pub licensed_until: String,
    /// All servers of the group, side by side.
    pub members: Vec<Member>,
    /// Rights that the group holds.
    pub rights: Table,
    /// What it reported to be in use.
    pub usage: Table,
    /// What happened, the newest first.
    pub timeline: Table,
}

/// Looks at a server. `sees_secrets`: whether rights ids are told.
pub fn server(tx: &Connection, id: i64, sees_secrets: bool) -> Result<ServerView, OfficeError> {
    let text = "SELECT group_id, hostid FROM servers WHERE id = ?1";
    let found = tx.query_row(text, [id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (group, hostid): (Option<i64>, String) =
        found.ok_or_else(|| OfficeError::NotFound(format!("the server {id}")))?;
    let text = "SELECT id, hostid, name, role, declared, version, last_seen_ms,
                public_key IS NOT NULL
         FROM servers WHERE group_id = ?1 OR id = ?2 ORDER BY role = 'BACKUP', hostid";
    let mut statement = tx.prepare_cached(text)?;
    let rows = statement.query_map((group, id), |row| {
        let seen: Option<i64> = row.get(6)?;
        Ok(Member {
            id: row.get(0)?,
            hostid: row.get(1)?,
            name: row.get(2)?,
            role: row.get(3)?,
            declared: row.get(4)?,
            version: row.get(5)?,
            last_request: seen.map_or_else(|| "never".to_owned(), when),
            has_key: row.get(7)?,
        })
    })?;
    let members = rows.collect::<Result<_, _>>()?;
    let text = "SELECT kind, coalesce(name, ''), coalesce(cluster_id, ''), serial,
                coalesce(licensed_until, '')
         FROM server_groups g LEFT JOIN organisations o ON o.id = organisation_id WHERE g.id = ?1";
    let of_group = tx
        .query_row(text, [group], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
        .optional()?;
    let (kind, organisation, cluster, serial, licensed_until) = of_group.unwrap_or_default();
    let ask = Ask { sees_secrets, ..Ask::default() };
    Ok(ServerView {
        id,
        group,
        kind,
        organisation,
        cluster,
        serial,
        licensed_until,
        members,
        rights: lists::GROUP_RIGHTS.read(tx, &ask, &[&group], RIGHTS_ROWS)?,
        usage: lists::USAGE.read(tx, &ask, &[&group], RIGHTS_ROWS)?,
        timeline: lists::TIMELINE.read(tx, &ask, &[&group, &hostid], TIMELINE_ROWS)?,
    })
}

/// Lets a machine that was set up anew call with another key.
pub fn forget_key(tx: &Connection, id: i64, by: Writer<'_>) -> Result<(), OfficeError> {
    let text = "UPDATE servers SET public_key = NULL, sequence = 0 WHERE id = ?1
         RETURNING hostid, group_id";
    let found = tx.query_row(text, [id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (hostid, group): (String, Option<i64>) =
        found.ok_or_else(|| OfficeError::NotFound(format!("the server {id}")))?;
    let about = About { group, hostid: &hostid };
    audit::record(tx, by.now_ms, by.actor, "server.forget-key", about, "its next call shows a key")
}

/// Lets a group without its old cluster begin anew: the next of its servers to
/// call says which cluster it is.
pub fn forget_cluster(tx: &Connection, group: i64, by: Writer<'_>) -> Result<(), OfficeError> {
    let text = "UPDATE server_groups SET cluster_id = NULL WHERE id = ?1";
    if tx.execute(text, [group])? == 0 {
        return Err(OfficeError::NotFound(format!("the group {group}")));
    }
    let about = About { group: Some(group), hostid: "" };
    let detail = "the next call says which cluster it is";
    audit::record(tx, by.now_ms, by.actor, "group.forget-cluster", about, detail)
}

impl ServerView {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let member = |member: &Member| {
            json!({
                "id": member.id, "hostid": member.hostid, "name": member.name,
                "role": member.role, "declared": member.declared, "version": member.version,
                "last_request": member.last_request, "has_key": member.has_key,
            })
        };
        json!({
            "id": self.id, "group": self.group, "kind": self.kind,
            "organisation": self.organisation, "cluster": self.cluster, "serial": self.serial,
            "licensed_until": self.licensed_until,
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
            "rights": self.rights.to_json()["rows"], "usage": self.usage.to_json()["rows"],
            "timeline": self.timeline.to_json()["rows"],
        })
    }
}
