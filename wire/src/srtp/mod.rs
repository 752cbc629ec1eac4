//! SRTP and SRTCP (RFC 3711, RFC 7714) for the two profiles browsers agree on.
//!
//! ```text
//!  wire bytes ──► Opener::open_rtp ──► plaintext packet (shared by all receivers, never written again)
//!                    │ ReplayWindow of that stream (the caller's)
//!  plaintext ────► Sealer::seal_rtp ──► header + ciphertext + tag in the send ring
//! ```
//!
//! There is no table of streams in here. The caller owns one [`ReplayWindow`] for each stream it has accepted and lends
//! it to each call; for an SSRC that it does not know yet it lends a fresh one and keeps it only when the call succeeds.
//! So a forged packet can never create state.
//!
//! Invariants:
//! - A window changes only after the packet's tag was found good.
//! - No call allocates once its output has room, and none ever panics on the bytes of a packet.
//! - Header extensions and CSRCs are authenticated and not encrypted (RFC 3711 3.1).
//! - Neither keys nor salts are ever printed, and both are wiped when dropped.
//!
//! Nothing here knows about DTLS, sockets, payload types or which SSRC belongs to whom. Everything unsafe happens inside
//! `aws-lc-rs`, whose scatter and gather calls let the one copy of a packet happen inside the cipher.

mod aead;
mod counter_mode;
mod keys;
mod open;
mod replay;
mod seal;
#[cfg(test)]
mod tests;

pub use keys::{KEY_BYTES, MasterKey, Profile, SessionKeys};
pub use open::Opener;
pub use replay::ReplayWindow;
pub use seal::Sealer;

use aead::Aead;
use counter_mode::CounterMode;

/// Why a packet was not opened or not sealed. Each has its own counter where packets are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SrtpError {
    /// The bytes cannot hold a header and a tag.
    #[error("too short for a header and a tag")]
    TooShort,
    /// The tag does not fit the bytes: damaged, forged, or sealed under another key or rollover counter.
    #[error("authentication failed")]
    BadTag,
    /// A packet with this index was already opened.
    #[error("replayed")]
    Replayed,
    /// The index lies before the replay window, so it cannot be told from a replay.
    #[error("older than the replay window")]
    TooOld,
    /// An SRTCP packet without its encryption bit: DTLS-SRTP always encrypts (RFC 5764 4.1.2 leaves no other mode).
    #[error("SRTCP in the clear")]
    Unencrypted,
    /// 2^48 RTP or 2^31 RTCP packets under one key: a new association is due (RFC 3711 9.2).
    #[error("packet index out of range")]
    Exhausted,
    /// The caller's output slice is too small. Never the packet's fault.
    #[error("output too small")]
    NoSpace,
}

/// Bytes of an RTP header without CSRCs and extension (RFC 3550 5.1): no shorter packet has an SSRC.
const RTP_HEADER_BYTES: usize = 12;
/// The part of an RTCP packet that SRTCP leaves in the clear: first header word and sender SSRC (RFC 3711 3.4).
const RTCP_CLEAR_BYTES: usize = 8;
/// SRTCP's trailer: encryption bit and 31-bit index.
const RTCP_TRAILER_BYTES: usize = 4;
/// The encryption bit in the trailer.
const RTCP_ENCRYPTED: u32 = 1 << 31;
/// Exclusive limit of an RTP packet index: 32-bit rollover counter and 16-bit sequence number.
const RTP_INDEX_END: u64 = 1 << 48;

/// One direction's session keys under one profile. The keyed HMAC states make counter mode 3 KiB, so it is boxed.
enum Suite {
    Aead(Aead),
    CounterMode(Box<CounterMode>),
}

impl Suite {
    fn new(profile: Profile, master: &MasterKey) -> Self {
        match profile {
            Profile::AeadAes128Gcm => Self::Aead(Aead::new(master)),
            Profile::Aes128CmSha1_80 => Self::CounterMode(Box::new(CounterMode::new(master))),
        }
    }

    fn profile(&self) -> Profile {
        match self {
            Self::Aead(_) => Profile::AeadAes128Gcm,
            Self::CounterMode(_) => Profile::Aes128CmSha1_80,
        }
    }
}

/// The SSRC of an RTP header. The caller has checked that there are 12 bytes.
fn rtp_ssrc(header: &[u8]) -> [u8; 4] {
    [header[8], header[9], header[10], header[11]]
}

/// The sender SSRC of an RTCP packet. The caller has checked that there are 8 bytes.
fn rtcp_ssrc(packet: &[u8]) -> [u8; 4] {
    [packet[4], packet[5], packet[6], packet[7]]
}

/// The rollover counter of a 48-bit packet index: its upper 32 bits.
fn rollover_counter(index: u64) -> u32 {
    (index >> 16) as u32
}
