//! A stream whose first bytes can be looked at, and read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::seats::Seat;

/// A stream with what has been read of it already in front.
///
/// Invariant: `given <= ahead.len()`; the inner stream is read only when nothing in `ahead` waits.
#[derive(Debug)]
pub(crate) struct Replay<S> {
    inner: S,
    /// Read from the inner stream.
    ahead: Vec<u8>,
    /// So much of `ahead` has been read by whoever reads us.
    given: usize,
    /// Whether what is read stays in `ahead`, so that it can be read again.
    keeps: bool,
    /// Given back when the stream is dropped.
    seat: Option<Seat>,
}

impl<S> Replay<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, ahead: Vec::new(), given: 0, keeps: false, seat: None }
    }

    /// What waits to be read.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.ahead[self.given..]
    }

    /// Leaves out the next bytes of those that wait.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.given = self.ahead.len().min(self.given + bytes);
        self.forget_given();
    }

    /// From here on nothing is lost by reading: `rewind` goes back to this place.
    pub(crate) fn keep(&mut self) {
        self.forget_given();
        self.keeps = true;
    }

    /// Back to where `keep` was called.
    pub(crate) fn rewind(&mut self) {
        self.given = 0;
        self.keeps = false;
    }

    /// Stays where it is; there is no way back any more.
    pub(crate) fn stop_keeping(&mut self) {
        self.keeps = false;
        self.forget_given();
    }

    /// Holds the seat for as long as the stream is open.
    pub(crate) fn hold(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// The stream, and what waits in front of it.
    pub(crate) fn into_parts(mut self) -> (S, Vec<u8>) {
        let waiting = self.ahead.split_off(self.given);
        (self.inner, waiting)
    }

    /// What has been read is not needed again, unless it is kept.
    fn forget_given(&mut self) {
        if !self.keeps {
            self.ahead.drain(..self.given);
            self.given = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> Replay<S> {
    /// Reads some more from the inner stream without giving it to anybody; 0 at its end. Losing the future loses
    /// nothing of the stream.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.ahead.reserve(FILL_BYTES);
        self.inner.read_buf(&mut self.ahead).await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given < this.ahead.len() {
            let bytes = buffer.remaining().min(this.ahead.len() - this.given);
            buffer.put_slice(&this.ahead[this.given..this.given + bytes]);
            this.given += bytes;
            if !this.keeps && this.given == this.ahead.len() {
                // A connection lives for hours; its first bytes need not.
                this.ahead = Vec::new();
                this.given = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if this.keeps {
            let fresh = &buffer.filled()[before..];
            if this.ahead.len() + fresh.len() > KEPT_BYTES_MAX {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            this.ahead.extend_from_slice(fresh);
            this.given = this.ahead.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// A first flight fits: ClientHellos with a post-quantum key share have 1,800 bytes, and Allocates fewer.
const FILL_BYTES: usize = 2_048;

/// A ClientHello, and what a hasty client sends behind it. What is longer is no browser's.
const KEPT_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    async fn read<S: AsyncRead + Unpin>(stream: &mut Replay<S>, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        stream.read_exact(&mut buffer).await.unwrap();
        buffer
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_once_and_before_the_rest() {
        let (mut far, near) = duplex(64);
        far.write_all(b"head").await.unwrap();
        let mut stream = Replay::new(near);
        assert_eq!((stream.fill().await.unwrap(), stream.waiting()), (4, &b"head"[..]));
        far.write_all(b"tail").await.unwrap();
        stream.skip(1);
        assert_eq!(read(&mut stream, 2).await, b"ea");
        assert_eq!(read(&mut stream, 5).await, b"dtail");
    }

    #[tokio::test]
    async fn rewinding_goes_back_to_where_keeping_began() {
        let (mut far, near) = duplex(64);
        far.write_all(b"xhead").await.unwrap();
        let mut stream = Replay::new(near);
        stream.fill().await.unwrap();
        stream.skip(1);
        stream.keep();
        far.write_all(b"tail").await.unwrap();
        assert_eq!(read(&mut stream, 6).await, b"headta");
        stream.rewind();
        assert_eq!(read(&mut stream, 8).await, b"headtail");
    }

    #[tokio::test]
    async fn what_nobody_has_read_comes_out_with_the_stream() {
        let (mut far, near) = duplex(64);
        far.write_all(b"abcdef").await.unwrap();
        let mut stream = Replay::new(near);
        stream.fill().await.unwrap();
        stream.keep();
        assert_eq!(read(&mut stream, 2).await, b"ab");
        stream.stop_keeping();
        assert_eq!(stream.into_parts().1, b"cdef");
    }

    #[tokio::test]
    async fn keeping_has_an_end() {
        let (mut far, near) = duplex(2 * KEPT_BYTES_MAX);
        far.write_all(&vec![1; KEPT_BYTES_MAX + 1]).await.unwrap();
        let mut stream = Replay::new(near);
        stream.keep();
        let mut buffer = vec![0; KEPT_BYTES_MAX + 1];
        let error = stream.read_exact(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
