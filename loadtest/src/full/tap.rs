//! Where a full caller's packets are looked at: two interceptors in the crate's own chain.
//!
//! ```text
//!  network ─► Tap ─► NACK, transport-cc, reports (the crate's) ─► End        received: counted by Tap, ended by End
//!  network ◄─ Tap ◄─ NACK, RTX, transport-cc, reports ◄────────── tracks     sent: counted by Tap, repairs among it
//! ```
//!
//! Beside the wire [`Tap`] sees what light callers see: retransmissions as they came, and the crate's own requests on
//! their way out. It adds what the crate leaves to its user, to ask for key frames; and it unwraps retransmissions, which
//! the crate does behind its chain only, so that its requests for packets never hear that one has come.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use super::books::SharedBooks;

/// Nearer to the wire than any interceptor of the crate.
pub(crate) const TAP: Slot = Slot::Custom(1);

/// Farther from the wire than any.
pub(crate) const END: Slot = Slot::Custom(1_000_000);

/// Counts everything that passes, and asks for key frames.
pub(crate) struct Tap {
    books: SharedBooks,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Tap {
    pub(crate) fn new(books: SharedBooks) -> Self {
        Self { books, reads: VecDeque::new(), writes: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        let mut books = self.books.open();
        match &mut packet.message.packet {
            Packet::Rtp(rtp) => {
                books.handle_rtp(packet.now, rtp);
                books.unwrap_repair(rtp);
            }
            Packet::Rtcp(compound) => books.handle_rtcp(packet.now, compound),
            _ => {}
        }
        drop(books);
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let mut books = self.books.open();
        match &packet.message.packet {
            Packet::Rtp(rtp) => books.note_sent_rtp(rtp),
            Packet::Rtcp(compound) => books.note_sent_rtcp(compound),
            _ => {}
        }
        drop(books);
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let requests = self.books.open().key_frame_requests(now);
        if !requests.is_empty() {
            self.writes.push_back(TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(requests)),
            });
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.books.open().next_request()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// Where a decoder would be: media that came ends here, so that no queue to a track fills up unread.
#[derive(Default)]
pub(crate) struct End {
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for End {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        // RTCP goes on: the chain's own end takes what it may say to the connection.
        if !matches!(packet.message.packet, Packet::Rtp(_)) {
            self.reads.push_back(packet);
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for End {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
