//! The attacker's means: connections from addresses that are not the honest
//! clients', with TLS or without, and HTTP/2 frames of any kind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic::transport::Channel;
use triad_proto::net::{
    ChannelParameters, ClientTls, Connection, Connector, Listener, Network, Traffic, Wire,
    channel_lazy,
};

/// What every HTTP/2 client sends first, and an empty SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Types of frames, and flags.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS_TYPE: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One host of the attacker.
#[derive(Clone)]
pub struct Attacker {
    address: IpAddr,
    tls: ClientTls,
    /// How often something of his was done.
    blows: Arc<AtomicU64>,
}

impl Attacker {
    /// The host 127.0.0.`host`.
    pub fn at(host: u8, tls: &ClientTls) -> Self {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        Attacker { address, tls: tls.clone(), blows: Arc::default() }
    }

    /// The same, as another host, counted together.
    pub fn and_at(&self, host: u8) -> Self {
        Attacker { blows: self.blows.clone(), ..Self::at(host, &self.tls) }
    }

    /// The same, with another certificate or none.
    pub fn with(&self, tls: ClientTls) -> Self {
        Attacker { tls, ..self.clone() }
    }

    /// Counts one blow.
    pub fn strikes(&self) {
        self.blows.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn blows(&self) -> u64 {
        self.blows.load(Ordering::Relaxed)
    }

    /// A bare connection.
    pub async fn tcp(&self, target: &str) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.address, 0))?;
        let target = target.parse().map_err(io::Error::other)?;
        socket.connect(target).await
    }

    /// A connection with its TLS handshake done.
    pub async fn wire(&self, target: &str) -> io::Result<Wire> {
        self.connector().connect(target).await
    }

    /// A connection that speaks HTTP/2.
    pub async fn http2(&self, target: &str) -> io::Result<Wire> {
        let mut wire = self.wire(target).await?;
        wire.write_all(PREFACE).await?;
        wire.write_all(SETTINGS).await?;
        wire.flush().await?;
        Ok(wire)
    }

    /// A well-behaved gRPC channel from this address.
    pub fn channel(&self, target: &str) -> Channel {
        let parameters = ChannelParameters {
            host_port: target.to_owned(),
            connector: self.connector(),
            traffic: Traffic::Clients,
            call_timeout: None,
        };
        channel_lazy(parameters).unwrap()
    }

    fn connector(&self) -> Connector {
        Connector::new(Arc::new(self.clone()), Some(self.tls.clone()))
    }
}

impl Network for Attacker {
    fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        async move { Ok(Box::new(self.tcp(host_port).await?) as Connection) }.boxed()
    }

    fn bind<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        unreachable!("an attacker listens to nobody")
    }
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The headers of a gRPC call, each as it is, and `more`.
pub fn headers(path: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let usual: [(&str, &[u8]); 6] = [
        (":method", b"POST"),
        (":scheme", b"https"),
        (":path", path.as_bytes()),
        (":authority", b"node.triad"),
        ("content-type", b"application/grpc"),
        ("te", b"trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(more) {
        // A literal that is not indexed, with a name of its own.
        block.push(0);
        for text in [name.as_bytes(), value] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// A length of HPACK, with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// A gRPC message with the length that it claims.
pub fn message(claimed: u32, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&claimed.to_be_bytes());
    message.extend_from_slice(bytes);
    message
}

/// The first frame of this type that comes, and how its payload reads; `None`
/// if the connection ends before.
pub async fn until_frame(
    wire: &mut (impl AsyncRead + Unpin),
    mut wanted: impl FnMut(u8, u32) -> bool,
) -> Option<(u8, u32, Vec<u8>)> {
    loop {
        let mut head = [0; 9];
        wire.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        wire.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if wanted(head[3], stream) {
            return Some((head[3], stream, payload));
        }
    }
}

/// Reads until the other side closes.
pub async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(count) if count > 0) {}
}
