//! One call to the office: a request goes there, an answer or a reason comes
//! back.

use std::pin::Pin;
use std::time::Duration;

use http_body::Body as _;
use serde::Deserialize;
use tonic::body::Body;
use tonic::codegen::http::{Method, Request, StatusCode, header};
use tonic::transport::Channel;
use triad_license::DOCUMENT_BYTES_MAX;
use triad_proto::net::{
    ChannelParameters, ClientTls, Connector, SharedNetwork, TlsError, Traffic, channel_lazy,
};

use super::OfficeError;
use super::config::{OfficeConfig, Trust};

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A license, and the response above it.
const ANSWER_BYTES_MAX: usize = 2 * DOCUMENT_BYTES_MAX;
/// Where requests are sent.
const PATH: &str = "/api/v1/capability";

/// Calls one office. A connection is opened when it is needed.
pub(crate) struct Caller {
    channel: Channel,
    path: String,
    address: String,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody is there, or the answer did not come whole: it may be repeated.
    #[error("the office at {address} does not answer: {what}")]
    Unreachable { address: String, what: String },
    /// The office says no.
    #[error("the office refuses: {reason}: {message}")]
    Refused {
        /// For programs.
        reason: String,
        /// For people.
        message: String,
        /// The sequence of the newest request that the office has seen.
        last_sequence: Option<u64>,
    },
}

#[derive(Deserialize)]
struct Refused {
    reason: String,
    message: String,
    last_sequence: Option<u64>,
}

impl Caller {
    pub(crate) fn new(office: &OfficeConfig, network: &SharedNetwork) -> Result<Self, OfficeError> {
        let failed = |place: &str, what: String| OfficeError { place: place.to_owned(), what };
        let host = office.address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let of_tls = |error: TlsError| failed("office", error.to_string());
        let tls = match &office.trust {
            Trust::Plain => None,
            Trust::Fingerprint(fingerprint) => {
                Some(ClientTls::pinned(*fingerprint).map_err(of_tls)?)
            }
            Trust::Authority(path) => {
                let place = path.display().to_string();
                let pem = std::fs::read(path).map_err(|e| failed(&place, e.to_string()))?;
                let tls = ClientTls::new(&pem, None).map_err(|e| failed(&place, e.to_string()))?;
                Some(tls.for_server_name(host).map_err(of_tls)?)
            }
            Trust::System => {
                let tls = ClientTls::system().map_err(of_tls)?;
                Some(tls.for_server_name(host).map_err(of_tls)?)
            }
        };
        let channel = channel_lazy(ChannelParameters {
            host_port: office.address.clone(),
            connector: Connector::new(network.clone(), tls),
            traffic: Traffic::Clients,
            call_timeout: Some(CALL_TIMEOUT),
        });
        let channel = channel.map_err(|error| failed("office.url", error.to_string()))?;
        let path = format!("{}{PATH}", office.prefix);
        Ok(Caller { channel, path, address: office.address.clone() })
    }

    /// Sends a request and waits for the answer. Dropping it loses the answer;
    /// the same request may be sent again.
    pub(crate) async fn call(&self, text: &str) -> Result<String, CallError> {
        let unreachable =
            |what: String| CallError::Unreachable { address: self.address.clone(), what };
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Body::new(text.to_owned()))
            .map_err(|error| unreachable(error.to_string()))?;
        let answered = async {
            let mut calling = self.channel.clone();
            std::future::poll_fn(|context| {
                tonic::codegen::Service::<Request<Body>>::poll_ready(&mut calling, context)
            })
            .await
            .map_err(root_cause)?;
            let answer = tonic::codegen::Service::call(&mut calling, request).await;
            let (head, body) = answer.map_err(root_cause)?.into_parts();
            Ok((head.status, text_of(body).await?))
        };
        let answered = tokio::time::timeout(CALL_TIMEOUT, answered).await;
        let (status, text) = answered
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
            .map_err(unreachable)?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        match serde_json::from_str::<Refused>(&text) {
            Ok(Refused { reason, .. }) if reason == "INTERNAL" => {
                Err(unreachable(format!("it answers {status}")))
            }
            Ok(Refused { reason, message, last_sequence }) => {
                Err(CallError::Refused { reason, message, last_sequence })
            }
            Err(_) => Err(unreachable(format!("it answers {status}"))),
        }
    }
}

fn root_cause(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = source.to_string();
        next = source.source();
    }
    text
}

async fn text_of(mut body: Body) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        let frame = frame.map_err(|error| error.to_string())?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > ANSWER_BYTES_MAX {
                return Err(format!("its answer has more than {ANSWER_BYTES_MAX} bytes"));
            }
            bytes.extend_from_slice(&data);
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
