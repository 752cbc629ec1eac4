use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use wire::messages::meeting::{Participant, Snapshot};

use super::*;

/// A caller, a clock that is turned by hand, and what the shell was told.
struct World {
    now: Instant,
    attendance: Attendance,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let introduction = Introduction { name: "Ada".to_owned(), token: Some("t".to_owned()) };
        Self { now, attendance: Attendance::new(now, introduction, 7) }
    }

    /// Connected and taken in, with an empty output.
    fn joined() -> Self {
        let mut world = Self::new();
        world.attendance.handle_opened();
        world.hear(&joined_update("secret"));
        world.outputs();
        world
    }

    fn hear(&mut self, update: &Value) {
        self.attendance.handle_text(self.now, &update.to_string());
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.attendance.handle_timeout(self.now);
    }

    /// Lets time pass until the next timeout, and says how long that took.
    fn wake(&mut self) -> Duration {
        let due = self.attendance.next_timeout().unwrap();
        let waited = due.saturating_duration_since(self.now);
        self.now = self.now.max(due);
        self.attendance.handle_timeout(self.now);
        waited
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.attendance.poll_output()).collect()
    }

    /// What was sent since, as JSON.
    fn sent(&mut self) -> Vec<Value> {
        let sent = self.outputs().into_iter().filter_map(|output| match output {
            Output::Send(text) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        });
        sent.collect()
    }
}

fn joined_update(resume: &str) -> Value {
    json!({
        "type": "joined", "participant": "0a1b2c3d", "resume": resume, "conference": "x",
        "limits": {"message_bytes_max": 65536, "chat_bytes_max": 2048, "name_graphemes_max": 64, "participants_max": 500},
        "slots": {"audio": 3, "video": 9},
    })
}

fn shown(id: &str, hand: bool) -> Value {
    json!({"id": id, "name": "n", "muted_audio": false, "muted_video": false, "screen": false, "hand": hand})
}

fn state(seq: u64, count: usize) -> Value {
    let participants: Vec<Value> = (0..count).map(|number| shown(&format!("{number:08x}"), false)).collect();
    json!({"type": "state", "seq": seq, "snapshot": {"participants": participants}})
}

fn broken(outputs: &[Output]) -> Option<Break> {
    outputs.iter().find_map(|output| if let Output::Broken(why) = output { Some(*why) } else { None })
}

#[test]
fn a_caller_connects_says_its_name_and_is_in() {
    let mut world = World::new();
    assert_eq!(world.outputs(), [Output::Connect]);
    world.attendance.handle_opened();
    assert_eq!(world.sent(), [json!({"type": "join", "name": "Ada", "token": "t"})]);
    world.hear(&joined_update("secret"));
    let slots = SlotCounts { audio: 3, video: 9 };
    let participant = EndpointId::parse("0a1b2c3d").unwrap();
    assert_eq!(world.outputs(), [Output::Joined { participant, slots }]);
    assert!(world.attendance.is_joined());
}

#[test]
fn a_broken_line_comes_back_with_the_secret_of_the_last_joined() {
    let mut world = World::joined();
    world.attendance.handle_closed(world.now, Duration::ZERO);
    assert_eq!(world.outputs(), [Output::Disconnect, Output::Broken(Break::Socket)]);
    assert!(world.wake() <= Duration::from_millis(250));
    assert_eq!(world.outputs(), [Output::Connect]);
    world.attendance.handle_opened();
    assert_eq!(world.sent()[0]["resume"], "secret");
}

#[test]
fn a_secret_that_the_server_forgot_is_followed_by_a_join_without_one_on_the_same_line() {
    let mut world = World::joined();
    world.attendance.handle_closed(world.now, Duration::ZERO);
    world.wake();
    world.attendance.handle_opened();
    world.outputs();
    world.hear(&json!({"type": "error", "id": "bad_resume", "message": "m"}));
    assert_eq!(world.sent(), [json!({"type": "join", "name": "Ada", "token": "t"})]);
    world.hear(&json!({"type": "error", "id": "bad_resume", "message": "m"}));
    assert_eq!(broken(&world.outputs()), Some(Break::BadResume), "there was nothing to forget");
}

#[test]
fn a_missed_delta_means_joining_again() {
    let mut world = World::joined();
    world.hear(&state(7, 3));
    world.hear(&json!({"type": "delta", "seq": 8, "joined": [shown("00000009", false)], "left": ["00000001", "00000002"]}));
    assert_eq!(world.attendance.present(), 2);
    world.hear(&json!({"type": "delta", "seq": 10}));
    let outputs = world.outputs();
    assert_eq!(broken(&outputs), Some(Break::Gap));
    assert_eq!(outputs[..2], [Output::Snapshot, Output::Disconnect]);
}

