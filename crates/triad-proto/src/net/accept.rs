//! Accepting connections, within limits and whatever comes.
//!
//! tonic's own listener keeps a connection that never says a word for ever,
//! any number of them. Here a connection reaches tonic only after it took a
//! slot, finished its TLS handshake and sent its first bytes, all within one
//! deadline; nothing that arrives ends the loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::closed::Watched;
use super::handshakes::{Handshakes, Room};
use super::slots::{NoSlot, Slot, Slots};
use super::stream::{FirstBytesRead, ServerStream};
use super::tls::ServerTls;
use super::turns::{InLine, Line};
use super::wire::Wire;
use super::{Connection, Listener};
use crate::identity::{IdentityError, PeerIdentity};

/// What every HTTP/2 client sends first.
const HTTP2_PREFACE: &[u8; FirstBytesRead::MAX] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After an accept error that is ours (out of file descriptors or memory):
/// long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One address may have this part of all connections.
const ADDRESS_SHARE: usize = 4;

/// Refused connections are logged at most this often, so that a scanner or a
/// misconfigured host cannot fill the disk.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
const LOGS_PER_INTERVAL: u32 = 10;

/// The first bytes a listener insists on before it serves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// The HTTP/2 client preface: every gRPC port.
    Http2Preface,
    /// Any byte at all: the port of the dashboard.
    Any,
}

/// The bounds of one listener.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// Open connections; one more is closed at once, so that its client goes
    /// elsewhere instead of waiting.
    pub connections_max: usize,
    /// Open connections from one IPv4 address or IPv6 /64.
    pub connections_per_address_max: usize,
    /// Handshakes under way. When there are so many, an address that has more
    /// than its share gives way to one that has less; and where all have few,
    /// more wait in the kernel's queue and are not refused: after a failover
    /// all clients come at once.
    pub handshakes_max: usize,
    /// Handshakes under way from one address; one more is closed.
    pub handshakes_per_address_max: usize,
    /// From accept to the first bytes, the TLS handshake included.
    pub handshake_timeout: Duration,
    /// What has to arrive within that time.
    pub first_bytes: FirstBytes,
    /// Connections that have something to say are heard a few at a time, with all that is
    /// ready besides in between. Not those that others wait for.
    pub in_turns: bool,
}

impl AcceptLimits {
    /// For the port of clients and administrators.
    pub fn clients() -> Self {
        Self {
            // An application process holds one. Each costs some 35 KB and one
            // file descriptor; sites with more run several per connection.
            connections_max: 16_384,
            // A compute host may run hundreds of processes, a NAT hide a site.
            connections_per_address_max: 4_096,
            handshakes_max: 1_024,
            // Half, so that no single host can hold all places with silence.
            handshakes_per_address_max: 512,
            handshake_timeout: Duration::from_secs(5),
            first_bytes: FirstBytes::Http2Preface,
            in_turns: true,
        }
    }

    /// The same for a process that may have so many files open for its
    /// connections. One address may take a quarter of them, as always: with
    /// all of them it would keep everybody else out.
    pub fn within(self, files: usize) -> Self {
        let connections_max = self.connections_max.min(files).max(1);
        let per_address_max = connections_max.div_ceil(ADDRESS_SHARE);
        Self {
            connections_max,
            connections_per_address_max: self.connections_per_address_max.min(per_address_max),
            handshakes_max: self.handshakes_max.min(per_address_max),
            handshakes_per_address_max: self
                .handshakes_per_address_max
                .min(per_address_max / 2 + 1),
            ..self
        }
    }

    /// For the port of peers: a cluster has a handful of nodes with a few
    /// connections each, and all of them may share one machine.
    pub fn peers() -> Self {
        Self {
            connections_max: 128,
            connections_per_address_max: 64,
            handshakes_max: 64,
            handshakes_per_address_max: 32,
            in_turns: false,
            ..Self::clients()
        }
    }
}

