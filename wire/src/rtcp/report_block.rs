//! One stream's reception, as SR and RR carry it (RFC 3550, 6.4.1).

use crate::rtp::Ssrc;

/// What a receiver tells of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Packets lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start, 24 bits; negative when duplicates outnumber losses.
    pub lost: i32,
    /// Highest sequence number received, its rounds in the upper 16 bits.
    pub highest_sequence: u32,
    /// Mean deviation of transit time, in ticks of the stream's clock.
    pub jitter: u32,
    /// [`super::NtpTime::middle`] of the last sender report, or 0.
    pub last_sr: u32,
    /// Time since that report, in 1/65,536 s, or 0.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Bytes on the wire.
    pub const BYTES: usize = 24;

    /// What the 24 bits of `lost` can hold.
    const LOST_MAX: i32 = 0x7f_ffff;

    /// Reads a block; all bytes are possible.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |index: usize| u32::from_be_bytes(bytes.as_chunks::<4>().0[index]);
        let loss = word(1);
        Self {
            ssrc: Ssrc(word(0)),
            fraction_lost: (loss >> 24) as u8,
            lost: ((loss << 8) as i32) >> 8,
            highest_sequence: word(2),
            jitter: word(3),
            last_sr: word(4),
            delay_since_last_sr: word(5),
        }
    }

    /// The block's bytes; `lost` is clamped to its 24 bits.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let lost = self.lost.clamp(-Self::LOST_MAX - 1, Self::LOST_MAX) as u32 & 0x00ff_ffff;
        let words = [
            self.ssrc.0,
            (u32::from(self.fraction_lost) << 24) | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        let mut bytes = [0; Self::BYTES];
        for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *chunk = word.to_be_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_may_be_negative_and_is_clamped_to_24_bits() {
        for (lost, read) in [(-1, -1), (8_388_607, 8_388_607), (i32::MAX, 8_388_607), (i32::MIN, -8_388_608)]
        {
            let block = ReportBlock { lost, fraction_lost: 0xab, ..ReportBlock::default() };
            let back = ReportBlock::from_bytes(&block.to_bytes());
            assert_eq!((back.lost, back.fraction_lost), (read, 0xab));
        }
    }
}
