//! Sealing: from the plaintext that all receivers share to the bytes that one of them gets.

use std::fmt;

use super::{
    MasterKey, Profile, RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTP_HEADER_BYTES, RTP_INDEX_END, SrtpError, Suite,
};

/// Protects what we send to one receiver: one for each DTLS association, for all its streams.
pub struct Sealer {
    suite: Suite,
}

impl Sealer {
    /// Derives the session keys (RFC 3711 4.3).
    pub fn new(profile: Profile, master: &MasterKey) -> Self {
        Self { suite: Suite::new(profile, master) }
    }

    /// What was agreed with the receiver.
    pub fn profile(&self) -> Profile {
        self.suite.profile()
    }

    /// Writes header, ciphertext and tag to `out` and returns their length: `header.len() + payload.len()` and
    /// [`Profile::rtp_overhead`]. `payload` is read only.
    ///
    /// `index` is rollover counter and sequence number, 48 bits; its lower 16 are the header's sequence number. The
    /// caller never uses an index twice for an SSRC: two packets under one nonce give their contents away (RFC 7714 8.4).
    /// A retransmission of identical bytes is no second use.
    ///
    /// RFC 3711 3.3, RFC 7714 8.
    pub fn seal_rtp(
        &self,
        index: u64,
        header: &[u8],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        if header.len() < RTP_HEADER_BYTES {
            return Err(SrtpError::TooShort);
        }
        if index >= RTP_INDEX_END {
            return Err(SrtpError::Exhausted);
        }
        // Invariant: the receiver guesses the index from the header; under another one it could not open the packet.
        debug_assert_eq!(index as u16, u16::from_be_bytes([header[2], header[3]]));
        let len = header.len() + payload.len() + self.profile().rtp_overhead();
        let out = out.get_mut(..len).ok_or(SrtpError::NoSpace)?;
        match &self.suite {
            Suite::Aead(suite) => suite.seal_rtp(index, header, payload, out)?,
            Suite::CounterMode(suite) => suite.seal_rtp(index, header, payload, out),
        }
        Ok(len)
    }

    /// Writes a compound RTCP packet, protected, to `out` and returns its length: `packet.len()` and
    /// [`Profile::rtcp_overhead`].
    ///
    /// `index` has 31 bits and is never used twice for a sender SSRC; one counter for the association is the simple way.
    ///
    /// RFC 3711 3.4, RFC 7714 9.
    pub fn seal_rtcp(&self, index: u32, packet: &[u8], out: &mut [u8]) -> Result<usize, SrtpError> {
        if packet.len() < RTCP_CLEAR_BYTES {
            return Err(SrtpError::TooShort);
        }
        if index & RTCP_ENCRYPTED != 0 {
            return Err(SrtpError::Exhausted);
        }
        let len = packet.len() + self.profile().rtcp_overhead();
        let out = out.get_mut(..len).ok_or(SrtpError::NoSpace)?;
        match &self.suite {
            Suite::Aead(suite) => suite.seal_rtcp(index, packet, out)?,
            Suite::CounterMode(suite) => suite.seal_rtcp(index, packet, out),
        }
        Ok(len)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("profile", &self.profile()).finish_non_exhaustive()
    }
}
