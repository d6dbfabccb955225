//! How sled is opened: what this version of it asks to be done before.

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
    sync_settings(path).map_err(failed)?;
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

/// At its opening sled writes its logs of metadata into a snapshot, removes them, and begins the
/// next log. Where that was broken off before the last step, the opening after it takes the
/// snapshot for an older one, and removes the only one there is. So the step is made up for.
fn complete_opening(path: &Path) -> io::Result<()> {
    let folder = path.join("metadata");
    let Ok(listed) = fs::read_dir(&folder) else { return Ok(()) };
    let (mut newest, mut has_log) = (None, false);
    for entry in listed {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        has_log |= name.starts_with("log_");
        let number = name.strip_prefix("snapshot_").and_then(|n| u64::from_str_radix(n, 16).ok());
        newest = newest.max(number);
    }
    let Some(snapshot) = newest.filter(|_| !has_log) else { return Ok(()) };
    File::create(folder.join(format!("log_{:016x}", snapshot + 1)))?;
    File::open(&folder)?.sync_all()
}

/// When sled makes a store it writes its settings, and leaves it to the program `sync` to bring them
/// to the disk: that waits for every disk of the machine, so it is done here, for this file. All else
/// sled syncs by itself before it relies on it.
fn sync_settings(path: &Path) -> io::Result<()> {
    File::open(path.join(SETTINGS))?.sync_all()?;
    File::open(path)?.sync_all()
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