/// The connections of `listener`, ready for tonic's
/// `serve_with_incoming_shutdown`.
///
/// The stream never ends and yields no error: what goes wrong concerns one
/// connection and is logged at debug. Without `tls` connections are served in
/// plain text. Dropping the stream closes the port and all handshakes under
/// way at once.
pub fn accept_loop(
    listener: Box<dyn Listener>,
    tls: Option<Arc<ServerTls>>,
    limits: AcceptLimits,
) -> impl Stream<Item = io::Result<ServerStream>> + Send + Unpin + 'static {
    let line = limits.in_turns.then(|| {
        let (line, serving) = Line::new();
        tokio::spawn(serving);
        line
    });
    let accepting = Accepting {
        listener,
        tls,
        line,
        connections: Slots::new(limits.connections_max, limits.connections_per_address_max),
        waiting: Slots::new(usize::MAX, limits.handshakes_per_address_max),
        handshakes: Handshakes::new(limits.handshakes_max),
        held: None,
        pause_until: None,
        log: LimitedLog::default(),
        limits,
    };
    Box::pin(futures::stream::unfold(accepting, |mut accepting| async move {
        let stream = accepting.next().await;
        Some((Ok(stream), accepting))
    }))
}

struct Accepting {
    listener: Box<dyn Listener>,
    tls: Option<Arc<ServerTls>>,
    limits: AcceptLimits,
    line: Option<Arc<Line>>,
    connections: Arc<Slots>,
    waiting: Arc<Slots>,
    handshakes: Handshakes<Result<ServerStream, (SocketAddr, Unfit)>>,
    /// A connection for whose handshake there is no room yet.
    held: Option<Waiting>,
    pause_until: Option<Instant>,
    log: LimitedLog,
}

impl Accepting {
    async fn next(&mut self) -> ServerStream {
        loop {
            if let Some(held) = self.held.take() {
                self.begin_or_hold(held);
            }
            let room = self.held.is_none();
            let accept = accept_after(self.pause_until, &mut *self.listener);
            tokio::select! {
                biased;
                Some(finished) = self.handshakes.next() => match finished {
                    Ok(Ok(stream)) => return stream,
                    Ok(Err((peer, unfit))) => self.log.refused(peer, &unfit),
                    Err(error) if error.is_cancelled() => self.log.gave_way(),
                    Err(error) => debug!(%error, "a handshake task died"),
                },
                accepted = accept, if room => {
                    self.pause_until = None;
                    match accepted {
                        Ok((connection, peer)) => self.take(connection, peer),
                        Err(error) => self.accept_failed(&error),
                    }
                }
            }
        }
    }

    /// Takes a connection in, or closes it.
    fn take(&mut self, connection: Connection, peer: SocketAddr) {
        let slots = || Ok((self.connections.take(peer.ip())?, self.waiting.take(peer.ip())?));
        match slots() {
            Ok(slots) => {
                let connection = match &self.line {
                    Some(line) => Box::new(InLine::new(connection, line.clone())),
                    None => connection,
                };
                self.begin_or_hold(Waiting { connection, peer, slots });
            }
            Err(no_slot) => self.log.refused(peer, &Unfit::NoSlot(no_slot)),
        }
    }

    fn begin_or_hold(&mut self, waiting: Waiting) {
        match self.handshakes.room_for(waiting.peer.ip()) {
            Room::Yes => self.begin(waiting),
            Room::Later => self.held = Some(waiting),
            Room::No => self.log.refused(waiting.peer, &Unfit::TooMany),
        }
    }

    /// Starts the handshake of a connection in a task of its own.
    fn begin(&mut self, Waiting { connection, peer, slots: (slot, waiting) }: Waiting) {
        let tls = self.tls.clone();
        let first_bytes = self.limits.first_bytes;
        let handshake_timeout = self.limits.handshake_timeout;
        self.handshakes.begin(peer.ip(), async move {
            let _waiting = waiting;
            timeout(handshake_timeout, handshake(connection, peer, tls, first_bytes, slot))
                .await
                .unwrap_or(Err(Unfit::TooSlow(handshake_timeout)))
                .map_err(|unfit| (peer, unfit))
        });
    }

    fn accept_failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        // These three concern a connection that is gone already; the rest is
        // our own shortage, and trying again at once would only spin.
        if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            self.pause_until = Some(Instant::now() + ACCEPT_PAUSE);
            self.log.accept_failed(error);
        }
    }
}

/// A connection that was taken in, with its slots: as an open connection, and
/// as one whose handshake is under way.
struct Waiting {
    connection: Connection,
    peer: SocketAddr,
    slots: (Slot, Slot),
}

fn accept_after(
    pause_until: Option<Instant>,
    listener: &mut dyn Listener,
) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
    match pause_until {
        None => listener.accept(),
        Some(until) => Box::pin(async move {
            sleep_until(until).await;
            listener.accept().await
        }),
    }
}

