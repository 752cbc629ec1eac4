//! FINGERPRINT (RFC 8489, 14.7): tells STUN from what only looks like it. No protection against anybody.

/// "STUN" in ASCII, so that a CRC-32 of an inner protocol is never taken for ours.
const MASK: u32 = 0x5354_554e;

/// The attribute's value for a message whose bytes before the attribute are `signed`, the length in the header already
/// counting the attribute.
pub(super) fn value_of(signed: &[u8]) -> u32 {
    !crc32(!0, signed) ^ MASK
}

/// The same, with the two length bytes taken from `length` instead of from the message.
pub(super) fn value_with_length(signed: &[u8], length: [u8; 2]) -> u32 {
    let mut crc = crc32(!0, &signed[..2]);
    crc = crc32(crc, &length);
    !crc32(crc, &signed[4..]) ^ MASK
}

/// CRC-32 of ITU-T V.42, without the first and last inversion.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// One step of the CRC for each value of a byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_published_check_value() {
        assert_eq!(!crc32(!0, b"123456789"), 0xcbf4_3926);
    }
}
