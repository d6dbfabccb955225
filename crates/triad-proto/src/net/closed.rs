//! Whether the other side closed a connection, as opposed to falling silent.
//!
//! A closed socket is the word of the peer's kernel that the process gave the
//! connection up, mostly by dying: its seats may come back after a short
//! grace. Silence (a timeout, a failed keepalive, no route) proves nothing:
//! the holder may well be working, and keeps its seats for its whole lease.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Set once the peer has closed its end, and never unset.
#[derive(Debug, Default)]
pub struct PeerClosed {
    closed: AtomicBool,
    notify: Notify,
}

impl PeerClosed {
    /// True once the peer has closed or reset the connection.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns when the peer has closed the connection, which may be never.
    /// Cancel safe.
    pub async fn closed(&self) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        // Enlisted before the flag is read: a mark in between is not missed.
        notified.as_mut().enable();
        if !self.is_closed() {
            notified.await;
        }
    }

    pub(super) fn mark(&self) {
        self.closed.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }
}

/// A raw connection that notes in a [`PeerClosed`] when its peer ends it.
pub(super) struct Watched<S> {
    inner: S,
    closed: Arc<PeerClosed>,
    /// Once we began to close, the peer's close is only its answer to ours.
    closing: bool,
    /// The last that was read from the peer was its goodbye.
    said_goodbye: bool,
}

/// What a frame of HTTP/2 begins with: its length, its type, its flags, and its stream.
const FRAME_HEAD: usize = 9;
/// The type of a GOAWAY. What it carries: the last stream, a code, and text that may be empty.
const GOAWAY: u8 = 7;
const GOAWAY_MIN: usize = 8;
/// Text of a goodbye that is looked for.
const GOODBYE_TEXT_MAX: usize = 64;

impl<S> Watched<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, closed: Arc::default(), closing: false, said_goodbye: false }
    }

    pub(super) fn peer_closed(&self) -> &Arc<PeerClosed> {
        &self.closed
    }

    /// Notes the end of the peer's data, seen here or by a layer above (the
    /// close notice of TLS comes before the end of the raw connection).
    pub(super) fn note_end_of_data(&self) {
        if !self.closing {
            self.closed.mark();
        }
    }

    /// Notes whether what was read, out of any TLS, ends with the goodbye of an HTTP/2 peer. It
    /// closes next, and HTTP/2 on our side is faster at times: where no stream is left it closes as
    /// soon as it has read this. That is the peer's close all the same.
    pub(super) fn note_data(&mut self, read: &[u8]) {
        self.said_goodbye = ends_with_goodbye(read);
    }

    fn note_error(&self, error: &io::Error) {
        if is_close(error.kind()) {
            self.note_end_of_data();
        }
    }

    fn note_write<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.note_error(error))
    }
}

/// Whether the last frame in here is a GOAWAY. One that came in pieces is not found.
fn ends_with_goodbye(read: &[u8]) -> bool {
    (GOAWAY_MIN..=GOAWAY_MIN + GOODBYE_TEXT_MAX).any(|length| {
        let head = [0, 0, length as u8, GOAWAY, 0, 0, 0, 0, 0];
        let begin = read.len().checked_sub(FRAME_HEAD + length);
        begin.is_some_and(|begin| read[begin..].starts_with(&head))
    })
}

/// The kinds by which a kernel reports that the other one closed.
fn is_close(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let result = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        match &result {
            Ok(()) if room > 0 && buffer.filled().len() == before => self.note_end_of_data(),
            Ok(()) => {}
            Err(error) => self.note_error(error),
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        Poll::Ready(self.note_write(result))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = Pin::new(&mut self.inner);
        // Most messages are one piece, and the kernel has less to do for a `send` than for a
        // `writev`.
        let result = ready!(match slices {
            [piece] => inner.poll_write(context, piece),
            pieces => inner.poll_write_vectored(context, pieces),
        });
        Poll::Ready(self.note_write(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_flush(context));
        Poll::Ready(self.note_write(result))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.said_goodbye {
            self.note_end_of_data();
        }
        self.closing = true;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A connection whose next read fails with one kind of error.
    struct Failing(io::ErrorKind);

    impl AsyncRead for Failing {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(self.0.into()))
        }
    }

    #[tokio::test]
    async fn only_the_kernels_word_counts_as_closed() {
        use io::ErrorKind::*;
        for (kind, expected) in [
            (ConnectionReset, true),
            (BrokenPipe, true),
            (TimedOut, false),
            (HostUnreachable, false),
            (NetworkUnreachable, false),
            (ConnectionAborted, false),
        ] {
            let mut watched = Watched::new(Failing(kind));
            watched.read_u8().await.unwrap_err();
            assert_eq!(watched.peer_closed().is_closed(), expected, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn the_end_of_data_is_a_close_and_wakes_who_waits() {
        let (near, far) = duplex(64);
        let mut watched = Watched::new(near);
        let closed = watched.peer_closed().clone();
        let waiting = tokio::spawn({
            let closed = closed.clone();
            async move { closed.closed().await }
        });
        tokio::task::yield_now().await;
        drop(far);
        assert_eq!(watched.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(closed.is_closed());
        waiting.await.unwrap();
        closed.closed().await;
    }

    #[tokio::test]
    async fn an_empty_buffer_is_not_the_end_of_data() {
        let (near, mut far) = duplex(64);
        let mut watched = Watched::new(near);
        far.write_all(b"x").await.unwrap();
        assert_eq!(watched.read(&mut []).await.unwrap(), 0);
        assert!(!watched.peer_closed().is_closed());
    }

    #[tokio::test]
    async fn our_own_closing_marks_nothing() {
        let (near, far) = duplex(64);
        let mut watched = Watched::new(near);
        let closed = watched.peer_closed().clone();
        watched.shutdown().await.unwrap();
        drop(far);
        assert_eq!(watched.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(!closed.is_closed());
        drop(watched);
        assert!(!closed.is_closed());
    }

    /// A stream is reset, which is no goodbye.
    const RESET: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    const PLAIN_GOODBYE: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn our_closing_after_a_goodbye_is_the_close_of_the_peer() {
        let with_text = [&[0, 0, 11, 7], &[0; 13][..], b"bye"].concat();
        let after_it = [PLAIN_GOODBYE, RESET].concat();
        for (read, expected) in [
            (RESET, false),
            (PLAIN_GOODBYE, true),
            (&with_text, true),
            (&[RESET, PLAIN_GOODBYE].concat(), true),
            (&after_it, false),
            (&PLAIN_GOODBYE[1..], false),
            (&[], false),
        ] {
            let mut watched = Watched::new(duplex(64).0);
            watched.note_data(read);
            assert!(!watched.peer_closed().is_closed(), "a goodbye alone closes nothing");
            watched.shutdown().await.unwrap();
            assert_eq!(watched.peer_closed().is_closed(), expected, "{read:?}");
        }
    }
}
