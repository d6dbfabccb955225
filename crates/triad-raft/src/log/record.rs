//! One record of the log: its header, its checksum, and how both are read back.
//!
//! ```text
//! offset  0  checksum          u32   CRC-32C over the segment's salt and everything below
//!         4  payload length    u32   in bytes, without padding
//!         8  number            u64   counts records without a gap, over all segments
//!        16  durable           u64   every record up to this number was synced before
//!        24  index             u64   the log index it speaks of
//!        32  kind              u8    then 7 zero bytes
//!        40  payload, zero-padded to a multiple of 8 bytes
//! ```

/// The bytes before the payload.
pub(super) const HEADER_BYTES: usize = 40;

/// Records begin at multiples of this, so that a search for records after damage is short.
pub(super) const ALIGNMENT_BYTES: usize = 8;

/// What a record says about its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The entry at this index; the payload is the entry.
    Entry,
    /// Entries from this index on are dropped, and the next entry has this index.
    Truncate,
    /// All entries are dropped (a snapshot stands for them), and the next one has this index.
    Jump,
    /// The log is committed up to this index; the payload is the log id.
    Committed,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Entry => 1,
            Self::Truncate => 2,
            Self::Jump => 3,
            Self::Committed => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Entry),
            2 => Some(Self::Truncate),
            3 => Some(Self::Jump),
            4 => Some(Self::Committed),
            _ => None,
        }
    }
}

/// The fields of a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub index: u64,
    pub number: u64,
    pub durable: u64,
}

/// A record read back, with its checksum proven.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub header: Header,
    pub payload: &'a [u8],
    /// The bytes it occupies, padding included.
    pub length_bytes: usize,
}

/// The bytes a record with such a payload occupies.
pub(super) fn length_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(ALIGNMENT_BYTES)
}

/// Appends a record to `buffer`.
pub(super) fn encode(salt: u32, header: Header, payload: &[u8], buffer: &mut Vec<u8>) {
    let payload_length = u32::try_from(payload.len()).expect("a payload fits a segment");
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&payload_length.to_le_bytes());
    buffer.extend_from_slice(&header.number.to_le_bytes());
    buffer.extend_from_slice(&header.durable.to_le_bytes());
    buffer.extend_from_slice(&header.index.to_le_bytes());
    buffer.extend_from_slice(&[header.kind.code(), 0, 0, 0, 0, 0, 0, 0]);
    buffer.extend_from_slice(payload);
    buffer.resize(start + length_bytes(payload.len()), 0);
    let checksum = crc32c::crc32c_append(salt, &buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the record at the start of `bytes`; `None` when there is no intact one.
pub(super) fn decode(salt: u32, bytes: &[u8]) -> Option<Record<'_>> {
    let header = bytes.get(..HEADER_BYTES)?;
    let kind = Kind::from_code(header[32])?;
    let payload_length = read_u32(header, 4) as usize;
    let length_bytes = length_bytes(payload_length);
    let whole = bytes.get(..length_bytes)?;
    if crc32c::crc32c_append(salt, &whole[4..]) != read_u32(header, 0) {
        return None;
    }
    Some(Record {
        header: Header {
            kind,
            index: read_u64(header, 24),
            number: read_u64(header, 8),
            durable: read_u64(header, 16),
        },
        payload: &whole[HEADER_BYTES..HEADER_BYTES + payload_length],
        length_bytes,
    })
}

/// The highest durable mark of all intact records in `bytes` with a number above `after`,
/// searched at every place where one may begin. Only numbers that could have been reached within
/// `bytes` are tried, so that the search stays linear.
pub(super) fn durable_in_rubble(salt: u32, bytes: &[u8], after: u64) -> Option<u64> {
    let reachable = after.saturating_add((bytes.len() / HEADER_BYTES) as u64 + 1);
    let mut durable = None;
    let mut place = 0;
    while let Some(header) = bytes.get(place..place + HEADER_BYTES) {
        let number = read_u64(header, 8);
        let plausible = number > after && number <= reachable;
        match plausible.then(|| decode(salt, &bytes[place..])).flatten() {
            Some(record) => {
                durable = durable.max(Some(record.header.durable));
                place += record.length_bytes;
            }
            None => place += ALIGNMENT_BYTES,
        }
    }
    durable
}

/// The little-endian number at `offset`.
pub(super) fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes[offset..offset + 4].try_into().expect("four bytes make a u32");
    u32::from_le_bytes(field)
}

/// The little-endian number at `offset`.
pub(super) fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes[offset..offset + 8].try_into().expect("eight bytes make a u64");
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 7;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header { kind: Kind::Entry, index: 9, number: 12, durable: 11 };
        encode(SALT, header, b"granted", &mut bytes);
        bytes
    }

    #[test]
    fn a_record_comes_back_as_written() {
        let bytes = sample();
        let record = decode(SALT, &bytes).unwrap();
        assert_eq!(record.payload, b"granted");
        assert_eq!(record.header.index, 9);
        assert_eq!(record.length_bytes, bytes.len());
        assert_eq!(bytes.len() % ALIGNMENT_BYTES, 0);
    }

    #[test]
    fn every_altered_bit_every_cut_and_another_salt_are_noticed() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(SALT, &altered).is_none(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(SALT, &bytes[..length]).is_none(), "cut to {length}");
        }
        assert!(decode(SALT + 1, &bytes).is_none());
        assert!(decode(0, &[0; 64]).is_none());
    }

    #[test]
    fn a_later_record_is_found_behind_rubble() {
        let mut bytes = vec![0xAA; 64];
        bytes.extend(sample());
        assert_eq!(durable_in_rubble(SALT, &bytes, 11), Some(11));
        assert_eq!(durable_in_rubble(SALT, &bytes, 12), None, "not later");
        assert_eq!(durable_in_rubble(SALT + 1, &bytes, 11), None, "another segment's");
    }
}
