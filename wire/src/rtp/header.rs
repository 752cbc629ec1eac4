//! Headers written: whole ones into a buffer, single fields in place.

use super::{
    EXTENSION_HEADER_BYTES, FIXED_HEADER_BYTES, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE, PayloadType, RtpError,
    RtpView, Ssrc,
};

/// The fixed fields of a header without CSRCs and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// Last packet of a frame, or first of a talk spurt.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// Counts packets.
    pub sequence: u16,
    /// Ticks of the codec's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: Ssrc,
}

/// Writes `header` with the header extension elements `elements`, given as (id, value), to the start of `out`, and
/// says how many bytes that were. The one-byte form is used when every element fits it, which costs a byte less for
/// each; a receiver that agreed to `extmap-allow-mixed` takes either, packet by packet.
pub fn write_header(out: &mut [u8], header: &RtpHeader, elements: &[(u8, &[u8])]) -> Result<usize, RtpError> {
    let has_extension = !elements.is_empty();
    let (fixed, rest) = out.split_first_chunk_mut::<FIXED_HEADER_BYTES>().ok_or(RtpError::NoRoom)?;
    fixed[0] = if has_extension { 0x90 } else { 0x80 };
    fixed[1] = (u8::from(header.marker) << 7) | header.payload_type.number();
    fixed[2..4].copy_from_slice(&header.sequence.to_be_bytes());
    fixed[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    fixed[8..12].copy_from_slice(&header.ssrc.0.to_be_bytes());
    let extension_len = if has_extension { write_extension(rest, elements)? } else { 0 };
    Ok(FIXED_HEADER_BYTES + extension_len)
}

/// Profile, length, elements, padding to a multiple of four.
fn write_extension(out: &mut [u8], elements: &[(u8, &[u8])]) -> Result<usize, RtpError> {
    let is_one_byte =
        elements.iter().all(|(id, value)| (1..=14).contains(id) && (1..=16).contains(&value.len()));
    let mut end = EXTENSION_HEADER_BYTES;
    for (id, value) in elements {
        let length = u8::try_from(value.len()).map_err(|_| RtpError::BadElement)?;
        if *id == 0 {
            return Err(RtpError::BadElement);
        }
        let start = end;
        let head = if is_one_byte { [(id << 4) | (length - 1), 0] } else { [*id, length] };
        let head = if is_one_byte { &head[..1] } else { &head[..] };
        end += head.len() + value.len();
        let element = out.get_mut(start..end).ok_or(RtpError::NoRoom)?;
        element[..head.len()].copy_from_slice(head);
        element[head.len()..].copy_from_slice(value);
    }
    let padded_end = end.next_multiple_of(4);
    out.get_mut(end..padded_end).ok_or(RtpError::NoRoom)?.fill(0);
    let words = u16::try_from((padded_end - EXTENSION_HEADER_BYTES) / 4).map_err(|_| RtpError::BadElement)?;
    let profile = if is_one_byte { PROFILE_ONE_BYTE } else { PROFILE_TWO_BYTE };
    out[..2].copy_from_slice(&profile.to_be_bytes());
    out[2..4].copy_from_slice(&words.to_be_bytes());
    Ok(padded_end)
}

/// Overwrites fields of a header that is already in its buffer.
#[derive(Debug)]
pub struct HeaderMut<'a> {
    packet: &'a mut [u8],
}

impl<'a> HeaderMut<'a> {
    /// Checks that `packet` starts with a whole header; the payload may still be missing.
    pub fn new(packet: &'a mut [u8]) -> Result<Self, RtpError> {
        RtpView::parse_protected(packet)?;
        Ok(Self { packet })
    }

    /// Overwrites the marker.
    pub fn set_marker(&mut self, marker: bool) {
        self.packet[1] = (self.packet[1] & 0x7f) | (u8::from(marker) << 7);
    }

    /// Overwrites the payload type.
    pub fn set_payload_type(&mut self, payload_type: PayloadType) {
        self.packet[1] = (self.packet[1] & 0x80) | payload_type.number();
    }

    /// Overwrites the sequence number.
    pub fn set_sequence(&mut self, sequence: u16) {
        self.packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Overwrites the timestamp.
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }

