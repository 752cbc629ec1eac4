//! What is done with fuzzed bytes: one function for each parser, and what must hold of whatever it accepts. The fuzz
//! targets call these, and `tests/fuzz_corpus.rs` includes this file, so that a replay runs the same code.

use wire::datagram::{DatagramKind, classify};
use wire::messages::{channel, link, meeting, parse_json};
use wire::rtcp::{Packet, packets};
use wire::rtp::{HeaderMut, RtpHeader, RtpView, write_header};
use wire::srtp::{MasterKey, Opener, Profile, ReplayWindow, Sealer};
use wire::stun::{AttributeKind, Builder, ChannelData, Message};

/// Bytes no datagram exceeds.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// No parser accepts what the classifier gives to another.
pub fn datagram(bytes: &[u8]) {
    let kind = classify(bytes);
    assert!(kind == DatagramKind::Stun || Message::parse(bytes).is_err());
    assert!(kind == DatagramKind::Turn || ChannelData::parse(bytes).is_none());
    assert!(matches!(kind, DatagramKind::Rtp | DatagramKind::Rtcp) || RtpView::parse(bytes).is_err());
}

/// A message's attributes, written anew, read back the same.
pub fn stun(bytes: &[u8]) {
    if let Some(data) = ChannelData::parse(bytes) {
        assert!(data.data.len() + ChannelData::HEADER_BYTES <= bytes.len());
    }
    let Ok(message) = Message::parse(bytes) else { return };
    let _ = (message.username(), message.priority(), message.controlling(), message.controlled());
    let _ = (message.error_code(), message.use_candidate(), message.verify_fingerprint());
    let _ = message.verify_integrity(b"key");
    assert!(message.unknown_required(&[AttributeKind::USERNAME]).count() <= message.attributes().count());
    let mut builder = Builder::new(message.class(), message.method(), message.transaction_id());
    for (kind, value) in message.attributes() {
        builder = builder.attribute(kind, value);
    }
    let copy = builder.finish();
    let copy = Message::parse(&copy).expect("what was read can be written");
    assert!(copy.attributes().eq(message.attributes()));
    assert_eq!(copy.xor_mapped_address(), message.xor_mapped_address());
}

/// A packet's parts add up, and its header, written anew, reads back the same.
pub fn rtp(bytes: &[u8]) {
    let Ok(view) = RtpView::parse(bytes) else { return };
    assert_eq!(view.header_len() + view.payload().len() + view.padding_len(), bytes.len());
    assert_eq!(view.csrcs().count(), usize::from(bytes[0] & 0x0f));
    let header = RtpHeader {
        marker: view.marker(),
        payload_type: view.payload_type(),
        sequence: view.sequence(),
        timestamp: view.timestamp(),
        ssrc: view.ssrc(),
    };
    let elements: Vec<(u8, &[u8])> = view.extensions().collect();
    let mut out = vec![0; 2 * DATAGRAM_BYTES_MAX];
    // A two-byte header for each element of the one-byte form can outgrow the length field; nothing else can fail.
    if let Ok(length) = write_header(&mut out, &header, &elements) {
        let copy = RtpView::parse(&out[..length]).expect("what was read can be written");
        assert!(copy.extensions().eq(elements.iter().copied()));
        assert_eq!((copy.sequence(), copy.ssrc()), (view.sequence(), view.ssrc()));
    }
    if let Some((id, value)) = elements.first() {
        let mut same = bytes.to_vec();
        assert!(HeaderMut::new(&mut same).is_ok_and(|mut header| header.set_extension(*id, value)));
        assert_eq!(same, bytes);
    }
}

/// What is read, written and read again is the same; walking it takes no more steps than it has bits.
pub fn rtcp(bytes: &[u8]) {
    for packet in packets(bytes).flatten() {
        if let Packet::TransportFeedback(feedback) = packet {
            assert!(feedback.received().count() <= bytes.len());
        }
        if let Packet::Nack(nack) = packet {
            assert!(nack.sequences().count() <= bytes.len() * 8);
        }
        if let Packet::SourceDescription(description) = packet {
            assert!(description.items().count() <= bytes.len());
        }
        let mut once = Vec::new();
        packet.write(&mut once);
        let mut twice = Vec::new();
        packets(&once).for_each(|again| again.expect("what was read can be written").write(&mut twice));
        assert_eq!(once, twice);
    }
}

/// A description, written and read again, is the same.
pub fn sdp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(description) = wire::sdp::parse(text) else { return };
    let written = description.to_string();
    if written.len() > wire::sdp::BYTES_MAX {
        // We end lines with two bytes where one is enough, so a description near the limit can grow past it.
        return;
    }
    assert_eq!(wire::sdp::parse(&written).as_ref(), Ok(&description), "{written}");
}

/// What opens, seals to the same bytes; what does not, leaves no trace in the window. The first byte chooses profile and
/// protocol.
pub fn srtp_open(bytes: &[u8]) {
    let Some((choice, packet)) = bytes.split_first() else { return };
    let profile = if choice & 1 == 0 { Profile::AeadAes128Gcm } else { Profile::Aes128CmSha1_80 };
    let key =
        MasterKey::new(profile, &[7; 16], &[9; 14][..profile.salt_len()]).expect("lengths of the profile");
    let (opener, sealer) = (Opener::new(profile, &key), Sealer::new(profile, &key));
    let mut window = ReplayWindow::new();
    let mut sealed = vec![0; packet.len()];
    if choice & 2 == 0 {
        let Ok(view) = RtpView::parse_protected(packet) else { return };
        let mut out = vec![0; packet.len()];
        let Ok(length) = opener.open_rtp(&mut window, packet, view.header_len(), &mut out) else {
            assert_eq!(window.highest(), None);
            return;
        };
        let index = window.highest().expect("an opened packet has an index");
        let payload = &out[view.header_len()..][..length];
        assert_eq!(sealer.seal_rtp(index, view.header(), payload, &mut sealed), Ok(packet.len()));
    } else {
        let mut out = Vec::new();
        if opener.open_rtcp(&mut window, packet, &mut out).is_err() {
            assert_eq!((window.highest(), out.len()), (None, 0));
            return;
        }
        let index = window.highest().expect("an opened packet has an index") as u32;
        assert_eq!(sealer.seal_rtcp(index, &out, &mut sealed), Ok(packet.len()));
    }
    assert_eq!(sealed, packet);
}

/// A request, written and read again, is the same; the others are only read, since a fraction may lose its last bit.
pub fn messages(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(request) = parse_json::<meeting::Request>(text) {
        let written = serde_json::to_string(&request).expect("a request is plain data");
        assert_eq!(parse_json::<meeting::Request>(&written).as_ref(), Ok(&request), "{written}");
    }
    let _ = parse_json::<meeting::Update>(text);
    let _ = parse_json::<channel::FromBrowser>(text);
    let _ = parse_json::<channel::FromBridge>(text);
    let _ = parse_json::<link::FromBridge>(text);
    let _ = parse_json::<link::Command>(text);
}

/// What a person typed and we took stays as it is when it is taken again.
pub fn text(bytes: &[u8]) {
    let Ok(typed) = std::str::from_utf8(bytes) else { return };
    for clean in [wire::text::display_name, wire::text::conference_name, wire::text::chat_text] {
        let Ok(taken) = clean(typed) else { continue };
        assert_eq!(clean(&taken).as_ref(), Ok(&taken));
    }
}
