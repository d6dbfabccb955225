//! The publisher's keys: files that sign, and which of them are in use.
//!
//! A key is `NEXT` while sites learn to trust it: both it and the `CURRENT` one
//! sign. It is promoted when they do, and the old one is `RETIRED`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use triad_license::{Keyring, PublisherKey};

use crate::audit::{self, About};
use crate::error::OfficeError;
use crate::rights::Writer;

/// The keys that sign now.
#[derive(Debug)]
pub struct Keys(Vec<PublisherKey>);

/// A publisher key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyInfo {
    /// Its name.
    pub key_id: String,
    /// The line that sites trust.
    pub public_key: String,
    /// `CURRENT`, `NEXT` or `RETIRED`.
    pub state: String,
}

impl Keys {
    /// Reads the secret keys in use from their files below `directory`.
    pub fn load(tx: &Connection, directory: &Path) -> Result<Self, OfficeError> {
        let mut keys = Vec::new();
        for info in list(tx)?.iter().filter(|info| info.state != "RETIRED") {
            let path = secret_path(directory, &info.key_id);
            let text = fs::read_to_string(&path)
                .map_err(|source| OfficeError::File { path: path.clone(), source })?;
            let wrong = |error| OfficeError::System(format!("{}: {error}", path.display()));
            keys.push(PublisherKey::parse(&text).map_err(wrong)?);
        }
        Ok(Keys(keys))
    }

    /// All of them; documents are signed with each.
    pub fn signers(&self) -> Vec<&PublisherKey> {
        self.0.iter().collect()
    }

    /// Their public halves.
    pub fn public(&self) -> Result<Keyring, OfficeError> {
        let mut keyring = Keyring::new();
        for key in &self.0 {
            keyring.trust(key.public())?;
        }
        Ok(keyring)
    }
}

/// All keys that there ever were, the current one first.
pub fn list(tx: &Connection) -> Result<Vec<KeyInfo>, OfficeError> {
    let text = "SELECT key_id, public_key, state FROM publisher_keys
         ORDER BY state = 'RETIRED', state = 'NEXT', created_ms";
    let mut statement = tx.prepare_cached(text)?;
    let rows = statement.query_map([], |row| {
        Ok(KeyInfo { key_id: row.get(0)?, public_key: row.get(1)?, state: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Draws a key: the first is current, a later one is next.
pub fn draw(tx: &Connection, directory: &Path, by: Writer<'_>) -> Result<KeyInfo, OfficeError> {
    let known = list(tx)?;
    if known.iter().any(|key| key.state == "NEXT") {
        let message = "there is a next key already; promote it first: triad-office key promote";
        return Err(OfficeError::refused("NEXT_KEY_EXISTS", message));
    }
    let state = if known.is_empty() { "CURRENT" } else { "NEXT" };
    let key = PublisherKey::generate(random()?);
    let info = KeyInfo {
        key_id: key.key_id().to_string(),
        public_key: key.public().to_string(),
        state: state.to_owned(),
    };
    let path = secret_path(directory, &info.key_id);
    write_secret(&path, key.secret_text().as_bytes())?;
    let text = "INSERT INTO publisher_keys (key_id, public_key, state, created_ms)
         VALUES (?1, ?2, ?3, ?4)";
    tx.execute(text, params![info.key_id, info.public_key, state, by.now_ms])?;
    let detail = format!("{} is {state}", info.key_id);
    audit::record(tx, by.now_ms, by.actor, "key.draw", About::default(), &detail)?;
    Ok(info)
}

/// Makes the next key the current one. The old one signs no more.
pub fn promote(tx: &Connection, by: Writer<'_>) -> Result<KeyInfo, OfficeError> {
    let Some(next) = list(tx)?.into_iter().find(|key| key.state == "NEXT") else {
        let message = "there is no next key; draw one first: triad-office key new";
        return Err(OfficeError::refused("NO_NEXT_KEY", message));
    };
    tx.execute("UPDATE publisher_keys SET state = 'RETIRED' WHERE state = 'CURRENT'", [])?;
    tx.execute("UPDATE publisher_keys SET state = 'CURRENT' WHERE state = 'NEXT'", [])?;
    let detail = format!("{} is CURRENT", next.key_id);
    audit::record(tx, by.now_ms, by.actor, "key.promote", About::default(), &detail)?;
    Ok(KeyInfo { state: "CURRENT".to_owned(), ..next })
}

fn secret_path(directory: &Path, key_id: &str) -> PathBuf {
    directory.join(format!("{key_id}.secret"))
}

/// 256 random bits.
pub fn random() -> Result<[u8; 32], OfficeError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| OfficeError::System(error.to_string()))?;
    Ok(random)
}

/// Writes a file that was not there before and that its owner alone can read.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), OfficeError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => OfficeError::Exists(path.to_owned()),
        _ => OfficeError::File { path: path.to_owned(), source },
    };
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    // Its name, too: what is written next speaks of it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::File::open(folder.unwrap_or(Path::new(".")));
    folder.and_then(|folder| folder.sync_all()).map_err(failed)
}
