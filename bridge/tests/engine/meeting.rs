//! Meetings of model browsers through the engine: what they see and hear.

use wire::messages::link::EndpointEvent;

use crate::world::browser::Browser;
use crate::world::{World, ms, secs};

#[test]
fn three_participants_see_and_hear_each_other() {
    let mut world = World::new();
    let all: Vec<usize> = (1..=3).map(|number| world.join(Browser::talker(number))).collect();
    world.run(secs(5));
    for receiver in &all {
        for sender in all.iter().filter(|sender| *sender != receiver) {
            let (video, audio) = (world.browsers[*sender].video(), world.browsers[*sender].audio());
            let frames = world.browsers[*receiver].frames_of(&video);
            assert!(frames > 100, "{receiver} sees {frames} frames of {video} in 5 s");
            let heard = world.browsers[*receiver].frames_of(&audio);
            assert!(heard > 200, "{receiver} hears {heard} packets of {audio} in 5 s");
        }
        let own = (world.browsers[*receiver].video(), world.browsers[*receiver].audio());
        assert_eq!(
            world.browsers[*receiver].frames_of(&own.0) + world.browsers[*receiver].frames_of(&own.1),
            0
        );
        world.browsers[*receiver].slots.values().for_each(|slot| slot.assert_continuous());
    }
    let connected = world.notices.iter().filter(|notice| notice.event == EndpointEvent::Connected).count();
    assert_eq!((connected, world.notices.len()), (3, 3));
}

#[test]
fn a_muted_microphone_does_not_count_as_sending_audio() {
    let mut world = World::new();
    let (muted, _) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    assert_eq!(world.stats().endpoints_sending_audio, 2);
    world.browsers[muted].microphone().level_dbov = 127;
    world.run(secs(2));
    assert_eq!(world.stats().endpoints_sending_audio, 2, "between sentences nobody is muted");
    world.run(secs(2));
    assert_eq!((world.stats().endpoints_sending_audio, world.stats().endpoints_sending_video), (1, 2));
    world.browsers[muted].microphone().level_dbov = 126;
    world.run(ms(100));
    assert_eq!(world.stats().endpoints_sending_audio, 2);
}
