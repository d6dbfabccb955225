//! What travels between two kernels.

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
