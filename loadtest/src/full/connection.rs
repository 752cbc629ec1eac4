//! One PeerConnection: codecs, header extensions, interceptors and tracks as the scenario wants them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackGeneratorBuilder, NackResponderBuilder};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sdp::extmap::{SDES_MID_URI, SDES_REPAIR_RTP_STREAM_ID_URI, SDES_RTP_STREAM_ID_URI};
use tokio::sync::watch;
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfiguration,
    RTCConfigurationBuilder, RTCIceConnectionState, RTCIceGatheringState, RTCIceServer,
    RTCIceTransportPolicy, RTCPeerConnectionState, Registry, SettingEngine, SettingEngineBuilder, Slot,
    configure_rtcp_reports, configure_twcc,
};
use webrtc::runtime::TokioRuntime;
use wire::messages::media::MediaKind;

use super::books::SharedBooks;
use super::tap::{END, End, TAP, Tap};
use crate::engine::ports::Note;
use crate::engine::send::Track;
use crate::phone::SlotCounts;
use crate::scenario::TurnServer;

/// Payload types of the offer: Chromium's.
pub(crate) const VOICE_TYPE: u8 = 111;
pub(crate) const PICTURE_TYPE: u8 = 96;
const RETRANSMISSION_TYPE: u8 = 97;

/// RFC 6464.
pub(crate) const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// A connection and the tracks it sends, in the order of the publisher's.
pub(crate) struct Connection {
    pub(crate) peer: Arc<dyn PeerConnection>,
    pub(crate) tracks: Vec<Arc<TrackLocalStaticRTP>>,
    /// All candidates are known.
    pub(crate) is_gathered: watch::Receiver<bool>,
    /// There are keys.
    pub(crate) is_connected: watch::Receiver<bool>,
}

impl Connection {
    /// One that has said nothing yet: voice, camera, screen, then the receive slots, as light callers order them.
    ///
    /// # Errors
    /// What the crate says when no socket can be opened.
    pub(crate) async fn open(
        books: &SharedBooks,
        tracks: &[Track],
        slots: SlotCounts,
        relay: Option<&TurnServer>,
    ) -> Result<Self, Error> {
        let (gathered, is_gathered) = watch::channel(false);
        let (connected, is_connected) = watch::channel(false);
        let watcher = Watcher { books: books.clone(), gathered, connected };
        let (media_engine, registry) = media(books)?;
        let builder = PeerConnectionBuilder::new()
            .with_configuration(configuration(relay))
            .with_media_engine(media_engine)
            .with_setting_engine(settings())
            .with_interceptor_registry(registry)
            .with_runtime(Arc::new(TokioRuntime))
            .with_handler(Arc::new(watcher))
            .with_udp_addrs(LOCAL_ADDRESSES.to_vec());
        // Boxed: the crate keeps twenty kilobytes on its way through here.
        let peer = Box::pin(builder.build()).await?;
        let peer: Arc<dyn PeerConnection> = Arc::new(peer);
        let mut locals = Vec::with_capacity(tracks.len());
        for (index, track) in tracks.iter().enumerate() {
            let local = Arc::new(TrackLocalStaticRTP::new(stream_track(index, track)));
            let as_sender = towards(RTCRtpTransceiverDirection::Sendonly);
            peer.add_transceiver_from_track(Arc::clone(&local) as Arc<dyn TrackLocal>, Some(as_sender))
                .await?;
            locals.push(local);
        }
        let kinds = [(RtpCodecKind::Audio, slots.audio), (RtpCodecKind::Video, slots.video)];
        for (kind, count) in kinds {
            for _ in 0..count {
                let as_receiver = towards(RTCRtpTransceiverDirection::Recvonly);
                peer.add_transceiver_from_kind(kind, Some(as_receiver)).await?;
            }
        }
        Ok(Self { peer, tracks: locals, is_gathered, is_connected })
    }

    /// The whole offer, with every candidate.
    ///
    /// # Errors
    /// What the crate says.
    pub(crate) async fn offer(&mut self) -> Result<String, Error> {
        let offer = self.peer.create_offer(None).await?;
        let draft = offer.sdp.clone();
        self.peer.set_local_description(offer).await?;
        // A server that can be reached needs none of the candidates: it answers where checks come from.
        let _ =
            tokio::time::timeout(GATHERING_MAX, self.is_gathered.wait_for(|is_gathered| *is_gathered)).await;
        Ok(self.peer.local_description().await.map_or(draft, |description| description.sdp))
    }
}

/// What a connection says of itself.
struct Watcher {
    books: SharedBooks,
    gathered: watch::Sender<bool>,
    connected: watch::Sender<bool>,
}

#[async_trait]
impl PeerConnectionEventHandler for Watcher {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(true);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        let mut books = self.books.open();
        let is_reachable =
            matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed);
        books.set_reachable(is_reachable);
        match state {
            RTCIceConnectionState::Connected => books.note(Instant::now(), Note::IceConnected),
            RTCIceConnectionState::Failed => books.note(Instant::now(), Note::PathLost),
            _ => {}
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let now = Instant::now();
        let mut books = self.books.open();
        match state {
            RTCPeerConnectionState::Connected => {
                books.publisher.start(now);
                books.note(now, Note::DtlsConnected);
                let _ = self.connected.send(true);
            }
            // ICE has said its own; what is left is the handshake.
            RTCPeerConnectionState::Failed if books.is_reachable() => {
                books.note(now, Note::DtlsFailed("the handshake failed"));
            }
            _ => {}
        }
    }
}

