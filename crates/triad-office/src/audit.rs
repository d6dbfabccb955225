//! The record of every write: who did what, to which group and server.

use rusqlite::{Connection, params};

use crate::error::OfficeError;

/// Whom an entry concerns.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// The group.
    pub group: Option<i64>,
    /// The server, by its host id.
    pub hostid: &'a str,
}

/// Writes an entry. It belongs into the transaction of what it tells of.
pub fn record(
    tx: &Connection,
    now_ms: u64,
    actor: &str,
    action: &str,
    about: About<'_>,
    detail: &str,
) -> Result<(), OfficeError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO audit (at_ms, actor, action, group_id, hostid, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![now_ms, actor, action, about.group, about.hostid, detail])?;
    Ok(())
}
