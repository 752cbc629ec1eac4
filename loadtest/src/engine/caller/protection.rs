//! The keys of one caller, and how far each counter under them is.

use wire::rtp::Ssrc;
use wire::srtp::{Opener, Profile, ReplayWindow, Sealer, SessionKeys, SrtpError};

use crate::engine::ports::Transmits;

/// Opens and seals. The replay windows of RTP streams belong to their slots; those of RTCP are here.
pub(super) struct Protection {
    profile: Profile,
    sealer: Sealer,
    opener: Opener,
    /// By the sender's SSRC: a server that passes reports on numbers each sender's apart.
    rtcp_windows: Vec<(Ssrc, ReplayWindow)>,
    rtcp_index: u32,
}

impl Protection {
    pub(super) fn new(profile: Profile, keys: &SessionKeys) -> Self {
        Self {
            profile,
            sealer: Sealer::new(profile, &keys.send),
            opener: Opener::new(profile, &keys.receive),
            rtcp_windows: Vec::new(),
            rtcp_index: 0,
        }
    }

    pub(super) fn open_rtp(
        &self,
        window: &mut ReplayWindow,
        datagram: &[u8],
        header_len: usize,
        plain: &mut [u8],
    ) -> Result<usize, SrtpError> {
        self.opener.open_rtp(window, datagram, header_len, plain)
    }

    /// `plain` then holds the compound packet.
    pub(super) fn open_rtcp(&mut self, datagram: &[u8], plain: &mut Vec<u8>) -> Result<(), SrtpError> {
        let sender = datagram.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or(SrtpError::TooShort)?;
        let sender = Ssrc(u32::from_be_bytes(sender));
        if let Some((_, window)) = self.rtcp_windows.iter_mut().find(|(ssrc, _)| *ssrc == sender) {
            return self.opener.open_rtcp(window, datagram, plain);
        }
        let mut window = ReplayWindow::new();
        self.opener.open_rtcp(&mut window, datagram, plain)?;
        if self.rtcp_windows.len() == RTCP_SENDERS_MAX {
            self.rtcp_windows.remove(0);
        }
        self.rtcp_windows.push((sender, window));
        Ok(())
    }

    pub(super) fn seal_rtp(
        &self,
        (index, header): (u64, &[u8]),
        payload: &[u8],
        transmits: &mut Transmits,
    ) -> Option<usize> {
        let length = header.len() + payload.len() + self.profile.rtp_overhead();
        let mut sealed = None;
        transmits.write(length, |out| {
            sealed = self.sealer.seal_rtp(index, header, payload, out).ok();
            sealed
        });
        sealed
    }

    /// Seals the packets of `rtcp` in as few datagrams as pass any path.
    pub(super) fn seal_rtcp(&mut self, rtcp: &[u8], transmits: &mut Transmits) {
        let mut rest = rtcp;
        while !rest.is_empty() {
            let (compound, after) = rest.split_at(compound_len(rest));
            rest = after;
            let index = self.rtcp_index;
            self.rtcp_index += 1;
            transmits.write(compound.len() + self.profile.rtcp_overhead(), |out| {
                self.sealer.seal_rtcp(index, compound, out).ok()
            });
        }
    }
}

/// Bytes of the first packets that together stay below [`COMPOUND_BYTES_MAX`]; at least one packet.
fn compound_len(rtcp: &[u8]) -> usize {
    let mut end = 0;
    // Invariant: our own packets have right lengths; whatever were not would go out as one datagram.
    while let Some(&[_, _, high, low, ..]) = rtcp.get(end..) {
        let next = end + 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        if next > rtcp.len() || (end > 0 && next > COMPOUND_BYTES_MAX) {
            break;
        }
        end = next;
    }
    if end == 0 { rtcp.len() } else { end }
}

/// With SRTCP's trailer and a TURN header around it, it passes any path.
const COMPOUND_BYTES_MAX: usize = 1_120;

/// A server of ours has one; one that passes on the reports of everybody on stage has some dozen.
const RTCP_SENDERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use wire::rtcp::Pli;

    use super::*;

    #[test]
    fn packets_are_never_cut_and_fill_datagrams() {
        let mut rtcp = Vec::new();
        (0..200).for_each(|media| Pli { sender: Ssrc(1), media: Ssrc(media) }.write(&mut rtcp));
        let mut rest = &rtcp[..];
        let mut lengths = Vec::new();
        while !rest.is_empty() {
            let length = compound_len(rest);
            lengths.push(length);
            rest = &rest[length..];
        }
        assert_eq!(lengths, [1_116, 1_116, 168]);
    }

    #[test]
    fn bytes_with_a_wrong_length_do_not_go_on_for_ever() {
        for bytes in [&[0x80][..], &[0x80, 200, 0xff, 0xff], &[0x80, 200, 0, 0, 1, 2, 3]] {
            assert!((1..=bytes.len()).contains(&compound_len(bytes)));
        }
    }
}