#[test]
fn a_hand_that_changed_is_told() {
    let mut world = World::joined();
    world.hear(&state(1, 3));
    world.hear(&json!({"type": "delta", "seq": 2, "changed": [shown("00000001", true)]}));
    let who = EndpointId::parse("00000001").unwrap();
    assert_eq!(world.outputs(), [Output::Snapshot, Output::Changed(vec![(who, true)])]);
}

#[test]
fn a_quiet_line_is_asked_and_a_silent_one_is_broken() {
    let mut world = World::joined();
    assert_eq!(world.wake(), QUIET);
    assert_eq!(world.sent(), [json!({"type": "ping"})]);
    world.hear(&json!({"type": "pong"}));
    assert_eq!(world.wake(), QUIET, "an answer is a sign of life");
    assert_eq!(world.wake(), PONG_TIME_MAX);
    assert_eq!(broken(&world.outputs()), Some(Break::Silence));
}

#[test]
fn nothing_that_comes_before_joined_lengthens_the_time_for_it() {
    let mut world = World::new();
    world.attendance.handle_opened();
    world.outputs();
    for _ in 0..7 {
        world.pass(Duration::from_secs(1));
        world.hear(&json!({"type": "pong"}));
    }
    assert_eq!(world.outputs(), []);
    world.pass(Duration::from_millis(500));
    assert_eq!(broken(&world.outputs()), Some(Break::JoinTimeout));
}

#[test]
fn a_target_that_speaks_something_else_is_named_so() {
    let mut world = World::new();
    world.attendance.handle_opened();
    world.attendance.handle_text(world.now, "220 mail.example ESMTP");
    world.pass(JOIN_TIME_MAX);
    assert_eq!(broken(&world.outputs()), Some(Break::NotOurProtocol));
}

#[test]
fn a_server_that_refuses_again_and_again_is_asked_less_and_less() {
    let mut world = World::new();
    let mut tries = 0;
    let end = world.now + Duration::from_secs(600);
    while world.now < end {
        if world.outputs().contains(&Output::Connect) {
            tries += 1;
            world.attendance.handle_closed(world.now, Duration::ZERO);
            world.outputs();
        }
        world.wake();
    }
    assert!((60..300).contains(&tries), "{tries} tries in ten minutes");
}

#[test]
fn a_server_that_wants_to_be_left_alone_is() {
    let mut world = World::new();
    world.attendance.handle_closed(world.now, Duration::from_secs(30));
    assert_eq!(world.wake(), Duration::from_secs(30));
    world.attendance.handle_closed(world.now, Duration::from_secs(u64::MAX));
    assert_eq!(world.wake(), WAIT_MAX);
}

#[test]
fn a_final_refusal_ends_it_and_a_passing_one_does_not() {
    for id in ["bad_conference", "bad_name", "conference_full", "bad_token"] {
        let mut world = World::new();
        world.attendance.handle_opened();
        world.outputs();
        world.hear(&json!({"type": "error", "id": id, "message": "m"}));
        let outputs = world.outputs();
        assert!(
            matches!(outputs[..], [Output::Disconnect, Output::Ended(Ending::Refused(..))]),
            "{id}: {outputs:?}"
        );
        assert_eq!(world.attendance.next_timeout(), None);
    }
    for id in ["rate_limited", "unavailable", "bad_message"] {
        let mut world = World::new();
        world.attendance.handle_opened();
        world.outputs();
        world.hear(&json!({"type": "error", "id": id, "message": "m"}));
        assert_eq!(world.outputs(), [], "{id}");
    }
}

#[test]
fn a_bye_is_final_when_it_was_meant_for_this_caller() {
    for (reason, is_final) in [
        ("left", true),
        ("replaced", true),
        ("shutdown", false),
        ("overload", false),
        ("join_timeout", false),
    ] {
        let mut world = World::joined();
        world.hear(&json!({"type": "bye", "reason": reason}));
        assert_eq!(world.attendance.next_timeout().is_none(), is_final, "{reason}");
        assert_eq!(broken(&world.outputs()).is_none(), is_final, "{reason}");
    }
}

#[test]
fn an_offer_gets_its_own_answer_and_no_other() {
    let mut world = World::joined();
    world.attendance.offer(world.now, "one".to_owned());
    world.attendance.offer(world.now, "two".to_owned());
    let outputs = world.outputs();
    assert!(outputs.contains(&Output::OfferLost(OfferFault::Overtaken)));
    let answer = |rev: u64, sdp: &str| json!({"type": "answer", "sdp": sdp, "rev": rev, "channel_url": "/c"});
    world.hear(&answer(1, "old"));
    assert_eq!(world.outputs(), []);
    world.hear(&answer(2, "new"));
    world.hear(&answer(2, "again"));
    assert_eq!(world.outputs(), [Output::Answer { sdp: "new".to_owned(), channel_url: "/c".to_owned() }]);
}

