//! Connecting to a node: the network, TLS above it, and a tonic channel on
//! top, with errors that still say what the socket said.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use super::SharedNetwork;
use super::closed::{PeerClosed, Watched};
use super::http2::{self, Traffic};
use super::tls::ClientTls;
use super::wire::Wire;

/// Connect and TLS handshake together: as long as a server grants a handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections for tonic's `Endpoint::connect_with_connector`. Errors
/// are [`io::Error`]s and keep their kind; see [`io_error_kind`].
#[derive(Clone)]
pub struct Connector {
    network: SharedNetwork,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
    latest: LatestConnection,
}

impl Connector {
    /// A connector over `network`; `None` for TLS means plain text.
    pub fn new(network: SharedNetwork, tls: Option<ClientTls>) -> Self {
        let latest = LatestConnection::default();
        Self { network, tls, connect_timeout: CONNECT_TIMEOUT, latest }
    }

    /// The same with another bound on connect and handshake together.
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Tells of the connection this connector (or a clone of it) opened last.
    pub fn latest(&self) -> LatestConnection {
        self.latest.clone()
    }

    /// Connects to `host:port`.
    pub async fn connect(&self, host_port: &str) -> io::Result<Wire> {
        let deadline = Instant::now() + self.connect_timeout;
        let connecting = self.network.connect(host_port);
        let raw = timeout_at(deadline, connecting)
            .await
            .unwrap_or_else(|_| Err(too_slow(host_port, "no connection")))?;
        let watched = Watched::new(raw);
        let closed = watched.peer_closed().clone();
        let stream = match &self.tls {
            None => Wire::plain(watched),
            Some(tls) => {
                let (config, server_name) = tls.current();
                let shaking = TlsConnector::from(config).connect(server_name, watched);
                let stream = timeout_at(deadline, shaking)
                    .await
                    .unwrap_or_else(|_| Err(too_slow(host_port, "no TLS handshake")))
                    .map_err(|error| explain(error, host_port))?;
                Wire::tls(stream)
            }
        };
        self.latest.set(closed);
        Ok(stream)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let authority = uri.authority().ok_or_else(|| no_address(&uri))?;
            Ok(TokioIo::new(connector.connect(authority.as_str()).await?))
        })
    }
}

/// Whether the connection a [`Connector`] opened last was closed by its peer:
/// how a client tells a dead server from a silent one.
#[derive(Clone, Debug, Default)]
pub struct LatestConnection(Arc<Mutex<Option<Arc<PeerClosed>>>>);

impl LatestConnection {
    /// The mark of the latest connection; `None` before the first.
    pub fn closed(&self) -> Option<Arc<PeerClosed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, closed: Arc<PeerClosed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(closed);
    }
}

/// What it takes to open a channel to one node.
#[derive(Clone)]
pub struct ChannelParameters {
    /// The address, as `host:port`.
    pub host_port: String,
    /// The connector: network, TLS, time to connect.
    pub connector: Connector,
    /// Whether a client or a peer calls; decides the window sizes.
    pub traffic: Traffic,
    /// The bound on every unary call and on the opening of streams that set
    /// none of their own; `None` where each call brings its deadline.
    pub call_timeout: Option<Duration>,
}

/// Connects to a node. Returns once the connection (with TLS) stands.
///
/// The server allows 64 streams at a time on one connection; a 65th call
/// waits for one to end. Who needs more opens another channel.
pub async fn channel(parameters: ChannelParameters) -> Result<Channel, ChannelError> {
    let endpoint = endpoint(&parameters)?;
    Ok(endpoint.connect_with_connector(parameters.connector).await?)
}

/// A channel that connects at its first call, and again after each loss.
pub fn channel_lazy(parameters: ChannelParameters) -> Result<Channel, ChannelError> {
    Ok(endpoint(&parameters)?.connect_with_connector_lazy(parameters.connector))
}

fn endpoint(parameters: &ChannelParameters) -> Result<Endpoint, ChannelError> {
    let scheme = if parameters.connector.tls.is_some() { "https" } else { "http" };
    let address = || ChannelError::Address(parameters.host_port.clone());
    let uri: Uri = format!("{scheme}://{}", parameters.host_port).parse().map_err(|_| address())?;
    if uri.port_u16().is_none() || uri.path() != "/" || uri.query().is_some() {
        return Err(address());
    }
    let endpoint = http2::endpoint(Endpoint::from(uri), parameters.traffic);
    Ok(match parameters.call_timeout {
        Some(timeout) => endpoint.timeout(timeout),
        None => endpoint,
    })
}

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not an address.
    #[error("{0:?} is not an address: it must read host:port, such as lic-a.example.com:27070")]
    Address(String),
    /// No connection came about.
    #[error("{}", root_cause(.0))]
    Transport(#[from] tonic::transport::Error),
}

impl ChannelError {
    /// What the socket said, if it came to a socket. `ConnectionRefused`
    /// means that nothing listens there.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Address(_) => None,
            Self::Transport(error) => io_error_kind(error),
        }
    }
}

/// The kind of the innermost [`io::Error`] that caused an error: of a
/// `tonic::Status`, a transport error, or anything else that tells its source.
pub fn io_error_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut kind = None;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            kind = Some(io.kind());
        }
        next = error.source();
    }
    kind
}

/// tonic's own text is "transport error"; what went wrong is at the bottom.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn no_address(uri: &Uri) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} has no host and port"))
}

fn too_slow(host_port: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} to {host_port} in time"))
}

fn explain(error: io::Error, host_port: &str) -> io::Error {
    io::Error::new(error.kind(), format!("TLS handshake with {host_port} failed: {error}"))
}
