//! The office's side of the capability exchange: a signed request comes in, a
//! signed response goes out, and everything between is one transaction.
//!
//! | the request | is |
//! |---|---|
//! | not signed with the key that it names, or altered | refused as forged |
//! | older than allowed, or from a clock that is ahead | refused as expired |
//! | the very same as one that was answered | answered with the very same response |
//! | older than another of its server | refused as a replay |
//! | signed with another key than its server had | refused |
//! | from another cluster than its group's | refused |

use rusqlite::{Connection, OptionalExtension, params};
use triad_license::{
    CapabilityRequest, CapabilityResponse, DeclaredRole, GroupMember, Operation, RefusedRights,
    ResponseStatus, SignedRequest,
};

use crate::audit::{self, About};
use crate::config::{Config, Exchange};
use crate::error::OfficeError;
use crate::keys::Keys;
use crate::registration::{self, Claim, Placement, Registrar, Shape};
use crate::rights::{self, Issuer, Writer};

/// Requests that are remembered of each server: half a year of daily polls.
const REQUESTS_KEPT: u32 = 200;
/// Requests that are remembered of those who could not be told apart.
const STRANGERS_KEPT: u32 = 1_000;
/// Lines of usage that are kept of each group.
const USAGE_KEPT: u32 = 10_000;
/// Servers that may register themselves; more is an attack.
const SERVERS_MAX: u64 = 1_000_000;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By network, just now.
    Online,
    /// By file, in somebody's pocket.
    Offline,
}

/// Answers a request, and remembers it either way.
///
/// # Errors
///
/// A refusal says why; the request is in the log of requests then, too.
pub fn answer(
    connection: &mut Connection,
    config: &Config,
    text: &str,
    way: Way,
    now_ms: u64,
) -> Result<String, OfficeError> {
    let opened = SignedRequest::open(text);
    let answered = match &opened {
        Ok(signed) => crate::db::write(connection, |tx| answered(tx, config, signed, way, now_ms)),
        Err(error) => Err(OfficeError::License(error.clone())),
    };
    if let Err(error) = &answered {
        let message = error.to_string();
        crate::db::write(connection, |tx| {
            let entry = Entry {
                signed: opened.as_ref().ok(),
                group: None,
                outcome: error.reason(),
                message: &message,
                response: None,
            };
            remember(tx, &entry, now_ms)
        })?;
    }
    answered
}

