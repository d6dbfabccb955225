//! A forger with access to the disk, for tests: he knows the layout, and every
//! checksum that he leaves is right.

use std::path::Path;

use triad_ledger::{Command, Event, Ledger, decode_event, encode_event};

use super::{Image, ImageBatch, ImageError, SledImage};
use crate::history::{EventStore, Retention};

/// Rewrites one event in the image of a node that does not run: the first of
/// which `forge` makes another. Its number, if there was one.
///
/// # Errors
///
/// The image cannot be opened, read or written.
pub fn forge_event(
    data_dir: &Path,
    cluster_id: &str,
    forge: impl Fn(&Event) -> Option<Event>,
) -> Result<Option<u64>, ImageError> {
    let path = data_dir.join("image");
    let keep_all = Retention { max_age_ms: None, max_bytes: None };
    let image = SledImage::open(&path, cluster_id, keep_all)?;
    let bounds = image.events.bounds();
    for (number, encoded) in image.events.read(0, bounds.last, usize::MAX)? {
        let event = decode_event(&encoded).map_err(|error| image.damaged(error))?;
        let Some(forged) = forge(&event) else { continue };
        image.events.rewrite(number, &encode_event(&forged))?;
        return Ok(Some(number));
    }
    Ok(None)
}

/// Lets the ledger in the image of a node that does not run apply a command that nobody
/// agreed on, and writes it as if that were all right.
///
/// # Errors
///
/// The image cannot be opened, read or written.
pub fn forge_ledger(
    data_dir: &Path,
    cluster_id: &str,
    command: &Command,
) -> Result<(), ImageError> {
    let mut image = SledImage::open(&data_dir.join("image"), cluster_id, Retention::default())?;
    let loaded = image.load()?;
    let applied = loaded.applied.ok_or_else(|| image.damaged("no ledger to forge"))?;
    let ledger = Ledger::from_records(loaded.records);
    let mut ledger = ledger.map_err(|error| image.damaged(error))?;
    // The answer does not matter; the test sees what came of it.
    let _ = ledger.apply(ledger.at(), command);
    let changes = ledger.take_changes();
    let (events, encoded) = ledger.take_encoded_events();
    let events = events.iter().zip(encoded);
    image.write(&ImageBatch {
        applied,
        membership: loaded.membership,
        hash: ledger.state_hash(),
        changes,
        events: events.map(|(event, encoded)| (event.sequence, encoded.into())).collect(),
        last_event: ledger.last_event(),
    })
}
