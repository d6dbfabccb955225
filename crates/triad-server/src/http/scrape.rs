//! Metrics on request. However many ask at once, the node looks once and gives
//! all of them the same.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::{Web, flexlm as in_flexlm, metrics as in_own};
use crate::tokens::{bearer, recognize};

/// Whoever asks within this time gets what the one before got.
const SAME_FOR: Duration = Duration::from_millis(250);
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What was told last, of each kind.
#[derive(Default)]
pub(super) struct Scrapes {
    own: Mutex<Option<(Instant, String)>>,
    flexlm: Mutex<Option<(Instant, String)>>,
    with_users: Mutex<Option<(Instant, String)>>,
}

/// The last text, or a new one. Who waits here waits for one look.
async fn fresh(
    last: &Mutex<Option<(Instant, String)>>,
    look: impl FnOnce() -> String + Send + 'static,
) -> String {
    let mut last = last.lock().await;
    match &*last {
        Some((at, text)) if at.elapsed() < SAME_FOR => text.clone(),
        _ => {
            // The system is asked for the room on its disk, which may take long.
            let text = tokio::task::spawn_blocking(look).await.unwrap_or_default();
            *last = Some((Instant::now(), text.clone()));
            text
        }
    }
}

pub(super) async fn metrics(State(web): State<Web>) -> impl IntoResponse {
    let looker = web.clone();
    let text = fresh(&web.scrapes.own, move || in_own::text(&looker)).await;
    ([(header::CONTENT_TYPE, KIND)], text)
}

pub(super) async fn flexlm(State(web): State<Web>, headers: HeaderMap) -> impl IntoResponse {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let with_users = shown.and_then(bearer).and_then(|token| recognize(&web.node, token)).is_some();
    let last = if with_users { &web.scrapes.with_users } else { &web.scrapes.flexlm };
    let looker = web.clone();
    let text = fresh(last, move || in_flexlm::text(&looker, with_users)).await;
    ([(header::CONTENT_TYPE, KIND)], text)
}