#[test]
fn an_offer_without_an_answer_is_given_up_whatever_the_reason() {
    let mut world = World::joined();
    world.attendance.offer(world.now, "sdp".to_owned());
    world.hear(&json!({"type": "error", "id": "not_assigned", "message": "m"}));
    let refused = OfferFault::Refused(ErrorId::NotAssigned, "m".to_owned());
    assert!(world.outputs().contains(&Output::OfferLost(refused)));

    world.attendance.offer(world.now, "sdp".to_owned());
    for _ in 0..4 {
        world.pass(ANSWER_TIME_MAX / 4);
        world.hear(&json!({"type": "pong"}));
    }
    assert!(world.outputs().contains(&Output::OfferLost(OfferFault::Timeout)));

    world.attendance.offer(world.now, "sdp".to_owned());
    world.attendance.handle_closed(world.now, Duration::ZERO);
    assert!(world.outputs().contains(&Output::OfferLost(OfferFault::LineDown)));
    world.attendance.offer(world.now, "sdp".to_owned());
    assert_eq!(
        world.outputs(),
        [Output::OfferLost(OfferFault::LineDown)],
        "nothing is sent over a line that is down"
    );
}

#[test]
fn an_assignment_says_why_and_which() {
    let mut world = World::joined();
    world.hear(&json!({"type": "waiting"}));
    world.hear(&json!({"type": "assigned", "ice_servers": [], "reason": "drained", "epoch": 4}));
    let assigned = Assigned { ice_servers: Vec::new(), reason: AssignReason::Drained, epoch: Epoch(4) };
    assert_eq!(world.outputs(), [Output::Waiting, Output::Assigned(assigned)]);
}

