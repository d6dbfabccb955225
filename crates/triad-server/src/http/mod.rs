//! A node by HTTP: health, metrics, and pages for people.
//!
//! **Invariant:** whoever asks here costs the grants little: connections, heads,
//! bodies and answers are bounded, and the ledger is held for one look at a time.

mod documents;
mod door;
mod exposition;
mod flexlm;
mod health;
mod history;
mod lists;
mod metrics;
mod overview;
mod page;
mod scrape;
mod signin;
mod table;
mod usage;
mod verdict;
mod words;

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use triad_proto::net::{AcceptLimits, FirstBytes, Listener, ServerStream, ServerTls, accept_loop};

use crate::node::Node;
use door::Peer;
use page::{Page, Section};
use scrape::Scrapes;
use signin::{SignIns, Visitor};

const CSS: &str = include_str!("../../assets/node.css");
const SCRIPT: &str = include_str!("../../assets/node.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// The largest body: a form with a reason.
const BODY_BYTES_MAX: usize = 64 << 10;
/// The head of a request has to arrive within this time, and a connection on
/// which nothing is asked is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest head.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
/// No answer takes longer to begin, its request's body included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at once on one connection of HTTP/2.
const REQUESTS_PER_CONNECTION_MAX: u32 = 32;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections: few enough to fit into the descriptors that are kept from the
/// clients of the other port, see `descriptors.rs`.
const CONNECTIONS_MAX: usize = 96;
const CONNECTIONS_PER_ADDRESS_MAX: usize = 48;
/// Pages that are told what happens, at once.
const STREAMS_MAX: usize = 32;
/// Long lists that are looked through at once; the next wait.
const LOOKING_MAX: usize = 2;
/// A connection on which nothing is asked for this long is closed; longer than a
/// stream of news lives.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(330);

/// What the pages of a node share.
#[derive(Clone)]
pub(crate) struct Web {
    node: Arc<Node>,
    scrapes: Arc<Scrapes>,
    sign_ins: Arc<SignIns>,
    /// Places for streams of news.
    streams: Arc<Semaphore>,
    /// Places for those who look through long lists.
    looking: Arc<Semaphore>,
}

impl Web {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let looking = Arc::new(Semaphore::new(LOOKING_MAX));
        Web { node, scrapes: Arc::default(), sign_ins: Arc::default(), streams, looking }
    }
}

/// Serves until the node stops, or this is dropped.
pub(crate) async fn serve(web: Web, listener: Box<dyn Listener>, tls: Option<Arc<ServerTls>>) {
    let mut stopping = web.node.watch_stopping();
    let limits = AcceptLimits {
        first_bytes: FirstBytes::Any,
        connections_max: CONNECTIONS_MAX,
        connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
        handshakes_max: CONNECTIONS_MAX,
        handshakes_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
        ..AcceptLimits::clients()
    };
    let mut incoming = accept_loop(listener, tls, limits);
    let router = router(web);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = incoming.next() => {
                let Some(Ok(stream)) = stream else { return };
                connections.spawn(connection(stream, router.clone()));
            }
            Some(_) = connections.join_next() => {}
            // The connections go with the set.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn connection(stream: ServerStream, router: Router) {
    let peer = stream.info().peer;
    let (asked, mut asks) = watch::channel(());
    let router = router.layer(map_request(move |request: Request| {
        asked.send_replace(());
        ready(request)
    }));
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(REQUESTS_PER_CONNECTION_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(Some(16))
        .max_local_error_reset_streams(Some(64))
        .adaptive_window(false);
    let served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Whoever holds a place without asking anything loses it.
    let idle = async {
        let mut patience = HEAD_TIMEOUT;
        while let Ok(Ok(())) = timeout(patience, asks.changed()).await {
            patience = CONNECTION_IDLE_MAX;
        }
    };
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::debug!(%peer, error, "a connection to the pages ended");
        },
        () = idle => tracing::debug!(%peer, "a connection to the pages was idle for too long"),
    }
}

fn router(web: Web) -> Router {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(scrape::metrics))
        .route("/metrics/flexlm", get(scrape::flexlm))
        .route("/assets/node.css", get(async || asset("text/css", CSS)))
        .route("/assets/node.js", get(async || asset("text/javascript", SCRIPT)))
        .route("/assets/icon.svg", get(async || asset("image/svg+xml", ICON)))
        .route("/sign-in", get(door::sign_in_page).post(door::sign_in))
        .route("/sign-out", post(door::sign_out))
        .route("/", get(overview::overview))
        .route("/features", get(overview::features))
        .route("/features/{name}", get(overview::feature))
        .route("/checkouts", get(lists::checkouts))
        .route("/checkouts/{id}", get(lists::checkout))
        .route("/checkouts/{id}/revoke", post(lists::revoke))
        .route("/queue", get(lists::queue))
        .route("/events", get(history::events))
        .route("/events/live", get(history::live))
        .route("/docs", get(documents::contents))
        .route("/docs/", get(async || Redirect::permanent("/docs")))
        .route("/docs/{*path}", get(documents::document))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(guard))
        .with_state(web)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = HeaderValue::from_static(kind);
    let kept = HeaderValue::from_static("max-age=3600");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], text).into_response()
}

async fn nothing(State(web): State<Web>, headers: HeaderMap) -> Page {
    let links = vec![
        ("/".to_owned(), "Overview".to_owned()),
        ("/docs".to_owned(), "Documentation".to_owned()),
    ];
    Page::new("No such page", "", &web.node.config.name)
        .visitor(Visitor::signed_in(&web, &headers))
        .status(StatusCode::NOT_FOUND)
        .with(Section::Links { title: "Go on".into(), links })
}

/// What every answer carries, and how long it may take to begin.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the node is busy\n").into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
