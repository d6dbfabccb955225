//! The real network: TCP of the operating system.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::{Connection, Listener, Network};

/// How long one attempt to connect may take, over all addresses of a host.
/// On a site's own network an answer takes milliseconds; three seconds leave
/// room for one lost SYN, which Linux sends again after one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections the kernel completes before we accept them. After a failover
/// all clients come at once; the kernel lowers this to its own limit.
const BACKLOG: u32 = 4_096;

/// TCP with no delay, over every address a name resolves to.
#[derive(Clone, Debug)]
pub struct TcpNetwork {
    connect_timeout: Duration,
}

impl TcpNetwork {
    /// A network with the standard connect timeout of three seconds.
    pub fn new() -> Self {
        Self { connect_timeout: CONNECT_TIMEOUT }
    }

    /// The same with another bound on the time to connect.
    pub fn with_connect_timeout(connect_timeout: Duration) -> Self {
        Self { connect_timeout }
    }

    async fn connect_any(&self, host_port: &str) -> io::Result<TcpStream> {
        let deadline = Instant::now() + self.connect_timeout;
        let addresses: Vec<_> = timeout_at(deadline, lookup_host(host_port))
            .await
            .map_err(|_| explain(timed_out("the name did not resolve in time"), host_port))?
            .map_err(|error| explain(error, host_port))?
            .collect();
        first_that_answers(&addresses, deadline).await.map_err(|error| explain(error, host_port))
    }
}

impl Default for TcpNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl Network for TcpNetwork {
    fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        async move { Ok(Box::new(self.connect_any(host_port).await?) as Connection) }.boxed()
    }

    fn bind<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        async move {
            let mut last = None;
            for address in lookup_host(host_port).await.map_err(|e| explain_bind(e, host_port))? {
                match listen(address) {
                    Ok(listener) => return Ok(Box::new(TcpPort(listener)) as Box<dyn Listener>),
                    Err(error) => last = Some(error),
                }
            }
            Err(explain_bind(last.unwrap_or_else(no_address), host_port))
        }
        .boxed()
    }
}

struct TcpPort(TcpListener);

impl Listener for TcpPort {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        async move {
            let (stream, peer) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Connection, peer))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A node that restarts must get its port back while connections of its
    // former life still linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Tries the addresses in turn. Each gets an equal share of the time left, so
/// that one that swallows packets does not hide one that answers.
async fn first_that_answers(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut answer: Option<io::Error> = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let untried = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let attempt = timeout_at(Instant::now() + left / untried, TcpStream::connect(address));
        let error = match attempt.await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => timed_out("no answer in time"),
        };
        // "Refused" must mean that nothing listens anywhere: an error that
        // leaves it open is the one to report.
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if answer.as_ref().is_none_or(refused) {
            answer = Some(error);
        }
    }
    Err(answer.unwrap_or_else(no_address))
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

fn explain(error: io::Error, host_port: &str) -> io::Error {
    io::Error::new(error.kind(), format!("cannot connect to {host_port}: {error}"))
}

fn explain_bind(error: io::Error, host_port: &str) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {host_port}: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_names_resolve() {
        let network = TcpNetwork::new();
        let mut listener = network.bind("localhost:0").await.unwrap();
        let host_port = format!("localhost:{}", listener.local_addr().unwrap().port());
        let (dialed, accepted) = tokio::join!(network.connect(&host_port), listener.accept());
        let (mut dialed, (mut accepted, peer)) = (dialed.unwrap(), accepted.unwrap());
        assert!(peer.ip().is_loopback());
        dialed.write_all(b"ping").await.unwrap();
        let mut four = [0; 4];
        accepted.read_exact(&mut four).await.unwrap();
        accepted.write_all(&four).await.unwrap();
        dialed.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_refused_and_says_so() {
        let network = TcpNetwork::new();
        let listener = network.bind("127.0.0.1:0").await.unwrap();
        let host_port = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = network.connect(&host_port).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&host_port), "{error}");
    }

    #[tokio::test]
    async fn a_later_address_is_tried_when_the_first_refuses() {
        let network = TcpNetwork::new();
        let refusing = network.bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = network.bind("127.0.0.1:0").await.unwrap();
        let listening = listener.local_addr().unwrap();
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        assert!(first_that_answers(&[refusing, listening], deadline).await.is_ok());
        let error = first_that_answers(&[refusing, refusing], deadline).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_taken_port_names_itself() {
        let network = TcpNetwork::new();
        let listener = network.bind("127.0.0.1:0").await.unwrap();
        let taken = listener.local_addr().unwrap().to_string();
        let error = network.bind(&taken).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken), "{error}");
    }
}