fn answered(
    tx: &Connection,
    config: &Config,
    signed: &SignedRequest,
    way: Way,
    now_ms: u64,
) -> Result<String, OfficeError> {
    let request = &signed.request;
    let hostid = request.hostid.to_string();
    check_age(request, &config.exchange, way, now_ms)?;
    let known = key_and_sequence(tx, &hostid)?;
    if let Some((key, last)) = &known {
        check_key(&hostid, key.as_deref(), &signed.key.to_string())?;
        // A retry: the first answer may have been lost on its way.
        if let Some(response) = first_answer(tx, &signed.digest)? {
            return Ok(response);
        }
        if request.sequence <= *last {
            return Err(OfficeError::Replayed { last: *last });
        }
    } else if !config.exchange.register_unknown {
        let message = format!(
            "{hostid} is not registered, and this office lets nobody in by itself; register it in \
             the portal first"
        );
        return Err(OfficeError::refused("UNKNOWN_SERVER", message));
    } else if servers(tx)? >= SERVERS_MAX {
        let message = "this office has as many servers as it can have; remove those of old";
        return Err(OfficeError::refused("TOO_MANY_SERVERS", message));
    }

    rights::credit_ended(tx, Writer { actor: "server", now_ms })?;
    let how = format!("automatically from the request of {hostid}");
    let cluster = Some(request.cluster.as_str());
    let by = Registrar { actor: "server", how: &how, cluster, repairs: false, now_ms };
    let placement = registration::register(tx, &claim(request)?, by)?;
    let group = match placement {
        Placement::Group(group) => Some(group),
        Placement::PendingMain => None,
    };
    if let Some(group) = group {
        check_cluster(tx, group, &request.cluster)?;
    }
    let is_first = known.is_none_or(|(key, _)| key.is_none());
    tx.prepare_cached(
        "UPDATE servers SET public_key = ?1, sequence = ?2, name = ?3, version = ?4,
             last_seen_ms = ?5 WHERE hostid = ?6",
    )?
    .execute(params![
        signed.key.to_string(),
        request.sequence,
        request.name,
        request.version,
        now_ms,
        hostid
    ])?;
    if is_first {
        let about = About { group, hostid: &hostid };
        let detail =
            format!("first call, key {}, cluster {}", signed.key.key_id(), request.cluster);
        audit::record(tx, now_ms, "server", "server.first-call", about, &detail)?;
    }

    let keys = Keys::load(tx, &config.keys)?;
    let lifetime_ms = match way {
        Way::Online => config.exchange.online_ms,
        Way::Offline => config.exchange.offline_ms,
    };
    let mut response = CapabilityResponse {
        status: ResponseStatus::PendingMain,
        correlation: request.correlation.clone(),
        request: signed.digest.clone(),
        cluster: request.cluster.clone(),
        group: group.map(|group| group.to_string()).unwrap_or_default(),
        issued_ms: now_ms,
        expires_ms: now_ms + lifetime_ms,
        license: None,
        member: Vec::new(),
        refused: Vec::new(),
    };
    let mut license = None;
    if let Some(group) = group {
        take_usage(tx, group, request, now_ms)?;
        let members = registration::members(tx, group)?;
        let member =
            |server: registration::Server| GroupMember { hostid: server.hostid, role: server.role };
        response.member = members.into_iter().map(member).collect();
        response.status = ResponseStatus::Registered;
        if request.operation == Operation::Request {
            let issuer = Issuer {
                keys: &keys,
                publisher: &config.publisher,
                lifetime_days: config.exchange.lifetime_days,
            };
            response.refused = grant(tx, group, request, &issuer, now_ms)?;
            license = rights::license_of(tx, group, &issuer, now_ms)?;
            let has = request.license.as_ref().map(|current| &current.digest);
            response.status = match &license {
                None => ResponseStatus::NoRights,
                Some(license) if has == Some(&license.digest) => ResponseStatus::Unchanged,
                Some(_) => ResponseStatus::Licensed,
            };
        }
    }
    let license = license.filter(|_| response.status == ResponseStatus::Licensed);
    response.license = license.as_ref().map(|license| license.digest.clone());
    let license = license.map(|license| license.text);
    let text = response
        .seal(license.as_deref(), &keys.signers())
        .map_err(|error| OfficeError::System(format!("the response cannot be made: {error}")))?;
    let refused: Vec<String> = response
        .refused
        .iter()
        .map(|refused| format!("{}: {}", rights::masked(&refused.id), refused.reason))
        .collect();
    let entry = Entry {
        signed: Some(signed),
        group,
        outcome: response.status.as_str(),
        message: &refused.join("; "),
        response: Some(&text),
    };
    remember(tx, &entry, now_ms)?;
    Ok(text)
}

fn check_age(
    request: &CapabilityRequest,
    rules: &Exchange,
    way: Way,
    now_ms: u64,
) -> Result<(), OfficeError> {
    let allowed_ms = if way == Way::Online { rules.online_ms } else { rules.offline_ms };
    let hours = |ms: u64| ms / 3_600_000;
    let age_ms = now_ms.saturating_sub(request.issued_ms);
    if age_ms > allowed_ms {
        let message = format!(
            "the request was made {} h ago, at most {} h are allowed; check the clock of {}, and \
             make the request again",
            hours(age_ms),
            hours(allowed_ms),
            request.hostid
        );
        return Err(OfficeError::refused("REQUEST_EXPIRED", message));
    }
    let ahead_ms = request.issued_ms.saturating_sub(now_ms);
    if ahead_ms > rules.online_ms {
        let message = format!(
            "the request was made {} h in the future by the clock of {}; correct that clock",
            hours(ahead_ms),
            request.hostid
        );
        return Err(OfficeError::refused("CLOCK_AHEAD", message));
    }
    Ok(())
}

