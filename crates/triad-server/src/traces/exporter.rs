//! The one task that sends spans to the collector, by OTLP over gRPC.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as WireSpan, Status as WireStatus,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::transport::Channel;
use triad_proto::net::{
    ChannelError, ChannelParameters, Connector, SharedNetwork, Traffic, channel_lazy,
};
use triad_raft::WallClock;

use super::{Span, Traces, Value};
use crate::config::{Config, TracesConfig};

/// Spans in one message.
const BATCH_SPANS_MAX: usize = 512;
/// How long the first span of a message waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// A collector that takes longer has not got it.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that stops waits so long for its last spans to be taken.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a collector that failed is left alone, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// What the wall clock may be off before the spans follow it.
const DRIFT_MAX: Duration = Duration::from_millis(10);

/// Sends what is in the queue. What cannot be sent is dropped and counted.
pub(crate) struct Exporter {
    traces: Arc<Traces>,
    waiting: mpsc::Receiver<Span>,
    client: TraceServiceClient<Channel>,
    collector: String,
    resource: Resource,
    wall: Arc<dyn WallClock>,
    anchor: Anchor,
    /// `None` while the collector takes what it is sent.
    pause: Option<Duration>,
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Anchor {
    at: Instant,
    wall: Duration,
}

impl Anchor {
    fn now(wall: &dyn WallClock) -> Self {
        Anchor { at: Instant::now(), wall: Duration::from_millis(wall.wall_ms()) }
    }

    /// Since 1970 UTC.
    fn wall(self, at: Instant) -> Duration {
        match at.checked_duration_since(self.at) {
            Some(later) => self.wall + later,
            None => self.wall.saturating_sub(self.at.saturating_duration_since(at)),
        }
    }
}

impl Exporter {
    /// # Errors
    ///
    /// The collector's address is not one.
    pub(crate) fn new(
        traces: Arc<Traces>,
        waiting: mpsc::Receiver<Span>,
        to: &TracesConfig,
        config: &Config,
        (network, wall): (SharedNetwork, Arc<dyn WallClock>),
    ) -> Result<Self, ChannelError> {
        let channel = channel_lazy(ChannelParameters {
            host_port: to.collector.clone(),
            connector: Connector::new(network, None).with_connect_timeout(SEND_TIMEOUT),
            traffic: Traffic::Clients,
            call_timeout: Some(SEND_TIMEOUT),
        })?;
        let attributes = vec![
            attribute("service.name", "triad".into()),
            attribute("service.version", env!("CARGO_PKG_VERSION").into()),
            attribute(
                "service.instance.id",
                format!("{}/{}", config.cluster_id, config.node_id).into(),
            ),
            attribute("triad.cluster.id", config.cluster_id.to_string().into()),
            attribute("triad.node.id", config.node_id.into()),
            attribute("triad.node.name", config.name.clone().into()),
        ];
        Ok(Exporter {
            traces,
            waiting,
            client: TraceServiceClient::new(channel),
            collector: to.collector.clone(),
            resource: Resource { attributes, ..Resource::default() },
            anchor: Anchor::now(&*wall),
            wall,
            pause: None,
        })
    }

    /// Sends until the node stops; then what is left, for a moment.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut spans = Vec::with_capacity(BATCH_SPANS_MAX);
        loop {
            let stops = async {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            tokio::select! {
                () = self.gather(&mut spans) => {}
                () = stops => break,
            }
            self.send(std::mem::take(&mut spans), SEND_TIMEOUT).await;
            if let Some(pause) = self.pause {
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => break,
                }
            }
        }
        self.waiting.close();
        let before = spans.len();
        while let Ok(span) = self.waiting.try_recv() {
            spans.push(span);
            if spans.len() == before + BATCH_SPANS_MAX {
                break;
            }
        }
        if !spans.is_empty() {
            self.send(spans, FAREWELL).await;
        }
    }

    /// Waits for a span, and a little for more. Nothing is lost if it is dropped.
    async fn gather(&mut self, spans: &mut Vec<Span>) {
        if self.waiting.recv_many(spans, BATCH_SPANS_MAX).await == 0 {
            return std::future::pending().await;
        }
        let until = Instant::now() + LINGER;
        while spans.len() < BATCH_SPANS_MAX {
            let room = BATCH_SPANS_MAX - spans.len();
            tokio::select! {
                more = self.waiting.recv_many(spans, room) => if more == 0 { return },
                () = sleep_until(until) => return,
            }
        }
    }

    async fn send(&mut self, spans: Vec<Span>, patience: Duration) {
        let count = spans.len() as u64;
        self.follow_the_wall();
        let spans = spans.into_iter().map(|span| to_wire(span, self.anchor)).collect();
        let scope = InstrumentationScope {
            name: "triad-server".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let resource_spans =
            vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        let error = match timeout(patience, self.client.export(request)).await {
            Ok(Ok(answer)) => {
                let partial = answer.into_inner().partial_success;
                let rejected = partial.map_or(0, |partial| partial.rejected_spans);
                let rejected = u64::try_from(rejected).unwrap_or(0).min(count);
                self.traces.sent.fetch_add(count - rejected, Relaxed);
                self.traces.dropped.fetch_add(rejected, Relaxed);
                if self.pause.take().is_some() {
                    tracing::info!(collector = %self.collector, "spans are taken again");
                }
                return;
            }
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => format!("no answer within {patience:?}"),
        };
        self.traces.dropped.fetch_add(count, Relaxed);
        if self.pause.is_none() {
            tracing::warn!(
                collector = %self.collector,
                error,
                "spans are not taken, and are dropped until they are; nothing waits for them"
            );
        }
        self.pause = Some(self.pause.map_or(PAUSE_MIN, |pause| (2 * pause).min(PAUSE_MAX)));
    }

    /// The wall clock counts milliseconds, and may be set.
    fn follow_the_wall(&mut self) {
        let now = Anchor::now(&*self.wall);
        if self.anchor.wall(now.at).abs_diff(now.wall) > DRIFT_MAX {
            self.anchor = now;
        }
    }
}

fn to_wire(span: Span, anchor: Anchor) -> WireSpan {
    let nanos = |at| u64::try_from(anchor.wall(at).as_nanos()).unwrap_or(u64::MAX);
    let kind = if span.serves { SpanKind::Server } else { SpanKind::Internal };
    let parent = span.context.parent;
    let failed = |message| WireStatus { message, code: StatusCode::Error.into() };
    WireSpan {
        trace_id: span.context.trace.to_be_bytes().to_vec(),
        span_id: span.context.span.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.ended.max(span.began)),
        attributes: span.attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        status: span.error.map(failed),
        ..WireSpan::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Number(number) => {
            any_value::Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX))
        }
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
