//! What a model browser makes of the datagrams that come: packets for its slots, requests for its streams.

use std::time::Instant;

use bridge::engine::ports::Path;
use wire::datagram::{DatagramKind, classify};
use wire::rtcp::{self, Nack, Packet};
use wire::rtp::RtpView;
use wire::rtp::extensions::TransportSequence;

use super::browser::Browser;
use super::media::Tag;
use super::ms;
use super::receiver::Shown;

impl Browser {
    /// What it answers at once.
    pub fn handle_datagram(&mut self, now: Instant, _path: Path, datagram: &[u8]) -> Vec<Vec<u8>> {
        match classify(datagram) {
            DatagramKind::Rtp => {
                self.handle_rtp(now, datagram);
                Vec::new()
            }
            DatagramKind::Rtcp => self.handle_rtcp(now, datagram),
            _ => Vec::new(),
        }
    }

    fn handle_rtp(&mut self, now: Instant, datagram: &[u8]) {
        let view = RtpView::parse_protected(datagram).expect("well-formed RTP");
        let ssrc = view.ssrc().0;
        let opener = self.opener.as_ref().expect("keys came first");
        let mut plain = vec![0; datagram.len()];
        let window = self.windows.entry(ssrc).or_default();
        let opened = opener.open_rtp(window, datagram, view.header_len(), &mut plain);
        let Ok(payload_len) = opened else {
            assert!(
                matches!(opened, Err(wire::srtp::SrtpError::Replayed | wire::srtp::SrtpError::TooOld)),
                "{opened:?}"
            );
            self.replayed += 1;
            return;
        };
        plain.truncate(view.header_len() + payload_len);
        let view = RtpView::parse(&plain).expect("well-formed RTP");
        let elements: Vec<(u8, Vec<u8>)> =
            view.extensions().map(|(id, value)| (id, value.to_vec())).collect();
        let numbered = elements.iter().find(|(id, _)| *id == self.extension_id(3));
        self.transport_sequences
            .extend(numbered.map(|(_, value)| TransportSequence::parse(value).unwrap().0));
        let repaired = self.rtx_of.get(&ssrc).copied();
        let (sequence, payload) = match repaired {
            Some(_) => {
                let (original, payload) = view.payload().split_at(2);
                (u16::from_be_bytes([original[0], original[1]]), payload)
            }
            None => (view.sequence(), view.payload()),
        };
        let slot = self.slots.get_mut(&repaired.unwrap_or(ssrc)).expect("a slot's stream");
        let expected_type = if !slot.is_video {
            111
        } else if repaired.is_some() {
            100
        } else {
            96
        };
        assert_eq!(view.payload_type().number(), expected_type + self.numbering);
        let ext_seq = slot.extender.extend(sequence);
        let (picture_id, tag_at) = match slot.is_video {
            true => (Some(u16::from_be_bytes([payload[2] & 0x7f, payload[3]])), 15),
            false => (None, 0),
        };
        let tag = Tag::read(&payload[tag_at..]).expect("a tag");
        let (timestamp, marker) = (view.timestamp(), view.marker());
        let shown =
            Shown { at: now, timestamp, marker, picture_id, tag, is_repaired: repaired.is_some(), elements };
        slot.take(ext_seq, shown);
        if slot.is_video {
            for missing in slot.missing().into_iter().rev().take(100) {
                // Asked for 10 ms after it was missed.
                slot.asked.entry(missing).or_insert((now - ms(50), 0));
            }
        }
    }

    fn handle_rtcp(&mut self, now: Instant, datagram: &[u8]) -> Vec<Vec<u8>> {
        let sender = u32::from_be_bytes(datagram[4..8].try_into().unwrap());
        let window = self.rtcp_windows.entry(sender).or_default();
        let mut plain = Vec::new();
        if self.opener.as_ref().expect("keys came first").open_rtcp(window, datagram, &mut plain).is_err() {
            return Vec::new();
        }
        let mut answers = Vec::new();
        for packet in rtcp::packets(&plain) {
            match packet.expect("well-formed RTCP") {
                Packet::Nack(nack) => answers.extend(self.answer_nack(now, &nack)),
                Packet::Pli(pli) => {
                    let stream = self.streams.iter_mut().find(|stream| stream.ssrc == pli.media.0);
                    let stream = stream.expect("a stream of its own");
                    stream.owes_key_frame = !stream.is_deaf;
                    stream.key_frame_requests.push(now);
                }
                Packet::SenderReport(report) => {
                    let slot = self.slots.get_mut(&report.ssrc.0).expect("a slot's stream");
                    slot.reports.push((now, report.ntp.0, report.rtp_timestamp));
                }
                Packet::ReceiverReport(report) => self.reports.extend(report.reports()),
                Packet::TransportFeedback(feedback) => {
                    self.feedback_received.extend(feedback.received().map(|arrival| arrival.sequence));
                }
                _ => {}
            }
        }
        answers
    }

    fn answer_nack(&mut self, now: Instant, nack: &Nack<'_>) -> Vec<Vec<u8>> {
        let index =
            self.streams.iter().position(|stream| stream.ssrc == nack.media.0).expect("a stream of its own");
        let mut answers = Vec::new();
        for sequence in nack.sequences() {
            self.streams[index].nacked.push(sequence);
            if self.streams[index].answers_nacks {
                answers.extend(self.resend(now, index, sequence));
            }
        }
        answers
    }

    /// A sent packet again, over RTX.
    pub fn resend(&mut self, now: Instant, index: usize, sequence: u16) -> Option<Vec<u8>> {
        let elements = self.elements(index, now, true);
        let elements: Vec<(u8, &[u8])> = elements.iter().map(|(id, value)| (*id, value.as_slice())).collect();
        let sealer = self.sealer.as_ref()?;
        self.streams[index].seal_again(sealer, sequence, &elements)
    }
}