fn key_and_sequence(
    tx: &Connection,
    hostid: &str,
) -> Result<Option<(Option<String>, u64)>, OfficeError> {
    let text = "SELECT public_key, sequence FROM servers WHERE hostid = ?1";
    let row = tx.prepare_cached(text)?.query_row([hostid], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(row.optional()?)
}

fn servers(tx: &Connection) -> Result<u64, OfficeError> {
    Ok(tx.query_row("SELECT count(*) FROM servers", [], |row| row.get(0))?)
}

fn check_key(hostid: &str, known: Option<&str>, shown: &str) -> Result<(), OfficeError> {
    if known.is_none_or(|known| known == shown) {
        return Ok(());
    }
    let message = format!(
        "{hostid} called with another key before; if the machine was set up anew, forget its key \
         on its page in the portal"
    );
    Err(OfficeError::refused("KEY_CHANGED", message))
}

fn first_answer(tx: &Connection, digest: &str) -> Result<Option<String>, OfficeError> {
    let text = "SELECT response FROM requests WHERE digest = ?1 AND response IS NOT NULL";
    Ok(tx.prepare_cached(text)?.query_row([digest], |row| row.get(0)).optional()?)
}

fn claim(request: &CapabilityRequest) -> Result<Claim, OfficeError> {
    let shape = match (request.role, request.partners.as_slice()) {
        (DeclaredRole::Single, []) => Shape::Undeclared,
        (DeclaredRole::Main, [backup]) => Shape::Main { backup: backup.clone() },
        (DeclaredRole::Backup, [main]) => Shape::Backup { main: main.clone() },
        (DeclaredRole::Member, [a, b]) => Shape::Member { others: [a.clone(), b.clone()] },
        (role, partners) => {
            let message = format!(
                "a server that is {role:?} names {} partners, which is not what it takes: none, \
                 the back-up, the main server, or the two others of a triad",
                partners.len()
            );
            return Err(OfficeError::refused("GROUP_SIZE", message));
        }
    };
    Ok(Claim { hostid: request.hostid.clone(), shape })
}

/// The first member that calls says which cluster the group is.
fn check_cluster(tx: &Connection, group: i64, cluster: &str) -> Result<(), OfficeError> {
    let text = "SELECT cluster_id FROM server_groups WHERE id = ?1";
    let known: Option<String> = tx.prepare_cached(text)?.query_row([group], |row| row.get(0))?;
    match known {
        None => {
            let text = "UPDATE server_groups SET cluster_id = ?1 WHERE id = ?2";
            tx.execute(text, params![cluster, group])?;
            Ok(())
        }
        Some(known) if known == cluster => Ok(()),
        Some(known) => {
            let message = format!(
                "the group's rights belong to cluster {known}, and the request comes from cluster \
                 {cluster}; the servers of a group are nodes of one cluster. If it was set up \
                 anew, let the group begin anew on its page in the portal"
            );
            Err(OfficeError::refused("OTHER_CLUSTER", message))
        }
    }
}

fn take_usage(
    tx: &Connection,
    group: i64,
    request: &CapabilityRequest,
    now_ms: u64,
) -> Result<(), OfficeError> {
    if request.usage.is_empty() {
        return Ok(());
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO usage_reports (group_id, hostid, at_ms, feature, seats, in_use)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for usage in &request.usage {
        let hostid = request.hostid.to_string();
        insert.execute(params![
            group,
            hostid,
            now_ms,
            usage.feature,
            usage.seats.min(i64::MAX as u64),
            usage.in_use.min(i64::MAX as u64)
        ])?;
    }
    let prune = "DELETE FROM usage_reports WHERE group_id = ?1 AND id <= (
             SELECT id FROM usage_reports WHERE group_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    tx.prepare_cached(prune)?.execute(params![group, USAGE_KEPT])?;
    Ok(())
}

/// Maps the rights that are asked for by id; what cannot be mapped is told. What a person
/// has decided of them stands.
fn grant(
    tx: &Connection,
    group: i64,
    request: &CapabilityRequest,
    issuer: &Issuer<'_>,
    now_ms: u64,
) -> Result<Vec<RefusedRights>, OfficeError> {
    let by = Writer { actor: "server", now_ms };
    if let Some(current) = &request.license
        && current.id == rights::license_id(tx, group, issuer.publisher)?
    {
        // The database counts no further.
        let serial = current.serial.min(i64::MAX as u64);
        rights::has_serial(tx, group, serial)?;
        rights::confirm_returns(tx, group, serial, by)?;
    }
    let mut refused = Vec::new();
    let mut wanted = Vec::new();
    for rights in &request.rights {
        let Some(line_item) = rights::line_item_of(tx, &rights.id)? else {
            refused.push(RefusedRights {
                id: rights.id.clone(),
                reason: "RIGHTS_UNKNOWN".into(),
                message: format!("there is no rights id {}; check its spelling", rights.id),
            });
            continue;
        };
        wanted.push(line_item);
        let Mapped { held, in_return, by_person } = mapped(tx, group, line_item)?;
        if by_person {
            if rights.copies.map_or(held == 0, |copies| copies != held) {
                refused.push(RefusedRights {
                    id: rights.id.clone(),
                    reason: "DECIDED_BY_A_PERSON".into(),
                    message: format!(
                        "somebody at the publisher has given this group {held} copies of {}; ask \
                         them for others",
                        rights.id
                    ),
                });
            }
            continue;
        }
        let copies = match rights.copies {
            Some(copies) if request.incremental => copies.max(held),
            Some(copies) => copies,
            // All that are free, for a server that was told the id alone; what
            // it has already stays.
            None if held > 0 => held,
            None => {
                // Those that are on their way back from here simply stay.
                let free = rights::copies_of(tx, line_item)?.free() + i64::from(in_return);
                u32::try_from(free).unwrap_or(u32::MAX).max(1)
            }
        };
        match rights::map(tx, group, line_item, copies, true, by) {
            Ok(()) => {}
            Err(OfficeError::Refused { reason, message }) => refused.push(RefusedRights {
                id: rights.id.clone(),
                reason: reason.to_owned(),
                message,
            }),
            Err(other) => return Err(other),
        }
    }
    if !request.rights.is_empty() && !request.incremental {
        // What servers asked for earlier and ask for no more is given back; what
        // a person mapped is left alone.
        let text = "SELECT line_item_id FROM mappings WHERE group_id = ?1 AND requested = 1
             AND copies > 0";
        let mut statement = tx.prepare_cached(text)?;
        let rows = statement.query_map([group], |row| row.get(0))?;
        let mapped: Vec<i64> = rows.collect::<Result<_, _>>()?;
        for line_item in mapped.into_iter().filter(|item| !wanted.contains(item)) {
            rights::map(tx, group, line_item, 0, true, by)?;
        }
    }
    Ok(refused)
}

/// What a group has of a line item.
#[derive(Default)]
struct Mapped {
    held: u32,
    in_return: u32,
    /// A person has decided that.
    by_person: bool,
}

fn mapped(tx: &Connection, group: i64, line_item: i64) -> Result<Mapped, OfficeError> {
    let text = "SELECT copies, in_return, requested = 0 FROM mappings
         WHERE group_id = ?1 AND line_item_id = ?2";
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Mapped { held: row.get(0)?, in_return: row.get(1)?, by_person: row.get(2)? })
    };
    Ok(tx.query_row(text, [group, line_item], row).optional()?.unwrap_or_default())
}

