//! How sled is opened: what this version of it asks to be done before and after.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Db, ImageError, failed};

/// sled's cache of what is only read. The image is read once, at start.
const CACHE_BYTES: usize = 8 << 20;
/// sled's own is 3, and took a twentieth of what a follower does under load.
const COMPRESSION_LEVEL: i32 = 1;

/// What sled keeps its settings in.
const SETTINGS: &str = "durability_cookie";

/// Opens the store.
pub(super) fn open_store(path: &Path) -> Result<Db, ImageError> {
    let failed = |source| failed(path.to_owned(), source);
    forget_lost_settings(path).and_then(|()| complete_opening(path)).map_err(failed)?;
    let db = open(path)?;
    sync_opening(path).map_err(failed)?;
    Ok(db)
}

fn open(path: &Path) -> Result<Db, ImageError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity_bytes(CACHE_BYTES)
        .zstd_compression_level(COMPRESSION_LEVEL)
        // Flushing has its own rhythm: one flush per batch.
        .flush_every_ms(None);
    // sled panics on some damage where it should report; a panic while
    // opening is a report too.
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()));
    let path = path.to_owned();
    match opened {
        Ok(opened) => opened.map_err(|source| failed(path, source)),
        Err(_) => Err(ImageError::Damaged { path, what: "the store cannot be opened".to_owned() }),
    }
}

/// At its opening sled writes its logs of metadata into a snapshot, removes them and the snapshot
/// before, and begins the next log. Where the last step was broken off, or the disk does not have
/// it, the opening after it takes the snapshot for an older one, and removes the only one there is.
/// So the step is made up for. Logs that are in the snapshot may still be there.
fn complete_opening(path: &Path) -> io::Result<()> {
    let folder = path.join("metadata");
    let Ok(listed) = fs::read_dir(&folder) else { return Ok(()) };
    let (mut snapshot, mut log) = (None, None);
    for entry in listed {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = |prefix| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok();
        snapshot = snapshot.max(number("snapshot_"));
        log = log.max(number("log_"));
    }
    let Some(snapshot) = snapshot.filter(|snapshot| log <= Some(*snapshot)) else { return Ok(()) };
    File::create(folder.join(format!("log_{:016x}", snapshot + 1)))?;
    File::open(&folder)?.sync_all()
}

/// What sled leaves to the program `sync`, which waits for every disk of the machine: the settings
/// that it writes when it makes a store, and which files there are. All else it syncs by itself
/// before it relies on it.
fn sync_opening(path: &Path) -> io::Result<()> {
    File::open(path.join(SETTINGS))?.sync_all()?;
    for folder in [Some(&*path.join("metadata")), Some(path), path.parent()].into_iter().flatten() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// A power cut before that leaves an empty file, which is no settings, and no damage either: sled
/// writes it anew if it is not there.
fn forget_lost_settings(path: &Path) -> io::Result<()> {
    let settings = path.join(SETTINGS);
    match fs::metadata(&settings) {
        Ok(found) if found.len() == 0 => fs::remove_file(&settings),
        _ => Ok(()),
    }
}
