//! The channel: what browsers say to the bridge and, through it, to each other.

use serde_json::json;

use crate::world::browser::Browser;
use crate::world::{World, secs};

fn meeting() -> (World, usize, usize, usize) {
    let mut world = World::new();
    let (one, two, three) =
        (world.join(Browser::talker(1)), world.join(Browser::talker(2)), world.join(Browser::watcher(3)));
    world.run(secs(2));
    (world, one, two, three)
}

#[test]
fn a_browser_is_greeted_and_told_what_fills_its_slots() {
    let (world, one, two, three) = meeting();
    assert_eq!(world.told(three, "ServerHello").len(), 1);
    let maps = world.told(three, "VideoSourcesMap");
    let mapped = maps.last().unwrap()["mappedSources"].as_array().unwrap();
    assert_eq!(mapped.len(), 2);
    for (mapping, sender) in mapped.iter().zip([one, two]) {
        let video = world.browsers[sender].video();
        assert_eq!(mapping["source"], video);
        assert_eq!(mapping["owner"], world.browsers[sender].id.as_str());
        let slot = &world.browsers[three].slots[&(mapping["ssrc"].as_u64().unwrap() as u32)];
        assert_eq!((mapping["mid"].as_str(), slot.sources()), (Some(slot.mid.as_str()), vec![video]));
        let rtx = mapping["rtx"].as_u64().unwrap() as u32;
        assert_eq!(world.browsers[three].rtx_of[&rtx], mapping["ssrc"].as_u64().unwrap() as u32);
    }
    let maps = world.told(three, "AudioSourcesMap");
    assert_eq!(maps.last().unwrap()["mappedSources"].as_array().unwrap().len(), 2);
    let forwarded = world.told(three, "ForwardedSources");
    assert_eq!(forwarded.last().unwrap()["forwardedSources"].as_array().unwrap().len(), 2);
}

#[test]
fn nothing_is_told_while_nothing_changes() {
    let (mut world, _, _, three) = meeting();
    let before = world.browsers[three].told.len();
    world.run(secs(5));
    let after: Vec<_> = world.browsers[three].told[before..].to_vec();
    assert!(after.len() <= 1, "{after:?}");
}

