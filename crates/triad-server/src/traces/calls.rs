//! The spans of administrators' calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http;

use super::{Context, Span, Traces};

/// What calls that change nothing begin with. They are sampled: whoever watches
/// a cluster asks all the time.
const READS: [&str; 7] = ["Check", "Explain", "Get", "List", "Status", "Verify", "WhoAmI"];
/// Longer than the name of any call.
const NAME_BYTES_MAX: usize = 64;

/// A call that is told.
pub(crate) struct Call {
    traces: Arc<Traces>,
    context: Context,
    method: String,
    token_id: Option<String>,
    began: Instant,
}

impl Call {
    /// A call that has just come, if it is to be told. `token_id` is that of the
    /// token that was shown, if it is known: only such a call may be a part of the
    /// caller's own trace.
    pub(crate) fn begin(
        traces: &Arc<Traces>,
        request: &http::Request<Body>,
        token_id: Option<String>,
    ) -> Option<Self> {
        if !traces.is_on() {
            return None;
        }
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_good = method.len() <= NAME_BYTES_MAX && is_name(method);
        let method = if is_good { method.to_owned() } else { "unknown".to_owned() };
        let header = request.headers().get("traceparent").filter(|_| token_id.is_some());
        let parent = header.and_then(|value| value.to_str().ok()).and_then(parent);
        // Whoever is not known may not fill the queue.
        let is_read = token_id.is_none() || READS.iter().any(|read| method.starts_with(read));
        let context = match parent {
            Some((whole, true)) => traces.part_of(whole),
            _ if is_read => traces.sampled()?,
            Some((whole, false)) => traces.part_of(whole),
            None => traces.always()?,
        };
        Some(Call { traces: traces.clone(), context, method, token_id, began: Instant::now() })
    }

    fn end<B>(self, response: Option<&http::Response<B>>) {
        let status = response.and_then(|response| response.headers().get("grpc-status"));
        let code = status.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
        let name = format!("triad.v1.AdminService/{}", self.method);
        let mut span = Span { serves: true, ..Span::new(name, self.context, self.began) }
            .with("rpc.system", "grpc")
            .with("rpc.service", "triad.v1.AdminService")
            .with("rpc.method", self.method)
            .with("rpc.grpc.status_code", code);
        if let Some(token_id) = self.token_id {
            span = span.with("triad.token_id", token_id);
        }
        if code > 0 {
            span.error = Some(format!("gRPC status {code}"));
        }
        self.traces.tell(span);
    }
}

/// The caller's span, and whether its trace is told, by W3C Trace Context.
fn parent(header: &str) -> Option<(Context, bool)> {
    let mut parts = header.split('-');
    let mut hex = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        let is_hex = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_hex.then(|| u128::from_str_radix(part, 16).ok()).flatten()
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_good = version == 0 && trace != 0 && span != 0 && parts.next().is_none();
    let span = u64::try_from(span).ok()?;
    is_good.then_some((Context { trace, span, parent: 0 }, flags & 1 == 1))
}

/// The answer to a call, and its span when it is there.
pub(crate) struct Traced<F> {
    inner: F,
    call: Option<Call>,
}

impl<F> Traced<F> {
    pub(crate) fn new(inner: F, call: Option<Call>) -> Self {
        Traced { inner, call }
    }
}

impl<F, B, E> Future for Traced<F>
where
    F: Future<Output = Result<http::Response<B>, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<F::Output> {
        let answered = Pin::new(&mut self.inner).poll(context);
        if let Poll::Ready(answer) = &answered
            && let Some(call) = self.call.take()
        {
            call.end(answer.as_ref().ok());
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::tests::traces;

    const OF_CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn call(method: &str, header: Option<&str>, token_id: Option<&str>) -> Option<Call> {
        let (traces, _waiting) = traces("0");
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = format!("/triad.v1.AdminService/{method}").parse().expect("a path");
        if let Some(header) = header {
            request.headers_mut().insert("traceparent", header.parse().expect("a header"));
        }
        Call::begin(&Arc::new(traces), &request, token_id.map(str::to_owned))
    }

    #[test]
    fn changes_are_always_told_reads_are_sampled_and_strangers_too() {
        assert!(call("ApplyLicense", None, Some("id")).is_some());
        assert!(call("ListCheckouts", None, Some("id")).is_none());
        assert!(call("ApplyLicense", None, None).is_none());
        assert!(call("ListCheckouts", Some(OF_CALLER), None).is_none());
        let read = call("ListCheckouts", Some(OF_CALLER), Some("id")).expect("the caller asks");
        assert_eq!(read.context.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(read.context.parent, 0xb7ad_6b71_6920_3331);
        let odd = call(&"x".repeat(65), None, Some("id")).expect("a change, perhaps");
        assert_eq!(odd.method, "unknown");
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for header in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(parent(header), None, "{header}");
        }
        assert_eq!(parent(OF_CALLER).map(|(_, told)| told), Some(true));
    }
}
