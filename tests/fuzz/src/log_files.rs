//! The files of a log, written by the description of their format, with whatever numbers the
//! fuzzer likes, and with checksums that fit: behind those the reader must not trust either.

use std::path::PathBuf;

use arbitrary::Arbitrary;
use prost::Message;
use triad_proto::v1;

use crate::torn_disk::Image;

/// The identity in all files.
pub const OWNER: [u8; 16] = [7; 16];
/// The folder of the log.
pub const FOLDER: &str = "/log";

const SEGMENT_BYTES: usize = 8192;
const RECORDS_OFFSET: usize = 4096;
const COPY_BYTES: usize = 4096;
/// Longer ones fit no segment.
const RECORD_BYTES_MAX: usize = 2000;
/// So many segments show everything that several can show.
const SEGMENTS_MAX: usize = 4;

/// What the files say.
#[derive(Arbitrary, Debug)]
pub struct LogFiles<'a> {
    state: State<'a>,
    segments: Vec<Vec<Record<'a>>>,
    damage: Vec<Damage>,
}

#[derive(Arbitrary, Debug)]
struct State<'a> {
    first_record: Number,
    durable: Number,
    first_segment: Number,
    last_segment: Number,
    purged: Option<(Number, Payload<'a>)>,
    committed: Option<(Number, Payload<'a>)>,
    vote: Option<(u64, u64)>,
}

#[derive(Arbitrary, Debug)]
struct Record<'a> {
    kind: Kind,
    index: Number,
    number: Number,
    durable: Number,
    payload: Payload<'a>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Kind {
    Entry = 1,
    Truncate = 2,
    Jump = 3,
    Committed = 4,
}

/// A number that is right, nearly right, or any.
#[derive(Arbitrary, Debug)]
enum Number {
    Right,
    Near(i8),
    Any(u64),
}

impl Number {
    fn or(&self, right: u64) -> u64 {
        match self {
            Number::Right => right,
            Number::Near(by) => right.wrapping_add_signed((*by).into()),
            Number::Any(number) => *number,
        }
    }
}

/// An entry or a log id that belongs there, or any bytes.
#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Right,
    Any(&'a [u8]),
}

impl Payload<'_> {
    fn log_id(&self, index: u64) -> Vec<u8> {
        match self {
            Payload::Right => v1::LogId { term: 1, node_id: 1, index }.encode_to_vec(),
            Payload::Any(bytes) => bytes[..bytes.len().min(RECORD_BYTES_MAX)].to_vec(),
        }
    }

    fn entry(&self, index: u64) -> Vec<u8> {
        let Payload::Right = self else { return self.log_id(index) };
        let id = Some(v1::LogId { term: 1, node_id: 1, index });
        let payload = Some(v1::log_entry::Payload::Blank(v1::Blank {}));
        v1::LogEntry { id, payload }.encode_to_vec()
    }
}

/// A byte that decayed after it was written.
#[derive(Arbitrary, Debug)]
struct Damage {
    file: u8,
    place: u16,
    bits: u8,
}

impl LogFiles<'_> {
    /// The files.
    pub fn image(&self) -> Image {
        let mut image = Image::new();
        let (mut next_number, mut next_index) = (self.state.first_record.or(1), 1);
        let first_record = next_number;
        let segments = self.segments.get(..SEGMENTS_MAX).unwrap_or(&self.segments);
        let count = segments.len().max(1) as u32;
        for number in 1..=count {
            let records = segments.get(number as usize - 1).map_or(&[][..], Vec::as_slice);
            let bytes = segment(number, records, &mut next_number, &mut next_index);
            image.insert(path(&format!("{number:010}.segment")), bytes);
        }
        let copy = self.state.copy(first_record, next_number, next_index, count);
        image.insert(path("state"), [copy.clone(), copy].concat());
        for Damage { file, place, bits } in &self.damage {
            let file = usize::from(*file) % image.len();
            let bytes = image.values_mut().nth(file).expect("within the files");
            let place = usize::from(*place) % bytes.len();
            bytes[place] ^= bits;
        }
        image
    }
}

impl State<'_> {
    fn copy(&self, first_record: u64, next_number: u64, next_index: u64, segments: u32) -> Vec<u8> {
        let mut copy = vec![0; 4];
        copy.extend_from_slice(b"TRIADSTA");
        copy.extend_from_slice(&1u32.to_le_bytes());
        copy.extend_from_slice(&OWNER);
        copy.extend_from_slice(&1u64.to_le_bytes());
        copy.extend_from_slice(&first_record.to_le_bytes());
        copy.extend_from_slice(&self.durable.or(next_number.wrapping_sub(1)).to_le_bytes());
        copy.extend_from_slice(&(self.first_segment.or(1) as u32).to_le_bytes());
        copy.extend_from_slice(&(self.last_segment.or(segments.into()) as u32).to_le_bytes());
        for position in [&self.purged, &self.committed] {
            let index = position.as_ref().map_or(0, |(index, _)| index.or(next_index / 2));
            copy.extend_from_slice(&index.to_le_bytes());
            field(&mut copy, position.as_ref().map(|(_, id)| id.log_id(index)));
        }
        let vote = |(term, node_id)| v1::VoteRecord { term, node_id, committed: false };
        field(&mut copy, self.vote.map(|both| vote(both).encode_to_vec()));
        copy.resize(COPY_BYTES, 0);
        let checksum = crc32c::crc32c(&copy[4..]);
        copy[..4].copy_from_slice(&checksum.to_le_bytes());
        copy
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(name)
}

/// A length one above the field's own; 0 says that there is none.
fn field(copy: &mut Vec<u8>, field: Option<Vec<u8>>) {
    let length = field.as_ref().map_or(0, |field| field.len() + 1);
    copy.extend_from_slice(&(length as u32).to_le_bytes());
    copy.extend(field.unwrap_or_default());
}

fn segment(
    number: u32,
    records: &[Record<'_>],
    next_number: &mut u64,
    next_index: &mut u64,
) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(b"TRIADLOG");
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&OWNER);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(SEGMENT_BYTES as u32).to_le_bytes());
    bytes.resize(44, 0);
    let checksum = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(RECORDS_OFFSET, 0);
    let salt = crc32c::crc32c_append(crc32c::crc32c(&OWNER), &number.to_le_bytes());
    for record in records {
        let encoded = record.encode(salt, next_number, next_index);
        if bytes.len() + encoded.len() > SEGMENT_BYTES {
            break;
        }
        bytes.extend(encoded);
    }
    bytes.resize(SEGMENT_BYTES, 0);
    bytes
}

impl Record<'_> {
    fn encode(&self, salt: u32, next_number: &mut u64, next_index: &mut u64) -> Vec<u8> {
        let (number, index) = (self.number.or(*next_number), self.index.or(*next_index));
        let payload = match self.kind {
            Kind::Entry => self.payload.entry(index),
            Kind::Committed => self.payload.log_id(index),
            Kind::Truncate | Kind::Jump => Vec::new(),
        };
        *next_number = number.wrapping_add(1);
        if self.kind != Kind::Committed {
            *next_index = index.wrapping_add((self.kind == Kind::Entry).into());
        }
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&self.durable.or(number.wrapping_sub(1)).to_le_bytes());
        bytes.extend_from_slice(&index.to_le_bytes());
        bytes.extend_from_slice(&[self.kind as u8, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let checksum = crc32c::crc32c_append(salt, &bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}
