//! Metrics on request. However many ask at once, the node looks once and gives
//! all of them the same.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::{Web, flexlm as in_flexlm, metrics as in_own};
use crate::tokens::{authorize, bearer};

/// Whoever asks within this time gets what the one before got.
const SAME_FOR: Duration = Duration::from_millis(250);
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What was told last, of each kind.
#[derive(Default)]
pub(super) struct Scrapes {
    own: Last,
    flexlm: Last,
    with_users: Last,
}

type Last = Arc<Mutex<Option<(Instant, String)>>>;

/// The last text, or a new one. Who waits here waits for one look, which goes on
/// if he does not: however many come and go, each kind takes one thread.
async fn fresh(last: &Last, look: impl FnOnce() -> String + Send + 'static) -> String {
    let mut last = last.clone().lock_owned().await;
    if let Some((at, text)) = &*last
        && at.elapsed() < SAME_FOR
    {
        return text.clone();
    }
    let looked = tokio::task::spawn_blocking(move || {
        let text = look();
        *last = Some((Instant::now(), text.clone()));
        text
    });
    looked.await.unwrap_or_default()
}

pub(super) async fn metrics(State(web): State<Web>) -> impl IntoResponse {
    let looker = web.clone();
    let text = fresh(&web.scrapes.own, move || in_own::text(&looker)).await;
    ([(header::CONTENT_TYPE, KIND)], text)
}

pub(super) async fn flexlm(State(web): State<Web>, headers: HeaderMap) -> impl IntoResponse {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let with_users = shown.and_then(bearer).and_then(|token| authorize(&web.node, token)).is_some();
    let last = if with_users { &web.scrapes.with_users } else { &web.scrapes.flexlm };
    let looker = web.clone();
    let text = fresh(last, move || in_flexlm::text(&looker, with_users)).await;
    ([(header::CONTENT_TYPE, KIND)], text)
}
