//! TURN channel data (RFC 8656, 12.4): four bytes instead of a STUN message around a relayed datagram.

use super::padded;

/// A view of one channel data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// 0x4000 to 0x4FFF.
    pub number: u16,
    /// The relayed datagram.
    pub data: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Channel number and length.
    pub const HEADER_BYTES: usize = 4;

    /// Reads a message that came in one datagram; `None` when it is none. Padding behind the data is allowed, and so,
    /// by the RFC's silence, is anything else there.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let [number_high, number_low, length_high, length_low, rest @ ..] = datagram else { return None };
        let number = u16::from_be_bytes([*number_high, *number_low]);
        let length = u16::from_be_bytes([*length_high, *length_low]);
        if !(0x4000..=0x4fff).contains(&number) {
            return None;
        }
        let data = rest.get(..usize::from(length))?;
        Some(Self { number, data })
    }

    /// The four bytes that go in front of `length` bytes of data.
    pub fn header(number: u16, length: u16) -> [u8; 4] {
        let [number_high, number_low] = number.to_be_bytes();
        let [length_high, length_low] = length.to_be_bytes();
        [number_high, number_low, length_high, length_low]
    }

    /// How many zero bytes follow `length` bytes of data over TCP and TLS (over UDP none need to).
    pub fn stream_padding(length: usize) -> usize {
        padded(length) - length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let mut bytes = ChannelData::header(0x4001, 3).to_vec();
        bytes.extend_from_slice(b"abc\0");
        assert_eq!(ChannelData::parse(&bytes), Some(ChannelData { number: 0x4001, data: b"abc" }));
        assert_eq!(ChannelData::stream_padding(3), 1);
        assert_eq!(ChannelData::stream_padding(4), 0);
    }

    #[test]
    fn a_number_outside_the_range_or_a_length_past_the_end_is_none() {
        for number in [0, 0x3fff, 0x5000, 0x7fff, 0xffff] {
            assert_eq!(ChannelData::parse(&ChannelData::header(number, 0)), None, "{number:#x}");
        }
        assert_eq!(ChannelData::parse(&ChannelData::header(0x4000, 1)), None);
        for length in 0..4 {
            assert_eq!(ChannelData::parse(&ChannelData::header(0x4000, 0)[..length]), None);
        }
    }
}
