//! RTCP (RFC 3550, 6; RFC 4585; RFC 5104; transport-cc; REMB), one packet type in each file.
//!
//! ```text
//! 0        8        16                31
//! |V=2 P cnt| type   | length / 4 - 1  |  several of these in one datagram
//! | body ...                           |
//! ```
//!
//! [`packets`] walks a datagram and gives each [`Packet`] as a view: lists inside stay in the bytes they came in, as
//! arrays of their wire size. Every packet writes itself behind a `Vec`, so a datagram is written packet after packet.
//!
//! A first packet that is no report is not an error: browsers agree to reduced-size RTCP (RFC 5506).

mod bye;
mod fir;
mod nack;
mod ntp;
mod pli;
mod receiver_report;
mod remb;
mod report_block;
mod sender_report;
mod source_description;
mod transport_feedback;

pub use bye::Bye;
pub use fir::{Fir, FirEntry};
pub use nack::Nack;
pub use ntp::NtpTime;
pub use pli::Pli;
pub use receiver_report::ReceiverReport;
pub use remb::Remb;
pub use report_block::ReportBlock;
pub use sender_report::SenderReport;
pub use source_description::{Items, SourceDescription};
pub use transport_feedback::{
    Arrival, ArrivalRecorder, FeedbackTarget, Received, TICK_US, TransportFeedback,
};

use crate::rtp::Ssrc;

/// One packet of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// What a sender has sent, and when.
    SenderReport(SenderReport<'a>),
    /// What a receiver has missed.
    ReceiverReport(ReceiverReport<'a>),
    /// Names of streams.
    SourceDescription(SourceDescription<'a>),
    /// Streams that end.
    Bye(Bye<'a>),
    /// Packets that are missing.
    Nack(Nack<'a>),
    /// A picture is lost.
    Pli(Pli),
    /// A key frame, please.
    Fir(Fir<'a>),
    /// When packets arrived.
    TransportFeedback(TransportFeedback<'a>),
    /// How much the receiver believes it can take.
    Remb(Remb<'a>),
    /// Any other.
    Unknown {
        /// Its type.
        packet_type: u8,
        /// Its count or format field.
        count: u8,
    },
}

/// Why bytes are no RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtcpError {
    /// A length field points past the end of the datagram, or fewer than 4 bytes are left.
    #[error("packet ends before its length")]
    Truncated,
    /// Not version 2.
    #[error("not RTCP version 2")]
    BadVersion,
    /// The padding count is 0 or larger than the packet.
    #[error("padding contradicts the packet")]
    BadPadding,
    /// More than 64 packets in one datagram.
    #[error("too many packets")]
    TooManyPackets,
    /// The body contradicts the header's count, or itself.
    #[error("malformed packet of type {0}")]
    Malformed(u8),
}

/// A browser sends 2 to 5 packets in a datagram. 64 leave room for a report on every source of a large conference.
const PACKETS_MAX: usize = 64;

/// Version, count, type, length.
const HEADER_BYTES: usize = 4;

/// The count field has 5 bits.
const COUNT_MAX: usize = 31;

/// A datagram of ours stays below any path's MTU: packets of this many list entries of 4 bytes do.
const ENTRIES_MAX: usize = 256;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
/// RFC 4585, 6.2.
const TRANSPORT_FEEDBACK: u8 = 205;
/// RFC 4585, 6.3.
const PAYLOAD_FEEDBACK: u8 = 206;

/// The packets of a datagram, in its order. A malformed body is an error in its place and the next packet follows; after
/// an error of version, length, padding or number nothing more follows.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram, count: 0 }
}

/// See [`packets`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        self.count += 1;
        if self.count > PACKETS_MAX {
            return Some(Err(RtcpError::TooManyPackets));
        }
        match split_first(rest) {
            Ok((packet, rest)) => {
                self.rest = rest;
                Some(packet.parse())
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// One packet whose frame is whole, its body not looked at.
#[derive(Debug, Clone, Copy)]
struct Raw<'a> {
    packet_type: u8,
    /// Number of list entries, or format of a feedback message.
    count: u8,
    body: &'a [u8],
}

/// Cuts the first packet off, its padding removed.
fn split_first(bytes: &[u8]) -> Result<(Raw<'_>, &[u8]), RtcpError> {
    let &[first, packet_type, length_high, length_low, ref rest @ ..] = bytes else {
        return Err(RtcpError::Truncated);
    };
    if first >> 6 != 2 {
        return Err(RtcpError::BadVersion);
    }
    let length = 4 * usize::from(u16::from_be_bytes([length_high, length_low]));
    let (mut body, rest) = rest.split_at_checked(length).ok_or(RtcpError::Truncated)?;
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last().ok_or(RtcpError::BadPadding)?);
        // RFC 3550 wants a multiple of four; libwebrtc pads its transport feedback with 1 to 3 bytes all the same.
        if padding == 0 || padding > body.len() {
            return Err(RtcpError::BadPadding);
        }
        body = &body[..body.len() - padding];
    }
    Ok((Raw { packet_type, count: first & 0x1f, body }, rest))
}

impl<'a> Raw<'a> {
    fn parse(self) -> Result<Packet<'a>, RtcpError> {
        let packet = match (self.packet_type, self.count) {
            (SENDER_REPORT, _) => SenderReport::parse(self).map(Packet::SenderReport),
            (RECEIVER_REPORT, _) => ReceiverReport::parse(self).map(Packet::ReceiverReport),
            (SOURCE_DESCRIPTION, _) => SourceDescription::parse(self).map(Packet::SourceDescription),
            (BYE, _) => Bye::parse(self).map(Packet::Bye),
            (TRANSPORT_FEEDBACK, nack::FORMAT) => Nack::parse(self).map(Packet::Nack),
            (TRANSPORT_FEEDBACK, transport_feedback::FORMAT) => {
                TransportFeedback::parse(self).map(Packet::TransportFeedback)
            }
            (PAYLOAD_FEEDBACK, pli::FORMAT) => Pli::parse(self).map(Packet::Pli),
            (PAYLOAD_FEEDBACK, fir::FORMAT) => Fir::parse(self).map(Packet::Fir),
            (PAYLOAD_FEEDBACK, remb::FORMAT) if remb::is_remb(self.body) => {
                Remb::parse(self).map(Packet::Remb)
            }
            (packet_type, count) => Some(Packet::Unknown { packet_type, count }),
        };
        packet.ok_or(RtcpError::Malformed(self.packet_type))
    }

    /// The two streams every feedback message starts with (RFC 4585, 6.1), and what follows them.
    fn feedback(self) -> Option<(Ssrc, Ssrc, &'a [u8])> {
        let (sender, rest) = split_ssrc(self.body)?;
        let (media, rest) = split_ssrc(rest)?;
        Some((sender, media, rest))
    }
}

impl Packet<'_> {
    /// Appends the packet to `out`; an unknown one appends nothing.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::SenderReport(packet) => packet.write(out),
            Self::ReceiverReport(packet) => packet.write(out),
            Self::SourceDescription(packet) => packet.write(out),
            Self::Bye(packet) => packet.write(out),
            Self::Nack(packet) => packet.write(out),
            Self::Pli(packet) => packet.write(out),
            Self::Fir(packet) => packet.write(out),
            Self::TransportFeedback(packet) => packet.write(out),
            Self::Remb(packet) => packet.write(out),
            Self::Unknown { .. } => {}
        }
    }
}

