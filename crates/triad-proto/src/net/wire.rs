//! One established connection, in plain text or under TLS, that notes when
//! its peer closes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::Connection;
use super::closed::{PeerClosed, Watched};

/// An established connection, with or without TLS.
pub struct Wire(Kind);

enum Kind {
    Plain(Watched<Connection>),
    Tls(Box<TlsStream<Watched<Connection>>>),
}

impl Wire {
    pub(super) fn plain(watched: Watched<Connection>) -> Self {
        Self(Kind::Plain(watched))
    }

    pub(super) fn tls(stream: impl Into<TlsStream<Watched<Connection>>>) -> Self {
        Self(Kind::Tls(Box::new(stream.into())))
    }

    /// Whether the peer has closed the connection.
    pub fn peer_closed(&self) -> &Arc<PeerClosed> {
        match &self.0 {
            Kind::Plain(watched) => watched.peer_closed(),
            Kind::Tls(stream) => stream.get_ref().0.peer_closed(),
        }
    }

    /// The verified certificate of the peer, if it showed one.
    pub(super) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        match &self.0 {
            Kind::Plain(_) => None,
            Kind::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match &mut self.get_mut().0 {
            Kind::Plain(stream) => {
                ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
                stream.note_data(&buffer.filled()[before..]);
            }
            Kind::Tls(stream) => {
                let room = buffer.remaining();
                ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
                let watched = stream.get_mut().0;
                if room > 0 && buffer.filled().len() == before {
                    // The close notice of TLS: the peer said it in person,
                    // and the raw end that follows is read by nobody.
                    watched.note_end_of_data();
                }
                watched.note_data(&buffer.filled()[before..]);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Kind::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Kind::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Kind::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Kind::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Kind::Plain(stream) => stream.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain(stream) => Pin::new(stream).poll_flush(context),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Kind::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
