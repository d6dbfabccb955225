//! What a request may cost before anybody has looked at it: how long it may
//! take to arrive, and how long it may be from whoever has no token.
//!
//! A message is kept until its last byte is there. Without these two bounds one
//! connection could make a node keep 64 messages of the administrators' length
//! for as long as it likes, and would need no token for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::server::NamedService;
use triad_proto::v1::{Reason, Refusal};

use crate::node::Node;
use crate::tokens::{bearer, not_authenticated, recognize};
use crate::traces::{Call, Traced};
use crate::unfinished::FinishedBody;

/// From the head of a request to its last byte: a license file over a bad line.
pub(crate) const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);
/// What may be sent to the administrators' service without their token: the
/// questions that anybody may ask are a few bytes.
const WITHOUT_TOKEN_BYTES_MAX: usize = 4 << 10;
/// The one call whose requests go on for as long as the client likes. Its
/// stream has a deadline for its first message, see `session_stream.rs`, and
/// each message has one from where it begins.
const ENDLESS: &str = "/triad.v1.LicensingService/Session";

/// A service whose requests arrive in time and within bounds.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    /// Whose token is asked for before anything long is read.
    administered: Option<Arc<Node>>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, administered: Option<Arc<Node>>) -> Self {
        Guarded { inner, administered }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Traced<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Traced<S::Future> {
        if request.uri().path() == ENDLESS {
            let request = request.map(|inner| Body::new(FinishedBody::new(inner)));
            return Traced::new(self.inner.call(request), None);
        }
        let (mut is_bounded, mut call) = (false, None);
        if let Some(node) = &self.administered {
            let header = request.headers().get(http::header::AUTHORIZATION);
            let token = header.and_then(|value| value.to_str().ok()).and_then(bearer);
            let known = token.and_then(|token| recognize(node, token));
            is_bounded = known.is_none();
            call = Call::begin(&node.traces, &request, known.map(|known| known.id));
        }
        let left = if is_bounded { WITHOUT_TOKEN_BYTES_MAX } else { usize::MAX };
        let deadline = Box::pin(sleep(ARRIVAL_TIMEOUT));
        let guard = |inner| Body::new(GuardedBody { inner, deadline, left });
        Traced::new(self.inner.call(request.map(guard)), call)
    }
}

/// The body of one request.
struct GuardedBody {
    inner: Body,
    deadline: Pin<Box<Sleep>>,
    /// Bytes that may still come.
    left: usize,
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = &mut *self;
        let Poll::Ready(next) = Pin::new(&mut body.inner).poll_frame(context) else {
            return body.deadline.as_mut().poll(context).map(|()| Some(Err(too_slow())));
        };
        let Some(Ok(frame)) = &next else { return Poll::Ready(next) };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match body.left.checked_sub(length) {
            None => Poll::Ready(Some(Err(too_long()))),
            Some(left) => {
                body.left = left;
                Poll::Ready(next)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

fn too_slow() -> Status {
    let message = format!("the request has not arrived within {ARRIVAL_TIMEOUT:?}");
    Refusal::because(Reason::InvalidRequest, message).into_status()
}

fn too_long() -> Status {
    let message = format!(
        "more than {WITHOUT_TOKEN_BYTES_MAX} bytes, and no administrator token that is known here"
    );
    not_authenticated(&message).into_status()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// A body that sends `first` and then nothing more, for ever.
    struct Unfinished(Option<Bytes>);

    impl HttpBody for Unfinished {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    fn guarded(first: &'static [u8], left: usize) -> GuardedBody {
        let inner = Body::new(Unfinished(Some(first.into())));
        GuardedBody { inner, deadline: Box::pin(sleep(ARRIVAL_TIMEOUT)), left }
    }

    async fn next(body: &mut GuardedBody) -> Result<Bytes, Reason> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        let frame = frame.expect("it never ends by itself");
        let frame = frame.map_err(|status| Refusal::from_status(&status).reason())?;
        Ok(frame.into_data().expect("data"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_is_given_up() {
        let mut body = guarded(b"begun", usize::MAX);
        assert_eq!(next(&mut body).await.unwrap(), "begun");
        let began = tokio::time::Instant::now();
        assert_eq!(next(&mut body).await.unwrap_err(), Reason::InvalidRequest);
        assert_eq!(began.elapsed(), ARRIVAL_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_say_much_is_cut_short() {
        let mut body = guarded(b"begun", 4);
        assert_eq!(next(&mut body).await.unwrap_err(), Reason::NotAuthenticated);
        assert_eq!(next(&mut guarded(b"begun", 5)).await.unwrap(), "begun");
    }
}