async fn handshake(
    connection: Connection,
    peer: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    expected: FirstBytes,
    slot: Slot,
) -> Result<ServerStream, Unfit> {
    let watched = Watched::new(connection);
    let mut wire = match tls {
        None => Wire::plain(watched),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls.current());
            Wire::tls(acceptor.accept(watched).await.map_err(Unfit::Handshake)?)
        }
    };
    let identity = wire.peer_certificate().map(PeerIdentity::from_certificate).transpose()?;
    let first_bytes = read_first_bytes(&mut wire, expected).await?;
    Ok(ServerStream::new(wire, first_bytes, peer, identity.map(Arc::new), slot))
}

async fn read_first_bytes(
    wire: &mut (impl AsyncRead + Unpin),
    expected: FirstBytes,
) -> Result<FirstBytesRead, Unfit> {
    let mut bytes = [0; FirstBytesRead::MAX];
    let mut length = 0;
    loop {
        let count = wire.read(&mut bytes[length..]).await.map_err(Unfit::Handshake)?;
        length += count;
        match expected {
            _ if count == 0 => return Err(Unfit::ClosedEarly),
            FirstBytes::Any => return Ok(FirstBytesRead::new(&bytes[..length])),
            FirstBytes::Http2Preface => {
                if !HTTP2_PREFACE.starts_with(&bytes[..length]) {
                    return Err(Unfit::NotHttp2);
                }
                if length == HTTP2_PREFACE.len() {
                    return Ok(FirstBytesRead::new(&bytes));
                }
            }
        }
    }
}

/// Why a connection was not served.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("{0}")]
    NoSlot(#[from] NoSlot),
    #[error("too many handshakes are under way, and most of them are this address's")]
    TooMany,
    #[error("the handshake failed: {0}")]
    Handshake(io::Error),
    #[error("it sent nothing usable within {0:?}")]
    TooSlow(Duration),
    #[error("it was closed before its first bytes")]
    ClosedEarly,
    #[error("its first bytes are not HTTP/2 (TLS on one side only, or not gRPC at all)")]
    NotHttp2,
    #[error("its client certificate names nobody: {0}")]
    Identity(#[from] IdentityError),
}

/// A log that says at most so much, and then how much it left out.
#[derive(Default)]
struct LimitedLog {
    interval_start: Option<Instant>,
    logged: u32,
    left_out: u64,
}

impl LimitedLog {
    fn refused(&mut self, peer: SocketAddr, unfit: &Unfit) {
        if self.may_log() {
            debug!(%peer, reason = %unfit, "connection refused");
        }
    }

    fn gave_way(&mut self) {
        if self.may_log() {
            debug!("a handshake gave way to one of an address with fewer of them");
        }
    }

    fn accept_failed(&mut self, error: &io::Error) {
        if self.may_log() {
            debug!(%error, "cannot accept connections");
        }
    }

    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        if self.interval_start.is_none_or(|start| now >= start + LOG_INTERVAL) {
            if self.left_out > 0 {
                debug!(count = self.left_out, "more refused connections, not logged one by one");
            }
            *self = Self { interval_start: Some(now), logged: 0, left_out: 0 };
        }
        let may = self.logged < LOGS_PER_INTERVAL;
        if may {
            self.logged += 1;
        } else {
            self.left_out += 1;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_few_files_takes_few_connections_and_of_one_address_fewer() {
        let all = AcceptLimits::clients();
        let (same, few) = (all.clone().within(100_000), all.within(400));
        assert_eq!((same.connections_max, same.connections_per_address_max), (16_384, 4_096));
        assert_eq!((same.handshakes_max, same.handshakes_per_address_max), (1_024, 512));
        assert_eq!((few.connections_max, few.connections_per_address_max), (400, 100));
        assert_eq!((few.handshakes_max, few.handshakes_per_address_max), (100, 51));
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_is_bounded_and_begins_anew() {
        let mut log = LimitedLog::default();
        let allowed = (0..100).filter(|_| log.may_log()).count();
        assert_eq!(allowed, LOGS_PER_INTERVAL as usize);
        assert_eq!(log.left_out, 90);
        tokio::time::advance(LOG_INTERVAL).await;
        assert!(log.may_log());
        assert_eq!(log.left_out, 0);
    }
}
