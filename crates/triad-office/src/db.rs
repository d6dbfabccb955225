//! The database: one SQLite file, its migrations, and how it is opened.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::OfficeError;

/// Each is run once, in a transaction of its own.
const MIGRATIONS: &[&str] =
    &[include_str!("../migrations/0001.sql"), include_str!("../migrations/0002.sql")];
/// How long a command waits for the server's transaction, and the other way round.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database and brings it to this program's version.
///
/// # Errors
///
/// There is none: an office begins with [`create`], and not where its disk is missing.
pub fn open(path: &Path) -> Result<Connection, OfficeError> {
    let failed = |source| OfficeError::File { path: path.to_owned(), source };
    std::fs::metadata(path).map_err(failed)?;
    create(path)
}

/// Makes the database, or opens the one that is there.
pub fn create(path: &Path) -> Result<Connection, OfficeError> {
    // In it are the ids by which rights are claimed. SQLite gives its other files the same mode.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    if let Err(source) = made
        && source.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(OfficeError::File { path: path.to_owned(), source });
    }
    prepare(Connection::open(path)?)
}

/// A database in memory, for tests.
pub fn in_memory() -> Result<Connection, OfficeError> {
    prepare(Connection::open_in_memory()?)
}

fn prepare(mut connection: Connection) -> Result<Connection, OfficeError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What the office has answered must not be forgotten by a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        return Err(OfficeError::TooNew { found: version, known: MIGRATIONS.len() });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        let now: usize = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if now == index {
            tx.execute_batch(migration)?;
            tx.pragma_update(None, "user_version", index + 1)?;
        }
        tx.commit()?;
    }
    Ok(connection)
}

/// Does something in one transaction: all of it, or nothing.
pub fn write<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, OfficeError>,
) -> Result<T, OfficeError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&tx)?;
    tx.commit()?;
    Ok(done)
}
