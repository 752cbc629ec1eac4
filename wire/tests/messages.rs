//! The JSON contract: every message's exact text, and what is refused.
// The helpers of a test fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::messages::ids::{BridgeId, ConferenceId, EndpointId, Epoch, Mid, Rid, SourceName};
use wire::messages::media::*;
use wire::messages::{BadMessage, channel, link, meeting, parse_json};

/// The text of `value`, which also reads back as the same value.
fn json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&parse_json::<T>(&text).unwrap(), value, "{text}");
    text
}

fn endpoint() -> EndpointId {
    EndpointId::parse("0a1b2c3d").unwrap()
}

fn other() -> EndpointId {
    EndpointId::parse("deadbeef").unwrap()
}

fn source(name: &str) -> SourceName {
    SourceName::parse(name).unwrap()
}

fn mid(text: &str) -> Mid {
    Mid::parse(text).unwrap()
}

fn conference() -> ConferenceId {
    ConferenceId::parse("abcdefghijklmnopqrstuvwxyz").unwrap()
}

mod from_browser_to_signaling {
    use super::*;
    use meeting::{Changes, Request};

    #[test]
    fn a_join_names_the_participant_and_perhaps_proves_a_right() {
        let join = Request::Join { name: "Zoë".into(), token: None, resume: None };
        insta::assert_snapshot!(json(&join), @r#"{"type":"join","name":"Zoë"}"#);
        let join = Request::Join { name: "Zoë".into(), token: Some("t".into()), resume: Some("r".into()) };
        insta::assert_snapshot!(json(&join), @r#"{"type":"join","name":"Zoë","token":"t","resume":"r"}"#);
    }

    #[test]
    fn an_offer_is_counted() {
        let offer = Request::Offer { sdp: "v=0\r\n".into(), rev: 3 };
        insta::assert_snapshot!(json(&offer), @r#"{"type":"offer","sdp":"v=0\r\n","rev":3}"#);
    }

    #[test]
    fn leave_ping_and_chat_are_short() {
        insta::assert_snapshot!(json(&Request::Leave), @r#"{"type":"leave"}"#);
        insta::assert_snapshot!(json(&Request::Ping), @r#"{"type":"ping"}"#);
        let chat = Request::Chat { text: "<b>\u{0}\u{2028}".into() };
        insta::assert_snapshot!(json(&chat), @"{\"type\":\"chat\",\"text\":\"<b>\\u0000\u{2028}\"}");
    }

    #[test]
    fn a_change_tells_only_what_changes() {
        insta::assert_snapshot!(json(&Request::Set(Changes::default())), @r#"{"type":"set"}"#);
        let all = Changes {
            muted_audio: Some(true),
            muted_video: Some(false),
            screen: Some(true),
            hand: Some(false),
            name: Some("n".into()),
        };
        insta::assert_snapshot!(json(&Request::Set(all)), @r#"{"type":"set","muted_audio":true,"muted_video":false,"screen":true,"hand":false,"name":"n"}"#);
    }
}

mod from_signaling_to_browser {
    use super::*;
    use meeting::*;

    fn participant() -> Participant {
        Participant {
            id: endpoint(),
            name: "Zoë".into(),
            muted_audio: true,
            muted_video: false,
            screen: false,
            hand: true,
        }
    }

    #[test]
    fn joined_tells_who_and_how_much() {
        let limits = Limits {
            message_bytes_max: 65_536,
            chat_bytes_max: 2_048,
            name_graphemes_max: 64,
            participants_max: 500,
        };
        let joined = Update::Joined {
            participant: endpoint(),
            resume: "secret".into(),
            conference: "demo".into(),
            limits,
            slots: SlotCounts { audio: 3, video: 24 },
        };
        insta::assert_snapshot!(json(&joined), @r#"{"type":"joined","participant":"0a1b2c3d","resume":"secret","conference":"demo","limits":{"message_bytes_max":65536,"chat_bytes_max":2048,"name_graphemes_max":64,"participants_max":500},"slots":{"audio":3,"video":24}}"#);
    }

    #[test]
    fn waiting_and_pong_have_nothing_to_say() {
        insta::assert_snapshot!(json(&Update::Waiting), @r#"{"type":"waiting"}"#);
        insta::assert_snapshot!(json(&Update::Pong), @r#"{"type":"pong"}"#);
    }

    #[test]
    fn assigned_brings_relays_as_rtc_ice_servers() {
        let relay = IceServer {
            urls: vec!["turn:meet.example.org:443?transport=udp".into()],
            username: Some("1700000000:0a1b2c3d".into()),
            credential: Some("c2VjcmV0".into()),
        };
        let stun = IceServer { urls: vec!["stun:meet.example.org".into()], username: None, credential: None };
        let assigned = Update::Assigned {
            ice_servers: vec![relay, stun],
            reason: AssignReason::Started,
            epoch: Epoch(1),
        };
        insta::assert_snapshot!(json(&assigned), @r#"{"type":"assigned","ice_servers":[{"urls":["turn:meet.example.org:443?transport=udp"],"username":"1700000000:0a1b2c3d","credential":"c2VjcmV0"},{"urls":["stun:meet.example.org"]}],"reason":"started","epoch":1}"#);
    }

    #[test]
    fn an_answer_repeats_the_offers_number() {
        let answer =
            Update::Answer { sdp: "v=0\r\n".into(), rev: 3, channel_url: "/colibri-ws/b/c/e?pwd=p".into() };
        insta::assert_snapshot!(json(&answer), @r#"{"type":"answer","sdp":"v=0\r\n","rev":3,"channel_url":"/colibri-ws/b/c/e?pwd=p"}"#);
    }

    #[test]
    fn a_state_is_whole_and_a_delta_only_what_changed() {
        let state = Update::State { seq: 1, snapshot: Snapshot { participants: vec![participant()] } };
        insta::assert_snapshot!(json(&state), @r#"{"type":"state","seq":1,"snapshot":{"participants":[{"id":"0a1b2c3d","name":"Zoë","muted_audio":true,"muted_video":false,"screen":false,"hand":true}]}}"#);
        let nothing = Update::Delta { seq: 2, joined: vec![], left: vec![], changed: vec![] };
        insta::assert_snapshot!(json(&nothing), @r#"{"type":"delta","seq":2}"#);
        let all = Update::Delta {
            seq: 3,
            joined: vec![participant()],
            left: vec![other()],
            changed: vec![participant()],
        };
        insta::assert_snapshot!(json(&all), @r#"{"type":"delta","seq":3,"joined":[{"id":"0a1b2c3d","name":"Zoë","muted_audio":true,"muted_video":false,"screen":false,"hand":true}],"left":["deadbeef"],"changed":[{"id":"0a1b2c3d","name":"Zoë","muted_audio":true,"muted_video":false,"screen":false,"hand":true}]}"#);
    }

    #[test]
    fn a_chat_line_keeps_its_speakers_name() {
        let chat = Update::Chat { from: endpoint(), name: "Zoë".into(), text: "hi".into(), seq: 7 };
        insta::assert_snapshot!(json(&chat), @r#"{"type":"chat","from":"0a1b2c3d","name":"Zoë","text":"hi","seq":7}"#);
    }

    #[test]
    fn errors_and_reasons_have_stable_names() {
        let error = Update::Error { id: ErrorId::BadSdp, message: "line 4".into() };
        insta::assert_snapshot!(json(&error), @r#"{"type":"error","id":"bad_sdp","message":"line 4"}"#);
        let bye = Update::Bye { reason: ByeReason::Replaced };
        insta::assert_snapshot!(json(&bye), @r#"{"type":"bye","reason":"replaced"}"#);
        let ids = [
            ErrorId::BadMessage,
            ErrorId::BadOrder,
            ErrorId::BadConference,
            ErrorId::BadName,
            ErrorId::TooLong,
            ErrorId::BadSdp,
            ErrorId::NotAssigned,
            ErrorId::Unavailable,
            ErrorId::ConferenceFull,
            ErrorId::RateLimited,
            ErrorId::BadResume,
            ErrorId::BadToken,
        ];
        insta::assert_snapshot!(json(&ids.to_vec()), @r#"["bad_message","bad_order","bad_conference","bad_name","too_long","bad_sdp","not_assigned","unavailable","conference_full","rate_limited","bad_resume","bad_token"]"#);
        let reasons = [
            ByeReason::Left,
            ByeReason::Replaced,
            ByeReason::JoinTimeout,
            ByeReason::Overload,
            ByeReason::Shutdown,
        ];
        insta::assert_snapshot!(json(&reasons.to_vec()), @r#"["left","replaced","join_timeout","overload","shutdown"]"#);
        let reasons = [AssignReason::Started, AssignReason::Moved, AssignReason::Drained];
        insta::assert_snapshot!(json(&reasons.to_vec()), @r#"["started","moved","drained"]"#);
    }

    #[test]
    fn a_relays_credential_is_never_printed() {
        let relay = IceServer {
            urls: vec!["turn:x".into()],
            username: Some("visible-name".into()),
            credential: Some("hidden-secret".into()),
        };
        assert!(!format!("{relay:?}").contains("hidden-secret"));
    }
}

mod between_browser_and_bridge {
    use super::*;
    use channel::*;

    #[test]
    fn the_hellos_are_jitsis() {
        insta::assert_snapshot!(json(&FromBrowser::ClientHello {}), @r#"{"colibriClass":"ClientHello"}"#);
        insta::assert_snapshot!(json(&FromBridge::ServerHello { version: None }), @r#"{"colibriClass":"ServerHello"}"#);
        let hello = FromBridge::ServerHello { version: Some("0.1.0".into()) };
        insta::assert_snapshot!(json(&hello), @r#"{"colibriClass":"ServerHello","version":"0.1.0"}"#);
    }

    #[test]
    fn an_endpoint_message_keeps_every_other_field() {
        let text =
            r#"{"colibriClass":"EndpointMessage","to":"","msgPayload":{"a":[1,null,"x"]},"extra":2.5}"#;
        let FromBrowser::EndpointMessage(mut message) = parse_json(text).unwrap() else { panic!("{text}") };
        assert_eq!((message.to.as_str(), message.from.as_str()), ("", ""));
        message.from = "0a1b2c3d".into();
        insta::assert_snapshot!(json(&FromBridge::EndpointMessage(message)), @r#"{"colibriClass":"EndpointMessage","to":"","from":"0a1b2c3d","extra":2.5,"msgPayload":{"a":[1,null,"x"]}}"#);
    }

    #[test]
    fn statistics_are_passed_on_as_they_are() {
        let text = r#"{"colibriClass":"EndpointStats","bitrate":{"upload":2500}}"#;
        let FromBrowser::EndpointStats(mut fields) = parse_json(text).unwrap() else { panic!("{text}") };
        assert!(!fields.contains_key("colibriClass"));
        fields.insert("from".into(), "0a1b2c3d".into());
        insta::assert_snapshot!(json(&FromBridge::EndpointStats(fields)), @r#"{"colibriClass":"EndpointStats","bitrate":{"upload":2500},"from":"0a1b2c3d"}"#);
    }

    #[test]
    fn last_n_may_be_negative() {
        let last_n = FromBrowser::LastNChangedEvent { last_n: -1 };
        insta::assert_snapshot!(json(&last_n), @r#"{"colibriClass":"LastNChangedEvent","lastN":-1}"#);
    }

    #[test]
    fn constraints_tell_only_what_they_change() {
        let nothing = FromBrowser::ReceiverVideoConstraints(ReceiverVideoConstraints::default());
        insta::assert_snapshot!(json(&nothing), @r#"{"colibriClass":"ReceiverVideoConstraints"}"#);
        let all = FromBrowser::ReceiverVideoConstraints(ReceiverVideoConstraints {
            last_n: Some(4),
            selected_sources: Some(vec![source("0a1b2c3d-v0")]),
            on_stage_sources: Some(vec![]),
            default_constraints: Some(VideoConstraints { max_height: Some(180), max_frame_rate: None }),
            constraints: Some(
                [(
                    "0a1b2c3d-v0".into(),
                    VideoConstraints { max_height: Some(-1), max_frame_rate: Some(30.0) },
                )]
                .into(),
            ),
            assumed_bandwidth_bps: Some(2_500_000),
        });
        insta::assert_snapshot!(json(&all), @r#"{"colibriClass":"ReceiverVideoConstraints","lastN":4,"selectedSources":["0a1b2c3d-v0"],"onStageSources":[],"defaultConstraints":{"maxHeight":180},"constraints":{"0a1b2c3d-v0":{"maxHeight":-1,"maxFrameRate":30.0}},"assumedBandwidthBps":2500000}"#);
    }

    #[test]
    fn a_video_type_is_upper_case() {
        let from_browser = FromBrowser::SourceVideoTypeMessage(SourceVideoType {
            video_type: VideoType::DesktopHighFps,
            source_name: source("0a1b2c3d-v1"),
            endpoint_id: None,
        });
        insta::assert_snapshot!(json(&from_browser), @r#"{"colibriClass":"SourceVideoTypeMessage","videoType":"DESKTOP_HIGH_FPS","sourceName":"0a1b2c3d-v1"}"#);
        let from_bridge = FromBridge::SourceVideoTypeMessage(SourceVideoType {
            video_type: VideoType::Camera,
            source_name: source("0a1b2c3d-v0"),
            endpoint_id: Some(endpoint()),
        });
        insta::assert_snapshot!(json(&from_bridge), @r#"{"colibriClass":"SourceVideoTypeMessage","videoType":"CAMERA","sourceName":"0a1b2c3d-v0","endpointId":"0a1b2c3d"}"#);
        let types = vec![VideoType::Camera, VideoType::Desktop, VideoType::DesktopHighFps, VideoType::None];
        insta::assert_snapshot!(json(&types), @r#"["CAMERA","DESKTOP","DESKTOP_HIGH_FPS","NONE"]"#);
    }

    #[test]
    fn a_video_type_is_read_in_any_case() {
        let read: Vec<VideoType> = parse_json(r#"["camera","Desktop","desktop_high_fps","nOnE"]"#).unwrap();
        assert_eq!(read, [VideoType::Camera, VideoType::Desktop, VideoType::DesktopHighFps, VideoType::None]);
        for wrong in ["\"webcam\"", "\"\"", "null", "0"] {
            assert!(parse_json::<VideoType>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_dominant_speaker_comes_with_those_before() {
        let event = FromBridge::DominantSpeakerEndpointChangeEvent {
            dominant_speaker_endpoint: endpoint(),
            previous_speakers: vec![other()],
            silence: false,
        };
        insta::assert_snapshot!(json(&event), @r#"{"colibriClass":"DominantSpeakerEndpointChangeEvent","dominantSpeakerEndpoint":"0a1b2c3d","previousSpeakers":["deadbeef"],"silence":false}"#);
    }

    #[test]
    fn the_maps_tell_which_source_fills_which_slot() {
        let sources = FromBridge::ForwardedSources { forwarded_sources: vec![source("0a1b2c3d-v0")] };
        insta::assert_snapshot!(json(&sources), @r#"{"colibriClass":"ForwardedSources","forwardedSources":["0a1b2c3d-v0"]}"#);
        let video = FromBridge::VideoSourcesMap {
            mapped_sources: vec![VideoMapping {
                source: source("0a1b2c3d-v0"),
                owner: endpoint(),
                ssrc: 4_294_967_295,
                rtx: 2,
                video_type: VideoType::Camera,
                mid: mid("5"),
            }],
        };
        insta::assert_snapshot!(json(&video), @r#"{"colibriClass":"VideoSourcesMap","mappedSources":[{"source":"0a1b2c3d-v0","owner":"0a1b2c3d","ssrc":4294967295,"rtx":2,"videoType":"CAMERA","mid":"5"}]}"#);
        let audio = FromBridge::AudioSourcesMap {
            mapped_sources: vec![AudioMapping {
                source: source("0a1b2c3d-a0"),
                owner: endpoint(),
                ssrc: 1,
                mid: mid("2"),
            }],
        };
        insta::assert_snapshot!(json(&audio), @r#"{"colibriClass":"AudioSourcesMap","mappedSources":[{"source":"0a1b2c3d-a0","owner":"0a1b2c3d","ssrc":1,"mid":"2"}]}"#);
    }
}

mod between_signaling_and_bridge {
    use super::*;
    use link::*;

    #[test]
    fn a_hello_tells_who_and_what_it_still_carries() {
        let first = Hello {
            bridge: BridgeId::parse("bridge-1").unwrap(),
            boot: "b".into(),
            version: "0.1.0".into(),
            region: None,
            channel: "http://127.0.0.1:9090".into(),
            media: vec![],
            endpoints_max: 1_000,
            conferences: vec![],
        };
        insta::assert_snapshot!(json(&FromBridge::Hello(first.clone())), @r#"{"type":"hello","bridge":"bridge-1","boot":"b","version":"0.1.0","channel":"http://127.0.0.1:9090","endpoints_max":1000,"conferences":[]}"#);
        let carried =
            LiveConference { conference: conference(), epoch: Epoch(4), endpoints: vec![endpoint()] };
        let media = vec!["192.0.2.1:10000".parse().unwrap(), "[2001:db8::1]:10000".parse().unwrap()];
        let again = Hello { region: Some("eu".into()), media, conferences: vec![carried], ..first };
        insta::assert_snapshot!(json(&FromBridge::Hello(again)), @r#"{"type":"hello","bridge":"bridge-1","boot":"b","version":"0.1.0","region":"eu","channel":"http://127.0.0.1:9090","media":["192.0.2.1:10000","[2001:db8::1]:10000"],"endpoints_max":1000,"conferences":[{"conference":"abcdefghijklmnopqrstuvwxyz","epoch":4,"endpoints":["0a1b2c3d"]}]}"#);
    }

    #[test]
    fn load_and_heartbeat_are_small() {
        let load = Load { stress: 0.25, conferences: 1, endpoints: 2, packets_per_s: 3, draining: true };
        insta::assert_snapshot!(json(&FromBridge::Load(load)), @r#"{"type":"load","stress":0.25,"conferences":1,"endpoints":2,"packets_per_s":3,"draining":true}"#);
        insta::assert_snapshot!(json(&FromBridge::Heartbeat), @r#"{"type":"heartbeat"}"#);
    }

    #[test]
    fn replies_tell_what_came_of_a_command() {
        let done = FromBridge::Reply(Reply { id: 1, outcome: Outcome::Done });
        insta::assert_snapshot!(json(&done), @r#"{"type":"reply","id":1,"outcome":{"type":"done"}}"#);
        let refused = Outcome::Refused { error: Refusal::StaleEpoch, message: "older than 4".into() };
        insta::assert_snapshot!(json(&FromBridge::Reply(Reply { id: 2, outcome: refused })), @r#"{"type":"reply","id":2,"outcome":{"type":"refused","error":"stale_epoch","message":"older than 4"}}"#);
        let transport = TransportParameters {
            ice: IceCredentials { ufrag: "ours".into(), pwd: "bridgebridgebridgebridge".into() },
            fingerprint: Fingerprint { algorithm: "sha-256".into(), value: "AA:BB".into() },
            candidates: vec![
                Candidate { priority: 2_130_706_431, address: "192.0.2.1:10000".parse().unwrap() },
                Candidate { priority: 2_130_706_430, address: "[2001:db8::1]:10000".parse().unwrap() },
            ],
            slots: vec![
                SlotParameters { mid: mid("2"), ssrc: 7, rtx_ssrc: None },
                SlotParameters { mid: mid("3"), ssrc: 8, rtx_ssrc: Some(9) },
            ],
            channel_path: "/colibri-ws/b/c/e?pwd=p".into(),
        };
        let reply = FromBridge::Reply(Reply { id: 3, outcome: Outcome::Transport(transport) });
        insta::assert_snapshot!(json(&reply), @r#"{"type":"reply","id":3,"outcome":{"type":"transport","ice":{"ufrag":"ours","pwd":"bridgebridgebridgebridge"},"fingerprint":{"algorithm":"sha-256","value":"AA:BB"},"candidates":[{"priority":2130706431,"address":"192.0.2.1:10000"},{"priority":2130706430,"address":"[2001:db8::1]:10000"}],"slots":[{"mid":"2","ssrc":7},{"mid":"3","ssrc":8,"rtx_ssrc":9}],"channel_path":"/colibri-ws/b/c/e?pwd=p"}}"#);
        let refusals = vec![
            Refusal::StaleEpoch,
            Refusal::Full,
            Refusal::BadParameters,
            Refusal::Draining,
            Refusal::UnknownCommand,
        ];
        insta::assert_snapshot!(json(&refusals), @r#"["stale_epoch","full","bad_parameters","draining","unknown_command"]"#);
    }

    #[test]
    fn a_notice_names_an_endpoint_and_what_happened() {
        let notice = Notice {
            conference: conference(),
            epoch: Epoch(4),
            endpoint: endpoint(),
            event: EndpointEvent::ConsentLost,
        };
        insta::assert_snapshot!(json(&FromBridge::Notice(notice)), @r#"{"type":"notice","conference":"abcdefghijklmnopqrstuvwxyz","epoch":4,"endpoint":"0a1b2c3d","event":"consent_lost"}"#);
        let events = vec![
            EndpointEvent::Connected,
            EndpointEvent::ConsentLost,
            EndpointEvent::ConnectTimeout,
            EndpointEvent::HandshakeFailed,
            EndpointEvent::Closed,
        ];
        insta::assert_snapshot!(json(&events), @r#"["connected","consent_lost","connect_timeout","handshake_failed","closed"]"#);
    }

    fn command(body: CommandBody) -> Command {
        Command { id: 1, conference: conference(), epoch: Epoch(4), body }
    }

    #[test]
    fn short_commands_have_a_conference_and_an_epoch() {
        let remove = command(CommandBody::RemoveEndpoint { endpoint: endpoint() });
        insta::assert_snapshot!(json(&remove), @r#"{"id":1,"conference":"abcdefghijklmnopqrstuvwxyz","epoch":4,"body":{"type":"remove_endpoint","endpoint":"0a1b2c3d"}}"#);
        let end = command(CommandBody::EndConference);
        insta::assert_snapshot!(json(&end), @r#"{"id":1,"conference":"abcdefghijklmnopqrstuvwxyz","epoch":4,"body":{"type":"end_conference"}}"#);
    }

    #[test]
    fn an_endpoint_is_set_whole() {
        let media =
            |tag: &str, kind, role| Media { mid: mid(tag), kind, codecs: vec![], extensions: vec![], role };
        let camera = SourceParameters {
            name: source("0a1b2c3d-v0"),
            video_type: Some(VideoType::Camera),
            rids: vec![Rid::parse("l").unwrap(), Rid::parse("h").unwrap()],
            ssrcs: vec![SourceSsrc { media: 1, rtx: Some(2) }, SourceSsrc { media: 3, rtx: None }],
        };
        let microphone =
            SourceParameters { name: source("0a1b2c3d-a0"), video_type: None, rids: vec![], ssrcs: vec![] };
        let parameters = EndpointParameters {
            ice: IceCredentials { ufrag: "theirs".into(), pwd: "browserbrowserbrowser22".into() },
            fingerprints: vec![Fingerprint { algorithm: "sha-256".into(), value: "AA:BB".into() }],
            medias: vec![
                media("0", MediaKind::Audio, MediaRole::Source(microphone)),
                media("1", MediaKind::Video, MediaRole::Source(camera)),
                media("2", MediaKind::Audio, MediaRole::Slot),
                media("3", MediaKind::Video, MediaRole::Inactive),
            ],
        };
        let pins = vec![SlotPin { mid: mid("2"), source: source("deadbeef-a0") }];
        let set = command(CommandBody::SetEndpoint { endpoint: endpoint(), parameters, pins });
        insta::assert_snapshot!(json(&set), @r#"{"id":1,"conference":"abcdefghijklmnopqrstuvwxyz","epoch":4,"body":{"type":"set_endpoint","endpoint":"0a1b2c3d","parameters":{"ice":{"ufrag":"theirs","pwd":"browserbrowserbrowser22"},"fingerprints":[{"algorithm":"sha-256","value":"AA:BB"}],"medias":[{"mid":"0","kind":"audio","codecs":[],"extensions":[],"role":{"role":"source","name":"0a1b2c3d-a0"}},{"mid":"1","kind":"video","codecs":[],"extensions":[],"role":{"role":"source","name":"0a1b2c3d-v0","video_type":"CAMERA","rids":["l","h"],"ssrcs":[{"media":1,"rtx":2},{"media":3}]}},{"mid":"2","kind":"audio","codecs":[],"extensions":[],"role":{"role":"slot"}},{"mid":"3","kind":"video","codecs":[],"extensions":[],"role":{"role":"inactive"}}]},"pins":[{"mid":"2","source":"deadbeef-a0"}]}}"#);
    }

    #[test]
    fn extensions_have_short_names() {
        let all = vec![
            Extension::Mid,
            Extension::Rid,
            Extension::RepairedRid,
            Extension::AudioLevel,
            Extension::AbsSendTime,
            Extension::TransportCc,
            Extension::VideoOrientation,
            Extension::DependencyDescriptor,
            Extension::PlayoutDelay,
        ];
        insta::assert_snapshot!(json(&all), @r#"["mid","rid","repaired-rid","audio-level","abs-send-time","transport-cc","video-orientation","dependency-descriptor","playout-delay"]"#);
        let codecs = vec![Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
        insta::assert_snapshot!(json(&codecs), @r#"["opus","vp8","vp9","h264","av1"]"#);
    }

    #[test]
    fn a_newer_sides_messages_are_skipped() {
        let text = r#"{"type":"teleport","to":["mars",{"x":1}]}"#;
        assert_eq!(parse_json::<FromBridge>(text).unwrap(), FromBridge::Unknown);
        let text = r#"{"id":1,"conference":"abcdefghijklmnopqrstuvwxyz","epoch":4,"body":{"type":"teleport","x":1}}"#;
        assert_eq!(parse_json::<Command>(text).unwrap().body, CommandBody::Unknown);
        let text = r#"{"type":"heartbeat","mood":"fine"}"#;
        assert_eq!(
            parse_json::<FromBridge>(text).unwrap(),
            FromBridge::Heartbeat,
            "new fields are skipped too"
        );
    }

    #[test]
    fn a_load_that_is_no_number_is_refused() {
        for stress in ["NaN", "Infinity", "1e999", "null", "\"0.5\"", "[]"] {
            let text = format!(
                r#"{{"type":"load","stress":{stress},"conferences":0,"endpoints":0,"packets_per_s":0}}"#
            );
            assert!(parse_json::<FromBridge>(&text).is_err(), "{text}");
        }
        for conferences in ["-1", "4294967296", "1.5", "null"] {
            let text = format!(
                r#"{{"type":"load","stress":0,"conferences":{conferences},"endpoints":0,"packets_per_s":0}}"#
            );
            assert!(parse_json::<FromBridge>(&text).is_err(), "{text}");
        }
    }
}

mod strictness {
    use super::*;
    use meeting::Request;
    use serde_json::Value;

    #[test]
    fn a_key_may_appear_once_at_any_level() {
        for text in [
            r#"{"type":"ping","type":"leave"}"#,
            r#"{"type":"chat","text":"a","text":"b"}"#,
            r#"{"type":"chat","text":"a","x":{"y":[{"z":1,"z":1}]}}"#,
            r#"{"type":"chat","text":"a","te\u0078t":"b"}"#,
        ] {
            assert_eq!(parse_json::<Request>(text), Err(BadMessage::DuplicateKey), "{text}");
        }
        assert!(parse_json::<Value>(r#"[{"a":1},{"a":1,"b":{"a":1}}]"#).is_ok(), "in other objects it may");
    }

    #[test]
    fn nesting_ends_at_32_levels() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_json::<Value>(&nested(32)).is_ok());
        assert_eq!(parse_json::<Value>(&nested(33)), Err(BadMessage::TooDeep));
        assert_eq!(parse_json::<Value>(&nested(10_000)), Err(BadMessage::TooDeep));
        let objects = format!("{}1{}", r#"{"a":"#.repeat(33), "}".repeat(33));
        assert_eq!(parse_json::<Value>(&objects), Err(BadMessage::TooDeep));
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "nul",
            r#"{"type":"ping"} x"#,
            r#"{"type":"ping"}{"type":"ping"}"#,
            r#"{"type":"ping",}"#,
            r#"{'type':'ping'}"#,
            r#"{"type":"ping"/**/}"#,
            "{\"type\":\"ping\"}\0",
            "\u{feff}{\"type\":\"ping\"}",
            r#"{"type":"chat","text":"\ud800"}"#,
            "{\"type\":\"chat\",\"text\":\"\n\"}",
            r#"{"type":"ping","x":NaN}"#,
            r#"{"type":"ping","x":1e999}"#,
            r#"{"type":"ping","x":-1e999}"#,
            r#"{"type":"ping","x":01}"#,
            r#"{"type":"ping","x":+1}"#,
        ] {
            assert!(matches!(parse_json::<Request>(text), Err(BadMessage::NotJson(_))), "{text:?}");
        }
        assert_eq!(
            parse_json::<Request>(" {\"type\":\"ping\"}\r\n"),
            Ok(Request::Ping),
            "white space is allowed"
        );
    }

    #[test]
    fn a_message_of_another_shape_is_refused() {
        for text in [
            "null",
            "[]",
            "\"ping\"",
            "{}",
            r#"{"type":null}"#,
            r#"{"type":7}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"Ping"}"#,
            r#"{"type":"chat"}"#,
            r#"{"type":"chat","text":null}"#,
            r#"{"type":"chat","text":["a"]}"#,
            r#"{"type":"offer","sdp":"v=0"}"#,
            r#"{"type":"offer","sdp":"v=0","rev":-1}"#,
            r#"{"type":"offer","sdp":"v=0","rev":1.0}"#,
            r#"{"type":"offer","sdp":"v=0","rev":18446744073709551616}"#,
            r#"{"type":"join"}"#,
            r#"{"type":"join","name":"n","token":7}"#,
            r#"{"type":"set","muted_audio":"yes"}"#,
        ] {
            assert!(matches!(parse_json::<Request>(text), Err(BadMessage::BadShape(_))), "{text}");
        }
        let join = Request::Join { name: "n".into(), token: None, resume: None };
        let text = r#"{"type":"join","name":"n","token":null}"#;
        assert_eq!(
            parse_json::<Request>(text),
            Ok(join),
            "null is as good as absent where absent is allowed"
        );
    }

    /// Every field of a message in turn: absent, null, and of a type it cannot be.
    #[test]
    fn no_field_can_be_broken_without_an_error_or_a_default() {
        let text = r#"{"type":"joined","participant":"0a1b2c3d","resume":"s","conference":"demo","limits":{"message_bytes_max":1,"chat_bytes_max":1,"name_graphemes_max":1,"participants_max":1},"slots":{"audio":3,"video":24}}"#;
        let whole: Value = serde_json::from_str(text).unwrap();
        for field in ["participant", "resume", "conference", "limits", "slots"] {
            let mut broken = whole.clone();
            broken.as_object_mut().unwrap().remove(field);
            assert!(parse_json::<meeting::Update>(&broken.to_string()).is_err(), "{field} absent");
            for wrong in [Value::Null, Value::Bool(true), Value::Array(vec![])] {
                broken[field] = wrong;
                assert!(parse_json::<meeting::Update>(&broken.to_string()).is_err(), "{broken}");
            }
        }
    }

    #[test]
    fn identifiers_are_checked_while_they_are_read() {
        for hostile in ["", "0A1B2C3D", "0a1b2c3", "0a1b2c3d4", "../../..", "0a1b2c3\\u0000"] {
            let text = format!(r#"{{"type":"remove_endpoint","endpoint":"{hostile}"}}"#);
            assert!(matches!(parse_json::<link::CommandBody>(&text), Err(BadMessage::BadShape(_))), "{text}");
        }
        let text = r#"{"colibriClass":"SourceVideoTypeMessage","videoType":"CAMERA","sourceName":"me-v0"}"#;
        assert!(parse_json::<channel::FromBrowser>(text).is_err());
    }

    #[test]
    fn unknown_classes_of_a_channel_are_an_error_to_count() {
        for text in [
            r#"{"colibriClass":"SelectedEndpointsChangedEvent","selectedEndpoints":[]}"#,
            r#"{"colibriClass":"LastNChangedEvent"}"#,
            r#"{"colibriClass":"LastNChangedEvent","lastN":null}"#,
            r#"{"colibriClass":"LastNChangedEvent","lastN":9223372036854775808}"#,
            r#"{"colibriClass":"ReceiverVideoConstraints","constraints":{"a":{"maxHeight":"180"}}}"#,
            r#"{"colibriClass":"ServerHello"}"#,
            r#"{"lastN":1}"#,
        ] {
            assert!(parse_json::<channel::FromBrowser>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_pollutes_prototypes_is_a_key_like_any_other() {
        let text = r#"{"colibriClass":"EndpointMessage","to":"","__proto__":{"x":1},"constructor":null}"#;
        let channel::FromBrowser::EndpointMessage(message) = parse_json(text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(message.rest.len(), 2);
    }

    #[test]
    fn an_explanation_does_not_echo_a_long_message() {
        let text = format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000));
        let Err(BadMessage::BadShape(reason)) = parse_json::<Request>(&text) else { panic!("accepted") };
        assert!(reason.len() <= 160, "{}", reason.len());
    }
}
