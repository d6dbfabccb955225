//! What slow, greedy and rude visitors get, while others are served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::codegen::http::Method;
use triad_tests::{Cluster, Options};

/// Longer than the node gives a head to arrive.
const LIMIT: Duration = Duration::from_secs(40);

/// Whether the other side closes the connection, whatever it says before.
async fn is_closed(mut socket: TcpStream) -> bool {
    let mut bytes = Vec::new();
    // A reset is a close too.
    timeout(LIMIT, socket.read_to_end(&mut bytes)).await.is_ok()
}

#[tokio::test]
async fn silence_floods_and_giants_end_and_others_are_served_meanwhile() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let address = cluster.http_address(0);
    // Far more silent connections than one address may have.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let mut garbage = TcpStream::connect(&address).await.unwrap();
    let _ = garbage.write_all(b"GET / HTTP/1.1\r\n\r\nno TLS at all").await;
    assert!(is_closed(garbage).await);
    let began = Instant::now();
    let closed = futures::future::join_all(silent.into_iter().map(is_closed)).await;
    assert!(closed.iter().all(|closed| *closed), "after {:?}", began.elapsed());

    let web = cluster.web(0);
    let long = "x".repeat(64 << 10);
    let refused = match web.get("/metrics", &[("x-long", &long)]).await {
        Ok(answer) => (400..500).contains(&answer.status),
        Err(_) => true,
    };
    assert!(refused, "a head of 64 KiB is served");
    let answer = cluster.web(0).ask(Method::POST, "/metrics", &[], "x".repeat(1 << 20)).await;
    assert!(answer.is_err() || answer.unwrap().status >= 400);
    assert_eq!(cluster.web(0).get("/healthz", &[]).await.unwrap().status, 200);
}

/// The pages' port takes no connection from the clients' port, and gives none of
/// the grants away: a scrape by many at once is one look.
#[tokio::test]
async fn many_scrapes_at_once_are_one_look() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let web = cluster.web(0);
    // From here on the client knows how many requests the node takes at once.
    web.get("/healthz", &[]).await.unwrap();
    let asks = (0..100).map(|_| web.get("/metrics", &[]));
    let answers = futures::future::join_all(asks).await;
    let mut texts: Vec<String> = answers.into_iter().map(|answer| answer.unwrap().text).collect();
    texts.sort();
    texts.dedup();
    assert!(texts.len() <= 10, "{} different answers", texts.len());
}
