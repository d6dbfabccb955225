//! Asking by HTTP, as a browser or a program does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use serde_json::Value;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::{HeaderMap, Method, Request, Response};
use tonic::transport::Channel;
use triad_proto::net::{
    ChannelParameters, ClientTls, Connector, TcpNetwork, Traffic, channel_lazy,
};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Who asks one server.
#[derive(Clone)]
pub struct Web {
    channel: Channel,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answered {
    /// The status of HTTP.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The text.
    pub text: String,
}

impl Answered {
    /// The body, which must be JSON.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An answer that goes on.
pub struct Flowing {
    body: Body,
    read: String,
}

impl Flowing {
    /// Reads until the text has `wanted`, and returns all of it so far.
    ///
    /// # Panics
    ///
    /// If it ends before, or that takes too long.
    pub async fn until(&mut self, wanted: &str) -> &str {
        while !self.read.contains(wanted) {
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame = timeout(LIMIT, frame).await;
            let Ok(Some(Ok(frame))) = frame else {
                panic!("no {wanted:?} in what came: {}", self.read)
            };
            let bytes = frame.into_data().unwrap_or_default();
            self.read.push_str(&String::from_utf8_lossy(&bytes));
        }
        &self.read
    }

    /// Reads to its end.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn ended(&mut self) {
        loop {
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame = timeout(LIMIT, frame).await;
            let frame = frame.unwrap_or_else(|_| panic!("it goes on after {}", self.read));
            let Some(Ok(frame)) = frame else { return };
            let bytes = frame.into_data().unwrap_or_default();
            self.read.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

impl Web {
    /// For the server at `host:port`.
    ///
    /// # Panics
    ///
    /// If that is no address.
    pub fn new(host_port: &str, tls: Option<ClientTls>) -> Self {
        let channel = channel_lazy(ChannelParameters {
            host_port: host_port.to_owned(),
            connector: Connector::new(Arc::new(TcpNetwork::new()), tls),
            traffic: Traffic::Clients,
            call_timeout: Some(LIMIT),
        });
        Web { channel: channel.unwrap() }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        let mut channel = self.channel.clone();
        let ready = std::future::poll_fn(|context| {
            tonic::codegen::Service::<Request<Body>>::poll_ready(&mut channel, context)
        });
        ready.await.map_err(|error| format!("{error:?}"))?;
        channel.call(request).await.map_err(|error| format!("{error:?}"))
    }

    /// A page or file, with these headers.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub async fn get(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answered, String> {
        self.ask(Method::GET, path, headers, String::new()).await
    }

    /// Any request.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Result<Answered, String> {
        let answer = self.send(request(method, path, headers, body)).await?;
        let (head, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            let frame = frame.map_err(|error| format!("{error:?}"))?;
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answered { status: head.status.as_u16(), headers: head.headers, text })
    }

    /// An answer that is read while it comes.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub async fn flowing(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Flowing, String> {
        let answer = self.send(request(Method::GET, path, headers, String::new())).await?;
        Ok(Flowing { body: answer.into_body(), read: String::new() })
    }
}

fn request(
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: String,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::new(body)).expect("a good request")
}
