//! The whole way of a connection: network, limits, TLS, tonic, and back.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

use super::testing::{Authority, cluster_id, pipe};
use super::*;
use crate::identity::NodeIdentity;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn required(authority: &Authority) -> ClientCertificates {
    ClientCertificates::Required(authority.ca_pem.clone().into_bytes())
}

/// A tonic server that tells the test about the connection of each request.
struct TestServer {
    host_port: String,
    requests: mpsc::UnboundedReceiver<ConnectionInfo>,
    _stop: oneshot::Sender<()>,
}

impl TestServer {
    async fn start(tls: Option<ServerTls>) -> Self {
        let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
        let host_port = listener.local_addr().unwrap().to_string();
        let incoming = accept_loop(listener, tls.map(Arc::new), AcceptLimits::clients());
        let (seen, requests) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            seen.send(request.extensions().get::<ConnectionInfo>().unwrap().clone()).ok();
            async { Ok::<_, Infallible>(http::Response::new(Body::empty())) }
        });
        let serving = server(Traffic::Clients).serve_with_incoming_shutdown(
            service,
            incoming,
            stopped.map(|_| ()),
        );
        tokio::spawn(serving);
        Self { host_port, requests, _stop: stop }
    }

    async fn channel(&self, tls: Option<ClientTls>) -> Result<Channel, ChannelError> {
        channel(parameters(&self.host_port, tls)).await
    }

    /// Connects and calls; the error kind if either fails.
    async fn call(&self, tls: Option<ClientTls>) -> Result<Channel, Option<io::ErrorKind>> {
        let mut channel = self.channel(tls).await.map_err(|error| error.io_kind())?;
        call(&mut channel).await.map_err(|error| io_error_kind(&error))?;
        Ok(channel)
    }
}

fn parameters(host_port: &str, tls: Option<ClientTls>) -> ChannelParameters {
    ChannelParameters {
        host_port: host_port.to_owned(),
        connector: Connector::new(Arc::new(TcpNetwork::new()), tls),
        traffic: Traffic::Clients,
        call_timeout: None,
    }
}

async fn call(channel: &mut Channel) -> Result<(), tonic::transport::Error> {
    let request = http::Request::builder().uri("/test/Call").body(Body::empty()).unwrap();
    channel.ready().await?.call(request).await.map(|_| ())
}

#[tokio::test]
async fn a_call_in_plain_text_tells_where_it_came_from() {
    let mut server = TestServer::start(None).await;
    server.call(None).await.unwrap();
    let info = server.requests.recv().await.unwrap();
    assert!(info.peer.ip().is_loopback());
    assert!(!info.closed.is_closed());
    assert_eq!(info.identity, None);
}

#[tokio::test]
async fn a_client_certificate_becomes_the_identity_of_its_requests() {
    let authority = Authority::new();
    let mut server = TestServer::start(Some(authority.server_tls(1))).await;

    server.call(Some(authority.client_tls(None))).await.unwrap();
    assert_eq!(server.requests.recv().await.unwrap().identity, None);

    server.call(Some(authority.client_tls(Some(authority.node(2))))).await.unwrap();
    let identity = server.requests.recv().await.unwrap().identity.unwrap();
    assert_eq!(identity.node, Some(NodeIdentity { cluster_id: cluster_id(), node_id: 2 }));

    server.call(Some(authority.client_tls(Some(authority.application("cad"))))).await.unwrap();
    let identity = server.requests.recv().await.unwrap().identity.unwrap();
    assert_eq!((identity.node.clone(), identity.common_name.as_deref()), (None, Some("cad")));
}

