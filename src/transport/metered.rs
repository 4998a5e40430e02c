//! The socket of an HTTP connection. It counts what it moves, so that somebody else can see whether
//! the connection makes progress, and that somebody can have it reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How often a connection is looked at within the time that it may stand still.
const LOOKS: u32 = 8;

/// What a connection does; shared by its socket and those who watch it.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Reads and writes that have moved at least one byte.
    moves: AtomicU64,
    broken_off: CancellationToken,
}

/// A socket whose moves are counted.
#[derive(Debug)]
pub(crate) struct Metered<S: OverTcp> {
    /// Taken only by `into_inner`.
    socket: Option<S>,
    activity: Arc<Activity>,
}

/// A socket, or TLS over one.
pub(crate) trait OverTcp {
    /// The TCP socket below.
    fn tcp(&self) -> &TcpStream;
}

impl Activity {
    /// Resets the connection. Its peer sees that an answer is incomplete, which after a plain end
    /// nobody could tell of an answer without a length.
    pub(crate) fn break_off(&self) {
        self.broken_off.cancel();
    }

    /// Resolves when the connection is to end at once.
    pub(crate) async fn broken_off(&self) {
        self.broken_off.cancelled().await;
    }

    /// Resolves when the connection has moved no byte for so long, or for an eighth longer. A limit
    /// of zero is none.
    pub(crate) async fn stalled(&self, limit: Duration) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        let (mut seen, mut quiet) = (self.moves(), 0);
        while quiet < LOOKS {
            tokio::time::sleep(limit / LOOKS).await;
            let moves = self.moves();
            quiet = if moves == seen { quiet + 1 } else { 0 };
            seen = moves;
        }
    }

    fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }
}

impl<S: OverTcp> Metered<S> {
    pub(crate) fn new(socket: S, activity: Arc<Activity>) -> Self {
        Self {
            socket: Some(socket),
            activity,
        }
    }

    /// The socket itself.
    pub(crate) fn into_inner(mut self) -> io::Result<S> {
        self.socket.take().ok_or_else(gone)
    }
}

impl<S: OverTcp> Drop for Metered<S> {
    fn drop(&mut self) {
        let socket = self.socket.as_ref();
        let Some(socket) = socket.filter(|_| self.activity.broken_off.is_cancelled()) else {
            return;
        };
        if let Err(error) = SockRef::from(socket.tcp()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "A connection ends with no reset.");
        }
    }
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

#[cfg(feature = "tls")]
impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl<S: OverTcp + AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let socket = this.socket.as_mut().ok_or_else(gone)?;
        let before = buffer.filled().len();
        ready!(Pin::new(socket).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            this.activity.count();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: OverTcp + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let socket = this.socket.as_mut().ok_or_else(gone)?;
        let written = ready!(Pin::new(socket).poll_write(context, bytes))?;
        this.activity.count();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let socket = this.socket.as_mut().ok_or_else(gone)?;
        let written = ready!(Pin::new(socket).poll_write_vectored(context, slices))?;
        this.activity.count();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket.as_mut().ok_or_else(gone)?;
        Pin::new(socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket.as_mut().ok_or_else(gone)?;
        Pin::new(socket).poll_shutdown(context)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gateway_081_a_connection_stalls_when_it_moves_nothing_for_the_whole_time() {
        let activity = Activity::default();
        let limit = Duration::from_secs(60);
        let start = tokio::time::Instant::now();
        let moves = async {
            for _ in 0..3 {
                tokio::time::sleep(limit * 3 / 4).await;
                activity.count();
            }
        };
        tokio::join!(moves, activity.stalled(limit));
        let after = start.elapsed() - limit * 9 / 4;
        assert!(after >= limit && after <= limit * 9 / 8, "{after:?}");
    }
}
