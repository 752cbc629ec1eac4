//! The outside of DTLS records (RFC 6347, 4.1), looked at before the library does: it ends an association over a record
//! that no server sends, and anybody could have sent it.

/// `datagram` is a run of whole records, each of a kind and shape that a handshake or its end has.
pub(super) fn are_plausible(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some(after) = skip_plausible(rest) else { return false };
        rest = after;
    }
    !datagram.is_empty()
}

fn skip_plausible(bytes: &[u8]) -> Option<&[u8]> {
    let &[
        kind,
        major,
        minor,
        epoch_high,
        epoch_low,
        _,
        _,
        _,
        _,
        _,
        _,
        length_high,
        length_low,
        ref rest @ ..,
    ] = bytes
    else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    let (body, rest) = rest.split_at_checked(length)?;
    let is_sealed = (epoch_high, epoch_low) != (0, 0);
    let fits = match kind {
        CHANGE_CIPHER_SPEC => body == [1],
        ALERT => is_sealed || (body.len() == 2 && matches!(body[0], 1 | 2)),
        HANDSHAKE => is_sealed || body.len() >= HANDSHAKE_HEADER_BYTES,
        // Application data before there are keys is nobody's.
        APPLICATION_DATA => is_sealed,
        _ => false,
    };
    // DTLS 1.0 is what the first record of a handshake may claim (RFC 6347, 4.2.1).
    (major == 254 && matches!(minor, 253 | 255) && fits).then_some(rest)
}

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const HANDSHAKE_HEADER_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 1, 0, body.len() as u8][..], body].concat()
    }

    #[test]
    fn what_a_handshake_and_its_end_consist_of_passes() {
        let flight = [record(22, 0, &[0; 12]), record(20, 0, &[1]), record(22, 1, &[9; 40])].concat();
        assert!(are_plausible(&flight));
        assert!(are_plausible(&record(21, 0, &[2, 40])) && are_plausible(&record(21, 1, &[7; 26])));
        let mut hello_verify = record(22, 0, &[0; 12]);
        hello_verify[2] = 255;
        assert!(are_plausible(&hello_verify));
    }

    #[test]
    fn anything_else_does_not() {
        let whole = record(22, 0, &[0; 12]);
        assert!((0..whole.len()).all(|length| !are_plausible(&whole[..length])));
        for bad in [
            record(20, 0, &[2]),
            record(21, 0, &[3, 0]),
            record(21, 0, &[2]),
            record(22, 0, &[0; 11]),
            record(23, 0, &[1]),
            record(24, 0, &[1]),
            [whole.clone(), vec![22]].concat(),
        ] {
            assert!(!are_plausible(&bad), "{bad:?}");
        }
        let mut newer = whole;
        newer[1] = 3;
        assert!(!are_plausible(&newer));
    }
}