#[tokio::test]
async fn a_server_of_a_foreign_or_expired_certificate_is_not_talked_to() {
    let (own, foreign) = (Authority::new(), Authority::new());
    let invalid = Some(io::ErrorKind::InvalidData);

    let server = TestServer::start(Some(foreign.server_tls(1))).await;
    assert_eq!(server.call(Some(own.client_tls(None))).await.unwrap_err(), invalid);

    let expired = own.expired_node(1).identity();
    let tls = ServerTls::new(&expired, &ClientCertificates::Ignored).unwrap();
    let server = TestServer::start(Some(tls)).await;
    let error = server.channel(Some(own.client_tls(None))).await.unwrap_err();
    assert_eq!(error.io_kind(), invalid);
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn a_peer_that_dials_one_node_is_not_answered_by_another() {
    let authority = Authority::new();
    let server = TestServer::start(Some(authority.server_tls(1))).await;
    let tls = authority.client_tls(Some(authority.node(3)));
    server.call(Some(tls.for_node(1))).await.unwrap();
    let kind = server.call(Some(tls.for_node(2))).await.unwrap_err();
    assert_eq!(kind, Some(io::ErrorKind::InvalidData));
}

#[tokio::test]
async fn the_peers_port_serves_only_certificates_of_the_cluster() {
    let (own, foreign) = (Authority::new(), Authority::new());
    let tls = ServerTls::new(&own.node(1).identity(), &required(&own)).unwrap();
    let mut server = TestServer::start(Some(tls)).await;
    let trusting = |identity: Option<Identity>| {
        Some(ClientTls::new(own.ca_pem.as_bytes(), identity.as_ref()).unwrap())
    };
    assert!(server.call(trusting(None)).await.is_err());
    assert!(server.call(trusting(Some(foreign.node(2).identity()))).await.is_err());
    assert!(server.call(trusting(Some(own.expired_node(2).identity()))).await.is_err());
    assert!(server.requests.try_recv().is_err(), "a request got through");

    server.call(trusting(Some(own.node(2).identity()))).await.unwrap();
    server.requests.recv().await.unwrap();
}

#[tokio::test]
async fn whatever_is_sent_to_the_port_the_next_client_is_served() {
    let authority = Authority::new();
    let server = TestServer::start(Some(authority.server_tls(1))).await;
    let network = TcpNetwork::new();
    let rubbish: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 0xff, 0xff, 0], &[0; 300], PREFACE];
    for bytes in rubbish {
        let mut connection = network.connect(&server.host_port).await.unwrap();
        connection.write_all(bytes).await.unwrap();
        connection.shutdown().await.unwrap();
        // Closed by the server, be it by an end or by a reset.
        connection.read_to_end(&mut Vec::new()).await.ok();
    }
    assert!(server.call(None).await.is_err(), "plain text on a TLS port");
    server.call(Some(authority.client_tls(None))).await.unwrap();

    let plain = TestServer::start(None).await;
    assert!(plain.call(Some(authority.client_tls(None))).await.is_err(), "TLS on a plain port");
    plain.call(None).await.unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Arc::new(old.server_tls(1));
    let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
    let host_port = listener.local_addr().unwrap().to_string();
    let mut incoming = accept_loop(listener, Some(tls.clone()), AcceptLimits::clients());
    let accepting = tokio::spawn(async move { while incoming.next().await.is_some() {} });

    let client = old.client_tls(None);
    let connector = Connector::new(Arc::new(TcpNetwork::new()), Some(client.clone()));
    connector.connect(&host_port).await.unwrap();
    let clients = ClientCertificates::Ignored;
    tls.reload(&new.node(1).identity(), &clients).unwrap();
    assert!(connector.connect(&host_port).await.is_err());
    client.reload(new.ca_pem.as_bytes(), None).unwrap();
    connector.connect(&host_port).await.unwrap();
    accepting.abort();
}

#[tokio::test]
async fn the_death_of_a_client_is_seen_through_tonic() {
    let authority = Authority::new();
    for (server_tls, client_tls) in
        [(None, None), (Some(authority.server_tls(1)), Some(authority.client_tls(None)))]
    {
        let mut server = TestServer::start(server_tls).await;
        let channel = server.call(client_tls).await.unwrap();
        let info = server.requests.recv().await.unwrap();
        assert!(!info.closed.is_closed());
        drop(channel);
        info.closed.closed().await;
    }
}

#[tokio::test]
async fn a_reset_counts_as_closed_and_our_own_drop_does_not() {
    let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
    let host_port = listener.local_addr().unwrap().to_string();
    let mut incoming = accept_loop(listener, None, AcceptLimits::clients());
    let connector = Connector::new(Arc::new(TcpNetwork::new()), None);

    let mut client = connector.connect(&host_port).await.unwrap();
    client.write_all(PREFACE).await.unwrap();
    let mut accepted = incoming.next().await.unwrap().unwrap();
    let info = accepted.info().clone();
    accepted.write_all(b"never read, so that the kernel resets").await.unwrap();
    // Wait until the bytes have arrived, or the close would be a clean one.
    let mut one = [0];
    client.read_exact(&mut one).await.unwrap();
    drop(client);
    accepted.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(info.closed.is_closed());

    let mut client = connector.connect(&host_port).await.unwrap();
    client.write_all(PREFACE).await.unwrap();
    let accepted = incoming.next().await.unwrap().unwrap();
    let info = accepted.info().clone();
    let mark = connector.latest().closed().unwrap();
    assert!(!mark.is_closed());
    drop(accepted);
    assert!(!info.closed.is_closed(), "we closed it, not the peer");
    client.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(mark.is_closed(), "the client saw the server close");
}

