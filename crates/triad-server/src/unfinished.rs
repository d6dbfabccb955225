//! The body of a request that goes on for as long as the client likes: each
//! message in it must be whole a while after it began.
//!
//! Without this a session's stream could keep a part of a message for ever, and
//! one connection 64 of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use triad_proto::v1::{Reason, Refusal};

use crate::guarded::ARRIVAL_TIMEOUT;

/// What gRPC puts before each message: a flag, and the length in four bytes.
const PREFIX_BYTES: usize = 5;

/// Where in a stream of messages the last byte was.
#[derive(Debug, Default)]
struct Place {
    prefix: [u8; PREFIX_BYTES],
    /// How much of the prefix is there; all of it while a message is under way.
    prefix_bytes: usize,
    /// What is missing of the message.
    missing: usize,
}

impl Place {
    /// Goes on over some bytes. Whether a message ended in them.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.prefix_bytes < PREFIX_BYTES {
                self.prefix[self.prefix_bytes] = bytes[0];
                self.prefix_bytes += 1;
                bytes = &bytes[1..];
                if self.prefix_bytes == PREFIX_BYTES {
                    let [_, length @ ..] = self.prefix;
                    self.missing = u32::from_be_bytes(length) as usize;
                }
            } else {
                let passed = self.missing.min(bytes.len());
                self.missing -= passed;
                bytes = &bytes[passed..];
            }
            if self.prefix_bytes == PREFIX_BYTES && self.missing == 0 {
                self.prefix_bytes = 0;
                ended = true;
            }
        }
        ended
    }

    fn is_within_a_message(&self) -> bool {
        self.prefix_bytes > 0
    }
}

/// A body whose messages are finished in time.
pub(crate) struct FinishedBody {
    inner: Body,
    place: Place,
    /// While a message is unfinished. Clients send a message in one piece, so it
    /// is seldom there.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl FinishedBody {
    pub(crate) fn new(inner: Body) -> Self {
        FinishedBody { inner, place: Place::default(), deadline: None }
    }
}

impl HttpBody for FinishedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = &mut *self;
        let Poll::Ready(next) = Pin::new(&mut body.inner).poll_frame(context) else {
            let Some(deadline) = &mut body.deadline else { return Poll::Pending };
            return deadline.as_mut().poll(context).map(|()| Some(Err(too_slow())));
        };
        if let Some(Ok(frame)) = &next
            && let Some(data) = frame.data_ref()
        {
            // The clock runs from when the message began.
            let is_another = body.place.pass(data);
            if !body.place.is_within_a_message() {
                body.deadline = None;
            } else if is_another || body.deadline.is_none() {
                body.deadline = Some(Box::pin(sleep(ARRIVAL_TIMEOUT)));
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

fn too_slow() -> Status {
    let message = format!("a message is unfinished after {ARRIVAL_TIMEOUT:?}");
    Refusal::because(Reason::InvalidRequest, message).into_status()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// A body that sends these pieces, and then nothing more, for ever.
    struct Pieces(VecDeque<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0
                .pop_front()
                .map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    /// What comes after the pieces, and after how long; `None`: nothing for an hour.
    async fn end_of(pieces: &[&'static [u8]]) -> Option<(Status, Duration)> {
        let began = Instant::now();
        let all = pieces.iter().map(|piece| Bytes::from_static(piece)).collect();
        let mut body = FinishedBody::new(Body::new(Pieces(all)));
        loop {
            let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            match timeout(Duration::from_secs(3_600), next).await {
                Err(_) => return None,
                Ok(Some(Err(status))) => return Some((status, began.elapsed())),
                Ok(next) => assert!(next.is_some(), "it does not end"),
            }
        }
    }

    /// P15: a part of a message is not kept for ever.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_does_not_end_ends_the_stream() {
        let unfinished: [&[&[u8]]; 4] = [
            &[&[0]],
            &[&[0, 0, 0, 0, 2, 1]],
            &[&[0, 0, 0, 0, 2], &[1]],
            &[&[0, 0, 0, 0, 1, 9, 0, 0], &[0, 0]],
        ];
        for pieces in unfinished {
            let (status, after) = end_of(pieces).await.expect("it is refused");
            assert_eq!(Refusal::from_status(&status).reason(), Reason::InvalidRequest);
            assert_eq!(after.as_secs(), ARRIVAL_TIMEOUT.as_secs(), "{pieces:?}");
        }
    }

    #[test]
    fn each_message_has_its_own_time() {
        let mut place = Place::default();
        assert!(!place.pass(&[0, 0, 0, 0, 2, 1]) && place.is_within_a_message());
        // The end of one and the begin of the next, in one piece.
        assert!(place.pass(&[2, 0, 0]) && place.is_within_a_message());
        assert!(place.pass(&[0, 0, 1, 7]) && !place.is_within_a_message());
    }

    #[tokio::test(start_paused = true)]
    async fn whole_messages_may_be_as_far_apart_as_they_like() {
        let whole: [&[&[u8]]; 4] = [
            &[],
            &[&[0, 0, 0, 0, 0]],
            &[&[0, 0, 0, 0, 2, 1], &[2]],
            &[&[0, 0, 0, 0, 1, 9, 0, 0], &[0, 0, 1], &[7]],
        ];
        for pieces in whole {
            assert!(end_of(pieces).await.is_none(), "{pieces:?}");
        }
    }
}
