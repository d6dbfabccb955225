//! How bytes travel: the one door through which every connection of Triad
//! goes, opened by a [`Network`] and guarded by TLS and limits.
//!
//! Nothing else in the workspace names a socket type. A node and a client get
//! a [`SharedNetwork`] and do not know whether it is [`TcpNetwork`] or the
//! simulated one, so the same code runs as real processes and under the
//! deterministic simulation.
//!
//! ```text
//! server:  Listener -> accept_loop (slots, turns, TLS, first bytes) -> ServerStream -> tonic
//! client:  channel -> Connector (Network, TLS) -> Wire -> tonic
//! ```

mod accept;
mod closed;
mod connect;
mod handshakes;
mod http2;
mod notify;
mod pinned;
mod slots;
mod stream;
mod tcp;
mod tls;
mod turns;
mod wire;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

pub use accept::{AcceptLimits, FirstBytes, accept_loop};
pub use closed::PeerClosed;
pub use connect::{
    ChannelError, ChannelParameters, Connector, LatestConnection, channel, channel_lazy,
    io_error_kind,
};
pub use http2::{Traffic, server};
pub use notify::ServiceManager;
pub use pinned::fingerprint_of;
pub use slots::block_of;
pub use stream::{ConnectionInfo, ServerStream};
pub use tcp::TcpNetwork;
pub use tls::{
    ClientCertificates, ClientTls, Identity, NextClientTls, NextServerTls, ServerTls, TlsError,
    certificate_is_a_nodes,
};
pub use wire::Wire;

/// What a connection must be able to do. Implemented for every type that can.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// A raw connection, below TLS, of whatever network is in use.
pub type Connection = Box<dyn ByteStream>;

/// A network shared by the parts of a node or a client.
pub type SharedNetwork = Arc<dyn Network>;

/// Opens connections and listeners.
pub trait Network: Send + Sync + 'static {
    /// Connects to `host:port`, within a time the network bounds itself.
    ///
    /// The error keeps its [`io::ErrorKind`]: `ConnectionRefused` means that
    /// every address of the host answered and none listens, which callers
    /// take for a dead process; `TimedOut` means that we do not know.
    /// Dropping the future gives the attempt up.
    fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>>;

    /// Listens on `host:port`. Port 0 takes a free one, which
    /// [`Listener::local_addr`] tells.
    fn bind<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// When an attempt of anybody in this process to connect to `host:port`, begun since then,
    /// was refused, the first that is remembered: whatever process listened there before is dead.
    /// A network that remembers nothing knows of none.
    fn refused_since(&self, _host_port: &str, _since: Instant) -> Option<Instant> {
        None
    }
}

/// A bound port. Dropping it closes the port at once.
pub trait Listener: Send + Sync + 'static {
    /// The next connection and the address it came from. Cancel safe: a
    /// dropped future loses no connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>>;

    /// The address the port is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}