#[test]
fn a_message_reaches_one_or_all_others_under_its_true_sender() {
    let (mut world, one, two, three) = meeting();
    world.say(
        one,
        r#"{"colibriClass":"EndpointMessage","to":"","from":"ffffffff","msgPayload":{"a":[1]},"extra":7}"#,
    );
    for receiver in [two, three] {
        let message = world.told(receiver, "EndpointMessage").pop().unwrap();
        let expected = json!({
            "colibriClass": "EndpointMessage", "to": "", "from": "00000001", "msgPayload": {"a": [1]}, "extra": 7
        });
        assert_eq!(message, expected);
    }
    assert_eq!(world.told(one, "EndpointMessage"), [json!(null); 0]);
    world.say(one, r#"{"colibriClass":"EndpointMessage","to":"00000003","msgPayload":"hi"}"#);
    assert_eq!(
        (world.told(two, "EndpointMessage").len(), world.told(three, "EndpointMessage").len()),
        (1, 2)
    );
}

#[test]
fn statistics_are_passed_on_and_who_speaks_is_told() {
    let (mut world, one, two, _) = meeting();
    world.say(one, r#"{"colibriClass":"EndpointStats","bitrate":{"upload":5},"from":"00000002"}"#);
    let stats = world.told(two, "EndpointStats").pop().unwrap();
    assert_eq!((stats["from"].as_str(), &stats["bitrate"]["upload"]), (Some("00000001"), &json!(5)));
    world.browsers[one].microphone().level_dbov = 127;
    world.browsers[two].microphone().level_dbov = 10;
    world.run(secs(4));
    let last = world.told(one, "DominantSpeakerEndpointChangeEvent").pop().unwrap();
    assert_eq!(last["dominantSpeakerEndpoint"], "00000002");
    assert_eq!(last["silence"], false);
}

#[test]
fn what_is_no_known_message_is_dropped_and_counted() {
    let (mut world, one, two, _) = meeting();
    let told = world.browsers[two].told.len();
    let refused = world.stats().counters.channel_messages_refused;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let hostile = [
        "",
        "null",
        "{}",
        "[]",
        "\0",
        r#"{"colibriClass":"Nonsense"}"#,
        r#"{"colibriClass":1}"#,
        deep.as_str(),
        r#"{"colibriClass":"LastNChangedEvent","lastN":1e999}"#,
        r#"{"colibriClass":"LastNChangedEvent"}"#,
        r#"{"colibriClass":"EndpointMessage","to":"","to":"00000002","msgPayload":1}"#,
        r#"{"colibriClass":"EndpointMessage","to":"","msgPayload":{"a":1,"a":2}}"#,
        r#"{"colibriClass":"ClientHello"} trailing"#,
        r#"{"colibriClass":"SourceVideoTypeMessage","videoType":"NONE","sourceName":"00000002-v0"}"#,
    ];
    for text in hostile {
        world.say(one, text);
    }
    assert_eq!(world.browsers[two].told.len(), told);
    assert_eq!(world.stats().counters.channel_messages_refused - refused, hostile.len() as u64);
}

#[test]
fn absurd_wishes_are_clamped() {
    let (mut world, one, _, _) = meeting();
    for last_n in [i64::MIN, -1, i64::MAX] {
        world.say(one, &format!(r#"{{"colibriClass":"LastNChangedEvent","lastN":{last_n}}}"#));
    }
    let many: Vec<String> =
        (0..1_000).map(|number| format!(r#""{number:08x}-v0":{{"maxHeight":-1}}"#)).collect();
    let many = many.join(",");
    world.say(one, &format!(r#"{{"colibriClass":"ReceiverVideoConstraints","constraints":{{{many}}}}}"#));
    world.run(secs(1));
    let maps = world.told(one, "VideoSourcesMap");
    assert_eq!(maps.last().unwrap()["mappedSources"].as_array().unwrap().len(), 1);
}

#[test]
fn who_talks_too_much_is_throttled_and_then_shut() {
    let (mut world, one, two, _) = meeting();
    for _ in 0..2_000 {
        world.say(one, r#"{"colibriClass":"EndpointMessage","to":"","msgPayload":"again"}"#);
    }
    let passed = world.told(two, "EndpointMessage").len();
    assert!(passed <= 101, "{passed} passed");
    assert!(world.browsers[one].is_channel_closed && !world.browsers[two].is_channel_closed);
}

#[test]
fn large_messages_are_bounded_by_bytes() {
    let (mut world, one, two, _) = meeting();
    let large = "x".repeat(60_000);
    for _ in 0..50 {
        world.say(one, &format!(r#"{{"colibriClass":"EndpointMessage","to":"","msgPayload":"{large}"}}"#));
    }
    assert_eq!(world.told(two, "EndpointMessage").len(), 2);
}

fn shows(source: &str, video_type: &str) -> String {
    format!(
        r#"{{"colibriClass":"SourceVideoTypeMessage","videoType":"{video_type}","sourceName":"{source}"}}"#
    )
}

#[test]
fn what_a_source_shows_is_told_when_it_changes_and_not_more_than_once_a_second() {
    let (mut world, one, two, _) = meeting();
    let video = world.browsers[one].video();
    let refused = world.stats().counters.channel_messages_refused;
    for _ in 0..20 {
        world.say(one, &shows(&video, "CAMERA"));
    }
    assert_eq!(world.told(two, "SourceVideoTypeMessage").len(), 0, "it is a camera already");
    assert_eq!(world.stats().counters.channel_messages_refused, refused);
    for turn in 0..40 {
        world.say(one, &shows(&video, if turn % 2 == 0 { "DESKTOP" } else { "CAMERA" }));
    }
    // The fifth change leaves it a screen, so of the rest every second one asks for nothing.
    assert_eq!(world.told(two, "SourceVideoTypeMessage").len(), 5);
    assert_eq!(world.stats().counters.channel_messages_refused - refused, 18);
    world.run(secs(1));
    world.say(one, &shows(&video, "CAMERA"));
    let last = world.told(two, "SourceVideoTypeMessage").pop().unwrap();
    assert_eq!((last["videoType"].as_str(), last["endpointId"].as_str()), (Some("CAMERA"), Some("00000001")));
}

#[test]
fn a_microphone_shows_nothing() {
    let (mut world, one, two, _) = meeting();
    let (audio, refused) = (world.browsers[one].audio(), world.stats().counters.channel_messages_refused);
    world.say(one, &shows(&audio, "DESKTOP"));
    assert_eq!(world.stats().counters.channel_messages_refused - refused, 1);
    assert_eq!(world.told(two, "SourceVideoTypeMessage").len(), 0);
}
