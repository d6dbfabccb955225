//! Connections that are never of use: silent, slow, abandoned, half open, and
//! garbage.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::JoinSet;

use triad_proto::net::{ClientTls, Connection, Connector, Listener, Network};
use triad_tests::Options;

use crate::arena::Arena;
use crate::attacker::{Attacker, PREFACE, until_closed};

/// Between two bytes of a slow handshake.
const PACE: Duration = Duration::from_millis(100);

/// `count` tasks that do one thing again and again, each time it ends. What
/// fails, fails: a node may close any of these connections at any time.
pub fn again_and_again<W, F>(count: usize, what: W) -> JoinSet<()>
where
    W: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = io::Result<()>> + Send,
{
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let what = what.clone();
        tasks.spawn(async move {
            loop {
                if what(n).await.is_err() {
                    // Refused at once: not to spin on it.
                    tokio::time::sleep(PACE).await;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tasks
}

/// The first bytes of a TLS handshake, as a good client sends them.
async fn client_hello(tls: &ClientTls) -> Vec<u8> {
    struct Pipe(std::sync::Mutex<Option<Connection>>);
    impl Network for Pipe {
        fn connect<'a>(
            &'a self,
            _: &'a str,
        ) -> futures::future::BoxFuture<'a, io::Result<Connection>> {
            let pipe = self.0.lock().unwrap().take().unwrap();
            Box::pin(async move { Ok(pipe) })
        }
        fn bind<'a>(
            &'a self,
            _: &'a str,
        ) -> futures::future::BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            unreachable!("it only connects")
        }
    }
    let (near, mut far) = duplex(64 << 10);
    let pipe = Pipe(std::sync::Mutex::new(Some(Box::new(near))));
    let connector = Connector::new(Arc::new(pipe), Some(tls.clone()));
    let mut hello = vec![0; 64 << 10];
    tokio::select! {
        _ = connector.connect("node:1") => unreachable!("nobody answers"),
        count = far.read(&mut hello) => hello.truncate(count.unwrap()),
    }
    hello
}

fn both_ports(arena: &Arena) -> Vec<String> {
    [arena.clients_ports(), arena.peers_ports()].concat()
}

/// Four hosts, each with more than a port has places for handshakes of one
/// address, who come again as soon as they are closed.
async fn silence(arena: &mut Arena) {
    let (leader, attacker) = (arena.leaders_port().await, arena.attacker.clone());
    let hosts: Vec<Attacker> = (66..70).map(|host| attacker.and_at(host)).collect();
    let attack = again_and_again(2_400, move |n| {
        let (host, target) = (hosts[n % hosts.len()].clone(), leader.clone());
        async move {
            let mut stream = host.tcp(&target).await?;
            host.strikes();
            until_closed(&mut stream).await;
            Ok(())
        }
    });
    arena.withstand("silence", 2_400, attack).await;
}

async fn slow_handshakes(arena: &mut Arena) {
    let hello = client_hello(&arena.tls).await;
    let (ports, attacker) = (both_ports(arena), arena.attacker.clone());
    let attack = again_and_again(300, move |n| {
        let (host, target, hello) =
            (attacker.clone(), ports[n % ports.len()].clone(), hello.clone());
        async move {
            let mut stream = host.tcp(&target).await?;
            for byte in hello {
                stream.write_all(&[byte]).await?;
                host.strikes();
                tokio::time::sleep(PACE).await;
            }
            Ok(())
        }
    });
    arena.withstand("slow handshakes", 3_000, attack).await;
}

