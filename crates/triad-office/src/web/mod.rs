//! The office by HTTP: the portal for people, the interface for programs, and
//! the place where servers call.

mod api;
mod forms;
mod page;
mod pages;
mod server_page;
mod visit;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use triad_proto::net::{
    AcceptLimits, FirstBytes, Identity, Network as _, ServerStream, ServerTls, TcpNetwork,
    accept_loop,
};

use crate::error::OfficeError;
use crate::office::Office;

/// The largest body: a request with its reports, or a few of them by file.
const BODY_BYTES_MAX: usize = 2 << 20;
/// No answer takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Whoever has not said what they want by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Who is not there any more is noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections at a time, all of them and of one address, which may be a proxy's.
const CONNECTIONS_MAX: usize = 2_048;
const CONNECTIONS_PER_ADDRESS_MAX: usize = 512;

/// Connections, and the address they come to. TLS and its limits are done.
pub struct Door {
    incoming: BoxStream<'static, io::Result<ServerStream>>,
    address: SocketAddr,
}

impl Door {
    /// Listens as the configuration says.
    pub async fn open(office: &Office) -> Result<Self, OfficeError> {
        let config = &office.config;
        let tls = match &config.tls {
            None => None,
            Some((certificate, key)) => {
                let read = |path: &std::path::Path| {
                    std::fs::read(path)
                        .map_err(|source| OfficeError::File { path: path.to_owned(), source })
                };
                let wrong = |error: triad_proto::net::TlsError| OfficeError::Config {
                    path: certificate.clone(),
                    what: error.to_string(),
                };
                let identity =
                    Identity::from_pem(&read(certificate)?, &read(key)?).map_err(wrong)?;
                Some(Arc::new(ServerTls::for_web(&identity).map_err(wrong)?))
            }
        };
        let listening = |source| OfficeError::File { path: config.listen.clone().into(), source };
        let listener = TcpNetwork::new().bind(&config.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let limits = AcceptLimits {
            first_bytes: FirstBytes::Any,
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            ..AcceptLimits::clients()
        };
        Ok(Door { incoming: accept_loop(listener, tls, limits).boxed(), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until `stop` resolves, and then until what was asked by then is answered.
pub async fn serve(
    office: Office,
    mut door: Door,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIMEOUT);
    let (router, connections) = (router(office), GracefulShutdown::new());
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            // The accept loop yields no errors and does not end.
            Some(Ok(stream)) = door.incoming.next() => {
                let service = TowerToHyperService::new(router.clone());
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let served = connections.watch(connection.into_owned());
                tokio::spawn(async move {
                    if let Err(error) = served.await {
                        tracing::debug!(error, "a connection ended");
                    }
                });
            }
        }
    }
    connections.shutdown().await;
    Ok(())
}

fn router(office: Office) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/assets/office.css",
            get(async || asset("text/css", include_str!("../../assets/office.css"))),
        )
        .route(
            "/assets/office.js",
            get(async || asset("text/javascript", include_str!("../../assets/office.js"))),
        )
        .merge(api::routes())
        .merge(pages::routes())
        .merge(server_page::routes())
        .merge(forms::routes())
        .fallback(async || (StatusCode::NOT_FOUND, "there is no such page\n"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(guard))
        .with_state(office)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = HeaderValue::from_static(kind);
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
        ],
        text,
    )
        .into_response()
}

const BUSY: &str = "the office is busy; what was sent may be done all the same: look before you send \
                    it again\n";

/// What every answer carries, and how long it may take.
async fn guard(request: Request, next: Next) -> Response {
    let began = tokio::time::Instant::now();
    let mut response = match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, BUSY).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // What browsers show beside the request, and what the tests measure.
    let took = format!("total;dur={:.1}", began.elapsed().as_secs_f64() * 1_000.0);
    if let Ok(took) = HeaderValue::from_str(&took) {
        headers.insert(HeaderName::from_static("server-timing"), took);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The status that goes with an error.
fn status_of(error: &OfficeError) -> StatusCode {
    match error.reason() {
        "NOT_FOUND" => StatusCode::NOT_FOUND,
        "NOT_SIGNED_IN" => StatusCode::UNAUTHORIZED,
        "NOT_ALLOWED" | "FORGED_FORM" => StatusCode::FORBIDDEN,
        "MALFORMED" | "FORGED" => StatusCode::BAD_REQUEST,
        "INTERNAL" => StatusCode::INTERNAL_SERVER_ERROR,
        "EXISTS" | "REPLAYED" | "ALREADY_DONE" => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