    /// Overwrites the stream.
    pub fn set_ssrc(&mut self, ssrc: Ssrc) {
        self.packet[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
    }

    /// Overwrites the value of the first element with this id. False, and nothing is changed, when there is none or its
    /// value has another length.
    #[must_use]
    pub fn set_extension(&mut self, id: u8, value: &[u8]) -> bool {
        let Ok(view) = RtpView::parse_protected(self.packet) else { return false };
        let Some(old) = view.extension(id).filter(|old| old.len() == value.len()) else { return false };
        // The element is a part of the packet, so the distance of their addresses is its place in it.
        let start = old.as_ptr() as usize - self.packet.as_ptr() as usize;
        self.packet[start..start + value.len()].copy_from_slice(value);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RtpHeader {
        let payload_type = PayloadType::new(111).unwrap();
        RtpHeader {
            marker: true,
            payload_type,
            sequence: 0xfffe,
            timestamp: 0x0102_0304,
            ssrc: Ssrc(0x0506_0708),
        }
    }

    fn written(elements: &[(u8, &[u8])]) -> Result<Vec<u8>, RtpError> {
        let mut out = [0xee; 2_000];
        let length = write_header(&mut out, &header(), elements)?;
        Ok(out[..length].to_vec())
    }

    #[test]
    fn a_header_without_elements_is_twelve_bytes() {
        assert_eq!(written(&[]).unwrap(), b"\x80\xef\xff\xfe\x01\x02\x03\x04\x05\x06\x07\x08");
    }

    #[test]
    fn short_elements_take_the_one_byte_form() {
        let packet = written(&[(1, &[0xaa]), (14, &[7; 16])]).unwrap();
        assert_eq!(packet[0], 0x90);
        assert_eq!(packet[12..16], *b"\xbe\xde\x00\x05");
        assert_eq!(packet[16..19], *b"\x10\xaa\xef");
        assert_eq!(packet[35..], [0], "padded to a multiple of four");
    }

    #[test]
    fn one_long_empty_or_high_element_takes_the_two_byte_form() {
        for element in [(1, &[7; 17][..]), (2, &[]), (15, &[1]), (255, &[9; 255])] {
            let packet = written(&[(3, &[0xaa]), element]).unwrap();
            assert_eq!(packet[12..14], [0x10, 0x00], "{element:?}");
            let view = RtpView::parse(&packet).unwrap();
            assert_eq!(view.extensions().collect::<Vec<_>>(), [(3, &[0xaa][..]), element]);
        }
    }

    #[test]
    fn an_element_that_no_form_can_hold_is_refused() {
        assert_eq!(written(&[(0, &[1])]), Err(RtpError::BadElement));
        assert_eq!(written(&[(1, &[0; 256])]), Err(RtpError::BadElement));
    }

    #[test]
    fn a_buffer_of_any_smaller_size_is_refused() {
        let elements: [(u8, &[u8]); 2] = [(1, &[0xaa]), (2, &[0xbb, 0xcc])];
        let length = written(&elements).unwrap().len();
        for size in 0..length {
            let mut out = vec![0; size];
            assert_eq!(write_header(&mut out, &header(), &elements), Err(RtpError::NoRoom), "{size} bytes");
        }
        assert_eq!(write_header(&mut vec![0; length], &header(), &elements), Ok(length));
    }

    #[test]
    fn fields_are_overwritten_in_place_and_nothing_else() {
        let mut packet = written(&[(1, &[0xaa]), (2, &[0xbb, 0xcc])]).unwrap();
        packet.extend_from_slice(b"payload");
        let mut writer = HeaderMut::new(&mut packet).unwrap();
        writer.set_marker(false);
        writer.set_payload_type(PayloadType::new(96).unwrap());
        writer.set_sequence(1);
        writer.set_timestamp(2);
        writer.set_ssrc(Ssrc(3));
        assert!(writer.set_extension(2, &[0x11, 0x22]));
        assert!(!writer.set_extension(2, &[0x11]), "another length");
        assert!(!writer.set_extension(3, &[0x11]), "no such element");

        let view = RtpView::parse(&packet).unwrap();
        assert_eq!((view.marker(), view.payload_type().number()), (false, 96));
        assert_eq!((view.sequence(), view.timestamp(), view.ssrc()), (1, 2, Ssrc(3)));
        assert_eq!(view.extension(1), Some(&[0xaa][..]));
        assert_eq!(view.extension(2), Some(&[0x11, 0x22][..]));
        assert_eq!(view.payload(), b"payload");
    }

    #[test]
    fn half_a_header_cannot_be_overwritten() {
        let mut packet = written(&[(1, &[0xaa])]).unwrap();
        for length in 0..packet.len() {
            assert!(HeaderMut::new(&mut packet[..length]).is_err());
        }
    }
}
