//! How sled is opened: what this version of it asks to be done before.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Db, ImageError, failed};

/// sled's cache of what is only read. The image is read once, at start.
const CACHE_BYTES: usize = 8 << 20;
/// sled's own is 3, and took a twentieth of what a follower does under load.
const COMPRESSION_LEVEL: i32 = 1;

/// Opens the store.
pub(super) fn open_store(path: &Path) -> Result<Db, ImageError> {
    let prepared = complete_opening(path).and_then(|()| sync(path));
    prepared.map_err(|source| failed(path.to_owned(), source))?;
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

/// What sled reads at its opening counts as durable from then on, so it must be: the process before
/// may have ended between a write and its sync. sled runs the program `sync` for that, which waits
/// for every disk of the machine; here it is these files and no others.
fn sync(path: &Path) -> io::Result<()> {
    for folder in [path, &path.join("metadata"), &path.join("slabs")] {
        let Ok(listed) = fs::read_dir(folder) else { continue };
        for entry in listed {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
