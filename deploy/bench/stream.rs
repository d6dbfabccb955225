//! A session stream of Triad's on HTTP/2, and nothing in between: no client library, no queue, no
//! task of its own where the connection is one's own.
//!
//! The generator shares the machine with the nodes that it measures, so what it spends on a message
//! is missing there. `plug_in.py` puts this file beside the generator's own as `triad_stream.rs`.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context as Waiter, Poll};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use h2::client::{Builder, Connection, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use tokio::net::{TcpSocket, TcpStream};
use triad_proto::v1;

/// Of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

type OwnConnection = Connection<TcpStream, Bytes>;

/// A connection on which streams can be opened.
#[derive(Clone)]
pub struct Door {
    requests: SendRequest<Bytes>,
    address: String,
}

/// Connects from an address of one's own.
async fn dial(from: IpAddr, address: &str) -> Result<(Door, OwnConnection)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(address.parse()?).await?;
    stream.set_nodelay(true)?;
    let (requests, connection) = Builder::new().enable_push(false).handshake(stream).await?;
    Ok((Door { requests, address: address.to_owned() }, connection))
}

impl Door {
    /// A connection for several streams, which a task of its own looks after.
    pub async fn shared(from: IpAddr, address: &str) -> Result<Self> {
        let (door, connection) = dial(from, address).await?;
        tokio::spawn(connection);
        Ok(door)
    }
}

/// One stream.
pub struct Stream {
    /// Unless others have streams on it as well.
    connection: Option<OwnConnection>,
    calls: SendStream<Bytes>,
    answers: RecvStream,
    read: BytesMut,
}

impl Stream {
    /// Opens a stream on a connection of its own. The first message goes with it.
    pub async fn alone(from: IpAddr, address: &str, first: &v1::SessionRequest) -> Result<Self> {
        let (door, connection) = dial(from, address).await?;
        Self::open(door, Some(connection), first).await
    }

    /// Opens a stream beside others.
    pub async fn on(door: &Door, first: &v1::SessionRequest) -> Result<Self> {
        Self::open(door.clone(), None, first).await
    }

    async fn open(
        door: Door,
        mut connection: Option<OwnConnection>,
        first: &v1::SessionRequest,
    ) -> Result<Self> {
        let Door { mut requests, address } = door;
        let uri = format!("http://{address}/triad.v1.LicensingService/Session");
        let request = http::Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        driven(&mut connection, |waiter| requests.poll_ready(waiter).map(|ready| Ok(ready?))).await?;
        let (mut response, mut calls) = requests.send_request(request, false)?;
        calls.send_data(framed(first), false)?;
        let response =
            driven(&mut connection, |waiter| response.poll_unpin(waiter).map(|head| Ok(head?)));
        let response = response.await?;
        let refused = response.headers().get("grpc-message").or(response.headers().get("grpc-status"));
        ensure!(refused.is_none(), "not opened: {refused:?}");
        Ok(Stream { connection, calls, answers: response.into_body(), read: BytesMut::new() })
    }

    /// Sends a message with the next look at the connection.
    pub fn send(&mut self, message: &v1::SessionRequest) -> Result<()> {
        Ok(self.calls.send_data(framed(message), false)?)
    }

    /// The next message.
    pub async fn message(&mut self) -> Result<v1::SessionResponse> {
        loop {
            if let Some(message) = self.decoded()? {
                return Ok(message);
            }
            let answers = &mut self.answers;
            let data = driven(&mut self.connection, |waiter| match answers.poll_data(waiter) {
                Poll::Ready(Some(data)) => Poll::Ready(Ok(data?)),
                Poll::Ready(None) => Poll::Ready(Err(anyhow!("the stream was closed"))),
                Poll::Pending => Poll::Pending,
            });
            let data = data.await?;
            self.answers.flow_control().release_capacity(data.len())?;
            self.read.extend_from_slice(&data);
        }
    }

    /// Waits for something else, and answers what the node asks of the connection meanwhile.
    pub async fn while_waiting<T>(&mut self, other: impl Future<Output = T>) -> Result<T> {
        let mut other = pin!(other);
        driven(&mut self.connection, |waiter| other.poll_unpin(waiter).map(Ok)).await
    }

    fn decoded(&mut self) -> Result<Option<v1::SessionResponse>> {
        let Some((mut prefix, rest)) = self.read.split_at_checked(PREFIX_BYTES) else {
            return Ok(None);
        };
        ensure!(prefix.get_u8() == 0, "a compressed message, which nobody asked for");
        let length = prefix.get_u32() as usize;
        if rest.len() < length {
            return Ok(None);
        }
        let message = v1::SessionResponse::decode(&rest[..length])?;
        self.read.advance(PREFIX_BYTES + length);
        Ok(Some(message))
    }
}

fn framed(message: &v1::SessionRequest) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(length as u32);
    message.encode(&mut frame).expect("as long as it said");
    frame.freeze()
}

/// Waits for `what`, and looks after the connection, if it is one's own.
async fn driven<T>(
    connection: &mut Option<OwnConnection>,
    mut what: impl FnMut(&mut Waiter<'_>) -> Poll<Result<T>>,
) -> Result<T> {
    poll_fn(|waiter| {
        let end = connection.as_mut().map(|connection| connection.poll_unpin(waiter));
        // What came before the end is still to be had.
        match (what(waiter), end) {
            (Poll::Ready(found), _) => Poll::Ready(found),
            (Poll::Pending, Some(Poll::Ready(end))) => {
                Poll::Ready(end.context("the connection failed").and_then(|()| bail!("hung up")))
            }
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await
}
