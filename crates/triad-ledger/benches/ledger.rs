//! How long the ledger takes: cycles beside others, under a policy, and its
//! bytes.

mod site;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use triad_ledger::names::Label;
use triad_ledger::policy::{FeatureSelector, GroupName, Policy, Rule, RuleId, RuleKind, Subject};
use triad_ledger::{Command, Ledger, decode_commands, encode_commands};

use site::{POOLS, Site};

/// Seats of each pool: room for all others in one of them.
const SEATS: u32 = 200_000;

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger.apply");
    for others in [0, 1_000, 100_000] {
        let spread = Site::new(SEATS).with_others(others, |n| n % POOLS);
        let mut site = spread.clone();
        let mut pool = 0;
        group.bench_function(BenchmarkId::new("cycle, many pools", others), |bencher| {
            bencher.iter(|| {
                // Seven is no divisor: all pools, and not in their order.
                pool = (pool + 7) % POOLS;
                site.cycle(pool);
            });
        });
        let mut site = Site::new(SEATS).with_others(others, |_| 0);
        group.bench_function(BenchmarkId::new("cycle, hot pool", others), |bencher| {
            bencher.iter(|| site.cycle(0));
        });
    }
    group.finish();
}

/// Ten rules for each of a hundred features, about groups of a hundred users.
fn policy() -> Policy {
    let label = |text: String| Label::parse(&text).expect("a good name");
    let group = |n: usize| GroupName::parse(&format!("group{n}")).expect("a good name");
    let members = |n: usize| (0..100).map(move |m| label(format!("user{}", n * 100 + m)));
    let kinds = [RuleKind::Max(50), RuleKind::Exclude];
    let rule = |n: usize| Rule {
        id: RuleId { number: n as u32 + 1, line: n as u32 + 1 },
        selector: Some(FeatureSelector::all_of(site::item(n / 10).feature)),
        kind: kinds[n % kinds.len()],
        subject: Subject::Group(group(n % 100)),
    };
    Policy {
        version: 1,
        groups: (0..100).map(|n| (group(n), members(n).collect())).collect(),
        rules: (0..1_000).map(rule).collect(),
        ..Policy::default()
    }
}

fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    let mut site = Site::new(SEATS).with_others(1_000, |n| n % POOLS);
    let policy = policy();
    let set = Command::SetPolicy { policy: policy.clone() };
    site.apply(&set).expect("the first policy");
    group.bench_function("cycle under ten rules", |bencher| bencher.iter(|| site.cycle(0)));
    group.bench_function("cycle under none of a thousand", |bencher| {
        bencher.iter(|| site.cycle(POOLS - 1));
    });
    let (holder, item) = (site::holder("user42"), site::item(0));
    group.bench_function("explain", |bencher| {
        bencher.iter(|| site.ledger.explain(black_box(&holder), black_box(&item)));
    });
    let fresh = site::Site::new(SEATS).with_others(1_000, |n| n % POOLS);
    group.sample_size(20);
    group.bench_function("set, with a thousand rules", |bencher| {
        bencher.iter_batched_ref(
            || fresh.clone(),
            |site| site.apply(&set),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10);
    for others in [1_000, 100_000] {
        let site = Site::new(SEATS).with_others(others, |n| n % POOLS);
        let records: Vec<_> = site.ledger.records().collect();
        group.throughput(Throughput::Elements(records.len() as u64));
        group.bench_function(BenchmarkId::new("encode", others), |bencher| {
            bencher.iter(|| site.ledger.records().map(|(_, value)| value.len()).sum::<usize>());
        });
        group.bench_function(BenchmarkId::new("decode", others), |bencher| {
            bencher.iter_batched(
                || records.clone(),
                |records| Ledger::from_records(records).expect("its own records"),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commands");
    let batch = site::batch(64);
    let bytes = encode_commands(&batch);
    group.throughput(Throughput::Elements(batch.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| encode_commands(black_box(&batch))));
    group.bench_function("decode", |bencher| bencher.iter(|| decode_commands(black_box(&bytes))));
    group.finish();
}

criterion_group!(benches, apply, rules, snapshot, commands);
criterion_main!(benches);
