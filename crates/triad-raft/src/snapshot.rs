//! A whole ledger in one piece: what a node that is too far behind is sent.
//!
//! A snapshot is a list of frames, each with its length and checksum: first
//! what it is of, then the records in key order, then an end that says how
//! many there were. Without its end a snapshot is not one.

use bytes::Bytes;
use prost::Message;
use triad_ledger::{Change, CodecError, Ledger, StateHash};

use crate::image::ImageBatch;
use crate::network::MESSAGE_BYTES_MAX;
use crate::types::{
    EntryError, LogId, StoredMembership, decode_log_id, decode_membership, encode_log_id,
    encode_membership,
};

/// Records are gathered until a frame has this many bytes.
const FRAME_BYTES: usize = 256 << 10;
/// The longest frame accepted: a frame's worth and the largest record, which is a license that
/// fills an entry of the log. A frame is one message between nodes.
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 1024;
/// The largest snapshot accepted from a peer: several million checkouts.
pub(crate) const SNAPSHOT_BYTES_MAX: usize = 2 << 30;
const FORMAT: u32 = 1;

/// The bytes of a snapshot, in frames. Empty where only its position matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotFrames(pub(crate) Vec<Bytes>);

/// Why bytes are not a snapshot. Nothing of it is used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the snapshot ends early, in frame {0}")]
    Truncated(usize),
    #[error("checksum of snapshot frame {0}")]
    Checksum(usize),
    #[error("snapshot frame {frame} has {bytes} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    FrameTooLong { frame: usize, bytes: usize },
    #[error("snapshot format {0} found, {FORMAT} known")]
    Format(u32),
    #[error("unreadable snapshot frame: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("unreadable snapshot: {0}")]
    Entry(#[from] EntryError),
    #[error("unreadable ledger: {0}")]
    Ledger(#[from] CodecError),
    #[error("{found} records found, {announced} announced")]
    Count { found: u64, announced: u64 },
    #[error("the ledger's hash is {found}, {announced} announced")]
    Hash { found: StateHash, announced: StateHash },
}

impl SnapshotError {
    /// Whether it is as a newer version writes them, and not damaged.
    pub(crate) fn is_newer(&self) -> bool {
        matches!(self, SnapshotError::Ledger(error) if error.is_newer())
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct FrameMessage {
    #[prost(message, optional, tag = "1")]
    of: Option<OfMessage>,
    #[prost(message, repeated, tag = "2")]
    records: Vec<RecordMessage>,
    #[prost(uint64, optional, tag = "3")]
    end: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OfMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "vec", tag = "2")]
    applied: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    membership: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    hash: Vec<u8>,
    #[prost(string, tag = "5")]
    cluster_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordMessage {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// What a snapshot turned out to be.
pub(crate) struct Opened {
    pub(crate) cluster_id: String,
    pub(crate) applied: LogId,
    pub(crate) membership: StoredMembership,
    pub(crate) ledger: Ledger,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Opened {
    /// The image of this snapshot.
    pub(crate) fn image(self) -> (Ledger, ImageBatch) {
        let change = |(key, value)| Change { key, value: Some(value) };
        let batch = ImageBatch {
            applied: self.applied,
            membership: self.membership,
            hash: self.ledger.state_hash(),
            changes: self.records.into_iter().map(change).collect(),
            events: Vec::new(),
            last_event: self.ledger.last_event(),
        };
        (self.ledger, batch)
    }
}

impl SnapshotFrames {
    /// The snapshot of a ledger whose hash is up to date.
    pub(crate) fn of(
        cluster_id: &str,
        ledger: &Ledger,
        applied: &LogId,
        membership: &StoredMembership,
    ) -> Self {
        let of = OfMessage {
            format: FORMAT,
            applied: encode_log_id(applied),
            membership: encode_membership(membership),
            hash: ledger.state_hash().0.to_vec(),
            cluster_id: cluster_id.to_owned(),
        };
        let mut frames = vec![frame(&FrameMessage { of: Some(of), ..FrameMessage::default() })];
        let mut gathered = FrameMessage::default();
        let (mut bytes, mut count) = (0, 0);
        for (key, value) in ledger.records() {
            bytes += key.len() + value.len();
            count += 1;
            gathered.records.push(RecordMessage { key, value });
            if bytes >= FRAME_BYTES {
                frames.push(frame(&std::mem::take(&mut gathered)));
                bytes = 0;
            }
        }
        gathered.end = Some(count);
        frames.push(frame(&gathered));
        SnapshotFrames(frames)
    }

    /// All bytes, one after the other.
    pub(crate) fn len_bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether these bytes begin with what a snapshot is of.
    pub(crate) fn begin_in(mut bytes: &[u8]) -> bool {
        next_frame(&mut bytes, 0).is_ok_and(|first| first.of.is_some())
    }

    /// Reads and checks everything.
    pub(crate) fn open(bytes: &[u8]) -> Result<Opened, SnapshotError> {
        let mut rest = bytes;
        let mut number = 0;
        let first = next_frame(&mut rest, number)?;
        let of = first.of.ok_or(SnapshotError::Truncated(0))?;
        if of.format != FORMAT {
            return Err(SnapshotError::Format(of.format));
        }
        let mut records = Vec::new();
        let announced = loop {
            number += 1;
            let frame = next_frame(&mut rest, number)?;
            records.extend(frame.records.into_iter().map(|r| (r.key, r.value)));
            if let Some(end) = frame.end {
                break end;
            }
        };
        let found = records.len() as u64;
        if found != announced {
            return Err(SnapshotError::Count { found, announced });
        }
        let ledger = Ledger::from_records(records.iter().cloned())?;
        let announced =
            StateHash(of.hash.try_into().map_err(|_| EntryError::Missing("state hash"))?);
        let found = ledger.state_hash();
        if found != announced {
            return Err(SnapshotError::Hash { found, announced });
        }
        Ok(Opened {
            cluster_id: of.cluster_id,
            applied: decode_log_id(&of.applied)?,
            membership: decode_membership(&of.membership)?,
            ledger,
            records,
        })
    }
}

fn frame(message: &FrameMessage) -> Bytes {
    let payload = message.encode_to_vec();
    let mut out = Vec::with_capacity(payload.len() + 8);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
    out.into()
}

fn next_frame(rest: &mut &[u8], number: usize) -> Result<FrameMessage, SnapshotError> {
    let truncated = SnapshotError::Truncated(number);
    let Some((length, after)) = rest.split_first_chunk::<4>() else { return Err(truncated) };
    let Some((crc, after)) = after.split_first_chunk::<4>() else { return Err(truncated) };
    let bytes = u32::from_le_bytes(*length) as usize;
    if bytes > FRAME_BYTES_MAX {
        return Err(SnapshotError::FrameTooLong { frame: number, bytes });
    }
    let Some((payload, after)) = after.split_at_checked(bytes) else { return Err(truncated) };
    if crc32c::crc32c(payload) != u32::from_le_bytes(*crc) {
        return Err(SnapshotError::Checksum(number));
    }
    *rest = after;
    Ok(FrameMessage::decode(payload)?)
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;
    use triad_ledger::names::{Label, LicenseId, SessionId};
    use triad_ledger::rights::License;
    use triad_ledger::{At, Command, Holder};

    use super::*;
    use crate::types::LeaderId;

    fn some() -> (Ledger, Vec<u8>) {
        let mut ledger = Ledger::default();
        for n in 0..50u8 {
            let open = Command::Open {
                session: SessionId([n; 16]),
                holder: Holder::default(),
                lease_ms: 30_000,
                resume: false,
            };
            ledger.apply(At { index: u64::from(n), term: 1, ..At::default() }, &open).expect("ok");
        }
        ledger.take_changes();
        let applied = LogId::new(LeaderId::new(1, 1), 50);
        let frames = SnapshotFrames::of("tc-1", &ledger, &applied, &StoredMembership::default());
        (ledger, frames.0.concat())
    }

    #[test]
    fn a_ledger_survives_the_trip() {
        let (ledger, bytes) = some();
        let opened = SnapshotFrames::open(&bytes).expect("whole");
        assert_eq!((opened.applied.index(), &*opened.cluster_id), (50, "tc-1"));
        assert_eq!(opened.ledger.state_hash(), ledger.state_hash());
        assert_eq!(opened.ledger.session_count(), 50);
    }

    #[test]
    fn a_record_that_fills_an_entry_of_the_log_does_too() {
        let mut ledger = Ledger::default();
        let license = License {
            id: LicenseId::parse("acme").expect("a name"),
            publisher: Label::parse("acme").expect("a label"),
            serial: 1,
            text: "x".repeat(8 << 20),
            lines: Vec::new(),
        };
        let at = At { index: 1, term: 1, ..At::default() };
        ledger.apply(at, &Command::Install { license }).expect("it is newer");
        ledger.take_changes();
        let applied = LogId::new(LeaderId::new(1, 1), 1);
        let frames = SnapshotFrames::of("tc-1", &ledger, &applied, &StoredMembership::default());
        assert!(frames.0.iter().all(|frame| frame.len() < MESSAGE_BYTES_MAX));
        let opened = SnapshotFrames::open(&frames.0.concat()).expect("whole");
        assert_eq!(opened.ledger.state_hash(), ledger.state_hash());
    }

    #[test]
    fn damage_anywhere_is_found() {
        let (_, bytes) = some();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(SnapshotFrames::open(&damaged).is_err(), "byte {at}");
            assert!(SnapshotFrames::open(&bytes[..at]).is_err(), "cut at {at}");
        }
        for other in ["", "---", "-----BEGIN PUBLIC KEY-----\n", "\0\0\0\0\0\0\0\0"] {
            assert!(!SnapshotFrames::begin_in(other.as_bytes()), "{other:?}");
        }
        assert!(SnapshotFrames::begin_in(&bytes) && !SnapshotFrames::begin_in(&bytes[..9]));
    }
}
