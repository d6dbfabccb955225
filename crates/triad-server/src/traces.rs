//! Spans: what took how long on this node, for whoever collects traces.
//!
//! **Invariant:** nobody waits for a collector. A span is put into a queue of
//! fixed length or dropped and counted; one task sends what is in it.

mod calls;
mod checkouts;
mod exporter;
mod takeover;

use std::borrow::Cow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;
use tokio::time::Instant;
use triad_raft::Work;

use crate::config::{Sample, TracesConfig};

pub(crate) use calls::{Call, Traced};
pub(crate) use checkouts::checkout;
pub(crate) use exporter::Exporter;
use takeover::Takeover;

/// Spans that wait to be sent: a second of a busy node. They are some 500 bytes
/// each.
const WAITING_MAX: usize = 2_048;

/// What takes the spans of a node. One for each node: nothing here is shared by
/// a process.
pub(crate) struct Traces {
    sample: Sample,
    /// `None` where no collector is configured.
    queue: Option<mpsc::Sender<Span>>,
    seed: u64,
    drawn: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) dropped: AtomicU64,
    takeover: Mutex<Takeover>,
    /// Nothing was granted yet in this leadership.
    awaits_grant: AtomicBool,
}

/// One span, as it is told.
#[derive(Debug)]
pub(crate) struct Span {
    name: Cow<'static, str>,
    /// It is the answer to somebody's call.
    serves: bool,
    context: Context,
    began: Instant,
    ended: Instant,
    attributes: Vec<(&'static str, Value)>,
    error: Option<String>,
}

/// Where a span belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    trace: u128,
    span: u64,
    /// 0 for none.
    parent: u64,
}

/// What an attribute is.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(u64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(number as u64)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl Span {
    fn new(name: impl Into<Cow<'static, str>>, context: Context, began: Instant) -> Self {
        Span {
            name: name.into(),
            serves: false,
            context,
            began,
            ended: Instant::now(),
            attributes: Vec::new(),
            error: None,
        }
    }

    fn until(self, ended: Instant) -> Self {
        Span { ended, ..self }
    }

    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }
}

impl Traces {
    /// With the other end of the queue, where there is a collector. The seed makes
    /// the ids of one run differ from those of the next.
    pub(crate) fn new(
        config: Option<&TracesConfig>,
        seed: u64,
    ) -> (Self, Option<mpsc::Receiver<Span>>) {
        let (queue, waiting) = match config {
            Some(_) => Some(mpsc::channel(WAITING_MAX)).unzip(),
            None => (None, None),
        };
        let traces = Traces {
            sample: config.map_or(Sample::ALL, |config| config.sample),
            queue,
            seed,
            drawn: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            takeover: Mutex::default(),
            awaits_grant: AtomicBool::new(false),
        };
        (traces, waiting)
    }

    /// Whether spans are wanted at all.
    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// A new trace, for what is always told.
    pub(crate) fn always(&self) -> Option<Context> {
        self.is_on().then(|| self.root())
    }

    /// A new trace, for as many as the sample takes.
    pub(crate) fn sampled(&self) -> Option<Context> {
        (self.is_on() && self.sample.takes(self.draw())).then(|| self.root())
    }

    fn root(&self) -> Context {
        let trace = u128::from(self.draw()) << 64 | u128::from(self.draw());
        Context { trace, span: self.draw(), parent: 0 }
    }

    /// A part of another span.
    fn part_of(&self, whole: Context) -> Context {
        Context { span: self.draw(), parent: whole.span, ..whole }
    }

    /// A number that no other draw has given; ids must differ, not surprise.
    fn draw(&self) -> u64 {
        let n = self.drawn.fetch_add(1, Relaxed);
        // SplitMix64.
        let mut z = self.seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }

    fn tell(&self, span: Span) {
        if let Some(queue) = &self.queue
            && queue.try_send(span).is_err()
        {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Consensus has done something.
    pub(crate) fn worked(&self, began: Instant, work: Work) {
        match work {
            Work::Batch { requests, commands, entry } => {
                let Some(context) = self.sampled() else { return };
                let span = Span::new("commit", context, began)
                    .with("triad.requests", requests)
                    .with("triad.commands", commands);
                self.tell(match entry {
                    Some((term, index)) => span.with("raft.term", term).with("raft.index", index),
                    None => Span { error: Some("not committed".into()), ..span },
                });
            }
            Work::Flushed { index } => self.snapshot("snapshot point", began, index, 0),
            Work::Encoded { index, bytes } => {
                self.snapshot("snapshot for a peer", began, index, bytes);
            }
            Work::Installed { index, bytes } => {
                self.snapshot("snapshot installed", began, index, bytes);
            }
        }
    }

    /// A snapshot was made or taken; 0 bytes where its length says nothing.
    pub(crate) fn snapshot(&self, name: &'static str, began: Instant, index: u64, bytes: usize) {
        let Some(context) = self.always() else { return };
        let span = Span::new(name, context, began).with("raft.index", index);
        self.tell(if bytes > 0 { span.with("triad.bytes", bytes) } else { span });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    pub(super) fn traces(sample: &str) -> (Traces, mpsc::Receiver<Span>) {
        let text = format!("otlp = \"http://127.0.0.1:4317\"\nsample = {sample}\n");
        let config = TracesConfig::parse(&text).expect("good").expect("on");
        let (traces, waiting) = Traces::new(Some(&config), 7);
        (traces, waiting.expect("it is on"))
    }

    fn batch(traces: &Traces) {
        let work = Work::Batch { requests: 1, commands: 2, entry: Some((3, 4)) };
        traces.worked(Instant::now(), work);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let (traces, mut waiting) = traces("1");
        for _ in 0..WAITING_MAX + 3 {
            batch(&traces);
        }
        assert_eq!(traces.dropped.load(Relaxed), 3);
        let mut ids = BTreeSet::new();
        for _ in 0..WAITING_MAX {
            ids.insert(waiting.recv().await.expect("it waits").context.trace);
        }
        assert_eq!(ids.len(), WAITING_MAX, "two traces have one id");
    }

    #[tokio::test]
    async fn of_what_happens_all_the_time_a_share_is_told() {
        let (traces, waiting) = traces("0.1");
        for _ in 0..10_000 {
            batch(&traces);
        }
        assert!((900..1_100).contains(&waiting.len()), "{}", waiting.len());
    }

    #[test]
    fn without_a_collector_nothing_is_kept() {
        let (traces, waiting) = Traces::new(None, 7);
        batch(&traces);
        assert!(waiting.is_none() && traces.sampled().is_none() && traces.always().is_none());
        assert_eq!(traces.dropped.load(Relaxed), 0);
    }
}