struct Entry<'a> {
    signed: Option<&'a SignedRequest>,
    group: Option<i64>,
    outcome: &'a str,
    message: &'a str,
    response: Option<&'a str>,
}

fn remember(tx: &Connection, entry: &Entry<'_>, now_ms: u64) -> Result<(), OfficeError> {
    let request = entry.signed.map(|signed| &signed.request);
    let hostid = request.map(|request| request.hostid.to_string()).unwrap_or_default();
    // Who a request is from that another key has signed, nobody knows, nor who made up its host id:
    // all of those share one log, and push no server's own requests out of its.
    let stranger = match entry.signed {
        None => true,
        Some(signed) => {
            let known = key_and_sequence(tx, &hostid)?.and_then(|(key, _)| key);
            known.is_none_or(|key| key != signed.key.to_string())
        }
    };
    tx.prepare_cached(
        "INSERT INTO requests (at_ms, hostid, group_id, digest, correlation, operation, outcome,
                               message, response, stranger)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        now_ms,
        hostid,
        entry.group,
        entry.signed.map(|signed| signed.digest.as_str()).unwrap_or_default(),
        request.map(|request| request.correlation.as_str()).unwrap_or_default(),
        request.map_or("", |request| match request.operation {
            Operation::Request => "request",
            Operation::Report => "report",
        }),
        entry.outcome,
        entry.message,
        entry.response,
        stranger,
    ])?;
    let (whose, kept) = match stranger {
        true => ("stranger = 1 AND ?1 = ?1", STRANGERS_KEPT),
        false => ("stranger = 0 AND hostid = ?1", REQUESTS_KEPT),
    };
    let prune = format!(
        "DELETE FROM requests WHERE {whose} AND id <= (
             SELECT id FROM requests WHERE {whose} ORDER BY id DESC LIMIT 1 OFFSET ?2)"
    );
    tx.prepare_cached(&prune)?.execute(params![hostid, kept])?;
    Ok(())
}

#[cfg(test)]
mod tests;
