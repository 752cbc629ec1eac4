//! Picture loss indication (RFC 4585, 6.3.1).

use super::{PAYLOAD_FEEDBACK, Raw, append_feedback};
use crate::rtp::Ssrc;

/// The feedback format.
pub(super) const FORMAT: u8 = 1;

/// A receiver cannot decode what follows: it needs a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender: Ssrc,
    /// The stream.
    pub media: Ssrc,
}

impl Pli {
    pub(super) fn parse(raw: Raw<'_>) -> Option<Self> {
        let (sender, media, _) = raw.feedback()?;
        Some(Self { sender, media })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        append_feedback(out, (PAYLOAD_FEEDBACK, FORMAT), (self.sender, self.media), |_| {});
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    #[test]
    fn a_loss_names_its_stream() {
        let pli = Pli { sender: Ssrc(1), media: Ssrc(0x0102_0304) };
        let mut out = Vec::new();
        pli.write(&mut out);
        assert_eq!(out, b"\x81\xce\0\x02\0\0\0\x01\x01\x02\x03\x04");
        assert_eq!(packets(&out).next(), Some(Ok(Packet::Pli(pli))));
        let short = packets(b"\x81\xce\0\x01\0\0\0\x01").next();
        assert_eq!(short, Some(Err(RtcpError::Malformed(206))));
    }
}
