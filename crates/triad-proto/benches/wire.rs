//! How long the wire takes: a message of the session stream with one call, and
//! with many, each way; and a refusal on its way through a gRPC status.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::taken::Outcome;
use triad_proto::v1::{Reason, Refusal};

fn request(calls: u64) -> v1::SessionRequest {
    let call = |request_id| {
        let feature = format!("pool-{request_id:04}");
        let items = vec![v1::Item { feature, version: "2026.1".into(), seats: 1 }];
        let take = v1::Take { request_id, answered_through: request_id - 1, items, wait: None };
        v1::SessionCall { call: Some(Call::Take(take)) }
    };
    v1::SessionRequest { calls: (1..=calls).map(call).collect() }
}

fn response(events: u64) -> v1::SessionResponse {
    let event = |request_id| {
        let item = v1::GrantedItem {
            feature: format!("pool-{request_id:04}"),
            seats: 1,
            version_licensed: "2026.1".into(),
            expires_ms: 1_790_000_000_000,
            ..Default::default()
        };
        let grant = v1::Grant { checkout_id: request_id, items: vec![item] };
        let position = Some(v1::LogPosition { term: 3, index: 1_000_000 + request_id });
        let outcome = Some(Outcome::Grant(grant));
        v1::SessionEvent { event: Some(Event::Taken(v1::Taken { request_id, position, outcome })) }
    };
    v1::SessionResponse { events: (1..=events).map(event).collect() }
}

fn session_stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    for calls in [1, 64] {
        let (request, response) = (request(calls), response(calls));
        let (asked, answered) = (request.encode_to_vec(), response.encode_to_vec());
        group.throughput(Throughput::Elements(calls));
        group.bench_function(BenchmarkId::new("calls, encode", calls), |bencher| {
            bencher.iter(|| black_box(&request).encode_to_vec());
        });
        group.bench_function(BenchmarkId::new("calls, decode", calls), |bencher| {
            bencher.iter(|| v1::SessionRequest::decode(black_box(&asked[..])));
        });
        group.bench_function(BenchmarkId::new("answers, encode", calls), |bencher| {
            bencher.iter(|| black_box(&response).encode_to_vec());
        });
        group.bench_function(BenchmarkId::new("answers, decode", calls), |bencher| {
            bencher.iter(|| v1::SessionResponse::decode(black_box(&answered[..])));
        });
    }
    group.finish();
}

fn refusals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refusal");
    let refusal = Refusal::because(Reason::NotLeader, "node 2 leads; ask lic-b:27070");
    let status = refusal.clone().into_status();
    group.bench_function("to a status", |bencher| {
        bencher.iter_batched(
            || refusal.clone(),
            |refusal| refusal.into_status(),
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("from a status", |bencher| {
        bencher.iter(|| Refusal::from_status(black_box(&status)));
    });
    group.finish();
}

criterion_group!(benches, session_stream, refusals);
criterion_main!(benches);