/// TLS begun and left alone, and done and left alone.
async fn abandoned_handshakes(arena: &mut Arena) {
    let hello = client_hello(&arena.tls).await;
    let (ports, attacker) = (both_ports(arena), arena.attacker.clone());
    let attack = again_and_again(300, move |n| {
        let (host, target, hello) =
            (attacker.clone(), ports[n / 3 % ports.len()].clone(), hello.clone());
        async move {
            if n % 3 == 0 {
                let mut wire = host.wire(&target).await?;
                host.strikes();
                until_closed(&mut wire).await;
            } else {
                let mut stream = host.tcp(&target).await?;
                let begun = if n % 3 == 1 { hello.len() } else { hello.len() / 2 };
                stream.write_all(&hello[..begun]).await?;
                host.strikes();
                until_closed(&mut stream).await;
            }
            Ok(())
        }
    });
    arena.withstand("abandoned handshakes", 600, attack).await;
}

/// One side closed, the other kept open for as long as the node lets it.
async fn half_open(arena: &mut Arena) {
    let (ports, attacker) = (arena.clients_ports(), arena.attacker.clone());
    let attack = again_and_again(200, move |n| {
        let (host, target) = (attacker.clone(), ports[n % ports.len()].clone());
        async move {
            if n % 2 == 0 {
                let mut wire = host.http2(&target).await?;
                wire.shutdown().await?;
                host.strikes();
                until_closed(&mut wire).await;
            } else {
                let mut stream = host.tcp(&target).await?;
                stream.shutdown().await?;
                host.strikes();
                until_closed(&mut stream).await;
            }
            Ok(())
        }
    });
    arena.withstand("half open", 400, attack).await;
}

/// Bytes of no protocol, of another, and of the right one without TLS.
async fn garbage(arena: &mut Arena) {
    let (ports, attacker) = (both_ports(arena), arena.attacker.clone());
    let attack = again_and_again(60, move |n| {
        let (host, target) = (attacker.clone(), ports[n / 4 % ports.len()].clone());
        async move {
            let mut random = vec![0; 4_096];
            getrandom::fill(&mut random).unwrap();
            let bytes = match n % 4 {
                0 => random,
                1 => b"GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_vec(),
                2 => [PREFACE, &random].concat(),
                // The head of a TLS record, and nothing that fits it.
                _ => [&[0x16, 3, 1, 0x3f, 0xff][..], &random].concat(),
            };
            // Inside TLS too, where the port lets anybody in.
            if n % 8 < 4 {
                let mut stream = host.tcp(&target).await?;
                stream.write_all(&bytes).await?;
                host.strikes();
                until_closed(&mut stream).await;
            } else {
                let mut wire = host.wire(&target).await?;
                wire.write_all(&bytes).await?;
                wire.flush().await?;
                host.strikes();
                until_closed(&mut wire).await;
            }
            Ok(())
        }
    });
    arena.withstand("garbage", 1_000, attack).await;
}

/// More connections than a node may have files: it keeps those that its disk
/// needs, and room for other addresses.
#[tokio::test]
async fn more_connections_than_files() {
    const FILES_MAX: u32 = 420;
    let options = Options { files_max: Some(FILES_MAX), ..Options::default() };
    let mut arena = Arena::with(options).await;
    let (ports, attacker) = (arena.clients_ports(), arena.attacker.clone());
    let hosts = [attacker.clone(), attacker.and_at(67)];
    let attack = again_and_again(3 * FILES_MAX as usize, move |n| {
        let (host, target) = (hosts[n % 2].clone(), ports[n / 2 % ports.len()].clone());
        async move {
            let mut wire = host.http2(&target).await?;
            host.strikes();
            until_closed(&mut wire).await;
            Ok(())
        }
    });
    arena.withstand("more than files", 100, attack).await;
    for node in &arena.cluster.nodes {
        let log = node.log();
        assert!(log.contains("open files files=420 connections=100"), "{log}");
        assert!(!log.contains("os error 24"), "{log}");
    }
}

/// P15: slow handshakes, half-open connections by the thousand, and garbage on each port.
#[tokio::test]
async fn connections_of_no_use() {
    let mut arena = Arena::open().await;
    silence(&mut arena).await;
    slow_handshakes(&mut arena).await;
    abandoned_handshakes(&mut arena).await;
    half_open(&mut arena).await;
    garbage(&mut arena).await;
}
