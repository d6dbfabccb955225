//! One end of a simulated connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::{MachineId, Network, State, WINDOW_BYTES, slice};
use super::segments::Segment;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub u64);

/// How a connection ended, as seen from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Refused,
    Finished,
    Reset,
}

/// What a kernel knows of its side.
pub(super) struct Side {
    pub machine: MachineId,
    /// The port that was dialled, on the side where it is.
    pub port: u16,
    pub boot: u64,
    pub is_open: bool,
    pub received: VecDeque<Bytes>,
    pub end: Option<End>,
    /// The process said that it sends no more.
    pub is_finished: bool,
    /// The process is gone, or let go.
    pub is_dropped: bool,
    /// Bytes sent that the other process has not read.
    pub unread_bytes: usize,
    pub last_arrival: Duration,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

impl Side {
    pub fn new(machine: MachineId, port: u16, boot: u64) -> Self {
        Side {
            machine,
            port,
            boot,
            is_open: false,
            received: VecDeque::new(),
            end: None,
            is_finished: false,
            is_dropped: false,
            unread_bytes: 0,
            last_arrival: Duration::ZERO,
            reader: None,
            writer: None,
        }
    }
}

pub(super) struct SimulatedStream {
    pub network: Arc<Network>,
    pub connection: ConnectionId,
    pub side: usize,
}

impl SimulatedStream {
    /// Waits until the other kernel has answered.
    pub async fn opened(&self) -> io::Result<()> {
        poll_fn(|context| {
            let mut state = self.network.state();
            let side = self.own(&mut state)?;
            match side.end {
                Some(End::Refused) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                _ if side.is_open => Poll::Ready(Ok(())),
                _ => {
                    side.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn own<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Side> {
        let sides = state.connections.get_mut(&self.connection);
        Ok(&mut sides.ok_or(io::ErrorKind::ConnectionReset)?[self.side])
    }
}

impl AsyncRead for SimulatedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let side = self.own(&mut state)?;
        if side.end == Some(End::Reset) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(first) = side.received.front_mut() else {
            if side.end.is_some() {
                return Poll::Ready(Ok(()));
            }
            side.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let bytes = slice(first, buffer.remaining());
        if first.is_empty() {
            side.received.pop_front();
        }
        buffer.put_slice(&bytes);
        let sides = state.connections.get_mut(&self.connection).expect("it was just there");
        let other = &mut sides[1 - self.side];
        other.unread_bytes -= bytes.len();
        if let Some(writer) = other.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.network.state();
        let side = self.own(&mut state)?;
        if side.end == Some(End::Reset) || side.is_finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES - side.unread_bytes;
        if room == 0 {
            side.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if are_late_answers(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let count = bytes.len().min(room);
        side.unread_bytes += count;
        let data = Segment::Data(Bytes::copy_from_slice(&bytes[..count]));
        state.send(self.connection, self.side, data);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let Ok(side) = self.own(&mut state) else { return Poll::Ready(Ok(())) };
        if !std::mem::replace(&mut side.is_finished, true) {
            state.send(self.connection, self.side, Segment::Finish);
        }
        Poll::Ready(Ok(()))
    }
}

/// HTTP/2 frames that say, of streams which this side has given up long ago, that
/// they are closed. Whether they are sent at all depends on how long ago that was
/// on the clock of the real machine, the one clock that a simulation cannot move.
/// They tell the other side nothing new, so they are lost here, always.
fn are_late_answers(bytes: &[u8]) -> bool {
    const RESET_FRAME: [u8; 5] = [0, 0, 4, 3, 0];
    const STREAM_CLOSED: [u8; 4] = [0, 0, 0, 5];
    let is_late = |frame: &[u8]| {
        frame.len() == 13 && frame.starts_with(&RESET_FRAME) && frame.ends_with(&STREAM_CLOSED)
    };
    bytes.chunks(13).all(is_late)
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.network.state().drop_side(self.connection, self.side);
    }
}
