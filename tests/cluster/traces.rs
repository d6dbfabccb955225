//! What a collector of traces is told, by a collector that speaks OTLP as its
//! authors define it; and that nobody waits for one that is dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// One span, with what its sender says of itself.
#[derive(Clone, Debug)]
struct Seen {
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    began_ns: u64,
    ended_ns: u64,
    is: BTreeMap<String, String>,
    sender: BTreeMap<String, String>,
}

/// What takes spans, and keeps all of them.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Seen>>>);

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some((value.key.clone(), text.clone())),
        Value::IntValue(number) => Some((value.key.clone(), number.to_string())),
        other => panic!("{}: {other:?}", value.key),
    };
    attributes.iter().filter_map(text).collect()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.0.lock().unwrap();
        for of in request.into_inner().resource_spans {
            let sender = texts(&of.resource.unwrap().attributes);
            for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
                seen.push(Seen {
                    name: span.name,
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    began_ns: span.start_time_unix_nano,
                    ended_ns: span.end_time_unix_nano,
                    is: texts(&span.attributes),
                    sender: sender.clone(),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens until the set is dropped; returns where.
    async fn start(&self, tasks: &mut JoinSet<()>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = TraceServiceServer::new(self.clone());
        tasks.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        address
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        wait::until(what, LIMIT, async || {
            let seen = self.0.lock().unwrap();
            let found = seen.iter().find(|span| wanted(span)).cloned();
            let names = || seen.iter().map(|span| span.name.clone()).collect::<Vec<_>>();
            found.ok_or_else(|| format!("{:?}", names()))
        })
        .await
    }
}

fn config(address: &str, sample: &str) -> Options {
    let more_config = format!("[traces]\notlp = \"http://{address}\"\nsample = {sample}\n");
    Options { more_config, ..Options::default() }
}

async fn metric(cluster: &Cluster, n: usize, name: &str) -> u64 {
    let text = cluster.web(n).get("/metrics", &[]).await.unwrap().text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// A collector sees a checkout, the batch in which it was committed, what the
/// administrator did, a snapshot, and a failover in its parts, each from the node
/// that did it.
#[tokio::test]
async fn a_collector_sees_checkouts_calls_snapshots_and_a_failover() {
    let (collector, mut tasks) = (Collector::default(), JoinSet::new());
    let address = collector.start(&mut tasks).await;
    let mut cluster = Cluster::start(config(&address, "1")).await;
    let client = cluster.client().user("ann").build().unwrap();
    let seat = client.checkout(FEATURE, "", 1).await.unwrap();
    let outcome = |span: &Seen| span.is.get("triad.outcome").cloned().unwrap_or_default();
    let checkout = |span: &Seen| span.name == "checkout" && outcome(span) == "GRANTED";
    let first = collector.until("a checkout", checkout).await;
    let old = cluster.leader().await;
    let sender = |span: &Seen, key: &str| span.sender.get(key).cloned().unwrap_or_default();
    assert_eq!(first.is["triad.feature"], FEATURE);
    assert_eq!(sender(&first, "service.name"), "triad");
    assert_eq!(sender(&first, "triad.cluster.id"), cluster.id());
    assert_eq!(sender(&first, "triad.node.name"), cluster.nodes[old].name);
    assert_eq!(sender(&first, "triad.node.id"), cluster.nodes[old].id.to_string());
    let same_entry = |span: &Seen| {
        span.name == "commit" && span.is.get("raft.index") == first.is.get("raft.index")
    };
    let batch = collector.until("its batch", same_entry).await;
    assert!(batch.began_ns >= first.began_ns && batch.ended_ns <= first.ended_ns, "{batch:?}");

    let call = "triad.v1.AdminService/ApplyLicense";
    let served = |span: &Seen| span.name == call && span.is["rpc.grpc.status_code"] == "0";
    let call = collector.until("a call", served).await;
    assert_eq!(call.is["triad.token_id"].len(), 12);
    let file = cluster.folder().join("saved");
    let saved = cluster.triad(&format!("snapshot save {}", file.display())).await;
    assert!(saved.status.success(), "{}", saved.stderr);
    let saved = collector.until("a snapshot", |span| span.name == "snapshot saved").await;
    assert!(saved.is["triad.bytes"].parse::<u64>().unwrap() > 0);

    cluster.nodes[old].kill9().await;
    let other = client.checkout(FEATURE, "", 1).await.unwrap();
    let new = cluster.leader().await;
    let by_new = |span: &Seen| sender(span, "triad.node.name") == cluster.nodes[new].name;
    let failover = |span: &Seen| span.name == "failover" && by_new(span);
    let whole = collector.until("a failover", failover).await;
    assert!(whole.parent.is_empty());
    let part = async |name: &str| {
        let part = |span: &Seen| span.name == name && span.trace == whole.trace;
        let part = collector.until(name, part).await;
        assert_eq!(part.parent, whole.id);
        part
    };
    let election = part("election").await;
    let catching_up = part("catching up").await;
    let grant = part("first grant").await;
    assert_eq!(election.began_ns, whole.began_ns);
    assert_eq!(election.ended_ns, catching_up.began_ns);
    assert_eq!([catching_up.ended_ns, grant.began_ns], [whole.ended_ns; 2]);
    let gap = Duration::from_nanos(grant.ended_ns - whole.began_ns);
    println!("elected and granting again after {gap:?}");
    assert!(gap < LIMIT && metric(&cluster, new, "triad_trace_spans_sent_total").await > 0);
    seat.give_back().await.unwrap();
    other.give_back().await.unwrap();
}

/// With a share of nothing, what happens all the time is not told, and what an
/// administrator does is.
#[tokio::test]
async fn what_is_not_sampled_is_not_told() {
    let (collector, mut tasks) = (Collector::default(), JoinSet::new());
    let address = collector.start(&mut tasks).await;
    let cluster = Cluster::start(Options { nodes: 1, ..config(&address, "0") }).await;
    let client = cluster.client().user("ann").build().unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    let file = cluster.folder().join("saved");
    let saved = cluster.triad(&format!("snapshot save {}", file.display())).await;
    assert!(saved.status.success(), "{}", saved.stderr);
    collector.until("a snapshot", |span| span.name == "snapshot saved").await;
    let seen = collector.0.lock().unwrap();
    let sampled = seen.iter().find(|span| ["checkout", "commit"].contains(&&*span.name));
    assert!(sampled.is_none(), "{sampled:?}");
}

/// A collector that takes connections and never answers: every checkout is served
/// as ever, what cannot be sent is counted, and the node stops in good order.
#[tokio::test]
async fn nobody_waits_for_a_dead_collector() {
    // The kernel takes the connections; nobody else does.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut cluster = Cluster::start(Options { nodes: 1, ..config(&address, "1") }).await;
    let client = cluster.client().user("ann").build().unwrap();
    let mut slowest = Duration::ZERO;
    // More than the queue holds: each checkout comes to three spans at least.
    for _ in 0..1_500 {
        let asked = Instant::now();
        let seat = timeout(LIMIT, client.checkout(FEATURE, "", 1)).await.unwrap().unwrap();
        slowest = slowest.max(asked.elapsed());
        seat.give_back().await.unwrap();
    }
    println!("the slowest of 1500 checkouts took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "a checkout took {slowest:?}");
    wait::until("spans are dropped and counted", LIMIT, async || {
        let dropped = metric(&cluster, 0, "triad_trace_spans_dropped_total").await;
        (dropped > 0).then_some(()).ok_or(format!("{dropped} dropped"))
    })
    .await;
    assert_eq!(metric(&cluster, 0, "triad_trace_spans_sent_total").await, 0);
    wait::until("the log says so", LIMIT, async || {
        let log = cluster.nodes[0].log();
        log.contains("spans are not taken").then_some(()).ok_or(log)
    })
    .await;
    assert!(cluster.nodes[0].sigterm().await.success());
}
