//! The standard services that every node offers: health and reflection.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_stream::iter;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use triad_tests::{Cluster, Options, wait};

const LIMIT: Duration = Duration::from_secs(10);
const LICENSING: &str = "triad.v1.LicensingService";

async fn health(cluster: &Cluster, n: usize, service: &str) -> ServingStatus {
    let mut health = HealthClient::new(cluster.channel(n));
    let request = HealthCheckRequest { service: service.into() };
    health.check(request).await.unwrap().into_inner().status()
}

/// P12: every node of a whole cluster is in health, and a node that is left alone
/// says that it is of no use.
#[tokio::test]
async fn health_tells_whether_a_node_is_of_use() {
    let mut cluster = Cluster::start(Options::default()).await;
    for n in 0..3 {
        for service in ["", LICENSING, "triad.v1.AdminService"] {
            let status = health(&cluster, n, service).await;
            assert_eq!(status, ServingStatus::Serving, "{service:?} of {}", cluster.nodes[n].name);
        }
    }
    let leader = cluster.leader().await;
    let [alone, other] = cluster.others(leader);
    cluster.nodes[other].kill9().await;
    cluster.nodes[leader].kill9().await;
    let look = async || match health(&cluster, alone, LICENSING).await {
        ServingStatus::NotServing => Ok(()),
        status => Err(format!("{status:?}")),
    };
    wait::until("the node that is left alone says so", LIMIT, look).await;
}

/// Whoever has no copy of the proto can ask a node for it.
#[tokio::test]
async fn reflection_describes_the_services() {
    let cluster = Cluster::start(Options::default()).await;
    let mut reflection = ServerReflectionClient::new(cluster.channel(0));
    let ask = |what| ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(LICENSING.into())),
    ];
    let mut answers =
        reflection.server_reflection_info(iter(questions)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in [LICENSING, "triad.v1.AdminService", "grpc.health.v1.Health"] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer else { panic!("{answer:?}") };
    let text = String::from_utf8_lossy(&files.file_descriptor_proto[0]).into_owned();
    assert!(text.contains("triad/v1/licensing.proto"), "{text}");
}
