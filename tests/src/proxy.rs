//! A TCP proxy in front of one node's client port: the network between a client
//! and a node, which can be held, cut, or made to lose every answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// How long a connection to the node itself may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Hold,
    DropAnswers,
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    mode: Mode,
    /// Connections opened under a lower number are cut.
    cuts: u64,
}

/// The way to one node. Its connections are cut when it is dropped.
pub struct Proxy {
    orders: watch::Sender<Orders>,
    taken: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on `port` of loopback and forwards to `target`.
    ///
    /// # Panics
    ///
    /// If the port is in use.
    pub async fn start(port: u16, target: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let (orders, obeyed) = watch::channel(Orders { mode: Mode::Pass, cuts: 0 });
        let taken = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, target, obeyed, taken.clone()));
        Proxy { orders, taken, accepting }
    }

    /// How many connections came this way since it was started.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Everything goes through, what was held too.
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// Nothing goes through, in no direction, and nothing is closed: the other
    /// side is simply not heard of any more. New connections are taken, and
    /// held as well.
    pub fn hold(&self) {
        self.set(Mode::Hold);
    }

    /// What the client says arrives; what the node answers is swallowed.
    pub fn drop_answers(&self) {
        self.set(Mode::DropAnswers);
    }

    /// Every connection is reset, on both sides. New ones are taken.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    fn set(&self, mode: Mode) {
        self.orders.send_modify(|orders| orders.mode = mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    orders: watch::Receiver<Orders>,
    taken: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                taken.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(client, target.clone(), orders.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from its first byte to its last.
async fn carry(client: TcpStream, target: String, mut orders: watch::Receiver<Orders>) {
    let opened = orders.borrow().cuts;
    let reset = |stream: &TcpStream| {
        let _ = stream.set_zero_linger();
    };
    // Held before the node has heard of it.
    let held = orders.wait_for(|now| now.mode != Mode::Hold || now.cuts > opened).await;
    if held.map_or(true, |now| now.cuts > opened) {
        return reset(&client);
    }
    let connecting = TcpStream::connect(&target);
    let Ok(Ok(node)) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
        return reset(&client);
    };
    let _ = (client.set_nodelay(true), node.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let there = pump(&mut from_client, &mut to_node, orders.clone(), false);
    let back = pump(&mut from_node, &mut to_client, orders.clone(), true);
    let ended = tokio::select! {
        ended = futures::future::try_join(there, back) => ended.is_ok(),
        _ = orders.wait_for(|now| now.cuts > opened) => false,
    };
    if !ended {
        for half in [to_client, to_node] {
            reset(half.as_ref());
            // Dropped, it would say goodbye first.
            half.forget();
        }
    }
}

/// Carries one direction until its end, and passes the end on.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut orders: watch::Receiver<Orders>,
    are_answers: bool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        orders.wait_for(|now| now.mode != Mode::Hold).await.map_err(gone)?;
        let count = tokio::select! {
            count = from.read(&mut chunk) => count?,
            // What arrives from now on waits in the kernel.
            _ = orders.wait_for(|now| now.mode == Mode::Hold) => continue,
        };
        if count == 0 {
            return to.shutdown().await;
        }
        let swallowed = are_answers && orders.borrow().mode == Mode::DropAnswers;
        if !swallowed {
            to.write_all(&chunk[..count]).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;

    /// A node that answers each byte with the same byte.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
        stream.write_all(&[byte]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn it_passes_holds_swallows_and_cuts() {
        let mut ports = Ports::reserve();
        let port = ports.take();
        let proxy = Proxy::start(port, echo().await).await;
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(round_trip(&mut client, 1).await.unwrap(), 1);

        proxy.hold();
        let short = Duration::from_millis(100);
        let held = tokio::time::timeout(short, round_trip(&mut client, 2)).await;
        assert!(held.is_err(), "{held:?}");
        proxy.pass();
        assert_eq!(client.read_u8().await.unwrap(), 2, "what was held arrives after all");

        proxy.drop_answers();
        let swallowed = tokio::time::timeout(short, round_trip(&mut client, 3)).await;
        assert!(swallowed.is_err(), "{swallowed:?}");
        proxy.pass();
        assert_eq!(round_trip(&mut client, 4).await.unwrap(), 4, "3 is lost, 4 is not");

        proxy.cut();
        let cut = round_trip(&mut client, 5).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::ConnectionReset, "{cut}");
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(round_trip(&mut client, 6).await.unwrap(), 6);
    }

    #[tokio::test]
    async fn a_node_that_goes_away_takes_its_connections_along() {
        let mut ports = Ports::reserve();
        let port = ports.take();
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _proxy = Proxy::start(port, node.local_addr().unwrap().to_string()).await;
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        drop(node.accept().await.unwrap());
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(node);
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let refused = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionReset);
    }
}
