//! The span of one checkout, of the few that are told.

use tokio::time::Instant;
use triad_proto::v1;
use triad_proto::v1::session_event::Event as News;
use triad_proto::v1::taken::Outcome;

use super::{Context, Span, Traces};
use crate::under_way::Answering;

/// Waits for the answer to a checkout, and tells how it went.
pub(crate) fn checkout(
    traces: std::sync::Arc<Traces>,
    context: Context,
    answering: Answering,
) -> Answering {
    let began = Instant::now();
    Box::pin(async move {
        let answer = answering.await;
        let span = Span { serves: true, ..Span::new("checkout", context, began) };
        traces.tell(match &answer {
            Ok(Some(News::Taken(taken))) => placed(outcome(span, taken), taken.position),
            Ok(Some(News::Queued(queued))) => {
                placed(span.with("triad.outcome", "QUEUED"), queued.position)
            }
            Ok(_) => span,
            Err(refusal) => {
                let span = span.with("triad.outcome", refusal.reason().name());
                Span { error: Some(refusal.message.clone()), ..span }
            }
        });
        answer
    })
}

/// A denial is an answer, not an error.
fn outcome(span: Span, taken: &v1::Taken) -> Span {
    match &taken.outcome {
        Some(Outcome::Grant(grant)) => {
            let feature = grant.items.first().map(|item| item.feature.clone());
            span.with("triad.outcome", "GRANTED")
                .with("triad.checkout_id", grant.checkout_id)
                .with("triad.feature", feature.unwrap_or_default())
        }
        Some(Outcome::Denial(denial)) => span
            .with("triad.outcome", denial.reason().name())
            .with("triad.feature", denial.feature.clone()),
        None => span,
    }
}

fn placed(span: Span, position: Option<v1::LogPosition>) -> Span {
    match position {
        Some(position) => span.with("raft.term", position.term).with("raft.index", position.index),
        None => span,
    }
}
