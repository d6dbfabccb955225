//! The HTTP/2 settings of every connection, of both ends.

use std::time::Duration;

use tonic::transport::{Endpoint, Server};

/// A ping after this much silence, and this long for its answer, or the
/// connection is given up.
#[derive(Clone, Copy, Debug)]
struct Keepalive {
    interval: Duration,
    timeout: Duration,
}

/// Most applications are silent between two heartbeats, and a laptop may be for
/// longer: this only finds hosts that are gone. Longer than the pause between the
/// heartbeats of any usual lease, or each of them would have a ping beside it.
const CLIENTS_KEEPALIVE: Keepalive =
    Keepalive { interval: Duration::from_secs(20), timeout: Duration::from_secs(5) };
/// Nodes speak all the time. A path that carries nothing for four seconds was
/// cut, and TCP, which waits twice as long after each attempt, would notice that
/// it was mended only as long again afterwards: a new connection is sooner.
const PEERS_KEEPALIVE: Keepalive =
    Keepalive { interval: Duration::from_secs(1), timeout: Duration::from_secs(3) };

/// Streams at a time on one connection. A well-behaved client has one session
/// and a few calls; tools that carry many sessions open more connections.
const CONCURRENT_STREAMS_MAX: u32 = 64;

/// Headers of one request, all together. Ours stay under 1 KiB with a token.
const HEADER_LIST_BYTES_MAX: u32 = 8 * 1024;

/// Streams a client may open and reset before we have looked at them: the
/// "rapid reset" attack, at its usual bound.
const PENDING_RESETS_MAX: usize = 20;

/// Streams we reset because of the peer's errors, before we hang up.
const LOCAL_ERROR_RESETS_MAX: usize = 64;

/// Who talks on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Applications and administrators: small messages, many connections.
    Clients,
    /// Nodes among themselves: appends and snapshot chunks, few connections.
    Peers,
}

impl Traffic {
    fn keepalive(self) -> Keepalive {
        match self {
            Self::Clients => CLIENTS_KEEPALIVE,
            Self::Peers => PEERS_KEEPALIVE,
        }
    }

    /// How much one stream may send before it is read, in bytes: a bound on
    /// what a connection can make the other side hold.
    fn stream_window_bytes(self) -> u32 {
        match self {
            Self::Clients => 64 * 1024 - 1,
            // Several chunks of a snapshot, so that it is not paced by round trips.
            Self::Peers => 4 * 1024 * 1024,
        }
    }

    fn connection_window_bytes(self) -> u32 {
        match self {
            Self::Clients => 512 * 1024,
            Self::Peers => 16 * 1024 * 1024,
        }
    }
}

/// A tonic server with our limits, to which the caller adds services and
/// serves [`super::accept_loop`].
///
/// Windows are fixed, not adaptive: adaptive ones grow by measurement, which
/// costs pings and lets the other end decide how much memory it may fill.
pub fn server(traffic: Traffic) -> Server {
    let Keepalive { interval, timeout } = traffic.keepalive();
    Server::builder()
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .http2_keepalive_interval(Some(interval))
        .http2_keepalive_timeout(Some(timeout))
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS_MAX))
        .http2_adaptive_window(Some(false))
        .initial_stream_window_size(traffic.stream_window_bytes())
        .initial_connection_window_size(traffic.connection_window_bytes())
}

/// The settings of a connecting end.
///
/// A client does not ping: its session has heartbeats of its own, and a client
/// that gave a silent connection up would close it, which the server takes for
/// the death of the process, while the client believes in its lease.
pub(super) fn endpoint(endpoint: Endpoint, traffic: Traffic) -> Endpoint {
    let Keepalive { interval, timeout } = traffic.keepalive();
    let endpoint = match traffic {
        Traffic::Clients => endpoint,
        Traffic::Peers => endpoint
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true),
    };
    endpoint
        .http2_adaptive_window(false)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(traffic.stream_window_bytes())
        .initial_connection_window_size(traffic.connection_window_bytes())
}
