//! What has arrived and is not yet passed on. Datagrams stay where the kernel wrote them, messages of streams where they
//! were cut out; what is sent refers to both by place.

use crate::udp::{ReceiveBatch, Span};

/// Where a payload lies in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among received datagrams.
    Received(Span),
    /// Among messages of streams.
    Streamed(Span),
}

impl Place {
    /// Nowhere: no bytes.
    pub(super) const EMPTY: Self = Self::Streamed(Span { start: 0, len: 0 });

    /// The place of `part`, which is a part of `whole`, the bytes in this one.
    pub(super) fn narrow(self, whole: &[u8], part: &[u8]) -> Self {
        match self {
            Self::Received(span) => Self::Received(span.narrow(whole, part)),
            Self::Streamed(span) => Self::Streamed(span.narrow(whole, part)),
        }
    }
}

/// One set of buffers for all sockets of a shard.
#[derive(Default)]
pub(super) struct Inbox {
    /// Datagrams.
    pub(super) receive: ReceiveBatch,
    /// Messages of streams, one behind the other.
    streamed: Vec<u8>,
}

impl Inbox {
    /// Whether it should be emptied before more is received.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.receive.is_nearly_full() || self.streamed.len() >= STREAMED_BYTES_MAX
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.receive.clear();
        self.streamed.clear();
    }

    /// Keeps a message of a stream.
    pub(super) fn keep(&mut self, message: &[u8]) -> Place {
        let span = Span::new(self.streamed.len(), message.len());
        self.streamed.extend_from_slice(message);
        Place::Streamed(span)
    }

    /// The bytes in a place.
    pub(super) fn bytes(&self, place: Place) -> &[u8] {
        match place {
            Place::Received(span) => span.of(self.receive.bytes()),
            Place::Streamed(span) => span.of(&self.streamed),
        }
    }
}

/// A few reads' worth; still in the processor's cache when the kernel copies it.
const STREAMED_BYTES_MAX: usize = 256 << 10;