#[test]
fn who_leaves_says_so_once_and_is_quiet_from_then_on() {
    let mut world = World::joined();
    world.attendance.leave();
    world.attendance.leave();
    let outputs = world.outputs();
    assert_eq!(outputs.len(), 3, "{outputs:?}");
    assert!(matches!(&outputs[0], Output::Send(text) if text == r#"{"type":"leave"}"#));
    assert_eq!(outputs[1..], [Output::Disconnect, Output::Ended(Ending::Left)]);
    world.hear(&joined_update("secret"));
    world.attendance.handle_closed(world.now, Duration::ZERO);
    world.attendance.handle_opened();
    world.pass(Duration::from_secs(100));
    assert!(!world.attendance.chat("x".to_owned()));
    assert_eq!((world.outputs(), world.attendance.next_timeout()), (Vec::new(), None));
}

#[test]
fn what_is_said_before_joined_is_not_sent() {
    let mut world = World::new();
    world.outputs();
    assert!(!world.attendance.chat("x".to_owned()));
    assert!(!world.attendance.set(Changes { hand: Some(true), ..Changes::default() }));
    assert_eq!(world.outputs(), []);
}

#[test]
fn hostile_texts_are_counted_and_change_nothing() {
    let mut world = World::joined();
    world.hear(&state(1, 2));
    world.outputs();
    let deep = "[".repeat(100_000);
    let hostile = [
        "",
        "null",
        "[]",
        "{}",
        "{\"type\":7}",
        "{\"type\":\"delta\"}",
        "{\"type\":\"delta\",\"seq\":-1}",
        "{\"type\":\"delta\",\"seq\":1e99}",
        "{\"type\":\"delta\",\"seq\":2,\"changed\":[{\"id\":\"../../..\",\"hand\":true}]}",
        "{\"type\":\"delta\",\"seq\":2,\"joined\":7}",
        "{\"type\":\"state\",\"seq\":2}",
        "{\"type\":\"joined\",\"participant\":\"zzzz\"}",
        "{\"type\":\"answer\",\"rev\":1}",
        "{\"type\":\"bye\",\"reason\":\"because\"}",
        "{\"type\":\"pong\"} {\"type\":\"pong\"}",
        "{\"type\":\"bye\",\"type\":\"bye\",\"reason\":\"left\"}",
        "{\"type\":\"\u{202e}\"}",
        &deep,
    ];
    for text in hostile {
        world.attendance.handle_text(world.now, text);
    }
    assert_eq!(world.attendance.strange(), hostile.len() as u64);
    assert_eq!((world.outputs(), world.attendance.present()), (Vec::new(), 2));
    world.hear(&json!({"type": "delta", "seq": 2}));
    assert!(world.attendance.is_joined());
}

#[test]
fn the_numbers_of_deltas_may_not_overflow() {
    let mut world = World::joined();
    world.hear(&state(u64::MAX, 0));
    world.hear(&json!({"type": "delta", "seq": 0, "left": ["00000001"]}));
    assert_eq!((world.attendance.present(), world.attendance.is_joined()), (0, true));
}

/// Any JSON, with the protocol's own keys often enough to be taken for it.
fn any_json() -> impl Strategy<Value = Value> {
    let types = ["joined", "waiting", "assigned", "answer", "state", "delta", "chat", "error", "bye", "pong"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(types.to_vec()).prop_map(Value::from),
        Just(json!("0a1b2c3d")),
        prop::sample::select(vec!["left", "replaced", "shutdown", "bad_resume", "bad_token"])
            .prop_map(Value::from),
    ];
    let keys = [
        "type",
        "seq",
        "rev",
        "sdp",
        "joined",
        "left",
        "changed",
        "snapshot",
        "participants",
        "id",
        "reason",
        "hand",
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        let key = prop_oneof![prop::sample::select(keys.to_vec()).prop_map(str::to_owned), ".{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Whatever may happen to a line.
#[derive(Debug, Clone)]
enum Happening {
    Text(String),
    Opened,
    Closed(u64),
    Time(u64),
    Offer,
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let texts =
        [joined_update("s").to_string(), state(1, 2).to_string(), r#"{"type":"delta","seq":2}"#.to_owned()];
    prop_oneof![
        any_json().prop_map(|json| Happening::Text(json.to_string())),
        ".{0,80}".prop_map(Happening::Text),
        prop::sample::select(texts.to_vec()).prop_map(Happening::Text),
        Just(Happening::Opened),
        any::<u64>().prop_map(Happening::Closed),
        (0..20_000_u64).prop_map(Happening::Time),
        Just(Happening::Offer),
    ]
}

proptest! {
    /// Nothing that comes or happens panics, asks for two sockets at once, or makes a caller that is always awake.
    #[test]
    fn whatever_happens_a_caller_has_one_socket_and_sleeps(happenings in prop::collection::vec(any_happening(), 0..60)) {
        let mut world = World::new();
        let mut has_socket = false;
        for happening in happenings {
            match happening {
                Happening::Text(text) => world.attendance.handle_text(world.now, &text),
                Happening::Opened => world.attendance.handle_opened(),
                Happening::Closed(wait) => {
                    has_socket = false;
                    world.attendance.handle_closed(world.now, Duration::from_millis(wait));
                }
                Happening::Time(ms) => world.pass(Duration::from_millis(ms)),
                Happening::Offer => world.attendance.offer(world.now, "sdp".to_owned()),
            }
            for output in world.outputs() {
                match output {
                    Output::Connect => prop_assert!(!std::mem::replace(&mut has_socket, true)),
                    Output::Disconnect => has_socket = false,
                    _ => {}
                }
            }
            world.attendance.handle_timeout(world.now);
            world.outputs().into_iter().for_each(drop);
            prop_assert!(world.attendance.next_timeout().is_none_or(|due| due >= world.now));
        }
    }

    /// The short reading of frequent updates finds what the whole shapes say.
    #[test]
    fn the_short_reading_agrees_with_the_shapes(seq in any::<u64>(), hands in prop::collection::vec(any::<bool>(), 0..8)) {
        let shown: Vec<Participant> = hands.iter().zip(0_u32..).map(|(hand, number)| Participant {
            id: EndpointId::parse(format!("{number:08x}")).unwrap(),
            name: "\"type\":\"bye\" \u{1F600}".to_owned(),
            muted_audio: false, muted_video: true, screen: false, hand: *hand,
        }).collect();
        let ids: Vec<EndpointId> = shown.iter().map(|each| each.id.clone()).collect();
        let state = Update::State { seq, snapshot: Snapshot { participants: shown.clone() } };
        let read = reading::read(&serde_json::to_string(&state).unwrap());
        prop_assert_eq!(read, Some(Heard::State { seq, present: hands.len() }));
        let delta = Update::Delta { seq, joined: shown.clone(), left: ids.clone(), changed: shown };
        let read = reading::read(&serde_json::to_string(&delta).unwrap());
        let changed = ids.into_iter().zip(hands.iter().copied()).collect();
        let expected = reading::Delta { seq, joined: hands.len(), left: hands.len(), changed };
        prop_assert_eq!(read, Some(Heard::Delta(expected)));
    }
}
