//! A packet read in place.

use super::{
    EXTENSION_HEADER_BYTES, FIXED_HEADER_BYTES, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE, PayloadType, RtpError,
    Ssrc,
};

/// A view of one well-formed packet.
#[derive(Debug, Clone, Copy)]
pub struct RtpView<'a> {
    packet: &'a [u8],
    /// Where fixed header and CSRCs end and the header extension starts.
    csrc_end: usize,
    /// Where the payload starts.
    header_len: usize,
    /// 0 without padding.
    padding_len: usize,
}

impl<'a> RtpView<'a> {
    /// Checks a plaintext packet: version, CSRCs, header extension and padding lie within it.
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let mut view = Self::parse_protected(packet)?;
        if packet[0] & 0x20 != 0 {
            let payload_len = packet.len() - view.header_len;
            view.padding_len = usize::from(packet[packet.len() - 1]);
            if view.padding_len == 0 || view.padding_len > payload_len {
                return Err(RtpError::BadPadding);
            }
        }
        Ok(view)
    }

    /// Checks the header of an SRTP packet, which is in the clear. The padding is not: it is encrypted with the
    /// payload, so [`RtpView::payload`] of this view is everything behind the header, authentication tag included.
    pub fn parse_protected(packet: &'a [u8]) -> Result<Self, RtpError> {
        if packet.len() < FIXED_HEADER_BYTES {
            return Err(RtpError::Truncated);
        }
        if packet[0] >> 6 != 2 {
            return Err(RtpError::BadVersion);
        }
        let csrc_end = FIXED_HEADER_BYTES + 4 * usize::from(packet[0] & 0x0f);
        let mut header_len = csrc_end;
        if packet[0] & 0x10 != 0 {
            let Some(&[_, _, high, low]) = packet.get(csrc_end..csrc_end + EXTENSION_HEADER_BYTES) else {
                return Err(RtpError::Truncated);
            };
            header_len += EXTENSION_HEADER_BYTES + 4 * usize::from(u16::from_be_bytes([high, low]));
        }
        if packet.len() < header_len {
            return Err(RtpError::Truncated);
        }
        Ok(Self { packet, csrc_end, header_len, padding_len: 0 })
    }

    /// Set on the last packet of a frame, or the first of a talk spurt.
    pub fn marker(&self) -> bool {
        self.packet[1] & 0x80 != 0
    }

    /// What the payload is.
    pub fn payload_type(&self) -> PayloadType {
        PayloadType::of_byte(self.packet[1])
    }

    /// Counts packets, modulo 2^16.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.packet[2], self.packet[3]])
    }

    /// Sampling instant, in ticks of the codec's clock, modulo 2^32.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.packet[4], self.packet[5], self.packet[6], self.packet[7]])
    }

    /// The stream.
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(u32::from_be_bytes([self.packet[8], self.packet[9], self.packet[10], self.packet[11]]))
    }

    /// Contributing sources; a mixer's packets have them.
    pub fn csrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        let (csrcs, _) = self.packet[FIXED_HEADER_BYTES..self.csrc_end].as_chunks::<4>();
        csrcs.iter().map(|csrc| Ssrc(u32::from_be_bytes(*csrc)))
    }

    /// Bytes before the payload.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// The header, CSRCs and extension included.
    pub fn header(&self) -> &'a [u8] {
        &self.packet[..self.header_len]
    }

    /// The payload without its padding; empty in a packet that only probes the bandwidth.
    pub fn payload(&self) -> &'a [u8] {
        &self.packet[self.header_len..self.packet.len() - self.padding_len]
    }

    /// Bytes of padding, the count byte included.
    pub fn padding_len(&self) -> usize {
        self.padding_len
    }

    /// The whole packet.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// The first header extension element with this id.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions().find(|(each, _)| *each == id).map(|(_, value)| value)
    }

    /// The header extension's elements, as (id, value). An element that runs past the end is left out with all behind
    /// it, and so is everything in a form that is neither of RFC 8285's two.
    pub fn extensions(&self) -> Elements<'a> {
        let extension = &self.packet[self.csrc_end..self.header_len];
        let Some((&[high, low, _, _], bytes)) = extension.split_first_chunk() else {
            return Elements { bytes: &[], form: Form::OneByte };
        };
        match u16::from_be_bytes([high, low]) {
            PROFILE_ONE_BYTE => Elements { bytes, form: Form::OneByte },
            profile if profile & 0xfff0 == PROFILE_TWO_BYTE => Elements { bytes, form: Form::TwoByte },
            _ => Elements { bytes: &[], form: Form::OneByte },
        }
    }
}

