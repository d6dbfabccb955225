//! What travels between two kernels.

use std::fmt;

use bytes::Bytes;

use super::stream::ConnectionId;

pub(super) enum Segment {
    Open { port: u16 },
    Accept,
    Refuse,
    Data(Bytes),
    Finish,
    Reset,
}

/// A segment on its way to one side of a connection.
pub(super) struct Flight {
    pub connection: ConnectionId,
    pub to: usize,
    pub segment: Segment,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Open { port } => write!(f, "open {port}"),
            Segment::Accept => f.write_str("accept"),
            Segment::Refuse => f.write_str("refuse"),
            Segment::Data(bytes) => write!(f, "{} bytes", bytes.len()),
            Segment::Finish => f.write_str("finish"),
            Segment::Reset => f.write_str("reset"),
        }
    }
}
