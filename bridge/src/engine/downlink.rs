//! The way to one receiver: its selected path and the keys that seal what goes there.

use std::time::Duration;

use wire::rtp::extensions::TransportSequence;
use wire::srtp::Sealer;

use super::drop_reason::DropReason;
use super::ports::Path;
use super::send_ring::{SendRing, Tail};

/// One receiver's address and keys.
#[derive(Default)]
pub(crate) struct Downlink {
    /// Where ICE says that the browser is.
    pub path: Option<Path>,
    /// None until the handshake is done.
    pub sealer: Option<Sealer>,
    /// What was sent again less than this ago cannot be missed again yet.
    pub resend_pause: Duration,
    /// Counts all packets to this receiver (transport-wide congestion control).
    transport_sequence: u16,
    /// Its last datagram in the send ring.
    tail: Tail,
    /// SRTCP's index. One counter for all our SSRCs: none is ever used twice, whichever names the packet.
    rtcp_index: u32,
}

impl Downlink {
    /// Media can be sent.
    pub(crate) fn is_ready(&self) -> bool {
        self.path.is_some() && self.sealer.is_some()
    }

    /// Takes up new keys; their packets are counted anew.
    pub(crate) fn set_sealer(&mut self, sealer: Sealer) {
        self.sealer = Some(sealer);
        self.rtcp_index = 0;
    }

    /// The number of the next packet.
    pub(crate) fn next_transport_sequence(&mut self) -> TransportSequence {
        let number = self.transport_sequence;
        self.transport_sequence = number.wrapping_add(1);
        TransportSequence(number)
    }

    /// Seals one RTP packet into the ring; the datagram's length. `index` is rollover counter and sequence number.
    pub(crate) fn seal_rtp(
        &mut self,
        index: u64,
        header: &[u8],
        payload: &[u8],
        ring: &mut SendRing,
    ) -> Result<usize, DropReason> {
        let (Some(path), Some(sealer)) = (self.path, &self.sealer) else {
            return Err(DropReason::ReceiverNotReady);
        };
        let length = header.len() + payload.len() + sealer.profile().rtp_overhead();
        let is_written = ring.write_with((path, &mut self.tail), length, |out| {
            sealer.seal_rtp(index, header, payload, out).ok()
        });
        if is_written { Ok(length) } else { Err(DropReason::SendRingFull) }
    }

    /// Seals one RTCP datagram into the ring. False when there is no path, no key or no room: all of RTCP is said again.
    pub(crate) fn seal_rtcp(&mut self, packet: &[u8], ring: &mut SendRing) -> bool {
        let (Some(path), Some(sealer)) = (self.path, &self.sealer) else { return false };
        let length = packet.len() + sealer.profile().rtcp_overhead();
        let index = self.rtcp_index;
        self.rtcp_index = index.wrapping_add(1);
        ring.write_with((path, &mut self.tail), length, |out| sealer.seal_rtcp(index, packet, out).ok())
    }
}
