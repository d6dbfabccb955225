//! An image in one file, written whole each time: for simulations, whose disk
//! the store of the real one cannot use. It keeps no history.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use triad_ledger::StateHash;

use super::{Image, ImageBatch, ImageError, Loaded};
use crate::disk::Disk;
use crate::history::{EventStore, Forgetful, Part};
use crate::types::{decode_log_id, decode_membership, encode_log_id, encode_membership};

const CURRENT: &str = "image";
const UNFINISHED: &str = "image.new";

#[derive(Clone, PartialEq, prost::Message)]
struct ImageMessage {
    #[prost(bytes = "vec", tag = "1")]
    applied: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    membership: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    hash: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    records: BTreeMap<String, Vec<u8>>,
}

/// See the module.
pub(crate) struct WholeImage {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl WholeImage {
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, ImageError> {
        let image = WholeImage { disk, folder: folder.to_owned(), records: BTreeMap::new() };
        image.disk.create_dir(folder).map_err(|error| image.store(error))?;
        Ok(image)
    }

    fn store(&self, source: io::Error) -> ImageError {
        ImageError::Store { path: self.folder.clone(), source }
    }

    fn damaged(&self, what: impl ToString) -> ImageError {
        ImageError::Damaged { path: self.folder.clone(), what: what.to_string() }
    }

    fn save(&self, batch: &ImageBatch) -> io::Result<()> {
        let record = |(key, value): (&Vec<u8>, &Vec<u8>)| (super::hex(key), value.clone());
        let message = ImageMessage {
            applied: encode_log_id(&batch.applied),
            membership: encode_membership(&batch.membership),
            hash: batch.hash.0.to_vec(),
            records: self.records.iter().map(record).collect(),
        };
        let mut bytes = message.encode_to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let unfinished = self.folder.join(UNFINISHED);
        let file = self.disk.create(&unfinished)?;
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        // Its name too, or the name of an earlier try could be what is renamed.
        self.disk.sync_dir(&self.folder)?;
        self.disk.rename(&unfinished, &self.folder.join(CURRENT))?;
        self.disk.sync_dir(&self.folder)
    }

    fn read(&self) -> Result<Vec<u8>, ImageError> {
        let path = self.folder.join(CURRENT);
        let read = || {
            let file = self.disk.open(&path)?;
            let mut bytes = vec![0; file.length()? as usize];
            file.read_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        let mut bytes = read().map_err(|error| self.store(error))?;
        let (content, crc) =
            bytes.split_last_chunk::<4>().ok_or_else(|| self.damaged("it is empty"))?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(self.damaged("checksum"));
        }
        bytes.truncate(bytes.len() - 4);
        Ok(bytes)
    }
}

impl Image for WholeImage {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn load(&mut self) -> Result<Loaded, ImageError> {
        let names = self.disk.list(&self.folder).map_err(|error| self.store(error))?;
        if !names.iter().any(|name| name == CURRENT) {
            return Ok(Loaded::default());
        }
        let bytes = self.read()?;
        let message = ImageMessage::decode(bytes.as_slice()).map_err(|e| self.damaged(e))?;
        let mut records = BTreeMap::new();
        for (key, value) in message.records {
            let key = unhex(&key).ok_or_else(|| self.damaged("a record's key"))?;
            records.insert(key, value);
        }
        self.records = records;
        let hash = message.hash.try_into().map_err(|_| self.damaged("the hash"))?;
        Ok(Loaded {
            applied: Some(decode_log_id(&message.applied).map_err(|e| self.damaged(e))?),
            membership: decode_membership(&message.membership).map_err(|e| self.damaged(e))?,
            hash: StateHash(hash),
            records: self.records.clone().into_iter().collect(),
        })
    }

    fn write(&mut self, batch: &ImageBatch) -> Result<(), ImageError> {
        for change in &batch.changes {
            match &change.value {
                Some(value) => self.records.insert(change.key.clone(), value.clone()),
                None => self.records.remove(&change.key),
            };
        }
        self.save(batch).map_err(|error| self.store(error))
    }

    fn replace(&mut self, batch: &ImageBatch) -> Result<(), ImageError> {
        self.records.clear();
        self.write(batch)
    }

    fn events(&self) -> Arc<dyn EventStore> {
        Arc::new(Forgetful)
    }

    fn fill(&mut self, _: &Part) -> Result<(), ImageError> {
        Ok(())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}
