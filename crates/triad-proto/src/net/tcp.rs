//! The real network: TCP of the operating system.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    sources: Arc<Sources>,
}

/// The addresses to connect from, in turn; where there are none the system
/// chooses.
#[derive(Debug, Default)]
struct Sources {
    addresses: Vec<IpAddr>,
    next: AtomicUsize,
}

impl Sources {
    /// The next one of the family of `target`, if there is one.
    fn next_for(&self, target: &SocketAddr) -> Option<IpAddr> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let source = *self.addresses.get(turn.checked_rem(self.addresses.len())?)?;
        (source.is_ipv4() == target.is_ipv4()).then_some(source)
    }

    async fn connect(&self, target: SocketAddr) -> io::Result<TcpStream> {
        let Some(source) = self.next_for(&target) else { return TcpStream::connect(target).await };
        let socket = match target {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(target).await
    }
}

/// The attempts of this process that were refused, by `host:port`, whoever made them.
static REFUSALS: Refusals = Refusals(Mutex::new(BTreeMap::new()));

/// Clusters have three servers, and a process few clusters.
const REFUSALS_MAX: usize = 256;
/// Of one server so many attempts are remembered, and none sooner after another than this: whoever
/// asks late wants to know whether there was one in time.
const ATTEMPTS_MAX: usize = 32;
const ATTEMPTS_APART: Duration = Duration::from_millis(250);

struct Refusals(Mutex<BTreeMap<String, VecDeque<Attempt>>>);

/// An attempt to connect that was refused.
#[derive(Clone, Copy)]
struct Attempt {
    begun: Instant,
    refused: Instant,
}

impl Refusals {
    fn note(&self, host_port: &str, attempt: Attempt) {
        let mut all = self.all();
        if all.len() >= REFUSALS_MAX && !all.contains_key(host_port) {
            let oldest = all.iter().min_by_key(|(_, known)| known.back().map(|last| last.begun));
            oldest.map(|(name, _)| name.clone()).and_then(|name| all.remove(&name));
        }
        let known = all.entry(host_port.to_owned()).or_default();
        if known.back().is_some_and(|last| attempt.begun < last.begun + ATTEMPTS_APART) {
            return;
        }
        if known.len() >= ATTEMPTS_MAX {
            known.pop_front();
        }
        known.push_back(attempt);
    }

    fn first_since(&self, host_port: &str, since: Instant) -> Option<Instant> {
        let all = self.all();
        let first = all.get(host_port)?.iter().find(|attempt| attempt.begun >= since)?;
        Some(first.refused)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Attempt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TcpNetwork {
    /// A network with the standard connect timeout of three seconds.
    pub fn new() -> Self {
        Self::with_connect_timeout(CONNECT_TIMEOUT)
    }

    /// The same with another bound on the time to connect.
    pub fn with_connect_timeout(connect_timeout: Duration) -> Self {
        Self { connect_timeout, sources: Arc::default() }
    }

    /// The same, connecting from these addresses of this machine in turn. A node
    /// bounds the connections of one address, so whoever plays more machines than
    /// one needs more addresses than one.
    pub fn from_addresses(self, addresses: Vec<IpAddr>) -> Self {
        Self { sources: Arc::new(Sources { addresses, next: AtomicUsize::new(0) }), ..self }
    }

    async fn connect_any(&self, host_port: &str) -> io::Result<TcpStream> {
        let begun = Instant::now();
        let answer = self.connect_by(host_port, begun + self.connect_timeout).await;
        if answer.as_ref().is_err_and(is_refused) {
            REFUSALS.note(host_port, Attempt { begun, refused: Instant::now() });
        }
        answer
    }

    async fn connect_by(&self, host_port: &str, deadline: Instant) -> io::Result<TcpStream> {
        let addresses: Vec<_> = timeout_at(deadline, lookup_host(host_port))
            .await
            .map_err(|_| explain(timed_out("the name did not resolve in time"), host_port))?
            .map_err(|error| explain(error, host_port))?
            .collect();
        let answer = first_that_answers(&self.sources, &addresses, deadline).await;
        answer.map_err(|error| explain(error, host_port))
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

    fn refused_since(&self, host_port: &str, since: Instant) -> Option<Instant> {
        REFUSALS.first_since(host_port, since)
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
async fn first_that_answers(
    sources: &Sources,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> io::Result<TcpStream> {
    let mut answer: Option<io::Error> = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let untried = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let attempt = timeout_at(Instant::now() + left / untried, sources.connect(*address));
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
        if answer.as_ref().is_none_or(is_refused) {
            answer = Some(error);
        }
    }
    Err(answer.unwrap_or_else(no_address))
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
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
    async fn a_refusal_is_known_to_all_and_says_nothing_of_later() {
        let (one, other) = (TcpNetwork::new(), TcpNetwork::new());
        let listener = one.bind("127.0.0.1:0").await.unwrap();
        let host_port = listener.local_addr().unwrap().to_string();
        let before = Instant::now();
        one.connect(&host_port).await.unwrap();
        assert_eq!(other.refused_since(&host_port, before), None);
        drop(listener);
        assert!(one.connect(&host_port).await.is_err());
        assert!(other.refused_since(&host_port, before).is_some());
        assert_eq!(other.refused_since(&host_port, Instant::now()), None);
        assert_eq!(other.refused_since("127.0.0.1:1", before), None);
    }

    /// However often others are refused after it, the first that counts is remembered for a while.
    #[test]
    fn of_many_refusals_the_first_that_counts_is_told() {
        let refusals = Refusals(Mutex::new(BTreeMap::new()));
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for ms in 0..=5_000 {
            refusals.note("lic-a:1", Attempt { begun: at(ms), refused: at(ms + 1) });
        }
        for (since, first) in [(0, 0), (1, 250), (4_000, 4_000), (4_990, 5_000)] {
            assert_eq!(refusals.first_since("lic-a:1", at(since)), Some(at(first + 1)), "{since}");
        }
        assert_eq!(refusals.first_since("lic-a:1", at(5_001)), None);
        for minute in 1..=60 {
            let begun = at(minute * 60_000);
            refusals.note("lic-a:1", Attempt { begun, refused: begun });
        }
        assert_eq!(refusals.first_since("lic-a:1", start), Some(at(29 * 60_000)));
        for other in 0..REFUSALS_MAX {
            refusals.note(&format!("lic-{other}:1"), Attempt { begun: at(0), refused: at(1) });
        }
        assert_eq!(refusals.all().len(), REFUSALS_MAX);
    }

    #[tokio::test]
    async fn a_later_address_is_tried_when_the_first_refuses() {
        let network = TcpNetwork::new();
        let refusing = network.bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = network.bind("127.0.0.1:0").await.unwrap();
        let listening = listener.local_addr().unwrap();
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let any = Sources::default();
        assert!(first_that_answers(&any, &[refusing, listening], deadline).await.is_ok());
        let error = first_that_answers(&any, &[refusing, refusing], deadline).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn connections_come_from_the_given_addresses_in_turn() {
        let sources = ["127.0.0.2", "127.0.0.3"].map(|ip| ip.parse().unwrap());
        let network = TcpNetwork::new().from_addresses(sources.to_vec());
        let mut listener = network.bind("127.0.0.1:0").await.unwrap();
        let host_port = listener.local_addr().unwrap().to_string();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (dialed, accepted) = tokio::join!(network.connect(&host_port), listener.accept());
            dialed.unwrap();
            seen.push(accepted.unwrap().1.ip());
        }
        assert_eq!(seen, [sources[0], sources[1], sources[0]]);
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
