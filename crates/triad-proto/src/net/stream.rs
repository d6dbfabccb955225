//! An accepted connection as tonic serves it, and what a service may know of
//! it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tonic::transport::server::Connected;

use super::closed::PeerClosed;
use super::slots::Slot;
use super::wire::Wire;
use crate::identity::PeerIdentity;

/// Read from one connection before the others have their turn. One thread serves
/// them all, and a flood of small frames, of which this is some two thousand,
/// would keep it for as long as the flooder's bytes are faster than their reading.
pub(super) const TURN_BYTES_MAX: usize = 32 * 1024;

/// What a service finds in the extensions of each request about the
/// connection it came over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Where the connection came from.
    pub peer: SocketAddr,
    /// Whether the other side has closed it.
    pub closed: Arc<PeerClosed>,
    /// Who the client certificate says it is; `None` without one.
    pub identity: Option<Arc<PeerIdentity>>,
}

/// A connection that passed [`super::accept_loop`]: within the limits, its
/// handshake done, its first bytes here.
pub struct ServerStream {
    wire: Wire,
    first_bytes: FirstBytesRead,
    info: ConnectionInfo,
    /// Bytes read since this connection last waited.
    turn_bytes: usize,
    /// Given back when the connection ends.
    _slot: Slot,
}

/// Bytes that were read to judge a connection and are read again by tonic.
pub(super) struct FirstBytesRead {
    bytes: [u8; Self::MAX],
    length: usize,
    given: usize,
}

impl FirstBytesRead {
    /// The length of the HTTP/2 client preface.
    pub(super) const MAX: usize = 24;

    pub(super) fn new(read: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        bytes[..read.len()].copy_from_slice(read);
        Self { bytes, length: read.len(), given: 0 }
    }

    /// Moves what is left into the buffer; false if nothing was.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.bytes[self.given..self.length];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.given += count;
        count > 0
    }
}

impl ServerStream {
    pub(super) fn new(
        wire: Wire,
        first_bytes: FirstBytesRead,
        peer: SocketAddr,
        identity: Option<Arc<PeerIdentity>>,
        slot: Slot,
    ) -> Self {
        let closed = wire.peer_closed().clone();
        let info = ConnectionInfo { peer, closed, identity };
        Self { wire, first_bytes, info, turn_bytes: 0, _slot: slot }
    }

    /// What is known of the connection; tonic puts the same into requests.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

impl Connected for ServerStream {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.first_bytes.give(buffer) {
            return Poll::Ready(Ok(()));
        }
        if stream.turn_bytes >= TURN_BYTES_MAX {
            stream.turn_bytes = 0;
            // Once polled, it wakes this task after the runtime has looked for what came from
            // others; who wakes itself is polled some sixty times before.
            return pin!(yield_now()).poll(context).map(Ok);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut stream.wire).poll_read(context, buffer);
        match &read {
            Poll::Pending => stream.turn_bytes = 0,
            Poll::Ready(_) => stream.turn_bytes += buffer.filled().len() - before,
        }
        read
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(context)
    }
}
