//! The meeting's protocol, with a signaling that does what the test says.

use serde_json::json;
use wire::messages::meeting::SlotCounts;

use super::super::*;
use super::world::{Caller, Signaling, control, joined, participant, seat, soon, state};
use crate::engine::ports::Note;

#[tokio::test]
async fn a_caller_joins_offers_opens_its_channel_and_is_up_with_its_first_packet() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 20.0, |_| ());
    let mut caller = Caller::start(&control, seat(Entry::Meeting));
    let mut line = signaling.take_in(2).await;
    assert_eq!(line.place, "/ws?conference=a+conference%2Fwith+marks%3F");
    assert_eq!(caller.offered().await, SlotCounts { audio: 3, video: 9 });
    line.answer().await;
    caller.until("media", |standing| standing.up == 1).await;
    let mut channel = signaling.accept().await;
    assert_eq!(channel.place, "/colibri-ws/x?pwd=p");
    let wish = |height: u32| json!({"colibriClass": "ReceiverVideoConstraints", "defaultConstraints": {"maxHeight": height}});
    assert_eq!(channel.hear().await, wish(720), "one other is present");
    channel
        .say(&json!({"colibriClass": "SenderSourceConstraints", "sourceName": "0a1b2c3d-v0", "maxHeight": 0}))
        .await;
    channel.say(&json!({"colibriClass": "VideoSourcesMap", "mappedSources": [{}, {}, {}]})).await;
    assert_eq!(channel.hear().await, wish(360), "three are shown");
    let ledger = caller.leave().await;
    assert!(line.gone().await.contains(&r#"{"type":"leave"}"#.to_owned()));
    assert!(channel.gone().await.is_empty());
    let joins = ledger.joins();
    assert_eq!((joins.begun, joins.succeeded, ledger.standing().up), (1, 1, 0));
    assert!(joins.stages().iter().all(|(_, stage)| stage.count() == 1), "{joins:?}");
}

#[tokio::test]
async fn a_moved_conference_is_offered_to_anew_and_is_no_second_join() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 20.0, |_| ());
    let mut caller = Caller::start(&control, Seat { channel: false, ..seat(Entry::Meeting) });
    let mut line = signaling.take_in(2).await;
    caller.connect(&mut line).await;
    line.say(&json!({"type": "assigned", "ice_servers": [], "reason": "started", "epoch": 1})).await;
    for (reason, epoch) in [("moved", 2), ("drained", 3)] {
        line.say(&json!({"type": "assigned", "ice_servers": [], "reason": reason, "epoch": epoch})).await;
        caller.connect(&mut line).await;
    }
    assert!(caller.offers.try_recv().is_err(), "a repeated `started` finds what it started");
    let ledger = caller.leave().await;
    assert_eq!((ledger.joins().succeeded, ledger.joins().ice.count()), (1, 1));
}

#[tokio::test]
async fn a_lost_path_is_down_until_there_is_another() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 20.0, |_| ());
    let mut caller = Caller::start(&control, Seat { channel: false, ..seat(Entry::Meeting) });
    let mut line = signaling.take_in(2).await;
    caller.connect(&mut line).await;
    caller.notes.send(Note::PathLost).unwrap();
    caller.until("the loss", |standing| standing.up == 0).await;
    caller.connect(&mut line).await;
    assert_eq!(caller.leave().await.standing().lost, 0);
}

#[tokio::test]
async fn a_broken_line_is_resumed_while_the_media_goes_on() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 20.0, |_| ());
    let mut caller = Caller::start(&control, Seat { channel: false, ..seat(Entry::Meeting) });
    let mut line = signaling.take_in(2).await;
    caller.connect(&mut line).await;
    drop(line);
    let mut line = signaling.accept().await;
    assert_eq!(line.hear().await["resume"], "secret");
    line.say(&joined()).await;
    line.say(&state(2)).await;
    line.say(&json!({"type": "delta", "seq": 9})).await;
    let mut line = signaling.accept().await;
    assert_eq!(line.hear().await["type"], "join", "a gap in the deltas means joining again");
    assert_eq!(caller.ledger.standing().up, 1);
    assert!(caller.offers.try_recv().is_err(), "what goes on is not offered again");
    caller.leave().await;
}

#[tokio::test]
async fn who_is_alone_waits_without_failing_and_does_not_count_the_time() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 2.0, |_| ());
    let mut caller = Caller::start(&control, Seat { channel: false, ..seat(Entry::Meeting) });
    let mut line = signaling.accept().await;
    line.hear().await;
    line.say(&joined()).await;
    line.say(&json!({"type": "waiting"})).await;
    // Longer than the patience of a join: what is waited for is that nothing happens.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(caller.ledger.standing().joining, 1);
    line.say(&json!({"type": "assigned", "ice_servers": [], "reason": "started", "epoch": 1})).await;
    caller.connect(&mut line).await;
    let total = caller.leave().await.joins().total;
    assert!(total.max() < 2_200_000, "{} us", total.max());
}

#[tokio::test]
async fn chat_is_sent_as_often_as_the_scenario_says() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 20.0, |_| ());
    let caller =
        Caller::start(&control, Seat { channel: false, chat_per_minute: 600.0, ..seat(Entry::Meeting) });
    let mut line = signaling.take_in(2).await;
    line.answer().await;
    for number in 1..=3 {
        let chat = line.hear().await;
        assert_eq!(chat["type"], "chat");
        assert!(chat["text"].as_str().unwrap().starts_with(&format!("Line {number}:")), "{chat}");
    }
    caller.leave().await;
}

#[tokio::test]
async fn without_media_a_raised_hand_is_timed_by_those_who_are_told() {
    let mut signaling = Signaling::start().await;
    let control = control(&signaling.url(), 20.0, |scenario| scenario.target.entry = Entry::Signaling);
    let mut callers = Vec::new();
    let mut lines = Vec::new();
    for number in 0..2_u32 {
        callers.push(Caller::start(&control, Seat { seed: u64::from(number), ..seat(Entry::Signaling) }));
        let mut line = signaling.accept().await;
        line.hear().await;
        let mut taken_in = joined();
        taken_in["participant"] = json!(format!("{number:08x}"));
        line.say(&taken_in).await;
        line.say(&state(2)).await;
        line.say(&json!({"type": "assigned", "ice_servers": [], "reason": "started", "epoch": 1})).await;
        lines.push(line);
    }
    callers[1].until("both in", |standing| standing.up == 1).await;
    let hand = soon("a hand", async {
        loop {
            let request = lines[0].hear().await;
            if request["type"] == "set" {
                return request["hand"].as_bool().unwrap();
            }
        }
    })
    .await;
    assert!(hand);
    let delta = json!({"type": "delta", "seq": 2, "changed": [participant(0, true)]});
    for line in &mut lines {
        line.say(&delta).await;
    }
    super::world::until("the delay", || control.signaling().unwrap().push_delay.count() == 1).await;
    for caller in callers {
        assert!(caller.leave().await.joins().failed.is_empty());
    }
    let found = control.signaling().unwrap();
    assert_eq!((found.callers, found.frames_per_caller.count()), (2, 2));
    assert!(found.hands >= 1 && found.frames_received >= 8 && found.bytes_received > 1_000, "{found:?}");
}
