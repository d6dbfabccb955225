//! The peers' port, and those who are no peers.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use triad_client::Reason;
use triad_proto::net::{ClientTls, Identity};
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::peer_service_client::PeerServiceClient;
use triad_server::authority::Authority;
use triad_server::node_spec::NodeSpec;
use triad_tests::clock;

use crate::arena::Arena;
use crate::connections::again_and_again;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A client of the cluster's authority that shows what it has.
fn showing(ca: &[u8], authority: &Authority, expired: bool) -> ClientTls {
    let spec: NodeSpec = "a=127.0.0.1:27070".parse().unwrap();
    let since = if expired { clock::now() - 100 * DAY } else { clock::now() - DAY };
    let issued = authority.issue_node(1, &spec, since, 90).unwrap();
    let identity = Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes());
    ClientTls::new(ca, Some(&identity.unwrap())).unwrap()
}

/// P11: the peers' port lets in nobody without a valid certificate of the own authority.
#[tokio::test]
async fn who_is_no_peer() {
    let mut arena = Arena::open().await;
    let folder = arena.cluster.folder().join("ca");
    let pem = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let own = Authority::from_pem(&pem("ca.pem"), &pem("ca-key.pem")).unwrap();
    let foreign = Authority::create(clock::now()).unwrap();
    let ca = fs::read(arena.cluster.ca()).unwrap();
    let without = arena.tls.clone();
    let shows = [without, showing(&ca, &foreign, false), showing(&ca, &own, true)];
    let (ports, attacker) = (arena.peers_ports(), arena.attacker.clone());
    let before = arena.cluster.leader().await;
    let attack = again_and_again(60, move |n| {
        let host = attacker.with(shows[n % shows.len()].clone());
        let target = ports[n / 3 % ports.len()].clone();
        async move {
            let mut wire = host.http2(&target).await?;
            // With TLS 1.3 a client believes in its handshake before the server
            // has looked at its certificate.
            let mut answer = [0; 1];
            let read = wire.read(&mut answer).await;
            assert!(!matches!(read, Ok(1)), "a stranger is served on the peers' port");
            host.strikes();
            io::Result::Ok(())
        }
    });
    arena.withstand("strangers to peers", 300, attack).await;
    assert_eq!(arena.cluster.leader().await, before, "no vote was asked for");

    // A node of this cluster that says it is another.
    let insider = arena.attacker.with(showing(&ca, &own, false));
    let cluster_id = own.cluster_id().to_string();
    for (cluster, from, to) in [(&*cluster_id, 2, 3), (&*cluster_id, 1, 2), ("tc-0", 1, 3)] {
        let mut client = PeerServiceClient::new(insider.channel(&arena.peers_ports()[2]));
        let vote = v1::VoteRecord { term: 1 << 40, node_id: from, committed: false };
        let mut request =
            tonic::Request::new(v1::VoteRequest { vote: Some(vote), ..v1::VoteRequest::default() });
        let metadata = request.metadata_mut();
        metadata.insert("triad-cluster", cluster.parse().unwrap());
        metadata.insert("triad-from", from.into());
        metadata.insert("triad-to", to.into());
        let status = client.vote(request).await.unwrap_err();
        let reason = Refusal::from_status(&status).reason();
        assert_eq!(reason, Reason::WrongCluster, "{cluster} {from} {to}: {status:?}");
    }
    arena.honest.are_answered(1).await;
    arena.honest.times();
}
