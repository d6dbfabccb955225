//! Whose turn it is: of the connections that have something to say, a few are heard at a time.
//!
//! A node is one thread, and what is ready there takes its turn in the order in which it
//! became so. A thousand clients that speak at once would all be heard before the next step of
//! Raft, and each exchange with a peer takes several: soon the followers would miss a leader
//! that is well, and all clients would come again, to the next one. So the connections of
//! clients stand in a line of their own.
//!
//! A connection stands in line by its waker: what wakes it when bytes have come puts it there,
//! and the line wakes its task.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connection;

/// Connections heard before all else that is ready has had its turn. A message takes some twenty
/// microseconds, a step of a TLS handshake half a millisecond.
const HEARD_AT_A_TIME: usize = 32;

/// The line of one listener. It is served until the listener and all its connections are gone.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The longest first.
    places: VecDeque<Arc<Place>>,
    /// What serves the line, while nobody waits.
    idle: Option<Waker>,
}

impl Line {
    /// A line, and what serves it, for a task of its own.
    pub(super) fn new() -> (Arc<Line>, Serving) {
        let line = Arc::<Line>::default();
        let serving = Serving(Arc::downgrade(&line));
        (line, serving)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no panic while held")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It sees that there is no line any more.
        if let Some(idle) = self.waiting().idle.take() {
            idle.wake();
        }
    }
}

/// See [`Line::new`].
#[derive(Debug)]
pub(super) struct Serving(Weak<Line>);

impl Future for Serving {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(line) = self.0.upgrade() else { return Poll::Ready(()) };
        let mut waiting = line.waiting();
        let count = waiting.places.len().min(HEARD_AT_A_TIME);
        let next: Vec<_> = waiting.places.drain(..count).collect();
        match waiting.places.is_empty() {
            true => waiting.idle = Some(context.waker().clone()),
            // After all that is ready now, those that are woken here included.
            false => context.waker().wake_by_ref(),
        }
        drop(waiting);
        next.iter().for_each(|place| place.hear());
        Poll::Pending
    }
}

/// The place of one connection.
#[derive(Debug)]
struct Place {
    line: Arc<Line>,
    is_waiting: AtomicBool,
    task: AtomicWaker,
}

impl Place {
    fn hear(&self) {
        // Before the task is woken: what comes from now on is another turn.
        self.is_waiting.store(false, Ordering::Release);
        self.task.wake();
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        if self.is_waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let line = self.line.clone();
        let idle = {
            let mut waiting = line.waiting();
            waiting.places.push_back(self);
            waiting.idle.take()
        };
        if let Some(idle) = idle {
            idle.wake();
        }
    }
}

/// A raw connection that waits for its turn before it is read from.
pub(super) struct InLine {
    inner: Connection,
    place: Arc<Place>,
    /// Puts it in line.
    waker: Waker,
}

impl InLine {
    pub(super) fn new(inner: Connection, line: Arc<Line>) -> Self {
        let (is_waiting, task) = Default::default();
        let place = Arc::new(Place { line, is_waiting, task });
        let waker = Waker::from(place.clone());
        InLine { inner, place, waker }
    }
}

impl AsyncRead for InLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let InLine { inner, place, waker } = &mut *self;
        place.task.register(context.waker());
        Pin::new(inner).poll_read(&mut Context::from_waker(waker), buffer)
    }
}

impl AsyncWrite for InLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use futures::task::noop_waker_ref;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// The task of a connection, which counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn connection(line: &Arc<Line>) -> (InLine, DuplexStream) {
        let (near, far) = duplex(64);
        (InLine::new(Box::new(near), line.clone()), far)
    }

    /// Reads a byte as a task does.
    fn read(connection: &mut InLine, task: &Arc<Task>) -> Poll<u8> {
        let waker = Waker::from(task.clone());
        let read = pin!(connection.read_u8());
        read.poll(&mut Context::from_waker(&waker)).map(|byte| byte.expect("it is open"))
    }

    fn serve(serving: &mut Serving) -> Poll<()> {
        Pin::new(serving).poll(&mut Context::from_waker(noop_waker_ref()))
    }

    #[tokio::test]
    async fn of_a_crowd_a_few_are_heard_at_a_time_and_all_in_the_end() {
        let (line, mut serving) = Line::new();
        let crowd = 2 * HEARD_AT_A_TIME + 1;
        let task = Arc::<Task>::default();
        let mut all: Vec<_> = (0..crowd).map(|_| connection(&line)).collect();
        for (near, _) in &mut all {
            assert!(read(near, &task).is_pending());
        }
        assert!(serve(&mut serving).is_pending());
        for (_, far) in &mut all {
            // A second byte does not give it a second place.
            far.write_all(&[1, 2]).await.expect("there is room");
        }
        assert_eq!(task.woken(), 0, "nobody is heard out of turn");
        for heard in [HEARD_AT_A_TIME, 2 * HEARD_AT_A_TIME, crowd, crowd] {
            assert!(serve(&mut serving).is_pending());
            assert_eq!(task.woken(), heard);
        }
        for (near, _) in &mut all {
            assert_eq!(read(near, &task), Poll::Ready(1));
            assert_eq!(read(near, &task), Poll::Ready(2));
            // Else the runtime would say that this one task reads too much.
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_was_heard_may_join_the_line_again() {
        let (line, mut serving) = Line::new();
        let (mut near, mut far) = connection(&line);
        let task = Arc::<Task>::default();
        for heard in 1..=3 {
            assert!(read(&mut near, &task).is_pending());
            far.write_u8(heard).await.expect("there is room");
            assert!(serve(&mut serving).is_pending());
            assert_eq!(task.woken(), usize::from(heard));
            assert_eq!(read(&mut near, &task), Poll::Ready(heard));
        }
    }

    #[tokio::test]
    async fn a_line_is_served_until_its_last_connection_is_gone() {
        let (line, serving) = Line::new();
        let serving = tokio::spawn(serving);
        let (mut near, mut far) = connection(&line);
        drop(line);
        far.write_u8(1).await.expect("there is room");
        assert_eq!(near.read_u8().await.expect("it is open"), 1);
        far.write_u8(2).await.expect("there is room");
        assert_eq!(near.read_u8().await.expect("it is open"), 2);
        drop(near);
        serving.await.expect("it ends");
    }
}