/// How large an element's own header is.
#[derive(Debug, Clone, Copy)]
enum Form {
    OneByte,
    TwoByte,
}

/// The elements of a header extension, in the packet's order.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    form: Form,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let [0, rest @ ..] = self.bytes {
            // RFC 8285, 4.1.2: a zero byte is padding, wherever an element could start.
            self.bytes = rest;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let (id, length, rest) = match (self.form, bytes) {
            (Form::OneByte, [head, rest @ ..]) => (head >> 4, usize::from(head & 0x0f) + 1, rest),
            (Form::TwoByte, [id, length, rest @ ..]) => (*id, usize::from(*length), rest),
            _ => return None,
        };
        // RFC 8285, 4.2: id 15 ends the one-byte form; id 0 with a length has no meaning to go on with.
        if matches!(self.form, Form::OneByte) && matches!(id, 0 | 15) {
            return None;
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.bytes = rest;
        Some((id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with header flags `first`, `middle` behind the fixed header, and nothing else.
    fn packet(first: u8, middle: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 0xe0, 0x12, 0x34, 0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef];
        packet.extend_from_slice(middle);
        packet
    }

    fn elements(middle: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let packet = packet(0x90, middle);
        let view = RtpView::parse(&packet).unwrap();
        view.extensions().map(|(id, value)| (id, value.to_vec())).collect()
    }

    #[test]
    fn a_packet_with_everything_reads_field_by_field() {
        // Padding, extension, two CSRCs; an audio level of the one-byte form; payload "media"; three bytes of padding.
        let packet = packet(0xb2, b"\0\0\0\x0a\0\0\0\x0b\xbe\xde\0\x01\x10\xff\0\0media\0\0\x03");
        let view = RtpView::parse(&packet).unwrap();
        assert!(view.marker());
        assert_eq!(view.payload_type().number(), 96);
        assert_eq!((view.sequence(), view.timestamp(), view.ssrc()), (0x1234, 1, Ssrc(0xdead_beef)));
        assert_eq!(view.csrcs().collect::<Vec<_>>(), [Ssrc(10), Ssrc(11)]);
        assert_eq!(view.header_len(), 28);
        assert_eq!(view.header(), &packet[..28]);
        assert_eq!(view.payload(), b"media");
        assert_eq!(view.padding_len(), 3);
        assert_eq!(view.extension(1), Some(&[0xff][..]));
        assert_eq!(view.extension(2), None);
        assert_eq!(view.packet(), packet);
    }

    #[test]
    fn every_truncation_within_the_header_is_refused() {
        let packet = packet(0x92, b"\0\0\0\x0a\0\0\0\x0b\xbe\xde\0\x01\x10\xff\0\0");
        assert!(RtpView::parse(&packet).is_ok());
        for length in 0..packet.len() {
            assert_eq!(RtpView::parse(&packet[..length]).unwrap_err(), RtpError::Truncated, "{length} bytes");
        }
    }

    #[test]
    fn fifteen_csrcs_that_are_not_there_are_refused() {
        assert_eq!(RtpView::parse(&packet(0x8f, &[0; 59])).unwrap_err(), RtpError::Truncated);
        assert_eq!(RtpView::parse(&packet(0x8f, &[0; 60])).unwrap().csrcs().count(), 15);
    }

    #[test]
    fn an_extension_longer_than_the_packet_is_refused() {
        for words in [1u16, 2, 0x7fff, 0xffff] {
            let mut middle = vec![0xbe, 0xde];
            middle.extend_from_slice(&words.to_be_bytes());
            middle.extend_from_slice(&[0; 3]);
            assert_eq!(RtpView::parse(&packet(0x90, &middle)).unwrap_err(), RtpError::Truncated);
        }
    }

    #[test]
    fn only_version_two_is_rtp() {
        for first in [0x00, 0x40, 0xc0] {
            assert_eq!(RtpView::parse(&packet(first, &[])).unwrap_err(), RtpError::BadVersion);
        }
    }

    #[test]
    fn padding_must_fit_the_payload() {
        for (payload, is_ok) in [
            (&b""[..], false),
            (b"\0", false),
            (b"x\0", false),
            (b"x\x03", false),
            (b"x\xff", false),
            (b"\x01", true),
            (b"x\x01", true),
            (b"\0\x02", true),
        ] {
            let packet = packet(0xa0, payload);
            match RtpView::parse(&packet) {
                Ok(view) => {
                    assert!(is_ok, "{payload:?}");
                    assert_eq!(view.payload().len() + view.padding_len(), payload.len());
                }
                Err(error) => assert!(!is_ok && error == RtpError::BadPadding, "{payload:?}"),
            }
            // Before SRTP is opened the last byte is part of a tag and says nothing.
            assert_eq!(RtpView::parse_protected(&packet).unwrap().payload(), payload);
        }
    }

    #[test]
    fn one_byte_elements_skip_padding_and_end_at_id_15() {
        assert_eq!(
            elements(b"\xbe\xde\0\x03\x10\xaa\0\0\x21\xbb\xcc\0\x30\xdd\0\0"),
            [(1, vec![0xaa]), (2, vec![0xbb, 0xcc]), (3, vec![0xdd])]
        );
        assert_eq!(elements(b"\xbe\xde\0\x01\x10\xaa\xf0\xbb"), [(1, vec![0xaa])]);
        assert_eq!(elements(b"\xbe\xde\0\x01\x05\xaa\x10\xbb"), [], "id 0 with a length");
    }

    #[test]
    fn two_byte_elements_may_be_empty_or_long() {
        assert_eq!(
            elements(b"\x10\0\0\x02\x01\0\0\x0f\x02\xaa\xbb\0"),
            [(1, vec![]), (15, vec![0xaa, 0xbb])]
        );
        assert_eq!(
            elements(b"\x10\x0f\0\x01\xff\x01\xaa\0"),
            [(255, vec![0xaa])],
            "the app bits are ignored"
        );
        let mut long = b"\x10\0\0\x41\x09\xff".to_vec();
        long.resize(6 + 255 + 3, 7);
        long[6 + 255..].fill(0);
        assert_eq!(elements(&long), [(9, vec![7; 255])]);
    }

    #[test]
    fn an_element_past_the_end_is_left_out() {
        assert_eq!(elements(b"\xbe\xde\0\x01\x10\xaa\x23\xbb"), [(1, vec![0xaa])]);
        assert_eq!(elements(b"\x10\0\0\x01\x01\0\x02\xff"), [(1, vec![])]);
        assert_eq!(elements(b"\x10\0\0\x01\x01\x01\xaa\x02"), [(1, vec![0xaa])], "half an element header");
    }

    #[test]
    fn another_profile_has_no_elements_and_the_first_of_two_counts() {
        assert_eq!(elements(b"\x12\x34\0\x01\x10\xaa\0\0"), []);
        assert_eq!(elements(b"\xbe\xde\0\0"), []);
        let packet = packet(0x90, b"\xbe\xde\0\x01\x10\xaa\x10\xbb");
        assert_eq!(RtpView::parse(&packet).unwrap().extension(1), Some(&[0xaa][..]));
    }
}