/// Appends one packet whose body `write` appends, pads it to a multiple of four and fills in its length.
fn append(out: &mut Vec<u8>, packet_type: u8, count: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | (count & 0x1f), packet_type, 0, 0]);
    write(out);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    let words = (out.len() - start - HEADER_BYTES) / 4;
    // Invariant: bodies are bounded by the writers, or came out of a packet that had a length field.
    assert!(words <= usize::from(u16::MAX), "an RTCP packet of our own outgrew its length field");
    out[start + 2..start + HEADER_BYTES].copy_from_slice(&(words as u16).to_be_bytes());
}

/// Appends a feedback message (RFC 4585, 6.1).
fn append_feedback(
    out: &mut Vec<u8>,
    (packet_type, format): (u8, u8),
    (sender, media): (Ssrc, Ssrc),
    write: impl FnOnce(&mut Vec<u8>),
) {
    append(out, packet_type, format, |out| {
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&media.0.to_be_bytes());
        write(out);
    });
}

fn split_ssrc(bytes: &[u8]) -> Option<(Ssrc, &[u8])> {
    let (ssrc, rest) = split_u32(bytes)?;
    Some((Ssrc(ssrc), rest))
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// The first `count` entries of a list, however much follows it.
fn entries<const N: usize>(bytes: &[u8], count: usize) -> Option<&[[u8; N]]> {
    bytes.as_chunks::<N>().0.get(..count)
}

/// A list that fills its packet; nothing may be left over.
fn whole_entries<const N: usize>(bytes: &[u8]) -> Option<&[[u8; N]]> {
    let (entries, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() { Some(entries) } else { None }
}