#[tokio::test]
async fn a_refused_connection_is_told_from_every_other_failure() {
    let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
    let host_port = listener.local_addr().unwrap().to_string();
    drop(accept_loop(listener, None, AcceptLimits::clients()));

    let error = channel(parameters(&host_port, None)).await.unwrap_err();
    assert_eq!(error.io_kind(), Some(io::ErrorKind::ConnectionRefused));
    assert!(error.to_string().contains(&host_port), "{error}");

    let mut lazy = channel_lazy(parameters(&host_port, None)).unwrap();
    let error = call(&mut lazy).await.unwrap_err();
    assert_eq!(io_error_kind(&error), Some(io::ErrorKind::ConnectionRefused));
    let status = tonic::Status::from_error(Box::new(error));
    assert_eq!(io_error_kind(&status), Some(io::ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn an_address_without_a_port_is_refused_before_any_socket() {
    for bad in ["host", "host:port", "host:1/path", "host:1?x", "", "ho st:1"] {
        let error = channel(parameters(bad, None)).await.unwrap_err();
        assert!(matches!(error, ChannelError::Address(_)), "{bad:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_cut_off_at_the_deadline() {
    let authority = Authority::new();
    for tls in [None, Some(Arc::new(authority.server_tls(1)))] {
        let (dialer, listener) = pipe();
        let limits = AcceptLimits::clients();
        let timeout = limits.handshake_timeout;
        let mut incoming = pin!(accept_loop(listener, tls, limits));
        let began = tokio::time::Instant::now();
        let mut silent = dialer.dial("10.0.0.1");
        let mut half = dialer.dial("10.0.0.2");
        half.write_all(&PREFACE[..12]).await.unwrap();
        tokio::select! {
            _ = incoming.next() => panic!("a silent connection was served"),
            end = silent.read_u8() => assert!(end.is_err()),
        }
        assert!(began.elapsed() >= timeout && began.elapsed() < timeout * 2);
        let mut rest = Vec::new();
        tokio::select! {
            _ = incoming.next() => panic!("half a preface was served"),
            // Under TLS a first alert may come before the end.
            _ = half.read_to_end(&mut rest) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_does_not_hold_up_the_next() {
    let (dialer, listener) = pipe();
    let mut incoming = accept_loop(listener, None, AcceptLimits::clients());
    let _silent = dialer.dial("10.0.0.1");
    let mut good = dialer.dial("10.0.0.1");
    good.write_all(PREFACE).await.unwrap();
    good.write_all(b"more").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut stream = incoming.next().await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    // What was read to judge the connection is there to be read again.
    let mut bytes = [0; PREFACE.len() + 4];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes[..PREFACE.len()], PREFACE);
    assert_eq!(&bytes[PREFACE.len()..], b"more");
}

#[tokio::test(start_paused = true)]
async fn one_address_cannot_take_all_slots_and_gives_back_what_it_took() {
    let (dialer, listener) = pipe();
    let limits = AcceptLimits { connections_per_address_max: 2, ..AcceptLimits::clients() };
    let mut incoming = accept_loop(listener, None, limits);
    let mut dial = async |ip| {
        let mut near = dialer.dial(ip);
        near.write_all(PREFACE).await.unwrap();
        tokio::select! {
            biased;
            stream = incoming.next() => Some((near, stream.unwrap().unwrap())),
            end = near.read_u8() => end.map(|_| unreachable!("the server sent")).ok(),
        }
    };
    let first = dial("10.0.0.1").await.unwrap();
    let _second = dial("10.0.0.1").await.unwrap();
    assert!(dial("10.0.0.1").await.is_none(), "a third of one address");
    let _other = dial("10.0.0.2").await.unwrap();
    drop(first);
    dial("10.0.0.1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_server_closes_at_once_and_waiting_handshakes_are_bounded() {
    let (dialer, listener) = pipe();
    let limits = AcceptLimits {
        connections_max: 3,
        handshakes_per_address_max: 1,
        ..AcceptLimits::clients()
    };
    let mut incoming = accept_loop(listener, None, limits);
    let _waiting = dialer.dial("10.0.0.1");
    let mut same = dialer.dial("10.0.0.1");
    let _two = dialer.dial("10.0.0.2");
    let _three = dialer.dial("10.0.0.3");
    let mut full = dialer.dial("10.0.0.4");
    assert!(incoming.next().now_or_never().is_none());
    let began = tokio::time::Instant::now();
    assert!(same.read_u8().await.is_err());
    assert!(full.read_u8().await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Two hosts that say nothing hold every place for a handshake; a third is
/// served at once all the same, and they are not let in again and again.
#[tokio::test(start_paused = true)]
async fn silence_does_not_keep_others_out() {
    let (dialer, listener) = pipe();
    let limits = AcceptLimits { handshakes_max: 64, ..AcceptLimits::peers() };
    let mut incoming = accept_loop(listener, None, limits);
    let silent: Vec<_> = (0..128).map(|n| dialer.dial(["10.0.0.1", "10.0.0.2"][n % 2])).collect();
    let mut good = dialer.dial("10.0.0.3");
    good.write_all(PREFACE).await.unwrap();
    let began = tokio::time::Instant::now();
    incoming.next().await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(silent);
}

/// Who sends without end is read in turns.
#[tokio::test]
async fn a_flood_lets_the_others_have_their_turn() {
    const EXCHANGES: usize = 20;
    let (dialer, listener) = pipe();
    let mut incoming = accept_loop(listener, None, AcceptLimits::clients());
    let endless = PREFACE.chain(tokio::io::repeat(0));
    dialer.dial_by(Box::new(tokio::io::join(endless, tokio::io::sink())), "10.0.0.1");
    let mut stream = incoming.next().await.unwrap().unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let flooded = tokio::spawn(poll_fn(move |context| -> Poll<()> {
        let mut bytes = vec![0; 4 * 1024];
        let mut read = 0;
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            if Pin::new(&mut stream).poll_read(context, &mut buffer).is_pending() {
                counted.fetch_add(1, Ordering::Relaxed);
                return Poll::Pending;
            }
            read += buffer.filled().len();
            assert!(read <= stream::TURN_BYTES_MAX + bytes.len(), "{read} bytes in one turn");
        }
    }));
    // What comes to others from the network is found after each of its turns, and not after
    // the sixty that the runtime gives to those who are ready.
    let (mut near, mut far) = tokio::net::UnixStream::pair().unwrap();
    for _ in 0..EXCHANGES {
        let (heard, said) = tokio::join!(far.read_u8(), near.write_u8(1));
        assert_eq!((heard.unwrap(), said.unwrap()), (1, ()));
    }
    let turns = turns.load(Ordering::Relaxed);
    assert!((EXCHANGES..=EXCHANGES * 4).contains(&turns), "{turns} turns in {EXCHANGES} exchanges");
    flooded.abort();
    assert!(flooded.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_accept_error_pauses_the_loop_and_never_ends_it() {
    let (dialer, listener) = pipe();
    let mut incoming = accept_loop(listener, None, AcceptLimits::clients());
    const EMFILE: i32 = 24;
    dialer.fail(io::Error::from_raw_os_error(EMFILE));
    dialer.fail(io::ErrorKind::ConnectionAborted.into());
    let mut good = dialer.dial("10.0.0.1");
    good.write_all(PREFACE).await.unwrap();
    let began = tokio::time::Instant::now();
    incoming.next().await.unwrap().unwrap();
    let paused = began.elapsed();
    assert!(paused > Duration::ZERO && paused < Duration::from_secs(1), "{paused:?}");
}

#[tokio::test(start_paused = true)]
async fn the_dashboards_port_takes_any_first_byte() {
    let (dialer, listener) = pipe();
    let limits = AcceptLimits { first_bytes: FirstBytes::Any, ..AcceptLimits::clients() };
    let mut incoming = accept_loop(listener, None, limits);
    let mut browser = dialer.dial("10.0.0.1");
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut stream = incoming.next().await.unwrap().unwrap();
    let mut line = [0; 14];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"GET / HTTP/1.1");
}