/// What light callers offer, and the crate's interceptors: NACK and RTX both ways, transport-cc both ways, reports.
fn media(books: &SharedBooks) -> Result<(MediaEngine, Registry), Error> {
    let mut engine = MediaEngine::default();
    engine.register_codec(
        codec(VOICE_TYPE, MIME_TYPE_OPUS, "minptime=10;useinbandfec=1"),
        RtpCodecKind::Audio,
    )?;
    engine.register_codec(codec(PICTURE_TYPE, MIME_TYPE_VP8, ""), RtpCodecKind::Video)?;
    let repairs = codec(RETRANSMISSION_TYPE, MIME_TYPE_RTX, &format!("apt={PICTURE_TYPE}"));
    engine.register_codec(repairs, RtpCodecKind::Video)?;
    extension(&mut engine, AUDIO_LEVEL_URI, &[RtpCodecKind::Audio])?;
    extension(&mut engine, SDES_MID_URI, &[RtpCodecKind::Audio, RtpCodecKind::Video])?;
    extension(&mut engine, SDES_RTP_STREAM_ID_URI, &[RtpCodecKind::Video])?;
    extension(&mut engine, SDES_REPAIR_RTP_STREAM_ID_URI, &[RtpCodecKind::Video])?;
    let registry = Registry::new()
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::NackGenerator, NackGeneratorBuilder::new().with_max_nacks_per_packet(NACKS_MAX).build())
        .with(TAP, Tap::new(books.clone()))
        .with(END, End::default());
    let registry = configure_twcc(configure_rtcp_reports(registry), &mut engine)?;
    Ok((engine, registry))
}

fn codec(payload_type: u8, mime_type: &str, parameters: &str) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters { rtp_codec: rtp_codec(mime_type, parameters), payload_type }
}

fn rtp_codec(mime_type: &str, parameters: &str) -> RTCRtpCodec {
    let is_audio = mime_type == MIME_TYPE_OPUS;
    let feedback =
        |kind: &str, parameter: &str| RTCPFeedback { typ: kind.to_owned(), parameter: parameter.to_owned() };
    let rtcp_feedback = match mime_type {
        MIME_TYPE_VP8 => vec![feedback("ccm", "fir"), feedback("nack", ""), feedback("nack", "pli")],
        _ => Vec::new(),
    };
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate: if is_audio { 48_000 } else { 90_000 },
        channels: if is_audio { 2 } else { 0 },
        sdp_fmtp_line: parameters.to_owned(),
        rtcp_feedback,
    }
}

fn extension(engine: &mut MediaEngine, uri: &str, kinds: &[RtpCodecKind]) -> Result<(), Error> {
    for kind in kinds {
        engine.register_header_extension(
            RTCRtpHeaderExtensionCapability { uri: uri.to_owned() },
            *kind,
            None,
        )?;
    }
    Ok(())
}

/// The publisher's SSRCs and layers as a track of the crate.
fn stream_track(index: usize, track: &Track) -> MediaStreamTrack {
    let (kind, codec) = match track.kind {
        MediaKind::Audio => (RtpCodecKind::Audio, rtp_codec(MIME_TYPE_OPUS, "minptime=10;useinbandfec=1")),
        MediaKind::Video => (RtpCodecKind::Video, rtp_codec(MIME_TYPE_VP8, "")),
    };
    let encodings = track.streams.iter().map(|stream| RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            rid: stream.rid.as_ref().map(ToString::to_string).unwrap_or_default(),
            ssrc: Some(stream.ssrc.0),
            rtx: stream.rtx_ssrc.map(|rtx| RTCRtpRtxParameters { ssrc: rtx.0 }),
            fec: None,
        },
        active: true,
        codec: codec.clone(),
        ..RTCRtpEncodingParameters::default()
    });
    // One stream name for all: a caller's voice and picture belong together (RFC 8830).
    MediaStreamTrack::new(
        "caller".to_owned(),
        format!("track-{index}"),
        String::new(),
        kind,
        encodings.collect(),
    )
}

fn towards(direction: RTCRtpTransceiverDirection) -> RTCRtpTransceiverInit {
    RTCRtpTransceiverInit { direction, ..RTCRtpTransceiverInit::default() }
}

/// A server on this machine is reached, too; servers have no mDNS names, for which each caller would join a multicast
/// group; a repair that comes late is no replay.
fn settings() -> SettingEngine {
    SettingEngineBuilder::new()
        .with_include_loopback_candidate(true)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_srtp_replay_protection_window(REPLAY_WINDOW_PACKETS)
        .build()
}

/// Direct, or by nothing but the relay.
fn configuration(relay: Option<&TurnServer>) -> RTCConfiguration {
    let Some(relay) = relay else { return RTCConfiguration::default() };
    let server = RTCIceServer {
        urls: vec![format!("turn:{}?transport=udp", relay.address)],
        username: relay.username.clone(),
        credential: relay.password.clone(),
    };
    RTCConfigurationBuilder::new()
        .with_ice_servers(vec![server])
        .with_ice_transport_policy(RTCIceTransportPolicy::Relay)
        .build()
}

/// Every interface by the wildcard, which leaves out loopback.
const LOCAL_ADDRESSES: [&str; 2] = ["0.0.0.0:0", "127.0.0.1:0"];

/// Two seconds of a 720p picture; the crate's own 64 packets are a quarter of one.
const REPLAY_WINDOW_PACKETS: usize = 512;

/// Host candidates are there at once; a relay answers within some round trips.
const GATHERING_MAX: Duration = Duration::from_secs(3);

/// A packet is asked for ten times at most, as in Chromium. The crate asks each 100 ms.
const NACKS_MAX: u16 = 10;
