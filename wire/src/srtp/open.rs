//! Opening: from protected to plain, after the replay check and before anything else looks at the packet.

use std::fmt;

use super::{
    MasterKey, Profile, RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_TRAILER_BYTES, RTP_HEADER_BYTES,
    RTP_INDEX_END, ReplayWindow, SrtpError, Suite,
};

/// Opens what one sender protects: one for each DTLS association, for all its streams.
pub struct Opener {
    suite: Suite,
}

impl Opener {
    /// Derives the session keys (RFC 3711 4.3).
    pub fn new(profile: Profile, master: &MasterKey) -> Self {
        Self { suite: Suite::new(profile, master) }
    }

    /// What was agreed with the sender.
    pub fn profile(&self) -> Profile {
        self.suite.profile()
    }

    /// Opens an SRTP packet into `out`: first the header's `header_len` bytes (CSRCs and extension included), then the
    /// plain payload, padding included. Returns the payload's length, so `out[..header_len + length]` is the packet.
    ///
    /// `window` is that of the packet's SSRC: a fresh one for a stream not heard before, kept by the caller only if this
    /// call succeeds. After an error the window is as it was and `out` holds nothing of use.
    ///
    /// RFC 3711 3.3, RFC 7714 8.
    pub fn open_rtp(
        &self,
        window: &mut ReplayWindow,
        packet: &[u8],
        header_len: usize,
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let tag_len = self.profile().tag_len();
        if header_len < RTP_HEADER_BYTES || packet.len() < header_len.saturating_add(tag_len) {
            return Err(SrtpError::TooShort);
        }
        let plain_len = packet.len() - tag_len;
        let out = out.get_mut(..plain_len).ok_or(SrtpError::NoSpace)?;
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);

        // 3.3 (2): the index is guessed from the sequence number.
        let index = window.estimate(sequence);
        if index >= RTP_INDEX_END {
            return Err(SrtpError::Exhausted);
        }
        // 3.3 (5): replay is checked first, it is the cheaper test; then the tag.
        window.check(index)?;
        let opened = match self.open_rtp_at(index, packet, header_len, out) {
            Err(SrtpError::BadTag) if window.highest().is_none() && u64::from(sequence) < ROLLOVER / 2 => {
                // A stream may begin just before its first rollover and lose all packets until then. Its sender has
                // counted the rollover, we have not seen it: the only other index a first packet can have.
                let index = index + ROLLOVER;
                self.open_rtp_at(index, packet, header_len, out).map(|()| index)
            }
            result => result.map(|()| index),
        };
        window.accept(opened?);
        Ok(plain_len - header_len)
    }

    /// Opens an SRTCP packet: `out` is cleared and then holds the plain compound packet.
    ///
    /// `window` is that of the sender SSRC in the packet's first header, with the same care as in [`Self::open_rtp`]:
    /// SRTCP numbers its packets for each sender SSRC apart. After an error the window is as it was and `out` is empty.
    ///
    /// RFC 3711 3.4, RFC 7714 9.
    pub fn open_rtcp(
        &self,
        window: &mut ReplayWindow,
        packet: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpError> {
        out.clear();
        let overhead = self.profile().rtcp_overhead();
        if packet.len() < RTCP_CLEAR_BYTES + overhead {
            return Err(SrtpError::TooShort);
        }
        let trailer = self.rtcp_trailer(packet);
        if trailer & RTCP_ENCRYPTED == 0 {
            return Err(SrtpError::Unencrypted);
        }
        let index = trailer & !RTCP_ENCRYPTED;
        window.check(index.into())?;
        out.resize(packet.len() - overhead, 0);
        let opened = match &self.suite {
            Suite::Aead(suite) => suite.open_rtcp(index, packet, out),
            Suite::CounterMode(suite) => suite.open_rtcp(index, packet, out),
        };
        opened.inspect_err(|_| out.clear())?;
        window.accept(index.into());
        Ok(())
    }

    fn open_rtp_at(
        &self,
        index: u64,
        packet: &[u8],
        header_len: usize,
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        match &self.suite {
            Suite::Aead(suite) => suite.open_rtp(index, packet, header_len, out),
            Suite::CounterMode(suite) => suite.open_rtp(index, packet, header_len, out),
        }
    }

    /// Encryption bit and index: last with AES-GCM (RFC 7714 9.2), before the tag with HMAC (RFC 3711 3.4).
    pub(super) fn rtcp_trailer(&self, packet: &[u8]) -> u32 {
        let end = match self.suite {
            Suite::Aead(_) => packet.len(),
            Suite::CounterMode(_) => packet.len() - self.profile().tag_len(),
        };
        let at = end - RTCP_TRAILER_BYTES;
        u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("profile", &self.profile()).finish_non_exhaustive()
    }
}

/// One more rollover: 65,536 sequence numbers.
const ROLLOVER: u64 = 1 << 16;
